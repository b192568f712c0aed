// IP addresses and endpoints as values.
//
// One key space for both families: an IPv4 address is kept as its IPv4-mapped IPv6 address (::ffff:a.b.c.d, RFC 4291
// section 2.5.5.2), so that a client that arrives on a dual-stack socket is the same client everywhere. Thread: any.
#pragma once

#include <array>
#include <compare>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

struct sockaddr;
struct sockaddr_storage;

namespace postern::core {

struct IpAddress {
  std::array<std::uint8_t, 16> bytes{};  // network order; IPv4 as ::ffff:a.b.c.d

  [[nodiscard]] bool is_v4() const;
  [[nodiscard]] std::uint32_t v4() const;         // host order; requires is_v4()
  [[nodiscard]] std::uint64_t high() const;       // first 8 octets, host order
  [[nodiscard]] std::uint64_t low() const;        // last 8 octets, host order
  [[nodiscard]] bool is_loopback() const;         // 127.0.0.0/8, ::1
  [[nodiscard]] std::string text() const;         // "192.0.2.1", "2001:db8::1" (RFC 5952)
  // The same without allocating; the view is into `out`.
  static constexpr std::size_t kTextBytes = 46;
  std::string_view text_into(std::array<char, kTextBytes>& out) const;
  // The address literal of RFC 5321 section 4.1.3: "[192.0.2.1]", "[IPv6:2001:db8::1]".
  [[nodiscard]] std::string literal() const;

  static IpAddress from_v4(std::uint32_t host_order);
  // Accepts dotted IPv4 and IPv6 text, no brackets, no zone. nullopt: not an address.
  static std::optional<IpAddress> parse(std::string_view text);

  auto operator<=>(const IpAddress&) const = default;
};

struct Endpoint {
  IpAddress address;
  std::uint16_t port = 0;

  [[nodiscard]] std::string text() const;  // "192.0.2.1:25", "[2001:db8::1]:25"
  // Accepts "192.0.2.1:25" and "[2001:db8::1]:25". nullopt: anything else.
  static std::optional<Endpoint> parse(std::string_view text);
  // IPv4 endpoints become AF_INET, the rest AF_INET6. Returns the length of the address written.
  std::uint32_t to_sockaddr(sockaddr_storage& out) const;
  static std::optional<Endpoint> from_sockaddr(const sockaddr& address);

  auto operator<=>(const Endpoint&) const = default;
};

// An address prefix in IpAddress's key space: an IPv4 /n is stored as /(96+n). Bits behind the prefix are zero.
struct IpPrefix {
  IpAddress address;
  std::uint8_t bits = 0;  // 0..128

  [[nodiscard]] bool contains(const IpAddress& candidate) const;
  [[nodiscard]] std::string text() const;  // "192.168.0.0/16", "::1/128"
  // "192.168.0.0/16", "::1/128", or a bare address (a full-length prefix). Host bits that are set are an error, so that
  // a typing slip does not open a wider net than meant. On nullopt `why` (if given) says what is wrong.
  static std::optional<IpPrefix> parse(std::string_view text, std::string* why = nullptr);

  auto operator<=>(const IpPrefix&) const = default;
};

}  // namespace postern::core
