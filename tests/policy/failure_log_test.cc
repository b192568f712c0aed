// The log of failures against a plain list, through a ring so small that it turns round all the time.
#include "policy/failure_log.h"

#include <algorithm>
#include <deque>
#include <gtest/gtest.h>
#include <random>
#include <string>

#include "tests/policy/guard_support.h"

namespace postern::policy {
namespace {

constexpr FailureLevels kAll = 0xf;

FailureLog::Failure failure(std::uint64_t machine, std::uint64_t name, bool v4 = false) {
  return {{machine, v4}, name};
}

TEST(FailureLog, CountsByLevelUntilTheWindowEnds) {
  FailureLog log(64, KeyedHash(testing::test_key()));
  log.add(failure(0x10000, 7), kAll, 100, 60);
  log.add(failure(0x10001, 7), kAll, 110, 60);
  log.add(failure(0x10100, 8), kAll, 120, 60);
  log.add(failure(0x20000, 8), kAll, 130, 60);
  const auto count = [&](FailureLevel level, std::uint32_t now) {
    return log.count(level, failure(0x10000, 7), now, 60, 100);
  };
  EXPECT_EQ(count(FailureLevel::machine, 130), 1u);
  EXPECT_EQ(count(FailureLevel::net56, 130), 2u);
  EXPECT_EQ(count(FailureLevel::net48, 130), 3u);
  EXPECT_EQ(count(FailureLevel::name, 130), 2u);
  EXPECT_EQ(log.count(FailureLevel::net48, failure(0x10000, 7), 130, 60, 2), 2u) << "stops at the limit";
  EXPECT_EQ(count(FailureLevel::net48, 159), 3u);
  EXPECT_EQ(count(FailureLevel::net48, 160), 2u);
  EXPECT_EQ(count(FailureLevel::net48, 180), 0u);
  EXPECT_EQ(log.count(FailureLevel::machine, failure(0x20000, 8), 180, 60, 9), 1u);
  EXPECT_EQ(log.count(FailureLevel::machine, failure(0x20000, 8, true), 180, 60, 9), 0u) << "IPv4 is another machine";
}

TEST(FailureLog, AMomentBeforeTheNewestIsTakenForIt) {
  FailureLog log(64, KeyedHash(testing::test_key()));
  log.add(failure(1, 1), kAll, 100, 60);
  log.add(failure(1, 1), kAll, 90, 60);
  EXPECT_EQ(log.count(FailureLevel::machine, failure(1, 1), 155, 60, 9), 2u);
  EXPECT_EQ(log.count(FailureLevel::machine, failure(1, 1), 159, 60, 9), 2u);
  EXPECT_EQ(log.count(FailureLevel::machine, failure(1, 1), 160, 60, 9), 0u);
}

// The same rules on a list whose oldest entry goes when it holds more than the ring.
class PlainLog {
 public:
  struct Entry {
    FailureLog::Failure failure;
    FailureLevels counts;
    std::uint32_t second;
  };
  static constexpr std::size_t kCapacity = 16;

  static std::uint64_t key(FailureLevel level, const FailureLog::Failure& f) {
    if (level == FailureLevel::name) return f.name;
    return f.machine.word >> (8 * static_cast<unsigned>(level));
  }
  bool add(const FailureLog::Failure& f, FailureLevels levels, std::uint32_t now, std::uint32_t within) {
    entries_.push_back({f, levels, now});
    if (entries_.size() <= kCapacity) return false;
    const Entry oldest = entries_.front();
    entries_.pop_front();
    return oldest.counts != 0 && now < oldest.second + within;
  }
  template <class Matches>
  std::uint32_t change(FailureLevels to, Matches matches) {
    std::uint32_t matched = 0;
    for (Entry& entry : entries_) {
      if (!matches(entry)) continue;
      if (entry.counts != 0) ++matched;
      entry.counts &= to;
    }
    return matched;
  }
  static bool same(FailureLevel level, const Entry& entry, const FailureLog::Failure& f) {
    return (entry.counts & level_bit(level)) != 0 && key(level, entry.failure) == key(level, f) &&
           (level == FailureLevel::name || entry.failure.machine.v4 == f.machine.v4);
  }

  std::deque<Entry> entries_;
};

TEST(FailureLog, RandomHistoriesAgreeWithAPlainList) {
  const std::uint64_t seed = testing::test_seed();
  SCOPED_TRACE("POSTERN_SEED=" + std::to_string(seed));
  std::mt19937_64 random(seed);
  FailureLog log(PlainLog::kCapacity, KeyedHash(testing::test_key()));
  PlainLog plain;
  constexpr std::uint32_t kWithin = 20;
  std::uint32_t now = 1000;
  std::uint64_t forgotten = 0;
  const auto any = [&] {
    const bool v4 = random() % 4 == 0;
    return failure((random() % 2 << 16 | random() % 2 << 8 | random() % 3) + 0x300000, 1 + random() % 3, v4);
  };
  for (int step = 0; step < 60000; ++step) {  // more than 512 failures: the sequence numbers wrap round on the way
    now += random() % 4 == 0 ? static_cast<std::uint32_t>(random() % 4) : 0;
    const auto f = any();
    const auto level = static_cast<FailureLevel>(random() % 4);
    switch (random() % 12) {
      default: {
        const auto levels = static_cast<FailureLevels>(random() % 16);
        const bool expected = plain.add(f, levels, now, kWithin);
        ASSERT_EQ(log.add(f, levels, now, kWithin), expected) << step;
        forgotten += expected ? 1 : 0;
        break;
      }
      case 0:
        log.use_up(level, f);
        plain.change(static_cast<FailureLevels>(~level_bit(level)),
                     [&](const PlainLog::Entry& entry) { return PlainLog::same(level, entry, f); });
        break;
      case 1: {
        const std::uint32_t expected = plain.change(0, [&](const PlainLog::Entry& entry) {
          return entry.failure.machine == f.machine && entry.failure.name == f.name && now < entry.second + kWithin;
        });
        ASSERT_EQ(log.take_back(f, now, kWithin), expected) << step;
        break;
      }
      case 2:
        if (random() % 8 != 0) break;
        for (std::size_t first = 0; first < log.capacity(); first += 5) {
          log.take_back_if(first, 5, [&](const MachineKey& machine) { return machine == f.machine; });
        }
        plain.change(0, [&](const PlainLog::Entry& entry) { return entry.failure.machine == f.machine; });
    }
    const auto asked = any();
    for (std::size_t i = 0; i < kFailureLevels; ++i) {
      const auto at = static_cast<FailureLevel>(i);
      const auto expected = std::count_if(plain.entries_.begin(), plain.entries_.end(), [&](const auto& entry) {
        return PlainLog::same(at, entry, asked) && now < entry.second + kWithin;
      });
      ASSERT_EQ(log.count(at, asked, now, kWithin, 1000), static_cast<std::uint32_t>(expected)) << step << " " << i;
    }
  }
  EXPECT_GT(forgotten, 1000u);
}

}  // namespace
}  // namespace postern::policy
