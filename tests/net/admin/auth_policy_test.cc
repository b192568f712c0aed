// What Dovecot's requests lead to. The bodies of the first tests are those that Dovecot 2.3.19 sends.
#include "net/admin/auth_policy.h"

#include <gtest/gtest.h>
#include <string>

namespace postern::net::admin {
namespace {

using Act = AuthPolicyDecision::Act;

AuthPolicyDecision decide(std::string_view command, std::string body) { return decide_auth_policy(command, body); }
AuthPolicyDecision report(std::string body) { return decide("report", std::move(body)); }
core::IpAddress ip(std::string_view text) { return core::IpAddress::parse(text).value(); }

// A report with these members behind what every one has.
AuthPolicyDecision report_of(std::string_view protocol, bool success, std::string more = "") {
  std::string body = R"({"login":"anna@example.net","pwhash":"0c31","remote":"203.0.113.9","protocol":")";
  body += std::string(protocol) + R"(","success":)" + (success ? "true" : "false");
  return report(body + (more.empty() ? "" : "," + more) + "}");
}

TEST(AuthPolicy, AllowAsDovecotAsks) {
  const auto decision = decide(
      "allow", R"({"device_id":"","login":"Anna@example.net","protocol":"pop3","pwhash":"0c31","remote":"127.0.0.1",)"
               R"("session_id":"yYmAJwZh9KB/AAAB","tls":false})");
  EXPECT_EQ(decision.act, Act::check);
  EXPECT_EQ(decision.machine, ip("127.0.0.1"));
  EXPECT_EQ(decision.user, "anna@example.net");
}

TEST(AuthPolicy, SuccessAsDovecotReportsIt) {
  const auto decision =
      report(R"({"device_id":"","login":"anna@example.net","protocol":"imap","pwhash":"0c31","remote":"127.0.0.9",)"
             R"("session_id":"XeGIJwZhooV/AAAJ","success":true,"policy_reject":false,"tls":false})");
  EXPECT_EQ(decision.act, Act::login);
  EXPECT_EQ(decision.machine, ip("127.0.0.9"));
  EXPECT_EQ(decision.user, "anna@example.net");
}

TEST(AuthPolicy, FailureAsDovecotReportsIt) {
  const auto decision =
      report(R"({"device_id":"","login":"anna@example.net","protocol":"pop3","pwhash":"0c31","remote":"2001:db8::9",)"
             R"("session_id":"ivyAJwZh+KB/AAAB","success":false,"policy_reject":false,"tls":false})");
  EXPECT_EQ(decision.act, Act::failure);
  EXPECT_EQ(decision.machine, ip("2001:db8::9"));
  EXPECT_EQ(decision.user, "anna@example.net");
}

TEST(AuthPolicy, OnlyPop3AndImapLoginsAreGranted) {
  for (const char* protocol : {"pop3", "imap", "POP3", "Imap"}) {
    EXPECT_EQ(report_of(protocol, true).act, Act::login) << protocol;
  }
  for (const char* protocol : {"sieve", "submission", "managesieve", "", "imap2", "pop", "pop3 "}) {
    EXPECT_EQ(report_of(protocol, true).act, Act::success) << protocol;
  }
  for (const char* protocol : {"smtp", "lmtp", "doveadm"}) {
    EXPECT_EQ(report_of(protocol, true).act, Act::ignore) << protocol;
  }
}

TEST(AuthPolicy, MasterUsersAndTheAnonymousGrantNothing) {
  EXPECT_EQ(report_of("imap", true, R"("mech":"PLAIN","master_user":"")").act, Act::login);
  EXPECT_EQ(report_of("imap", true, R"("mech":"PLAIN","master_user":"boss")").act, Act::ignore);
  EXPECT_EQ(report_of("imap", true, R"("mech":"ANONYMOUS")").act, Act::ignore);
  EXPECT_EQ(report_of("imap", true, R"("mech":"anonymous")").act, Act::ignore);
  EXPECT_EQ(report(R"({"login":"anonymous","remote":"192.0.2.1","protocol":"imap","success":true})").act, Act::ignore)
      << "by its name, where the mechanism is not told";
  EXPECT_EQ(report(R"({"login":"","remote":"192.0.2.1","protocol":"imap","success":true})").act, Act::ignore);
  EXPECT_EQ(report(R"({"remote":"192.0.2.1","protocol":"imap","success":true})").act, Act::ignore);
}

