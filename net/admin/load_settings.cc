#include "net/admin/load_settings.h"

#include <algorithm>
#include <arpa/inet.h>
#include <bit>
#include <ifaddrs.h>
#include <netinet/in.h>

#include "net/state_files.h"

namespace postern::net {
namespace {

constexpr std::uint64_t kSettingsBytesMax = 4 << 20;

// The prefixes of the machine's own interfaces, to tell a LAN that is wider.
std::vector<core::IpPrefix> own_networks() {
  std::vector<core::IpPrefix> networks;
  ifaddrs* all = nullptr;
  if (getifaddrs(&all) != 0) return networks;
  for (const ifaddrs* i = all; i != nullptr; i = i->ifa_next) {
    if (i->ifa_addr == nullptr || i->ifa_netmask == nullptr) continue;
    const auto address = core::Endpoint::from_sockaddr(*i->ifa_addr);
    if (!address) continue;
    core::IpPrefix prefix{address->address, 0};
    if (i->ifa_addr->sa_family == AF_INET) {
      const auto* mask = reinterpret_cast<const sockaddr_in*>(i->ifa_netmask);
      prefix.bits = static_cast<std::uint8_t>(96 + std::popcount(mask->sin_addr.s_addr));
    } else {
      const auto* mask = reinterpret_cast<const sockaddr_in6*>(i->ifa_netmask);
      for (const std::uint8_t octet : mask->sin6_addr.s6_addr) {
        prefix.bits = static_cast<std::uint8_t>(prefix.bits + std::popcount(octet));
      }
    }
    for (std::size_t bit = prefix.bits; bit < 128; ++bit) {
      prefix.address.bytes[bit / 8] &= static_cast<std::uint8_t>(~(0x80u >> (bit % 8)));
    }
    networks.push_back(prefix);
  }
  freeifaddrs(all);
  return networks;
}

}  // namespace

LoadedSettings load_settings(const std::string& path) {
  LoadedSettings loaded;
  const auto text = read_file(path, kSettingsBytesMax);
  if (!text) {
    loaded.read_error = text.error().text;
    return loaded;
  }
  policy::ParsedSettings parsed = policy::parse_settings(*text);
  loaded.diagnostics = std::move(parsed.diagnostics);
  const auto is_error = [](const policy::Diagnostic& d) { return d.kind == policy::DiagnosticKind::error; };
  if (std::any_of(loaded.diagnostics.begin(), loaded.diagnostics.end(), is_error)) return loaded;
  const auto meaning = policy::check_settings(parsed.settings, own_networks());
  loaded.diagnostics.insert(loaded.diagnostics.end(), meaning.begin(), meaning.end());
  loaded.settings = std::move(parsed.settings);
  return loaded;
}

}  // namespace postern::net
