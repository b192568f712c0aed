// The POP3/IMAP front on the simulated machine: how long clients and stores may take, by a clock that tests drive, and
// many seeds of clients and a store whose octets come late, in pieces, or not at all.
#include <algorithm>
#include <gtest/gtest.h>
#include <memory>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "core/clock.h"
#include "tests/sim/sim_network.h"
#include "tests/sim/sim_random.h"
#include "tests/sim/sim_seeds.h"
#include "tests/sim/sim_server.h"
#include "tests/sim/sim_world.h"

namespace postern::sim {
namespace {

const core::Endpoint kSmtp = *core::Endpoint::parse("192.0.2.1:25");
const core::Endpoint kPop3 = *core::Endpoint::parse("192.0.2.1:110");
const core::Endpoint kStore = *core::Endpoint::parse("192.0.2.50:110");
const core::IpAddress kClient = *core::IpAddress::parse("203.0.113.5");

SimServerOptions server_options() {
  SimServerOptions options;
  policy::Settings& settings = options.settings;
  settings.hostname = "relay.local.test";
  settings.local_domains = {"local.test"};
  settings.postmaster = "postmaster@local.test";
  settings.limits.connections = 64;
  settings.limits.queue_messages = 100;
  settings.limits.memory_bytes = 8u << 20;
  settings.lan = {*core::IpPrefix::parse("203.0.113.0/24")};
  settings.services.emplace_back();
  settings.services[0].name = "smtp";
  settings.services[0].listen = {kSmtp};
  policy::MailboxSettings mailbox;
  mailbox.name = "pop3";
  mailbox.listen = {kPop3};
  mailbox.store = kStore;
  mailbox.plain_on_lan = true;
  settings.mailboxes = {mailbox};
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
  return options;
}

// A client or a store that is the test's own, octet by octet.
class Peer : public SimPeer {
 public:
  void on_connect(SimLink& made) override { link = made; }
  void on_data(SimLink&, std::string_view octets) override { heard += octets; }
  void on_end(SimLink& ended) override {
    is_over = true;
    if (closes) ended.close();
  }
  void on_reset() override { is_over = true; }

