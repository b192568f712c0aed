// The sending session and STARTTLS: asked for or not, refused, injected, and what is forgotten.
#include <gtest/gtest.h>
#include <string>
#include <vector>

#include "tests/net/smtp/client_harness.h"

namespace postern::net::smtp {
namespace {

constexpr std::string_view kEhlo = "EHLO relay.example.net\r\n";
constexpr std::string_view kOffers = "250-mx.example.org\r\n250-PIPELINING\r\n250-SIZE 5000\r\n250-DSN\r\n250 StartTLS\r\n";
constexpr std::string_view kOffersNone = "250-mx.example.org\r\n250-PIPELINING\r\n250 SIZE 5000\r\n";
constexpr std::string_view kInjection = "the next server sent something in plain text behind its reply to STARTTLS";

ClientOptions with(StartTls start_tls) { return {false, "relay.example.net", start_tls}; }

// Got as far as the reply to STARTTLS.
class Asked : public ClientHarness {
 public:
  explicit Asked(StartTls start_tls, std::size_t piece = 0) : ClientHarness(with(start_tls)) {
    peer("220 mx\r\n", piece);
    peer(kOffers, piece);
    EXPECT_EQ(sent, std::string(kEhlo) + "STARTTLS\r\n");
    EXPECT_FALSE(session.ready());
    EXPECT_EQ(session.timeout_seconds(), 300);
    forget();
  }
};

TEST(ClientStartTls, IsNotSaidUnlessAskedFor) {
  ClientHarness client(with(StartTls::never));
  client.peer("220 mx\r\n");
  client.peer(kOffers);
  EXPECT_EQ(client.sent, kEhlo);
  EXPECT_TRUE(client.session.ready());
  EXPECT_TRUE(client.session.capabilities().start_tls);
  EXPECT_FALSE(client.session.tried_tls());
}

TEST(ClientStartTls, TheHandshakeFollowsAndEverythingIsSaidAgain) {
  for (const StartTls start_tls : {StartTls::if_offered, StartTls::required}) {
    for (std::size_t piece = 0; piece < 12; ++piece) {
      Asked client(start_tls, piece);
      EXPECT_EQ(client.handshakes, 0);
      client.peer("220-go\r\n220 2.0.0 ahead\r\n", piece);
      EXPECT_EQ(client.handshakes, 1);
      EXPECT_EQ(client.last, ClientEvent::start_tls);
      EXPECT_EQ(client.session.timeout_seconds(), 60);
      EXPECT_FALSE(client.session.capabilities().pipelining) << "what was said in plain text is forgotten";
      EXPECT_FALSE(client.session.is_encrypted());
      client.session.tls_started();
      EXPECT_TRUE(client.session.is_encrypted());
      client.run();
      EXPECT_EQ(client.sent, kEhlo);
      // Other extensions than before, and STARTTLS once more, which is nonsense and ignored.
      client.peer("250-mx.example.org\r\n250-SIZE 7000\r\n250 STARTTLS\r\n", piece);
      EXPECT_EQ(client.sent, kEhlo) << "and no second STARTTLS";
      EXPECT_TRUE(client.session.ready());
      EXPECT_EQ(client.session.capabilities().size_max, 7000u);
      EXPECT_FALSE(client.session.capabilities().pipelining);
      EXPECT_FALSE(client.session.capabilities().dsn);
    }
  }
}

TEST(ClientStartTls, WithoutTheExtensionOpportunisticGoesOnInPlainText) {
  ClientHarness client(with(StartTls::if_offered));
  client.peer("220 mx\r\n");
  client.peer(kOffersNone);
  EXPECT_EQ(client.sent, kEhlo);
  EXPECT_TRUE(client.session.ready());
  EXPECT_FALSE(client.session.tried_tls());
}

TEST(ClientStartTls, WithoutTheExtensionRequiredIsDeferred) {
  ClientHarness client(with(StartTls::required));
  client.peer("220 mx\r\n");
  client.peer(kOffersNone);
  EXPECT_EQ(client.last, ClientEvent::broken);
  EXPECT_EQ(client.reason,
            (KeptResult{0, 451, "4.7.4", "TLS is required here, and the next server does not offer it", false, false}));
  EXPECT_FALSE(client.session.is_injected());
  ClientHarness old(with(StartTls::required));
  old.peer("220 old\r\n");
  old.peer("500-what\r\n500 STARTTLS\r\n");
  old.peer("250 old\r\n");
  EXPECT_EQ(old.reason.enhanced, "4.7.4") << "a server without EHLO has no TLS";
}

TEST(ClientStartTls, ARefusalLeavesOpportunisticInPlainText) {
  for (const std::string_view reply : {"454 4.7.0 TLS not available\r\n", "501 5.5.4 no\r\n", "502-not\r\n502 here\r\n"}) {
    for (std::size_t piece = 0; piece < 6; ++piece) {
      Asked client(StartTls::if_offered, piece);
      client.peer(reply, piece);
      EXPECT_EQ(client.last, ClientEvent::ready);
      EXPECT_EQ(client.handshakes, 0);
      EXPECT_TRUE(client.session.capabilities().pipelining) << "the first EHLO still counts";
      EXPECT_TRUE(client.session.tried_tls());
      Mail mail;
      client.begin(mail.transaction);
      EXPECT_EQ(client.sends.size(), 1u) << "pipelined";
    }
  }
}

TEST(ClientStartTls, ARefusalWithRequiredDefersInTheServersWords) {
  for (const std::string_view reply : {"454 4.7.0 TLS not available\r\n", "554 5.7.3 TLS not available\r\n"}) {
    Asked client(StartTls::required);
    client.peer(reply);
    EXPECT_EQ(client.last, ClientEvent::broken);
    EXPECT_EQ(client.reason.code, 451);
    EXPECT_EQ(client.reason.enhanced, "4.7.4");
    EXPECT_TRUE(client.reason.text.starts_with("TLS is required here, and the next server refused STARTTLS: "));
    EXPECT_TRUE(client.reason.text.ends_with("TLS not available")) << client.reason.text;
  }
  Asked wordy(StartTls::required);
  wordy.peer("454 " + std::string(1500, 'x') + "\r\n");
  EXPECT_EQ(wordy.reason.text.size(), 200u);
}

TEST(ClientStartTls, GoingAwayEndsItInAnyMode) {
  for (const StartTls start_tls : {StartTls::if_offered, StartTls::required}) {
    Asked client(start_tls);
    client.peer("421 4.3.2 going\r\n");
    EXPECT_EQ(client.last, ClientEvent::broken);
    EXPECT_EQ(client.reason, (KeptResult{0, 421, "4.3.2", "going", true, false}));
  }
}

TEST(ClientStartTls, AReplyOutOfPlaceBreaks) {
  Asked client(StartTls::if_offered);
  client.peer("334 what\r\n");
  EXPECT_EQ(client.reason.enhanced, "4.5.0");
  // A reply to STARTTLS that is there before STARTTLS is.
  ClientHarness early(with(StartTls::if_offered));
  early.peer("220 mx\r\n");
  early.peer(std::string(kOffers) + "220 go\r\n");
  EXPECT_EQ(early.last, ClientEvent::broken);
  EXPECT_EQ(early.reason.enhanced, "4.5.0");
  EXPECT_EQ(early.handshakes, 0);
}

// CVE-2011-0411 towards a client: replies of somebody on the line, kept for use under TLS.
TEST(ClientStartTls, WhatStandsBehindTheReplyIsThrownAwayAndBreaks) {
  const std::vector<std::string> behind = {"2", "\r", "250-mx\r\n250 PIPELINING\r\n", std::string("\x16\x03\x01", 3)};
  for (const StartTls start_tls : {StartTls::if_offered, StartTls::required}) {
    for (const std::string& injected : behind) {
      Asked client(start_tls);
      client.peer("220 go\r\n" + injected);
      EXPECT_EQ(client.last, ClientEvent::broken);
      EXPECT_EQ(client.handshakes, 0);
      EXPECT_EQ(client.reason, (KeptResult{0, 451, "4.7.0", std::string(kInjection), false, false}));
      EXPECT_TRUE(client.session.is_injected());
      EXPECT_EQ(client.held, "") << "thrown away";
      EXPECT_EQ(client.sent, "");
    }
  }
}

TEST(ClientStartTls, WhatComesBeforeTheHandshakeIsThroughBreaksToo) {
  Asked client(StartTls::if_offered);
  client.peer("220 go\r\n");
  ASSERT_EQ(client.last, ClientEvent::start_tls);
  client.peer("250 mx\r\n");
  EXPECT_EQ(client.last, ClientEvent::broken);
  EXPECT_TRUE(client.session.is_injected());
  Asked told(StartTls::if_offered);
  told.peer("220 go\r\n");
  told.session.break_injected();  // the driver had it in another buffer
  told.run();
  EXPECT_EQ(told.reason, (KeptResult{0, 451, "4.7.0", std::string(kInjection), false, false}));
}

TEST(ClientStartTls, AFailedHandshakeIsALoss) {
  Asked client(StartTls::required);
  client.peer("220 go\r\n");
  client.session.connection_lost("4.7.5", "certificate has expired");
  client.run();
  EXPECT_EQ(client.last, ClientEvent::broken);
  EXPECT_EQ(client.reason, (KeptResult{0, 451, "4.7.5", "certificate has expired", false, false}));
  EXPECT_TRUE(client.session.tried_tls());
  EXPECT_FALSE(client.session.is_encrypted());
}

TEST(ClientStartTls, LmtpHasItToo) {
  ClientHarness client(ClientOptions{true, "relay.example.net", StartTls::required});
  client.peer("220 store\r\n");
  client.peer("250-store\r\n250 STARTTLS\r\n");
  client.peer("220 go\r\n");
  client.session.tls_started();
  client.run();
  EXPECT_EQ(client.sent, "LHLO relay.example.net\r\nSTARTTLS\r\nLHLO relay.example.net\r\n");
}

}  // namespace
}  // namespace postern::net::smtp
