// One service's controls, compiled for lookup. Each service stands alone: nothing here is shared with another
// one.
//
// Immutable: built once (allocates), then read by any number of threads.
#pragma once

#include <cstddef>
#include <string_view>

#include "policy/address_list.h"
#include "policy/settings.h"

namespace postern::policy {

class ServicePolicy {
 public:
  explicit ServicePolicy(const ServiceSettings& settings);

  [[nodiscard]] const ServiceSettings& settings() const noexcept { return settings_; }
  [[nodiscard]] const RelaySettings& relay() const noexcept { return settings_.relay; }
  [[nodiscard]] std::string_view name() const noexcept { return settings_.name; }

  [[nodiscard]] bool access_any() const noexcept { return access_any_; }
  [[nodiscard]] const AddressList& access() const noexcept { return access_; }
  [[nodiscard]] const AddressList& blacklist() const noexcept { return blacklist_; }
  [[nodiscard]] const AddressList& whitelist() const noexcept { return whitelist_; }
  // Empty while the box is not ticked: text left in it does nothing.
  [[nodiscard]] const AddressList& always_from() const noexcept { return always_from_; }
  [[nodiscard]] const AddressList& always_to() const noexcept { return always_to_; }

 private:
  ServiceSettings settings_;
  bool access_any_ = false;
  AddressList access_;
  AddressList blacklist_;
  AddressList whitelist_;
  AddressList always_from_;
  AddressList always_to_;
};

}  // namespace postern::policy
