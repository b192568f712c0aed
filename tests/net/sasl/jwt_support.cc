// See the header.
#include "tests/net/sasl/jwt_support.h"

#include <openssl/bio.h>
#include <openssl/bn.h>
#include <openssl/curve25519.h>
#include <openssl/ec.h>
#include <openssl/ec_key.h>
#include <openssl/ecdsa.h>
#include <openssl/evp.h>
#include <openssl/nid.h>
#include <openssl/pem.h>
#include <openssl/rsa.h>
#include <openssl/sha.h>

#include "core/assert.h"

#include "tests/net/sasl/sasl_support.h"

namespace postern::net::sasl::test {
namespace {

const std::uint8_t* in(std::string_view text) {
  return reinterpret_cast<const std::uint8_t*>(text.data());
}
std::uint8_t* out(std::string& text) {
  return reinterpret_cast<std::uint8_t*>(text.data());
}

bssl::UniquePtr<RSA> make_rsa(int bits) {
  bssl::UniquePtr<RSA> key(RSA_new());
  bssl::UniquePtr<BIGNUM> exponent(BN_new());
  BN_set_word(exponent.get(), RSA_F4);
  POSTERN_ASSERT(RSA_generate_key_ex(key.get(), bits, exponent.get(), nullptr) == 1);
  return key;
}

bssl::UniquePtr<EC_KEY> make_ec(int curve) {
  bssl::UniquePtr<EC_KEY> key(EC_KEY_new_by_curve_name(curve));
  POSTERN_ASSERT(EC_KEY_generate_key(key.get()) == 1);
  return key;
}

RSA* rsa() {
  static const bssl::UniquePtr<RSA> key = make_rsa(2048);
  return key.get();
}

EC_KEY* p256() {
  static const bssl::UniquePtr<EC_KEY> key = make_ec(NID_X9_62_prime256v1);
  return key.get();
}

struct Ed25519 {
  std::uint8_t public_key[32];
  std::uint8_t private_key[64];
};
constexpr std::string_view kSeed = "thirty-two octets to begin with!";

const Ed25519& ed25519() {
  static const Ed25519 key = [] {
    Ed25519 made;
    ED25519_keypair_from_seed(made.public_key, made.private_key, in(kSeed));
    return made;
  }();
  return key;
}

std::string padded(const BIGNUM* number, std::size_t size) {
  std::string octets(size, '\0');
  POSTERN_ASSERT(BN_bn2bin_padded(out(octets), size, number) == 1);
  return octets;
}

bssl::UniquePtr<EVP_PKEY> pkey(KeyKind kind) {
  bssl::UniquePtr<EVP_PKEY> key(EVP_PKEY_new());
  switch (kind) {
    case KeyKind::rsa:
      EVP_PKEY_set1_RSA(key.get(), rsa());
      break;
    case KeyKind::rsa_1024:
      EVP_PKEY_set1_RSA(key.get(), make_rsa(1024).get());
      break;
    case KeyKind::p256:
      EVP_PKEY_set1_EC_KEY(key.get(), p256());
      break;
    case KeyKind::p384:
      EVP_PKEY_set1_EC_KEY(key.get(), make_ec(NID_secp384r1).get());
      break;
    case KeyKind::ed25519:
      key.reset(EVP_PKEY_new_raw_private_key(EVP_PKEY_ED25519, nullptr, in(kSeed), 32));
      break;
  }
  return key;
}

std::string written(const bssl::UniquePtr<BIO>& bio) {
  const std::uint8_t* octets = nullptr;
  std::size_t size = 0;
  POSTERN_ASSERT(BIO_mem_contents(bio.get(), &octets, &size) == 1);
  return {reinterpret_cast<const char*>(octets), size};
}

}  // namespace

JwtSettings settings() {
  return {.issuer = std::string(kIssuer), .audience = std::string(kAudience)};
}

std::string rsa_jwk(std::string_view more) {
  const BIGNUM* n = nullptr;
  const BIGNUM* e = nullptr;
  RSA_get0_key(rsa(), &n, &e, nullptr);
  return R"({"kty":"RSA","n":")" + encode_url(padded(n, 256)) + R"(","e":")" + encode_url(padded(e, 3)) + '"' +
         std::string(more) + "}";
}

