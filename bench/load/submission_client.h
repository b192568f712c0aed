// One mail program's session over a blocking socket: STARTTLS, AUTH PLAIN, one message, QUIT. For load generators.
//
// The server's certificate is not looked at, and no TLS session is resumed: every session costs the server a whole
// handshake. Thread: one at a time.
#pragma once

#include <array>
#include <cstdint>
#include <openssl/ssl.h>
#include <string>
#include <string_view>

#include "core/ip_address.h"

namespace postern::bench {

struct SubmissionSession {
  core::IpAddress source;       // the socket is bound to it; an IPv4 address
  std::uint16_t port = 0;       // of 127.0.0.1
  std::string_view auth_plain;  // base 64 of "\0name\0password"
  std::string_view from;
  std::string_view to;
  std::string_view content;     // dot-stuffed, its end with it; empty: QUIT follows the login
};

// The code that decided: 250 when the message was taken (or 235 without one), else the first reply that refused; 0: the
// connection failed. `auth_ns` (may be null): how long the server took from AUTH to its reply.
int run_session(SSL_CTX* context, const SubmissionSession& session, std::int64_t* auth_ns);

}  // namespace postern::bench
