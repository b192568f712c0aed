// OAUTHBEARER and XOAUTH2: messages, identities, and the error that comes before the end.
#include <gtest/gtest.h>
#include <string>

#include "net/sasl/server.h"

#include "tests/net/sasl/jwt_support.h"
#include "tests/net/sasl/sasl_support.h"

namespace postern::net::sasl::test {
namespace {

using namespace std::string_literals;

const JwtKeys& keys() {
  static const JwtKeys loaded = std::move(*JwtKeys::load(all_jwks(), settings()));
  return loaded;
}

// How it ends; "error, " before it when the server sent its error first.
std::string ends(Mechanism mechanism, const std::string& message, const Store& store = {}, std::int64_t now = kNow) {
  Surroundings here = connection();
  here.keys = &keys();
  here.unix_seconds = now;
  const auto run = [&](bool has_initial, bool cancels) {
    Server server;
    Step step = server.start(mechanism, here, has_initial, has_initial ? message : "");
    if (!has_initial) {
      EXPECT_EQ(words(step), "challenge 0");
      step = server.respond(message, here);
    }
    if (step.kind == Step::Kind::need_credential) {
      EXPECT_EQ(step.credential, CredentialKind::user_exists);
    }
    step = settle(server, step, store);
    if (step.kind != Step::Kind::challenge) return words(step);
    EXPECT_EQ(step.text, mechanism == Mechanism::oauthbearer ? R"({"status":"invalid_token"})"
                                                             : R"({"status":"401","schemes":"bearer"})");
    // Whatever the client says to it.
    step = cancels ? server.cancel() : server.respond(mechanism == Mechanism::oauthbearer ? "\x01" : "", here);
    std::string result = "error, " + words(step);
    if (step.token_fault != TokenFault::none) result += ", " + std::string(text_of(step.token_fault));
    return result;
  };
  const std::string at_once = run(true, false);
  EXPECT_EQ(run(false, false), at_once);
  EXPECT_EQ(run(true, true), at_once);
  return at_once;
}

std::string bearer(const std::string& head, const std::string& authorization) {
  return head +
         "\x01host=mail.example.net\x01port=587\x01"
         "auth=" +
         authorization + "\x01\x01";
}
std::string good() {
  return token("ES256", claims());
}

TEST(OauthBearer, RightTokens) {
  EXPECT_EQ(ends(Mechanism::oauthbearer, bearer("n,a=user@example.com,", "Bearer " + good())),
            "success user@example.com");
  EXPECT_EQ(ends(Mechanism::oauthbearer, bearer("n,,", "Bearer " + good())), "success user@example.com");
  EXPECT_EQ(ends(Mechanism::oauthbearer, bearer("y,,", "bearer   " + good())), "success user@example.com");
  EXPECT_EQ(ends(Mechanism::oauthbearer,
                 "n,a=User@Example.COM,\x01"
                 "auth=BEARER " +
                     good() + "\x01\x01"),
            "success user@example.com");
}

TEST(OauthBearer, SomebodyElsesToken) {
  EXPECT_EQ(ends(Mechanism::oauthbearer, bearer("n,a=root@example.com,", "Bearer " + good())),
            "error, failure unsupported-authzid");
  EXPECT_EQ(ends(Mechanism::xoauth2,
                 "user=root@example.com\x01"
                 "auth=Bearer " +
                     good() + "\x01\x01"),
            "error, failure unsupported-authzid");
}

TEST(OauthBearer, BadTokens) {
  const auto with = [](const std::string& authorization, std::int64_t now = kNow) {
    const std::string result = ends(Mechanism::oauthbearer, bearer("n,,", authorization), {}, now);
    EXPECT_EQ(ends(Mechanism::xoauth2,
                   "user=user@example.com\x01"
                   "auth=" +
                       authorization + "\x01\x01",
                   {}, now),
              result);
    return result;
  };
  EXPECT_EQ(with("Bearer " + good(), kNow + 400), "error, failure expired-token, expired");
  EXPECT_EQ(with("Bearer rubbish"), "error, failure bad-token, no signed token");
  EXPECT_EQ(with(""), "error, failure bad-token, no signed token");
  EXPECT_EQ(with("Bearer"), "error, failure bad-token, no signed token");
  EXPECT_EQ(with("Bearer "), "error, failure bad-token, no signed token");
  EXPECT_EQ(with("Basic dXNlcjpwZW5jaWw="), "error, failure bad-token, no signed token");
  EXPECT_EQ(with("Bearers " + good()), "error, failure bad-token, no signed token");
  EXPECT_EQ(with("Bearer " + good() + " "), "error, failure bad-token, no signed token");
  // The claim is text, but no name.
  EXPECT_EQ(with("Bearer " + token("ES256", claims(R"(,"email":"a\u0000b")"))),
            "error, failure bad-token, no user name in it");
  EXPECT_EQ(with("Bearer " + token("ES256", claims(R"(,"email":"\u202E")"))),
            "error, failure bad-token, no user name in it");
  // A forged one is a guess; an honest client can have all the others.
  std::string forged = good();
  forged[forged.size() - 20] = forged[forged.size() - 20] == 'A' ? 'B' : 'A';
  EXPECT_EQ(with("Bearer " + forged), "error, failure bad-token guess, wrong signature");
}

TEST(OauthBearer, WhatTheStoreSays) {
  using Standing = Credential::Standing;
  const std::string message = bearer("n,,", "Bearer " + good());
  EXPECT_EQ(ends(Mechanism::oauthbearer, message, {.user = "other"}), "error, failure unknown-user");
  EXPECT_EQ(ends(Mechanism::oauthbearer, message, {.standing = Standing::disabled}), "error, failure account-disabled");
  EXPECT_EQ(ends(Mechanism::oauthbearer, message, {.standing = Standing::no_verifier}), "error, failure no-verifier");
}

TEST(OauthBearer, Malformed) {
  const std::string auth = "auth=Bearer " + good();
  for (const std::string& message : {""s,
                                     "\x01"s,
                                     "n,,"s,
                                     "n,,\x01"s,
                                     "n,,\x01\x01"s,
                                     "n,,\x01" + auth,
                                     "n,,\x01" + auth + "\x01",
                                     "n,," + auth + "\x01\x01",
                                     "n,,\x01" + auth + "\x01\x01\x01",
                                     "n,,\x01" + auth + "\x01\x01x",
                                     "n,,\x01" + auth + "\x01" + auth + "\x01\x01",
                                     "n,,\x01x\x01" + auth + "\x01\x01",
                                     "n,,\x01=x\x01" + auth + "\x01\x01",
                                     "n,,\x01p1=x\x01" + auth + "\x01\x01",
                                     "n,,\x01h=\0\x01"s + auth + "\x01\x01",
                                     "n,\x01" + auth + "\x01\x01",
                                     "x,,\x01" + auth + "\x01\x01",
                                     "p=tls-exporter,,\x01" + auth + "\x01\x01",
                                     "n,a=,\x01" + auth + "\x01\x01",
                                     "n,a=a=,\x01" + auth + "\x01\x01",
                                     "n,a=\xff,\x01" + auth + "\x01\x01",
                                     "n,a=" + std::string(256, 'u') + ",\x01" + auth + "\x01\x01",
                                     "n,,\x01"
                                     "Auth=x\x01\x01"s,
                                     "n,,\x01"
                                     "auth=" +
                                         std::string(kMessageBytesMax, 'x') + "\x01\x01"}) {
    EXPECT_EQ(ends(Mechanism::oauthbearer, message), "failure malformed")
        << testing::PrintToString(message.substr(0, 60));
  }
}

TEST(Xoauth2, RightTokens) {
  EXPECT_EQ(ends(Mechanism::xoauth2,
                 "user=user@example.com\x01"
                 "auth=Bearer " +
                     good() + "\x01\x01"),
            "success user@example.com");
  EXPECT_EQ(ends(Mechanism::xoauth2,
                 "user=USER@example.com\x01"
                 "auth=bearer " +
                     good() + "\x01\x01"),
            "success user@example.com");
}

TEST(Xoauth2, Malformed) {
  const std::string user = "user=user@example.com\x01";
  const std::string auth = "auth=Bearer " + good() + "\x01";
  for (const std::string& message :
       {""s, "\x01"s, user, user + "\x01", user + auth, auth + "\x01", auth + user + "\x01",
        user + user + auth + "\x01", user + auth + "\x01\x01", user + auth + "\x01x", "user=\x01" + auth + "\x01",
        "user=\xff\x01" + auth + "\x01", "user=a\0b\x01"s + auth + "\x01",
        "user=" + std::string(256, 'u') + "\x01" + auth + "\x01", "n,,\x01" + auth + "\x01", user + "Auth=x\x01\x01",
        user + "x=y\x01" + auth + "\x01"}) {
    EXPECT_EQ(ends(Mechanism::xoauth2, message), "failure malformed") << testing::PrintToString(message.substr(0, 60));
  }
}

TEST(Bearer, NoKeysNoLogin) {
  for (const Mechanism mechanism : {Mechanism::oauthbearer, Mechanism::xoauth2}) {
    Server server;
    EXPECT_EQ(words(server.start(mechanism, connection(), false, "")), "failure not-available");
    // They were there when it began, and went away with a reload.
    Server later;
    Surroundings here = connection();
    here.keys = &keys();
    EXPECT_EQ(words(later.start(mechanism, here, false, "")), "challenge 0");
    here.keys = nullptr;
    const std::string message = mechanism == Mechanism::oauthbearer ? bearer("n,,", "Bearer " + good())
                                                                    : "user=u\x01"
                                                                      "auth=Bearer " +
                                                                          good() + "\x01\x01";
    EXPECT_EQ(words(later.respond(message, here)), "failure not-available");
  }
}

TEST(Bearer, FailureNamesWhoWasClaimed) {
  Surroundings here = connection();
  here.keys = &keys();
  Server server;
  (void)server.start(Mechanism::xoauth2, here, true,
                     "user=claimed@example.com\x01"
                     "auth=Bearer x\x01\x01");
  EXPECT_EQ(server.respond("", here).user, "claimed@example.com");
}

}  // namespace
}  // namespace postern::net::sasl::test
