// What a stored password text is: Dovecot's "{SCHEME}rest", "{SCHEME.b64}rest" and "{SCHEME.hex}rest", or a bare
// crypt(3) or Argon2 text, taken apart and decoded. Nothing is computed.
#pragma once

#include <cstdint>
#include <expected>
#include <openssl/base.h>
#include <string>
#include <string_view>

#include "net/sasl/scram_keys.h"
#include "net/users/secret.h"

namespace postern::net::users {

enum class HashFamily : std::uint8_t { crypt, argon2, digest, pbkdf2, scram, cram_md5, plaintext };

struct HashText {
  HashFamily family = HashFamily::crypt;
  std::string_view scheme;         // "SSHA256"; static storage. Crypt and Argon2: their own text says more
  Secret value;                    // decoded: the crypt text; digest, then salt; the password
  const EVP_MD* digest = nullptr;  // family digest
  sasl::ScramHash scram_hash = sasl::ScramHash::sha_256;  // family scram
};

// Scheme names in any case. The error says what is wrong, and never repeats the text.
[[nodiscard]] std::expected<HashText, std::string> parse_hash_text(std::string_view stored);

// "$1$SALT$ROUNDS$HEX", Dovecot's PBKDF2 with HMAC-SHA-1.
struct Pbkdf2 {
  std::string_view salt;
  std::uint32_t rounds = 0;
  std::string_view hash_hex;  // 40 digits
};
[[nodiscard]] std::expected<Pbkdf2, std::string> parse_pbkdf2(std::string_view value);

// Hexadecimal digits of either case. False: others, or an odd number of them.
[[nodiscard]] bool decode_hex(std::string_view text, std::string& octets);

}  // namespace postern::net::users
