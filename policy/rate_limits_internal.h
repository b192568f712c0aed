// The inside of RateLimits, shared by the files that build it. Everyone else uses rate_limits.h.
#pragma once

#include <atomic>
#include <string_view>

#include "policy/machine_key.h"
#include "policy/quota_table.h"
#include "policy/rate_limits.h"
#include "policy/sender_machines.h"

namespace postern::policy {

struct RateLimits::Implementation {
  // Seconds of machines inside: boot seconds plus this, so that 0 is none and the time before this boot has seconds
  // too.
  static constexpr std::int64_t kSecondBias = 1 << 30;

  explicit Implementation(const RateLimitsOptions& options)
      : hash(options.key),
        users(options.users),
        machines(options.machines),
        senders(options.senders, kMachineWindowSeconds) {}

  [[nodiscard]] std::uint64_t user_key(std::string_view user) const noexcept;
  [[nodiscard]] std::uint64_t machine_hash(const core::IpAddress& machine) const noexcept;
  [[nodiscard]] std::uint64_t key_id() const noexcept { return hash("rate limits key id"); }
  [[nodiscard]] static std::uint32_t second_of(std::int64_t boot_seconds) noexcept;

  RateVerdict ask(const Sender& sender, std::uint32_t messages, std::uint32_t recipients, std::int64_t now_ns,
                  bool take) noexcept;

  const KeyedHash hash;
  QuotaTable users;
  QuotaTable machines;
  SenderMachines senders;

  std::atomic<std::uint64_t> taken{0};
  std::array<std::atomic<std::uint64_t>, 5> refused_user{};
  std::array<std::atomic<std::uint64_t>, 5> refused_machine{};
  std::atomic<std::uint64_t> evictions{0};
  std::atomic<std::uint64_t> sender_evictions{0};
};

}  // namespace postern::policy
