// The timer wheel: seven wheels of 64 slots, one per 6-bit digit of a deadline's tick number.
//
// A timer lies in the wheel of the highest digit in which its tick differs from now, in the slot of that
// digit. So
//   1. every timer of a lower wheel is due before every timer of a higher one, and within a wheel slots are
//   in order:
//      the next event is found with two bit scans, and empty time is skipped, however long it is;
//   2. no slot at or before now's digit is occupied, but for the slot of wheel 0 that is firing.
// When time reaches a slot of a higher wheel its timers move down; seven digits cover every value of an
// int64.
#include "core/timer_wheel.h"

#include <algorithm>
#include <bit>
#include <limits>

namespace postern::core {

namespace {

std::int64_t tick_at_or_after(std::int64_t boot_ns) {
  const std::int64_t ns = std::max<std::int64_t>(boot_ns, 0);
  return ns / TimerWheel::kTickNanoseconds + (ns % TimerWheel::kTickNanoseconds != 0 ? 1 : 0);
}

std::int64_t tick_at_or_before(std::int64_t boot_ns) {
  return std::max<std::int64_t>(boot_ns, 0) / TimerWheel::kTickNanoseconds;
}

}  // namespace

TimerWheel::TimerWheel(std::int64_t now_boot_ns) : now_tick_(tick_at_or_before(now_boot_ns)) {
  for (Timer& head : slots_) head.next = head.previous = &head;
}

void TimerWheel::insert(Timer& timer) {
  const std::uint64_t differing = static_cast<std::uint64_t>(timer.deadline_tick ^ now_tick_);
  const int level = differing == 0 ? 0 : (63 - std::countl_zero(differing)) / kSlotBits;
  const auto slot = static_cast<std::uint64_t>(timer.deadline_tick >> (level * kSlotBits)) & (kSlots - 1);
  Timer& head = slots_[static_cast<std::size_t>(level) * kSlots + slot];
  timer.next = &head;
  timer.previous = head.previous;
  head.previous->next = &timer;
  head.previous = &timer;
  occupied_[static_cast<std::size_t>(level)] |= std::uint64_t{1} << slot;
}

void TimerWheel::remove(Timer& timer) {
  timer.next->previous = timer.previous;
  timer.previous->next = timer.next;
  if (timer.next == timer.previous) {  // only the slot's head is left
    const auto index = static_cast<std::size_t>(timer.next - slots_.data());
    occupied_[index / kSlots] &= ~(std::uint64_t{1} << (index % kSlots));
  }
  timer.next = timer.previous = nullptr;
}

void TimerWheel::set(Timer& timer, std::int64_t deadline_boot_ns) {
  if (timer.is_set()) cancel(timer);
  // Not into the slot that may be firing just now: a handler that sets a deadline in the past would never
  // end.
  timer.deadline_tick = std::max(tick_at_or_after(deadline_boot_ns), now_tick_ + 1);
  insert(timer);
  ++size_;
}

void TimerWheel::cancel(Timer& timer) {
  if (!timer.is_set()) return;
  remove(timer);
  --size_;
}

TimerWheel::Next TimerWheel::next_event() const {
  for (int level = 0; level < kLevels; ++level) {
    const std::uint64_t slots = occupied_[static_cast<std::size_t>(level)];
    if (slots == 0) continue;
    const std::int64_t slot = std::countr_zero(slots);
    const int shift = level * kSlotBits;
    const std::int64_t window = now_tick_ >> (shift + kSlotBits) << (shift + kSlotBits);
    return {level, static_cast<std::size_t>(level) * kSlots + static_cast<std::size_t>(slot),
            window | slot << shift};
  }
  return {-1, 0, std::numeric_limits<std::int64_t>::max()};
}

void TimerWheel::advance(std::int64_t now_boot_ns) {
  const std::int64_t target = tick_at_or_before(now_boot_ns);
  for (Next next = next_event(); next.level >= 0 && next.tick <= target; next = next_event()) {
    now_tick_ = next.tick;
    Timer& head = slots_[next.slot];
    while (head.next != &head) {
      Timer& timer = *head.next;
      remove(timer);
      if (next.level > 0) {
        insert(timer);
        continue;
      }
      --size_;
      timer.handler(timer.owner, timer);
    }
  }
  now_tick_ = std::max(now_tick_, target);
}

std::int64_t TimerWheel::next_deadline_ns() const {
  const Next next = next_event();
  if (next.level < 0 || next.tick > std::numeric_limits<std::int64_t>::max() / kTickNanoseconds) {
    return std::numeric_limits<std::int64_t>::max();
  }
  return next.tick * kTickNanoseconds;
}

}  // namespace postern::core
