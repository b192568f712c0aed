#include "net/tls/session.h"

#include <algorithm>
#include <openssl/bio.h>
#include <openssl/err.h>
#include <utility>

#include "net/tls/parts.h"
#include "net/tls/pem.h"

namespace postern::net::tls {
namespace {

constexpr std::size_t kRecordPlainMax = 16384;

// The two ends of an SSL: the caller's views, for the time of one call. No octet is copied on the way.
int read_wire(BIO* bio, char* out, int room) {
  auto& wire = *static_cast<Session::Wire*>(BIO_get_data(bio));
  BIO_clear_retry_flags(bio);
  if (wire.input.empty()) {
    BIO_set_retry_read(bio);
    return -1;
  }
  const std::size_t octets = std::min(wire.input.size(), static_cast<std::size_t>(room));
  std::memcpy(out, wire.input.data(), octets);
  wire.input.remove_prefix(octets);
  return static_cast<int>(octets);
}

int write_wire(BIO* bio, const char* in, int size) {
  auto& wire = *static_cast<Session::Wire*>(BIO_get_data(bio));
  BIO_clear_retry_flags(bio);
  const std::size_t octets = wire.output == nullptr ? 0 : std::min(wire.output->room(), static_cast<std::size_t>(size));
  if (octets == 0) {
    BIO_set_retry_write(bio);
    return -1;
  }
  wire.output->append({in, octets});
  return static_cast<int>(octets);
}

long control_wire(BIO*, int command, long, void*) { return command == BIO_CTRL_FLUSH ? 1 : 0; }

BIO_METHOD* wire_method() {
  static BIO_METHOD* const method = [] {
    BIO_METHOD* made = BIO_meth_new(BIO_TYPE_SOURCE_SINK, "caller's memory");
    POSTERN_ASSERT(made != nullptr);
    BIO_meth_set_read(made, read_wire);
    BIO_meth_set_write(made, write_wire);
    BIO_meth_set_ctrl(made, control_wire);
    return made;
  }();
  return method;
}

// Opens the wire for one call and closes it whatever happens.
class Call {
 public:
  Call(Session::Wire& wire, std::string_view input, OutputBuffer& output) : wire_(wire) {
    wire.input = input;
    wire.output = &output;
    handshake_unix_seconds = wire.now.unix_seconds();
    ERR_clear_error();  // what others left would be taken for ours
  }
  ~Call() {
    wire_.input = {};
    wire_.output = nullptr;
  }
  Call(const Call&) = delete;
  Call& operator=(const Call&) = delete;

