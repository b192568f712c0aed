// The steps at connect, MAIL and RCPT one by one: what each decides, in which order, and that `explain` says the same.
#include <gtest/gtest.h>
#include <set>
#include <string>
#include <vector>

#include "policy/login_table.h"
#include "policy/policy_snapshot.h"
#include "policy/relay_decision.h"

#include "tests/policy/support.h"

namespace postern::policy {
namespace {

using testing::at_second;
using testing::client_at;
using testing::mailbox;

constexpr const char* kStranger = "198.51.100.1";
constexpr const char* kLanClient = "192.168.1.1";

class Recorded final : public DecisionTrace {
 public:
  void step(Rule rule, bool decided, std::string_view note) override {
    EXPECT_FALSE(decided_) << "nothing comes behind the step that decided";
    EXPECT_FALSE(note.empty());
    decided_ = decided;
    last = rule;
    ++steps;
  }
  bool decided_ = false;
  Rule last = Rule::none;
  int steps = 0;
};

// One service, asked in the ways a session asks; each answer is checked against explain's.
class Steps : public ::testing::Test {
 protected:
  Steps() { settings.services.emplace_back().name = "smtp"; }
  ServiceSettings& service() { return settings.services.front(); }

  static void same(const Verdict& a, const Verdict& b, const Recorded& trace) {
    EXPECT_EQ(rule_name(a.rule), rule_name(b.rule));
    EXPECT_EQ(a.code, b.code);
    EXPECT_EQ(a.text, b.text);
    EXPECT_TRUE(trace.decided_);
    EXPECT_EQ(rule_name(trace.last), rule_name(a.rule));
    if (!a.accepted()) {
      EXPECT_FALSE(a.text.empty());
      EXPECT_EQ(a.enhanced.substr(0, 2), "5.");
    }
  }
  Verdict connect(const Client& client) {
    const PolicySnapshot snapshot(settings);
    Recorded trace;
    const Verdict verdict = decide_connect(snapshot, snapshot.service(0), client);
    same(verdict, explain_connect(snapshot, snapshot.service(0), client, trace), trace);
    return verdict;
  }
  Verdict sender(const Client& client, std::string_view from) {
    const PolicySnapshot snapshot(settings);
    Recorded trace;
    const Verdict verdict = decide_sender(snapshot, snapshot.service(0), logins, now, client, mailbox(from));
    same(verdict, explain_sender(snapshot, snapshot.service(0), logins, now, client, mailbox(from), trace), trace);
    return verdict;
  }
  Verdict recipient(const Client& client, std::string_view from, std::string_view to, bool source_route = false) {
    const PolicySnapshot snapshot(settings);
    Recorded trace;
    const Verdict verdict =
        decide_recipient(snapshot, snapshot.service(0), logins, now, client, mailbox(from), mailbox(to), source_route);
    same(verdict,
         explain_recipient(snapshot, snapshot.service(0), logins, now, client, mailbox(from), mailbox(to), source_route,
                           trace),
         trace);
    return verdict;
  }

