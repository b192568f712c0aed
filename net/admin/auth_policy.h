// Dovecot's auth-policy requests (doc.dovecot.org, "Authentication policy"), judged: a command and a JSON body in, what is
// to be done out. Beside HTTP, beside the tables.
//
// Dovecot asks `allow` before a login (and again after a good password) and sends `report` when it is over. What it puts
// into the body is its auth_policy_request_attributes; what counts here: login, remote, protocol, mech, master_user,
// fail_type, and Dovecot's own success and policy_reject. All else is skipped, pwhash among it.
//
// A report of success is a POP3/IMAP login only of protocol pop3 or imap, by a mailbox user: not by a master user, and
// not ANONYMOUS. A failure is a guess unless a rule of ours refused it (policy_reject), its fail_type is none of a wrong
// password, or the protocol is one where whoever asked Dovecot counts by himself (smtp) or no stranger gets to (lmtp,
// doveadm).
//
// Pure. Bounds: the caller's on the body; a name without a canonical form is cut at policy::kUserNameBytesMax.
// Thread: any.
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <string_view>

#include "core/ip_address.h"

namespace postern::net::admin {

struct AuthPolicyDecision {
  enum class Act : std::uint8_t {
    refuse,   // no request of Dovecot's: `why`
    ignore,   // nothing is to be done; `why` is empty when that is all right
    check,    // allow: may this machine try, as this user (may be empty)?
    login,    // report: a POP3/IMAP login, which is granted and clears the machine's failures under this name
    success,  // report: a login elsewhere, which only clears them
    failure,  // report: a wrong password; `user` may be empty
  };
  Act act = Act::refuse;
  std::string_view why;  // static storage
  core::IpAddress machine;
  std::string user;  // in its one form (policy::canonical_user_name), or as it was when it has none
};

// `command`: the query's argument of that name. `body` is overwritten.
[[nodiscard]] AuthPolicyDecision decide_auth_policy(std::string_view command, std::span<char> body);

}  // namespace postern::net::admin
