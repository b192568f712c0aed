#include <filesystem>
#include <fstream>
#include <gtest/gtest.h>
#include <openssl/nid.h>
#include <unistd.h>

#include "tests/net/tls/tls_support.h"

namespace postern::net::tls::test {
namespace {

namespace fs = std::filesystem;

// A server with two services: one asks for certificates of the root, one does not.
class ClientCertificates : public testing::TestWithParam<std::uint16_t> {
 protected:
  void SetUp() override {
    path_ = fs::temp_directory_path() / ("postern-client-certificates-" + std::to_string(getpid()) + ".pem");
    std::ofstream(path_) << authority_.pem();
    auto made = ServerContexts::make({server_certificate({})},
                                     {{.name = "submission", .client_ca = path_}, {.name = "mx", .client_ca = ""}}, keys_);
    ASSERT_TRUE(made.has_value()) << made.error().text;
    contexts_ = std::make_unique<ServerContexts>(std::move(*made));
  }
  void TearDown() override { fs::remove(path_); }

  ClientOptions with(const Identity* identity, std::vector<const Identity*> chain = {}) const {
    ClientOptions options;
    options.version_max = GetParam();
    options.identity = identity;
    options.identity_chain = std::move(chain);
    return options;
  }
  // What the server makes of a client that shows `identity`.
  ClientCertificate judged(const Identity& identity, std::vector<const Identity*> chain = {}) {
    Pair pair(*contexts_, 0, with(&identity, std::move(chain)));
    EXPECT_TRUE(pair.run()) << pair.server.failure();
    if (pair.server.client_certificate() == nullptr) {
      ADD_FAILURE() << "no certificate arrived";
      return {};
    }
    return *pair.server.client_certificate();
  }
  static Subject user(std::string common_name, std::vector<std::string> email) {
    return {.common_name = std::move(common_name), .dns = {}, .email = std::move(email), .purpose = NID_client_auth};
  }

