// The schedule: delays, the last one repeated, spread, and the end.
#include "policy/retry.h"

#include <array>
#include <gtest/gtest.h>

namespace postern::policy {
namespace {

constexpr std::array<std::uint32_t, 3> kDelays = {300, 600, 3600};
constexpr RetrySchedule kSchedule = {kDelays, 86400};

TEST(Retry, FollowsTheDelaysAndRepeatsTheLast) {
  EXPECT_EQ(next_attempt(kSchedule, 1, 1000, 1000, 0).at_seconds, 1300);
  EXPECT_EQ(next_attempt(kSchedule, 2, 1000, 1300, 0).at_seconds, 1900);
  EXPECT_EQ(next_attempt(kSchedule, 3, 1000, 1900, 0).at_seconds, 5500);
  EXPECT_EQ(next_attempt(kSchedule, 4, 1000, 5500, 0).at_seconds, 9100);
  EXPECT_EQ(next_attempt(kSchedule, 400, 1000, 5500, 0).at_seconds, 9100);
  EXPECT_EQ(next_attempt(kSchedule, 0, 1000, 1000, 0).at_seconds, 1300);
}

TEST(Retry, SpreadsByAtMostAnEighth) {
  bool moved = false;
  for (std::uint64_t jitter = 0; jitter < 1000; ++jitter) {
    const std::int64_t at = next_attempt(kSchedule, 2, 0, 0, jitter * 7919).at_seconds;
    EXPECT_GE(at, 600);
    EXPECT_LE(at, 675);
    moved = moved || at != 600;
  }
  EXPECT_TRUE(moved);
  EXPECT_LE(next_attempt(kSchedule, 3, 0, 0, ~std::uint64_t{0}).at_seconds, 4050);
}

TEST(Retry, TheLastAttemptComesAtTheEnd) {
  const RetryDecision last = next_attempt(kSchedule, 30, 1000, 1000 + 86400 - 100, 0);
  EXPECT_FALSE(last.expired);
  EXPECT_EQ(last.at_seconds, 1000 + 86400);
  EXPECT_TRUE(next_attempt(kSchedule, 31, 1000, 1000 + 86400, 0).expired);
  EXPECT_TRUE(next_attempt(kSchedule, 31, 1000, 1000 + 90000, 0).expired);
}

}  // namespace
}  // namespace postern::policy