 private:
  Session::Wire& wire_;
};

std::string alert_from(bool is_client, int alert) {
  return std::string(is_client ? "alert from the server: " : "alert from the client: ") + SSL_alert_desc_string_long(alert);
}

// Why it failed, for people; the error queue is emptied. The oldest error of TLS itself says most: those before it are
// of the layers below ("bad decrypt"), those behind it of the layers above. Most of BoringSSL's reasons will do.
std::string reason_for_people(bool is_client) {
  std::uint32_t error = ERR_get_error();
  while (ERR_GET_LIB(error) != ERR_LIB_SSL && ERR_peek_error() != 0) error = ERR_get_error();
  ERR_clear_error();
  const int reason = ERR_GET_LIB(error) == ERR_LIB_SSL ? ERR_GET_REASON(error) : 0;
  if (reason >= SSL_AD_REASON_OFFSET) {
    return alert_from(is_client, reason - SSL_AD_REASON_OFFSET);
  }
  switch (reason) {
    case SSL_R_HTTP_REQUEST: return "plaintext HTTP request";
    case SSL_R_HTTPS_PROXY_REQUEST: return "plaintext HTTP CONNECT";
    case SSL_R_WRONG_VERSION_NUMBER: return "not TLS";
    case SSL_R_NO_RENEGOTIATION: return "renegotiation attempted";
    default: return library_reason(error);
  }
}

// OpenSSL's clients say why they give up in plain text, also when the server's keys are in use already (TLS 1.3), where the
// record layer can only take it for damage. "Your certificate is not trusted" is what an operator must get to know.
std::string plain_alert_at_end(bool is_client, std::string_view input) {
  constexpr std::string_view kFatalAlert("\x15\x03\x03\x00\x02\x02", 6);
  if (input.size() <= kFatalAlert.size()) return {};
  if (input.substr(input.size() - kFatalAlert.size() - 1, kFatalAlert.size()) != kFatalAlert) return {};
  return alert_from(is_client, static_cast<std::uint8_t>(input.back()));
}

}  // namespace

Session::Wire& Session::Wire::of(const SSL* ssl) { return *static_cast<Wire*>(BIO_get_data(SSL_get_rbio(ssl))); }

void Session::FreeSsl::operator()(ssl_st* ssl) const { SSL_free(ssl); }

Session::Session(const ServerContexts& contexts, std::size_t service, const core::Time& now)
    : wire_(std::make_unique<Wire>()) {
  wire_->state = contexts.state();
  wire_->service = service;
  wire_->now = now;
  POSTERN_ASSERT(service < contexts.state()->services.size());
  if (attach(SSL_new(contexts.state()->services[service].context.get()))) SSL_set_accept_state(ssl_.get());
}

Session::Session(std::shared_ptr<const ClientContext> context, ClientPeer peer, const core::Time& now)
    : wire_(std::make_unique<Wire>()) {
  wire_->now = now;
  wire_->client = std::make_unique<ClientSide>(std::move(context), std::move(peer), std::string());
  const ClientSide& side = *wire_->client;
  ClientContext::State& state = side.context->state();
  if (!attach(SSL_new(state.context.get()))) return;
  SSL_set_connect_state(ssl_.get());
  if (!side.peer.is_address && SSL_set_tlsext_host_name(ssl_.get(), side.peer.host.c_str()) != 1) {
    ERR_clear_error();
    fail("no host name that can be sent");
    return;
  }
  if (const auto session = state.take(side.peer.key())) SSL_set_session(ssl_.get(), session.get());
}

bool Session::attach(ssl_st* ssl) {
  ssl_.reset(ssl);
  BIO* bio = BIO_new(wire_method());
  if (!ssl_ || bio == nullptr) {
    BIO_free(bio);
    fail("no memory");
    return false;
  }
  BIO_set_data(bio, wire_.get());
  BIO_set_init(bio, 1);
  SSL_set_bio(ssl_.get(), bio, bio);
  SSL_set_shed_handshake_config(ssl_.get(), 1);
  return true;
}

Session::~Session() = default;

Progress Session::receive(std::string_view cipher, std::span<char> plain, OutputBuffer& out) {
  Progress progress;
  if (phase_ == Phase::failed || phase_ == Phase::closed) {
    progress.consumed = cipher.size();
    progress.status = phase_ == Phase::failed ? Status::failed : Status::closed;
    return progress;
  }
  if (out.room() < OutputBuffer::kRoomMin) {
    progress.status = Status::need_output;
    return progress;
  }
  const Call call(*wire_, cipher, out);
  if (phase_ == Phase::open || run_handshake(cipher, progress)) decrypt(plain, progress);
  const bool is_over = phase_ == Phase::failed || phase_ == Phase::closed;
  progress.consumed = is_over ? cipher.size() : cipher.size() - wire_->input.size();
  return progress;
}

bool Session::run_handshake(std::string_view cipher, Progress& progress) {
  const int done = SSL_do_handshake(ssl_.get());
  if (done == 1) {
    end_of_handshake();
    return true;
  }
  switch (SSL_get_error(ssl_.get(), done)) {
    case SSL_ERROR_WANT_READ: progress.status = Status::need_input; break;
    case SSL_ERROR_WANT_WRITE: progress.status = Status::need_output; break;
    case SSL_ERROR_ZERO_RETURN:
      fail(wire_->client ? "closed by the server in the handshake" : "closed by the client in the handshake");
      progress.status = Status::failed;
      break;
    default: {
      const std::string reason = reason_for_people(wire_->client != nullptr);
      const std::string alert = plain_alert_at_end(wire_->client != nullptr, cipher);
      fail(alert.empty() ? reason : alert);
      progress.status = Status::failed;
    }
  }
  return false;
}

void Session::end_of_handshake() {
  phase_ = Phase::open;
  if (wire_->client) return;
  const auto& service = wire_->state->services[wire_->service];
  const STACK_OF(CRYPTO_BUFFER)* chain = SSL_get0_peer_certificates(ssl_.get());
  if (service.client_authorities && chain != nullptr && sk_CRYPTO_BUFFER_num(chain) != 0) {
    client_certificate_ = std::make_unique<ClientCertificate>(
        judge_client_certificate(chain, service.client_authorities.get(), wire_->now.unix_seconds()));
  }
  wire_->state.reset();
}

void Session::decrypt(std::span<char> plain, Progress& progress) {
  for (;;) {
    const std::span<char> room = plain.subspan(progress.plain);
    if (room.empty()) {
      progress.status = has_pending_plain() || !wire_->input.empty() ? Status::need_plain : Status::need_input;
      return;
    }
    const int octets = SSL_read(ssl_.get(), room.data(), static_cast<int>(std::min<std::size_t>(room.size(), INT32_MAX)));
    if (octets > 0) {
      progress.plain += static_cast<std::size_t>(octets);
      continue;
    }
    switch (SSL_get_error(ssl_.get(), octets)) {
      case SSL_ERROR_WANT_READ: progress.status = Status::need_input; break;
      case SSL_ERROR_WANT_WRITE: progress.status = Status::need_output; break;
      case SSL_ERROR_ZERO_RETURN:
        phase_ = Phase::closed;
        progress.status = Status::closed;
        break;
      default:
        fail(reason_for_people(wire_->client != nullptr));
        progress.status = Status::failed;
    }
    return;
  }
}

std::size_t Session::send(std::string_view plain, OutputBuffer& out) {
  if (!handshake_done()) return 0;
  const Call call(*wire_, {}, out);
  if (!flush()) return 0;
  std::size_t taken = 0;
  const std::size_t overhead = SSL_max_seal_overhead(ssl_.get());
  while (taken < plain.size() && out.room() > overhead) {
    const std::size_t octets = std::min({plain.size() - taken, out.room() - overhead, kRecordPlainMax});
    const int written = SSL_write(ssl_.get(), plain.data() + taken, static_cast<int>(octets));
    if (written <= 0) {
      fail(reason_for_people(wire_->client != nullptr));  // never for want of room
      break;
    }
    taken += static_cast<std::size_t>(written);
  }
  return taken;
}

// Tickets and answers to key updates wait for the next write. They go first and alone, so that it is known whether a
// record fits behind them: BoringSSL must never be left with half a record of ours, as its retry is bound to the same
// octets. False: no room for them, or failed.
bool Session::flush() {
  const int done = SSL_write(ssl_.get(), "", 0);
  if (done >= 0) return true;
  if (SSL_get_error(ssl_.get(), done) != SSL_ERROR_WANT_WRITE) fail(reason_for_people(wire_->client != nullptr));
  return false;
}

bool Session::close(OutputBuffer& out) {
  if (!handshake_done() || (SSL_get_shutdown(ssl_.get()) & SSL_SENT_SHUTDOWN) != 0) return true;
  if (out.room() < OutputBuffer::kRoomMin) return false;
  const Call call(*wire_, {}, out);
  if (!flush()) return phase_ == Phase::failed;
  if (out.room() < OutputBuffer::kRoomMin) return false;
  SSL_shutdown(ssl_.get());
  ERR_clear_error();
  return true;
}

std::string_view Session::failure() const {
  if (phase_ == Phase::failed && wire_->client && !wire_->client->refusal.empty()) return wire_->client->refusal;
  return {failure_.data(), failure_bytes_};
}

bool Session::has_pending_plain() const { return handshake_done() && SSL_pending(ssl_.get()) > 0; }

std::string_view Session::protocol() const { return handshake_done() ? SSL_get_version(ssl_.get()) : ""; }

std::string_view Session::cipher() const {
  const SSL_CIPHER* cipher = handshake_done() ? SSL_get_current_cipher(ssl_.get()) : nullptr;
  return cipher == nullptr ? "" : SSL_CIPHER_standard_name(cipher);
}

bool Session::resumed() const { return handshake_done() && SSL_session_reused(ssl_.get()) == 1; }

std::string_view Session::server_name() const {
  const char* name = ssl_ ? SSL_get_servername(ssl_.get(), TLSEXT_NAMETYPE_host_name) : nullptr;
  return name == nullptr ? "" : name;
}

bool Session::channel_binding(std::span<std::uint8_t, 32> out) const {
  if (!handshake_done() || SSL_get_extms_support(ssl_.get()) != 1) return false;
  // RFC 9266 section 2 asks for an empty context. TLS 1.3 has no other way to have none; for TLS 1.2 it could be read as
  // "with a context of no octets" (RFC 5705), but GnuTLS and the others all compute it without one.
  static constexpr std::string_view kLabel = "EXPORTER-Channel-Binding";
  const bool is_made = SSL_export_keying_material(ssl_.get(), out.data(), out.size(), kLabel.data(), kLabel.size(),
                                                  nullptr, 0, 0) == 1;
  ERR_clear_error();
  return is_made;
}

void Session::fail(std::string_view reason) {
  phase_ = Phase::failed;
  failure_bytes_ = static_cast<std::uint8_t>(std::min(reason.size(), failure_.size()));
  std::memcpy(failure_.data(), reason.data(), failure_bytes_);
  if (wire_) wire_->state.reset();
}

}  // namespace postern::net::tls
