// The parts of a simulated connection and socket. Not for tests.
#pragma once

#include <cstdint>
#include <deque>
#include <memory>
#include <string>
#include <vector>

#include "core/ip_address.h"

namespace postern::sim {

class SimPeer;
struct SimOperation;

// One direction. Octets in front of `begin` were read, those behind `arrived` are on their way.
struct SimStream {
  std::string bytes;
  std::size_t begin = 0;
  std::size_t arrived = 0;
  std::int64_t last_arrival = 0;  // of what was sent so far: nothing overtakes it
  bool end_sent = false;
  bool end_arrived = false;
  bool end_delivered = false;

  [[nodiscard]] std::size_t readable() const { return arrived - begin; }
  [[nodiscard]] std::size_t pending() const { return bytes.size() - begin; }
};

struct SimEnd {
  enum class Kind : std::uint8_t { waiting, socket, peer, closed };  // waiting: in a listener's queue
  Kind kind = Kind::closed;
  std::int32_t descriptor = -1;
  std::shared_ptr<SimPeer> peer;
  core::Endpoint name;
  bool is_reset = false;  // a reset arrived here
  bool is_paused = false;
};

struct SimConnection {
  std::uint32_t number = 0;
  SimEnd ends[2];        // 0 connected, 1 listened
  SimStream streams[2];  // written by the end of that number
  std::size_t window = 0;
};

struct SimSocket {
  enum class State : std::uint8_t { fresh, connecting, connected, listening };
  State state = State::fresh;
  std::int32_t descriptor = -1;
  core::Endpoint local;
  std::uint32_t connection = 0;
  std::uint8_t side = 0;
  std::deque<std::uint32_t> queue;  // connections to be accepted
  std::vector<SimOperation*> accepts;
  SimOperation* receive = nullptr;
  SimOperation* send = nullptr;
  SimOperation* connect = nullptr;
};

}  // namespace postern::sim
