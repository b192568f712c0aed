// The octets of one message in a worker's memory: a chain of pool blocks that grows as they come, or one buffer that was
// read back from the spool.
//
// One copy takes the octets out of the receive ring, so that a slow sender never keeps the ring's buffers; from here
// they go to the commit buffer and to the next hop without another.
// Thread: the owning worker changes it; while a delivery is under way another worker may read parts().
// Bounds: the pool's budget.
#pragma once

#include <sys/uio.h>

#include <cstddef>
#include <cstdint>
#include <span>
#include <string_view>
#include <utility>

#include "core/pool.h"

namespace postern::net {

class Content {
 public:
  // Parts of a content of at most 384 KiB.
  static constexpr std::size_t kPartsMax = 16;

  explicit Content(core::BlockPool& pool) : pool_(&pool) {}
  ~Content() { clear(); }
  Content(Content&& other) noexcept { take_from(other); }
  Content& operator=(Content&& other) noexcept {
    if (this != &other) {
      clear();
      take_from(other);
    }
    return *this;
  }

  // False: the pool has no memory; what was appended before stays.
  [[nodiscard]] bool append(std::string_view bytes);
  // Memory for a read of `bytes` octets, 4096-aligned; empty: none to be had. Requires empty().
  [[nodiscard]] std::span<char> prepare_load(std::size_t bytes);
  // `body` lies in the prepared memory, which is the content's from now on.
  void loaded(std::string_view body) { loaded_ = body; }
  void clear();
  // The oldest block's octets, and giving that block back: for a body that streams through to a file. Chain only.
  [[nodiscard]] std::string_view front() const;
  void pop_front();

  [[nodiscard]] bool empty() const { return first_ == nullptr && load_memory_ == nullptr; }
  [[nodiscard]] std::size_t size() const { return load_memory_ != nullptr ? loaded_.size() : size_; }
  // Fills `out` front to back; returns the number of parts. Requires out.size() >= kPartsMax.
  std::size_t parts(std::span<iovec> out) const;

 private:
  struct Block {
    Block* next;
    std::uint32_t used;
    std::uint32_t capacity;  // octets behind this header
  };
  static constexpr std::size_t kFirstBlock = 2048;

  bool grow();
  void take_from(Content& other);

  core::BlockPool* pool_ = nullptr;
  Block* first_ = nullptr;
  Block* last_ = nullptr;
  std::size_t size_ = 0;
  char* load_memory_ = nullptr;
  std::size_t load_bytes_ = 0;
  std::string_view loaded_;
};

}  // namespace postern::net
