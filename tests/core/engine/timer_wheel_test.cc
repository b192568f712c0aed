// The wheel against a model that keeps deadlines in a sorted map.
#include "core/timer_wheel.h"

#include <algorithm>
#include <functional>
#include <gtest/gtest.h>
#include <limits>
#include <map>
#include <memory>
#include <random>
#include <vector>

namespace postern::core {
namespace {

constexpr std::int64_t kTick = TimerWheel::kTickNanoseconds;
constexpr std::int64_t kForever = std::numeric_limits<std::int64_t>::max();

struct Alarm {
  Timer timer{&Alarm::on_timer, this};
  int fired = 0;
  std::function<void()> then;
  static void on_timer(void* owner, Timer&) noexcept {
    auto& self = *static_cast<Alarm*>(owner);
    ++self.fired;
    if (self.then) self.then();
  }
};

TEST(TimerWheel, FiresNeverEarlyAndAtMostOneTickLate) {
  TimerWheel wheel(1000);
  Alarm alarm;
  const std::int64_t deadline = 5 * kTick + 1;
  wheel.set(alarm.timer, deadline);
  EXPECT_TRUE(alarm.timer.is_set());
  EXPECT_EQ(wheel.size(), 1u);
  EXPECT_EQ(wheel.next_deadline_ns(), 6 * kTick);
  wheel.advance(deadline);
  EXPECT_EQ(alarm.fired, 0) << "its tick is not over";
  wheel.advance(6 * kTick);
  EXPECT_EQ(alarm.fired, 1);
  EXPECT_FALSE(alarm.timer.is_set());
  EXPECT_EQ(wheel.size(), 0u);
  EXPECT_EQ(wheel.next_deadline_ns(), kForever);
}

TEST(TimerWheel, SettingMovesAndCancellingIsHarmless) {
  TimerWheel wheel(0);
  Alarm alarm;
  wheel.cancel(alarm.timer);
  wheel.set(alarm.timer, 10 * kTick);
  wheel.set(alarm.timer, 1000 * kTick);
  EXPECT_EQ(wheel.size(), 1u);
  wheel.advance(999 * kTick);
  EXPECT_EQ(alarm.fired, 0);
  wheel.cancel(alarm.timer);
  wheel.cancel(alarm.timer);
  wheel.advance(2000 * kTick);
  EXPECT_EQ(alarm.fired, 0);
  EXPECT_EQ(wheel.size(), 0u);
}

TEST(TimerWheel, ADeadlineInThePastIsTheNextTick) {
  TimerWheel wheel(100 * kTick);
  Alarm alarm;
  wheel.set(alarm.timer, 3);
  wheel.advance(100 * kTick + kTick - 1);
  EXPECT_EQ(alarm.fired, 0);
  wheel.advance(101 * kTick);
  EXPECT_EQ(alarm.fired, 1);
}

TEST(TimerWheel, AHandlerThatAlwaysSetsThePastDoesNotHangTheWheel) {
  TimerWheel wheel(0);
  Alarm alarm;
  alarm.then = [&] { wheel.set(alarm.timer, 0); };
  wheel.set(alarm.timer, 0);
  wheel.advance(100 * kTick);
  EXPECT_EQ(alarm.fired, 100) << "once a tick";
  wheel.cancel(alarm.timer);
}

TEST(TimerWheel, HandlersMayCancelAndSetOthersOfTheSameTick) {
  TimerWheel wheel(0);
  Alarm first;
  Alarm cancelled;
  Alarm moved;
  first.then = [&] {
    wheel.cancel(cancelled.timer);
    wheel.set(moved.timer, 50 * kTick);
  };
  wheel.set(first.timer, 10 * kTick);
  wheel.set(cancelled.timer, 10 * kTick);
  wheel.set(moved.timer, 10 * kTick);
  wheel.advance(20 * kTick);
  EXPECT_EQ(first.fired, 1);
  EXPECT_EQ(cancelled.fired, 0);
  EXPECT_EQ(moved.fired, 0);
  wheel.advance(50 * kTick);
  EXPECT_EQ(moved.fired, 1);
}

TEST(TimerWheel, TheWholeRangeOfTime) {
  TimerWheel wheel(std::int64_t{1} << 61);
  Alarm latest;
  Alarm sooner;
  wheel.set(latest.timer, kForever);
  wheel.set(sooner.timer, std::int64_t{1} << 62);
  EXPECT_LE(wheel.next_deadline_ns(), (std::int64_t{1} << 62) + kTick);
  wheel.advance((std::int64_t{1} << 62) + kTick);
  EXPECT_EQ(sooner.fired, 1);
  EXPECT_EQ(latest.fired, 0);
  wheel.cancel(latest.timer);
}

// One run: random sets, cancels and advances, some of them from handlers.
class Model {
 public:
  explicit Model(std::uint64_t seed) : random_(seed), now_ns_(random_() >> 12), wheel_(now_ns_) {
    for (std::size_t i = 0; i < kAlarms; ++i) {
      alarms_.push_back(std::make_unique<Alarm>());
      alarms_.back()->then = [this, i] { on_fired(i); };
    }
  }
  ~Model() {
    for (const auto& alarm : alarms_) wheel_.cancel(alarm->timer);
  }

