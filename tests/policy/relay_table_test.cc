// The relay table of docs/relay-decision.md, row by row, with every value that a row calls "any", "ignored" or "-".
#include <gtest/gtest.h>
#include <optional>
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

enum class Place { lan, remote };
enum class Auth { none, no_privilege, privilege };
enum class Login { none, live, expired };
enum class Sender { local, null, other };

struct Row {
  std::string name;
  // nullopt: any
  std::optional<bool> require_auth = std::nullopt;
  std::optional<bool> after_login = std::nullopt;
  std::optional<bool> outside_lan = std::nullopt;
  std::optional<bool> non_local_senders = std::nullopt;
  std::vector<Place> places = {Place::lan, Place::remote};
  std::vector<Auth> auths = {Auth::none, Auth::no_privilege, Auth::privilege};
  std::vector<Login> logins = {Login::none, Login::live, Login::expired};
  std::vector<Sender> senders = {Sender::local, Sender::null, Sender::other};
  int code = 250;
  Rule rule = Rule::none;         // none: several may decide
  bool client_listed = false;     // in a ticked always_from
  bool recipient_listed = false;  // in a ticked always_to
  std::optional<bool> login_counts = false;
};

const std::optional<bool> kAny;
const std::vector<Auth> kNoPrivilege = {Auth::none, Auth::no_privilege};
const std::vector<Place> kLan = {Place::lan};
const std::vector<Place> kRemote = {Place::remote};
const std::vector<Sender> kLocal = {Sender::local, Sender::null};  // <> counts as local

std::vector<Row> rows() {
  return {
      {.name = "1, client", .rule = Rule::always_from, .client_listed = true, .login_counts = kAny},
      {.name = "1, recipient", .rule = Rule::always_to, .recipient_listed = true, .login_counts = kAny},
      {.name = "1, both",
       .rule = Rule::always_to,
       .client_listed = true,
       .recipient_listed = true,
       .login_counts = kAny},
      {"2",
       false,
       false,
       false,
       true,
       kLan,
       kNoPrivilege,
       {Login::none, Login::live, Login::expired},
       {Sender::local, Sender::null, Sender::other},
       250,
       Rule::lan_client},
      {"3",
       false,
       false,
       false,
       true,
       kRemote,
       kNoPrivilege,
       {Login::none, Login::live, Login::expired},
       {Sender::local, Sender::null, Sender::other},
       550,
       Rule::outside_lan_refused},
      {"4",
       false,
       false,
       false,
       false,
       kLan,
       kNoPrivilege,
       {Login::none, Login::live, Login::expired},
       kLocal,
       250,
       Rule::lan_client},
      {"5",
       false,
       false,
       false,
       false,
       kLan,
       kNoPrivilege,
       {Login::none, Login::live, Login::expired},
       {Sender::other},
       550,
       Rule::non_local_sender_refused},
      {"6",
       false,
       false,
       true,
       true,
       kRemote,
       kNoPrivilege,
       {Login::none, Login::live, Login::expired},
       {Sender::local, Sender::null, Sender::other},
       250,
       Rule::open_relay},
      {"7, local",
       false,
       false,
       true,
       false,
       kRemote,
       kNoPrivilege,
       {Login::none, Login::live, Login::expired},
       kLocal,
       250,
       Rule::open_relay},
      {"7, not local",
       false,
       false,
       true,
       false,
       kRemote,
       kNoPrivilege,
       {Login::none, Login::live, Login::expired},
       {Sender::other},
       550,
       Rule::non_local_sender_refused},
      {"8",
       false,
       true,
       kAny,
       kAny,
       kLan,
       kNoPrivilege,
       {Login::none, Login::live, Login::expired},
       {Sender::local, Sender::null, Sender::other},
       250,
       Rule::after_login_lan,
       false,
       false,
       kAny},
      {"9",
       false,
       true,
       kAny,
       kAny,
       kRemote,
       kNoPrivilege,
       {Login::live},
       {Sender::local, Sender::null, Sender::other},
       250,
       Rule::after_login_machine,
       false,
       false,
       kAny},
      {"10",
       false,
       true,
       kAny,
       kAny,
       kRemote,
       kNoPrivilege,
       {Login::none, Login::expired},
       {Sender::local, Sender::null, Sender::other},
       550,
       Rule::after_login_refused,
       false,
       false,
       kAny},
      {.name = "11", .auths = {Auth::privilege}, .rule = Rule::authenticated_privilege, .login_counts = kAny},
      {"12",
       true,
       kAny,
       kAny,
       kAny,
       {Place::lan, Place::remote},
       {Auth::no_privilege},
       {Login::none, Login::live, Login::expired},
       {Sender::local, Sender::null, Sender::other},
       550,
       Rule::no_privilege,
       false,
       false,
       kAny},
      {"13",
       true,
       kAny,
       kAny,
       kAny,
       {Place::lan, Place::remote},
       {Auth::none},
       {Login::none, Login::live, Login::expired},
       {Sender::local, Sender::null, Sender::other},
       530,
       Rule::require_auth},
      {"13, a live login that counts as AUTH",
       true,
       true,
       kAny,
       kAny,
       {Place::lan, Place::remote},
       {Auth::none},
       {Login::live},
       {Sender::local, Sender::null, Sender::other},
       250,
       Rule::login_counts_as_auth,
       false,
       false,
       true},
      {"13, no login although it would count",
       true,
       true,
       kAny,
       kAny,
       {Place::lan, Place::remote},
       {Auth::none},
       {Login::none, Login::expired},
       {Sender::local, Sender::null, Sender::other},
       530,
       Rule::require_auth,
       false,
       false,
       true},
  };
}

