#include "net/tls/server_contexts.h"

#include <algorithm>
#include <array>
#include <openssl/bytestring.h>
#include <openssl/err.h>
#include <openssl/nid.h>
#include <openssl/sha.h>
#include <span>
#include <sys/time.h>
#include <unordered_map>

#include "net/tls/parts.h"
#include "policy/address.h"

namespace postern::net::tls {
namespace {

// ECDHE for forward secrecy and AEAD only: what has neither is what TLS 1.3 did away with. TLS 1.3's own ciphers are not
// a choice in BoringSSL. AES first: every server has instructions for it.
constexpr const char* kCiphers =
    "ECDHE-ECDSA-AES128-GCM-SHA256:ECDHE-RSA-AES128-GCM-SHA256:"
    "ECDHE-ECDSA-AES256-GCM-SHA384:ECDHE-RSA-AES256-GCM-SHA384:"
    "ECDHE-ECDSA-CHACHA20-POLY1305:ECDHE-RSA-CHACHA20-POLY1305";
constexpr std::array kGroups = {NID_X25519, NID_X9_62_prime256v1, NID_secp384r1};
// The library's own lists end in SHA-1.
constexpr std::array<std::uint16_t, 8> kSignatures = {
    SSL_SIGN_ECDSA_SECP256R1_SHA256, SSL_SIGN_RSA_PSS_RSAE_SHA256, SSL_SIGN_RSA_PKCS1_SHA256,
    SSL_SIGN_ECDSA_SECP384R1_SHA384, SSL_SIGN_RSA_PSS_RSAE_SHA384, SSL_SIGN_RSA_PKCS1_SHA384,
    SSL_SIGN_RSA_PSS_RSAE_SHA512,    SSL_SIGN_RSA_PKCS1_SHA512};
// Of a client's certificates, in octets. Without a bound a stranger makes us hold 100 KiB.
constexpr std::size_t kClientChainBytesMax = 32 * 1024;
constexpr std::size_t kAuthoritiesMax = 100;  // of a service; their names go out in each handshake

// What a ClientHello says about the signatures its sender can verify.
class ClientAbilities {
 public:
  explicit ClientAbilities(const SSL_CLIENT_HELLO* hello)
      : hello_(hello), is_tls13_(lists_u8(TLSEXT_TYPE_supported_versions, TLS1_3_VERSION)) {}

  [[nodiscard]] bool can_verify(KeyKind kind) const {
    const bool p256 = lists_u16(TLSEXT_TYPE_signature_algorithms, SSL_SIGN_ECDSA_SECP256R1_SHA256);
    const bool p384 = lists_u16(TLSEXT_TYPE_signature_algorithms, SSL_SIGN_ECDSA_SECP384R1_SHA384);
    if (kind == KeyKind::rsa) return true;  // there is nothing behind it
    if (is_tls13_) return kind == KeyKind::ecdsa_p256 ? p256 : p384;
    // In TLS 1.2 the hash is not tied to the curve, but the curve must be among the groups (RFC 8422 section 5.1), and
    // the cipher names the kind of key.
    const std::uint16_t curve = kind == KeyKind::ecdsa_p256 ? SSL_CURVE_SECP256R1 : SSL_CURVE_SECP384R1;
    return (p256 || p384) && lists_u16(TLSEXT_TYPE_supported_groups, curve) && offers_ecdsa_cipher();
  }

 private:
  [[nodiscard]] bool extension(std::uint16_t type, CBS& out) const {
    const std::uint8_t* data = nullptr;
    std::size_t size = 0;
    if (SSL_early_callback_ctx_extension_get(hello_, type, &data, &size) != 1) return false;
    CBS_init(&out, data, size);
    return true;
  }
  [[nodiscard]] static bool contains(CBS list, std::uint16_t wanted) {
    for (std::uint16_t value = 0; CBS_get_u16(&list, &value) == 1;) {
      if (value == wanted) return true;
    }
    return false;
  }
  // An extension that is a list of 16-bit values behind a length of two octets, or of one.
  [[nodiscard]] bool lists_u16(std::uint16_t type, std::uint16_t wanted) const {
    CBS body, list;
    return extension(type, body) && CBS_get_u16_length_prefixed(&body, &list) == 1 && contains(list, wanted);
  }
  [[nodiscard]] bool lists_u8(std::uint16_t type, std::uint16_t wanted) const {
    CBS body, list;
    return extension(type, body) && CBS_get_u8_length_prefixed(&body, &list) == 1 && contains(list, wanted);
  }
  [[nodiscard]] bool offers_ecdsa_cipher() const {
    static constexpr std::array<std::uint16_t, 3> kIds = {0xc02b, 0xc02c, 0xcca9};  // of kCiphers, in IANA's numbers
    CBS offered;
    CBS_init(&offered, hello_->cipher_suites, hello_->cipher_suites_len);
    return std::ranges::any_of(kIds, [&](std::uint16_t id) { return contains(offered, id); });
  }

