// Tokens: the RFCs' examples, each algorithm, each way to be wrong.
#include "net/sasl/jwt.h"

#include <array>
#include <gtest/gtest.h>
#include <string>

#include "net/sasl/prepare.h"

#include "tests/net/sasl/jwt_support.h"
#include "tests/net/sasl/sasl_support.h"

namespace postern::net::sasl::test {
namespace {

using namespace std::string_literals;

JwtKeys load(std::string_view text, JwtSettings of = settings()) {
  auto keys = JwtKeys::load(text, std::move(of));
  if (!keys) {
    ADD_FAILURE() << keys.error().text;
    std::abort();
  }
  return std::move(*keys);
}

// "user NAME", or what is wrong.
std::string check(const JwtKeys& keys, std::string_view text, std::int64_t now = kNow) {
  std::array<char, kUserBytesMax> user;
  const TokenCheck result = keys.check(text, now, user);
  if (result.fault != TokenFault::none) return std::string(text_of(result.fault));
  return "user " + std::string(user.data(), result.user_bytes);
}

// RFC 7515 appendix A.1 to A.3. Its claims name no audience, which is looked at once the signature is right.
constexpr std::string_view kPayload7515 =
    "eyJpc3MiOiJqb2UiLA0KICJleHAiOjEzMDA4MTkzODAsDQogImh0dHA6Ly9leGFtcGxlLmNvbS9pc19yb290Ijp0cnVlfQ";

void expect_example(std::string_view jwk, const std::string& header, const std::string& signature) {
  const JwtKeys keys = load(jwks({std::string(jwk)}), {.issuer = "joe", .audience = "nobody"});
  const std::string text = header + "." + std::string(kPayload7515) + ".";
  EXPECT_EQ(check(keys, text + signature), "for another audience");
  std::string wrong = signature;
  wrong[10] = wrong[10] == 'A' ? 'B' : 'A';
  EXPECT_EQ(check(keys, text + wrong), "wrong signature");
  std::string changed = text + signature;
  changed[header.size() + 10] = changed[header.size() + 10] == 'A' ? 'B' : 'A';
  EXPECT_EQ(check(keys, changed), "wrong signature");
}

TEST(Jwt, ExampleHs256OfRfc7515) {
  expect_example(R"({"kty":"oct","alg":"HS256","k":"AyM1SysPpbyDfgZld3umj1qzKObwVMkoqQ-EstJQLr_T-1qS0gZH75aKtM)"
                 R"(N3Yj0iPS4hcgUuTwjAzZr1Z9CAow"})",
                 "eyJ0eXAiOiJKV1QiLA0KICJhbGciOiJIUzI1NiJ9", "dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk");
}

TEST(Jwt, ExampleRs256OfRfc7515) {
  expect_example(
      R"({"kty":"RSA","n":"ofgWCuLjybRlzo0tZWJjNiuSfb4p4fAkd_wWJcyQoTbji9k0l8W26mPddxHmfHQp-Vaw-4qP)"
      R"(CJrcS2mJPMEzP1Pt0Bm4d4QlL-yRT)"
      R"(-SFd2lZS-pCgNMsD1W_YpRPEwOWvG6b32690r2jZ47soMZo9wGzjb_7OMg0LOL-bSf63kpaSHSXndS5z5rexMdbBYU)"
      R"(sLA9e-KXBdQOS-UTo7WTBEMa2R2Ca)"
      R"(pHg665xsmtdVMTBQY4uDZlxvb3qCo5ZwKh9kG4LT6_I5IhlJH7aGhyxXFvUK-DWNmoudF8NAco9_h9iaGNj8q2ethF)"
      R"(kMLs91kzk2PAcDTW9gb54h4FRWyuX)"
      R"(poQ","e":"AQAB"})",
      "eyJhbGciOiJSUzI1NiJ9",
      "cC4hiUPoj9Eetdgtv3hF80EGrhuB__dzERat0XF9g2VtQgr9PJbu3XOiZj5RZmh7AAuHIm4Bh-0Qc_lF5YKt_"
      "O8W2Fp5jujGbds9uJdbF9CUAr7t1dnZcAcQjb"
      "KBYNX4BAynRFdiuB--f_nZLgrnbyTyWzO75vRK5h6xBArLIARNPvkSjtQBMHlb1L07Qe7K0GarZRmB_eSN9383LcOLn6_dO--xi12jzDwusC-"
      "eOkHWEsqtFZES"
      "c6BfI7noOPqvhJ1phCnvWh6IeYI2w9QOYEUipUTI8np6LbgGY9Fs98rqVt5AXLIhWkWywlVmtVrBp0igcN_IoypGlUPQGe77Rw");
}

