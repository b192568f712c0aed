// The PROXY protocol's header, versions 1 and 2 (haproxy's proxy-protocol.txt, 2020): what a balancer says
// about the client, before the client's first octet.
//
// Pure. Thread: any. Bounded: 107 octets (v1), kProxyHeaderBytesMax (v2, with the TLVs, which are skipped).
#pragma once

#include <cstddef>
#include <cstdint>
#include <string_view>

#include "core/ip_address.h"

namespace postern::net::smtp {

inline constexpr std::size_t kProxyHeaderBytesMax = 4096;

enum class ProxyHeaderStatus : std::uint8_t { need_more, complete, malformed };

struct ProxyHeader {
  ProxyHeaderStatus status = ProxyHeaderStatus::malformed;
  std::size_t bytes = 0;  // complete: the header's octets; need_more: no fewer than these are needed to go on
  bool has_client = false;  // false: LOCAL, UNKNOWN, or a family without addresses of the Internet
  core::Endpoint client;
};

// Reads the header at the beginning of `input`. Cut anywhere, the same header comes out, or the same fault.
ProxyHeader parse_proxy_header(std::string_view input);

}  // namespace postern::net::smtp
