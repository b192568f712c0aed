// The ring itself: its queues at their bounds, waiting, waking, dying with operations in flight; and file operations.
#include "core/ring.h"

#include <atomic>
#include <cstring>
#include <fcntl.h>
#include <poll.h>
#include <thread>

#include "core/files.h"

#include "tests/core/engine/ring_support.h"

namespace postern::core::testing {
namespace {

constexpr std::int64_t kMillisecond = kNanosecondsPerMillisecond;

struct Notifier {
  int descriptor = Ring::make_notifier().value();
  ~Notifier() { Ring::close_now(descriptor); }
};

TEST(Ring, MoreOperationsThanTheSubmissionQueueHolds) {
  const auto ring = make_ring({.submission_entries = 8, .buffer_count = 8, .buffer_bytes = 4096});
  Notifier ready;
  Ring::notify(ready.descriptor);
  std::vector<std::unique_ptr<Operation>> polls;
  for (int i = 0; i < 1000; ++i) {
    polls.push_back(std::make_unique<Operation>());
    ring->poll(ready.descriptor, POLLIN, polls.back()->completion);
  }
  ASSERT_TRUE(run_until(*ring, [&] {
    return std::all_of(polls.begin(), polls.end(), [](const auto& poll) { return poll->is_done(); });
  }));
  for (const auto& poll : polls) {
    ASSERT_EQ(poll->outcomes.size(), 1u);
    EXPECT_TRUE((poll->result() & POLLIN) != 0);
  }
}

TEST(Ring, CompletionsThatOverflowTheirQueueAreAllHandled) {
  const auto ring = make_ring({.submission_entries = 8, .buffer_count = 8, .buffer_bytes = 4096});
  Notifier waited_for;
  std::vector<std::unique_ptr<Operation>> polls;
  for (int i = 0; i < 1000; ++i) {
    polls.push_back(std::make_unique<Operation>());
    ring->poll(waited_for.descriptor, POLLIN, polls.back()->completion);
  }
  ring->submit_and_reap(0);
  for (const auto& poll : polls) ASSERT_TRUE(poll->outcomes.empty());
  Ring::notify(waited_for.descriptor);  // all at once; the completion queue holds 32
  ASSERT_TRUE(run_until(*ring, [&] {
    return std::all_of(polls.begin(), polls.end(), [](const auto& poll) { return poll->is_done(); });
  }));
  for (const auto& poll : polls) EXPECT_EQ(poll->outcomes.size(), 1u);
}

TEST(Ring, AHandlerMayStartItsOperationAgain) {
  const auto ring = make_ring();
  Notifier ready;
  Ring::notify(ready.descriptor);
  int rounds = 0;
  Operation poll;
  poll.then = [&](const Outcome&) {
    EXPECT_FALSE(poll.completion.in_flight);
    if (++rounds < 10'000) ring->poll(ready.descriptor, POLLIN, poll.completion);
  };
  ring->poll(ready.descriptor, POLLIN, poll.completion);
  ASSERT_TRUE(run_until(*ring, [&] { return rounds == 10'000; }));
  EXPECT_FALSE(poll.completion.in_flight);
}

TEST(Ring, HandlersThatStartManyOperationsOnASmallRing) {
  const auto ring = make_ring({.submission_entries = 8, .buffer_count = 8, .buffer_bytes = 4096});
  Notifier ready;
  Ring::notify(ready.descriptor);
  std::vector<std::unique_ptr<Operation>> polls;
  Operation first;
  first.then = [&](const Outcome&) {
    for (int i = 0; i < 500; ++i) {
      polls.push_back(std::make_unique<Operation>());
      ring->poll(ready.descriptor, POLLIN, polls.back()->completion);
    }
  };
  ring->poll(ready.descriptor, POLLIN, first.completion);
  ASSERT_TRUE(run_until(*ring, [&] {
    return polls.size() == 500 &&
           std::all_of(polls.begin(), polls.end(), [](const auto& poll) { return poll->is_done(); });
  }));
}

TEST(Ring, WaitsUntilTheTimeItIsGivenAndNotAtAllForThePast) {
  const auto ring = make_ring();
  const std::int64_t start_ns = ring->read_clock().boot_ns;
  const Time after = ring->submit_and_wait(start_ns + 30 * kMillisecond);
  EXPECT_GE(after.boot_ns, start_ns + 30 * kMillisecond);
  EXPECT_EQ(ring->reap(), 0u);
  const std::int64_t before_ns = ring->read_clock().boot_ns;
  ring->submit_and_wait(before_ns - kNanosecondsPerSecond);
  ring->submit_and_wait(0);
  EXPECT_LT(ring->read_clock().boot_ns, before_ns + kNanosecondsPerSecond);
}

TEST(Ring, TheClockReadsBothClocks) {
  const auto ring = make_ring();
  timespec wall{};
  clock_gettime(CLOCK_REALTIME, &wall);
  const Time now = ring->read_clock();
  EXPECT_NEAR(static_cast<double>(now.unix_seconds()), static_cast<double>(wall.tv_sec), 2.0);
  EXPECT_GT(now.boot_ns, 0);
}

TEST(Ring, IsWokenByTheRingOfAnotherThread) {
  constexpr int kRounds = 200;
  std::atomic<Ring*> sleeper{nullptr};
  std::atomic<int> rounds_slept{0};
  std::atomic<bool> finished{false};
  std::thread other([&] {
    const auto ring = make_ring();
    sleeper.store(ring.get());
    while (rounds_slept.load() < kRounds) {
      ring->submit_and_reap(INT64_MAX);
      rounds_slept.fetch_add(1);
    }
    finished.store(true);
    while (sleeper.load() != nullptr) std::this_thread::yield();
  });
  const auto ring = make_ring();
  while (sleeper.load() == nullptr) std::this_thread::yield();
  const std::int64_t start_ns = ring->read_clock().boot_ns;
  while (!finished.load()) {
    const int before = rounds_slept.load();
    ring->wake(*sleeper.load());
    ring->submit_and_reap(0);
    while (rounds_slept.load() == before && !finished.load()) std::this_thread::yield();
  }
  // A wake-up that was lost would have cost a whole wait of ten seconds.
  EXPECT_LT(ring->read_clock().boot_ns - start_ns, 9 * kNanosecondsPerSecond);
  sleeper.store(nullptr);
  other.join();
}

TEST(Ring, ANotifierWakesItFromAThreadWithoutARing) {
  const auto ring = make_ring();
  Notifier notifier;
  Operation poll;
  ring->poll(notifier.descriptor, POLLIN, poll.completion);
  std::thread other([&] { Ring::notify(notifier.descriptor); });
  ASSERT_TRUE(run_until(*ring, [&] { return poll.is_done(); }));
  other.join();
  Ring::clear_notifier(notifier.descriptor);
  ring->poll(notifier.descriptor, POLLIN, poll.completion);
  ring->submit_and_reap(0);
  EXPECT_EQ(poll.outcomes.size(), 1u) << "cleared, and still ready";
}

TEST(Ring, DyingItLetsGoOfAllMemoryWithoutCallingHandlers) {
  Notifier never;
  auto poll = std::make_unique<Operation>();
  auto receive = std::make_unique<Operation>();
  auto send = std::make_unique<Operation>();
  auto bytes = std::make_unique<std::string>(24u << 20, 'x');  // more than loopback takes
  {
    const auto ring = make_ring();
    Connected pair(*ring);
    ring->poll(never.descriptor, POLLIN, poll->completion);
    ring->receive(pair.client, receive->completion);
    ring->send(pair.client, *bytes, send->completion);
    ring->submit_and_reap(0);
    EXPECT_TRUE(send->completion.in_flight);
    poll.reset();  // as a program does that stops: owners are gone before the ring
    receive.reset();
    send.reset();
  }
  bytes.reset();
}

TEST(RingFile, WritesSyncsReadsAndRemovesAFile) {
  const auto ring = make_ring();
  TemporaryDirectory directory;
  const int folder = files::open_directory(directory.path).value();
  Operation step;
  const auto finish = [&] {
    EXPECT_TRUE(run_until(*ring, [&] { return step.is_done(); }));
    return step.result();
  };
  ring->open(folder, "body", O_RDWR | O_CREAT | O_EXCL, 0600, step.completion);
  const int file = finish();
  ASSERT_GE(file, 0);
  EXPECT_EQ(fcntl(file, F_GETFD), FD_CLOEXEC);
  const std::string text = "Received: from here\r\n";
  ring->write(file, text, 4096, step.completion);
  EXPECT_EQ(finish(), static_cast<int>(text.size()));
  ring->sync(file, true, step.completion);
  EXPECT_EQ(finish(), 0);
  ring->sync(folder, false, step.completion);
  EXPECT_EQ(finish(), 0);
  std::string back(text.size(), '\0');
  ring->read(file, back, 4096, step.completion);
  EXPECT_EQ(finish(), static_cast<int>(text.size()));
  EXPECT_EQ(back, text);
  ring->read(file, back, 1 << 20, step.completion);
  EXPECT_EQ(finish(), 0) << "past the end";
  EXPECT_EQ(files::size(file).value(), 4096 + text.size());
  ring->unlink(folder, "body", step.completion);
  EXPECT_EQ(finish(), 0);
  ring->unlink(folder, "body", step.completion);
  EXPECT_EQ(finish(), -ENOENT);
  ring->open(folder, "absent", O_RDONLY, 0, step.completion);
  EXPECT_EQ(finish(), -ENOENT);
  ring->close(file, step.completion);
  EXPECT_EQ(finish(), 0);
  files::close(folder);
}

TEST(RingFile, DirectWritesThatAreDurableWhenTheyComplete) {
  const auto ring = make_ring();
  TemporaryDirectory directory;
  const int file = files::open(directory.path + "/segment", O_RDWR | O_CREAT | O_DIRECT | O_DSYNC).value();
  constexpr std::size_t kBlock = 4096;
  char* block = static_cast<char*>(std::aligned_alloc(kBlock, kBlock * 8));
  std::memset(block, 'p', kBlock * 8);
  std::vector<std::unique_ptr<Operation>> writes;
  for (std::size_t i = 0; i < 8; ++i) {
    writes.push_back(std::make_unique<Operation>());
    ring->write(file, {block + i * kBlock, kBlock}, i * kBlock, writes.back()->completion);
  }
  ASSERT_TRUE(run_until(*ring, [&] {
    return std::all_of(writes.begin(), writes.end(), [](const auto& write) { return write->is_done(); });
  }));
  for (const auto& write : writes) EXPECT_EQ(write->result(), static_cast<int>(kBlock));
  EXPECT_EQ(files::size(file).value(), kBlock * 8);
  std::free(block);
  files::close(file);
}

TEST(Files, FoldersFilesAndLocks) {
  TemporaryDirectory directory;
  const std::string deep = directory.path + "/spool//log-0003/";
  ASSERT_TRUE(files::make_directory(deep).has_value());
  ASSERT_TRUE(files::make_directory(deep).has_value()) << "again";
  EXPECT_EQ(files::list(directory.path).value(), std::vector<std::string>{"spool"});
  const int file = files::open(deep + "b", O_RDWR | O_CREAT).value();
  files::close(files::open(deep + "a", O_RDWR | O_CREAT).value());
  EXPECT_EQ(files::list(deep).value(), (std::vector<std::string>{"a", "b"}));
  ASSERT_TRUE(files::write_at(file, "0123456789", 5).has_value());
  ASSERT_TRUE(files::sync(file).has_value());
  EXPECT_EQ(files::size(file).value(), 15u);
  std::string into(20, '?');
  EXPECT_EQ(files::read_at(file, into, 10).value(), 5u);
  EXPECT_EQ(into.substr(0, 5), "56789");

  EXPECT_TRUE(files::try_lock(file).value());
  const int other = files::open(deep + "b", O_RDWR).value();
  EXPECT_FALSE(files::try_lock(other).value());
  files::close(file);
  EXPECT_TRUE(files::try_lock(other).value());
  files::close(other);

  EXPECT_TRUE(files::unlink(deep + "a").has_value());
  const auto gone = files::unlink(deep + "a");
  ASSERT_FALSE(gone.has_value());
  EXPECT_EQ(gone.error().code, ENOENT);
  EXPECT_NE(gone.error().text.find("log-0003/a: No such file"), std::string::npos) << gone.error().text;
  EXPECT_FALSE(files::remove_directory(deep).has_value()) << "not empty";
  EXPECT_TRUE(files::unlink(deep + "b").has_value());
  EXPECT_TRUE(files::remove_directory(deep).has_value());
  EXPECT_FALSE(files::list(deep).has_value());
  EXPECT_GT(files::free_bytes(directory.path).value(), 0u);
  EXPECT_FALSE(files::file_system(directory.path).value().empty());
  EXPECT_EQ(files::file_system("/proc").value(), "type 0x00009fa0");
  EXPECT_NE(files::random_u64(), files::random_u64());
}

}  // namespace
}  // namespace postern::core::testing
