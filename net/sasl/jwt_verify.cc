// Signatures (RFC 7518 section 3, RFC 8037), by BoringSSL.
#include <openssl/bn.h>
#include <openssl/curve25519.h>
#include <openssl/digest.h>
#include <openssl/ecdsa.h>
#include <openssl/err.h>
#include <openssl/mem.h>
#include <openssl/nid.h>
#include <openssl/sha.h>

#include "net/sasl/digest.h"
#include "net/sasl/jwt_keys.h"

namespace postern::net::sasl {
namespace {

constexpr std::size_t kP256Bytes = 32;
constexpr unsigned kRsaBitsMin = 2048;
constexpr unsigned kRsaBitsMax = 8192;

const std::uint8_t* in(std::string_view text) {
  return reinterpret_cast<const std::uint8_t*>(text.data());
}

// R and S, 32 octets each, one behind the other (RFC 7518 section 3.4).
bool verify_es256(const EC_KEY* key, const Digest& hash, std::string_view signature) {
  if (signature.size() != 2 * kP256Bytes) return false;
  bssl::UniquePtr<ECDSA_SIG> numbers(ECDSA_SIG_new());
  if (numbers == nullptr) return false;
  return BN_bin2bn(in(signature), kP256Bytes, numbers->r) != nullptr &&
         BN_bin2bn(in(signature) + kP256Bytes, kP256Bytes, numbers->s) != nullptr &&
         ECDSA_do_verify(in(hash.view()), SHA256_DIGEST_LENGTH, numbers.get(), key) == 1;
}

}  // namespace

std::optional<JwtAlgorithm> parse_jwt_algorithm(std::string_view name) noexcept {
  if (name == "RS256") return JwtAlgorithm::rs256;
  if (name == "PS256") return JwtAlgorithm::ps256;
  if (name == "ES256") return JwtAlgorithm::es256;
  if (name == "EdDSA") return JwtAlgorithm::eddsa;
  if (name == "HS256") return JwtAlgorithm::hs256;
  return std::nullopt;
}

JwtKeys::Key::~Key() {
  OPENSSL_cleanse(secret.data(), secret.size());
}

bool JwtKeys::Key::fits(JwtAlgorithm algorithm) const noexcept {
  if (only_for && *only_for != algorithm) return false;
  switch (algorithm) {
    case JwtAlgorithm::rs256:
    case JwtAlgorithm::ps256:
      return rsa != nullptr;
    case JwtAlgorithm::es256:
      return ec != nullptr;
    case JwtAlgorithm::eddsa:
      return ed25519.has_value();
    case JwtAlgorithm::hs256:
      return !secret.empty();
  }
  return false;
}

bool JwtKeys::Key::verify(JwtAlgorithm algorithm, std::string_view text, std::string_view signature) const noexcept {
  if (!fits(algorithm)) return false;
  const Digest hash = digest(ScramHash::sha_256, text);
  bool is_right = false;
  switch (algorithm) {
    case JwtAlgorithm::rs256:
      is_right = RSA_verify(NID_sha256, in(hash.view()), SHA256_DIGEST_LENGTH, in(signature), signature.size(),
                            rsa.get()) == 1;
      break;
    case JwtAlgorithm::ps256:  // a salt as long as the hash (RFC 7518 section 3.5)
      is_right = RSA_verify_pss_mgf1(rsa.get(), in(hash.view()), SHA256_DIGEST_LENGTH, EVP_sha256(), EVP_sha256(),
                                     SHA256_DIGEST_LENGTH, in(signature), signature.size()) == 1;
      break;
    case JwtAlgorithm::es256:
      is_right = verify_es256(ec.get(), hash, signature);
      break;
    case JwtAlgorithm::eddsa:
      is_right = signature.size() == ED25519_SIGNATURE_LEN &&
                 ED25519_verify(in(text), text.size(), in(signature), ed25519->data()) == 1;
      break;
    case JwtAlgorithm::hs256:
      is_right = is_same_secret(hmac(ScramHash::sha_256, {secret.data(), secret.size()}, text).view(), signature);
      break;
  }
  ERR_clear_error();  // this thread's next user of BoringSSL is a TLS connection that looks at the queue
  return is_right;
}

bool JwtKeys::Key::is_sound(const RSA& rsa) noexcept {
  const BIGNUM* n = nullptr;
  const BIGNUM* e = nullptr;
  RSA_get0_key(&rsa, &n, &e, nullptr);
  if (n == nullptr || e == nullptr) return false;
  return BN_num_bits(n) >= kRsaBitsMin && BN_num_bits(n) <= kRsaBitsMax && BN_is_odd(n) && BN_is_odd(e) &&
         !BN_is_one(e) && BN_num_bits(e) <= 33;
}

}  // namespace postern::net::sasl