  void run(int steps) {
    for (int step = 0; step < steps && !::testing::Test::HasFailure(); ++step) {
      switch (random_() % 8) {
        case 0:
          advance();
          break;
        case 1:
          cancel(pick());
          break;
        default:
          set(pick());
      }
      check_next();
    }
  }

 private:
  static constexpr std::size_t kAlarms = 200;

  std::size_t pick() { return random_() % kAlarms; }
  // Any order of magnitude from nanoseconds to half a year, and sometimes the past.
  std::int64_t distance() {
    const int magnitude = static_cast<int>(random_() % 54);
    const auto magnified = static_cast<std::int64_t>(random_() & ((std::uint64_t{1} << magnitude) - 1));
    return random_() % 16 == 0 ? -magnified : magnified;
  }
  static std::int64_t tick_of(std::int64_t deadline_ns) { return deadline_ns / kTick + (deadline_ns % kTick != 0); }

  void set(std::size_t i) {
    const std::int64_t deadline = std::max<std::int64_t>(now_ns_ + distance(), 0);
    wheel_.set(alarms_[i]->timer, deadline);
    due_[i] = std::max(tick_of(deadline), reached_tick() + 1);
  }
  void cancel(std::size_t i) {
    wheel_.cancel(alarms_[i]->timer);
    due_.erase(i);
  }
  [[nodiscard]] std::int64_t reached_tick() const { return is_advancing_ ? firing_tick_ : now_ns_ / kTick; }

  void on_fired(std::size_t i) {
    const auto due = due_.find(i);
    ASSERT_TRUE(due != due_.end()) << "fired without being set";
    EXPECT_LE(due->second, now_ns_ / kTick) << "early";
    EXPECT_GE(due->second, firing_tick_) << "out of order";
    for (const auto& [other, tick] : due_) EXPECT_GE(tick, due->second) << other << " was due before";
    firing_tick_ = due->second;
    due_.erase(due);
    if (random_() % 4 == 0) set(pick());
    if (random_() % 8 == 0) cancel(pick());
  }
  void advance() {
    const std::int64_t tick_before = now_ns_ / kTick;
    now_ns_ += std::abs(distance());
    is_advancing_ = true;
    firing_tick_ = tick_before;
    wheel_.advance(now_ns_);
    is_advancing_ = false;
    for (const auto& [i, tick] : due_) EXPECT_GT(tick, now_ns_ / kTick) << i << " is late";
  }
  void check_next() {
    EXPECT_EQ(wheel_.size(), due_.size());
    std::int64_t earliest = kForever;
    for (const auto& [i, tick] : due_) earliest = std::min(earliest, tick);
    if (earliest == kForever) {
      EXPECT_EQ(wheel_.next_deadline_ns(), kForever);
    } else {
      EXPECT_LE(wheel_.next_deadline_ns(), earliest * kTick);
      EXPECT_GT(wheel_.next_deadline_ns(), now_ns_ / kTick * kTick);
    }
  }

  std::mt19937_64 random_;
  std::int64_t now_ns_;
  TimerWheel wheel_;
  std::vector<std::unique_ptr<Alarm>> alarms_;
  std::map<std::size_t, std::int64_t> due_;
  bool is_advancing_ = false;
  std::int64_t firing_tick_ = 0;
};

TEST(TimerWheel, DoesWhatASortedMapDoes) {
  for (std::uint64_t seed = 1; seed <= 50; ++seed) {
    SCOPED_TRACE("seed " + std::to_string(seed));
    Model(seed).run(2000);
    if (HasFailure()) return;
  }
}

// A loop that only sleeps until next_deadline_ns() fires each timer within a tick, and does not wake for nothing often.
TEST(TimerWheel, SleepingUntilTheNextDeadlineIsEnough) {
  TimerWheel wheel(0);
  Alarm alarm;
  const std::int64_t deadline = 300 * std::int64_t{1'000'000'000};
  wheel.set(alarm.timer, deadline);
  int wakes = 0;
  std::int64_t now = 0;
  while (alarm.fired == 0) {
    ASSERT_LT(wakes, 10);
    now = wheel.next_deadline_ns();
    wheel.advance(now);
    ++wakes;
  }
  EXPECT_GE(now, deadline);
  EXPECT_LT(now, deadline + kTick);
  EXPECT_LE(wakes, 3);
}

}  // namespace
}  // namespace postern::core
