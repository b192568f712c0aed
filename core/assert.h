// Assertions that stay on in release builds.
//
// For our own bugs only: a broken invariant stops the process before it can lose or invent mail. What a peer, a disk or
// a settings file can cause is never asserted; it is answered (see result.h and the shedding rules in limits.h).
#pragma once

namespace postern::core {

// Prints expression, file and line to standard error and aborts.
[[noreturn]] void assertion_failed(const char* expression, const char* file, int line) noexcept;

}  // namespace postern::core

#define POSTERN_ASSERT(expression)          \
  (__builtin_expect(!!(expression), 1) ? (void)0 \
                                       : ::postern::core::assertion_failed(#expression, __FILE__, __LINE__))
