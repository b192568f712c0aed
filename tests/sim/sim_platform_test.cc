// The simulator's scheduler, clock and rings: a real Worker and Mesh run on them, seeds repeat, broken rules are caught.
#include <algorithm>
#include <cerrno>
#include <cstdint>
#include <cstdlib>
#include <gtest/gtest.h>
#include <memory>
#include <poll.h>
#include <string>
#include <vector>

#include "core/mesh.h"
#include "core/published.h"
#include "core/ring.h"
#include "core/worker.h"

#include "tests/sim/sim_network.h"
#include "tests/sim/sim_world.h"

namespace postern::sim {
namespace {

using core::Completion;
using core::Endpoint;
using core::Outcome;
using core::Ring;

constexpr std::int64_t kSecond = core::kNanosecondsPerSecond;

core::RingOptions small_ring() {
  core::RingOptions options;
  options.buffer_count = 16;
  options.buffer_bytes = 512;
  return options;
}

// Remembers what completed.
struct Noted {
  Completion completion{core::completion_handler<&Noted::on_done>, this};
  std::vector<Outcome> outcomes;
  void on_done(Completion&, const Outcome& outcome) noexcept { outcomes.push_back(outcome); }
};

// Sends back what comes in, one receive's octets a send, on one worker.
class EchoServer {
 public:
  EchoServer(core::Worker& worker, const Endpoint& at) : ring_(worker.ring()), listener_(Ring::listen(at).value()) {
    ring_.accept(listener_, accept_);
    worker.attach(this, [](void*) noexcept { return true; });
  }
  void stop() {
    ring_.cancel(accept_);
    for (auto& one : connections_) {
      if (!one->is_closed && one->receive.in_flight) ring_.cancel(one->receive);
    }
    is_stopping_ = true;
  }
  [[nodiscard]] bool is_stopped() const {
    return is_closed_ && std::all_of(connections_.begin(), connections_.end(), [](auto& c) { return c->is_closed; });
  }

 private:
  struct Connection {
    Connection(EchoServer& s, int d) : server(s), descriptor(d) { server.ring_.receive(descriptor, receive); }
    void on_received(Completion&, const Outcome& outcome) noexcept {
      if (outcome.has_buffer) {
        waiting += server.ring_.buffer(outcome.buffer, outcome.result);
        server.ring_.release_buffer(outcome.buffer);
      }
      if (outcome.result == 0) ended = true;
      if (outcome.result < 0 && outcome.result != -ENOBUFS) is_broken = true;
      next();
    }
    void on_sent(Completion&, const Outcome& outcome) noexcept {
      if (outcome.result < 0) is_broken = true;
      next();
    }
    void on_closed(Completion&, const Outcome&) noexcept { is_closed = true; }
    void next() {
      if (is_closing || send.in_flight) return;
      const bool is_over = is_broken || server.is_stopping_ || (ended && waiting.empty());
      if (is_over && receive.in_flight) return server.ring_.cancel(receive);
      if (is_over) {
        is_closing = true;
        return server.ring_.close(descriptor, close);
      }
      if (!waiting.empty()) {
        leaving = std::exchange(waiting, {});
        server.ring_.send(descriptor, leaving, send);
      }
      if (!receive.in_flight && !ended) server.ring_.receive(descriptor, receive);
    }
    EchoServer& server;
    int descriptor;
    Completion receive{core::completion_handler<&Connection::on_received>, this};
    Completion send{core::completion_handler<&Connection::on_sent>, this};
    Completion close{core::completion_handler<&Connection::on_closed>, this};
    std::string waiting;
    std::string leaving;
    bool ended = false;
    bool is_broken = false;
    bool is_closing = false;
    bool is_closed = false;
  };

  void on_accept(Completion&, const Outcome& outcome) noexcept {
    if (outcome.result >= 0) connections_.push_back(std::make_unique<Connection>(*this, outcome.result));
    if (outcome.has_more) return;
    if (is_stopping_) {
      ring_.close(listener_, close_);
    } else {
      ring_.accept(listener_, accept_);
    }
  }
  void on_closed(Completion&, const Outcome&) noexcept { is_closed_ = true; }

