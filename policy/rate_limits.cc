// Quotas; their arithmetic is in quota_table, what is kept over a restart in rate_limits_state.cc.
#include "policy/rate_limits.h"

#include <algorithm>

#include "policy/rate_limits_internal.h"

namespace postern::policy {
namespace {

bool is_limited(const QuotaSettings& quota) {
  return (quota.messages_per_hour | quota.messages_per_day | quota.recipients_per_hour | quota.recipients_per_day) != 0;
}

RateVerdict refused(const QuotaTable::Answer& answer, bool of_machine) {
  RateVerdict verdict;
  verdict.allowed = false;
  verdict.limit = static_cast<RateLimit>(static_cast<std::size_t>(answer.bucket) + 1);
  verdict.of_machine = of_machine;
  // Rounded up: a second early is too early. A wait is at most a day.
  verdict.again_seconds = answer.never ? RateVerdict::kNever
                                       : static_cast<std::uint32_t>((answer.wait_ns + core::kNanosecondsPerSecond - 1) /
                                                                    core::kNanosecondsPerSecond);
  return verdict;
}

}  // namespace

std::string_view rate_limit_name(RateLimit limit) noexcept {
  switch (limit) {
    case RateLimit::none:
      return "none";
    case RateLimit::messages_per_hour:
      return "messages_per_hour";
    case RateLimit::messages_per_day:
      return "messages_per_day";
    case RateLimit::recipients_per_hour:
      return "recipients_per_hour";
    case RateLimit::recipients_per_day:
      return "recipients_per_day";
  }
  return "none";
}

std::uint64_t RateLimits::Implementation::user_key(std::string_view user) const noexcept {
  return std::max<std::uint64_t>(1, hash.of_name(user));
}

std::uint64_t RateLimits::Implementation::machine_hash(const core::IpAddress& machine) const noexcept {
  const MachineKey key = machine_key(machine);
  return std::max<std::uint64_t>(1, hash(key.word, key.v4 ? 1 : 2));
}

std::uint32_t RateLimits::Implementation::second_of(std::int64_t boot_seconds) noexcept {
  return static_cast<std::uint32_t>(std::clamp<std::int64_t>(boot_seconds, 1 - kSecondBias, 0xffffffff - kSecondBias) +
                                    kSecondBias);
}

// Asks both tables while their shards are held (users before machines, so that two calls never wait for each other),
// and takes from both or from none.
RateVerdict RateLimits::Implementation::ask(const Sender& sender, std::uint32_t messages, std::uint32_t recipients,
                                            std::int64_t now_ns, bool take) noexcept {
  QuotaTable::Answer of_user;
  QuotaTable::Answer of_machine;
  std::uint64_t user = 0;
  std::uint64_t machine = 0;
  std::unique_lock<std::mutex> user_lock;
  std::unique_lock<std::mutex> machine_lock;
  if (!sender.user.empty() && is_limited(sender.user_quota)) {
    user = user_key(sender.user);
    user_lock = std::unique_lock(users.lock(TwoChoices::shard_of(user)));
    of_user = users.ask(user, sender.user_quota, messages, recipients, now_ns);
  }
  if (sender.machine != nullptr && is_limited(sender.machine_quota)) {
    machine = machine_hash(*sender.machine);
    machine_lock = std::unique_lock(machines.lock(TwoChoices::shard_of(machine)));
    of_machine = machines.ask(machine, sender.machine_quota, messages, recipients, now_ns);
  }
  if (of_user.allowed && of_machine.allowed) {
    if (!take) return {};
    taken.fetch_add(1, std::memory_order_relaxed);
    const bool user_gave_up = user != 0 && users.put(user, of_user.after, now_ns);
    const bool machine_gave_up = machine != 0 && machines.put(machine, of_machine.after, now_ns);
    const int given_up = (user_gave_up ? 1 : 0) + (machine_gave_up ? 1 : 0);
    if (given_up != 0) evictions.fetch_add(static_cast<std::uint64_t>(given_up), std::memory_order_relaxed);
    return {};
  }
  const bool machine_waits_longer =
      !of_machine.allowed &&
      (of_user.allowed || (!of_user.never && (of_machine.never || of_machine.wait_ns > of_user.wait_ns)));
  const RateVerdict verdict = refused(machine_waits_longer ? of_machine : of_user, machine_waits_longer);
  if (take) {
    auto& counter = (machine_waits_longer ? refused_machine : refused_user)[static_cast<std::size_t>(verdict.limit)];
    counter.fetch_add(1, std::memory_order_relaxed);
  }
  return verdict;
}

RateLimits::RateLimits(const RateLimitsOptions& options) : implementation_(std::make_unique<Implementation>(options)) {
  static_assert(kMachinesPerUserMax == SenderMachines::kMachines);
}
RateLimits::~RateLimits() = default;

RateVerdict RateLimits::take(const Sender& sender, std::uint32_t messages, std::uint32_t recipients,
                             const core::Time& now) noexcept {
  return implementation_->ask(sender, messages, recipients, now.boot_ns, true);
}

RateVerdict RateLimits::peek(const Sender& sender, std::uint32_t messages, std::uint32_t recipients,
                             const core::Time& now) const noexcept {
  return implementation_->ask(sender, messages, recipients, now.boot_ns, false);
}

std::uint32_t RateLimits::note_machine(std::string_view user, const core::IpAddress& machine,
                                       const core::Time& now) noexcept {
  if (user.empty()) return 0;
  Implementation& inside = *implementation_;
  const std::uint64_t key = inside.user_key(user);
  const auto tag = static_cast<std::uint32_t>(inside.machine_hash(machine));
  const std::lock_guard holding(inside.senders.lock(TwoChoices::shard_of(key)));
  const SenderMachines::Noted noted = inside.senders.note(key, tag, Implementation::second_of(now.boot_seconds()));
  if (noted.given_up) inside.sender_evictions.fetch_add(1, std::memory_order_relaxed);
  return noted.machines;
}

void RateLimits::forget_user(std::string_view user) noexcept {
  Implementation& inside = *implementation_;
  const std::uint64_t key = inside.user_key(user);
  const std::size_t shard = TwoChoices::shard_of(key);
  {
    const std::lock_guard holding(inside.users.lock(shard));
    inside.users.erase(key);
  }
  const std::lock_guard holding(inside.senders.lock(shard));
  inside.senders.erase(key);
}

void RateLimits::forget_machine(const core::IpAddress& machine) noexcept {
  Implementation& inside = *implementation_;
  const std::uint64_t key = inside.machine_hash(machine);
  const std::lock_guard holding(inside.machines.lock(TwoChoices::shard_of(key)));
  inside.machines.erase(key);
}

RateLimits::Counters RateLimits::counters() const noexcept {
  const Implementation& inside = *implementation_;
  Counters counters;
  counters.taken = inside.taken.load(std::memory_order_relaxed);
  for (std::size_t i = 0; i < counters.refused_user.size(); ++i) {
    counters.refused_user[i] = inside.refused_user[i].load(std::memory_order_relaxed);
    counters.refused_machine[i] = inside.refused_machine[i].load(std::memory_order_relaxed);
  }
  counters.evictions = inside.evictions.load(std::memory_order_relaxed);
  counters.sender_evictions = inside.sender_evictions.load(std::memory_order_relaxed);
  return counters;
}

std::size_t RateLimits::memory_bytes() const noexcept {
  const Implementation& inside = *implementation_;
  return sizeof(Implementation) + inside.users.memory_bytes() + inside.machines.memory_bytes() +
         inside.senders.memory_bytes();
}

}  // namespace postern::policy
