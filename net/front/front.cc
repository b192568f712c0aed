// A client of the front from accept to close: who it is, its receives, its timers, and how it ends.
#include "net/front/front.h"

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <utility>

#include "net/front/outputs.h"
#include "net/smtp/proxy_protocol.h"
#include "net/tls_channel.h"
#include "net/worker_server.h"

namespace postern::net {
namespace {

using core::kNanosecondsPerSecond;
using mailbox::SessionTimeouts;

constexpr std::int64_t kLastWordsSeconds = 10;    // how long the last octets may take
constexpr std::int64_t kLingerSeconds = 2;        // how long a client may take to read why it was sent away
constexpr std::int64_t kHalfClosedSeconds = 60;   // without an octet, after one side has ended
constexpr std::int64_t kDrainQuietSeconds = 1;    // without an octet: nothing is under way
constexpr std::int64_t kLookNanoseconds = 5 * kNanosecondsPerSecond;
constexpr std::int64_t kStarvedNanoseconds = 10 * core::kNanosecondsPerMillisecond;  // then buffers may be back

}  // namespace

Front::Front(WorkerServer& server, int socket, const core::Endpoint& peer, std::size_t mailbox)
    : server_(server),
      mailbox_(static_cast<std::uint32_t>(mailbox)),
      client_at_(peer),
      started_ns_(server.now().boot_ns),
      active_ns_(started_ns_),
      timer_(core::timer_handler<&Front::on_timer>, this) {
  const auto bind = [this](core::Completion& completion, core::Completion::Handler handler) {
    completion.handler = handler;
    completion.owner = this;
  };
  bind(client_.receive, core::completion_handler<&Front::on_client_received>);
  bind(client_.send, core::completion_handler<&Front::on_client_sent>);
  bind(client_.other, core::completion_handler<&Front::on_shut>);
  bind(store_.receive, core::completion_handler<&Front::on_store_received>);
  bind(store_.send, core::completion_handler<&Front::on_store_sent>);
  bind(store_.other, core::completion_handler<&Front::on_store_connected>);
  client_.socket = socket;
  is_behind_proxy_ = server.settings().mailboxes[mailbox].proxy_protocol;
}

Front::~Front() {
  server_.worker().timers().cancel(timer_);
  client_.held.wipe_all(server_.links(), server_.ring());  // a login that nobody waited for may be in it
  store_.held.clear(server_.links(), server_.ring());
  for (Side* side : {&client_, &store_}) {
    if (side->copy != nullptr) server_.fronts().pool().give_back(side->copy, core::BlockPool::kLargest);
  }
  if (header_ != nullptr) server_.fronts().pool().give_back(header_, smtp::kProxyHeaderBytesMax);
  end_session();
  if (tls_ != nullptr) server_.tls_channels().destroy(tls_);
  if (is_machine_counted_) server_.shared().machines.leave(client_at_.address);
}

void Front::start() {
  core::Ring::set_no_delay(client_.socket);
  set_timer();
  if (!is_behind_proxy_) return admit();
  if (server_.snapshot().policy.believes_proxy(client_at_.address)) return arm(client_);
  server_.counters().connections_dropped.add();
  end_now();
}

// --- who connects --------------------------------------------------------------------------------------------------

void Front::read_proxy_header() {
  HeldInput& held = client_.held;
  while (state_ == State::proxy_header && !held.empty()) {
    const std::string_view input = held.front(server_.links(), server_.ring());
    std::string_view so_far = input;
    std::size_t taken = 0;
    if (header_ != nullptr) {
      taken = input.copy(header_ + header_bytes_, smtp::kProxyHeaderBytesMax - header_bytes_);
      so_far = {header_, header_bytes_ + taken};
    }
    const smtp::ProxyHeader header = smtp::parse_proxy_header(so_far);
    if (header.status == smtp::ProxyHeaderStatus::malformed) {
      server_.counters().connections_dropped.add();
      return end_now();
    }
    if (header.status == smtp::ProxyHeaderStatus::need_more) {
      if (header_ == nullptr) {
        header_ = server_.fronts().pool().take(smtp::kProxyHeaderBytesMax);
        if (header_ == nullptr) return end_now();
        taken = input.copy(header_, smtp::kProxyHeaderBytesMax);
      }
      header_bytes_ += taken;
      held.consume(server_.links(), server_.ring(), taken);
      continue;
    }
    held.consume(server_.links(), server_.ring(), header.bytes - header_bytes_);
    is_address_unknown_ = !header.has_client;
    if (header.has_client) client_at_ = header.client;
    admit();
  }
}

// The address is known: may it connect, and is it one too many?
void Front::admit() {
  const core::IpAddress& machine = client_at_.address;
  if (header_ != nullptr) {
    server_.fronts().pool().give_back(std::exchange(header_, nullptr), smtp::kProxyHeaderBytesMax);
  }
  const policy::MailboxSettings& rules = server_.settings().mailboxes[mailbox_];
  if (!server_.snapshot().admits(mailbox_, machine)) {
    server_.counters().refusals.add();
    core::LogLine(server_.log(), server_.now(), core::Severity::info, "reject")
        .add("service", rules.name)
        .add("client", machine)
        .add("rule", "access_not_listed")
        .flood_key(machine.low() ^ machine.high());
    return refuse(FrontRefusal::not_admitted);
  }
  if (is_behind_proxy_ && server_.is_barred(machine)) return refuse(FrontRefusal::barred);
  if (!server_.shared().machines.enter(machine, server_.settings().limits.connections_per_machine)) {
    server_.counters().connections_shed.add();
    core::LogLine(server_.log(), server_.now(), core::Severity::warning, "shed")
        .add("service", rules.name)
        .add("client", machine)
        .add("reason", "too many connections of this machine")
        .flood_key(machine.low() ^ machine.high());
    return refuse(FrontRefusal::too_many);
  }
  is_machine_counted_ = true;
  state_ = State::talking;
  if (rules.tls == policy::TlsMode::implicit) {
    begin_handshake();
  } else {
    begin_session();
  }
  pump();
}

void Front::refuse(FrontRefusal why) {
  const policy::MailboxSettings& rules = server_.settings().mailboxes[mailbox_];
  // Where TLS comes first plain words would only be noise.
  if (rules.tls == policy::TlsMode::implicit) return end_now();
  client_.held.clear(server_.links(), server_.ring());
  end_after_words();
  server_.ring().send(client_.socket, refusal_line(rules.protocol, why), client_.send);
}

// --- octets come in ------------------------------------------------------------------------------------------------

// One buffer a receive: what is held never passes its bound, and an end that comes with octets is told by the next one.
void Front::arm(Side& side) {
  if (side.socket < 0 || side.receive.in_flight || side.input_ended || side.held.is_full()) return;
  if (side.copy != nullptr) return;  // a slow reader has enough to read
  if (server_.fronts().buffers_scarce() && server_.ring().buffers_free() == 0) {
    side.is_starved = true;
    server_.worker().timers().set(timer_, server_.now().boot_ns + kStarvedNanoseconds);
    return;
  }
  server_.ring().receive_once(side.socket, side.receive);
}

void Front::take_received(Side& side, const core::Outcome& outcome) {
  side.has_more = outcome.has_buffer && static_cast<std::uint32_t>(outcome.result) == server_.ring().buffer_bytes();
  if (outcome.has_buffer) {
    const bool is_wanted = state_ != State::lingering && state_ != State::flushing && state_ != State::closing;
    if (is_wanted) {
      side.held.push(server_.links(), outcome.buffer, static_cast<std::uint32_t>(outcome.result));
    } else {
      server_.ring().release_buffer(outcome.buffer);
    }
  } else if (outcome.result == -ENOBUFS) {
    server_.counters().receive_buffers_exhausted.add();
    side.is_starved = true;
    server_.worker().timers().set(timer_, server_.now().boot_ns + kStarvedNanoseconds);
  } else if (outcome.result != -ECANCELED) {
    side.input_ended = true;
    if (outcome.result < 0) broke(side);
  }
}

void Front::on_client_received(core::Completion&, const core::Outcome& outcome) noexcept {
  if (outcome.has_buffer) active_ns_ = server_.now().boot_ns;
  take_received(client_, outcome);
  switch (state_) {
    case State::proxy_header:
      read_proxy_header();
      if (state_ != State::proxy_header) return;
      if (client_.input_ended) return end_now();
      if (!client_.is_starved) arm(client_);
      return;
    case State::talking:
      return pump();
    case State::passing:
      return pass();
    case State::flushing:
      return;
    case State::lingering:
      if (client_.input_ended) return end_now();
      if (!client_.is_starved) arm(client_);
      return;
    case State::closing:
      return close_when_quiet();
  }
}

void Front::on_store_received(core::Completion&, const core::Outcome& outcome) noexcept {
  const std::int64_t now = server_.now().boot_ns;
  if (outcome.has_buffer) (state_ == State::passing ? active_ns_ : store_active_ns_) = now;
  take_received(store_, outcome);
  if (state_ == State::talking) return pump();
  if (state_ == State::passing) return pass();
  if (state_ == State::closing) close_when_quiet();
}

// --- the end -------------------------------------------------------------------------------------------------------

void Front::say_goodbye(std::string_view text) {
  const bool in_handshake = tls_wanted_ || (tls_ != nullptr && !tls_->is_open());
  if (session_ == nullptr || in_handshake || client_.send.in_flight || !take_outputs()) return end_now();
  session_->say_goodbye(text, outputs_->to_client);
  end_after_words();
  send_outputs();
  if (!client_.send.in_flight) linger();  // it had nothing to say
}

// No more input; the connection ends when the last words are out.
void Front::end_after_words() {
  if (state_ == State::closing) return;
  state_ = State::flushing;
  last_ns_ = server_.now().boot_ns + kLastWordsSeconds * kNanosecondsPerSecond;
  set_timer();
  if (store_.receive.in_flight) server_.ring().cancel(store_.receive);
}

// What the client sent meanwhile lies unread: closing now would reset the connection and take the last words with it.
void Front::linger() {
  client_.held.wipe_all(server_.links(), server_.ring());
  if (client_.input_ended) return end_now();
  state_ = State::lingering;
  last_ns_ = server_.now().boot_ns + kLingerSeconds * kNanosecondsPerSecond;
  set_timer();
  if (!client_.output_ended) {
    client_.output_ended = true;
    server_.ring().shutdown(client_.socket, client_.other);
  }
  arm(client_);
}

void Front::end_now() {
  if (state_ == State::closing) return;
  state_ = State::closing;
  close_when_quiet();
}

bool Front::is_quiet() const {
  const auto is_busy = [](const Side& side) {
    return side.receive.in_flight || side.send.in_flight || side.other.in_flight;
  };
  return !is_busy(client_) && !is_busy(store_);
}

// Cancels what is in flight, then closes; the last completion gives the slot back.
void Front::close_when_quiet() {
  if (state_ != State::closing) return;
  core::Ring& ring = server_.ring();
  for (Side* side : {&client_, &store_}) {
    if (side->receive.in_flight) ring.cancel(side->receive);
    if (side->send.in_flight) ring.cancel(side->send);
    if (is_connecting_ && side->other.in_flight) ring.cancel(side->other);
  }
  if (!is_quiet()) return;
  is_connecting_ = false;
  for (Side* side : {&client_, &store_}) {
    if (side->socket < 0) continue;
    side->other.handler = core::completion_handler<&Front::on_closed>;
    ring.close(std::exchange(side->socket, -1), side->other);
  }
  if (is_quiet()) server_.fronts().ended(*this);
}

void Front::on_shut(core::Completion&, const core::Outcome&) noexcept {
  if (state_ == State::closing) close_when_quiet();
}

void Front::on_closed(core::Completion&, const core::Outcome&) noexcept { close_when_quiet(); }

void Front::begin_drain(std::int64_t deadline_boot_ns) {
  drain_ns_ = deadline_boot_ns - kNanosecondsPerSecond;
  if (state_ == State::talking) return say_goodbye("Server is shutting down");
  if (state_ == State::proxy_header) return end_now();
  set_timer();
}

// --- time ----------------------------------------------------------------------------------------------------------

std::int64_t Front::deadline_ns() const {
  const auto after = [](std::int64_t since_ns, std::int64_t seconds) { return since_ns + seconds * kNanosecondsPerSecond; };
  switch (state_) {
    case State::proxy_header:
      return after(started_ns_, smtp::SessionTimeouts::kProxyHeaderSeconds);
    case State::talking:
      if (tls_ != nullptr && !tls_->is_open()) return after(handshake_ns_, SessionTimeouts::kHandshakeSeconds);
      if (session_ != nullptr && session_->awaits_store() && !client_.send.in_flight) {
        return after(store_active_ns_, SessionTimeouts::kStoreSeconds);
      }
      return std::min(after(active_ns_, SessionTimeouts::kIdleSeconds), after(started_ns_, SessionTimeouts::kLoginSeconds));
    case State::passing: {
      if (drain_ns_ != INT64_MAX) return std::min(after(active_ns_, kDrainQuietSeconds), drain_ns_);
      const bool is_half = client_.input_ended || store_.input_ended || client_.output_ended || store_.output_ended;
      const std::int64_t idle = server_.settings().mailboxes[mailbox_].idle_seconds;
      return after(active_ns_, is_half ? std::min(kHalfClosedSeconds, idle) : idle);
    }
    case State::flushing:
    case State::lingering:
    case State::closing:
      break;
  }
  return std::min(last_ns_, drain_ns_);
}

void Front::set_timer() {
  const std::int64_t soon = server_.now().boot_ns + kLookNanoseconds;
  server_.worker().timers().set(timer_, state_ == State::passing ? deadline_ns() : std::min(deadline_ns(), soon));
}

// Lazy: activity only notes the time, and the timer looks at it when it fires.
void Front::on_timer(core::Timer&) noexcept {
  if (state_ == State::closing) return;
  const bool was_starved = std::exchange(client_.is_starved, false) | std::exchange(store_.is_starved, false);
  if (was_starved) {
    arm(client_);
    if (state_ != State::flushing && state_ != State::lingering && !is_connecting_) arm(store_);
  }
  if (server_.now().boot_ns >= deadline_ns()) return too_late();
  if (!client_.is_starved && !store_.is_starved) set_timer();
}

void Front::too_late() {
  if (state_ == State::flushing || state_ == State::lingering) return end_now();
  if (state_ == State::talking && session_ != nullptr && session_->awaits_store() && !client_.send.in_flight &&
      !is_store_lost_) {
    lose_store("it did not answer in time");
    set_timer();
    return pump();
  }
  if (state_ == State::passing && drain_ns_ != INT64_MAX) return end_now();
  server_.counters().timeouts.add();
  core::LogLine(server_.log(), server_.now(), core::Severity::info, "timeout")
      .add("service", server_.settings().mailboxes[mailbox_].name)
      .add("client", client_at_.address)
      .add("after_login", state_ == State::passing ? "yes" : "no")
      .flood_key(client_at_.address.low());
  if (state_ == State::talking) return say_goodbye("Idle too long");
  end_now();
}

}  // namespace postern::net
