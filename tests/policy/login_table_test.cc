// Windows, keys, evictions; and a stress for TSan: a machine that was never granted is never reported.
#include "policy/login_table.h"

#include <algorithm>
#include <atomic>
#include <gtest/gtest.h>
#include <random>
#include <thread>
#include <vector>

#include "tests/policy/support.h"

namespace postern::policy {
namespace {

using testing::ip;

core::IpAddress v4(std::uint32_t number) {
  return core::IpAddress::from_v4(number);
}

TEST(LoginTable, AllowedFor299SecondsAndNotFor301) {
  LoginTable table({.machines = 1000, .window_seconds = 300, .ipv6_prefix = 64, .secret = 7});
  const auto machine = ip("192.0.2.1");
  EXPECT_FALSE(table.is_granted(machine, 1000));
  table.grant(machine, 1000);
  EXPECT_TRUE(table.is_granted(machine, 1000));
  EXPECT_TRUE(table.is_granted(machine, 1299));
  EXPECT_FALSE(table.is_granted(machine, 1300));
  EXPECT_FALSE(table.is_granted(machine, 1301));
  EXPECT_FALSE(table.is_granted(ip("192.0.2.2"), 1000));
}

TEST(LoginTable, EachLoginStartsTheWindowAnew) {
  LoginTable table({.machines = 1000, .window_seconds = 300, .ipv6_prefix = 64, .secret = 7});
  const auto machine = ip("2001:db8::1");
  table.grant(machine, 0);
  table.grant(machine, 299);
  EXPECT_TRUE(table.is_granted(machine, 598));
  EXPECT_FALSE(table.is_granted(machine, 599));
  table.grant(machine, 599, 10);  // a window of its own
  EXPECT_TRUE(table.is_granted(machine, 608));
  EXPECT_FALSE(table.is_granted(machine, 609));
  EXPECT_EQ(table.live(600).size(), 1u);
}

TEST(LoginTable, RevokeEndsIt) {
  LoginTable table({.machines = 1000, .window_seconds = 300, .ipv6_prefix = 64, .secret = 7});
  table.grant(ip("192.0.2.1"), 5);
  table.grant(ip("192.0.2.2"), 5);
  table.revoke(ip("192.0.2.1"));
  table.revoke(ip("192.0.2.9"));
  EXPECT_FALSE(table.is_granted(ip("192.0.2.1"), 6));
  EXPECT_TRUE(table.is_granted(ip("192.0.2.2"), 6));
  table.grant(ip("192.0.2.1"), 7);
  EXPECT_TRUE(table.is_granted(ip("192.0.2.1"), 8));
}

TEST(LoginTable, TheKeyIsTheIpv4AddressOrTheIpv6Prefix) {
  LoginTable table({.machines = 1000, .window_seconds = 300, .ipv6_prefix = 64, .secret = 7});
  table.grant(ip("2001:db8:0:1::1"), 0);
  EXPECT_TRUE(table.is_granted(ip("2001:db8:0:1:ffff::9"), 1));
  EXPECT_FALSE(table.is_granted(ip("2001:db8:0:2::1"), 1));
  table.grant(ip("::ffff:192.0.2.7"), 0);
  EXPECT_TRUE(table.is_granted(ip("192.0.2.7"), 1));
  EXPECT_FALSE(table.is_granted(ip("192.0.2.6"), 1));
  // The words of an IPv4 machine and of an IPv6 network may be equal; the machines are not.
  table.grant(ip("0:0:c000:209::1"), 0);
  EXPECT_FALSE(table.is_granted(ip("192.0.2.9"), 1));
  table.grant(ip("0.0.0.0"), 0);
  EXPECT_FALSE(table.is_granted(ip("::1"), 1));

  LoginTable wide({.machines = 1000, .window_seconds = 300, .ipv6_prefix = 48, .secret = 7});
  wide.grant(ip("2001:db8:1:2::1"), 0);
  EXPECT_TRUE(wide.is_granted(ip("2001:db8:1:ffff::1"), 1));
  EXPECT_FALSE(wide.is_granted(ip("2001:db8:2::1"), 1));
  ASSERT_EQ(wide.live(1).size(), 1u);
  EXPECT_EQ(wide.live(1)[0].machine, ip("2001:db8:1::"));
}

TEST(LoginTable, TranslatedIpv4IsThatIpv4Address) {
  LoginTable table({.machines = 1000, .window_seconds = 300, .ipv6_prefix = 64, .secret = 7});
  table.grant(ip("64:ff9b::192.0.2.1"), 0);
  EXPECT_TRUE(table.is_granted(ip("192.0.2.1"), 1));
  EXPECT_FALSE(table.is_granted(ip("64:ff9b::192.0.2.2"), 1));
  EXPECT_FALSE(table.is_granted(ip("64:ff9b::1:192.0.2.1"), 1));
}

TEST(LoginTable, LiveListsWhatCounts) {
  LoginTable table({.machines = 1000, .window_seconds = 300, .ipv6_prefix = 64, .secret = 7});
  table.grant(ip("192.0.2.1"), 100);
  table.grant(ip("2001:db8::5"), 200);
  table.grant(ip("192.0.2.3"), 0);
  auto live = table.live(300);
  std::sort(live.begin(), live.end(), [](const auto& a, const auto& b) { return a.machine < b.machine; });
  ASSERT_EQ(live.size(), 2u);
  EXPECT_EQ(live[0].machine, ip("192.0.2.1"));
  EXPECT_EQ(live[0].expires_boot_seconds, 400);
  EXPECT_EQ(live[1].machine, ip("2001:db8::"));
  EXPECT_EQ(live[1].expires_boot_seconds, 500);
  LoginTable next({.machines = 1000, .window_seconds = 300, .ipv6_prefix = 64, .secret = 9});  // after a restart
  for (const auto& entry : live) {
    next.grant(entry.machine, 300, static_cast<std::uint32_t>(entry.expires_boot_seconds - 300));
  }
  EXPECT_TRUE(next.is_granted(ip("192.0.2.1"), 399));
  EXPECT_FALSE(next.is_granted(ip("192.0.2.1"), 400));
  EXPECT_TRUE(next.is_granted(ip("2001:db8::1"), 499));
}

TEST(LoginTable, TimesAtTheEndsDoNotWrap) {
  LoginTable table({.machines = 256, .window_seconds = 300, .ipv6_prefix = 64, .secret = 7});
  table.grant(ip("192.0.2.1"), 0x7fffffff - 10, 0xffffffffu);
  EXPECT_TRUE(table.is_granted(ip("192.0.2.1"), 0x7ffffff0));
  EXPECT_FALSE(table.is_granted(ip("192.0.2.1"), 0x7fffffff));
  table.grant(ip("192.0.2.2"), -1000);
  EXPECT_FALSE(table.is_granted(ip("192.0.2.2"), 0));
}

TEST(LoginTable, AFullTableEvictsWhatExpiresFirstAndCounts) {
  LoginTable table({.machines = 1, .window_seconds = 1000, .ipv6_prefix = 64, .secret = 3});
  const std::size_t capacity = table.memory_bytes() / 16;
  std::uint32_t number = 0;
  for (; number < 40 * capacity; ++number) {
    table.grant(v4(number), number / 1000);
    ASSERT_TRUE(table.is_granted(v4(number), number / 1000)) << "the newest is always in";
  }
  const std::int64_t now = number / 1000;
  const auto live = table.live(now);
  EXPECT_LE(live.size(), capacity);
  EXPECT_GT(live.size(), capacity / 2);
  // What is left is from the newer part, and what went was counted.
  std::uint32_t oldest = number;
  for (const auto& entry : live) oldest = std::min(oldest, entry.machine.v4());
  EXPECT_GT(oldest, number / 2);
  EXPECT_GE(table.evictions() + live.size(), number - static_cast<std::uint32_t>(capacity));
}

TEST(LoginTable, ExpiredEntriesAreReusedBeforeLiveOnes) {
  LoginTable table({.machines = 1000, .window_seconds = 100, .ipv6_prefix = 64, .secret = 3});
  for (std::uint32_t i = 0; i < 400; ++i) table.grant(v4(i), 0);
  const auto before = table.evictions();
  for (std::uint32_t i = 1000; i < 1400; ++i) table.grant(v4(i), 200);
  EXPECT_EQ(table.evictions(), before);
  for (std::uint32_t i = 1000; i < 1400; ++i) EXPECT_TRUE(table.is_granted(v4(i), 201));
}

TEST(LoginTable, HoldsMostOfWhatItIsMadeForAndCosts16OctetsAMachine) {
  LoginTable table({.machines = 100000, .window_seconds = 300, .ipv6_prefix = 64, .secret = 11});
  EXPECT_LT(table.memory_bytes(), 100000u * 16 + 32768);
  for (std::uint32_t i = 0; i < 80000; ++i) table.grant(v4(i * 7919), 0);
  EXPECT_LT(table.evictions(), 80000u / 50) << "at 80 % full";
}

TEST(LoginTable, SecretsDifferFromTableToTable) {
  LoginTable a({.machines = 1000, .window_seconds = 300, .ipv6_prefix = 64, .secret = 0});
  LoginTable b({.machines = 1000, .window_seconds = 300, .ipv6_prefix = 64, .secret = 0});
  for (std::uint32_t i = 0; i < 900; ++i) {
    a.grant(v4(i), 0);
    b.grant(v4(i), 0);
  }
  const auto order = [](const LoginTable& table) {
    std::vector<core::IpAddress> machines;
    for (const auto& entry : table.live(0)) machines.push_back(entry.machine);
    return machines;
  };
  EXPECT_NE(order(a), order(b));
}

// Writers push far more machines through a small table than it holds, so that keys change under the readers' eyes all
// the time. Readers ask for machines that are never granted, and for one that always is.
TEST(LoginTable, StressNeverInventsAGrant) {
  const auto seed = std::random_device{}();
  SCOPED_TRACE(seed);
  LoginTable table({.machines = 1, .window_seconds = 300, .ipv6_prefix = 64, .secret = seed | 1});
  const auto steady = ip("198.51.100.1");
  table.grant(steady, 0, 1'000'000);  // expires last: never evicted
  std::atomic<bool> stop{false};
  std::atomic<std::uint64_t> invented{0};
  std::atomic<std::uint64_t> lost{0};
  std::atomic<std::uint64_t> reads{0};
  std::vector<std::thread> threads;
  for (unsigned writer = 0; writer < 2; ++writer) {
    threads.emplace_back([&, writer] {
      std::mt19937 random(seed + writer);
      for (int i = 0; i < 150000; ++i) {
        const std::uint32_t number = random() & 0xfff;
        table.grant(v4(number * 2), i % 700);  // even numbers only
        if (number % 16 == 0) table.revoke(v4((random() & 0xfff) * 2));
        if (number % 64 == 0) table.grant(steady, 0, 1'000'000);
      }
      stop.store(true, std::memory_order_relaxed);
    });
  }
  for (unsigned reader = 0; reader < 2; ++reader) {
    threads.emplace_back([&, reader] {
      std::mt19937 random(seed + 100 + reader);
      std::uint64_t asked = 0;
      for (; asked < 20000 || !stop.load(std::memory_order_relaxed); ++asked) {
        if (table.is_granted(v4((random() & 0xfff) * 2 + 1), 0)) invented.fetch_add(1);
        if (!table.is_granted(steady, 1)) lost.fetch_add(1);
      }
      reads.fetch_add(asked);
    });
  }
  for (auto& thread : threads) thread.join();
  EXPECT_EQ(invented.load(), 0u);
  EXPECT_EQ(lost.load(), 0u);
  EXPECT_GE(reads.load(), 40000u);
  for (const auto& entry : table.live(0)) {
    EXPECT_TRUE(entry.machine == steady || entry.machine.v4() % 2 == 0);
  }
}

// A grant that returned is seen by everybody who is told about it.
TEST(LoginTable, ReadYourWriteAcrossThreads) {
  LoginTable table({.machines = 4096, .window_seconds = 300, .ipv6_prefix = 64, .secret = 5});
  std::atomic<std::uint32_t> told{0};
  std::uint64_t missed = 0;
  std::thread reader([&] {
    for (std::uint32_t seen = 0; seen < 2000;) {
      const std::uint32_t now_told = told.load(std::memory_order_acquire);
      if (now_told == seen) {
        std::this_thread::yield();
        continue;
      }
      seen = now_told;
      if (!table.is_granted(v4(seen), 1)) ++missed;
    }
  });
  for (std::uint32_t i = 1; i <= 2000; ++i) {
    table.grant(v4(i), 0);
    told.store(i, std::memory_order_release);
  }
  reader.join();
  EXPECT_EQ(missed, 0u);
}

}  // namespace
}  // namespace postern::policy
