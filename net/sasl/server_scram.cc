// SCRAM (RFC 5802, RFC 7677), with and without channel binding to the TLS connection (tls-exporter, RFC 9266).
#include <algorithm>
#include <charconv>
#include <openssl/mem.h>
#include <optional>

#include "net/sasl/base64.h"
#include "net/sasl/digest.h"
#include "net/sasl/gs2.h"
#include "net/sasl/server.h"

namespace postern::net::sasl {
namespace {

constexpr std::size_t kFirstBytesMax = 1280;  // of client-first-message
constexpr std::size_t kClientNonceBytesMax = 256;
constexpr std::size_t kServerNonceBytes = 24;  // of randomness

// "x=": takes it off. False: something else, or the end.
bool take_name(std::string_view& text, char name) {
  if (text.size() < 2 || text[0] != name || text[1] != '=') return false;
  text.remove_prefix(2);
  return true;
}

// c-nonce, s-nonce: printable ASCII but the comma.
bool is_nonce(std::string_view text) {
  return !text.empty() && std::ranges::all_of(text, [](char c) { return c > 0x20 && c < 0x7f && c != ','; });
}

// Optional extensions, from their first comma on, are passed over (RFC 5802 section 5.1); `m`, which is reserved for
// mandatory ones, and attributes of the protocol in the wrong place are not.
bool are_extensions(std::string_view text) {
  while (!text.empty()) {
    if (text[0] != ',') return false;
    text.remove_prefix(1);
    const std::string_view extension = text.substr(0, text.find(','));
    text.remove_prefix(extension.size());
    if (extension.size() < 3 || extension[1] != '=' || extension.contains('\0')) return false;
    const char name = extension[0];
    const bool is_letter = (name >= 'a' && name <= 'z') || (name >= 'A' && name <= 'Z');
    if (!is_letter || std::string_view("anmrcsipve").contains(name)) return false;
  }
  return true;
}

struct ClientFirst {
  Gs2Header gs2;
  std::string_view user;  // saslname, escaped
  std::string_view nonce;
};

// gs2-header "n=" saslname ",r=" c-nonce ["," extensions]
std::optional<ClientFirst> parse_client_first(std::string_view text) {
  const std::optional<Gs2Header> gs2 = parse_gs2_header(text);
  if (!gs2) return std::nullopt;
  text.remove_prefix(gs2->bytes);
  if (!take_name(text, 'n')) return std::nullopt;
  const std::string_view user = text.substr(0, text.find(','));
  text.remove_prefix(user.size());
  if (!text.starts_with(',')) return std::nullopt;
  text.remove_prefix(1);
  if (!take_name(text, 'r')) return std::nullopt;
  const std::string_view nonce = text.substr(0, text.find(','));
  if (!is_nonce(nonce) || nonce.size() > kClientNonceBytesMax) return std::nullopt;
  if (!are_extensions(text.substr(nonce.size()))) return std::nullopt;
  return ClientFirst{*gs2, user, nonce};
}

struct ClientFinal {
  std::string_view without_proof;
  std::string_view binding;  // base 64
  std::string_view nonce;
  std::string_view proof;  // base 64
};

// "c=" base64 ",r=" nonce ["," extensions] ",p=" base64
std::optional<ClientFinal> parse_client_final(std::string_view text) {
  ClientFinal parts;
  const std::size_t proof_at = text.rfind(",p=");
  if (proof_at == std::string_view::npos) return std::nullopt;
  parts.proof = text.substr(proof_at + 3);
  parts.without_proof = text = text.substr(0, proof_at);
  if (!take_name(text, 'c')) return std::nullopt;
  parts.binding = text.substr(0, text.find(','));
  text.remove_prefix(parts.binding.size());
  if (!text.starts_with(',')) return std::nullopt;
  text.remove_prefix(1);
  if (!take_name(text, 'r')) return std::nullopt;
  parts.nonce = text.substr(0, text.find(','));
  if (!are_extensions(text.substr(parts.nonce.size()))) return std::nullopt;
  return parts;
}

ScramHash hash_of(Mechanism mechanism) {
  const bool is_sha_1 = mechanism == Mechanism::scram_sha_1 || mechanism == Mechanism::scram_sha_1_plus;
  return is_sha_1 ? ScramHash::sha_1 : ScramHash::sha_256;
}

// What the header of the message says about channel binding, against what is known here (RFC 5802 section 6).
Failure binding_failure(const Gs2Header& gs2, Mechanism mechanism, bool plus_offered) {
  if (is_plus(mechanism) != (gs2.binding == ChannelBinding::used)) return Failure::malformed;
  if (gs2.binding == ChannelBinding::used && gs2.binding_name != "tls-exporter")
    return Failure::channel_binding_mismatch;
  // The client could bind and saw no offer of it, but there was one: somebody in between took it away.
  if (gs2.binding == ChannelBinding::not_seen && plus_offered) return Failure::channel_binding_mismatch;
  return Failure::none;
}

}  // namespace

Step Server::take_scram_first(std::string_view octets, const Surroundings& surroundings) {
  if (octets.size() > kFirstBytesMax) return fail(Failure::malformed);
  const std::optional<ClientFirst> first = parse_client_first(octets);
  if (!first) return fail(Failure::malformed);
  std::array<char, kUserBytesMax> name;
  const std::optional<std::size_t> name_bytes = unescape_saslname(first->user, name);
  if (!name_bytes || !set_user({name.data(), *name_bytes})) return fail(Failure::malformed);
  const Failure failure = binding_failure(first->gs2, mechanism_, surroundings.plus_offered);
  if (failure != Failure::none) return fail(failure);
  if (first->gs2.has_authzid) {
    const std::optional<std::size_t> authzid_bytes = unescape_saslname(first->gs2.authzid, name);
    if (!authzid_bytes) return fail(Failure::malformed);
    if (!is_user({name.data(), *authzid_bytes})) return fail(Failure::unsupported_authzid);
  }

  bare_at_ = static_cast<std::uint16_t>(first->gs2.bytes);
  std::array<char, base64_bytes(kServerNonceBytes)> server_nonce;
  const auto* random = reinterpret_cast<const char*>(random_.data());
  base64_encode({random, kServerNonceBytes}, server_nonce);
  put(octets);
  put(",r=");
  nonce_at_ = text_bytes_;
  put(first->nonce);
  put({server_nonce.data(), server_nonce.size()});
  nonce_bytes_ = static_cast<std::uint16_t>(text_bytes_ - nonce_at_);
  return ask_credential(hash_of(mechanism_) == ScramHash::sha_1 ? CredentialKind::scram_sha_1
                                                                : CredentialKind::scram_sha_256);
}

// "r=" nonce ",s=" salt ",i=" iterations; up to the nonce it is there.
Step Server::send_scram_first(const Credential& credential) {
  scram_ = credential.scram;
  standing_ = credential.standing;
  // What the store holds is not ours to trust: keys for another hash, or weaker than may be announced, are none.
  const bool is_sound = scram_.hash == hash_of(mechanism_) && scram_.iterations >= kScramIterationsMin &&
                        scram_.iterations <= kScramIterationsMax && scram_.salt_bytes >= kScramSaltBytesMin &&
                        scram_.salt_bytes <= kScramSaltBytesMax;
  if (!is_sound) return fail(Failure::no_verifier);
  std::array<char, base64_bytes(kScramSaltBytesMax)> salt;
  std::array<char, 12> count;
  const std::size_t salt_bytes = base64_encode(scram_.salt_view(), salt);
  const auto number = std::to_chars(count.data(), count.data() + count.size(), scram_.iterations);
  put(",s=");
  put({salt.data(), salt_bytes});
  put(",i=");
  put({count.data(), number.ptr});
  const std::size_t begin = nonce_at_ - std::string_view("r=").size();
  return challenge({text_.data() + begin, text_bytes_ - begin}, State::scram_final);
}

Step Server::take_scram_final(std::string_view octets, const Surroundings& surroundings) {
  const std::optional<ClientFinal> last = parse_client_final(octets);
  std::array<char, 32> proof;
  const std::size_t size = hash_bytes(scram_.hash);
  if (!last || base64_decode(last->proof, std::span(proof).first(size)) != size) return fail(Failure::malformed);
  if (!is_same_secret(last->nonce, {text_.data() + nonce_at_, nonce_bytes_})) return fail(Failure::malformed);
  if (!is_bound(last->binding, surroundings)) return fail(Failure::channel_binding_mismatch);
  if (!append(",") || !append(last->without_proof)) return fail(Failure::malformed);

  const std::string_view auth_message(text_.data() + bare_at_, text_bytes_ - std::size_t{bare_at_});
  const Digest client_signature = hmac(scram_.hash, {scram_.stored_key.data(), size}, auth_message);
  const Digest server_signature = hmac(scram_.hash, {scram_.server_key.data(), size}, auth_message);
  std::array<char, 32> client_key{};
  std::ranges::transform(proof, client_signature.octets, client_key.begin(),
                         [](char a, char b) { return static_cast<char>(a ^ b); });
  const Digest stored_key = digest(scram_.hash, {client_key.data(), size});
  OPENSSL_cleanse(client_key.data(), client_key.size());
  const bool is_same = is_same_secret(stored_key.view(), {scram_.stored_key.data(), size});
  const Step verdict = judge(is_same && !scram_.is_decoy);
  if (verdict.kind != Step::Kind::success) return verdict;

  // server-final-message; its signature is the client's proof that we know the keys, so it goes out before the end.
  text_bytes_ = 0;
  std::array<char, base64_bytes(32)> signature;
  const std::size_t signature_bytes = base64_encode(server_signature.view(), signature);
  put("v=");
  put({signature.data(), signature_bytes});
  return challenge({text_.data(), text_bytes_}, State::scram_confirm);
}

// `binding` is base 64 of the gs2 header as it came, and with -PLUS of the connection's exporter value behind it.
bool Server::is_bound(std::string_view binding, const Surroundings& surroundings) const {
  std::array<char, kFirstBytesMax + kTlsExporterBytes> wanted;
  std::array<char, base64_bytes(wanted.size())> encoded;
  std::size_t bytes = std::string_view(text_.data(), bare_at_).copy(wanted.data(), bare_at_);
  if (is_plus(mechanism_)) {
    if (surroundings.tls_exporter.size() != kTlsExporterBytes) return false;
    const auto* exporter = reinterpret_cast<const char*>(surroundings.tls_exporter.data());
    bytes += std::string_view(exporter, kTlsExporterBytes).copy(wanted.data() + bytes, kTlsExporterBytes);
  }
  const std::size_t encoded_bytes = base64_encode({wanted.data(), bytes}, encoded);
  return is_same_secret(binding, {encoded.data(), encoded_bytes});
}

}  // namespace postern::net::sasl
