// TLS over real sockets and the real ring, with BoringSSL's client: much at once, little at a time, clients that stop in
// the middle, slow readers, and what a connection owns when nothing happens. POSTERN_SEED=n runs one seed.
#include <array>
#include <algorithm>
#include <chrono>
#include <cstdlib>
#include <fcntl.h>
#include <fstream>
#include <gtest/gtest.h>
#include <random>
#include <string>
#include <sys/socket.h>
#include <thread>
#include <vector>

#include "tests/net/server/test_server.h"
#include "tests/net/server/tls_settings.h"

namespace postern::net::test {
namespace {

using policy::TlsMode;

class TlsServer : public testing::TestWithParam<TlsMode> {
 protected:
  void start(TestServerOptions options = with_anna()) {
    options.keep_log = true;
    server_ = std::make_unique<TestServer>(settings_, spool_.path(), options);
  }
  std::unique_ptr<TestClient> connect() { return std::make_unique<TestClient>("127.0.0.1", server_->port()); }
  std::unique_ptr<TestClient> open(const tls::test::ClientOptions& options = {}) {
    auto client = connect();
    open_tls(*client, GetParam(), options);
    return client;
  }
  // A connection that is where its handshake begins.
  std::unique_ptr<TestClient> at_handshake() {
    auto client = connect();
    if (GetParam() == TlsMode::starttls) {
      EXPECT_EQ(client->line().substr(0, 3), "220");
      EXPECT_EQ(client->command("STARTTLS").substr(0, 3), "220");
    }
    return client;
  }

