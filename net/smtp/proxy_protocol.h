// The PROXY protocol's header, versions 1 and 2 (haproxy's proxy-protocol.txt, 2020): what a balancer says
// about the client, before the client's first octet. We read it from balancers, and write it to mail stores.
//
// Pure. Thread: any. Bounded: 107 octets (v1), kProxyHeaderBytesMax (v2, with the TLVs, which are skipped).
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
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

// What the client's side of the connection is encrypted with; empty protocol: it is not.
struct ProxyTls {
  std::string_view protocol;  // "TLSv1.3"
  std::string_view cipher;    // at most kProxyCipherMax octets of it are told
};
inline constexpr std::size_t kProxyCipherMax = 64;
inline constexpr std::size_t kProxyHeaderWrittenMax = 160;

// Writes a version 2 header, command PROXY, over TCP; IPv4 if both are, else IPv6. With TLS also PP2_TYPE_SSL: encrypted, and
// no client certificate was shown. The view is into `out`.
std::string_view write_proxy_header(const core::Endpoint& client, const core::Endpoint& server, const ProxyTls& tls,
                                    std::span<char, kProxyHeaderWrittenMax> out);

}  // namespace postern::net::smtp
