// Targets of routes by MX: one for each set of hosts, so that domains with the same MX set share connections, limits and rests.
//
// The set is what counts, not the numbers: "10 a, 20 b" and "1 a, 5 b" are one site, "10 a, 10 b" another. A target lives as
// long as somebody holds it (a message, a job, a lane). Thread: one, its worker's.
#pragma once

#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <unordered_map>

#include "core/ip_address.h"
#include "net/dns/mail_hosts.h"
#include "net/snapshot.h"

namespace postern::net {

class MailSites {
 public:
  // `route`: a target with by_mx, whose limits and port it takes.
  std::shared_ptr<const RouteTarget> site(const RouteTarget& route, std::span<const dns::MailHost> hosts);
  // Of an address literal (RFC 5321 section 4.1.3): that address, and nothing else.
  std::shared_ptr<const RouteTarget> site(const RouteTarget& route, const core::IpAddress& address);

 private:
  std::shared_ptr<const RouteTarget> intern(RouteTarget&& target);

  std::unordered_map<std::string, std::weak_ptr<const RouteTarget>> known_;
  std::size_t sweep_at_ = 1024;  // entries at which those of dead targets are looked for
};

// "[192.0.2.1]", "[ipv6:2001:db8::1]" (as policy::DomainName has it). nullopt: no address literal, or none that is understood.
[[nodiscard]] std::optional<core::IpAddress> parse_address_literal(std::string_view domain);

}  // namespace postern::net
