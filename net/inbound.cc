#include "net/inbound.h"

#include <algorithm>
#include <cerrno>
#include <utility>

#include "net/queue_id.h"
#include "net/tls_channel.h"
#include "net/users/credentials.h"
#include "net/worker_server.h"

namespace postern::net {
namespace {

using core::kNanosecondsPerSecond;

constexpr std::size_t kReplyBytes = 4096;
constexpr std::int64_t kStarvedNanoseconds = 10 * core::kNanosecondsPerMillisecond;  // then buffers may be back
constexpr std::int64_t kLingerSeconds = 2;     // how long a refused client may take to read why
constexpr std::int64_t kLookNanoseconds = 5 * kNanosecondsPerSecond;  // look_for_end()

}  // namespace

Inbound::Inbound(WorkerServer& server, int socket, const core::Endpoint& peer, std::size_t service)
    : server_(server),
      socket_(socket),
      started_ns_(server.now().boot_ns),
      active_ns_(started_ns_),
      looked_ns_(started_ns_),
      receive_(core::completion_handler<&Inbound::on_receive>, this),
      send_(core::completion_handler<&Inbound::on_sent>, this),
      close_(core::completion_handler<&Inbound::on_closed>, this),
      timer_(core::timer_handler<&Inbound::on_timer>, this),
      session_(service, peer.address, peer.port, server.session_pool()) {
  is_behind_proxy_ = server.settings().services[service].proxy_protocol;
}

Inbound::~Inbound() {
  server_.worker().timers().cancel(timer_);
  held_.clear(server_.links(), server_.ring());
  if (reply_memory_ != nullptr) server_.session_pool().give_back(reply_memory_, kReplyBytes);
  if (admitted_ != 0) server_.spool().release(admitted_);
  if (intake_ != nullptr) server_.intakes().destroy(intake_);
  if (login_ != nullptr) server_.credential_requests().destroy(login_);
  if (machine_counted_) server_.shared().machines.leave(counted_machine_);
  if (tls_ != nullptr) server_.tls_channels().destroy(tls_);
}

void Inbound::start() {
  core::Ring::set_no_delay(socket_);
  set_timer();
  if (!is_behind_proxy_ && !count_machine()) return;
  if (!take_reply_memory()) return end_now();
  handle(session_.greet(server_.world(), replies_));
  pump();
}

bool Inbound::take_reply_memory() {
  if (reply_memory_ != nullptr) return true;
  reply_memory_ = server_.session_pool().take(kReplyBytes);
  if (reply_memory_ == nullptr) {
    server_.counters().connections_shed.add();
    return false;
  }
  replies_ = smtp::ReplyBuffer(reply_memory_, kReplyBytes);
  return true;
}

// The bound on connections of one machine; behind a balancer the machine is known only after its header.
bool Inbound::count_machine() {
  const core::IpAddress& machine = session_.client().address;
  if (is_behind_proxy_ && server_.is_barred(machine)) {
    end_now();
    return false;
  }
  if (server_.shared().machines.enter(machine, server_.settings().limits.connections_per_machine)) {
    machine_counted_ = true;
    counted_machine_ = machine;
    return true;
  }
  server_.counters().connections_shed.add();
  core::LogLine(server_.log(), server_.now(), core::Severity::warning, "shed")
      .add("client", machine)
      .add("reason", "too many connections of this machine")
      .flood_key(machine.low() ^ machine.high());
  say_goodbye("4.7.0 too many connections from your machine");
  return false;
}

// --- octets come in ------------------------------------------------------------------------------------------------

// A multishot receive knows no back-pressure: past the bound it is cancelled, and what still arrives is held.
void Inbound::arm_receive() {
  if (state_ != State::open && state_ != State::lingering) return;
  if (receive_.in_flight) {
    if (held_.is_full() && !receive_cancelled_) {
      receive_cancelled_ = true;
      server_.ring().cancel(receive_);
    }
    return;
  }
  starved_ = false;
  if (input_ended_ || held_.is_full()) return;
  if (server_.ring().buffers_free() == 0) {
    if (state_ != State::open) return;  // it only lingers: its timer is its end
    starved_ = true;
    server_.worker().timers().set(timer_, server_.now().boot_ns + kStarvedNanoseconds);
    return;
  }
  receive_cancelled_ = false;
  server_.ring().receive(socket_, receive_);
}

void Inbound::on_receive(core::Completion&, const core::Outcome& outcome) noexcept {
  if (outcome.has_buffer) {
    active_ns_ = server_.now().boot_ns;
    if (state_ == State::open && outcome.result > 0) {
      held_.push(server_.links(), outcome.buffer, static_cast<std::uint32_t>(outcome.result));
    } else {
      server_.ring().release_buffer(outcome.buffer);
    }
  } else if (outcome.result == -ENOBUFS) {
    server_.counters().receive_buffers_exhausted.add();
  } else if (outcome.result <= 0 && outcome.result != -ECANCELED) {
    input_ended_ = true;
  }
  if (state_ == State::closing) return close_when_quiet();
  if (state_ == State::lingering) {
    if (input_ended_) return end_now();
    return arm_receive();
  }
  pump();
  if (state_ == State::open) arm_receive();
}

void Inbound::pump() {
  if (state_ != State::open || waiting_ || send_.in_flight) return;
  if (!take_reply_memory()) return end_now();
  while (state_ == State::open && advance()) {
  }
  if (state_ == State::closing) return close_when_quiet();
  send_replies();
  if (state_ == State::open && !waiting_ && !send_.in_flight) {
    if (input_ended_ && held_.empty()) return end_now();
    if (draining_ && !session_.in_message()) return say_goodbye("4.3.2 the server is shutting down");
  }
  arm_receive();
}

// One step of the session over what was received, or decrypted. False: nothing more can be done now.
bool Inbound::advance() {
  std::string_view input;
  bool has_more = true;
  if (tls_ == nullptr) {
    input = held_.front(server_.links(), server_.ring());
    if (input.empty() && !held_.empty()) {
      held_.consume(server_.links(), server_.ring(), 0);
      return true;
    }
  } else {
    if (tls_->plain().empty()) has_more = decrypt();
    // Without input too, once it is open: the session may have an answer to give.
    if (!tls_->is_open() || state_ != State::open) return false;
    input = tls_->plain();
  }
  const smtp::Step step = session_.advance(input, server_.world(), replies_);
  const bool go_on = handle(step);
  if (tls_ == nullptr) {
    if (step.event != smtp::Event::content) held_.wipe(server_.links(), server_.ring(), step.consumed);
    held_.consume(server_.links(), server_.ring(), step.consumed);
  } else {
    tls_->consume(step.consumed);
  }
  if (admitted_ != 0 && !session_.in_transaction()) server_.spool().release(std::exchange(admitted_, 0));
  if (tls_wanted_) {
    start_tls();
    return false;
  }
  if (tls_ == nullptr) has_more = !held_.empty();
  return go_on && (has_more || step.event != smtp::Event::need_input);
}

// What the session says happens next. False: stop advancing.
bool Inbound::handle(const smtp::Step& step) {
  if (is_behind_proxy_ && !machine_counted_ && !session_.awaits_proxy_header() && !count_machine()) return false;
  switch (step.event) {
    case smtp::Event::need_input:
      return true;
    case smtp::Event::flush:
      return false;
    case smtp::Event::admit:
      admitted_ = server_.admit(step.size);
      session_.answer_admit(admitted_ != 0, replies_);
      return true;
    case smtp::Event::begin_message:
      return begin_message();
    case smtp::Event::content:
      if (intake_ == nullptr) return true;
      intake_->append(session_, step.content);
      waiting_ = !intake_->has_room();
      return !waiting_;
    case smtp::Event::end_message:
      end_message(step);
      return !waiting_;
    case smtp::Event::abort_message:
      abandon_message();
      return !waiting_;  // the next message needs this one's place
    case smtp::Event::start_tls:
      tls_wanted_ = true;
      return false;
    case smtp::Event::login:
      ask_login(step);
      return !waiting_;
    case smtp::Event::login_ended:
      note_login(step);
      return state_ == State::open;
    case smtp::Event::rejected:
      log_rejection(step.verdict, step.content);
      return true;
    case smtp::Event::close:
      end_after_replies();
      return false;
    case smtp::Event::drop:
      server_.counters().connections_dropped.add();
      end_now();
      return false;
  }
  return false;
}

void Inbound::log_rejection(const policy::Verdict& verdict, std::string_view about) {
  server_.counters().refusals.add();
  if (verdict.rule == policy::Rule::quota_user && server_.settings().users.hold_on_quota) {
    hold_account("its quota is used up");
  }
  const policy::Client& client = session_.client();
  core::LogLine(server_.log(), server_.now(), core::Severity::info, "reject")
      .add("service", server_.settings().services[session_.service()].name)
      .add("client", client.address)
      .add("helo", session_.helo())
      .add("rule", policy::rule_name(verdict.rule))
      .add("code", verdict.code)
      .add("about", about)
      .flood_key(client.address.low() ^ client.address.high() ^ (static_cast<std::uint64_t>(verdict.rule) << 56));
}

// --- a message comes in --------------------------------------------------------------------------------------------

bool Inbound::begin_message() {
  const Intake::Owner owner{
      this,
      [](void* self) noexcept {
        static_cast<Inbound*>(self)->waiting_ = false;
        static_cast<Inbound*>(self)->pump();
      },
      [](void* self, smtp::StoreResult result) noexcept { static_cast<Inbound*>(self)->message_answered(result); },
      [](void* self) noexcept {
        auto* inbound = static_cast<Inbound*>(self);
        inbound->server_.intakes().destroy(std::exchange(inbound->intake_, nullptr));
        inbound->waiting_ = false;
        inbound->state_ == State::open ? inbound->pump() : inbound->close_when_quiet();
      }};
  intake_ = server_.intakes().make(server_, owner, std::exchange(admitted_, 0));
  if (intake_ != nullptr) intake_->begin(session_);
  return true;
}

void Inbound::end_message(const smtp::Step& step) {
  if (intake_ == nullptr) {  // no slot was free: a bound, so 452
    server_.counters().messages_no_space.add();
    return session_.answer_stored(smtp::StoreResult::no_space, {}, replies_);
  }
  if (const auto answer = intake_->finish(session_, step.content_flags)) {
    answer_message(*answer);
  } else {
    waiting_ = finishing_ = true;
  }
}

void Inbound::abandon_message() {
  if (admitted_ != 0) server_.spool().release(std::exchange(admitted_, 0));
  if (intake_ == nullptr) return;
  if (intake_->abandon()) {
    server_.intakes().destroy(std::exchange(intake_, nullptr));
  } else {
    waiting_ = true;
  }
}

void Inbound::message_answered(smtp::StoreResult result) {
  if (state_ == State::open && send_.in_flight) {  // its memory is the kernel's: the answer waits for on_sent
    late_answer_ = result;
    return;
  }
  waiting_ = false;
  answer_message(result);
  state_ == State::open ? pump() : close_when_quiet();
}

void Inbound::answer_message(smtp::StoreResult result) {
  const QueueId id(intake_->id());
  const policy::Verdict refusal = result == smtp::StoreResult::refused ? intake_->refusal() : policy::Verdict{};
  server_.intakes().destroy(std::exchange(intake_, nullptr));
  finishing_ = false;
  active_ns_ = server_.now().boot_ns;
  if (result == smtp::StoreResult::no_space) server_.counters().messages_no_space.add();
  if (result == smtp::StoreResult::failed) server_.counters().messages_failed.add();
  if (state_ != State::open) return;
  if (!take_reply_memory()) return end_now();
  if (result != smtp::StoreResult::refused) return session_.answer_stored(result, id.text(), replies_);
  log_rejection(refusal, session_.envelope().reverse_path());
  session_.answer_refused(refusal, replies_);
}

// --- replies go out ------------------------------------------------------------------------------------------------

void Inbound::send_replies() {
  if (send_.in_flight) return;
  if (tls_ != nullptr) return send_encrypted();
  if (reply_memory_ == nullptr) return;
  if (!replies_.view().empty()) {
    server_.ring().send(socket_, replies_.view(), send_);
  } else {
    release_reply_memory();
  }
}

void Inbound::release_reply_memory() {
  server_.session_pool().give_back(std::exchange(reply_memory_, nullptr), kReplyBytes);
}

void Inbound::on_sent(core::Completion&, const core::Outcome& outcome) noexcept {
  if (tls_ != nullptr) {
    tls_->output_sent();
  } else {
    replies_.clear();
  }
  if (outcome.result < 0) input_ended_ = true;
  if (state_ == State::closing) return close_when_quiet();
  if (outcome.result < 0) return end_now();
  if (state_ == State::flushing) {
    if (!replies_.view().empty()) return send_replies();  // TLS had no room for all of it
    // What the client sent meanwhile lies unread: closing now would reset the connection and take the reply with it.
    if (held_.empty() && !goodbye_said_) return end_now();
    held_.clear(server_.links(), server_.ring());
    state_ = State::lingering;
    server_.worker().timers().set(timer_, server_.now().boot_ns + kLingerSeconds * kNanosecondsPerSecond);
    if (input_ended_) return end_now();
    close_.handler = core::completion_handler<&Inbound::on_shutdown>;
    server_.ring().shutdown(socket_, close_);
    return arm_receive();
  }
  if (late_answer_) return message_answered(*std::exchange(late_answer_, std::nullopt));
  if (tls_wanted_) return begin_handshake();
  pump();
}

void Inbound::on_shutdown(core::Completion&, const core::Outcome&) noexcept {
  if (state_ == State::closing) close_when_quiet();
}

// --- the end -------------------------------------------------------------------------------------------------------

void Inbound::say_goodbye(std::string_view enhanced_and_text) {
  if (state_ != State::open) return;
  // Where TLS comes first, or is coming, plain words would only be noise.
  const bool is_implicit = server_.settings().services[session_.service()].tls == policy::TlsMode::implicit;
  const bool in_handshake = tls_wanted_ || (tls_ == nullptr ? is_implicit : !tls_->is_open());
  if (send_.in_flight || in_handshake || !take_reply_memory()) return end_now();
  goodbye_said_ = true;
  session_.say_goodbye(enhanced_and_text, replies_);
  end_after_replies();
  send_replies();
}

void Inbound::end_after_replies() {
  if (state_ != State::open) return;
  if (replies_.view().empty() && !send_.in_flight) return end_now();
  state_ = State::flushing;
  server_.worker().timers().set(timer_, server_.now().boot_ns + kLastSendSeconds * kNanosecondsPerSecond);
}

void Inbound::end_now() {
  if (state_ == State::closing) return;
  state_ = State::closing;
  // An answer that came but was not given: the message is in the queue, the client will not know.
  if (late_answer_) {
    late_answer_.reset();
    answer_message(smtp::StoreResult::stored);
  }
  if (!finishing_) abandon_message();  // what is being committed will be, and answers then
  close_when_quiet();
}

// Cancels what is in flight, then closes; the last completion gives the slot back.
void Inbound::close_when_quiet() {
  if (state_ != State::closing) return;
  if (receive_.in_flight) server_.ring().cancel(receive_);
  if (send_.in_flight) server_.ring().cancel(send_);
  if (receive_.in_flight || send_.in_flight || close_.in_flight || intake_ != nullptr || login_ != nullptr) {
    return;
  }
  if (socket_ >= 0) {
    close_.handler = core::completion_handler<&Inbound::on_closed>;
    server_.ring().close(std::exchange(socket_, -1), close_);
    return;
  }
  server_.connection_ended(*this);
}

void Inbound::on_closed(core::Completion&, const core::Outcome&) noexcept { close_when_quiet(); }

void Inbound::begin_drain() {
  draining_ = true;
  if (state_ == State::open && !waiting_ && !send_.in_flight && !session_.in_message() && held_.empty()) {
    say_goodbye("4.3.2 the server is shutting down");
  }
}

std::int64_t Inbound::deadline_ns() const {
  const policy::Settings::Limits& limits = server_.settings().limits;
  std::int64_t idle = limits.idle_seconds;
  if (session_.in_message()) idle = std::min<std::int64_t>(idle, smtp::SessionTimeouts::kDataSeconds);
  if (session_.awaits_proxy_header()) idle = smtp::SessionTimeouts::kProxyHeaderSeconds;
  if (tls_ != nullptr && !tls_->is_open()) {
    return handshake_ns_ + smtp::SessionTimeouts::kHandshakeSeconds * kNanosecondsPerSecond;
  }
  return std::min(active_ns_ + idle * kNanosecondsPerSecond,
                  started_ns_ + static_cast<std::int64_t>(limits.session_seconds) * kNanosecondsPerSecond);
}

void Inbound::set_timer() {
  server_.worker().timers().set(timer_, std::min(deadline_ns(), server_.now().boot_ns + kLookNanoseconds));
}

// When octets and the end of the stream come together, a multishot receive may give the octets only, and never tell of
// the end (seen with Linux 6.18: two wake-ups are answered by one look). A receive that is armed anew looks first.
void Inbound::look_for_end() {
  const bool is_silent = server_.now().boot_ns - active_ns_ >= kLookNanoseconds;
  if (!is_silent || looked_ns_ == active_ns_ || !receive_.in_flight || receive_cancelled_) return;
  looked_ns_ = active_ns_;
  receive_cancelled_ = true;
  server_.ring().cancel(receive_);
}

void Inbound::on_timer(core::Timer&) noexcept {
  const std::int64_t now = server_.now().boot_ns;
  if (state_ == State::open) {
    // While the disk has the message, or the password is being checked, the client is not the one who is late.
    arm_receive();
    look_for_end();
    const bool ours = waiting_ && (intake_ != nullptr || login_ != nullptr);
    const std::int64_t deadline = ours ? now + kNanosecondsPerSecond : deadline_ns();
    const std::int64_t again = std::min(deadline, now + (starved_ ? kStarvedNanoseconds : kLookNanoseconds));
    if (now < deadline) return server_.worker().timers().set(timer_, again);
    server_.counters().timeouts.add();
    core::LogLine(server_.log(), server_.now(), core::Severity::info, "timeout")
        .add("client", session_.client().address)
        .add("in_message", session_.in_message() ? "yes" : "no")
        .flood_key(session_.client().address.low());
    if (session_.awaits_proxy_header()) return end_now();
    return say_goodbye("4.4.2 idle too long, closing");
  }
  end_now();
}

}  // namespace postern::net
