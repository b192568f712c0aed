#include "policy/quota_table.h"

#include <algorithm>

#include "core/clock.h"

namespace postern::policy {
namespace {

constexpr std::int64_t kHour = 3600 * core::kNanosecondsPerSecond;
constexpr std::int64_t kDay = 24 * kHour;
constexpr std::int64_t kPeriods[kQuotaBuckets] = {kHour, kDay, kHour, kDay};

std::uint32_t quota_of(const QuotaSettings& quota, std::size_t bucket) {
  const std::uint32_t quotas[kQuotaBuckets] = {quota.messages_per_hour, quota.messages_per_day,
                                               quota.recipients_per_hour, quota.recipients_per_day};
  return quotas[bucket];
}

// How much of a quota is still owed, in days of a bucket that takes a day to fill: an hour's bucket counts 24-fold.
std::int64_t owed(const QuotaTable::FullAt& full_at, std::int64_t now_ns) noexcept {
  std::int64_t most = 0;
  for (std::size_t i = 0; i < kQuotaBuckets; ++i) {
    most = std::max(most, std::min(full_at[i] - now_ns, kPeriods[i]) * (kDay / kPeriods[i]));
  }
  return most;
}

}  // namespace

std::int64_t period_ns(std::size_t bucket) noexcept {
  return kPeriods[bucket];
}

QuotaTable::QuotaTable(std::size_t entries)
    : groups_per_shard_(std::max<std::size_t>(
          2, (entries + kEntriesPerGroup * TwoChoices::kShards - 1) / (kEntriesPerGroup * TwoChoices::kShards))),
      entries_(groups_per_shard_ * TwoChoices::kShards * kEntriesPerGroup) {}

bool QuotaTable::is_free(const Entry& entry, std::int64_t now_ns) noexcept {
  return entry.key == 0 || *std::max_element(entry.full_at.begin(), entry.full_at.end()) <= now_ns;
}

std::size_t QuotaTable::find(std::uint64_t key) const noexcept {
  const TwoChoices places(key, groups_per_shard_);
  for (const std::size_t group : places.group) {
    for (std::size_t i = group * kEntriesPerGroup; i < (group + 1) * kEntriesPerGroup; ++i) {
      if (entries_[i].key == key) return i;
    }
  }
  return entries_.size();
}

QuotaTable::Answer QuotaTable::ask(std::uint64_t key, const QuotaSettings& quota, std::uint32_t messages,
                                   std::uint32_t recipients, std::int64_t now_ns) const noexcept {
  Answer answer;
  const std::size_t place = find(key);
  if (place != entries_.size()) answer.after = entries_[place].full_at;
  const std::uint32_t wanted[kQuotaBuckets] = {messages, messages, recipients, recipients};
  for (std::size_t i = 0; i < kQuotaBuckets; ++i) {
    const std::uint32_t limit = quota_of(quota, i);
    if (limit == 0 || wanted[i] == 0) continue;
    if (wanted[i] > limit) {
      answer.allowed = false;
      answer.never = true;
      answer.bucket = static_cast<QuotaBucket>(i);
      return answer;
    }
    const std::int64_t period = kPeriods[i];
    // wanted * period / limit, rounded down: `limit` single ones must fit in exactly. The plain product could overflow,
    // so the period's quotient and remainder are taken apart; wanted <= limit < 2^32 keeps both parts in range.
    const std::uint64_t rest = std::uint64_t{wanted[i]} * (static_cast<std::uint64_t>(period) % limit) / limit;
    const std::int64_t cost = wanted[i] * (period / limit) + static_cast<std::int64_t>(rest);
    const std::int64_t after = std::max(answer.after[i], now_ns) + cost;
    const std::int64_t wait = after - now_ns - period;
    if (wait > 0) {
      if (answer.allowed || wait > answer.wait_ns) {
        answer.bucket = static_cast<QuotaBucket>(i);
        answer.wait_ns = wait;
      }
      answer.allowed = false;
    }
    answer.after[i] = after;
  }
  return answer;
}

bool QuotaTable::put(std::uint64_t key, const FullAt& full_at, std::int64_t now_ns) noexcept {
  const std::size_t present = find(key);
  if (present != entries_.size()) {
    entries_[present].full_at = full_at;
    return false;
  }
  // A free entry in the group that has more of them; else the one of all eight that owes least.
  const TwoChoices places(key, groups_per_shard_);
  Entry* free_entry[2] = {};
  int free_entries[2] = {};
  Entry* least = nullptr;
  std::int64_t least_owed = 0;
  for (int choice = 0; choice < 2; ++choice) {
    Entry* const group = &entries_[places.group[choice] * kEntriesPerGroup];
    for (Entry* entry = group; entry != group + kEntriesPerGroup; ++entry) {
      if (is_free(*entry, now_ns)) {
        ++free_entries[choice];
        free_entry[choice] = entry;
        continue;
      }
      const std::int64_t owes = owed(entry->full_at, now_ns);
      if (least == nullptr || owes < least_owed) {
        least = entry;
        least_owed = owes;
      }
    }
  }
  Entry* place = free_entry[free_entries[1] > free_entries[0] ? 1 : 0];
  const bool given_up = place == nullptr;
  if (given_up) place = least;
  *place = {key, full_at};
  return given_up;
}

void QuotaTable::erase(std::uint64_t key) noexcept {
  const std::size_t place = find(key);
  if (place != entries_.size()) entries_[place] = {};
}

std::size_t QuotaTable::memory_bytes() const noexcept {
  return sizeof(QuotaTable) + entries_.size() * sizeof(Entry);
}

}  // namespace postern::policy
