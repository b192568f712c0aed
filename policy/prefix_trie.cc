// The trie's construction and its lookup. The structure is drawn in the header; the paper is named there.
//
// Built through a plain binary tree of the prefixes, which is then cut into nodes of six levels. Construction
// is cold (a reload) and may allocate; the lookup is the hot path.
#include "policy/prefix_trie.h"

#include <bit>
#include <cstring>
#include <memory>

#include "core/assert.h"

namespace postern::policy {
namespace {

constexpr unsigned kMappedBits = 96;       // ::ffff:0:0/96
constexpr std::size_t kDirectFrom = 4096;  // IPv4 prefixes; below, 256 KiB of table would only crowd the cache

// Bits [offset, offset+6) of the 128 (or 32) that begin at hi's top; bits behind the end are zero.
unsigned bits_v6(std::uint64_t high, std::uint64_t low, unsigned offset) noexcept {
  if (offset < 58) return static_cast<unsigned>(high >> (58 - offset)) & 63u;
  if (offset < 64) {  // across the two words
    const unsigned from_low = offset - 58;
    return static_cast<unsigned>((high << from_low | low >> (64 - from_low))) & 63u;
  }
  if (offset <= 122) return static_cast<unsigned>(low >> (122 - offset)) & 63u;
  return static_cast<unsigned>(low << (offset - 122)) & 63u;
}

unsigned bits_v4(std::uint32_t address, unsigned offset) noexcept {
  if (offset <= 26) return (address >> (26 - offset)) & 63u;
  return (address << (offset - 26)) & 63u;
}

// core's own accessors go octet by octet and across a library's border; here they are a third of a lookup.
std::uint64_t big_endian(const std::uint8_t* octets) noexcept {
  std::uint64_t word = 0;
  std::memcpy(&word, octets, sizeof word);
  if constexpr (std::endian::native == std::endian::little) word = __builtin_bswap64(word);
  return word;
}

bool is_v4_prefix(const core::IpPrefix& prefix) {
  return prefix.bits >= kMappedBits && prefix.address.is_v4();
}

}  // namespace

class PrefixTrieBuilder {
 public:
  explicit PrefixTrieBuilder(PrefixTrie& trie) : trie_(trie) {}

  void add(const PrefixTrie::Entry& entry) {
    POSTERN_ASSERT(entry.value != PrefixTrie::kNone);
    const bool v4 = is_v4_prefix(entry.prefix);
    Branch* at = v4 ? &v4_ : &v6_;
    for (unsigned bit = v4 ? kMappedBits : 0; bit < entry.prefix.bits; ++bit) {
      const bool one = (entry.prefix.address.bytes[bit / 8] >> (7 - bit % 8) & 1) != 0;
      std::unique_ptr<Branch>& child = at->child[one ? 1 : 0];
      if (!child) child = std::make_unique<Branch>();
      at = child.get();
    }
    at->value = entry.value;
    if (v4) ++v4_count_;
    ++trie_.entries_;
  }

  void finish() {
    trie_.root_v4_ = make_root(&v4_);
    trie_.root_v6_ = make_root(&v6_);
    if (v4_count_ >= kDirectFrom) {
      trie_.direct_.resize(std::size_t{1} << PrefixTrie::kDirectBits);
      fill_direct(&v4_, PrefixTrie::kNone, 0, 0);
    }
    trie_.nodes_.shrink_to_fit();
    trie_.leaves_.shrink_to_fit();
  }

 private:
  struct Branch {
    std::unique_ptr<Branch> child[2];
    PrefixTrie::Value value = PrefixTrie::kNone;
    [[nodiscard]] bool has_children() const { return child[0] || child[1]; }
  };
  // One of a node's 64 slots: what lies six levels down, and the value inherited on the way.
  struct Slot {
    const Branch* below = nullptr;  // set only when it has children: then the slot is a node
    PrefixTrie::Value value = PrefixTrie::kNone;
  };

  std::uint32_t make_root(const Branch* branch) {
    const auto place = static_cast<std::uint32_t>(trie_.nodes_.size());
    trie_.nodes_.emplace_back();
    fill(place, branch, PrefixTrie::kNone);
    return place;
  }

  static void spread(const Branch* branch, PrefixTrie::Value inherited, unsigned depth, unsigned slot, Slot* slots) {
    if (branch != nullptr && branch->value != PrefixTrie::kNone) inherited = branch->value;
    if (depth == PrefixTrie::kStride) {
      slots[slot] = {branch != nullptr && branch->has_children() ? branch : nullptr, inherited};
      return;
    }
    for (unsigned bit = 0; bit < 2; ++bit) {
      spread(branch != nullptr ? branch->child[bit].get() : nullptr, inherited, depth + 1, slot << 1 | bit, slots);
    }
  }

