// POP-before-SMTP: which machines logged in to POP3 or IMAP, and until when that counts.
//
// Fixed memory, made once: shards of buckets of one cache line, an entry = machine + expiry second in 16
// octets. The key is the client's IPv4 address or its IPv6 prefix (a setting, at most /64, so that it fits
// one word exactly: two machines never share a key). An IPv4 address that a translator writes as
// 64:ff9b::a.b.c.d (RFC 6052) is that IPv4 address, or one login would open the door to all that come through
// the translator. A machine may stand in either of two buckets; when both are full the entry that expires
// first is evicted, and counted if it was still live.
//
// Readers (relay decisions, any thread, any number): never wait, never write. Writers (logins, any thread): a
// short
//   spin lock a shard. Key and expiry are separate atomic words, and a stored check word (key mixed with
//   expiry) makes a torn pair match nothing: a reader may miss a grant that is being rewritten this instant,
//   never invent one.
// Read-your-write: a grant() that returned is seen by every later is_granted(), on every core.
// Time: boot seconds (CLOCK_BOOTTIME), handed in. Allowed while now < expiry.
#pragma once

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <string_view>
#include <vector>

#include "core/clock.h"
#include "core/ip_address.h"
#include "core/result.h"

namespace postern::policy {

struct LoginTableOptions {
  std::size_t machines = 1'000'000;
  std::uint32_t window_seconds = 300;
  std::uint8_t ipv6_prefix = 64;  // 1..64
  // Mixed into places and check words, so that nobody can choose machines that crowd one bucket. 0: drawn
  // from the system's random numbers.
  std::uint64_t secret = 0;
};

class LoginTable {
 public:
  explicit LoginTable(const LoginTableOptions& options);
  ~LoginTable();
  LoginTable(const LoginTable&) = delete;
  LoginTable& operator=(const LoginTable&) = delete;

  // Starts the machine's window anew. `seconds` 0: the table's window.
  void grant(const core::IpAddress& machine, std::int64_t now_boot_seconds,
             std::uint32_t seconds = 0) noexcept;
  void revoke(const core::IpAddress& machine) noexcept;
  [[nodiscard]] bool is_granted(const core::IpAddress& machine, std::int64_t now_boot_seconds) const noexcept;

  struct Entry {
    core::IpAddress machine;  // the key: host bits of an IPv6 machine are zero
    std::int64_t expires_boot_seconds = 0;
  };
  // The live entries, for `login list` and for keeping them over a restart.
  [[nodiscard]] std::vector<Entry> live(std::int64_t now_boot_seconds) const;

  // --- over a restart (login_table_state.cc) ---
  // The live entries as seconds that remain, with the clocks of the moment: on the same boot (equal boot ids) what passed
  // is told by the boot clock, after a reboot by the wall clock, and a wall clock that went back counts as no time: a
  // grant never gets longer. `sink` is called with pieces in order; all together are what restore() takes.
  using Sink = std::function<void(std::string_view octets)>;
  void serialize(const core::Time& now, std::string_view boot_id, const Sink& sink) const;
  struct Restored {
    std::size_t machines = 0;
    std::size_t dropped = 0;  // IPv6 machines, when ipv6_prefix is another one now: they would be more or other machines
  };
  // An error (truncated, altered, another format or version) says what is wrong, and nothing was taken over.
  core::Result<Restored> restore(std::string_view octets, const core::Time& now, std::string_view boot_id);
  // Grows with every grant and revocation: tells whether there is something new to save.
  [[nodiscard]] std::uint64_t changes() const noexcept;

  [[nodiscard]] std::uint64_t evictions() const noexcept;
  [[nodiscard]] std::size_t memory_bytes() const noexcept;
  [[nodiscard]] std::uint32_t window_seconds() const noexcept;
  [[nodiscard]] std::uint8_t ipv6_prefix() const noexcept;

 private:
  struct Implementation;
  std::unique_ptr<Implementation> implementation_;
};

}  // namespace postern::policy
