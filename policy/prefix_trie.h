// Longest-prefix match over IPv4 and IPv6: a compressed multibit trie after Poptrie (H. Asai, Y. Ohara:
// "Poptrie: A Compressed Trie with Population Count for Fast and Scalable Software IP Routing Table Lookup",
// SIGCOMM 2015).
//
// Immutable: built once (allocates), then read by any number of threads. A lookup makes no store, takes no
// lock and allocates nothing.
//
// A node covers six bits of the address. Its `inner` bit vector says which of the 64 slots lead to a child
// node, and
//   the population count below a slot gives the child's place in one array; `leaf_starts` does the same for
//   runs of equal leaves. IPv4 addresses (which arrive as ::ffff:a.b.c.d) have a root of their own and are
//   matched by their 32 bits. When there are very many IPv4 prefixes, a table of 2^16 slots takes the first
//   16 bits in one step.
// Families are apart: an IPv6 prefix that is short enough to cover ::ffff:0:0/96 (such as ::/0) matches no
// IPv4
//   address; "everyone" is 0.0.0.0/0 and ::/0.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

#include "core/ip_address.h"

namespace postern::policy {

class PrefixTrie {
 public:
  using Value = std::uint16_t;
  static constexpr Value kNone = 0xffff;  // no prefix matches

  struct Entry {
    core::IpPrefix prefix;
    Value value = 0;  // not kNone
  };

  PrefixTrie();                                                  // empty: matches nothing
  explicit PrefixTrie(std::span<const Entry> entries);           // of equal prefixes the last one counts
  explicit PrefixTrie(std::span<const core::IpPrefix> members);  // a set: every member has the value 0

  // The value of the longest prefix that contains the address; kNone: there is none.
  [[nodiscard]] Value lookup(const core::IpAddress& address) const noexcept;
  [[nodiscard]] bool contains(const core::IpAddress& address) const noexcept { return lookup(address) != kNone; }
  [[nodiscard]] bool empty() const noexcept { return entries_ == 0; }
  [[nodiscard]] std::size_t memory_bytes() const noexcept;

 private:
  friend class PrefixTrieBuilder;
  struct Node {
    std::uint64_t inner = 0;        // bit s: slot s is a child node
    std::uint64_t leaf_starts = 0;  // bit s: a run of equal leaves starts at slot s
    std::uint32_t first_leaf = 0;   // in leaves_
    std::uint32_t first_child = 0;  // in nodes_
  };
  static constexpr unsigned kStride = 6;
  static constexpr unsigned kDirectBits = 16;
  static constexpr std::uint32_t kDirectLeaf = 0x80000000u;  // set: the low bits are a value, else a node

  template <class BitsAt>
  [[nodiscard]] Value walk(std::uint32_t place, unsigned offset, BitsAt bits_at) const noexcept;

  std::vector<Node> nodes_;
  std::vector<Value> leaves_;
  std::vector<std::uint32_t> direct_;  // empty, or 2^16 slots for IPv4
  std::uint32_t root_v4_ = 0;
  std::uint32_t root_v6_ = 0;
  std::size_t entries_ = 0;
};

}  // namespace postern::policy
