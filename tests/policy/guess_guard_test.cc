// What is counted, what is barred, for how long, and what a success or an operator takes back: to the second.
#include "policy/guess_guard.h"

#include <algorithm>
#include <gtest/gtest.h>
#include <map>
#include <string>

#include "tests/policy/guard_support.h"

namespace postern::policy {
namespace {

using testing::at_second;
using testing::GuardWorld;
using testing::ip;
using testing::prefix;

constexpr std::string_view kMachine = "192.0.2.1";

// Makes failures at a machine, a new name each, until it is barred.
int failures_until_barred(GuardWorld& world, std::string_view machine, int most = 1000) {
  for (int i = 1; i <= most; ++i) {
    world.fail(machine, "name" + std::to_string(world.now) + "-" + std::to_string(i));
    if (world.barred(machine)) return i;
  }
  return 0;
}

TEST(GuessGuard, TheTenthFailureBarsTheMachineForFifteenMinutes) {
  GuardWorld world;
  for (int i = 1; i <= 9; ++i) {
    EXPECT_EQ(world.fail(kMachine, "user" + std::to_string(i)).count, 0u);
    EXPECT_FALSE(world.barred(kMachine)) << i;
  }
  const NewBars made = world.fail(kMachine, "user10");
  ASSERT_EQ(made.count, 1u);
  EXPECT_EQ(made.made()[0].kind, BarKind::machine);
  EXPECT_EQ(made.made()[0].until_boot_seconds, 1900);
  EXPECT_EQ(world.barred(kMachine).kind, BarKind::machine);
  EXPECT_EQ(world.barred(kMachine).until_boot_seconds, 1900);
  EXPECT_FALSE(world.barred("192.0.2.2"));
  world.now = 1899;
  EXPECT_TRUE(world.barred(kMachine));
  world.now = 1900;
  EXPECT_FALSE(world.barred(kMachine));
}

TEST(GuessGuard, AFailureCountsForSixHundredSeconds) {
  for (const auto& [last, barred] : {std::pair{599, true}, std::pair{600, false}, std::pair{601, false}}) {
    GuardWorld world;
    world.fail(kMachine, "a");
    world.now = 1000 + last;
    for (int i = 0; i < 9; ++i) world.fail(kMachine, "b" + std::to_string(i));
    EXPECT_EQ(static_cast<bool>(world.barred(kMachine)), barred) << last;
    if (!barred) {
      EXPECT_EQ(world.fail(kMachine, "c").count, 1u) << last;
    }
  }
}

TEST(GuessGuard, TheWindowSlides) {
  GuardWorld world;
  // One every 67 seconds: the tenth is 603 s after the first, and so on for ever.
  for (int i = 0; i < 100; ++i, world.now += 67)
    ASSERT_EQ(world.fail(kMachine, "a" + std::to_string(i)).count, 0u) << i;
  // One every 59 seconds: the tenth comes at 531 s after the first.
  GuardWorld faster;
  faster.now = 7;
  int failures = 0;
  while (!faster.barred(kMachine)) {
    ASSERT_LT(failures, 11);
    faster.fail(kMachine, "a" + std::to_string(++failures));
    if (failures < 10) faster.now += 59;
  }
  EXPECT_EQ(failures, 10);
  EXPECT_EQ(faster.barred(kMachine).until_boot_seconds, 7 + 9 * 59 + 900);
}

TEST(GuessGuard, EachBarIsTwiceAsLongUpToADay) {
  GuardWorld world;
  std::int64_t length = 900;
  for (int bar = 1; bar <= 12; ++bar) {
    ASSERT_EQ(failures_until_barred(world, kMachine), 10) << bar;
    EXPECT_EQ(world.barred(kMachine).until_boot_seconds, world.now + length) << bar;
    world.now += length;
    EXPECT_FALSE(world.barred(kMachine));
    length = std::min<std::int64_t>(2 * length, 86400);
  }
  EXPECT_EQ(length, 86400);
  // Quiet until one second less than a day after the bar ended: it still doubles. Quiet for a day: it begins anew.
  world.now += 86399;
  failures_until_barred(world, kMachine);
  EXPECT_EQ(world.barred(kMachine).until_boot_seconds, world.now + 86400);
  world.now += 86400 + 86400;
  failures_until_barred(world, kMachine);
  EXPECT_EQ(world.barred(kMachine).until_boot_seconds, world.now + 900);
}

TEST(GuessGuard, ABarUsesUpTheFailuresThatMadeIt) {
  GuardWorld world;
  world.rules.bar_seconds = 60;  // shorter than the window: the ten still lie in it when the bar ends
  ASSERT_EQ(failures_until_barred(world, kMachine), 10);
  world.now += 60;
  EXPECT_EQ(failures_until_barred(world, kMachine), 10);
}

TEST(GuessGuard, FailuresUnderALiveBarAreNotCountedTowardsIt) {
  GuardWorld world;
  world.rules.bar_seconds = 60;
  ASSERT_EQ(failures_until_barred(world, kMachine), 10);
  // Ten more that were already under way: no second bar, none longer, none sooner.
  for (int i = 0; i < 10; ++i) EXPECT_EQ(world.fail(kMachine, "late" + std::to_string(i)).count, 0u);
  EXPECT_EQ(world.barred(kMachine).until_boot_seconds, 1060);
  world.now += 60;
  EXPECT_EQ(failures_until_barred(world, kMachine), 10);
}

TEST(GuessGuard, ANameIsBarredForStrangersOnly) {
  GuardWorld world;
  world.succeed("198.51.100.7", "Bob");
  NewBars made;
  for (int i = 1; i <= 10; ++i) {
    EXPECT_FALSE(world.barred("203.0.113.99", "bob")) << i;
    made = world.fail("203.0.113." + std::to_string(i), "bob");
    EXPECT_FALSE(world.barred("203.0.113." + std::to_string(i))) << "one failure is no bar for a machine";
  }
  ASSERT_EQ(made.count, 1u);
  EXPECT_EQ(made.made()[0].kind, BarKind::name);
  EXPECT_EQ(world.barred("203.0.113.99", "bob").kind, BarKind::name);
  EXPECT_EQ(world.barred("203.0.113.99", "BOB").until_boot_seconds, 1900) << "ASCII case is no way round";
  EXPECT_FALSE(world.barred("203.0.113.99", "alice"));
  EXPECT_FALSE(world.barred("203.0.113.99")) << "other names may be tried from there";
  EXPECT_FALSE(world.barred("198.51.100.7", "bob")) << "the user's own machine";
  EXPECT_TRUE(world.barred("198.51.100.8", "bob")) << "the machine beside it";
  const Bar both = world.guard.check_login(world.rules, "bob", ip("203.0.113.99"), at_second(world.now));
  EXPECT_EQ(both.kind, BarKind::name);
  world.now = 1899;
  EXPECT_TRUE(world.barred("203.0.113.99", "bob"));
  world.now = 1900;
  EXPECT_FALSE(world.barred("203.0.113.99", "bob"));
}

TEST(GuessGuard, ANamesBarDoesNotGrow) {
  GuardWorld world;
  for (int bar = 0; bar < 5; ++bar) {
    for (int i = 1; i <= 10; ++i) world.fail("203.0.113." + std::to_string(10 * bar + i), "bob");
    ASSERT_EQ(world.barred("198.51.100.1", "bob").until_boot_seconds, world.now + 900) << bar;
    world.now += 900;
  }
}

TEST(GuessGuard, FailuresOfKnownMachinesDoNotCountTowardsTheName) {
  GuardWorld world;
  for (int i = 1; i <= 12; ++i) world.succeed("198.51.100." + std::to_string(i), "bob");
  for (int i = 1; i <= 12; ++i) world.fail("198.51.100." + std::to_string(i), "bob");
  EXPECT_FALSE(world.barred("203.0.113.1", "bob"));
  // They do count for the machine: a phone with an old password is a guesser like any other.
  for (int i = 0; i < 9; ++i) world.fail("198.51.100.1", "bob");
  EXPECT_TRUE(world.barred("198.51.100.1"));
}

TEST(GuessGuard, KnownForThirtyDays) {
  GuardWorld world;
  EXPECT_FALSE(world.known(kMachine, "bob"));
  world.succeed(kMachine, "bob");
  EXPECT_TRUE(world.known(kMachine, "bob"));
  EXPECT_TRUE(world.known(kMachine, "Bob"));
  EXPECT_FALSE(world.known(kMachine, "alice"));
  EXPECT_FALSE(world.known("192.0.2.2", "bob"));
  EXPECT_TRUE(world.known(kMachine, "")) << "as anybody";
  world.now += 30 * 86400 - 1;
  EXPECT_TRUE(world.known(kMachine, "bob"));
  world.now += 1;
  EXPECT_FALSE(world.known(kMachine, "bob"));
  EXPECT_FALSE(world.known(kMachine, ""));
  for (int i = 1; i <= 10; ++i) world.fail("203.0.113." + std::to_string(i), "bob");
  EXPECT_TRUE(world.barred(kMachine, "bob"));
}

TEST(GuessGuard, ASuccessTakesBackOnlyItsOwnFailures) {
  GuardWorld world;
  world.fail(kMachine, "bob", 5);
  world.fail(kMachine, "alice", 4);
  world.succeed(kMachine, "bob");
  EXPECT_EQ(world.guard.counters().failures_taken_back, 5u);
  world.fail(kMachine, "carol", 5);
  EXPECT_FALSE(world.barred(kMachine)) << "4 of alice and 5 of carol";
  world.fail(kMachine, "carol");
  EXPECT_TRUE(world.barred(kMachine));

  // With an account of his own nobody clears his guesses at others, however often he logs in.
  GuardWorld insider;
  for (int i = 0; i < 9; ++i) {
    insider.fail(kMachine, "victim" + std::to_string(i));
    insider.succeed(kMachine, "mallory");
    ASSERT_FALSE(insider.barred(kMachine));
  }
  insider.fail(kMachine, "victim9");
  EXPECT_TRUE(insider.barred(kMachine));
}

TEST(GuessGuard, ASuccessElsewhereClearsNothingHere) {
  GuardWorld world;
  world.fail(kMachine, "bob", 9);
  world.succeed("192.0.2.2", "bob");
  world.fail(kMachine, "x");
  EXPECT_TRUE(world.barred(kMachine));
}

TEST(GuessGuard, ASuccessTakesItsFailuresBackFromTheNameAndTheNetworks) {
  GuardWorld world;
  world.fail("203.0.113.1", "bob", 5);
  world.fail("203.0.113.2", "bob", 4);
  world.succeed("203.0.113.1", "bob");
  world.fail("203.0.113.3", "bob", 5);
  EXPECT_FALSE(world.barred("203.0.113.9", "bob")) << "4 and 5 are left";
  world.fail("203.0.113.4", "bob");
  EXPECT_TRUE(world.barred("203.0.113.9", "bob"));

  GuardWorld v6;
  for (int net = 0; net < 5; ++net) {  // 45 failures, 9 of each /64; the first nine are then taken back
    for (int i = 0; i < 9; ++i) {
      v6.fail("2001:db8:0:10" + std::to_string(net) + "::1", net == 0 ? "bob" : "x" + std::to_string(9 * net + i));
    }
    if (net == 0) v6.succeed("2001:db8:0:100::1", "bob");
  }
  EXPECT_FALSE(v6.barred("2001:db8:0:1ff::1")) << "36 of 40";
  for (int i = 0; i < 4; ++i) {
    EXPECT_FALSE(v6.barred("2001:db8:0:1ff::1")) << i;
    v6.fail("2001:db8:0:105::1", "y" + std::to_string(i));
  }
  EXPECT_EQ(v6.barred("2001:db8:0:1ff::1").kind, BarKind::net56);
}

TEST(GuessGuard, ALiveBarStaysAfterASuccess) {
  GuardWorld world;
  failures_until_barred(world, kMachine);
  world.succeed(kMachine, "bob");  // a login that was under way
  EXPECT_TRUE(world.barred(kMachine));
}

TEST(GuessGuard, AnIpv6MachineIsASixtyFour) {
  GuardWorld world;
  for (int i = 0; i < 10; ++i) world.fail("2001:db8:0:1::" + std::to_string(i), "x" + std::to_string(i));
  EXPECT_EQ(world.barred("2001:db8:0:1:ffff::1").kind, BarKind::machine);
  EXPECT_FALSE(world.barred("2001:db8:0:2::1"));
  EXPECT_EQ(barred_network(BarKind::machine, ip("2001:db8:0:1:ffff::1")), prefix("2001:db8:0:1::/64"));
}

TEST(GuessGuard, FortyFailuresBarAFiftySixAndAHundredAndSixtyAFortyEight) {
  GuardWorld world;
  int failures = 0;
  const auto one_from = [&](int net56, int net64) {
    char text[64];
    std::snprintf(text, sizeof text, "2001:db8:7:%02x%02x::1", net56, net64);
    ++failures;
    return world.fail(text, "x" + std::to_string(failures));
  };
  // A failure from each /64 in turn: no machine ever has two.
  for (int i = 0; i < 39; ++i) ASSERT_EQ(one_from(0, i).count, 0u);
  EXPECT_FALSE(world.barred("2001:db8:7:00aa::1"));
  NewBars made = one_from(0, 39);
  ASSERT_EQ(made.count, 1u);
  EXPECT_EQ(made.made()[0].kind, BarKind::net56);
  EXPECT_EQ(made.made()[0].until_boot_seconds, 1900);
  EXPECT_EQ(world.barred("2001:db8:7:00aa::1").kind, BarKind::net56);
  EXPECT_FALSE(world.barred("2001:db8:7:0100::1")) << "the /56 beside it";
  EXPECT_EQ(barred_network(BarKind::net56, ip("2001:db8:7:00aa::1")), prefix("2001:db8:7::/56"));
  for (int i = 40; i < 159; ++i) {
    made = one_from(1 + (i - 40) / 39, i % 39);
    ASSERT_EQ(made.count, 0u) << i;
  }
  EXPECT_FALSE(world.barred("2001:db8:7:ffff::1"));
  made = one_from(0xf0, 1);
  ASSERT_EQ(failures, 160);
  ASSERT_EQ(made.count, 1u);
  EXPECT_EQ(made.made()[0].kind, BarKind::net48);
  EXPECT_EQ(world.barred("2001:db8:7:ffff::1").kind, BarKind::net48);
  EXPECT_FALSE(world.barred("2001:db8:8::1"));
  EXPECT_EQ(barred_network(BarKind::net48, ip("2001:db8:7:ffff::1")), prefix("2001:db8:7::/48"));
  const auto counters = world.guard.counters();
  EXPECT_EQ(counters.bars_made[static_cast<std::size_t>(BarKind::machine)], 0u);
  EXPECT_EQ(counters.bars_made[static_cast<std::size_t>(BarKind::net56)], 1u);
  EXPECT_EQ(counters.bars_made[static_cast<std::size_t>(BarKind::net48)], 1u);
}

TEST(GuessGuard, ANetworksBarSparesMachinesThatLoggedIn) {
  GuardWorld world;
  world.succeed("2001:db8:0:1ff::1", "bob");
  for (int i = 0; i < 40; ++i) world.fail("2001:db8:0:1" + std::to_string(10 + i) + "::1", "x" + std::to_string(i));
  EXPECT_TRUE(world.barred("2001:db8:0:1fe::1"));
  EXPECT_FALSE(world.barred("2001:db8:0:1ff::2"));
  EXPECT_EQ(failures_until_barred(world, "2001:db8:0:1ff::1"), 10) << "its own bar binds it";
}

TEST(GuessGuard, HostsInNeverAreNeitherCountedNorRefused) {
  GuardWorld world(4096, testing::guard_rules({prefix("192.168.0.0/16"), prefix("2001:db8:1::/48")}));
  for (int i = 0; i < 1000; ++i) {
    EXPECT_EQ(world.fail("192.168.3.4", "bob").count, 0u);
    EXPECT_EQ(world.fail("2001:db8:1:2::3", "bob").count, 0u);
    EXPECT_EQ(world.fail("64:ff9b::192.168.3.4", "bob").count, 0u);
  }
  EXPECT_FALSE(world.barred("192.168.3.4"));
  EXPECT_FALSE(world.barred("2001:db8:1:2::3"));
  EXPECT_FALSE(world.barred("203.0.113.1", "bob")) << "its failures are not the name's either";
  EXPECT_EQ(world.guard.counters().failures, 0u);
  EXPECT_EQ(world.guard.counters().failures_never, 3000u);
  for (int i = 1; i <= 10; ++i) world.fail("203.0.113." + std::to_string(i), "bob");
  EXPECT_TRUE(world.barred("203.0.113.99", "bob"));
  EXPECT_FALSE(world.barred("192.168.3.4", "bob")) << "a name's bar does not bind it";
  EXPECT_FALSE(world.barred("64:ff9b::192.168.3.4", "bob"));
  // Put on the list after it was barred: refused no more.
  world.rules = testing::guard_rules();
  failures_until_barred(world, "192.168.3.4");
  world.rules = testing::guard_rules({prefix("192.168.3.4")});
  EXPECT_FALSE(world.barred("192.168.3.4"));
}

TEST(GuessGuard, TranslatedIpv4IsThatIpv4Address) {
  GuardWorld world;
  for (int i = 0; i < 10; ++i) world.fail("64:ff9b::192.0.2.1", "x" + std::to_string(i));
  EXPECT_TRUE(world.barred("192.0.2.1"));
  EXPECT_FALSE(world.barred("64:ff9b::192.0.2.2"));
  // An IPv4 address and an IPv6 network whose words are equal are two machines.
  EXPECT_FALSE(world.barred("0:0:c000:201::1"));
}

TEST(GuessGuard, WithoutALimitNobodyIsBarred) {
  GuardWorld world;
  failures_until_barred(world, kMachine);
  world.rules.failures = 0;
  EXPECT_FALSE(world.barred(kMachine));
  world.fail("192.0.2.2", "bob", 100);
  world.rules.failures = 10;
  EXPECT_TRUE(world.barred(kMachine));
  EXPECT_FALSE(world.barred("192.0.2.2"));
}

TEST(GuessGuard, RulesOfTheMomentCount) {
  GuardWorld world;
  world.fail(kMachine, "bob", 5);
  world.rules.failures = 6;
  EXPECT_EQ(world.fail(kMachine, "x").count, 1u);
  GuardWorld one;
  one.rules.failures = 1;
  one.rules.bar_seconds = 100;
  one.rules.bar_max_seconds = 50;  // the maximum wins
  EXPECT_EQ(one.fail(kMachine, "bob").count, 2u) << "machine and name";
  EXPECT_EQ(one.barred(kMachine).until_boot_seconds, 1050);
}

TEST(GuessGuard, FailuresWithoutANameCountForTheMachine) {
  GuardWorld world;
  world.fail(kMachine, "", 9);
  EXPECT_FALSE(world.barred("192.0.2.9", ""));
  EXPECT_EQ(world.fail(kMachine, "").count, 1u);
  EXPECT_TRUE(world.barred(kMachine));
  EXPECT_FALSE(world.barred("192.0.2.9", ""));
}

TEST(GuessGuard, RefusalsAreCountedByKindAndOnlyWhenAsked) {
  GuardWorld world;
  for (int i = 0; i < 10; ++i) world.fail(kMachine, "bob");  // bars the machine and the name
  world.barred(kMachine);
  world.barred(kMachine);
  world.barred("192.0.2.2", "bob");
  EXPECT_EQ(world.guard.check_login(world.rules, "bob", ip(kMachine), at_second(world.now)).kind, BarKind::machine);
  EXPECT_EQ(world.guard.find_bar(world.rules, "bob", ip(kMachine), at_second(world.now)).kind, BarKind::machine);
  EXPECT_EQ(world.guard.find_bar(world.rules, "bob", ip("192.0.2.2"), at_second(world.now)).kind, BarKind::name);
  EXPECT_FALSE(world.guard.find_bar(world.rules, "", ip("192.0.2.2"), at_second(world.now)));
  const auto counters = world.guard.counters();
  EXPECT_EQ(counters.refused[static_cast<std::size_t>(BarKind::machine)], 3u);
  EXPECT_EQ(counters.refused[static_cast<std::size_t>(BarKind::name)], 1u);
  EXPECT_EQ(counters.refused[static_cast<std::size_t>(BarKind::none)], 0u);
  EXPECT_EQ(counters.failures, 10u);
}

TEST(GuessGuard, TimesAtTheEndsDoNotWrap) {
  GuardWorld world;
  world.now = 0xffffffffll - (1 << 30) - 5;  // the last seconds that are told apart
  world.rules.bar_seconds = 0xffffffff;
  world.rules.bar_max_seconds = 0xffffffff;
  EXPECT_EQ(failures_until_barred(world, kMachine), 10);
  GuardWorld young;
  young.now = 0;  // just booted
  EXPECT_EQ(failures_until_barred(young, kMachine), 10);
  EXPECT_EQ(young.barred(kMachine).until_boot_seconds, 900);
  young.rules.within_seconds = 0xffffffff;
  EXPECT_EQ(failures_until_barred(young, "192.0.2.2"), 10);
}

std::map<std::string, GuessGuard::Listed> listed(const GuardWorld& world) {
  std::map<std::string, GuessGuard::Listed> found;
  world.guard.list(at_second(world.now), [&](const GuessGuard::Listed& bar) {
    const std::string key = bar.kind == BarKind::name ? std::string(bar.name) : bar.network.text();
    EXPECT_TRUE(found.emplace(key, bar).second) << key;
  });
  return found;
}

TEST(GuessGuard, ListShowsEveryLiveBar) {
  GuardWorld world;
  failures_until_barred(world, kMachine);
  world.now += 900;
  EXPECT_TRUE(listed(world).empty());
  failures_until_barred(world, kMachine);
  for (int i = 1; i <= 10; ++i) world.fail("203.0.113." + std::to_string(i), "Bob");
  for (int i = 0; i < 40; ++i) world.fail("2001:db8:0:1" + std::to_string(10 + i) + "::1", "x" + std::to_string(i));
  world.now += 100;
  const auto bars = listed(world);
  ASSERT_EQ(bars.size(), 3u);
  EXPECT_EQ(bars.at("192.0.2.1/32").kind, BarKind::machine);
  EXPECT_EQ(bars.at("192.0.2.1/32").remaining_seconds, 1700);
  EXPECT_EQ(bars.at("192.0.2.1/32").bars, 2u);
  EXPECT_EQ(bars.at("Bob").kind, BarKind::name);
  EXPECT_EQ(bars.at("Bob").remaining_seconds, 800);
  EXPECT_NE(bars.at("Bob").name_hash, 0u);
  EXPECT_EQ(bars.at("2001:db8:0:100::/56").kind, BarKind::net56);
}

TEST(GuessGuard, LongNamesAreShownInPart) {
  GuardWorld world;
  const std::string name(300, 'n');
  for (int i = 1; i <= 10; ++i) world.fail("203.0.113." + std::to_string(i), name);
  EXPECT_TRUE(world.barred("192.0.2.1", name));
  EXPECT_FALSE(world.barred("192.0.2.1", name.substr(0, 299)));
  const auto bars = listed(world);
  ASSERT_EQ(bars.size(), 1u);
  EXPECT_EQ(bars.begin()->first, name.substr(0, GuessGuard::kNameShownMax));
}

TEST(GuessGuard, ClearLiftsAMachineWithWhatLiesAroundIt) {
  GuardWorld world;
  failures_until_barred(world, kMachine);
  world.fail("192.0.2.2", "x", 9);
  EXPECT_EQ(world.guard.clear(prefix("192.0.2.1"), at_second(world.now)), 1u);
  EXPECT_FALSE(world.barred(kMachine));
  EXPECT_EQ(world.guard.clear(prefix("192.0.2.1"), at_second(world.now)), 0u);
  EXPECT_EQ(failures_until_barred(world, kMachine), 10) << "its failures are forgotten";
  EXPECT_EQ(world.barred(kMachine).until_boot_seconds, world.now + 900) << "and that it was barred before";
  EXPECT_EQ(world.guard.clear(prefix("192.0.2.2"), at_second(world.now)), 0u);
  EXPECT_EQ(failures_until_barred(world, "192.0.2.2"), 10) << "failures that made no bar yet are forgotten as well";

  GuardWorld v6;
  for (int i = 0; i < 40; ++i) v6.fail("2001:db8:0:1" + std::to_string(10 + i) + "::1", "x" + std::to_string(i));
  ASSERT_TRUE(v6.barred("2001:db8:0:1ff::1"));
  EXPECT_EQ(v6.guard.clear(prefix("2001:db8:0:1ff::5"), at_second(v6.now)), 1u);
  EXPECT_FALSE(v6.barred("2001:db8:0:1ff::1"));
  EXPECT_FALSE(v6.barred("2001:db8:0:110::1"));
}

TEST(GuessGuard, ClearLiftsEverythingInAPrefixAndNothingElse) {
  GuardWorld world;
  for (const char* machine : {"192.0.2.1", "192.0.2.200", "192.0.3.1", "2001:db8:0:1::1", "2001:db8:1::1"}) {
    failures_until_barred(world, machine);
  }
  for (int i = 0; i < 10; ++i) world.fail("203.0.113." + std::to_string(i), "bob");
  world.fail("192.0.2.9", "x", 9);
  world.fail("192.0.3.9", "y", 9);
  EXPECT_EQ(world.guard.clear(prefix("192.0.2.0/24"), at_second(world.now)), 2u);
  EXPECT_FALSE(world.barred("192.0.2.1"));
  EXPECT_FALSE(world.barred("192.0.2.200"));
  EXPECT_TRUE(world.barred("192.0.3.1"));
  EXPECT_TRUE(world.barred("2001:db8:0:1::1"));
  EXPECT_TRUE(world.barred("192.0.2.9", "bob"));
  EXPECT_EQ(failures_until_barred(world, "192.0.2.9"), 10);
  EXPECT_EQ(failures_until_barred(world, "192.0.3.9"), 1);
  EXPECT_EQ(world.guard.clear(prefix("2001:db8::/48"), at_second(world.now)), 1u);
  EXPECT_FALSE(world.barred("2001:db8:0:1::1"));
  EXPECT_TRUE(world.barred("2001:db8:1::1"));
  EXPECT_EQ(world.guard.clear(prefix("::/0"), at_second(world.now)), 1u) << "IPv6 is apart from IPv4";
  EXPECT_TRUE(world.barred("192.0.3.1"));
  EXPECT_EQ(world.guard.clear(prefix("0.0.0.0/0"), at_second(world.now)), 3u);
  EXPECT_TRUE(world.barred("192.0.2.9", "bob")) << "names are cleared by name";
  EXPECT_EQ(world.guard.clear_name("BOB", at_second(world.now)), 1u);
  EXPECT_FALSE(world.barred("192.0.2.9", "bob"));
  EXPECT_TRUE(listed(world).empty());
}

TEST(GuessGuard, ClearOfANameForgetsItsFailures) {
  GuardWorld world;
  for (int i = 0; i < 9; ++i) world.fail("203.0.113." + std::to_string(i), "bob");
  EXPECT_EQ(world.guard.clear_name("bob", at_second(world.now)), 0u);
  for (int i = 10; i < 19; ++i) world.fail("203.0.113." + std::to_string(i), "bob");
  EXPECT_FALSE(world.barred("192.0.2.9", "bob"));
  world.fail("203.0.113.19", "bob");
  EXPECT_TRUE(world.barred("192.0.2.9", "bob"));
  EXPECT_EQ(world.guard.clear_name("", at_second(world.now)), 0u);
}

TEST(GuessGuard, KindsHaveNames) {
  EXPECT_EQ(bar_kind_name(BarKind::machine), "machine");
  EXPECT_EQ(bar_kind_name(BarKind::net56), "net56");
  EXPECT_EQ(bar_kind_name(BarKind::net48), "net48");
  EXPECT_EQ(bar_kind_name(BarKind::name), "name");
  EXPECT_EQ(bar_kind_name(BarKind::overflow), "overflow");
  EXPECT_EQ(bar_kind_name(BarKind::none), "none");
}

}  // namespace
}  // namespace postern::policy
