// IMAP before the login: greeting, capabilities, commands and their literals, STARTTLS, bad input, and a store that
// misbehaves.
#include <gtest/gtest.h>
#include <string>

#include "net/mailbox/imap_syntax.h"

#include "tests/net/mailbox/front.h"

namespace postern::net::mailbox::test {
namespace {

using namespace std::string_literals;

const std::string kStoreGreeting =
    "* OK [CAPABILITY IMAP4rev1 SASL-IR LOGIN-REFERRALS ID ENABLE IDLE LITERAL+ STARTTLS AUTH=PLAIN AUTH=LOGIN "
    "AUTH=SCRAM-SHA-256 AUTH=SCRAM-SHA-256-PLUS AUTH=ANONYMOUS] Store 9.9 ready.\r\n";
const std::string kWords = "IMAP4rev1 ID ENABLE IDLE LITERAL+ SASL-IR";
const std::string kGreeting =
    "* OK [CAPABILITY " + kWords + " AUTH=PLAIN AUTH=LOGIN AUTH=SCRAM-SHA-256] Postern IMAP server ready\r\n";
const std::string kUnavailable = "* BYE [UNAVAILABLE] Mail store is not available now, try again later\r\n";

Scenario scenario(std::vector<std::string> client = {}) {
  Scenario made;
  made.protocol = Protocol::imap;
  made.options.plaintext_allowed = true;
  made.store = {kStoreGreeting};
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

TEST(ImapGreeting, IsOurOwn) {
  expect(scenario(), kGreeting, "", "");
}

TEST(ImapGreeting, AsksAStoreThatDoesNotTell) {
  Scenario played = scenario();
  played.store = {"* OK Store ready.\r\n", "* OK [ALERT] x\r\n* CAPABILITY IMAP4rev1 AUTH=PLAIN\r\nP1 OK done\r\n"};
  expect(played, "* OK [CAPABILITY IMAP4rev1 SASL-IR AUTH=PLAIN] Postern IMAP server ready\r\n", "P1 CAPABILITY\r\n",
         "");
  for (const char* reply :
       {"P1 OK done\r\n", "P1 BAD what?\r\n", "P2 OK done\r\n", "+ \r\n", "* CAPABILITY IMAP4rev1\r\nP1 NO\r\n",
        "* CAPABILITY IMAP4rev1\r\nP1 OKAY\r\n", "* CAPABILITY IMAP4rev1\r\nP10 OK\r\n"}) {
    played.store[1] = reply;
    expect(played, kUnavailable, "P1 CAPABILITY\r\n", "close store-garbage\n");
  }
  played.store[1] = "* BYE\r\n";
  expect(played, kUnavailable, "P1 CAPABILITY\r\n", "close store-refused\n");
}

TEST(ImapGreeting, AStoreThatRefusesOrKnowsUsAlreadyGetsNobodyIn) {
  Scenario played = scenario({"a LOGIN anna secret\r\n"});
  played.store = {"* PREAUTH [CAPABILITY IMAP4rev1] Logged in as root\r\n"};
  expect(played, kUnavailable, "", "close store-preauth\n");
  played.store = {"* BYE too busy\r\n"};
  expect(played, kUnavailable, "", "close store-refused\n");
  for (const char* garbage : {"+OK POP3 ready\r\n", "* NO\r\n", "P1 OK\r\n", "* OKAY\r\n", "* OK\n"}) {
    played.store = {garbage};
    expect(played, kUnavailable, "", "close store-garbage\n");
  }
  played.store_is_down = true;
  expect(played, kUnavailable, "", "close store-lost\n");
}

TEST(ImapStore, HearsTheClientsAddress) {
  Scenario played = scenario();
  played.options.tell_address = true;
  played.options.client = *core::Endpoint::parse("192.0.2.7:4711");
  played.options.local = *core::Endpoint::parse("[2001:db8::1]:143");
  const std::string id = R"(ID ("x-originating-ip" "192.0.2.7" "x-originating-port" "4711" )"
                         R"("x-connected-ip" "2001:db8::1" "x-connected-port" "143"))"
                         "\r\n";
  const std::string capabilities = "* CAPABILITY IMAP4rev1 ID\r\n";
  const std::string greeting = "* OK [CAPABILITY IMAP4rev1 ID SASL-IR] Postern IMAP server ready\r\n";
  played.store = {kStoreGreeting, "* ID (\"name\" \"Store\")\r\nP1 OK done\r\n", capabilities + "P2 OK\r\n"};
  expect(played, greeting, "P1 " + id + "P2 CAPABILITY\r\n", "");
  played.store = {"* OK hello\r\n", capabilities + "P1 OK\r\n", "P2 BAD no\r\n", capabilities + "P3 OK\r\n"};
  expect(played, greeting, "P1 CAPABILITY\r\nP2 " + id + "P3 CAPABILITY\r\n", "");
  played.store = {"* OK [CAPABILITY IMAP4rev1] hello\r\n"};
  expect(played, "* OK [CAPABILITY IMAP4rev1 SASL-IR] Postern IMAP server ready\r\n", "", "");
}

TEST(ImapCommands, OfTheTimeBeforeTheLogin) {
  expect(
      scenario({"a capability\r\nb NOOP\r\nc ID NIL\r\nd ID (\"name\" \"x\" \"x-originating-ip\" \"192.0.2.9\")\r\n"
                "e LOGOUT\r\nf NOOP\r\n"}),
      kGreeting + "* CAPABILITY " + kWords +
          " AUTH=PLAIN AUTH=LOGIN AUTH=SCRAM-SHA-256\r\na OK CAPABILITY completed\r\n" +
          "b OK NOOP completed\r\n* ID (\"name\" \"Postern\")\r\nc OK ID completed\r\n* ID (\"name\" \"Postern\")\r\n" +
          "d OK ID completed\r\n* BYE Logging out\r\ne OK LOGOUT completed\r\n",
      "", "close quit\n");
}

TEST(ImapCommands, OfTheTimeBehindTheLoginAreNone) {
  const std::string no = " BAD Not a command before the login\r\n";
  expect(scenario({"a SELECT INBOX\r\nb ENABLE QRESYNC\r\nc LIST \"\" {1}\r\n*\r\nd IDLE\r\ne NOOP \r\nf NOOP x\r\ng "
                   "STARTTLS x\r\n"}),
         kGreeting + "a" + no + "b" + no + "+ OK\r\nc" + no + "d" + no + "e" + no + "f" + no + "g" + no, "", "");
}

TEST(ImapCommands, WithoutATagAreRefusedWithoutOne) {
  const std::string no = "* BAD No tag, or no command behind it\r\n";
  expect(
      scenario({"NOOP\r\n\r\n NOOP\r\n* NOOP\r\n+ NOOP\r\n" + std::string(kTagBytesMax + 1, 'a') + " NOOP\r\na \r\n"}),
      kGreeting + no + no + no + no + no + no + "a BAD Not a command before the login\r\n", "", "");
}

TEST(ImapCommands, EnoughOfThemAreEnough) {
  Scenario played = scenario({"a X\r\nb X\r\nc NOOP\r\n"});
  played.options.errors_max = 2;
  expect(
      played,
      kGreeting +
          "a BAD Not a command before the login\r\nb BAD Not a command before the login\r\n* BYE Too many errors\r\n",
      "", "close errors\n");
}

TEST(ImapCapability, OffersWhatCanBeHad) {
  Scenario played = scenario({"a CAPABILITY\r\n"});
  played.options.plaintext_allowed = false;
  played.options.tls_offered = true;
  const std::string words = kWords + " STARTTLS LOGINDISABLED AUTH=SCRAM-SHA-256";
  expect(played,
         "* OK [CAPABILITY " + words + "] Postern IMAP server ready\r\n* CAPABILITY " + words +
             "\r\na OK CAPABILITY completed\r\n",
         "", "");
}

TEST(ImapStarttls, ForgetsWhatWasSaidBefore) {
  Scenario played = scenario({"a STARTTLS\r\nb LOGIN eve injected\r\nc LOGIN {3}", "d CAPABILITY\r\ne STARTTLS\r\n"});
  played.options.plaintext_allowed = false;
  played.options.tls_offered = true;
  expect(played,
         "* OK [CAPABILITY " + kWords + " STARTTLS LOGINDISABLED AUTH=SCRAM-SHA-256] Postern IMAP server ready\r\n" +
             "a OK Begin TLS negotiation now\r\n* CAPABILITY " + kWords +
             " AUTH=PLAIN AUTH=LOGIN AUTH=SCRAM-SHA-256\r\n" +
             "d OK CAPABILITY completed\r\ne BAD STARTTLS is not offered\r\n",
         "", "start-tls\n");
}

TEST(ImapStarttls, WhereItIsNotOffered) {
  expect(scenario({"a STARTTLS\r\nb NOOP\r\n"}), kGreeting + "a BAD STARTTLS is not offered\r\nb OK NOOP completed\r\n",
         "", "");
}

TEST(ImapInput, MalformedLines) {
  expect(
      scenario({"a NOOP\nb NO\0OP\r\nc NOOP\r\r\nd LOGIN an\0na x\r\n"s +
                "e LOGIN \"an\rna\" x\r\nf LOGIN anna\r\ng LOGIN anna \r\n"s}),
      kGreeting +
          "a BAD Lines end in CRLF\r\nb BAD Not a command before the login\r\nc BAD Not a command before the login\r\n"
          "d BAD LOGIN takes a user's name and a password\r\ne BAD LOGIN takes a user's name and a password\r\n"
          "f BAD LOGIN takes a user's name and a password\r\ng BAD LOGIN takes a user's name and a password\r\n",
      "", "");
}

TEST(ImapInput, LongCommands) {
  const std::string longest = "a X " + std::string(MailboxSession::kLineBytesMax - 6, 'x') + "\r\n";
  const std::string longer = "b X " + std::string(MailboxSession::kLineBytesMax - 5, 'x') + "\r\n";
  expect(scenario({longest + longer + "c NOOP\r\n"}),
         kGreeting + "a BAD Not a command before the login\r\nb BAD Command too long\r\n* BYE Command too long\r\n", "",
         "close line-too-long\n");
  expect(scenario({std::string(100000, 'x')}), kGreeting + "* BAD Command too long\r\n* BYE Command too long\r\n", "",
         "close line-too-long\n");
}

TEST(ImapInput, LiteralsAreBounded) {
  const std::string no = "a BAD Literal too large, or too many\r\n";
  for (const char* size : {"1025", "4294967296", "18446744073709551616", "99999999999999999999999999"}) {
    expect(scenario({"a LOGIN {"s + size + "}\r\nb NOOP\r\n"}), kGreeting + no + "b OK NOOP completed\r\n", "", "");
    expect(scenario({"a LOGIN {"s + size + "+}\r\nb NOOP\r\n"}),
           kGreeting + no + "* BYE Literal too large, or too many\r\n", "", "close line-too-long\n");
  }
  // As many octets as the command has room for, literals of it included.
  const std::string kilobyte = "{1024+}\r\n" + std::string(1024, 'x');
  expect(scenario({"a X " + kilobyte + kilobyte + "\r\nb X " + kilobyte + kilobyte + kilobyte + "\r\n"}),
         kGreeting + "a BAD Not a command before the login\r\nb BAD Literal too large, or too many\r\n" +
             "* BYE Literal too large, or too many\r\n",
         "", "close line-too-long\n");
  expect(scenario(
             {"a X {0+}\r\n {0+}\r\n {0+}\r\n {0+}\r\n\r\nb X {0+}\r\n {0+}\r\n {0+}\r\n {0+}\r\n {0}\r\nc NOOP\r\n"}),
         kGreeting +
             "a BAD Not a command before the login\r\nb BAD Literal too large, or too many\r\nc OK NOOP completed\r\n",
         "", "");
}

TEST(ImapInput, ALiteralIsNotACommand) {
  expect(scenario({"a X {22+}\r\nb LOGIN eve injected\r\n\r\nc NOOP\r\n"}),
         kGreeting + "a BAD Not a command before the login\r\nc OK NOOP completed\r\n", "", "");
  // A literal that ends in CR does not make the LF behind it a line's end.
  expect(scenario({"a X {1+}\r\n\r\nb NOOP\r\n"}), kGreeting + "a BAD Lines end in CRLF\r\nb OK NOOP completed\r\n", "",
         "");
}

TEST(ImapInput, BrowsersHearNothing) {
  expect(scenario({"GET /a HTTP/1.1\r\nHost: x\r\n"}), kGreeting, "", "close http\n");
}

TEST(ImapStore, SaysNothingUnasked) {
  Scenario played = scenario({"a LOGIN anna secret\r\n"});
  played.store = {kStoreGreeting + "P1 OK Logged in\r\n"};
  expect(played, kGreeting + kUnavailable, "", "close store-unasked\n");
  played.store = {"* OK hello\r\n* CAPABILITY IMAP4rev1\r\nP1 OK\r\n"};
  expect(played, kUnavailable, "", "close store-unasked\n");
  played.store = {kStoreGreeting, "P1 NO no\r\nP2 OK Logged in\r\n"};
  expect(played, kGreeting + "a NO [AUTHENTICATIONFAILED] no\r\n" + kUnavailable, "P1 LOGIN \"anna\" \"secret\"\r\n",
         "wanted anna LOGIN command plaintext grants\nfailed anna LOGIN command plaintext grants wrong-credentials\n"
         "close store-unasked\n");
}

// Dovecot does, when its authentication is slow to start.
TEST(ImapStore, GreetsTwice) {
  const std::string waiting = "* OK Waiting for authentication process to respond..\r\n";
  const std::string ready = "* OK [CAPABILITY IMAP4rev1 SASL-IR] Store ready.\r\n";
  const std::string greeting = "* OK [CAPABILITY IMAP4rev1 SASL-IR] Postern IMAP server ready\r\n";
  Scenario played = scenario();
  played.store = {waiting + ready};
  expect(played, greeting, "", "");
}

TEST(ImapStore, TalksWithoutEnd) {
  Scenario played = scenario({"a LOGIN anna secret\r\n"});
  std::string endless;
  while (endless.size() <= MailboxSession::kStoreReplyBytesMax) endless += "* OK still here\r\n";
  played.store.push_back(endless);
  expect(played, kGreeting + "a NO [UNAVAILABLE] Mail store is not available now, try again later\r\n" + kUnavailable,
         "P1 LOGIN \"anna\" \"secret\"\r\n",
         "wanted anna LOGIN command plaintext grants\nfailed anna LOGIN command plaintext grants unavailable\nclose "
         "store-garbage\n");
  played.store = {std::string(MailboxSession::kLineBytesMax + 1, '*')};
  expect(played, kUnavailable, "", "close store-garbage\n");
}

TEST(ImapGoodbye, OfTheDriver) {
  Scenario played = scenario({"a LOGIN {4}\r\nann"});
  played.goodbye = "Idle too long";
  expect(played, kGreeting + "+ OK\r\n* BYE Idle too long\r\n", "", "close goodbye\n");
}

}  // namespace
}  // namespace postern::net::mailbox::test
