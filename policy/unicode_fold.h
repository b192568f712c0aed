// Lower case and composition for the labels of internationalised domain names (RFC 5895, RFC 5891
// section 4.2).
//
// Limits, on purpose: simple lower-casing and canonical composition (NFC) for Latin, Greek, Cyrillic and
// Armenian
//   (U+0080..U+058F, U+1E00..U+1EFF) with the marks U+0300..U+036F. Letters of other scripts are taken as
//   they are written. What cannot stand in a domain (controls, symbols, punctuation, invisible and
//   compatibility characters) and what these tables cannot fold for certain (polytonic Greek) is refused:
//   such a name is then written as its A-label.
// Pure, no allocation. Thread: any.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <string_view>

namespace postern::policy {

// Decodes one code point of strict UTF-8 (RFC 3629) from the front of `text` and removes it. 0xffffffff: bad
// UTF-8.
[[nodiscard]] char32_t take_code_point(std::string_view& text) noexcept;

[[nodiscard]] char32_t lower_case(char32_t c) noexcept;
[[nodiscard]] bool may_stand_in_label(char32_t c) noexcept;  // after lower-casing
[[nodiscard]] bool is_mark(char32_t c) noexcept;             // U+0300..U+036F

// Canonical composition in place. Returns the new length, or 0 when an intermediate form does not fit in
// `label`. `used` code points of `label` are set.
[[nodiscard]] std::size_t compose(std::span<char32_t> label, std::size_t used) noexcept;

}  // namespace postern::policy
