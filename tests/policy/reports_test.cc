// The texts of `postern check` and `postern explain`.
#include <gtest/gtest.h>
#include <string>

#include "net/admin/check_report.h"
#include "net/admin/explain_report.h"

#include "tests/policy/support.h"

namespace postern::net::admin {
namespace {

using policy::testing::client_at;
using policy::testing::mailbox;

policy::Settings example() {
  policy::Settings settings = policy::testing::base_settings();
  settings.postmaster = "postmaster@example.net";
  policy::ServiceSettings& service = settings.services.emplace_back();
  service.name = "smtp";
  service.listen = {core::Endpoint::parse("0.0.0.0:25").value()};
  policy::RouteSettings& route = settings.routes.emplace_back();
  route.domain = "*";
  route.to.push_back({policy::NextHopProtocol::smtp, "2001:db8::9", 25, core::IpAddress::parse("2001:db8::9")});
  return settings;
}

void expect_part(const std::string& text, std::string_view part) {
  EXPECT_NE(text.find(part), std::string::npos) << "wanted: " << part << "\nin:\n" << text;
}

TEST(CheckReport, SaysThePolicyInWords) {
  policy::Settings settings = example();
  const MemoryBound memory[] = {{"login table", 16000000}, {"receive buffers", 512}};
  std::string text = check_report("a.toml", settings, {}, memory);
  expect_part(text, "LAN:            192.168.0.0/16, 2001:db8:1::/48");
  expect_part(text, "service 'smtp' on 0.0.0.0:25");
  expect_part(text, "may connect:    any client");
  expect_part(text, "clients in the LAN, with any sender; others: 550");
  expect_part(text, "except for authenticated clients");
  expect_part(text, "every domain -> smtp:[2001:db8::9]:25");
  expect_part(text, "15.3 MiB");
  expect_part(text, "512 octets");
  expect_part(text, "total");
  expect_part(text, "a.toml: nothing to complain about");

  policy::RelaySettings& relay = settings.services[0].relay;
  relay.after_login = true;
  relay.always_to_enabled = true;
  relay.always_to = {"backup.example"};
  text = check_report("a.toml", settings, {}, {});
  expect_part(text, "always_to: backup.example are relayed to");
  expect_part(text, "logged in to POP3 or IMAP in the last 300 seconds");
  expect_part(text, "machines with a live POP3/IMAP login");
  expect_part(text, "outside_lan (after_login is on), non_local_senders (after_login is on)");
  EXPECT_EQ(text.find("memory"), std::string::npos);
  EXPECT_EQ(text.find("HTTP:"), std::string::npos);
  settings.admin.http = core::Endpoint::parse("127.0.0.1:8025");
  expect_part(check_report("a.toml", settings, {}, {}), "at 127.0.0.1:8025; logins are believed from nobody");
  settings.logins.feeds = {policy::testing::prefix("192.0.2.7"), policy::testing::prefix("2001:db8::/32")};
  expect_part(check_report("a.toml", settings, {}, {}), "logins are believed from 192.0.2.7/32, 2001:db8::/32");
  relay.require_auth = true;
  expect_part(check_report("a.toml", settings, {}, {}), "everybody else must authenticate, the LAN included");
}

TEST(CheckReport, CountsTheDiagnostics) {
  const policy::Diagnostic found[] = {{policy::DiagnosticKind::error, 3, 1, "bad"},
                                      {policy::DiagnosticKind::warning, 0, 0, "hm"},
                                      {policy::DiagnosticKind::warning, 4, 2, "hm hm"}};
  EXPECT_EQ(diagnostics_text("a.toml", found),
            "a.toml:3:1: error: bad\na.toml: warning: hm\na.toml:4:2: warning: hm hm\n1 error, 2 warnings, 0 notes\n");
  EXPECT_EQ(diagnostics_text("a.toml", {}), "");
}

TEST(ExplainReport, ShowsEachStepAndTheOneThatDecided) {
  policy::Settings settings = example();
  settings.services[0].relay.after_login = true;
  const policy::PolicySnapshot snapshot(settings);
  ExplainQuestion question;
  question.client = client_at("198.51.100.1");
  question.sender = mailbox("x@other.example");
  question.recipient = mailbox("r@remote.example");
  ExplainAnswer answer = explain_report(snapshot, question);
  EXPECT_EQ(answer.verdict.code, 550);
  expect_part(answer.text, "client     198.51.100.1, outside the LAN");
  expect_part(answer.text, "login      no");
  expect_part(answer.text, "> access_any");
  expect_part(answer.text, "> sender_accepted");
  expect_part(answer.text, "  require_auth              require_auth is off");
  expect_part(answer.text, "> after_login_refused");
  expect_part(answer.text, "ignored: outside_lan (after_login is on)");
  expect_part(answer.text, "answer     550 5.7.1");
  question.has_login = true;
  answer = explain_report(snapshot, question);
  EXPECT_TRUE(answer.verdict.accepted());
  expect_part(answer.text, "> after_login_machine");
  expect_part(answer.text, "answer     250, decided by after_login_machine");
}

TEST(ExplainReport, EndsAtTheRefusal) {
  policy::Settings settings = example();
  settings.services[0].access = {"10.0.0.0/8"};
  ExplainQuestion question;
  question.client = client_at("198.51.100.1");
  question.sender = mailbox("x@example.net");
  question.recipient = mailbox("r@example.net");
  {
    const policy::PolicySnapshot snapshot(settings);
    const ExplainAnswer answer = explain_report(snapshot, question);
    EXPECT_EQ(answer.verdict.code, 554);
    EXPECT_EQ(answer.text.find("at MAIL"), std::string::npos);
  }
  settings.services[0].access = {"any"};
  const policy::PolicySnapshot snapshot(settings);
  const ExplainAnswer answer = explain_report(snapshot, question);
  EXPECT_EQ(answer.verdict.rule, policy::Rule::forged_local);
  EXPECT_EQ(answer.text.find("at RCPT"), std::string::npos);
  question.client.authenticated = true;
  question.client.user = "alice";
  expect_part(explain_report(snapshot, question).text, "user       alice, without the privilege to relay");
}

}  // namespace
}  // namespace postern::net::admin