  void fill(std::uint32_t place, const Branch* branch, PrefixTrie::Value inherited) {
    Slot slots[64];
    spread(branch, inherited, 0, 0, slots);
    PrefixTrie::Node node;
    node.first_leaf = static_cast<std::uint32_t>(trie_.leaves_.size());
    node.first_child = static_cast<std::uint32_t>(trie_.nodes_.size());
    bool any_leaf = false;
    for (unsigned s = 0; s < 64; ++s) {
      if (slots[s].below != nullptr) {
        node.inner |= std::uint64_t{1} << s;
      } else if (!any_leaf || trie_.leaves_.back() != slots[s].value) {
        // A run of equal leaves passes over the children between them: they are never counted as leaves.
        node.leaf_starts |= std::uint64_t{1} << s;
        trie_.leaves_.push_back(slots[s].value);
        any_leaf = true;
      }
    }
    trie_.nodes_.resize(trie_.nodes_.size() + static_cast<std::size_t>(std::popcount(node.inner)));
    trie_.nodes_[place] = node;
    std::uint32_t child = node.first_child;
    for (const Slot& slot : slots) {
      if (slot.below != nullptr) fill(child++, slot.below, slot.value);
    }
  }

  void fill_direct(const Branch* branch, PrefixTrie::Value inherited, unsigned depth, std::uint32_t slot) {
    if (branch != nullptr && branch->value != PrefixTrie::kNone) inherited = branch->value;
    if (depth == PrefixTrie::kDirectBits) {
      if (branch == nullptr || !branch->has_children()) {
        trie_.direct_[slot] = PrefixTrie::kDirectLeaf | inherited;
        return;
      }
      const auto place = static_cast<std::uint32_t>(trie_.nodes_.size());
      trie_.nodes_.emplace_back();
      fill(place, branch, inherited);
      trie_.direct_[slot] = place;
      return;
    }
    for (std::uint32_t bit = 0; bit < 2; ++bit) {
      fill_direct(branch != nullptr ? branch->child[bit].get() : nullptr, inherited, depth + 1, slot << 1 | bit);
    }
  }

  PrefixTrie& trie_;
  Branch v4_;
  Branch v6_;
  std::size_t v4_count_ = 0;
};

PrefixTrie::PrefixTrie() : PrefixTrie(std::span<const Entry>{}) {}

PrefixTrie::PrefixTrie(std::span<const Entry> entries) {
  PrefixTrieBuilder builder(*this);
  for (const Entry& entry : entries) builder.add(entry);
  builder.finish();
}

PrefixTrie::PrefixTrie(std::span<const core::IpPrefix> members) {
  PrefixTrieBuilder builder(*this);
  for (const core::IpPrefix& member : members) builder.add({member, 0});
  builder.finish();
}

// Walks from a node down; `bits_at(offset)` gives the six bits of the address at an offset.
template <class BitsAt>
PrefixTrie::Value PrefixTrie::walk(std::uint32_t place, unsigned offset, BitsAt bits_at) const noexcept {
  const Node* const nodes = nodes_.data();
  for (;; offset += kStride) {
    const Node& node = nodes[place];
    const unsigned slot = bits_at(offset);
    const std::uint64_t upto = ~std::uint64_t{0} >> (63 - slot);  // slots 0..slot
    if ((node.inner >> slot & 1) == 0) {
      return leaves_[node.first_leaf + static_cast<std::uint32_t>(std::popcount(node.leaf_starts & upto)) - 1];
    }
    place = node.first_child + static_cast<std::uint32_t>(std::popcount(node.inner & upto)) - 1;
  }
}

PrefixTrie::Value PrefixTrie::lookup(const core::IpAddress& address) const noexcept {
  const std::uint64_t high = big_endian(address.bytes.data());
  const std::uint64_t low = big_endian(address.bytes.data() + 8);
  if (high != 0 || low >> 32 != 0xffff) {
    return walk(root_v6_, 0, [high, low](unsigned offset) noexcept { return bits_v6(high, low, offset); });
  }
  const auto narrow = static_cast<std::uint32_t>(low);
  std::uint32_t place = root_v4_;
  unsigned offset = 0;
  if (!direct_.empty()) {
    const std::uint32_t entry = direct_[narrow >> (32 - kDirectBits)];
    if ((entry & kDirectLeaf) != 0) return static_cast<Value>(entry);
    place = entry;
    offset = kDirectBits;
  }
  return walk(place, offset, [narrow](unsigned at) noexcept { return bits_v4(narrow, at); });
}

std::size_t PrefixTrie::memory_bytes() const noexcept {
  return nodes_.capacity() * sizeof(Node) + leaves_.capacity() * sizeof(Value) +
         direct_.capacity() * sizeof(std::uint32_t);
}

}  // namespace postern::policy
