// The time, for threads that have no turn: start, the caretaker, commands. Workers ask Worker::now().
#pragma once

#include <ctime>

#include "core/clock.h"

namespace postern::net {

[[nodiscard]] inline core::Time clock_now() {
  const auto read = [](clockid_t clock) {
    timespec at{};
    clock_gettime(clock, &at);
    return static_cast<std::int64_t>(at.tv_sec) * core::kNanosecondsPerSecond + at.tv_nsec;
  };
  return {read(CLOCK_BOOTTIME), read(CLOCK_REALTIME)};
}

}  // namespace postern::net
