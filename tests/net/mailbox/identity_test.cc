#include "net/mailbox/identity.h"

#include <gtest/gtest.h>
#include <string>

namespace postern::net::mailbox {
namespace {

using Name = MechanismTraits::Name;
using namespace std::string_literals;

// "anna", "anna (master)", "(unseen)", or "malformed".
std::string read(Name name, const std::string& message, char separator = 0) {
  UserName user;
  const auto standing = read_identity(name, message, separator, user);
  if (!standing) return user.empty() ? "malformed" : "a name was left behind";
  std::string text(user.view());
  if (*standing == Standing::master_user) text += " (master)";
  if (*standing == Standing::unseen) text += "(unseen)";
  return text;
}

TEST(Identity, Plain) {
  EXPECT_EQ(read(Name::plain, "\0anna\0secret"s), "anna");
  EXPECT_EQ(read(Name::plain, "anna\0anna\0secret"s), "anna");
  EXPECT_EQ(read(Name::plain, "bert\0anna\0secret"s), "anna (master)");
  EXPECT_EQ(read(Name::plain, "\0anna\0"s), "anna");
  EXPECT_EQ(read(Name::plain, "\0\0secret"s), "malformed");
  EXPECT_EQ(read(Name::plain, "anna\0secret"s), "malformed");
  EXPECT_EQ(read(Name::plain, "\0anna\0secret\0"s), "malformed");
  EXPECT_EQ(read(Name::plain, ""), "malformed");
  EXPECT_EQ(read(Name::plain, "\0"s + std::string(kUserBytesMax, 'a') + "\0x"s), std::string(kUserBytesMax, 'a'));
  EXPECT_EQ(read(Name::plain, "\0"s + std::string(kUserBytesMax + 1, 'a') + "\0x"s), "malformed");
}

TEST(Identity, MasterUsersInDovecotsSpelling) {
  EXPECT_EQ(read(Name::plain, "\0anna*root\0secret"s, '*'), "anna*root (master)");
  EXPECT_EQ(read(Name::plain, "\0anna*root\0secret"s), "anna*root");
  EXPECT_EQ(read(Name::login, "anna*root", '*'), "anna*root (master)");
  EXPECT_EQ(read(Name::scram, "n,,n=anna*root,r=x", '*'), "anna*root (master)");
  EXPECT_EQ(standing_of("anna*root", '*'), Standing::master_user);
  EXPECT_EQ(standing_of("anna*root", 0), Standing::mailbox_user);
  EXPECT_EQ(standing_of("anna", '*'), Standing::mailbox_user);
}

TEST(Identity, LoginAndCram) {
  EXPECT_EQ(read(Name::login, "anna@example.net"), "anna@example.net");
  EXPECT_EQ(read(Name::login, ""), "malformed");
  // RFC 2195 section 2's example.
  EXPECT_EQ(read(Name::cram_md5, "tim b913a602c7eda7a495b4e6e7334d3890"), "tim");
  EXPECT_EQ(read(Name::cram_md5, "tim tom b913a602c7eda7a495b4e6e7334d3890"), "tim tom");
  EXPECT_EQ(read(Name::cram_md5, "b913a602c7eda7a495b4e6e7334d3890"), "malformed");
  EXPECT_EQ(read(Name::cram_md5, " b913a602c7eda7a495b4e6e7334d3890"), "malformed");
}

TEST(Identity, Scram) {
  // RFC 7677 section 3's example.
  EXPECT_EQ(read(Name::scram, "n,,n=user,r=rOprNGfwEbeRWgbNEkqO"), "user");
  EXPECT_EQ(read(Name::scram, "y,,n=user,r=x"), "user");
  EXPECT_EQ(read(Name::scram, "n,a=user,n=user,r=x"), "user");
  EXPECT_EQ(read(Name::scram, "n,a=bert,n=user,r=x"), "user (master)");
  EXPECT_EQ(read(Name::scram, "n,,n=a=2Cb=3Dc,r=x"), "a,b=c");
  EXPECT_EQ(read(Name::scram, "n,,n=a=2cb,r=x"), "malformed");
  EXPECT_EQ(read(Name::scram, "n,,n=a=,r=x"), "malformed");
  EXPECT_EQ(read(Name::scram, "p=tls-exporter,,n=user,r=x"), "malformed");
  EXPECT_EQ(read(Name::scram, "n,,m=x,n=user,r=x"), "malformed");
  EXPECT_EQ(read(Name::scram, "n,,n=,r=x"), "malformed");
  EXPECT_EQ(read(Name::scram, "n,n=user"), "malformed");
  EXPECT_EQ(read(Name::scram, "n,,n=" + std::string(kUserBytesMax + 1, 'a') + ",r=x"), "malformed");
}

TEST(Identity, Tokens) {
  // RFC 7628 section 4.1's example.
  EXPECT_EQ(read(Name::oauthbearer, "n,a=user@example.com,\1host=server.example.com\1port=143\1auth=Bearer vF9d\1\1"),
            "user@example.com");
  EXPECT_EQ(read(Name::oauthbearer, "n,,\1auth=Bearer vF9d\1\1"), "(unseen)");
  EXPECT_EQ(read(Name::oauthbearer, "auth=Bearer vF9d"), "malformed");
  EXPECT_EQ(read(Name::xoauth2, "user=anna@example.net\1auth=Bearer vF9d\1\1"), "anna@example.net");
  EXPECT_EQ(read(Name::xoauth2, "user=\1auth=Bearer vF9d\1\1"), "malformed");
  EXPECT_EQ(read(Name::xoauth2, "auth=Bearer vF9d\1\1"), "malformed");
}

TEST(Identity, Digest) {
  // RFC 2831 section 4's example, shortened.
  EXPECT_EQ(read(Name::digest_md5,
                 R"(charset=utf-8,username="chris",realm="elwood.innosoft.com",nonce="OA6MG9tEQGm2hh",nc=00000001)"),
            "chris");
  EXPECT_EQ(read(Name::digest_md5, R"(username="a\"b, authzid=",authzid="a\"b, authzid=")"), "a\"b, authzid=");
  EXPECT_EQ(read(Name::digest_md5, R"(username="chris",authzid="bert")"), "chris (master)");
  EXPECT_EQ(read(Name::digest_md5, R"(authzid=bert, username=chris)"), "chris (master)");
  EXPECT_EQ(read(Name::digest_md5, R"(realm="username=bert")"), "malformed");
  EXPECT_EQ(read(Name::digest_md5, R"(username="chris)"), "malformed");
  EXPECT_EQ(read(Name::digest_md5, R"(username="chris"x)"), "malformed");
  EXPECT_EQ(read(Name::digest_md5, R"(username="chris\)"), "malformed");
  EXPECT_EQ(read(Name::digest_md5, "nonce=" + std::string(1000, 'x') + ",username=chris"), "chris");
  EXPECT_EQ(read(Name::digest_md5, "username=" + std::string(1000, 'x')), "malformed");
}

TEST(Identity, WhatCannotBeSeenIsSaidSo) {
  EXPECT_EQ(read(Name::unseen, "\x60\x82 octets of Kerberos"), "(unseen)");
}

TEST(Mechanisms, WhoSpeaksFirstAndWhatNeedsEncryption) {
  EXPECT_TRUE(traits_of("PLAIN").client_first && traits_of("PLAIN").is_plaintext && traits_of("PLAIN").sends_initial);
  EXPECT_TRUE(!traits_of("LOGIN").client_first && traits_of("LOGIN").is_plaintext && !traits_of("LOGIN").sends_initial);
  EXPECT_TRUE(!traits_of("LOGIN").server_first);
  EXPECT_TRUE(traits_of("CRAM-MD5").server_first && !traits_of("CRAM-MD5").is_plaintext);
  EXPECT_TRUE(traits_of("SCRAM-SHA-512").client_first && !traits_of("SCRAM-SHA-512").is_plaintext);
  EXPECT_TRUE(traits_of("XOAUTH2").is_plaintext && traits_of("OAUTHBEARER").is_plaintext);
  EXPECT_TRUE(!traits_of("GSSAPI").is_plaintext && !traits_of("GSSAPI").client_first);
  EXPECT_TRUE(traits_of("X-NEW").is_plaintext);
}

TEST(Mechanisms, WhatIsNotSpokenThrough) {
  for (const char* name : {"PLAIN", "SCRAM-SHA-256", "X_1"}) EXPECT_TRUE(is_spoken_through(name)) << name;
  for (const char* name :
       {"", "SCRAM-SHA-256-PLUS", "EXTERNAL", "ANONYMOUS", "plain", "A B", "AAAAAAAAAAAAAAAAAAAAA"}) {
    EXPECT_FALSE(is_spoken_through(name)) << name;
  }
}

}  // namespace
}  // namespace postern::net::mailbox
