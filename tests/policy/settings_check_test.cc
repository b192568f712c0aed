// What `check` and `serve` refuse, warn of and note.
#include <gtest/gtest.h>
#include <string>

#include "policy/settings.h"

#include "tests/policy/support.h"

namespace postern::policy {
namespace {

using testing::prefix;

Settings safe() {
  Settings settings = testing::base_settings();
  ServiceSettings& service = settings.services.emplace_back();
  service.name = "smtp";
  service.listen = {core::Endpoint::parse("0.0.0.0:25").value()};
  service.line = 7;
  RouteSettings& route = settings.routes.emplace_back();
  route.domain = "*";
  return settings;
}

std::string found(const Settings& settings, DiagnosticKind kind, const std::vector<core::IpPrefix>& own = {}) {
  std::string text;
  for (const Diagnostic& diagnostic : check_settings(settings, own)) {
    if (diagnostic.kind == kind) text += diagnostic.format("f") + "\n";
  }
  return text;
}

void expect_open(Settings settings, std::string_view part) {
  const std::string errors = found(settings, DiagnosticKind::error);
  EXPECT_NE(errors.find(part), std::string::npos) << errors;
  EXPECT_NE(errors.find("f:7:1: error: service 'smtp':"), std::string::npos) << errors;
  settings.services[0].i_know_this_is_an_open_relay = true;
  EXPECT_EQ(found(settings, DiagnosticKind::error), "") << "said to be known";
  EXPECT_NE(found(settings, DiagnosticKind::warning).find(part), std::string::npos) << "and still told";
  // The word of one service does not speak for another one.
  settings.services.push_back(settings.services[0]);
  settings.services[1].name = "other";
  settings.services[1].i_know_this_is_an_open_relay = false;
  EXPECT_NE(found(settings, DiagnosticKind::error).find("service 'other'"), std::string::npos);
}

TEST(SettingsCheck, SafeSettingsAreQuiet) {
  EXPECT_TRUE(check_settings(safe(), {}).empty());
}

TEST(SettingsCheck, AMailboxThatNobodyCanUse) {
  Settings settings = safe();
  MailboxSettings mailbox;
  mailbox.name = "pop3";
  settings.mailboxes = {mailbox};
  EXPECT_NE(found(settings, DiagnosticKind::warning).find("mailbox 'pop3': without 'tls' no login that shows"),
            std::string::npos);
  settings.mailboxes[0].plain_on_lan = true;
  EXPECT_EQ(found(settings, DiagnosticKind::warning), "");
  settings.mailboxes[0].access.clear();
  EXPECT_NE(found(settings, DiagnosticKind::warning).find("mailbox 'pop3': 'access' is empty"), std::string::npos);
}

// Who would record the logins that after_login waits for?
TEST(SettingsCheck, AfterLoginNeedsAFeed) {
  constexpr std::string_view kNothing = "nothing records POP3/IMAP logins";
  Settings settings = safe();
  RelaySettings& relay = settings.services[0].relay;
  relay.after_login = true;
  EXPECT_NE(found(settings, DiagnosticKind::warning).find(kNothing), std::string::npos);
  EXPECT_NE(found(settings, DiagnosticKind::warning).find("only clients in the LAN may relay"), std::string::npos);
  settings.admin.http = core::Endpoint::parse("127.0.0.1:8025");
  EXPECT_NE(found(settings, DiagnosticKind::warning).find(kNothing), std::string::npos) << "nobody may report";
  settings.logins.feeds = {prefix("127.0.0.1")};
  EXPECT_EQ(found(settings, DiagnosticKind::warning), "");
  settings.admin.http.reset();
  EXPECT_NE(found(settings, DiagnosticKind::warning).find(kNothing), std::string::npos) << "nowhere to report to";
  EXPECT_NE(found(settings, DiagnosticKind::warning).find("there is no admin.http"), std::string::npos);

  // The built-in front records them as well.
  MailboxSettings mailbox;
  mailbox.tls = TlsMode::starttls;
  settings.logins.feeds.clear();
  settings.mailboxes = {mailbox};
  EXPECT_EQ(found(settings, DiagnosticKind::warning), "");
  settings.mailboxes.clear();

  // Where a login decides nothing, nobody misses it.
  settings.logins.feeds.clear();
  relay.require_auth = true;
  EXPECT_EQ(found(settings, DiagnosticKind::warning).find(kNothing), std::string::npos);
  relay.login_counts_as_auth = true;
  EXPECT_NE(found(settings, DiagnosticKind::warning).find("nobody relays by one"), std::string::npos);
}

TEST(SettingsCheck, AFeedFromAnywhereIsAnOpenRelay) {
  Settings settings = safe();
  settings.services[0].relay.after_login = true;
  settings.admin.http = core::Endpoint::parse("127.0.0.1:8025");
  for (const std::vector<core::IpPrefix>& feeds :
       {std::vector{prefix("0.0.0.0/0")}, std::vector{prefix("0.0.0.0/1"), prefix("128.0.0.0/1")},
        std::vector{prefix("::/0")}}) {
    settings.logins.feeds = feeds;
    expect_open(settings, "logins.feeds holds the whole Internet");
  }
  settings.services[0].relay.after_login = false;
  EXPECT_EQ(found(settings, DiagnosticKind::error), "") << "no login opens anything";
}

TEST(SettingsCheck, AnHttpListenerThatTheNetworkReaches) {
  Settings settings = safe();
  for (const char* endpoint : {"0.0.0.0:8025", "[::]:8025", "192.0.2.1:8025"}) {
    settings.admin.http = core::Endpoint::parse(endpoint);
    EXPECT_NE(found(settings, DiagnosticKind::warning).find("answers the network without encryption"),
              std::string::npos)
        << endpoint;
  }
  for (const char* endpoint : {"127.0.0.1:8025", "127.0.0.9:8025", "[::1]:8025"}) {
    settings.admin.http = core::Endpoint::parse(endpoint);
    EXPECT_EQ(found(settings, DiagnosticKind::warning), "") << endpoint;
  }
}

TEST(SettingsCheck, Rows6And7) {
  Settings settings = safe();
  settings.services[0].relay.outside_lan = true;
  expect_open(settings, "row 6");
  settings.services[0].relay.non_local_senders = false;
  expect_open(settings, "row 7");
  settings.services[0].relay.after_login = true;
  EXPECT_EQ(found(settings, DiagnosticKind::error), "") << "ignored there";
  settings.services[0].relay.after_login = false;
  settings.services[0].relay.require_auth = true;
  EXPECT_EQ(found(settings, DiagnosticKind::error), "") << "ignored there";
}

TEST(SettingsCheck, AWholeFamilyInTheLan) {
  for (const auto& lan : std::vector<std::vector<const char*>>{{"0.0.0.0/0"},
                                                               {"::/0"},
                                                               {"2000::/3"},
                                                               {"10.0.0.0/8", "0.0.0.0/1", "128.0.0.0/1"},
                                                               {"2000::/4", "3000::/4"},
                                                               {"::ffff:0:0/96"}}) {
    Settings settings = safe();
    settings.lan.clear();
    for (const char* text : lan) settings.lan.push_back(prefix(text));
    expect_open(settings, "'lan' holds the whole Internet");
  }
  Settings settings = safe();
  settings.lan = {prefix("0.0.0.0/1"), prefix("128.0.0.0/2"), prefix("2000::/4"), prefix("255.255.255.255/32")};
  EXPECT_EQ(found(settings, DiagnosticKind::error), "");
}

TEST(SettingsCheck, AlwaysFrom) {
  Settings settings = safe();
  RelaySettings& relay = settings.services[0].relay;
  relay.always_from = {"0.0.0.0/0"};
  EXPECT_EQ(found(settings, DiagnosticKind::error), "") << "not ticked";
  EXPECT_NE(found(settings, DiagnosticKind::note).find("always_from has 1 entry and does nothing"), std::string::npos);
  relay.always_from_enabled = true;
  expect_open(settings, "always_from holds the whole Internet");
  relay.always_from = {"192.0.2.0/24"};
  EXPECT_TRUE(check_settings(settings, {}).empty()) << "hosts are fine";
  for (const char* sender : {"boss@example.net", "partner.example", ".partner.example"}) {
    relay.always_from = {"192.0.2.0/24", sender};
    expect_open(settings, "anybody can forge");
  }
  for (const char* access : {"192.168.0.0/16", "10.0.0.0/8", "2001:db8::/32"}) {
    settings.services[0].access = {access};
    EXPECT_EQ(found(settings, DiagnosticKind::error), "") << access;
  }
  settings.services[0].access = {"0.0.0.0/1", "128.0.0.0/1"};
  expect_open(settings, "anybody can forge");
  settings.services[0].access = {"128.0.0.0/1"};
  expect_open(settings, "anybody can forge");
}

TEST(SettingsCheck, AlwaysTo) {
  Settings settings = safe();
  settings.services[0].relay.always_to = {"backup.example", "*"};
  EXPECT_EQ(found(settings, DiagnosticKind::error), "");
  EXPECT_NE(found(settings, DiagnosticKind::note).find("always_to has 2 entries"), std::string::npos);
  settings.services[0].relay.always_to_enabled = true;
  expect_open(settings, "\"*\" in always_to");
  settings.services[0].relay.always_to = {"backup.example"};
  EXPECT_TRUE(check_settings(settings, {}).empty());
}

TEST(SettingsCheck, Warnings) {
  Settings settings = safe();
  settings.services[0].relay.require_auth = true;
  std::string warnings = found(settings, DiagnosticKind::warning);
  EXPECT_NE(warnings.find("require_auth on port 25"), std::string::npos);
  EXPECT_NE(warnings.find("none is offered"), std::string::npos);
  settings.services[0].listen[0].port = 587;
  EXPECT_EQ(found(settings, DiagnosticKind::warning).find("port 25"), std::string::npos);
  settings.services[0].relay.require_auth = false;
  settings.services[0].auth.scope_all = true;
  EXPECT_NE(found(settings, DiagnosticKind::warning).find("nobody can send mail here"), std::string::npos);
  settings.services[0].auth.mechanisms = {"PLAIN"};
  EXPECT_EQ(found(settings, DiagnosticKind::warning).find("nobody can"), std::string::npos);
  settings = safe();
  settings.services[0].access = {};
  EXPECT_NE(found(settings, DiagnosticKind::warning).find("nobody may connect"), std::string::npos);
  settings = safe();
  settings.routes.clear();
  EXPECT_NE(found(settings, DiagnosticKind::warning).find("never delivered"), std::string::npos);
  settings.routes.emplace_back().domain = "example.net";
  EXPECT_NE(found(settings, DiagnosticKind::warning).find("'second.example'"), std::string::npos);
  EXPECT_EQ(found(settings, DiagnosticKind::warning).find("'example.net'"), std::string::npos);
}

TEST(SettingsCheck, ALocalDomainByMxComesBack) {
  Settings settings = safe();
  settings.local_domains = {"example.net"};
  settings.routes.front().by_mx = true;
  settings.routes.front().line = 30;
  const std::string warnings = found(settings, DiagnosticKind::warning);
  EXPECT_NE(warnings.find("f:30:1: warning: the local domain 'example.net' goes by MX"), std::string::npos) << warnings;
  RouteSettings store;
  store.domain = "example.net";
  store.to.push_back({NextHopProtocol::lmtp, "127.0.0.1", 24, core::IpAddress::parse("127.0.0.1")});
  settings.routes.insert(settings.routes.begin(), store);
  EXPECT_EQ(found(settings, DiagnosticKind::warning), "");
}

TEST(SettingsCheck, ALanWiderThanTheMachinesNetworks) {
  Settings settings = safe();
  settings.lan = {prefix("127.0.0.0/8"),      prefix("::1/128"),     prefix("192.168.1.0/24"),
                  prefix("192.168.1.128/25"), prefix("203.0.113.7"), prefix("2001:db8:1::/64")};
  const std::vector<core::IpPrefix> own = {prefix("192.168.1.0/24"), prefix("2001:db8:1::/48")};
  EXPECT_EQ(found(settings, DiagnosticKind::warning, own), "");
  settings.lan.push_back(prefix("192.168.0.0/16"));
  EXPECT_NE(found(settings, DiagnosticKind::warning, own).find("192.168.0.0/16, which is wider"), std::string::npos);
  EXPECT_EQ(found(settings, DiagnosticKind::warning, {}), "") << "not checked without them";
  settings.lan.back() = prefix("2001:db8::/32");
  EXPECT_NE(found(settings, DiagnosticKind::warning, own).find("2001:db8::/32"), std::string::npos);
}

std::string greyed(const ServiceSettings& service, bool set_only) {
  std::string names;
  for (const GreyedOption& option : greyed_options(service)) {
    if (!set_only || option.set) names += std::string(option.name) + " ";
  }
  return names;
}

TEST(SettingsCheck, GreyedOptionsAreNamed) {
  Settings settings = safe();
  ServiceSettings& service = settings.services[0];
  EXPECT_EQ(greyed(service, false), "login_counts_as_auth ");
  service.relay.after_login = true;
  EXPECT_EQ(greyed(service, false), "outside_lan non_local_senders login_counts_as_auth ");
  service.relay.require_auth = true;
  EXPECT_EQ(greyed(service, false), "after_login outside_lan non_local_senders ");
  EXPECT_EQ(greyed(service, true), "after_login ");
  service.relay.login_counts_as_auth = true;
  EXPECT_EQ(greyed(service, false), "outside_lan non_local_senders ");
  service.relay.outside_lan = true;
  service.relay.non_local_senders = false;
  service.reject_forged_local = false;
  service.exempt_authenticated = false;
  const std::string notes = found(settings, DiagnosticKind::note);
  for (const char* name : {"outside_lan", "non_local_senders", "exempt_authenticated"}) {
    EXPECT_NE(notes.find(std::string(name) + " is kept and does nothing"), std::string::npos) << notes;
  }
  EXPECT_EQ(notes.find("login_counts_as_auth is kept"), std::string::npos);
}

}  // namespace
}  // namespace postern::policy
