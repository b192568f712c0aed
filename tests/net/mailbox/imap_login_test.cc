// IMAP logins: LOGIN and AUTHENTICATE; what the driver is asked, what the store hears, what the client is told.
#include <gtest/gtest.h>
#include <string>

#include "tests/net/mailbox/front.h"

namespace postern::net::mailbox::test {
namespace {

using namespace std::string_literals;

const std::string kWho = "anna LOGIN command plaintext grants";
const std::string kUnavailable = "[UNAVAILABLE] Mail store is not available now, try again later\r\n";

Scenario login(const std::string& client, std::vector<std::string> replies,
               const std::string& capabilities = "SASL-IR LITERAL+") {
  Scenario made;
  made.protocol = Protocol::imap;
  made.options.plaintext_allowed = true;
  made.store = {"* OK [CAPABILITY IMAP4rev1 AUTH=PLAIN AUTH=LOGIN AUTH=CRAM-MD5 AUTH=XOAUTH2 AUTH=GSSAPI " +
                capabilities + "] x\r\n"};
  made.store.insert(made.store.end(), replies.begin(), replies.end());
  made.client = {client};
  return made;
}

Outcome play(const Scenario& played) {
  Outcome outcome = run_all_cuts(played);
  EXPECT_EQ(outcome.broken, "");
  EXPECT_EQ(outcome.said.substr(0, 15), "* OK [CAPABILIT");
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

TEST(ImapLogin, LogsInAndHandsOnTheRest) {
  const Outcome outcome =
      play(login("a1 login anna secret\r\na2 SELECT INBOX\r\na3 {3+}\r\nx",
                 {"P1 OK [CAPABILITY IMAP4rev1 STARTTLS COMPRESS=DEFLATE IDLE] Logged in\r\n* 1 EXISTS\r\n"}));
  EXPECT_EQ(outcome.said, "a1 OK [CAPABILITY IMAP4rev1 COMPRESS=DEFLATE IDLE] Logged in\r\n");
  EXPECT_EQ(outcome.said_before_success, "");
  EXPECT_EQ(outcome.heard, "P1 LOGIN \"anna\" \"secret\"\r\n");
  EXPECT_EQ(outcome.events, won(kWho));
  EXPECT_EQ(outcome.rest_client, "a2 SELECT INBOX\r\na3 {3+}\r\nx");
  EXPECT_EQ(outcome.rest_store, "* 1 EXISTS\r\n");
}

TEST(ImapLogin, TheSuccessAsTheStorePutsIt) {
  const auto expect_said = [](const std::string& reply, const std::string& said) {
    expect(login("a LOGIN anna secret\r\n", {reply}), said, "P1 LOGIN \"anna\" \"secret\"\r\n", won(kWho));
  };
  expect_said("P1 OK\r\n", "a OK Logged in\r\n");
  expect_said(
      "P1 ok Willkommen zur\xc3\xbc"
      "ck\r\n",
      "a OK Willkommen zur??ck\r\n");
  expect_said("P1 OK [ALERT] Quota\r\n", "a OK [ALERT] Quota\r\n");
  expect_said("P1 OK [REFERRAL imap://other/] x\r\n", "a OK x\r\n");
  expect_said("P1 OK [CAPABILITY STARTTLS] x\r\n", "a OK [CAPABILITY ] x\r\n");
  // Dovecot, when CAPABILITY was asked before; others always.
  expect_said("* CAPABILITY IMAP4rev1 STARTTLS IDLE AUTH=EXTERNAL\r\nP1 OK Logged in\r\n",
              "* CAPABILITY IMAP4rev1 IDLE\r\na OK Logged in\r\n");
}

TEST(ImapLogin, UntaggedResponsesToIt) {
  expect(login("a LOGIN anna secret\r\n",
               {"* OK [ALERT] Disk \xff full\r\n* NO [ALERT] Again\r\n* OK plain words\r\n* LIST () x\r\n"
                "* CAPABILITY IMAP4rev1\r\n* CAPABILITY IDLE UNAUTHENTICATE\r\nP1 OK\r\n"}),
         "* OK [ALERT] Disk ? full\r\n* OK [ALERT] Again\r\n* CAPABILITY IDLE\r\na OK Logged in\r\n",
         "P1 LOGIN \"anna\" \"secret\"\r\n", won(kWho));
  // Capabilities are the client's only when it is logged in.
  expect(login("a LOGIN anna secret\r\nb LOGIN anna secret\r\n", {"* CAPABILITY IDLE\r\nP1 NO\r\n", "P2 OK\r\n"}),
         "a NO [AUTHENTICATIONFAILED] Login failed\r\nb OK Logged in\r\n",
         "P1 LOGIN \"anna\" \"secret\"\r\nP2 LOGIN \"anna\" \"secret\"\r\n",
         lost(kWho, "wrong-credentials") + won(kWho));
}

TEST(ImapLogin, EverySpellingOfTheArguments) {
  const auto expect_heard = [](const std::string& arguments, const std::string& heard) {
    expect(login("a LOGIN " + arguments + "\r\n", {"P1 OK\r\n"}), "a OK Logged in\r\n", "P1 LOGIN " + heard + "\r\n",
           won(kWho));
  };
  expect_heard(R"("anna" "se \"cr\\et")", R"("anna" "se \"cr\\et")");
  expect_heard("{4+}\r\nanna {6+}\r\nsecret", R"("anna" "secret")");
  expect_heard("anna \"\"", R"("anna" "")");
  expect_heard("anna {0+}\r\n", R"("anna" "")");
  expect_heard("anna p%s*s]", R"("anna" "p%s*s]")");
  expect_heard("anna {5+}\r\na\r\nb\"", "\"anna\" {5+}\r\na\r\nb\"");
  expect_heard("anna \"\xc3\xa4\"", "\"anna\" {2+}\r\n\xc3\xa4");
}

TEST(ImapLogin, LiteralsThatWait) {
  expect(login("a LOGIN {4}\r\nanna {6}\r\nsecret\r\n", {"P1 OK\r\n"}), "+ OK\r\n+ OK\r\na OK Logged in\r\n",
         "P1 LOGIN \"anna\" \"secret\"\r\n", won(kWho));
}

TEST(ImapLogin, LiteralsTheStoreMustAskFor) {
  const std::string user = "\xc3\xa4nna";
  const std::string who = user + " LOGIN command plaintext grants";
  const std::string command = "a LOGIN \"" + user + "\" {2+}\r\n\xc3\xa4\r\n";
  expect(login(command, {"+ go on\r\n", "+\r\n", "P1 OK\r\n"}, "SASL-IR"), "a OK Logged in\r\n",
         "P1 LOGIN {5}\r\n" + user + " {2}\r\n\xc3\xa4\r\n", won(who));
  expect(login(command, {"P1 OK\r\n"}, "LITERAL-"), "a OK Logged in\r\n",
         "P1 LOGIN {5+}\r\n" + user + " {2+}\r\n\xc3\xa4\r\n", won(who));
  expect(login("a LOGIN \"" + user + "\" x\r\n", {"+ go on\r\n", "P1 OK\r\n"}, "SASL-IR"), "a OK Logged in\r\n",
         "P1 LOGIN {5}\r\n" + user + " \"x\"\r\n", won(who));
  expect(login(command, {"P1 NO too large\r\n"}, "SASL-IR"), "a NO [AUTHENTICATIONFAILED] too large\r\n",
         "P1 LOGIN {5}\r\n", lost(who, "wrong-credentials"));
  // Success before it has all is somebody else's.
  expect(login(command, {"+\r\n", "P1 OK\r\n"}, "SASL-IR"), "a NO " + kUnavailable + "* BYE " + kUnavailable,
         "P1 LOGIN {5}\r\n" + user + " {2}\r\n", lost(who, "unavailable") + "close store-garbage\n");
}

TEST(ImapLogin, CapabilitiesDoNotTakeThePlaceOfWhatIsHeld) {
  expect(login("a LOGIN anna \"\xc3\xa4\"\r\n", {"* CAPABILITY IMAP4rev1\r\n+ go on\r\n", "P1 OK\r\n"}, "SASL-IR"),
         "a OK Logged in\r\n", "P1 LOGIN \"anna\" {2}\r\n\xc3\xa4\r\n", won(kWho));
}

TEST(ImapLogin, WhyItFailed) {
  const auto expect_failure = [](const std::string& reply, const std::string& said, const std::string& why) {
    expect(login("a LOGIN anna x\r\n", {"P1 " + reply + "\r\n"}), "a " + said + "\r\n", "P1 LOGIN \"anna\" \"x\"\r\n",
           lost(kWho, why));
  };
  expect_failure("NO", "NO [AUTHENTICATIONFAILED] Login failed", "wrong-credentials");
  expect_failure("no wrong", "NO [AUTHENTICATIONFAILED] wrong", "wrong-credentials");
  expect_failure("NO [AUTHENTICATIONFAILED] wrong", "NO [AUTHENTICATIONFAILED] wrong", "wrong-credentials");
  expect_failure("NO [X-OWN] wrong", "NO [AUTHENTICATIONFAILED] wrong", "wrong-credentials");
  expect_failure("NO [REFERRAL imap://other/] gone", "NO [AUTHENTICATIONFAILED] gone", "wrong-credentials");
  expect_failure("NO [ALERT] wrong", "NO [ALERT] wrong", "wrong-credentials");
  expect_failure("NO [AUTHORIZATIONFAILED] no", "NO [AUTHORIZATIONFAILED] no", "refused");
  expect_failure("NO [EXPIRED] no", "NO [EXPIRED] no", "refused");
  expect_failure("NO [PRIVACYREQUIRED] no", "NO [PRIVACYREQUIRED] no", "refused");
  expect_failure("NO [CONTACTADMIN] no", "NO [CONTACTADMIN] no", "refused");
  expect_failure("NO [UNAVAILABLE] later", "NO [UNAVAILABLE] later", "unavailable");
  expect_failure("NO [inuse] later", "NO [INUSE] later", "unavailable");
  expect_failure("NO [LIMIT] later", "NO [LIMIT] later", "unavailable");
  expect_failure("BAD what?", "BAD what?", "cancelled");
}

TEST(ImapLogin, WhatIsNoReply) {
  for (const std::string& garbage :
       {"P2 OK\r\n"s, "a OK\r\n"s, "p1 OK\r\n"s, "+ x\r\n"s, "OK\r\n"s, "* PREAUTH x\r\n"s, "P1 OKAY\r\n"s}) {
    expect(login("a LOGIN anna x\r\n", {garbage}), "a NO " + kUnavailable + "* BYE " + kUnavailable,
           "P1 LOGIN \"anna\" \"x\"\r\n", lost(kWho, "unavailable") + "close store-garbage\n");
  }
  expect(login("a LOGIN anna x\r\n", {"* BYE Shutting down\r\n"}), "a NO " + kUnavailable + "* BYE " + kUnavailable,
         "P1 LOGIN \"anna\" \"x\"\r\n", lost(kWho, "unavailable") + "close store-refused\n");
  Scenario played = login("a LOGIN anna x\r\n", {"P1 O"});
  played.store_leaves = true;
  expect(played, "a NO " + kUnavailable + "* BYE " + kUnavailable, "P1 LOGIN \"anna\" \"x\"\r\n",
         lost(kWho, "unavailable") + "close store-lost\n");
}

TEST(ImapLogin, NeedsEncryptionAndDoesNotAskForThePasswordThen) {
  Scenario played = login("a LOGIN anna secret\r\nb LOGIN {4}\r\nc LOGIN anna {6+}\r\nsecret\r\n", {});
  played.options.plaintext_allowed = false;
  const std::string no = " NO [PRIVACYREQUIRED] Encryption is needed for LOGIN\r\n";
  expect(played, "a" + no + "b" + no + "c" + no, "", "");
  played = login("a LOGIN anna secret\r\nb LOGIN {4}\r\n", {}, "LOGINDISABLED");
  expect(played, "a NO LOGIN is not offered\r\nb NO LOGIN is not offered\r\n", "", "");
}

TEST(ImapLogin, TheGuardRefuses) {
  Scenario played = login("a LOGIN anna x\r\nb LOGIN anna x\r\nc LOGIN anna x\r\nd NOOP\r\n", {});
  played.answers = {LoginAnswer::refuse, LoginAnswer::unavailable, LoginAnswer::close};
  expect(played,
         "a NO [AUTHENTICATIONFAILED] Authentication failed\r\nb NO [UNAVAILABLE] Logins are not possible now, try "
         "again later\r\n"
         "c NO [AUTHENTICATIONFAILED] Authentication failed\r\n* BYE Too many failed logins\r\n",
         "", "wanted " + kWho + "\nwanted " + kWho + "\nwanted " + kWho + "\nclose guard\n");
}

TEST(ImapLogin, Bounds) {
  const std::string user(kUserBytesMax, '"');
  const std::string password(MailboxSession::kPasswordBytesMax, '"');
  std::string quoted_user;
  std::string quoted_password;
  for (std::size_t i = 0; i < user.size(); ++i) quoted_user += "\\\"";
  for (std::size_t i = 0; i < password.size(); ++i) quoted_password += "\\\"";
  expect(login("a LOGIN {255+}\r\n" + user + " {1024+}\r\n" + password + "\r\n", {"P1 OK\r\n"}), "a OK Logged in\r\n",
         "P1 LOGIN \"" + quoted_user + "\" \"" + quoted_password + "\"\r\n",
         won(user + " LOGIN command plaintext grants"));
  expect(
      login("a LOGIN {256+}\r\n" + user + "x x\r\nb LOGIN \"\" x\r\nc LOGIN x " + std::string(1025, 'x') + "\r\n", {}),
      "a BAD Not a user's name\r\nb BAD Not a user's name\r\nc BAD Password too long\r\n", "", "");
}

TEST(ImapLogin, MasterUsersGrantNothing) {
  Scenario played = login("a LOGIN anna*root x\r\n", {"P1 OK\r\n"});
  played.options.master_separator = '*';
  expect(played, "a OK Logged in\r\n", "P1 LOGIN \"anna*root\" \"x\"\r\n", won("anna*root LOGIN command plaintext"));
}

const std::string kPlain = base64("\0anna\0secret"s);

TEST(ImapAuthenticate, PlainInEveryForm) {
  const std::string who = "anna PLAIN plaintext grants";
  expect(login("a authenticate plain " + kPlain + "\r\n", {"P1 OK\r\n"}), "a OK Logged in\r\n",
         "P1 AUTHENTICATE PLAIN " + kPlain + "\r\n", won(who));
  expect(login("a AUTHENTICATE PLAIN\r\n" + kPlain + "\r\n", {"P1 OK\r\n"}), "+ \r\na OK Logged in\r\n",
         "P1 AUTHENTICATE PLAIN " + kPlain + "\r\n", won(who));
  // A store without SASL-IR: its question is waited for, whatever it says in it.
  expect(login("a AUTHENTICATE PLAIN " + kPlain + "\r\n", {"+ go ahead\r\n", "P1 OK\r\n"}, "ID"), "a OK Logged in\r\n",
         "P1 AUTHENTICATE PLAIN\r\n" + kPlain + "\r\n", won(who));
}

TEST(ImapAuthenticate, LoginAndWhatTheStoreSaysBetween) {
  expect(login("a AUTHENTICATE LOGIN\r\n" + base64("anna") + "\r\n" + base64("secret") + "\r\nb NOOP\r\n",
               {"* OK [ALERT] Beware\r\n+ VXNlcm5hbWU6\r\n", "+ UGFzc3dvcmQ6\r\n", "* CAPABILITY IDLE\r\nP1 OK\r\n"}),
         "* OK [ALERT] Beware\r\n+ VXNlcm5hbWU6\r\n+ UGFzc3dvcmQ6\r\n* CAPABILITY IDLE\r\na OK Logged in\r\n",
         "P1 AUTHENTICATE LOGIN\r\n" + base64("anna") + "\r\n" + base64("secret") + "\r\n",
         won("anna LOGIN plaintext grants"));
}

TEST(ImapAuthenticate, CapabilitiesBetweenTwoMessagesDoNotDisturb) {
  expect(login("a AUTHENTICATE LOGIN\r\n" + base64("anna") + "\r\n" + base64("secret") + "\r\n",
               {"+ VXNlcm5hbWU6\r\n", "* CAPABILITY IMAP4rev1 IDLE\r\n+ UGFzc3dvcmQ6\r\n", "P1 OK\r\n"}),
         "+ VXNlcm5hbWU6\r\n+ UGFzc3dvcmQ6\r\na OK Logged in\r\n",
         "P1 AUTHENTICATE LOGIN\r\n" + base64("anna") + "\r\n" + base64("secret") + "\r\n",
         won("anna LOGIN plaintext grants"));
}

TEST(ImapAuthenticate, Cancelled) {
  expect(login("a AUTHENTICATE PLAIN\r\n*\r\nb AUTHENTICATE CRAM-MD5\r\n*\r\nc NOOP\r\n",
               {"+ PDE4OUA+\r\n", "P1 BAD aborted\r\n"}),
         "+ \r\na BAD Login cancelled\r\n+ PDE4OUA+\r\nb BAD Login cancelled\r\nc OK NOOP completed\r\n",
         "P1 AUTHENTICATE CRAM-MD5\r\n*\r\n", "");
  expect(login("a AUTHENTICATE CRAM-MD5\r\nno base 64\r\n", {"+ PDE4OUA+\r\n", "P1 OK Logged in\r\n"}),
         "+ PDE4OUA+\r\na NO " + kUnavailable + "* BYE " + kUnavailable, "P1 AUTHENTICATE CRAM-MD5\r\n*\r\n",
         "close store-garbage\n");
}

TEST(ImapAuthenticate, TheGuardRefusesInTheMiddle) {
  Scenario played = login("a AUTHENTICATE CRAM-MD5\r\n" + base64("tim b913a602c7eda7a495b4e6e7334d3890") + "\r\n",
                          {"+ PDE4OUA+\r\n", "P1 BAD aborted\r\n"});
  played.answers = {LoginAnswer::unavailable};
  expect(played, "+ PDE4OUA+\r\na NO [UNAVAILABLE] Logins are not possible now, try again later\r\n",
         "P1 AUTHENTICATE CRAM-MD5\r\n*\r\n", "wanted tim CRAM-MD5 grants\n");
}

TEST(ImapAuthenticate, WhatIsNotOfferedOrMalformed) {
  Scenario played = login(
      "a AUTHENTICATE\r\nb AUTHENTICATE PLAIN \r\nc AUTHENTICATE ANONYMOUS eA==\r\nd AUTHENTICATE \"PLAIN\"\r\n"
      "e AUTHENTICATE PLAIN a\r\nf AUTHENTICATE CRAM-MD5 eA==\r\n",
      {});
  const std::string head =
      "a BAD AUTHENTICATE takes a mechanism\r\nb BAD A blank, and nothing behind it\r\n"
      "c NO Mechanism is not offered\r\nd NO Mechanism is not offered\r\n";
  expect(played, head + "e BAD Not base 64\r\nf BAD This mechanism has no initial response\r\n", "", "");
  played.options.plaintext_allowed = false;
  expect(played,
         head +
             "e NO [PRIVACYREQUIRED] Encryption is needed for this mechanism\r\nf BAD This mechanism has no initial "
             "response\r\n",
         "", "");
}

TEST(ImapAuthenticate, ATokenAndItsError) {
  const std::string first = base64("user=anna@example.net\1auth=Bearer vF9d\1\1");
  const std::string error = base64(R"({"status":"400"})");
  expect(login("a AUTHENTICATE XOAUTH2 " + first + "\r\n\r\n",
               {"+ " + error + "\r\n", "P1 NO [AUTHENTICATIONFAILED] no\r\n"}),
         "+ " + error + "\r\na NO [AUTHENTICATIONFAILED] no\r\n", "P1 AUTHENTICATE XOAUTH2 " + first + "\r\n\r\n",
         lost("anna@example.net XOAUTH2 plaintext grants", "wrong-credentials"));
}

TEST(ImapAuthenticate, WhoIsNotSeenGrantsNothing) {
  expect(login("a AUTHENTICATE GSSAPI YIIB\r\n\r\n", {"+ \r\n", "P1 OK\r\n"}), "+ \r\na OK Logged in\r\n",
         "P1 AUTHENTICATE GSSAPI YIIB\r\n\r\n", won(" GSSAPI"));
}

}  // namespace
}  // namespace postern::net::mailbox::test
