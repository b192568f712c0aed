// Duty: escaping and folding for notifications. Thread: any.
#include "net/delivery/dsn_text.h"

#include <algorithm>
#include <cstdint>

namespace postern::net::delivery {

namespace {

constexpr std::size_t kColumns = 76;
constexpr std::size_t kWordMax = 900;  // RFC 5322 section 2.1.1: a line has at most 998 octets

constexpr char kHexDigits[] = "0123456789ABCDEF";

void append_escape(std::string& out, char octet) {
  const auto value = static_cast<unsigned char>(octet);
  out += "\\x";
  out += kHexDigits[value >> 4];
  out += kHexDigits[value & 15];
}

struct CodePoint {
  std::uint32_t value = 0;
  std::size_t octets = 0;  // 0: not well-formed UTF-8 (RFC 3629 section 4)
};

CodePoint read_code_point(std::string_view text) {
  const auto octet = [&](std::size_t at) { return static_cast<unsigned char>(text[at]); };
  const unsigned first = octet(0);
  if (first < 0x80) return {first, 1};
  const std::size_t octets = first >= 0xf0 ? 4 : first >= 0xe0 ? 3 : 2;
  if (first < 0xc2 || first > 0xf4 || text.size() < octets) return {};
  std::uint32_t value = first & (0x7fu >> octets);
  for (std::size_t i = 1; i < octets; ++i) {
    if ((octet(i) & 0xc0) != 0x80) return {};
    value = (value << 6) | (octet(i) & 0x3fu);
  }
  const bool too_long = (octets == 3 && value < 0x800) || (octets == 4 && value < 0x10000);
  const bool surrogate = value >= 0xd800 && value <= 0xdfff;
  if (too_long || surrogate || value > 0x10ffff) return {};
  return {value, octets};
}

bool is_printable_ascii(char octet) {
  return octet >= 0x20 && octet < 0x7f;
}

// C1 controls, line and paragraph separators, and the directional formatting characters.
bool misleads(std::uint32_t value) {
  return value < 0xa0 || value == 0x2028 || value == 0x2029 || value == 0x200e || value == 0x200f ||
         (value >= 0x202a && value <= 0x202e) || (value >= 0x2066 && value <= 0x2069);
}

int hex_value(char digit) {
  if (digit >= '0' && digit <= '9') return digit - '0';
  if (digit >= 'A' && digit <= 'F') return digit - 'A' + 10;
  if (digit >= 'a' && digit <= 'f') return digit - 'a' + 10;
  return -1;
}

void append_code_point(std::string& out, std::uint32_t value) {
  out += "\\x{";
  int shift = 20;
  while (shift > 4 && (value >> shift) == 0) shift -= 4;
  for (; shift >= 0; shift -= 4) out += kHexDigits[(value >> shift) & 15];
  out += '}';
}

// RFC 6533 section 3, utf-8-addr-xtext. An octet that is no UTF-8 stands as the replacement character.
std::string escape_utf8_address(std::string_view address) {
  std::string out;
  while (!address.empty()) {
    const CodePoint point = read_code_point(address);
    const char octet = address.front();
    if (point.octets == 0) {
      append_code_point(out, 0xfffd);
    } else if (point.octets > 1 || !is_printable_ascii(octet) || octet == ' ' || octet == '\\' ||
               octet == '+' || octet == '=') {
      append_code_point(out, point.value);
    } else {
      out += octet;
    }
    address.remove_prefix(std::max<std::size_t>(point.octets, 1));
  }
  return out;
}

// How much of `text` goes on a line of `room` columns: up to a blank if there is one, else up to the next
// blank, else as much as a line may hold, without cutting a character.
std::size_t line_length(std::string_view text, std::size_t room) {
  if (text.size() <= room) return text.size();
  std::size_t length = text.rfind(' ', room);
  if (length == std::string_view::npos || length == 0) length = std::min(text.find(' ', 1), text.size());
  if (length <= kWordMax) return length;
  length = kWordMax;
  while (length > 1 && (static_cast<unsigned char>(text[length]) & 0xc0) == 0x80) --length;
  return length;
}

}  // namespace

std::string escape_ascii(std::string_view text) {
  std::string out;
  for (const char octet : text) {
    if (is_printable_ascii(octet)) {
      out += octet;
    } else {
      append_escape(out, octet);
    }
  }
  return out;
}

std::string escape_readable(std::string_view text) {
  std::string out;
  while (!text.empty()) {
    const CodePoint point = read_code_point(text);
    const std::size_t octets = std::max<std::size_t>(point.octets, 1);
    const bool stays =
        point.octets == 1 ? is_printable_ascii(text.front()) : point.octets > 1 && !misleads(point.value);
    if (stays) {
      out += text.substr(0, octets);
    } else {
      for (const char octet : text.substr(0, octets)) append_escape(out, octet);
    }
    text.remove_prefix(octets);
  }
  return out;
}

bool is_ascii(std::string_view text) {
  return std::none_of(text.begin(), text.end(),
                      [](char octet) { return static_cast<unsigned char>(octet) >= 0x80; });
}

std::string decode_xtext(std::string_view text) {
  std::string out;
  for (std::size_t i = 0; i < text.size(); ++i) {
    if (text[i] == '+' && i + 2 < text.size() && hex_value(text[i + 1]) >= 0 && hex_value(text[i + 2]) >= 0) {
      out += static_cast<char>(hex_value(text[i + 1]) * 16 + hex_value(text[i + 2]));
      i += 2;
    } else {
      out += text[i];
    }
  }
  return out;
}

std::string typed_address(std::string_view address) {
  return is_ascii(address) ? "rfc822; " + escape_ascii(address) : "utf-8; " + escape_utf8_address(address);
}

std::string typed_original(std::string_view orcpt) {
  const std::size_t end = orcpt.find(';');
  if (end == std::string_view::npos || end == 0 || end + 1 == orcpt.size()) return {};
  const std::string_view type = orcpt.substr(0, end);
  const bool is_atom = std::all_of(type.begin(), type.end(), [](char octet) {
    return (octet >= '0' && octet <= '9') || (octet >= 'a' && octet <= 'z') ||
           (octet >= 'A' && octet <= 'Z') || octet == '-';
  });
  if (!is_atom) return {};
  const std::string address = decode_xtext(orcpt.substr(end + 1));
  if (!is_ascii(address)) return typed_address(address);
  return std::string(type) + "; " + escape_ascii(address);
}

void append_field(std::string& out, std::string_view name, std::string_view value) {
  out += name;
  out += ": ";
  std::size_t room = kColumns - std::min(kColumns / 2, name.size() + 2);
  for (;;) {
    const std::size_t length = line_length(value, room);
    out += value.substr(0, length);
    out += "\r\n";
    value.remove_prefix(length);
    while (!value.empty() && value.front() == ' ') value.remove_prefix(1);  // the fold stands for it
    if (value.empty()) return;
    out += ' ';
    room = kColumns - 1;
  }
}

void append_wrapped(std::string& out, std::string_view indent, std::string_view text) {
  do {
    const std::size_t length = line_length(text, kColumns - indent.size());
    out += indent;
    out += text.substr(0, length);
    out += "\r\n";
    text.remove_prefix(length);
    while (!text.empty() && text.front() == ' ') text.remove_prefix(1);
  } while (!text.empty());
}

}  // namespace postern::net::delivery
