// A client of the front until its login: the session between client and store, and the connection to the store.
#include <cerrno>
#include <cstring>
#include <new>
#include <utility>

#include "net/front/front.h"
#include "net/front/outputs.h"
#include "net/mailbox/imap_session.h"
#include "net/mailbox/pop3_session.h"
#include "net/smtp/proxy_protocol.h"
#include "net/tls_channel.h"
#include "net/worker_server.h"

namespace postern::net {

using mailbox::Event;

// --- memory of the worker's pool -----------------------------------------------------------------------------------

void Front::begin_session() {
  static_assert(sizeof(mailbox::Pop3Session) <= kSessionBytes && sizeof(mailbox::ImapSession) <= kSessionBytes);
  const policy::MailboxSettings& rules = server_.settings().mailboxes[mailbox_];
  void* memory = server_.fronts().pool().take(kSessionBytes);
  if (memory == nullptr) {
    server_.counters().connections_shed.add();
    return end_now();
  }
  mailbox::SessionOptions options;
  options.encrypted = tls_ != nullptr;
  options.tls_offered = rules.tls == policy::TlsMode::starttls;
  options.plaintext_allowed =
      rules.plain_on_lan && !is_address_unknown_ && server_.snapshot().policy.is_lan(client_at_.address);
  options.tell_address = !rules.store_proxy_protocol && !is_address_unknown_;
  options.master_separator = rules.master_separator;
  options.errors_max = rules.errors;
  options.client = client_at_;
  options.local = core::Ring::local_name(client_.socket).value_or(core::Endpoint{});
  if (rules.protocol == policy::MailboxProtocol::pop3) {
    session_ = new (memory) mailbox::Pop3Session(options);
  } else {
    session_ = new (memory) mailbox::ImapSession(options);
  }
  set_timer();
}

void Front::end_session() {
  if (outputs_ != nullptr) {
    outputs_->~Outputs();
    server_.fronts().pool().give_back(reinterpret_cast<char*>(std::exchange(outputs_, nullptr)), kOutputBytes);
  }
  if (session_ == nullptr) return;
  session_->~MailboxSession();
  server_.fronts().pool().give_back(reinterpret_cast<char*>(std::exchange(session_, nullptr)), kSessionBytes);
}

bool Front::take_outputs() {
  static_assert(sizeof(Outputs) <= kOutputBytes);
  if (outputs_ != nullptr) return true;
  void* memory = server_.fronts().pool().take(kOutputBytes);
  if (memory == nullptr) {
    server_.counters().connections_shed.add();
    return false;
  }
  outputs_ = new (memory) Outputs;
  return true;
}

// When nothing is being said, and no connection is being made from its address.
void Front::release_outputs() {
  if (outputs_ == nullptr || is_connecting_ || client_.send.in_flight || store_.send.in_flight) return;
  if (!outputs_->to_client.empty() || !outputs_->to_store.empty()) return;
  outputs_->~Outputs();
  server_.fronts().pool().give_back(reinterpret_cast<char*>(std::exchange(outputs_, nullptr)), kOutputBytes);
}

// --- the session ---------------------------------------------------------------------------------------------------

// What it says is sent before it is asked again.
void Front::pump() {
  while (state_ == State::talking && !client_.send.in_flight && !store_.send.in_flight && advance()) {
  }
  if (state_ != State::talking) return;
  if (store_.send.in_flight && is_store_lost_) server_.ring().cancel(store_.send);
  release_outputs();
  arm(client_);
  if (!is_connecting_ && !is_store_lost_) arm(store_);
}

// One step. False: nothing more can be done now.
bool Front::advance() {
  if (client_.output_ended) {
    end_now();
    return false;
  }
  if (tls_wanted_) begin_handshake();
  if (passing_wanted_) {
    begin_passing();
    return false;
  }
  if (state_ == State::talking && tls_ != nullptr) decrypt();
  if (state_ != State::talking) return false;
  if (tls_ != nullptr && !tls_->is_open()) {
    send_outputs();
    if (client_.input_ended) end_now();
    return false;
  }
  if (!take_outputs()) {
    end_now();
    return false;
  }
  if (store_.input_ended && !is_store_lost_) lose_store("it closed the connection");
  if (is_store_lost_ && store_.held.empty() && !std::exchange(is_store_failure_told_, true)) session_->store_lost();

  const std::string_view from_client =
      tls_ != nullptr ? tls_->plain() : client_.held.front(server_.links(), server_.ring());
  const std::string_view from_store = store_.held.front(server_.links(), server_.ring());
  const mailbox::Step step = session_->advance(from_client, from_store, outputs_->to_client, outputs_->to_store);
  if (tls_ != nullptr) {
    tls_->consume(step.client_consumed);
  } else if (step.client_consumed != 0) {
    client_.held.wipe(server_.links(), server_.ring(), step.client_consumed);
    client_.held.consume(server_.links(), server_.ring(), step.client_consumed);
  }
  if (step.store_consumed != 0) store_.held.consume(server_.links(), server_.ring(), step.store_consumed);
  const bool go_on = handle(step);
  if (state_ != State::closing) send_outputs();
  if (!go_on || state_ != State::talking) return false;
  if (step.event != Event::need_input) return true;
  const bool is_more = !client_.held.empty() || !store_.held.empty() || (tls_ != nullptr && !tls_->plain().empty());
  if (is_more && step.client_consumed + step.store_consumed != 0) return true;
  if (is_store_lost_ && !is_store_failure_told_ && store_.held.empty()) return true;
  // Its last words may have been a login: then it is waited for, and what follows is handed on with the end.
  if (client_.input_ended && client_.held.empty() && !session_->awaits_store() && !client_.send.in_flight) end_now();
  return false;
}

// False: stop here.
bool Front::handle(const mailbox::Step& step) {
  switch (step.event) {
    case Event::need_input:
    case Event::flush:
      return true;
    case Event::connect_store:
      connect_store();
      return true;
    case Event::login_wanted:
      store_active_ns_ = server_.now().boot_ns;
      session_->answer_login(judge(step.login));
      return true;
    case Event::login_succeeded:
      note_success(step.login);
      session_->login_recorded();
      return true;
    case Event::login_failed:
      note_failure(step.login, step.failure);
      return true;
    case Event::start_tls:
      // What was pipelined behind it came from whoever could write to the connection before it was protected: it is not
      // the client's word (CVE-2011-0411).
      client_.held.wipe_all(server_.links(), server_.ring());
      tls_wanted_ = true;
      return true;
    case Event::passthrough:
      passing_wanted_ = true;
      return true;
    case Event::close:
      log_close(step.reason);
      if (outputs_->to_client.empty()) {
        end_now();
      } else {
        end_after_words();
      }
      return false;
  }
  return false;
}

void Front::send_outputs() {
  core::Ring& ring = server_.ring();
  const bool has_words = outputs_ != nullptr && !outputs_->to_client.empty();
  if (tls_ != nullptr && !client_.send.in_flight) {
    if (has_words && tls_->is_open()) {
      const std::size_t taken = tls_->send(outputs_->to_client.view());
      if (taken == 0 && tls_->output().empty()) return end_now();  // the pool is empty, or TLS is over
      outputs_->to_client.remove_prefix(taken);
    }
    const bool is_last = outputs_ == nullptr || outputs_->to_client.empty();
    if (is_last && state_ == State::flushing && tls_->is_open()) tls_->close();
    if (!tls_->output().empty()) ring.send(client_.socket, tls_->begin_send(), client_.send);
  } else if (has_words && !client_.send.in_flight) {
    ring.send(client_.socket, outputs_->to_client.view(), client_.send);
  }
  const bool has_question = outputs_ != nullptr && !outputs_->to_store.empty();
  if (has_question && state_ == State::talking && !store_.send.in_flight && !store_.output_ended) {
    store_active_ns_ = server_.now().boot_ns;
    ring.send(store_.socket, outputs_->to_store.view(), store_.send);
  }
}

void Front::on_client_sent(core::Completion&, const core::Outcome& outcome) noexcept {
  if (tls_ != nullptr) {
    tls_->output_sent();
  } else if (state_ == State::passing) {
    forwarded(store_, client_, outcome);
  } else if (outputs_ != nullptr) {
    outputs_->to_client.clear();
  }
  if (outcome.result < 0 && state_ != State::passing) client_.output_ended = true;
  switch (state_) {
    case State::talking:
      return outcome.result < 0 ? end_now() : pump();
    case State::passing:
      if (tls_ != nullptr && outcome.result < 0) broke(client_);
      return pass();
    case State::flushing:
      if (outcome.result < 0) return end_now();
      if (outputs_ != nullptr && !outputs_->to_client.empty()) send_outputs();
      return client_.send.in_flight ? void() : linger();
    case State::proxy_header:
    case State::lingering:
      return;
    case State::closing:
      return close_when_quiet();
  }
}

void Front::on_store_sent(core::Completion&, const core::Outcome& outcome) noexcept {
  if (state_ == State::passing) {
    if (tls_ != nullptr) {
      count(store_, tls_->plain().size());
      tls_->consume(tls_->plain().size());
      if (outcome.result < 0) broke(store_);
    } else {
      forwarded(client_, store_, outcome);
    }
    return pass();
  }
  if (outputs_ != nullptr) outputs_->to_store.clear();
  if (state_ == State::closing) return close_when_quiet();
  if (state_ != State::talking) return;
  store_active_ns_ = server_.now().boot_ns;
  if (outcome.result < 0) {
    store_.output_ended = true;
    if (!is_store_lost_) lose_store(std::strerror(-outcome.result));
  }
  if (std::exchange(is_header_pending_, false) && outcome.result >= 0) session_->store_connected();
  pump();
}

// --- the store -----------------------------------------------------------------------------------------------------

void Front::connect_store() {
  const core::Endpoint& store = server_.settings().mailboxes[mailbox_].store;
  store_active_ns_ = server_.now().boot_ns;
  const core::Result<int> socket = core::Ring::make_socket(store, nullptr);
  if (!socket) return lose_store(socket.error().text);
  store_.socket = *socket;
  is_connecting_ = true;
  server_.ring().connect(store_.socket, outputs_->store_address, store.to_sockaddr(outputs_->store_address), store_.other);
}

void Front::on_store_connected(core::Completion&, const core::Outcome& outcome) noexcept {
  if (state_ == State::closing) return close_when_quiet();
  is_connecting_ = false;
  store_.other.handler = core::completion_handler<&Front::on_shut>;
  if (state_ != State::talking) return;
  store_active_ns_ = server_.now().boot_ns;
  if (outcome.result < 0) {
    store_.output_ended = true;
    if (!is_store_lost_) lose_store(std::strerror(-outcome.result));
    return pump();
  }
  if (!server_.settings().mailboxes[mailbox_].store_proxy_protocol) {
    session_->store_connected();
    return pump();
  }
  smtp::ProxyTls tls;
  if (tls_ != nullptr && tls_->is_open()) tls = {tls_->facts().protocol, tls_->facts().cipher};
  std::array<char, smtp::kProxyHeaderWrittenMax> header;
  const core::Endpoint local = core::Ring::local_name(client_.socket).value_or(core::Endpoint{});
  outputs_->to_store.put(smtp::write_proxy_header(client_at_, local, tls, header));
  is_header_pending_ = true;
  send_outputs();
  pump();
}

// It was not reached, went away, or is too slow. The session tells the client.
void Front::lose_store(std::string_view why) {
  is_store_lost_ = true;
  server_.counters().mailbox_store_failures.add();
  const policy::MailboxSettings& rules = server_.settings().mailboxes[mailbox_];
  core::LogLine(server_.log(), server_.now(), core::Severity::warning, "mailbox_store_failed")
      .add("service", rules.name)
      .add("store", rules.store.text())
      .add("client", client_at_.address)
      .add("reason", why)
      .flood_key(mailbox_ + 1);
  if (is_connecting_ && store_.other.in_flight) server_.ring().cancel(store_.other);
}

}  // namespace postern::net
