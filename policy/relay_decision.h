// Who may relay: the heart of Postern. Every row of the relay table, in order, the first that decides wins.
//
// Pure and `noexcept`; allocates nothing; reads immutable snapshots and the login table. The verdict names the rule that
// decided, so that a log line, `postern explain` and a postmaster all see the same reason.
// Thread: any number at once.
#pragma once

#include <cstdint>
#include <string_view>

#include "core/clock.h"
#include "core/ip_address.h"
#include "policy/address.h"

namespace postern::policy {

class LoginTable;
class ServicePolicy;   // one service's controls, compiled for lookup (service_policy.h)
class PolicySnapshot;  // the LAN, the local domains and all services (policy_snapshot.h)
struct UserRecord;     // user.h

// The client of one connection, as far as it is known now.
struct Client {
  core::IpAddress address;
  std::string_view host_name;       // verified (forward-confirmed) host name; empty: none
  std::string_view user;            // authenticated user; empty: not authenticated
  bool authenticated = false;
  bool may_relay = false;           // the user's privilege "Relay mail beyond this server"
  bool address_unknown = false;     // PROXY LOCAL or UNKNOWN: never the LAN, never a login: may not relay
};

// What decided. The names (rule_name) appear in logs and in `explain`; keep them stable.
enum class Rule : std::uint8_t {
  none,
  access_any, access_listed, access_not_listed, barred_machine,
  sender_accepted, auth_scope_all, blacklisted_client, blacklisted_sender, blacklisted_recipient, forged_local,
  bad_sender_domain, bad_recipient_domain,
  unsafe_local_part, source_route, postmaster, local_recipient,
  always_to, always_from, authenticated_privilege,
  require_auth, no_privilege, login_counts_as_auth,
  after_login_lan, after_login_machine, after_login_refused,
  client_unknown, outside_lan_refused, non_local_sender_refused, lan_client, open_relay,
  account_held, sender_not_owned, quota_user, quota_machine,
};
inline constexpr Rule kLastRule = Rule::quota_machine;
[[nodiscard]] std::string_view rule_name(Rule rule) noexcept;

// code 0: go on. `enhanced` like "5.7.1"; `text` is the reply's text, static storage.
struct Verdict {
  Rule rule = Rule::none;
  std::uint16_t code = 0;
  std::string_view enhanced;
  std::string_view text;

  [[nodiscard]] bool accepted() const { return code == 0; }
};

// At connect (and again when the client's address changed by PROXY or XCLIENT): access control, and the client black list.
// The white list lifts the black list, and nothing else: a listed client alone is lifted by a whitelisted client, a sender
// by a whitelisted client or sender, a recipient by any of the three.
[[nodiscard]] Verdict decide_connect(const PolicySnapshot& snapshot, const ServicePolicy& service,
                                     const Client& client) noexcept;

// At MAIL: scope "all", a domain that is none, black list, forged local sender; in that order.
[[nodiscard]] Verdict decide_sender(const PolicySnapshot& snapshot, const ServicePolicy& service,
                                    const LoginTable& logins, const core::Time& now, const Client& client,
                                    const Mailbox& sender) noexcept;

// At MAIL, for an authenticated client: an account on hold sends nothing (451 4.7.1); where [service.auth] own_sender is
// on, the sender must be the user's (550 5.7.1).
[[nodiscard]] Verdict decide_user_sender(const PolicySnapshot& snapshot, const ServicePolicy& service,
                                         const UserRecord& user, const Mailbox& sender) noexcept;
// Is the address the user's: listed for it, its name, or, for a name without a domain, that name at a local domain?
[[nodiscard]] bool owns_sender(const PolicySnapshot& snapshot, const UserRecord& user, const Mailbox& sender) noexcept;

// At RCPT, after strict parsing: the recipient black list, then the table. `has_source_route`: the forward-path carried
// one. A client whose address is unknown never relays, not even by always_to or AUTH.
[[nodiscard]] Verdict decide_recipient(const PolicySnapshot& snapshot, const ServicePolicy& service,
                                       const LoginTable& logins, const core::Time& now, const Client& client,
                                       const Mailbox& sender, const Mailbox& recipient,
                                       bool has_source_route) noexcept;

// One step that a decision passed, for `explain`: the same code runs, with a listener.
class DecisionTrace {
 public:
  virtual ~DecisionTrace() = default;
  virtual void step(Rule rule, bool decided, std::string_view note) = 0;
};
[[nodiscard]] Verdict explain_connect(const PolicySnapshot&, const ServicePolicy&, const Client&, DecisionTrace&);
[[nodiscard]] Verdict explain_sender(const PolicySnapshot&, const ServicePolicy&, const LoginTable&, const core::Time&,
                                     const Client&, const Mailbox& sender, DecisionTrace&);
[[nodiscard]] Verdict explain_recipient(const PolicySnapshot&, const ServicePolicy&, const LoginTable&,
                                        const core::Time&, const Client&, const Mailbox& sender,
                                        const Mailbox& recipient, bool has_source_route, DecisionTrace&);

}  // namespace postern::policy
