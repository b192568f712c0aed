// An issuer of tokens for tests: keys of every kind, made once a program, and what it signs with them.
#pragma once

#include <string>
#include <string_view>

#include "net/sasl/jwt.h"

namespace postern::net::sasl::test {

inline constexpr std::string_view kIssuer = "https://login.example.net/";
inline constexpr std::string_view kAudience = "mail.example.net";
inline constexpr std::string_view kSecret = "a shared secret of 32 octets, ok";

JwtSettings settings();

// One JWK with the public half; `more`: further members, each with a comma before it.
std::string rsa_jwk(std::string_view more = "");
std::string p256_jwk(std::string_view more = "");
std::string ed25519_jwk(std::string_view more = "");
std::string secret_jwk(std::string_view more = R"(,"alg":"HS256")");
std::string jwks(std::initializer_list<std::string> keys);
std::string all_jwks();  // one of each

enum class KeyKind { rsa, p256, ed25519, p384, rsa_1024 };
std::string public_pem(KeyKind kind);
std::string private_pem(KeyKind kind);

// The signature over `text` by the algorithm of that name: RS256, PS256, ES256, EdDSA, HS256.
std::string sign(std::string_view algorithm, std::string_view text);

// A whole token. `header`: JSON; claims: JSON.
std::string token(std::string_view algorithm, std::string_view header, std::string_view claims);
std::string token(std::string_view algorithm, std::string_view claims);

// Claims that are in order at kNow; `more`: further members, each with a comma before it.
std::string claims(std::string_view more = R"(,"email":"user@example.com")");

}  // namespace postern::net::sasl::test
