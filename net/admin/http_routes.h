// What the HTTP listener answers, beside HTTP:
//
//   GET  /healthz                                      200 while the process lives
//   GET  /readyz                                       200, or 503 while it drains or when a spool had a write error
//   GET  /metrics                                      counters, in Prometheus' text format
//   POST /dovecot/auth-policy?command=allow|report     Dovecot's questions and reports (auth_policy.h), from the
//                                                      addresses in logins.feeds only
//
// Thread: any but a worker's; asks workers through the mesh.
#pragma once

#include <span>
#include <string>
#include <string_view>

#include "core/ip_address.h"

namespace postern::net {
class Server;
}

namespace postern::net::admin {

struct HttpQuestion {
  std::string_view method;
  std::string_view path;     // without the query
  std::string_view command;  // the query's argument of that name
  core::IpAddress peer;
};

struct HttpAnswer {
  unsigned status = 200;
  std::string_view content_type = "text/plain; charset=utf-8";
  std::string_view allow;  // with 405: the header of that name
  std::string body;
};

// Is this address in logins.feeds?
[[nodiscard]] bool is_feed(Server& server, const core::IpAddress& peer);

// Before a body is read: is there any use in it? False: `refusal` is the answer.
[[nodiscard]] bool wants_http_body(Server& server, const HttpQuestion& question, HttpAnswer& refusal);

// `body` is overwritten; the caller wipes it, since a hash of a password is in it.
[[nodiscard]] HttpAnswer answer_http(Server& server, const HttpQuestion& question, std::span<char> body);

}  // namespace postern::net::admin
