#include "core/blocking_pool.h"

#include <utility>

#include "core/assert.h"

namespace postern::core {

BlockingPool::Job* BlockingPool::Queue::pop() {
  Job* job = first;
  if (job == nullptr) return nullptr;
  first = std::exchange(job->next, nullptr);
  if (first == nullptr) last = nullptr;
  --length;
  return job;
}

BlockingPool::BlockingPool(std::size_t threads, std::size_t queue) : bound_(queue), first_is_reserved_(threads > 1) {
  POSTERN_ASSERT(threads > 0);
  threads_.reserve(threads);
  for (std::size_t i = 0; i < threads; ++i) threads_.emplace_back([this, i] { serve(i); });
}

BlockingPool::~BlockingPool() { stop(); }

bool BlockingPool::submit(Lane lane, Job& job) {
  {
    const std::lock_guard lock(mutex_);
    Queue& queue = queues_[static_cast<std::size_t>(lane)];
    if (stopping_ || queue.length >= bound_) return false;
    job.next = nullptr;
    (queue.last != nullptr ? queue.last->next : queue.first) = &job;
    queue.last = &job;
    ++queue.length;
  }
  // A fast job may be taken by any thread, and whoever comes too late goes back to sleep.
  if (lane == Lane::fast) fast_work_.notify_one();
  ordinary_work_.notify_one();
  return true;
}

void BlockingPool::stop() {
  {
    const std::lock_guard lock(mutex_);
    stopping_ = true;
    queues_ = {};
  }
  fast_work_.notify_all();
  ordinary_work_.notify_all();
  for (std::thread& thread : threads_) {
    if (thread.joinable()) thread.join();
  }
}

std::size_t BlockingPool::waiting(Lane lane) const {
  const std::lock_guard lock(mutex_);
  return queues_[static_cast<std::size_t>(lane)].length;
}

void BlockingPool::serve(std::size_t thread) {
  Queue& fast = queues_[static_cast<std::size_t>(Lane::fast)];
  Queue& ordinary = queues_[static_cast<std::size_t>(Lane::ordinary)];
  std::unique_lock lock(mutex_);
  const bool reserved = thread == 0 && first_is_reserved_;
  while (!stopping_) {
    Job* job = fast.pop();
    if (job == nullptr && !reserved) job = ordinary.pop();
    if (job == nullptr) {
      (reserved ? fast_work_ : ordinary_work_).wait(lock);
      continue;
    }
    lock.unlock();
    job->run(*job, thread);
    lock.lock();
  }
}

}  // namespace postern::core
