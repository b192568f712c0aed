// [[mailbox]]: values, defaults, and mistakes with their hints.
#include <gtest/gtest.h>
#include <string>

#include "policy/settings.h"

namespace postern::policy {
namespace {

constexpr const char* kService = R"(hostname = "mail.example.net"
[[service]]
name = "smtp"
listen = ["127.0.0.1:25"]
)";
constexpr const char* kMailbox = R"([[mailbox]]
name = "pop3"
protocol = "pop3"
listen = ["127.0.0.1:110"]
store = "127.0.0.1:10110"
)";

ParsedSettings with(const std::string& extra) { return parse_settings(std::string(kService) + kMailbox + extra); }

std::string all_of(const ParsedSettings& parsed) {
  std::string text;
  for (const Diagnostic& diagnostic : parsed.diagnostics) text += diagnostic.format("f") + "\n";
  return text;
}

void expect_error(const std::string& text, std::string_view part, std::string_view place = "") {
  const ParsedSettings parsed = parse_settings(text);
  EXPECT_FALSE(parsed.ok()) << text;
  const std::string all = all_of(parsed);
  EXPECT_NE(all.find(part), std::string::npos) << "wanted: " << part << "\ngot: " << all;
  if (!place.empty()) {
    EXPECT_NE(all.find("f:" + std::string(place) + ": error:"), std::string::npos) << "wanted at " << place << "\n" << all;
  }
}

// The small mailbox with one of its lines replaced, or left out.
std::string but(const std::string& line, const std::string& instead) {
  std::string mailbox = kMailbox;
  const std::size_t at = mailbox.find(line);
  EXPECT_NE(at, std::string::npos);
  mailbox.replace(at, line.size(), instead);
  return kService + mailbox;
}

TEST(SettingsMailbox, TheSmallestOneHasSafeDefaults) {
  const ParsedSettings parsed = with("");
  ASSERT_TRUE(parsed.ok()) << all_of(parsed);
  EXPECT_EQ(all_of(parsed), "");
  ASSERT_EQ(parsed.settings.mailboxes.size(), 1u);
  const MailboxSettings& mailbox = parsed.settings.mailboxes[0];
  EXPECT_EQ(mailbox.name, "pop3");
  EXPECT_EQ(mailbox.protocol, MailboxProtocol::pop3);
  EXPECT_EQ(mailbox.line, 5u);
  EXPECT_EQ(mailbox.tls, TlsMode::none);
  EXPECT_EQ(mailbox.store.text(), "127.0.0.1:10110");
  EXPECT_FALSE(mailbox.store_proxy_protocol);
  EXPECT_FALSE(mailbox.proxy_protocol);
  EXPECT_FALSE(mailbox.plain_on_lan);
  EXPECT_EQ(mailbox.master_separator, 0);
  EXPECT_EQ(mailbox.access, std::vector<std::string>{"any"});
  EXPECT_EQ(mailbox.errors, 10u);
  EXPECT_EQ(mailbox.idle_seconds, 2100u) << "longer than the half hour that RFC 2177 lets a client wait";
  EXPECT_FALSE(uses_tls(parsed.settings));
}

TEST(SettingsMailbox, EveryKeyIsRead) {
  const ParsedSettings parsed = parse_settings(std::string("proxy_from = [\"192.0.2.1\"]\n") + kService + R"([[mailbox]]
name = "imaps"
protocol = "imap"
listen = ["0.0.0.0:993", "[::]:993"]
tls = "implicit"
store = "[2001:db8::5]:143"
store_proxy_protocol = true
proxy_protocol = true
plain_on_lan = true
master_separator = "*"
access = ["192.168.0.0/16"]
errors = 0
idle_seconds = 1800
)");
  ASSERT_TRUE(parsed.ok()) << all_of(parsed);
  const MailboxSettings& mailbox = parsed.settings.mailboxes.at(0);
  EXPECT_EQ(mailbox.protocol, MailboxProtocol::imap);
  EXPECT_EQ(mailbox.listen.size(), 2u);
  EXPECT_EQ(mailbox.tls, TlsMode::implicit);
  EXPECT_EQ(mailbox.store.text(), "[2001:db8::5]:143");
  EXPECT_TRUE(mailbox.store_proxy_protocol && mailbox.proxy_protocol && mailbox.plain_on_lan);
  EXPECT_EQ(mailbox.master_separator, '*');
  EXPECT_EQ(mailbox.access, std::vector<std::string>{"192.168.0.0/16"});
  EXPECT_EQ(mailbox.errors, 0u);
  EXPECT_EQ(mailbox.idle_seconds, 1800u);
  EXPECT_TRUE(uses_tls(parsed.settings));
}

