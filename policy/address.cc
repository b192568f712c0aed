// Domains in one canonical form (RFC 5890 to 5895, punycode RFC 3492; address literals RFC 5321
// section 4.1.3).
//
// ASCII domains, the common case, take one pass over a table. No allocation, no locale.
#include "policy/address.h"

#include <algorithm>
#include <charconv>
#include <optional>
#include <span>

#include "core/ip_address.h"
#include "policy/unicode_fold.h"

namespace postern::policy {
namespace {

constexpr std::size_t kLabelMax = 63;        // RFC 1035 section 2.3.4
constexpr std::size_t kCodePointsMax = 128;  // of one label before composition; more cannot end in 63 octets

// The octet in lower case where it may stand in an ASCII label, else 0. The underscore is no host name's, but
// lives in names that people mail to.
constexpr std::array<char, 256> make_label_table() {
  std::array<char, 256> table{};
  for (int c = 'a'; c <= 'z'; ++c) {
    table[static_cast<std::size_t>(c)] = static_cast<char>(c);
    table[static_cast<std::size_t>(c - 32)] = static_cast<char>(c);
  }
  for (char c = '0'; c <= '9'; ++c) table[static_cast<std::size_t>(c)] = c;
  table['-'] = '-';
  table['_'] = '_';
  return table;
}
constexpr std::array<char, 256> kLabelTable = make_label_table();

// Where a canonical name grows; `full` once it did not fit.
struct Writer {
  std::span<char> room;
  std::size_t size = 0;
  bool full = false;

