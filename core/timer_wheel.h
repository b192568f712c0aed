// A hierarchical timer wheel (Varghese and Lauck, SOSP 1987): timers embedded in their owners, O(1) to set
// and cancel.
//
// Resolution 8 ms (a timer fires at or up to one tick after its deadline, never before; a deadline in the
// past counts as the next tick). Any int64 deadline is in range. Thread: one, its worker's. No allocation. A
// Timer is cancelled, or has fired, before its owner dies.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>

namespace postern::core {

struct Timer {
  using Handler = void (*)(void* owner, Timer& timer) noexcept;

  Handler handler = nullptr;
  void* owner = nullptr;

  Timer() = default;
  Timer(Handler h, void* o) : handler(h), owner(o) {}
  Timer(const Timer&) = delete;
  Timer& operator=(const Timer&) = delete;

  [[nodiscard]] bool is_set() const { return next != nullptr; }

  // The wheel's own.
  Timer* next = nullptr;
  Timer* previous = nullptr;
  std::int64_t deadline_tick = 0;
};

// timer_handler<&Inbound::on_idle>: adapts `void T::f(Timer&) noexcept`.
template <auto Member>
struct TimerHandler;
template <class T, void (T::*Member)(Timer&) noexcept>
struct TimerHandler<Member> {
  static void call(void* owner, Timer& timer) noexcept { (static_cast<T*>(owner)->*Member)(timer); }
};
template <auto Member>
inline constexpr Timer::Handler timer_handler = &TimerHandler<Member>::call;

class TimerWheel {
 public:
  static constexpr std::int64_t kTickNanoseconds = 8'000'000;

  explicit TimerWheel(std::int64_t now_boot_ns);
  TimerWheel(const TimerWheel&) = delete;
  TimerWheel& operator=(const TimerWheel&) = delete;

  // Sets or moves `timer`.
  void set(Timer& timer, std::int64_t deadline_boot_ns);
  void cancel(Timer& timer);  // harmless when it is not set
  // Fires, in order of their ticks, all timers due at `now_boot_ns`; handlers may set and cancel any timer.
  void advance(std::int64_t now_boot_ns);
  // When advance() has something to do next: at most one tick after the earliest deadline, and possibly well
  // before it (so the loop sleeps until then, advances, and asks again); INT64_MAX when none is set.
  [[nodiscard]] std::int64_t next_deadline_ns() const;
  [[nodiscard]] std::size_t size() const { return size_; }

 private:
  static constexpr int kLevels = 7;
  static constexpr int kSlotBits = 6;
  static constexpr int kSlots = 1 << kSlotBits;

  struct Next {
    int level;  // -1: no timer is set
    std::size_t slot;
    std::int64_t tick;
  };
  void insert(Timer& timer);
  void remove(Timer& timer);
  [[nodiscard]] Next next_event() const;

  std::array<Timer, static_cast<std::size_t>(kLevels) * kSlots> slots_;  // heads of circular lists
  std::array<std::uint64_t, kLevels> occupied_{};                        // a bit a slot
  std::int64_t now_tick_ = 0;
  std::size_t size_ = 0;
};

}  // namespace postern::core
