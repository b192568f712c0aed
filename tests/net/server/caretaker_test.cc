// The whole server of `postern serve`, with its caretaker: a first start without a certificate, an account that trips its
// quota and is held and released, a certificate that is renewed, and what survives a restart.
#include <chrono>
#include <filesystem>
#include <fstream>
#include <functional>
#include <gtest/gtest.h>
#include <memory>
#include <string>
#include <thread>

#include "net/server.h"
#include "net/users/user_store.h"
#include "tests/net/server/test_server.h"
#include "tests/net/server/tls_settings.h"

namespace postern::net::test {
namespace {

using policy::TlsMode;

class WholeServer : public testing::Test {
 protected:
  void SetUp() override {
    settings_ = tls_settings(TlsMode::implicit);
    settings_.workers = 1;
    settings_.limits.connections = 100;
    settings_.spool = folder_.path() + "/spool";
    settings_.state = folder_.path() + "/state";
    settings_.log.to = folder_.path() + "/log";
    settings_.users.store = folder_.path() + "/users.db";
    settings_.services[0].listen = {{core::IpAddress::from_v4(0x7f000001), 0}};
    users::StoredUser anna;
    anna.record.name = "anna@example.net";
    anna.password_hash = users::Secret("{PLAIN}secret");
    auto store = open_store(users::StoreMode::create);
    ASSERT_TRUE(store.add(anna).has_value());
  }
  void TearDown() override { stop(); }

  users::UserStore open_store(users::StoreMode mode = users::StoreMode::read_write) {
    auto store = users::UserStore::open(settings_.users.store, mode);
    EXPECT_TRUE(store.has_value()) << store.error();
    return std::move(store.value());
  }
  void start() {
    auto started = Server::start(settings_);
    ASSERT_TRUE(started.has_value()) << started.error().text;
    server_ = std::move(*started);
  }
  void stop() {
    if (server_ == nullptr) return;
    EXPECT_TRUE(server_->stop());
    server_.reset();
  }
  std::unique_ptr<TestClient> open(const std::string& source = "127.0.0.1") {
    auto client = std::make_unique<TestClient>(source, server_->addresses().front().endpoint.port);
    open_tls(*client, TlsMode::implicit);
    client->command("EHLO client.example");
    return client;
  }
  std::unique_ptr<TestClient> login() {
    auto client = open();
    EXPECT_EQ(client->command(kAuthPlain), "235 2.7.0 Authentication successful");
    return client;
  }
  static std::string send(TestClient& client) {
    const std::string mail = client.command("MAIL FROM:<anna@example.net>");
    if (mail.substr(0, 3) != "250") return mail;
    const std::string recipient = client.command("RCPT TO:<user@example.net>");
    if (recipient.substr(0, 3) != "250") return recipient;
    client.send("BDAT 2 LAST\r\n\r\n");
    return client.line().substr(0, 3);
  }
  // The caretaker comes by once a second.
  static bool await(const std::function<bool()>& condition) {
    const auto until = std::chrono::steady_clock::now() + std::chrono::seconds(20);
    while (!condition()) {
      if (std::chrono::steady_clock::now() > until) return false;
      std::this_thread::yield();
    }
    return true;
  }
  [[nodiscard]] std::string log() const {
    std::ifstream file(settings_.log.to);
    return {std::istreambuf_iterator<char>(file), {}};
  }

