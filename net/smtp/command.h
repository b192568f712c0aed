// Command lines: where one ends, whether its octets are fit to be read, and its two parts.
//
// Only CRLF ends a line (RFC 5321 section 2.3.8). Pure. Thread: any.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string_view>

#include "core/ascii.h"

namespace postern::net::smtp {

inline constexpr std::size_t kNoLineEnd = static_cast<std::size_t>(-1);

// The octets up to and with the first CRLF, or kNoLineEnd. `after_return`: the octet before `input` was a CR.
std::size_t find_line_end(std::string_view input, bool after_return);

enum class LineFault : std::uint8_t {
  none,
  bare_line_end,  // a CR or LF that stands alone
  control_octet,  // NUL, another control octet, DEL
};
// `line`: without its CRLF. Octets above 127 are no fault here.
LineFault check_octets(std::string_view line);

struct CommandLine {
  std::string_view text;      // the line without blanks behind it
  std::string_view word;      // up to the first blank
  std::string_view argument;  // without blanks around it (trailing ones: RFC 5321 section 4.1.1)
};
CommandLine split_command(std::string_view line);

using core::equals_ignoring_case;
using core::starts_ignoring_case;

// Cuts the next word off `text`, and the blanks around it. Empty: there is none.
std::string_view take_word(std::string_view& text);

}  // namespace postern::net::smtp
