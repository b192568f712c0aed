// Every combination of the relay options and of what a client can be, against a second statement of the rules that is
// written in another way: as the set of those who may, not as steps.
#include <gtest/gtest.h>
#include <string>

#include "policy/login_table.h"
#include "policy/policy_snapshot.h"
#include "policy/relay_decision.h"

#include "tests/policy/support.h"

namespace postern::policy {
namespace {

using testing::at_second;
using testing::client_at;
using testing::mailbox;

struct Options {
  bool require_auth, after_login, outside_lan, non_local, from_ticked, to_ticked, counts;
};
Options options_of(unsigned bits) {
  return {(bits & 1) != 0,  (bits & 2) != 0,  (bits & 4) != 0, (bits & 8) != 0,
          (bits & 16) != 0, (bits & 32) != 0, (bits & 64) != 0};
}

struct Situation {
  bool local_recipient, listed_recipient, lan, unknown, listed_client, listed_sender, local_sender, authenticated,
      privilege, login;
};

int oracle(const Options& o, const Situation& s) {
  if (s.local_recipient) return 250;
  if (s.unknown) return 550;
  const bool listed = (o.to_ticked && s.listed_recipient) || (o.from_ticked && (s.listed_client || s.listed_sender));
  const bool user = s.authenticated && s.privilege;
  const bool login_as_auth = o.require_auth && o.after_login && o.counts && s.login && !s.authenticated;
  const bool by_login = !o.require_auth && o.after_login && (s.lan || s.login);
  const bool by_gates =
      !o.require_auth && !o.after_login && (s.lan || o.outside_lan) && (s.local_sender || o.non_local);
  if (listed || user || login_as_auth || by_login || by_gates) return 250;
  return o.require_auth && !s.authenticated ? 530 : 550;
}

struct NamedAddress {
  const char* text;
  bool lan, unknown, listed;
};
constexpr NamedAddress kClients[] = {
    {"192.168.1.1", true, false, false},   {"192.168.9.9", true, false, true},
    {"198.51.100.1", false, false, false}, {"203.0.113.9", false, false, true},
    {"2001:db8:1::5", true, false, false}, {"2001:db8:2::5", false, false, false},
    {"2001:db8:f::5", false, false, true}, {"192.168.1.1", false, true, false},
    {"203.0.113.9", false, true, false},
};
struct NamedMailbox {
  const char* text;
  bool local, listed;
};
constexpr NamedMailbox kSenders[] = {
    {"a@example.net", true, false},       {"boss@example.net", true, true},   {"", true, false},
    {"m@stranger.example", false, false}, {"x@partner.example", false, true}, {"y@sub.below.example", false, true},
    {"A@SECOND.example.", true, false},
};
constexpr NamedMailbox kRecipients[] = {
    {"r@example.net", true, false},     {"r@remote.example", false, false},  {"r@backup.example", false, true},
    {"one@mixed.example", false, true}, {"two@mixed.example", false, false}, {"r@[192.0.2.200]", false, true},
    {"r@[192.0.2.100]", false, false},  {"postmaster", true, false},
};

TEST(RelayOracle, EveryCombination) {
  Settings settings = testing::base_settings();
  for (unsigned bits = 0; bits < 128; ++bits) {  // each combination is a service: that they are independent shows too
    const Options o = options_of(bits);
    ServiceSettings service;
    service.name = "s" + std::to_string(bits);
    service.relay = {.require_auth = o.require_auth,
                     .after_login = o.after_login,
                     .outside_lan = o.outside_lan,
                     .non_local_senders = o.non_local,
                     .always_from_enabled = o.from_ticked,
                     .always_from = {"192.168.9.0/24", "203.0.113.9", "2001:db8:f::/48", "boss@example.net",
                                     "partner.example", ".below.example"},
                     .always_to_enabled = o.to_ticked,
                     .always_to = {"backup.example", "one@mixed.example", "192.0.2.200"},
                     .login_counts_as_auth = o.counts};
    settings.services.push_back(service);
  }
  const PolicySnapshot snapshot(settings);
  std::size_t asked = 0;
  for (const bool login : {false, true}) {
    LoginTable logins({.machines = 1, .window_seconds = 300, .ipv6_prefix = 64, .secret = 1});
    for (const NamedAddress& named : kClients) {
      if (login) logins.grant(testing::ip(named.text), 0);
    }
    for (unsigned bits = 0; bits < 128; ++bits)
      for (const NamedAddress& named : kClients)
        for (const NamedMailbox& sender : kSenders)
          for (const NamedMailbox& recipient : kRecipients)
            for (const int auth : {0, 1, 2}) {
              Client client = client_at(named.text);
              client.address_unknown = named.unknown;
              client.authenticated = auth > 0;
              client.may_relay = auth == 2;
              const Situation s = {recipient.local, recipient.listed, named.lan, named.unknown, named.listed,
                                   sender.listed,   sender.local,     auth > 0,  auth == 2,     login};
              const Verdict verdict = decide_recipient(snapshot, snapshot.service(bits), logins, at_second(299), client,
                                                       mailbox(sender.text), mailbox(recipient.text), false);
              ++asked;
              ASSERT_EQ(verdict.accepted() ? 250 : verdict.code, oracle(options_of(bits), s))
                  << "options " << bits << ", client " << named.text << (named.unknown ? " unknown" : "")
                  << ", sender <" << sender.text << ">, recipient <" << recipient.text << ">, auth " << auth
                  << ", login " << login << ", decided by " << rule_name(verdict.rule);
            }
  }
  EXPECT_EQ(asked, 2u * 128 * 9 * 7 * 8 * 3);
}

}  // namespace
}  // namespace postern::policy