  policy::Settings settings_ = tls_settings(GetParam());
  ScratchFolder spool_;
  std::unique_ptr<TestServer> server_;
};

INSTANTIATE_TEST_SUITE_P(Modes, TlsServer, testing::Values(TlsMode::starttls, TlsMode::implicit),
                         [](const auto& mode) { return mode.param == TlsMode::starttls ? "Starttls" : "Implicit"; });

std::string message_of(int number, std::size_t octets) {
  std::string text = "Subject: " + std::to_string(number) + "\r\n\r\n";
  while (text.size() < octets) text += std::string(70, static_cast<char>('a' + number % 26)) + "\r\n";
  return text;
}

std::string transaction(const std::string& content) {
  return "MAIL FROM:<user@client.example>\r\nRCPT TO:<user@example.net>\r\nBDAT " + std::to_string(content.size()) +
         " LAST\r\n" + content;
}

TEST_P(TlsServer, TakesTwoThousandPipelinedMessages) {
  constexpr int kMessages = 2000;
  start();
  auto client = open();
  client->command("EHLO client.example");
  std::string all;
  for (int i = 0; i < kMessages; ++i) all += transaction(message_of(i, 100 + static_cast<std::size_t>(i) % 3000));
  // Written by one thread and read by another, as both directions are full.
  client->tls().write(all);
  const std::string cipher = client->tls().take();
  std::thread writer([&] { client->send_raw(cipher); });
  for (int i = 0; i < 3 * kMessages; ++i) {
    const std::string line = client->line();
    if (line.substr(0, 3) != "250") {
      ADD_FAILURE() << "reply " << i << ": " << line;
      break;
    }
  }
  writer.join();
  EXPECT_EQ(client->command("QUIT").substr(0, 3), "221");
  EXPECT_EQ(client->line(), "(closed)");
  EXPECT_TRUE(client->tls().is_closed()) << "without close_notify nobody knows that it was the end";
  client.reset();
  await_no_connections(*server_);
  expect_nothing_held(*server_);
  server_->stop();
  const std::vector<std::string> contents = stored_contents(spool_.path());
  ASSERT_EQ(contents.size(), static_cast<std::size_t>(kMessages));
  for (int i = 0; i < kMessages; ++i) {
    ASSERT_EQ(contents[static_cast<std::size_t>(i)], message_of(i, 100 + static_cast<std::size_t>(i) % 3000)) << i;
  }
}

// Each octet in a record of its own.
TEST_P(TlsServer, TakesTinyRecords) {
  start();
  auto client = open();
  client->command("EHLO client.example");
  const std::string content = message_of(1, 700);
  for (const char octet : transaction(content)) client->send({&octet, 1});
  for (int i = 0; i < 3; ++i) EXPECT_EQ(client->line().substr(0, 3), "250");
  client.reset();
  server_->stop();
  EXPECT_EQ(stored_contents(spool_.path()), std::vector{content});
}

// One record in many pieces, each of them a receive of its own.
TEST_P(TlsServer, TakesRecordsInTinyPieces) {
  start();
  auto client = open();
  client->command("EHLO client.example");
  const std::string content = message_of(1, 300);
  client->tls().write(transaction(content));
  const std::string cipher = client->tls().take();
  for (const char& octet : cipher) {
    client->send_raw({&octet, 1});
    if (&octet - cipher.data() < 40) server_->await_turn();
  }
  for (int i = 0; i < 3; ++i) EXPECT_EQ(client->line().substr(0, 3), "250");
  client.reset();
  server_->stop();
  EXPECT_EQ(stored_contents(spool_.path()), std::vector{content});
}

// Larger than what stays in memory: it goes to a file of its own while it comes in.
TEST_P(TlsServer, TakesAHugeMessage) {
  start();
  auto client = open();
  client->command("EHLO client.example");
  const std::string content = message_of(1, 3 << 20);
  client->send(transaction(content));
  for (int i = 0; i < 3; ++i) EXPECT_EQ(client->line().substr(0, 3), "250");
  client.reset();
  await_no_connections(*server_);
  expect_nothing_held(*server_);
  server_->stop();
  EXPECT_EQ(stored_contents(spool_.path()), std::vector{content});
}

TEST_P(TlsServer, RandomCutsAndRecordsChangeNothing) {
  const char* only = std::getenv("POSTERN_SEED");
  const std::uint64_t first = only == nullptr ? 1 : std::strtoull(only, nullptr, 10);
  const std::uint64_t last = only == nullptr ? 12 : first;
  start();
  std::vector<std::string> awaited;
  for (std::uint64_t seed = first; seed <= last; ++seed) {
    SCOPED_TRACE("POSTERN_SEED=" + std::to_string(seed));
    std::mt19937_64 random(seed);
    auto client = open({.version_max = seed % 2 == 0 ? std::uint16_t{TLS1_2_VERSION} : std::uint16_t{TLS1_3_VERSION}});
    client->command("EHLO client.example");
    std::string plain;
    int replies = 0;
    for (std::uint64_t i = 1 + random() % 8; i > 0; --i, replies += 3) {
      awaited.push_back(message_of(static_cast<int>(seed * 100 + i), random() % 40000));
      plain += transaction(awaited.back());
    }
    std::string cipher;
    while (!plain.empty()) {
      const std::size_t octets = std::min<std::size_t>(plain.size(), 1 + random() % (std::size_t{1} << random() % 16));
      client->tls().write(std::string_view(plain).substr(0, octets));
      plain.erase(0, octets);
      cipher += client->tls().take();
    }
    while (!cipher.empty()) {
      const std::size_t octets = std::min<std::size_t>(cipher.size(), 1 + random() % (std::size_t{1} << random() % 16));
      client->send_raw(std::string_view(cipher).substr(0, octets));
      cipher.erase(0, octets);
    }
    for (; replies > 0; --replies) ASSERT_EQ(client->line().substr(0, 3), "250");
  }
  await_no_connections(*server_);
  expect_nothing_held(*server_);
  server_->stop();
  EXPECT_EQ(stored_contents(spool_.path()), awaited);
}

// The client's last flight and its first commands in one piece; and a service that gives tickets which have no room
// behind each other in one send, so that replies wait for them.
TEST_P(TlsServer, AnswersCommandsBehindTheHandshake) {
  std::vector<std::string> names = {"anna@example.net"};
  for (int i = 0; i < 150; ++i) names.push_back("anna+" + std::to_string(i) + "@a-rather-long-name.of-a-host.example.net");
  const tls::test::Identity identity =
      tls::test::issue({.common_name = "Anna", .dns = {}, .email = names, .begin = 0, .end = 4'000'000'000,
                        .purpose = NID_client_auth}, &tls::test::root());
  const std::string authority = spool_.path() + "/ca.pem";
  std::ofstream(authority) << tls::test::root().pem();
  for (const bool with_certificate : {false, true}) {
    settings_.services[0].auth.client_ca = with_certificate ? authority : std::string();
    start();
    for (const std::uint16_t version : {TLS1_2_VERSION, TLS1_3_VERSION}) {
      auto client = at_handshake();
      tls::test::ClientOptions options{.version_min = version, .version_max = version};
      if (with_certificate) options.identity = &identity;
      tls::test::Client tls(options);
      while (!tls.is_done()) {
        ASSERT_TRUE(tls.step());
        if (tls.is_done()) break;
        client->send_raw(tls.take());
        tls.give(client->receive_raw());
      }
      tls.write("EHLO a\r\nNOOP\r\nEHLO b\r\nNOOP\r\nEHLO c\r\nQUIT\r\n");
      client->send_raw(tls.take());
      while (tls.step() && !tls.is_closed()) {
        const std::string cipher = client->receive_raw();
        ASSERT_FALSE(cipher.empty()) << "the end came before close_notify; so far: " << tls.read();
        tls.give(cipher);
      }
      EXPECT_TRUE(tls.is_closed());
      EXPECT_TRUE(tls.read().ends_with("250 HELP\r\n221 2.0.0 Bye\r\n")) << tls.read();
      EXPECT_EQ(tls.read().starts_with("220 mail.example.net "), GetParam() == TlsMode::implicit);
    }
    server_->stop();
  }
}

// --- the end in the middle -----------------------------------------------------------------------------------------

// A client that goes, with a farewell of TCP's or without, after each octet of what it says in a handshake.
TEST_P(TlsServer, ClientsThatCloseInTheHandshake) {
  start();
  for (const std::uint16_t version : {TLS1_2_VERSION, TLS1_3_VERSION}) {
    const tls::test::ClientOptions options{.version_min = version, .version_max = version, .server_name = "m"};
    for (int flight = 0; flight < 2; ++flight) {
      std::size_t length = 1;
      for (std::size_t at = 0; at < length; ++at) {
        auto client = at_handshake();
        tls::test::Client tls(options);
        ASSERT_TRUE(tls.step());
        std::string octets = tls.take();
        if (flight == 1) {
          client->send_raw(octets);
          while (octets = {}, tls.step() && (octets = tls.take()).empty()) tls.give(client->receive_raw());
        }
        length = octets.size();
        ASSERT_GT(length, 50U);
        client->send_raw(octets.substr(0, at));
        if (at % 2 == 0) client->reset();
      }
    }
  }
  await_no_connections(*server_);
  expect_nothing_held(*server_);
  // It goes on as if nothing had been.
  EXPECT_EQ(open()->command("NOOP"), "250 2.0.0 Ok");
}

TEST_P(TlsServer, ClientsThatCloseInASession) {
  start();
  for (std::size_t at = 0; at < 150; at += 3) {
    auto client = open();
    client->command("EHLO client.example");
    client->tls().write(std::string(kAuthPlain) + "\r\n" + transaction("Subject: x\r\n\r\n"));
    const std::string cipher = client->tls().take();
    client->send_raw(cipher.substr(0, at));
    if (at % 2 == 0) client->reset();
  }
  await_no_connections(*server_);
  expect_nothing_held(*server_);
}

// The client's close_notify is the end of what it says; what it said before is answered.
TEST_P(TlsServer, AnswersWhatCameBeforeCloseNotify) {
  start();
  auto client = open();
  client->tls().write("NOOP\r\nNOOP\r\n");
  ASSERT_TRUE(client->tls().shut());
  client->send_raw(client->tls().take());
  std::string cipher;
  for (std::string piece = client->receive_raw(); !piece.empty(); piece = client->receive_raw()) cipher += piece;
  client->tls().give(cipher);
  std::array<char, 256> plain;
  std::string said;
  for (int n = SSL_read(client->tls().ssl(), plain.data(), plain.size()); n > 0;
       n = SSL_read(client->tls().ssl(), plain.data(), plain.size())) {
    said.append(plain.data(), static_cast<std::size_t>(n));
  }
  EXPECT_EQ(said, "250 2.0.0 Ok\r\n250 2.0.0 Ok\r\n");
  await_no_connections(*server_);
}

// --- what is no TLS ------------------------------------------------------------------------------------------------

TEST_P(TlsServer, TellsWhyAHandshakeFailed) {
  start();
  {
    auto client = at_handshake();
    client->send_raw("GET / HTTP/1.1\r\n\r\n");
    while (!client->receive_raw().empty()) {
    }
  }
  std::vector<std::string> lines = server_->logged("tls_failed");
  ASSERT_EQ(lines.size(), 1U);
  EXPECT_TRUE(lines[0].contains("service=submission client=127.0.0.1 reason=")) << lines[0];
  {
    auto client = at_handshake();
    EXPECT_FALSE(client->handshake({.version_min = TLS1_VERSION, .version_max = TLS1_1_VERSION}));
    EXPECT_EQ(ERR_GET_REASON(client->tls().error()), SSL_R_TLSV1_ALERT_PROTOCOL_VERSION) << "the alert did not come";
  }
  lines = server_->logged("tls_failed");
  ASSERT_EQ(lines.size(), 1U);
  EXPECT_TRUE(lines[0].contains("protocol")) << lines[0];
  EXPECT_EQ(server_->counters().tls_failed.get(), 2U);
  EXPECT_EQ(server_->counters().tls_handshakes.get(), 0U);
  await_no_connections(*server_);
  expect_nothing_held(*server_);
}

TEST_P(TlsServer, AChangedRecordEndsTheConnection) {
  start();
  auto client = open();
  client->tls().write("NOOP\r\n");
  std::string cipher = client->tls().take();
  cipher.back() ^= 1;
  client->send_raw(cipher);
  EXPECT_EQ(client->line(), "(closed)");
  EXPECT_EQ(ERR_GET_REASON(client->tls().error()), SSL_R_SSLV3_ALERT_BAD_RECORD_MAC);
  EXPECT_EQ(server_->logged("tls_failed").size(), 1U);
}

TEST_P(TlsServer, ResumesWithItsTickets) {
  start();
  bssl::UniquePtr<SSL_SESSION> ticket;
  {
    auto client = open();
    client->command("EHLO client.example");
    EXPECT_EQ(client->command(kAuthPlain).substr(0, 3), "235");
    ticket = client->tls().session();
  }
  ASSERT_NE(ticket, nullptr);
  auto client = open({.session = ticket.get()});
  EXPECT_EQ(SSL_session_reused(client->tls().ssl()), 1);
  client->command("EHLO client.example");
  EXPECT_EQ(server_->counters().tls_resumed.get(), 1U);
  // Nobody is logged in by it.
  EXPECT_EQ(client->command("MAIL FROM:<user@client.example>"), "250 2.1.0 Ok");
  EXPECT_EQ(client->command("RCPT TO:<user@elsewhere.example>").substr(0, 3), "550");
}

// --- memory --------------------------------------------------------------------------------------------------------

// Answers are written faster than they are read: the server stops taking commands, and holds what it has.
TEST_P(TlsServer, ASlowReaderIsWaitedFor) {
  start();
  auto client = open();
  ::fcntl(client->socket(), F_SETFL, ::fcntl(client->socket(), F_GETFL) | O_NONBLOCK);
  const int small = 4096;
  setsockopt(client->socket(), SOL_SOCKET, SO_RCVBUF, &small, sizeof small);
  setsockopt(client->socket(), SOL_SOCKET, SO_SNDBUF, &small, sizeof small);
  // 14 octets of command make some 300 of answer.
  std::string commands;
  for (int i = 0; i < 1000; ++i) commands += "EHLO c.example\r\n";
  std::string cipher;
  std::size_t written = 0;
  std::size_t in_flight = 0;  // of commands
  int stalled = 0;
  // Until nothing moves: the sockets' buffers, which are the kernel's, are full in both directions.
  while (stalled < 200 && written < (64U << 20)) {
    if (cipher.empty()) {
      client->tls().write(commands);
      cipher = client->tls().take();
      in_flight += 1000;
    }
    const ssize_t n = ::send(client->socket(), cipher.data(), cipher.size(), MSG_NOSIGNAL);
    if (n > 0) {
      cipher.erase(0, static_cast<std::size_t>(n));
      written += static_cast<std::size_t>(n);
    }
    stalled = n > 0 ? 0 : stalled + 1;
    server_->await_turn();
  }
  ASSERT_LT(written, 64U << 20) << "the server takes commands without end";
  server_->on_worker([](WorkerServer& worker) {
    // Replies, a record's plain text, what is encrypted of it, a cut command, a name.
    EXPECT_LE(worker.session_pool().used_bytes(), 4096U + 16384U + 8192U + 2048U + 128U);
    EXPECT_GE(worker.ring().buffers_free() + HeldInput::kHeldMax + 4, 128U);
  });
  // Now it reads, and hears all of it.
  const int large = 1 << 20;
  setsockopt(client->socket(), SOL_SOCKET, SO_RCVBUF, &large, sizeof large);
  ::fcntl(client->socket(), F_SETFL, ::fcntl(client->socket(), F_GETFL) & ~O_NONBLOCK);
  std::thread writer([&] { client->send_raw(cipher); });
  std::size_t answered = 0;
  while (answered < in_flight) {
    const std::string line = client->line();
    if (line == "(closed)" || line == "(timeout)") {
      ADD_FAILURE() << line << " after " << answered << " of " << in_flight;
      break;
    }
    answered += line == "250 HELP" ? 1U : 0U;
  }
  writer.join();
}

// An idle connection has its session's objects, and nothing of the pool but what a plain one has: the name the client gave.
TEST_P(TlsServer, AnIdleConnectionHoldsNoBuffers) {
  start();
  const auto used = [this] {
    std::size_t octets = 0;
    server_->await_turn();
    server_->on_worker([&octets](WorkerServer& worker) { octets = worker.session_pool().used_bytes(); });
    return octets;
  };
  auto client = open();
  EXPECT_EQ(client->command("NOOP"), "250 2.0.0 Ok");
  EXPECT_EQ(used(), 0U);
  client->command("EHLO client.example");
  EXPECT_EQ(used(), 128U);
  EXPECT_EQ(client->command(kAuthPlain).substr(0, 3), "235");
  EXPECT_EQ(client->command("NOOP"), "250 2.0.0 Ok");
  EXPECT_EQ(used(), 128U);
  // In the middle of a record too: what there is of it waits in BoringSSL's own memory.
  client->tls().write("NOOP\r\n");
  const std::string cipher = client->tls().take();
  client->send_raw(cipher.substr(0, 10));
  EXPECT_EQ(used(), 128U);
  client->send_raw(cipher.substr(10));
  EXPECT_EQ(client->line(), "250 2.0.0 Ok");
  server_->on_worker([](WorkerServer& worker) { EXPECT_EQ(worker.tls_channels().in_use(), 1U); });
}

// Connections that wait in their handshake hold no buffers either: strangers can make many of those.
TEST_P(TlsServer, AnUnfinishedHandshakeHoldsNoBuffers) {
  start();
  std::vector<std::unique_ptr<TestClient>> clients;
  for (int i = 0; i < 50; ++i) {
    clients.push_back(at_handshake());
    tls::test::Client tls({});
    ASSERT_TRUE(tls.step());
    clients.back()->send_raw(std::string_view(tls.take()).substr(0, i % 2 == 0 ? 100 : 5));
  }
  server_->await_turn();
  const auto until = std::chrono::steady_clock::now() + std::chrono::seconds(10);
  bool all_there = false;
  while (!all_there) {
    ASSERT_LT(std::chrono::steady_clock::now(), until);
    server_->on_worker([&](WorkerServer& worker) { all_there = worker.tls_channels().in_use() == 50; });
  }
  server_->await_turn();
  server_->on_worker([](WorkerServer& worker) {
    EXPECT_EQ(worker.session_pool().used_bytes(), 0U);
    EXPECT_GE(worker.ring().buffers_free(), 120U);
  });
  clients.clear();
  await_no_connections(*server_);
  expect_nothing_held(*server_);
}

TEST_P(TlsServer, ManyConnectionsAtOnce) {
  start();
  constexpr int kThreads = 6;
  constexpr int kEach = 25;
  std::vector<std::thread> threads;
  for (int t = 0; t < kThreads; ++t) {
    threads.emplace_back([this, t] {
      std::vector<std::unique_ptr<TestClient>> clients;
      for (int i = 0; i < kEach; ++i) {
        clients.push_back(open());
        clients.back()->command("EHLO client.example");
      }
      for (int i = 0; i < kEach; ++i) {
        EXPECT_EQ(clients[static_cast<std::size_t>(i)]->command(i % 3 == 0 ? kAuthWrong : kAuthPlain).substr(0, 3),
                  i % 3 == 0 ? "535" : "235");
      }
      for (int i = 0; i < kEach; ++i) clients[static_cast<std::size_t>(i)]->send(transaction(message_of(t * 100 + i, 500)));
      for (const auto& client : clients) {
        const std::string mail = client->line();
        // Who is not logged in sends as anybody; whoever is, as himself.
        if (mail.substr(0, 3) == "250") {
          EXPECT_EQ(client->line().substr(0, 3), "250");
          EXPECT_EQ(client->line().substr(0, 3), "250");
        } else {
          EXPECT_EQ(mail.substr(0, 9), "550 5.7.1");
        }
      }
    });
  }
  for (std::thread& thread : threads) thread.join();
  await_no_connections(*server_);
  expect_nothing_held(*server_);
  EXPECT_EQ(server_->counters().tls_handshakes.get(), std::uint64_t{kThreads * kEach});
  EXPECT_EQ(server_->counters().messages_accepted.get(), std::uint64_t{kThreads * 9});
  server_->stop();
}

// --- the server stops ----------------------------------------------------------------------------------------------

TEST_P(TlsServer, DrainsInTheHandshake) {
  start();
  auto silent = at_handshake();
  auto halfway = at_handshake();
  tls::test::Client tls({});
  ASSERT_TRUE(tls.step());
  halfway->send_raw(std::string_view(tls.take()).substr(0, 60));
  auto idle = open();
  EXPECT_EQ(idle->command("NOOP"), "250 2.0.0 Ok");
  const auto begin = std::chrono::steady_clock::now();
  server_->stop();
  EXPECT_LT(std::chrono::steady_clock::now() - begin, std::chrono::seconds(8)) << "a handshake kept the server";
  EXPECT_EQ(silent->line(), "(closed)");
  EXPECT_EQ(halfway->line(), "(closed)");
  EXPECT_EQ(idle->line(), "421 4.3.2 the server is shutting down");
  EXPECT_EQ(idle->line(), "(closed)");
  EXPECT_TRUE(idle->tls().is_closed());
}

}  // namespace
}  // namespace postern::net::test