TEST(Jwt, ExampleEs256OfRfc7515) {
  expect_example(R"({"kty":"EC","crv":"P-256","x":"f83OJ3D2xF1Bg8vub9tLe1gHMzV76e8Tus9uPHvRVEU","y":"x_FEzRu9m)"
                 R"(36HLN_tue659LNpXW6pCyStikYjKIWI5a0"})",
                 "eyJhbGciOiJFUzI1NiJ9",
                 "DtEhU3ljbEg8L38VWAfUAqOyKAM6-Xx-F4GawxaepmXFCgfTjDxw5djxLa8ISlSApmWQxfKTUJqPP3-Kg6NU1Q");
}

TEST(Jwt,
     ExampleEdDsaOfRfc8037) {  // appendix A.4; its payload is no JSON, which is looked at once the signature is right
  const JwtKeys keys =
      load(jwks({R"({"kty":"OKP","crv":"Ed25519","x":"11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo"})"}), settings());
  const std::string text =
      "eyJhbGciOiJFZERTQSJ9.RXhhbXBsZSBvZiBFZDI1NTE5IHNpZ25pbmc."
      "hgyY0il_MGCjP0JzlnLWG1PPOt7-09PGcvMg3AIbQR6dWbhijcNR4ki4iylGjg5BhVsPt9g7sVvpAr_MuM0KAg";
  EXPECT_EQ(check(keys, text), "no signed token");
  std::string wrong = text;
  wrong[wrong.size() - 20] = 'A';
  EXPECT_EQ(check(keys, wrong), "wrong signature");
}

TEST(Jwt, EachAlgorithm) {
  const JwtKeys keys = load(all_jwks());
  EXPECT_EQ(keys.key_count(), 4U);
  for (const std::string_view algorithm : {"RS256", "PS256", "ES256", "EdDSA", "HS256"}) {
    const std::string good = token(algorithm, claims());
    EXPECT_EQ(check(keys, good), "user user@example.com") << algorithm;
    std::string bad = good;
    bad[bad.size() - 20] = bad[bad.size() - 20] == 'A' ? 'B' : 'A';
    EXPECT_EQ(check(keys, bad), "wrong signature") << algorithm;
    for (const std::string_view other : {"RS256", "PS256", "ES256", "EdDSA", "HS256"}) {
      if (other == algorithm) continue;
      const std::string header = R"({"alg":")" + std::string(other) + "\"}";
      EXPECT_EQ(check(keys, token(algorithm, header, claims())), "wrong signature") << algorithm << " said " << other;
    }
  }
}

TEST(Jwt, PemKeys) {
  const std::pair<KeyKind, std::string_view> kinds[] = {
      {KeyKind::rsa, "RS256"}, {KeyKind::rsa, "PS256"}, {KeyKind::p256, "ES256"}, {KeyKind::ed25519, "EdDSA"}};
  for (const auto& [kind, algorithm] : kinds) {
    EXPECT_EQ(check(load(public_pem(kind)), token(algorithm, claims())), "user user@example.com") << algorithm;
  }
  const JwtKeys all = load("# a comment\n" + public_pem(KeyKind::rsa) + public_pem(KeyKind::p256));
  EXPECT_EQ(all.key_count(), 2U);
  EXPECT_EQ(check(all, token("ES256", claims())), "user user@example.com");
  // A key of a file has no id: it answers to any.
  EXPECT_EQ(check(all, token("ES256", R"({"alg":"ES256","kid":"2026"})", claims())), "user user@example.com");
}

