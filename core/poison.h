// Telling the address sanitizer about memory that pools and rings recycle themselves, so that a use after it was given
// back, or past what was filled, is found as it would be with the heap. Nothing in builds without the sanitizer.
#pragma once

#include <cstddef>

#if defined(__SANITIZE_ADDRESS__)
#define POSTERN_ADDRESS_SANITIZER 1
#elif defined(__has_feature)
#if __has_feature(address_sanitizer)
#define POSTERN_ADDRESS_SANITIZER 1
#endif
#endif

#ifdef POSTERN_ADDRESS_SANITIZER
#include <sanitizer/asan_interface.h>
#endif

namespace postern::core {

#ifdef POSTERN_ADDRESS_SANITIZER
// Nobody may touch these octets until unpoison(). The kernel's own writes are not seen.
inline void poison(const void* memory, std::size_t bytes) {
  __asan_poison_memory_region(memory, bytes);
}
inline void unpoison(const void* memory, std::size_t bytes) {
  __asan_unpoison_memory_region(memory, bytes);
}
#else
inline void poison(const void*, std::size_t) {}
inline void unpoison(const void*, std::size_t) {}
#endif

}  // namespace postern::core
