// Threads for work that may block or takes long: password hashes, a database. Workers never do that themselves.
//
// Two lanes, each bounded. The fast one is for those who are known to belong here: one thread serves nothing else (where
// there are at least two), and the others take from it first, so that a flood of strangers' logins does not hold them up.
// A job is the caller's memory and stays so: nothing is allocated. It runs once, in a pool thread, and sends its own
//   answer (Mesh::post).
// Thread: submit() from any; stop() and the destructor from the owner's.
#pragma once

#include <array>
#include <condition_variable>
#include <cstddef>
#include <cstdint>
#include <mutex>
#include <thread>
#include <vector>

namespace postern::core {

class BlockingPool {
 public:
  enum class Lane : std::uint8_t { fast, ordinary };

  struct Job {
    // `thread`: which of the pool's threads runs it, from 0. The last thing that is done with the job: its owner may
    // forget it as soon as it has the answer.
    using Run = void (*)(Job& job, std::size_t thread) noexcept;
    Run run = nullptr;
    Job* next = nullptr;
  };

  // `queue`: jobs that may wait in each lane. `threads` at least 1.
  BlockingPool(std::size_t threads, std::size_t queue);
  ~BlockingPool();
  BlockingPool(const BlockingPool&) = delete;
  BlockingPool& operator=(const BlockingPool&) = delete;

  // False: the lane is full (or the pool stops), and the job was not taken.
  [[nodiscard]] bool submit(Lane lane, Job& job);

  // Jobs that wait are dropped, unanswered; those that run are waited for. Nothing is taken afterwards.
  void stop();

  [[nodiscard]] std::size_t threads() const { return threads_.size(); }
  [[nodiscard]] std::size_t waiting(Lane lane) const;

 private:
  struct Queue {
    Job* first = nullptr;
    Job* last = nullptr;
    std::size_t length = 0;
    Job* pop();
  };
  void serve(std::size_t thread);

  std::size_t bound_;
  bool first_is_reserved_;  // for the fast lane
  mutable std::mutex mutex_;
  std::condition_variable fast_work_;      // the reserved thread waits here
  std::condition_variable ordinary_work_;  // the others, for either lane
  std::array<Queue, 2> queues_;
  bool stopping_ = false;
  std::vector<std::thread> threads_;
};

}  // namespace postern::core
