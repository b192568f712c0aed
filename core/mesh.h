// How workers, and the threads beside them, talk: bounded queues of small messages, one per pair, and a wake-up.
//
// A message names a function, run in the receiving worker's turn, and carries three words. Between two workers a queue
// is single-producer single-consumer without locks and the wake-up is Ring::wake (MSG_RING); threads without a ring
// (admin, blocking pool, main) share one locked inbox per worker and wake it by an eventfd (a ring-less MSG_RING needs
// Linux 6.13).
//
// Bounds: a pair's queue holds kQueueMessages. A sender whose queue is full keeps the message in an outbox of its own,
//   in order, and retries every turn; what is sent is bounded by the senders' own windows (destination.h), so the
//   outbox is too.
// Order: messages of one sender to one receiver arrive in order.
#pragma once

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <mutex>
#include <vector>

#include "core/ring.h"

namespace postern::core {

struct MeshMessage {
  using Function = void (*)(void* target, std::uint64_t a, std::uint64_t b) noexcept;
  Function function = nullptr;  // nullptr: only a wake-up
  void* target = nullptr;       // belongs to the receiving worker
  std::uint64_t a = 0;
  std::uint64_t b = 0;
};

class Mesh {
 public:
  static constexpr std::size_t kQueueMessages = 4096;

  explicit Mesh(std::size_t workers);
  ~Mesh();
  Mesh(const Mesh&) = delete;
  Mesh& operator=(const Mesh&) = delete;

  [[nodiscard]] std::size_t workers() const { return workers_; }

  // --- in worker `self`'s thread ----------------------------------------------------------------------------------
  // What others sent before waits until then. Error: no descriptor is left for the notifier.
  Result<void> attach(std::size_t self, Ring& ring);
  // Before the ring dies, and the last thing that this thread does with the mesh: no wake-up is sent to the ring any
  // more. What is queued stays and is dropped with the mesh.
  void detach(std::size_t self);
  void send(std::size_t self, std::size_t target, const MeshMessage& message);
  // Runs what arrived. Returns how many messages were run.
  std::size_t drain(std::size_t self);
  // Retries outboxes and sends one wake-up to every worker that was sent something and may be asleep. To be called
  // after the last send and before the ring is submitted and waited on.
  void flush(std::size_t self);
  // True when nothing waits for `self` (or in its outboxes), checked after announcing that it is about to sleep; then
  // it may wait, and calls awake() afterwards.
  bool prepare_to_sleep(std::size_t self);
  void awake(std::size_t self);

  // --- in any other thread ----------------------------------------------------------------------------------------
  void post(std::size_t target, const MeshMessage& message);

 private:
  struct Queue;
  struct Inbox;
  std::size_t workers_;
  std::vector<std::unique_ptr<Queue>> queues_;   // [from * workers + to]
  std::vector<std::unique_ptr<Inbox>> inboxes_;  // per worker
};

}  // namespace postern::core
