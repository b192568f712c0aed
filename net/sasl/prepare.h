// User names and passwords in one spelling, so that what a person types is compared and not how a keyboard encodes it
// (SASLprep: RFC 4013, RFC 3454).
//
// What is done: strict UTF-8 in; spaces of all kinds become U+0020; invisible characters (RFC 3454 table B.1) go away;
// Unicode normalisation form KC (all of it: utf8proc); then refused: controls, NUL among them, private use,
// non-characters, surrogates, what is unfit for plain text or canonical representation, tags, and a mixture of
// left-to-right and right-to-left letters (RFC 3454 section 6). Unassigned code points are taken as they are, as in
// "queries" (RFC 3454 section 7): Unicode has grown since 3.2, and people have emoji in passwords. ASCII without
// controls comes out as it went in. Case is kept.
// RFC 8265 (PRECIS) prepares nearly the same: letters in form C with the same spaces, which these rules leave as they
// are.
//
// Pure; no allocation. Thread: any. Temporary copies are wiped.
#pragma once

#include <cstddef>
#include <optional>
#include <span>
#include <string_view>

namespace postern::net::sasl {

inline constexpr std::size_t kUserBytesMax = 255;
inline constexpr std::size_t kPasswordBytesMax = 1024;

// Writes the prepared form of `text` (at most kPasswordBytesMax octets) to the beginning of `out`; returns its length.
// Nothing: refused, empty after all, longer than `out`, or too long to begin with.
[[nodiscard]] std::optional<std::size_t> prepare(std::string_view text, std::span<char> out) noexcept;

// Strict UTF-8 (RFC 3629): shortest forms, no surrogates.
[[nodiscard]] bool is_utf8(std::string_view text) noexcept;

}  // namespace postern::net::sasl
