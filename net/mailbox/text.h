// Small questions about octets that both protocols of the mailbox front ask. Pure. Thread: any.
#pragma once

#include <cstddef>
#include <string_view>

#include "core/ascii.h"

namespace postern::net::mailbox {

using core::equals_ignoring_case;
using core::starts_ignoring_case;

// Cuts the octets before the first blank off `text`, and that one blank.
std::string_view take_word(std::string_view& text) noexcept;

// NUL, another control octet, DEL. Octets above 127 are none.
[[nodiscard]] bool has_control_octet(std::string_view text) noexcept;

// The alphabet, length and padding of RFC 4648 section 4. Empty text is the encoding of nothing.
[[nodiscard]] bool is_base64(std::string_view text) noexcept;

// A request of HTTP, sent here by a browser that was led astray: "GET / HTTP/1.1".
[[nodiscard]] bool is_http_request(std::string_view line) noexcept;

}  // namespace postern::net::mailbox
