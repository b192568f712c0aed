// How a log line looks: logfmt or JSON, with whatever strangers said made harmless for terminals and parsers.
//
// Escaped: control characters (C0, DEL, C1), quotes and backslashes, octets that are not UTF-8, and the
// characters that reorder or hide text (bidirectional controls, line and paragraph separators, zero-width
// ones). format_log_line() is declared in log.h. Thread: any.
#pragma once

#include <string>
#include <string_view>

#include "core/log.h"

namespace postern::core {

// Fields as they lie in a record: key length with this bit set means that the value is a plain number.
inline constexpr std::uint8_t kLogNumberBit = 0x80;
inline constexpr std::size_t kLogKeyBytesMax = 0x7f;

// Appends `text` with everything harmful replaced, without quotes around it. In both forms an octet that is
// not part of valid UTF-8 appears as the four characters \xNN (in JSON the backslash is itself escaped).
void append_escaped(std::string_view text, bool json, std::string& out);
// "2026-11-24T03:48:23.042Z"
void append_utc(std::int64_t unix_ns, std::string& out);

}  // namespace postern::core
