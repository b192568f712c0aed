// The keys that signatures are checked with. Internal to this folder; jwt.h is the way in.
#pragma once

#include <array>
#include <cstdint>
#include <openssl/base.h>
#include <openssl/ec_key.h>
#include <openssl/rsa.h>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "core/result.h"
#include "net/sasl/jwt.h"

namespace postern::net::sasl {

enum class JwtAlgorithm : std::uint8_t { rs256, ps256, es256, eddsa, hs256 };

[[nodiscard]] std::optional<JwtAlgorithm> parse_jwt_algorithm(std::string_view name) noexcept;

// One key, of one kind: what it holds decides what it can check.
struct JwtKeys::Key {
  std::string kid;                       // empty: answers to any
  std::optional<JwtAlgorithm> only_for;  // "alg" of the key
  bssl::UniquePtr<RSA> rsa;              // RS256, PS256
  bssl::UniquePtr<EC_KEY> ec;            // ES256: P-256
  std::optional<std::array<std::uint8_t, 32>> ed25519;
  std::vector<char> secret;  // HS256; wiped

  Key() = default;
  Key(Key&&) = default;
  Key& operator=(Key&&) = default;
  ~Key();

  [[nodiscard]] bool fits(JwtAlgorithm algorithm) const noexcept;
  [[nodiscard]] bool verify(JwtAlgorithm algorithm, std::string_view text, std::string_view signature) const noexcept;

  [[nodiscard]] static core::Result<std::vector<Key>> read_pem(std::string_view text);
  [[nodiscard]] static core::Result<std::vector<Key>> read_jwks(std::string_view text);
  // False: a kind or size that is not taken.
  [[nodiscard]] bool take(EVP_PKEY& parsed);
  // Moduli of 2048 to 8192 bits with an odd exponent over 1.
  [[nodiscard]] static bool is_sound(const RSA& rsa) noexcept;
};

}  // namespace postern::net::sasl
