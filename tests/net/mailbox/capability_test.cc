#include "net/mailbox/capability.h"

#include <gtest/gtest.h>
#include <string>
#include <vector>

namespace postern::net::mailbox {
namespace {

struct Written {
  std::vector<char> memory = std::vector<char>(Output::kReplyMax);
  Output out{memory.data(), memory.size()};
  [[nodiscard]] std::string text() const { return std::string(out.view()); }
};

std::string imap(std::string_view words, const Offer& offer) {
  StoreCapabilities capabilities;
  capabilities.take_imap(words);
  Written written;
  capabilities.write_imap(written.out, offer);
  return written.text();
}

std::string pop3(const std::vector<std::string>& lines, const Offer& offer) {
  StoreCapabilities capabilities;
  for (const std::string& line : lines) capabilities.take_pop3(line);
  Written written;
  capabilities.write_pop3(written.out, offer);
  return written.text();
}

std::string after_login(std::string words) {
  words.resize(rewrite_after_login(words.data(), words.size()));
  return words;
}

TEST(ImapCapabilities, KeepTheStoresWordsAndNoneOfItsOffersThatAreOurs) {
  EXPECT_EQ(imap("IMAP4rev1 SASL-IR LOGIN-REFERRALS ID ENABLE IDLE LITERAL+ STARTTLS LOGINDISABLED", {false, true}),
            "IMAP4rev1 ID ENABLE IDLE LITERAL+ SASL-IR LOGINDISABLED");
  EXPECT_EQ(imap("IMAP4rev1", {true, true}), "IMAP4rev1 SASL-IR STARTTLS");
  EXPECT_EQ(imap("IMAP4rev1 UNAUTHENTICATE starttls", {false, true}), "IMAP4rev1 SASL-IR");
}

TEST(ImapCapabilities, PlaintextMechanismsGoWithLogindisabled) {
  const char* const words = "IMAP4rev1 AUTH=PLAIN AUTH=LOGIN AUTH=CRAM-MD5 AUTH=SCRAM-SHA-256 AUTH=XOAUTH2 AUTH=GSSAPI";
  EXPECT_EQ(imap(words, {true, false}),
            "IMAP4rev1 SASL-IR STARTTLS LOGINDISABLED AUTH=CRAM-MD5 AUTH=SCRAM-SHA-256 AUTH=GSSAPI");
  EXPECT_EQ(imap(words, {false, true}),
            "IMAP4rev1 SASL-IR AUTH=PLAIN AUTH=LOGIN AUTH=CRAM-MD5 AUTH=SCRAM-SHA-256 AUTH=XOAUTH2 AUTH=GSSAPI");
}

TEST(ImapCapabilities, WhatIsBoundToTheConnectionIsNotOffered) {
  EXPECT_EQ(imap("IMAP4rev1 AUTH=SCRAM-SHA-256-PLUS auth=scram-sha-1-plus AUTH=EXTERNAL AUTH=anonymous AUTH=plain",
                 {false, true}),
            "IMAP4rev1 SASL-IR AUTH=PLAIN");
}

TEST(ImapCapabilities, AMechanismThatNobodyKnowsIsTakenForPlaintext) {
  EXPECT_EQ(imap("IMAP4rev1 AUTH=PLAIN-CLIENTTOKEN", {false, false}), "IMAP4rev1 SASL-IR LOGINDISABLED");
  EXPECT_EQ(imap("IMAP4rev1 AUTH=PLAIN-CLIENTTOKEN", {false, true}), "IMAP4rev1 SASL-IR AUTH=PLAIN-CLIENTTOKEN");
}

TEST(ImapCapabilities, NamesThatAreNoneAndDoublesAreLeftOut) {
  EXPECT_EQ(imap("IMAP4rev1 AUTH= AUTH=PLAIN AUTH=PLAIN AUTH=A]B AUTH=AAAAAAAAAAAAAAAAAAAAA", {false, true}),
            "IMAP4rev1 SASL-IR AUTH=PLAIN");
  EXPECT_EQ(imap("IMAP4rev1 AUTH=AAAAAAAAAAAAAAAAAAAA", {false, true}), "IMAP4rev1 SASL-IR AUTH=AAAAAAAAAAAAAAAAAAAA");
}

TEST(Capabilities, WhatWouldEndAListOrIsNotAsciiIsLeftOut) {
  EXPECT_EQ(imap("IMAP4rev1 A]B A[ \"A\" A(B) {1} \xc3\xa4 A%*", {false, true}), "IMAP4rev1 SASL-IR");
  EXPECT_EQ(after_login("IMAP4rev1 A]B \xc3\xa4 IDLE"), "IMAP4rev1 IDLE");
  EXPECT_EQ(pop3({"TOP", "X \xc3\xa4", "X (y)"}, {false, false}), "TOP\r\nX (y)\r\nRESP-CODES\r\nAUTH-RESP-CODE\r\n");
}

TEST(ImapCapabilities, TellWhatTheFrontNeeds) {
  StoreCapabilities capabilities;
  EXPECT_FALSE(capabilities.is_known);
  capabilities.take_imap("imap4rev1 id sasl-ir literal- logindisabled auth=scram-sha-1");
  EXPECT_TRUE(capabilities.is_known && capabilities.id && capabilities.sasl_ir && capabilities.literal_plus &&
              capabilities.login_disabled);
  EXPECT_TRUE(capabilities.has_mechanism("SCRAM-SHA-1"));
  EXPECT_FALSE(capabilities.has_mechanism("SCRAM-SHA"));
  capabilities.clear();
  EXPECT_FALSE(capabilities.is_known || capabilities.id || capabilities.has_mechanism("SCRAM-SHA-1"));
}

TEST(ImapCapabilities, WhatDoesNotFitIsLeftOutWhole) {
  std::string words = "IMAP4rev1";
  for (int i = 0; i < 200; ++i) words += " X-EXTENSION-" + std::to_string(i);
  const std::string written = imap(words, {true, true});
  EXPECT_LT(written.size(), 600U);
  EXPECT_EQ(written.substr(0, 24), "IMAP4rev1 X-EXTENSION-0 ");
  EXPECT_EQ(written.substr(written.size() - 17), " SASL-IR STARTTLS");
  std::string mechanisms = "IMAP4rev1";
  for (int i = 0; i < 100; ++i) mechanisms += " AUTH=MECHANISM-" + std::to_string(i);
  EXPECT_LT(imap(mechanisms, {true, true}).size(), 400U);
}

TEST(Pop3Capabilities, KeepTheStoresLinesAndNoneOfItsOffersThatAreOurs) {
  EXPECT_EQ(pop3({"CAPA", "TOP", "UIDL", "RESP-CODES", "PIPELINING", "AUTH-RESP-CODE", "STLS", "USER",
                  "SASL PLAIN LOGIN CRAM-MD5 SCRAM-SHA-256-PLUS ANONYMOUS EXTERNAL", "IMPLEMENTATION Store 9.9",
                  "EXPIRE 60", "XCLIENT", "UTF8 USER", "LANG"},
                 {true, true}),
            "CAPA\r\nTOP\r\nUIDL\r\nPIPELINING\r\nEXPIRE 60\r\nRESP-CODES\r\nAUTH-RESP-CODE\r\nSTLS\r\nUSER\r\n"
            "SASL PLAIN LOGIN CRAM-MD5\r\n");
}

TEST(Pop3Capabilities, PlaintextLoginsGoAway) {
  EXPECT_EQ(pop3({"USER", "SASL PLAIN CRAM-MD5"}, {true, false}),
            "RESP-CODES\r\nAUTH-RESP-CODE\r\nSTLS\r\nSASL CRAM-MD5\r\n");
  EXPECT_EQ(pop3({"USER", "SASL PLAIN LOGIN"}, {false, false}), "RESP-CODES\r\nAUTH-RESP-CODE\r\n");
}

TEST(Pop3Capabilities, TellWhatTheFrontNeeds) {
  StoreCapabilities capabilities;
  capabilities.take_pop3("sasl plain");
  EXPECT_TRUE(capabilities.is_known && capabilities.has_mechanism("PLAIN"));
  EXPECT_FALSE(capabilities.user || capabilities.xclient);
  capabilities.take_pop3("XCLIENT ADDR PORT");
  capabilities.take_pop3("user");
  EXPECT_TRUE(capabilities.user && capabilities.xclient);
}

TEST(CapabilitiesAfterLogin, AreTheStoresOwn) {
  EXPECT_EQ(after_login("IMAP4rev1 SASL-IR LOGIN-REFERRALS ID COMPRESS=DEFLATE QUOTA LITERAL+"),
            "IMAP4rev1 SASL-IR LOGIN-REFERRALS ID COMPRESS=DEFLATE QUOTA LITERAL+");
  EXPECT_EQ(after_login("STARTTLS IMAP4rev1 AUTH=SCRAM-SHA-1-PLUS AUTH=PLAIN  logindisabled UNAUTHENTICATE IDLE"),
            "IMAP4rev1 AUTH=PLAIN IDLE");
  EXPECT_EQ(after_login("STARTTLS"), "");
  EXPECT_EQ(after_login(""), "");
}

}  // namespace
}  // namespace postern::net::mailbox
