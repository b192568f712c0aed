// The token buckets behind quotas: for each user or machine four numbers, the moments when its buckets are full again.
//
//   entry := key u64 (keyed hash; 0: free) | full again at, ns of the boot clock, i64 x 4 (by QuotaBucket)
//
// A bucket of N that refills in `period` gives n while  max(now, full) + n * period / N <= now + period,  and that sum
// is its new moment (the generic cell rate algorithm, ITU-T I.371). An entry whose four moments have passed is worth as
// much as none, so it is free. A key may stand in either of two groups of four entries; when none of the eight is free,
// the one that owes the smallest part of a quota is given up.
//
// Fixed memory, allocated once. Not locked: the owner holds lock(shard) of the key's shard around every call.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <mutex>
#include <vector>

#include "policy/settings.h"
#include "policy/two_choices.h"

namespace postern::policy {

enum class QuotaBucket : std::uint8_t { messages_per_hour, messages_per_day, recipients_per_hour, recipients_per_day };
inline constexpr std::size_t kQuotaBuckets = 4;
[[nodiscard]] std::int64_t period_ns(std::size_t bucket) noexcept;

class QuotaTable {
 public:
  using FullAt = std::array<std::int64_t, kQuotaBuckets>;
  struct Answer {
    bool allowed = true;
    QuotaBucket bucket = QuotaBucket::messages_per_hour;  // refused: the one that takes longest
    bool never = false;                                   // refused: more than a whole quota was asked for
    std::int64_t wait_ns = 0;                             // refused
    FullAt after{};                                       // allowed: what put() is to store
  };

  explicit QuotaTable(std::size_t entries);

  [[nodiscard]] std::mutex& lock(std::size_t shard) noexcept { return locks_[shard].mutex; }

  [[nodiscard]] Answer ask(std::uint64_t key, const QuotaSettings& quota, std::uint32_t messages,
                           std::uint32_t recipients, std::int64_t now_ns) const noexcept;
  // Returns true when another entry was given up that still owed something.
  bool put(std::uint64_t key, const FullAt& full_at, std::int64_t now_ns) noexcept;
  void erase(std::uint64_t key) noexcept;

  // visit(key, full_at) for every entry of the shard that still owes something.
  template <class Visit>
  void visit(std::size_t shard, std::int64_t now_ns, Visit visit_entry) const {
    const std::size_t per_shard = groups_per_shard_ * kEntriesPerGroup;
    for (std::size_t i = shard * per_shard; i < (shard + 1) * per_shard; ++i) {
      if (!is_free(entries_[i], now_ns)) visit_entry(entries_[i].key, entries_[i].full_at);
    }
  }
  [[nodiscard]] std::size_t memory_bytes() const noexcept;

 private:
  static constexpr std::size_t kEntriesPerGroup = 4;
  struct Entry {
    std::uint64_t key = 0;
    FullAt full_at{};
  };
  struct alignas(64) Lock {
    std::mutex mutex;
  };

  static bool is_free(const Entry& entry, std::int64_t now_ns) noexcept;
  [[nodiscard]] std::size_t find(std::uint64_t key) const noexcept;  // entries_.size(): none

  std::size_t groups_per_shard_;
  std::vector<Entry> entries_;
  std::array<Lock, TwoChoices::kShards> locks_;
};

}  // namespace postern::policy