std::vector<bool> values(const std::optional<bool>& given) {
  return given ? std::vector<bool>{*given} : std::vector<bool>{false, true};
}

// All settings that a row covers, as services.
std::vector<ServiceSettings> services_of(const Row& row) {
  std::vector<ServiceSettings> services;
  for (const bool require_auth : values(row.require_auth))
    for (const bool after_login : values(row.after_login))
      for (const bool outside_lan : values(row.outside_lan))
        for (const bool non_local : values(row.non_local_senders))
          for (const bool counts : values(row.login_counts))
            for (const bool unticked_text : {false, true}) {
              ServiceSettings service;
              service.name = row.name;
              RelaySettings& relay = service.relay;
              relay = {.require_auth = require_auth,
                       .after_login = after_login,
                       .outside_lan = outside_lan,
                       .non_local_senders = non_local,
                       .always_from_enabled = row.client_listed,
                       .always_from = {},
                       .always_to_enabled = row.recipient_listed,
                       .always_to = {},
                       .login_counts_as_auth = counts};
              // Text in an unticked box is kept and does nothing: it would match everything here.
              if (row.client_listed || unticked_text)
                relay.always_from = {"192.168.5.5", "203.0.113.0/24", "other.example"};
              if (row.recipient_listed || unticked_text) relay.always_to = {"remote.example"};
              services.push_back(service);
            }
  return services;
}

TEST(RelayTable, EveryRowWithEveryValue) {
  constexpr std::int64_t kLogin = 1000;
  std::size_t asked = 0;
  for (const Row& row : rows()) {
    SCOPED_TRACE("row " + row.name);
    Settings settings = testing::base_settings();
    settings.services = services_of(row);
    const PolicySnapshot snapshot(settings);
    for (std::size_t index = 0; index < snapshot.service_count(); ++index) {
      for (const Place place : row.places)
        for (const Auth auth : row.auths)
          for (const Login login : row.logins)
            for (const Sender sender : row.senders) {
              LoginTable logins({.machines = 1, .window_seconds = 300, .ipv6_prefix = 64, .secret = 1});
              Client client = client_at(place == Place::lan ? "192.168.5.5" : "203.0.113.77");
              client.authenticated = auth != Auth::none;
              client.may_relay = auth == Auth::privilege;
              client.user = client.authenticated ? "alice" : "";
              if (login != Login::none) logins.grant(client.address, kLogin);
              const auto now = at_second(kLogin + (login == Login::expired ? 301 : 299));
              const Mailbox from = mailbox(sender == Sender::local  ? "alice@example.net"
                                           : sender == Sender::null ? ""
                                                                    : "bob@other.example");
              const Verdict verdict = decide_recipient(snapshot, snapshot.service(index), logins, now, client, from,
                                                       mailbox("carol@remote.example"), false);
              ++asked;
              ASSERT_EQ(verdict.accepted() ? 250 : verdict.code, row.code) << rule_name(verdict.rule);
              if (row.rule != Rule::none) {
                ASSERT_EQ(rule_name(verdict.rule), rule_name(row.rule));
              }
              if (row.code == 530) {
                EXPECT_EQ(verdict.enhanced, "5.7.0");
              }
              if (row.code == 550) {
                EXPECT_EQ(verdict.enhanced, "5.7.1");
              }
              // The same client reaches a local recipient, whatever the row.
              ASSERT_TRUE(decide_recipient(snapshot, snapshot.service(index), logins, now, client, from,
                                           mailbox("carol@second.example"), false)
                              .accepted());
            }
    }
  }
  EXPECT_GT(asked, 5000u);
}

}  // namespace
}  // namespace postern::policy
