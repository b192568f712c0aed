// How long a client may take, told by a clock that tests drive: TLS handshakes, silence, and ends of streams that the
// ring does not tell of.
#include <gtest/gtest.h>
#include <memory>
#include <string>
#include <string_view>

#include "core/clock.h"
#include "net/tls/ticket_keys.h"
#include "tests/net/tls/tls_support.h"
#include "tests/sim/sim_network.h"
#include "tests/sim/sim_server.h"
#include "tests/sim/sim_world.h"

namespace postern::sim {
namespace {

using policy::TlsMode;

const core::Endpoint kServer = *core::Endpoint::parse("192.0.2.1:25");
const core::Endpoint kClient = *core::Endpoint::parse("203.0.113.5:0");

// A client whose test says what it sends; with TLS once start_tls() was called.
class Client : public SimPeer {
 public:
  void on_connect(SimLink& made) override { link = made; }
  void on_data(SimLink&, std::string_view octets) override {
    raw += octets;
    if (tls == nullptr) return;
    tls->give(octets);
    tls->step();
    flush();
  }
  void on_end(SimLink& ended) override {
    is_over = true;
    ended.close();
  }
  void on_reset() override { is_over = true; }

  void start_tls() {
    tls = std::make_unique<net::tls::test::Client>(net::tls::test::ClientOptions{});
    tls->step();
    flush();
  }
  void say(std::string_view text) {
    tls->write(text);
    flush();
  }
  void flush() {
    const std::string octets = tls->take();
    if (!octets.empty()) link.send(octets);
  }

  SimLink link;
  std::unique_ptr<net::tls::test::Client> tls;
  std::string raw;
  bool is_over = false;
};

class SimTime : public testing::Test {
 protected:
  explicit SimTime(const SimOptions& options = {}) : world_(options) {}

  void serve(TlsMode mode) {
    SimServerOptions options;
    policy::Settings& settings = options.settings;
    settings.hostname = "relay.local.test";
    settings.local_domains = {"local.test"};
    settings.postmaster = "postmaster@local.test";
    settings.limits.connections = 64;
    settings.limits.queue_messages = 100;
    settings.limits.memory_bytes = 8u << 20;
    settings.limits.idle_seconds = 300;
    settings.services.emplace_back();
    settings.services[0].name = "smtp";
    settings.services[0].tls = mode;
    settings.services[0].listen = {kServer};
    policy::RouteSettings route;
    route.domain = "*";
    route.to = {{policy::NextHopProtocol::smtp, "192.0.2.25", 25, *core::IpAddress::parse("192.0.2.25")}};
    settings.routes = {route};
    options.ring.submission_entries = 64;
    options.ring.buffer_count = 64;
    options.ring.buffer_bytes = 4'096;
    options.server.spool_directory = "/spool";
    options.server.receive_buffers = options.ring.buffer_count;
    options.server.spool.segment_bytes = 256u << 10;
    options.server.spool.commit_bytes = 96u << 10;
    options.server.spool.inline_bytes_max = 16u << 10;
    options.security = [this, mode] {
      net::SecurityParts parts;
      if (mode != TlsMode::none) {
        parts.tls = net::tls::ServerContexts::make({net::tls::test::server_certificate({})}, {{"smtp", ""}}, tickets_).value();
      }
      return parts;
    };
    server_ = std::make_unique<SimServer>(world_, options);
    server_->start();
    ASSERT_EQ(world_.run([this] { return server_->is_serving(); }, {.seconds = 60}), RunEnd::condition);
  }

  void TearDown() override {
    server_->begin_drain(10);
    EXPECT_EQ(world_.run([this] { return server_->is_over(); }, {.seconds = 60}), RunEnd::condition);
    EXPECT_TRUE(server_->ended_quietly());
  }

