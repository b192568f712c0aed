// One state of the settings, compiled: what is published to the workers as a whole on start and on reload.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "net/dns/hosts_file.h"
#include "net/sasl/jwt.h"
#include "net/tls/client_context.h"
#include "net/tls/server_contexts.h"
#include "policy/address_list.h"
#include "policy/guess_guard.h"
#include "policy/policy_snapshot.h"

namespace postern::net {

// Where the mail of a route goes. Routes with the same `to` and TLS share one target (and so its connections) by `key`.
// Immutable; held by every delivery under way, so that a reload does not pull it from under one.
struct RouteTarget {
  std::string key;                       // "smtp:192.0.2.1:25 lmtp:[::1]:24", "mx:25 a.example b.example;c.example"
  std::vector<policy::NextHop> to;       // tried in order; a route by MX: empty, but in a target of MailSites
  std::vector<std::uint8_t> ranks;       // of `to`, when equals among them are tried in random order; else empty
  bool by_mx = false;
  std::uint16_t port = 25;               // of hosts found by MX
  std::uint32_t connections = 20;
  std::uint32_t messages_per_connection = 1000;
  std::string hostname;                  // what EHLO says
  std::string postmaster;                // where <postmaster> without a domain goes
  policy::HopTls tls = policy::HopTls::none;
  std::shared_ptr<const tls::ClientContext> tls_context;  // there when mail is sent with another `tls` than `none`

  bool operator==(const RouteTarget&) const = default;
};

// What the settings name by files; read before it is published (load_security).
struct SecurityParts {
  std::optional<tls::ServerContexts> tls;       // when a service has TLS
  std::optional<sasl::JwtKeys> token_keys;      // when [tokens] is there
  // By route; nullptr for one in plain text. Missing altogether (in tests): a route that may use TLS does not.
  std::vector<std::shared_ptr<const tls::ClientContext>> hop_tls;
  dns::HostsFile hosts;                         // /etc/hosts
  std::string resolv_conf;                      // /etc/resolv.conf, to see that it changed
};

struct Snapshot {
  explicit Snapshot(policy::Settings settings, SecurityParts parts = {});

  policy::PolicySnapshot policy;
  policy::GuardRules guard;
  std::optional<tls::ServerContexts> tls;
  std::optional<sasl::JwtKeys> token_keys;
  dns::HostsFile hosts;
  std::string resolv_conf;
  std::vector<std::shared_ptr<const RouteTarget>> targets;  // by the index of policy.route()
  std::vector<policy::AddressList> mailbox_access;

  // May this client connect to the mailbox (index into the settings')?
  [[nodiscard]] bool admits(std::size_t mailbox, const core::IpAddress& client) const {
    const policy::MailboxSettings& its = policy.settings().mailboxes[mailbox];
    return (!its.access.empty() && its.access.front() == "any") || mailbox_access[mailbox].matches_client(client, {});
  }
  // The index of a mailbox in `tls`: behind the services.
  [[nodiscard]] std::size_t tls_index_of(std::size_t mailbox) const { return policy.service_count() + mailbox; }

  // The target for a forward-path's domain; an empty domain is <postmaster>'s. nullptr: no route takes it. With by_mx it
  // is the route's, and MailSites has those of its domains.
  [[nodiscard]] std::shared_ptr<const RouteTarget> target_of(std::string_view forward_path) const;
};

// The domain of a path without its angle brackets; empty when there is none.
[[nodiscard]] std::string_view domain_of(std::string_view path);

}  // namespace postern::net