// The oldest tricks (RFC 8725 section 2.1): no signature, and the public key taken for a secret.
TEST(Jwt, KeyConfusion) {
  for (const KeyKind kind : {KeyKind::rsa, KeyKind::p256, KeyKind::ed25519}) {
    const std::string pem = public_pem(kind);
    const JwtKeys keys = load(pem);
    const std::string text = encode_url(R"({"alg":"HS256"})") + "." + encode_url(claims());
    EXPECT_EQ(check(keys, text + "." + encode_url(hmac_text(ScramHash::sha_256, pem, text))),
              "algorithm without a key");
  }
  const JwtKeys keys = load(all_jwks());
  for (const std::string_view alg : {"none", "None", "NONE", "", "hs256", "RS256 ", "HS384", "RS1", "ES384"}) {
    const std::string text = encode_url(R"({"alg":")" + std::string(alg) + "\"}") + "." + encode_url(claims());
    EXPECT_EQ(check(keys, text + "."), "algorithm without a key") << alg;
    EXPECT_EQ(check(keys, text + "." + encode_url(sign("HS256", text))), "algorithm without a key") << alg;
  }
  const std::string signature_less = token("HS256", claims());
  EXPECT_EQ(check(keys, signature_less.substr(0, signature_less.rfind('.') + 1)), "wrong signature");
  // A key that the token brings along is not used.
  const std::string brought = R"({"alg":"ES256","jwk":)" + p256_jwk() + "}";
  EXPECT_EQ(check(load(jwks({rsa_jwk()})), token("ES256", brought, claims())), "algorithm without a key");
}

TEST(Jwt, KeysForOneAlgorithmOnly) {
  const JwtKeys keys = load(jwks({rsa_jwk(R"(,"alg":"RS256","kid":"1")")}));
  EXPECT_EQ(check(keys, token("RS256", claims())), "user user@example.com");
  EXPECT_EQ(check(keys, token("PS256", claims())), "algorithm without a key");
}

TEST(Jwt, KeyId) {
  const JwtKeys keys = load(jwks({rsa_jwk(R"(,"kid":"one")"), p256_jwk(R"(,"kid":"two")"), ed25519_jwk()}));
  EXPECT_EQ(check(keys, token("RS256", R"({"alg":"RS256","kid":"one"})", claims())), "user user@example.com");
  EXPECT_EQ(check(keys, token("RS256", R"({"alg":"RS256","kid":"two"})", claims())), "unknown key id");
  EXPECT_EQ(check(keys, token("RS256", R"({"alg":"RS256","kid":""})", claims())), "unknown key id");
  EXPECT_EQ(check(keys, token("RS256", R"({"alg":"RS256","kid":"ONE"})", claims())), "unknown key id");
  EXPECT_EQ(check(keys, token("RS256", R"({"alg":"RS256"})", claims())), "user user@example.com");
  EXPECT_EQ(check(keys, token("EdDSA", R"({"alg":"EdDSA","kid":"one"})", claims())), "user user@example.com");
}

TEST(Jwt, SeveralKeysOfOneKindAreTried) {
  const std::string stranger =
      R"({"kty":"EC","crv":"P-256","x":"f83OJ3D2xF1Bg8vub9tLe1gHMzV76e8Tus9uPHvRVEU","y":"x_FEzRu9m)"
      R"(36HLN_tue659LNpXW6pCyStikYjKIWI5a0"})";
  EXPECT_EQ(check(load(jwks({stranger, p256_jwk()})), token("ES256", claims())), "user user@example.com");
  EXPECT_EQ(check(load(jwks({p256_jwk(), stranger})), token("ES256", claims())), "user user@example.com");
  EXPECT_EQ(check(load(jwks({stranger})), token("ES256", claims())), "wrong signature");
}

// A token with these claims as they are, signed well.
std::string with(const std::string& text, std::int64_t now = kNow, JwtSettings of = settings()) {
  return check(load(all_jwks(), std::move(of)), token("EdDSA", text), now);
}

