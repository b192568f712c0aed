// Listeners, connecting, sockets, far ends and what a crash does to them. The streams: sim_stream.cc.
#include "tests/sim/sim_network.h"

#include <algorithm>
#include <cerrno>
#include <poll.h>
#include <utility>

#include "tests/sim/ring_sim.h"
#include "tests/sim/sim_connection.h"
#include "tests/sim/sim_world.h"

namespace postern::sim {
namespace {

constexpr std::int64_t kConnectGivesUpNs = 127 * core::kNanosecondsPerSecond;  // Linux: six SYNs
constexpr std::int64_t kDeathNoticedNs = 5 * core::kNanosecondsPerSecond;

bool is_wildcard(const core::IpAddress& address) {
  return address == core::IpAddress{} || address == core::IpAddress::from_v4(0);
}

bool covers(const core::Endpoint& listener, const core::Endpoint& to) {
  return listener.port == to.port &&
         (listener.address == to.address ||
          (is_wildcard(listener.address) && listener.address.is_v4() == to.address.is_v4()));
}

}  // namespace

SimNetwork::SimNetwork(SimWorld& world)
    : world_(world), machine_address_(core::IpAddress::from_v4(0xc0000201)) {}  // 192.0.2.1

SimNetwork::~SimNetwork() = default;

SimSocket* SimNetwork::socket_of(std::int32_t descriptor) {
  SimDescriptor* open = world_.descriptor(descriptor);
  return open != nullptr ? open->socket.get() : nullptr;
}

SimConnection* SimNetwork::connection(std::uint32_t number) {
  return number < connections_.size() ? connections_[number].get() : nullptr;
}

// --- sockets made and asked -----------------------------------------------------------------------------------------

SimSocket* SimNetwork::add_socket(std::int32_t& descriptor) {
  auto made = std::make_unique<SimDescriptor>();
  made->socket = std::make_unique<SimSocket>();
  SimSocket* socket = made->socket.get();
  descriptor = world_.add_descriptor(std::move(made));
  if (descriptor < 0) return nullptr;
  socket->descriptor = descriptor;
  return socket;
}

core::Result<int> SimNetwork::listen_socket(const core::Endpoint& at) {
  if (!world_.is_on()) return core::fail_errno("listen on " + at.text(), EIO);
  if (far_listeners_.contains(at)) return core::fail_errno("listen on " + at.text(), EADDRNOTAVAIL);
  std::int32_t descriptor = -1;
  SimSocket* made = add_socket(descriptor);
  if (made == nullptr) return core::fail_errno("listen on " + at.text(), -descriptor);
  SimSocket& socket = *made;
  socket.state = SimSocket::State::listening;
  socket.local = at;
  if (socket.local.port == 0) socket.local.port = next_port_++;
  listeners_.push_back(&socket);
  return descriptor;
}

core::Result<int> SimNetwork::make_socket(const core::Endpoint& target, const core::Endpoint* source) {
  if (!world_.is_on()) return core::fail_errno("make a socket for " + target.text(), EIO);
  std::int32_t descriptor = -1;
  SimSocket* made = add_socket(descriptor);
  if (made == nullptr) return core::fail_errno("make a socket for " + target.text(), -descriptor);
  SimSocket& socket = *made;
  if (source != nullptr) {
    socket.local = *source;
  } else if (target.address.is_loopback() || !target.address.is_v4()) {
    socket.local.address = target.address.is_loopback() ? target.address : *core::IpAddress::parse("2001:db8::1");
  } else {
    socket.local.address = machine_address_;
  }
  if (socket.local.port == 0) socket.local.port = next_port_++;
  return descriptor;
}

std::optional<core::Endpoint> SimNetwork::peer_name(int descriptor) {
  SimSocket* socket = socket_of(descriptor);
  if (socket == nullptr || socket->state != SimSocket::State::connected) return std::nullopt;
  SimConnection* connected = connection(socket->connection);
  if (connected->ends[socket->side].is_reset) return std::nullopt;  // ENOTCONN
  return connected->ends[1 - socket->side].name;
}

std::optional<core::Endpoint> SimNetwork::local_name(int descriptor) {
  SimSocket* socket = socket_of(descriptor);
  if (socket == nullptr) return std::nullopt;
  if (socket->state != SimSocket::State::connected) return socket->local;
  return connection(socket->connection)->ends[socket->side].name;
}

bool SimNetwork::is_listening(const core::Endpoint& at) const {
  return far_listeners_.contains(at) ||
         std::any_of(listeners_.begin(), listeners_.end(), [&](const SimSocket* s) { return covers(s->local, at); });
}

void SimNetwork::set_silent(const core::IpAddress& address, bool is_silent) {
  is_silent ? static_cast<void>(silent_.insert(address)) : static_cast<void>(silent_.erase(address));
}

void SimNetwork::set_unreachable(const core::IpAddress& address, bool is_unreachable) {
  is_unreachable ? static_cast<void>(unreachable_.insert(address)) : static_cast<void>(unreachable_.erase(address));
}

// --- connecting -----------------------------------------------------------------------------------------------------

SimSocket* SimNetwork::find_listener(const core::Endpoint& to) {
  std::vector<SimSocket*> exact;
  std::vector<SimSocket*> wildcard;
  for (SimSocket* listener : listeners_) {
    if (listener->local == to) {
      exact.push_back(listener);
    } else if (covers(listener->local, to)) {
      wildcard.push_back(listener);
    }
  }
  const std::vector<SimSocket*>& found = exact.empty() ? wildcard : exact;
  return found.empty() ? nullptr : found[world_.random().below(found.size())];
}

SimConnection& SimNetwork::make_connection(const core::Endpoint& from, const core::Endpoint& to) {
  auto made = std::make_unique<SimConnection>();
  made->number = static_cast<std::uint32_t>(connections_.size());
  made->ends[0].name = from;
  made->ends[1].name = to;
  const SimOptions& options = world_.options();
  made->window = static_cast<std::size_t>(world_.random().between(static_cast<std::int64_t>(options.window_bytes_min),
                                                                  static_cast<std::int64_t>(options.window_bytes_max)));
  connections_.push_back(std::move(made));
  ++open_connections_;
  world_.note("connected", connections_.size() - 1, to.port);
  return *connections_.back();
}

// Returns 0, or the errno with which a connect to `to` ends; `takes_long`: only after many seconds.
int SimNetwork::why_not_connected(const core::Endpoint& to, bool& takes_long) {
  takes_long = silent_.contains(to.address) || world_.random().chance(world_.options().connect_lost);
  if (takes_long) return ETIMEDOUT;
  if (unreachable_.contains(to.address)) return EHOSTUNREACH;
  return world_.random().chance(world_.options().connect_refused) ? ECONNREFUSED : 0;
}

void SimNetwork::connect(const core::Endpoint& from, const core::Endpoint& to, std::shared_ptr<SimPeer> peer) {
  bool takes_long = false;
  const int error = why_not_connected(to, takes_long);
  core::Endpoint source = from;
  if (source.port == 0) source.port = next_port_++;
  world_.after(takes_long ? kConnectGivesUpNs : world_.network_delay(), [this, source, to, error, peer] {
    if (error != 0) {
      peer->on_refused(error);
    } else {
      connect_far(source, to, peer);
    }
  });
}

void SimNetwork::connect_far(const core::Endpoint& from, const core::Endpoint& to,
                             const std::shared_ptr<SimPeer>& peer) {
  SimSocket* listener = world_.is_on() ? find_listener(to) : nullptr;
  if (listener == nullptr) {
    peer->on_refused(world_.is_on() ? ECONNREFUSED : ETIMEDOUT);
    return;
  }
  SimConnection& made = make_connection(from, to);
  made.ends[0].kind = SimEnd::Kind::peer;
  made.ends[0].peer = peer;
  made.ends[1].kind = SimEnd::Kind::waiting;
  listener->queue.push_back(made.number);
  SimLink link(this, made.number, 0);
  try_accept(*listener);
  peer->on_connect(link);
}

void SimNetwork::listen(const core::Endpoint& at, std::function<std::shared_ptr<SimPeer>()> make_peer) {
  far_listeners_[at] = std::move(make_peer);
}

void SimNetwork::connect_machine(SimOperation& operation) {
  SimSocket* socket = socket_of(operation.descriptor);
  const core::Endpoint to = operation.target;
  SimSocket* listener = nullptr;
  const auto far = far_listeners_.find(to);
  if (operation.flags == 0 && far == far_listeners_.end()) {
    listener = find_listener(to);
    if (listener == nullptr) operation.flags = ECONNREFUSED;
  }
  if (operation.flags != 0) {
    socket->state = SimSocket::State::fresh;
    operation.ring->finish(operation, -operation.flags);
    return;
  }
  SimConnection& made = make_connection(socket->local, to);
  made.ends[0].kind = SimEnd::Kind::socket;
  made.ends[0].descriptor = socket->descriptor;
  socket->state = SimSocket::State::connected;
  socket->connection = made.number;
  socket->side = 0;
  operation.ring->finish(operation, 0);
  check_polls(*socket);
  if (listener != nullptr) {
    made.ends[1].kind = SimEnd::Kind::waiting;
    listener->queue.push_back(made.number);
    try_accept(*listener);
    return;
  }
  const auto make_peer = far->second;
  std::shared_ptr<SimPeer> peer = make_peer();
  if (peer == nullptr) {
    leave(made, 1, true);
    return;
  }
  made.ends[1].kind = SimEnd::Kind::peer;
  made.ends[1].peer = peer;
  SimLink link(this, made.number, 1);
  peer->on_connect(link);
}

void SimNetwork::try_accept(SimSocket& listener) {
  while (!listener.queue.empty() && !listener.accepts.empty()) {
    SimOperation& operation = *listener.accepts[world_.random().below(listener.accepts.size())];
    std::int32_t descriptor = -1;
    SimSocket* made = add_socket(descriptor);
    if (made == nullptr) {
      operation.ring->finish(operation, descriptor);  // -EMFILE; the connection goes on waiting
      continue;
    }
    SimConnection& accepted = *connection(listener.queue.front());
    listener.queue.pop_front();
    made->state = SimSocket::State::connected;
    made->connection = accepted.number;
    made->side = 1;
    accepted.ends[1].kind = SimEnd::Kind::socket;
    accepted.ends[1].descriptor = descriptor;
    core::Outcome outcome;
    outcome.result = descriptor;
    outcome.has_more = !world_.random().chance(world_.options().multishot_ends);
    operation.ring->post(operation, outcome);
  }
  check_polls(listener);
}

// --- operations of rings --------------------------------------------------------------------------------------------

void SimNetwork::submit(SimOperation& operation) {
  SimDescriptor* descriptor = world_.descriptor(operation.descriptor);
  SimSocket* socket = descriptor != nullptr ? descriptor->socket.get() : nullptr;
  RingState& ring = *operation.ring;
  if (operation.kind == OperationKind::poll && descriptor != nullptr) {
    descriptor->polls.push_back(&operation);
    world_.execute_later(operation, world_.random().between(0, 5'000));
    return;
  }
  if (socket == nullptr) {
    ring.finish(operation, descriptor == nullptr ? -EBADF : -ENOTSOCK);
    return;
  }
  const auto state = socket->state;
  if (operation.kind == OperationKind::accept) {
    if (state != SimSocket::State::listening) return ring.finish(operation, -EINVAL);
    socket->accepts.push_back(&operation);
    try_accept(*socket);
  } else if (operation.kind == OperationKind::connect) {
    if (state != SimSocket::State::fresh) return ring.finish(operation, -EISCONN);
    socket->state = SimSocket::State::connecting;
    socket->connect = &operation;
    bool takes_long = false;
    operation.flags = why_not_connected(operation.target, takes_long);
    world_.execute_later(operation, takes_long ? kConnectGivesUpNs : 2 * world_.network_delay());
  } else if (state != SimSocket::State::connected) {
    ring.finish(operation, operation.kind == OperationKind::send ? -EPIPE : -ENOTCONN);
  } else if (operation.kind == OperationKind::receive) {
    if (socket->receive != nullptr) world_.violation("two receives on one socket");
    socket->receive = &operation;
    deliver(*connection(socket->connection), socket->side);
  } else if (operation.kind == OperationKind::send) {
    if (socket->send != nullptr) world_.violation("two sends in flight on one socket");
    socket->send = &operation;
    std::int64_t delay = world_.random().between(500, 20'000);
    if (world_.random().chance(world_.options().send_stalls)) delay += world_.network_delay();
    world_.execute_later(operation, delay);
  } else {
    world_.execute_later(operation, world_.random().between(200, 10'000));  // shutdown
  }
}

void SimNetwork::execute(SimOperation& operation) {
  SimDescriptor* descriptor = world_.descriptor(operation.descriptor);
  SimSocket* socket = descriptor != nullptr ? descriptor->socket.get() : nullptr;
  switch (operation.kind) {
    case OperationKind::poll: {
      std::uint32_t mask = socket != nullptr ? poll_mask(*socket) : 0;
      if (descriptor != nullptr && descriptor->is_notified) mask |= POLLIN;
      mask &= static_cast<std::uint32_t>(operation.flags) | POLLERR | POLLHUP;
      if (mask != 0) operation.ring->finish(operation, static_cast<std::int32_t>(mask));
      break;
    }
    case OperationKind::connect:
      if (socket != nullptr && socket->connect == &operation) connect_machine(operation);
      break;
    case OperationKind::send:
      if (socket != nullptr && socket->send == &operation) execute_send(operation);
      break;
    default:  // shutdown
      if (socket == nullptr || socket->state != SimSocket::State::connected) {
        operation.ring->finish(operation, socket == nullptr ? -EBADF : -ENOTCONN);
        break;
      }
      SimConnection& connected = *connection(socket->connection);
      const bool is_reset = connected.ends[socket->side].is_reset;
      if (!is_reset) push_end(connected, socket->side);
      operation.ring->finish(operation, is_reset ? -ENOTCONN : 0);
  }
}

void SimNetwork::cancel(SimOperation& operation) {
  SimSocket* socket = socket_of(operation.descriptor);
  switch (operation.kind) {
    case OperationKind::accept:
    case OperationKind::receive:
    case OperationKind::poll:
      operation.ring->finish(operation, -ECANCELED);
      break;
    case OperationKind::connect:
      if (socket != nullptr) socket->state = SimSocket::State::fresh;
      operation.ring->finish(operation, -ECANCELED);
      break;
    case OperationKind::send:
      // One that waits for its reader is taken back, and tells what it sent; one that is about to leave may leave.
      if (operation.is_blocked || world_.random().chance(500)) {
        operation.ring->finish(operation, operation.done != 0 ? static_cast<std::int32_t>(operation.done) : -ECANCELED);
      }
      break;
    default:
      break;
  }
}

void SimNetwork::forget(SimOperation& operation) {
  SimDescriptor* descriptor = world_.descriptor(operation.descriptor);
  if (descriptor == nullptr) return;
  if (operation.kind == OperationKind::poll) std::erase(descriptor->polls, &operation);
  SimSocket* socket = descriptor->socket.get();
  if (socket == nullptr) return;
  if (operation.kind == OperationKind::accept) std::erase(socket->accepts, &operation);
  if (socket->receive == &operation) socket->receive = nullptr;
  if (socket->send == &operation) socket->send = nullptr;
  if (socket->connect == &operation) socket->connect = nullptr;
}

std::uint32_t SimNetwork::poll_mask(SimSocket& socket) {
  if (socket.state == SimSocket::State::listening) return socket.queue.empty() ? 0u : POLLIN;
  if (socket.state != SimSocket::State::connected) return 0;
  const SimConnection& connected = *connection(socket.connection);
  const SimStream& in = connected.streams[1 - socket.side];
  const SimStream& out = connected.streams[socket.side];
  std::uint32_t mask = 0;
  if (in.readable() > 0 || in.end_arrived) mask |= POLLIN;
  if (out.pending() < connected.window) mask |= POLLOUT;
  if (connected.ends[socket.side].is_reset) mask |= POLLIN | POLLOUT | POLLERR | POLLHUP;
  return mask;
}

void SimNetwork::check_polls(SimSocket& socket) {
  SimDescriptor* descriptor = world_.descriptor(socket.descriptor);
  if (descriptor == nullptr) return;
  for (SimOperation* poll : descriptor->polls) world_.execute_later(*poll, world_.random().between(0, 10'000));
}

// --- ends -----------------------------------------------------------------------------------------------------------

void SimNetwork::close_socket(SimSocket& socket) {
  const std::string what = "close of " + std::to_string(socket.descriptor) + " with an operation armed: ";
  if (!socket.accepts.empty()) world_.violation(what + "accept");
  if (socket.receive != nullptr) world_.violation(what + "receive");
  if (socket.connect != nullptr) world_.violation(what + "connect");
  if (socket.state == SimSocket::State::listening) {
    std::erase(listeners_, &socket);
    for (const std::uint32_t number : socket.queue) leave(*connection(number), 1, true);
    return;
  }
  if (socket.state != SimSocket::State::connected) return;
  SimConnection& connected = *connection(socket.connection);
  SimEnd& end = connected.ends[socket.side];
  if (socket.send != nullptr) {  // the kernel holds on to the socket until it has left
    connected.window = static_cast<std::size_t>(-1) / 2;
    execute_send(*socket.send);
  }
  if (end.is_reset) {
    end.kind = SimEnd::Kind::closed;
    drop_if_over(connected);
  } else {
    leave(connected, socket.side, connected.streams[1 - socket.side].readable() > 0);
  }
}

void SimNetwork::leave(SimConnection& left, std::uint8_t side, bool with_reset) {
  SimEnd& end = left.ends[side];
  end.kind = SimEnd::Kind::closed;
  end.descriptor = -1;
  end.peer.reset();
  SimStream& out = left.streams[side];
  if (with_reset) {
    // What is still on its way may be thrown away at the other end when the reset comes.
    if (world_.random().chance(500)) out.bytes.resize(out.arrived);
    reset_later(left, static_cast<std::uint8_t>(1 - side));
  } else if (!out.end_sent) {
    push_end(left, side);
  }
  SimStream& in = left.streams[1 - side];
  in.begin = in.arrived;
  consumed(left, static_cast<std::uint8_t>(1 - side));
  drop_if_over(left);
}

void SimNetwork::drop_if_over(SimConnection& over) {
  if (over.ends[0].kind != SimEnd::Kind::closed || over.ends[1].kind != SimEnd::Kind::closed) return;
  --open_connections_;
  connections_[over.number].reset();
}

void SimNetwork::let_machine_die() {
  listeners_.clear();
  for (std::size_t i = 0; i < connections_.size(); ++i) {
    SimConnection* broken = connections_[i].get();
    if (broken == nullptr) continue;
    for (std::uint8_t side = 0; side < 2; ++side) {
      SimEnd& end = broken->ends[side];
      if (end.kind != SimEnd::Kind::socket && end.kind != SimEnd::Kind::waiting) continue;
      end.kind = SimEnd::Kind::closed;
      end.descriptor = -1;
      // What had left arrives. Then the far end notices, sooner or later.
      const auto other = static_cast<std::uint8_t>(1 - side);
      broken->streams[side].last_arrival += world_.random().between(0, kDeathNoticedNs);
      if (broken->ends[other].kind == SimEnd::Kind::peer) reset_later(*broken, other);
    }
    drop_if_over(*broken);
  }
}

// --- links ----------------------------------------------------------------------------------------------------------

bool SimLink::is_open() const {
  const SimConnection* own = network_ != nullptr ? network_->connection(connection_) : nullptr;
  return own != nullptr && own->ends[side_].kind == SimEnd::Kind::peer;
}

void SimLink::send(std::string_view bytes) {
  if (!is_open()) return;
  SimConnection& own = *network_->connection(connection_);
  if (!own.streams[side_].end_sent) network_->push(own, side_, bytes);
}

void SimLink::shutdown() {
  if (is_open()) network_->push_end(*network_->connection(connection_), side_);
}

void SimLink::close() {
  if (!is_open()) return;
  SimConnection& own = *network_->connection(connection_);
  network_->leave(own, side_, own.streams[1 - side_].readable() > 0);
}

void SimLink::reset() {
  if (is_open()) network_->leave(*network_->connection(connection_), side_, true);
}

void SimLink::pause() {
  if (is_open()) network_->connection(connection_)->ends[side_].is_paused = true;
}

void SimLink::resume() {
  if (!is_open()) return;
  SimConnection& own = *network_->connection(connection_);
  own.ends[side_].is_paused = false;
  network_->deliver_later(own, side_);
}

core::Endpoint SimLink::local() const {
  return is_open() ? network_->connection(connection_)->ends[side_].name : core::Endpoint{};
}

core::Endpoint SimLink::remote() const {
  return is_open() ? network_->connection(connection_)->ends[1 - side_].name : core::Endpoint{};
}

}  // namespace postern::sim
