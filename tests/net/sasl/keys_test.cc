// What stands for passwords: RFC vectors, Dovecot's texts, decoys, bounds.
#include <gtest/gtest.h>
#include <set>
#include <string>

#include "net/sasl/scram_keys.h"

#include "tests/net/sasl/sasl_support.h"

namespace postern::net::sasl::test {
namespace {

std::string stored_key(const ScramKeys& keys) {
  return {keys.stored_key.data(), hash_bytes(keys.hash)};
}
std::string server_key(const ScramKeys& keys) {
  return {keys.server_key.data(), hash_bytes(keys.hash)};
}

// Whether `proof` fits the keys, and the server's signature, for one AuthMessage.
void expect_transcript(const ScramKeys& keys, const std::string& message, std::string_view proof,
                       std::string_view signature) {
  std::string client_key = *decode(proof);
  const std::string client_signature = hmac_text(keys.hash, stored_key(keys), message);
  for (std::size_t i = 0; i < client_key.size(); ++i)
    client_key[i] = static_cast<char>(client_key[i] ^ client_signature[i]);
  EXPECT_EQ(hash_text(keys.hash, client_key), stored_key(keys));
  EXPECT_EQ(encode(hmac_text(keys.hash, server_key(keys), message)), signature);
}

TEST(ScramKeys, ExampleOfRfc5802) {  // section 5
  const auto keys = derive_scram_keys(ScramHash::sha_1, "pencil", *decode("QSXCR+Q6sek8bf92"), 4096);
  ASSERT_TRUE(keys.has_value());
  expect_transcript(*keys,
                    "n=user,r=fyko+d2lbbFgONRv9qkxdawL,r=fyko+d2lbbFgONRv9qkxdawL3rfcNHYJY1ZVvWVs7j,s=QSXCR+Q6sek8bf92,"
                    "i=4096,c=biws,r=fyko+d2lbbFgONRv9qkxdawL3rfcNHYJY1ZVvWVs7j",
                    "v0X8v3Bz2T0CJGbJQyF0X+HI4Ts=", "rmF9pqV8S7suAoZWja4dJRkFsKQ=");
}

TEST(ScramKeys, ExampleOfRfc7677) {  // section 3
  const auto keys = derive_scram_keys(ScramHash::sha_256, "pencil", *decode("W22ZaJ0SNY7soEsUEjb6gQ=="), 4096);
  ASSERT_TRUE(keys.has_value());
  expect_transcript(*keys,
                    "n=user,r=rOprNGfwEbeRWgbNEkqO,r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0,"
                    "s=W22ZaJ0SNY7soEsUEjb6gQ==,i=4096,c=biws,r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0",
                    "dHzbZapWIk4jUhN+Ute9ytag9zjfMHgsqmmiz7AndVQ=", "6rriTRBi23WpRR/wtup+mMhUZUn/dB5nLTJRsjl95G4=");
}

// Made by `doveadm pw -s SCRAM-SHA-... -p tanstaaftanstaaf`, Dovecot 2.3.19.
TEST(ScramKeys, TextsOfDovecot) {
  const std::pair<ScramHash, std::string> texts[] = {
      {ScramHash::sha_1, "4096,xVqfXPMMa1lo7i74M5yE0A==,D+brWorOfO7WAXg9b+dGHwRvv44=,PdzoWah1LDvZfTkIC8SnrWKTwR8="},
      {ScramHash::sha_256,
       "4096,GJKUtq8TFDF8N64osLI9Vg==,DmeHZFp+9hCDw62cR5vDdPKZfm1o+IpQDjpArBfMv9s=,"
       "2Fc4mbRZkJtSGhruSTEj7bRHAy9bL6i6wAX2ig+MQhs="}};
  for (const auto& [hash, text] : texts) {
    const auto read = parse_scram_keys(hash, text);
    ASSERT_TRUE(read.has_value()) << text;
    EXPECT_EQ(scram_keys_text(*read), text);
    EXPECT_FALSE(read->is_decoy);
    const auto derived = derive_scram_keys(hash, "tanstaaftanstaaf", read->salt_view(), read->iterations);
    ASSERT_TRUE(derived.has_value());
    EXPECT_EQ(scram_keys_text(*derived), text);
    EXPECT_NE(scram_keys_text(*derive_scram_keys(hash, "tanstaaftanstaag", read->salt_view(), read->iterations)), text);
  }
}

TEST(ScramKeys, TextIsReadStrictly) {
  const std::string salt = ",xVqfXPMMa1lo7i74M5yE0A==";
  const std::string keys = ",D+brWorOfO7WAXg9b+dGHwRvv44=,PdzoWah1LDvZfTkIC8SnrWKTwR8=";
  const auto reads = [](const std::string& text) { return parse_scram_keys(ScramHash::sha_1, text).has_value(); };
  ASSERT_TRUE(reads("4096" + salt + keys));
  ASSERT_TRUE(reads("10000000" + salt + keys));
  ASSERT_TRUE(reads("4096,AAAAAA==" + keys));
  for (const std::string_view count : {"", "4095", "10000001", "99999999999999999999", "+4096", "-4096", "04096",
                                       " 4096", "4096 ", "0x1000", "4096.0"}) {
    EXPECT_FALSE(reads(std::string(count) + salt + keys)) << count;
  }
  for (const std::string_view bad_salt : {",", ",AAAA", ",!!!!", ",xVqfXPMMa1lo7i74M5yE0A=",
                                          ",AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA"}) {  // 3 and 36 octets
    EXPECT_FALSE(reads("4096" + std::string(bad_salt) + keys)) << bad_salt;
  }
  EXPECT_FALSE(reads("4096" + salt + keys + ","));
  EXPECT_FALSE(reads("4096" + salt + ",D+brWorOfO7WAXg9b+dGHwRvv44="));
  EXPECT_FALSE(reads("4096" + salt + ",D+brWorOfO7WAXg9b+dGHwRvv4==,PdzoWah1LDvZfTkIC8SnrWKTwR8="));
  EXPECT_FALSE(reads(""));
  EXPECT_FALSE(parse_scram_keys(ScramHash::sha_256, "4096" + salt + keys).has_value());
}

TEST(ScramKeys, DerivesWithinBoundsOnly) {
  const auto derives = [](std::string_view password, std::size_t salt_bytes, std::uint32_t iterations) {
    return derive_scram_keys(ScramHash::sha_256, password, std::string(salt_bytes, 's'), iterations).has_value();
  };
  EXPECT_TRUE(derives("x", 4, 4096));
  EXPECT_TRUE(derives(std::string(1024, 'x'), 32, 4096));
  EXPECT_FALSE(derives("x", 3, 4096));
  EXPECT_FALSE(derives("x", 33, 4096));
  EXPECT_FALSE(derives("x", 16, 4095));
  EXPECT_FALSE(derives("x", 16, kScramIterationsMax + 1));
  EXPECT_FALSE(derives("", 16, 4096));
  EXPECT_FALSE(derives("a\nb", 16, 4096));
  EXPECT_FALSE(derives(std::string(1025, 'x'), 16, 4096));
}

TEST(ScramKeys, PasswordsArePrepared) {
  const auto text = [](std::string_view password) {
    return scram_keys_text(*derive_scram_keys(ScramHash::sha_256, password, "salt", 4096));
  };
  EXPECT_EQ(text("Jo\u0308rg"), text("J\u00F6rg"));
  EXPECT_EQ(text("\uFF41"), text("a"));
  EXPECT_NE(text("A"), text("a"));
}

TEST(ScramKeys, DecoysAreStableAndEachTheirOwn) {
  const auto secret = octets_from(7);
  std::set<std::string> salts;
  for (const ScramHash hash : {ScramHash::sha_1, ScramHash::sha_256}) {
    for (const std::string_view user : {"a", "b", "a@example.net"}) {
      const ScramKeys decoy = decoy_scram_keys(hash, secret, user, 10'000);
      EXPECT_TRUE(decoy.is_decoy);
      EXPECT_EQ(decoy.hash, hash);
      EXPECT_EQ(decoy.iterations, 10'000U);
      EXPECT_EQ(decoy.salt_bytes, kScramSaltBytes);
      EXPECT_EQ(scram_keys_text(decoy), scram_keys_text(decoy_scram_keys(hash, secret, user, 10'000)));
      salts.insert(std::string(decoy.salt_view()));
      salts.insert(std::string(decoy_scram_keys(hash, octets_from(8), user, 10'000).salt_view()));
    }
  }
  EXPECT_EQ(salts.size(), 12U);  // another hash, user or secret: another salt
}

TEST(CramVerifier, ExampleOfRfc2195) {  // section 2
  const auto verifier = derive_cram_verifier("tanstaaftanstaaf");
  ASSERT_TRUE(verifier.has_value());
  const auto response = cram_response(*verifier, "<1896.697170952@postoffice.reston.mci.net>");
  EXPECT_EQ(std::string_view(response.data(), response.size()), "b913a602c7eda7a495b4e6e7334d3890");
}

// RFC 2202 section 2: HMAC-MD5, keys that can be typed.
TEST(CramVerifier, VectorsOfRfc2202) {
  const auto response = [](std::string_view key, std::string_view text) {
    const auto digits = cram_response(*derive_cram_verifier(key), text);
    return std::string(digits.data(), digits.size());
  };
  EXPECT_EQ(response("Jefe", "what do ya want for nothing?"), "750c783e6ab0b503eaa86e310a5db738");
  // A challenge over the end of MD5's block, and none.
  for (const std::size_t size : {0U, 1U, 55U, 56U, 63U, 64U, 65U, 200U}) {
    const std::string text(size, 'x');
    EXPECT_EQ(response("k", text).size(), 32U);
    EXPECT_NE(response("k", text), response("l", text));
    EXPECT_NE(response("k", text), response("k", text + "x"));
  }
}

// Made by `doveadm pw -s CRAM-MD5 -p ...`, Dovecot 2.3.19.
TEST(CramVerifier, TextsOfDovecot) {
  const std::pair<std::string, std::string> texts[] = {
      {"tanstaaftanstaaf", "d06d4e1b26fccaa4b0b61801132340a354b21152711fb604ca3e035e7015116b"},
      {"pencil", "7f47ace0e2af8f6cdeb72c03243a8c87834e19104164d6a42de72d243adb4080"},
      {std::string(100, 'a'), "f468fcff219b517f6814f5fefa4e894aa8abc2884f2718fa15e07f4cda81f854"}};  // over one block
  for (const auto& [password, text] : texts) {
    EXPECT_EQ(cram_verifier_text(*derive_cram_verifier(password)), text);
    const auto read = parse_cram_verifier(text);
    ASSERT_TRUE(read.has_value());
    EXPECT_EQ(cram_verifier_text(*read), text);
    EXPECT_EQ(cram_response(*read, "<1@x>"), cram_response(*derive_cram_verifier(password), "<1@x>"));
  }
  std::string upper = texts[0].second;
  for (char& c : upper) c = static_cast<char>(std::toupper(c));
  ASSERT_TRUE(parse_cram_verifier(upper).has_value());
  EXPECT_EQ(cram_verifier_text(*parse_cram_verifier(upper)), texts[0].second);
  EXPECT_FALSE(parse_cram_verifier("").has_value());
  EXPECT_FALSE(parse_cram_verifier(upper + "0").has_value());
  EXPECT_FALSE(parse_cram_verifier(upper.substr(1)).has_value());
  for (std::size_t i = 0; i < upper.size(); ++i) {
    std::string bad = upper;
    bad[i] = 'g';
    EXPECT_FALSE(parse_cram_verifier(bad).has_value()) << i;
  }
}

TEST(CramVerifier, SixtyFourAndSixtyFiveOctets) {  // the last key that is taken as it is, and the first that is hashed
  std::set<std::string> texts;
  for (const std::size_t size : {63U, 64U, 65U, 128U}) {
    texts.insert(cram_verifier_text(*derive_cram_verifier(std::string(size, 'a'))));
  }
  EXPECT_EQ(texts.size(), 4U);
  EXPECT_FALSE(derive_cram_verifier("").has_value());
  EXPECT_FALSE(derive_cram_verifier("a\x01").has_value());
  EXPECT_EQ(cram_verifier_text(*derive_cram_verifier("Jo\u0308rg")),
            cram_verifier_text(*derive_cram_verifier("J\u00F6rg")));
}

TEST(CramVerifier, Decoys) {
  const auto text = [](unsigned secret, std::string_view user) {
    return cram_verifier_text(decoy_cram_verifier(octets_from(secret), user));
  };
  EXPECT_EQ(text(1, "a"), text(1, "a"));
  EXPECT_NE(text(1, "a"), text(1, "b"));
  EXPECT_NE(text(1, "a"), text(2, "a"));
}

}  // namespace
}  // namespace postern::net::sasl::test
