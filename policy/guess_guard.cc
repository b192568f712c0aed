// The rules of counting and barring; they and the bounds are told in the header. Lists and restarts:
// guess_guard_state.cc.
#include "policy/guess_guard.h"

#include <algorithm>
#include <bit>
#include <cstring>

#include "core/assert.h"
#include "policy/guess_guard_internal.h"

namespace postern::policy {

namespace guard {

std::uint32_t second_of(std::int64_t boot_seconds) noexcept {
  return static_cast<std::uint32_t>(std::clamp<std::int64_t>(boot_seconds, 1 - kSecondBias, kSecondMax - kSecondBias) +
                                    kSecondBias);
}

Key key_of(std::uint64_t word, std::uint8_t table_kind) noexcept {
  return table_kind == 0 ? Key{BarKind::machine, word, true} : Key{static_cast<BarKind>(table_kind), word, false};
}

core::IpPrefix network_of(const Key& key) noexcept {
  const unsigned bits = key.kind == BarKind::net56 ? 56 : key.kind == BarKind::net48 ? 48 : 64;
  return machine_prefix({key.word, key.v4}, bits);
}

void NameLabel::set(std::uint64_t name_hash, std::string_view name) noexcept {
  hash = name_hash;
  size = static_cast<std::uint8_t>(std::min<std::size_t>(name.size(), 255));
  std::memcpy(octets.data(), name.data(), shown().size());
}

namespace {

constexpr std::size_t kLevelBars = kFailureLevels;

// Levels and bars by the same number.
constexpr BarKind kBarOfLevel[kLevelBars] = {BarKind::machine, BarKind::net56, BarKind::net48, BarKind::name};

std::uint32_t limit_of(FailureLevel level, const GuardRules& rules) {
  const std::uint64_t factor = level == FailureLevel::net56   ? GuessGuard::kNet56Factor
                               : level == FailureLevel::net48 ? GuessGuard::kNet48Factor
                                                              : 1;
  return static_cast<std::uint32_t>(std::min<std::uint64_t>(rules.failures * factor, 0xffffffff));
}

Key key_at(FailureLevel level, const FailureLog::Failure& failure) noexcept {
  const BarKind kind = kBarOfLevel[static_cast<std::size_t>(level)];
  switch (level) {
    case FailureLevel::machine:
      return {kind, failure.machine.word, failure.machine.v4};
    case FailureLevel::net56:
      return {kind, failure.machine.word & ~std::uint64_t{0xff}, false};
    case FailureLevel::net48:
      return {kind, failure.machine.word & ~std::uint64_t{0xffff}, false};
    case FailureLevel::name:
      return {kind, failure.name, false};
  }
  return {};
}

// A translated address (64:ff9b::a.b.c.d) is exempt as the IPv4 address it stands for as well.
bool is_never(const GuardRules& rules, const core::IpAddress& client, const MachineKey& machine) noexcept {
  if (rules.never.empty()) return false;
  if (rules.never.contains(client)) return true;
  return machine.v4 && !client.is_v4() &&
         rules.never.contains(core::IpAddress::from_v4(static_cast<std::uint32_t>(machine.word)));
}

Bar bar_until(BarKind kind, std::uint32_t until) noexcept {
  return until == 0 ? Bar{} : Bar{kind, boot_seconds_of(until)};
}

}  // namespace
}  // namespace guard

using guard::Key;

std::string_view bar_kind_name(BarKind kind) noexcept {
  switch (kind) {
    case BarKind::none:
      return "none";
    case BarKind::machine:
      return "machine";
    case BarKind::net56:
      return "net56";
    case BarKind::net48:
      return "net48";
    case BarKind::name:
      return "name";
    case BarKind::overflow:
      return "overflow";
  }
  return "none";
}

core::IpPrefix barred_network(BarKind kind, const core::IpAddress& client) noexcept {
  if (kind == BarKind::net56) return machine_prefix(machine_key(client, 56), 56);
  if (kind == BarKind::net48) return machine_prefix(machine_key(client, 48), 48);
  return machine_prefix(machine_key(client));
}

GuessGuard::Implementation::Implementation(const GuessGuardOptions& options)
    // Two cells for a bar: with half of them in use hardly a bar finds both of its buckets full.
    : hash(options.key),
      bars(options.machines * 2, hash),
      known(options.machines * 4, hash),
      failures(options.machines * 2, hash),
      labels(std::bit_ceil(std::max<std::size_t>(64, options.machines / 8))) {}

// --- readers ---------------------------------------------------------------------------------------------------------

std::uint32_t GuessGuard::Implementation::live_until(const Key& key, std::uint32_t now) const noexcept {
  if (latest_of(key.kind) <= now) return 0;
  const auto stamp = bars.find(key.word, key.table_kind());
  return stamp && now < stamp->time ? stamp->time : 0;
}

std::uint32_t GuessGuard::Implementation::overflow_until(const Key& key, std::uint32_t now) const noexcept {
  if (latest_of(BarKind::overflow) <= now) return 0;
  const std::uint32_t until = overflow.until(overflow_hash(key));
  return now < until ? until : 0;
}

bool GuessGuard::Implementation::is_known(const GuardRules& rules, const MachineKey& machine, std::uint64_t name,
                                          std::uint32_t now) const noexcept {
  const auto stamp = known.find(known_key(machine, name), 0);
  return stamp && now < std::uint64_t{stamp->time} + rules.known_seconds;
}

Bar GuessGuard::Implementation::machine_bar(const GuardRules& rules, const core::IpAddress& client,
                                            std::uint32_t now) const noexcept {
  if (rules.failures == 0 || latest_of(BarKind::none) <= now) return {};
  const MachineKey machine = machine_key(client);
  const std::size_t levels = machine.v4 ? 1 : 3;
  Key keys[3];
  StampTable::Places places[3];
  bool looks[3] = {};
  for (std::size_t i = 0; i < levels; ++i) {
    keys[i] = guard::key_at(static_cast<FailureLevel>(i), {machine, 0});
    looks[i] = now < latest_of(keys[i].kind);
    if (looks[i]) places[i] = bars.fetch(keys[i].word, keys[i].table_kind());
  }
  Bar bar;
  for (std::size_t i = 0; !bar && i < levels; ++i) {
    if (!looks[i]) continue;
    const auto stamp = bars.find(places[i], keys[i].word, keys[i].table_kind());
    if (stamp && now < stamp->time) bar = guard::bar_until(keys[i].kind, stamp->time);
  }
  for (std::size_t i = 0; !bar && i < levels; ++i) {
    bar = guard::bar_until(BarKind::overflow, overflow_until(keys[i], now));
  }
  if (!bar) return bar;
  // What falls on more than this machine spares it when somebody logged in from it.
  if (bar.kind != BarKind::machine && is_known(rules, machine, 0, now)) return {};
  return guard::is_never(rules, client, machine) ? Bar{} : bar;
}

Bar GuessGuard::Implementation::name_bar(const GuardRules& rules, std::string_view user, const core::IpAddress& client,
                                         std::uint32_t now) const noexcept {
  if (rules.failures == 0 || user.empty()) return {};
  const Key key{BarKind::name, name_hash(user), false};
  Bar bar = guard::bar_until(BarKind::name, live_until(key, now));
  if (!bar) bar = guard::bar_until(BarKind::overflow, overflow_until(key, now));
  if (!bar) return {};
  const MachineKey machine = machine_key(client);
  return is_known(rules, machine, key.word, now) || guard::is_never(rules, client, machine) ? Bar{} : bar;
}

// --- writers, under the lock -----------------------------------------------------------------------------------------

void GuessGuard::Implementation::raise_latest(BarKind kind, std::uint32_t until) noexcept {
  const auto raise = [until](std::atomic<std::uint32_t>& last) {
    if (last.load(std::memory_order_relaxed) < until) last.store(until, std::memory_order_release);
  };
  raise(latest[static_cast<std::size_t>(kind)]);
  if (kind != BarKind::name) raise(latest[static_cast<std::size_t>(BarKind::none)]);
}

BarKind GuessGuard::Implementation::place_bar(const Key& key, StampTable::Stamp stamp, std::uint32_t now,
                                              std::uint32_t history_seconds) noexcept {
  const StampTable::Placed placed = bars.put({key.word, key.table_kind(), stamp}, now + 1);
  if (placed.evicted_time != 0 && now < std::uint64_t{placed.evicted_time} + history_seconds) {
    ++counted.histories_forgotten;
  }
  if (placed.ok) {
    raise_latest(key.kind, stamp.time);
    return key.kind;
  }
  if (latest_of(BarKind::overflow) <= now) bars_in_filter = 0;
  ++bars_in_filter;
  ++counted.bars_in_overflow;
  overflow.shut(overflow_hash(key), stamp.time);
  raise_latest(BarKind::overflow, stamp.time);
  return BarKind::overflow;
}

Bar GuessGuard::Implementation::make_bar(const GuardRules& rules, const Key& key, std::string_view name,
                                         std::uint32_t now) noexcept {
  std::uint8_t in_a_row = 1;
  const auto last = bars.find(key.word, key.table_kind());
  if (last && now < std::uint64_t{last->time} + rules.bar_max_seconds) {
    in_a_row = std::min<std::uint8_t>(last->count + 1, StampTable::kCountMax);
  }
  const unsigned doublings = key.kind == BarKind::name ? 0 : in_a_row - 1;
  const std::uint64_t seconds =
      std::min<std::uint64_t>(std::uint64_t{rules.bar_seconds} << doublings, rules.bar_max_seconds);
  const auto until = static_cast<std::uint32_t>(std::min<std::uint64_t>(now + seconds, guard::kSecondMax));
  const BarKind placed = place_bar(key, {until, in_a_row}, now, rules.bar_max_seconds);
  if (placed == BarKind::name) label_of(key.word).set(key.word, name);
  ++counted.bars_made[static_cast<std::size_t>(key.kind)];
  return guard::bar_until(placed, until);
}

void GuessGuard::Implementation::remember(std::uint64_t key, std::uint32_t second, const GuardRules& rules,
                                          std::uint32_t now) noexcept {
  const auto last = known.find(key, 0);
  if (last) second = std::max(second, last->time);  // another worker's turn was later
  const StampTable::Placed placed = known.put({key, 0, {second, 0}}, guard::kSecondMax);
  if (placed.evicted_time != 0 && now < std::uint64_t{placed.evicted_time} + rules.known_seconds) {
    ++counted.known_forgotten;
  }
}

bool GuessGuard::Implementation::lift(const Key& key, std::uint32_t now) noexcept {
  const bool lives = live_until(key, now) != 0;
  bars.erase(key.word, key.table_kind());
  const bool overflows = overflow_until(key, now) != 0;
  if (overflows) overflow.open(overflow_hash(key));
  return lives || overflows;
}

std::uint64_t GuessGuard::Implementation::name_hash(std::string_view user) const noexcept {
  return user.empty() ? 0 : std::max<std::uint64_t>(1, hash.of_name(user));
}

std::uint64_t GuessGuard::Implementation::known_key(const MachineKey& machine, std::uint64_t name) const noexcept {
  return hash(hash(machine.word, machine.v4 ? 1 : 2), name);
}

std::uint64_t GuessGuard::Implementation::overflow_hash(const Key& key) const noexcept {
  return hash(key.word, 0x100 | key.table_kind());
}

// --- the interface ---------------------------------------------------------------------------------------------------

GuessGuard::GuessGuard(const GuessGuardOptions& options) : implementation_(std::make_unique<Implementation>(options)) {}
GuessGuard::~GuessGuard() = default;

Bar GuessGuard::is_barred(const GuardRules& rules, const core::IpAddress& client,
                          const core::Time& now) const noexcept {
  const Bar bar = implementation_->machine_bar(rules, client, guard::second_of(now));
  implementation_->count_refused(bar);
  return bar;
}

Bar GuessGuard::is_name_barred(const GuardRules& rules, std::string_view user, const core::IpAddress& client,
                               const core::Time& now) const noexcept {
  const Bar bar = implementation_->name_bar(rules, user, client, guard::second_of(now));
  implementation_->count_refused(bar);
  return bar;
}

Bar GuessGuard::check_login(const GuardRules& rules, std::string_view user, const core::IpAddress& client,
                            const core::Time& now) const noexcept {
  const Bar bar = find_bar(rules, user, client, now);
  implementation_->count_refused(bar);
  return bar;
}

Bar GuessGuard::find_bar(const GuardRules& rules, std::string_view user, const core::IpAddress& client,
                         const core::Time& now) const noexcept {
  const std::uint32_t second = guard::second_of(now);
  const Bar bar = implementation_->machine_bar(rules, client, second);
  return bar ? bar : implementation_->name_bar(rules, user, client, second);
}

bool GuessGuard::is_known(const GuardRules& rules, const core::IpAddress& client, std::string_view user,
                          const core::Time& now) const noexcept {
  return implementation_->is_known(rules, machine_key(client), implementation_->name_hash(user), guard::second_of(now));
}

NewBars GuessGuard::record_failure(const GuardRules& rules, const core::IpAddress& client, std::string_view user,
                                   const core::Time& now) noexcept {
  NewBars made;
  if (rules.failures == 0) return made;
  Implementation& inside = *implementation_;
  const std::uint32_t second = guard::second_of(now);
  const FailureLog::Failure failure{machine_key(client), inside.name_hash(user)};
  const bool never = guard::is_never(rules, client, failure.machine);
  const std::lock_guard holding(inside.lock);
  if (never) {
    ++inside.counted.failures_never;
    return made;
  }
  ++inside.counted.failures;
  FailureLevels levels = 0;
  for (std::size_t i = 0; i < kFailureLevels; ++i) {
    const auto level = static_cast<FailureLevel>(i);
    if (level == FailureLevel::name) {
      if (failure.name == 0 || inside.is_known(rules, failure.machine, failure.name, second)) continue;
    } else if (level != FailureLevel::machine && failure.machine.v4) {
      continue;
    }
    if (inside.live_until(guard::key_at(level, failure), second) == 0) levels |= level_bit(level);
  }
  if (inside.failures.add(failure, levels, second, rules.within_seconds)) ++inside.counted.failures_forgotten;
  for (std::size_t i = 0; i < kFailureLevels; ++i) {
    const auto level = static_cast<FailureLevel>(i);
    if ((levels & level_bit(level)) == 0) continue;
    const std::uint32_t limit = guard::limit_of(level, rules);
    if (inside.failures.count(level, failure, second, rules.within_seconds, limit) < limit) continue;
    inside.failures.use_up(level, failure);
    made.bars[made.count++] = inside.make_bar(rules, guard::key_at(level, failure), user, second);
  }
  return made;
}

void GuessGuard::record_success(const GuardRules& rules, const core::IpAddress& client, std::string_view user,
                                const core::Time& now) noexcept {
  Implementation& inside = *implementation_;
  const std::uint32_t second = guard::second_of(now);
  const FailureLog::Failure failure{machine_key(client), inside.name_hash(user)};
  const std::uint64_t as_this_user = inside.known_key(failure.machine, failure.name);
  const std::uint64_t as_anybody = inside.known_key(failure.machine, 0);
  const std::lock_guard holding(inside.lock);
  inside.counted.failures_taken_back += inside.failures.take_back(failure, second, rules.within_seconds);
  inside.remember(as_anybody, second, rules, second);
  if (failure.name != 0) inside.remember(as_this_user, second, rules, second);
}

GuessGuard::Counters GuessGuard::counters() const noexcept {
  Counters counters;
  {
    const std::lock_guard holding(implementation_->lock);
    counters = implementation_->counted;
  }
  for (std::size_t kind = 0; kind < counters.refused.size(); ++kind) {
    counters.refused[kind] = implementation_->refused[kind].load(std::memory_order_relaxed);
  }
  return counters;
}

std::size_t GuessGuard::memory_bytes() const noexcept {
  const Implementation& inside = *implementation_;
  return sizeof(Implementation) + inside.bars.memory_bytes() + inside.known.memory_bytes() +
         OverflowFilter::memory_bytes() + inside.failures.memory_bytes() +
         inside.labels.size() * sizeof(guard::NameLabel);
}

}  // namespace postern::policy
