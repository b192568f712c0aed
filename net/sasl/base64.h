// Base 64 as RFC 4648 says it, strictly: no white space, padding where it belongs and nowhere else, no bits set that no
// octet takes. One text for one value, so that a comparison of texts is one of values.
//
// Pure, no allocation. Thread: any. Time depends on the lengths only, not on the octets.
#pragma once

#include <cstddef>
#include <optional>
#include <span>
#include <string_view>

namespace postern::net::sasl {

// Octets that `count` octets become, padding included.
[[nodiscard]] constexpr std::size_t base64_bytes(std::size_t count) noexcept {
  return (count + 2) / 3 * 4;
}
// The most octets that a text of `count` octets can hold.
[[nodiscard]] constexpr std::size_t base64_decoded_bytes_max(std::size_t count) noexcept {
  return (count + 3) / 4 * 3;
}

// Writes `octets` to the beginning of `out`; returns how much. Requires room for base64_bytes(octets.size()).
std::size_t base64_encode(std::string_view octets, std::span<char> out) noexcept;

// Writes what `text` stands for to the beginning of `out`; returns how many octets, or nothing when the text is not
// base 64, or when `out` is smaller than what comes out of it. `out` may begin where `text` does: decoding in place.
[[nodiscard]] std::optional<std::size_t> base64_decode(std::string_view text, std::span<char> out) noexcept;

// The alphabet for URLs and file names, without padding, as JSON Web Tokens have it (RFC 4648 section 5, RFC 7515
// section 2).
[[nodiscard]] std::optional<std::size_t> base64url_decode(std::string_view text, std::span<char> out) noexcept;

}  // namespace postern::net::sasl
