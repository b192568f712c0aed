// SipHash-2-4 (J.-P. Aumasson, D. J. Bernstein: "SipHash: a fast short-input PRF", INDOCRYPT 2012): a keyed hash for
// tables that hold what strangers choose. Who does not know the key cannot aim two names or addresses at one place.
//
// Pure: any thread, no allocation. The key is a secret: never logged, drawn from the system's random numbers by whoever
// owns the table. Not for passwords.
#pragma once

#include <array>
#include <cstdint>
#include <string_view>

namespace postern::policy {

using HashKey = std::array<std::uint8_t, 16>;

class KeyedHash {
 public:
  explicit KeyedHash(const HashKey& key) noexcept;

  // The 64-bit SipHash-2-4 of the octets, as the reference code reads them (words little-endian).
  [[nodiscard]] std::uint64_t operator()(std::string_view octets) const noexcept;
  // The same of the 16 octets that hold the two words, little-endian.
  [[nodiscard]] std::uint64_t operator()(std::uint64_t first, std::uint64_t second) const noexcept;
  // The same of a name with its ASCII letters taken as lower case: "Bob" and "bob" are one user to whoever counts.
  [[nodiscard]] std::uint64_t of_name(std::string_view name) const noexcept;

 private:
  std::uint64_t k0_;
  std::uint64_t k1_;
};

}  // namespace postern::policy
