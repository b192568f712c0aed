// A client of the front after its login: octets both ways, unchanged.
#include <algorithm>
#include <cerrno>
#include <cstring>
#include <utility>

#include "net/front/front.h"
#include "net/tls_channel.h"
#include "net/worker_server.h"

namespace postern::net {

void Front::begin_passing() {
  passing_wanted_ = false;
  end_session();
  state_ = State::passing;
  active_ns_ = server_.now().boot_ns;
  set_timer();
  pass();
}

// Whatever can be done now, in both directions.
void Front::pass() {
  const bool was_half = client_.output_ended || store_.output_ended;
  if (tls_ != nullptr) {
    pass_up_encrypted();
    if (state_ == State::passing) pass_down_encrypted();
  } else {
    forward(client_, store_);
    forward(store_, client_);
  }
  if (state_ != State::passing) return;
  const bool is_half = client_.output_ended || store_.output_ended;
  if (client_.output_ended && store_.output_ended) {
    return client_.input_ended || client_.send.in_flight ? end_now() : linger();
  }
  if (is_half && !was_half) set_timer();
  arm(client_);
  arm(store_);
}

// True: the next receive is under way and will bring more before long, or else flush_deferred() ends the wait.
bool Front::waits_for_more(const Side& from) {
  if (!from.has_more || has_waited_ || from.held.is_full() || from.input_ended || from.copy != nullptr) return false;
  if (!std::exchange(is_deferred_, true)) server_.fronts().defer(*this);
  is_fresh_ = true;
  return true;
}

// The turn in which it was put off does not count: what was asked for then could not come yet.
bool Front::flush_deferred() {
  if (std::exchange(is_fresh_, false)) return true;
  is_deferred_ = false;
  if (state_ != State::passing) return false;
  has_waited_ = true;
  pass();
  has_waited_ = false;
  return false;
}

// One send takes all that is held, from the buffers that it was received into.
void Front::forward(Side& from, Side& to) {
  if (to.send.in_flight) return;
  if (to.output_ended) return consume(from, SIZE_MAX);
  if (next_of(from).empty()) {
    if (from.input_ended) end_output(to);
    return;
  }
  if (waits_for_more(from)) return;
  to.send_since_ns = server_.now().boot_ns;
  if (from.copy != nullptr) return server_.ring().send(to.socket, next_of(from), to.send);
  const std::size_t buffers = from.held.gather(server_.links(), server_.ring(), to.parts);
  to.borrowed = static_cast<std::uint8_t>(buffers);
  if (buffers == 1) return server_.ring().send(to.socket, next_of(from), to.send);
  to.message.msg_iov = to.parts.data();
  to.message.msg_iovlen = buffers;
  server_.ring().send(to.socket, to.message, to.send);
}

// A send to `to` is over: the buffers go back.
void Front::forwarded(Side& from, Side& to, const core::Outcome& outcome) {
  const bool is_relieved = std::exchange(to.is_relieved, false);
  const std::size_t buffers = std::exchange(to.borrowed, std::uint8_t{0});
  std::size_t octets = 0;
  for (std::size_t i = 0; i < buffers; ++i) octets += to.parts[i].iov_len;
  const std::size_t sent = outcome.result > 0 ? static_cast<std::size_t>(outcome.result) : 0;
  if (is_relieved && sent < octets && (sent != 0 || outcome.result == -ECANCELED)) {
    count(to, sent);
    return copy_out(from, sent);
  }
  if (from.copy != nullptr) {
    octets = next_of(from).size();
    consume(from, octets);
  } else {
    from.held.drop(server_.links(), server_.ring(), buffers);
  }
  if (outcome.result < 0) return broke(to);
  count(to, octets);
  active_ns_ = server_.now().boot_ns;
}

void Front::count(const Side& to, std::size_t octets) {
  Counters& counters = server_.counters();
  (&to == &client_ ? counters.mailbox_bytes_to_clients : counters.mailbox_bytes_to_stores).add(octets);
}

std::string_view Front::next_of(const Side& from) const {
  if (from.copy != nullptr) return {from.copy + from.copy_begin, from.copy_end - from.copy_begin};
  return from.held.front(server_.links(), server_.ring());
}

// SIZE_MAX: all of it.
void Front::consume(Side& from, std::size_t octets) {
  if (from.copy != nullptr) {
    from.copy_begin += static_cast<std::uint32_t>(std::min<std::size_t>(octets, from.copy_end - from.copy_begin));
    if (from.copy_begin == from.copy_end) {
      server_.fronts().pool().give_back(std::exchange(from.copy, nullptr), core::BlockPool::kLargest);
    }
    if (octets != SIZE_MAX) return;
  }
  if (octets == SIZE_MAX) return from.held.clear(server_.links(), server_.ring());
  from.held.consume(server_.links(), server_.ring(), octets);
}

// --- slow readers --------------------------------------------------------------------------------------------------

void Front::relieve(std::int64_t before_ns) {
  if (state_ != State::passing) return;
  for (Side* to : {&client_, &store_}) {
    Side& from = to == &client_ ? store_ : client_;
    const bool is_slow = to->send.in_flight && to->send_since_ns <= before_ns;
    if (!is_slow || to->is_relieved || from.copy != nullptr || from.held.empty()) continue;
    if (from.receive.in_flight) server_.ring().cancel(from.receive);
    if (to->borrowed != 0) {
      to->is_relieved = true;  // the kernel has the buffers: they are copied when the send was taken back
      server_.ring().cancel(to->send);
    } else {
      copy_out(from, 0);
    }
    if (state_ != State::passing) return;
  }
}

// All that is held of a side goes on from a block, but for the first `sent` octets.
void Front::copy_out(Side& from, std::size_t sent) {
  static_assert(HeldInput::kHeldMax * core::RingOptions{}.buffer_bytes <= core::BlockPool::kLargest);
  from.copy = server_.fronts().pool().take(core::BlockPool::kLargest);
  if (from.copy == nullptr) {
    server_.counters().connections_shed.add();
    return end_now();
  }
  server_.counters().mailbox_slow_readers.add();
  std::size_t copied = 0;
  while (!from.held.empty()) {
    std::string_view octets = from.held.front(server_.links(), server_.ring());
    const std::size_t whole = octets.size();
    octets.remove_prefix(std::min(sent, whole));
    sent -= whole - octets.size();
    copied += octets.copy(from.copy + copied, octets.size());
    from.held.consume(server_.links(), server_.ring(), whole);
  }
  from.copy_begin = 0;
  from.copy_end = static_cast<std::uint32_t>(copied);
}

// --- ends ----------------------------------------------------------------------------------------------------------

// Nothing more will be said to it.
void Front::end_output(Side& side) {
  side.output_ended = true;
  if (!side.other.in_flight) server_.ring().shutdown(side.socket, side.other);
}

// The connection is lost.
void Front::broke(Side& side) { side.output_ended = true; }

}  // namespace postern::net
