// A client connection's TLS: from the plain text before it, through the handshake, to records in and out.
#include <utility>

#include "net/inbound.h"
#include "net/tls_channel.h"
#include "net/worker_server.h"

namespace postern::net {

// The reply to STARTTLS goes out in plain text, then the handshake begins.
void Inbound::start_tls() {
  // What was pipelined behind STARTTLS came from whoever could write to the connection before it was protected: it is not
  // the client's word (CVE-2011-0411). With implicit TLS there is no plain text to fear.
  const bool was_plain = server_.settings().services[session_.service()].tls == policy::TlsMode::starttls;
  if (was_plain) held_.clear(server_.links(), server_.ring());
  send_replies();
  if (!send_.in_flight) begin_handshake();
}

void Inbound::begin_handshake() {
  tls_wanted_ = false;
  const auto& contexts = server_.snapshot().tls;
  if (contexts) tls_ = server_.tls_channels().make(*contexts, session_.service(), server_.now(), server_.session_pool());
  if (tls_ == nullptr) {
    server_.counters().connections_shed.add();
    return end_now();
  }
  handshake_ns_ = server_.now().boot_ns;
  set_timer();
  pump();
}

// True: the session can go on, with plain text or because the handshake is through.
bool Inbound::decrypt() {
  for (;;) {
    if (tls_->is_open() && held_.empty() && !tls_->session().has_pending_plain()) return false;
    const tls::Progress progress = tls_->receive(held_.front(server_.links(), server_.ring()));
    held_.consume(server_.links(), server_.ring(), progress.consumed);
    if (tls_->take_opened()) {
      server_.counters().tls_handshakes.add();
      if (tls_->session().resumed()) server_.counters().tls_resumed.add();
      note_client_certificate();
      session_.tls_started(tls_->facts());
      set_timer();
      return true;
    }
    switch (progress.status) {
      case tls::Status::need_input:
        if (progress.plain != 0) return true;
        if (held_.empty()) return false;
        break;
      case tls::Status::need_plain:
        return true;
      case tls::Status::need_output:
        return progress.plain != 0;
      case tls::Status::closed:
        input_ended_ = true;
        held_.clear(server_.links(), server_.ring());
        return progress.plain != 0;
      case tls::Status::failed:
        tls_failed();
        return false;
    }
  }
}

// One that is not believed is no error: the client may log in otherwise. But its owner will ask why EXTERNAL is not offered.
void Inbound::note_client_certificate() {
  const tls::ClientCertificate* certificate = tls_->session().client_certificate();
  if (certificate == nullptr || certificate->failure.empty()) return;
  core::LogLine(server_.log(), server_.now(), core::Severity::info, "certificate_refused")
      .add("service", server_.settings().services[session_.service()].name)
      .add("client", session_.client().address)
      .add("reason", certificate->failure)
      .flood_key(session_.client().address.low() ^ session_.client().address.high() ^ 0xce27);
}

void Inbound::tls_failed() {
  server_.counters().tls_failed.add();
  const std::string_view why = tls_->session().failure();
  core::LogLine(server_.log(), server_.now(), core::Severity::info, "tls_failed")
      .add("service", server_.settings().services[session_.service()].name)
      .add("client", session_.client().address)
      .add("reason", why.empty() ? std::string_view("no memory") : why)
      .flood_key(session_.client().address.low() ^ session_.client().address.high() ^ 0x7115);
  held_.clear(server_.links(), server_.ring());
  if (tls_->output().empty()) return end_now();
  // The alert tells the client why.
  state_ = State::flushing;
  server_.worker().timers().set(timer_, server_.now().boot_ns + kLastSendSeconds * core::kNanosecondsPerSecond);
  server_.ring().send(socket_, tls_->begin_send(), send_);
}

void Inbound::send_encrypted() {
  if (tls_->is_open() && reply_memory_ != nullptr) {
    if (!replies_.view().empty()) {
      const std::size_t taken = tls_->send(replies_.view());
      if (taken == 0 && tls_->output().empty()) return end_now();  // the pool is empty, or TLS is over
      replies_.remove_prefix(taken);
    }
    if (replies_.view().empty() && state_ == State::flushing) tls_->close();
  }
  if (!tls_->output().empty()) server_.ring().send(socket_, tls_->begin_send(), send_);
  if (reply_memory_ != nullptr && replies_.view().empty()) release_reply_memory();
}

}  // namespace postern::net
