// POP-before-SMTP: which machines logged in to POP3 or IMAP, and until when that counts.
//
// Fixed memory, made once: shards of buckets of one cache line, an entry = machine + expiry second. The key is the
// client's IPv4 address or its IPv6 prefix (a setting, /64). A full bucket evicts the entry that expires first, and
// counts it.
//
// Readers (relay decisions, any thread, any number): never wait, never write. Writers (logins, any thread): a short
//   spin lock a shard. Key and expiry are separate atomic words, and a stored check word (key mixed with expiry) makes a
//   torn pair match nothing: a reader may miss a grant that is being rewritten this instant, never invent one.
// Read-your-write: a grant() that returned is seen by every later is_granted(), on every core.
// Time: boot seconds (CLOCK_BOOTTIME), handed in. Allowed while now < expiry.
#pragma once

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <vector>

#include "core/ip_address.h"

namespace postern::policy {

struct LoginTableOptions {
  std::size_t machines = 1'000'000;
  std::uint32_t window_seconds = 300;
  std::uint8_t ipv6_prefix = 64;
};

class LoginTable {
 public:
  explicit LoginTable(const LoginTableOptions& options);
  ~LoginTable();
  LoginTable(const LoginTable&) = delete;
  LoginTable& operator=(const LoginTable&) = delete;

  // Starts the machine's window anew. `seconds` 0: the table's window.
  void grant(const core::IpAddress& machine, std::int64_t now_boot_seconds, std::uint32_t seconds = 0) noexcept;
  void revoke(const core::IpAddress& machine) noexcept;
  [[nodiscard]] bool is_granted(const core::IpAddress& machine, std::int64_t now_boot_seconds) const noexcept;

  struct Entry {
    core::IpAddress machine;  // the key: host bits of an IPv6 machine are zero
    std::int64_t expires_boot_seconds = 0;
  };
  // The live entries, for `login list` and for keeping them over a restart.
  [[nodiscard]] std::vector<Entry> live(std::int64_t now_boot_seconds) const;

  [[nodiscard]] std::uint64_t evictions() const noexcept;
  [[nodiscard]] std::size_t memory_bytes() const noexcept;
  [[nodiscard]] std::uint32_t window_seconds() const noexcept;

 private:
  struct Implementation;
  std::unique_ptr<Implementation> implementation_;
};

}  // namespace postern::policy
