// Quotas to the second, all or nothing, against a plain statement of them; crowds; machines of a sender; restarts.
#include "policy/rate_limits.h"

#include <algorithm>
#include <gtest/gtest.h>
#include <map>
#include <random>
#include <string>
#include <vector>

#include "policy/saved_state.h"

#include "tests/policy/guard_support.h"

namespace postern::policy {
namespace {

using testing::at_second;
using testing::ip;

constexpr std::string_view kBoot = "3b4f7b9e-0000-4000-8000-000000000001";

struct World {
  explicit World(
      RateLimitsOptions options = {.key = testing::test_key(), .users = 1024, .machines = 1024, .senders = 256})
      : limits(options) {}
  RateVerdict take(std::string_view user, const QuotaSettings& quota, std::uint32_t messages,
                   std::uint32_t recipients) {
    return limits.take({.user = user, .user_quota = quota, .machine = nullptr, .machine_quota = {}}, messages,
                       recipients, at_second(now));
  }
  RateVerdict peek(std::string_view user, const QuotaSettings& quota, std::uint32_t messages,
                   std::uint32_t recipients) const {
    return limits.peek({.user = user, .user_quota = quota, .machine = nullptr, .machine_quota = {}}, messages,
                       recipients, at_second(now));
  }
  RateLimits limits;
  std::int64_t now = 5000;
};

TEST(RateLimits, TenAnHourThenOneEverySixMinutes) {
  World world;
  const QuotaSettings quota{.messages_per_hour = 10};
  for (int i = 0; i < 10; ++i) EXPECT_TRUE(world.take("bob", quota, 1, 1).allowed) << i;
  const RateVerdict refused = world.take("bob", quota, 1, 1);
  EXPECT_FALSE(refused.allowed);
  EXPECT_EQ(refused.limit, RateLimit::messages_per_hour);
  EXPECT_FALSE(refused.of_machine);
  EXPECT_EQ(refused.again_seconds, 360u);
  EXPECT_TRUE(world.take("alice", quota, 1, 1).allowed) << "somebody else's";
  EXPECT_FALSE(world.take("BOB", quota, 1, 1).allowed) << "ASCII case is no way round";
  world.now += 359;
  EXPECT_FALSE(world.take("bob", quota, 1, 1).allowed);
  world.now += 1;
  EXPECT_TRUE(world.take("bob", quota, 1, 1).allowed);
  EXPECT_FALSE(world.take("bob", quota, 1, 1).allowed);
  world.now += 3600;  // full again, and no fuller
  for (int i = 0; i < 10; ++i) EXPECT_TRUE(world.take("bob", quota, 1, 1).allowed) << i;
  EXPECT_FALSE(world.take("bob", quota, 1, 1).allowed);
  const auto counters = world.limits.counters();
  EXPECT_EQ(counters.taken, 22u);
  EXPECT_EQ(counters.refused_user[static_cast<std::size_t>(RateLimit::messages_per_hour)], 5u);
}

TEST(RateLimits, EveryBucketRefusesForItself) {
  const struct {
    QuotaSettings quota;
    RateLimit limit;
    std::uint32_t again;
  } rows[] = {{{.messages_per_hour = 4}, RateLimit::messages_per_hour, 900},
              {{.messages_per_day = 4}, RateLimit::messages_per_day, 21600},
              {{.recipients_per_hour = 12}, RateLimit::recipients_per_hour, 900},
              {{.recipients_per_day = 12}, RateLimit::recipients_per_day, 21600}};
  for (const auto& row : rows) {
    World world;
    for (int i = 0; i < 4; ++i) ASSERT_TRUE(world.take("bob", row.quota, 1, 3).allowed);
    const RateVerdict refused = world.take("bob", row.quota, 1, 3);
    EXPECT_FALSE(refused.allowed);
    EXPECT_EQ(refused.limit, row.limit);
    EXPECT_EQ(refused.again_seconds, row.again) << rate_limit_name(row.limit);
  }
}

TEST(RateLimits, TheLongestWaitIsTold) {
  World world;
  const QuotaSettings quota{.messages_per_hour = 2, .messages_per_day = 2, .recipients_per_hour = 2};
  ASSERT_TRUE(world.take("bob", quota, 2, 2).allowed);
  const RateVerdict refused = world.take("bob", quota, 1, 1);
  EXPECT_EQ(refused.limit, RateLimit::messages_per_day);
  EXPECT_EQ(refused.again_seconds, 43200u);
}

TEST(RateLimits, NothingIsTakenWhenAnythingIsRefused) {
  World world;
  const core::IpAddress machine = ip("192.0.2.1");
  const RateLimits::Sender sender{.user = "bob",
                                  .user_quota = {.messages_per_hour = 10, .recipients_per_day = 100},
                                  .machine = &machine,
                                  .machine_quota = {.recipients_per_hour = 5}};
  ASSERT_TRUE(world.limits.take(sender, 1, 5, at_second(0)).allowed);
  for (int i = 0; i < 50; ++i) {
    const RateVerdict refused = world.limits.take(sender, 1, 5, at_second(0));
    ASSERT_FALSE(refused.allowed);
    EXPECT_TRUE(refused.of_machine);
    EXPECT_EQ(refused.limit, RateLimit::recipients_per_hour);
    EXPECT_EQ(refused.again_seconds, 3600u);
  }
  // Of the user's ten messages one is gone, and of the hundred recipients five.
  world.now = 0;
  EXPECT_TRUE(world.peek("bob", sender.user_quota, 9, 95).allowed);
  EXPECT_FALSE(world.peek("bob", sender.user_quota, 10, 95).allowed);
  EXPECT_FALSE(world.peek("bob", sender.user_quota, 9, 96).allowed);
  // And the other way round: what the user lacks leaves the machine's alone.
  ASSERT_TRUE(world.take("bob", sender.user_quota, 9, 0).allowed);
  const core::IpAddress other = ip("192.0.2.2");
  RateLimits::Sender elsewhere = sender;
  elsewhere.machine = &other;
  EXPECT_FALSE(world.limits.take(elsewhere, 1, 5, at_second(0)).allowed);
  elsewhere.user = "alice";
  EXPECT_TRUE(world.limits.take(elsewhere, 1, 5, at_second(0)).allowed);
  EXPECT_EQ(world.limits.counters().refused_machine[static_cast<std::size_t>(RateLimit::recipients_per_hour)], 50u);
}

TEST(RateLimits, PeekTakesNothingAndCountsNothing) {
  World world;
  const QuotaSettings quota{.messages_per_hour = 1};
  for (int i = 0; i < 10; ++i) EXPECT_TRUE(world.peek("bob", quota, 1, 0).allowed);
  EXPECT_TRUE(world.take("bob", quota, 1, 0).allowed);
  for (int i = 0; i < 10; ++i) EXPECT_EQ(world.peek("bob", quota, 1, 0).again_seconds, 3600u);
  EXPECT_EQ(world.limits.counters().taken, 1u);
  EXPECT_EQ(world.limits.counters().refused_user[1], 0u);
}

TEST(RateLimits, MoreThanTheWholeQuotaIsNeverAllowed) {
  World world;
  const QuotaSettings quota{.messages_per_hour = 1, .recipients_per_hour = 100};
  const RateVerdict refused = world.take("bob", quota, 1, 101);
  EXPECT_FALSE(refused.allowed);
  EXPECT_EQ(refused.limit, RateLimit::recipients_per_hour);
  EXPECT_EQ(refused.again_seconds, RateVerdict::kNever);
  EXPECT_TRUE(world.take("bob", quota, 1, 100).allowed);
}

TEST(RateLimits, WithoutLimitsNothingIsCounted) {
  World world;
  for (int i = 0; i < 1000; ++i) EXPECT_TRUE(world.take("bob", {}, 100, 100000).allowed);
  EXPECT_TRUE(world.take("", {.messages_per_hour = 1}, 1, 1).allowed);
  EXPECT_TRUE(world.take("", {.messages_per_hour = 1}, 1, 1).allowed) << "nobody has no quota";
  EXPECT_TRUE(world.take("bob", {.messages_per_hour = 1}, 0, 5).allowed) << "no message is taken here";
  EXPECT_TRUE(world.take("bob", {.messages_per_hour = 1}, 1, 5).allowed);
}

TEST(RateLimits, LargeAndOddQuotasAreExact) {
  for (const std::uint32_t quota : {1u, 7u, 59u, 1000u, 9973u, 1'000'000u}) {
    World world;
    const QuotaSettings limits{.recipients_per_hour = quota};
    std::uint32_t given = 0;
    for (std::uint32_t step = std::max(1u, quota / 1000); given + step <= quota; given += step) {
      ASSERT_TRUE(world.take("bob", limits, 0, step).allowed) << quota << " " << given;
    }
    while (given < quota) {
      ASSERT_TRUE(world.take("bob", limits, 0, 1).allowed) << quota << " " << given;
      ++given;
    }
    EXPECT_FALSE(world.take("bob", limits, 0, 1).allowed) << quota;
  }
  World world;
  const QuotaSettings whole{.messages_per_day = 0xffffffff, .recipients_per_day = 0xffffffff};
  EXPECT_TRUE(world.take("bob", whole, 0xffffffff, 0xffffffff).allowed);
  EXPECT_FALSE(world.take("bob", whole, 0xffffffff, 1).allowed);
}

TEST(RateLimits, AMachineIsAnAddressOrASixtyFour) {
  World world;
  const auto take = [&](std::string_view text) {
    const core::IpAddress machine = ip(text);
    return world.limits
        .take({.user = {}, .user_quota = {}, .machine = &machine, .machine_quota = {.messages_per_hour = 1}}, 1, 0,
              at_second(0))
        .allowed;
  };
  EXPECT_TRUE(take("2001:db8:0:1::1"));
  EXPECT_FALSE(take("2001:db8:0:1:ffff::2"));
  EXPECT_TRUE(take("2001:db8:0:2::1"));
  EXPECT_TRUE(take("192.0.2.1"));
  EXPECT_FALSE(take("64:ff9b::192.0.2.1"));
  EXPECT_TRUE(take("192.0.2.2"));
  world.limits.forget_machine(ip("192.0.2.1"));
  EXPECT_TRUE(take("192.0.2.1"));
  EXPECT_FALSE(take("192.0.2.2"));
}

TEST(RateLimits, ForgetGivesAUserEverythingBack) {
  World world;
  const QuotaSettings quota{.messages_per_day = 1};
  world.take("bob", quota, 1, 0);
  world.take("alice", quota, 1, 0);
  world.limits.note_machine("bob", ip("192.0.2.1"), at_second(world.now));
  world.limits.forget_user("Bob");
  EXPECT_TRUE(world.take("bob", quota, 1, 0).allowed);
  EXPECT_FALSE(world.take("alice", quota, 1, 0).allowed);
  EXPECT_EQ(world.limits.note_machine("bob", ip("192.0.2.2"), at_second(world.now)), 1u);
}

// Crowds: the table holds far fewer than come.
TEST(RateLimits, WhoSendsMuchStaysCountedInACrowd) {
  World world({.key = testing::test_key(), .users = 512, .machines = 512, .senders = 256});
  const std::size_t memory = world.limits.memory_bytes();
  const core::IpAddress heavy = ip("203.0.113.1");
  const QuotaSettings quota{.messages_per_day = 100};
  const auto take = [&](const core::IpAddress& machine) {
    return world.limits.take({.user = {}, .user_quota = {}, .machine = &machine, .machine_quota = quota}, 1, 0,
                             at_second(100));
  };
  for (int i = 0; i < 100; ++i) ASSERT_TRUE(take(heavy).allowed);
  for (std::uint32_t i = 0; i < 100'000; ++i) {
    ASSERT_TRUE(take(core::IpAddress::from_v4(0x0a000000 + i)).allowed) << "nobody is refused because others are many";
  }
  EXPECT_FALSE(take(heavy).allowed);
  EXPECT_GT(world.limits.counters().evictions, 90'000u);
  EXPECT_EQ(world.limits.memory_bytes(), memory);
  // A user is not crowded out by machines at all.
  ASSERT_TRUE(world.take("bob", {.messages_per_day = 1}, 1, 0).allowed);
  for (std::uint32_t i = 0; i < 10'000; ++i) take(core::IpAddress::from_v4(0x0b000000 + i));
  EXPECT_FALSE(world.take("bob", {.messages_per_day = 1}, 1, 0).allowed);
}

TEST(RateLimits, FullBucketsAreFree) {
  World world({.key = testing::test_key(), .users = 512, .machines = 512, .senders = 256});
  for (int round = 0; round < 50; ++round, world.now += 3600) {
    for (int i = 0; i < 100; ++i) {
      ASSERT_TRUE(world.take("user" + std::to_string(100 * round + i), {.messages_per_hour = 1}, 1, 0).allowed);
    }
  }
  EXPECT_EQ(world.limits.counters().evictions, 0u);
}

// The same on plain numbers: tokens as fractions of a quota, refilled by the time that passed.
TEST(RateLimits, RandomHistoriesAgreeWithPlainTokens) {
  const std::uint64_t seed = testing::test_seed();
  SCOPED_TRACE("POSTERN_SEED=" + std::to_string(seed));
  std::mt19937_64 random(seed);
  struct Tokens {
    std::int64_t owed = 0;  // in token-seconds: a token is `period`, and `quota` of it come back each second
  };
  std::map<std::pair<std::string, int>, Tokens> owed;
  const std::int64_t periods[] = {3600, 86400, 3600, 86400};
  World world;
  QuotaSettings quota{
      .messages_per_hour = 12, .messages_per_day = 30, .recipients_per_hour = 60, .recipients_per_day = 144};
  const std::int64_t quotas[] = {12, 30, 60, 144};  // divide their periods: no rounding on either side
  const char* const users[] = {"ann", "bob", "carl"};
  std::map<std::string, std::int64_t> since;
  int refused = 0;
  constexpr int kSteps = 20000;
  for (int step = 0; step < kSteps; ++step) {
    if (random() % 2 == 0) world.now += static_cast<std::int64_t>(random() % 900);
    if (random() % 500 == 0) world.now += static_cast<std::int64_t>(random() % 90000);
    const std::string user = users[random() % 3];
    const std::int64_t passed = world.now - std::exchange(since[user], world.now);
    const std::int64_t wanted[] = {static_cast<std::int64_t>(random() % 3), 0, static_cast<std::int64_t>(random() % 8),
                                   0};
    bool allowed = true;
    std::int64_t longest = 0;
    for (int i = 0; i < 4; ++i) {
      Tokens& tokens = owed[{user, i}];
      tokens.owed = std::max<std::int64_t>(0, tokens.owed - passed * quotas[i]);
      const std::int64_t n = wanted[i & 2];
      const std::int64_t over = tokens.owed + n * periods[i] - quotas[i] * periods[i];
      if (n == 0 || over <= 0) continue;
      allowed = false;
      longest = std::max(longest, (over + quotas[i] - 1) / quotas[i]);
    }
    for (int i = 0; allowed && i < 4; ++i) owed[{user, i}].owed += wanted[i & 2] * periods[i];
    const bool only_peek = random() % 4 == 0;
    const auto m = static_cast<std::uint32_t>(wanted[0]);
    const auto r = static_cast<std::uint32_t>(wanted[2]);
    const RateVerdict looked = world.peek(user, quota, m, r);
    ASSERT_EQ(looked.allowed, allowed) << step;
    if (!allowed) {
      ASSERT_EQ(looked.again_seconds, longest) << step;
    }
    if (only_peek) {
      for (int i = 0; allowed && i < 4; ++i) owed[{user, i}].owed -= wanted[i & 2] * periods[i];
      continue;
    }
    ASSERT_EQ(world.take(user, quota, m, r).allowed, allowed) << step;
    refused += allowed ? 0 : 1;
  }
  EXPECT_GT(refused, kSteps / 20);
  EXPECT_LT(refused, kSteps * 9 / 10);
}

TEST(RateLimits, MachinesOfTheLastHourAreCounted) {
  World world;
  EXPECT_EQ(world.limits.note_machine("bob", ip("192.0.2.1"), at_second(0)), 1u);
  EXPECT_EQ(world.limits.note_machine("bob", ip("192.0.2.1"), at_second(10)), 1u);
  EXPECT_EQ(world.limits.note_machine("bob", ip("2001:db8:0:1::1"), at_second(20)), 2u);
  EXPECT_EQ(world.limits.note_machine("bob", ip("2001:db8:0:1::2"), at_second(20)), 2u) << "one /64";
  EXPECT_EQ(world.limits.note_machine("alice", ip("192.0.2.9"), at_second(20)), 1u);
  EXPECT_EQ(world.limits.note_machine("bob", ip("192.0.2.3"), at_second(3609)), 3u);
  EXPECT_EQ(world.limits.note_machine("bob", ip("192.0.2.4"), at_second(3610)), 3u) << "192.0.2.1 was seen at 10";
  EXPECT_EQ(world.limits.note_machine("bob", ip("192.0.2.4"), at_second(3620)), 2u);
  EXPECT_EQ(world.limits.note_machine("", ip("192.0.2.4"), at_second(3620)), 0u);
  World many;
  for (std::uint32_t i = 0; i < 100; ++i) {
    EXPECT_EQ(many.limits.note_machine("bob", core::IpAddress::from_v4(i), at_second(i)), std::min(i + 1, 32u));
  }
  EXPECT_EQ(many.limits.note_machine("bob", core::IpAddress::from_v4(99), at_second(3690)), 9u) << "91 to 99";
}

TEST(RateLimits, SendersOfLongAgoMakeRoomForNewOnes) {
  World world({.key = testing::test_key(), .users = 64, .machines = 64, .senders = 256});
  for (std::uint32_t i = 0; i < 20000; ++i) {
    ASSERT_EQ(world.limits.note_machine("user" + std::to_string(i), ip("192.0.2.1"), at_second(i)), 1u);
    ASSERT_EQ(world.limits.note_machine("user" + std::to_string(i), ip("192.0.2.2"), at_second(i)), 2u);
  }
  EXPECT_GT(world.limits.counters().sender_evictions, 10000u);
  EXPECT_EQ(world.limits.note_machine("user19999", ip("192.0.2.3"), at_second(20000)), 3u) << "the newest is there";
}

core::Time moment(std::int64_t boot_seconds, std::int64_t unix_seconds) {
  return {.boot_ns = boot_seconds * core::kNanosecondsPerSecond, .unix_ns = unix_seconds * core::kNanosecondsPerSecond};
}

std::string saved(const RateLimits& limits, const core::Time& now) {
  std::string octets;
  limits.serialize(now, kBoot, [&](std::string_view piece) { octets.append(piece); });
  return octets;
}

std::unique_ptr<World> spent_world() {
  auto world = std::make_unique<World>();
  const core::IpAddress machine = ip("192.0.2.1");
  world->limits.take({.user = "bob",
                      .user_quota = {.messages_per_hour = 10},
                      .machine = &machine,
                      .machine_quota = {.recipients_per_day = 24}},
                     10, 24, moment(5000, 90000));
  for (std::uint32_t i = 0; i < 5; ++i)
    world->limits.note_machine("bob", core::IpAddress::from_v4(i), at_second(4000 + i));
  return world;
}

TEST(RateLimits, QuotasHoldOverARestart) {
  const std::string octets = saved(spent_world()->limits, moment(5000, 90000));
  const core::IpAddress machine = ip("192.0.2.1");
  struct Row {
    core::Time at;
    std::string_view boot;
    std::uint32_t user_wait, machine_wait;
  };
  for (const Row& row : {Row{moment(5060, 1), kBoot, 300, 3540}, Row{moment(7, 90060), "another", 300, 3540},
                         Row{moment(7, 1), "another", 360, 3600}}) {
    World after;
    const auto restored = after.limits.restore(octets, row.at, row.boot);
    ASSERT_TRUE(restored) << restored.error().text;
    EXPECT_EQ(restored->entries, 2u);
    EXPECT_EQ(restored->senders, 1u);
    EXPECT_EQ(restored->dropped, 0u);
    const RateVerdict of_user = after.limits.peek(
        {.user = "bob", .user_quota = {.messages_per_hour = 10}, .machine = nullptr, .machine_quota = {}}, 1, 1,
        row.at);
    EXPECT_EQ(of_user.again_seconds, row.user_wait);
    const RateVerdict of_machine = after.limits.peek(
        {.user = {}, .user_quota = {}, .machine = &machine, .machine_quota = {.recipients_per_day = 24}}, 1, 1, row.at);
    EXPECT_EQ(of_machine.again_seconds, row.machine_wait);
    EXPECT_EQ(after.limits.note_machine("bob", ip("192.0.2.9"), row.at), 6u);
  }
  World later;  // an hour on, the user's is full again and his machines are forgotten
  const auto restored = later.limits.restore(octets, moment(8600, 1), kBoot);
  ASSERT_TRUE(restored);
  EXPECT_EQ(restored->entries, 1u);
  EXPECT_EQ(restored->senders, 0u);
  EXPECT_EQ(restored->dropped, 2u);
}

TEST(RateLimits, UnderAnotherKeyNothingIsFoundAgain) {
  const std::string octets = saved(spent_world()->limits, moment(5000, 90000));
  RateLimits after({.key = testing::test_key(77), .users = 64, .machines = 64, .senders = 64});
  const auto restored = after.restore(octets, moment(5060, 90060), kBoot);
  ASSERT_TRUE(restored);
  EXPECT_EQ(restored->entries + restored->senders, 0u);
  EXPECT_EQ(restored->dropped, 3u);
}

TEST(RateLimits, TruncatedAndAlteredStateIsRefusedWhole) {
  const std::string octets = saved(spent_world()->limits, moment(5000, 90000));
  const auto is_refused = [&](const std::string& bad) {
    World after;
    const auto restored = after.limits.restore(bad, moment(5060, 90060), kBoot);
    ASSERT_FALSE(restored);
    EXPECT_NE(restored.error().text.find("saved state"), std::string::npos);
    after.now = 5060;
    ASSERT_TRUE(after.peek("bob", {.messages_per_hour = 10}, 10, 0).allowed);
    ASSERT_EQ(after.limits.note_machine("bob", ip("192.0.2.9"), at_second(5060)), 1u);
  };
  for (std::size_t size = 0; size < octets.size(); ++size) is_refused(octets.substr(0, size));
  for (std::size_t at = 0; at < octets.size(); ++at) {
    std::string bad = octets;
    bad[at] = static_cast<char>(bad[at] ^ 1 << at % 8);
    is_refused(bad);
  }
}

TEST(RateLimits, WellFramedNonsenseIsRefusedOrHarmless) {
  const std::uint64_t seed = testing::test_seed();
  SCOPED_TRACE("POSTERN_SEED=" + std::to_string(seed));
  std::mt19937_64 random(seed);
  int refused = 0;
  for (int round = 0; round < 2000; ++round) {
    std::string octets;
    const StateWriter::Sink sink = [&](std::string_view piece) { octets.append(piece); };
    // The key id of the right key: read from a file of an empty table.
    RateLimits target({.key = testing::test_key(), .users = 64, .machines = 64, .senders = 64});
    const auto mine = StateReader::open(saved(target, moment(1, 1)), "PSTNRATE", 1);
    StateWriter writer("PSTNRATE", 1, mine->key_id(), moment(5000, 5), kBoot, sink);
    for (std::uint64_t i = random() % 30; i > 0; --i) {
      const std::uint64_t kind = random() % 40;
      writer.u8(static_cast<std::uint8_t>(kind == 0 ? random() % 256 : 1 + random() % 3));
      writer.u64(random());
      if (octets.size() % 2 == 0 && random() % 10 == 0) writer.u8(static_cast<std::uint8_t>(random()));
      for (int k = 0; k < 4; ++k) writer.u64(random() >> random() % 64);
    }
    writer.finish();
    if (!target.restore(octets, moment(5001, 5), kBoot)) ++refused;
    // Nobody owes more than whole quotas: after a day everybody has everything.
    const core::Time later = moment(5001 + 86400, 5);
    const QuotaSettings quota{
        .messages_per_hour = 5, .messages_per_day = 5, .recipients_per_hour = 5, .recipients_per_day = 5};
    std::size_t left = 0;
    std::string again;
    target.serialize(later, kBoot, [&](std::string_view piece) { again.append(piece); });
    const auto reader = StateReader::open(again, "PSTNRATE", 1);
    ASSERT_TRUE(reader);
    if (!reader->at_end()) ++left;
    ASSERT_EQ(left, 0u);
    ASSERT_TRUE(target.take({.user = "bob", .user_quota = quota, .machine = nullptr, .machine_quota = {}}, 5, 5, later)
                    .allowed);
  }
  EXPECT_GT(refused, 200);
  EXPECT_LT(refused, 2000);
}

TEST(RateLimits, LimitsHaveTheNamesOfTheSettings) {
  EXPECT_EQ(rate_limit_name(RateLimit::none), "none");
  EXPECT_EQ(rate_limit_name(RateLimit::messages_per_hour), "messages_per_hour");
  EXPECT_EQ(rate_limit_name(RateLimit::messages_per_day), "messages_per_day");
  EXPECT_EQ(rate_limit_name(RateLimit::recipients_per_hour), "recipients_per_hour");
  EXPECT_EQ(rate_limit_name(RateLimit::recipients_per_day), "recipients_per_day");
}

}  // namespace
}  // namespace postern::policy
