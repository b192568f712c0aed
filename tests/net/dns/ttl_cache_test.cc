// The cache against a plain model, on a clock of the test's.
#include <gtest/gtest.h>

#include <list>
#include <memory>
#include <random>
#include <string>

#include "net/dns/ttl_cache.h"

#include "tests/net/dns/answer_builder.h"

namespace postern::net::dns {
namespace {

TEST(TtlCache, EndsAtItsTime) {
  TtlCache<int> cache(4);
  cache.insert("a", std::make_shared<int>(1), 100);
  ASSERT_NE(cache.find("a", 99), nullptr);
  const auto held = cache.find("a", 99);
  EXPECT_EQ(cache.find("a", 100), nullptr);
  EXPECT_EQ(cache.size(), 0u);
  EXPECT_EQ(*held, 1);  // whoever holds it keeps it
}

TEST(TtlCache, Oracle) {
  const std::uint64_t seed = testing::test_seed();
  SCOPED_TRACE("POSTERN_SEED=" + std::to_string(seed));
  std::mt19937_64 random(seed);
  struct Entry {
    std::string key;
    int value;
    std::int64_t until;
  };
  constexpr std::size_t kMax = 8;
  TtlCache<int> cache(kMax);
  std::list<Entry> model;  // used last first
  std::int64_t now = 0;
  for (int step = 0; step < 50000; ++step) {
    now += static_cast<std::int64_t>(random() % 3);
    const std::string key = std::to_string(random() % 14);
    auto known = std::find_if(model.begin(), model.end(), [&key](const Entry& e) { return e.key == key; });
    if (random() % 2 == 0) {
      const std::int64_t until = now + static_cast<std::int64_t>(random() % 40);
      cache.insert(key, std::make_shared<int>(step), until);
      if (known != model.end()) model.erase(known);
      if (model.size() == kMax) model.pop_back();
      model.push_front({key, step, until});
    } else {
      const auto found = cache.find(key, now);
      if (known != model.end() && known->until <= now) {
        model.erase(known);
        known = model.end();
      }
      ASSERT_EQ(found != nullptr, known != model.end());
      if (found != nullptr) {
        EXPECT_EQ(*found, known->value);
        model.splice(model.begin(), model, known);
      }
    }
    ASSERT_EQ(cache.size(), model.size());
  }
}

}  // namespace
}  // namespace postern::net::dns
