// The accounts that are held: their mail stays in the queue until the operator releases them.
//
// Thread: any. No lock is taken while nobody is held, a short one else.
#pragma once

#include <atomic>
#include <cstddef>
#include <functional>
#include <mutex>
#include <set>
#include <string>
#include <string_view>
#include <vector>

namespace postern::net::users {

class HeldUsers {
 public:
  // `user`: canonical, as in an envelope.
  [[nodiscard]] bool contains(std::string_view user) const {
    if (count_.load(std::memory_order_acquire) == 0) return false;
    const std::lock_guard lock(mutex_);
    return names_.contains(user);
  }
  [[nodiscard]] std::size_t count() const { return count_.load(std::memory_order_relaxed); }

  void add(std::string_view user) {
    const std::lock_guard lock(mutex_);
    names_.emplace(user);
    count_.store(names_.size(), std::memory_order_release);
  }
  void replace(const std::vector<std::string>& users) {
    const std::lock_guard lock(mutex_);
    names_ = {users.begin(), users.end()};
    count_.store(names_.size(), std::memory_order_release);
  }

 private:
  mutable std::mutex mutex_;
  std::set<std::string, std::less<>> names_;
  std::atomic<std::size_t> count_{0};
};

}  // namespace postern::net::users
