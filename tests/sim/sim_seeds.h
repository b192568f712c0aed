// Running a simulation for many seeds, and for just one again.
//
//   for_each_seed(1'000, [](std::uint64_t seed) { ... EXPECT_... });
//
// POSTERN_SEED=n runs that seed only; POSTERN_SEEDS=n runs n instead of the number given (10,000 once in a while). Builds
// with a sanitizer run a tenth. The first seed that fails ends the test, and the line that repeats it is printed.
#pragma once

#include <cstdint>
#include <cstdlib>
#include <gtest/gtest.h>
#include <string>

namespace postern::sim {

template <class Run>
void for_each_seed(std::uint64_t count, Run run) {
  const auto number = [](const char* name, std::uint64_t otherwise) {
    const char* text = std::getenv(name);
    return text == nullptr ? otherwise : std::strtoull(text, nullptr, 10);
  };
#ifdef POSTERN_SANITIZED
  count = count / 10 + 1;
#endif
  const std::uint64_t only = number("POSTERN_SEED", 0);
  const std::uint64_t first = only != 0 ? only : 1;
  const std::uint64_t last = only != 0 ? only : number("POSTERN_SEEDS", count);
  for (std::uint64_t seed = first; seed <= last; ++seed) {
    run(seed);
    if (!testing::Test::HasFailure()) continue;
    const testing::TestInfo& test = *testing::UnitTest::GetInstance()->current_test_info();
    FAIL() << "seed " << seed << " failed; again: POSTERN_SEED=" << seed
           << " THIS_PROGRAM --gtest_filter=" << test.test_suite_name() << '.' << test.name();
  }
}

}  // namespace postern::sim