  void put(char c) {
    if (size == room.size()) {
      full = true;
    } else {
      room[size++] = c;
    }
  }
  void put(std::string_view text) {
    for (const char c : text) put(c);
  }
  void put_number(unsigned value, int base) {
    char digits[8];
    const auto end = std::to_chars(digits, digits + sizeof digits, value, base).ptr;
    put(std::string_view(digits, static_cast<std::size_t>(end - digits)));
  }
};

// A label stands between dots and neither begins nor ends with a hyphen (RFC 5321 section 4.1.2, sub-domain).
bool is_label(std::string_view label) {
  return !label.empty() && label.size() <= kLabelMax && label.front() != '-' && label.back() != '-';
}

// RFC 3492 section 6.1.
unsigned adapt_bias(std::size_t delta, std::size_t points, bool first) {
  delta = first ? delta / 700 : delta / 2;
  delta += delta / points;
  unsigned k = 0;
  for (; delta > 35 * 26 / 2; k += 36) delta /= 35;
  return k + static_cast<unsigned>(36 * delta / (delta + 38));
}

// RFC 3492 section 6.3. `label` is at most kCodePointsMax long, so that no sum here overflows.
void put_punycode(std::span<const char32_t> label, Writer& out) {
  const auto digit = [](std::size_t d) { return static_cast<char>(d < 26 ? 'a' + d : '0' + (d - 26)); };
  std::size_t handled = 0;
  for (const char32_t c : label) {
    if (c >= 0x80) continue;
    out.put(static_cast<char>(c));
    ++handled;
  }
  const std::size_t basic = handled;
  if (basic > 0) out.put('-');
  char32_t n = 0x80;
  std::size_t delta = 0;
  unsigned bias = 72;
  while (handled < label.size()) {
    char32_t next = 0x10ffff;
    for (const char32_t c : label) {
      if (c >= n) next = std::min(next, c);
    }
    delta += (next - n) * (handled + 1);
    n = next;
    for (const char32_t c : label) {
      if (c < n) ++delta;
      if (c != n) continue;
      std::size_t q = delta;
      for (unsigned k = 36;; k += 36) {
        const unsigned threshold = k <= bias ? 1 : std::min(k - bias, 26u);
        if (q < threshold) break;
        out.put(digit(threshold + (q - threshold) % (36 - threshold)));
        q = (q - threshold) / (36 - threshold);
      }
      out.put(digit(q));
      bias = adapt_bias(delta, handled + 1, handled == basic);
      delta = 0;
      ++handled;
    }
    ++delta;
    ++n;
  }
}

// Reads one label up to its dot (or the end), folds it, and writes it with its ACE prefix where it needs one.
// False: it is no label. `more`: a dot followed.
bool put_unicode_label(std::string_view& text, Writer& out, bool& more) {
  std::array<char32_t, kCodePointsMax> label{};
  std::size_t used = 0;
  bool ascii = true;
  more = false;
  while (!text.empty()) {
    const char32_t raw = take_code_point(text);
    if (raw == '.' || raw == 0x3002 || raw == 0xff0e ||
        raw == 0xff61) {  // RFC 5895 section 2: the ideographic dots
      more = true;
      break;
    }
    const char32_t c = raw == 0xffffffff ? raw : lower_case(raw);
    if (raw == 0xffffffff || !may_stand_in_label(c) || used == label.size()) return false;
    ascii = ascii && c < 0x80;
    label[used++] = c;
  }
  const std::size_t start = out.size;
  if (!ascii) {
    used = compose(label, used);
    if (used == 0 || is_mark(label[0])) return false;                   // RFC 5891 section 4.2.3.2
    if (label[0] == '-' || label[used - 1] == '-') return false;        // section 4.2.3.1
    if (used >= 4 && label[2] == '-' && label[3] == '-') return false;  // likewise
    out.put("xn--");
    put_punycode({label.data(), used}, out);
  } else {
    for (std::size_t i = 0; i < used; ++i) out.put(static_cast<char>(label[i]));
  }
  return !out.full && is_label({out.room.data() + start, out.size - start});
}

bool put_unicode_domain(std::string_view text, Writer& out) {
  if (text.size() > 4 * DomainName::kMaxBytes) return false;
  for (bool more = true; more;) {
    if (!put_unicode_label(text, out, more)) return false;
    if (more && text.empty()) return true;  // the trailing dot
    if (more) out.put('.');
  }
  return !out.full;
}

// "[192.0.2.1]" and "[IPv6:...]", so that one address has one form: IPv6 in full groups without "::".
bool put_literal(std::string_view text, Writer& out) {
  if (text.size() < 3 || text.back() != ']') return false;
  std::string_view inside = text.substr(1, text.size() - 2);
  constexpr std::string_view kTag = "ipv6:";
  const bool tagged =
      inside.size() > kTag.size() && std::equal(kTag.begin(), kTag.end(), inside.begin(), [](char a, char b) {
        return a == static_cast<char>(lower_case(static_cast<unsigned char>(b)));
      });
  if (tagged) inside.remove_prefix(kTag.size());
  const std::optional<core::IpAddress> address = core::IpAddress::parse(inside);
  if (!address || tagged != (inside.find(':') != std::string_view::npos)) return false;
  out.put('[');
  if (address->is_v4()) {
    for (std::size_t i = 12; i < 16; ++i) {
      if (i > 12) out.put('.');
      out.put_number(address->bytes[i], 10);
    }
  } else {
    out.put(kTag);
    for (std::size_t i = 0; i < 16; i += 2) {
      if (i > 0) out.put(':');
      out.put_number(static_cast<unsigned>(address->bytes[i] << 8 | address->bytes[i + 1]), 16);
    }
  }
  out.put(']');
  return true;
}

}  // namespace

DomainName::DomainName(std::string_view text) noexcept {
  if (text.empty()) return;
  Writer out{bytes_};
  if (text.front() == '[') {
    if (put_literal(text, out)) size_ = static_cast<std::uint8_t>(out.size);
    return;
  }
  std::size_t label_start = 0;
  const std::size_t end = text.back() == '.' ? text.size() - 1 : text.size();  // the root's dot says nothing
  for (std::size_t i = 0; i < end; ++i) {
    const auto octet = static_cast<unsigned char>(text[i]);
    if (octet >= 0x80) {
      out = Writer{bytes_};
      if (put_unicode_domain(text, out)) size_ = static_cast<std::uint8_t>(out.size);
      return;
    }
    if (i >= kMaxBytes) return;
    if (octet == '.') {
      if (!is_label({bytes_.data() + label_start, i - label_start})) return;
      label_start = i + 1;
      bytes_[i] = '.';
    } else if ((bytes_[i] = kLabelTable[octet]) == 0) {
      // It may still be followed by octets that make it a U-label's domain, which would be refused for this
      // one too.
      return;
    }
  }
  if (end == 0 || !is_label({bytes_.data() + label_start, end - label_start})) return;
  size_ = static_cast<std::uint8_t>(end);
}

}  // namespace postern::policy
