#include "net/mailbox/text.h"

#include <algorithm>
#include <array>

namespace postern::net::mailbox {

namespace {

bool is_base64_octet(char octet) {
  return (octet >= 'A' && octet <= 'Z') || (octet >= 'a' && octet <= 'z') || (octet >= '0' && octet <= '9') ||
         octet == '+' || octet == '/';
}

}  // namespace

std::string_view take_word(std::string_view& text) noexcept {
  const std::size_t blank = text.find(' ');
  const std::string_view word = text.substr(0, blank);
  text.remove_prefix(blank == std::string_view::npos ? text.size() : blank + 1);
  return word;
}

bool has_control_octet(std::string_view text) noexcept {
  return std::any_of(text.begin(), text.end(),
                     [](char octet) { return static_cast<unsigned char>(octet) < 0x20 || octet == 0x7f; });
}

bool is_base64(std::string_view text) noexcept {
  if (text.size() % 4 != 0) return false;
  for (int padding = 0; padding < 2 && !text.empty() && text.back() == '='; ++padding) text.remove_suffix(1);
  return std::all_of(text.begin(), text.end(), is_base64_octet);
}

bool is_http_request(std::string_view line) noexcept {
  // RFC 9110 section 9, RFC 5789, and the preface of HTTP/2 (RFC 9113 section 3.4).
  static constexpr std::array<std::string_view, 10> kMethods = {"GET",     "HEAD",    "POST",  "PUT",   "DELETE",
                                                                "CONNECT", "OPTIONS", "TRACE", "PATCH", "PRI"};
  const std::string_view word = take_word(line);
  return line.find(" HTTP/") != std::string_view::npos &&
         std::any_of(kMethods.begin(), kMethods.end(), [word](std::string_view method) { return word == method; });
}

}  // namespace postern::net::mailbox
