#include "net/tls/client_context.h"

#include <algorithm>
#include <array>
#include <openssl/err.h>
#include <openssl/x509v3.h>
#include <unistd.h>
#include <utility>

#include "net/tls/parts.h"
#include "net/tls/pem.h"

namespace postern::net::tls {
namespace {

// Those of make_context(), and behind them what is still better than nothing.
constexpr const char* kOpportunisticCiphers =
    "ECDHE-ECDSA-AES128-GCM-SHA256:ECDHE-RSA-AES128-GCM-SHA256:"
    "ECDHE-ECDSA-AES256-GCM-SHA384:ECDHE-RSA-AES256-GCM-SHA384:"
    "ECDHE-ECDSA-CHACHA20-POLY1305:ECDHE-RSA-CHACHA20-POLY1305:"
    "ECDHE-ECDSA-AES128-SHA:ECDHE-RSA-AES128-SHA:ECDHE-ECDSA-AES256-SHA:ECDHE-RSA-AES256-SHA:"
    "AES128-GCM-SHA256:AES256-GCM-SHA384:AES128-SHA:AES256-SHA";
constexpr std::size_t kAuthoritiesMax = 2000;
constexpr std::size_t kServerChainBytesMax = 64 * 1024;
constexpr int kDepthMax = 8;  // authorities between the hop's certificate and one that is believed

std::uint8_t alert_for(int error) {
  switch (error) {
    case X509_V_ERR_CERT_HAS_EXPIRED:
    case X509_V_ERR_CERT_NOT_YET_VALID:
      return SSL_AD_CERTIFICATE_EXPIRED;
    case X509_V_ERR_UNABLE_TO_GET_ISSUER_CERT:
    case X509_V_ERR_UNABLE_TO_GET_ISSUER_CERT_LOCALLY:
    case X509_V_ERR_UNABLE_TO_VERIFY_LEAF_SIGNATURE:
    case X509_V_ERR_DEPTH_ZERO_SELF_SIGNED_CERT:
    case X509_V_ERR_SELF_SIGNED_CERT_IN_CHAIN:
      return SSL_AD_UNKNOWN_CA;
    default:
      return SSL_AD_BAD_CERTIFICATE;
  }
}

// Empty, or why the chain is not believed, for people.
std::string refusal(const Session::ClientSide& side, const STACK_OF(CRYPTO_BUFFER) * chain, std::int64_t unix_now,
                    std::uint8_t& alert) {
  alert = SSL_AD_BAD_CERTIFICATE;
  bssl::UniquePtr<X509> leaf;
  bssl::UniquePtr<STACK_OF(X509)> others;
  if (std::string failure = parse_chain(chain, leaf, others); !failure.empty()) return failure;
  const bssl::UniquePtr<X509_STORE_CTX> context(X509_STORE_CTX_new());
  X509_STORE* authorities = side.context->state().authorities.get();
  if (!context || X509_STORE_CTX_init(context.get(), authorities, leaf.get(), others.get()) != 1 ||
      X509_STORE_CTX_set_default(context.get(), "ssl_server") != 1) {
    return "no memory";
  }
  X509_VERIFY_PARAM* rules = X509_STORE_CTX_get0_param(context.get());
  X509_VERIFY_PARAM_set_time(rules, static_cast<time_t>(unix_now));
  X509_VERIFY_PARAM_set_depth(rules, kDepthMax);
  // What the operator lists is believed, also an authority below a root, or the hop's own certificate.
  X509_VERIFY_PARAM_set_flags(rules, X509_V_FLAG_PARTIAL_CHAIN);
  X509_VERIFY_PARAM_set_hostflags(rules, X509_CHECK_FLAG_NEVER_CHECK_SUBJECT);
  const std::string& host = side.peer.host;
  const int is_set = side.peer.is_address ? X509_VERIFY_PARAM_set1_ip_asc(rules, host.c_str())
                                          : X509_VERIFY_PARAM_set1_host(rules, host.data(), host.size());
  if (is_set != 1) return "no name to check it by";
  if (X509_verify_cert(context.get()) == 1) return {};
  const int error = X509_STORE_CTX_get_error(context.get());
  alert = alert_for(error);
  if (error == X509_V_ERR_HOSTNAME_MISMATCH || error == X509_V_ERR_IP_ADDRESS_MISMATCH) return "it is not for " + host;
  return X509_verify_cert_error_string(error);
}

ssl_verify_result_t judge_server(SSL* ssl, std::uint8_t* alert) {
  Session::Wire& wire = Session::Wire::of(ssl);
  if (!wire.client->context->verifies()) return ssl_verify_ok;
  const std::string why = refusal(*wire.client, SSL_get0_peer_certificates(ssl), wire.now.unix_seconds(), *alert);
  ERR_clear_error();
  if (why.empty()) return ssl_verify_ok;
  wire.client->refusal = "its certificate is not believed: " + why;
  return ssl_verify_invalid;
}

int keep_session(SSL* ssl, SSL_SESSION* session) {
  const Session::ClientSide& side = *Session::Wire::of(ssl).client;
  side.context->state().keep(side.peer.key(), bssl::UniquePtr<SSL_SESSION>(session));
  return 1;
}

core::Result<void> load_authorities(ClientContext::State& state, const std::string& path) {
  const auto file = read_file(path, "tls_ca");
  if (!file) return std::unexpected(file.error());
  const auto parsed = parse_certificates(path, file->text.view(), kAuthoritiesMax);
  if (!parsed) return std::unexpected(parsed.error());
  state.authorities.reset(X509_STORE_new());
  if (!state.authorities) return core::fail("no memory");
  for (const auto& der : *parsed) {
    const bssl::UniquePtr<X509> authority(X509_parse_from_buffer(der.get()));
    if (!authority || X509_STORE_add_cert(state.authorities.get(), authority.get()) != 1) {
      return core::fail(path + ": " + take_library_error());
    }
  }
  return {};
}

}  // namespace

// --- what is remembered --------------------------------------------------------------------------------------------

// To be called under the lock. A full table gives up any other hop: what is remembered only saves work.
ClientContext::State::Memory& ClientContext::State::memory_of(const std::string& key) {
  if (const auto known = peers.find(key); known != peers.end()) return known->second;
  if (peers.size() >= kPeersMax) peers.erase(peers.begin());
  return peers[key];
}

void ClientContext::State::keep(const std::string& key, bssl::UniquePtr<SSL_SESSION> session) {
  const std::lock_guard lock(mutex);
  memory_of(key).session = std::move(session);
}

bssl::UniquePtr<SSL_SESSION> ClientContext::State::take(const std::string& key) {
  const std::lock_guard lock(mutex);
  const auto known = peers.find(key);
  if (known == peers.end() || !known->second.session) return nullptr;
  if (SSL_SESSION_should_be_single_use(known->second.session.get()) == 1) return std::move(known->second.session);
  return bssl::UpRef(known->second.session);
}

void ClientContext::avoid(const ClientPeer& peer, std::int64_t until_boot_ns) const {
  const std::lock_guard lock(state_->mutex);
  State::Memory& memory = state_->memory_of(peer.key());
  memory.avoid_until_ns = until_boot_ns;
  memory.session.reset();
}

bool ClientContext::avoids(const ClientPeer& peer, std::int64_t boot_ns) const {
  const std::lock_guard lock(state_->mutex);
  const auto known = state_->peers.find(peer.key());
  return known != state_->peers.end() && known->second.avoid_until_ns > boot_ns;
}

std::size_t ClientContext::sessions_kept() const {
  const std::lock_guard lock(state_->mutex);
  return static_cast<std::size_t>(
      std::ranges::count_if(state_->peers, [](const auto& entry) { return entry.second.session != nullptr; }));
}

// --- made ----------------------------------------------------------------------------------------------------------

ClientContext::ClientContext(std::unique_ptr<State> state) : state_(std::move(state)) {}

ClientContext::~ClientContext() = default;

bool ClientContext::verifies() const { return state_->authorities != nullptr; }

core::Result<std::shared_ptr<const ClientContext>> ClientContext::make(const std::string& authorities) {
  auto state = std::make_unique<State>();
  state->context = make_context();
  SSL_CTX* c = state->context.get();
  if (c == nullptr) return core::fail("TLS: " + take_library_error());
  if (!authorities.empty()) {
    if (const auto loaded = load_authorities(*state, authorities); !loaded) return std::unexpected(loaded.error());
  } else if (SSL_CTX_set_strict_cipher_list(c, kOpportunisticCiphers) != 1) {
    return core::fail("TLS: " + take_library_error());
  }
  SSL_CTX_set_custom_verify(c, SSL_VERIFY_PEER, judge_server);
  SSL_CTX_set_reverify_on_resume(c, 1);
  SSL_CTX_set_max_cert_list(c, kServerChainBytesMax);
  SSL_CTX_set_session_cache_mode(c, SSL_SESS_CACHE_CLIENT | SSL_SESS_CACHE_NO_INTERNAL);
  SSL_CTX_sess_set_new_cb(c, keep_session);
  return std::shared_ptr<const ClientContext>(new ClientContext(std::move(state)));
}

std::string ClientContext::system_authorities() {
  static constexpr std::array kPlaces = {"/etc/ssl/certs/ca-certificates.crt",                    // Debian, Ubuntu, Arch
                                         "/etc/pki/ca-trust/extracted/pem/tls-ca-bundle.pem",    // Fedora, RHEL
                                         "/etc/pki/tls/certs/ca-bundle.crt", "/etc/ssl/ca-bundle.pem"};  // SUSE
  for (const char* place : kPlaces) {
    if (::access(place, R_OK) == 0) return place;
  }
  return {};
}

}  // namespace postern::net::tls
