// Open addressing over one string of names; see the header.
#include "policy/name_map.h"

#include <bit>
#include <cstring>

#include "core/assert.h"

namespace postern::policy {
namespace {

// FNV-1a, 32 bits. The table is written by the operator alone: strangers can only ask, and a question costs
// at most the longest run of used slots, which is fixed when the table is made.
constexpr std::uint32_t kSeed = 2166136261u;

std::uint32_t hash_on(std::uint32_t hash, std::string_view text) noexcept {
  for (const char c : text) hash = (hash ^ static_cast<unsigned char>(c)) * 16777619u;
  return hash;
}

}  // namespace

NameMap::NameMap(std::vector<Item> items) {
  if (items.empty()) return;
  slots_.resize(std::bit_ceil(items.size() * 2));
  const std::size_t mask = slots_.size() - 1;
  for (const Item& item : items) {
    POSTERN_ASSERT(item.value != kNone);
    const std::uint32_t hash = hash_on(kSeed, item.name);
    std::size_t at = hash & mask;
    for (; slots_[at].value != kNone; at = (at + 1) & mask) {
      const Slot& slot = slots_[at];
      if (slot.hash == hash && std::string_view(text_).substr(slot.offset, slot.size) == item.name) break;
    }
    Slot& slot = slots_[at];
    if (slot.value != kNone) {
      if (item.value < slot.value) slot.value = item.value;
      continue;
    }
    slot = {hash, item.value, static_cast<std::uint32_t>(text_.size()),
            static_cast<std::uint32_t>(item.name.size())};
    text_ += item.name;
    ++count_;
  }
  text_.shrink_to_fit();
}

std::uint32_t NameMap::find(std::string_view first, std::string_view second) const noexcept {
  if (slots_.empty()) return kNone;
  const std::uint32_t hash = hash_on(hash_on(kSeed, first), second);
  const std::size_t mask = slots_.size() - 1;
  for (std::size_t at = hash & mask; slots_[at].value != kNone; at = (at + 1) & mask) {
    const Slot& slot = slots_[at];
    if (slot.hash != hash || slot.size != first.size() + second.size()) continue;
    const std::string_view name(text_.data() + slot.offset, slot.size);
    if (name.substr(0, first.size()) == first && name.substr(first.size()) == second) return slot.value;
  }
  return kNone;
}

std::size_t NameMap::memory_bytes() const noexcept {
  return text_.capacity() + slots_.capacity() * sizeof(Slot);
}

}  // namespace postern::policy
