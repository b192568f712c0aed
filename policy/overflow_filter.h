// Where a bar goes for which the table has no room: two places of a fixed array, chosen by a keyed hash of what is
// barred, each holding the second until which it is shut. Something is barred while both of its places are.
//
// A bar put here always holds until its end, and costs no memory. The price: whoever falls on two shut places is barred
// with it; with n bars here that is about (2n / kPlaces)^2 of all strangers. Readers: any thread, wait-free. Writers:
// one at a time. Seconds: unsigned, 0 is never.
#pragma once

#include <algorithm>
#include <array>
#include <atomic>
#include <cstddef>
#include <cstdint>
#include <memory>

namespace postern::policy {

class OverflowFilter {
 public:
  static constexpr std::size_t kPlaces = 1 << 17;

  OverflowFilter() : places_(std::make_unique<Places>()) {}

  // The second until which both places are shut; it may lie in the past.
  [[nodiscard]] std::uint32_t until(std::uint64_t hash) const noexcept {
    return std::min(first(hash).load(std::memory_order_acquire), second(hash).load(std::memory_order_acquire));
  }
  void shut(std::uint64_t hash, std::uint32_t until_second) noexcept {
    raise(first(hash), until_second);
    raise(second(hash), until_second);
  }
  // Opens one of the two: others that are barred by that place are let in with it.
  void open(std::uint64_t hash) noexcept { first(hash).store(0, std::memory_order_release); }
  void open_all() noexcept {
    for (auto& place : *places_) place.store(0, std::memory_order_release);
  }

  [[nodiscard]] std::uint32_t place(std::size_t index) const noexcept {
    return (*places_)[index].load(std::memory_order_relaxed);
  }
  void shut_place(std::size_t index, std::uint32_t until_second) noexcept { raise((*places_)[index], until_second); }
  [[nodiscard]] static constexpr std::size_t memory_bytes() noexcept { return sizeof(Places); }

 private:
  using Place = std::atomic<std::uint32_t>;
  using Places = std::array<Place, kPlaces>;

  [[nodiscard]] Place& first(std::uint64_t hash) const noexcept { return (*places_)[hash % kPlaces]; }
  [[nodiscard]] Place& second(std::uint64_t hash) const noexcept { return (*places_)[(hash >> 32) % kPlaces]; }
  static void raise(Place& place, std::uint32_t until_second) noexcept {
    if (place.load(std::memory_order_relaxed) < until_second) place.store(until_second, std::memory_order_release);
  }

  std::unique_ptr<Places> places_;
};

}  // namespace postern::policy
