// Logins over a restart: on the same boot, after a reboot, with wall clocks that step, under another prefix length; and
// files that are cut, altered or none of ours.
#include <functional>
#include <gtest/gtest.h>
#include <string>

#include "policy/login_table.h"
#include "policy/saved_state.h"

#include "tests/policy/support.h"

namespace postern::policy {
namespace {

using testing::ip;

constexpr std::string_view kBoot = "3b4f7b9e-0000-4000-8000-000000000001";
constexpr std::string_view kOtherBoot = "3b4f7b9e-0000-4000-8000-000000000002";

core::Time moment(std::int64_t boot_seconds, std::int64_t unix_seconds, std::int64_t nanoseconds = 0) {
  return {.boot_ns = boot_seconds * core::kNanosecondsPerSecond + nanoseconds,
          .unix_ns = unix_seconds * core::kNanosecondsPerSecond + nanoseconds};
}

LoginTableOptions options(std::uint8_t prefix = 64) {
  return {.machines = 1000, .window_seconds = 300, .ipv6_prefix = prefix, .secret = 7};
}

std::string saved(const LoginTable& table, const core::Time& now, std::string_view boot = kBoot) {
  std::string octets;
  table.serialize(now, boot, [&](std::string_view piece) { octets.append(piece); });
  return octets;
}

// At boot second 1000: three live machines, one that has run out.
std::string saved_example() {
  LoginTable table(options());
  table.grant(ip("192.0.2.1"), 1000);
  table.grant(ip("192.0.2.2"), 1000, 7 * 86400);
  table.grant(ip("2001:db8:1:2::9"), 900);
  table.grant(ip("192.0.2.3"), 700);
  return saved(table, moment(1000, 50000, 900'000'000));
}

TEST(LoginTableState, HoldsOverARestartToTheSecond) {
  LoginTable table(options());
  const auto restored = table.restore(saved_example(), moment(1030, 50030, 100'000'000), kBoot);
  ASSERT_TRUE(restored) << restored.error().text;
  EXPECT_EQ(restored->machines, 3u);
  EXPECT_EQ(restored->dropped, 0u);
  EXPECT_TRUE(table.is_granted(ip("192.0.2.1"), 1299));
  EXPECT_FALSE(table.is_granted(ip("192.0.2.1"), 1300));
  EXPECT_TRUE(table.is_granted(ip("192.0.2.2"), 1000 + 7 * 86400 - 1));
  EXPECT_FALSE(table.is_granted(ip("192.0.2.2"), 1000 + 7 * 86400));
  EXPECT_TRUE(table.is_granted(ip("2001:db8:1:2:ffff::1"), 1199));
  EXPECT_FALSE(table.is_granted(ip("2001:db8:1:2::9"), 1200));
  EXPECT_FALSE(table.is_granted(ip("192.0.2.3"), 1030));
  EXPECT_FALSE(table.is_granted(ip("192.0.2.4"), 1030));
}

TEST(LoginTableState, OnOneBootTheWallClockDoesNotMatter) {
  for (const std::int64_t wall : {std::int64_t{0}, std::int64_t{40000}, std::int64_t{900000}}) {
    LoginTable table(options());
    ASSERT_TRUE(table.restore(saved_example(), moment(1100, wall), kBoot));
    EXPECT_TRUE(table.is_granted(ip("192.0.2.1"), 1299)) << wall;
    EXPECT_FALSE(table.is_granted(ip("192.0.2.1"), 1300)) << wall;
  }
}

TEST(LoginTableState, AfterARebootTheWallClockTells) {
  LoginTable table(options());
  ASSERT_TRUE(table.restore(saved_example(), moment(20, 50100, 900'000'000), kOtherBoot));
  EXPECT_TRUE(table.is_granted(ip("192.0.2.1"), 219)) << "100 of its 300 seconds have passed";
  EXPECT_FALSE(table.is_granted(ip("192.0.2.1"), 221));
  EXPECT_FALSE(table.is_granted(ip("2001:db8:1:2::9"), 121));
}

TEST(LoginTableState, AfterARebootThatTookLongerThanTheyHad) {
  LoginTable table(options());
  const auto restored = table.restore(saved_example(), moment(20, 50400), kOtherBoot);
  ASSERT_TRUE(restored);
  EXPECT_EQ(restored->machines, 1u) << "only the one with seven days";
  EXPECT_FALSE(table.is_granted(ip("192.0.2.1"), 20));
  EXPECT_TRUE(table.is_granted(ip("192.0.2.2"), 20));
}

TEST(LoginTableState, AWallClockThatWentBackMakesNoGrantLonger) {
  for (const std::string_view boot : {kOtherBoot, std::string_view{}}) {
    LoginTable table(options());
    ASSERT_TRUE(table.restore(saved_example(), moment(20, 10), boot));
    EXPECT_TRUE(table.is_granted(ip("192.0.2.1"), 319));
    EXPECT_FALSE(table.is_granted(ip("192.0.2.1"), 320));
  }
}

TEST(LoginTableState, AnotherPrefixLengthDropsIpv6Machines) {
  LoginTable table(options(56));
  const auto restored = table.restore(saved_example(), moment(1000, 50000), kBoot);
  ASSERT_TRUE(restored);
  EXPECT_EQ(restored->machines, 2u);
  EXPECT_EQ(restored->dropped, 1u);
  EXPECT_FALSE(table.is_granted(ip("2001:db8:1:2::9"), 1000));
  EXPECT_TRUE(table.is_granted(ip("192.0.2.1"), 1000));
}

TEST(LoginTableState, WhatIsRestoredIsSavedAgainAlike) {
  LoginTable table(options());
  ASSERT_TRUE(table.restore(saved_example(), moment(1010, 50010), kBoot));
  LoginTable second(options());
  const auto restored = second.restore(saved(table, moment(1010, 50010)), moment(1010, 50010), kBoot);
  ASSERT_TRUE(restored);
  EXPECT_EQ(restored->machines, 3u);
  EXPECT_FALSE(second.is_granted(ip("192.0.2.1"), 1300));
  EXPECT_TRUE(second.is_granted(ip("192.0.2.1"), 1299));
}

TEST(LoginTableState, EveryCutAndEveryFlippedBitIsRefusedWhole) {
  const std::string octets = saved_example();
  for (std::size_t size = 0; size < octets.size(); ++size) {
    LoginTable table(options());
    ASSERT_FALSE(table.restore(octets.substr(0, size), moment(1000, 50000), kBoot)) << size;
    ASSERT_TRUE(table.live(1000).empty());
  }
  for (std::size_t bit = 0; bit < octets.size() * 8; ++bit) {
    std::string altered = octets;
    altered[bit / 8] = static_cast<char>(altered[bit / 8] ^ 1 << bit % 8);
    LoginTable table(options());
    ASSERT_FALSE(table.restore(altered, moment(1000, 50000), kBoot)) << bit;
    ASSERT_TRUE(table.live(1000).empty());
  }
}

// Framed well, so that the checksum does not keep them out.
std::string framed(const std::function<void(StateWriter&)>& write) {
  std::string octets;
  const StateWriter::Sink sink = [&](std::string_view piece) { octets.append(piece); };
  StateWriter writer("PSTNLOGN", 1, 0, moment(1000, 50000), kBoot, sink);
  write(writer);
  writer.finish();
  return octets;
}

TEST(LoginTableState, RecordsThatAreNoneAreRefused) {
  const auto good = [](StateWriter& w) {
    w.u8(64);
    w.u8(4);
    w.u32(0xc0000201);
    w.u32(300);
  };
  LoginTable table(options());
  ASSERT_TRUE(table.restore(framed(good), moment(1000, 50000), kBoot));
  ASSERT_TRUE(table.is_granted(ip("192.0.2.1"), 1299));
  const std::function<void(StateWriter&)> bad[] = {
      [](StateWriter&) {},                                                               // no prefix length
      [](StateWriter& w) { w.u8(0); },                                                   // one that is none
      [](StateWriter& w) { w.u8(65); },
      [&](StateWriter& w) { good(w), w.u8(5), w.u32(1), w.u32(1); },                     // no such family
      [&](StateWriter& w) { good(w), w.u8(4), w.u32(1), w.u32(0); },                     // nothing remains
      [&](StateWriter& w) { good(w), w.u8(4), w.u32(1), w.u32(7 * 86400 + 1); },         // more than can be
      [&](StateWriter& w) { good(w), w.u8(6), w.u64(1); },                               // cut short
  };
  for (const auto& write : bad) {
    LoginTable fresh(options());
    EXPECT_FALSE(fresh.restore(framed(write), moment(1000, 50000), kBoot));
    EXPECT_TRUE(fresh.live(1000).empty());
  }
}

TEST(LoginTableState, ChangesTellsWhetherThereIsSomethingToSave) {
  LoginTable table(options());
  const auto at_first = table.changes();
  EXPECT_FALSE(table.is_granted(ip("192.0.2.1"), 10));
  table.revoke(ip("192.0.2.1"));
  EXPECT_EQ(table.changes(), at_first) << "nothing was there";
  table.grant(ip("192.0.2.1"), 10);
  const auto granted = table.changes();
  EXPECT_NE(granted, at_first);
  table.grant(ip("192.0.2.1"), 11);
  EXPECT_NE(table.changes(), granted);
  const auto again = table.changes();
  table.revoke(ip("192.0.2.1"));
  EXPECT_NE(table.changes(), again);
}

}  // namespace
}  // namespace postern::policy
