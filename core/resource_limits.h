// What the operating system lets this process hold, checked before the first connection and not during a
// flood.
//
// The messages are made apart from the system calls, so that tests need no such machine. Thread: any; at
// start.
#pragma once

#include <cstdint>
#include <optional>
#include <string>

#include "core/result.h"

namespace postern::core {

// Descriptors that are not connections: rings, listeners, spool segments, log, control socket, store.
inline constexpr std::uint64_t kOtherDescriptors = 256;

// Raises RLIMIT_NOFILE's soft limit as far as `connections` (client and next-hop sockets together) need it, `each` of them
// so many (2: a client's, and one to the mail store for it).
// Error: the hard limit is too low; says what to set to what. Returns the soft limit that now holds.
Result<std::uint64_t> reserve_descriptors(std::uint64_t connections, std::uint64_t each = 1);

// The verdict of the above for given limits: what is wrong, or nullopt when `hard` suffices.
std::optional<std::string> descriptor_problem(std::uint64_t connections, std::uint64_t hard, std::uint64_t each = 1);

// Whatever happens to this process, its memory, which holds passwords and keys, is not written to a file (PR_SET_DUMPABLE,
// prctl(2)), nor read by other processes of its user. Children start as before.
void forbid_core_dumps();

}  // namespace postern::core
