// Files with keys: what is taken, what is passed over, what is an error, and how that is said.
#include <gtest/gtest.h>
#include <string>

#include "net/sasl/jwt.h"

#include "tests/net/sasl/jwt_support.h"
#include "tests/net/sasl/sasl_support.h"

namespace postern::net::sasl::test {
namespace {

using namespace std::string_literals;

// "N keys", or what is wrong.
std::string load(const std::string& text, JwtSettings of = settings()) {
  const auto keys = JwtKeys::load(text, std::move(of));
  return keys ? std::to_string(keys->key_count()) + " keys" : keys.error().text;
}

void expect_error(const std::string& text, std::string_view part) {
  const std::string result = load(text);
  EXPECT_NE(result.find(part), std::string::npos) << result << "\nof\n" << text;
}

TEST(JwtKeyFile, SettingsMustBeThere) {
  for (const auto member : {&JwtSettings::issuer, &JwtSettings::audience, &JwtSettings::user_claim}) {
    JwtSettings of = settings();
    of.*member = "";
    EXPECT_NE(load(all_jwks(), of).find("any token would do"), std::string::npos);
  }
}

TEST(JwtKeyFile, KeysThatAreForOtherThingsArePassedOver) {
  EXPECT_EQ(load(all_jwks()), "4 keys");
  EXPECT_EQ(load("\n\t " + all_jwks() + "\n"), "4 keys");
  EXPECT_EQ(load(jwks({rsa_jwk(R"(,"use":"sig")"), rsa_jwk(R"(,"use":"enc")")})), "1 keys");
  EXPECT_EQ(load(jwks({rsa_jwk(R"(,"key_ops":["sign","verify"])"), rsa_jwk(R"(,"key_ops":["encrypt"])")})), "1 keys");
  EXPECT_EQ(load(jwks({rsa_jwk(R"(,"alg":"RSA-OAEP")"), rsa_jwk(R"(,"alg":"RS512")"), rsa_jwk(R"(,"alg":"PS256")")})),
            "1 keys");
  EXPECT_EQ(load(jwks({R"({"kty":"EC","crv":"P-384","x":"AA","y":"AA"})", R"({"kty":"OKP","crv":"X25519","x":"AA"})",
                       R"({"kty":"new"})", R"({})", rsa_jwk()})),
            "1 keys");
  EXPECT_EQ(load(jwks({rsa_jwk(R"(,"x5c":["a","b"],"kid":"k","other":{"kty":"oct","k":[]})")})), "1 keys");
  EXPECT_EQ(load(R"({"extra":[{"kty":"RSA"}],"keys":[)" + p256_jwk() + "]}"), "1 keys");
}

TEST(JwtKeyFile, NoKeyIsAnError) {
  expect_error("", "none here");
  expect_error("some text", "none here");
  expect_error(jwks({}), "none here");
  expect_error(jwks({rsa_jwk(R"(,"use":"enc")")}), "none here");
  expect_error("{}", "no JWKS document");
  expect_error(R"({"keys":{}})", "no JWKS document");
  expect_error(R"({"keys":["x"]})", "no JWKS document");
  expect_error(R"({"keys":[)" + rsa_jwk() + R"(],"keys":[]})", "no JWKS document");
  expect_error(jwks({rsa_jwk()}) + "x", "no JWKS document");
  expect_error(rsa_jwk(), "no JWKS document");
  expect_error(jwks({rsa_jwk(R"(,"n":"AQAB")")}), "no JWKS document");  // twice
  expect_error(jwks({R"({"kty":1})"}), "no JWKS document");
  expect_error("{" + std::string(300 * 1024, ' ') + "}", "too large");
  expect_error(std::string(300 * 1024, ' '), "too large");
}

TEST(JwtKeyFile, DamagedKeysAreNamed) {
  expect_error(jwks({R"({"kty":"RSA","kid":"k7","n":"!!","e":"AQAB"})"}), "key 'k7': 'n' or 'e'");
  expect_error(jwks({R"({"kty":"RSA","kid":"k7","n":"AQAB"})"}), "'n' or 'e'");
  expect_error(jwks({R"({"kty":"RSA","n":"AQAB","e":"AQAB"})"}), "2048");
  const std::string n2048 = encode_url("\xff" + std::string(254, 'n') + "\x01");
  const std::string n2040 = encode_url("\xff" + std::string(253, 'n') + "\x01");
  const std::string n8208 = encode_url("\xff" + std::string(1024, 'n') + "\x01");
  const std::string even = encode_url("\xff" + std::string(255, 'n'));
  const auto rsa = [](const std::string& n, const std::string& e) {
    return jwks({R"({"kty":"RSA","n":")" + n + R"(","e":")" + e + "\"}"});
  };
  EXPECT_EQ(load(rsa(n2048, "AQAB")), "1 keys");
  EXPECT_EQ(load(rsa(n2048, "Aw")), "1 keys");
  expect_error(rsa(n2040, "AQAB"), "2048");
  expect_error(rsa(n8208, "AQAB"), "'n' or 'e'");
  expect_error(rsa(even, "AQAB"), "odd");
  expect_error(rsa(n2048, "AQ"), "odd exponent");    // 1
  expect_error(rsa(n2048, "Ag"), "odd exponent");    // 2
  expect_error(rsa(n2048, "AAAA"), "odd exponent");  // 0
  expect_error(rsa(n2048, "____________"), "odd exponent");
  expect_error(jwks({R"({"kty":"EC","crv":"P-256","x":"AA","y":"AA"})"}), "32 octets");
  expect_error(jwks({R"({"kty":"EC","crv":"P-256"})"}), "32 octets");
  const std::string ones = encode_url(std::string(32, '\1'));
  expect_error(jwks({R"({"kty":"EC","crv":"P-256","x":")" + ones + R"(","y":")" + ones + "\"}"}), "not a point");
  expect_error(jwks({R"({"kty":"OKP","crv":"Ed25519","x":"AA"})"}), "32 octets");
  expect_error(jwks({rsa_jwk(R"(,"alg":"ES256")")}), "another kind");
  expect_error(jwks({p256_jwk(R"(,"alg":"HS256")")}), "another kind");
}