  policy::Settings settings_;
  ScratchFolder folder_;
  std::unique_ptr<Server> server_;
};

TEST_F(WholeServer, HoldsAnAccountThatTripsItsQuotaUntilItIsReleased) {
  settings_.quota.user.messages_per_hour = 1;
  settings_.users.hold_on_quota = true;
  start();
  auto client = login();
  EXPECT_EQ(send(*client), "250");
  EXPECT_EQ(send(*client).substr(0, 9), "450 4.7.1");
  ASSERT_TRUE(await([this] { return open_store().find("anna@example.net").value()->record.held; }));
  // Who logs in from now on sends nothing, not even when there is quota again.
  ASSERT_TRUE(await([this] { return send(*login()) == "451 4.7.1 your account is on hold, ask your postmaster"; }));
  // As `postern user release` does; once more when the caretaker still had an earlier 450 to answer with a hold.
  EXPECT_TRUE(await([this] {
    EXPECT_TRUE(open_store().set_held("anna@example.net", false).has_value());
    return send(*login()).substr(0, 3) == "450";
  })) << "released, and out of quota";
  stop();
  EXPECT_TRUE(log().contains("account_held note=\"anna@example.net: its quota is used up\"")) << log();
}

// Quotas and bars are those of before.
TEST_F(WholeServer, RemembersOverARestart) {
  settings_.quota.user.messages_per_hour = 1;
  settings_.guard.failures = 2;
  start();
  EXPECT_EQ(send(*login()), "250");
  auto guesser = open("127.0.0.9");
  for (int i = 0; i < 2; ++i) EXPECT_EQ(guesser->command(kAuthWrong).substr(0, 3), "535");
  guesser.reset();
  stop();
  start();
  EXPECT_EQ(send(*login()).substr(0, 9), "450 4.7.1");
  TestClient barred("127.0.0.9", server_->addresses().front().endpoint.port);
  EXPECT_FALSE(barred.handshake());
}

TEST_F(WholeServer, AFirstStartMakesACertificateAndSaysSo) {
  start();
  const std::string first = open()->tls().server_der();
  EXPECT_FALSE(first.empty());
  stop();
  EXPECT_TRUE(log().contains("made a self-signed one for mail.example.net")) << log();
  start();
  EXPECT_EQ(open()->tls().server_der(), first) << "the second start takes the one that is there";
}

TEST_F(WholeServer, ARenewedCertificateIsTakenInAndHalfAPairIsNot) {
  const tls::test::Subject subject = {.begin = 0, .end = 4'000'000'000};
  const tls::test::Identity old_one = tls::test::issue(subject, nullptr);
  const tls::test::Identity new_one = tls::test::issue(subject, nullptr);
  policy::CertificateSettings files;
  files.chain = folder_.path() + "/chain.pem";
  files.key = folder_.path() + "/key.pem";
  const auto write = [](const std::string& path, const std::string& text) {
    std::ofstream(path + ".new") << text;
    std::filesystem::rename(path + ".new", path);
  };
  write(files.chain, old_one.pem());
  write(files.key, old_one.key_pem());
  settings_.certificates = {files};
  start();
  EXPECT_EQ(open()->tls().server_der(), old_one.der());
  auto running = open();
  write(files.chain, new_one.pem());  // its key is still the old one's
  ASSERT_TRUE(await([this] { return log().contains("certificates_not_renewed"); }));
  EXPECT_EQ(open()->tls().server_der(), old_one.der());
  write(files.key, new_one.key_pem());
  ASSERT_TRUE(await([&] { return open()->tls().server_der() == new_one.der(); }));
  EXPECT_EQ(running->command("NOOP"), "250 2.0.0 Ok") << "a connection from before goes on";
}

TEST_F(WholeServer, AStoreThatGoesAwayIsTold) {
  start();
  std::filesystem::rename(settings_.users.store, settings_.users.store + ".away");
  ASSERT_TRUE(await([this] { return log().contains("users_unavailable"); }));
  EXPECT_EQ(open()->command(kAuthPlain), "454 4.7.0 Temporary authentication failure");
  std::filesystem::rename(settings_.users.store + ".away", settings_.users.store);
  ASSERT_TRUE(await([this] { return log().contains("users_available"); }));
  EXPECT_EQ(open()->command(kAuthPlain), "235 2.7.0 Authentication successful");
}

}  // namespace
}  // namespace postern::net::test