  SimLink link;
  std::string heard;
  bool is_over = false;
  bool closes = true;  // when the other side has
};

// --- time ----------------------------------------------------------------------------------------------------------

class SimFrontTime : public testing::Test {
 protected:
  void serve() {
    world_.network().listen(kStore, [this] {
      store_ = std::make_shared<Peer>();
      return store_;
    });
    server_ = std::make_unique<SimServer>(world_, options_);
    server_->start();
    ASSERT_EQ(world_.run([this] { return server_->is_serving(); }, {.seconds = 60}), RunEnd::condition);
  }
  void TearDown() override {
    server_->begin_drain(10);
    EXPECT_EQ(world_.run([this] { return server_->is_over(); }, {.seconds = 60}), RunEnd::condition);
    EXPECT_TRUE(server_->ended_quietly());
  }
  std::shared_ptr<Peer> connect() {
    auto client = std::make_shared<Peer>();
    world_.network().connect({kClient, 0}, kPop3, client);
    EXPECT_EQ(world_.run([&] { return client->link.is_open(); }, {.seconds = 10}), RunEnd::condition);
    return client;
  }
  // From here until `peer` has heard `text` behind what it had heard.
  void await(const std::shared_ptr<Peer>& peer, std::string_view text) {
    ASSERT_EQ(world_.run([&] { return peer->heard.contains(text); }, {.seconds = 10}), RunEnd::condition) << peer->heard;
    peer->heard.erase(0, peer->heard.find(text) + text.size());
  }
  void await_store() {
    ASSERT_EQ(world_.run([&] { return store_ != nullptr; }, {.seconds = 10}), RunEnd::condition);
  }
  std::shared_ptr<Peer> greeted() {
    const auto client = connect();
    await_store();
    store_->link.send("+OK ready\r\n");
    await(store_, "CAPA\r\n");
    store_->link.send("+OK\r\nUSER\r\n.\r\n");
    await(client, "+OK Postern POP3 server ready\r\n");
    return client;
  }
  std::shared_ptr<Peer> logged_in() {
    const auto client = greeted();
    client->link.send("USER anna\r\nPASS secret\r\n");
    await(store_, "USER anna\r\n");
    store_->link.send("+OK\r\n");
    await(store_, "PASS secret\r\n");
    store_->link.send("+OK in\r\n");
    await(client, "+OK in\r\n");
    return client;
  }
  double seconds_until(const std::shared_ptr<Peer>& peer_is_over) {
    const std::int64_t begin = world_.now().boot_ns;
    EXPECT_EQ(world_.run([&] { return peer_is_over->is_over; }, {.seconds = 4'000}), RunEnd::condition);
    return static_cast<double>(world_.now().boot_ns - begin) / core::kNanosecondsPerSecond;
  }
  [[nodiscard]] bool is_granted() const {
    return server_->logins().is_granted(kClient, world_.now().boot_ns / core::kNanosecondsPerSecond);
  }

  SimServerOptions options_ = server_options();
  SimWorld world_{SimOptions{}};
  std::shared_ptr<Peer> store_;
  std::unique_ptr<SimServer> server_;
};

TEST_F(SimFrontTime, AClientThatSaysNothing) {
  serve();
  const auto client = greeted();
  EXPECT_NEAR(seconds_until(client), 60, 1);
  EXPECT_EQ(client->heard, "-ERR Idle too long\r\n");
  EXPECT_TRUE(world_.run([&] { return store_->is_over; }, {.seconds = 5}) == RunEnd::condition) << "its store is left";
}

// Whoever says something now and then has three minutes for his login.
TEST_F(SimFrontTime, AClientThatDoesNotComeToTheLogin) {
  serve();
  const auto client = greeted();
  const std::int64_t begin = world_.now().boot_ns;
  while (!client->is_over) {
    client->link.send("CAPA\r\n");
    world_.run([&] { return client->is_over; }, {.seconds = 40});
  }
  EXPECT_NEAR(static_cast<double>(world_.now().boot_ns - begin) / core::kNanosecondsPerSecond, 180, 3);
}

TEST_F(SimFrontTime, AStoreThatCannotBeReached) {
  world_.network().set_silent(kStore.address, true);
  serve();
  const auto client = connect();
  EXPECT_NEAR(seconds_until(client), 30, 1);
  EXPECT_EQ(client->heard, "-ERR [SYS/TEMP] Mail store is not available now, try again later\r\n");
}

TEST_F(SimFrontTime, AStoreThatDoesNotGreet) {
  serve();
  const auto client = connect();
  EXPECT_NEAR(seconds_until(client), 30, 1);
  EXPECT_EQ(client->heard, "-ERR [SYS/TEMP] Mail store is not available now, try again later\r\n");
}

// An octet now and then is no answer, but shows that it lives; each reply has half a minute from its last octet.
TEST_F(SimFrontTime, AStoreThatDoesNotAnswerALogin) {
  serve();
  const auto client = greeted();
  client->link.send("USER anna\r\nPASS secret\r\n");
  await(client, "+OK\r\n");
  await(store_, "USER anna\r\n");
  store_->link.send("+OK\r\n");
  await(store_, "PASS secret\r\n");
  EXPECT_NEAR(seconds_until(client), 30, 1);
  EXPECT_EQ(client->heard, "-ERR [SYS/TEMP] Mail store is not available now, try again later\r\n");
  EXPECT_FALSE(is_granted());
}

TEST_F(SimFrontTime, ABalancerThatDoesNotSayWhoItIs) {
  options_.settings.mailboxes[0].proxy_protocol = true;
  options_.settings.proxy_from = {*core::IpPrefix::parse("203.0.113.5")};
  serve();
  const auto client = connect();
  client->link.send("PROXY TCP4 203.0.113.");
  const double seconds = seconds_until(client);
  EXPECT_GT(seconds, 1);
  EXPECT_LT(seconds, 60);
  EXPECT_EQ(client->heard, "");
}

TEST_F(SimFrontTime, AnIdleConnectionAfterTheLogin) {
  serve();
  const auto client = logged_in();
  EXPECT_TRUE(is_granted());
  // A word of either side begins the time anew.
  world_.run([&] { return client->is_over; }, {.seconds = 2'000});
  ASSERT_FALSE(client->is_over);
  EXPECT_FALSE(is_granted()) << "the window is over, the connection is not";
  client->link.send("NOOP\r\n");
  await(store_, "NOOP\r\n");
  world_.run([&] { return client->is_over; }, {.seconds = 2'000});
  ASSERT_FALSE(client->is_over);
  store_->link.send("+OK\r\n");
  await(client, "+OK\r\n");
  EXPECT_NEAR(seconds_until(client), 2'100, 1);
}

// One side has ended, and the other does not: a minute of silence is enough.
TEST_F(SimFrontTime, AConnectionThatIsHalfClosed) {
  serve();
  const auto client = logged_in();
  client->closes = false;
  store_->link.send("+OK bye\r\n");
  store_->link.shutdown();
  await(client, "+OK bye\r\n");
  const std::int64_t begin = world_.now().boot_ns;
  EXPECT_EQ(world_.run([&] { return server_->program(0).fronts().is_empty(); }, {.seconds = 4'000}), RunEnd::condition);
  EXPECT_NEAR(static_cast<double>(world_.now().boot_ns - begin) / core::kNanosecondsPerSecond, 60, 1);
}

// --- seeds ---------------------------------------------------------------------------------------------------------

// What a run is about: who logs in with which password, and how many octets go each way.
struct Plan {
  std::string user;
  bool is_right = true;
  std::size_t down = 0;
  std::size_t up = 0;
};

std::string content_of(const std::string& user, std::size_t octets) {
  std::string text;
  text.reserve(octets + 32);
  for (std::size_t line = 0; text.size() < octets; ++line) text += user + std::to_string(line) + "\r\n";
  text.resize(octets);
  return text;
}

// A stream that is compared with what it has to be as it comes.
class Expected {
 public:
  void expect(std::string text) { text_ = std::move(text); }
  // False: these octets do not belong there.
  bool take(std::string_view octets) {
    if (std::string_view(text_).substr(at_, octets.size()) != octets) return false;
    at_ += octets.size();
    return true;
  }
  [[nodiscard]] bool is_whole() const { return at_ == text_.size(); }

 private:
  std::string text_;
  std::size_t at_ = 0;
};

class Scene;

// The store's end of a connection: takes the passwords of the plan, then sends what the plan says and counts what comes.
class StorePeer : public SimPeer {
 public:
  explicit StorePeer(Scene& scene) : scene_(scene) {}
  void on_connect(SimLink& made) override { made.send("+OK ready\r\n"); }
  void on_data(SimLink& link, std::string_view octets) override;

 private:
  Scene& scene_;
  std::string input_;
  const Plan* plan_ = nullptr;
  bool is_in_ = false;
  Expected expected_;
};

class ClientPeer : public SimPeer {
 public:
  ClientPeer(Scene& scene, const Plan& its, core::IpAddress address) : plan(its), scene_(scene), address_(address) {}
  void on_connect(SimLink& link) override;
  void on_data(SimLink& link, std::string_view octets) override;
  void on_end(SimLink& link) override {
    is_over = true;
    link.close();
  }
  void on_reset() override { is_over = true; }
  void on_refused(int) override { is_over = true; }

  Plan plan;
  bool is_in = false;
  bool is_over = false;
  bool is_whole = false;
  std::string heard;

 private:
  void take_lines(SimLink& link);
  Scene& scene_;
  core::IpAddress address_;
  int replies_ = 0;
  Expected expected_;
};

class Scene {
 public:
  explicit Scene(std::uint64_t seed) : world(SimOptions::from_seed(seed)), server(world, server_options()) {
    SimRandom& random = world.random();
    world.network().listen(kStore, [this] { return std::make_shared<StorePeer>(*this); });
    for (int i = 0; i < 8; ++i) {
      Plan plan;
      plan.user = "user" + std::to_string(i);
      plan.is_right = !random.chance(300);
      plan.down = random.chance(500) ? random.below(300) : random.below(200'000);
      plan.up = random.chance(500) ? random.below(300) : random.below(100'000);
      plans.push_back(plan);
    }
  }
  [[nodiscard]] bool is_granted(const core::IpAddress& address) const {
    return server.logins().is_granted(address, world.now().boot_ns / core::kNanosecondsPerSecond);
  }
  void run();

  SimWorld world;
  SimServer server;
  std::vector<Plan> plans;
  std::vector<std::shared_ptr<ClientPeer>> clients;
};

void StorePeer::on_data(SimLink& link, std::string_view octets) {
  input_ += octets;
  while (!is_in_) {
    const std::size_t end = input_.find("\r\n");
    if (end == std::string::npos) return;
    const std::string line = input_.substr(0, end);
    input_.erase(0, end + 2);
    if (line == "CAPA") {
      link.send("+OK\r\nUSER\r\n.\r\n");
    } else if (line.starts_with("USER ")) {
      const auto found = std::find_if(scene_.plans.begin(), scene_.plans.end(),
                                      [&](const Plan& plan) { return plan.user == line.substr(5); });
      ASSERT_NE(found, scene_.plans.end()) << line;
      plan_ = &*found;
      link.send("+OK\r\n");
    } else if (line == "PASS right") {
      ASSERT_NE(plan_, nullptr);
      is_in_ = true;
      expected_.expect(content_of(plan_->user, plan_->up));
      link.send("+OK in\r\n" + content_of(plan_->user, plan_->down));
    } else {
      ASSERT_EQ(line, "PASS wrong");
      link.send("-ERR [AUTH] no\r\n");
    }
  }
  ASSERT_TRUE(expected_.take(std::exchange(input_, {}))) << plan_->user;
  if (expected_.is_whole()) {
    link.send("+OK all\r\n");
    link.close();
  }
}

void ClientPeer::on_connect(SimLink& link) {
  // Some say everything at once, some wait for replies.
  const std::string login = "USER " + plan.user + "\r\nPASS " + (plan.is_right ? "right" : "wrong") + "\r\n";
  link.send(login + (plan.is_right ? content_of(plan.user, plan.up) : "QUIT\r\n"));
}

void ClientPeer::on_data(SimLink& link, std::string_view octets) {
  heard += octets;
  take_lines(link);
  if (!is_in) return;
  ASSERT_TRUE(expected_.take(std::exchange(heard, {}))) << plan.user;
  is_whole = expected_.is_whole();
}

void ClientPeer::take_lines(SimLink&) {
  while (!is_in) {
    const std::size_t end = heard.find("\r\n");
    if (end == std::string::npos) return;
    const std::string line = heard.substr(0, end);
    heard.erase(0, end + 2);
    if (line == "+OK in") {
      is_in = true;
      expected_.expect(content_of(plan.user, plan.down) + "+OK all\r\n");
      ASSERT_TRUE(plan.is_right);
      ASSERT_TRUE(scene_.is_granted(address_)) << "told before it was recorded";
    } else {
      ASSERT_FALSE(scene_.is_granted(address_) && !plan.is_right);
      ASSERT_LT(++replies_, 6) << line;
    }
  }
}

void Scene::run() {
  server.start();
  ASSERT_EQ(world.run([this] { return server.is_serving(); }, {.seconds = 60}), RunEnd::condition) << server.failure();
  for (std::size_t i = 0; i < plans.size(); ++i) {
    const auto address = *core::IpAddress::parse("203.0.113." + std::to_string(10 + i));
    clients.push_back(std::make_shared<ClientPeer>(*this, plans[i], address));
    world.network().connect({address, 0}, kPop3, clients.back());
  }
  const auto all_over = [this] {
    return std::all_of(clients.begin(), clients.end(), [](const auto& client) { return client->is_over; });
  };
  EXPECT_EQ(world.run(all_over, {.seconds = 4'000}), RunEnd::condition) << "a client was left hanging";
  for (std::size_t i = 0; i < clients.size(); ++i) {
    const auto address = *core::IpAddress::parse("203.0.113." + std::to_string(10 + i));
    if (!plans[i].is_right) {
      EXPECT_FALSE(is_granted(address));
    }
  }
  EXPECT_EQ(world.run([this] { return server.program(0).fronts().is_empty(); }, {.seconds = 4'000}), RunEnd::condition);
  EXPECT_EQ(server.program(0).ring().buffers_free(), 64u);
  EXPECT_EQ(server.program(0).fronts().pool().used_bytes(), 0u);
  server.begin_drain(10);
  EXPECT_EQ(world.run([this] { return server.is_over(); }, {.seconds = 60}), RunEnd::condition);
  EXPECT_TRUE(server.ended_quietly());
}

TEST(SimFront, ManySeeds) {
  std::size_t runs = 0;
  std::size_t whole = 0;
  for_each_seed(300, [&](std::uint64_t seed) {
    Scene scene(seed);
    scene.run();
    ++runs;
    for (const auto& client : scene.clients) whole += client->is_whole ? 1 : 0;
  });
  if (runs > 20) {
    EXPECT_GT(whole, runs) << "hardly anybody got through";
  }
}

}  // namespace
}  // namespace postern::sim
