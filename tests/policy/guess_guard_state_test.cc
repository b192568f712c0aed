// Over a restart: bars, former bars, known machines; on the same boot, after a reboot, with wall clocks that step, into
// another size or under another key; and files that are cut, altered or none of ours.
#include <gtest/gtest.h>
#include <random>
#include <string>
#include <vector>

#include "core/crc32c.h"
#include "policy/guess_guard.h"
#include "policy/saved_state.h"

#include "tests/policy/guard_support.h"

namespace postern::policy {
namespace {

using testing::guard_rules;
using testing::GuardWorld;
using testing::ip;

constexpr std::string_view kBoot = "3b4f7b9e-0000-4000-8000-000000000001";
constexpr std::string_view kOtherBoot = "3b4f7b9e-0000-4000-8000-000000000002";

core::Time moment(std::int64_t boot_seconds, std::int64_t unix_seconds, std::int64_t nanoseconds = 0) {
  return {.boot_ns = boot_seconds * core::kNanosecondsPerSecond + nanoseconds,
          .unix_ns = unix_seconds * core::kNanosecondsPerSecond + nanoseconds};
}

std::string saved(const GuessGuard& guard, const core::Time& now, std::string_view boot = kBoot) {
  std::string octets;
  guard.serialize(now, boot, [&](std::string_view piece) { octets.append(piece); });
  return octets;
}

// At boot second 1000: 192.0.2.1 is barred a second time (until 2700 and more), "bob" for strangers,
// 2001:db8:0:100::/56; 198.51.100.7 is known for "bob"; 192.0.2.77 has nine failures.
std::unique_ptr<GuardWorld> busy_world() {
  auto world = std::make_unique<GuardWorld>();
  world->now = 50;
  for (int i = 0; i < 10; ++i) world->fail("192.0.2.1", "x" + std::to_string(i));
  world->now = 1000;
  world->succeed("198.51.100.7", "bob");
  for (int i = 0; i < 10; ++i) world->fail("192.0.2.1", "x" + std::to_string(i));
  for (int i = 0; i < 10; ++i) world->fail("203.0.113." + std::to_string(i), "bob");
  for (int i = 0; i < 40; ++i) world->fail("2001:db8:0:1" + std::to_string(10 + i) + "::1", "y" + std::to_string(i));
  world->fail("192.0.2.77", "z", 9);
  return world;
}

TEST(GuessGuardState, BarsHoldOverARestartToTheSecond) {
  auto before = busy_world();
  const std::string octets = saved(before->guard, moment(1000, 5000, 900'000'000));
  GuardWorld after;
  const auto restored = after.guard.restore(octets, moment(1030, 5030, 100'000'000), kBoot);
  ASSERT_TRUE(restored) << restored.error().text;
  EXPECT_EQ(restored->bars, 3u);
  EXPECT_EQ(restored->known, 2u);
  EXPECT_EQ(restored->dropped, 0u);
  after.now = 1030;
  EXPECT_EQ(after.barred("192.0.2.1").until_boot_seconds, 2800);
  EXPECT_EQ(after.barred("2001:db8:0:1ff::1").kind, BarKind::net56);
  EXPECT_EQ(after.barred("192.0.2.9", "bob").until_boot_seconds, 1900);
  EXPECT_FALSE(after.barred("198.51.100.7", "bob")) << "known over a restart as well";
  EXPECT_FALSE(after.barred("192.0.2.77"));
  after.now = 2799;
  EXPECT_TRUE(after.barred("192.0.2.1"));
  after.now = 2800;
  EXPECT_FALSE(after.barred("192.0.2.1"));
  // The third bar in a row: what came before the restart counts.
  for (int i = 0; i < 10; ++i) after.fail("192.0.2.1", "x" + std::to_string(i));
  EXPECT_EQ(after.barred("192.0.2.1").until_boot_seconds, 2800 + 3600);
  // The name is listed as it was.
  after.now = 1100;
  bool found = false;
  after.guard.list(moment(1100, 0), [&](const GuessGuard::Listed& bar) { found = found || bar.name == "bob"; });
  EXPECT_TRUE(found);
}

TEST(GuessGuardState, KnownMachinesAgeOverARestart) {
  auto before = busy_world();
  const std::string octets = saved(before->guard, moment(1000, 5000));
  GuardWorld after;
  ASSERT_TRUE(after.guard.restore(octets, moment(2000, 0), kBoot));
  after.now = 1000 + 30 * 86400 - 1;
  EXPECT_TRUE(after.known("198.51.100.7", "bob"));
  after.now += 1;
  EXPECT_FALSE(after.known("198.51.100.7", "bob"));
}

TEST(GuessGuardState, OnTheSameBootAStepOfTheWallClockChangesNothing) {
  auto before = busy_world();
  const std::string octets = saved(before->guard, moment(1000, 1'000'000));
  for (const std::int64_t wall : {0ll, 999'000ll, 1'000'030ll, 9'000'000ll}) {
    GuardWorld after;
    ASSERT_TRUE(after.guard.restore(octets, moment(1030, wall), kBoot));
    after.now = 1030;
    EXPECT_EQ(after.barred("192.0.2.1").until_boot_seconds, 2800) << wall;
  }
}

TEST(GuessGuardState, AfterARebootTheTimeThatPassedCounts) {
  auto before = busy_world();
  const std::string octets = saved(before->guard, moment(1000, 1'000'000));
  for (const std::string_view boot : {kOtherBoot, std::string_view{}}) {
    GuardWorld after;  // 500 s down, 20 s up: of the 1800 s 1300 are left
    ASSERT_TRUE(after.guard.restore(octets, moment(20, 1'000'500), boot));
    after.now = 20;
    EXPECT_EQ(after.barred("192.0.2.1").until_boot_seconds, 20 + 1300);
    EXPECT_FALSE(after.barred("198.51.100.7", "bob"));
  }
  GuardWorld long_after;  // a bar that ended meanwhile is over, and still doubles the next one
  const auto restored = long_after.guard.restore(octets, moment(20, 1'010'000), kOtherBoot);
  ASSERT_TRUE(restored);
  EXPECT_EQ(restored->bars, 0u);
  long_after.now = 20;
  EXPECT_FALSE(long_after.barred("192.0.2.1"));
  for (int i = 0; i < 10; ++i) long_after.fail("192.0.2.1", "x" + std::to_string(i));
  EXPECT_EQ(long_after.barred("192.0.2.1").until_boot_seconds, 20 + 3600);
  GuardWorld clock_lost;  // a machine that wakes up in 1970: no time has passed
  ASSERT_TRUE(clock_lost.guard.restore(octets, moment(20, 7), kOtherBoot));
  clock_lost.now = 20;
  EXPECT_EQ(clock_lost.barred("192.0.2.1").until_boot_seconds, 20 + 1800);
}

TEST(GuessGuardState, UnderAnotherKeyMachinesAndWrittenNamesHold) {
  auto before = busy_world();
  const std::string long_name(200, 'n');
  for (int i = 0; i < 10; ++i) before->fail("203.0.113." + std::to_string(100 + i), long_name);
  const std::string octets = saved(before->guard, moment(1000, 5000));
  GuessGuard after({.key = testing::test_key(99), .machines = 100});
  const auto restored = after.restore(octets, moment(1030, 5030), kBoot);
  ASSERT_TRUE(restored);
  EXPECT_EQ(restored->bars, 3u);
  EXPECT_EQ(restored->known, 0u);
  EXPECT_EQ(restored->dropped, 3u) << "two logins, and a name that was too long to be kept";
  const GuardRules rules = guard_rules();
  EXPECT_TRUE(after.is_barred(rules, ip("192.0.2.1"), moment(1030, 0)));
  EXPECT_TRUE(after.is_name_barred(rules, "Bob", ip("192.0.2.9"), moment(1030, 0)));
  EXPECT_FALSE(after.is_name_barred(rules, long_name, ip("192.0.2.9"), moment(1030, 0)));
}

TEST(GuessGuardState, NoBarIsLostOnTheWayIntoASmallerTable) {
  GuardWorld before(4096);
  for (std::uint32_t i = 0; i < 3000; ++i) {
    for (int k = 0; k < 10; ++k) {
      before.guard.record_failure(before.rules, core::IpAddress::from_v4(i * 31), "", moment(1000, 0));
    }
  }
  const std::string octets = saved(before.guard, moment(1000, 5000));
  GuardWorld small(64);
  const auto restored = small.guard.restore(octets, moment(1010, 5010), kBoot);
  ASSERT_TRUE(restored);
  EXPECT_EQ(restored->bars, 3000u);
  for (std::uint32_t i = 0; i < 3000; ++i) {
    ASSERT_EQ(
        small.guard.find_bar(small.rules, "", core::IpAddress::from_v4(i * 31), moment(1010, 0)).until_boot_seconds,
        1900)
        << i;
  }
  // And from the filter onwards.
  const std::string again = saved(small.guard, moment(1010, 5010));
  GuardWorld third(64);
  ASSERT_TRUE(third.guard.restore(again, moment(1020, 5020), kBoot));
  for (std::uint32_t i = 0; i < 3000; ++i) {
    ASSERT_EQ(
        third.guard.find_bar(third.rules, "", core::IpAddress::from_v4(i * 31), moment(1020, 0)).until_boot_seconds,
        1900)
        << i;
  }
  std::size_t in_filter = 0;
  third.guard.list(moment(1020, 0), [&](const GuessGuard::Listed& bar) {
    if (bar.kind == BarKind::overflow) in_filter = bar.bars;
  });
  EXPECT_GT(in_filter, 2000u);
  EXPECT_LE(in_filter, 3000u);
}

TEST(GuessGuardState, AnEmptyGuardIsSavedAndRestored) {
  GuardWorld before;
  GuardWorld after;
  const auto restored = after.guard.restore(saved(before.guard, moment(1, 1)), moment(2, 2), kBoot);
  ASSERT_TRUE(restored);
  EXPECT_EQ(restored->bars + restored->known + restored->dropped, 0u);
}

TEST(GuessGuardState, EveryTruncationAndEveryFlippedBitIsRefusedWhole) {
  auto before = busy_world();
  const std::string octets = saved(before->guard, moment(1000, 5000));
  const auto is_refused = [&](const std::string& bad, const std::string& what) {
    GuardWorld after;
    const auto restored = after.guard.restore(bad, moment(1030, 5030), kBoot);
    ASSERT_FALSE(restored) << what;
    EXPECT_NE(restored.error().text.find("saved state"), std::string::npos) << restored.error().text;
    after.now = 1030;
    ASSERT_FALSE(after.barred("192.0.2.1")) << what;
    std::size_t bars = 0;
    after.guard.list(moment(1030, 0), [&](const GuessGuard::Listed&) { ++bars; });
    ASSERT_EQ(bars, 0u) << what;
  };
  for (std::size_t size = 0; size < octets.size(); ++size)
    is_refused(octets.substr(0, size), "cut at " + std::to_string(size));
  is_refused(octets + '\0', "one more");
  for (std::size_t at = 0; at < octets.size(); ++at) {
    std::string bad = octets;
    bad[at] = static_cast<char>(bad[at] ^ 1 << at % 8);
    is_refused(bad, "flipped at " + std::to_string(at));
  }
}

// The frame is right, and what is in it is not.
TEST(GuessGuardState, WellFramedNonsenseIsRefusedOrHarmless) {
  const std::uint64_t seed = testing::test_seed();
  SCOPED_TRACE("POSTERN_SEED=" + std::to_string(seed));
  std::mt19937_64 random(seed);
  int refused = 0;
  for (int round = 0; round < 3000; ++round) {
    std::string octets;
    const StateWriter::Sink sink = [&](std::string_view piece) { octets.append(piece); };
    StateWriter writer("PSTNGARD", 1, random(), moment(static_cast<std::int64_t>(random() % 100000), 5), kBoot, sink);
    for (std::uint64_t i = random() % 40; i > 0; --i) {
      switch (random() % 4) {
        case 0:
          writer.u8(static_cast<std::uint8_t>(random() % 8));
          break;
        case 1:
          writer.u64(random());
          break;
        case 2:  // a bar of any kind with any end
          writer.u8(1);
          writer.u8(static_cast<std::uint8_t>(random() % 5));
          writer.u8(static_cast<std::uint8_t>(random() % 34));
          writer.u64(random());
          writer.u64(random() >> random() % 64);
          if (random() % 2 == 0) writer.text("bob");
          break;
        default:  // a known machine with any second
          writer.u8(2);
          writer.u64(random());
          writer.u64(random() >> random() % 64);
      }
    }
    writer.finish();
    GuardWorld after(16);
    if (!after.guard.restore(octets, moment(200000, 5), kBoot)) ++refused;
    after.now = 200000;
    // Whatever was taken over: it works, and all of it can be cleared.
    after.guard.list(moment(200000, 0), [&](const GuessGuard::Listed& bar) { ASSERT_GT(bar.remaining_seconds, 0); });
    after.guard.clear(testing::prefix("::/0"), moment(200000, 0));
    after.guard.clear(testing::prefix("0.0.0.0/0"), moment(200000, 0));
    ASSERT_FALSE(after.barred("192.0.2.1"));
    for (int i = 0; i < 10; ++i) after.fail("192.0.2.1", "");
    ASSERT_TRUE(after.barred("192.0.2.1"));
  }
  EXPECT_GT(refused, 1000);
  EXPECT_LT(refused, 3000);
}

TEST(GuessGuardState, OtherKindsAndVersionsAreToldApart) {
  const auto framed = [](std::string_view kind, std::uint32_t version) {
    std::string octets;
    const StateWriter::Sink sink = [&](std::string_view piece) { octets.append(piece); };
    StateWriter writer(kind, version, 0, moment(1, 1), kBoot, sink);
    writer.finish();
    return octets;
  };
  GuardWorld world;
  EXPECT_TRUE(world.guard.restore(framed("PSTNGARD", 1), moment(2, 2), kBoot));
  const auto version = world.guard.restore(framed("PSTNGARD", 2), moment(2, 2), kBoot);
  ASSERT_FALSE(version);
  EXPECT_NE(version.error().text.find("version 2"), std::string::npos) << version.error().text;
  const auto kind = world.guard.restore(framed("PSTNRATE", 1), moment(2, 2), kBoot);
  ASSERT_FALSE(kind);
  EXPECT_NE(kind.error().text.find("another kind"), std::string::npos) << kind.error().text;
  EXPECT_NE(world.guard.restore("", moment(2, 2), kBoot).error().text.find("truncated"), std::string::npos);
}

}  // namespace
}  // namespace postern::policy
