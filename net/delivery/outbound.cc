#include "net/delivery/outbound.h"

#include <fcntl.h>

#include <algorithm>
#include <array>
#include <cstring>
#include <utility>

#include "net/worker_server.h"

namespace postern::net {
namespace {

using core::kNanosecondsPerSecond;
using smtp::ClientEvent;

constexpr std::size_t kCommandBytes = 4096;
constexpr std::int64_t kConnectSeconds = 30;   // as the field does; the kernel alone would try two minutes
constexpr std::int64_t kKeptSeconds = 5;       // an idle connection waits for more work
constexpr std::int64_t kQuitSeconds = 5;
constexpr std::int64_t kStarvedNanoseconds = 10 * core::kNanosecondsPerMillisecond;  // then receive buffers may be back

std::string peer_name(const policy::NextHop& hop, const core::IpAddress& address) {
  const std::string port = ":" + std::to_string(hop.port);
  return hop.address ? core::Endpoint{address, hop.port}.text() : hop.host + "[" + address.text() + "]" + port;
}

}  // namespace

Outbound::Outbound(WorkerServer& server, Lane& lane, std::size_t hop, const core::IpAddress& address)
    : server_(server),
      lane_(lane),
      target_(lane.target()),
      hop_(hop),
      endpoint_{address, target_->to[hop].port},
      peer_(peer_name(target_->to[hop], address)),
      connect_(core::completion_handler<&Outbound::on_connect>, this),
      receive_(core::completion_handler<&Outbound::on_receive>, this),
      send_(core::completion_handler<&Outbound::on_sent>, this),
      file_operation_(core::completion_handler<&Outbound::on_file>, this),
      close_(core::completion_handler<&Outbound::on_closed>, this),
      timer_(core::timer_handler<&Outbound::on_timer>, this),
      starved_(core::timer_handler<&Outbound::on_starved>, this),
      session_({target_->to[hop].protocol == policy::NextHopProtocol::lmtp, target_->hostname,
                start_tls_for(*target_, hop, server.now().boot_ns)}) {}

Outbound::~Outbound() {
  server_.worker().timers().cancel(timer_);
  server_.worker().timers().cancel(starved_);
  held_.clear(server_.links(), server_.ring());
  if (command_memory_ != nullptr) server_.session_pool().give_back(command_memory_, kCommandBytes);
  if (file_memory_ != nullptr) server_.content_pool().give_back(file_memory_, core::BlockPool::kLargest);
}

void Outbound::start() {
  command_memory_ = server_.session_pool().take(kCommandBytes);
  const core::Result<int> socket =
      command_memory_ == nullptr ? core::fail("no memory for a connection") : core::Ring::make_socket(endpoint_, nullptr);
  server_.worker().timers().set(timer_, server_.now().boot_ns + kConnectSeconds * kNanosecondsPerSecond);
  if (!socket) {
    lane_.connect_failed(*this, socket.error().text);
    state_ = State::closing;
    // Its slot goes back in a later turn, not under the feet of the lane that is opening it.
    server_.worker().timers().set(timer_, server_.now().boot_ns);
    return;
  }
  commands_ = smtp::CommandBuffer(command_memory_, kCommandBytes);
  socket_ = *socket;
  server_.ring().connect(socket_, address_, endpoint_.to_sockaddr(address_), connect_);
}

void Outbound::on_connect(core::Completion&, const core::Outcome& outcome) noexcept {
  if (state_ == State::closing) return close_when_quiet();
  if (outcome.result < 0) {
    lane_.connect_failed(*this, std::strerror(-outcome.result));
    return close();
  }
  state_ = State::open;
  lane_.connected();
  arm_receive();
  set_timer();
}

// --- the peer speaks -----------------------------------------------------------------------------------------------

void Outbound::arm_receive() {
  if (state_ != State::open || receive_.in_flight || input_ended_ || held_.is_full()) return;
  // Armed without a buffer it would end at once, again and again.
  if (server_.ring().buffers_free() == 0) {
    server_.worker().timers().set(starved_, server_.now().boot_ns + kStarvedNanoseconds);
    return;
  }
  server_.ring().receive(socket_, receive_);
}

void Outbound::on_starved(core::Timer&) noexcept { arm_receive(); }

void Outbound::on_receive(core::Completion&, const core::Outcome& outcome) noexcept {
  if (outcome.has_buffer) {
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
  pump();
  if (state_ != State::open) return;
  if (held_.is_full() && receive_.in_flight) server_.ring().cancel(receive_);
  arm_receive();
}

// Lets the session go on with what was received. While a send is under way its buffer is the kernel's: wait.
void Outbound::pump() {
  if (state_ != State::open || send_.in_flight) return;
  for (bool go_on = true; go_on && state_ == State::open;) {
    const std::string_view received = input();
    if (tls_ != nullptr && (tls_failed_ || !tls_->is_open())) break;  // the handshake is under way, or all is over
    const smtp::ClientStep step = session_.advance(received, commands_);
    if (step.consumed != 0) heard_ = true;
    go_on = handle(step);
    consume(step.consumed);
    // A reply that overtook the content is kept for content_sent(), and what follows it is left where it is.
    if (step.event == ClientEvent::need_input && (!has_input() || step.consumed == 0)) break;
  }
  if (state_ != State::open) return close_when_quiet();
  if (tls_wanted_) return begin_handshake();
  if (tls_ != nullptr) {
    send_encrypted();
    if (tls_failed_ || state_ != State::open) return;
  } else if (!commands_.view().empty() && !sending_content() && !send_.in_flight) {
    server_.ring().send(socket_, commands_.view(), send_);
  }
  if (input_ended_ && !has_input()) {
    if (handshake_until_ns_ != 0) return lose("4.7.5", "the connection was closed by the other side in the TLS handshake");
    return lose("4.4.2", "the connection was closed by the other side");
  }
  set_timer();
}

// False: stop advancing.
bool Outbound::handle(const smtp::ClientStep& step) {
  switch (step.event) {
    case ClientEvent::need_input:
      return true;
    case ClientEvent::flush:
      return false;
    case ClientEvent::start_tls:
      tls_wanted_ = true;
      return false;
    case ClientEvent::ready:
      if (!was_ready_) {
        was_ready_ = true;
        lane_.hop_works(*this);
      }
      if (job_ == nullptr && !draining_ && !session_.exhausted() &&
          session_.transactions() < lane_.target()->messages_per_connection) {
        if (DeliveryJob* job = lane_.next_job()) {
          begin(*job);
          return true;
        }
        return false;
      }
      if (job_ == nullptr) {
        session_.quit(commands_);
        return true;
      }
      return false;
    case ClientEvent::send_content:
      start_content(step);
      return false;
    case ClientEvent::result:
      take_result(step.result);
      return true;
    case ClientEvent::done:
      finish_job(false);
      return true;
    case ClientEvent::broken:
      if (job_ == nullptr && !was_ready_) fail_hop(step.result);
      finish_job(true);
      close();
      return false;
    case ClientEvent::closed:
      close();
      return false;
  }
  return false;
}

// --- jobs ----------------------------------------------------------------------------------------------------------

void Outbound::begin(DeliveryJob& job) {
  job_ = &job;
  job.batch->set_peer(peer_);
  job.batch->tls = tls_ == nullptr ? std::string_view{} : tls_->facts().protocol;
  job.batch->tls_verified = tls_ != nullptr && target_->tls_context->verifies();
  reused_ = session_.transactions() != 0;
  heard_ = false;
  session_.begin(job.batch->transaction);
}

void Outbound::take_result(const smtp::RecipientResult& result) {
  JobResult& to = job_->batch->results[result.index];
  to.set(result.code, result.enhanced, result.text, result.by_peer);
  to.dsn_passed_on = result.dsn_passed_on;
}

// A kept connection may have been closed by the peer just before we used it: no fault of this message.
bool Outbound::worth_another_connection() const {
  if (!reused_ || job_->batch->was_retried) return false;
  const auto& results = job_->batch->results;
  return std::all_of(results.begin(), results.end(), [this](const JobResult& r) {
    return (!r.by_peer && !heard_ && r.code >= 400 && r.code < 500) || r.code == 421;
  });
}

// It never got as far as a transaction: the greeting or EHLO went wrong. Its words go to whoever waits.
void Outbound::fail_hop(const smtp::RecipientResult& cause) {
  if (gives_up_tls()) return avoid_tls(cause.text);
  if (session_.tried_tls()) server_.counters().outbound_tls_failed.add();
  std::string words = cause.by_peer ? std::to_string(cause.code) + " " : std::string();
  if (cause.by_peer && !cause.enhanced.empty()) words += std::string(cause.enhanced) + " ";
  words += cause.text;
  const bool by_tls = !cause.by_peer && cause.enhanced.starts_with("4.7.");
  lane_.hop_failed(*this, words, by_tls ? cause.enhanced : Lane::kUnreachable);
}

void Outbound::finish_job(bool broken) {
  if (job_ == nullptr) return;
  DeliveryJob& job = *std::exchange(job_, nullptr);
  if (broken) {
    job_ = &job;
    const bool again = worth_another_connection();
    job_ = nullptr;
    if (again) {
      job.batch->was_retried = true;
      return lane_.put_back(job);
    }
  }
  lane_.finish(job);
}

void Outbound::wake() {
  if (is_idle()) pump();
}

void Outbound::begin_drain() {
  draining_ = true;
  if (state_ == State::connecting) return close();
  if (is_idle()) pump();
}

// --- sending -------------------------------------------------------------------------------------------------------

void Outbound::on_sent(core::Completion&, const core::Outcome& outcome) noexcept {
  tls_ == nullptr ? clear_commands() : tls_->output_sent();
  if (state_ == State::closing) return close_when_quiet();
  if (tls_failed_) return lose("4.7.5", tls_trouble());
  if (outcome.result < 0) return lose("4.4.2", std::strerror(-outcome.result));
  if (sending_content()) {
    send_more();
    if (sending_content() || state_ != State::open) return set_timer();
  }
  pump();
  arm_receive();
}

// --- the end -------------------------------------------------------------------------------------------------------

// The session hands out what it can say about the open recipients, then ends.
void Outbound::lose(std::string_view enhanced, std::string_view text) {
  if (state_ != State::open) return;
  content_step_ = ContentStep::none;
  draining_ = true;  // no new job for this connection
  // Nothing that the session still writes is sent; the kernel may hold the other buffer.
  std::array<char, kCommandBytes> memory;
  smtp::CommandBuffer unsent(memory.data(), memory.size());
  // What the peer said before it left counts: "552 too big" and a reset is a refusal, not a lost connection.
  for (bool told = false; state_ == State::open;) {
    const std::string_view received = told ? std::string_view{} : input();
    unsent.clear();
    const smtp::ClientStep step = session_.advance(received, unsent);
    const bool is_over = step.event == ClientEvent::start_tls || step.event == ClientEvent::need_input || step.event == ClientEvent::flush ||
                         step.event == ClientEvent::send_content || step.event == ClientEvent::ready;
    if (!is_over) handle(step);
    consume(step.consumed);
    if (!is_over || state_ != State::open) continue;
    if (!told && step.consumed != 0) continue;
    if (told) {
      close();  // nothing was open
    } else {
      told = true;
      session_.connection_lost(enhanced, text);
    }
  }
  close_when_quiet();
}

void Outbound::close() {
  if (state_ == State::closing) return;
  const bool was_connecting = state_ == State::connecting;
  state_ = State::closing;
  if (was_connecting && connect_.in_flight) lane_.connect_failed(*this, "connection attempt given up");
  close_when_quiet();
}

void Outbound::close_when_quiet() {
  if (state_ != State::closing) return;
  core::Ring& ring = server_.ring();
  if (connect_.in_flight) ring.cancel(connect_);
  if (receive_.in_flight) ring.cancel(receive_);
  if (send_.in_flight) ring.cancel(send_);
  if (connect_.in_flight || receive_.in_flight || send_.in_flight || file_operation_.in_flight || close_.in_flight) return;
  if (file_ >= 0) return ring.close(std::exchange(file_, -1), close_);
  if (socket_ >= 0) return ring.close(std::exchange(socket_, -1), close_);
  lane_.closed(*this);
}

void Outbound::on_closed(core::Completion&, const core::Outcome&) noexcept { close_when_quiet(); }

void Outbound::set_timer() {
  if (state_ != State::open) return;
  std::int64_t seconds = session_.timeout_seconds();
  if (seconds == 0) seconds = kKeptSeconds;
  // All of a handshake has its time, whatever dribbles in.
  if (handshake_until_ns_ != 0) return server_.worker().timers().set(timer_, handshake_until_ns_);
  server_.worker().timers().set(timer_, server_.now().boot_ns + seconds * kNanosecondsPerSecond);
}

void Outbound::on_timer(core::Timer&) noexcept {
  switch (state_) {
    case State::connecting:
      lane_.connect_failed(*this, "connection timed out");
      state_ = State::closing;
      return close_when_quiet();
    case State::open:
      if (is_idle()) {
        session_.quit(commands_);
        pump();
        if (state_ == State::open) {
          server_.worker().timers().set(timer_, server_.now().boot_ns + kQuitSeconds * kNanosecondsPerSecond);
        }
        return;
      }
      if (tls_failed_) return lose("4.7.5", tls_trouble());
      server_.counters().timeouts.add();
      if (handshake_until_ns_ != 0) return lose("4.7.5", "the other side did not end the TLS handshake in time");
      return lose("4.4.2", "the other side did not answer in time");
    case State::closing:
      return close_when_quiet();
  }
}

}  // namespace postern::net
