// The head of a client's first message in SCRAM and OAUTHBEARER (gs2-header, RFC 5801 section 4). Internal to this
// folder.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <string_view>

namespace postern::net::sasl {

enum class ChannelBinding : std::uint8_t {
  unsupported,  // "n": the client cannot
  not_seen,     // "y": it can, and thinks that the server cannot
  used,         // "p=" name
};

struct Gs2Header {
  ChannelBinding binding = ChannelBinding::unsupported;
  std::string_view binding_name;
  bool has_authzid = false;
  std::string_view authzid;  // saslname, escaped
  std::size_t bytes = 0;     // of the header, its second comma included
};

// Reads the header at the beginning of `message`.
[[nodiscard]] std::optional<Gs2Header> parse_gs2_header(std::string_view message) noexcept;

// saslname (RFC 5802 section 5.1): "=2C" is a comma, "=3D" an equals sign, and nothing else may follow "=". Not empty,
// no NUL. Returns the octets written to `out`; nothing: another escape, or no room. UTF-8 is left to prepare().
[[nodiscard]] std::optional<std::size_t> unescape_saslname(std::string_view text, std::span<char> out) noexcept;

}  // namespace postern::net::sasl