TEST(JwtKeyFile, SecretsOnlyWhereTheySaySo) {
  EXPECT_EQ(load(jwks({secret_jwk()})), "1 keys");
  expect_error(jwks({secret_jwk("")}), "HS256");
  EXPECT_EQ(load(jwks({secret_jwk(R"(,"alg":"HS512")"), rsa_jwk()})), "1 keys");
  expect_error(jwks({R"({"kty":"oct","alg":"HS256","k":")" + encode_url(std::string(31, 'k')) + "\"}"}), "32 octets");
  expect_error(jwks({R"({"kty":"oct","alg":"HS256"})"}), "32 octets");
}

TEST(JwtKeyFile, PrivateKeysAreNotForUs) {
  expect_error(jwks({rsa_jwk(R"(,"kid":"mine","d":"AQAB")")}), "key 'mine': it is private");
  expect_error(private_pem(KeyKind::p256), "\"PRIVATE KEY\"");
  expect_error(public_pem(KeyKind::rsa) + private_pem(KeyKind::rsa), "\"PRIVATE KEY\"");
}

TEST(JwtKeyFile, Pem) {
  EXPECT_EQ(load(public_pem(KeyKind::rsa) + "\n\n" + public_pem(KeyKind::p256) + public_pem(KeyKind::ed25519)),
            "3 keys");
  expect_error(public_pem(KeyKind::p384), "only RSA");
  expect_error(public_pem(KeyKind::rsa_1024), "only RSA");
  const std::string pem = public_pem(KeyKind::p256);
  expect_error(pem.substr(0, pem.size() / 2), "damaged PEM block");
  expect_error(pem + pem.substr(0, pem.size() / 2), "damaged PEM block");
  std::string broken = pem;
  broken[pem.find('\n') + 5] = '!';
  expect_error(broken, "damaged PEM block");
  expect_error("-----BEGIN PUBLIC KEY-----\nAAAA\n-----END PUBLIC KEY-----\n", "damaged public key");
  expect_error("-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n", "\"CERTIFICATE\"");
}

TEST(JwtKeyFile, NotTooManyKeys) {
  std::string keys;
  for (std::size_t i = 0; i < kJwtKeysMax; ++i) keys += (i == 0 ? "" : ",") + p256_jwk();
  EXPECT_EQ(load(R"({"keys":[)" + keys + "]}"), "16 keys");
  expect_error(R"({"keys":[)" + keys + "," + p256_jwk() + "]}", "more than 16");
}

}  // namespace
}  // namespace postern::net::sasl::test
