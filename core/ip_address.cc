// IP addresses as text and as socket addresses. The C library's inet_pton and inet_ntop do the work: they
// take no shorthand ("127.1", octal) and print the canonical form of RFC 5952.
#include "core/ip_address.h"

#include <arpa/inet.h>
#include <charconv>
#include <cstring>
#include <netinet/in.h>
#include <sys/socket.h>

#include "core/assert.h"

namespace postern::core {

namespace {

constexpr std::array<std::uint8_t, 12> kV4Head = {0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff};
constexpr int kV4HeadBits = 96;
constexpr int kAddressBits = 128;

std::uint64_t big_endian_u64(const std::uint8_t* octets) {
  std::uint64_t value = 0;
  for (int i = 0; i < 8; ++i) value = value << 8 | octets[i];
  return value;
}

// Decimal digits only, at most `limit`: no sign, no space, no empty text.
std::optional<unsigned> parse_number(std::string_view text, unsigned limit) {
  unsigned value = 0;
  if (text.empty() || text.size() > 5) return std::nullopt;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (error != std::errc() || end != text.data() + text.size() || value > limit) return std::nullopt;
  return value;
}

IpAddress keep_leading_bits(const IpAddress& address, int bits) {
  IpAddress kept;
  for (int i = 0; i < 16; ++i) {
    const int kept_bits = bits - i * 8;
    if (kept_bits >= 8) {
      kept.bytes[i] = address.bytes[i];
    } else if (kept_bits > 0) {
      kept.bytes[i] = static_cast<std::uint8_t>(address.bytes[i] & (0xff00 >> kept_bits));
    }
  }
  return kept;
}

}  // namespace

bool IpAddress::is_v4() const {
  return std::memcmp(bytes.data(), kV4Head.data(), kV4Head.size()) == 0;
}

std::uint32_t IpAddress::v4() const {
  POSTERN_ASSERT(is_v4());
  return static_cast<std::uint32_t>(low() & 0xffffffffu);
}

std::uint64_t IpAddress::high() const {
  return big_endian_u64(bytes.data());
}

std::uint64_t IpAddress::low() const {
  return big_endian_u64(bytes.data() + 8);
}

bool IpAddress::is_loopback() const {
  if (is_v4()) return bytes[12] == 127;
  return high() == 0 && low() == 1;
}

std::string_view IpAddress::text_into(std::array<char, kTextBytes>& out) const {
  static_assert(kTextBytes == INET6_ADDRSTRLEN);
  const char* printed = is_v4() ? inet_ntop(AF_INET, bytes.data() + 12, out.data(), out.size())
                                : inet_ntop(AF_INET6, bytes.data(), out.data(), out.size());
  POSTERN_ASSERT(printed != nullptr);
  return printed;
}

std::string IpAddress::text() const {
  std::array<char, kTextBytes> out;
  return std::string(text_into(out));
}

std::string IpAddress::literal() const {
  return (is_v4() ? "[" : "[IPv6:") + text() + "]";
}

IpAddress IpAddress::from_v4(std::uint32_t host_order) {
  IpAddress address;
  std::memcpy(address.bytes.data(), kV4Head.data(), kV4Head.size());
  for (int i = 0; i < 4; ++i) address.bytes[12 + i] = static_cast<std::uint8_t>(host_order >> (24 - 8 * i));
  return address;
}

std::optional<IpAddress> IpAddress::parse(std::string_view text) {
  char copy[INET6_ADDRSTRLEN];
  if (text.size() >= sizeof copy || text.find('\0') != std::string_view::npos) return std::nullopt;
  std::memcpy(copy, text.data(), text.size());
  copy[text.size()] = '\0';
  in_addr v4;
  if (inet_pton(AF_INET, copy, &v4) == 1) return from_v4(ntohl(v4.s_addr));
  IpAddress address;
  if (inet_pton(AF_INET6, copy, address.bytes.data()) == 1) return address;
  return std::nullopt;
}

std::string Endpoint::text() const {
  return (address.is_v4() ? address.text() : "[" + address.text() + "]") + ":" + std::to_string(port);
}

std::optional<Endpoint> Endpoint::parse(std::string_view text) {
  const std::size_t colon = text.rfind(':');
  if (colon == std::string_view::npos) return std::nullopt;
  std::string_view host = text.substr(0, colon);
  const bool bracketed = host.size() >= 2 && host.front() == '[' && host.back() == ']';
  if (bracketed) host = host.substr(1, host.size() - 2);
  const bool has_colon = host.find(':') != std::string_view::npos;
  if (has_colon != bracketed) return std::nullopt;  // brackets are for IPv6 and only for IPv6
  const auto address = IpAddress::parse(host);
  const auto port = parse_number(text.substr(colon + 1), 65535);
  if (!address || !port) return std::nullopt;
  return Endpoint{*address, static_cast<std::uint16_t>(*port)};
}

std::uint32_t Endpoint::to_sockaddr(sockaddr_storage& out) const {
  std::memset(&out, 0, sizeof out);
  if (address.is_v4()) {
    sockaddr_in v4{};
    v4.sin_family = AF_INET;
    v4.sin_port = htons(port);
    v4.sin_addr.s_addr = htonl(address.v4());
    std::memcpy(&out, &v4, sizeof v4);
    return sizeof v4;
  }
  sockaddr_in6 v6{};
  v6.sin6_family = AF_INET6;
  v6.sin6_port = htons(port);
  std::memcpy(&v6.sin6_addr, address.bytes.data(), address.bytes.size());
  std::memcpy(&out, &v6, sizeof v6);
  return sizeof v6;
}

std::optional<Endpoint> Endpoint::from_sockaddr(const sockaddr& address) {
  if (address.sa_family == AF_INET) {
    sockaddr_in v4;
    std::memcpy(&v4, &address, sizeof v4);
    return Endpoint{IpAddress::from_v4(ntohl(v4.sin_addr.s_addr)), ntohs(v4.sin_port)};
  }
  if (address.sa_family == AF_INET6) {
    sockaddr_in6 v6;
    std::memcpy(&v6, &address, sizeof v6);
    Endpoint endpoint;
    std::memcpy(endpoint.address.bytes.data(), &v6.sin6_addr, endpoint.address.bytes.size());
    endpoint.port = ntohs(v6.sin6_port);
    return endpoint;
  }
  return std::nullopt;
}

bool IpPrefix::contains(const IpAddress& candidate) const {
  return keep_leading_bits(candidate, bits) == address;
}

std::string IpPrefix::text() const {
  // A prefix shorter than /96 whose bits are those of ::ffff:0:0 cannot exist with its host bits zero, except
  // as IPv6.
  const bool as_v4 = address.is_v4() && bits >= kV4HeadBits;
  if (as_v4) return address.text() + "/" + std::to_string(bits - kV4HeadBits);
  return address.text() + "/" + std::to_string(bits);
}

std::optional<IpPrefix> IpPrefix::parse(std::string_view text, std::string* why) {
  const auto refuse = [why](std::string reason) {
    if (why != nullptr) *why = std::move(reason);
    return std::nullopt;
  };
  const std::string shown(text);
  const std::size_t slash = text.find('/');
  const auto address = IpAddress::parse(text.substr(0, slash));
  if (!address) {
    return refuse("'" + shown +
                  "' is not an address or a prefix; expected for example 192.168.0.0/16 or 2001:db8::/32");
  }
  if (slash == std::string_view::npos) return IpPrefix{*address, kAddressBits};
  // The notation decides what the length counts: "::ffff:192.0.2.0/120" counts from the front of 128 bits.
  const bool dotted_only = text.substr(0, slash).find(':') == std::string_view::npos;
  const int bits_max = dotted_only ? kAddressBits - kV4HeadBits : kAddressBits;
  const auto length = parse_number(text.substr(slash + 1), static_cast<unsigned>(bits_max));
  if (!length) {
    return refuse("'" + shown + "': the prefix length must be a number from 0 to " +
                  std::to_string(bits_max));
  }
  const int bits = static_cast<int>(*length) + (dotted_only ? kV4HeadBits : 0);
  const IpPrefix prefix{keep_leading_bits(*address, bits), static_cast<std::uint8_t>(bits)};
  if (prefix.address != *address) {
    return refuse("'" + shown + "' has host bits set: did you mean the network " + prefix.text() +
                  " or the host " + address->text() + "?");
  }
  return prefix;
}

}  // namespace postern::core
