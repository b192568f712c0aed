// POP3 logins: USER and PASS, APOP, AUTH; what the driver is asked, what the store hears, what the client is told.
#include <gtest/gtest.h>
#include <string>

#include "tests/net/mailbox/front.h"

namespace postern::net::mailbox::test {
namespace {

using namespace std::string_literals;

const std::string kGreeting = "+OK Postern POP3 server ready\r\n";
const std::string kStamp = "<1896.697170952@dbc.mtview.ca.us>";
const std::string kCapaReply =
    "+OK\r\nUSER\r\nSASL PLAIN LOGIN CRAM-MD5 SCRAM-SHA-256 XOAUTH2 GSSAPI DIGEST-MD5 ANONYMOUS EXTERNAL "
    "SCRAM-SHA-256-PLUS\r\n.\r\n";

// A client that says `client` to a store that answers with `replies` behind CAPA.
Scenario login(const std::string& client, std::vector<std::string> replies) {
  Scenario made;
  made.options.plaintext_allowed = true;
  made.store = {"+OK Store\r\n", kCapaReply};
  made.store.insert(made.store.end(), replies.begin(), replies.end());
  made.client = {client};
  return made;
}

Outcome play(const Scenario& played) {
  Outcome outcome = run_all_cuts(played);
  EXPECT_EQ(outcome.broken, "");
  EXPECT_EQ(outcome.heard.substr(0, 6), "CAPA\r\n");
  outcome.heard.erase(0, 6);
  EXPECT_EQ(outcome.said.substr(0, 29), kGreeting.substr(0, 29));
  outcome.said.erase(0, outcome.said.find("\r\n") + 2);
  outcome.said_before_success.erase(0, outcome.said_before_success.find("\r\n") + 2);
  return outcome;
}

void expect(const Scenario& played, const std::string& said, const std::string& heard, const std::string& events) {
  const Outcome outcome = play(played);
  EXPECT_EQ(outcome.said, said);
  EXPECT_EQ(outcome.heard, heard);
  EXPECT_EQ(outcome.events, events);
}

std::string won(const std::string& who) {
  return "wanted " + who + "\nsucceeded " + who + "\npassthrough\n";
}
std::string lost(const std::string& who, const std::string& why) {
  return "wanted " + who + "\nfailed " + who + " " + why + "\n";
}

TEST(Pop3UserPass, LogsInAndHandsOnTheRest) {
  const Outcome outcome = play(login("USER anna\r\nPASS  se cret \r\nSTAT\r\nRETR 1\r",
                                     {"+OK\r\n", "+OK Logged in, 2 messages\r\n+OK 2 320\r\n"}));
  EXPECT_EQ(outcome.said, "+OK\r\n+OK Logged in, 2 messages\r\n");
  EXPECT_EQ(outcome.said_before_success, "+OK\r\n");
  EXPECT_EQ(outcome.heard, "USER anna\r\nPASS  se cret \r\n");
  EXPECT_EQ(outcome.events, won("anna USER plaintext grants"));
  EXPECT_EQ(outcome.rest_client, "STAT\r\nRETR 1\r");
  EXPECT_EQ(outcome.rest_store, "+OK 2 320\r\n");
}

TEST(Pop3UserPass, WordsOfTheStoreAreMadeHarmless) {
  expect(login("USER anna\r\nPASS x\r\n", {"+OK\r\n", "+OK gr\xc3\xbc\xc3\x9f dich\r\n"}), "+OK\r\n+OK gr???? dich\r\n",
         "USER anna\r\nPASS x\r\n", won("anna USER plaintext grants"));
  expect(login("USER anna\r\nPASS x\r\n", {"+OK\r\n", "+OK\r\n"}), "+OK\r\n+OK Logged in\r\n",
         "USER anna\r\nPASS x\r\n", won("anna USER plaintext grants"));
}

TEST(Pop3UserPass, FailsAndMayBeTriedAgain) {
  expect(login("USER anna\r\nPASS wrong\r\nPASS wrong\r\nUSER bert\r\nPASS right\r\n",
               {"+OK\r\n", "-ERR [AUTH] Authentication failed.\r\n", "+OK\r\n", "+OK\r\n"}),
         "+OK\r\n-ERR [AUTH] Authentication failed.\r\n-ERR USER comes first\r\n+OK\r\n+OK Logged in\r\n",
         "USER anna\r\nPASS wrong\r\nUSER bert\r\nPASS right\r\n",
         lost("anna USER plaintext grants", "wrong-credentials") + won("bert USER plaintext grants"));
}

TEST(Pop3UserPass, AStoreThatKnowsTheNameOnlyHearsTheName) {
  expect(login("USER anna\r\nPASS x\r\n", {"-ERR who?\r\n"}), "+OK\r\n-ERR [AUTH] who?\r\n", "USER anna\r\n",
         lost("anna USER plaintext grants", "wrong-credentials"));
}

TEST(Pop3UserPass, WhyItFailed) {
  const auto expect_failure = [](const std::string& reply, const std::string& said, const std::string& why) {
    expect(login("USER anna\r\nPASS x\r\n", {"+OK\r\n", reply}), "+OK\r\n" + said, "USER anna\r\nPASS x\r\n",
           lost("anna USER plaintext grants", why));
  };
  expect_failure("-ERR\r\n", "-ERR [AUTH] Login failed\r\n", "wrong-credentials");
  expect_failure("-ERR no\r\n", "-ERR [AUTH] no\r\n", "wrong-credentials");
  expect_failure("-ERR [X-OWN] no\r\n", "-ERR [AUTH] no\r\n", "wrong-credentials");
  expect_failure("-ERR [SYS/TEMP] later\r\n", "-ERR [SYS/TEMP] later\r\n", "unavailable");
  expect_failure("-ERR [sys/temp]\r\n", "-ERR [SYS/TEMP] Login failed\r\n", "unavailable");
  expect_failure("-ERR [SYS/PERM] never\r\n", "-ERR [SYS/PERM] never\r\n", "refused");
  expect_failure("-ERR [IN-USE] locked\r\n", "-ERR [IN-USE] locked\r\n", "unavailable");
  expect_failure("-ERR [LOGIN-DELAY] slow\r\n", "-ERR [LOGIN-DELAY] slow\r\n", "unavailable");
}

TEST(Pop3UserPass, TheStoreGoesAwayMeanwhile) {
  Scenario played = login("USER anna\r\nPASS x\r\n", {"+OK\r\n", "+OK Logg"});
  played.store_leaves = true;
  expect(played, "+OK\r\n-ERR [SYS/TEMP] Mail store is not available now, try again later\r\n",
         "USER anna\r\nPASS x\r\n", lost("anna USER plaintext grants", "unavailable") + "close store-lost\n");
}

TEST(Pop3UserPass, TheStoreSaysWhatIsNoReply) {
  for (const std::string& garbage : {"+ go on\r\n"s, "* OK\r\n"s, "+OK\n"s, "+OK\0\r\n"s}) {
    for (const bool is_to_user : {true, false}) {
      Scenario played = login("USER anna\r\nPASS x\r\n", {is_to_user ? garbage : "+OK\r\n", garbage});
      expect(played, "+OK\r\n-ERR [SYS/TEMP] Mail store is not available now, try again later\r\n",
             is_to_user ? "USER anna\r\n" : "USER anna\r\nPASS x\r\n",
             lost("anna USER plaintext grants", "unavailable") + "close store-garbage\n");
    }
  }
}

TEST(Pop3UserPass, TheGuardRefuses) {
  Scenario played =
      login("USER anna\r\nPASS secret\r\nUSER bert\r\nPASS secret\r\nUSER carl\r\nPASS secret\r\nCAPA\r\n", {});
  played.answers = {LoginAnswer::refuse, LoginAnswer::unavailable, LoginAnswer::close};
  expect(played,
         "+OK\r\n-ERR [AUTH] Authentication failed\r\n+OK\r\n-ERR [SYS/TEMP] Logins are not possible now, try again "
         "later\r\n"
         "+OK\r\n-ERR [AUTH] Authentication failed\r\n",
         "",
         "wanted anna USER plaintext grants\nwanted bert USER plaintext grants\nwanted carl USER plaintext "
         "grants\nclose guard\n");
}

TEST(Pop3UserPass, ErrorsEndIt) {
  Scenario played = login("USER anna\r\nPASS x\r\nUSER anna\r\nPASS y\r\nUSER anna\r\n",
                          {"+OK\r\n", "-ERR\r\n", "+OK\r\n", "-ERR\r\n"});
  played.options.errors_max = 2;
  expect(played, "+OK\r\n-ERR [AUTH] Login failed\r\n+OK\r\n-ERR [AUTH] Login failed\r\n",
         "USER anna\r\nPASS x\r\nUSER anna\r\nPASS y\r\n",
         lost("anna USER plaintext grants", "wrong-credentials") +
             lost("anna USER plaintext grants", "wrong-credentials") + "close errors\n");
}

TEST(Pop3UserPass, NeedsEncryption) {
  Scenario played = login("USER anna\r\nPASS secret\r\n", {});
  played.options.plaintext_allowed = false;
  expect(played, "-ERR Encryption is needed for USER and PASS\r\n-ERR USER comes first\r\n", "", "");
}

TEST(Pop3UserPass, Bounds) {
  const std::string name(kUserBytesMax, 'a');
  const std::string password(MailboxSession::kPasswordBytesMax, 'x');
  expect(login("USER \r\nUSER\r\nUSER " + name + "a\r\nUSER anna\r\nPASS\r\nUSER anna\r\nPASS \r\nUSER anna\r\nPASS " +
                   password + "x\r\nUSER " + name + "\r\nPASS " + password + "\r\n",
               {"+OK\r\n", "+OK\r\n"}),
         "-ERR Not a user's name\r\n-ERR Not a user's name\r\n-ERR Not a user's name\r\n+OK\r\n-ERR Not a "
         "password\r\n+OK\r\n"
         "-ERR Not a password\r\n+OK\r\n-ERR Not a password\r\n+OK\r\n+OK Logged in\r\n",
         "USER " + name + "\r\nPASS " + password + "\r\n", won(name + " USER plaintext grants"));
}

TEST(Pop3UserPass, MasterUsersGrantNothing) {
  Scenario played = login("USER anna*root\r\nPASS x\r\n", {"+OK\r\n", "+OK\r\n"});
  played.options.master_separator = '*';
  expect(played, "+OK\r\n+OK Logged in\r\n", "USER anna*root\r\nPASS x\r\n", won("anna*root USER plaintext"));
}

TEST(Pop3Apop, LogsIn) {
  const std::string digest = "c4c9334bac560ecc979e58001b3e22fb";  // RFC 1939 section 7
  Scenario played = login("APOP mrose " + digest + "\r\nSTAT\r\n", {"+OK maildrop has 1 message (369 octets)\r\n"});
  expect(played, "-ERR APOP is not offered\r\n-ERR Not a command before the login\r\n", "", "");
  played.store[0] = "+OK POP3 server ready " + kStamp + "\r\n";
  played.options.plaintext_allowed = false;
  const Outcome outcome = play(played);
  EXPECT_EQ(outcome.said, "+OK maildrop has 1 message (369 octets)\r\n");
  EXPECT_EQ(outcome.heard, "APOP mrose " + digest + "\r\n");
  EXPECT_EQ(outcome.events, won("mrose APOP grants"));
  EXPECT_EQ(outcome.rest_client, "STAT\r\n");
  played.client = {"APOP mrose " + digest.substr(1) + "\r\nAPOP " + digest + "\r\nAPOP mrose x" + digest.substr(1) +
                   "\r\nAPOP\r\n"};
  const std::string no = "-ERR Not a name and a digest\r\n";
  expect(played, no + no + no + no, "", "");
}

const std::string kPlain = base64("\0anna\0secret"s);

TEST(Pop3AuthPlain, WithAndWithoutInitialResponse) {
  expect(login("AUTH plain " + kPlain + "\r\n", {"+OK\r\n"}), "+OK Logged in\r\n", "AUTH PLAIN " + kPlain + "\r\n",
         won("anna PLAIN plaintext grants"));
  expect(login("AUTH PLAIN\r\n" + kPlain + "\r\n", {"+OK\r\n"}), "+ \r\n+OK Logged in\r\n",
         "AUTH PLAIN " + kPlain + "\r\n", won("anna PLAIN plaintext grants"));
}

TEST(Pop3AuthPlain, ALongInitialResponseWaitsForTheStoresQuestion) {
  const std::string fits = base64("\0anna\0"s + std::string(174, 'x'));
  ASSERT_EQ(fits.size(), 240U);
  expect(login("AUTH PLAIN " + fits + "\r\n", {"+OK\r\n"}), "+OK Logged in\r\n", "AUTH PLAIN " + fits + "\r\n",
         won("anna PLAIN plaintext grants"));
  const std::string longer = base64("\0anna\0"s + std::string(177, 'x'));
  expect(login("AUTH PLAIN " + longer + "\r\n", {"+ \r\n", "+OK\r\n"}), "+OK Logged in\r\n",
         "AUTH PLAIN\r\n" + longer + "\r\n", won("anna PLAIN plaintext grants"));
  expect(login("AUTH PLAIN " + longer + "\r\n", {"+OK\r\n"}),
         "-ERR [SYS/TEMP] Mail store is not available now, try again later\r\n", "AUTH PLAIN\r\n",
         lost("anna PLAIN plaintext grants", "unavailable") + "close store-garbage\n");
}

TEST(Pop3AuthPlain, AnotherAuthorizationIdentityGrantsNothing) {
  const std::string response = base64("bert\0root\0secret"s);
  expect(login("AUTH PLAIN " + response + "\r\n", {"+OK\r\n"}), "+OK Logged in\r\n", "AUTH PLAIN " + response + "\r\n",
         won("root PLAIN plaintext"));
}

TEST(Pop3AuthPlain, WhatIsNoMessageOfItDoesNotReachTheStore) {
  expect(login("AUTH PLAIN !\r\nAUTH PLAIN " + base64("anna secret") +
                   "\r\nAUTH PLAIN =\r\nAUTH PLAIN \r\nAUTH PLAIN a b\r\n"
                   "AUTH PLAIN\r\n*\r\nAUTH PLAIN\r\nabc\r\nAUTH PLAIN\r\n\r\nAUTH PLAIN\r\n" +
                   kPlain + "\n",
               {}),
         "-ERR Not base 64\r\n-ERR Not a message of this mechanism\r\n-ERR Not a message of this mechanism\r\n"
         "-ERR A blank, and nothing behind it\r\n-ERR Not base 64\r\n+ \r\n-ERR Login cancelled\r\n+ \r\n-ERR Not base "
         "64\r\n"
         "+ \r\n-ERR Not a message of this mechanism\r\n+ \r\n-ERR Lines end in CRLF\r\n",
         "", "");
}

TEST(Pop3AuthLogin, AsksTheGuardWhenItHasTheName) {
  const std::string name = base64("anna");
  const std::string password = base64("secret");
  const std::vector<std::string> store = {"+ VXNlcm5hbWU6\r\n", "+ UGFzc3dvcmQ6\r\n", "+OK\r\n"};
  expect(login("AUTH LOGIN\r\n" + name + "\r\n" + password + "\r\n", store),
         "+ VXNlcm5hbWU6\r\n+ UGFzc3dvcmQ6\r\n+OK Logged in\r\n", "AUTH LOGIN\r\n" + name + "\r\n" + password + "\r\n",
         won("anna LOGIN plaintext grants"));
  // The name along with the command: the store's question for it is answered for the client.
  expect(login("AUTH LOGIN " + name + "\r\n" + password + "\r\n", store), "+ UGFzc3dvcmQ6\r\n+OK Logged in\r\n",
         "AUTH LOGIN\r\n" + name + "\r\n" + password + "\r\n", won("anna LOGIN plaintext grants"));
}

TEST(Pop3AuthLogin, IsCancelledAtTheStoreAsWell) {
  const std::string name = base64("anna");
  Scenario played = login("AUTH LOGIN\r\n" + name + "\r\nCAPA\r\n", {"+ VXNlcm5hbWU6\r\n", "-ERR aborted\r\n"});
  played.answers = {LoginAnswer::refuse};
  played.client = {"AUTH LOGIN\r\n" + name + "\r\n"};
  expect(played, "+ VXNlcm5hbWU6\r\n-ERR [AUTH] Authentication failed\r\n", "AUTH LOGIN\r\n*\r\n",
         "wanted anna LOGIN plaintext grants\n");
  played.answers = {};
  played.client = {"AUTH LOGIN\r\n*\r\n"};
  expect(played, "+ VXNlcm5hbWU6\r\n-ERR Login cancelled\r\n", "AUTH LOGIN\r\n*\r\n", "");
  played.store.insert(played.store.begin() + 3, "+ UGFzc3dvcmQ6\r\n");
  played.client = {"AUTH LOGIN\r\n" + name + "\r\n*\r\n"};
  expect(played, "+ VXNlcm5hbWU6\r\n+ UGFzc3dvcmQ6\r\n-ERR Login cancelled\r\n", "AUTH LOGIN\r\n" + name + "\r\n*\r\n",
         lost("anna LOGIN plaintext grants", "cancelled"));
}

TEST(Pop3AuthLogin, AStoreThatSaysYesToACancelledLoginIsNotBelieved) {
  Scenario played = login("AUTH LOGIN\r\n*\r\n", {"+ VXNlcm5hbWU6\r\n", "+OK Logged in\r\n"});
  expect(played, "+ VXNlcm5hbWU6\r\n-ERR [SYS/TEMP] Mail store is not available now, try again later\r\n",
         "AUTH LOGIN\r\n*\r\n", "close store-garbage\n");
  played.store[2] = "+OK Logged in\r\n";  // before anything was said
  played.client = {"AUTH LOGIN\r\n"};
  expect(played, "-ERR [SYS/TEMP] Mail store is not available now, try again later\r\n", "AUTH LOGIN\r\n",
         "close store-garbage\n");
}

TEST(Pop3AuthCram, LogsInWithoutEncryption) {
  // RFC 2195 section 2's example.
  const std::string challenge = "PDE4OTYuNjk3MTcwOTUyQHBvc3RvZmZpY2UucmVzdG9uLm1jaS5uZXQ+";
  const std::string response = "dGltIGI5MTNhNjAyYzdlZGE3YTQ5NWI0ZTZlNzMzNGQzODkw";
  Scenario played =
      login("AUTH CRAM-MD5 x\r\nAUTH CRAM-MD5\r\n" + response + "\r\n", {"+ " + challenge + "\r\n", "+OK\r\n"});
  played.options.plaintext_allowed = false;
  expect(played, "-ERR This mechanism has no initial response\r\n+ " + challenge + "\r\n+OK Logged in\r\n",
         "AUTH CRAM-MD5\r\n" + response + "\r\n", won("tim CRAM-MD5 grants"));
}

TEST(Pop3AuthScram, GoesToItsEnd) {
  // RFC 7677 section 3's example.
  const std::string first = base64("n,,n=user,r=rOprNGfwEbeRWgbNEkqO");
  const std::string challenge =
      base64("r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0,s=W22ZaJ0SNY7soEsUEjb6gQ==,i=4096");
  const std::string final = base64(
      "c=biws,r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0,p=dHzbZapWIk4jUhN+Ute9ytag9zjfMHgsqmmiz7AndVQ=");
  const std::string signature = base64("v=6rriTRBi23WpRR/wtup+mMhUZUn/dB5nLTJRsjl95G4=");
  expect(login("AUTH SCRAM-SHA-256 " + first + "\r\n" + final + "\r\n\r\nSTAT\r\n",
               {"+ " + challenge + "\r\n", "+ " + signature + "\r\n", "+OK\r\n"}),
         "+ " + challenge + "\r\n+ " + signature + "\r\n+OK Logged in\r\n",
         "AUTH SCRAM-SHA-256 " + first + "\r\n" + final + "\r\n\r\n", won("user SCRAM-SHA-256 grants"));
}

TEST(Pop3AuthXoauth2, TellsTheClientWhatIsWrong) {
  const std::string first = base64("user=anna@example.net\1auth=Bearer vF9d\1\1");
  const std::string error = base64(R"({"status":"401"})");
  expect(login("AUTH XOAUTH2 " + first + "\r\n\r\n", {"+ " + error + "\r\n", "-ERR [AUTH] no\r\n"}),
         "+ " + error + "\r\n-ERR [AUTH] no\r\n", "AUTH XOAUTH2 " + first + "\r\n\r\n",
         lost("anna@example.net XOAUTH2 plaintext grants", "wrong-credentials"));
}

TEST(Pop3AuthUnseen, GrantsNothing) {
  expect(login("AUTH GSSAPI =\r\nYIIB\r\n", {"+ \r\n", "+OK\r\n"}), "+ \r\n+OK Logged in\r\n",
         "AUTH GSSAPI =\r\nYIIB\r\n", won(" GSSAPI"));
  expect(login("AUTH GSSAPI\r\nYIIB\r\n", {"+ \r\n", "+OK\r\n"}), "+ \r\n+OK Logged in\r\n", "AUTH GSSAPI\r\nYIIB\r\n",
         won(" GSSAPI"));
}

TEST(Pop3Auth, WhatIsNotOfferedDoesNotReachTheStore) {
  const std::string no = "-ERR Mechanism is not offered\r\n";
  expect(login("AUTH ANONYMOUS =\r\nAUTH EXTERNAL =\r\nAUTH SCRAM-SHA-256-PLUS\r\nAUTH SCRAM-SHA-1\r\nAUTH "
               "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAA\r\n",
               {}),
         no + no + no + no + no, "", "");
  Scenario played = login("AUTH PLAIN " + kPlain + "\r\nAUTH LOGIN\r\n", {});
  played.options.plaintext_allowed = false;
  expect(played, "-ERR Encryption is needed for this mechanism\r\n-ERR Encryption is needed for this mechanism\r\n", "",
         "");
}

TEST(Pop3Auth, AResponseHasABound) {
  const std::string longest(MailboxSession::kLineBytesMax - 4, 'A');  // a multiple of four, and its CRLF
  ASSERT_EQ(longest.size() % 4, 0U);
  expect(login("AUTH GSSAPI\r\n" + longest + "\r\n", {"+ \r\n", "-ERR no\r\n"}), "+ \r\n-ERR [AUTH] no\r\n",
         "AUTH GSSAPI\r\n" + longest + "\r\n", lost(" GSSAPI", "wrong-credentials"));
  expect(login("AUTH GSSAPI\r\n" + longest + "AAAA\r\n", {"+ \r\n", "-ERR no\r\n"}), "+ \r\n-ERR Response too long\r\n",
         "AUTH GSSAPI\r\n", "close line-too-long\n");
}

TEST(Pop3Auth, AChallengeIsBase64OrTheStoreIsNone) {
  expect(login("AUTH CRAM-MD5\r\n", {"+ what?\r\n"}),
         "-ERR [SYS/TEMP] Mail store is not available now, try again later\r\n", "AUTH CRAM-MD5\r\n",
         "close store-garbage\n");
  expect(login("AUTH GSSAPI\r\n*\r\n", {"+\r\n", "-ERR\r\n"}), "+ \r\n-ERR Login cancelled\r\n", "AUTH GSSAPI\r\n*\r\n",
         "");
}

}  // namespace
}  // namespace postern::net::mailbox::test
