// A fixed map from names to small integers: local domains, routes, the entries of address lists.
//
// Built once (allocates), then read by any number of threads; a lookup allocates nothing. Names are compared
// octet by octet: normalise domains first (DomainName).
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

namespace postern::policy {

class NameMap {
 public:
  static constexpr std::uint32_t kNone = 0xffffffff;

  struct Item {
    std::string name;
    std::uint32_t value = 0;  // not kNone
  };

  NameMap() = default;                        // empty
  explicit NameMap(std::vector<Item> items);  // of equal names the one with the lowest value counts

  [[nodiscard]] std::uint32_t find(std::string_view name) const noexcept { return find(name, {}); }
  [[nodiscard]] bool contains(std::string_view name) const noexcept { return find(name) != kNone; }
  // The same for a name in two parts: the name is `first` followed by `second`.
  [[nodiscard]] std::uint32_t find(std::string_view first, std::string_view second) const noexcept;
  [[nodiscard]] bool empty() const noexcept { return count_ == 0; }
  [[nodiscard]] std::size_t memory_bytes() const noexcept;

 private:
  struct Slot {
    std::uint32_t hash = 0;
    std::uint32_t value = kNone;  // kNone: the slot is free
    std::uint32_t offset = 0;     // into text_
    std::uint32_t size = 0;
  };
  std::string text_;
  std::vector<Slot> slots_;  // a power of two of them, at most half in use; linear probing
  std::size_t count_ = 0;
};

// Calls `visit(parent)` for "b.example.net", "example.net" and "net", given "a.b.example.net", until it
// returns true.
template <class Visit>
bool any_parent_domain(std::string_view domain, Visit visit) {
  for (std::size_t dot = domain.find('.'); dot != std::string_view::npos; dot = domain.find('.')) {
    domain.remove_prefix(dot + 1);
    if (visit(domain)) return true;
  }
  return false;
}

}  // namespace postern::policy
