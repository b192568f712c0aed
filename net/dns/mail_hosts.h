// Where a domain's mail goes, from its MX records: which hosts, in which order, or why nowhere.
//
// Pure. Sources: RFC 5321 section 5.1 (order, ourselves among the hosts), RFC 7505 (null MX). Thread: any.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "net/dns/message.h"

namespace postern::net::dns {

enum class MailHostsStatus : std::uint8_t {
  found,
  null_mx,         // "MX 0 .": the domain takes no mail
  no_such_domain,  // NXDOMAIN
  no_host,         // neither MX nor address
  loops_back,      // the best host is ourselves
  failed,          // nobody knows just now
};

struct MailHost {
  std::string host;
  std::uint8_t rank = 0;  // 0 is tried first; equal preferences have equal ranks; without gaps
  bool operator==(const MailHost&) const = default;
};

struct MailHosts {
  MailHostsStatus status = MailHostsStatus::failed;
  std::vector<MailHost> hosts;  // by rank, then name: two domains with the same set have the same list
  std::string error;            // failed: why, in words
};

// More are not tried (the worst are left out): as Postfix's smtp_mx_address_limit would by addresses.
constexpr std::size_t kMailHostsMax = 32;

// `mx` was found. `own_name`, in lower case: what the machine is called; it and all that is not better than it is dropped.
[[nodiscard]] MailHosts choose_mail_hosts(const Answer& mx, std::string_view own_name);

// The order for one connection: indices of `ranks` (which rise) by rank, equals shuffled by `random`, all orders of them
// alike likely. `out` has the size of `ranks`, at most kMailHostsMax.
void order_hosts(std::span<const std::uint8_t> ranks, std::uint64_t random, std::span<std::uint8_t> out);

}  // namespace postern::net::dns
