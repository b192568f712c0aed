// What the guess guard's askers share: the name that it counts under, and the line that says whom it has barred.
//
// Thread: any, with a log ring of its own.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <utility>

#include "core/clock.h"
#include "core/ip_address.h"
#include "core/log.h"
#include "policy/guess_guard.h"
#include "policy/user.h"

namespace postern::net {

// The user's one form, also of a name that is nobody's.
inline std::string counted_name(std::string_view user) {
  auto name = policy::canonical_user_name(user);
  return name ? std::move(*name) : std::string(user);
}

// `client`: who made the failure that made the bar.
inline void log_bar(core::LogRing& log, const core::Time& now, const policy::Bar& bar, const core::IpAddress& client,
                    std::string_view user) {
  core::LogLine line(log, now, core::Severity::warning, "barred");
  line.add("kind", policy::bar_kind_name(bar.kind));
  if (bar.kind == policy::BarKind::name) {
    line.add("user", user);
  } else {
    line.add("network", policy::barred_network(bar.kind, client).text());
  }
  line.add("seconds", static_cast<std::uint64_t>(bar.until_boot_seconds - now.boot_ns / core::kNanosecondsPerSecond));
}

}  // namespace postern::net
