// A worker's turn. The order matters, and is why the ring's wait and its handlers are two calls:
//   the mesh's wake-ups go out with the submission; the reader is offline only while it waits; handlers,
//   messages and timers all see the time read after the wait; a snapshot read in a turn is good until the
//   next turn's wait.
#include "core/worker.h"

#include <utility>

namespace postern::core {

Result<std::unique_ptr<Worker>> Worker::create(std::size_t index, const RingOptions& options, Mesh& mesh,
                                               ReaderDomain& readers) {
  auto ring = Ring::create(options);
  if (!ring) return std::unexpected(ring.error());
  if (auto attached = mesh.attach(index, **ring); !attached) return std::unexpected(attached.error());
  return std::unique_ptr<Worker>(new Worker(index, std::move(*ring), mesh, readers));
}

Worker::Worker(std::size_t index, std::unique_ptr<Ring> ring, Mesh& mesh, ReaderDomain& readers)
    : index_(index),
      ring_(std::move(ring)),
      mesh_(mesh),
      readers_(readers),
      now_(ring_->read_clock()),
      timers_(now_.boot_ns) {
  readers_.online(index_);
}

Worker::~Worker() {
  mesh_.flush(index_);  // the ring's end submits the wake-ups
  mesh_.detach(index_);
  readers_.offline(index_);
}

void Worker::attach(void* program, Flush flush) {
  program_ = program;
  flush_ = flush;
}

void Worker::turn(bool may_sleep) {
  mesh_.flush(index_);
  if (may_sleep && !must_not_sleep_ && mesh_.prepare_to_sleep(index_)) {
    readers_.offline(index_);
    now_ = ring_->submit_and_wait(timers_.next_deadline_ns());
    readers_.online(index_);
    mesh_.awake(index_);
  } else {
    readers_.quiescent(index_);
    now_ = ring_->submit_and_wait(0);
  }
  ring_->reap();
  mesh_.drain(index_);
  timers_.advance(now_.boot_ns);
  must_not_sleep_ = flush_ != nullptr && !flush_(program_);
}

}  // namespace postern::core