std::string p256_jwk(std::string_view more) {
  bssl::UniquePtr<BIGNUM> x(BN_new());
  bssl::UniquePtr<BIGNUM> y(BN_new());
  EC_POINT_get_affine_coordinates_GFp(EC_KEY_get0_group(p256()), EC_KEY_get0_public_key(p256()), x.get(), y.get(),
                                      nullptr);
  return R"({"kty":"EC","crv":"P-256","x":")" + encode_url(padded(x.get(), 32)) + R"(","y":")" +
         encode_url(padded(y.get(), 32)) + '"' + std::string(more) + "}";
}

std::string ed25519_jwk(std::string_view more) {
  const std::string_view key(reinterpret_cast<const char*>(ed25519().public_key), 32);
  return R"({"kty":"OKP","crv":"Ed25519","x":")" + encode_url(key) + '"' + std::string(more) + "}";
}

std::string secret_jwk(std::string_view more) {
  return R"({"kty":"oct","k":")" + encode_url(kSecret) + '"' + std::string(more) + "}";
}

std::string jwks(std::initializer_list<std::string> keys) {
  std::string text = R"({"keys":[)";
  for (const std::string& key : keys) text += (text.ends_with('[') ? "" : ",") + key;
  return text + "]}";
}

std::string all_jwks() {
  return jwks({rsa_jwk(), p256_jwk(), ed25519_jwk(), secret_jwk()});
}

std::string public_pem(KeyKind kind) {
  bssl::UniquePtr<BIO> bio(BIO_new(BIO_s_mem()));
  POSTERN_ASSERT(PEM_write_bio_PUBKEY(bio.get(), pkey(kind).get()) == 1);
  return written(bio);
}

std::string private_pem(KeyKind kind) {
  bssl::UniquePtr<BIO> bio(BIO_new(BIO_s_mem()));
  POSTERN_ASSERT(PEM_write_bio_PKCS8PrivateKey(bio.get(), pkey(kind).get(), nullptr, nullptr, 0, nullptr, nullptr) ==
                 1);
  return written(bio);
}

std::string sign(std::string_view algorithm, std::string_view text) {
  const std::string hash = hash_text(ScramHash::sha_256, text);
  std::string signature(256, '\0');
  std::size_t size = 0;
  if (algorithm == "RS256") {
    unsigned length = 0;
    POSTERN_ASSERT(RSA_sign(NID_sha256, in(hash), 32, out(signature), &length, rsa()) == 1);
    size = length;
  } else if (algorithm == "PS256") {
    POSTERN_ASSERT(RSA_sign_pss_mgf1(rsa(), &size, out(signature), signature.size(), in(hash), 32, EVP_sha256(),
                                     EVP_sha256(), 32) == 1);
  } else if (algorithm == "ES256") {
    const bssl::UniquePtr<ECDSA_SIG> numbers(ECDSA_do_sign(in(hash), 32, p256()));
    return padded(numbers->r, 32) + padded(numbers->s, 32);
  } else if (algorithm == "EdDSA") {
    POSTERN_ASSERT(ED25519_sign(out(signature), in(text), text.size(), ed25519().private_key) == 1);
    size = 64;
  } else {
    return hmac_text(ScramHash::sha_256, kSecret, text);
  }
  signature.resize(size);
  return signature;
}

std::string token(std::string_view algorithm, std::string_view header, std::string_view claims_text) {
  const std::string text = encode_url(header) + "." + encode_url(claims_text);
  return text + "." + encode_url(sign(algorithm, text));
}

std::string token(std::string_view algorithm, std::string_view claims_text) {
  return token(algorithm, R"({"typ":"JWT","alg":")" + std::string(algorithm) + "\"}", claims_text);
}

std::string claims(std::string_view more) {
  return R"({"iss":")" + std::string(kIssuer) + R"(","aud":")" + std::string(kAudience) + R"(","exp":)" +
         std::to_string(kNow + 300) + std::string(more) + "}";
}

}  // namespace postern::net::sasl::test