  Identity authority_ = issue({.common_name = "Users", .dns = {}, .is_authority = true}, nullptr);
  TicketKeys keys_;
  fs::path path_;
  std::unique_ptr<ServerContexts> contexts_;
};

INSTANTIATE_TEST_SUITE_P(Versions, ClientCertificates, testing::Values(TLS1_2_VERSION, TLS1_3_VERSION),
                         [](const auto& version) { return version.param == TLS1_2_VERSION ? "Tls12" : "Tls13"; });

TEST_P(ClientCertificates, NameTheUser) {
  const auto name = [&](const Subject& subject) {
    const ClientCertificate certificate = judged(issue(subject, &authority_));
    EXPECT_EQ(certificate.failure.empty(), !certificate.name.empty());
    return certificate.name + certificate.failure;
  };
  EXPECT_EQ(name(user("Alice", {"alice@example.net", "a@example.net"})), "alice@example.net");
  EXPECT_EQ(name(user("alice", {})), "alice");
  EXPECT_EQ(name(user("", {})), "certificate names neither a mail address nor a common name");
  EXPECT_EQ(name(user("al\nice", {})), "certificate names neither a mail address nor a common name");
  // A bad address is not made up for by a good common name.
  EXPECT_EQ(name(user("alice", {std::string("a\0b@example.net", 15)})),
            "certificate names neither a mail address nor a common name");
  EXPECT_EQ(name({.common_name = "alice", .dns = {}, .key = Key::rsa2048, .purpose = NID_client_auth}), "alice");
  EXPECT_EQ(name({.common_name = "alice", .dns = {}, .purpose = NID_undef}), "alice");
}

TEST_P(ClientCertificates, ThatAreNotBelievedNameNobodyAndEndNothing) {
  const auto failure = [&](const Identity& identity, std::vector<const Identity*> chain = {}) {
    const ClientCertificate certificate = judged(identity, std::move(chain));
    EXPECT_EQ(certificate.name, "");
    return certificate.failure;
  };
  Subject alice = user("alice", {});
  EXPECT_EQ(failure(issue(alice, &root())), "unable to get local issuer certificate");
  EXPECT_EQ(failure(issue(alice, nullptr)), "self signed certificate");
  // The authority's name alone makes no authority.
  const Identity impostor = issue({.common_name = "Users", .dns = {}, .is_authority = true}, nullptr);
  EXPECT_EQ(failure(issue(alice, &impostor)), "certificate signature failure");
  EXPECT_EQ(failure(issue(alice, &impostor), {&impostor}), "certificate signature failure");
  alice.end = kNow - 1;
  EXPECT_EQ(failure(issue(alice, &authority_)), "certificate has expired");
  alice.begin = kNow + 1, alice.end = kNow + kDay;
  EXPECT_EQ(failure(issue(alice, &authority_)), "certificate is not yet valid");
  alice = user("alice", {});
  alice.purpose = NID_server_auth;
  EXPECT_EQ(failure(issue(alice, &authority_)), "unsupported certificate purpose");
  // A user is no authority.
  const Identity bob = issue(user("bob", {}), &authority_);
  EXPECT_EQ(failure(issue(user("alice", {}), &bob), {&bob}), "invalid CA certificate");
}

TEST_P(ClientCertificates, ByAnAuthorityBelowTheListedOne) {
  const Identity below = issue({.common_name = "Users' branch", .dns = {}, .is_authority = true}, &authority_);
  const Identity alice = issue(user("alice", {}), &below);
  EXPECT_EQ(judged(alice, {&below}).name, "alice");
  EXPECT_EQ(judged(alice).failure, "unable to get local issuer certificate");
}

TEST_P(ClientCertificates, AreNotDemanded) {
  Pair pair(*contexts_, 0, with(nullptr));
  EXPECT_TRUE(pair.run()) << pair.server.failure();
  EXPECT_EQ(pair.server.client_certificate(), nullptr);
}

TEST_P(ClientCertificates, AreNotAskedForByOtherServices) {
  const Identity alice = issue(user("alice", {}), &authority_);
  Pair pair(*contexts_, 1, with(&alice));
  EXPECT_TRUE(pair.run()) << pair.server.failure();
  EXPECT_EQ(pair.server.client_certificate(), nullptr);
}

TEST_P(ClientCertificates, ComeBackWithTheTicketAndAreJudgedAgain) {
  const Identity alice = issue(user("alice", {}), &authority_);
  Subject short_lived = user("bob", {});
  short_lived.end = kNow + 100;
  const Identity bob = issue(short_lived, &authority_);
  const auto again = [&](const Identity& identity, std::size_t service, std::int64_t later) -> ClientCertificate {
    Pair first(*contexts_, 0, with(&identity));
    EXPECT_TRUE(first.run());
    first.say("220\r\n");
    EXPECT_TRUE(first.run());
    const auto session = first.client.session();
    ClientOptions options = with(nullptr);
    options.session = session.get();
    Pair second(*contexts_, service, options, at(kNow + later));
    EXPECT_TRUE(second.run());
    EXPECT_EQ(second.server.resumed(), service == 0);
    return second.server.client_certificate() == nullptr ? ClientCertificate{} : *second.server.client_certificate();
  };
  EXPECT_EQ(again(alice, 0, 1000).name, "alice");
  EXPECT_EQ(again(alice, 1, 1000).name, "");
  EXPECT_EQ(again(bob, 0, 99).name, "bob");
  EXPECT_EQ(again(bob, 0, 101).failure, "certificate has expired");
}

// A ticket of a service that did not ask is no way round one that does.
TEST_P(ClientCertificates, OfAnotherServicesTicketCountForNothing) {
  Pair first(*contexts_, 1, with(nullptr));
  EXPECT_TRUE(first.run());
  first.say("220\r\n");
  EXPECT_TRUE(first.run());
  const auto session = first.client.session();
  const Identity alice = issue(user("alice", {}), &authority_);
  ClientOptions options = with(&alice);
  options.session = session.get();
  Pair second(*contexts_, 0, options);
  EXPECT_TRUE(second.run());
  EXPECT_FALSE(second.server.resumed());
  ASSERT_NE(second.server.client_certificate(), nullptr);
  EXPECT_EQ(second.server.client_certificate()->name, "alice");
}

}  // namespace
}  // namespace postern::net::tls::test