TEST(AuthPolicy, OnlyAWrongPasswordIsAGuess) {
  for (const char* protocol : {"pop3", "imap", "sieve", "submission"}) {
    EXPECT_EQ(report_of(protocol, false).act, Act::failure) << protocol;
  }
  // Whoever asked Dovecot for SMTP counts by himself: Postern itself may be it.
  for (const char* protocol : {"smtp", "lmtp", "doveadm"}) {
    EXPECT_EQ(report_of(protocol, false).act, Act::ignore) << protocol;
  }
  EXPECT_EQ(report_of("imap", false, R"("policy_reject":true)").act, Act::ignore);
  EXPECT_EQ(report_of("imap", false, R"("policy_reject":false)").act, Act::failure);
  for (const char* type : {"policy", "internal", "expired", "disabled"}) {
    EXPECT_EQ(report_of("imap", false, R"("fail_type":")" + std::string(type) + '"').act, Act::ignore) << type;
  }
  for (const char* type : {"credentials", "account", "", "UNSUPPORTED_VARIABLE_fail_type"}) {
    EXPECT_EQ(report_of("imap", false, R"("fail_type":")" + std::string(type) + '"').act, Act::failure) << type;
  }
  const auto nameless = report(R"({"login":"","remote":"192.0.2.1","protocol":"imap","success":false})");
  EXPECT_EQ(nameless.act, Act::failure);
  EXPECT_EQ(nameless.user, "");
}

TEST(AuthPolicy, AnAddressIsAMachine) {
  EXPECT_EQ(report(R"({"login":"a","remote":"::ffff:192.0.2.1","protocol":"imap","success":true})").machine,
            ip("192.0.2.1"));
  for (const char* remote : {"mail.example.net", "192.0.2", "192.0.2.1:143", "[2001:db8::1]", "fe80::1%eth0", " "}) {
    const auto decision =
        report(R"({"login":"a","remote":")" + std::string(remote) + R"(","protocol":"imap","success":true})");
    EXPECT_EQ(decision.act, Act::refuse) << remote;
    EXPECT_EQ(decision.why, "'remote' is no IP address");
  }
}

TEST(AuthPolicy, AttributesThatAreLeftOutAreNamed) {
  const auto local = report(R"({"login":"a","remote":"","protocol":"imap","success":true})");
  EXPECT_EQ(local.act, Act::ignore);
  EXPECT_EQ(local.why, "") << "a login over a Unix socket";
  for (const char* command : {"allow", "report"}) {
    const auto nowhere = decide(command, R"({"login":"a","protocol":"imap","success":true})");
    EXPECT_EQ(nowhere.act, Act::ignore);
    EXPECT_NE(nowhere.why.find("no 'remote'"), std::string_view::npos);
  }
  for (const char* success : {"true", "false"}) {
    const auto unknown = report(R"({"login":"a","remote":"192.0.2.1","success":)" + std::string(success) + "}");
    EXPECT_EQ(unknown.act, Act::ignore);
    EXPECT_NE(unknown.why.find("no 'protocol'"), std::string_view::npos);
  }
  EXPECT_EQ(decide("allow", R"({"login":"a","remote":"192.0.2.1"})").act, Act::check) << "nothing hangs on it there";
}

TEST(AuthPolicy, NamesOfEveryShape) {
  EXPECT_EQ(report(R"({"login":"J\u00f6rg@B\u00fccher.example","remote":"192.0.2.1","protocol":"imap","success":true})").user,
            "j\xc3\xb6rg@xn--bcher-kva.example");
  // Without a form of their own they are counted as they are.
  EXPECT_EQ(report(R"({"login":"a:b","remote":"192.0.2.1","protocol":"imap","success":false})").user, "a:b");
  const std::string longest(5000, 'x');
  EXPECT_EQ(report(R"({"login":")" + longest + R"(","remote":"192.0.2.1","protocol":"imap","success":false})").user,
            longest.substr(0, 255));
}

TEST(AuthPolicy, AttributesOfOthersAreSkipped) {
  EXPECT_EQ(report_of("imap", true, R"("attrs":{"login":"b","success":false,"remote":[1,{"protocol":"smtp"}]},"x":null)").act,
            Act::login);
  EXPECT_EQ(report_of("imap", true, R"("attrs":{"login":"b"})").user, "anna@example.net");
}

TEST(AuthPolicy, WhatIsNoRequest) {
  const std::string good = R"({"login":"a","remote":"192.0.2.1","protocol":"imap","success":true})";
  EXPECT_EQ(report(good).act, Act::login);
  for (const char* command : {"", "REPORT", "reset", "report "}) EXPECT_EQ(decide(command, good).act, Act::refuse) << command;
  for (const char* body :
       {"", " ", "null", "[]", "\"x\"", "1", "{", "{}x", R"({"login":"a"})",                     // no success
        R"({"remote":"192.0.2.1","success":"true"})", R"({"remote":"192.0.2.1","success":1})",   // not a boolean
        R"({"remote":1,"success":true})", R"({"remote":null,"success":true})",                   // not texts
        R"({"login":["a"],"remote":"192.0.2.1","success":true})", R"({"login":{},"success":true})",
        R"({"remote":"192.0.2.1","remote":"192.0.2.2","success":true})",                         // told twice
        R"({"remote":"192.0.2.1","success":false,"success":true})",
        R"([{"remote":"192.0.2.1","success":true}])", "{'remote':'192.0.2.1','success':true}"}) {
    const auto decision = report(body);
    EXPECT_EQ(decision.act, Act::refuse) << body;
    EXPECT_FALSE(decision.why.empty()) << body;
  }
  std::string with_nul = good;
  with_nul += '\0';
  EXPECT_EQ(report(with_nul).act, Act::refuse);
  EXPECT_EQ(report(std::string(100'000, '[')).act, Act::refuse);
  EXPECT_EQ(report("{\"login\":\"\xff\",\"remote\":\"192.0.2.1\",\"protocol\":\"imap\",\"success\":true}").act, Act::refuse);
  for (std::size_t size = 0; size < good.size(); ++size) {
    EXPECT_EQ(report(good.substr(0, size)).act, Act::refuse) << size;
  }
}

}  // namespace
}  // namespace postern::net::admin
