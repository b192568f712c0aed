// What an authenticated user may send as; declared in relay_decision.h.
#include "core/ascii.h"
#include "policy/policy_snapshot.h"
#include "policy/relay_decision.h"
#include "policy/user.h"

namespace postern::policy {

bool owns_sender(const PolicySnapshot& snapshot, const UserRecord& user, const Mailbox& sender) noexcept {
  if (may_send_as(user, sender)) return true;
  // "anna" without a domain is anna at each of ours.
  if (user.name.find('@') != std::string::npos || !snapshot.is_local_domain(DomainName(sender.domain))) return false;
  return core::equals_ignoring_case(sender.local_part, user.name);
}

Verdict decide_user_sender(const PolicySnapshot& snapshot, const ServicePolicy& service, const UserRecord& user,
                           const Mailbox& sender) noexcept {
  if (user.held) {
    return {Rule::account_held, 451, "4.7.1", "your account is on hold, ask your postmaster"};
  }
  if (service.settings().auth.own_sender && !owns_sender(snapshot, user, sender)) {
    return {Rule::sender_not_owned, 550, "5.7.1", "this sender address is not yours"};
  }
  return {Rule::sender_accepted, 0, {}, {}};
}

}  // namespace postern::policy
