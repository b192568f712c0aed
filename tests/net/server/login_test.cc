// Logins over the real ring: mechanisms bound to a real TLS connection, a source of answers that is slow, busy or gone,
// the guess guard at the door, accounts that are to be held, and what the log says of all this.
#include <array>
#include <algorithm>
#include <chrono>
#include <fstream>
#include <gtest/gtest.h>
#include <memory>
#include <openssl/ssl.h>
#include <semaphore>
#include <string>
#include <vector>

#include "tests/net/sasl/sasl_support.h"
#include "tests/net/server/test_server.h"
#include "tests/net/server/tls_settings.h"
#include "tests/net/users/fake_dovecot.h"

namespace postern::net::test {
namespace {

using policy::TlsMode;
using sasl::test::decode;
using sasl::test::encode;
using users::FakeDovecot;

class LoginServer : public testing::Test {
 protected:
  void start(TestServerOptions options = with_anna()) {
    options.keep_log = true;
    server_ = std::make_unique<TestServer>(settings_, folder_.path(), options);
  }
  std::unique_ptr<TestClient> open(const tls::test::ClientOptions& options = {}, const std::string& source = "127.0.0.1") {
    auto client = std::make_unique<TestClient>(source, server_->port());
    open_tls(*client, TlsMode::implicit, options);
    client->command("EHLO client.example");
    return client;
  }

