// The names that the machine itself knows (hosts(5), /etc/hosts): "127.0.0.1 localhost mail". Pure. Thread: any, once parsed.
#pragma once

#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "core/ip_address.h"

namespace postern::net::dns {

class HostsFile {
 public:
  HostsFile() = default;
  // Lines that make no sense are passed over, as the system's own resolver does.
  explicit HostsFile(std::string_view text);

  // In the file's order; empty: it does not know the name. `name` in lower case.
  [[nodiscard]] const std::vector<core::IpAddress>& find(const std::string& name) const;

 private:
  std::unordered_map<std::string, std::vector<core::IpAddress>> addresses_;
};

}  // namespace postern::net::dns
