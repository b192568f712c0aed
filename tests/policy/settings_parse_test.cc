// The settings file: values, defaults, and mistakes with their places and hints.
#include <algorithm>
#include <gtest/gtest.h>
#include <string>

#include "policy/settings.h"
#include "policy/settings_reader.h"

#include "tests/policy/support.h"

namespace postern::policy {
namespace {

constexpr const char* kSmallest = R"(hostname = "mail.example.net"
[[service]]
name = "smtp"
listen = ["127.0.0.1:0"]
)";

std::string all_of(const ParsedSettings& parsed) {
  std::string text;
  for (const Diagnostic& diagnostic : parsed.diagnostics) text += diagnostic.format("f") + "\n";
  return text;
}

// `extra` stands behind the first line of a file that is otherwise right.
ParsedSettings with(const std::string& extra) {
  const std::string smallest = kSmallest;
  const std::size_t second_line = smallest.find("[[service]]");
  return parse_settings(smallest.substr(0, second_line) + extra + "\n" + smallest.substr(second_line));
}
ParsedSettings with_service(const std::string& extra) {
  return parse_settings(std::string(kSmallest) + extra);
}

void expect_error(const ParsedSettings& parsed, std::string_view part, std::string_view place = "") {
  EXPECT_FALSE(parsed.ok());
  const std::string all = all_of(parsed);
  EXPECT_NE(all.find(part), std::string::npos) << "wanted: " << part << "\ngot: " << all;
  if (!place.empty()) {
    EXPECT_NE(all.find("f:" + std::string(place) + ": error:"), std::string::npos)
        << "wanted at " << place << "\ngot: " << all;
  }
}

TEST(SettingsParse, TheSmallestFileGivesTheDefaults) {
  const ParsedSettings parsed = parse_settings(kSmallest);
  ASSERT_TRUE(parsed.ok()) << all_of(parsed);
  EXPECT_TRUE(parsed.diagnostics.empty());
  const Settings& s = parsed.settings;
  EXPECT_EQ(s.hostname, "mail.example.net");
  EXPECT_EQ(s.postmaster, "postmaster@mail.example.net");
  EXPECT_EQ(s.limits.connections, 100000u);
  EXPECT_EQ(s.logins.window_seconds, 300u);
  ASSERT_EQ(s.services.size(), 1u);
  const ServiceSettings& service = s.services[0];
  EXPECT_EQ(service.line, 2u);
  EXPECT_TRUE(service.reject_forged_local);
  EXPECT_TRUE(service.exempt_authenticated);
  EXPECT_EQ(service.access, std::vector<std::string>{"any"});
  EXPECT_EQ(service.errors, 20u);
  EXPECT_FALSE(service.relay.require_auth);
  EXPECT_FALSE(service.relay.after_login);
  EXPECT_FALSE(service.relay.outside_lan);
  EXPECT_TRUE(service.relay.non_local_senders);
  EXPECT_FALSE(service.relay.always_from_enabled);
  EXPECT_FALSE(service.relay.always_to_enabled);
  EXPECT_FALSE(service.relay.login_counts_as_auth);
}

TEST(SettingsParse, EveryKeyIsRead) {
  const ParsedSettings parsed = parse_settings(R"(
hostname = "MX.Example.net."
local_domains = ["Example.NET", "bücher.example"]
lan = ["192.168.0.0/16", "::1/128", "::ffff:10.0.0.0/104"]
spool = "/tmp/spool"
state = "/tmp/state"
workers = 3
proxy_from = ["10.0.0.1"]
xclient_from = ["127.0.0.1"]
postmaster = "root@example.net"
[log]
format = "json"
to = "/var/log/postern.log"
[limits]
connections = 1
message_bytes = 2048
recipients = 3
idle_seconds = 4
session_seconds = 5
connections_per_machine = 6
queue_messages = 7
memory_bytes = 1048577
hops = 9
[logins]
window_seconds = 10
ipv6_prefix = 56
machines = 1024
[queue]
retry_seconds = [1, 2]
lifetime_seconds = 12
drain_seconds = 0
[admin]
socket = "/tmp/control"
[users]
store = "/tmp/users.db"
cram_md5 = true
hash_threads = 13
hash_queue = 14
cache_seconds = 15
machines = 16
hold_on_quota = true
[tokens]
keys = "/tmp/jwks.json"
issuer = "https://login.example.net/"
audience = "mail"
user_claim = "sub"
[guard]
failures = 17
within = "18s"
bar = "19m"
bar_max = "20h"
machines = 2000
never = ["192.168.0.0/16"]
[quota.user]
messages_per_hour = 21
recipients_per_day = 22
[quota.machine]
messages_per_day = 23
recipients_per_hour = 24
[[certificate]]
names = ["MX.example.net", "*.example.org"]
chain = "/tmp/chain.pem"
key = "/tmp/key.pem"
[[service]]
name = "in"
listen = ["192.0.2.1:25", "[2001:db8::1]:25"]
tls = "implicit"
submission = true
submission_domain = "Example.net"
hide_client = true
proxy_protocol = true
reject_forged_local = false
exempt_authenticated = false
access = ["192.0.2.0/24"]
blacklist = ["bad.example"]
whitelist = ["user@bad.example"]
errors = 0
long_lines = true
i_know_this_is_an_open_relay = true
[service.relay]
require_auth = true
after_login = true
outside_lan = true
non_local_senders = false
always_from_enabled = true
always_from = ["198.51.100.0/24", "x@partner.example"]
always_to_enabled = true
always_to = ["*"]
login_counts_as_auth = true
[service.auth]
scope = "all"
mechanisms = ["PLAIN", "CRAM-MD5", "EXTERNAL", "OAUTHBEARER"]
plain_on_lan = true
own_sender = false
own_header_from = true
client_ca = "/tmp/ca.pem"
[[route]]
domain = "Example.Net"
to = ["lmtp:127.0.0.1:24"]
tls = "none"
connections = 2
messages_per_connection = 3
[[route]]
domain = ".example.org"
to = ["smtp:[2001:db8::9]:2525", "[::1]:26"]
[[route]]
domain = "*"
to = ["smtp:Smart.Example.org:587"]
)");
  ASSERT_TRUE(parsed.diagnostics.empty()) << all_of(parsed);
  const Settings& s = parsed.settings;
  EXPECT_EQ(s.hostname, "mx.example.net");
  EXPECT_EQ(s.local_domains, (std::vector<std::string>{"example.net", "xn--bcher-kva.example"}));
  ASSERT_EQ(s.lan.size(), 3u);
  EXPECT_EQ(s.lan[2], testing::prefix("10.0.0.0/8"));
  EXPECT_EQ(s.spool, "/tmp/spool");
  EXPECT_EQ(s.workers, 3u);
  EXPECT_EQ(s.proxy_from.at(0), testing::prefix("10.0.0.1"));
  EXPECT_EQ(s.xclient_from.at(0), testing::prefix("127.0.0.1"));
  EXPECT_EQ(s.postmaster, "root@example.net");
  EXPECT_TRUE(s.log.json);
  EXPECT_EQ(s.log.to, "/var/log/postern.log");
  EXPECT_EQ(s.limits.connections, 1u);
  EXPECT_EQ(s.limits.message_bytes, 2048u);
  EXPECT_EQ(s.limits.recipients, 3u);
  EXPECT_EQ(s.limits.idle_seconds, 4u);
  EXPECT_EQ(s.limits.session_seconds, 5u);
  EXPECT_EQ(s.limits.connections_per_machine, 6u);
  EXPECT_EQ(s.limits.queue_messages, 7u);
  EXPECT_EQ(s.limits.memory_bytes, 1048577u);
  EXPECT_EQ(s.limits.hops, 9u);
  EXPECT_EQ(s.logins.window_seconds, 10u);
  EXPECT_EQ(s.logins.ipv6_prefix, 56u);
  EXPECT_EQ(s.logins.machines, 1024u);
  EXPECT_EQ(s.queue.retry_seconds, (std::vector<std::uint32_t>{1, 2}));
  EXPECT_EQ(s.queue.lifetime_seconds, 12u);
  EXPECT_EQ(s.queue.drain_seconds, 0u);
  EXPECT_EQ(s.admin.socket, "/tmp/control");
  EXPECT_EQ(s.state, "/tmp/state");
  EXPECT_EQ(s.users.store, "/tmp/users.db");
  EXPECT_TRUE(s.users.cram_md5);
  EXPECT_EQ(s.users.hash_threads, 13u);
  EXPECT_EQ(s.users.hash_queue, 14u);
  EXPECT_EQ(s.users.cache_seconds, 15u);
  EXPECT_EQ(s.users.machines, 16u);
  EXPECT_TRUE(s.users.hold_on_quota);
  EXPECT_EQ(s.tokens.keys, "/tmp/jwks.json");
  EXPECT_EQ(s.tokens.issuer, "https://login.example.net/");
  EXPECT_EQ(s.tokens.audience, "mail");
  EXPECT_EQ(s.tokens.user_claim, "sub");
  EXPECT_EQ(s.guard.failures, 17u);
  EXPECT_EQ(s.guard.within_seconds, 18u);
  EXPECT_EQ(s.guard.bar_seconds, 19u * 60);
  EXPECT_EQ(s.guard.bar_max_seconds, 20u * 3600);
  EXPECT_EQ(s.guard.machines, 2000u);
  EXPECT_EQ(s.guard.never.size(), 1u);
  EXPECT_EQ(s.quota.user.messages_per_hour, 21u);
  EXPECT_EQ(s.quota.user.recipients_per_day, 22u);
  EXPECT_EQ(s.quota.machine.messages_per_day, 23u);
  EXPECT_EQ(s.quota.machine.recipients_per_hour, 24u);
  ASSERT_EQ(s.certificates.size(), 1u);
  EXPECT_EQ(s.certificates[0].names, (std::vector<std::string>{"mx.example.net", "*.example.org"}));
  EXPECT_EQ(s.certificates[0].chain, "/tmp/chain.pem");
  EXPECT_EQ(s.certificates[0].key, "/tmp/key.pem");
  const ServiceSettings& in = s.services.at(0);
  EXPECT_EQ(in.name, "in");
  EXPECT_EQ(in.listen.at(1).text(), "[2001:db8::1]:25");
  EXPECT_TRUE(in.proxy_protocol);
  EXPECT_FALSE(in.reject_forged_local);
  EXPECT_FALSE(in.exempt_authenticated);
  EXPECT_EQ(in.access.at(0), "192.0.2.0/24");
  EXPECT_EQ(in.blacklist.at(0), "bad.example");
  EXPECT_EQ(in.whitelist.at(0), "user@bad.example");
  EXPECT_EQ(in.errors, 0u);
  EXPECT_TRUE(in.long_lines);
  EXPECT_TRUE(in.auth.scope_all);
  EXPECT_EQ(in.auth.mechanisms, (std::vector<std::string>{"PLAIN", "CRAM-MD5", "EXTERNAL", "OAUTHBEARER"}));
  EXPECT_TRUE(in.auth.plain_on_lan);
  EXPECT_FALSE(in.auth.own_sender);
  EXPECT_TRUE(in.auth.own_header_from);
  EXPECT_EQ(in.auth.client_ca, "/tmp/ca.pem");
  EXPECT_EQ(in.tls, TlsMode::implicit);
  EXPECT_TRUE(in.submission);
  EXPECT_EQ(in.submission_domain, "example.net");
  EXPECT_TRUE(in.hide_client);
  EXPECT_TRUE(in.i_know_this_is_an_open_relay);
  EXPECT_TRUE(in.relay.require_auth);
  EXPECT_TRUE(in.relay.after_login);
  EXPECT_TRUE(in.relay.outside_lan);
  EXPECT_FALSE(in.relay.non_local_senders);
  EXPECT_TRUE(in.relay.always_from_enabled);
  EXPECT_EQ(in.relay.always_from.size(), 2u);
  EXPECT_TRUE(in.relay.always_to_enabled);
  EXPECT_EQ(in.relay.always_to.at(0), "*");
  EXPECT_TRUE(in.relay.login_counts_as_auth);
  ASSERT_EQ(s.routes.size(), 3u);
  EXPECT_EQ(s.routes[0].domain, "example.net");
  EXPECT_EQ(s.routes[0].to.at(0).protocol, NextHopProtocol::lmtp);
  EXPECT_EQ(s.routes[0].to.at(0).port, 24);
  EXPECT_EQ(s.routes[0].connections, 2u);
  EXPECT_EQ(s.routes[0].messages_per_connection, 3u);
  EXPECT_EQ(s.routes[1].to.at(0).host, "2001:db8::9");
  EXPECT_EQ(s.routes[1].to.at(0).address, testing::ip("2001:db8::9"));
  EXPECT_EQ(s.routes[1].to.at(1).protocol, NextHopProtocol::smtp);
  EXPECT_EQ(s.routes[1].to.at(1).port, 26);
  EXPECT_EQ(s.routes[2].to.at(0).host, "smart.example.org");
  EXPECT_FALSE(s.routes[2].to.at(0).address);
}

TEST(SettingsParse, UnknownKeysNameTheNearestOne) {
  expect_error(with("workrs = 2"), "unknown setting 'workrs' in the top of the file; did you mean 'workers'?", "2:1");
  expect_error(with("local_domain = []"), "did you mean 'local_domains'?");
  expect_error(with_service("reject_forged_locl = true"), "did you mean 'reject_forged_local'?", "5:1");
  expect_error(with_service("[service.relay]\nrequier_auth = true"), "did you mean 'require_auth'?", "6:1");
  expect_error(with_service("require_auth = true"), "it belongs in [service.relay]");
  expect_error(with("idle_seconds = 300"), "it belongs in [limits]");
  expect_error(with("[quux]\na = 1"), "unknown setting 'quux'");
  expect_error(with("[limits]\nqwertzuiop = 1"), "known here: connections, message_bytes");
}

TEST(SettingsParse, BadValuesSayWhatWasExpected) {
  expect_error(with("workers = \"two\""),
               "'workers' must be a whole number from 0 to 1024, such as workers = 0; found a text", "2:11");
  expect_error(with("workers = -1"), "found -1");
  expect_error(with("workers = 1.5"), "found a number with a fraction");
  expect_error(with("lan = \"10.0.0.0/8\""), "'lan' must be a list of texts");
  expect_error(with("lan = [10]"), "found a number in it", "2:8");
  expect_error(with("lan = [\"10.0.0.0/8\", \"192.168.1.0/16\"]"), "host bits", "2:22");
  expect_error(with("lan = [\"10.0.0.0/33\"]"), "prefix length");
  expect_error(with("[limits]\nidle_seconds = \"10m\""), "'idle_seconds' must be a whole number of seconds", "3:16");
  expect_error(with("[limits]\nmessage_bytes = 5"), "from 1024");
  expect_error(with("[logins]\nipv6_prefix = 80"), "first 64 bits");
  expect_error(with("[log]\nformat = \"xml\""), "must be one of \"logfmt\", \"json\"");
  expect_error(with("[log]\nto = \"somewhere\""), "must be \"stderr\" or a file's whole path");
  expect_error(with("[queue]\nretry_seconds = []"), "empty list");
  expect_error(with("[queue]\nretry_seconds = [60, 0]"), "found 0", "3:22");
  expect_error(with("spool = \"spool\""), "begins with '/'");
  expect_error(with("[admin]\nsocket = \"/" + std::string(120, 'x') + "\""), "longer than 107");
  expect_error(with("postmaster = \"postmaster\""), "not a mail address");
  expect_error(with("local_domains = [\"exa mple\"]"), "is not a domain");
  expect_error(with("local_domains = [\".example.net\"]"), "by its own name");
  expect_error(with("log = 5"), "must be a table, written as [log]");
  expect_error(with("[[log]]\nto = \"stderr\""), "single brackets");
  expect_error(with_service("access = [\"any\", \"10.0.0.0/8\"]"), "stands alone");
  expect_error(with_service("access = [\"host.example\"]"), "is a name");
  expect_error(with_service("blacklist = [\"*\"]"), "not allowed here");
  expect_error(with_service("blacklist = [\"@bad.example\"]"), "without it");
  expect_error(with_service("[service.auth]\nscope = \"some\""), "must be one of \"relay\", \"all\"");
  expect_error(with_service("proxy_protocol = true"), "'proxy_from' names no balancer");
  expect_error(with_service("[service.relay]\nalways_from_enabled = true\nalways_from = [\"*\"]"),
               "in 'always_from': '*'", "7:16");
}

TEST(SettingsParse, TextInAnUntickedBoxOnlyWarns) {
  const ParsedSettings parsed = with_service("[service.relay]\nalways_from = [\"192.168.1.0/16\", \"10.0.0.1\"]");
  EXPECT_TRUE(parsed.ok());
  ASSERT_EQ(parsed.diagnostics.size(), 1u);
  EXPECT_EQ(parsed.diagnostics[0].kind, DiagnosticKind::warning);
  EXPECT_EQ(parsed.settings.services[0].relay.always_from.size(), 2u) << "kept as it is";
}

TEST(SettingsParse, WhatMustBeThere) {
  expect_error(parse_settings("[[service]]\nname = \"a\"\nlisten = [\"127.0.0.1:0\"]"), "'hostname' is missing");
  expect_error(parse_settings("hostname = \"a.example\""), "no [[service]]");
  expect_error(parse_settings("service = []\nhostname = \"a.example\""), "no [[service]]");
  expect_error(parse_settings("hostname = \"a.example\"\n[service]\nname = \"smtp\""),
               "[[service]] in double brackets");
  expect_error(parse_settings("hostname = \"a.example\"\n[[service]]\nlisten = [\"127.0.0.1:0\"]"), "needs a 'name'",
               "2:1");
  expect_error(parse_settings("hostname = \"a.example\"\n[[service]]\nname = \"x\""), "needs 'listen'", "2:1");
  expect_error(parse_settings("hostname = \"a.example\"\n[[service]]\nname = \"x\"\nlisten = []"), "'listen' is empty");
  expect_error(with_service("[[route]]\ndomain = \"*\""), "a route needs 'to'", "5:1");
  expect_error(with_service("[[route]]\nto = [\"smtp:[::1]:25\"]"), "a route needs a 'domain'");
  expect_error(parse_settings("hostname = \"\""), "'hostname' is empty");
  expect_error(parse_settings("hostname = \"[192.0.2.1]\""), "not a host name");
}

TEST(SettingsParse, Listening) {
  expect_error(with_service("[[service]]\nname = \"b\"\nlisten = [\"25\"]"), "not an address and port", "7:11");
  expect_error(with_service("[[service]]\nname = \"b\"\nlisten = [\"127.0.0.1:99999\"]"), "not an address and port");
  expect_error(with_service("[[service]]\nname = \"b\"\nlisten = [\"mail.example:25\"]"), "not an address and port");
  expect_error(with_service("[[service]]\nname = \"smtp\"\nlisten = [\"127.0.0.1:1\"]"),
               "two services with the name 'smtp'");
  expect_error(with_service("[[service]]\nname = \"a b\"\nlisten = [\"127.0.0.1:1\"]"), "no service name");
  expect_error(with_service("[[service]]\nname = \"b\"\nlisten = [\"127.0.0.1:25\", \"127.0.0.1:25\"]"),
               "listened on twice");
  expect_error(with_service("[[service]]\nname = \"b\"\nlisten = [\"0.0.0.0:25\"]\n"
                            "[[service]]\nname = \"c\"\nlisten = [\"0.0.0.0:25\"]"),
               "0.0.0.0:25 is listened on twice: by 'b' and by 'c'", "10:10");
  EXPECT_TRUE(with_service("[[service]]\nname = \"b\"\nlisten = [\"127.0.0.1:0\", \"127.0.0.1:0\"]").ok());
}

TEST(SettingsParse, Routes) {
  const auto route = [](const std::string& to) {
    return with_service("[[route]]\ndomain = \"*\"\nto = [\"" + to + "\"]");
  };
  for (const char* good : {"smtp:127.0.0.1:25", "lmtp:[::1]:24", "[2001:db8::1]:25", "smtp:host.example:587"}) {
    EXPECT_TRUE(route(good).ok()) << good << all_of(route(good));
  }
  for (const char* bad :
       {"smtp:host.example", "host.example", "smtp::25", "smtp:2001:db8::1:25", "smtp:host:0", "smtp:host:70000",
        "smtp:host:x", "smtp:[host.example]:25", "smtp:300.1.1.1:25", "", "smtp:25", "smtp:[::1]", "smtp:a b:25"}) {
    expect_error(route(bad), "expected \"smtp:host:25\"", "7:7");
  }
  expect_error(
      with_service(
          "[[route]]\ndomain = \"*\"\nto = [\"[::1]:25\"]\n[[route]]\ndomain = \"a.example\"\nto = [\"[::1]:25\"]"),
      "never reached", "9:10");
  expect_error(with_service("[[route]]\ndomain = \"a.example\"\nto = [\"[::1]:25\"]\n[[route]]\ndomain = "
                            "\"A.example.\"\nto = [\"[::1]:25\"]"),
               "takes 'a.example' already");
  expect_error(with_service("[[route]]\ndomain = \"a b\"\nto = [\"[::1]:25\"]"), "is not a domain");
  expect_error(with_service("[[route]]\ndomain = \"*\"\nto = []"), "leads nowhere");
}

TEST(SettingsParse, HowARouteIsEncrypted) {
  const auto route = [](std::string_view more) {
    return with_service("[[route]]\ndomain = \"*\"\nto = [\"smtp:mx.example.org:25\"]\n" + std::string(more));
  };
  EXPECT_EQ(route("").settings.routes.front().tls, HopTls::may);
  EXPECT_EQ(route("tls = \"none\"").settings.routes.front().tls, HopTls::none);
  EXPECT_EQ(route("tls = \"may\"").settings.routes.front().tls, HopTls::may);
  EXPECT_EQ(route("tls = \"encrypt\"").settings.routes.front().tls, HopTls::encrypt);
  const ParsedSettings verify = route("tls = \"verify\"\ntls_ca = \"/etc/ca.pem\"");
  EXPECT_TRUE(verify.ok());
  EXPECT_EQ(verify.settings.routes.front().tls, HopTls::verify);
  EXPECT_EQ(verify.settings.routes.front().tls_ca, "/etc/ca.pem");
  expect_error(route("tls = \"starttls\""), "must be one of");
  expect_error(route("tls_ca = \"/etc/ca.pem\""), "needs tls = \"verify\"");
  expect_error(route("tls = \"verify\"\ntls_ca = \"ca.pem\""), "tls_ca");
}

TEST(SettingsParse, RouteByMx) {
  const auto route = [](const std::string& lines) { return with_service("[[route]]\ndomain = \"*\"\n" + lines); };
  const ParsedSettings plain = route("to = [\"mx\"]");
  EXPECT_TRUE(plain.ok()) << all_of(plain);
  EXPECT_TRUE(plain.settings.routes.front().by_mx);
  EXPECT_TRUE(plain.settings.routes.front().to.empty());
  EXPECT_EQ(plain.settings.routes.front().port, 25);
  EXPECT_EQ(route("to = [\"mx\"]\nport = 2525").settings.routes.front().port, 2525);
  EXPECT_FALSE(route("to = [\"[::1]:25\"]").settings.routes.front().by_mx);
  expect_error(route("to = [\"mx\", \"smtp:a.example:25\"]"), "stands alone", "7:7");
  expect_error(route("to = [\"smtp:a.example:25\", \"mx\"]"), "stands alone", "7:28");
  expect_error(route("to = [\"mx\"]\nport = 0"), "port");
  expect_error(route("to = [\"[::1]:25\"]\nport = 25"), "belongs to to = [\"mx\"]");
}

TEST(SettingsParse, Dns) {
  const ParsedSettings none = with_service("");
  EXPECT_TRUE(none.settings.dns.servers.empty());
  EXPECT_EQ(none.settings.dns.timeout_seconds, 3u);
  EXPECT_EQ(none.settings.dns.tries, 3u);
  const ParsedSettings given =
      with_service("[dns]\nservers = [\"127.0.0.1:53\", \"[::1]:5353\"]\ntimeout_seconds = 5\ntries = 2");
  ASSERT_TRUE(given.ok()) << all_of(given);
  EXPECT_EQ(given.settings.dns.servers,
            (std::vector<core::Endpoint>{*core::Endpoint::parse("127.0.0.1:53"), *core::Endpoint::parse("[::1]:5353")}));
  EXPECT_EQ(given.settings.dns.timeout_seconds, 5u);
  EXPECT_EQ(given.settings.dns.tries, 2u);
  for (const char* bad : {"127.0.0.1", "::1:53", "ns.example.net:53", "127.0.0.1:0", "127.0.0.1:99999", ""}) {
    expect_error(with_service("[dns]\nservers = [\"" + std::string(bad) + "\"]"), "is not an address and port", "6:12");
  }
  expect_error(with_service("[dns]\nservers = []"), "leave the line out");
  std::string nine = "[dns]\nservers = [\"127.0.0.1:53\"";
  for (int i = 0; i < 8; ++i) nine += ", \"127.0.0.1:53\"";
  expect_error(with_service(nine + "]"), "at most 8");
  expect_error(with_service("[dns]\ntimeout_seconds = 0"), "timeout_seconds");
  expect_error(with_service("[dns]\ntries = 11"), "tries");
  expect_error(with_service("[dns]\nserver = \"127.0.0.1:53\""), "servers");
}

TEST(SettingsParse, WhatIsNotBuiltYetIsSaid) {
  const ParsedSettings journal = with("[log]\nto = \"journal\"");
  expect_error(journal, "not available in this version");
  EXPECT_EQ(all_of(journal).find("unknown setting"), std::string::npos);
  for (const char* extra :
       {"dnsbl = [\"x.example\"]", "[[route]]\ndomain = \"*\"\nto = [\"[::1]:25\"]\ntls = \"dane\"",
        "[[route]]\ndomain = \"*\"\nto = [\"[::1]:25\"]\ntls = \"mta-sts\""}) {
    expect_error(with_service(extra), "not available in this version");
  }
  expect_error(with_service("dnsbl = [\"x.example\"]"),
               "'dnsbl = [...]' is not available in this version: no list is asked yet; leave it out or write dnsbl = []",
               "5:9");
  EXPECT_TRUE(with("mailbox = []\nlogins = {feeds = []}\nadmin = {http = \"\"}").ok());
}

TEST(SettingsParse, FeedsAndTheHttpListener) {
  const ParsedSettings none = with("admin = {http = \"\"}");
  EXPECT_TRUE(none.ok());
  EXPECT_FALSE(none.settings.admin.http);
  EXPECT_TRUE(none.settings.logins.feeds.empty());

  const ParsedSettings some =
      with("[logins]\nfeeds = [\"127.0.0.1\", \"2001:db8::/32\"]\n[admin]\nhttp = \"[::1]:8025\"");
  ASSERT_TRUE(some.ok());
  EXPECT_EQ(some.settings.admin.http, core::Endpoint::parse("[::1]:8025"));
  ASSERT_EQ(some.settings.logins.feeds.size(), 2u);
  EXPECT_EQ(some.settings.logins.feeds[0], core::IpPrefix::parse("127.0.0.1"));
  EXPECT_EQ(some.settings.logins.feeds[1], core::IpPrefix::parse("2001:db8::/32"));

  expect_error(with("[admin]\nhttp = \"8025\""), "'8025' is not an address and port");
  expect_error(with("[admin]\nhttp = \"localhost:8025\""), "is not an address and port");
  expect_error(with("[admin]\nhttp = 8025"), "'http' must be a text in quotes");
  expect_error(with("[admin]\nhttp = \"127.0.0.1:65536\""), "is not an address and port");
  expect_error(with("[logins]\nfeeds = [\"mail.example.net\"]"), "in 'feeds'");
  expect_error(with("[logins]\nfeeds = [\"192.0.2.1/24\"]"), "in 'feeds'");
  expect_error(with("[logins]\nfeeds = \"127.0.0.1\""), "'feeds' must be a list");
}

TEST(SettingsParse, LoginsNeedWhatTheirMechanismNeeds) {
  const auto auth = [](std::string mechanism, std::string more = "") {
    return with_service(more + "[service.auth]\nmechanisms = [\"" + mechanism + "\"]");
  };
  expect_error(auth("NTLM"), "there is no \"NTLM\"; known are SCRAM-SHA-256-PLUS, ");
  expect_error(auth("CRAM-MD5"), "cram_md5 = true in [users]");
  expect_error(auth("XOAUTH2", "tls = \"implicit\"\n"), "need [tokens]");
  expect_error(auth("EXTERNAL", "tls = \"implicit\"\n"), "'client_ca'");
  expect_error(auth("PLAIN"), "none is offered without TLS");
  EXPECT_TRUE(auth("PLAIN", "tls = \"starttls\"\n").ok()) << all_of(auth("PLAIN", "tls = \"starttls\"\n"));
  EXPECT_TRUE(auth("SCRAM-SHA-256").ok());
  expect_error(with("[tokens]\nkeys = \"/x\"\nissuer = \"y\""), "[tokens] needs 'audience'");
  expect_error(with("[users]\nstore = \"/x\"\ndovecot = \"/y\""), "exclude each other");
  expect_error(with("[[certificate]]\nchain = \"/x\""), "a certificate needs 'key'");
  expect_error(with("[guard]\nbar = \"2h\"\nbar_max = \"1h\""), "'bar_max' is shorter");
  for (const char* bad : {"\"10x\"", "\"m\"", "\"\"", "\"0s\"", "\"-1s\"", "\"99999999999999999999d\"", "\"8d\"", "true", "-5"}) {
    expect_error(with(std::string("[guard]\nwithin = ") + bad), "must be a time from 1 to 604800 seconds");
  }
  EXPECT_EQ(with("[guard]\nwithin = 90").settings.guard.within_seconds, 90u);
}

TEST(SettingsParse, TextThatIsNotToml) {
  expect_error(parse_settings("hostname = \n"), "this is not TOML");
  expect_error(parse_settings("a = 1\na = 2\n"), "this is not TOML");
  const ParsedSettings parsed = parse_settings("x = 1\nhostname = 'a\n");
  ASSERT_EQ(parsed.diagnostics.size(), 1u);
  EXPECT_EQ(parsed.diagnostics[0].line, 2u);
}

TEST(SettingsParse, AllMistakesAreSaidAtOnceInOrder) {
  const ParsedSettings parsed = parse_settings("hostname = 5\nlan = [\"x\"]\nworkers = true\n[[service]]\n");
  EXPECT_GE(parsed.diagnostics.size(), 5u);
  EXPECT_TRUE(std::is_sorted(parsed.diagnostics.begin(), parsed.diagnostics.end(),
                             [](const Diagnostic& a, const Diagnostic& b) { return a.line < b.line; }));
}

TEST(Diagnostic, Format) {
  EXPECT_EQ((Diagnostic{DiagnosticKind::error, 12, 3, "bad"}.format("a.toml")), "a.toml:12:3: error: bad");
  EXPECT_EQ((Diagnostic{DiagnosticKind::note, 0, 0, "hm"}.format("a.toml")), "a.toml: note: hm");
}

TEST(EditDistance, CountsSwapsAsOne) {
  EXPECT_EQ(edit_distance("", "abc"), 3u);
  EXPECT_EQ(edit_distance("workers", "workers"), 0u);
  EXPECT_EQ(edit_distance("workers", "wrokers"), 1u);
  EXPECT_EQ(edit_distance("workers", "worker"), 1u);
  EXPECT_EQ(edit_distance("kitten", "sitting"), 3u);
}

}  // namespace
}  // namespace postern::policy
