// Compiling the settings into what a decision looks up; see the header.
#include "policy/policy_snapshot.h"

#include <algorithm>
#include <deque>
#include <utility>

#include "core/assert.h"
#include "policy/name_map.h"

namespace postern::policy {
namespace {

NameMap local_domain_map(const std::vector<std::string>& domains) {
  std::vector<NameMap::Item> items;
  for (const std::string& text : domains) {
    const DomainName domain(text);
    if (!domain.empty()) items.push_back({std::string(domain.text()), 0});
  }
  return NameMap(std::move(items));
}

}  // namespace

struct PolicySnapshot::Implementation {
  explicit Implementation(Settings given)
      : settings(std::move(given)),
        lan(std::span<const core::IpPrefix>(settings.lan)),
        proxy_from(std::span<const core::IpPrefix>(settings.proxy_from)),
        xclient_from(std::span<const core::IpPrefix>(settings.xclient_from)),
        local_domains(local_domain_map(settings.local_domains)) {
    for (const ServiceSettings& service : settings.services) services.emplace_back(service);
    std::vector<NameMap::Item> exact;
    std::vector<NameMap::Item> below;
    for (std::uint32_t i = 0; i < settings.routes.size(); ++i) {
      const std::string_view domain = settings.routes[i].domain;
      if (domain == "*") {
        any_route = std::min(any_route, i);
        continue;
      }
      const bool subdomains = domain.starts_with('.');
      const DomainName name(domain.substr(subdomains ? 1 : 0));
      if (!name.empty()) (subdomains ? below : exact).push_back({std::string(name.text()), i});
    }
    exact_routes = NameMap(std::move(exact));
    subdomain_routes = NameMap(std::move(below));
  }

  const Settings settings;
  PrefixTrie lan;
  PrefixTrie proxy_from;
  PrefixTrie xclient_from;
  NameMap local_domains;
  std::deque<ServicePolicy> services;  // references to them stay good
  NameMap exact_routes;                // the value is the route's index; equal domains keep the first
  NameMap subdomain_routes;
  std::uint32_t any_route = NameMap::kNone;
};

PolicySnapshot::PolicySnapshot(Settings settings)
    : implementation_(std::make_unique<Implementation>(std::move(settings))) {}

PolicySnapshot::~PolicySnapshot() = default;

const Settings& PolicySnapshot::settings() const {
  return implementation_->settings;
}

std::size_t PolicySnapshot::service_count() const {
  return implementation_->services.size();
}

const ServicePolicy& PolicySnapshot::service(std::size_t index) const {
  POSTERN_ASSERT(index < implementation_->services.size());
  return implementation_->services[index];
}

bool PolicySnapshot::is_lan(const core::IpAddress& address) const noexcept {
  return implementation_->lan.contains(address);
}

bool PolicySnapshot::is_local_domain(const DomainName& domain) const noexcept {
  return !domain.empty() && implementation_->local_domains.contains(domain.text());
}

bool PolicySnapshot::believes_proxy(const core::IpAddress& peer) const noexcept {
  return implementation_->proxy_from.contains(peer);
}

bool PolicySnapshot::believes_xclient(const core::IpAddress& peer) const noexcept {
  return implementation_->xclient_from.contains(peer);
}

int PolicySnapshot::route(const DomainName& domain) const noexcept {
  // kNone is the largest number, so that the minimum is the first route that takes the domain.
  std::uint32_t first = implementation_->any_route;
  if (!domain.empty()) {
    first = std::min(first, implementation_->exact_routes.find(domain.text()));
    if (!implementation_->subdomain_routes.empty()) {
      any_parent_domain(domain.text(), [&](std::string_view parent) {
        first = std::min(first, implementation_->subdomain_routes.find(parent));
        return false;
      });
    }
  }
  return first == NameMap::kNone ? -1 : static_cast<int>(first);
}

}  // namespace postern::policy