TEST(SettingsMailbox, WhatItNeeds) {
  expect_error(but("name = \"pop3\"\n", ""), "a mailbox needs a 'name'");
  expect_error(but("protocol = \"pop3\"\n", ""), "a mailbox needs a 'protocol'");
  expect_error(but("listen = [\"127.0.0.1:110\"]\n", ""), "a mailbox needs 'listen', such as listen = [\"0.0.0.0:110\"");
  expect_error(but("store = \"127.0.0.1:10110\"\n", ""), "a mailbox needs a 'store'");
}

TEST(SettingsMailbox, Mistakes) {
  expect_error(but("protocol = \"pop3\"", "protocol = \"smtp\""), "\"pop3\"", "7:12");
  expect_error(but("store = \"127.0.0.1:10110\"", "store = \"mail.example.net:110\""), "host names are not looked up", "9:9");
  expect_error(but("store = \"127.0.0.1:10110\"", "store = \"127.0.0.1\""), "is not an address and port");
  expect_error(but("store = \"127.0.0.1:10110\"", "store = \"127.0.0.1:0\""), "is not an address and port");
  expect_error(but("listen = [\"127.0.0.1:110\"]", "listen = []"), "nobody could ever connect");
  expect_error(but("listen = [\"127.0.0.1:110\"]", "listen = [\"110\"]"), "is not an address and port, such as \"0.0.0.0:110\"");
  expect_error(std::string(kService) + kMailbox + "master_separator = \"**\"", "one printable ASCII character");
  expect_error(std::string(kService) + kMailbox + "access = [\"example.net\"]", "who may connect is told by addresses");
  expect_error(std::string(kService) + kMailbox + "idle_seconds = 5", "idle_seconds");
  expect_error(std::string(kService) + kMailbox + "tsl = \"none\"", "tls");
  expect_error(std::string(kService) + kMailbox + "proxy_protocol = true", "'proxy_from' names no balancer");
}

TEST(SettingsMailbox, OneNameAndOneSocketEach) {
  expect_error(but("name = \"pop3\"", "name = \"smtp\""), "with the name 'smtp'");
  expect_error(std::string(kService) + kMailbox + kMailbox, "with the name 'pop3'");
  expect_error(but("listen = [\"127.0.0.1:110\"]", "listen = [\"127.0.0.1:25\"]"), "listened on twice: by 'smtp' and by 'pop3'");
  std::string other = kMailbox;
  other.replace(other.find("\"pop3\""), 6, "\"more\"");
  expect_error(std::string(kService) + kMailbox + other, "listened on twice: by 'pop3' and by 'more'");
}

TEST(SettingsMailbox, TheStoreIsAnotherServer) {
  constexpr const char* kStore = "store = \"127.0.0.1:10110\"";
  expect_error(but(kStore, "store = \"127.0.0.1:110\""), "the store is another server", "9:9");
  expect_error(but(kStore, "store = \"127.0.0.1:25\""), "is where 'smtp' of this server listens");
  std::string everywhere = but(kStore, "store = \"127.0.0.1:110\"");
  everywhere.replace(everywhere.find("127.0.0.1:110"), 13, "0.0.0.0:110");
  expect_error(everywhere, "(0.0.0.0:110)");
  everywhere.replace(everywhere.rfind("127.0.0.1:110"), 13, "192.0.2.1:110");
  EXPECT_TRUE(parse_settings(everywhere).ok());
}

TEST(SettingsMailbox, NoneIsWrittenAsAnEmptyList) {
  EXPECT_TRUE(parse_settings(std::string("mailbox = []\n") + kService).ok());
}

}  // namespace
}  // namespace postern::policy
