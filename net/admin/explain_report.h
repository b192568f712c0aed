// What `postern explain` prints: the whole decision for one client, user, sender and recipient on one
// service, each step with its reason, and the one that decided. The steps come from the code that decides for
// real connections.
//
// Pure text building, cold. Thread: any.
#pragma once

#include <cstddef>
#include <string>

#include "policy/address.h"
#include "policy/policy_snapshot.h"
#include "policy/relay_decision.h"

namespace postern::net::admin {

// Views outlive the call. Addresses come from the strict parser of net/smtp, without angle brackets.
struct ExplainQuestion {
  std::size_t service = 0;  // index in the snapshot
  policy::Client client;
  bool has_login = false;  // does the machine have a live POP3/IMAP login?
  policy::Mailbox sender;  // null: <>
  policy::Mailbox recipient;
  bool has_source_route = false;  // the forward-path carried one
};

struct ExplainAnswer {
  std::string text;
  policy::Verdict verdict;  // of the step that ended it: connect, MAIL or RCPT
};

[[nodiscard]] ExplainAnswer explain_report(const policy::PolicySnapshot& snapshot,
                                           const ExplainQuestion& question);

}  // namespace postern::net::admin