  policy::Settings settings_ = tls_settings(TlsMode::implicit);
  ScratchFolder folder_;
  std::unique_ptr<TestServer> server_;
};

std::string exporter_of(SSL* ssl) {
  std::string value(32, '\0');
  EXPECT_EQ(SSL_export_keying_material(ssl, reinterpret_cast<std::uint8_t*>(value.data()), value.size(),
                                       "EXPORTER-Channel-Binding", 24, nullptr, 0, 1),
            1);
  return value;
}

// A SCRAM exchange; the reply to its last message.
std::string scram(TestClient& client, const std::string& mechanism, sasl::test::ScramClient scram) {
  scram.name = "anna@example.net";
  const std::string first = client.command("AUTH " + mechanism + " " + encode(scram.first()));
  if (first.substr(0, 4) != "334 ") return first;
  const std::string answer = client.command(encode(scram.final(*decode(first.substr(4)))));
  if (answer.substr(0, 4) != "334 ") return answer;
  EXPECT_EQ(*decode(answer.substr(4)), scram.server_signature);
  return client.command("");
}

TEST_F(LoginServer, ScramIsBoundToTheConnection) {
  start();
  auto client = open();
  auto other = open();
  sasl::test::ScramClient plus;
  plus.password = "secret";
  plus.gs2 = "p=tls-exporter,,";
  plus.binding = exporter_of(other->tls().ssl());
  EXPECT_EQ(scram(*client, "SCRAM-SHA-256-PLUS", plus).substr(0, 9), "535 5.7.8") << "a login that was passed on";
  EXPECT_EQ(server_->logged("login_failed").size(), 1U);
  plus.binding = exporter_of(client->tls().ssl());
  plus.password = "guessed";
  EXPECT_EQ(scram(*client, "SCRAM-SHA-256-PLUS", plus).substr(0, 9), "535 5.7.8");
  plus.password = "secret";
  EXPECT_EQ(scram(*client, "SCRAM-SHA-256-PLUS", plus).substr(0, 9), "235 2.7.0");
  sasl::test::ScramClient plain;
  plain.password = "secret";
  EXPECT_EQ(scram(*other, "SCRAM-SHA-256", plain).substr(0, 9), "235 2.7.0");
}

TEST_F(LoginServer, ACertificateLogsIn) {
  const tls::test::Subject subject = {.common_name = "Anna", .dns = {}, .email = {"anna@example.net"}, .begin = 0,
                                      .end = 4'000'000'000, .purpose = NID_client_auth};
  const tls::test::Identity authority = tls::test::issue(
      {.common_name = "Clients", .dns = {}, .begin = 0, .end = 4'000'000'000, .is_authority = true}, nullptr);
  const tls::test::Identity anna = tls::test::issue(subject, &authority);
  const tls::test::Identity self_made = tls::test::issue(subject, nullptr);
  settings_.services[0].auth.client_ca = folder_.path() + "/ca.pem";
  settings_.services[0].auth.mechanisms = {"EXTERNAL", "PLAIN"};
  std::ofstream(settings_.services[0].auth.client_ca) << authority.pem();
  start();
  EXPECT_EQ(open({.identity = &anna})->command("AUTH EXTERNAL ="), "235 2.7.0 Authentication successful");
  EXPECT_EQ(open({.identity = &self_made})->command("AUTH EXTERNAL ="), "504 5.5.4 Mechanism not offered");
  EXPECT_EQ(open()->command("AUTH EXTERNAL ="), "504 5.5.4 Mechanism not offered");
}

// --- a source that takes its time ----------------------------------------------------------------------------------

class SlowLoginServer : public LoginServer {
 protected:
  // One thread, and one login that may wait for it; each answer of Dovecot's waits for the test.
  void SetUp() override {
    socket_ = folder_.path() + "/auth";
    dovecot_ = std::make_unique<FakeDovecot>(socket_, std::vector<FakeDovecot::Script>{[this](FakeDovecot::Connection& peer) {
      peer.send(users::kDovecotGreeting);
      for (std::string id = peer.auth(); !id.empty(); id = peer.auth()) {
        asked_.release();
        if (!answer_.try_acquire_for(std::chrono::seconds(15))) return;
        peer.send("OK\t" + id + "\n");
      }
    }});
    settings_.services[0].auth.mechanisms = {"PLAIN"};
    TestServerOptions options;
    options.credentials.dovecot = socket_;
    options.credentials.threads = 1;
    options.credentials.queue = 1;
    start(options);
  }
  void TearDown() override {
    answer_.release(100);
    server_.reset();
    dovecot_.reset();
  }
  // A login that Dovecot has been asked about.
  std::unique_ptr<TestClient> begin_login() {
    auto client = open();
    client->send(std::string(kAuthPlain) + "\r\n");
    EXPECT_TRUE(asked_.try_acquire_for(std::chrono::seconds(10)));
    return client;
  }

  std::string socket_;
  std::counting_semaphore<> asked_{0};
  std::counting_semaphore<> answer_{0};
  std::unique_ptr<FakeDovecot> dovecot_;
};

TEST_F(SlowLoginServer, TooManyLoginsHear454AtOnce) {
  auto first = begin_login();
  auto second = open();
  second->send(std::string(kAuthPlain) + "\r\n");
  server_->await_turn();
  for (int i = 0; i < 3; ++i) {
    auto client = open();
    EXPECT_EQ(client->command(kAuthPlain), "454 4.7.0 Temporary authentication failure");
    EXPECT_EQ(client->command("NOOP"), "250 2.0.0 Ok") << "the worker goes on";
  }
  EXPECT_EQ(server_->counters().logins_unavailable.get(), 3U);
  // What was pipelined behind a login waits for it.
  first->send("NOOP\r\n");
  answer_.release(2);
  EXPECT_EQ(first->line(), "235 2.7.0 Authentication successful");
  EXPECT_EQ(first->line(), "250 2.0.0 Ok");
  EXPECT_EQ(second->line(), "235 2.7.0 Authentication successful");
  // Remembered: Dovecot is not asked again.
  EXPECT_EQ(open()->command(kAuthPlain), "235 2.7.0 Authentication successful");
}

TEST_F(SlowLoginServer, ClientsThatCloseInALogin) {
  {
    auto farewell = begin_login();
  }
  auto gone = open();
  gone->send(std::string(kAuthPlain) + "\r\n");
  server_->await_turn();
  gone->reset();
  server_->await_turn();
  EXPECT_EQ(open()->command("NOOP"), "250 2.0.0 Ok");
  answer_.release(2);
  await_no_connections(*server_);
  expect_nothing_held(*server_);
}

TEST_F(SlowLoginServer, DrainsInALogin) {
  auto client = begin_login();
  server_->begin_drain();
  server_->await_turn();
  answer_.release();
  EXPECT_EQ(client->line(), "235 2.7.0 Authentication successful");
  EXPECT_EQ(client->line(), "421 4.3.2 the server is shutting down");
  EXPECT_EQ(client->line(), "(closed)");
  EXPECT_TRUE(client->tls().is_closed());
  const auto begin = std::chrono::steady_clock::now();
  server_->stop();
  EXPECT_LT(std::chrono::steady_clock::now() - begin, std::chrono::seconds(8));
}

TEST_F(SlowLoginServer, DovecotThatIsGoneIs454) {
  answer_.release();
  EXPECT_EQ(open()->command(kAuthPlain), "235 2.7.0 Authentication successful");
  answer_.release(10);
  dovecot_.reset();
  ::unlink(socket_.c_str());
  EXPECT_EQ(open()->command(kAuthWrong), "454 4.7.0 Temporary authentication failure");
  EXPECT_EQ(server_->logged("login_unavailable").size(), 1U);
}

// --- the guess guard -----------------------------------------------------------------------------------------------

TEST_F(LoginServer, GuessersAreBarredAtTheDoor) {
  settings_.guard.failures = 3;
  settings_.guard.within_seconds = 600;
  TestServerOptions options = with_anna();
  options.guard = true;
  start(options);
  EXPECT_EQ(open({}, "127.0.0.8")->command(kAuthPlain).substr(0, 3), "235");
  auto guesser = open({}, "127.0.0.9");
  for (int i = 0; i < 3; ++i) EXPECT_EQ(guesser->command(kAuthWrong).substr(0, 3), "535");
  EXPECT_EQ(server_->logged("login_failed").size(), 3U);
  EXPECT_FALSE(server_->logged("barred").empty());
  // Also the right password, and the connection ends; neither tells more than the other.
  EXPECT_EQ(guesser->command(kAuthPlain), "421 4.7.0 too many failed logins, try again later");
  EXPECT_EQ(guesser->line(), "(closed)");
  // The next connection does not come to a handshake, and hears no plain words.
  const std::uint64_t handshakes = server_->counters().tls_handshakes.get();
  TestClient again("127.0.0.9", server_->port());
  EXPECT_FALSE(again.handshake());
  EXPECT_EQ(again.receive_raw(), "");
  EXPECT_EQ(server_->counters().tls_handshakes.get(), handshakes);
  EXPECT_EQ(server_->counters().connections_barred.get(), 1U);
  // The user is as welcome as before where he has logged in; from where he never did, the name is barred as well.
  EXPECT_EQ(open({}, "127.0.0.8")->command(kAuthPlain), "235 2.7.0 Authentication successful");
  EXPECT_EQ(open({}, "127.0.0.7")->command(kAuthPlain), "421 4.7.0 too many failed logins, try again later");
}

TEST_F(LoginServer, OnStarttlsABarIsSaidInPlainWords) {
  settings_.services[0].tls = TlsMode::starttls;
  settings_.services[0].auth.plain_on_lan = true;
  settings_.lan = {*core::IpPrefix::parse("127.0.0.0/8")};
  settings_.guard.failures = 1;
  TestServerOptions options = with_anna();
  options.guard = true;
  start(options);
  TestClient guesser("127.0.0.9", server_->port());
  guesser.line();
  guesser.command("EHLO c");
  EXPECT_EQ(guesser.command(kAuthWrong).substr(0, 3), "535");
  TestClient again("127.0.0.9", server_->port());
  EXPECT_EQ(again.line(), "421 4.7.0 too many failed logins from your network, try again later");
  EXPECT_EQ(again.line(), "(closed)");
}

// What a mail program does that tries CRAM-MD5 first: no guess.
TEST_F(LoginServer, AMechanismWithoutAVerifierIsNoGuess) {
  settings_.services[0].auth.mechanisms = {"CRAM-MD5", "PLAIN"};
  settings_.guard.failures = 2;
  TestServerOptions options = with_anna();
  options.guard = true;
  start(options);
  auto client = open();
  for (int i = 0; i < 5; ++i) {
    EXPECT_EQ(client->command("AUTH CRAM-MD5").substr(0, 4), "334 ");
    EXPECT_EQ(client->command(encode("anna@example.net 00000000000000000000000000000000")).substr(0, 3), "535");
  }
  for (int i = 0; i < 5; ++i) EXPECT_EQ(client->command("AUTH PLAIN !").substr(0, 3), "501");
  EXPECT_EQ(client->command(kAuthPlain).substr(0, 3), "235");
  EXPECT_TRUE(server_->logged("barred").empty());
}

// --- accounts to be held -------------------------------------------------------------------------------------------

TEST_F(LoginServer, AnAccountSeenEverywhereIsToBeHeld) {
  settings_.users.machines = 2;
  TestServerOptions options = with_anna();
  options.guard = true;
  start(options);
  for (const char* source : {"127.0.0.1", "127.0.0.2", "127.0.0.1", "127.0.0.2"}) {
    EXPECT_EQ(open({}, source)->command(kAuthPlain).substr(0, 3), "235");
  }
  EXPECT_TRUE(server_->shared().holds.take().empty());
  for (int i = 0; i < 2; ++i) EXPECT_EQ(open({}, "127.0.0.3")->command(kAuthPlain).substr(0, 3), "235");
  const auto holds = server_->shared().holds.take();
  ASSERT_EQ(holds.size(), 1U) << "once is enough";
  EXPECT_EQ(holds[0].user, "anna@example.net");
  EXPECT_TRUE(holds[0].why.contains("machines")) << holds[0].why;
}

TEST_F(LoginServer, AnAccountThatTripsItsQuotaIsToBeHeldWhereTheSettingsSaySo) {
  settings_.quota.user.messages_per_hour = 1;
  for (const bool hold : {false, true}) {
    settings_.users.hold_on_quota = hold;
    start();
    auto client = open();
    EXPECT_EQ(client->command(kAuthPlain).substr(0, 3), "235");
    client->send("MAIL FROM:<anna@example.net>\r\nRCPT TO:<user@example.net>\r\nBDAT 2 LAST\r\n\r\n");
    for (int i = 0; i < 3; ++i) EXPECT_EQ(client->line().substr(0, 3), "250");
    EXPECT_EQ(client->command("MAIL FROM:<anna@example.net>").substr(0, 3), "250");
    for (int i = 0; i < 3; ++i) EXPECT_EQ(client->command("RCPT TO:<user@example.net>").substr(0, 9), "450 4.7.1");
    const auto holds = server_->shared().holds.take();
    EXPECT_EQ(holds.size(), hold ? 1U : 0U);
    if (hold) {
      EXPECT_EQ(holds[0].user, "anna@example.net");
    }
    client.reset();
    server_->stop();
  }
}

TEST(HoldRequests, EachOnceAndSoManyAtMost) {
  HoldRequests holds;
  for (std::size_t i = 0; i < 3 * HoldRequests::kMax; ++i) holds.add("user" + std::to_string(i / 2), std::to_string(i));
  const auto taken = holds.take();
  ASSERT_EQ(taken.size(), HoldRequests::kMax);
  for (std::size_t i = 0; i < taken.size(); ++i) {
    EXPECT_EQ(taken[i].user, "user" + std::to_string(i));
    EXPECT_EQ(taken[i].why, std::to_string(2 * i)) << "the first reason counts";
  }
  EXPECT_TRUE(holds.take().empty());
  holds.add("user0", "again");
  EXPECT_EQ(holds.take().size(), 1U);
}

// --- the log -------------------------------------------------------------------------------------------------------

TEST_F(LoginServer, TheLogSaysWhoAndHowAndNeverAPassword) {
  start();
  auto client = open();
  client->command(kAuthWrong);
  client->command("AUTH PLAIN " + encode(std::string("\0nobody\0guessed", 15)));
  client->command("AUTH LOGIN");
  client->command(encode("anna@example.net"));
  client->command(encode("guessed"));
  client->command("AUTH PLAIN guessedguessed");
  client->command("AUTH PLAIN");
  client->command("secret in clear");
  client->command("AUTH PLAIN " + encode(std::string("anna@example.net\0anna@example.net\0secret", 39)) + " secret");
  client->command("secret");
  client->command("AUTH PLAIN " + std::string(13000, 'A') + "secret");
  client->command(kAuthPlain);
  const std::vector<std::string> lines = server_->logged("");
  const auto count = [&lines](std::string_view event) {
    return std::count_if(lines.begin(), lines.end(), [&](const auto& line) { return line.contains(" event=" + std::string(event) + " "); });
  };
  EXPECT_EQ(count("login"), 1);
  EXPECT_GE(count("login_failed"), 4);
  for (const std::string& line : lines) {
    for (const std::string& secret : {std::string("secret"), std::string("guessed"), encode("secret"), encode("guessed"),
                                      std::string("c2VjcmV0"), std::string("Z3Vlc3NlZ")}) {
      EXPECT_FALSE(line.contains(secret)) << line;
    }
    if (line.contains(" event=login ")) {
      EXPECT_TRUE(line.contains("service=submission client=127.0.0.1 user=anna@example.net mechanism=PLAIN")) << line;
    }
  }
}

}  // namespace
}  // namespace postern::net::test
