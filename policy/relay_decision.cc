// The decisions at connect, MAIL and RCPT, in the order of docs/relay-decision.md.
//
// Each decision is written once, as a template over its listener: a silent one for the message path
// (noexcept, no allocation, nothing left of it after inlining) and DecisionTrace for `explain`. So both can
// never differ.
#include "policy/relay_decision.h"

#include <algorithm>
#include <array>

#include "core/ascii.h"
#include "policy/login_table.h"
#include "policy/policy_snapshot.h"
#include "policy/service_policy.h"

namespace postern::policy {
namespace {

constexpr std::array<std::string_view, 35> kRuleNames = {
    "none",
    "access_any",
    "access_listed",
    "access_not_listed",
    "barred_machine",
    "sender_accepted",
    "auth_scope_all",
    "blacklisted_client",
    "blacklisted_sender",
    "blacklisted_recipient",
    "forged_local",
    "bad_sender_domain",
    "bad_recipient_domain",
    "unsafe_local_part",
    "source_route",
    "postmaster",
    "local_recipient",
    "always_to",
    "always_from",
    "authenticated_privilege",
    "require_auth",
    "no_privilege",
    "login_counts_as_auth",
    "after_login_lan",
    "after_login_machine",
    "after_login_refused",
    "client_unknown",
    "outside_lan_refused",
    "non_local_sender_refused",
    "lan_client",
    "open_relay",
    "account_held",
    "sender_not_owned",
    "quota_user",
    "quota_machine",
};
static_assert(kRuleNames.size() == static_cast<std::size_t>(kLastRule) + 1);

struct Silent {
  void step(Rule, bool, std::string_view) const noexcept {}
};

struct Listening {
  DecisionTrace& trace;
  void step(Rule rule, bool decided, std::string_view note) const { trace.step(rule, decided, note); }
};

// What every question is asked against.
struct Setting {
  const PolicySnapshot& snapshot;
  const ServicePolicy& service;
  const LoginTable* logins;
  std::int64_t now_boot_seconds;
  const Client& client;

