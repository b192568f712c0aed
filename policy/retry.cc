// The retry schedule; see the header.
#include "policy/retry.h"

#include <algorithm>

#include "core/assert.h"

namespace postern::policy {

RetryDecision next_attempt(const RetrySchedule& schedule, std::uint32_t attempts,
                           std::int64_t accepted_seconds, std::int64_t now_seconds,
                           std::uint64_t jitter) noexcept {
  POSTERN_ASSERT(!schedule.delays_seconds.empty());
  const std::int64_t end = accepted_seconds + std::int64_t{schedule.lifetime_seconds};
  if (now_seconds >= end) return {.expired = true, .at_seconds = 0};
  const std::size_t last = schedule.delays_seconds.size() - 1;
  const std::size_t index = std::min<std::size_t>(attempts > 0 ? attempts - 1 : 0, last);
  const std::int64_t delay = schedule.delays_seconds[index];
  const auto spread = static_cast<std::uint64_t>(delay / 8) + 1;
  const std::int64_t at = now_seconds + delay + static_cast<std::int64_t>(jitter % spread);
  // A last try at the very end is worth more than a bounce some hours early.
  return {.expired = false, .at_seconds = std::min(at, end)};
}

}  // namespace postern::policy
