// See the header.
#include "net/sasl/gs2.h"

#include <algorithm>

namespace postern::net::sasl {
namespace {

bool is_binding_name(std::string_view text) {
  return !text.empty() && std::ranges::all_of(text, [](char c) {
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '.' || c == '-';
  });
}

}  // namespace

std::optional<Gs2Header> parse_gs2_header(std::string_view message) noexcept {
  const std::size_t first = message.find(',');
  const std::size_t second = first == std::string_view::npos ? first : message.find(',', first + 1);
  if (second == std::string_view::npos) return std::nullopt;
  const std::string_view flag = message.substr(0, first);
  const std::string_view authzid = message.substr(first + 1, second - first - 1);
  Gs2Header header;
  header.bytes = second + 1;
  if (flag == "y") {
    header.binding = ChannelBinding::not_seen;
  } else if (flag.starts_with("p=")) {
    header.binding = ChannelBinding::used;
    header.binding_name = flag.substr(2);
    if (!is_binding_name(header.binding_name)) return std::nullopt;
  } else if (flag != "n") {
    return std::nullopt;
  }
  if (authzid.empty()) return header;
  if (!authzid.starts_with("a=")) return std::nullopt;
  header.has_authzid = true;
  header.authzid = authzid.substr(2);
  return header;
}

std::optional<std::size_t> unescape_saslname(std::string_view text, std::span<char> out) noexcept {
  std::size_t used = 0;
  while (!text.empty()) {
    char c = text.front();
    std::size_t length = 1;
    if (c == '=') {
      length = 3;
      if (text.starts_with("=2C")) {
        c = ',';
      } else if (text.starts_with("=3D")) {
        c = '=';
      } else {
        return std::nullopt;
      }
    }
    if (c == '\0' || used == out.size()) return std::nullopt;
    out[used++] = c;
    text.remove_prefix(length);
  }
  return used == 0 ? std::nullopt : std::optional(used);
}

}  // namespace postern::net::sasl
