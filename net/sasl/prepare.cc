// Mapping, normalisation, prohibition, direction: the four steps of RFC 3454, with RFC 4013's choice of tables.
#include "net/sasl/prepare.h"

#include <algorithm>
#include <array>
#include <iterator>
#include <openssl/mem.h>
#include <utf8proc.h>

namespace postern::net::sasl {
namespace {

struct Range {
  utf8proc_int32_t first;
  utf8proc_int32_t last;
};

// RFC 3454 table C.1.2.
constexpr Range kSpaces[] = {{0x00a0, 0x00a0}, {0x1680, 0x1680}, {0x2000, 0x200b},
                             {0x202f, 0x202f}, {0x205f, 0x205f}, {0x3000, 0x3000}};
// RFC 3454 table B.1.
constexpr Range kDropped[] = {{0x00ad, 0x00ad}, {0x034f, 0x034f}, {0x1806, 0x1806}, {0x180b, 0x180d},
                              {0x200b, 0x200d}, {0x2060, 0x2060}, {0xfe00, 0xfe0f}, {0xfeff, 0xfeff}};
// RFC 3454 tables C.1.2, C.2 to C.9, as one; the last two code points of each plane are looked at apart.
constexpr Range kProhibited[] = {{0x0000, 0x001f},   {0x007f, 0x00a0},    {0x0340, 0x0341},   {0x06dd, 0x06dd},
                                 {0x070f, 0x070f},   {0x1680, 0x1680},    {0x180e, 0x180e},   {0x2000, 0x200f},
                                 {0x2028, 0x202f},   {0x205f, 0x2063},    {0x206a, 0x206f},   {0x2ff0, 0x2ffb},
                                 {0x3000, 0x3000},   {0xd800, 0xf8ff},    {0xfdd0, 0xfdef},   {0xfeff, 0xfeff},
                                 {0xfff9, 0xffff},   {0x1d173, 0x1d17a},  {0xe0001, 0xe0001}, {0xe0020, 0xe007f},
                                 {0xf0000, 0xfffff}, {0x100000, 0x10ffff}};

template <std::size_t n>
bool is_in(utf8proc_int32_t c, const Range (&ranges)[n]) {
  const auto* found = std::ranges::lower_bound(ranges, c, {}, &Range::last);
  return found != std::end(ranges) && found->first <= c;
}

bool is_prohibited(utf8proc_int32_t c) {
  return is_in(c, kProhibited) || (c & 0xfffe) == 0xfffe;
}

// No precomposed letter of two octets becomes more than four code points, none of three octets more than its octets,
// save compatibility forms of whole words: a text of those may be refused for its length.
constexpr std::size_t kCodePointsMax = 2 * kPasswordBytesMax;

// The copies on the way.
struct Workspace {
  std::array<char, kPasswordBytesMax> mapped;
  std::array<utf8proc_int32_t, kCodePointsMax> code_points;
  ~Workspace() { OPENSSL_cleanse(this, sizeof *this); }
};

const utf8proc_uint8_t* octets_of(std::string_view text) {
  return reinterpret_cast<const utf8proc_uint8_t*>(text.data());
}

// Mapping (RFC 4013 section 2.1): nothing grows. Returns the octets used of `out`; nothing: bad UTF-8.
std::optional<std::size_t> map(std::string_view text, std::span<char> out) {
  std::size_t used = 0;
  while (!text.empty()) {
    utf8proc_int32_t c = 0;
    const utf8proc_ssize_t length = utf8proc_iterate(octets_of(text), static_cast<utf8proc_ssize_t>(text.size()), &c);
    if (length <= 0) return std::nullopt;
    const std::string_view same = text.substr(0, static_cast<std::size_t>(length));
    text.remove_prefix(same.size());
    if (is_in(c, kSpaces)) {
      out[used++] = ' ';
    } else if (!is_in(c, kDropped)) {
      used += same.copy(out.data() + used, same.size());
    }
  }
  return used;
}

// RFC 3454 section 6: letters of the right-to-left scripts only among themselves, and at both ends.
bool is_one_direction(std::span<const utf8proc_int32_t> text) {
  const auto bidi_class = [](utf8proc_int32_t c) { return utf8proc_get_property(c)->bidi_class; };
  const auto is_right_to_left = [&](utf8proc_int32_t c) {
    return bidi_class(c) == UTF8PROC_BIDI_CLASS_R || bidi_class(c) == UTF8PROC_BIDI_CLASS_AL;
  };
  if (std::ranges::none_of(text, is_right_to_left)) return true;
  return is_right_to_left(text.front()) && is_right_to_left(text.back()) &&
         std::ranges::none_of(text, [&](utf8proc_int32_t c) { return bidi_class(c) == UTF8PROC_BIDI_CLASS_L; });
}

std::optional<std::size_t> prepare_unicode(std::string_view text, std::span<char> out) {
  Workspace work;
  const std::optional<std::size_t> mapped = map(text, work.mapped);
  if (!mapped) return std::nullopt;
  constexpr auto kFormKC = static_cast<utf8proc_option_t>(UTF8PROC_STABLE | UTF8PROC_COMPOSE | UTF8PROC_COMPAT);
  const auto length = static_cast<utf8proc_ssize_t>(*mapped);
  utf8proc_ssize_t count = utf8proc_decompose(octets_of({work.mapped.data(), *mapped}), length, work.code_points.data(),
                                              std::ssize(work.code_points), kFormKC);
  if (count <= 0 || count > std::ssize(work.code_points)) return std::nullopt;
  count = utf8proc_normalize_utf32(work.code_points.data(), count, kFormKC);
  if (count <= 0) return std::nullopt;
  const std::span<const utf8proc_int32_t> normal(work.code_points.data(), static_cast<std::size_t>(count));
  if (std::ranges::any_of(normal, is_prohibited) || !is_one_direction(normal)) return std::nullopt;
  std::size_t used = 0;
  for (const utf8proc_int32_t c : normal) {
    std::array<utf8proc_uint8_t, 4> encoded{};
    const auto size = static_cast<std::size_t>(utf8proc_encode_char(c, encoded.data()));
    if (size == 0 || size > out.size() - used) return std::nullopt;
    std::copy_n(encoded.begin(), size, out.begin() + static_cast<std::ptrdiff_t>(used));
    used += size;
  }
  return used;
}

}  // namespace

std::optional<std::size_t> prepare(std::string_view text, std::span<char> out) noexcept {
  if (text.empty() || text.size() > kPasswordBytesMax) return std::nullopt;
  const bool is_ascii = std::ranges::all_of(text, [](char c) { return c >= 0x20 && c < 0x7f; });
  if (!is_ascii) return prepare_unicode(text, out);
  if (text.size() > out.size()) return std::nullopt;
  return text.copy(out.data(), text.size());
}

bool is_utf8(std::string_view text) noexcept {
  while (!text.empty()) {
    utf8proc_int32_t c = 0;
    const utf8proc_ssize_t length = utf8proc_iterate(octets_of(text), static_cast<utf8proc_ssize_t>(text.size()), &c);
    if (length <= 0) return false;
    text.remove_prefix(static_cast<std::size_t>(length));
  }
  return true;
}

}  // namespace postern::net::sasl
