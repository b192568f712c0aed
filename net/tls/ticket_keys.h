// The keys that session tickets are sealed with (RFC 5077, RFC 8446 section 4.6.1).
//
// A key seals tickets for kRotationSeconds; then a new one is drawn and the kFormerKeys before it still open theirs. A
// key that opens nothing any more is wiped: whoever takes the machine afterwards cannot read the sessions that were resumed
// with it. Tickets live kLifetimeSeconds, never longer than the key that opens them.
// A ticket: 16 octets that name the key, a random nonce of 12, the session sealed by AES-256-GCM-SIV (RFC 8452: a nonce
//   that comes twice gives nothing away but that the same was sealed).
//
// One object for all workers and all ServerContexts: it outlives them, so that a reload of the certificates or settings
// ends no resumption. A restart does: keys are never on disk.
// Thread: any. A short lock is taken for a rotation check and a copy of a pointer; sealing is outside of it.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <mutex>
#include <optional>
#include <span>

namespace postern::net::tls {

class TicketKeys {
 public:
  static constexpr std::int64_t kRotationSeconds = 8 * 3600;
  static constexpr std::size_t kFormerKeys = 2;
  static constexpr std::int64_t kLifetimeSeconds = static_cast<std::int64_t>(kFormerKeys) * kRotationSeconds;
  static constexpr std::size_t kOverheadBytes = 16 + 12 + 16;  // name, nonce, tag

  TicketKeys();
  ~TicketKeys();
  TicketKeys(const TicketKeys&) = delete;
  TicketKeys& operator=(const TicketKeys&) = delete;

  // `boot_seconds`: the boot clock (core::Time), which does not step. `out` has room for `plain` and kOverheadBytes,
  // and may begin where `plain` does or not overlap it. Returns the octets written; nullopt: out of memory.
  [[nodiscard]] std::optional<std::size_t> seal(std::int64_t boot_seconds, std::span<const std::uint8_t> plain,
                                                std::span<std::uint8_t> out);
  // nullopt: sealed by a key we do not have, or have no more, or not by us at all.
  [[nodiscard]] std::optional<std::size_t> open(std::int64_t boot_seconds, std::span<const std::uint8_t> ticket,
                                                std::span<std::uint8_t> out);

 private:
  struct Key;
  struct KeySet;
  std::shared_ptr<const KeySet> current(std::int64_t boot_seconds);

  std::mutex mutex_;
  std::shared_ptr<const KeySet> keys_;  // newest first
};

}  // namespace postern::net::tls
