// The sending session's dialogs: greeting, pipelining, refusals, LMTP, BDAT, loss.
#include <gtest/gtest.h>
#include <string>

#include "tests/net/smtp/client_harness.h"

namespace postern::net::smtp {
namespace {

TEST(ClientGreeting, SaysEhloAndReadsTheExtensions) {
  for (std::size_t piece = 0; piece < 12; ++piece) {
    ClientHarness client;
    EXPECT_EQ(client.sent, "") << "the server speaks first";
    EXPECT_EQ(client.session.timeout_seconds(), 300);
    client.peer("220-mx\r\n220 ready\r\n", piece);
    EXPECT_EQ(client.sent, "EHLO relay.example.net\r\n");
    client.peer(
        "250-mx SIZE\r\n250-pipelining\r\n250-SIZE "
        "35882577\r\n250-8BITMIME\r\n250-SMTPUTF8\r\n250-CHUNKING\r\n"
        "250-BINARYMIME\r\n250-DSN\r\n250-ENHANCEDSTATUSCODES\r\n250 LIMITS RCPTMAX=20 MAILMAX=5 OTHER=1\r\n",
        piece);
    EXPECT_TRUE(client.session.ready());
    EXPECT_TRUE(client.session.idle());
    EXPECT_EQ(client.last, ClientEvent::ready);
    EXPECT_EQ(client.session.timeout_seconds(), 0);
    const Capabilities& can = client.session.capabilities();
    EXPECT_TRUE(can.pipelining && can.size && can.eight_bit_mime && can.smtputf8 && can.chunking && can.binary_mime &&
                can.dsn && can.enhanced_codes);
    EXPECT_EQ(can.size_max, 35882577u);
    EXPECT_EQ(client.session.recipients_max(), 20u);
    EXPECT_EQ(can.mail_max, 5u);
  }
}

TEST(ClientGreeting, TheFirstLineIsNoExtension) {
  ClientHarness client;
  client.peer("220 x\r\n250-PIPELINING\r\n250 SIZE\r\n");
  EXPECT_EQ(client.last, ClientEvent::broken) << "a reply came before EHLO";
  ClientHarness other;
  other.peer("220 x\r\n");
  other.peer("250-PIPELINING\r\n250 SIZE\r\n");
  EXPECT_FALSE(other.session.capabilities().pipelining);
  EXPECT_TRUE(other.session.capabilities().size);
  EXPECT_EQ(other.session.capabilities().size_max, 0u);
}

TEST(ClientGreeting, BadNumbersAreNoLimits) {
  ClientHarness client;
  client.greet("SIZE 99999999999999999999999|LIMITS RCPTMAX=x MAILMAX=-1|LIMITS RCPTMAX");
  EXPECT_EQ(client.session.capabilities().size_max, 0u);
  EXPECT_EQ(client.session.recipients_max(), Transaction::kRecipientsMax);
  EXPECT_FALSE(client.session.exhausted());
}

TEST(ClientGreeting, FallsBackToHelo) {
  ClientHarness client;
  client.peer("220 old\r\n");
  client.peer("502-PIPELINING\r\n502 SIZE 1\r\n");
  EXPECT_EQ(client.sent, "EHLO relay.example.net\r\nHELO relay.example.net\r\n");
  client.peer("250 old\r\n");
  EXPECT_TRUE(client.session.ready());
  EXPECT_FALSE(client.session.capabilities().pipelining);
  EXPECT_FALSE(client.session.capabilities().size);
}

TEST(ClientGreeting, RefusalsBreakAndSayWhy) {
  ClientHarness refused;
  refused.peer("554 5.7.1 go away\r\n");
  EXPECT_EQ(refused.last, ClientEvent::broken);
  EXPECT_EQ(refused.reason, (KeptResult{0, 554, "5.7.1", "go away", true, false}));
  ClientHarness busy;
  busy.peer("421 4.3.2 busy\r\n");
  EXPECT_EQ(busy.reason.code, 421);
  ClientHarness later;
  later.peer("220 x\r\n");
  later.peer("450 greylisted\r\n");
  EXPECT_EQ(later.last, ClientEvent::broken) << "4xx is no lack of EHLO";
  ClientHarness both;
  both.peer("220 x\r\n");
  both.peer("550 no\r\n");
  both.peer("550 no again\r\n");
  EXPECT_EQ(both.reason.text, "no again");
  ClientHarness lmtp(true);
  lmtp.peer("220 x\r\n");
  EXPECT_EQ(lmtp.sent, "LHLO relay.example.net\r\n");
  lmtp.peer("500 what\r\n");
  EXPECT_EQ(lmtp.last, ClientEvent::broken) << "LMTP has no HELO";
}

TEST(ClientTransaction, OneByOneWithoutPipelining) {
  for (std::size_t piece = 0; piece < 5; ++piece) {
    ClientHarness client;
    client.greet("SIZE");
    Mail mail(2);
    client.begin(mail.transaction);
    EXPECT_EQ(client.sent, "MAIL FROM:<sender@example.net> SIZE=1234\r\n");
    client.peer("250 2.1.0 ok\r\n", piece);
    client.peer("250 ok\r\n", piece);
    client.peer("250 ok\r\n", piece);
    EXPECT_EQ(client.session.timeout_seconds(), 120);
    EXPECT_EQ(client.contents, 0);
    client.peer("354 go\r\n", piece);
    EXPECT_EQ(client.contents, 1);
    EXPECT_EQ(client.form, ContentForm::data);
    EXPECT_EQ(client.session.timeout_seconds(), 600);
    client.peer("250 2.0.0 queued as 1\r\n", piece);
    EXPECT_EQ(client.sends,
              (std::vector<std::string>{"MAIL FROM:<sender@example.net> SIZE=1234\r\n", "RCPT TO:<r0@example.org>\r\n",
                                        "RCPT TO:<r1@example.org>\r\n", "DATA\r\n"}));
    EXPECT_EQ(client.results, (std::vector<KeptResult>{{0, 250, "2.0.0", "queued as 1", true, false},
                                                       {1, 250, "2.0.0", "queued as 1", true, false}}));
    EXPECT_EQ(client.done, 1);
    EXPECT_EQ(client.last, ClientEvent::ready);
    EXPECT_EQ(client.session.transactions(), 1u);
  }
}

TEST(ClientTransaction, PipelinedInOneSend) {
  for (std::size_t piece = 0; piece < 9; ++piece) {
    ClientHarness client;
    client.greet("PIPELINING");
    Mail mail(2);
    client.begin(mail.transaction);
    ASSERT_EQ(client.sends.size(), 1u);
    EXPECT_EQ(client.sends[0],
              "MAIL FROM:<sender@example.net>\r\nRCPT TO:<r0@example.org>\r\nRCPT TO:<r1@example.org>\r\nDATA\r\n");
    client.peer("250 ok\r\n250 ok\r\n550 5.1.1 who\r\n354 go\r\n", piece);
    EXPECT_EQ(client.results, (std::vector<KeptResult>{{1, 550, "5.1.1", "who", true, false}}));
    EXPECT_EQ(client.contents, 1);
    client.peer("250 done\r\n", piece);
    ASSERT_EQ(client.results.size(), 2u);
    EXPECT_EQ(client.results[1], (KeptResult{0, 250, "", "done", true, false}));
    EXPECT_EQ(client.done, 1);
    EXPECT_TRUE(client.session.ready());
  }
}

TEST(ClientTransaction, AllRefusedAnd354EndsWithADot) {
  ClientHarness client;
  client.greet("PIPELINING");
  Mail mail(2);
  client.begin(mail.transaction);
  client.forget();
  client.peer("250 ok\r\n550 a\r\n450 b\r\n354 go\r\n");
  EXPECT_EQ(client.sent, ".\r\n");
  EXPECT_EQ(client.contents, 0);
  EXPECT_EQ(client.done, 0);
  client.peer("250 counted as nothing\r\n");
  EXPECT_EQ(client.results, (std::vector<KeptResult>{{0, 550, "", "a", true, false}, {1, 450, "", "b", true, false}}));
  EXPECT_EQ(client.done, 1);
  client.forget();
  client.begin(mail.transaction);
  EXPECT_TRUE(client.sent.starts_with("MAIL ")) << "the dot ended it: no RSET";
}

TEST(ClientTransaction, AllRefusedAndDataRefusedNeedsReset) {
  ClientHarness client;
  client.greet("PIPELINING");
  Mail mail(1);
  client.begin(mail.transaction);
  client.peer("250 ok\r\n550 a\r\n503 no recipients\r\n");
  EXPECT_EQ(client.results.size(), 1u);
  EXPECT_EQ(client.done, 1);
  client.forget();
  client.begin(mail.transaction);
  EXPECT_EQ(client.sent, "RSET\r\nMAIL FROM:<sender@example.net>\r\nRCPT TO:<r0@example.org>\r\nDATA\r\n");
  client.peer("250 reset\r\n250 ok\r\n250 ok\r\n354 go\r\n250 fine\r\n");
  EXPECT_EQ(client.results, (std::vector<KeptResult>{{0, 250, "", "fine", true, false}}));
}

TEST(ClientTransaction, AllRefusedOneByOneSendsNoData) {
  ClientHarness client;
  client.greet("");
  Mail mail(1);
  client.begin(mail.transaction);
  client.peer("250 ok\r\n");
  client.peer("452 4.2.2 full\r\n");
  EXPECT_EQ(client.done, 1);
  EXPECT_EQ(client.sent.find("DATA"), std::string::npos);
  client.forget();
  client.begin(mail.transaction);
  EXPECT_EQ(client.sent, "RSET\r\n");
  client.peer("250 ok\r\n");
  EXPECT_EQ(client.sent, "RSET\r\nMAIL FROM:<sender@example.net>\r\n");
}

TEST(ClientTransaction, MailRefusedIsTheAnswerToAll) {
  ClientHarness client;
  client.greet("PIPELINING");
  Mail mail(3);
  client.begin(mail.transaction);
  client.peer("550 5.7.1 not you\r\n");
  ASSERT_EQ(client.results.size(), 3u);
  for (const KeptResult& result : client.results) EXPECT_EQ(result.text, "not you");
  EXPECT_EQ(client.done, 0) << "four replies are still to come";
  client.peer("503 a\r\n250 odd\r\n503 c\r\n");
  EXPECT_EQ(client.done, 0);
  client.peer("503 d\r\n");
  EXPECT_EQ(client.results.size(), 3u);
  EXPECT_EQ(client.done, 1);
  client.forget();
  client.begin(mail.transaction);
  EXPECT_TRUE(client.sent.starts_with("MAIL ")) << "nothing was opened, nothing is reset";
}

TEST(ClientTransaction, MailRefusedThen354) {
  ClientHarness client;
  client.greet("PIPELINING");
  Mail mail(1);
  client.begin(mail.transaction);
  client.forget();
  client.peer("450 later\r\n250 ok\r\n354 go\r\n");
  EXPECT_EQ(client.sent, ".\r\n") << "its content must not go to one the sender was refused for";
  client.peer("554 no\r\n");
  EXPECT_EQ(client.results, (std::vector<KeptResult>{{0, 450, "", "later", true, false}}));
  EXPECT_EQ(client.done, 1);
}

TEST(ClientTransaction, DataRefused) {
  ClientHarness client;
  client.greet("PIPELINING");
  Mail mail(3);
  client.begin(mail.transaction);
  client.peer("250 ok\r\n250 ok\r\n550 no\r\n250 ok\r\n451 4.3.0 not now\r\n");
  EXPECT_EQ(client.results, (std::vector<KeptResult>{{1, 550, "", "no", true, false},
                                                     {0, 451, "4.3.0", "not now", true, false},
                                                     {2, 451, "4.3.0", "not now", true, false}}));
  EXPECT_EQ(client.done, 1);
  client.forget();
  client.begin(mail.transaction);
  EXPECT_TRUE(client.sent.starts_with("RSET\r\nMAIL "));
}

TEST(ClientTransaction, ContentRefused) {
  ClientHarness client;
  client.greet("PIPELINING");
  Mail mail(2);
  client.begin(mail.transaction);
  client.peer("250 ok\r\n250 ok\r\n250 ok\r\n354 go\r\n554 5.6.0 spam\r\n");
  ASSERT_EQ(client.results.size(), 2u);
  EXPECT_EQ(client.results[1], (KeptResult{1, 554, "5.6.0", "spam", true, false}));
  EXPECT_EQ(client.done, 1);
}

TEST(ClientTransaction, GoingAwayAnywhere) {
  const std::string whole = "250 ok\r\n250 ok\r\n250 ok\r\n354 go\r\n";
  for (std::size_t at = 0; at <= 4; ++at) {
    ClientHarness client;
    client.greet("PIPELINING");
    Mail mail(2);
    client.begin(mail.transaction);
    std::size_t keep = 0;
    for (std::size_t i = 0; i < at; ++i) keep = whole.find('\n', keep) + 1;
    client.peer(whole.substr(0, keep) + "421 4.3.2 bye\r\n");
    EXPECT_EQ(client.last, ClientEvent::broken) << at;
    EXPECT_EQ(client.done, 0);
    EXPECT_EQ(client.results,
              (std::vector<KeptResult>{{0, 421, "4.3.2", "bye", true, false}, {1, 421, "4.3.2", "bye", true, false}}));
    EXPECT_EQ(client.reason.code, 421);
  }
}

TEST(ClientTransaction, GoingAwayWhileIdle) {
  ClientHarness client;
  client.greet("");
  client.peer("421 idle\r\n");
  EXPECT_EQ(client.last, ClientEvent::broken);
  EXPECT_FALSE(client.session.ready());
  ClientHarness other;
  other.greet("");
  other.peer("250 wh");
  EXPECT_FALSE(other.session.ready()) << "half a reply to nothing";
  other.peer("y\r\n");
  EXPECT_EQ(other.last, ClientEvent::broken);
  EXPECT_EQ(other.reason.enhanced, "4.5.0");
}

TEST(ClientTransaction, RepliesOutOfPlaceBreakAndFailNobodyForGood) {
  for (const char* replies :
       {"354 what\r\n", "250 ok\r\n354 what\r\n", "250 ok\r\n250 ok\r\n250 no 354\r\n", "250 ok\r\n250 ok\r\n355 x\r\n",
        "250 ok\r\n250 ok\r\n354 go\r\n354 again\r\n", "nonsense\r\n", "250 ok\r\n250-a\r\n550 b\r\n"}) {
    ClientHarness client;
    client.greet("PIPELINING");
    Mail mail(1);
    client.begin(mail.transaction);
    client.peer(replies);
    EXPECT_EQ(client.last, ClientEvent::broken) << replies;
    ASSERT_EQ(client.results.size(), 1u) << replies;
    EXPECT_EQ(client.results[0].code, 451);
    EXPECT_EQ(client.results[0].enhanced, "4.5.0");
    EXPECT_FALSE(client.results[0].by_peer);
  }
}

TEST(ClientTransaction, ExtraRepliesBreakTheNextTransactionNotThisOne) {
  ClientHarness client;
  client.greet("");
  Mail mail(1);
  client.begin(mail.transaction);
  client.peer("250 ok\r\n");
  client.peer("250 ok\r\n");
  client.peer("354 go\r\n250 done\r\n250 more\r\n");
  EXPECT_EQ(client.results, (std::vector<KeptResult>{{0, 250, "", "done", true, false}}));
  EXPECT_EQ(client.done, 1);
  EXPECT_EQ(client.last, ClientEvent::broken);
}

TEST(ClientTransaction, ResetRefusedIsTemporary) {
  ClientHarness client;
  client.greet("");
  Mail mail(1);
  client.begin(mail.transaction);
  client.peer("250 ok\r\n");
  client.peer("550 no\r\n");
  client.forget();
  client.begin(mail.transaction);
  client.peer("500 RSET?\r\n");
  EXPECT_EQ(client.last, ClientEvent::broken);
  ASSERT_EQ(client.results.size(), 1u);
  EXPECT_EQ(client.results[0].code, 451);
}

TEST(ClientTransaction, TooManyRecipientsByTheOldCode) {
  ClientHarness client;
  client.greet("PIPELINING");
  Mail mail(3);
  client.begin(mail.transaction);
  client.peer("250 ok\r\n250 ok\r\n552 too many\r\n552 5.2.2 mailbox full\r\n354 go\r\n250 done\r\n");
  ASSERT_EQ(client.results.size(), 3u);
  EXPECT_EQ(client.results[0], (KeptResult{1, 452, "4.5.3", "too many", true, false}));
  EXPECT_EQ(client.results[1], (KeptResult{2, 552, "5.2.2", "mailbox full", true, false}));
}

TEST(ClientLmtp, OneReplyForEachAcceptedRecipient) {
  for (std::size_t piece = 0; piece < 6; ++piece) {
    ClientHarness client(true);
    client.greet("PIPELINING|ENHANCEDSTATUSCODES|8BITMIME");
    Mail mail(4);
    client.begin(mail.transaction);
    client.peer("250 ok\r\n250 ok\r\n550 who\r\n250 ok\r\n250 ok\r\n354 go\r\n", piece);
    client.peer("250 2.1.5 a\r\n452 4.2.2 full\r\n", piece);
    EXPECT_EQ(client.done, 0);
    client.peer("250 c\r\n", piece);
    EXPECT_EQ(client.results, (std::vector<KeptResult>{{1, 550, "", "who", true, false},
                                                       {0, 250, "2.1.5", "a", true, false},
                                                       {2, 452, "4.2.2", "full", true, false},
                                                       {3, 250, "", "c", true, false}}));
    EXPECT_EQ(client.done, 1);
    EXPECT_EQ(client.last, ClientEvent::ready);
  }
}

TEST(ClientLmtp, GoingAwayBetweenReplies) {
  ClientHarness client(true);
  client.greet("PIPELINING");
  Mail mail(3);
  client.begin(mail.transaction);
  client.peer("250 ok\r\n250 ok\r\n250 ok\r\n250 ok\r\n354 go\r\n250 a\r\n421 4.3.2 bye\r\n");
  ASSERT_EQ(client.results.size(), 3u);
  EXPECT_EQ(client.results[0].code, 250);
  EXPECT_EQ(client.results[1].code, 421);
  EXPECT_EQ(client.results[2].code, 421);
  EXPECT_EQ(client.last, ClientEvent::broken);
}

TEST(ClientLmtp, A354ForNobodyBreaks) {
  ClientHarness client(true);
  client.greet("PIPELINING");
  Mail mail(1);
  client.begin(mail.transaction);
  client.peer("250 ok\r\n550 no\r\n354 go\r\n");
  EXPECT_EQ(client.last, ClientEvent::broken);
  EXPECT_EQ(client.results.size(), 1u);
}

TEST(ClientNeeds, DecidedBeforeMail) {
  struct Case {
    const char* extensions;
    std::uint16_t flags;
    bool smtputf8;
    const char* reverse_path;
    std::uint16_t code;
    const char* enhanced;
  };
  const Case cases[] = {
      {"SIZE 1233", 0, false, "a@b", 552, "5.3.4"},
      {"PIPELINING", content_eight_bit, false, "a@b", 554, "5.6.3"},
      {"PIPELINING", content_eight_bit_header, false, "a@b", 554, "5.6.3"},
      {"8BITMIME", content_eight_bit_header, true, "a@b", 553, "5.6.7"},
      {"8BITMIME", 0, true, "\xc3\xa9@b", 553, "5.6.7"},
      {"SMTPUTF8", content_eight_bit_header, true, "a@b", 554, "5.6.3"},
      {"8BITMIME|CHUNKING", content_binary, false, "a@b", 554, "5.6.1"},
      {"8BITMIME|BINARYMIME", content_binary, false, "a@b", 554, "5.6.1"},
      {"8BITMIME", 0, false, "a@b\r\nRCPT TO:<x@y>", 553, "5.1.7"},
  };
  for (const Case& test : cases) {
    ClientHarness client;
    client.greet(test.extensions);
    Mail mail(2);
    mail.transaction.content_flags = test.flags;
    mail.transaction.sender.smtputf8 = test.smtputf8;
    mail.transaction.sender.reverse_path = test.reverse_path;
    client.begin(mail.transaction);
    EXPECT_EQ(client.sent, "") << test.extensions;
    ASSERT_EQ(client.results.size(), 2u) << test.extensions;
    EXPECT_EQ(client.results[0].code, test.code);
    EXPECT_EQ(client.results[1].enhanced, test.enhanced);
    EXPECT_FALSE(client.results[1].by_peer);
    EXPECT_EQ(client.done, 1);
    EXPECT_TRUE(client.session.ready());
    EXPECT_EQ(client.session.transactions(), 0u);
  }
}

TEST(ClientNeeds, SayWhatTheMessageIs) {
  struct Case {
    const char* extensions;
    std::uint16_t flags;
    bool smtputf8;
    BodyType body;
    const char* parameters;
  };
  const Case cases[] = {
      {"SIZE 1234|8BITMIME", content_eight_bit, false, BodyType::eight_bit_mime, " SIZE=1234 BODY=8BITMIME"},
      {"SIZE 0|8BITMIME", 0, false, BodyType::seven_bit, " SIZE=1234"},
      {"8BITMIME", 0, false, BodyType::eight_bit_mime, " BODY=8BITMIME"},
      {"PIPELINING", 0, false, BodyType::eight_bit_mime, ""},
      {"8BITMIME|SMTPUTF8", content_eight_bit_header, true, BodyType::seven_bit, " BODY=8BITMIME SMTPUTF8"},
      {"8BITMIME|SMTPUTF8", content_eight_bit_header, false, BodyType::seven_bit, " BODY=8BITMIME"},
      {"SMTPUTF8", 0, true, BodyType::seven_bit, ""},  // declared, not needed
      {"8BITMIME", content_eight_bit, true, BodyType::seven_bit, " BODY=8BITMIME"},
      {"CHUNKING|BINARYMIME", content_binary | content_eight_bit, false, BodyType::binary_mime, " BODY=BINARYMIME"},
  };
  for (const Case& test : cases) {
    ClientHarness client;
    client.greet(test.extensions);
    Mail mail(1);
    mail.transaction.content_flags = test.flags;
    mail.transaction.sender.smtputf8 = test.smtputf8;
    mail.transaction.sender.body = test.body;
    client.begin(mail.transaction);
    const std::string line = "MAIL FROM:<sender@example.net>" + std::string(test.parameters) + "\r\n";
    EXPECT_EQ(client.sent.substr(0, client.sent.find('\n') + 1), line) << test.extensions;
  }
}

TEST(ClientNeeds, OneInternationalAddressFailsAlone) {
  ClientHarness client;
  client.greet("PIPELINING");
  Mail mail(3);
  mail.fields[1].forward_path = "us\xc3\xa9r@example.org";
  client.begin(mail.transaction);
  ASSERT_EQ(client.results.size(), 1u);
  EXPECT_EQ(client.results[0].index, 1u);
  EXPECT_EQ(client.results[0].enhanced, "5.6.7");
  EXPECT_EQ(client.sent,
            "MAIL FROM:<sender@example.net>\r\nRCPT TO:<r0@example.org>\r\nRCPT TO:<r2@example.org>\r\nDATA\r\n");
  client.peer("250 ok\r\n550 no\r\n250 ok\r\n354 go\r\n250 done\r\n");
  ASSERT_EQ(client.results.size(), 3u);
  EXPECT_EQ(client.results[1], (KeptResult{0, 550, "", "no", true, false}));
  EXPECT_EQ(client.results[2], (KeptResult{2, 250, "", "done", true, false}));
  EXPECT_EQ(client.done, 1);

  ClientHarness able;
  able.greet("SMTPUTF8|8BITMIME");
  able.begin(mail.transaction);
  EXPECT_EQ(able.sent, "MAIL FROM:<sender@example.net> SMTPUTF8\r\n");
}

TEST(ClientNeeds, AddressesThatAreCommandsAreNotSent) {
  ClientHarness client;
  client.greet("PIPELINING");
  Mail mail(3);
  const std::string long_path = std::string(1100, 'x') + "@example.org";
  mail.fields[0].forward_path = "a@b>\r\nDATA\r\n";
  mail.fields[1].forward_path = long_path;
  client.begin(mail.transaction);
  EXPECT_EQ(client.sent, "MAIL FROM:<sender@example.net>\r\nRCPT TO:<r2@example.org>\r\nDATA\r\n");
  ASSERT_EQ(client.results.size(), 2u);
  EXPECT_EQ(client.results[0].enhanced, "5.1.3");
  EXPECT_EQ(client.results[1].enhanced, "5.1.3");
}

TEST(ClientLimits, MoreRecipientsThanRcptmaxComeLater) {
  ClientHarness client;
  client.greet("PIPELINING|LIMITS RCPTMAX=2 MAILMAX=1");
  EXPECT_EQ(client.session.recipients_max(), 2u);
  Mail mail(4);
  client.begin(mail.transaction);
  EXPECT_EQ(client.sent.find("r2@"), std::string::npos);
  ASSERT_EQ(client.results.size(), 2u);
  EXPECT_EQ(client.results[0].index, 2u);
  EXPECT_EQ(client.results[1].code, 452);
  EXPECT_EQ(client.results[1].enhanced, "4.5.3");
  EXPECT_TRUE(client.session.exhausted());
}

TEST(ClientDsn, ParametersGoOnlyToAHopThatKnowsThem) {
  Mail mail(3);
  mail.transaction.sender.ret = DsnReturn::headers;
  mail.transaction.sender.envelope_id = "QQ314159";
  mail.fields[0].notify = notify_success | notify_failure | notify_delay;
  mail.fields[0].original = "rfc822;first+2Blast@example.com";
  mail.fields[1].notify = notify_never;
  mail.fields[2].original = "rfc822;bad one";
  ClientHarness able;
  able.greet("PIPELINING|DSN");
  able.begin(mail.transaction);
  EXPECT_EQ(able.sent,
            "MAIL FROM:<sender@example.net> RET=HDRS ENVID=QQ314159\r\n"
            "RCPT TO:<r0@example.org> NOTIFY=SUCCESS,FAILURE,DELAY ORCPT=rfc822;first+2Blast@example.com\r\n"
            "RCPT TO:<r1@example.org> NOTIFY=NEVER\r\n"
            "RCPT TO:<r2@example.org>\r\nDATA\r\n");
  able.peer("250 a\r\n250 a\r\n250 a\r\n250 a\r\n354 a\r\n250 a\r\n");
  ASSERT_EQ(able.results.size(), 3u);
  EXPECT_TRUE(able.results[0].dsn_passed_on);

  ClientHarness unable;
  unable.greet("PIPELINING");
  unable.begin(mail.transaction);
  EXPECT_EQ(unable.sent.find("NOTIFY"), std::string::npos);
  EXPECT_EQ(unable.sent.find("RET="), std::string::npos);
  unable.peer("250 a\r\n250 a\r\n250 a\r\n250 a\r\n354 a\r\n250 a\r\n");
  EXPECT_FALSE(unable.results.at(0).dsn_passed_on);
}

TEST(ClientBdat, WaitsForTheRepliesThenSendsOneChunk) {
  ClientHarness client;
  client.greet("PIPELINING|CHUNKING|BINARYMIME");
  Mail mail(2);
  mail.transaction.content_flags = content_binary;
  client.begin(mail.transaction);
  EXPECT_EQ(client.sent,
            "MAIL FROM:<sender@example.net> BODY=BINARYMIME\r\nRCPT TO:<r0@example.org>\r\nRCPT "
            "TO:<r1@example.org>\r\n");
  client.peer("250 ok\r\n550 no\r\n");
  EXPECT_EQ(client.contents, 0);
  client.peer("250 ok\r\n");
  EXPECT_EQ(client.contents, 1);
  EXPECT_EQ(client.form, ContentForm::bdat);
  EXPECT_EQ(client.form_bytes, 1234u);
  EXPECT_TRUE(client.sent.ends_with("BDAT 1234 LAST\r\n"));
  client.peer("250 got it\r\n");
  ASSERT_EQ(client.results.size(), 2u);
  EXPECT_EQ(client.results[1], (KeptResult{1, 250, "", "got it", true, false}));
  client.forget();
  client.begin(mail.transaction);
  client.peer("250 ok\r\n550 no\r\n550 no\r\n");
  EXPECT_EQ(client.contents, 0);
  EXPECT_EQ(client.done, 1);
}

TEST(ClientContent, AReplyThatOvertakesContentSentCounts) {
  ClientHarness client;
  client.greet("PIPELINING");
  client.hold_content = true;
  Mail mail(1);
  client.begin(mail.transaction);
  client.peer("250 ok\r\n250 ok\r\n354 go\r\n");
  EXPECT_EQ(client.last, ClientEvent::send_content);
  EXPECT_EQ(client.session.timeout_seconds(), 180);
  client.peer("250 stored\r\n421 bye\r\n");
  EXPECT_EQ(client.last, ClientEvent::need_input);
  EXPECT_EQ(client.held, "421 bye\r\n") << "only one reply is kept";
  EXPECT_TRUE(client.results.empty());
  client.session.content_sent();
  client.run();
  EXPECT_EQ(client.results, (std::vector<KeptResult>{{0, 250, "", "stored", true, false}}));
  EXPECT_EQ(client.done, 1);
  EXPECT_EQ(client.last, ClientEvent::broken);
}

TEST(ClientContent, ARefusalBeforeTheEndSurvivesTheLoss) {
  ClientHarness client;
  client.greet("PIPELINING");
  client.hold_content = true;
  Mail mail(2);
  client.begin(mail.transaction);
  client.peer("250 ok\r\n250 ok\r\n250 ok\r\n354 go\r\n");
  client.peer("552 5.3.4 too big\r\n");
  client.session.connection_lost("4.4.2", "connection reset");
  client.run();
  EXPECT_EQ(client.results, (std::vector<KeptResult>{{0, 552, "5.3.4", "too big", true, false},
                                                     {1, 552, "5.3.4", "too big", true, false}}));
  EXPECT_EQ(client.last, ClientEvent::broken);
  EXPECT_EQ(client.reason.text, "connection reset");
  client.session.content_sent();
  client.run();
  EXPECT_EQ(client.last, ClientEvent::broken);
}

TEST(ClientContent, A250BeforeTheEndIsWorthNothing) {
  ClientHarness client;
  client.greet("PIPELINING");
  client.hold_content = true;
  Mail mail(1);
  client.begin(mail.transaction);
  client.peer("250 ok\r\n250 ok\r\n354 go\r\n");
  client.peer("250 already?\r\n");
  client.session.connection_lost("4.4.2", "connection reset");
  client.run();
  EXPECT_EQ(client.results, (std::vector<KeptResult>{{0, 451, "4.4.2", "connection reset", false, false}}));
}

TEST(ClientLoss, AtEveryPlaceEachOpenRecipientGetsOneResult) {
  const std::string replies = "250 ok\r\n250 ok\r\n550 no\r\n354 go\r\n";
  for (std::size_t given = 0; given <= replies.size(); ++given) {
    ClientHarness client;
    client.greet("PIPELINING");
    Mail mail(2);
    client.begin(mail.transaction);
    client.peer(replies.substr(0, given));
    client.session.connection_lost("4.4.2", std::string(300, 'x'));
    client.run();
    EXPECT_EQ(client.last, ClientEvent::broken);
    EXPECT_EQ(client.done, 0);
    ASSERT_EQ(client.results.size(), 2u) << given;
    EXPECT_NE(client.results[0].index, client.results[1].index);
    EXPECT_EQ(client.results[1].code, 451);
    EXPECT_EQ(client.results[1].text, std::string(200, 'x'));
    client.session.connection_lost("4.4.2", "again");
    client.run();
    EXPECT_EQ(client.results.size(), 2u);
  }
}

TEST(ClientLoss, WhileResultsAreHandedOutTheyStay) {
  ClientHarness client;
  client.greet("PIPELINING");
  Mail mail(3);
  client.begin(mail.transaction);
  client.peer("250 ok\r\n250 ok\r\n250 ok\r\n250 ok\r\n354 go\r\n");
  const std::string last_reply = "250 stored\r\n";
  ClientStep step = client.session.advance(last_reply, client.out);
  ASSERT_EQ(step.event, ClientEvent::result);
  ASSERT_EQ(step.consumed, last_reply.size());
  client.session.connection_lost("4.4.2", "reset");
  client.run();
  ASSERT_EQ(client.results.size(), 2u);
  EXPECT_EQ(client.results[0], (KeptResult{1, 250, "", "stored", true, false}));
  EXPECT_EQ(client.results[1].code, 250);
  EXPECT_EQ(client.last, ClientEvent::broken);
}

TEST(ClientLoss, BeforeAnything) {
  ClientHarness client;
  client.session.connection_lost("4.4.1", "connection refused");
  client.run();
  EXPECT_EQ(client.last, ClientEvent::broken);
  EXPECT_EQ(client.reason, (KeptResult{0, 451, "4.4.1", "connection refused", false, false}));
  EXPECT_TRUE(client.results.empty());
}

TEST(ClientQuit, FromReady) {
  ClientHarness client;
  client.greet("");
  client.session.quit(client.out);
  client.run();
  EXPECT_EQ(client.sent, "QUIT\r\n");
  EXPECT_EQ(client.session.timeout_seconds(), 30);
  client.peer("221 bye\r\n");
  EXPECT_EQ(client.last, ClientEvent::closed);
  ClientHarness lost;
  lost.greet("");
  lost.session.quit(lost.out);
  lost.run();
  lost.session.connection_lost("4.4.2", "closed");
  lost.run();
  EXPECT_EQ(lost.last, ClientEvent::closed);
}

TEST(ClientQuit, FromElsewhere) {
  ClientHarness early;
  early.session.quit(early.out);
  early.run();
  EXPECT_EQ(early.sent, "");
  EXPECT_EQ(early.last, ClientEvent::closed);
  ClientHarness busy;
  busy.greet("");
  Mail mail(2);
  busy.begin(mail.transaction);
  busy.forget();
  busy.session.quit(busy.out);
  busy.run();
  EXPECT_EQ(busy.sent, "");
  EXPECT_EQ(busy.results.size(), 2u);
  EXPECT_EQ(busy.last, ClientEvent::broken);
}

TEST(ClientSessionSize, IsSmall) {
  EXPECT_LT(sizeof(ClientSession), 2600u);
}

}  // namespace
}  // namespace postern::net::smtp
