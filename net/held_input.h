// Received octets that a connection has not used yet: the kernel's buffers themselves, in order, without a copy.
//
// A connection normally uses a buffer in the turn it arrives and holds none. It holds some while it waits for an answer
// (is the message on disk?), and then asks for no more once it holds kHeldMax; what still arrives is held as well.
// Thread: one, its worker's.
#pragma once

#include <cstddef>
#include <cstdint>
#include <cstring>
#include <span>
#include <string_view>
#include <sys/uio.h>
#include <vector>

#include "core/ring.h"

namespace postern::net {

// One a worker: the links between held buffers, by buffer id.
struct BufferLinks {
  struct Link {
    std::uint16_t next = 0;
    std::uint32_t octets = 0;
  };
  std::vector<Link> links;
  explicit BufferLinks(std::size_t buffers) : links(buffers) {}
};

class HeldInput {
 public:
  static constexpr std::uint32_t kHeldMax = 4;

  [[nodiscard]] bool empty() const { return count_ == 0; }
  [[nodiscard]] bool is_full() const { return count_ >= kHeldMax; }
  [[nodiscard]] std::uint32_t count() const { return count_; }

  void push(BufferLinks& links, std::uint16_t buffer, std::uint32_t octets) {
    links.links[buffer] = {0, octets};
    if (count_++ == 0) {
      first_ = buffer;
      used_ = 0;
    } else {
      links.links[last_].next = buffer;
    }
    last_ = buffer;
  }
  [[nodiscard]] std::string_view front(const BufferLinks& links, const core::Ring& ring) const {
    if (count_ == 0) return {};
    return ring.buffer(first_, static_cast<std::int32_t>(links.links[first_].octets)).substr(used_);
  }
  // Points `parts` at the octets of the first buffers, as many as there are parts; returns how many buffers those are.
  std::size_t gather(const BufferLinks& links, const core::Ring& ring, std::span<iovec> parts) const {
    std::size_t gathered = 0;
    std::uint16_t buffer = first_;
    for (; gathered < parts.size() && gathered < count_; ++gathered, buffer = links.links[buffer].next) {
      std::string_view octets = ring.buffer(buffer, static_cast<std::int32_t>(links.links[buffer].octets));
      if (gathered == 0) octets.remove_prefix(used_);
      parts[gathered] = {const_cast<char*>(octets.data()), octets.size()};
    }
    return gathered;
  }
  void drop(BufferLinks& links, core::Ring& ring, std::size_t buffers) {
    while (buffers-- != 0) pop(links, ring);
  }
  // Leaves no trace of the first `octets` of front(): a password may be among them, and the buffer's next reader is another
  // connection. The buffers are the ring's own memory, and nobody else reads them while they are held.
  void wipe(const BufferLinks& links, const core::Ring& ring, std::size_t octets) const {
    if (octets != 0) explicit_bzero(const_cast<char*>(front(links, ring).data()), octets);
  }
  // Gives a buffer back as soon as it is used up.
  void consume(BufferLinks& links, core::Ring& ring, std::size_t octets) {
    used_ += static_cast<std::uint32_t>(octets);
    if (count_ != 0 && used_ >= links.links[first_].octets) pop(links, ring);
  }
  void clear(BufferLinks& links, core::Ring& ring) {
    while (count_ != 0) pop(links, ring);
  }
  void wipe_all(BufferLinks& links, core::Ring& ring) {
    while (count_ != 0) {
      wipe(links, ring, front(links, ring).size());
      pop(links, ring);
    }
  }

 private:
  void pop(BufferLinks& links, core::Ring& ring) {
    const std::uint16_t buffer = first_;
    first_ = links.links[buffer].next;
    used_ = 0;
    --count_;
    ring.release_buffer(buffer);
  }

  std::uint16_t first_ = 0;
  std::uint16_t last_ = 0;
  std::uint32_t used_ = 0;   // octets of the first buffer that are used up
  std::uint32_t count_ = 0;
};

}  // namespace postern::net
