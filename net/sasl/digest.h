// SHA and HMAC of BoringSSL in the shape that SCRAM wants them. Internal to this folder.
#pragma once

#include <array>
#include <string_view>

#include "net/sasl/scram_keys.h"

namespace postern::net::sasl {

// The first hash_bytes(hash) octets are the value, the rest is 0. Wipes itself.
struct Digest {
  std::array<char, 32> octets{};
  ScramHash hash;

  explicit Digest(ScramHash which) : hash(which) {}
  Digest(const Digest&) = default;
  Digest& operator=(const Digest&) = default;
  ~Digest();
  [[nodiscard]] std::string_view view() const { return {octets.data(), hash_bytes(hash)}; }
};

[[nodiscard]] Digest hmac(ScramHash hash, std::string_view key, std::string_view text) noexcept;
[[nodiscard]] Digest digest(ScramHash hash, std::string_view text) noexcept;
// PBKDF2 with HMAC, one block: Hi() of RFC 5802 section 2.2.
[[nodiscard]] Digest salted_password(ScramHash hash, std::string_view password, std::string_view salt,
                                     std::uint32_t iterations) noexcept;
// In a time that depends on the sizes only.
[[nodiscard]] bool is_same_secret(std::string_view a, std::string_view b) noexcept;

}  // namespace postern::net::sasl
