// Paths of MAIL and RCPT (RFC 5321 sections 4.1.2 and 4.1.3; UTF-8 by RFC 6531 section 3.3), parsed strictly.
//
// What is accepted is safe to write into a command for the next hop between angle brackets: no control octet,
// no octet that could end it. A source route is parsed and reported, never kept. A domain's trailing dot is
// tolerated and dropped. Pure. Thread: any.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string_view>

#include "policy/address.h"

namespace postern::net::smtp {

// Bounds of RFC 5321 section 4.5.3.1.
inline constexpr std::size_t kLocalPartBytesMax = 64;
inline constexpr std::size_t kDomainBytesMax = 255;
inline constexpr std::size_t kPathBytesMax = 256;  // with its angle brackets

enum class PathKind : std::uint8_t { reverse, forward };

enum class PathFault : std::uint8_t {
  none,
  syntax,
  local_part_too_long,
  domain_too_long,
  path_too_long,
  bad_utf8
};

struct ParsedPath {
  PathFault fault = PathFault::none;
  std::size_t consumed = 0;  // with both angle brackets
  std::string_view address;  // "local@domain" without route and trailing dot; empty: <>; "postmaster"
  policy::Mailbox mailbox;   // its parts
  bool has_source_route = false;
  bool has_utf8 = false;  // octets above 127: needs SMTPUTF8
};

// `text` begins with the path's "<". reverse: `<>` is a path; forward: `<postmaster>` is one. Views point
// into `text`.
ParsedPath parse_path(std::string_view text, PathKind kind);

// What to say about a fault; static storage.
std::string_view describe(PathFault fault);

// Octets of the UTF-8 sequence at `at` (RFC 3629; neither C1 controls nor surrogates); 0: there is no valid
// one.
std::size_t utf8_sequence_bytes(std::string_view text, std::size_t at);

}  // namespace postern::net::smtp
