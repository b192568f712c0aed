#include "core/blocking_pool.h"

#include <atomic>
#include <condition_variable>
#include <gtest/gtest.h>
#include <memory>
#include <mutex>
#include <thread>
#include <vector>

namespace postern::core {
namespace {

// A door that jobs wait at until the test opens it.
class Gate {
 public:
  void open() {
    const std::lock_guard lock(mutex_);
    open_ = true;
    changed_.notify_all();
  }
  void pass() {
    std::unique_lock lock(mutex_);
    ++arrived_;
    changed_.notify_all();
    changed_.wait(lock, [this] { return open_; });
    ++passed_;
    changed_.notify_all();
  }
  void wait_for_arrivals(int count) {
    std::unique_lock lock(mutex_);
    changed_.wait(lock, [&] { return arrived_ >= count; });
  }
  void wait_for_passed(int count) {
    std::unique_lock lock(mutex_);
    changed_.wait(lock, [&] { return passed_ >= count; });
  }

 private:
  std::mutex mutex_;
  std::condition_variable changed_;
  bool open_ = false;
  int arrived_ = 0;
  int passed_ = 0;
};

struct GatedJob : BlockingPool::Job {
  explicit GatedJob(Gate& at) : gate(at) {
    run = [](Job& job, std::size_t thread) noexcept {
      auto& self = static_cast<GatedJob&>(job);
      self.ran_in = static_cast<int>(thread);
      self.gate.pass();
    };
  }
  Gate& gate;
  std::atomic<int> ran_in{-1};
};

TEST(BlockingPool, EveryJobRunsOnce) {
  constexpr int kJobs = 10'000;
  struct Counted : BlockingPool::Job {
    std::atomic<int> runs{0};
  };
  std::vector<Counted> jobs(kJobs);
  Gate done;
  done.open();
  BlockingPool pool(3, kJobs);
  for (Counted& job : jobs) {
    job.run = [](BlockingPool::Job& self, std::size_t) noexcept { static_cast<Counted&>(self).runs.fetch_add(1); };
    ASSERT_TRUE(pool.submit(&job - jobs.data() == kJobs / 2 ? BlockingPool::Lane::fast : BlockingPool::Lane::ordinary, job));
  }
  GatedJob last(done);
  while (!pool.submit(BlockingPool::Lane::ordinary, last)) std::this_thread::yield();
  done.wait_for_passed(1);
  pool.stop();
  for (const Counted& job : jobs) ASSERT_EQ(job.runs.load(), 1);
}

TEST(BlockingPool, AFullLaneRefusesAndTheOtherStillTakes) {
  Gate gate;
  BlockingPool pool(2, 2);
  std::vector<std::unique_ptr<GatedJob>> jobs;
  for (int i = 0; i < 6; ++i) jobs.push_back(std::make_unique<GatedJob>(gate));
  ASSERT_TRUE(pool.submit(BlockingPool::Lane::ordinary, *jobs[0]));
  gate.wait_for_arrivals(1);  // the only thread for it is busy
  EXPECT_TRUE(pool.submit(BlockingPool::Lane::ordinary, *jobs[1]));
  EXPECT_TRUE(pool.submit(BlockingPool::Lane::ordinary, *jobs[2]));
  EXPECT_FALSE(pool.submit(BlockingPool::Lane::ordinary, *jobs[3]));
  EXPECT_EQ(pool.waiting(BlockingPool::Lane::ordinary), 2u);
  EXPECT_TRUE(pool.submit(BlockingPool::Lane::fast, *jobs[4]));
  gate.wait_for_arrivals(2);  // it runs although strangers fill their lane
  EXPECT_EQ(jobs[4]->ran_in.load(), 0);
  EXPECT_EQ(jobs[0]->ran_in.load(), 1);
  gate.open();
  gate.wait_for_passed(4);
  pool.stop();
  EXPECT_EQ(jobs[3]->ran_in.load(), -1);
}

TEST(BlockingPool, FastJobsComeFirstAlsoWithOneThread) {
  Gate gate;
  BlockingPool pool(1, 10);
  std::vector<int> order;
  struct Noted : BlockingPool::Job {
    std::vector<int>* order = nullptr;
    int number = 0;
  };
  Noted ordinary;
  Noted fast;
  for (Noted* job : {&ordinary, &fast}) {
    job->order = &order;
    job->number = job == &fast ? 2 : 1;
    job->run = [](BlockingPool::Job& self, std::size_t) noexcept {
      static_cast<Noted&>(self).order->push_back(static_cast<Noted&>(self).number);
    };
  }
  GatedJob first(gate);
  GatedJob last(gate);
  ASSERT_TRUE(pool.submit(BlockingPool::Lane::ordinary, first));
  gate.wait_for_arrivals(1);
  ASSERT_TRUE(pool.submit(BlockingPool::Lane::ordinary, ordinary));
  ASSERT_TRUE(pool.submit(BlockingPool::Lane::fast, fast));
  ASSERT_TRUE(pool.submit(BlockingPool::Lane::ordinary, last));
  gate.open();
  gate.wait_for_passed(2);
  pool.stop();
  EXPECT_EQ(order, (std::vector<int>{2, 1}));
}

TEST(BlockingPool, StopDropsWhatWaitsAndTakesNothingMore) {
  Gate gate;
  BlockingPool pool(1, 10);
  GatedJob running(gate);
  GatedJob waiting(gate);
  GatedJob late(gate);
  ASSERT_TRUE(pool.submit(BlockingPool::Lane::fast, running));
  gate.wait_for_arrivals(1);
  ASSERT_TRUE(pool.submit(BlockingPool::Lane::ordinary, waiting));
  std::thread stopper([&] { pool.stop(); });
  while (pool.waiting(BlockingPool::Lane::ordinary) != 0) std::this_thread::yield();
  gate.open();
  stopper.join();
  EXPECT_FALSE(pool.submit(BlockingPool::Lane::ordinary, late));
  EXPECT_EQ(running.ran_in.load(), 0);
  EXPECT_EQ(waiting.ran_in.load(), -1);
}

}  // namespace
}  // namespace postern::core
