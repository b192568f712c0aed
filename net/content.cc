#include "net/content.h"

#include <algorithm>
#include <cstdlib>
#include <cstring>
#include <new>

#include "core/assert.h"

namespace postern::net {

bool Content::append(std::string_view bytes) {
  POSTERN_ASSERT(load_memory_ == nullptr);
  while (!bytes.empty()) {
    if (last_ == nullptr || last_->used == last_->capacity) {
      if (!grow()) return false;
    }
    const std::size_t n = std::min<std::size_t>(bytes.size(), last_->capacity - last_->used);
    std::memcpy(reinterpret_cast<char*>(last_ + 1) + last_->used, bytes.data(), n);
    last_->used += static_cast<std::uint32_t>(n);
    size_ += n;
    bytes.remove_prefix(n);
  }
  return true;
}

// Doubles from block to block: a 1 KiB message takes 2 KiB, a 250 KiB one needs eight parts.
bool Content::grow() {
  std::size_t bytes = kFirstBlock;
  if (last_ != nullptr) {
    bytes = std::min((last_->capacity + sizeof(Block)) * 2, core::BlockPool::kLargest);
  }
  char* memory = pool_->take(bytes);
  if (memory == nullptr) return false;
  auto* block = ::new (static_cast<void*>(memory))
      Block{nullptr, 0, static_cast<std::uint32_t>(bytes - sizeof(Block))};
  (last_ == nullptr ? first_ : last_->next) = block;
  last_ = block;
  return true;
}

std::span<char> Content::prepare_load(std::size_t bytes) {
  POSTERN_ASSERT(empty());
  // A longer item than the largest block is rare and already had to wait for the disk: the allocator may serve it.
  load_memory_ = bytes <= core::BlockPool::kLargest
                     ? pool_->take(std::max<std::size_t>(bytes, 4096))
                     : static_cast<char*>(std::aligned_alloc(4096, (bytes + 4095) & ~std::size_t{4095}));
  if (load_memory_ == nullptr) return {};
  load_bytes_ = bytes;
  loaded_ = {};
  return {load_memory_, bytes};
}

void Content::clear() {
  for (Block* block = first_; block != nullptr;) {
    Block* next = block->next;
    pool_->give_back(reinterpret_cast<char*>(block), block->capacity + sizeof(Block));
    block = next;
  }
  first_ = last_ = nullptr;
  size_ = 0;
  if (load_memory_ != nullptr) {
    if (load_bytes_ <= core::BlockPool::kLargest) {
      pool_->give_back(load_memory_, std::max<std::size_t>(load_bytes_, 4096));
    } else {
      std::free(load_memory_);
    }
  }
  load_memory_ = nullptr;
  loaded_ = {};
}

std::string_view Content::front() const {
  if (first_ == nullptr) return {};
  return {reinterpret_cast<const char*>(first_ + 1), first_->used};
}

void Content::pop_front() {
  POSTERN_ASSERT(first_ != nullptr);
  Block* block = first_;
  first_ = block->next;
  if (first_ == nullptr) last_ = nullptr;
  size_ -= block->used;
  pool_->give_back(reinterpret_cast<char*>(block), block->capacity + sizeof(Block));
}

std::size_t Content::parts(std::span<iovec> out) const {
  if (load_memory_ != nullptr) {
    out[0] = {const_cast<char*>(loaded_.data()), loaded_.size()};
    return 1;
  }
  std::size_t n = 0;
  for (Block* block = first_; block != nullptr; block = block->next) {
    POSTERN_ASSERT(n < out.size());
    out[n++] = {block + 1, block->used};
  }
  return n;
}

void Content::take_from(Content& other) {
  pool_ = other.pool_;
  first_ = std::exchange(other.first_, nullptr);
  last_ = std::exchange(other.last_, nullptr);
  size_ = std::exchange(other.size_, 0);
  load_memory_ = std::exchange(other.load_memory_, nullptr);
  load_bytes_ = other.load_bytes_;
  loaded_ = std::exchange(other.loaded_, {});
}

}  // namespace postern::net
