// A hash table from 64-bit ids to small values: open addressing, linear probing, deletion by shifting back (no
// tombstones), so that months of inserting and erasing neither allocate nor slow it down.
//
// Grows by doubling at three quarters full (the only allocation). Ids are ours, not a stranger's choice, so a fixed
// mixing function serves. Id 0 is not a key. Thread: one.
#pragma once

#include <cstddef>
#include <cstdint>
#include <utility>
#include <vector>

#include "core/assert.h"

namespace postern::core {

template <class Value>
class IdTable {
 public:
  explicit IdTable(std::size_t expected = 64) {
    std::size_t capacity = 16;
    while (capacity * 3 / 4 < expected) capacity *= 2;
    entries_.resize(capacity);
  }

  [[nodiscard]] std::size_t size() const { return size_; }

  // nullptr: not there. Valid until the next insert or erase.
  [[nodiscard]] Value* find(std::uint64_t id) {
    const std::size_t at = locate(id);
    return id != 0 && entries_[at].id == id ? &entries_[at].value : nullptr;
  }
  [[nodiscard]] const Value* find(std::uint64_t id) const { return const_cast<IdTable*>(this)->find(id); }

  // Requires that the id is not in the table.
  void insert(std::uint64_t id, Value value) {
    POSTERN_ASSERT(id != 0);
    if ((size_ + 1) * 4 > entries_.size() * 3) grow();
    Entry& entry = entries_[locate(id)];
    POSTERN_ASSERT(entry.id == 0);
    entry.id = id;
    entry.value = std::move(value);
    ++size_;
  }
  bool erase(std::uint64_t id) {
    std::size_t hole = locate(id);
    if (id == 0 || entries_[hole].id != id) return false;
    const std::size_t mask = entries_.size() - 1;
    for (std::size_t i = (hole + 1) & mask; entries_[i].id != 0; i = (i + 1) & mask) {
      const std::size_t home = mix(entries_[i].id) & mask;
      if (((i - home) & mask) >= ((i - hole) & mask)) {
        entries_[hole] = std::move(entries_[i]);
        hole = i;
      }
    }
    entries_[hole] = Entry{};
    --size_;
    return true;
  }
  // visit(id, value) for each, in no order; must not change the table.
  template <class Visit>
  void each(Visit&& visit) const {
    for (const Entry& entry : entries_) {
      if (entry.id != 0) visit(entry.id, entry.value);
    }
  }

 private:
  struct Entry {
    std::uint64_t id = 0;
    Value value{};
  };
  static std::uint64_t mix(std::uint64_t x) {
    x = (x ^ (x >> 32)) * 0xd6e8feb86659fd93ULL;
    return x ^ (x >> 32);
  }
  // Where the id is, or the free place where it would go.
  [[nodiscard]] std::size_t locate(std::uint64_t id) const {
    const std::size_t mask = entries_.size() - 1;
    std::size_t at = mix(id) & mask;
    while (entries_[at].id != 0 && entries_[at].id != id) at = (at + 1) & mask;
    return at;
  }
  void grow() {
    std::vector<Entry> old(entries_.size() * 2);
    old.swap(entries_);
    for (Entry& entry : old) {
      if (entry.id != 0) entries_[locate(entry.id)] = std::move(entry);
    }
  }

  std::vector<Entry> entries_;
  std::size_t size_ = 0;
};

}  // namespace postern::core
