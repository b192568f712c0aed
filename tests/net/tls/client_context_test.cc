// The client's side of TLS against our own server's: whom it believes, what it says, what it remembers.
// POSTERN_SEED=n runs the random cuts of one seed.
#include "net/tls/client_context.h"

#include <cstdlib>
#include <fstream>
#include <gtest/gtest.h>
#include <openssl/err.h>
#include <random>
#include <unistd.h>

#include "tests/net/tls/tls_support.h"

namespace postern::net::tls::test {
namespace {

const ClientPeer kPeer{"mail.example.net", 25, false};

class AuthoritiesFile {
 public:
  explicit AuthoritiesFile(const std::string& text)
      : path_(testing::TempDir() + "authorities-" + std::to_string(::getpid()) + "-" + std::to_string(count_++)) {
    std::ofstream(path_) << text;
  }
  ~AuthoritiesFile() { ::unlink(path_.c_str()); }
  AuthoritiesFile(const AuthoritiesFile&) = delete;
  [[nodiscard]] const std::string& path() const { return path_; }

 private:
  static inline int count_ = 0;
  std::string path_;
};

std::shared_ptr<const ClientContext> make(const std::string& authorities) {
  auto made = ClientContext::make(authorities);
  EXPECT_TRUE(made.has_value()) << made.error().text;
  return *made;
}
std::shared_ptr<const ClientContext> believing(const std::string& pem) {
  const AuthoritiesFile file(pem);  // read once
  return make(file.path());
}

// Both ends, each of them ours.
class Line {
 public:
  Line(const ServerContexts& contexts, std::shared_ptr<const ClientContext> client_context, const ClientPeer& peer = kPeer,
       std::int64_t now = kNow)
      : server(contexts, 0, at(now)), client(std::move(client_context), peer, at(now)) {}

  // Until neither has anything to say. True: the handshake is through and nothing failed.
  bool run() {
    bool first = true;
    while (first || !to_client.empty() || !to_server.empty()) {
      first = false;
      feed(client, to_client, to_server, at_client, client_status);
      feed(server, to_server, to_client, at_server, server_status);
    }
    return client.handshake_done() && server.handshake_done() && client_status != Status::failed &&
           server_status != Status::failed;
  }
  void say(Session& from, std::string& wire, std::string_view plain) const {
    std::vector<char> memory(20000);
    while (!plain.empty()) {
      OutputBuffer out(memory.data(), memory.size());
      const std::size_t taken = from.send(plain, out);
      ASSERT_GT(taken, 0U);
      plain.remove_prefix(taken);
      wire += out.view();
    }
  }

  Session server;
  Session client;
  std::string to_client, to_server, at_client, at_server;
  Status client_status = Status::need_input, server_status = Status::need_input;
  Cut cut = whole();

 private:
  void feed(Session& session, std::string& input, std::string& output, std::string& plain, Status& status) {
    std::vector<char> memory(20000), room(5000);
    std::string taken = std::exchange(input, {});
    std::string_view all = taken;
    do {
      std::string_view piece = all.substr(0, cut());
      all.remove_prefix(piece.size());
      for (;;) {
        OutputBuffer out(memory.data(), memory.size());
        const Progress progress = session.receive(piece, room, out);
        piece.remove_prefix(progress.consumed);
        plain.append(room.data(), progress.plain);
        output += out.view();
        status = progress.status;
        if (status != Status::need_plain && status != Status::need_output) break;
      }
    } while (!all.empty());
  }
};

class ClientContextTest : public testing::Test {
 protected:
  void TearDown() override { EXPECT_EQ(ERR_peek_error(), 0u) << "an error was left on BoringSSL's queue"; }

  ServerContexts serving(Certificate certificate) {
    std::vector<Certificate> certificates;
    certificates.push_back(std::move(certificate));
    auto made = ServerContexts::make(std::move(certificates), {{.name = "hop", .client_ca = ""}}, keys_);
    EXPECT_TRUE(made.has_value()) << made.error().text;
    return std::move(*made);
  }
  ServerContexts serving(const Subject& subject) { return serving(server_certificate(subject, {"x.example"})); }

