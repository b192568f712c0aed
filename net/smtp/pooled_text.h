// A short text that lives in a block of a worker's pool: what a session must remember (a cut command line,
// the name a client gave), so that a session that remembers nothing owns nothing.
//
// The owner passes the same pool each time and calls clear() before it dies. Thread: one, the pool's.
#pragma once

#include <cstddef>
#include <cstdint>
#include <cstring>
#include <string_view>

#include "core/assert.h"
#include "core/pool.h"

namespace postern::net::smtp {

class PooledText {
 public:
  static constexpr std::size_t kMaxBytes = 16384;

  PooledText() = default;
  ~PooledText() { POSTERN_ASSERT(block_ == nullptr); }
  PooledText(const PooledText&) = delete;
  PooledText& operator=(const PooledText&) = delete;

  [[nodiscard]] std::string_view view() const { return {block_, size_}; }
  [[nodiscard]] std::size_t size() const { return size_; }
  [[nodiscard]] bool empty() const { return size_ == 0; }

  // False, and the text stays as it was: the pool has no memory. Requires size() + bytes.size() <= kMaxBytes.
  [[nodiscard]] bool append(core::BlockPool& pool, std::string_view bytes) {
    POSTERN_ASSERT(size_ + bytes.size() <= kMaxBytes);
    if (bytes.empty()) return true;
    if (size_ + bytes.size() > capacity_ && !grow(pool, size_ + bytes.size())) return false;
    std::memcpy(block_ + size_, bytes.data(), bytes.size());
    size_ = static_cast<std::uint16_t>(size_ + bytes.size());
    return true;
  }
  // False, and the text is empty: the pool has no memory. `text` must not point into this one.
  [[nodiscard]] bool assign(core::BlockPool& pool, std::string_view text) {
    clear(pool);
    return append(pool, text);
  }
  // As clear(), and leaves no trace of the text in the pool's memory. (What a growing text moved out of is wiped always.)
  void wipe(core::BlockPool& pool) {
    if (block_ != nullptr) explicit_bzero(block_, capacity_);
    clear(pool);
  }
  void clear(core::BlockPool& pool) {
    if (block_ != nullptr) pool.give_back(block_, capacity_);
    block_ = nullptr;
    size_ = capacity_ = 0;
  }

 private:
  bool grow(core::BlockPool& pool, std::size_t bytes) {
    const std::size_t capacity = core::BlockPool::class_bytes(bytes);
    char* block = pool.take(capacity);
    if (block == nullptr) return false;
    if (block_ != nullptr) {
      std::memcpy(block, block_, size_);
      explicit_bzero(block_, size_);
      pool.give_back(block_, capacity_);
    }
    block_ = block;
    capacity_ = static_cast<std::uint16_t>(capacity);
    return true;
  }

  char* block_ = nullptr;
  std::uint16_t size_ = 0;
  std::uint16_t capacity_ = 0;
};

}  // namespace postern::net::smtp
