// Publishing immutable snapshots to workers without a lock, and reclaiming them when nobody can still look at them.
//
// Quiescent-state-based reclamation (McKenney; Hart et al., IPDPS 2006). A writer publishes a new object by one atomic
// pointer. Each reader announces a quiescent state once a turn, and that it is offline before it sleeps; the old object
// is freed when every reader has been quiescent or offline since.
//
// Readers: workers, by index. A pointer got from read() lives until the reader's next quiescent() or offline() call:
//   one turn. Reading is one atomic load.
// Writers: one at a time (an internal mutex). They reclaim on their own later calls, or in the destructor.
#pragma once

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <mutex>
#include <utility>
#include <vector>

namespace postern::core {

// The readers' announcements; one domain serves all snapshots of a server.
class ReaderDomain {
 public:
  explicit ReaderDomain(std::size_t readers);
  // In reader `index`'s thread. Readers start offline, and read nothing while they are. online() also serves as
  // quiescent().
  void online(std::size_t index);
  void quiescent(std::size_t index);
  void offline(std::size_t index);
  // Writer: starts a grace period and returns its number; `passed(n)` once all readers were quiescent after it.
  std::uint64_t begin_grace_period();
  [[nodiscard]] bool passed(std::uint64_t grace_period) const;

 private:
  struct alignas(64) Reader {
    mutable std::atomic<std::uint64_t> seen{0};  // the last period it was quiescent in; 0: offline
  };
  std::atomic<std::uint64_t> period_{1};
  std::vector<Reader> readers_;
};

template <class T>
class Published {
 public:
  Published(ReaderDomain& domain, std::unique_ptr<const T> first)
      : domain_(domain), current_(first.release()) {}
  ~Published() {  // requires: no reader looks any more
    delete current_.load(std::memory_order_relaxed);
  }
  Published(const Published&) = delete;
  Published& operator=(const Published&) = delete;

  [[nodiscard]] const T* read() const { return current_.load(std::memory_order_acquire); }

  void publish(std::unique_ptr<const T> next) {
    const std::lock_guard lock(mutex_);
    const T* old = current_.exchange(next.release(), std::memory_order_acq_rel);
    retired_.push_back({domain_.begin_grace_period(), std::unique_ptr<const T>(old)});
    reclaim_locked();
  }
  // Frees what can be freed; returns how many old snapshots still wait.
  std::size_t reclaim() {
    const std::lock_guard lock(mutex_);
    reclaim_locked();
    return retired_.size();
  }

 private:
  struct Retired {
    std::uint64_t grace_period;
    std::unique_ptr<const T> object;
  };
  void reclaim_locked() {
    std::erase_if(retired_, [this](const Retired& r) { return domain_.passed(r.grace_period); });
  }

  ReaderDomain& domain_;
  std::atomic<const T*> current_;
  std::mutex mutex_;
  std::vector<Retired> retired_;
};

}  // namespace postern::core
