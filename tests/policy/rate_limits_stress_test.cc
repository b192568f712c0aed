// Many threads at the same quotas, for TSan: not one message more than the quota, whoever takes it and in whatever
// order.
#include <atomic>
#include <gtest/gtest.h>
#include <random>
#include <string>
#include <thread>
#include <vector>

#include "policy/rate_limits.h"

#include "tests/policy/guard_support.h"

namespace postern::policy {
namespace {

using testing::at_second;

TEST(RateLimitsStress, AQuotaIsGivenExactlyOnce) {
  constexpr int kThreads = 4;
  constexpr std::uint32_t kUsers = 16;
  RateLimits limits({.key = testing::test_key(), .users = 1024, .machines = 1024, .senders = 256});
  std::vector<std::atomic<std::uint32_t>> of_user(kUsers);
  std::vector<std::atomic<std::uint32_t>> of_machine(kUsers);
  std::atomic<int> running{kThreads};
  std::vector<std::thread> threads;
  for (int t = 0; t < kThreads; ++t) {
    threads.emplace_back([&, t] {
      std::mt19937 random(static_cast<unsigned>(t));
      for (int i = 0; i < 8000; ++i) {
        const std::uint32_t user = random() % kUsers;
        const std::uint32_t machine = random() % kUsers;
        const core::IpAddress address = core::IpAddress::from_v4(machine);
        const std::string name = "user" + std::to_string(user);
        const RateLimits::Sender sender{.user = name,
                                        .user_quota = {.messages_per_hour = 200},
                                        .machine = &address,
                                        .machine_quota = {.messages_per_hour = 150}};
        if (limits.take(sender, 1, 3, at_second(100)).allowed) {
          of_user[user].fetch_add(1);
          of_machine[machine].fetch_add(1);
        }
        limits.note_machine(name, address, at_second(100));
        static_cast<void>(limits.peek(sender, 1, 1, at_second(100)));
      }
      running.fetch_sub(1);
    });
  }
  threads.emplace_back([&] {
    while (running.load() > 0) {
      std::size_t octets = 0;
      limits.serialize(at_second(100), "boot", [&](std::string_view piece) { octets += piece.size(); });
      if (octets == 0) ADD_FAILURE();
      limits.forget_user("nobody");
      static_cast<void>(limits.counters());
    }
  });
  for (auto& thread : threads) thread.join();
  std::uint32_t sum = 0;
  for (std::uint32_t i = 0; i < kUsers; ++i) {
    EXPECT_LE(of_user[i].load(), 200u);
    EXPECT_LE(of_machine[i].load(), 150u);
    sum += of_machine[i].load();
  }
  EXPECT_EQ(limits.counters().taken, sum);
  EXPECT_EQ(sum, 150u * kUsers) << "32,000 tries for 2,400 places: all of them went";
  EXPECT_EQ(limits.note_machine("user0", core::IpAddress::from_v4(0), at_second(101)), kUsers);
}

}  // namespace
}  // namespace postern::policy
