// The block pool: slabs of 64 KiB out of one reserved range, each cut into blocks of one class.
//
// Invariants: a slab is in with_room_[class] exactly while it has a block to give and at least one is out; it
// is in empty_, or was never touched, exactly while none is out.
#include "core/pool.h"

#include <algorithm>
#include <bit>
#include <sys/mman.h>

namespace postern::core {

namespace {

int class_of(std::size_t bytes) {
  const std::size_t rounded = std::bit_ceil(std::max(bytes, BlockPool::kSmallest));
  return std::countr_zero(rounded) - std::countr_zero(BlockPool::kSmallest);
}

std::size_t block_bytes(int size_class) {
  return BlockPool::kSmallest << size_class;
}

std::size_t blocks_in_slab(int size_class) {
  return BlockPool::kLargest / block_bytes(size_class);
}

}  // namespace

BlockPool::BlockPool(std::size_t budget_bytes) {
  std::fill(std::begin(with_room_), std::end(with_room_), kNone);
  const std::size_t slabs = std::max<std::size_t>(budget_bytes / kLargest, 1);
  void* reserved =
      mmap(nullptr, slabs * kLargest, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  if (reserved == MAP_FAILED) return;  // an empty pool: what asks it is shed
  memory_ = static_cast<char*>(reserved);
  slabs_.resize(slabs);
  poison(memory_, slabs * kLargest);
}

BlockPool::~BlockPool() {
  POSTERN_ASSERT(used_ == 0);
  if (memory_ == nullptr) return;
  unpoison(memory_, slabs_.size() * kLargest);
  munmap(memory_, slabs_.size() * kLargest);
}

std::size_t BlockPool::class_bytes(std::size_t bytes) {
  return block_bytes(class_of(bytes));
}

void BlockPool::link(std::uint32_t& list, std::uint32_t slab) {
  slabs_[slab].previous = kNone;
  slabs_[slab].next = list;
  if (list != kNone) slabs_[list].previous = slab;
  list = slab;
}

void BlockPool::unlink(std::uint32_t& list, std::uint32_t slab) {
  const Slab& leaving = slabs_[slab];
  if (leaving.next != kNone) slabs_[leaving.next].previous = leaving.previous;
  if (leaving.previous != kNone) {
    slabs_[leaving.previous].next = leaving.next;
  } else {
    list = leaving.next;
  }
}

// Gives the class an empty slab. False: the budget is used up.
bool BlockPool::add_slab(int size_class) {
  std::uint32_t slab = empty_;
  if (slab != kNone) {
    unlink(empty_, slab);
  } else if (slabs_touched_ < slabs_.size()) {
    slab = slabs_touched_++;
  } else {
    return false;
  }
  slabs_[slab] = Slab{};
  slabs_[slab].size_class = static_cast<std::uint8_t>(size_class);
  link(with_room_[size_class], slab);
  return true;
}

char* BlockPool::take(std::size_t bytes) {
  POSTERN_ASSERT(bytes <= kLargest);
  const int size_class = class_of(bytes);
  if (with_room_[size_class] == kNone && !add_slab(size_class)) return nullptr;
  const std::uint32_t index = with_room_[size_class];
  Slab& slab = slabs_[index];
  char* block = nullptr;
  if (slab.free != nullptr) {
    block = reinterpret_cast<char*>(slab.free);
    unpoison(block, block_bytes(size_class));
    slab.free = slab.free->next;
  } else {
    block = memory_ + index * kLargest + slab.cut * block_bytes(size_class);
    unpoison(block, block_bytes(size_class));
    ++slab.cut;
  }
  ++slab.out;
  if (slab.free == nullptr && slab.cut == blocks_in_slab(size_class)) unlink(with_room_[size_class], index);
  used_ += block_bytes(size_class);
  return block;
}

void BlockPool::give_back(char* block, std::size_t bytes) {
  const int size_class = class_of(bytes);
  const auto offset = static_cast<std::size_t>(block - memory_);
  const auto index = static_cast<std::uint32_t>(offset / kLargest);
  POSTERN_ASSERT(index < slabs_touched_ && offset % block_bytes(size_class) == 0);
  Slab& slab = slabs_[index];
  POSTERN_ASSERT(slab.out > 0 && slab.size_class == size_class);
  const bool had_room = slab.free != nullptr || slab.cut < blocks_in_slab(size_class);
  slab.free = ::new (static_cast<void*>(block)) FreeBlock{slab.free};
  poison(block, block_bytes(size_class));
  --slab.out;
  used_ -= block_bytes(size_class);
  if (slab.out == 0) {
    if (had_room) unlink(with_room_[size_class], index);
    link(empty_, index);
  } else if (!had_room) {
    link(with_room_[size_class], index);
  }
}

}  // namespace postern::core
