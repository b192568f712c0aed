// The octets of connections: on their way, arriving, received, and what resets do to them.
//
// Invariant: after a callback of a SimPeer a connection may be gone; it is looked up again.
#include <algorithm>
#include <cerrno>
#include <cstring>
#include <utility>

#include "tests/sim/ring_sim.h"
#include "tests/sim/sim_connection.h"
#include "tests/sim/sim_network.h"
#include "tests/sim/sim_world.h"

namespace postern::sim {
namespace {

constexpr std::size_t kForgetBytes = 65'536;  // read octets that a stream keeps before it moves the rest forward
// Octets and an end this close together may share one wake-up (SimOptions::end_is_lost).
constexpr std::int64_t kOneWakeUpNs = 20'000;
constexpr std::uint64_t kEndBit = std::uint64_t{1} << 63;

void forget_read(SimStream& stream) {
  if (stream.begin == stream.bytes.size()) {
    stream.bytes.clear();
    stream.arrived = stream.begin = 0;
  } else if (stream.begin >= kForgetBytes) {
    stream.bytes.erase(0, stream.begin);
    stream.arrived -= stream.begin;
    stream.begin = 0;
  }
}

std::size_t message_bytes(const SimOperation& operation) {
  if (operation.message == nullptr) return operation.bytes;
  std::size_t total = 0;
  for (std::size_t i = 0; i < operation.message->msg_iovlen; ++i) total += operation.message->msg_iov[i].iov_len;
  return total;
}

// Octets [from, from + count) of what is to be sent, read now.
std::string gather(const SimOperation& operation, std::size_t from, std::size_t count) {
  if (operation.message == nullptr) return std::string(operation.data + from, count);
  std::string bytes;
  bytes.reserve(count);
  for (std::size_t i = 0; i < operation.message->msg_iovlen && bytes.size() < count; ++i) {
    const iovec& part = operation.message->msg_iov[i];
    if (from >= part.iov_len) {
      from -= part.iov_len;
      continue;
    }
    bytes.append(static_cast<const char*>(part.iov_base) + from, std::min(part.iov_len - from, count - bytes.size()));
    from = 0;
  }
  return bytes;
}

}  // namespace

void SimNetwork::push(SimConnection& connected, std::uint8_t writer, std::string_view bytes) {
  SimStream& stream = connected.streams[writer];
  stream.bytes.append(bytes);
  std::int64_t at = std::max(stream.last_arrival, world_.now().boot_ns + world_.network_delay());
  for (std::size_t left = bytes.size(); left > 0;) {
    std::size_t piece = left;
    if (left > 1 && world_.random().chance(world_.options().stream_is_cut)) piece = 1 + world_.random().below(left - 1);
    left -= piece;
    schedule_arrival(connected, writer, at, piece);
    if (left > 0) at += world_.random().between(0, world_.options().latency_ns_max);
  }
  stream.last_arrival = at;
}

void SimNetwork::push_end(SimConnection& connected, std::uint8_t writer) {
  SimStream& stream = connected.streams[writer];
  if (stream.end_sent) return;
  stream.end_sent = true;
  stream.last_arrival = std::max(stream.last_arrival, world_.now().boot_ns + world_.network_delay());
  schedule_arrival(connected, writer, stream.last_arrival, kEndBit);
}

void SimNetwork::schedule_arrival(SimConnection& connected, std::uint8_t writer, std::int64_t at,
                                  std::uint64_t octets_or_end) {
  world_.schedule(
      at,
      [](SimWorld& world, const SimWorld::Event& event) {
        world.network().arrive(static_cast<std::uint32_t>(event.a >> 1), event.a & 1, event.b & ~kEndBit,
                               (event.b & kEndBit) != 0);
      },
      nullptr, (std::uint64_t{connected.number} << 1) | writer, octets_or_end);
}

void SimNetwork::arrive(std::uint32_t number, std::uint8_t writer, std::uint64_t octets, bool end) {
  SimConnection* connected = connection(number);
  if (connected == nullptr) return;
  SimStream& stream = connected->streams[writer];
  const auto reader = static_cast<std::uint8_t>(1 - writer);
  octets = std::min<std::uint64_t>(octets, stream.bytes.size() - stream.arrived);
  stream.arrived += octets;
  if (end) stream.end_arrived = true;
  world_.note("arrived", number * 2u + writer, octets);
  if (world_.options().resets_per_million != 0 &&
      world_.random().below(1'000'000) < world_.options().resets_per_million) {
    reset_later(*connected, writer);
    reset_end(*connected, reader);
    return;
  }
  if (connected->ends[reader].kind == SimEnd::Kind::closed) {
    stream.begin = stream.arrived;
    forget_read(stream);
    if (octets > 0) reset_later(*connected, writer);  // nobody is there
    return;
  }
  deliver(*connected, reader);
}

void SimNetwork::deliver_later(SimConnection& connected, std::uint8_t reader) {
  world_.schedule(
      world_.now().boot_ns + world_.random().between(1'000, 200'000),
      [](SimWorld& world, const SimWorld::Event& event) {
        SimConnection* found = world.network().connection(static_cast<std::uint32_t>(event.a));
        if (found != nullptr) world.network().deliver(*found, static_cast<std::uint8_t>(event.b));
      },
      nullptr, connected.number, reader);
}

void SimNetwork::deliver(SimConnection& connected, std::uint8_t reader) {
  if (connected.ends[reader].kind == SimEnd::Kind::socket) {
    deliver_to_socket(connected, reader);
  } else if (connected.ends[reader].kind == SimEnd::Kind::peer) {
    deliver_to_peer(connected, reader);
  }
}

void SimNetwork::deliver_to_socket(SimConnection& connected, std::uint8_t reader) {
  SimSocket& socket = *socket_of(connected.ends[reader].descriptor);
  const auto writer = static_cast<std::uint8_t>(1 - reader);
  SimStream& stream = connected.streams[writer];
  SimRandom& random = world_.random();
  check_polls(socket);
  while (socket.receive != nullptr && stream.readable() > 0) {
    SimOperation& operation = *socket.receive;
    RingState& ring = *operation.ring;
    core::Outcome outcome;
    if (!ring.take_buffer(outcome.buffer)) {
      ring.finish(operation, -ENOBUFS);
      return;
    }
    std::size_t octets = std::min<std::size_t>(stream.readable(), ring.options.buffer_bytes);
    const bool is_cut = octets > 1 && random.chance(world_.options().stream_is_cut);
    if (is_cut) octets = 1 + random.below(octets - 1);
    std::memcpy(ring.buffer_memory(outcome.buffer), stream.bytes.data() + stream.begin, octets);
    stream.begin += octets;
    forget_read(stream);
    outcome.result = static_cast<std::int32_t>(octets);
    outcome.has_buffer = true;
    outcome.has_more = !operation.is_once && !random.chance(world_.options().multishot_ends);
    operation.gave_ns = world_.now().boot_ns;
    ring.post(operation, outcome);
    consumed(connected, writer);
    if (is_cut) {
      deliver_later(connected, reader);
      return;
    }
  }
  if (socket.receive == nullptr || stream.readable() > 0 || socket.receive->end_is_lost) return;
  const bool is_end = connected.ends[reader].is_reset || stream.end_arrived;
  const bool is_close = is_end && world_.now().boot_ns - kOneWakeUpNs <= socket.receive->gave_ns;
  if (is_close && random.chance(world_.options().end_is_lost)) {
    socket.receive->end_is_lost = true;
    return;
  }
  if (connected.ends[reader].is_reset) {
    socket.receive->ring->finish(*socket.receive, -ECONNRESET);
  } else if (stream.end_arrived) {
    socket.receive->ring->finish(*socket.receive, 0);
  }
}

void SimNetwork::deliver_to_peer(SimConnection& connected, std::uint8_t reader) {
  const std::uint32_t number = connected.number;
  const auto writer = static_cast<std::uint8_t>(1 - reader);
  SimStream& stream = connected.streams[writer];
  if (connected.ends[reader].is_paused) return;
  const std::shared_ptr<SimPeer> peer = connected.ends[reader].peer;
  SimLink link(this, number, reader);
  if (stream.readable() > 0) {
    const std::string bytes = stream.bytes.substr(stream.begin, stream.readable());
    stream.begin = stream.arrived;
    forget_read(stream);
    consumed(connected, writer);
    peer->on_data(link, bytes);
  }
  SimConnection* still = connection(number);
  if (still == nullptr || still->ends[reader].kind != SimEnd::Kind::peer) return;
  SimStream& read = still->streams[writer];
  if (read.end_arrived && !read.end_delivered && read.readable() == 0) {
    read.end_delivered = true;
    peer->on_end(link);
  }
}

// A reader made room: a send that waits goes on.
void SimNetwork::consumed(SimConnection& connected, std::uint8_t writer) {
  const SimEnd& end = connected.ends[writer];
  if (end.kind != SimEnd::Kind::socket) return;
  SimSocket& socket = *socket_of(end.descriptor);
  if (socket.send != nullptr && socket.send->is_blocked) {
    world_.execute_later(*socket.send, world_.random().between(1'000, 50'000));
  }
  check_polls(socket);
}

void SimNetwork::execute_send(SimOperation& operation) {
  SimSocket& socket = *socket_of(operation.descriptor);
  SimConnection& connected = *connection(socket.connection);
  SimStream& stream = connected.streams[socket.side];
  if (connected.ends[socket.side].is_reset || stream.end_sent) {
    const bool says_reset = !stream.end_sent && world_.random().chance(500);
    operation.ring->finish(operation, says_reset ? -ECONNRESET : -EPIPE);
    return;
  }
  const std::size_t total = message_bytes(operation);
  const std::size_t room = connected.window > stream.pending() ? connected.window - stream.pending() : 0;
  const std::size_t octets = std::min(room, total - operation.done);
  if (octets > 0) push(connected, socket.side, gather(operation, operation.done, octets));
  operation.done += octets;
  operation.is_blocked = operation.done < total;
  if (!operation.is_blocked) operation.ring->finish(operation, static_cast<std::int32_t>(total));
}

void SimNetwork::reset_later(SimConnection& connected, std::uint8_t side) {
  const SimStream& in = connected.streams[1 - side];
  world_.schedule(
      std::max(in.last_arrival, world_.now().boot_ns + world_.network_delay()),
      [](SimWorld& world, const SimWorld::Event& event) {
        SimConnection* found = world.network().connection(static_cast<std::uint32_t>(event.a));
        if (found != nullptr) world.network().reset_end(*found, static_cast<std::uint8_t>(event.b));
      },
      nullptr, connected.number, side);
}

void SimNetwork::reset_end(SimConnection& connected, std::uint8_t side) {
  SimEnd& end = connected.ends[side];
  if (end.kind == SimEnd::Kind::closed || end.is_reset) return;
  world_.note("reset", connected.number, side);
  end.is_reset = true;
  if (end.kind == SimEnd::Kind::peer) {
    const std::shared_ptr<SimPeer> peer = std::move(end.peer);
    end.kind = SimEnd::Kind::closed;
    drop_if_over(connected);
    peer->on_reset();
    return;
  }
  SimStream& in = connected.streams[1 - side];
  if (world_.random().chance(500)) {  // what nobody has read yet may be lost
    in.bytes.resize(in.begin);
    in.arrived = in.begin;
  }
  if (end.kind == SimEnd::Kind::waiting) return;
  SimSocket& socket = *socket_of(end.descriptor);
  if (socket.send != nullptr && socket.send->is_blocked) execute_send(*socket.send);
  deliver_to_socket(connected, side);
}

}  // namespace postern::sim
