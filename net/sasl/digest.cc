// A failure inside BoringSSL here means that there was no memory for a digest's state.
#include "net/sasl/digest.h"

#include <openssl/digest.h>
#include <openssl/evp.h>
#include <openssl/hmac.h>
#include <openssl/mem.h>
#include <openssl/sha.h>

#include "core/assert.h"

namespace postern::net::sasl {
namespace {

const EVP_MD* method_of(ScramHash hash) {
  return hash == ScramHash::sha_1 ? EVP_sha1() : EVP_sha256();
}
const std::uint8_t* in(std::string_view text) {
  return reinterpret_cast<const std::uint8_t*>(text.data());
}
std::uint8_t* out(Digest& result) {
  return reinterpret_cast<std::uint8_t*>(result.octets.data());
}

}  // namespace

Digest::~Digest() {
  OPENSSL_cleanse(octets.data(), octets.size());
}

Digest hmac(ScramHash hash, std::string_view key, std::string_view text) noexcept {
  Digest result(hash);
  unsigned size = 0;
  const void* made = HMAC(method_of(hash), key.data(), key.size(), in(text), text.size(), out(result), &size);
  POSTERN_ASSERT(made != nullptr && size == hash_bytes(hash));
  return result;
}

Digest digest(ScramHash hash, std::string_view text) noexcept {
  Digest result(hash);
  if (hash == ScramHash::sha_1) {
    SHA1(in(text), text.size(), out(result));
  } else {
    SHA256(in(text), text.size(), out(result));
  }
  return result;
}

Digest salted_password(ScramHash hash, std::string_view password, std::string_view salt,
                       std::uint32_t iterations) noexcept {
  Digest result(hash);
  const int made = PKCS5_PBKDF2_HMAC(password.data(), password.size(), in(salt), salt.size(), iterations,
                                     method_of(hash), hash_bytes(hash), out(result));
  POSTERN_ASSERT(made == 1);
  return result;
}

bool is_same_secret(std::string_view a, std::string_view b) noexcept {
  return a.size() == b.size() && CRYPTO_memcmp(a.data(), b.data(), a.size()) == 0;
}

}  // namespace postern::net::sasl
