// Password hashes: making one, and verifying a password against those of other systems.
//
// A stored hash is text: what crypt(3) writes ("$y$j9T$...", "$2b$12$...", "$6$...", "$5$...", "$1$..."), an encoded
// Argon2 ("$argon2id$v=19$m=65536,t=3,p=1$..."), or Dovecot's "{SCHEME}rest" and "{SCHEME.b64}rest", "{SCHEME.hex}rest"
// (schemes and their strength: docs/users.md). Digests are compared in constant time; copies of the password are wiped.
//
// Blocks for as long as the hash costs (make and a yescrypt verify: 60-90 ms and 16 MiB): never call it on a worker.
// Bounds: a hash that would take more than some seconds or more than 256 MiB is never executed, it is `unsupported`.
// Thread: any; no shared state.
#pragma once

#include <cstddef>
#include <expected>
#include <string>
#include <string_view>

#include "net/users/secret.h"

namespace postern::net::users {

// What crypt(3) takes; longer passwords match nothing and are not hashed.
inline constexpr std::size_t kPasswordBytesMax = 511;

enum class Match : unsigned char {
  yes,
  no,
  unsupported,  // the stored text is no hash we know, is damaged, or costs more than the bounds allow
};

// Never `yes` for an empty password or one with a NUL.
[[nodiscard]] Match verify(std::string_view stored, std::string_view password);

// Spends the time and memory of a verify and forgets the result: for user names that do not exist. An empty `stored`: a
// hash as make() makes it. (UserStore::decoy_hash chooses one that is typical of the store.)
void burn(std::string_view stored, std::string_view password);

// yescrypt, N = 4096, r = 32 ("$y$j9T$", libxcrypt's default): 16 MiB.
[[nodiscard]] std::expected<Secret, std::string> make(std::string_view password);

// Whether a hash made by make() would protect the password better than this one: any fast digest, plaintext, or a slow
// hash below today's floor (bcrypt 10, SHA-crypt 100,000 rounds, PBKDF2 200,000, Argon2 19 MiB, yescrypt below
// make()'s).
[[nodiscard]] bool needs_rehash(std::string_view stored);

// What a stored text is, without a password: for imports and `postern user show`.
struct HashDescription {
  std::string scheme;      // "yescrypt", "bcrypt", "SSHA512", ...
  std::string cost;        // "N=4096 r=32", "rounds=5000"; empty: a fast digest
  bool plaintext = false;  // {PLAIN}: it is the password
};
// The error says what is wrong with it, and never repeats it.
[[nodiscard]] std::expected<HashDescription, std::string> describe(std::string_view stored);

// The password in a {PLAIN} text; an empty Secret for any other.
[[nodiscard]] Secret plaintext_of(std::string_view stored);

}  // namespace postern::net::users
