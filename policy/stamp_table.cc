// Duty, layout and invariants are in the header. Key and stamp are stored with release and loaded with acquire; there
// is no fence (TSan knows none).
#include "policy/stamp_table.h"

#include <algorithm>

#include "core/assert.h"

namespace postern::policy {
namespace {

// The finaliser of SplitMix64 (Steele, Lea, Flood, OOPSLA 2014): every bit of the input moves every bit of the output.
std::uint64_t mix(std::uint64_t x) noexcept {
  x = (x ^ x >> 30) * 0xbf58476d1ce4e5b9u;
  x = (x ^ x >> 27) * 0x94d049bb133111ebu;
  return x ^ x >> 31;
}

constexpr std::uint64_t kCheckMask = 0xffffff;

}  // namespace

StampTable::StampTable(std::size_t cells, const KeyedHash& hash)
    : hash_(hash),
      secret_(hash("check word")),
      buckets_(std::max<std::size_t>(2, (cells + kCellsPerBucket - 1) / kCellsPerBucket)) {
  static_assert(sizeof(Bucket) == 64);
  POSTERN_ASSERT(buckets_.size() <= 0xffffffff);  // places_of takes 32 bits of the hash for each
}

StampTable::Places StampTable::places_of(std::uint64_t key, std::uint8_t kind) const noexcept {
  const std::uint64_t hash = hash_(key, kind);
  // Multiply and shift spreads a 32-bit number over any count of buckets without a division.
  const std::size_t first = (hash & 0xffffffff) * buckets_.size() >> 32;
  std::size_t second = (hash >> 32) * (buckets_.size() - 1) >> 32;
  if (second >= first) ++second;
  return {{first, second}};
}

std::uint64_t StampTable::stamp_of(std::uint64_t key, std::uint8_t kind, Stamp parts) const noexcept {
  const std::uint64_t head =
      std::uint64_t{parts.time} << 32 | std::uint64_t{parts.count} << 27 | std::uint64_t{kind} << 24;
  return head | (mix(mix(key + secret_) ^ head ^ secret_) & kCheckMask);
}

StampTable::Places StampTable::fetch(std::uint64_t key, std::uint8_t kind) const noexcept {
  const Places places = places_of(key, kind);
  for (const std::size_t place : places.bucket) __builtin_prefetch(&buckets_[place]);
  return places;
}

std::optional<StampTable::Stamp> StampTable::find(const Places& places, std::uint64_t key,
                                                  std::uint8_t kind) const noexcept {
  for (const std::size_t place : places.bucket) {
    for (const Cell& cell : buckets_[place].cells) {
      if (cell.key.load(std::memory_order_relaxed) != key) continue;
      const std::uint64_t before = cell.stamp.load(std::memory_order_acquire);
      const std::uint64_t word = cell.key.load(std::memory_order_acquire);
      const std::uint64_t after = cell.stamp.load(std::memory_order_relaxed);
      if (before == 0 || word != key || before != after || kind_of(before) != kind) continue;
      if (before == stamp_of(key, kind, parts_of(before))) return parts_of(before);
    }
  }
  return std::nullopt;
}

StampTable::Cell* StampTable::held_by(const Places& places, std::uint64_t key, std::uint8_t kind) noexcept {
  for (const std::size_t place : places.bucket) {
    for (Cell& cell : buckets_[place].cells) {
      const std::uint64_t stamp = cell.stamp.load(std::memory_order_relaxed);
      if (stamp != 0 && kind_of(stamp) == kind && cell.key.load(std::memory_order_relaxed) == key) return &cell;
    }
  }
  return nullptr;
}

StampTable::Placed StampTable::put(const Item& item, std::uint32_t evict_before) noexcept {
  POSTERN_ASSERT(item.stamp.time != 0 && item.stamp.count <= kCountMax && item.kind <= 7);
  const Places places = places_of(item.key, item.kind);
  const std::uint64_t stamp = stamp_of(item.key, item.kind, item.stamp);
  if (Cell* held = held_by(places, item.key, item.kind)) {
    held->stamp.store(stamp, std::memory_order_release);
    return {true, 0};
  }
  // The bucket with more room (free cells, and those that may be evicted), so that what may not be evicted fills both
  // evenly ("the power of two choices"). There a free cell, else the earliest one; with as much room in both, of both.
  int room[2] = {};
  Cell* best[2] = {};
  std::uint32_t best_time[2] = {};  // 0: the cell is free
  for (int choice = 0; choice < 2; ++choice) {
    for (Cell& candidate : buckets_[places.bucket[choice]].cells) {
      const std::uint64_t present = candidate.stamp.load(std::memory_order_relaxed);
      const std::uint32_t time = present == 0 ? 0 : parts_of(present).time;
      if (present != 0 && time >= evict_before) continue;
      if (room[choice]++ != 0 && time >= best_time[choice]) continue;
      best[choice] = &candidate;
      best_time[choice] = time;
    }
  }
  if (room[0] == 0 && room[1] == 0) return {false, 0};
  const bool take_second = room[0] != room[1] ? room[1] > room[0] : best_time[1] < best_time[0];
  Cell* cell = best[take_second ? 1 : 0];
  const Placed placed{true, best_time[take_second ? 1 : 0]};
  cell->stamp.store(0, std::memory_order_relaxed);
  cell->key.store(item.key, std::memory_order_release);  // who sees the new key sees the stamp gone
  cell->stamp.store(stamp, std::memory_order_release);   // who sees the new stamp sees the new key
  return placed;
}

bool StampTable::erase(std::uint64_t key, std::uint8_t kind) noexcept {
  Cell* held = held_by(places_of(key, kind), key, kind);
  if (held == nullptr) return false;
  held->stamp.store(0, std::memory_order_release);
  return true;
}

}  // namespace postern::policy
