#include "policy/machine_key.h"

#include <cstddef>

#include "core/assert.h"

namespace postern::policy {

MachineKey machine_key(const core::IpAddress& address, unsigned ipv6_bits) noexcept {
  POSTERN_ASSERT(ipv6_bits >= 1 && ipv6_bits <= 64);
  if (address.is_v4()) return {address.v4(), true};
  constexpr std::uint64_t kTranslated = 0x0064ff9b00000000u;
  if (address.high() == kTranslated && address.low() >> 32 == 0) return {address.low(), true};
  return {address.high() & ~std::uint64_t{0} << (64 - ipv6_bits), false};
}

core::IpPrefix machine_prefix(const MachineKey& machine, unsigned ipv6_bits) noexcept {
  if (machine.v4) return {core::IpAddress::from_v4(static_cast<std::uint32_t>(machine.word)), 128};
  core::IpPrefix prefix;
  for (std::size_t octet = 0; octet < 8; ++octet) {
    prefix.address.bytes[octet] = static_cast<std::uint8_t>(machine.word >> (56 - 8 * octet));
  }
  prefix.bits = static_cast<std::uint8_t>(ipv6_bits);
  return prefix;
}

}  // namespace postern::policy
