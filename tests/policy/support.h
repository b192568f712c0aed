// Small helpers of the policy tests.
#pragma once

#include <string_view>

#include "core/clock.h"
#include "core/ip_address.h"
#include "policy/address.h"
#include "policy/relay_decision.h"
#include "policy/settings.h"

namespace postern::policy::testing {

// Both fail the test by throwing when the text is wrong: it stands in the test itself.
inline core::IpAddress ip(std::string_view text) {
  return core::IpAddress::parse(text).value();
}
inline core::IpPrefix prefix(std::string_view text) {
  return core::IpPrefix::parse(text).value();
}

// "user@domain", "" (null), "postmaster".
inline Mailbox mailbox(std::string_view text) {
  const std::size_t at = text.rfind('@');
  if (at == std::string_view::npos) return {text, {}};
  return {text.substr(0, at), text.substr(at + 1)};
}

inline core::Time at_second(std::int64_t second) {
  return {.boot_ns = second * core::kNanosecondsPerSecond, .unix_ns = 0};
}

inline Client client_at(std::string_view address) {
  Client client;
  client.address = ip(address);
  return client;
}

// Two local domains, a LAN of both families, no services.
inline Settings base_settings() {
  Settings settings;
  settings.hostname = "mail.example.net";
  settings.local_domains = {"example.net", "second.example"};
  settings.lan = {prefix("192.168.0.0/16"), prefix("2001:db8:1::/48")};
  return settings;
}

}  // namespace postern::policy::testing