  Ring& ring_;
  int listener_;
  Completion accept_{core::completion_handler<&EchoServer::on_accept>, this};
  Completion close_{core::completion_handler<&EchoServer::on_closed>, this};
  std::vector<std::unique_ptr<Connection>> connections_;
  bool is_stopping_ = false;
  bool is_closed_ = false;
};

// Sends a text in pieces and collects what comes back.
class EchoClient : public SimPeer {
 public:
  explicit EchoClient(std::string text) : text_(std::move(text)) {}
  void on_connect(SimLink& link) override { send_some(link); }
  void on_data(SimLink& link, std::string_view bytes) override {
    echoed += bytes;
    if (echoed.size() == text_.size()) {
      link.shutdown();
    } else {
      send_some(link);
    }
  }
  void on_end(SimLink& link) override {
    is_over = true;
    link.close();
  }
  void on_reset() override { is_over = is_broken = true; }
  void on_refused(int) override { is_over = is_broken = true; }
  [[nodiscard]] bool is_whole() const { return echoed == text_; }

  std::string echoed;
  bool is_over = false;
  bool is_broken = false;

 private:
  void send_some(SimLink& link) {
    const std::size_t count = std::min<std::size_t>(text_.size() - sent_, 1 + sent_ * 2);
    link.send(std::string_view(text_).substr(sent_, count));
    sent_ += count;
  }
  std::string text_;
  std::size_t sent_ = 0;
};

// Two workers, each an echo server on the same endpoint; several clients. Returns the trace's hash.
std::uint64_t run_echo(const SimOptions& options, std::size_t* whole = nullptr) {
  SimWorld world(options);
  const Endpoint at = *Endpoint::parse("192.0.2.1:7");
  core::Mesh mesh(2);
  core::ReaderDomain readers(2);
  auto first = core::Worker::create(0, small_ring(), mesh, readers).value();
  auto second = core::Worker::create(1, small_ring(), mesh, readers).value();
  EchoServer first_server(*first, at);
  EchoServer second_server(*second, at);
  world.start_worker("first", *first);
  world.start_worker("second", *second);
  std::vector<std::shared_ptr<EchoClient>> clients;
  for (int i = 0; i < 6; ++i) {
    std::string text(1 + world.random().below(5'000), '\0');
    world.random().fill(text);
    clients.push_back(std::make_shared<EchoClient>(std::move(text)));
    world.network().connect(*Endpoint::parse("203.0.113.5:0"), at, clients.back());
  }
  const auto all_over = [&] {
    return std::all_of(clients.begin(), clients.end(), [](const auto& c) { return c->is_over; });
  };
  EXPECT_EQ(world.run(all_over, {.seconds = 6'000}), RunEnd::condition) << "seed " << options.seed;
  for (const auto& client : clients) {
    EXPECT_TRUE(client->is_whole() || client->is_broken) << "seed " << options.seed;
    if (whole != nullptr) *whole += client->is_whole();
  }
  const auto stop = [](void* server, std::uint64_t, std::uint64_t) noexcept {
    static_cast<EchoServer*>(server)->stop();
  };
  mesh.post(0, {stop, &first_server});
  mesh.post(1, {stop, &second_server});
  const auto stopped = [&] { return first_server.is_stopped() && second_server.is_stopped(); };
  EXPECT_EQ(world.run(stopped, {.seconds = 600}), RunEnd::condition) << "seed " << options.seed;
  world.stop_workers();
  EXPECT_EQ(world.processes(), 0u);
  EXPECT_EQ(first->ring().buffers_free() + second->ring().buffers_free(), 32u) << "seed " << options.seed;
  first.reset();
  second.reset();
  EXPECT_EQ(world.open_descriptors(), 0u) << "seed " << options.seed;
  return world.trace_hash();
}

TEST(SimWorld, EchoesWholeStreamsWhateverTheSeed) {
  std::size_t whole = 0;
  const char* only = std::getenv("POSTERN_SEED");
  for (std::uint64_t seed = 1; seed <= 300; ++seed) {
    if (only == nullptr || seed == std::strtoull(only, nullptr, 10)) run_echo(SimOptions::from_seed(seed), &whole);
  }
  EXPECT_GT(whole, 300u * 6 / 2);  // the rest met resets
}

TEST(SimWorld, AKindWorldBreaksNoConnection) {
  std::size_t whole = 0;
  SimOptions options;
  options.seed = 7;
  run_echo(options, &whole);
  EXPECT_EQ(whole, 6u);
}

TEST(SimWorld, TheSameSeedIsTheSameRun) {
  for (std::uint64_t seed = 1; seed <= 20; ++seed) {
    EXPECT_EQ(run_echo(SimOptions::from_seed(seed)), run_echo(SimOptions::from_seed(seed))) << "seed " << seed;
  }
  EXPECT_NE(run_echo(SimOptions::from_seed(1)), run_echo(SimOptions::from_seed(2)));
}

TEST(SimWorld, TimeJumpsToTheNextTimer) {
  SimWorld world(SimOptions{});
  core::Mesh mesh(1);
  core::ReaderDomain readers(1);
  auto worker = core::Worker::create(0, small_ring(), mesh, readers).value();
  struct Alarm {
    SimWorld& world;
    core::Timer timer{core::timer_handler<&Alarm::on_timer>, this};
    std::int64_t rang_at = 0;
    void on_timer(core::Timer&) noexcept { rang_at = world.now().boot_ns; }
  } alarm{world};
  const std::int64_t due = world.now().boot_ns + 86'400 * kSecond;
  worker->timers().set(alarm.timer, due);
  world.start_worker("worker", *worker);
  EXPECT_EQ(world.run([&] { return alarm.rang_at != 0; }, {.seconds = 90'000}), RunEnd::condition);
  EXPECT_GE(alarm.rang_at, due);
  EXPECT_LT(alarm.rang_at, due + 10 * core::kNanosecondsPerMillisecond);
  EXPECT_LT(world.steps(), 1'000u);
  world.stop_workers();
}

TEST(SimWorld, MeshMessagesWakeSleepingWorkers) {
  SimWorld world(SimOptions{});
  core::Mesh mesh(2);
  core::ReaderDomain readers(2);
  auto first = core::Worker::create(0, small_ring(), mesh, readers).value();
  auto second = core::Worker::create(1, small_ring(), mesh, readers).value();
  struct Ball {
    core::Worker* players[2];
    std::uint64_t throws = 0;
    static void caught(void* target, std::uint64_t player, std::uint64_t left) noexcept {
      auto& ball = *static_cast<Ball*>(target);
      ++ball.throws;
      if (left == 0) return;
      ball.players[player]->send(1 - player, {&Ball::caught, target, 1 - player, left - 1});
    }
  } ball{{first.get(), second.get()}};
  world.start_worker("first", *first);
  world.start_worker("second", *second);
  EXPECT_NE(world.run_for(kSecond), RunEnd::condition);  // both fall asleep
  mesh.post(1, {&Ball::caught, &ball, 1, 40});
  EXPECT_EQ(world.run([&] { return ball.throws == 41; }, {.seconds = 1}), RunEnd::condition);
  world.stop_workers();
}

TEST(SimWorld, TheTestMayWaitInARingOfItsOwn) {
  SimWorld world(SimOptions{});
  auto ring = Ring::create(small_ring()).value();
  const int notifier = Ring::make_notifier().value();
  Noted polled;
  ring->poll(notifier, POLLIN, polled.completion);
  const std::int64_t before = world.now().boot_ns;
  EXPECT_EQ(ring->submit_and_reap(before + kSecond), 0u);
  EXPECT_GE(world.now().boot_ns, before + kSecond);
  Ring::notify(notifier);
  while (polled.outcomes.empty()) ring->submit_and_reap(INT64_MAX);
  EXPECT_EQ(polled.outcomes[0].result, POLLIN);
  Ring::close_now(notifier);
}

TEST(SimWorld, AWallClockStepMovesNoTimer) {
  SimWorld world(SimOptions{});
  const core::Time before = world.now();
  world.step_unix_clock(-3'600 * kSecond);
  EXPECT_EQ(world.now().boot_ns, before.boot_ns);
  EXPECT_EQ(world.now().unix_ns, before.unix_ns - 3'600 * kSecond);
}

// --- rules ----------------------------------------------------------------------------------------------------------

class SimRules : public testing::Test {
 protected:
  SimRules() { world_.collect_violations(&violations_); }
  bool violated(std::string_view text) const {
    return std::any_of(violations_.begin(), violations_.end(),
                       [&](const std::string& v) { return v.find(text) != std::string::npos; });
  }
  SimWorld world_{SimOptions{}};
  std::vector<std::string> violations_;
};

TEST_F(SimRules, OneOperationACompletion) {
  auto ring = Ring::create(small_ring()).value();
  const int notifier = Ring::make_notifier().value();
  Noted polled;
  ring->poll(notifier, POLLIN, polled.completion);
  EXPECT_TRUE(violations_.empty());
  ring->poll(notifier, POLLIN, polled.completion);
  EXPECT_TRUE(violated("started again"));
  Ring::close_now(notifier);
}

TEST_F(SimRules, BuffersAreReleasedOnce) {
  auto ring = Ring::create(small_ring()).value();
  ring->release_buffer(3);
  EXPECT_TRUE(violated("buffer 3 is released but not lent"));
}

TEST_F(SimRules, NoCloseWithAReceiveArmedAndNoCompletionEver) {
  auto ring = Ring::create(small_ring()).value();
  const Endpoint at = *Endpoint::parse("192.0.2.1:25");
  const int listener = Ring::listen(at).value();
  Noted accepted;
  Noted received;
  ring->accept(listener, accepted.completion);
  world_.network().connect(*Endpoint::parse("203.0.113.5:0"), at, std::make_shared<EchoClient>("x"));
  while (accepted.outcomes.empty()) ring->submit_and_reap(INT64_MAX);
  const int socket = accepted.outcomes[0].result;
  ring->receive(socket, received.completion);
  while (received.outcomes.empty()) ring->submit_and_reap(INT64_MAX);  // the x
  ring->release_buffer(received.outcomes[0].buffer);
  EXPECT_TRUE(violations_.empty());
  Ring::close_now(socket);
  EXPECT_TRUE(violated("with an operation armed: receive"));
  ring->submit_and_reap(world_.now().boot_ns + 3'600 * kSecond);
  EXPECT_EQ(received.outcomes.size(), 1u);
  EXPECT_TRUE(received.completion.in_flight);
}

TEST_F(SimRules, NobodyReachesIntoASleepingWorker) {
  core::Mesh mesh(1);
  core::ReaderDomain readers(1);
  auto worker = core::Worker::create(0, small_ring(), mesh, readers).value();
  const int notifier = Ring::make_notifier().value();
  Noted polled;
  world_.start_worker("worker", *worker);
  world_.run_for(kSecond);
  EXPECT_TRUE(violations_.empty());
  worker->ring().poll(notifier, POLLIN, polled.completion);
  EXPECT_TRUE(violated("used by somebody else: poll"));
  world_.stop_workers();
  worker.reset();
  Ring::close_now(notifier);
}

TEST_F(SimRules, NoCloseOfWhatIsNotOpen) {
  const int notifier = Ring::make_notifier().value();
  Ring::close_now(notifier);
  EXPECT_TRUE(violations_.empty());
  Ring::close_now(notifier);
  EXPECT_TRUE(violated("which is not open"));
}

TEST(SimRulesDeathTest, AViolationNamesTheSeed) {
  GTEST_FLAG_SET(death_test_style, "threadsafe");
  EXPECT_DEATH(
      {
        SimOptions options;
        options.seed = 4711;
        SimWorld world(options);
        Ring::close_now(Ring::make_notifier().value() + 1);
      },
      "POSTERN_SEED=4711");
}

}  // namespace
}  // namespace postern::sim
