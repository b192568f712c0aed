// What counts as one machine where failures and mail are counted: an IPv4 address, or an IPv6 network that one customer
// has (/64 unless a wider one is asked for).
//
// An IPv4 address that a translator writes as 64:ff9b::a.b.c.d (RFC 6052) is that IPv4 address. Pure.
#pragma once

#include <cstdint>

#include "core/ip_address.h"

namespace postern::policy {

struct MachineKey {
  std::uint64_t word = 0;  // IPv4: the address; IPv6: the first 64 bits, host bits zero
  bool v4 = false;
  bool operator==(const MachineKey&) const = default;
};

// `ipv6_bits`: 1..64.
[[nodiscard]] MachineKey machine_key(const core::IpAddress& address, unsigned ipv6_bits = 64) noexcept;
// The same machine as a prefix: a full-length IPv4 one, or an IPv6 /ipv6_bits.
[[nodiscard]] core::IpPrefix machine_prefix(const MachineKey& machine, unsigned ipv6_bits = 64) noexcept;

}  // namespace postern::policy
