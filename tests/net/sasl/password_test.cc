// PLAIN, LOGIN, CRAM-MD5: every way through, every way out.
#include <cstring>
#include <gtest/gtest.h>
#include <memory>
#include <new>
#include <string>
#include <vector>

#include "net/sasl/server.h"

#include "tests/net/sasl/sasl_support.h"

namespace postern::net::sasl::test {
namespace {

using namespace std::string_literals;

// How an exchange ends: initial response, if any, then responses.
std::string ends(Mechanism mechanism, const std::optional<std::string>& initial,
                 const std::vector<std::string>& responses, const Store& store = {}) {
  Server server;
  const Surroundings here = connection();
  Step step = settle(server, server.start(mechanism, here, initial.has_value(), initial.value_or("")), store);
  for (const std::string& response : responses) {
    EXPECT_EQ(step.kind, Step::Kind::challenge) << words(step);
    if (step.kind != Step::Kind::challenge) break;
    step = settle(server, server.respond(response, here), store);
  }
  return words(step);
}

std::string plain(const std::string& message, const Store& store = {}) {
  const std::string at_once = ends(Mechanism::plain, message, {}, store);
  EXPECT_EQ(ends(Mechanism::plain, std::nullopt, {message}, store), at_once);  // RFC 4954: either way
  return at_once;
}

TEST(Plain, RightAndWrong) {
  EXPECT_EQ(plain("\0user@example.com\0pencil"s), "success user@example.com");
  EXPECT_EQ(plain("user@example.com\0user@example.com\0pencil"s), "success user@example.com");
  EXPECT_EQ(plain("USER@Example.COM\0user@example.com\0pencil"s), "success user@example.com");
  EXPECT_EQ(plain("\0user@example.com\0pencil "s), "failure bad-credentials guess");
  EXPECT_EQ(plain("\0nobody\0pencil"s), "failure bad-credentials guess");
}

TEST(Plain, TheQuestionHoldsWhatWasSent) {
  Server server;
  std::string message = "\0J\xc3\xb6rg\0p\xc3\xa4ss word"s;
  const Step step = server.start(Mechanism::plain, connection(), true, message);
  message.assign(message.size(), 'x');  // the caller's buffer may go
  ASSERT_EQ(step.kind, Step::Kind::need_password_check);
  EXPECT_EQ(step.user, "J\xc3\xb6rg");
  EXPECT_EQ(step.password, "p\xc3\xa4ss word");
  EXPECT_EQ(words(server.answer_password(PasswordVerdict::right)), "success J\xc3\xb6rg");
}

TEST(Plain, NamesArePreparedPasswordsAreNot) {
  Server server;
  const Step step = server.start(Mechanism::plain, connection(), true, "\0\uFF55ser\0\uFF50"s);
  ASSERT_EQ(step.kind, Step::Kind::need_password_check);
  EXPECT_EQ(step.user, "user");
  EXPECT_EQ(step.password, "\uFF50");
}

TEST(Plain, AnotherIdentityFails) {
  EXPECT_EQ(plain("root\0user@example.com\0pencil"s), "failure unsupported-authzid");
  EXPECT_EQ(plain("user@example.co\0user@example.com\0pencil"s), "failure unsupported-authzid");
  EXPECT_EQ(plain("user@example.com2\0user@example.com\0pencil"s), "failure unsupported-authzid");
  EXPECT_EQ(plain("\x01\0user@example.com\0pencil"s), "failure unsupported-authzid");
}

TEST(Plain, Malformed) {
  const std::string long_user(256, 'u');
  const std::string long_password(1025, 'p');
  for (const std::string& message : {""s, "\0"s, "\0\0"s, "user"s, "user\0pencil"s, "\0\0pencil"s, "\0user\0"s,
                                     "\0user\0a\0b"s, "\0user\0a\0"s, "\0\0user\0p"s,
                                     "\0us\xff"
                                     "er\0p"s,
                                     "\0user\0\xff"s, "\0user\0\xc0\x80"s, "\0us\ner\0p"s, "\0" + long_user + "\0p"s,
                                     "\0user\0"s + long_password, std::string(kMessageBytesMax + 1, 'x')}) {
    EXPECT_EQ(plain(message), "failure malformed") << testing::PrintToString(message);
  }
}

TEST(Plain, Bounds) {
  const std::string user(255, 'u');
  const std::string password(1024, 'p');
  EXPECT_EQ(plain("\0"s + user + "\0"s + password, {.user = user, .password = password}), "success " + user);
  EXPECT_EQ(plain(user + "\0"s + user + "\0p"s, {.user = user, .password = "p"}), "success " + user);
}

TEST(Plain, WhatTheStoreSays) {
  using Standing = Credential::Standing;
  EXPECT_EQ(plain("\0user@example.com\0pencil"s, {.standing = Standing::disabled}), "failure account-disabled");
  EXPECT_EQ(plain("\0user@example.com\0pen"s, {.standing = Standing::disabled}), "failure bad-credentials guess");
  EXPECT_EQ(plain("\0user@example.com\0pencil"s, {.standing = Standing::no_verifier}), "failure no-verifier");
}

TEST(Login, RightAndWrong) {
  EXPECT_EQ(ends(Mechanism::login, std::nullopt, {"user@example.com", "pencil"}), "success user@example.com");
  EXPECT_EQ(ends(Mechanism::login, "user@example.com", {"pencil"}), "success user@example.com");
  EXPECT_EQ(ends(Mechanism::login, std::nullopt, {"user@example.com", "pen"}), "failure bad-credentials guess");
  EXPECT_EQ(ends(Mechanism::login, std::nullopt, {"nobody", "pencil"}), "failure bad-credentials guess");
}

TEST(Login, Prompts) {
  Server server;
  Step step = server.start(Mechanism::login, connection(), false, "");
  EXPECT_EQ(step.text, "Username:");
  step = server.respond("user@example.com", connection());
  EXPECT_EQ(step.text, "Password:");
  EXPECT_EQ(step.user, "user@example.com");
}

TEST(Login, Malformed) {
  for (const std::string& user : {""s, "a\0b"s, "\xff"s, std::string(256, 'u'), "a\x01"s}) {
    EXPECT_EQ(ends(Mechanism::login, std::nullopt, {user}), "failure malformed") << testing::PrintToString(user);
    EXPECT_EQ(ends(Mechanism::login, user, {}), "failure malformed") << testing::PrintToString(user);
  }
  for (const std::string& password : {""s, "a\0b"s, "\xff"s, std::string(1025, 'p')}) {
    EXPECT_EQ(ends(Mechanism::login, std::nullopt, {"u", password}), "failure malformed")
        << testing::PrintToString(password);
  }
}

std::string digest_for(std::string_view password, std::string_view challenge) {
  const auto digits = cram_response(*derive_cram_verifier(password), challenge);
  return {digits.data(), digits.size()};
}

// The challenge, and how the exchange ends when `response` makes an answer of it.
template <class Response>
std::string cram(Response response, const Store& store = {}) {
  Server server;
  const Surroundings here = connection();
  const Step step = server.start(Mechanism::cram_md5, here, false, "");
  EXPECT_EQ(step.kind, Step::Kind::challenge);
  return words(settle(server, server.respond(response(std::string(step.text)), here), store));
}

TEST(CramMd5, ChallengeIsFreshAndNamesUs) {
  const auto challenge = [](const Surroundings& surroundings) {
    Server server;
    return std::string(server.start(Mechanism::cram_md5, surroundings, false, "").text);
  };
  EXPECT_EQ(challenge(connection()), "<AQIDBAUGBwgJCgsMDQ4P.1795500000@mail.example.net>");
  Surroundings other = connection();
  other.random = octets_from(2);
  EXPECT_NE(challenge(other), challenge(connection()));
  const std::string hostname(300, 'h');
  other.hostname = hostname;
  EXPECT_EQ(challenge(other).size(), 20U + 10 + 255 + 4);
}

TEST(CramMd5, RightAndWrong) {
  const auto answer = [](std::string user, std::string password) {
    return [=](const std::string& challenge) { return user + " " + digest_for(password, challenge); };
  };
  EXPECT_EQ(cram(answer("user@example.com", "pencil")), "success user@example.com");
  EXPECT_EQ(cram(answer("user@example.com", "pencils")), "failure bad-credentials guess");
  EXPECT_EQ(cram(answer("nobody", "pencil")), "failure bad-credentials guess");
  EXPECT_EQ(cram(answer("a name with spaces", "p"), {.user = "a name with spaces", .password = "p"}),
            "success a name with spaces");
  EXPECT_EQ(cram([](const std::string&) { return "user@example.com " + digest_for("pencil", "<an.old@challenge>"); }),
            "failure bad-credentials guess");
  const std::string user(255, 'u');
  EXPECT_EQ(cram(answer(user, "p"), {.user = user, .password = "p"}), "success " + user);
}

TEST(CramMd5, EveryDigitCounts) {
  for (std::size_t i = 0; i < 32; ++i) {
    EXPECT_EQ(cram([i](const std::string& challenge) {
                std::string digest = digest_for("pencil", challenge);
                digest[i] = digest[i] == '0' ? '1' : '0';
                return "user@example.com " + digest;
              }),
              "failure bad-credentials guess");
  }
}

TEST(CramMd5, WhatTheStoreSays) {
  using Standing = Credential::Standing;
  const auto right = [](const std::string& challenge) { return "user@example.com " + digest_for("pencil", challenge); };
  const auto wrong = [](const std::string& challenge) { return "user@example.com " + digest_for("pen", challenge); };
  EXPECT_EQ(cram(right, {.standing = Standing::no_verifier}), "failure no-verifier");
  EXPECT_EQ(cram(right, {.standing = Standing::disabled}), "failure account-disabled");
  EXPECT_EQ(cram(wrong, {.standing = Standing::disabled}), "failure bad-credentials guess");
}

TEST(CramMd5, Malformed) {
  const std::string digest(32, 'a');
  for (const std::string& response :
       {""s, " "s, "user"s, digest, " " + digest, "user " + digest.substr(1), "user " + digest + "a",
        "user " + digest + " ", "user " + digest.substr(1) + "A", "user " + digest.substr(1) + "g", "user\0 "s + digest,
        "\xff " + digest, std::string(256, 'u') + " " + digest}) {
    EXPECT_EQ(cram([&](const std::string&) { return response; }), "failure malformed")
        << testing::PrintToString(response);
  }
  // RFC 4954 section 4: the server speaks first.
  EXPECT_EQ(ends(Mechanism::cram_md5, "", {}), "failure malformed");
  EXPECT_EQ(ends(Mechanism::cram_md5, "user " + digest, {}), "failure malformed");
}

TEST(Server, CancelledIsNoGuess) {
  for (const Mechanism mechanism : {Mechanism::plain, Mechanism::login, Mechanism::cram_md5, Mechanism::scram_sha_1,
                                    Mechanism::scram_sha_256_plus}) {
    Server server;
    const Step step = server.start(mechanism, connection(), false, "");
    ASSERT_EQ(step.kind, Step::Kind::challenge);
    EXPECT_EQ(words(server.cancel()), "failure cancelled");
  }
  Server server;
  ASSERT_EQ(words(server.start(Mechanism::login, connection(), true, "user")), "challenge 9");
  const Step step = server.cancel();
  EXPECT_EQ(words(step), "failure cancelled");
  EXPECT_EQ(step.user, "user");
}

// The same steps, of the same lengths, for a user with the wrong password, one without keys, and nobody.
TEST(Server, NobodyLooksLikeSomebody) {
  const Store store = {.password = "something else"};
  const Store without = {.standing = Credential::Standing::no_verifier};
  const auto trace = [](Mechanism mechanism, const std::string& user, const Store& of) {
    Server server;
    const Surroundings here = connection();
    std::string seen;
    Step step = server.start(mechanism, here, false, "");
    std::vector<std::string> responses = {"\0"s + user + "\0p"s};
    if (mechanism == Mechanism::login) responses = {user, "p"};
    if (mechanism == Mechanism::cram_md5) responses = {user + " " + std::string(32, 'a')};
    for (const std::string& response : responses) {
      seen += words(step) + "; ";
      step = server.respond(response, here);
      while (step.kind == Step::Kind::need_password_check || step.kind == Step::Kind::need_credential) {
        seen += words(step) + "; ";
        step = step.kind == Step::Kind::need_password_check
                   ? server.answer_password(of.check(step.user, step.password))
                   : server.answer_credential(of.find(step.credential, step.user));
      }
    }
    EXPECT_EQ(step.kind, Step::Kind::failure);
    return seen;
  };
  for (const Mechanism mechanism : {Mechanism::plain, Mechanism::login, Mechanism::cram_md5}) {
    const std::string known = trace(mechanism, "user@example.com", store);
    EXPECT_EQ(trace(mechanism, "xser@example.com", store), known);
    EXPECT_EQ(trace(mechanism, "user@example.com", without), known);
    EXPECT_NE(known, "");
  }
}

// Nothing that was typed is left in the object's memory.
TEST(Server, WipesWhatWasTyped) {
  alignas(Server) static std::array<char, sizeof(Server)> memory;
  const auto holds = [](std::string_view text) {
    // Read through a volatile pointer: the object's lifetime is over.
    std::string copy(memory.size(), '\0');
    const volatile char* source = memory.data();
    for (std::size_t i = 0; i < memory.size(); ++i) copy[i] = source[i];
    return copy.find(text) != std::string::npos;
  };
  auto* server = new (memory.data()) Server;
  (void)server->start(Mechanism::plain, connection(), true, "\0a-name-to-find\0a-secret-to-find"s);
  EXPECT_TRUE(holds("a-secret-to-find"));
  EXPECT_TRUE(holds("a-name-to-find"));
  EXPECT_EQ(words(server->answer_password(PasswordVerdict::right)), "success a-name-to-find");
  EXPECT_FALSE(holds("a-secret-to-find"));  // as soon as it has been judged
  server->~Server();
  EXPECT_FALSE(holds("a-name-to-find"));

  server = new (memory.data()) Server;
  (void)server->start(Mechanism::plain, connection(), true, "\0a-name-to-find\0a-secret-to-find"s);
  server->~Server();  // the connection is gone before the answer
  EXPECT_FALSE(holds("a-secret-to-find"));

  server = new (memory.data()) Server;
  const Credential credential = credential_of(CredentialKind::scram_sha_256, "a", "p");
  (void)server->start(Mechanism::scram_sha_256, connection(), true, "n,,n=a,r=b");
  (void)server->answer_credential(credential);
  const std::string_view key(credential.scram.stored_key.data(), 32);
  EXPECT_TRUE(holds(key));
  server->~Server();
  EXPECT_FALSE(holds(key));
}

TEST(Server, FitsABlock) {
  EXPECT_LE(sizeof(Server), 4096U);
}

TEST(Server, FailuresHaveNamesOfTheirOwn) {
  std::vector<std::string_view> names;
  for (int i = 0; i <= static_cast<int>(Failure::bad_token); ++i) names.push_back(name_of(static_cast<Failure>(i)));
  for (std::size_t i = 0; i < names.size(); ++i) {
    EXPECT_NE(names[i], "");
    for (std::size_t k = 0; k < i; ++k) EXPECT_NE(names[i], names[k]);
  }
}

using ServerDeathTest = testing::Test;
TEST(ServerDeathTest, CallsOutOfTurnAreOurBug) {
  const Surroundings here = connection();
  EXPECT_DEATH(
      {
        Server server;
        (void)server.respond("", here);
      },
      "");
  EXPECT_DEATH(
      {
        Server server;
        (void)server.cancel();
      },
      "");
  EXPECT_DEATH(
      {
        Server server;
        (void)server.answer_password(PasswordVerdict::right);
      },
      "");
  EXPECT_DEATH(
      {
        Server server;
        (void)server.answer_credential({});
      },
      "");
  EXPECT_DEATH(
      {
        Server server;
        (void)server.start(Mechanism::plain, here, true, "bad");
        (void)server.respond("\0u\0p"s, here);
      },
      "");
  EXPECT_DEATH(
      {
        Server server;
        (void)server.start(Mechanism::plain, here, true, "\0u\0p"s);
        (void)server.respond("\0u\0p"s, here);
      },
      "");
  EXPECT_DEATH(
      {
        Server server;
        (void)server.start(Mechanism::plain, here, true, "\0u\0p"s);
        (void)server.answer_credential({});
      },
      "");
}

}  // namespace
}  // namespace postern::net::sasl::test
