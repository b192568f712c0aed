// Names and properties of the mechanisms.
#include "net/sasl/mechanism.h"

#include <gtest/gtest.h>
#include <set>
#include <string>

namespace postern::net::sasl::test {
namespace {

TEST(Mechanism, NamesAreReadInAnyCase) {
  std::set<std::string_view> names;
  for (const Mechanism mechanism : kMechanisms) {
    const std::string name(name_of(mechanism));
    EXPECT_TRUE(names.insert(name_of(mechanism)).second) << name;
    EXPECT_EQ(parse_mechanism(name), mechanism);
    std::string lower = name;
    for (char& c : lower) c = static_cast<char>(std::tolower(c));
    EXPECT_EQ(parse_mechanism(lower), mechanism);
    EXPECT_EQ(parse_mechanism(name + "X"), std::nullopt);
    EXPECT_EQ(parse_mechanism(name.substr(1)), std::nullopt);
  }
  EXPECT_EQ(names.size(), 10U);
  for (const std::string_view name : {"", "NTLM", "DIGEST-MD5", "ANONYMOUS", "GSSAPI", "SCRAM-SHA-256-PLUS ", "PLAIN\r",
                                      "SCRAM-SHA-512", "SCRAM_SHA_256", "PLA\xC4\xB1N"}) {
    EXPECT_EQ(parse_mechanism(name), std::nullopt) << name;
  }
}

TEST(Mechanism, Properties) {
  EXPECT_EQ(name_of(Mechanism::scram_sha_256_plus), "SCRAM-SHA-256-PLUS");
  const std::set<Mechanism> plaintext = {Mechanism::plain, Mechanism::login, Mechanism::oauthbearer,
                                         Mechanism::xoauth2};
  for (const Mechanism mechanism : kMechanisms) {
    const std::string_view name = name_of(mechanism);
    EXPECT_EQ(is_plaintext(mechanism), plaintext.contains(mechanism)) << name;
    EXPECT_EQ(is_plus(mechanism), name.ends_with("-PLUS")) << name;
    EXPECT_EQ(is_scram(mechanism), name.starts_with("SCRAM-")) << name;
    EXPECT_EQ(server_speaks_first(mechanism), name == "CRAM-MD5") << name;
  }
}

}  // namespace
}  // namespace postern::net::sasl::test
