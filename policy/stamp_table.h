// The guess guard's tables for readers that never wait: a key of one word and a kind, and what is known of it (a second
// and a small count), in 16 octets. The sibling of the login table, with its layout and its order:
//
//   cell    := key u64, stamp u64                                              both atomic
//   stamp   := time 32 bits | count 5 bits | kind 3 bits | check 24 bits       0: the cell is free
//   check   := keyed mix of key, time, count and kind
//
// Invariants 1. A key word changes only while its stamp is 0. 2. A reader believes a cell only when it read the same
// stamp before and after the key, and the check fits both: a
//      torn pair matches nothing.
//   3. A key that is put again keeps its cell: only the stamp is stored, in one store, so that it never blinks. 4. A
//   key and kind have at most one cell, in either of two buckets of one cache line. Fixed memory, allocated once.
//   Readers: any thread, wait-free. Writers: one at a time (the owner's lock). A put() that returned is seen by every
//   later find().
#pragma once

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <vector>

#include "policy/keyed_hash.h"

namespace postern::policy {

class StampTable {
 public:
  struct Stamp {
    std::uint32_t time = 0;  // not 0
    std::uint8_t count = 0;  // 0..31
  };
  struct Item {
    std::uint64_t key = 0;
    std::uint8_t kind = 0;  // 0..7
    Stamp stamp;
  };
  struct Places {
    std::size_t bucket[2];  // never equal
  };
  struct Placed {
    bool ok = false;                 // false: no cell was free, and none may be evicted
    std::uint32_t evicted_time = 0;  // of the entry that was replaced; 0: none
  };
  static constexpr std::uint8_t kCountMax = 31;
  static constexpr std::size_t kCellsPerBucket = 4;

  StampTable(std::size_t cells, const KeyedHash& hash);

  [[nodiscard]] std::optional<Stamp> find(std::uint64_t key, std::uint8_t kind) const noexcept {
    return find(fetch(key, kind), key, kind);
  }
  // The same in two steps: who has several questions fetches all places first, and waits for memory once.
  [[nodiscard]] Places fetch(std::uint64_t key, std::uint8_t kind) const noexcept;
  [[nodiscard]] std::optional<Stamp> find(const Places& places, std::uint64_t key, std::uint8_t kind) const noexcept;
  // Places or replaces. Entries whose time is before `evict_before` may go for it, the earliest first.
  Placed put(const Item& item, std::uint32_t evict_before) noexcept;
  bool erase(std::uint64_t key, std::uint8_t kind) noexcept;

  // Everything, piece by piece, so that the owner's lock can be let go of in between: buckets [first, first + count).
  [[nodiscard]] std::size_t buckets() const noexcept { return buckets_.size(); }
  template <class Visit>
  void visit(std::size_t first, std::size_t count, Visit visit_item) const {
    for (std::size_t i = first; i < first + count && i < buckets_.size(); ++i) {
      for (const Cell& cell : buckets_[i].cells) {
        const std::uint64_t stamp = cell.stamp.load(std::memory_order_relaxed);
        if (stamp != 0) visit_item(Item{cell.key.load(std::memory_order_relaxed), kind_of(stamp), parts_of(stamp)});
      }
    }
  }

  [[nodiscard]] std::size_t memory_bytes() const noexcept { return buckets_.size() * sizeof(Bucket); }

 private:
  struct Cell {
    std::atomic<std::uint64_t> key{0};
    std::atomic<std::uint64_t> stamp{0};
  };
  struct alignas(64) Bucket {
    Cell cells[kCellsPerBucket];
  };

  static std::uint8_t kind_of(std::uint64_t stamp) noexcept { return stamp >> 24 & 7; }
  static Stamp parts_of(std::uint64_t stamp) noexcept {
    return {static_cast<std::uint32_t>(stamp >> 32), static_cast<std::uint8_t>(stamp >> 27 & kCountMax)};
  }
  [[nodiscard]] Places places_of(std::uint64_t key, std::uint8_t kind) const noexcept;
  [[nodiscard]] std::uint64_t stamp_of(std::uint64_t key, std::uint8_t kind, Stamp parts) const noexcept;
  [[nodiscard]] Cell* held_by(const Places& places, std::uint64_t key, std::uint8_t kind) noexcept;

  KeyedHash hash_;
  std::uint64_t secret_;
  std::vector<Bucket> buckets_;
};

}  // namespace postern::policy
