#include "core/published.h"

#include <array>
#include <gtest/gtest.h>
#include <thread>

namespace postern::core {
namespace {

struct Snapshot {
  explicit Snapshot(std::uint64_t v, std::atomic<int>* l = nullptr) : live(l) {
    words.fill(v);
    if (live != nullptr) live->fetch_add(1);
  }
  ~Snapshot() {
    words.fill(0xdead);
    if (live != nullptr) live->fetch_sub(1);
  }
  Snapshot(const Snapshot&) = delete;
  Snapshot& operator=(const Snapshot&) = delete;
  std::array<std::uint64_t, 16> words;
  std::atomic<int>* live;
};

TEST(Published, AnOldSnapshotLivesUntilEveryReaderPassedATurn) {
  std::atomic<int> live{0};
  ReaderDomain domain(2);
  Published<Snapshot> published(domain, std::make_unique<const Snapshot>(1, &live));
  domain.online(0);
  domain.online(1);
  const Snapshot* old = published.read();
  published.publish(std::make_unique<const Snapshot>(2, &live));
  EXPECT_EQ(published.read()->words[0], 2u);
  EXPECT_EQ(old->words[0], 1u);
  EXPECT_EQ(published.reclaim(), 1u);
  domain.quiescent(0);
  EXPECT_EQ(published.reclaim(), 1u) << "the other reader may still look";
  EXPECT_EQ(live.load(), 2);
  domain.offline(1);
  EXPECT_EQ(published.reclaim(), 0u) << "a sleeper looks at nothing";
  EXPECT_EQ(live.load(), 1);
  domain.online(1);
  published.publish(std::make_unique<const Snapshot>(3, &live));
  EXPECT_EQ(published.reclaim(), 1u);
  domain.quiescent(1);
  domain.online(0);  // counts as quiescent too
  EXPECT_EQ(published.reclaim(), 0u);
}

TEST(Published, PublishingReclaimsWhatIsDue) {
  std::atomic<int> live{0};
  ReaderDomain domain(1);
  Published<Snapshot> published(domain, std::make_unique<const Snapshot>(0, &live));
  for (std::uint64_t i = 1; i <= 100; ++i) published.publish(std::make_unique<const Snapshot>(i, &live));
  EXPECT_EQ(live.load(), 1) << "no reader is online";
}

// Readers check whole snapshots for mixed or dead words while two writers replace them; the sanitizers see the rest.
TEST(Published, ManyReadersWhileTwoWritersPublish) {
  constexpr std::size_t kReaders = 3;
  constexpr int kPublishes = 3000;
  std::atomic<int> live{0};
  {
    ReaderDomain domain(kReaders);
    Published<Snapshot> left(domain, std::make_unique<const Snapshot>(1, &live));
    Published<Snapshot> right(domain, std::make_unique<const Snapshot>(1, &live));
    std::atomic<bool> stop{false};
    std::atomic<std::uint64_t> reads{0};
    std::atomic<std::uint64_t> bad{0};
    std::vector<std::thread> threads;
    for (std::size_t index = 0; index < kReaders; ++index) {
      threads.emplace_back([&, index] {
        domain.online(index);
        std::uint64_t newest[2] = {0, 0};
        for (std::uint64_t turn = 0; !stop.load(std::memory_order_relaxed); ++turn) {
          const Snapshot* snapshots[2] = {left.read(), right.read()};
          for (int side = 0; side < 2; ++side) {
            const std::uint64_t first = snapshots[side]->words[0];
            for (const std::uint64_t word : snapshots[side]->words) bad += word != first;
            bad += first < newest[side];  // never back in time
            newest[side] = first;
          }
          reads.fetch_add(1, std::memory_order_relaxed);
          if (turn % 3 == index) {
            domain.offline(index);
            if (turn % 64 == 0) std::this_thread::yield();
            domain.online(index);
          } else {
            domain.quiescent(index);
          }
        }
        domain.offline(index);
      });
    }
    std::thread other_writer([&] {
      for (int i = 2; i < kPublishes; ++i) right.publish(std::make_unique<const Snapshot>(i, &live));
    });
    for (int i = 2; i < kPublishes; ++i) left.publish(std::make_unique<const Snapshot>(i, &live));
    other_writer.join();
    while (reads.load() < 1000) std::this_thread::yield();
    stop.store(true);
    for (std::thread& thread : threads) thread.join();
    EXPECT_EQ(bad.load(), 0u);
    EXPECT_EQ(left.reclaim() + right.reclaim(), 0u);
    EXPECT_EQ(live.load(), 2);
  }
  EXPECT_EQ(live.load(), 0);
}

}  // namespace
}  // namespace postern::core
