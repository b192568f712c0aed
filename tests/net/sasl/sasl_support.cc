// The client's arithmetic goes to BoringSSL directly, so that it is not the server's own that checks it.
#include "tests/net/sasl/sasl_support.h"

#include <openssl/base64.h>
#include <openssl/digest.h>
#include <openssl/evp.h>
#include <openssl/hmac.h>

#include "core/assert.h"

namespace postern::net::sasl::test {
namespace {

const std::array<std::byte, 32> kExporter = octets_from(100);
const std::array<std::byte, 32> kDecoySecret = octets_from(200);

const EVP_MD* method_of(ScramHash hash) {
  return hash == ScramHash::sha_1 ? EVP_sha1() : EVP_sha256();
}
const std::uint8_t* in(std::string_view text) {
  return reinterpret_cast<const std::uint8_t*>(text.data());
}
std::uint8_t* out(std::string& text) {
  return reinterpret_cast<std::uint8_t*>(text.data());
}

}  // namespace

std::array<std::byte, 32> octets_from(unsigned first) {
  std::array<std::byte, 32> octets{};
  for (std::byte& octet : octets) octet = static_cast<std::byte>(first++ & 0xff);
  return octets;
}

Surroundings connection() {
  Surroundings surroundings;
  surroundings.tls_exporter = kExporter;
  surroundings.plus_offered = true;
  surroundings.unix_seconds = kNow;
  surroundings.hostname = "mail.example.net";
  surroundings.random = octets_from(1);
  return surroundings;
}

std::string encode(std::string_view octets) {
  std::string text(4 * ((octets.size() + 2) / 3) + 1, '\0');
  text.resize(EVP_EncodeBlock(out(text), in(octets), octets.size()));
  return text;
}

std::string encode_url(std::string_view octets) {
  std::string text = encode(octets);
  while (text.ends_with('=')) text.pop_back();
  for (char& c : text) c = c == '+' ? '-' : c == '/' ? '_' : c;
  return text;
}

std::optional<std::string> decode(std::string_view text) {
  std::string octets(text.size(), '\0');
  std::size_t size = 0;
  if (EVP_DecodeBase64(out(octets), &size, octets.size(), in(text), text.size()) != 1) return std::nullopt;
  octets.resize(size);
  return octets;
}

Credential credential_of(CredentialKind kind, std::string_view user, std::optional<std::string_view> password,
                         Credential::Standing standing) {
  Credential credential;
  credential.standing = password ? standing : Credential::Standing::unknown_user;
  const bool has_keys = password && standing != Credential::Standing::no_verifier;
  const ScramHash hash = kind == CredentialKind::scram_sha_1 ? ScramHash::sha_1 : ScramHash::sha_256;
  if (has_keys) {
    const auto keys = derive_scram_keys(hash, *password, "sixteen octets!!", 4096);
    const auto verifier = derive_cram_verifier(*password);
    POSTERN_ASSERT(keys && verifier);
    credential.scram = *keys;
    credential.cram = *verifier;
  } else {
    credential.scram = decoy_scram_keys(hash, kDecoySecret, user, 4096);
    credential.cram = decoy_cram_verifier(kDecoySecret, user);
  }
  return credential;
}

PasswordVerdict Store::check(std::string_view name, std::string_view tried) const {
  if (name != user) return PasswordVerdict::wrong;
  if (standing == Credential::Standing::no_verifier) return PasswordVerdict::no_verifier;
  if (tried != password) return PasswordVerdict::wrong;
  return standing == Credential::Standing::disabled ? PasswordVerdict::disabled : PasswordVerdict::right;
}

Credential Store::find(CredentialKind kind, std::string_view name) const {
  return credential_of(kind, name, name == user ? std::optional<std::string_view>(password) : std::nullopt, standing);
}

Step settle(Server& server, Step step, const Store& store) {
  for (;;) {
    if (step.kind == Step::Kind::need_password_check) {
      step = server.answer_password(store.check(step.user, step.password));
    } else if (step.kind == Step::Kind::need_credential) {
      step = server.answer_credential(store.find(step.credential, step.user));
    } else {
      return step;
    }
  }
}

std::string words(const Step& step) {
  switch (step.kind) {
    case Step::Kind::challenge:
      return "challenge " + std::to_string(step.text.size());
    case Step::Kind::need_password_check:
      return "need-password";
    case Step::Kind::need_credential:
      return "need-credential";
    case Step::Kind::success:
      return "success " + std::string(step.user);
    case Step::Kind::failure:
      break;
  }
  return "failure " + std::string(name_of(step.failure)) + (step.counts_as_guess ? " guess" : "");
}

std::string hmac_text(ScramHash hash, std::string_view key, std::string_view text) {
  std::string result(EVP_MD_size(method_of(hash)), '\0');
  unsigned size = 0;
  HMAC(method_of(hash), key.data(), key.size(), in(text), text.size(), out(result), &size);
  return result;
}

std::string hash_text(ScramHash hash, std::string_view text) {
  std::string result(EVP_MD_size(method_of(hash)), '\0');
  unsigned size = 0;
  EVP_Digest(text.data(), text.size(), out(result), &size, method_of(hash), nullptr);
  return result;
}

std::string ScramClient::final(std::string_view server_first) {
  const auto field = [&](std::string_view label) {
    std::string_view rest = server_first.substr(server_first.find(label) + label.size());
    return std::string(rest.substr(0, rest.find(',')));
  };
  const std::string salt = *decode(field(",s="));
  std::string salted(EVP_MD_size(method_of(hash)), '\0');
  PKCS5_PBKDF2_HMAC(password.data(), password.size(), in(salt), salt.size(),
                    static_cast<unsigned>(std::stoul(field(",i="))), method_of(hash), salted.size(), out(salted));
  const std::string without_proof = "c=" + encode(gs2 + binding) + "," + field("") + final_extensions;
  const std::string message = bare() + "," + std::string(server_first) + "," + without_proof;
  const std::string client_key = hmac_text(hash, salted, "Client Key");
  std::string proof = hmac_text(hash, hash_text(hash, client_key), message);
  for (std::size_t i = 0; i < proof.size(); ++i) proof[i] = static_cast<char>(proof[i] ^ client_key[i]);
  server_signature = "v=" + encode(hmac_text(hash, hmac_text(hash, salted, "Server Key"), message));
  return without_proof + ",p=" + encode(proof);
}

}  // namespace postern::net::sasl::test
