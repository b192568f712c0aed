// One DNS answer as values: the records that were asked for, with the CNAME chain followed, and how long they hold.
//
// Pure. What comes from the network is bounded: at most kRecordsMax records are looked at, kAliasesMax aliases followed, and a
// message that breaks off or points in circles is a failure (which defers mail), never "no such name" (which bounces it).
// Sources: RFC 1035 section 4, RFC 2308 (negative answers), RFC 3596 (AAAA). Thread: any.
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "core/ip_address.h"

namespace postern::net::dns {

enum class RecordType : std::uint16_t { a = 1, mx = 15, aaaa = 28 };

enum class AnswerStatus : std::uint8_t {
  found,
  no_data,       // the name is there, records of this type are not
  no_such_name,  // NXDOMAIN
  failed,        // nobody knows: SERVFAIL, no answer, nonsense
};

struct Exchange {
  std::uint16_t preference = 0;
  std::string host;  // lower case, no trailing dot; empty: the root, "." (RFC 7505)
  bool operator==(const Exchange&) const = default;
};

struct Answer {
  AnswerStatus status = AnswerStatus::failed;
  std::vector<core::IpAddress> addresses;  // a, aaaa: in the answer's order
  std::vector<Exchange> exchanges;         // mx: in the answer's order
  // The least of all records that were used; of negative answers the lesser of the SOA's own and its MINIMUM, 0 without a SOA.
  std::uint32_t ttl_seconds = 0;
};

constexpr std::size_t kRecordsMax = 512;
constexpr std::size_t kAliasesMax = 16;

[[nodiscard]] Answer parse_answer(std::span<const std::uint8_t> message, RecordType type);

// May this be asked for: a host name of letters, digits, '-' and '_', labels of 1 to 63 octets, at most 253 together?
[[nodiscard]] bool is_askable(std::string_view name);

}  // namespace postern::net::dns