std::string members(const std::string& iss, const std::string& aud, const std::string& exp,
                    const std::string& more = R"(,"email":"u@x")") {
  std::string text = "{\"sub\":\"7\"";
  if (!iss.empty()) text += ",\"iss\":" + iss;
  if (!aud.empty()) text += ",\"aud\":" + aud;
  if (!exp.empty()) text += ",\"exp\":" + exp;
  return text + more + "}";
}

const std::string kIss = "\"" + std::string(kIssuer) + "\"";
const std::string kAud = "\"" + std::string(kAudience) + "\"";
const std::string kExp = std::to_string(kNow + 300);

TEST(Jwt, Issuer) {
  EXPECT_EQ(with(members(kIss, kAud, kExp)), "user u@x");
  for (const std::string& iss : {""s, "\"\""s, "\"https://login.example.net\""s, "\"https://login.example.net/x\""s,
                                 "\"HTTPS://login.example.net/\""s}) {
    EXPECT_EQ(with(members(iss, kAud, kExp)), "wrong issuer") << iss;
  }
  for (const std::string& iss : {"[" + kIss + "]", "null"s, "1"s, "{}"s}) {
    EXPECT_EQ(with(members(iss, kAud, kExp)), "no signed token") << iss;
  }
  EXPECT_EQ(with(members(kIss, kAud, kExp, ",\"email\":\"u@x\",\"iss\":\"x\"")), "no signed token");  // twice
  EXPECT_EQ(with(members("\"x\"", kAud, kExp, ",\"email\":\"u@x\",\"iss\":" + kIss)), "no signed token");
}

TEST(Jwt, Audience) {
  EXPECT_EQ(with(members(kIss, "[\"a\"," + kAud + ",\"b\"]", kExp)), "user u@x");
  for (const std::string& aud : {""s, "\"\""s, "\"mail\""s, "[]"s, "[\"a\",\"b\"]"s}) {
    EXPECT_EQ(with(members(kIss, aud, kExp)), "for another audience") << aud;
  }
  for (const std::string& aud : {"null"s, "{\"x\":" + kAud + "}", "[1," + kAud + "]", "[[" + kAud + "]]", "true"s}) {
    const std::string result = with(members(kIss, aud, kExp));
    EXPECT_TRUE(result == "no signed token" || result == "for another audience") << aud << ": " << result;
  }
  EXPECT_EQ(with(members(kIss, "{\"[]\":" + kAud + "}", kExp)), "no signed token");
  EXPECT_EQ(with(members(kIss, kAud, kExp, ",\"email\":\"u@x\",\"aud\":" + kAud)), "no signed token");
  // Members of other objects are not claims.
  EXPECT_EQ(with(members("", kAud, kExp, ",\"email\":\"u@x\",\"x\":{\"iss\":" + kIss + "}")), "wrong issuer");
  EXPECT_EQ(with(members(kIss, "", kExp, ",\"email\":\"u@x\",\"x\":[{\"aud\":" + kAud + "}]")), "for another audience");
}

TEST(Jwt, ExpiryAndNotBefore) {
  EXPECT_EQ(with(members(kIss, kAud, "1000"), 1059), "user u@x");  // the leeway is a minute
  EXPECT_EQ(with(members(kIss, kAud, "1000"), 1060), "expired");
  EXPECT_EQ(with(members(kIss, kAud, "1000.5"), 1060), "user u@x");
  EXPECT_EQ(with(members(kIss, kAud, "1e3"), 1059), "user u@x");
  EXPECT_EQ(with(members(kIss, kAud, "-1")), "expired");
  EXPECT_EQ(with(members(kIss, kAud, "")), "expired");
  EXPECT_EQ(with(members(kIss, kAud, "99999999999999999999999")), "user u@x");
  for (const std::string_view exp : {"\"1795500300\"", "null", "true", "[1795500300]", "{}"}) {
    EXPECT_EQ(with(members(kIss, kAud, std::string(exp))), "no signed token") << exp;
  }
  const auto not_before = [](const std::string& nbf, std::int64_t now) {
    return with(members(kIss, kAud, "9000", ",\"email\":\"u@x\",\"nbf\":" + nbf), now);
  };
  EXPECT_EQ(not_before("1000", 940), "user u@x");
  EXPECT_EQ(not_before("1000", 939), "not yet valid");
  EXPECT_EQ(not_before("\"1000\"", 2000), "no signed token");
  EXPECT_EQ(with(members(kIss, kAud, kExp, ",\"email\":\"u@x\",\"exp\":9999999999")), "no signed token");
  JwtSettings strict = settings();
  strict.leeway_seconds = 0;
  EXPECT_EQ(with(members(kIss, kAud, "1000"), 999, strict), "user u@x");
  EXPECT_EQ(with(members(kIss, kAud, "1000"), 1000, strict), "expired");
}