  std::shared_ptr<Client> connect() {
    auto client = std::make_shared<Client>();
    world_.network().connect(kClient, kServer, client);
    EXPECT_EQ(world_.run([&] { return client->link.is_open(); }, {.seconds = 10}), RunEnd::condition);
    return client;
  }
  void await(const std::shared_ptr<Client>& client, std::string_view text) {
    ASSERT_EQ(world_.run([&] { return client->raw.contains(text); }, {.seconds = 10}), RunEnd::condition) << client->raw;
  }
  // Seconds until the server ends the connection.
  double seconds_to_the_end(const std::shared_ptr<Client>& client) {
    const std::int64_t begin = world_.now().boot_ns;
    EXPECT_EQ(world_.run([&] { return client->is_over; }, {.seconds = 4'000}), RunEnd::condition);
    return static_cast<double>(world_.now().boot_ns - begin) / core::kNanosecondsPerSecond;
  }

  SimWorld world_;
  net::tls::TicketKeys tickets_;
  std::unique_ptr<SimServer> server_;
};

TEST_F(SimTime, SilenceInThePlaceOfAHandshake) {
  serve(TlsMode::implicit);
  const auto client = connect();
  EXPECT_NEAR(seconds_to_the_end(client), 30, 1);
  EXPECT_EQ(client->raw, "") << "plain words where TLS was awaited";
}

TEST_F(SimTime, SilenceBehindStarttls) {
  serve(TlsMode::starttls);
  const auto client = connect();
  await(client, "220 ");
  client->link.send("STARTTLS\r\n");
  await(client, "220 2.0.0");
  const std::size_t before = client->raw.size();
  EXPECT_NEAR(seconds_to_the_end(client), 30, 1);
  EXPECT_EQ(client->raw.size(), before);
}

// Whoever sends an octet now and then gets no more time for it.
TEST_F(SimTime, AHandshakeOctetByOctet) {
  serve(TlsMode::implicit);
  const auto client = connect();
  net::tls::test::Client tls({});
  ASSERT_TRUE(tls.step());
  const std::string hello = tls.take();
  const std::int64_t begin = world_.now().boot_ns;
  for (std::size_t at = 0; at < hello.size() && !client->is_over; ++at) {
    client->link.send(hello.substr(at, 1));
    world_.run([&] { return client->is_over; }, {.seconds = 2});
  }
  EXPECT_TRUE(client->is_over);
  EXPECT_NEAR(static_cast<double>(world_.now().boot_ns - begin) / core::kNanosecondsPerSecond, 30, 2);
}

TEST_F(SimTime, SilenceWithinTlsIsToldWithinTls) {
  serve(TlsMode::implicit);
  const auto client = connect();
  client->start_tls();
  ASSERT_EQ(world_.run([&] { return client->tls->read().contains("220 "); }, {.seconds = 10}), RunEnd::condition);
  client->say("EHLO client.example\r\n");
  ASSERT_EQ(world_.run([&] { return client->tls->read().contains("250 HELP"); }, {.seconds = 10}), RunEnd::condition);
  EXPECT_NEAR(seconds_to_the_end(client), 300, 1);
  EXPECT_TRUE(client->tls->read().ends_with("421 4.4.2 idle too long, closing\r\n")) << client->tls->read();
  EXPECT_TRUE(client->tls->is_closed());
}

class SimLostEnd : public SimTime {
 protected:
  static SimOptions options() {
    SimOptions made;
    made.end_is_lost = 1000;
    return made;
  }
  SimLostEnd() : SimTime(options()) {}
};

// A client that goes in the middle of a line, so that no reply of ours finds out: its place is free again soon, though the
// ring told of its octets only.
TEST_F(SimLostEnd, IsFoundByLookingAgain) {
  serve(TlsMode::none);
  const auto client = connect();
  await(client, "220 ");
  const std::int64_t begin = world_.now().boot_ns;
  client->link.send("EHLO cli");
  client->link.close();
  EXPECT_EQ(world_.run([&] { return world_.network().connections() == 0; }, {.seconds = 299}), RunEnd::condition);
  EXPECT_GE(world_.now().boot_ns - begin, core::kNanosecondsPerSecond) << "the end was not lost";
  EXPECT_LT(world_.now().boot_ns - begin, 11 * core::kNanosecondsPerSecond);
}

}  // namespace
}  // namespace postern::sim
