// The simulator's side of a ring: what Ring::Implementation is made of, and one operation. Not for tests.
#pragma once

#include <cstdint>
#include <deque>
#include <memory>
#include <string>
#include <unordered_map>
#include <vector>

#include "core/ip_address.h"
#include "core/ring.h"

namespace postern::sim {

class SimWorld;
struct RingState;
struct SimSnapshot;
struct SimSocket;    // sim_network.h
struct SimOpenFile;  // sim_disk.h

enum class OperationKind : std::uint8_t {
  accept,
  receive,
  send,
  connect,
  shutdown,
  close,
  poll,
  open,
  unlink,
  read,
  write,
  sync,
  cancel,
  wake
};
const char* operation_name(OperationKind kind);

struct SimOperation {
  std::uint64_t number = 0;  // never reused; 0: free
  OperationKind kind = OperationKind::close;
  bool submitted = false;
  RingState* ring = nullptr;
  core::Completion* completion = nullptr;  // nullptr: cancel, wake
  std::int32_t descriptor = -1;
  // Arguments; the memory is the caller's and is looked at only when the operation is carried out.
  const char* data = nullptr;  // send, write; path of open and unlink
  char* into = nullptr;        // read
  std::size_t bytes = 0;
  const msghdr* message = nullptr;
  std::uint64_t offset = 0;
  int flags = 0;  // open; data_only of sync; events of poll
  unsigned mode = 0;
  core::Endpoint target;  // connect
  core::Completion* cancelled = nullptr;
  std::uint32_t woken_number = 0;
  // Progress.
  std::size_t done = 0;                   // octets of a send that left
  bool is_blocked = false;                // a send that waits for its reader
  bool is_once = false;                   // a receive of one buffer
  std::int64_t gave_ns = INT64_MIN;       // when a receive gave octets last
  bool end_is_lost = false;               // a receive that will not tell of the end any more
  std::shared_ptr<SimSnapshot> snapshot;  // what a sync covers
};

// What a descriptor number stands for: a socket, an open file or directory, or a notifier.
struct SimDescriptor {
  SimDescriptor();
  ~SimDescriptor();
  std::unique_ptr<SimSocket> socket;
  std::unique_ptr<SimOpenFile> file;
  bool is_notifier = false;
  bool is_notified = false;
  std::vector<SimOperation*> polls;
};

struct RingState {
  struct Ready {
    core::Completion* completion;
    core::Outcome outcome;
    OperationKind kind;
  };

  RingState(SimWorld& world, const core::RingOptions& options);
  ~RingState();
  RingState(const RingState&) = delete;
  RingState& operator=(const RingState&) = delete;

  SimOperation& start(OperationKind kind, std::int32_t descriptor, core::Completion& completion);
  void queued(SimOperation& operation);
  void submit_all();
  std::size_t reap();
  // A further completion of a multishot operation.
  void post(SimOperation& operation, const core::Outcome& outcome);
  // The last completion; the operation is free afterwards.
  void finish(SimOperation& operation, std::int32_t result);
  void finish(SimOperation& operation, const core::Outcome& outcome);
  // The machine died: all that is in flight ends -ECANCELED, and what is started later -EBADF.
  void die();

  // A buffer of `buffer_bytes`, taken from the free ones; false: none is left.
  bool take_buffer(std::uint16_t& id);
  char* buffer_memory(std::uint16_t id) { return memory.get() + std::size_t{id} * options.buffer_bytes; }

  SimWorld& world;
  core::RingOptions options;
  std::uint32_t number = 0;  // from 1, in order of creation
  bool is_dead = false;
  bool is_woken = false;
  bool is_waited_in = false;  // its process sleeps in it
  std::int64_t sleeps_until = 0;

  std::vector<SimOperation*> submission_queue;
  std::deque<Ready> ready;
  std::unordered_map<const core::Completion*, SimOperation*> in_flight;  // looked up, never walked in order of address

  std::unique_ptr<char[]> memory;
  std::vector<std::uint16_t> free_buffers;
  std::vector<bool> is_lent;
};

}  // namespace postern::sim

namespace postern::core {

struct Ring::Implementation : sim::RingState {
  using sim::RingState::RingState;
};

}  // namespace postern::core