TEST(Jwt, UserClaim) {
  const auto user = [](const std::string& more, const std::string& claim = "email") {
    JwtSettings of = settings();
    of.user_claim = claim;
    return with(members(kIss, kAud, kExp, more), kNow, of);
  };
  EXPECT_EQ(user(R"(,"email":"U@X")"), "user U@X");
  EXPECT_EQ(user(""), "no user name in it");  // "sub" is there and is not fallen back on
  EXPECT_EQ(user(R"(,"email":"")"), "no user name in it");
  EXPECT_EQ(user(R"(,"Email":"u@x")"), "no user name in it");
  EXPECT_EQ(user(R"(,"x":{"email":"u@x"})"), "no user name in it");
  for (const std::string_view value : {"7", "null", "[\"u@x\"]", "{}", "true"}) {
    EXPECT_EQ(user(",\"email\":" + std::string(value)), "no signed token") << value;
  }
  EXPECT_EQ(user(R"(,"email":"u@x","email":"root")"), "no signed token");
  EXPECT_EQ(user("", "sub"), "user 7");
  EXPECT_EQ(user(R"(,"preferred_username":"u")", "preferred_username"), "user u");
  EXPECT_EQ(user("", "iss"), "user " + std::string(kIssuer));  // odd, but said so
  const std::string longest(kUserBytesMax, 'u');
  EXPECT_EQ(user(",\"email\":\"" + longest + "\""), "user " + longest);
  EXPECT_EQ(user(",\"email\":\"" + longest + "u\""), "no user name in it");
}

TEST(Jwt, AddressesThatTheIssuerHasNotVerified) {
  const auto verified = [](const std::string& value, const std::string& claim = "email") {
    JwtSettings of = settings();
    of.user_claim = claim;
    return with(members(kIss, kAud, kExp, R"(,"email":"u@x","email_verified":)" + value), kNow, of);
  };
  EXPECT_EQ(verified("true"), "user u@x");
  EXPECT_EQ(verified("\"true\""), "user u@x");
  for (const std::string_view value : {"false", "\"false\"", "null", "1", "\"\"", "{}", "[true]"}) {
    EXPECT_EQ(verified(std::string(value)), "address not verified by the issuer") << value;
  }
  EXPECT_EQ(verified("false", "sub"), "user 7");
  EXPECT_EQ(verified("true,\"email_verified\":false"), "no signed token");
}

TEST(Jwt, Headers) {
  const JwtKeys keys = load(all_jwks());
  const auto header = [&](const std::string& text) { return check(keys, token("EdDSA", text, claims())); };
  EXPECT_EQ(header(R"({"alg":"EdDSA","typ":"at+jwt","x5t":"x","nested":{"alg":"none","crit":[]}})"),
            "user user@example.com");
  EXPECT_EQ(header("{\r\n \"alg\" : \"EdDSA\" }\n"), "user user@example.com");
  for (const std::string& text :
       {"{}"s, "[]"s, "\"EdDSA\""s, R"({"alg":null})"s, R"({"alg":["EdDSA"]})"s, R"({"alg":"EdDSA","alg":"EdDSA"})"s,
        R"({"alg":"EdDSA","kid":1})"s, R"({"alg":"EdDSA","kid":"a","kid":"a"})"s, R"({"alg":"EdDSA","crit":["exp"]})"s,
        R"({"alg":"EdDSA","crit":[]})"s, R"({"alg":"EdDSA","crit":"b64","b64":false})"s, R"({"alg":"EdDSA",})"s,
        "{\"alg\":\"EdDSA\"}\0"s, R"({"alg":"EdDSA"}{})"s, ""s}) {
    EXPECT_EQ(header(text), "no signed token") << testing::PrintToString(text);
  }
}

