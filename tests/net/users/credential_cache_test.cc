// What is remembered of logins: for how long, under which keys, how much, and what a change makes of it.
#include "net/users/credential_cache.h"

#include <atomic>
#include <gtest/gtest.h>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "core/clock.h"

namespace postern::net::users {
namespace {

constexpr std::int64_t kSecond = core::kNanosecondsPerSecond;

CacheEntry entry_of(std::string_view name) {
  policy::UserRecord record;
  record.name = name;
  return {std::make_shared<const policy::UserRecord>(record), {}};
}

std::string name_in(const std::optional<CacheEntry>& found) { return found ? found->account->name : "(nothing)"; }

TEST(CredentialCache, ForgetsToTheNanosecond) {
  CredentialCache cache(300);
  const CacheKey key = cache.key(0, "anna", "secret");
  EXPECT_EQ(name_in(cache.find(key, kSecond)), "(nothing)");
  cache.put(key, cache.epoch(), 10 * kSecond, entry_of("anna"));
  EXPECT_EQ(name_in(cache.find(key, 10 * kSecond)), "anna");
  EXPECT_EQ(name_in(cache.find(key, 310 * kSecond - 1)), "anna");
  EXPECT_EQ(name_in(cache.find(key, 310 * kSecond)), "(nothing)");
  // Proven again, it is good for as long again, and stands in one place only.
  cache.put(key, cache.epoch(), 200 * kSecond, entry_of("Anna"));
  EXPECT_EQ(name_in(cache.find(key, 499 * kSecond)), "Anna");
}

TEST(CredentialCache, RemembersNothingForNoTime) {
  CredentialCache cache(0);
  const CacheKey key = cache.key(0, "anna", "secret");
  cache.put(key, cache.epoch(), kSecond, entry_of("anna"));
  EXPECT_EQ(name_in(cache.find(key, kSecond)), "(nothing)");
  cache.clear();
}

TEST(CredentialCache, KeysDifferByEachPart) {
  CredentialCache cache(300);
  const std::vector<CacheKey> keys = {
      cache.key(0, "anna", "secret"),      cache.key(1, "anna", "secret"), cache.key(0, "Anna", "secret"),
      cache.key(0, "anna", "secreT"),      cache.key(0, "annas", "ecret"), cache.key(0, "ann", "asecret"),
      cache.key(0, "", "annasecret"),      cache.key(0, "annasecret", ""), cache.key(0, "anna", ""),
      cache.key(0, "anna", std::string("secret\0", 7)), cache.key(0, std::string(256, 'a'), ""),
      cache.key(0, "", std::string(256, 'a'))};
  for (std::size_t i = 0; i < keys.size(); ++i) {
    for (std::size_t j = 0; j < i; ++j) EXPECT_NE(keys[i], keys[j]) << i << " and " << j;
  }
  EXPECT_EQ(cache.key(0, "anna", "secret"), keys[0]);
  // Another process has other keys: nothing that is learned in one is of use in another.
  EXPECT_NE(CredentialCache(300).key(0, "anna", "secret"), keys[0]);
}

TEST(CredentialCache, KeepsWhatOneAskedFor) {
  CredentialCache cache(300);
  CacheEntry scram = entry_of("anna");
  scram.credential.standing = sasl::Credential::Standing::usable;
  scram.credential.scram.iterations = 4711;
  cache.put(cache.key(2, "anna", ""), cache.epoch(), 0, scram);
  const auto found = cache.find(cache.key(2, "anna", ""), 1);
  ASSERT_TRUE(found.has_value());
  EXPECT_EQ(found->credential.scram.iterations, 4711U);
  EXPECT_EQ(found->account, scram.account);
}

TEST(CredentialCache, AnAnswerFromBeforeAChangeIsNotKept) {
  CredentialCache cache(300);
  const CacheKey key = cache.key(0, "anna", "secret");
  const std::uint64_t before = cache.epoch();
  cache.clear();  // the user changed while the store was being asked
  cache.put(key, before, 0, entry_of("anna"));
  EXPECT_EQ(name_in(cache.find(key, 1)), "(nothing)");
  cache.put(key, cache.epoch(), 0, entry_of("anna"));
  EXPECT_EQ(name_in(cache.find(key, 1)), "anna");
  cache.clear();
  EXPECT_EQ(name_in(cache.find(key, 1)), "(nothing)");
}

TEST(CredentialCache, GivesUpWhatEndsFirst) {
  constexpr int kMany = 60'000;
  CredentialCache cache(300);
  const auto key = [&cache](int i) { return cache.key(0, "user" + std::to_string(i), "secret"); };
  for (int i = 0; i < kMany; ++i) {
    cache.put(key(i), cache.epoch(), i, entry_of("u"));
    ASSERT_TRUE(cache.find(key(i), i).has_value()) << "the newest is always there";
  }
  int found = 0;
  int found_late = 0;
  for (int i = 0; i < kMany; ++i) {
    const bool is_there = cache.find(key(i), kMany).has_value();
    found += is_there;
    found_late += is_there && i >= kMany / 2;
  }
  EXPECT_LE(found, 64 * 256) << "the bound";
  EXPECT_GE(found, 64 * 256 - 100) << "nearly no place is empty";  // some buckets get few, by chance
  EXPECT_GT(found_late, found * 95 / 100);
}

// What ended long ago makes room before anything that is still good.
TEST(CredentialCache, PlacesOfWhatEndedAreUsedFirst) {
  CredentialCache cache(300);
  for (int i = 0; i < 60'000; ++i) cache.put(cache.key(0, std::to_string(i), ""), cache.epoch(), 0, entry_of("old"));
  int lost = 0;
  for (int i = 0; i < 2'000; ++i) {
    const std::int64_t now = 400 * kSecond;
    cache.put(cache.key(1, std::to_string(i), ""), cache.epoch(), now, entry_of("new"));
  }
  for (int i = 0; i < 2'000; ++i) lost += !cache.find(cache.key(1, std::to_string(i), ""), 401 * kSecond).has_value();
  EXPECT_LT(lost, 20);
}

// For the thread sanitizer; and nothing that was cleared comes back.
TEST(CredentialCache, Threads) {
  CredentialCache cache(300);
  std::vector<std::thread> threads;
  std::atomic<bool> stop{false};
  for (int t = 0; t < 3; ++t) {
    threads.emplace_back([&, t] {
      for (int i = 0; !stop.load(); ++i) {
        const CacheKey key = cache.key(0, std::to_string(i % 50), "");
        const std::uint64_t epoch = cache.epoch();
        if ((i + t) % 3 == 0) cache.put(key, epoch, 0, entry_of(std::to_string(epoch)));
        const auto found = cache.find(key, 1);
        EXPECT_LE(found ? std::stoull(found->account->name) : 0, cache.epoch());
      }
    });
  }
  for (int i = 0; i < 300; ++i) cache.clear();
  const std::uint64_t last = cache.epoch();
  stop = true;
  for (std::thread& thread : threads) thread.join();
  for (int i = 0; i < 50; ++i) {
    if (const auto found = cache.find(cache.key(0, std::to_string(i), ""), 1)) {
      EXPECT_EQ(found->account->name, std::to_string(last)) << "an entry outlived a clear()";
    }
  }
}

}  // namespace
}  // namespace postern::net::users
