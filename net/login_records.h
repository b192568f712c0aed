// A POP3/IMAP login becomes a grant in the login table, a line in the log and a count, whoever saw it.
//
// Thread: any, with a log ring of its own. The grant is visible to every core when record() returns.
#pragma once

#include <array>
#include <atomic>
#include <cstdint>
#include <string_view>

#include "core/clock.h"
#include "core/ip_address.h"
#include "core/log.h"
#include "policy/login_table.h"

namespace postern::net {

enum class LoginSource : std::uint8_t {
  front,    // the built-in POP3/IMAP front
  dovecot,  // Dovecot's auth-policy reports
  control,  // the control socket
};
inline constexpr std::array<std::string_view, 3> kLoginSourceNames = {"front", "dovecot", "control"};

class LoginRecords {
 public:
  // `user` may be empty. `seconds` 0: the table's window.
  void record(policy::LoginTable& table, core::LogRing& log, const core::Time& now, LoginSource source,
              const core::IpAddress& machine, std::string_view user, std::uint32_t seconds = 0) {
    table.grant(machine, now.boot_ns / core::kNanosecondsPerSecond, seconds);
    counts_[static_cast<std::size_t>(source)].fetch_add(1, std::memory_order_relaxed);
    core::LogLine(log, now, core::Severity::info, "login_recorded")
        .add("source", kLoginSourceNames[static_cast<std::size_t>(source)])
        .add("machine", machine)
        .add("user", user)
        .add("seconds", std::uint64_t{seconds != 0 ? seconds : table.window_seconds()});
  }
  [[nodiscard]] std::uint64_t recorded(LoginSource source) const {
    return counts_[static_cast<std::size_t>(source)].load(std::memory_order_relaxed);
  }

 private:
  std::array<std::atomic<std::uint64_t>, kLoginSourceNames.size()> counts_{};
};

}  // namespace postern::net