TEST(Jwt, Malformed) {
  const JwtKeys keys = load(all_jwks());
  const std::string good = token("EdDSA", claims());
  ASSERT_EQ(check(keys, good), "user user@example.com");
  const std::size_t dot = good.find('.');
  for (const std::string& text :
       {""s, "."s, ".."s, "..."s, "x"s, "a.b"s, "a.b.c.d"s, "a.b.c.d.e"s, good + ".", "." + good, good + " ",
        " " + good, good + "=", good.substr(dot), good.substr(0, good.rfind('.')),
        good.substr(0, dot) + "=" + good.substr(dot), "ya29.opaque-token-of-some-provider"s,
        std::string(kTokenBytesMax + 1, 'A'), std::string(3 * kTokenBytesMax, '.')}) {
    EXPECT_EQ(check(keys, text), "no signed token") << testing::PrintToString(text.substr(0, 100));
  }
  EXPECT_EQ(check(keys, token("EdDSA", "[]")), "no signed token");
  EXPECT_EQ(check(keys, token("EdDSA", "not json")), "no signed token");
  EXPECT_EQ(check(keys, token("EdDSA", claims() + claims())), "no signed token");
  EXPECT_EQ(check(keys, token("EdDSA", claims(",\"email\":\"\xff\""))), "no signed token");
}

TEST(Jwt, LongestToken) {
  const JwtKeys keys = load(all_jwks());
  // The padding makes the whole exactly as long as it may be.
  const auto sized = [](std::size_t padding) {
    return token("HS256", claims(R"(,"email":"u@x","x":")" + std::string(padding, 'x') + "\""));
  };
  std::size_t padding = 0;
  while (sized(padding).size() < kTokenBytesMax) padding += padding < 12'000 ? 1000 : 1;
  if (sized(padding).size() > kTokenBytesMax) --padding;
  EXPECT_GE(sized(padding).size(), kTokenBytesMax - 1);
  EXPECT_EQ(check(keys, sized(padding)), "user u@x");
  EXPECT_EQ(check(keys, sized(padding + 2)), "no signed token");
}

TEST(Jwt, SignatureLengths) {
  const JwtKeys keys = load(all_jwks());
  for (const std::string_view algorithm : {"RS256", "PS256", "ES256", "EdDSA", "HS256"}) {
    const std::string text = encode_url(R"({"alg":")" + std::string(algorithm) + "\"}") + "." + encode_url(claims());
    const std::string signature = sign(algorithm, text);
    EXPECT_EQ(check(keys, text + "." + encode_url(signature)), "user user@example.com");
    for (const std::string& other :
         {""s, signature.substr(1), signature.substr(0, signature.size() - 1), signature + '\0',
          std::string(signature.size(), '\0'), std::string(signature.size(), '\xff'), std::string(1024, 'x')}) {
      EXPECT_EQ(check(keys, text + "." + encode_url(other)), "wrong signature") << algorithm << " " << other.size();
    }
    EXPECT_EQ(check(keys, text + "." + encode_url(std::string(1025, 'x'))), "no signed token");
  }
}

TEST(Jwt, FaultsHaveTextsOfTheirOwn) {
  std::vector<std::string_view> texts;
  for (int i = 0; i <= static_cast<int>(TokenFault::email_not_verified); ++i)
    texts.push_back(text_of(static_cast<TokenFault>(i)));
  for (std::size_t i = 0; i < texts.size(); ++i) {
    EXPECT_NE(texts[i], "");
    for (std::size_t k = 0; k < i; ++k) EXPECT_NE(texts[i], texts[k]);
  }
}

}  // namespace
}  // namespace postern::net::sasl::test
