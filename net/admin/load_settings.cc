#include "net/admin/load_settings.h"

#include <algorithm>
#include <arpa/inet.h>
#include <bit>
#include <fcntl.h>
#include <ifaddrs.h>
#include <netinet/in.h>
#include <sys/stat.h>
#include <unistd.h>

#include "core/files.h"

namespace postern::net {
namespace {

constexpr std::uint64_t kSettingsBytesMax = 4 << 20;

core::Result<std::string> read_whole(const std::string& path) {
  const auto file = core::files::open(path, O_RDONLY);
  if (!file) return std::unexpected(file.error());
  const auto size = core::files::size(*file);
  std::string text;
  core::Result<std::size_t> got = 0;
  if (size && *size <= kSettingsBytesMax) {
    text.resize(*size);
    got = core::files::read_at(*file, text, 0);
  }
  core::files::close(*file);
  if (!size) return std::unexpected(size.error());
  if (*size > kSettingsBytesMax) return core::fail(path + ": larger than 4 MiB; this is no settings file");
  if (!got) return std::unexpected(got.error());
  text.resize(*got);
  return text;
}

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
  const auto text = read_whole(path);
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
