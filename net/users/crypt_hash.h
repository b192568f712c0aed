// crypt(3) texts, computed by libxcrypt, and encoded Argon2: what they cost, read from the text before anything is
// computed.
//
// Taken: yescrypt $y$, gost-yescrypt $gy$, scrypt $7$, bcrypt $2a$ $2b$ $2y$, SHA-crypt $5$ $6$, MD5-crypt $1$;
// $argon2id$ and $argon2i$ version 19. Not taken: DES (it looks at 8 characters), bcrypt $2x$ (known to be wrong), NT
// hashes. Blocks for as long as the hash costs. Thread: any.
#pragma once

#include <cstdint>
#include <expected>
#include <string>
#include <string_view>

#include "net/users/password_hash.h"

namespace postern::net::users {

// What is executed at most: a hash of 256 MiB, and some seconds of one core (measured at 26 ms for yescrypt's default).
inline constexpr std::uint64_t kHashMemoryBytesMax = 256u << 20;
inline constexpr std::uint64_t kYescryptWorkMax = 1u << 22;  // N * r * p * (1 + t): 32 times the default
inline constexpr unsigned kBcryptCostMax = 15;
inline constexpr std::uint32_t kShaCryptRoundsMax = 1'000'000;
inline constexpr std::uint64_t kArgon2WorkKibMax = 4u << 20;  // memory in KiB times passes
inline constexpr std::uint32_t kPbkdf2RoundsMax = 4'000'000;

struct HashCost {
  std::string_view scheme;  // "yescrypt"; static storage
  std::string cost;         // "N=4096 r=32"
  bool is_strong = false;   // at today's floor or above (needs_rehash)
};

// Errors: not of a known kind, damaged, or over the bounds. They never repeat the text.
[[nodiscard]] std::expected<HashCost, std::string> crypt_cost(std::string_view text);
[[nodiscard]] std::expected<HashCost, std::string> argon2_cost(std::string_view text);

// Require that the text's cost was asked for, and is no error. `password`: at most kPasswordBytesMax octets, no NUL.
[[nodiscard]] Match verify_crypt(std::string_view text, std::string_view password);
[[nodiscard]] Match verify_argon2(std::string_view text, std::string_view password);

}  // namespace postern::net::users
