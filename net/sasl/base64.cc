// Arithmetic instead of tables: what is decoded here are passwords and tokens, and a table's cache lines tell about
// them.
#include "net/sasl/base64.h"

#include <cstdint>

#include "core/assert.h"

namespace postern::net::sasl {
namespace {

// `value` if first <= c <= last, else 0.
constexpr int if_between(int c, int first, int last, int value) {
  return (((first - 1 - c) & (c - last - 1)) >> 8) & value;
}

struct Alphabet {
  int digit62;
  int digit63;
};
constexpr Alphabet kStandard{'+', '/'};
constexpr Alphabet kUrl{'-', '_'};

// 0..63, or -1.
constexpr int digit_of(int c, Alphabet alphabet) {
  return -1 + if_between(c, 'A', 'Z', c - 'A' + 1) + if_between(c, 'a', 'z', c - 'a' + 27) +
         if_between(c, '0', '9', c - '0' + 53) + if_between(c, alphabet.digit62, alphabet.digit62, 63) +
         if_between(c, alphabet.digit63, alphabet.digit63, 64);
}

constexpr char text_of(int digit) {
  return static_cast<char>(if_between(digit, 0, 25, 'A' + digit) + if_between(digit, 26, 51, 'a' + digit - 26) +
                           if_between(digit, 52, 61, '0' + digit - 52) + if_between(digit, 62, 62, '+') +
                           if_between(digit, 63, 63, '/'));
}

// `text` without padding. The digits' faults are gathered, and told at the end.
std::optional<std::size_t> decode(std::string_view text, std::span<char> out, Alphabet alphabet) {
  const std::size_t left_over = text.size() % 4;
  if (left_over == 1) return std::nullopt;
  const std::size_t size = text.size() / 4 * 3 + (left_over == 0 ? 0 : left_over - 1);
  if (size > out.size()) return std::nullopt;
  int bad = 0;
  std::size_t written = 0;
  std::uint32_t bits = 0;
  for (std::size_t i = 0; i < text.size(); ++i) {
    const int digit = digit_of(static_cast<unsigned char>(text[i]), alphabet);
    bad |= digit;  // negative when any was
    bits = bits << 6 | (static_cast<std::uint32_t>(digit) & 63);
    if (i % 4 == 0) continue;
    const unsigned unused = static_cast<unsigned>(6 - 2 * (i % 4));
    // Octets go out behind where they came in: `out` may be `text`.
    out[written++] = static_cast<char>(bits >> unused & 0xff);
  }
  const std::uint32_t rest = left_over == 2 ? bits & 0xf : left_over == 3 ? bits & 0x3 : 0;
  if (bad < 0 || rest != 0) return std::nullopt;
  return size;
}

}  // namespace

std::size_t base64_encode(std::string_view octets, std::span<char> out) noexcept {
  const std::size_t size = base64_bytes(octets.size());
  POSTERN_ASSERT(size <= out.size());
  std::size_t written = 0;
  for (std::size_t i = 0; i < octets.size(); i += 3) {
    const std::string_view group = octets.substr(i, 3);
    std::uint32_t bits = 0;
    for (std::size_t k = 0; k < 3; ++k)
      bits = bits << 8 | (k < group.size() ? static_cast<unsigned char>(group[k]) : 0);
    for (std::size_t k = 0; k < 4; ++k) {
      out[written++] = k > group.size() ? '=' : text_of(static_cast<int>(bits >> (18 - 6 * k) & 63));
    }
  }
  return size;
}

std::optional<std::size_t> base64_decode(std::string_view text, std::span<char> out) noexcept {
  if (text.size() % 4 != 0) return std::nullopt;
  for (int i = 0; i < 2 && text.ends_with('='); ++i) text.remove_suffix(1);
  return decode(text, out, kStandard);
}

std::optional<std::size_t> base64url_decode(std::string_view text, std::span<char> out) noexcept {
  return decode(text, out, kUrl);
}

}  // namespace postern::net::sasl