  Settings settings = testing::base_settings();
  LoginTable logins{{.machines = 1, .window_seconds = 300, .ipv6_prefix = 64, .secret = 1}};
  core::Time now = at_second(100);
};

void expect(const Verdict& verdict, Rule rule, int code, std::string_view enhanced = "") {
  EXPECT_EQ(rule_name(verdict.rule), rule_name(rule));
  EXPECT_EQ(verdict.code, code);
  if (!enhanced.empty()) {
    EXPECT_EQ(verdict.enhanced, enhanced);
  }
}

TEST_F(Steps, AccessControl) {
  expect(connect(client_at(kStranger)), Rule::access_any, 0);
  service().access = {"192.168.0.0/16"};
  expect(connect(client_at(kLanClient)), Rule::access_listed, 0);
  expect(connect(client_at(kStranger)), Rule::access_not_listed, 554, "5.7.1");
  service().access = {};
  expect(connect(client_at(kLanClient)), Rule::access_not_listed, 554, "5.7.1");
  service().access = {"192.168.0.0/16"};
  Client unknown = client_at(kLanClient);
  unknown.address_unknown = true;
  expect(connect(unknown), Rule::access_not_listed, 554);
}

TEST_F(Steps, BlackListOfClients) {
  service().blacklist = {kStranger, "bad.example"};
  expect(connect(client_at(kStranger)), Rule::blacklisted_client, 554, "5.7.1");
  expect(connect(client_at(kLanClient)), Rule::access_any, 0);
  expect(sender(client_at(kStranger), "x@other.example"), Rule::blacklisted_client, 550, "5.7.1");
  Client named = client_at("203.0.113.1");
  named.host_name = "Bad.Example";
  expect(connect(named), Rule::blacklisted_client, 554);
  service().whitelist = {kStranger};
  expect(connect(client_at(kStranger)), Rule::access_any, 0);
  expect(sender(client_at(kStranger), "x@other.example"), Rule::sender_accepted, 0);
}

TEST_F(Steps, BlackListOfSendersAndRecipients) {
  service().blacklist = {"spam@other.example", "bad.example", "trap@example.net"};
  expect(sender(client_at(kLanClient), "spam@OTHER.example"), Rule::blacklisted_sender, 550, "5.7.1");
  expect(sender(client_at(kLanClient), "\"spam\"@other.example"), Rule::blacklisted_sender, 550);
  expect(sender(client_at(kLanClient), "any@bad.example"), Rule::blacklisted_sender, 550);
  expect(sender(client_at(kLanClient), "ham@other.example"), Rule::sender_accepted, 0);
  expect(sender(client_at(kLanClient), ""), Rule::sender_accepted, 0);
  expect(recipient(client_at(kLanClient), "", "trap@example.net"), Rule::blacklisted_recipient, 550, "5.7.1");
  expect(recipient(client_at(kLanClient), "", "x@example.net"), Rule::local_recipient, 0);
  service().whitelist = {"good@bad.example", "trap@example.net"};
  expect(sender(client_at(kLanClient), "good@bad.example"), Rule::sender_accepted, 0);
  expect(sender(client_at(kLanClient), "any@bad.example"), Rule::blacklisted_sender, 550);
  expect(recipient(client_at(kLanClient), "", "trap@example.net"), Rule::local_recipient, 0);
}

TEST_F(Steps, TheWhiteListLetsNobodyRelay) {
  service().whitelist = {kStranger, "other.example", "remote.example"};
  expect(recipient(client_at(kStranger), "x@other.example", "r@remote.example"), Rule::outside_lan_refused, 550);
  expect(sender(client_at(kStranger), "x@example.net"), Rule::forged_local, 550);
}

TEST_F(Steps, ScopeAllComesBeforeEverything) {
  service().auth.scope_all = true;
  service().blacklist = {kStranger};
  expect(sender(client_at(kStranger), "x@example.net"), Rule::auth_scope_all, 530, "5.7.0");
  expect(sender(client_at(kLanClient), "x@example.net"), Rule::auth_scope_all, 530, "5.7.0");
  expect(sender(client_at(kLanClient), ""), Rule::auth_scope_all, 530, "5.7.0");
  Client user = client_at(kStranger);
  user.authenticated = true;
  expect(sender(user, "x@example.net"), Rule::blacklisted_client, 550);
  service().blacklist = {};
  expect(sender(user, "x@example.net"), Rule::sender_accepted, 0);
}

TEST_F(Steps, ForgedLocalSenders) {
  const Client stranger = client_at(kStranger);
  expect(sender(stranger, "x@example.net"), Rule::forged_local, 550, "5.7.1");
  expect(sender(stranger, "x@EXAMPLE.Net."), Rule::forged_local, 550);
  expect(sender(stranger, "x@sub.example.net"), Rule::sender_accepted, 0);
  expect(sender(stranger, "x@other.example"), Rule::sender_accepted, 0);
  expect(sender(stranger, ""), Rule::sender_accepted, 0);
  expect(sender(client_at(kLanClient), "x@example.net"), Rule::sender_accepted, 0);
  Client unknown = client_at(kLanClient);
  unknown.address_unknown = true;
  expect(sender(unknown, "x@example.net"), Rule::forged_local, 550);
  service().reject_forged_local = false;
  expect(sender(stranger, "x@example.net"), Rule::sender_accepted, 0);
}

TEST_F(Steps, ForgedLocalExemptions) {
  Client user = client_at(kStranger);
  user.authenticated = true;
  expect(sender(user, "x@example.net"), Rule::sender_accepted, 0);
  service().exempt_authenticated = false;
  expect(sender(user, "x@example.net"), Rule::forged_local, 550);

  const Client stranger = client_at(kStranger);
  logins.grant(stranger.address, 0);
  expect(sender(stranger, "x@example.net"), Rule::forged_local, 550);  // after_login is off
  service().relay.after_login = true;
  expect(sender(stranger, "x@example.net"), Rule::sender_accepted, 0);
  now = at_second(301);
  expect(sender(stranger, "x@example.net"), Rule::forged_local, 550);

  service().relay.always_from = {kStranger, "example.net", "x@example.net"};
  expect(sender(stranger, "x@example.net"), Rule::forged_local, 550);  // not ticked
  service().relay.always_from_enabled = true;
  expect(sender(stranger, "x@example.net"), Rule::sender_accepted, 0);
  expect(sender(client_at("203.0.113.1"), "x@example.net"), Rule::forged_local, 550);  // hosts only, no senders
}

TEST_F(Steps, DomainsThatAreNone) {
  expect(sender(client_at(kLanClient), "x@bad..example"), Rule::bad_sender_domain, 550, "5.1.7");
  expect(recipient(client_at(kLanClient), "", "x@bad..example"), Rule::bad_recipient_domain, 550, "5.1.3");
  expect(recipient(client_at(kLanClient), "", "x"), Rule::bad_recipient_domain, 550, "5.1.3");
  expect(recipient(client_at(kLanClient), "", ""), Rule::bad_recipient_domain, 550, "5.1.3");
}

TEST_F(Steps, AddressesThatANextHopMightInterpret) {
  const Client lan = client_at(kLanClient);
  for (const char* bad : {"a%b@example.net", "host!user@example.net", "\"a@b\"@example.net", "\"a\\@b\"@EXAMPLE.NET",
                          "\"a%b\"@second.example", "a%b%c@example.net", "%@example.net"}) {
    expect(recipient(lan, "", bad), Rule::unsafe_local_part, 550, "5.1.3");
  }
  expect(recipient(lan, "", "a%b@remote.example"), Rule::lan_client, 0);
  expect(recipient(lan, "", "user@remote.example", true), Rule::source_route, 550);
  expect(recipient(lan, "", "user@example.net", true), Rule::source_route, 550);
  expect(recipient(lan, "", "postmaster", true), Rule::source_route, 550);
}

TEST_F(Steps, PostmasterWithoutADomainIsOurs) {
  for (const char* to : {"postmaster", "Postmaster", "POSTMASTER"}) {
    expect(recipient(client_at(kStranger), "x@other.example", to), Rule::postmaster, 0);
  }
  expect(recipient(client_at(kStranger), "x@other.example", "postmaster@remote.example"), Rule::outside_lan_refused,
         550);
  expect(recipient(client_at(kStranger), "x@other.example", "postmasters"), Rule::bad_recipient_domain, 550);
}

TEST_F(Steps, AddressLiteralsAreLocalOnlyWhenListed) {
  const Client stranger = client_at(kStranger);
  expect(recipient(stranger, "", "x@[192.168.1.1]"), Rule::outside_lan_refused, 550);
  settings.local_domains.push_back("[192.168.1.1]");
  expect(recipient(stranger, "", "x@[192.168.1.1]"), Rule::local_recipient, 0);
}

TEST_F(Steps, UnknownClientsNeverRelay) {
  Client unknown = client_at(kLanClient);
  unknown.address_unknown = true;
  service().relay = {.require_auth = false,
                     .after_login = true,
                     .outside_lan = true,
                     .non_local_senders = true,
                     .always_from_enabled = true,
                     .always_from = {kLanClient, "other.example"},
                     .always_to_enabled = true,
                     .always_to = {"remote.example"},
                     .login_counts_as_auth = true};
  logins.grant(unknown.address, 0);
  expect(recipient(unknown, "x@other.example", "r@remote.example"), Rule::client_unknown, 550, "5.7.1");
  unknown.authenticated = unknown.may_relay = true;
  expect(recipient(unknown, "x@other.example", "r@remote.example"), Rule::client_unknown, 550);
  expect(recipient(unknown, "x@other.example", "r@example.net"), Rule::local_recipient, 0);
}

TEST_F(Steps, OrderOfTheRelaySteps) {
  service().relay = {.require_auth = true,
                     .after_login = true,
                     .outside_lan = true,
                     .non_local_senders = true,
                     .always_from_enabled = true,
                     .always_from = {"203.0.113.5"},
                     .always_to_enabled = true,
                     .always_to = {"backup.example"},
                     .login_counts_as_auth = true};
  Client both = client_at("203.0.113.5");
  both.authenticated = both.may_relay = true;
  logins.grant(both.address, 50);
  expect(recipient(both, "", "r@example.net"), Rule::local_recipient, 0);
  expect(recipient(both, "", "r@backup.example"), Rule::always_to, 0);
  expect(recipient(both, "", "r@remote.example"), Rule::always_from, 0);
  service().relay.always_from_enabled = false;
  expect(recipient(both, "", "r@remote.example"), Rule::authenticated_privilege, 0);
  both.may_relay = false;
  expect(recipient(both, "", "r@remote.example"), Rule::no_privilege, 550);  // a login does not mend that
  both.authenticated = false;
  expect(recipient(both, "", "r@remote.example"), Rule::login_counts_as_auth, 0);
  service().relay.login_counts_as_auth = false;
  expect(recipient(both, "", "r@remote.example"), Rule::require_auth, 530);
  service().relay.require_auth = false;
  expect(recipient(both, "", "r@remote.example"), Rule::after_login_machine, 0);
  service().relay.after_login = false;
  expect(recipient(both, "", "r@remote.example"), Rule::open_relay, 0);
  service().relay.outside_lan = false;
  expect(recipient(both, "", "r@remote.example"), Rule::outside_lan_refused, 550);
}

TEST_F(Steps, TheNullSenderAndAlwaysFrom) {
  service().relay.always_from_enabled = true;
  service().relay.always_from = {"other.example", "x@partner.example"};
  expect(recipient(client_at(kStranger), "y@other.example", "r@remote.example"), Rule::always_from, 0);
  expect(recipient(client_at(kStranger), "x@partner.example", "r@remote.example"), Rule::always_from, 0);
  expect(recipient(client_at(kStranger), "y@partner.example", "r@remote.example"), Rule::outside_lan_refused, 550);
  expect(recipient(client_at(kStranger), "", "r@remote.example"), Rule::outside_lan_refused, 550);
}

TEST_F(Steps, MappedAddressesAreIpv4Everywhere) {
  service().access = {"192.168.0.0/16"};
  expect(connect(client_at("::ffff:192.168.1.1")), Rule::access_listed, 0);
  expect(recipient(client_at("::ffff:192.168.1.1"), "", "r@remote.example"), Rule::lan_client, 0);
}

TEST(Services, StandAlone) {
  Settings settings = testing::base_settings();
  settings.services.resize(2);
  settings.services[0].name = "smtp";
  settings.services[1].name = "submission";
  const LoginTable logins({.machines = 1, .window_seconds = 300, .ipv6_prefix = 64, .secret = 1});
  const auto ask = [&](std::size_t index) {
    const PolicySnapshot snapshot(settings);
    return decide_recipient(snapshot, snapshot.service(index), logins, at_second(0), client_at(kLanClient), mailbox(""),
                            mailbox("r@remote.example"), false);
  };
  expect(ask(0), Rule::lan_client, 0);
  settings.services[1].relay.require_auth = true;
  expect(ask(0), Rule::lan_client, 0);
  expect(ask(1), Rule::require_auth, 530);
  settings.services[0].relay.always_to_enabled = true;
  settings.services[0].relay.always_to = {"remote.example"};
  expect(ask(0), Rule::always_to, 0);
  expect(ask(1), Rule::require_auth, 530);
}

TEST(RuleNames, AreDistinct) {
  std::set<std::string_view> names;
  for (int i = 0; i <= static_cast<int>(kLastRule); ++i) names.insert(rule_name(static_cast<Rule>(i)));
  EXPECT_EQ(names.size(), static_cast<std::size_t>(kLastRule) + 1);
  EXPECT_EQ(rule_name(Rule::require_auth), "require_auth");
  EXPECT_EQ(rule_name(Rule::forged_local), "forged_local");
  EXPECT_EQ(rule_name(Rule::client_unknown), "client_unknown");
}

}  // namespace
}  // namespace postern::policy
