// Fixed memory for things that come and go: slots of one type, and blocks of a few sizes.
//
// Once warm, neither allocates: what was given back is handed out again. Both are bounded; being empty is an
// answer (nullptr), not an error. Thread: one, the owning worker's.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <new>
#include <utility>
#include <vector>

#include "core/assert.h"
#include "core/poison.h"

namespace postern::core {

// Slots of T. Memory is taken in runs of `kRun` slots as they are first needed and kept until the pool dies.
template <class T>
class SlotPool {
 public:
  explicit SlotPool(std::size_t capacity) : capacity_(capacity) {}
  ~SlotPool() { POSTERN_ASSERT(in_use_ == 0); }
  SlotPool(const SlotPool&) = delete;
  SlotPool& operator=(const SlotPool&) = delete;

  // nullptr: the pool is at its capacity.
  template <class... Arguments>
  [[nodiscard]] T* make(Arguments&&... arguments) {
    if (in_use_ >= capacity_) return nullptr;
    if (free_ == nullptr) grow();
    Slot* slot = free_;
    unpoison(slot, sizeof(Slot));
    free_ = slot->next;
    ++in_use_;
    return ::new (static_cast<void*>(slot->storage)) T(std::forward<Arguments>(arguments)...);
  }
  void destroy(T* object) {
    object->~T();
    Slot* slot = reinterpret_cast<Slot*>(object);
    slot->next = free_;
    free_ = slot;
    poison(slot, sizeof(Slot));
    --in_use_;
  }
  [[nodiscard]] std::size_t in_use() const { return in_use_; }
  [[nodiscard]] std::size_t capacity() const { return capacity_; }

 private:
  static constexpr std::size_t kRun = 64;
  union Slot {
    Slot() {}
    ~Slot() {}
    Slot* next;
    alignas(T) std::byte storage[sizeof(T)];
  };
  void grow() {
    runs_.push_back(std::make_unique<Slot[]>(kRun));
    for (std::size_t i = kRun; i-- > 0;) {
      runs_.back()[i].next = free_;
      free_ = &runs_.back()[i];
      poison(free_, sizeof(Slot));
    }
  }

  std::size_t capacity_;
  std::size_t in_use_ = 0;
  Slot* free_ = nullptr;
  std::vector<std::unique_ptr<Slot[]>> runs_;
};

// Memory blocks in size classes of powers of two from 128 octets to 64 KiB, under one byte budget.
// A block is 4,096-aligned when it is 4 KiB or larger, else 64-aligned.
//
// The budget is address space reserved at construction and touched as it is first needed. It is cut into
// slabs of 64 KiB; a slab serves one class while any of its blocks is out, and any other class afterwards, so
// that a burst of one size starves no other for good.
class BlockPool {
 public:
  explicit BlockPool(std::size_t budget_bytes);  // rounded down to slabs, at least one
  ~BlockPool();                                  // requires: every block was given back
  BlockPool(const BlockPool&) = delete;
  BlockPool& operator=(const BlockPool&) = delete;

  // The usable size of the block is class_bytes(bytes). nullptr: the budget is used up. Requires bytes <= 64
  // KiB.
  [[nodiscard]] char* take(std::size_t bytes);
  void give_back(char* block, std::size_t bytes);  // `bytes` as it was taken

  [[nodiscard]] static std::size_t class_bytes(std::size_t bytes);
  [[nodiscard]] std::size_t used_bytes() const { return used_; }  // handed out
  [[nodiscard]] std::size_t budget_bytes() const { return slabs_.size() * kLargest; }

  static constexpr std::size_t kSmallest = 128;
  static constexpr std::size_t kLargest = 65536;

 private:
  static constexpr int kClasses = 10;
  static constexpr std::uint32_t kNone = UINT32_MAX;
  struct FreeBlock {
    FreeBlock* next;
  };
  struct Slab {
    FreeBlock* free = nullptr;   // given back
    std::uint32_t next = kNone;  // in the list it is in: of its class, or of empty slabs
    std::uint32_t previous = kNone;
    std::uint16_t out = 0;  // blocks handed out
    std::uint16_t cut = 0;  // blocks ever handed out since the slab serves this class
    std::uint8_t size_class = 0;
  };
  bool add_slab(int size_class);
  void link(std::uint32_t& list, std::uint32_t slab);
  void unlink(std::uint32_t& list, std::uint32_t slab);

  std::size_t used_ = 0;
  char* memory_ = nullptr;
  std::vector<Slab> slabs_;
  std::uint32_t slabs_touched_ = 0;    // those behind were never used
  std::uint32_t empty_ = kNone;        // list of slabs that serve no class
  std::uint32_t with_room_[kClasses];  // list of slabs with a block to give
};

}  // namespace postern::core
