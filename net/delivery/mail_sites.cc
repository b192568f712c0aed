#include "net/delivery/mail_sites.h"

#include <algorithm>
#include <optional>
#include <utility>

#include "core/ascii.h"

namespace postern::net {
namespace {

RouteTarget blank(const RouteTarget& route) {
  RouteTarget target = route;
  target.key += ' ';
  target.to.clear();
  return target;
}

}  // namespace

std::shared_ptr<const RouteTarget> MailSites::site(const RouteTarget& route, std::span<const dns::MailHost> hosts) {
  RouteTarget target = blank(route);
  for (std::size_t i = 0; i < hosts.size(); ++i) {
    if (i > 0) target.key += hosts[i].rank == hosts[i - 1].rank ? ' ' : ';';
    target.key += hosts[i].host;
    target.to.push_back({policy::NextHopProtocol::smtp, hosts[i].host, route.port, std::nullopt});
    target.ranks.push_back(hosts[i].rank);
  }
  return intern(std::move(target));
}

std::shared_ptr<const RouteTarget> MailSites::site(const RouteTarget& route, const core::IpAddress& address) {
  RouteTarget target = blank(route);
  target.key += address.literal();
  target.to.push_back({policy::NextHopProtocol::smtp, address.text(), route.port, address});
  return intern(std::move(target));
}

std::shared_ptr<const RouteTarget> MailSites::intern(RouteTarget&& target) {
  if (known_.size() >= sweep_at_) {
    std::erase_if(known_, [](const auto& entry) { return entry.second.expired(); });
    sweep_at_ = std::max<std::size_t>(1024, 2 * known_.size());
  }
  std::weak_ptr<const RouteTarget>& known = known_[target.key];
  std::shared_ptr<const RouteTarget> shared = known.lock();
  if (shared == nullptr || *shared != target) {
    shared = std::make_shared<const RouteTarget>(std::move(target));
    known = shared;
  }
  return shared;
}

std::optional<core::IpAddress> parse_address_literal(std::string_view domain) {
  if (domain.size() < 2 || domain.front() != '[' || domain.back() != ']') return std::nullopt;
  domain = domain.substr(1, domain.size() - 2);
  constexpr std::string_view kTag = "ipv6:";
  const bool is_v6 = core::starts_ignoring_case(domain, kTag);
  if (is_v6) domain.remove_prefix(kTag.size());
  const auto address = core::IpAddress::parse(domain);
  if (!address || is_v6 != (domain.find(':') != std::string_view::npos)) return std::nullopt;
  return address;
}

}  // namespace postern::net
