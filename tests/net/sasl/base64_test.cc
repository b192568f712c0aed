// Base 64: RFC 4648's vectors, every length, and what strict means.
#include "net/sasl/base64.h"

#include <algorithm>
#include <array>
#include <gtest/gtest.h>
#include <random>
#include <string>

#include "tests/net/sasl/sasl_support.h"
#include "tests/sim/sim_seeds.h"

namespace postern::net::sasl::test {
namespace {

std::optional<std::string> strict(std::string_view text) {
  std::string octets(base64_decoded_bytes_max(text.size()), '\0');
  const auto size = base64_decode(text, octets);
  if (!size) return std::nullopt;
  octets.resize(*size);
  return octets;
}

std::optional<std::string> strict_url(std::string_view text) {
  std::string octets(base64_decoded_bytes_max(text.size()), '\0');
  const auto size = base64url_decode(text, octets);
  if (!size) return std::nullopt;
  octets.resize(*size);
  return octets;
}

std::string encoded(std::string_view octets) {
  std::string text(base64_bytes(octets.size()), '\0');
  EXPECT_EQ(base64_encode(octets, text), text.size());
  return text;
}

TEST(Base64, VectorsOfTheRfc) {  // RFC 4648 section 10
  const std::pair<std::string, std::string> vectors[] = {{"", ""},
                                                         {"f", "Zg=="},
                                                         {"fo", "Zm8="},
                                                         {"foo", "Zm9v"},
                                                         {"foob", "Zm9vYg=="},
                                                         {"fooba", "Zm9vYmE="},
                                                         {"foobar", "Zm9vYmFy"}};
  for (const auto& [octets, text] : vectors) {
    EXPECT_EQ(encoded(octets), text);
    EXPECT_EQ(strict(text), octets);
    EXPECT_EQ(strict_url(text.substr(0, text.find('='))), octets);
  }
}

TEST(Base64, EveryDigitOfBothAlphabets) {
  std::string all;
  for (char c = 'A'; c <= 'Z'; ++c) all += c;
  for (char c = 'a'; c <= 'z'; ++c) all += c;
  for (char c = '0'; c <= '9'; ++c) all += c;
  const auto octets = strict(all + "+/");
  ASSERT_TRUE(octets.has_value());
  EXPECT_EQ(encoded(*octets), all + "+/");
  EXPECT_EQ(strict_url(all + "-_"), octets);
  // Each of the 256 octets is a digit of exactly the alphabets it stands in.
  for (int c = 0; c < 256; ++c) {
    const std::string text = {static_cast<char>(c), 'A', 'A', 'A'};
    const bool is_common = all.find(text[0]) != std::string::npos;
    EXPECT_EQ(strict(text).has_value(), is_common || c == '+' || c == '/') << c;
    EXPECT_EQ(strict_url(text).has_value(), is_common || c == '-' || c == '_') << c;
  }
}

TEST(Base64, RefusesEverySecondSpelling) {
  for (const std::string_view text :
       {"Z",     "Zg",     "Zg=",      "Zm8",      "=",     "==",   "===",  "====", "Zg===", "Z===",
        "Zm9v=", "Zm9v==", "Zm9v====", "Zg==Zg==", "Zm=v",  "Zg=v", "Zh==", "Zv==", "Zm9=",  "Zm+=",
        " Zg==", "Zg== ",  "Zg==\n",   "Zm\r\n9v", "Zm9\0", "Zm9-", "Zm9_", "Zm8*"}) {
    EXPECT_EQ(strict(text), std::nullopt) << text;
  }
  for (const std::string_view text : {"Z", "Zg=", "Zg==", "Zm8=", "Zh", "Zm9", "Zm9vY", "Zm9+", "Zm9/", "Zm 8"}) {
    EXPECT_EQ(strict_url(text), std::nullopt) << text;
  }
  EXPECT_EQ(strict(std::string_view("Zm9\0", 4)), std::nullopt);
}

TEST(Base64, AgreesWithBoringSslAndDecodesInPlace) {
  sim::for_each_seed(2000, [](std::uint64_t seed) {
    std::mt19937_64 random(seed);
    std::string octets(random() % 100, '\0');
    for (char& c : octets) c = static_cast<char>(random());
    std::string text = encoded(octets);
    ASSERT_EQ(text, encode(octets));
    ASSERT_EQ(strict(text), octets);
    ASSERT_EQ(strict_url(encode_url(octets)), octets);
    const auto size = base64_decode(text, text);
    ASSERT_TRUE(size.has_value());
    ASSERT_EQ(text.substr(0, *size), octets);
  });
}

TEST(Base64, WritesNothingBehindItsRoom) {
  std::array<char, 4> small{};
  small.fill('x');
  EXPECT_EQ(base64_decode("Zm9vYg==", std::span(small).first(3)), std::nullopt);
  EXPECT_EQ(base64_decode("Zm9v", std::span(small).first(2)), std::nullopt);
  EXPECT_EQ(base64_decode("Zm9v", std::span(small).first(3)), 3U);
  EXPECT_EQ(std::string_view(small.data(), 4), "foox");
  EXPECT_EQ(base64_decode("", {}), 0U);
}

}  // namespace
}  // namespace postern::net::sasl::test
