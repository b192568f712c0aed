// TLS of a client of the front: the handshake, records in, records out.
#include <utility>

#include "net/front/front.h"
#include "net/front/outputs.h"
#include "net/tls_channel.h"
#include "net/worker_server.h"

namespace postern::net {

void Front::begin_handshake() {
  tls_wanted_ = false;
  const Snapshot& snapshot = server_.snapshot();
  if (snapshot.tls) {
    tls_ = server_.tls_channels().make(*snapshot.tls, snapshot.tls_index_of(mailbox_), server_.now(), server_.fronts().pool());
  }
  if (tls_ == nullptr) {
    server_.counters().connections_shed.add();
    return end_now();
  }
  handshake_ns_ = server_.now().boot_ns;
  set_timer();
}

// Takes what came of records, until there is plain text or no more came. True: there is plain text.
bool Front::decrypt() {
  while (tls_->plain().empty()) {
    if (next_of(client_).empty() && !(tls_->is_open() && tls_->session().has_pending_plain())) return false;
    const tls::Progress progress = tls_->receive(next_of(client_));
    consume(client_, progress.consumed);
    if (tls_->take_opened()) {
      server_.counters().tls_handshakes.add();
      if (tls_->session().resumed()) server_.counters().tls_resumed.add();
      active_ns_ = server_.now().boot_ns;
      if (session_ == nullptr) {
        begin_session();
      } else {
        session_->tls_started();
      }
      if (state_ != State::talking) return false;
    }
    switch (progress.status) {
      case tls::Status::need_input:
      case tls::Status::need_plain:
        break;
      case tls::Status::need_output:
        return progress.plain != 0;
      case tls::Status::closed:
        client_.input_ended = true;
        consume(client_, SIZE_MAX);
        return progress.plain != 0;
      case tls::Status::failed:
        tls_failed();
        return false;
    }
  }
  return true;
}

void Front::tls_failed() {
  server_.counters().tls_failed.add();
  const std::string_view why = tls_->session().failure();
  core::LogLine(server_.log(), server_.now(), core::Severity::info, "tls_failed")
      .add("service", server_.settings().mailboxes[mailbox_].name)
      .add("client", client_at_.address)
      .add("reason", why.empty() ? std::string_view("no memory") : why)
      .flood_key(client_at_.address.low() ^ client_at_.address.high() ^ 0x7115);
  consume(client_, SIZE_MAX);
  // The alert tells the client why.
  if (client_.send.in_flight || tls_->output().empty()) return end_now();
  if (outputs_ != nullptr) outputs_->to_client.clear();
  end_after_words();
  server_.ring().send(client_.socket, tls_->begin_send(), client_.send);
}

// --- after the login -----------------------------------------------------------------------------------------------

// To the store: from the block that it was decrypted into.
void Front::pass_up_encrypted() {
  if (store_.send.in_flight) return;
  const bool has_plain = decrypt();
  if (state_ != State::passing) return;
  if (store_.output_ended) return tls_->consume(tls_->plain().size());
  if (has_plain) {
    store_.send_since_ns = server_.now().boot_ns;
    server_.ring().send(store_.socket, tls_->plain(), store_.send);
  } else if (client_.input_ended && next_of(client_).empty()) {
    end_output(store_);
  }
}

// To the client: as much as one block of records takes.
void Front::pass_down_encrypted() {
  if (client_.send.in_flight) return;
  if (client_.output_ended) return consume(store_, SIZE_MAX);
  if (waits_for_more(store_)) return;
  std::size_t passed = 0;
  while (!next_of(store_).empty()) {
    const std::size_t taken = tls_->send(next_of(store_));
    if (taken == 0) break;
    consume(store_, taken);
    passed += taken;
  }
  count(client_, passed);
  const bool is_over = next_of(store_).empty() && store_.input_ended;
  if (is_over) tls_->close();
  if (!tls_->output().empty()) {
    client_.send_since_ns = server_.now().boot_ns;
    server_.ring().send(client_.socket, tls_->begin_send(), client_.send);
  } else if (is_over) {
    end_output(client_);
  } else if (!next_of(store_).empty()) {  // the pool is empty, or TLS is over
    server_.counters().connections_shed.add();
    end_now();
  }
}

}  // namespace postern::net
