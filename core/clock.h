// Time as values. Nobody below the platform layer reads a clock: a worker reads it once a turn and hands it down, and
// tests and the simulator move it by hand.
#pragma once

#include <cstdint>

namespace postern::core {

inline constexpr std::int64_t kNanosecondsPerSecond = 1'000'000'000;
inline constexpr std::int64_t kNanosecondsPerMillisecond = 1'000'000;

// One reading of both clocks.
// boot_ns:  CLOCK_BOOTTIME: monotonic, counts suspended time; what timers, expiries and windows use.
// unix_ns:  CLOCK_REALTIME: what people read; it may step, so nothing is measured with it.
struct Time {
  std::int64_t boot_ns = 0;
  std::int64_t unix_ns = 0;

  [[nodiscard]] std::int64_t boot_seconds() const { return boot_ns / kNanosecondsPerSecond; }
  [[nodiscard]] std::int64_t unix_seconds() const { return unix_ns / kNanosecondsPerSecond; }
};

}  // namespace postern::core
