// Mail addresses as policy sees them: views into somebody else's bytes, compared by domain.
//
// Pure. A domain is one domain however it is written (TRAPS: case, trailing dot, A-label and U-label): normalise it once
// with DomainName, and compare those.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <string_view>

namespace postern::policy {

// A domain in its one canonical form: lower case, no trailing dot, U-labels as A-labels (RFC 5891; punycode RFC 3492),
// at most 255 octets. An address literal ("[192.0.2.1]") keeps its brackets. Fixed size, no allocation.
class DomainName {
 public:
  static constexpr std::size_t kMaxBytes = 255;

  DomainName() = default;
  // Empty when `text` is no domain that can be normalised (too long, bad UTF-8, empty label).
  explicit DomainName(std::string_view text) noexcept;

  [[nodiscard]] std::string_view text() const { return {bytes_.data(), size_}; }
  [[nodiscard]] bool empty() const { return size_ == 0; }
  bool operator==(const DomainName& other) const { return text() == other.text(); }

 private:
  std::array<char, kMaxBytes> bytes_;
  std::uint8_t size_ = 0;
};

// A parsed mailbox. The null reverse-path `<>` and `<postmaster>` have an empty domain (and the local part tells which).
struct Mailbox {
  std::string_view local_part;  // as written, with its quotes if it had any
  std::string_view domain;      // as written

  [[nodiscard]] bool is_null() const { return local_part.empty() && domain.empty(); }
};

}  // namespace postern::policy
