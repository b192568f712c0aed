// Everything a relay decision asks, compiled from Settings into immutable lookup structures; published to the workers
// by core::Published and replaced as a whole on reload.
//
// Pure; built once (allocates), then read by any number of threads.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "core/ip_address.h"
#include "policy/address.h"
#include "policy/prefix_trie.h"
#include "policy/service_policy.h"
#include "policy/settings.h"

namespace postern::policy {

class PolicySnapshot {
 public:
  // Requires settings that parse_settings accepted.
  explicit PolicySnapshot(Settings settings);
  ~PolicySnapshot();
  PolicySnapshot(const PolicySnapshot&) = delete;
  PolicySnapshot& operator=(const PolicySnapshot&) = delete;

  [[nodiscard]] const Settings& settings() const;
  [[nodiscard]] std::size_t service_count() const;
  [[nodiscard]] const ServicePolicy& service(std::size_t index) const;  // in the order of the settings

  [[nodiscard]] bool is_lan(const core::IpAddress& address) const noexcept;
  [[nodiscard]] bool is_local_domain(const DomainName& domain) const noexcept;
  [[nodiscard]] bool believes_proxy(const core::IpAddress& peer) const noexcept;
  [[nodiscard]] bool believes_xclient(const core::IpAddress& peer) const noexcept;
  // The first route that takes the domain; -1: none does.
  [[nodiscard]] int route(const DomainName& domain) const noexcept;

 private:
  struct Implementation;
  std::unique_ptr<Implementation> implementation_;
};

}  // namespace postern::policy
