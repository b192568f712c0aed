#include "core/assert.h"

#include <cstdio>
#include <cstdlib>

namespace postern::core {

void assertion_failed(const char* expression, const char* file, int line) noexcept {
  std::fprintf(stderr, "postern: internal error: %s does not hold at %s:%d\n", expression, file, line);
  std::abort();
}

}  // namespace postern::core
