// Quotas: messages and recipients per hour and per day, for a user and for a machine; and from how many machines a user
// sends.
//
// A quota of N per hour is a token bucket of N tokens that refills steadily in an hour. Each bucket is one number: the
// moment when it will be full again (the generic cell rate algorithm, ITU-T I.371). A bucket that is full and one that
// was never used are the same, so that an entry of four full buckets is free.
//
// Bounds: fixed memory, allocated at construction. Users and machines stand in tables of their own: strangers cannot
//   crowd out users. When an entry is needed and none of the places it may stand in is free, the one there that owes
//   the smallest part of a quota is given up (counted: evictions): its owner gains at most that part, whoever sends
//   much stays counted, and nobody is refused because others are many. The quota of a machine is no defence against a
//   great many machines, each of which has a quota of its own.
// Threads: any. A call holds the mutex of one shard of a table (users before machines) for well under a microsecond. No
//   allocation.
// Time: `now` handed in, boot clock.
// Names: the user's canonical name; ASCII case is ignored.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <string_view>

#include "core/clock.h"
#include "core/ip_address.h"
#include "core/result.h"
#include "policy/keyed_hash.h"
#include "policy/settings.h"

namespace postern::policy {

enum class RateLimit : std::uint8_t {
  none,
  messages_per_hour,
  messages_per_day,
  recipients_per_hour,
  recipients_per_day
};
[[nodiscard]] std::string_view rate_limit_name(RateLimit limit) noexcept;  // as in the settings file

struct RateVerdict {
  // More was asked for than the whole quota: waiting does not help.
  static constexpr std::uint32_t kNever = 0xffffffff;

  bool allowed = true;
  RateLimit limit = RateLimit::none;  // the one that takes longest
  bool of_machine = false;            // whose limit it is: the machine's, else the user's
  std::uint32_t again_seconds = 0;    // refused: after so many seconds it will be allowed, if nothing else is taken
};

struct RateLimitsOptions {
  HashKey key{};                 // secret, from the system's random numbers; the same one after a restart
  std::size_t users = 65536;     // 40 octets each
  std::size_t machines = 65536;  // 40 octets each
  std::size_t senders = 16384;   // users whose machines of the last hour are remembered; 272 octets each
};

class RateLimits {
 public:
  static constexpr std::size_t kMachinesPerUserMax = 32;
  static constexpr std::uint32_t kMachineWindowSeconds = 3600;

  // Who sends. A part that is missing (an empty user, a null machine) or has no limits is not counted.
  struct Sender {
    std::string_view user;
    QuotaSettings user_quota;  // 0: that one is not limited
    const core::IpAddress* machine = nullptr;
    QuotaSettings machine_quota;
  };

  explicit RateLimits(const RateLimitsOptions& options);
  ~RateLimits();
  RateLimits(const RateLimits&) = delete;
  RateLimits& operator=(const RateLimits&) = delete;

  // Takes so many of all buckets of the user and the machine, or nothing of any. Quotas up to 1,000,000 are exact;
  // larger ones may allow one in a million more.
  RateVerdict take(const Sender& sender, std::uint32_t messages, std::uint32_t recipients,
                   const core::Time& now) noexcept;
  // What take would say.
  [[nodiscard]] RateVerdict peek(const Sender& sender, std::uint32_t messages, std::uint32_t recipients,
                                 const core::Time& now) const noexcept;

  // The user sends from this machine (IPv4 address, IPv6 /64) now. Returns from how many different ones within the last
  // kMachineWindowSeconds, this one included; exact up to kMachinesPerUserMax, and never more. The caller compares it
  // with its setting and holds the account. When the table of senders is crowded, of the places a user may stand in the
  // one that sent longest ago is given up (counted: sender_evictions).
  std::uint32_t note_machine(std::string_view user, const core::IpAddress& machine, const core::Time& now) noexcept;

  // Everything that is counted for this user (`postern user release`) or machine.
  void forget_user(std::string_view user) noexcept;
  void forget_machine(const core::IpAddress& machine) noexcept;

  struct Counters {
    std::uint64_t taken = 0;
    std::array<std::uint64_t, 5> refused_user{};     // by RateLimit
    std::array<std::uint64_t, 5> refused_machine{};  // by RateLimit
    std::uint64_t evictions = 0;                     // entries given up that still owed something
    std::uint64_t sender_evictions = 0;              // senders given up that sent in the last hour
  };
  [[nodiscard]] Counters counters() const noexcept;
  [[nodiscard]] std::size_t memory_bytes() const noexcept;

  // Over a restart, as in guess_guard.h: times remaining, boot clock on the same boot, else the wall clock. Written
  // under another key nothing is found again: all is dropped.
  using Sink = std::function<void(std::string_view octets)>;
  void serialize(const core::Time& now, std::string_view boot_id, const Sink& sink) const;
  struct Restored {
    std::size_t entries = 0;  // users and machines that still owe something
    std::size_t senders = 0;
    std::size_t dropped = 0;  // full again meanwhile, or written under another key
  };
  core::Result<Restored> restore(std::string_view octets, const core::Time& now, std::string_view boot_id);

 private:
  struct Implementation;
  class Restoring;
  std::unique_ptr<Implementation> implementation_;
};

}  // namespace postern::policy
