#include "core/pool.h"

#include <cstring>
#include <gtest/gtest.h>
#include <map>
#include <random>
#include <set>

namespace postern::core {
namespace {

struct Counted {
  explicit Counted(int& l, int v = 0) : live(l), value(v) { ++live; }
  ~Counted() { --live; }
  int& live;
  int value;
};

TEST(SlotPool, GivesAsManyAsItsCapacityAndTakesThemBack) {
  int live = 0;
  SlotPool<Counted> pool(100);
  std::set<Counted*> slots;
  for (int i = 0; i < 100; ++i) {
    Counted* slot = pool.make(live, i);
    ASSERT_NE(slot, nullptr);
    EXPECT_EQ(slot->value, i);
    EXPECT_TRUE(slots.insert(slot).second);
  }
  EXPECT_EQ(pool.make(live), nullptr);
  EXPECT_EQ(pool.in_use(), 100u);
  EXPECT_EQ(live, 100);
  Counted* last = *slots.begin();
  pool.destroy(last);
  EXPECT_EQ(pool.make(live), last) << "what was given back is handed out again";
  for (Counted* slot : slots) pool.destroy(slot);
  EXPECT_EQ(live, 0);
  EXPECT_EQ(pool.in_use(), 0u);
}

TEST(BlockPool, ClassesArePowersOfTwo) {
  EXPECT_EQ(BlockPool::class_bytes(0), 128u);
  EXPECT_EQ(BlockPool::class_bytes(1), 128u);
  EXPECT_EQ(BlockPool::class_bytes(128), 128u);
  EXPECT_EQ(BlockPool::class_bytes(129), 256u);
  EXPECT_EQ(BlockPool::class_bytes(65536), 65536u);
}

TEST(BlockPool, TheBudgetIsTheBound) {
  BlockPool pool(4 * 65536);
  EXPECT_EQ(pool.budget_bytes(), 4u * 65536);
  std::vector<char*> blocks;
  while (char* block = pool.take(65536)) blocks.push_back(block);
  EXPECT_EQ(blocks.size(), 4u);
  EXPECT_EQ(pool.used_bytes(), 4u * 65536);
  EXPECT_EQ(pool.take(1), nullptr);
  pool.give_back(blocks.back(), 65536);
  blocks.pop_back();
  char* small = pool.take(1);
  ASSERT_NE(small, nullptr);
  EXPECT_EQ(pool.take(65536), nullptr);
  pool.give_back(small, 1);
  for (char* block : blocks) pool.give_back(block, 65536);
  EXPECT_EQ(pool.used_bytes(), 0u);
}

TEST(BlockPool, ABurstOfOneSizeStarvesNoOtherForGood) {
  BlockPool pool(8 * 65536);
  for (const std::size_t bytes : {128u, 65536u, 4096u, 256u, 32768u}) {
    std::vector<char*> blocks;
    while (char* block = pool.take(bytes)) blocks.push_back(block);
    EXPECT_EQ(blocks.size() * bytes, pool.budget_bytes()) << bytes;
    for (char* block : blocks) pool.give_back(block, bytes);
  }
}

TEST(BlockPool, RandomUseNeverOverlapsAndStaysAligned) {
  for (std::uint64_t seed = 1; seed <= 8; ++seed) {
    SCOPED_TRACE("seed " + std::to_string(seed));
    std::mt19937_64 random(seed);
    BlockPool pool(16 * 65536);
    struct Taken {
      std::size_t bytes;
      char mark;
    };
    std::map<char*, Taken> taken;
    std::size_t used = 0;
    for (int step = 0; step < 2000; ++step) {
      if (taken.empty() || random() % 5 < 3) {
        const std::size_t bytes = random() % (std::size_t{1} << (7 + random() % 10)) + 1;
        char* block = pool.take(bytes);
        if (block == nullptr) {
          EXPECT_GT(pool.used_bytes(), 0u);
          continue;
        }
        EXPECT_EQ(reinterpret_cast<std::uintptr_t>(block) % (bytes > 2048 ? 4096 : 64), 0u);
        const char mark = static_cast<char>(random());
        std::memset(block, mark, BlockPool::class_bytes(bytes));
        EXPECT_TRUE(taken.emplace(block, Taken{bytes, mark}).second);
        used += BlockPool::class_bytes(bytes);
      } else {
        auto at = std::next(taken.begin(), static_cast<std::ptrdiff_t>(random() % taken.size()));
        const auto [block, what] = *at;
        const std::string expected(BlockPool::class_bytes(what.bytes), what.mark);
        EXPECT_TRUE(std::string_view(block, expected.size()) == expected) << "another block's octets";
        pool.give_back(block, what.bytes);
        used -= BlockPool::class_bytes(what.bytes);
        taken.erase(at);
      }
      ASSERT_EQ(pool.used_bytes(), used);
    }
    for (const auto& [block, what] : taken) pool.give_back(block, what.bytes);
  }
}

#ifdef POSTERN_ADDRESS_SANITIZER
TEST(PoolDeathTest, TheSanitizerSeesUsesAfterGivingBack) {
  BlockPool blocks(65536);
  char* block = blocks.take(256);
  block[255] = 'x';
  blocks.give_back(block, 256);
  EXPECT_DEATH(block[255] = 'y', "use-after-poison");
  int live = 0;
  SlotPool<Counted> slots(1);
  Counted* slot = slots.make(live);
  slots.destroy(slot);
  EXPECT_DEATH(slot->value = 1, "use-after-poison");
}
#endif

}  // namespace
}  // namespace postern::core
