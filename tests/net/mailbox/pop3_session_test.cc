// POP3 before the login: greeting, capabilities, commands, STLS, bad input, and a store that misbehaves.
#include <gtest/gtest.h>
#include <string>

#include "tests/net/mailbox/front.h"

namespace postern::net::mailbox::test {
namespace {

using namespace std::string_literals;

const std::string kCapa =
    "+OK\r\nCAPA\r\nTOP\r\nUIDL\r\nRESP-CODES\r\nPIPELINING\r\nAUTH-RESP-CODE\r\nSTLS\r\nUSER\r\n"
    "SASL PLAIN LOGIN CRAM-MD5 SCRAM-SHA-256 SCRAM-SHA-256-PLUS ANONYMOUS\r\n.\r\n";
const std::string kGreeting = "+OK Postern POP3 server ready\r\n";
const std::string kUnavailable = "-ERR [SYS/TEMP] Mail store is not available now, try again later\r\n";
const std::string kNoCommand = "-ERR Not a command before the login\r\n";

Scenario scenario(std::vector<std::string> client = {}) {
  Scenario made;
  made.options.plaintext_allowed = true;
  made.store = {"+OK Store ready.\r\n", kCapa};
  made.client = std::move(client);
  return made;
}

void expect(const Scenario& played, const std::string& said, const std::string& heard, const std::string& events) {
  const Outcome outcome = run_all_cuts(played);
  EXPECT_EQ(outcome.broken, "");
  EXPECT_EQ(outcome.said, said);
  EXPECT_EQ(outcome.heard, heard);
  EXPECT_EQ(outcome.events, events);
}

TEST(Pop3Greeting, IsOurOwn) {
  expect(scenario(), kGreeting, "CAPA\r\n", "");
}

TEST(Pop3Greeting, HasTheStoresStamp) {
  Scenario played = scenario();
  played.store[0] = "+OK Store 9.9 <not.one> ready <1896.697170952@dbc.mtview.ca.us>\r\n";
  expect(played, "+OK Postern POP3 server ready <1896.697170952@dbc.mtview.ca.us>\r\n", "CAPA\r\n", "");
  for (const std::string& stamp : {"<>"s, "<a b@c>"s, "<ab>"s, "<a@b"s, "<" + std::string(130, 'a') + "@b>"}) {
    played.store[0] = "+OK " + stamp + "\r\n";
    expect(played, kGreeting, "CAPA\r\n", "");
  }
}

TEST(Pop3Greeting, AStoreThatRefusesGetsNobodyIn) {
  Scenario played = scenario({"USER anna\r\nPASS secret\r\n"});
  played.store = {"-ERR [SYS/TEMP] too busy\r\n"};
  expect(played, kUnavailable, "", "close store-refused\n");
  played.store = {"* OK IMAP ready\r\n"};
  expect(played, kUnavailable, "", "close store-garbage\n");
  played.store = {"+OKAY\r\n"};
  expect(played, kUnavailable, "", "close store-garbage\n");
}

TEST(Pop3Store, IsDownOrGoesAway) {
  Scenario played = scenario({"CAPA\r\n"});
  played.store_is_down = true;
  expect(played, kUnavailable, "", "close store-lost\n");
  played.store_is_down = false;
  played.store_leaves = true;
  expect(played, kGreeting + kUnavailable, "CAPA\r\n", "close store-lost\n");
  played.store = {"+OK rea"};
  expect(played, kUnavailable, "", "close store-lost\n");
}

TEST(Pop3Store, WithoutCapaHasUserOnly) {
  Scenario played = scenario({"CAPA\r\nAUTH PLAIN\r\n"});
  played.store[1] = "-ERR what?\r\n";
  expect(played,
         kGreeting +
             "+OK Capability list follows\r\nRESP-CODES\r\nAUTH-RESP-CODE\r\nUSER\r\n.\r\n"
             "-ERR Mechanism is not offered\r\n",
         "CAPA\r\n", "");
}

TEST(Pop3Store, HearsTheClientsAddress) {
  Scenario played = scenario();
  played.options.tell_address = true;
  played.options.client = *core::Endpoint::parse("192.0.2.7:4711");
  expect(played, kGreeting, "CAPA\r\n", "");  // not announced

  played.store = {"+OK [XCLIENT] Store ready.\r\n", "+OK Updated\r\n", kCapa};
  expect(played, kGreeting, "XCLIENT ADDR=192.0.2.7 PORT=4711\r\nCAPA\r\n", "");

  played.options.client = *core::Endpoint::parse("[2001:db8::7]:4711");
  played.store = {"+OK Store ready.\r\n", "+OK\r\nXCLIENT\r\nUSER\r\n.\r\n", "-ERR no\r\n",
                  "+OK\r\nXCLIENT\r\nUSER\r\n.\r\n"};
  played.client = {"CAPA\r\n"};
  expect(played, kGreeting + "+OK Capability list follows\r\nRESP-CODES\r\nAUTH-RESP-CODE\r\nUSER\r\n.\r\n",
         "CAPA\r\nXCLIENT ADDR=2001:db8::7 PORT=4711\r\nCAPA\r\n", "");

  played.options.tell_address = false;
  played.store = {"+OK [XCLIENT] Store ready.\r\n", kCapa};
  played.client = {};
  expect(played, kGreeting, "CAPA\r\n", "");
}

TEST(Pop3Capa, OffersWhatCanBeHad) {
  const std::string before =
      "+OK Capability list follows\r\nCAPA\r\nTOP\r\nUIDL\r\nPIPELINING\r\nRESP-CODES\r\nAUTH-RESP-CODE\r\n";
  Scenario played = scenario({"capa\r\nAUTH\r\n"});
  played.options.tls_offered = true;
  expect(played,
         kGreeting + before + "STLS\r\nUSER\r\nSASL PLAIN LOGIN CRAM-MD5 SCRAM-SHA-256\r\n.\r\n" +
             "+OK\r\nPLAIN\r\nLOGIN\r\nCRAM-MD5\r\nSCRAM-SHA-256\r\n.\r\n",
         "CAPA\r\n", "");
  played.options.plaintext_allowed = false;
  expect(
      played,
      kGreeting + before + "STLS\r\nSASL CRAM-MD5 SCRAM-SHA-256\r\n.\r\n" + "+OK\r\nCRAM-MD5\r\nSCRAM-SHA-256\r\n.\r\n",
      "CAPA\r\n", "");
  played.options.encrypted = true;
  expect(played,
         kGreeting + before + "USER\r\nSASL PLAIN LOGIN CRAM-MD5 SCRAM-SHA-256\r\n.\r\n" +
             "+OK\r\nPLAIN\r\nLOGIN\r\nCRAM-MD5\r\nSCRAM-SHA-256\r\n.\r\n",
         "CAPA\r\n", "");
}

TEST(Pop3Commands, OfTheTimeBehindTheLoginAreNone) {
  expect(scenario({"NOOP\r\nSTAT\r\nXCLIENT ADDR=192.0.2.1\r\n\r\n CAPA\r\nQUIT\r\nCAPA\r\n"}),
         kGreeting + kNoCommand + kNoCommand + kNoCommand + kNoCommand + kNoCommand + "+OK Bye\r\n", "CAPA\r\n",
         "close quit\n");
}

TEST(Pop3Commands, EnoughOfThemAreEnough) {
  Scenario played = scenario({"A\r\nB\r\nC\r\nCAPA\r\n"});
  played.options.errors_max = 3;
  expect(played, kGreeting + kNoCommand + kNoCommand + kNoCommand, "CAPA\r\n", "close errors\n");
  played.options.errors_max = 0;
  played.client = {""};
  std::string said = kGreeting;
  for (int i = 0; i < 100; ++i) {
    played.client[0] += "A\r\n";
    said += kNoCommand;
  }
  expect(played, said, "CAPA\r\n", "");
}

TEST(Pop3Stls, ForgetsWhatWasSaidBefore) {
  Scenario played = scenario({"USER anna\r\nSTLS\r\nUSER eve\r\nPASS injected\r\n", "PASS secret\r\nSTLS\r\nCAPA\r\n"});
  played.options.tls_offered = true;
  played.options.plaintext_allowed = true;
  const Outcome outcome = run_all_cuts(played);
  EXPECT_EQ(outcome.broken, "");
  EXPECT_EQ(outcome.events, "start-tls\n");
  EXPECT_EQ(outcome.heard, "CAPA\r\n");
  const std::string head = kGreeting +
                           "+OK\r\n+OK Begin TLS negotiation\r\n-ERR USER comes first\r\n-ERR STLS is not offered\r\n"
                           "+OK Capability list follows\r\nCAPA\r\n";
  EXPECT_EQ(outcome.said.substr(0, head.size()), head);
  EXPECT_EQ(outcome.said.find("\r\nSTLS\r\n"), std::string::npos);
  EXPECT_NE(outcome.said.find("USER\r\nSASL PLAIN"), std::string::npos);
}

TEST(Pop3Stls, WhereItIsNotOffered) {
  expect(scenario({"STLS\r\n"}), kGreeting + "-ERR STLS is not offered\r\n", "CAPA\r\n", "");
}

TEST(Pop3Input, MalformedLines) {
  expect(scenario({"US\0ER anna\r\nUSER an\tna\r\nUSER\rx anna\r\nCAPA\n\r\nQUIT\r\n"s}),
         kGreeting + "-ERR Control characters in the command\r\n-ERR Control characters in the command\r\n" +
             "-ERR Control characters in the command\r\n-ERR Lines end in CRLF\r\n" + kNoCommand + "+OK Bye\r\n",
         "CAPA\r\n", "close quit\n");
}

TEST(Pop3Input, LongLines) {
  const std::string longest = "USER " + std::string(MailboxSession::kLineBytesMax - 7, 'a') + "\r\n";
  const std::string longer = "USER " + std::string(MailboxSession::kLineBytesMax - 6, 'a') + "\r\n";
  expect(scenario({longest + longer + longer + longer.substr(0, longer.size() - 2) + "a\nQUIT\r\n"}),
         kGreeting +
             "-ERR Not a user's name\r\n-ERR Line too long\r\n-ERR Line too long\r\n-ERR Line too long\r\n+OK Bye\r\n",
         "CAPA\r\n", "close quit\n");
}

TEST(Pop3Input, EndlessLines) {
  const std::string most(MailboxSession::kSkippedBytesMax - 2, 'a');
  Scenario played = scenario({most + "\r\nQUIT\r\n"});
  Outcome outcome = run(played, Cut::whole, 0);
  EXPECT_EQ(outcome, run(played, Cut::random, 1));
  EXPECT_EQ(outcome.said, kGreeting + "-ERR Line too long\r\n+OK Bye\r\n");
  played.client = {"a" + most + "\r\nQUIT\r\n"};
  outcome = run(played, Cut::whole, 0);
  EXPECT_EQ(outcome, run(played, Cut::random, 1));
  EXPECT_EQ(outcome.said, kGreeting + "-ERR Line far too long\r\n");
  EXPECT_EQ(outcome.events, "close line-too-long\n");
}

TEST(Pop3Input, BrowsersHearNothing) {
  expect(scenario({"POST / HTTP/1.1\r\nHost: x\r\n\r\nUSER anna\r\n"}), kGreeting, "CAPA\r\n", "close http\n");
}

TEST(Pop3Store, SaysNothingUnasked) {
  // Behind its greeting, in front of our question.
  Scenario played = scenario({"USER anna\r\nPASS secret\r\n"});
  played.store = {"+OK Store ready.\r\n+OK\r\n.\r\n+OK\r\n+OK\r\n"};
  expect(played, kUnavailable, "", "close store-unasked\n");
  // Behind its capabilities, for a login that is still to come.
  played = scenario({"USER anna\r\nPASS secret\r\n"});
  played.store[1] = kCapa + "+OK\r\n+OK Logged in\r\n";
  expect(played, kGreeting + kUnavailable, "CAPA\r\n", "close store-unasked\n");
  // Behind the reply to USER.
  played = scenario({"USER anna\r\nPASS secret\r\n"});
  played.store.push_back("+OK\r\n+OK Logged in\r\n");
  expect(played, kGreeting + "+OK\r\n" + kUnavailable, "CAPA\r\nUSER anna\r\n",
         "wanted anna USER plaintext grants\nfailed anna USER plaintext grants unavailable\nclose store-unasked\n");
  // Behind a refusal.
  played = scenario({"USER anna\r\nPASS secret\r\n"});
  played.store.insert(played.store.end(), {"+OK\r\n", "-ERR [AUTH] no\r\n+OK Logged in\r\n"});
  expect(
      played, kGreeting + "+OK\r\n-ERR [AUTH] no\r\n" + kUnavailable, "CAPA\r\nUSER anna\r\nPASS secret\r\n",
      "wanted anna USER plaintext grants\nfailed anna USER plaintext grants wrong-credentials\nclose store-unasked\n");
}

TEST(Pop3Store, SaysGarbage) {
  for (const std::string& garbage : {"hello\r\n"s, "+OK\n"s, "+OK \0\r\n"s, "+OK a\tb\r\n"s,
                                     std::string(MailboxSession::kLineBytesMax + 1, '+'), "\r\n"s}) {
    Scenario played = scenario({"CAPA\r\n"});
    played.store[1] = garbage;
    expect(played, kUnavailable, "CAPA\r\n", "close store-garbage\n");
  }
}

TEST(Pop3Store, TalksWithoutEnd) {
  Scenario played = scenario({"CAPA\r\n"});
  played.store[1] = "+OK\r\n";
  while (played.store[1].size() <= MailboxSession::kStoreReplyBytesMax) played.store[1] += "X-EXTENSION\r\n";
  expect(played, kUnavailable, "CAPA\r\n", "close store-garbage\n");
}

TEST(Pop3Goodbye, OfTheDriver) {
  Scenario played = scenario({"USER anna\r\n"});
  played.goodbye = "Idle too long";
  expect(played, kGreeting + "+OK\r\n-ERR Idle too long\r\n", "CAPA\r\n", "close goodbye\n");
}

}  // namespace
}  // namespace postern::net::mailbox::test
