// A hierarchical timer wheel (Varghese and Lauck, SOSP 1987): timers embedded in their owners, O(1) to set and cancel.
//
// Resolution 8 ms (a timer fires at or up to one tick after its deadline, never before); range about 3 years.
// Thread: one, its worker's. No allocation. A Timer is cancelled, or has fired, before its owner dies.
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
  explicit TimerWheel(std::int64_t now_boot_ns);
  TimerWheel(const TimerWheel&) = delete;
  TimerWheel& operator=(const TimerWheel&) = delete;

  // Sets or moves `timer`.
  void set(Timer& timer, std::int64_t deadline_boot_ns);
  void cancel(Timer& timer);  // harmless when it is not set
  // Fires, in order of their ticks, all timers due at `now_boot_ns`; handlers may set and cancel any timer.
  void advance(std::int64_t now_boot_ns);
  // A time not after the earliest deadline (so that the loop can sleep until then); INT64_MAX when none is set.
  [[nodiscard]] std::int64_t next_deadline_ns() const;
  [[nodiscard]] std::size_t size() const { return size_; }

 private:
  static constexpr int kLevels = 6;
  static constexpr int kSlotBits = 6;
  static constexpr int kSlots = 1 << kSlotBits;

  struct List {
    Timer head;
  };
  void insert(Timer& timer);
  void cascade(int level);

  std::array<std::array<List, kSlots>, kLevels> wheel_;
  std::array<std::uint64_t, kLevels> occupied_{};
  std::int64_t now_tick_ = 0;
  std::size_t size_ = 0;
};

}  // namespace postern::core
