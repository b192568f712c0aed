// When a message is tried again, and when that ends. Pure: the clock is handed in.
#pragma once

#include <cstdint>
#include <span>

namespace postern::policy {

struct RetrySchedule {
  std::span<const std::uint32_t> delays_seconds;  // the last one repeats; at least one
  std::uint32_t lifetime_seconds = 0;             // from acceptance to giving up
};

struct RetryDecision {
  bool expired = false;         // give up: bounce (RFC 5321 section 4.5.4.1)
  std::int64_t at_seconds = 0;  // else: the next attempt, in the clock of `now_seconds`
};

// After failed attempt number `attempts` (1: the first one failed). `accepted_seconds` and `now_seconds` are
// of one clock. `jitter`: any number, such as the message id's hash: it moves the attempt by at most an
// eighth of the delay, so that what failed together is not tried together. The last attempt comes exactly
// when the lifetime ends, never after it.
[[nodiscard]] RetryDecision next_attempt(const RetrySchedule& schedule, std::uint32_t attempts,
                                         std::int64_t accepted_seconds, std::int64_t now_seconds,
                                         std::uint64_t jitter) noexcept;

}  // namespace postern::policy
