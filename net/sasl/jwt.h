// Bearer tokens: JSON Web Tokens (RFC 7519) in compact, signed form (RFC 7515), checked with keys that the operator
// configured.
//
// Taken: RS256, PS256 (RSA of 2048 to 8192 bits), ES256 (P-256), EdDSA (Ed25519), and HS256 with an `oct` key of 32
// octets or more that says "alg": "HS256" itself. A key knows what it is for, and a token's header only chooses among
// keys that fit: "none", HS256 over a public key, and keys that a token brings along (jwk, jku, x5c) get nowhere. A
// header with `crit` is refused (RFC 7515 section 4.1.11). Opaque and encrypted tokens are not taken.
// Claims: `iss` is the configured issuer, `aud` is or holds the audience, `exp` is there and not over, `nbf`, if there,
// is reached, each with the leeway; the user's name is the text of the one configured claim, with no other to fall back
// on: names from two claims would let one person be another. Where that claim is "email", an `email_verified` that is
// there must be true.
// JSON is read strictly (RFC 8259, bounded depth, no member twice that is looked at).
//
// JwtKeys never changes once made and may be asked by all threads at once. A check costs one signature verification, 30
// to 150 us. Tokens are never kept; the copy that a check makes on its stack is wiped.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "core/result.h"

namespace postern::net::sasl {

inline constexpr std::size_t kTokenBytesMax = 16 * 1024;
inline constexpr std::size_t kJwtKeysMax = 16;  // more of them in one file are an error

struct JwtSettings {
  std::string issuer;    // not empty
  std::string audience;  // not empty
  std::string user_claim = "email";
  std::int64_t leeway_seconds = 60;  // between our clock and the issuer's
};

enum class TokenFault : std::uint8_t {
  none,
  malformed,    // no signed token in compact form, bad JSON, or longer than kTokenBytesMax
  algorithm,    // an algorithm that no configured key is for; "none" among them
  unknown_key,  // `kid` names a key that is not configured
  signature,
  issuer,
  audience,
  expired,        // `exp` is over, or missing
  not_yet_valid,  // `nbf`
  user,           // the claim with the user's name is missing, or no name
  email_not_verified,
};

// For the log: "wrong issuer". Static storage.
[[nodiscard]] std::string_view text_of(TokenFault fault) noexcept;

struct TokenCheck {
  TokenFault fault = TokenFault::malformed;
  std::size_t user_bytes = 0;  // fault none: how much of `user` was written
};

class JwtKeys {
 public:
  // `text`: a JWKS document (RFC 7517), or one or more "-----BEGIN PUBLIC KEY-----" blocks. Keys of a JWKS that are not
  // for signatures, or of a kind not taken, are passed over (RFC 7517 section 5); none left is an error.
  [[nodiscard]] static core::Result<JwtKeys> load(std::string_view text, JwtSettings settings);

  JwtKeys(JwtKeys&&) noexcept;
  JwtKeys& operator=(JwtKeys&&) noexcept;
  JwtKeys(const JwtKeys&) = delete;
  JwtKeys& operator=(const JwtKeys&) = delete;
  ~JwtKeys();

  // The user's name goes to the beginning of `user`, as the token has it; kUserBytesMax (prepare.h) is room enough.
  [[nodiscard]] TokenCheck check(std::string_view token, std::int64_t unix_seconds,
                                 std::span<char> user) const noexcept;

  [[nodiscard]] std::size_t key_count() const noexcept;

 private:
  struct Key;  // jwt_keys.h
  friend struct JwksVisitor;
  JwtKeys(std::vector<Key> keys, JwtSettings settings);

  [[nodiscard]] TokenFault check_signature(std::string_view algorithm_name, std::optional<std::string_view> kid,
                                           std::string_view text, std::string_view signature) const noexcept;

  std::vector<Key> keys_;
  JwtSettings settings_;
};

}  // namespace postern::net::sasl
