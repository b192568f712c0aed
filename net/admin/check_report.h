// What `postern check` prints: the effective policy of each service in words, what is without effect, what is
// wrong, and the memory that the bounds add up to.
//
// Pure text building, cold. Thread: any.
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "policy/settings.h"

namespace postern::net::admin {

// One thing whose size is bounded before the start: "login table", 16003072.
struct MemoryBound {
  std::string_view name;
  std::uint64_t bytes = 0;
};

// The diagnostics of parse_settings and check_settings one below the other in the form FILE:LINE:COLUMN:
// KIND: TEXT, and a last line that counts them. Empty: there are none.
[[nodiscard]] std::string diagnostics_text(std::string_view file,
                                           std::span<const policy::Diagnostic> diagnostics);

// The whole report. Requires settings that parse_settings accepted (else print diagnostics_text alone).
[[nodiscard]] std::string check_report(std::string_view file, const policy::Settings& settings,
                                       std::span<const policy::Diagnostic> diagnostics,
                                       std::span<const MemoryBound> memory);

}  // namespace postern::net::admin
