// One core's engine: a ring, a timer wheel, its end of the mesh, and what runs on them, a turn at a time.
//
// A turn: submit what was started, wait, read the clock, run the handlers of what completed, run mesh messages, fire
// timers, then let the attached program flush what it gathered (one send a connection, one commit for all messages that
// finished).
// The worker's thread only repeats turns; the simulator interleaves the turns of several workers from a seed.
// Nobody reaches into a worker: other threads send it messages through the mesh.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>

#include "core/clock.h"
#include "core/mesh.h"
#include "core/published.h"
#include "core/result.h"
#include "core/ring.h"
#include "core/timer_wheel.h"

namespace postern::core {

class Worker {
 public:
  // What the rooms above attach. Called once a turn, last; returns false while it has work that must not wait for
  // the kernel (the next turn then does not sleep).
  using Flush = bool (*)(void* program) noexcept;

  // To be called in the thread that will run the worker (a SINGLE_ISSUER ring belongs to its maker).
  static Result<std::unique_ptr<Worker>> create(std::size_t index, const RingOptions& options, Mesh& mesh,
                                                ReaderDomain& readers);
  ~Worker();
  Worker(const Worker&) = delete;
  Worker& operator=(const Worker&) = delete;

  void attach(void* program, Flush flush);
  // One turn. `may_sleep` false: only what is ready now.
  void turn(bool may_sleep);

  [[nodiscard]] std::size_t index() const { return index_; }
  [[nodiscard]] Ring& ring() { return *ring_; }
  [[nodiscard]] TimerWheel& timers() { return timers_; }
  // The time of this turn.
  [[nodiscard]] const Time& now() const { return now_; }
  void send(std::size_t target, const MeshMessage& message) { mesh_.send(index_, target, message); }
  [[nodiscard]] std::size_t workers() const { return mesh_.workers(); }

 private:
  Worker(std::size_t index, std::unique_ptr<Ring> ring, Mesh& mesh, ReaderDomain& readers);

  std::size_t index_;
  std::unique_ptr<Ring> ring_;
  Mesh& mesh_;
  ReaderDomain& readers_;
  Time now_;
  TimerWheel timers_;
  void* program_ = nullptr;
  Flush flush_ = nullptr;
  bool must_not_sleep_ = false;
};

}  // namespace postern::core
