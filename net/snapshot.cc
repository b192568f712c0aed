#include "net/snapshot.h"

#include <utility>

namespace postern::net {
namespace {

std::string target_key(const policy::RouteSettings& route) {
  std::string key;
  if (route.by_mx) return "mx:" + std::to_string(route.port);
  for (const policy::NextHop& hop : route.to) {
    if (!key.empty()) key += ' ';
    key += hop.protocol == policy::NextHopProtocol::lmtp ? "lmtp:" : "smtp:";
    key += hop.address ? core::Endpoint{*hop.address, hop.port}.text()
                       : hop.host + ":" + std::to_string(hop.port);
  }
  return key;
}

// `may` is the ordinary case, and does not stand in it.
std::string tls_key(const policy::RouteSettings& route) {
  switch (route.tls) {
    case policy::HopTls::none:
      return " tls=none";
    case policy::HopTls::may:
      break;
    case policy::HopTls::encrypt:
      return " tls=encrypt";
    case policy::HopTls::verify:
      return " tls=verify " + route.tls_ca;
  }
  return {};
}

policy::GuardRules guard_rules(const policy::Settings& settings) {
  policy::GuardRules rules;
  rules.failures = settings.guard.failures;
  rules.within_seconds = settings.guard.within_seconds;
  rules.bar_seconds = settings.guard.bar_seconds;
  rules.bar_max_seconds = settings.guard.bar_max_seconds;
  rules.never = policy::PrefixTrie(settings.guard.never);
  return rules;
}

}  // namespace

std::string_view domain_of(std::string_view path) {
  // The domain cannot hold an '@', so the last one divides, quoted local part or not.
  const std::size_t at = path.rfind('@');
  return at == std::string_view::npos ? std::string_view{} : path.substr(at + 1);
}

Snapshot::Snapshot(policy::Settings settings, SecurityParts parts)
    : policy(std::move(settings)),
      guard(guard_rules(policy.settings())),
      tls(std::move(parts.tls)),
      token_keys(std::move(parts.token_keys)),
      hosts(std::move(parts.hosts)),
      resolv_conf(std::move(parts.resolv_conf)) {
  const policy::Settings& s = policy.settings();
  for (const policy::MailboxSettings& mailbox : s.mailboxes) mailbox_access.emplace_back(mailbox.access);
  for (const policy::RouteSettings& route : s.routes) {
    std::string key = target_key(route) + tls_key(route);
    std::shared_ptr<const RouteTarget> target;
    for (const auto& known : targets) {
      if (known->key == key) target = known;
    }
    if (target == nullptr) {
      auto context = targets.size() < parts.hop_tls.size() ? parts.hop_tls[targets.size()] : nullptr;
      const bool without = context == nullptr && route.tls == policy::HopTls::may;
      const policy::HopTls how = without ? policy::HopTls::none : route.tls;
      target = std::make_shared<RouteTarget>(RouteTarget{.key = std::move(key),
                                                         .to = route.to,
                                                         .ranks = {},
                                                         .by_mx = route.by_mx,
                                                         .port = route.port,
                                                         .connections = route.connections,
                                                         .messages_per_connection = route.messages_per_connection,
                                                         .hostname = s.hostname,
                                                         .postmaster = s.postmaster,
                                                         .tls = how,
                                                         .tls_context = std::move(context)});
    }
    targets.push_back(std::move(target));
  }
}

std::shared_ptr<const RouteTarget> Snapshot::target_of(std::string_view forward_path) const {
  std::string_view domain = domain_of(forward_path);
  if (domain.empty()) domain = domain_of(policy.settings().postmaster);
  const int route = policy.route(policy::DomainName(domain));
  return route < 0 ? nullptr : targets[static_cast<std::size_t>(route)];
}

}  // namespace postern::net
