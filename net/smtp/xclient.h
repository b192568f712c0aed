// The argument of XCLIENT: what a trusted front tells about the client it speaks for.
//
// Source: Postfix's XCLIENT_README (attributes as xtext; [UNAVAILABLE] and [TEMPUNAVAIL]; addresses of IPv6
// with the prefix "IPV6:"). LOGIN is read and ignored: privileges come only from AUTH on this server.
// DESTADDR and DESTPORT are read and ignored. Pure. Thread: any.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <string_view>

#include "core/ip_address.h"

namespace postern::net::smtp {

// A decoded value; empty when it was not given, or is not available.
class XclientText {
 public:
  [[nodiscard]] std::string_view view() const { return {octets_.data(), size_}; }
  // False: not xtext, longer than 255 octets, or with an octet that is not printable ASCII.
  [[nodiscard]] bool decode(std::string_view xtext);

 private:
  std::array<char, 255> octets_{};
  std::uint8_t size_ = 0;
};

struct XclientFields {
  bool has_name = false;
  bool has_address = false;
  bool has_helo = false;
  bool has_protocol = false;
  bool has_port = false;
  XclientText name;
  XclientText helo;
  std::optional<core::IpAddress> address;  // nullopt with has_address: not available
  std::uint16_t port = 0;
  bool extended = false;  // PROTO=ESMTP
};

// False: not the syntax, an unknown attribute, or a bad value.
[[nodiscard]] bool parse_xclient(std::string_view argument, XclientFields& out);

}  // namespace postern::net::smtp
