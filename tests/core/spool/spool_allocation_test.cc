// Once warm, nothing is allocated between append() and its completion, nor by outcomes and recycling; on the real ring.
// A program of its own: it replaces the global operator new.
#include <array>
#include <cstdlib>
#include <gtest/gtest.h>
#include <new>

#include "tests/core/spool/spool_harness.h"

namespace {
std::uint64_t allocations = 0;
}  // namespace

// Out of line, so that the compiler does not pair these with the built-in ones.
__attribute__((noinline)) void* operator new(std::size_t bytes) {
  ++allocations;
  if (void* memory = std::malloc(bytes)) return memory;
  throw std::bad_alloc();
}
__attribute__((noinline)) void operator delete(void* memory) noexcept {
  std::free(memory);
}
__attribute__((noinline)) void operator delete(void* memory, std::size_t) noexcept {
  std::free(memory);
}

namespace postern::core::spool_test {
namespace {

struct Steady {
  SpoolHarness at;
  std::array<Durable, 32> durables;
  std::array<char, 3000> body{};
  int pending = 0;
  int errors = 0;

  static void on_durable(void* owner, Durable&, int error) noexcept {
    auto& self = *static_cast<Steady*>(owner);
    --self.pending;
    self.errors += error != 0 ? 1 : 0;
  }
  // Appends, defers and finishes 32 items.
  void round() {
    for (Durable& durable : durables) {
      durable.handler = &Steady::on_durable;
      durable.owner = this;
      const iovec part{body.data(), body.size()};
      const ItemId id = at.spool->next_id();
      ++pending;
      at.spool->append(id, "head", {&part, 1}, 0, 1, durable);
    }
    while (pending > 0) at.turn();
    for (Durable& durable : durables) {
      at.spool->update(durable.id, "deferred", nullptr);
      at.spool->finish(durable.id, nullptr);
    }
    at.turn(false);
  }
};

TEST(SpoolAllocation, NoneOnceWarm) {
  Steady steady;
  steady.at.open();
  // Twenty segments' worth, so that each file had its turns.
  for (int i = 0; i < 60; ++i) steady.round();
  ASSERT_EQ(steady.errors, 0);
  const std::uint64_t sequence_then = steady.at.spool->counters().commits;
  const std::uint64_t before = allocations;
  for (int i = 0; i < 30; ++i) steady.round();
  const std::uint64_t after = allocations;
  EXPECT_EQ(after - before, 0u);
  EXPECT_EQ(steady.errors, 0);
  EXPECT_GT(steady.at.spool->counters().commits, sequence_then);
  steady.at.close();
}

}  // namespace
}  // namespace postern::core::spool_test
