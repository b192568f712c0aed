// Many threads at one guard, for TSan: who never failed is never refused, who is barred always is, nobody is known who
// never logged in; and nothing is lost between a return and the next question elsewhere.
#include <atomic>
#include <gtest/gtest.h>
#include <random>
#include <string>
#include <thread>
#include <vector>

#include "policy/guess_guard.h"

#include "tests/policy/guard_support.h"

namespace postern::policy {
namespace {

using testing::at_second;
using testing::ip;

core::IpAddress v4(std::uint32_t number) {
  return core::IpAddress::from_v4(number);
}

// Writers bar, clear and log in a few thousand machines (even numbers) through a table that holds far fewer former
// bars, so that cells change under the readers' eyes all the time; bars that live at second 1000 are of two machines
// only.
TEST(GuessGuardStress, NeverInventsAndNeverLosesABar) {
  const std::uint64_t seed = testing::test_seed();
  SCOPED_TRACE("POSTERN_SEED=" + std::to_string(seed));
  GuessGuard guard({.key = testing::test_key(), .machines = 64});
  GuardRules rules = testing::guard_rules();
  rules.failures = 2;
  rules.bar_seconds = 100;
  rules.bar_max_seconds = 100'000;
  const core::Time now = at_second(1000);
  const auto steady = ip("198.51.100.1");
  const auto steady6 = ip("2001:db8::1");
  {
    GuardRules at_once = rules;
    at_once.failures = 1;
    at_once.bar_seconds = 100'000;
    guard.record_failure(at_once, steady, "steady", now);
    guard.record_failure(at_once, steady6, "", now);
  }
  std::atomic<int> writing{2};
  std::atomic<std::uint64_t> invented{0};
  std::atomic<std::uint64_t> lost{0};
  std::vector<std::thread> threads;
  for (std::uint64_t writer = 0; writer < 2; ++writer) {
    threads.emplace_back([&, writer] {
      std::mt19937_64 random(seed + writer);
      for (int i = 0; i < 20000; ++i) {
        const auto machine = v4(static_cast<std::uint32_t>(random() & 0x7ff) * 2);
        const std::string name = "user" + std::to_string(random() & 0xff);
        // Their bars end before second 1000: for the readers they are changes in the table and nothing else.
        const core::Time then = at_second(static_cast<std::int64_t>(random() % 300));
        guard.record_failure(rules, machine, name, then);
        guard.record_failure(rules, machine, name, then);
        if (i % 8 == 0) guard.record_success(rules, machine, name, now);
        if (i % 64 == 0) guard.clear({machine, 128}, now);
        if (i % 64 == 32) guard.clear_name(name, now);
      }
      writing.fetch_sub(1, std::memory_order_relaxed);
    });
  }
  for (std::uint64_t reader = 0; reader < 2; ++reader) {
    threads.emplace_back([&, reader] {
      std::mt19937_64 random(seed + 100 + reader);
      for (int asked = 0; asked < 5000 || writing.load(std::memory_order_relaxed) > 0; ++asked) {
        const auto innocent = v4(static_cast<std::uint32_t>(random() & 0x7ff) * 2 + 1);
        if (guard.is_barred(rules, innocent, now)) invented.fetch_add(1);
        if (guard.is_known(rules, innocent, "user1", now)) invented.fetch_add(1);
        if (guard.is_name_barred(rules, "nobody" + std::to_string(random() & 0xff), innocent, now))
          invented.fetch_add(1);
        if (!guard.is_barred(rules, steady, now)) lost.fetch_add(1);
        if (!guard.is_barred(rules, steady6, now)) lost.fetch_add(1);
        if (!guard.is_name_barred(rules, "steady", innocent, now)) lost.fetch_add(1);
      }
    });
  }
  threads.emplace_back([&] {  // an operator, and the file that is written now and then
    while (writing.load(std::memory_order_relaxed) > 0) {
      std::size_t bars = 0;
      guard.list(now, [&](const GuessGuard::Listed&) { ++bars; });
      if (bars < 3) lost.fetch_add(1);
      std::string octets;
      guard.serialize(now, "boot", [&](std::string_view piece) { octets.append(piece); });
      GuessGuard other({.key = testing::test_key(), .machines = 64});
      if (!other.restore(octets, now, "boot") || !other.find_bar(rules, "", steady, now)) lost.fetch_add(1);
      static_cast<void>(guard.counters());
    }
  });
  for (auto& thread : threads) thread.join();
  EXPECT_EQ(invented.load(), 0u);
  EXPECT_EQ(lost.load(), 0u);
  EXPECT_GT(guard.counters().histories_forgotten, 100u) << "cells did change owners";
}

TEST(GuessGuardStress, ABarThatWasMadeIsSeenByWhoeverIsTold) {
  GuessGuard guard({.key = testing::test_key(), .machines = 4096});
  GuardRules rules = testing::guard_rules();
  rules.failures = 1;
  const core::Time now = at_second(1000);
  std::atomic<std::uint32_t> told{0};
  std::uint64_t missed = 0;
  std::thread reader([&] {
    for (std::uint32_t seen = 0; seen < 2000;) {
      const std::uint32_t latest = told.load(std::memory_order_acquire);
      if (latest == seen) {
        std::this_thread::yield();
        continue;
      }
      seen = latest;
      if (!guard.is_barred(rules, v4(seen), now)) ++missed;
      if (!guard.is_known(rules, v4(1'000'000 + seen), "bob", now)) ++missed;
    }
  });
  for (std::uint32_t i = 1; i <= 2000; ++i) {
    guard.record_failure(rules, v4(i), "", now);
    guard.record_success(rules, v4(1'000'000 + i), "bob", now);
    told.store(i, std::memory_order_release);
  }
  reader.join();
  EXPECT_EQ(missed, 0u);
}

// Failures of one machine from all sides at once: exactly one bar for each ten.
TEST(GuessGuardStress, ConcurrentFailuresAreAllCounted) {
  GuessGuard guard({.key = testing::test_key(), .machines = 4096});
  const GuardRules rules = testing::guard_rules();
  std::atomic<std::uint64_t> bars{0};
  std::vector<std::thread> threads;
  for (int t = 0; t < 4; ++t) {
    threads.emplace_back([&, t] {
      for (std::uint32_t machine = 0; machine < 500; ++machine) {
        for (int i = 0; i < 3; ++i) {  // 12 of each machine in all
          bars.fetch_add(guard.record_failure(rules, v4(machine), "", at_second(1000 + t)).count);
        }
      }
    });
  }
  for (auto& thread : threads) thread.join();
  EXPECT_EQ(bars.load(), 500u);
  EXPECT_EQ(guard.counters().failures, 6000u);
  for (std::uint32_t machine = 0; machine < 500; ++machine)
    EXPECT_TRUE(guard.is_barred(rules, v4(machine), at_second(1010)));
}

}  // namespace
}  // namespace postern::policy
