// The Received: header field that a relay puts in front of a message (RFC 5321 section 4.4), as one pure
// function.
//
// What strangers said (the EHLO name, the recipient) is cut to its bounds and every octet that could break
// the field's syntax is written as '?': the field can neither end early nor be read as another one.
// Return-Path is not written: that is the last hop's (section 4.4).
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <string_view>

#include "core/ip_address.h"

namespace postern::net::smtp {

struct TraceFields {
  std::string_view helo;         // what EHLO or HELO said
  std::string_view client_name;  // verified host name; empty: "unknown"
  core::IpAddress client;
  bool client_unknown = false;  // PROXY LOCAL or UNKNOWN, XCLIENT ADDR=[UNAVAILABLE]
  std::string_view hostname;    // ours
  bool extended = false;        // RFC 3848: ESMTP...
  bool smtputf8 = false;        // RFC 6531: UTF8SMTP...
  bool encrypted = false;       // ...S
  bool authenticated = false;   // ...A
  // Of the connection, when encrypted: "TLSv1.3", "TLS_AES_128_GCM_SHA256". An empty version: no comment about it.
  std::string_view tls_version;
  std::string_view tls_cipher;
  bool hide_client = false;  // no "from": neither what the client said nor where it is
  std::string_view queue_id;
  std::string_view recipient;  // named only when it is the message's single one (it would give away Bcc)
  std::int64_t unix_seconds = 0;
};

// No field that format_received writes is longer, and no line of it is longer than 998 octets.
inline constexpr std::size_t kTraceHeaderMax = 2048;

// Writes the field with its last CRLF. Requires out.size() >= kTraceHeaderMax. Returns the octets written.
std::size_t format_received(std::span<char> out, const TraceFields& fields);

// "Tue, 24 Nov 2026 03:48:27 +0000" (RFC 5322 section 3.3), always UTC. Requires out.size() >=
// kDateTimeBytes.
inline constexpr std::size_t kDateTimeBytes = 31;
std::size_t format_date_time(std::span<char> out, std::int64_t unix_seconds);

}  // namespace postern::net::smtp