  // What the client says of a server that shows this, and that the server got an alert and no word.
  std::string refused(const Subject& subject, const ClientPeer& peer = kPeer) {
    const ServerContexts contexts = serving(subject);
    Line line(contexts, trusting_, peer);
    EXPECT_FALSE(line.run());
    EXPECT_EQ(line.client_status, Status::failed);
    EXPECT_EQ(line.server_status, Status::failed);
    EXPECT_TRUE(line.server.failure().starts_with("alert from the client: ")) << line.server.failure();
    EXPECT_EQ(line.at_server, "");
    const std::string why(line.client.failure());
    constexpr std::string_view kNotBelieved = "its certificate is not believed: ";
    EXPECT_TRUE(why.starts_with(kNotBelieved)) << why;
    return why.substr(std::min(why.size(), kNotBelieved.size()));
  }

  TicketKeys keys_;
  std::shared_ptr<const ClientContext> trusting_ = believing(root().pem());
  std::shared_ptr<const ClientContext> any_ = make("");
};

TEST_F(ClientContextTest, BelievesAChainToAnAuthorityForTheHostsName) {
  for (const char* name : {"mail.example.net", "*.example.net", "MAIL.example.NET"}) {
    for (const Key key : {Key::p256, Key::p384, Key::rsa2048}) {
      const ServerContexts contexts = serving(Subject{.common_name = "x", .dns = {"y.example", name}, .key = key});
      Line line(contexts, trusting_);
      EXPECT_TRUE(line.run()) << name << ": " << line.client.failure();
      EXPECT_EQ(line.client.protocol(), "TLSv1.3");
      EXPECT_EQ(line.server.server_name(), "mail.example.net");
    }
  }
}

TEST_F(ClientContextTest, AnAuthorityBelowTheRootOrTheCertificateItselfMayBeBelieved) {
  const ServerContexts below = serving(Subject{});
  Line line(below, believing(intermediate().pem()));
  EXPECT_TRUE(line.run()) << line.client.failure();
}

TEST_F(ClientContextTest, RefusesWhatIsNotProven) {
  EXPECT_EQ(refused({.dns = {"other.example.net"}}), "it is not for mail.example.net");
  EXPECT_EQ(refused({.dns = {"*.net"}}), "it is not for mail.example.net");
  EXPECT_EQ(refused({.common_name = "mail.example.net", .dns = {}}), "it is not for mail.example.net") << "no common names";
  EXPECT_EQ(refused({.begin = kNow - 2 * kDay, .end = kNow - 1}), "certificate has expired");
  EXPECT_EQ(refused({.begin = kNow + 1}), "certificate is not yet valid");
  EXPECT_EQ(refused({.purpose = NID_client_auth}), "unsupported certificate purpose");
}

TEST_F(ClientContextTest, RefusesAnUnknownAuthority) {
  const Identity stranger = issue({.common_name = "a stranger", .dns = {}, .is_authority = true}, nullptr);
  const ServerContexts contexts = serving(Subject{});
  Line line(contexts, believing(stranger.pem()));
  EXPECT_FALSE(line.run());
  EXPECT_EQ(line.client.failure(), "its certificate is not believed: unable to get local issuer certificate");
  EXPECT_EQ(line.server.failure(), "alert from the client: unknown CA");
}

TEST_F(ClientContextTest, AHopByAddressIsSentNoNameAndNeedsItsAddressInTheCertificate) {
  EXPECT_EQ(refused({.dns = {"192.0.2.1"}}, {"192.0.2.1", 25, true}), "it is not for 192.0.2.1");
  const ServerContexts contexts = serving(Subject{});
  Line line(contexts, any_, {"2001:db8::1", 25, true});
  EXPECT_TRUE(line.run());
  EXPECT_EQ(line.server.server_name(), "");
}

TEST_F(ClientContextTest, WithoutAuthoritiesAnyCertificateWillDo) {
  EXPECT_FALSE(any_->verifies());
  EXPECT_TRUE(trusting_->verifies());
  for (const Subject& subject : {Subject{.dns = {"other.example"}}, Subject{.begin = 0, .end = kDay}}) {
    const ServerContexts contexts = serving(subject);
    Line line(contexts, any_);
    EXPECT_TRUE(line.run()) << line.client.failure();
    EXPECT_EQ(line.client.failure(), "");
  }
}

TEST_F(ClientContextTest, AnyCutGivesTheSameOctets) {
  const ServerContexts contexts = serving(Subject{});
  const char* given = std::getenv("POSTERN_SEED");
  const std::uint64_t seed = given != nullptr ? std::strtoull(given, nullptr, 10) : std::random_device{}();
  SCOPED_TRACE("POSTERN_SEED=" + std::to_string(seed));
  std::mt19937_64 random(seed);
  for (int round = 0; round < 20; ++round) {
    Line line(contexts, trusting_);
    line.cut = random_cuts(random(), 1 + random() % 3000);
    ASSERT_TRUE(line.run()) << line.client.failure();
    std::string question(random() % 100'000, '\0'), answer(random() % 100'000, '\0');
    for (char& c : question) c = static_cast<char>(random());
    for (char& c : answer) c = static_cast<char>(random());
    line.say(line.client, line.to_server, question);
    line.say(line.server, line.to_client, answer);
    ASSERT_TRUE(line.run());
    EXPECT_EQ(line.at_server, question);
    EXPECT_EQ(line.at_client, answer);
  }
}

TEST_F(ClientContextTest, WhatIsNoTlsFails) {
  Session client(any_, kPeer, at(kNow));
  std::array<char, 4096> memory, plain;
  OutputBuffer out(memory.data(), memory.size());
  EXPECT_EQ(client.receive({}, plain, out).status, Status::need_input);
  EXPECT_FALSE(out.empty()) << "the client speaks first";
  EXPECT_EQ(client.receive("250 mx.example.org\r\n", plain, out).status, Status::failed);
  EXPECT_EQ(client.failure(), "not TLS");
}

TEST_F(ClientContextTest, ASessionIsResumedAndJudgedAnew) {
  const ServerContexts contexts = serving(Subject{.end = kNow + 3600});
  Line first(contexts, trusting_);
  ASSERT_TRUE(first.run());
  EXPECT_FALSE(first.client.resumed());
  first.say(first.server, first.to_client, "250 ok\r\n");  // the ticket goes in front of it
  ASSERT_TRUE(first.run());
  EXPECT_EQ(trusting_->sessions_kept(), 1U);

  Line other_port(contexts, trusting_, {"mail.example.net", 26, false});
  ASSERT_TRUE(other_port.run());
  EXPECT_FALSE(other_port.client.resumed());

  Line second(contexts, trusting_);
  ASSERT_TRUE(second.run());
  EXPECT_TRUE(second.client.resumed());
  second.say(second.server, second.to_client, "250 ok\r\n");
  ASSERT_TRUE(second.run());

  Line late(contexts, trusting_, kPeer, kNow + 3601);  // the ticket is still good, the certificate is not
  EXPECT_FALSE(late.run());
  EXPECT_EQ(late.client.failure(), "its certificate is not believed: certificate has expired");
}

TEST_F(ClientContextTest, RemembersWhereTlsFailedForAWhile) {
  EXPECT_FALSE(any_->avoids(kPeer, 0));
  any_->avoid(kPeer, 1000);
  EXPECT_TRUE(any_->avoids(kPeer, 999));
  EXPECT_FALSE(any_->avoids(kPeer, 1000));
  EXPECT_FALSE(any_->avoids({kPeer.host, 26, false}, 999));
  std::size_t known = 0;
  for (std::uint16_t port = 1000; port < 1000 + 2 * ClientContext::kPeersMax; ++port) {
    any_->avoid({kPeer.host, port, false}, 1000);
    ASSERT_TRUE(any_->avoids({kPeer.host, port, false}, 999)) << "the newest is never the one given up";
  }
  for (std::uint16_t port = 1000; port < 1000 + 2 * ClientContext::kPeersMax; ++port) {
    known += any_->avoids({kPeer.host, port, false}, 999) ? 1 : 0;
  }
  EXPECT_LE(known, ClientContext::kPeersMax);
  EXPECT_GE(known, ClientContext::kPeersMax - 1);
}

TEST_F(ClientContextTest, FilesThatAreNoneAreErrors) {
  EXPECT_FALSE(ClientContext::make("/nonexistent/authorities.pem").has_value());
  const AuthoritiesFile nothing("nothing\n");
  const auto made = ClientContext::make(nothing.path());
  ASSERT_FALSE(made.has_value());
  EXPECT_NE(made.error().text.find(nothing.path()), std::string::npos) << made.error().text;
  if (const std::string system = ClientContext::system_authorities(); !system.empty()) {
    EXPECT_TRUE(make(system)->verifies());
  }
}

}  // namespace
}  // namespace postern::net::tls::test