  const SSL_CLIENT_HELLO* hello_;
  bool is_tls13_;
};

ssl_select_cert_result_t select_certificate(const SSL_CLIENT_HELLO* hello) {
  const ServerContexts::State& state = *Session::Wire::of(hello->ssl).state;
  const char* name = SSL_get_servername(hello->ssl, TLSEXT_NAMETYPE_host_name);
  const ServerContexts::State::Choice& choice = state.choice_for(name == nullptr ? std::string_view() : name);
  std::uint32_t chosen = choice.front();
  if (choice.size() > 1) {
    const ClientAbilities client(hello);
    const auto fit = std::ranges::find_if(choice, [&](std::uint32_t i) {
      return client.can_verify(state.certificates[i].key_kind());
    });
    if (fit != choice.end()) chosen = *fit;
  }
  if (chosen == 0) return ssl_select_cert_success;  // the context has it
  const auto& chain = state.chains[chosen];
  EVP_PKEY* key = state.certificates[chosen].parts().key.get();
  const bool is_set = SSL_set_chain_and_key(hello->ssl, chain.data(), chain.size(), key, nullptr) == 1;
  return is_set ? ssl_select_cert_success : ssl_select_cert_error;
}

// "pop3" and "imap" are in IANA's registry; of SMTP no name is, and these are what mail software says where it says anything.
constexpr std::array<std::string_view, 2> kSmtpNames = {"smtp", "esmtp"};
constexpr std::array<std::string_view, 1> kPop3Names = {"pop3"};
constexpr std::array<std::string_view, 1> kImapNames = {"imap"};

std::span<const std::string_view> names_of(Speaks speaks) {
  switch (speaks) {
    case Speaks::smtp: return kSmtpNames;
    case Speaks::pop3: return kPop3Names;
    case Speaks::imap: return kImapNames;
  }
  return {};
}

// `argument`: the Speaks of the service, as a number.
int select_protocol(SSL*, const std::uint8_t** out, std::uint8_t* out_size, const std::uint8_t* in, unsigned in_size,
                    void* argument) {
  const auto names = names_of(static_cast<Speaks>(reinterpret_cast<std::uintptr_t>(argument)));
  CBS offered, protocol;
  CBS_init(&offered, in, in_size);
  while (CBS_get_u8_length_prefixed(&offered, &protocol) == 1) {
    const std::string_view name(reinterpret_cast<const char*>(CBS_data(&protocol)), CBS_len(&protocol));
    if (std::find(names.begin(), names.end(), name) == names.end()) continue;
    *out = CBS_data(&protocol);
    *out_size = static_cast<std::uint8_t>(CBS_len(&protocol));
    return SSL_TLSEXT_ERR_OK;
  }
  return SSL_TLSEXT_ERR_ALERT_FATAL;
}

// Whoever signed it: the handshake proves that the client has the key, and judge_client_certificate() says what the
// certificate is worth, on resumption as well. A client whose certificate is not ours to believe may use its password.
ssl_verify_result_t take_client_certificate(SSL*, std::uint8_t*) { return ssl_verify_ok; }

std::size_t ticket_overhead(SSL*) { return TicketKeys::kOverheadBytes; }

int seal_ticket(SSL* ssl, std::uint8_t* out, std::size_t* out_size, std::size_t out_max, const std::uint8_t* in,
                std::size_t in_size) {
  const Session::Wire& wire = Session::Wire::of(ssl);
  const auto sealed = wire.state->ticket_keys->seal(wire.now.boot_seconds(), {in, in_size}, {out, out_max});
  *out_size = sealed.value_or(0);
  return sealed ? 1 : 0;
}

ssl_ticket_aead_result_t open_ticket(SSL* ssl, std::uint8_t* out, std::size_t* out_size, std::size_t out_max,
                                     const std::uint8_t* in, std::size_t in_size) {
  const Session::Wire& wire = Session::Wire::of(ssl);
  const auto opened = wire.state->ticket_keys->open(wire.now.boot_seconds(), {in, in_size}, {out, out_max});
  *out_size = opened.value_or(0);
  return opened ? ssl_ticket_aead_success : ssl_ticket_aead_ignore_ticket;
}

constexpr SSL_TICKET_AEAD_METHOD kTicketMethod = {ticket_overhead, seal_ticket, open_ticket};

void tell_time(const SSL*, timeval* out) { *out = {static_cast<time_t>(handshake_unix_seconds), 0}; }

// The authorities of a client_ca file: for verification, and as names for the request.
core::Result<void> ask_for_client_certificates(ServerContexts::State::Service& service, const ServiceRules& rules) {
  const auto file = read_file(rules.client_ca, "client_ca of service \"" + rules.name + "\"");
  if (!file) return std::unexpected(file.error());
  const auto authorities = parse_certificates(rules.client_ca, file->text.view(), kAuthoritiesMax);
  if (!authorities) return std::unexpected(authorities.error());
  service.client_authorities.reset(X509_STORE_new());
  bssl::UniquePtr<STACK_OF(CRYPTO_BUFFER)> names(sk_CRYPTO_BUFFER_new_null());
  for (const auto& der : *authorities) {
    const bssl::UniquePtr<X509> authority(X509_parse_from_buffer(der.get()));
    if (X509_STORE_add_cert(service.client_authorities.get(), authority.get()) != 1) {
      return core::fail(rules.client_ca + ": " + take_library_error());
    }
    std::uint8_t* name = nullptr;
    const int size = i2d_X509_NAME(X509_get_subject_name(authority.get()), &name);
    if (size < 0) return core::fail(rules.client_ca + ": " + take_library_error());
    bssl::UniquePtr<CRYPTO_BUFFER> buffer(CRYPTO_BUFFER_new(name, static_cast<std::size_t>(size), nullptr));
    OPENSSL_free(name);
    if (!bssl::PushToStack(names.get(), std::move(buffer))) return core::fail(rules.client_ca + ": no memory");
  }
  SSL_CTX_set0_client_CAs(service.context.get(), names.release());
  SSL_CTX_set_custom_verify(service.context.get(), SSL_VERIFY_PEER, take_client_certificate);
  return {};
}

core::Result<ServerContexts::State::Service> make_service(const ServerContexts::State& state, const ServiceRules& rules) {
  ServerContexts::State::Service service;
  service.context = make_context();
  SSL_CTX* context = service.context.get();
  if (context == nullptr) return core::fail("TLS: " + take_library_error());
  // Tickets of one service are of no use at another.
  std::array<std::uint8_t, SHA256_DIGEST_LENGTH> id;
  SHA256(reinterpret_cast<const std::uint8_t*>(rules.name.data()), rules.name.size(), id.data());
  SSL_CTX_set_session_id_context(context, id.data(), id.size());
  SSL_CTX_set_alpn_select_cb(context, select_protocol, reinterpret_cast<void*>(static_cast<std::uintptr_t>(rules.speaks)));
  if (!rules.client_ca.empty()) {
    const auto asked = ask_for_client_certificates(service, rules);
    if (!asked) return std::unexpected(asked.error());
  }
  const auto& chain = state.chains.front();
  EVP_PKEY* key = state.certificates.front().parts().key.get();
  if (SSL_CTX_set_chain_and_key(context, chain.data(), chain.size(), key, nullptr) != 1) {
    return core::fail(state.certificates.front().files().chain + ": " + take_library_error());
  }
  return service;
}

// Fills choices and names from the certificates.
void index_names(ServerContexts::State& state) {
  std::vector<policy::NameMap::Item> items;
  std::unordered_map<std::string, std::uint32_t> known;
  const auto choice_of = [&](const std::string& name) -> ServerContexts::State::Choice& {
    const auto [at, is_new] = known.emplace(name, static_cast<std::uint32_t>(state.choices.size()));
    if (!is_new) return state.choices[at->second];
    items.push_back({name, at->second});
    return state.choices.emplace_back();
  };
  for (std::uint32_t i = 0; i < state.certificates.size(); ++i) {
    for (const std::string& name : state.certificates[i].names()) choice_of(name).push_back(i);
  }
  for (auto& choice : state.choices) {
    std::ranges::stable_partition(choice, [&](std::uint32_t i) { return state.certificates[i].key_kind() != KeyKind::rsa; });
  }
  state.names = policy::NameMap(std::move(items));
}

}  // namespace

bssl::UniquePtr<SSL_CTX> make_context() {
  bssl::UniquePtr<SSL_CTX> context(SSL_CTX_new(TLS_with_buffers_method()));
  SSL_CTX* c = context.get();
  if (c == nullptr || SSL_CTX_set_min_proto_version(c, TLS1_2_VERSION) != 1 ||
      SSL_CTX_set_max_proto_version(c, TLS1_3_VERSION) != 1 || SSL_CTX_set_strict_cipher_list(c, kCiphers) != 1 ||
      SSL_CTX_set1_curves(c, kGroups.data(), kGroups.size()) != 1 ||
      SSL_CTX_set_signing_algorithm_prefs(c, kSignatures.data(), kSignatures.size()) != 1 ||
      SSL_CTX_set_verify_algorithm_prefs(c, kSignatures.data(), kSignatures.size()) != 1) {
    return nullptr;
  }
  SSL_CTX_set_options(c, SSL_OP_CIPHER_SERVER_PREFERENCE);
  SSL_CTX_set_mode(c, SSL_MODE_ENABLE_PARTIAL_WRITE | SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER);
  SSL_CTX_set_session_cache_mode(c, SSL_SESS_CACHE_OFF);
  SSL_CTX_set_ticket_aead_method(c, &kTicketMethod);
  SSL_CTX_set_num_tickets(c, 1);  // a mail program comes back once, not in parallel; every resumption gives a new one
  SSL_CTX_set_timeout(c, TicketKeys::kLifetimeSeconds);
  SSL_CTX_set_session_psk_dhe_timeout(c, TicketKeys::kLifetimeSeconds);
  SSL_CTX_set_max_cert_list(c, kClientChainBytesMax);
  SSL_CTX_set_select_certificate_cb(c, select_certificate);
  SSL_CTX_set_current_time_cb(c, tell_time);
  return context;
}

const ServerContexts::State::Choice& ServerContexts::State::choice_for(std::string_view name) const {
  const policy::DomainName domain(name);
  if (domain.empty()) return choices.front();
  std::uint32_t at = names.find(domain.text());
  if (at == policy::NameMap::kNone) {
    const std::size_t dot = domain.text().find('.');
    if (dot != std::string_view::npos) at = names.find("*", domain.text().substr(dot));
  }
  return at == policy::NameMap::kNone ? choices.front() : choices[at];
}

core::Result<void> check_client_authorities(const ServiceRules& rules) {
  if (rules.client_ca.empty()) return {};
  ServerContexts::State::Service service;
  service.context = make_context();
  if (service.context == nullptr) return core::fail("TLS: " + take_library_error());
  return ask_for_client_certificates(service, rules);
}

core::Result<ServerContexts> ServerContexts::make(std::vector<Certificate> certificates,
                                                  const std::vector<ServiceRules>& services, TicketKeys& ticket_keys) {
  if (certificates.empty()) return core::fail("TLS needs a certificate: [[certificate]] with `chain` and `key`");
  auto state = std::make_shared<State>();
  state->certificates = std::move(certificates);
  state->ticket_keys = &ticket_keys;
  for (const Certificate& certificate : state->certificates) {
    auto& chain = state->chains.emplace_back();
    for (const auto& der : certificate.parts().chain) chain.push_back(der.get());
  }
  index_names(*state);
  for (const ServiceRules& rules : services) {
    auto service = make_service(*state, rules);
    if (!service) return std::unexpected(service.error());
    state->services.push_back(std::move(*service));
  }
  return ServerContexts(std::move(state));
}

const std::vector<Certificate>& ServerContexts::certificates() const { return state_->certificates; }

const Certificate& ServerContexts::certificate_for(std::string_view name) const {
  return state_->certificates[state_->choice_for(name).front()];
}

}  // namespace postern::net::tls
