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

// One send takes all that is held, from the buffers that it was received into.
void Front::forward(Side& from, Side& to) {
  if (to.send.in_flight) return;
  if (to.output_ended) return from.held.clear(server_.links(), server_.ring());
  if (from.held.empty()) {
    if (from.input_ended) end_output(to);
    return;
  }
  const std::size_t buffers = from.held.gather(server_.links(), server_.ring(), to.parts);
  to.borrowed = static_cast<std::uint8_t>(buffers);
  to.send_since_ns = server_.now().boot_ns;
  if (buffers == 1) {
    const std::string_view octets(static_cast<const char*>(to.parts[0].iov_base), to.parts[0].iov_len);
    return server_.ring().send(to.socket, octets, to.send);
  }
  to.message.msg_iov = to.parts.data();
  to.message.msg_iovlen = buffers;
  server_.ring().send(to.socket, to.message, to.send);
}

// A send to `to` is over: the buffers go back.
void Front::forwarded(Side& from, Side& to, const core::Outcome& outcome) {
  if (to.copy != nullptr) {
    server_.session_pool().give_back(std::exchange(to.copy, nullptr), core::BlockPool::kLargest);
  } else {
    std::size_t octets = 0;
    for (std::size_t i = 0; i < to.borrowed; ++i) octets += to.parts[i].iov_len;
    const std::size_t sent = outcome.result > 0 ? static_cast<std::size_t>(outcome.result) : 0;
    if (std::exchange(to.is_relieved, false) && sent < octets && (sent != 0 || outcome.result == -ECANCELED)) {
      return copy_rest(from, to, sent);
    }
    Counters& counters = server_.counters();
    (&to == &client_ ? counters.mailbox_bytes_to_clients : counters.mailbox_bytes_to_stores).add(octets);
    from.held.drop(server_.links(), server_.ring(), std::exchange(to.borrowed, std::uint8_t{0}));
  }
  if (outcome.result < 0) return broke(to);
  active_ns_ = server_.now().boot_ns;
}

void Front::relieve(std::int64_t before_ns) {
  if (state_ != State::passing) return;
  for (Side* to : {&client_, &store_}) {
    if (!to->send.in_flight || to->borrowed == 0 || to->is_relieved || to->send_since_ns > before_ns) continue;
    to->is_relieved = true;
    server_.ring().cancel(to->send);
  }
}

// The send was taken back: what it did not send goes on from a block, and the receive buffers are free for others.
void Front::copy_rest(Side& from, Side& to, std::size_t sent) {
  static_assert(HeldInput::kHeldMax * core::RingOptions{}.buffer_bytes <= core::BlockPool::kLargest);
  Counters& counters = server_.counters();
  to.copy = server_.session_pool().take(core::BlockPool::kLargest);
  if (to.copy == nullptr) {
    counters.connections_shed.add();
    return end_now();
  }
  counters.mailbox_slow_readers.add();
  std::size_t copied = 0;
  std::size_t octets = 0;
  for (std::size_t i = 0; i < to.borrowed; ++i) {
    const std::string_view part(static_cast<const char*>(to.parts[i].iov_base), to.parts[i].iov_len);
    const std::size_t skipped = std::min(sent, part.size());
    sent -= skipped;
    octets += part.size();
    copied += part.substr(skipped).copy(to.copy + copied, part.size());
  }
  (&to == &client_ ? counters.mailbox_bytes_to_clients : counters.mailbox_bytes_to_stores).add(octets);
  from.held.drop(server_.links(), server_.ring(), std::exchange(to.borrowed, std::uint8_t{0}));
  server_.ring().send(to.socket, std::string_view(to.copy, copied), to.send);
}

// Nothing more will be said to it.
void Front::end_output(Side& side) {
  side.output_ended = true;
  if (!side.other.in_flight) server_.ring().shutdown(side.socket, side.other);
}

// The connection is lost.
void Front::broke(Side& side) { side.output_ended = true; }

}  // namespace postern::net
