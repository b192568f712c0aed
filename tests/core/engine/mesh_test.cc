// Workers that talk: order, bounds, wake-ups that are never lost, threads without a ring, and the worker's turn.
#include "core/mesh.h"

#include <atomic>
#include <gtest/gtest.h>
#include <latch>
#include <thread>
#include <vector>

#include "core/worker.h"

namespace postern::core {
namespace {

constexpr RingOptions kSmallRing{.submission_entries = 64, .buffer_count = 8, .buffer_bytes = 4096};

// Receives numbered messages; `a` is the sender, `b` the number. Belongs to one worker's thread.
struct Receiver {
  explicit Receiver(std::size_t senders) : next(senders, 0) {}
  std::vector<std::uint64_t> next;
  std::uint64_t received = 0;
  std::uint64_t out_of_order = 0;
  static void on_number(void* target, std::uint64_t a, std::uint64_t b) noexcept {
    auto& self = *static_cast<Receiver*>(target);
    self.out_of_order += b != self.next[a];
    self.next[a] = b + 1;
    ++self.received;
  }
};

TEST(Mesh, MoreThanAQueueHoldsArrivesInOrder) {
  Mesh mesh(2);
  ReaderDomain readers(2);
  auto sender = Worker::create(0, kSmallRing, mesh, readers).value();
  auto target = Worker::create(1, kSmallRing, mesh, readers).value();
  Receiver receiver(2);
  constexpr std::uint64_t kMessages = 3 * Mesh::kQueueMessages + 17;
  for (std::uint64_t i = 0; i < kMessages; ++i) sender->send(1, {&Receiver::on_number, &receiver, 0, i});
  EXPECT_FALSE(mesh.prepare_to_sleep(0)) << "its outbox waits";
  target->turn(false);
  EXPECT_EQ(receiver.received, Mesh::kQueueMessages);
  for (int turns = 0; turns < 10; ++turns) {
    sender->turn(false);
    target->turn(false);
  }
  EXPECT_EQ(receiver.received, kMessages);
  EXPECT_EQ(receiver.out_of_order, 0u);
  EXPECT_TRUE(mesh.prepare_to_sleep(0));
  mesh.awake(0);
}

TEST(Mesh, AMessageToOneselfIsRunInTheNextTurn) {
  Mesh mesh(1);
  ReaderDomain readers(1);
  auto worker = Worker::create(0, kSmallRing, mesh, readers).value();
  struct Chain {
    explicit Chain(Worker& w) : worker(w) {}
    Worker& worker;
    int runs = 0;
    static void on_message(void* target, std::uint64_t, std::uint64_t) noexcept {
      auto& self = *static_cast<Chain*>(target);
      ++self.runs;
      self.worker.send(0, {&Chain::on_message, target});
    }
  } chain(*worker);
  worker->send(0, {&Chain::on_message, &chain});
  for (int turn = 1; turn <= 5; ++turn) {
    worker->turn(true);  // does not sleep: something waits
    EXPECT_EQ(chain.runs, turn);
  }
}

TEST(Mesh, WhatWasPostedBeforeTheWorkerCameIsRun) {
  Mesh mesh(1);
  ReaderDomain readers(1);
  Receiver receiver(1);
  mesh.post(0, {&Receiver::on_number, &receiver, 0, 0});
  mesh.post(0, {});  // only a wake-up
  auto worker = Worker::create(0, kSmallRing, mesh, readers).value();
  worker->turn(true);
  EXPECT_EQ(receiver.received, 1u);
}

TEST(Worker, ATurnRunsHandlersMessagesTimersAndFlushInThisOrder) {
  Mesh mesh(1);
  ReaderDomain readers(1);
  auto worker = Worker::create(0, kSmallRing, mesh, readers).value();
  struct Program {
    explicit Program(Worker& w) : worker(w) {}
    Worker& worker;
    std::string trace;
    std::int64_t time_seen = 0;
    bool may_sleep_next = true;
    int notifier = Ring::make_notifier().value();
    Completion completion{&Program::on_ready, this};
    Timer timer{&Program::on_timer, this};
    void note(char what) {
      trace += what;
      EXPECT_TRUE(time_seen == 0 || worker.now().boot_ns == time_seen) << "one time a turn";
      time_seen = worker.now().boot_ns;
    }
    static void on_ready(void* owner, Completion&, const Outcome&) noexcept { static_cast<Program*>(owner)->note('c'); }
    static void on_timer(void* owner, Timer&) noexcept { static_cast<Program*>(owner)->note('t'); }
    static void on_message(void* owner, std::uint64_t, std::uint64_t) noexcept {
      static_cast<Program*>(owner)->note('m');
    }
    static bool flush(void* owner) noexcept {
      static_cast<Program*>(owner)->note('f');
      return static_cast<Program*>(owner)->may_sleep_next;
    }
  } program(*worker);
  worker->attach(&program, &Program::flush);
  Ring::notify(program.notifier);
  worker->ring().poll(program.notifier, 1, program.completion);
  worker->send(0, {&Program::on_message, &program});
  const std::int64_t deadline = worker->now().boot_ns;
  worker->timers().set(program.timer, deadline);
  // The timer's tick ends within 8 ms; the turn sleeps neither for it nor for the message.
  while (worker->ring().read_clock().boot_ns < deadline + 2 * TimerWheel::kTickNanoseconds) std::this_thread::yield();
  worker->turn(true);
  EXPECT_EQ(program.trace, "cmtf");
  EXPECT_GT(program.time_seen, deadline);

  // A program that cannot wait keeps the next turn from sleeping.
  program.may_sleep_next = false;
  program.time_seen = 0;
  worker->turn(false);
  program.time_seen = 0;
  worker->turn(true);
  EXPECT_EQ(program.trace, "cmtfff");
  Ring::close_now(program.notifier);
}

TEST(Worker, SleepsUntilItsTimer) {
  Mesh mesh(1);
  ReaderDomain readers(1);
  auto worker = Worker::create(0, kSmallRing, mesh, readers).value();
  Published<int> snapshot(readers, std::make_unique<const int>(1));
  static bool fired;
  fired = false;
  Timer timer([](void*, Timer&) noexcept { fired = true; }, nullptr);
  const std::int64_t deadline = worker->now().boot_ns + 50 * kNanosecondsPerMillisecond;
  worker->timers().set(timer, deadline);
  int turns = 0;
  while (!fired) {
    worker->turn(true);
    ++turns;
  }
  EXPECT_GE(worker->now().boot_ns, deadline);
  EXPECT_LT(turns, 20) << "slept, did not spin";
  snapshot.publish(std::make_unique<const int>(2));
  EXPECT_EQ(snapshot.reclaim(), 1u) << "awake between its turns";
  worker->turn(false);
  EXPECT_EQ(snapshot.reclaim(), 0u);
}

// A wake-up that is lost shows as a whole wait (ten seconds) between two numbers.
TEST(MeshStress, TwoSleepersPlayPingPong) {
  constexpr std::uint64_t kRounds = 5000;
  Mesh mesh(2);
  ReaderDomain readers(2);
  struct Player {
    Worker* worker = nullptr;
    Player* other = nullptr;
    std::uint64_t count = 0;
    static void on_ball(void* target, std::uint64_t a, std::uint64_t) noexcept {
      auto& self = *static_cast<Player*>(target);
      self.count = a;
      self.worker->send(1 - self.worker->index(), {&Player::on_ball, self.other, a + 1, 0});
    }
  } players[2];
  players[0].other = &players[1];
  players[1].other = &players[0];
  std::latch ready(2);
  std::int64_t longest_ns[2] = {0, 0};
  const auto play = [&](std::size_t index) {
    auto worker = Worker::create(index, kSmallRing, mesh, readers).value();
    players[index].worker = worker.get();
    ready.arrive_and_wait();
    if (index == 0) worker->send(1, {&Player::on_ball, &players[1], 1, 0});
    std::int64_t before = worker->now().boot_ns;
    while (players[index].count < kRounds) {
      worker->turn(true);
      longest_ns[index] = std::max(longest_ns[index], worker->now().boot_ns - before);
      before = worker->now().boot_ns;
    }
  };
  std::thread first(play, 0);
  std::thread second(play, 1);
  first.join();
  second.join();
  EXPECT_LT(std::max(longest_ns[0], longest_ns[1]), 8 * kNanosecondsPerSecond);
}

TEST(MeshStress, EveryoneSendsToEveryoneAndTwoThreadsPost) {
  constexpr std::size_t kWorkers = 4;
  constexpr std::size_t kPosters = 2;
  constexpr std::uint64_t kMessages = 20'000;
  constexpr std::uint64_t kPosts = 2'000;
  constexpr std::uint64_t kExpected = kWorkers * kMessages + kPosters * kPosts;
  Mesh mesh(kWorkers);
  ReaderDomain readers(kWorkers);
  std::vector<std::unique_ptr<Receiver>> receivers;
  for (std::size_t i = 0; i < kWorkers; ++i) receivers.push_back(std::make_unique<Receiver>(kWorkers + kPosters));
  std::latch ready(kWorkers + kPosters);
  std::latch all_received(kWorkers);
  std::atomic<std::uint64_t> longest_ns{0};
  std::vector<std::thread> threads;
  for (std::size_t index = 0; index < kWorkers; ++index) {
    threads.emplace_back([&, index] {
      auto worker = Worker::create(index, kSmallRing, mesh, readers).value();
      ready.arrive_and_wait();
      std::uint64_t sent = 0;
      bool counted = false;
      std::int64_t before = worker->now().boot_ns;
      while (!counted || sent < kMessages || !all_received.try_wait()) {
        // In uneven bursts, so that queues run empty, fill up and overflow, and workers fall asleep in between.
        const std::uint64_t burst = std::min<std::uint64_t>(kMessages - sent, (sent * 31 + index) % 97 == 0 ? 3000 : 7);
        for (std::uint64_t i = 0; i < burst; ++i, ++sent) {
          for (std::size_t target = 0; target < kWorkers; ++target) {
            worker->send(target, {&Receiver::on_number, receivers[target].get(), index, sent});
          }
        }
        worker->turn(sent == kMessages && !counted);
        if (!counted && receivers[index]->received == kExpected) {
          counted = true;
          all_received.count_down();
        }
        const auto took =
            static_cast<std::uint64_t>(worker->now().boot_ns - std::exchange(before, worker->now().boot_ns));
        if (took > longest_ns.load()) longest_ns.store(took);
      }
    });
  }
  for (std::size_t poster = 0; poster < kPosters; ++poster) {
    threads.emplace_back([&, poster] {
      ready.arrive_and_wait();
      for (std::uint64_t i = 0; i < kPosts; ++i) {
        for (std::size_t target = 0; target < kWorkers; ++target) {
          mesh.post(target, {&Receiver::on_number, receivers[target].get(), kWorkers + poster, i});
        }
        if (i % 64 == 0) std::this_thread::yield();
      }
    });
  }
  for (std::thread& thread : threads) thread.join();
  for (const auto& receiver : receivers) {
    EXPECT_EQ(receiver->received, kExpected);
    EXPECT_EQ(receiver->out_of_order, 0u);
  }
  EXPECT_LT(longest_ns.load(), 8u * kNanosecondsPerSecond);
}

// Workers that leave while others still send to them.
TEST(MeshStress, LeavingWhileOthersSend) {
  for (int round = 0; round < 20; ++round) {
    Mesh mesh(2);
    ReaderDomain readers(2);
    Receiver receiver(2);
    std::latch ready(2);
    std::atomic<bool> gone{false};
    std::thread leaver([&] {
      auto worker = Worker::create(1, kSmallRing, mesh, readers).value();
      ready.arrive_and_wait();
      while (receiver.received < 50) worker->turn(true);
      worker.reset();
      gone.store(true);
    });
    auto worker = Worker::create(0, kSmallRing, mesh, readers).value();
    ready.arrive_and_wait();
    std::uint64_t sent = 0;
    while (!gone.load() && sent < Mesh::kQueueMessages) {
      worker->send(1, {&Receiver::on_number, &receiver, 0, sent++});
      worker->turn(false);
    }
    leaver.join();
    worker->turn(false);
    EXPECT_GE(receiver.received, 50u);
    EXPECT_EQ(receiver.out_of_order, 0u);
  }
}

}  // namespace
}  // namespace postern::core
