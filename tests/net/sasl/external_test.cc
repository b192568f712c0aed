// EXTERNAL: the certificate says who it is.
#include <gtest/gtest.h>
#include <string>

#include "net/sasl/server.h"

#include "tests/net/sasl/sasl_support.h"

namespace postern::net::sasl::test {
namespace {

using namespace std::string_literals;

std::string external(std::string_view certificate_name, const std::string& authzid, const Store& store = {}) {
  Surroundings here = connection();
  here.certificate_name = certificate_name;
  const auto run = [&](bool has_initial) {
    Server server;
    Step step = server.start(Mechanism::external, here, has_initial, has_initial ? authzid : "");
    if (step.kind == Step::Kind::challenge) {
      EXPECT_EQ(step.text, "");
      EXPECT_FALSE(has_initial);
      step = server.respond(authzid, here);
    }
    if (step.kind == Step::Kind::need_credential) {
      EXPECT_EQ(step.credential, CredentialKind::user_exists);
    }
    return words(settle(server, step, store));
  };
  const std::string at_once = run(true);
  EXPECT_EQ(run(false), at_once);
  return at_once;
}

TEST(External, TheCertificateSaysWho) {
  EXPECT_EQ(external("user@example.com", ""), "success user@example.com");
  EXPECT_EQ(external("user@example.com", "user@example.com"), "success user@example.com");
  EXPECT_EQ(external("user@example.com", "User@EXAMPLE.com"), "success user@example.com");
}

TEST(External, AnotherIdentityFails) {
  EXPECT_EQ(external("user@example.com", "root"), "failure unsupported-authzid");
  EXPECT_EQ(external("other@example.com", "user@example.com"), "failure unsupported-authzid");
  EXPECT_EQ(external("user@example.com", "\xff"), "failure unsupported-authzid");
}

TEST(External, NoCertificateNoLogin) {
  EXPECT_EQ(external("", ""), "failure not-available");
  EXPECT_EQ(external("", "user@example.com"), "failure not-available");
  EXPECT_EQ(external("a\nb", ""), "failure not-available");
  EXPECT_EQ(external(std::string(256, 'u'), ""), "failure not-available");
}

TEST(External, Malformed) {
  EXPECT_EQ(external("user@example.com", "user@example.com\0"s), "failure malformed");
  EXPECT_EQ(external("user@example.com", std::string(256, 'u')), "failure malformed");
}

TEST(External, WhatTheStoreSays) {
  EXPECT_EQ(external("nobody@example.com", ""), "failure unknown-user");
  EXPECT_EQ(external("user@example.com", "", {.standing = Credential::Standing::disabled}), "failure account-disabled");
  EXPECT_EQ(external("user@example.com", "", {.standing = Credential::Standing::no_verifier}), "failure no-verifier");
}

}  // namespace
}  // namespace postern::net::sasl::test
