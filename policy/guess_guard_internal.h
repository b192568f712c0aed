// The inside of GuessGuard, shared by the files that build it. Everyone else uses guess_guard.h.
//
// Inside, a second is an unsigned number: boot seconds plus kSecondBias, so that what happened before this boot (a bar
// that ended, a login of last week) has one as well, and 0 is none.
#pragma once

#include <algorithm>
#include <array>
#include <atomic>
#include <mutex>
#include <string_view>
#include <vector>

#include "policy/failure_log.h"
#include "policy/guess_guard.h"
#include "policy/machine_key.h"
#include "policy/overflow_filter.h"
#include "policy/stamp_table.h"

namespace postern::policy {

namespace guard {

inline constexpr std::int64_t kSecondBias = 1 << 30;
inline constexpr std::int64_t kSecondMax = 0xffffffff;
[[nodiscard]] std::uint32_t second_of(std::int64_t boot_seconds) noexcept;
[[nodiscard]] inline std::uint32_t second_of(const core::Time& now) noexcept {
  return second_of(now.boot_seconds());
}
[[nodiscard]] inline std::int64_t boot_seconds_of(std::uint32_t second) noexcept {
  return second - kSecondBias;
}

// What may be barred. `table_kind` tells keys of equal words apart.
struct Key {
  BarKind kind = BarKind::none;
  std::uint64_t word = 0;  // of the machine or network, or the name's hash
  bool v4 = false;
  [[nodiscard]] std::uint8_t table_kind() const noexcept { return v4 ? 0 : static_cast<std::uint8_t>(kind); }
};
[[nodiscard]] Key key_of(std::uint64_t word, std::uint8_t table_kind) noexcept;
[[nodiscard]] core::IpPrefix network_of(const Key& key) noexcept;  // machine, net56, net48

// Names of barred users, for people: the table itself has only hashes. One name a place; a newer one takes it.
struct NameLabel {
  static constexpr std::size_t kBytes = GuessGuard::kNameShownMax;
  std::uint64_t hash = 0;
  std::uint8_t size = 0;  // of the whole name; 255: or longer
  std::array<char, kBytes> octets{};

  void set(std::uint64_t name_hash, std::string_view name) noexcept;
  [[nodiscard]] std::string_view shown() const noexcept { return {octets.data(), std::min<std::size_t>(size, kBytes)}; }
  [[nodiscard]] bool whole() const noexcept { return size <= kBytes; }
};

}  // namespace guard

struct GuessGuard::Implementation {
  static constexpr std::size_t kPiece = 128;  // buckets or records that are walked under one hold of the lock

  explicit Implementation(const GuessGuardOptions& options);

  // --- readers, wait-free
  [[nodiscard]] Bar machine_bar(const GuardRules& rules, const core::IpAddress& client,
                                std::uint32_t now) const noexcept;
  [[nodiscard]] Bar name_bar(const GuardRules& rules, std::string_view user, const core::IpAddress& client,
                             std::uint32_t now) const noexcept;
  [[nodiscard]] bool is_known(const GuardRules& rules, const MachineKey& machine, std::uint64_t name,
                              std::uint32_t now) const noexcept;
  [[nodiscard]] std::uint32_t live_until(const guard::Key& key, std::uint32_t now) const noexcept;
  [[nodiscard]] std::uint32_t overflow_until(const guard::Key& key, std::uint32_t now) const noexcept;

  // --- writers, under the lock
  Bar make_bar(const GuardRules& rules, const guard::Key& key, std::string_view name, std::uint32_t now) noexcept;
  // Puts a bar that lives, in the table or, when that is full, in the filter. Returns where it is.
  BarKind place_bar(const guard::Key& key, StampTable::Stamp stamp, std::uint32_t now,
                    std::uint32_t history_seconds) noexcept;
  void remember(std::uint64_t known_key, std::uint32_t second, const GuardRules& rules, std::uint32_t now) noexcept;
  bool lift(const guard::Key& key, std::uint32_t now) noexcept;
  void raise_latest(BarKind kind, std::uint32_t until) noexcept;
  [[nodiscard]] std::uint32_t latest_of(BarKind kind) const noexcept {
    return latest[static_cast<std::size_t>(kind)].load(std::memory_order_acquire);
  }

  // --- takes the lock itself
  template <class Visit>
  void each_bar(std::uint32_t after, Visit visit);

  [[nodiscard]] std::uint64_t name_hash(std::string_view user) const noexcept;  // 0: no name
  [[nodiscard]] std::uint64_t known_key(const MachineKey& machine, std::uint64_t name) const noexcept;
  [[nodiscard]] std::uint64_t overflow_hash(const guard::Key& key) const noexcept;
  [[nodiscard]] std::uint64_t key_id() const noexcept { return hash("guess guard key id"); }
  [[nodiscard]] guard::NameLabel& label_of(std::uint64_t name) noexcept { return labels[name & (labels.size() - 1)]; }

  void count_refused(const Bar& bar) noexcept {
    if (bar) refused[static_cast<std::size_t>(bar.kind)].fetch_add(1, std::memory_order_relaxed);
  }

  const KeyedHash hash;
  StampTable bars;   // time: the second when it ends; count: the how manieth in a row
  StampTable known;  // time: of the last success
  OverflowFilter overflow;
  // By BarKind: no bar of this kind ends later; `none`: no bar that is_barred looks for. Readers skip the look-up when
  // that is past: the common case is one load.
  std::array<std::atomic<std::uint32_t>, 6> latest{};

  std::mutex lock;  // all below, and who writes above
  FailureLog failures;
  std::vector<guard::NameLabel> labels;
  std::uint64_t bars_in_filter = 0;  // since it was last empty
  Counters counted;                  // all but `refused`
  std::array<std::atomic<std::uint64_t>, 6> refused{};
};

}  // namespace postern::policy
