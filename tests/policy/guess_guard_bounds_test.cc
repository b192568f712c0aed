// What floods can do: nothing to memory, nothing to a live bar; and what is given up instead, counted.
#include <gtest/gtest.h>
#include <random>
#include <string>
#include <vector>

#include "policy/guess_guard.h"
#include "policy/overflow_filter.h"
#include "policy/stamp_table.h"

#include "tests/policy/guard_support.h"

namespace postern::policy {
namespace {

using testing::at_second;
using testing::GuardWorld;
using testing::ip;
using testing::prefix;

core::IpAddress v4(std::uint32_t number) {
  return core::IpAddress::from_v4(number);
}

core::IpAddress v6(std::uint64_t network) {
  core::IpAddress address;
  for (std::size_t i = 0; i < 8; ++i) address.bytes[i] = static_cast<std::uint8_t>(network >> (56 - 8 * i));
  address.bytes[15] = 1;
  return address;
}

#ifdef POSTERN_SANITIZED
constexpr int kFlood = 100'000;  // ten times slower there
#else
constexpr int kFlood = 1'000'000;
#endif

TEST(GuessGuardBounds, LiveBarsSurviveAMillionFailuresFromRandomAddresses) {
  const std::uint64_t seed = testing::test_seed();
  SCOPED_TRACE("POSTERN_SEED=" + std::to_string(seed));
  std::mt19937_64 random(seed);
  GuardWorld world(4096);
  world.rules.bar_seconds = 86400;
  std::vector<core::IpAddress> barred;
  for (std::uint32_t i = 0; i < 100; ++i) {
    barred.push_back(i % 2 == 0 ? v4(0xcb007100 + i) : v6(0x20010db800000000u + i * 0x10000));
    for (int k = 0; k < 10; ++k) {
      world.guard.record_failure(world.rules, barred.back(), "v" + std::to_string(k), at_second(world.now));
    }
  }
  for (int i = 0; i < 10; ++i) world.fail("198.51.100." + std::to_string(i), "bob");
  const std::size_t memory = world.guard.memory_bytes();
  for (int i = 0; i < kFlood; ++i) {
    const core::IpAddress machine =
        random() % 4 == 0 ? v6(random() | 0x2000000000000000u) : v4(static_cast<std::uint32_t>(random()));
    world.guard.record_failure(world.rules, machine, std::to_string(random() % 100000),
                               at_second(world.now + i / (kFlood / 50)));
  }
  world.now += 50;
  for (const auto& machine : barred) {
    ASSERT_TRUE(world.guard.is_barred(world.rules, machine, at_second(world.now))) << machine.text();
  }
  EXPECT_TRUE(world.barred("192.0.2.1", "bob"));
  EXPECT_EQ(world.guard.memory_bytes(), memory);
  EXPECT_GT(world.guard.counters().failures_forgotten, kFlood * 9u / 10) << "the log holds 8192 of them";
}

// Ten failures of each of twenty times as many machines as there is room for: every single bar holds to its end.
TEST(GuessGuardBounds, EveryBarHoldsThoughTheTableIsFullOfLiveOnes) {
  GuardWorld world(1024);
  constexpr std::uint32_t kMachines = 20 * 1024;
  std::uint64_t in_filter = 0;
  for (std::uint32_t i = 0; i < kMachines; ++i) {
    NewBars made;
    for (int k = 0; k < 10; ++k) made = world.guard.record_failure(world.rules, v4(i * 7919), "", at_second(world.now));
    ASSERT_EQ(made.count, 1u) << i;
    if (made.made()[0].kind == BarKind::overflow) ++in_filter;
    ASSERT_EQ(made.made()[0].until_boot_seconds, 1900);
  }
  EXPECT_EQ(world.guard.counters().bars_in_overflow, in_filter);
  EXPECT_GE(in_filter, kMachines - 2 * 1024u);
  EXPECT_EQ(world.guard.counters().histories_forgotten, 0u);
  world.now = 1899;
  for (std::uint32_t i = 0; i < kMachines; ++i) {
    ASSERT_EQ(world.guard.find_bar(world.rules, "", v4(i * 7919), at_second(1899)).until_boot_seconds, 1900) << i;
  }
  // The price: strangers who fall on two shut places, about (2n/places)^2 of them; not who logged in before.
  int refused = 0;
  constexpr int kStrangers = 20000;
  for (std::uint32_t i = 0; i < kStrangers; ++i) {
    if (world.guard.find_bar(world.rules, "", v4(0x80000000u + i * 104729), at_second(1899))) ++refused;
  }
  const double shut = 2.0 * static_cast<double>(in_filter) / OverflowFilter::kPlaces;
  EXPECT_LT(refused, kStrangers * shut * shut * 1.3);
  EXPECT_GT(refused, kStrangers * shut * shut * 0.4) << "or the filter is not asked";
  for (std::uint32_t i = 0; i < kStrangers; ++i) {
    const auto stranger = v4(0x80000000u + i * 104729);
    if (!world.guard.find_bar(world.rules, "", stranger, at_second(1899))) continue;
    world.guard.record_success(world.rules, stranger, "bob", at_second(1899));
    EXPECT_FALSE(world.guard.find_bar(world.rules, "", stranger, at_second(1899)));
    break;
  }
  // And everything ends when it should.
  world.now = 1900;
  for (std::uint32_t i = 0; i < kMachines; ++i) {
    ASSERT_FALSE(world.guard.find_bar(world.rules, "", v4(i * 7919), at_second(1900))) << i;
  }
}

TEST(GuessGuardBounds, TheFilterIsListedAndCleared) {
  GuardWorld world(1);  // eight cells
  std::vector<core::IpAddress> in_filter;
  for (std::uint32_t i = 0; in_filter.size() < 20; ++i) {
    NewBars made;
    for (int k = 0; k < 10; ++k) made = world.guard.record_failure(world.rules, v4(i), "", at_second(world.now));
    if (made.count == 1 && made.made()[0].kind == BarKind::overflow) in_filter.push_back(v4(i));
  }
  std::size_t lines = 0;
  world.guard.list(at_second(world.now), [&](const GuessGuard::Listed& bar) {
    if (bar.kind != BarKind::overflow) return;
    ++lines;
    EXPECT_EQ(bar.bars, 20u);
    EXPECT_EQ(bar.remaining_seconds, 900);
  });
  EXPECT_EQ(lines, 1u);
  EXPECT_EQ(world.guard.is_barred(world.rules, in_filter[0], at_second(world.now)).kind, BarKind::overflow);
  EXPECT_EQ(world.guard.clear({in_filter[0], 128}, at_second(world.now)), 1u);
  EXPECT_FALSE(world.guard.is_barred(world.rules, in_filter[0], at_second(world.now)));
  EXPECT_TRUE(world.guard.is_barred(world.rules, in_filter[1], at_second(world.now)));
  EXPECT_EQ(world.guard.clear(prefix("0.0.0.0/1"), at_second(world.now)) > 0, true) << "what is in the table";
  EXPECT_TRUE(world.guard.is_barred(world.rules, in_filter[1], at_second(world.now)));
  EXPECT_EQ(world.guard.clear(prefix("0.0.0.0/0"), at_second(world.now)), 20u);
  EXPECT_FALSE(world.guard.is_barred(world.rules, in_filter[1], at_second(world.now)));
  lines = 0;
  world.guard.list(at_second(world.now), [&](const GuessGuard::Listed&) { ++lines; });
  EXPECT_EQ(lines, 0u);
}

TEST(GuessGuardBounds, NamesWithoutRoomAreBarredAsWellAndSpareKnownMachines) {
  GuardWorld world(1);  // eight cells
  std::string name;
  BarKind kind = BarKind::none;
  for (std::uint32_t i = 0; kind != BarKind::overflow; ++i) {
    ASSERT_LT(i, 100u);
    name = "name" + std::to_string(i);
    NewBars made;
    for (std::uint32_t k = 0; k < 10; ++k) {  // ten machines that fail once
      made = world.guard.record_failure(world.rules, v4(i * 10 + k), name, at_second(world.now));
    }
    ASSERT_EQ(made.count, 1u);
    kind = made.made()[0].kind;
  }
  EXPECT_EQ(world.barred("192.0.2.1", name).kind, BarKind::overflow);
  world.succeed("192.0.2.1", name);
  EXPECT_FALSE(world.barred("192.0.2.1", name));
  EXPECT_TRUE(world.barred("192.0.2.2", name));
  EXPECT_EQ(world.guard.clear_name(name, at_second(world.now)), 1u);
  EXPECT_FALSE(world.barred("192.0.2.2", name));
}

TEST(GuessGuardBounds, AsManyBarsAsWereAskedForFindRoom) {
  GuardWorld world(16384);
  for (std::uint32_t i = 0; i < 16384; ++i) {
    for (int k = 0; k < 10; ++k) world.guard.record_failure(world.rules, v4(i * 104729), "", at_second(world.now));
  }
  EXPECT_EQ(world.guard.counters().bars_made[static_cast<std::size_t>(BarKind::machine)], 16384u);
  EXPECT_LE(world.guard.counters().bars_in_overflow, 1u);
}

TEST(GuessGuardBounds, EndedBarsMakeRoomAndAreForgottenOldestFirst) {
  GuardWorld world(1024);
  for (std::uint32_t round = 0; round < 20; ++round, world.now += 900) {
    for (std::uint32_t i = 0; i < 1000; ++i) {
      for (int k = 0; k < 10; ++k) {
        world.guard.record_failure(world.rules, v4(round * 100000 + i * 31), "", at_second(world.now));
      }
    }
  }
  EXPECT_LE(world.guard.counters().bars_in_overflow, 2u) << "live ones always fit: 1000 at a time";
  EXPECT_GT(world.guard.counters().histories_forgotten, 17000u);
  // The latest round is still told apart from strangers: its machines are barred for longer now.
  int longer = 0;
  for (std::uint32_t i = 0; i < 100; ++i) {
    NewBars made;
    for (int k = 0; k < 10; ++k) {
      made = world.guard.record_failure(world.rules, v4(19 * 100000 + i * 31), "", at_second(world.now));
    }
    ASSERT_EQ(made.count, 1u);
    if (made.made()[0].until_boot_seconds == world.now + 1800) ++longer;
  }
  EXPECT_GT(longer, 60);
}

TEST(GuessGuardBounds, TheOldestSuccessIsForgottenFirst) {
  GuardWorld world(1024);  // remembers 4096 logins: a machine with a name takes two
  for (std::uint32_t i = 0; i < 50000; ++i, ++world.now) {
    world.guard.record_success(world.rules, v4(i * 31), "bob", at_second(world.now));
    ASSERT_TRUE(world.guard.is_known(world.rules, v4(i * 31), "bob", at_second(world.now)));
    ASSERT_TRUE(world.guard.is_known(world.rules, v4(i * 31), "", at_second(world.now)));
  }
  int newest = 0;
  int older = 0;
  for (std::uint32_t i = 0; i < 500; ++i) {
    if (world.guard.is_known(world.rules, v4((49999 - i) * 31), "bob", at_second(world.now))) ++newest;
    if (world.guard.is_known(world.rules, v4((40000 - i) * 31), "bob", at_second(world.now))) ++older;
  }
  EXPECT_GT(newest, 490);
  EXPECT_EQ(older, 0);
  EXPECT_GT(world.guard.counters().known_forgotten, 95000u);
}

// One who owns a /32 and rotates: what he gets is what the /48s have, and the bars hold.
TEST(GuessGuardBounds, RotatingThroughAThirtyTwoBuysSixteenMachinesAFortyEight) {
  GuardWorld world(65536);
  std::uint64_t guesses = 0;
  std::mt19937_64 random(11);
  for (int i = 0; i < 400000; ++i) {
    // 256 /48s of the /32, any /64 in them, always another one.
    const std::uint64_t network = 0x20010db800000000u | (random() & 0xff) << 16 | (random() & 0xffff);
    if (world.guard.is_barred(world.rules, v6(network), at_second(world.now))) continue;
    ++guesses;
    world.guard.record_failure(world.rules, v6(network), "", at_second(world.now));
  }
  EXPECT_LE(guesses, 256u * 160);
  EXPECT_GE(guesses, 256u * 150);
}

TEST(StampTable, NeverEvictsWhatItMayNot) {
  const KeyedHash hash(testing::test_key());
  StampTable table(64, hash);
  std::vector<std::uint64_t> in;
  for (std::uint64_t key = 0; key < 1000; ++key) {
    if (table.put({key, 1, {100, 3}}, 100).ok) in.push_back(key);
  }
  EXPECT_LE(in.size(), 64u);
  EXPECT_GE(in.size(), 60u);
  for (const std::uint64_t key : in) {
    ASSERT_TRUE(table.find(key, 1)) << key;
    EXPECT_EQ(table.find(key, 1)->time, 100u);
    EXPECT_EQ(table.find(key, 1)->count, 3u);
    EXPECT_FALSE(table.find(key, 2)) << "another kind of the same key";
  }
  const auto replaced = table.put({in[0], 1, {90, 4}}, 0);
  EXPECT_TRUE(replaced.ok);
  EXPECT_EQ(replaced.evicted_time, 0u);
  EXPECT_EQ(table.find(in[0], 1)->count, 4u);
  // Something goes in whose places hold in[0]: it is the earliest there.
  bool evicted = false;
  for (std::uint64_t key = 1000; key < 2000 && !evicted; ++key) {
    const auto placed = table.put({key, 1, {200, 0}}, 100);
    if (placed.evicted_time == 0) continue;
    evicted = true;
    EXPECT_EQ(placed.evicted_time, 90u);
    EXPECT_FALSE(table.find(in[0], 1));
    EXPECT_TRUE(table.find(key, 1));
    EXPECT_TRUE(table.erase(key, 1));
    EXPECT_FALSE(table.find(key, 1));
    EXPECT_FALSE(table.erase(key, 1));
  }
  EXPECT_TRUE(evicted);
}

TEST(OverflowFilter, HoldsUntilTheEnd) {
  OverflowFilter filter;
  const KeyedHash hash(testing::test_key());
  EXPECT_EQ(filter.until(hash(1, 1)), 0u);
  for (std::uint64_t i = 0; i < 50000; ++i) filter.shut(hash(i, 1), static_cast<std::uint32_t>(1000 + i % 7));
  for (std::uint64_t i = 0; i < 50000; ++i) ASSERT_GE(filter.until(hash(i, 1)), 1000 + i % 7);
  filter.shut(hash(3, 1), 500);
  EXPECT_GE(filter.until(hash(3, 1)), 1003u) << "never shortened";
  filter.open(hash(3, 1));
  EXPECT_EQ(filter.until(hash(3, 1)), 0u);
  filter.open_all();
  for (std::uint64_t i = 0; i < 50000; ++i) ASSERT_EQ(filter.until(hash(i, 1)), 0u);
}

}  // namespace
}  // namespace postern::policy
