// What the ring needs of the kernel, and what to tell an operator whose kernel or limits refuse it.
//
// Facts are gathered apart from the verdict, so that every message can be tested without such a kernel.
// Features are probed one by one, never derived from a version: distributions carry backports, and switch
// things off.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

#include "core/result.h"

struct io_uring;

namespace postern::core::uring {

enum class Step : std::uint8_t {
  setup,            // io_uring_setup and mapping its queues
  receive_buffers,  // memory and registration of the receive buffers
  limit_workers,    // io-wq cap
  restrict,         // restrictions and enabling
};

// What the machine says about itself when a step failed.
struct Surroundings {
  std::optional<int> io_uring_disabled;  // kernel.io_uring_disabled; none: this kernel has no such setting
  std::optional<int> io_uring_group;     // kernel.io_uring_group, -1: no group
  bool is_root = false;
  std::uint64_t memlock_bytes = 0;  // RLIMIT_MEMLOCK, soft; UINT64_MAX: unlimited

  static Surroundings look();
};

// The operator's message for `code` (a positive errno) at `step`. Always says what to change.
std::string explain(Step step, int code, const Surroundings& surroundings);

// Checks opcodes and features of a ring that was just made. Error: names everything that is missing.
Result<void> check_features(io_uring& ring);
// The same verdict for a set of missing parts ("opcode SEND_ZC, feature NODROP").
std::string explain_missing(std::string_view missing);

// Allows only the opcodes, flags and register calls that Ring uses; to be called before the ring is enabled.
// Returns 0 or a positive errno.
int restrict_ring(io_uring& ring);

// Sends two pieces through a socket pair and receives them with one multishot receive from buffer group
// `group`: there is no probe bit for multishot. Takes up to three buffers, whose ids it stores. The ring must be
// enabled and idle.
Result<void> check_multishot(io_uring& ring, std::uint16_t group, std::uint16_t (&used)[3], int& used_count);

}  // namespace postern::core::uring
