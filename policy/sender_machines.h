// From which machines a user sent within the last hour: a small fixed set for each user who did.
//
//   set  := user u64 (keyed hash; 0: free) | newest second u32 | machine x 32
//   machine := tag u32 (keyed hash) | last second u32 (0: free)
//
// Exact up to the size of a set: more machines than that replace the one that was seen longest ago. A user may stand in
// either of two groups; when neither has room, the user who sent longest ago is given up. Fixed memory, allocated once.
// Not locked: the owner holds lock(shard) of the user's shard. Seconds: unsigned, not 0.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <mutex>
#include <span>
#include <vector>

#include "policy/two_choices.h"

namespace postern::policy {

class SenderMachines {
 public:
  static constexpr std::size_t kMachines = 32;
  struct Machine {
    std::uint32_t tag = 0;
    std::uint32_t second = 0;
  };
  struct Noted {
    std::uint32_t machines = 0;  // seen within the window, this one included
    bool given_up = false;       // another user who sent within the window was forgotten for it
  };

  SenderMachines(std::size_t users, std::uint32_t window_seconds);

  [[nodiscard]] std::mutex& lock(std::size_t shard) noexcept { return locks_[shard].mutex; }

  Noted note(std::uint64_t user, std::uint32_t tag, std::uint32_t now) noexcept;
  void erase(std::uint64_t user) noexcept;
  // visit(user, machines) for every user of the shard; machines that were seen before the window are in it.
  template <class Visit>
  void visit(std::size_t shard, std::uint32_t now, Visit visit_user) const {
    const std::size_t per_shard = groups_per_shard_ * kSetsPerGroup;
    for (std::size_t i = shard * per_shard; i < (shard + 1) * per_shard; ++i) {
      if (sets_[i].user != 0 && is_live(sets_[i].newest, now)) {
        visit_user(sets_[i].user, std::span<const Machine>(sets_[i].machines));
      }
    }
  }
  [[nodiscard]] bool is_live(std::uint32_t second, std::uint32_t now) const noexcept {
    return second != 0 && now < std::uint64_t{second} + window_;
  }
  [[nodiscard]] std::size_t memory_bytes() const noexcept;

 private:
  static constexpr std::size_t kSetsPerGroup = 4;
  struct Set {
    std::uint64_t user = 0;
    std::uint32_t newest = 0;
    std::array<Machine, kMachines> machines{};
  };
  struct alignas(64) Lock {
    std::mutex mutex;
  };
  [[nodiscard]] Set& place(std::uint64_t user, std::uint32_t now, bool& given_up) noexcept;

  const std::uint32_t window_;
  std::size_t groups_per_shard_;
  std::vector<Set> sets_;
  std::array<Lock, TwoChoices::kShards> locks_;
};

}  // namespace postern::policy