  [[nodiscard]] bool is_lan() const noexcept {
    return !client.address_unknown && snapshot.is_lan(client.address);
  }
  [[nodiscard]] bool has_login() const noexcept {
    return !client.address_unknown && logins->is_granted(client.address, now_boot_seconds);
  }
  // An unknown client has no address to be listed by.
  [[nodiscard]] bool client_in(const AddressList& list) const noexcept {
    if (client.address_unknown) return list.matches_host_name(client.host_name);
    return list.matches_client(client.address, client.host_name);
  }
};

constexpr Verdict accept(Rule rule) noexcept {
  return {rule, 0, {}, {}};
}

constexpr Verdict refuse(Rule rule, std::uint16_t code, std::string_view enhanced,
                         std::string_view text) noexcept {
  return {rule, code, enhanced, text};
}

template <class Listener>
Verdict decided(const Listener& listener, Verdict verdict, std::string_view note) {
  listener.step(verdict.rule, true, note);
  return verdict;
}

// `<>` and an address without a domain are ours; a domain that is none is not.
bool is_local_sender(const PolicySnapshot& snapshot, const Mailbox& sender,
                     const DomainName& domain) noexcept {
  return sender.domain.empty() || snapshot.is_local_domain(domain);
}

bool is_postmaster(std::string_view local_part) noexcept {
  return core::equals_ignoring_case(local_part, "postmaster");  // RFC 5321 section 4.5.1
}

// Rule::none: the black list does not name the client, or the white list does too.
template <class Listener>
Verdict client_blacklist_verdict(const Setting& at, std::uint16_t code, const Listener& listener) {
  std::string_view note = "the black list does not name the client";
  if (at.client_in(at.service.blacklist())) {
    if (!at.client_in(at.service.whitelist())) {
      return decided(listener,
                     refuse(Rule::blacklisted_client, code, "5.7.1", "your address is on our black list"),
                     "the black list names the client");
    }
    note = "the black list names the client, and the white list lifts that";
  }
  listener.step(Rule::blacklisted_client, false, note);
  return {};
}

template <class Listener>
Verdict connect_verdict(const Setting& at, const Listener& listener) {
  const bool any = at.service.access_any();
  if (!any && !at.client_in(at.service.access())) {
    return decided(
        listener, refuse(Rule::access_not_listed, 554, "5.7.1", "this service is not open to your address"),
        at.client.address_unknown ? "the client's address is not known" : "the client is not listed");
  }
  if (const Verdict verdict = client_blacklist_verdict(at, 554, listener); !verdict.accepted())
    return verdict;
  return decided(listener, accept(any ? Rule::access_any : Rule::access_listed),
                 any ? "any client may connect" : "the client is listed");
}

template <class Listener>
Verdict sender_blacklist_verdict(const Setting& at, const Mailbox& sender, const DomainName& domain,
                                 const Listener& listener) {
  std::string_view note = "the black list does not name the sender";
  if (at.service.blacklist().matches_mailbox(sender, domain)) {
    const AddressList& white = at.service.whitelist();
    if (!at.client_in(white) && !white.matches_mailbox(sender, domain)) {
      return decided(listener,
                     refuse(Rule::blacklisted_sender, 550, "5.7.1", "the sender is on our black list"),
                     "the black list names the sender");
    }
    note = "the black list names the sender, and the white list lifts that";
  }
  listener.step(Rule::blacklisted_sender, false, note);
  return {};
}

// Why a sender at a local domain may come from this client; empty: it may not.
std::string_view forged_local_excuse(const Setting& at) noexcept {
  const ServiceSettings& service = at.service.settings();
  if (at.is_lan()) return "the sender is at a local domain, and the client in the LAN";
  if (at.client.authenticated && service.exempt_authenticated) {
    return "the sender is at a local domain, and the client authenticated (exempt_authenticated)";
  }
  if (service.relay.after_login && at.has_login()) {
    return "the sender is at a local domain, and the machine has a live login (after_login)";
  }
  if (at.client_in(at.service.always_from())) {
    return "the sender is at a local domain, and the client a host in always_from";
  }
  return {};
}

template <class Listener>
Verdict forged_local_verdict(const Setting& at, const Mailbox& sender, const DomainName& domain,
                             const Listener& listener) {
  std::string_view note;
  if (!at.service.settings().reject_forged_local) {
    note = "reject_forged_local is off";
  } else if (sender.is_null() || !is_local_sender(at.snapshot, sender, domain)) {
    note = "the sender is not at a local domain";
  } else {
    note = forged_local_excuse(at);
    if (note.empty()) {
      return decided(listener,
                     refuse(Rule::forged_local, 550, "5.7.1",
                            "mail from this domain is taken only from its own network or after logging in"),
                     "the sender claims to be at a local domain, from outside the LAN");
    }
  }
  listener.step(Rule::forged_local, false, note);
  return {};
}

template <class Listener>
Verdict sender_verdict(const Setting& at, const Mailbox& sender, const Listener& listener) {
  if (at.service.settings().auth.scope_all) {
    if (!at.client.authenticated) {
      return decided(listener, refuse(Rule::auth_scope_all, 530, "5.7.0", "authentication required"),
                     "scope \"all\": nobody sends without AUTH");
    }
    listener.step(Rule::auth_scope_all, false, "scope \"all\": the client authenticated");
  } else {
    listener.step(Rule::auth_scope_all, false, "scope \"relay\": AUTH is only for relaying");
  }
  const DomainName domain(sender.domain);
  if (!sender.domain.empty() && domain.empty()) {
    return decided(
        listener,
        refuse(Rule::bad_sender_domain, 550, "5.1.7", "the sender's domain is not a valid domain name"),
        "the sender's domain cannot be a domain");
  }
  // The client again: XCLIENT may have changed it since the connection was decided.
  if (const Verdict verdict = client_blacklist_verdict(at, 550, listener); !verdict.accepted())
    return verdict;
  if (const Verdict verdict = sender_blacklist_verdict(at, sender, domain, listener); !verdict.accepted()) {
    return verdict;
  }
  if (const Verdict verdict = forged_local_verdict(at, sender, domain, listener); !verdict.accepted())
    return verdict;
  return decided(listener, accept(Rule::sender_accepted), "nothing speaks against the sender");
}

// Step 1: what the address itself may not be.
template <class Listener>
Verdict address_verdict(const Setting& at, const Mailbox& recipient, const DomainName& domain,
                        bool has_source_route, const Listener& listener) {
  if (has_source_route) {
    return decided(listener, refuse(Rule::source_route, 550, "5.1.3", "source routes are not taken"),
                   "the forward-path carries a source route");
  }
  if (recipient.domain.empty() && is_postmaster(recipient.local_part)) {
    return decided(listener, accept(Rule::postmaster), "<postmaster> without a domain is ours");
  }
  if (domain.empty()) {
    return decided(
        listener,
        refuse(Rule::bad_recipient_domain, 550, "5.1.3", "the recipient's domain is not a valid domain name"),
        "the recipient's domain cannot be a domain");
  }
  if (at.snapshot.is_local_domain(domain) &&
      recipient.local_part.find_first_of("%!@") != std::string_view::npos) {
    return decided(
        listener,
        refuse(Rule::unsafe_local_part, 550, "5.1.3", "%, ! and @ are not taken in a local part here"),
        "the next hop might take %, ! or @ in the local part for a route");
  }
  listener.step(Rule::unsafe_local_part, false, "the address is in order");
  return {};
}

template <class Listener>
Verdict recipient_blacklist_verdict(const Setting& at, const Mailbox& sender, const Mailbox& recipient,
                                    const DomainName& domain, const Listener& listener) {
  const AddressList& white = at.service.whitelist();
  if (!at.service.blacklist().matches_mailbox(recipient, domain)) {
    listener.step(Rule::blacklisted_recipient, false, "the black list does not name the recipient");
    return {};
  }
  if (at.client_in(white) || white.matches_mailbox(sender, DomainName(sender.domain)) ||
      white.matches_mailbox(recipient, domain)) {
    listener.step(Rule::blacklisted_recipient, false, "on the black list, and lifted by the white list");
    return {};
  }
  return decided(listener,
                 refuse(Rule::blacklisted_recipient, 550, "5.7.1", "the recipient is on our black list"),
                 "the black list names the recipient");
}

// Steps 3 and 4. Rule::none: neither list matches.
template <class Listener>
Verdict always_verdict(const Setting& at, const Mailbox& sender, const Mailbox& recipient,
                       const DomainName& domain, const Listener& listener) {
  const RelaySettings& relay = at.service.relay();
  if (at.service.always_to().matches_recipient(recipient, domain)) {
    return decided(listener, accept(Rule::always_to), "always_to names the recipient");
  }
  listener.step(
      Rule::always_to, false,
      relay.always_to_enabled ? "always_to does not name the recipient" : "always_to is not ticked");
  const AddressList& from = at.service.always_from();
  if (at.client_in(from)) return decided(listener, accept(Rule::always_from), "always_from names the client");
  if (!from.empty() && from.matches_mailbox(sender, DomainName(sender.domain))) {
    return decided(listener, accept(Rule::always_from), "always_from names the sender");
  }
  listener.step(Rule::always_from, false,
                relay.always_from_enabled ? "always_from names neither client nor sender"
                                          : "always_from is not ticked");
  return {};
}

// Step 6, on a service with require_auth: it always decides.
template <class Listener>
Verdict require_auth_verdict(const Setting& at, const Listener& listener) {
  const RelaySettings& relay = at.service.relay();
  if (at.client.authenticated) {
    return decided(listener,
                   refuse(Rule::no_privilege, 550, "5.7.1", "relaying denied: your account may not relay"),
                   "authenticated, without the privilege to relay");
  }
  if (relay.after_login && relay.login_counts_as_auth && at.has_login()) {
    return decided(listener, accept(Rule::login_counts_as_auth), "a live login counts as AUTH here");
  }
  return decided(listener, refuse(Rule::require_auth, 530, "5.7.0", "authentication required to relay"),
                 "require_auth: not authenticated; the LAN is not exempt");
}

// Step 7, on a service with after_login and without require_auth: it always decides.
template <class Listener>
Verdict after_login_verdict(const Setting& at, const Listener& listener) {
  if (at.is_lan()) return decided(listener, accept(Rule::after_login_lan), "the client is in the LAN");
  if (at.has_login()) {
    return decided(listener, accept(Rule::after_login_machine), "the machine logged in within the window");
  }
  return decided(
      listener,
      refuse(Rule::after_login_refused, 550, "5.7.1", "relaying denied: collect your mail first, then send"),
      "outside the LAN, and no live login from that machine");
}

// Step 8: both gates must be passed.
template <class Listener>
Verdict gates_verdict(const Setting& at, const Mailbox& sender, const Listener& listener) {
  const RelaySettings& relay = at.service.relay();
  const bool lan = at.is_lan();
  if (!lan && !relay.outside_lan) {
    return decided(listener, refuse(Rule::outside_lan_refused, 550, "5.7.1", "relaying denied"),
                   "outside_lan is off, and the client is outside the LAN");
  }
  listener.step(Rule::outside_lan_refused, false,
                lan ? "the client is in the LAN" : "outside_lan is on: clients outside the LAN pass");
  if (!relay.non_local_senders && !is_local_sender(at.snapshot, sender, DomainName(sender.domain))) {
    return decided(listener,
                   refuse(Rule::non_local_sender_refused, 550, "5.7.1",
                          "relaying denied: the sender is not at a domain of ours"),
                   "non_local_senders is off, and the sender is not local");
  }
  listener.step(
      Rule::non_local_sender_refused, false,
      relay.non_local_senders ? "non_local_senders is on: any sender passes" : "the sender is local");
  if (lan) return decided(listener, accept(Rule::lan_client), "a client in the LAN may relay");
  return decided(listener, accept(Rule::open_relay), "outside_lan lets strangers relay");
}

template <class Listener>
Verdict recipient_verdict(const Setting& at, const Mailbox& sender, const Mailbox& recipient,
                          bool has_source_route, const Listener& listener) {
  const DomainName domain(recipient.domain);
  Verdict verdict = address_verdict(at, recipient, domain, has_source_route, listener);
  if (verdict.rule != Rule::none) return verdict;
  verdict = recipient_blacklist_verdict(at, sender, recipient, domain, listener);
  if (verdict.rule != Rule::none) return verdict;
  if (at.snapshot.is_local_domain(domain)) {
    return decided(listener, accept(Rule::local_recipient), "the recipient is at a local domain");
  }
  listener.step(Rule::local_recipient, false, "the recipient is not at a local domain: this is relaying");
  if (at.client.address_unknown) {
    return decided(
        listener,
        refuse(Rule::client_unknown, 550, "5.7.1", "relaying denied: your address is not known here"),
        "PROXY said LOCAL or UNKNOWN: such a connection never relays");
  }
  verdict = always_verdict(at, sender, recipient, domain, listener);
  if (verdict.rule != Rule::none) return verdict;
  if (at.client.authenticated && at.client.may_relay) {
    return decided(listener, accept(Rule::authenticated_privilege),
                   "authenticated, with the privilege to relay");
  }
  listener.step(
      Rule::authenticated_privilege, false,
      at.client.authenticated ? "authenticated, without the privilege to relay" : "not authenticated");
  if (at.service.relay().require_auth) return require_auth_verdict(at, listener);
  listener.step(Rule::require_auth, false, "require_auth is off");
  if (at.service.relay().after_login) return after_login_verdict(at, listener);
  listener.step(Rule::after_login_refused, false, "after_login is off");
  return gates_verdict(at, sender, listener);
}

}  // namespace

std::string_view rule_name(Rule rule) noexcept {
  const auto index = static_cast<std::size_t>(rule);
  return index < kRuleNames.size() ? kRuleNames[index] : std::string_view("unknown");
}

Verdict decide_connect(const PolicySnapshot& snapshot, const ServicePolicy& service,
                       const Client& client) noexcept {
  return connect_verdict({snapshot, service, nullptr, 0, client}, Silent{});
}

Verdict decide_sender(const PolicySnapshot& snapshot, const ServicePolicy& service, const LoginTable& logins,
                      const core::Time& now, const Client& client, const Mailbox& sender) noexcept {
  return sender_verdict({snapshot, service, &logins, now.boot_seconds(), client}, sender, Silent{});
}

Verdict decide_recipient(const PolicySnapshot& snapshot, const ServicePolicy& service,
                         const LoginTable& logins, const core::Time& now, const Client& client,
                         const Mailbox& sender, const Mailbox& recipient, bool has_source_route) noexcept {
  return recipient_verdict({snapshot, service, &logins, now.boot_seconds(), client}, sender, recipient,
                           has_source_route, Silent{});
}

Verdict explain_connect(const PolicySnapshot& snapshot, const ServicePolicy& service, const Client& client,
                        DecisionTrace& trace) {
  return connect_verdict({snapshot, service, nullptr, 0, client}, Listening{trace});
}

Verdict explain_sender(const PolicySnapshot& snapshot, const ServicePolicy& service, const LoginTable& logins,
                       const core::Time& now, const Client& client, const Mailbox& sender,
                       DecisionTrace& trace) {
  return sender_verdict({snapshot, service, &logins, now.boot_seconds(), client}, sender, Listening{trace});
}

Verdict explain_recipient(const PolicySnapshot& snapshot, const ServicePolicy& service,
                          const LoginTable& logins, const core::Time& now, const Client& client,
                          const Mailbox& sender, const Mailbox& recipient, bool has_source_route,
                          DecisionTrace& trace) {
  return recipient_verdict({snapshot, service, &logins, now.boot_seconds(), client}, sender, recipient,
                           has_source_route, Listening{trace});
}

}  // namespace postern::policy
