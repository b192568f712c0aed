// What dialogs cannot show of TLS and logins: answers that come too late, memory, what is left of a password, what the
// envelope and the trace header say, quotas that others use up meanwhile.
#include <algorithm>
#include <array>
#include <gtest/gtest.h>
#include <string>
#include <utility>
#include <vector>

#include "net/smtp/server_session.h"
#include "tests/net/smtp/memory_driver.h"

namespace postern::net::smtp::test {
namespace {

const core::IpAddress kLan = *core::IpAddress::parse("127.0.1.5");
constexpr std::string_view kPlain = "AUTH PLAIN AGFubmFAZXhhbXBsZS5uZXQAc2VjcmV0\r\n";  // anna@example.net, secret
const TlsFacts kTls{"TLSv1.3", "TLS_AES_256_GCM_SHA384", {}, {}};

class AuthSession : public testing::Test {
 protected:
  AuthSession() {
    anna_.name = "anna@example.net";
    anna_.may_relay = true;
  }
  void SetUp() override {
    dialog_.settings["service.auth.mechanisms"] = "[\"PLAIN\", \"LOGIN\", \"SCRAM-SHA-256\"]";
    dialog_.settings["service.auth.plain_on_lan"] = "true";
    dialog_.settings["service.tls"] = "\"starttls\"";
  }
  // A client of the LAN that said EHLO.
  MemoryDriver& open() {
    snapshot_ = make_snapshot(dialog_.settings_text());
    users_.add(anna_, "secret");
    driver_ = std::make_unique<MemoryDriver>(*snapshot_, kLan, pool_);
    driver_->set_users(users_);
    driver_->greet();
    driver_->feed("EHLO client.example\r\n");
    return *driver_;
  }
  std::string say(std::string_view text) {
    const std::size_t before = driver_->said().size();
    driver_->feed(text);
    EXPECT_EQ(driver_->broken(), "");
    return driver_->said().substr(before);
  }

  Dialog dialog_;
  policy::UserRecord anna_;
  UserTable users_;
  core::BlockPool pool_{1 << 20};
  std::unique_ptr<policy::PolicySnapshot> snapshot_;
  std::unique_ptr<MemoryDriver> driver_;
};

// A session without a driver: its questions stay open for as long as the test likes.
class OpenQuestion : public AuthSession {
 protected:
  void SetUp() override {
    AuthSession::SetUp();
    snapshot_ = make_snapshot(dialog_.settings_text());
    world_.policy = snapshot_.get();
    world_.logins = &logins_;
    world_.random = [](std::span<std::byte> out) noexcept { std::fill(out.begin(), out.end(), std::byte{7}); };
    session_.greet(world_, replies_);
    feed("EHLO client.example\r\n");
    replies_.clear();
  }
  Step feed(std::string_view octets) {
    for (;;) {
      const Step step = session_.advance(octets, world_, replies_);
      octets.remove_prefix(step.consumed);
      if (octets.empty() || step.consumed == 0 || step.event != Event::need_input) return step;
    }
  }
  std::string said() {
    std::string text(replies_.view());
    replies_.clear();
    return text;
  }

  policy::LoginTable logins_{{64, 300, 64}};
  World world_;
  std::array<char, 4096> memory_{};
  ReplyBuffer replies_{memory_.data(), memory_.size()};
  ServerSession session_{0, kLan, 1, pool_};
};

TEST_F(OpenQuestion, TellsWhoAndWhat) {
  const Step asked = feed(kPlain);
  ASSERT_EQ(asked.event, Event::login);
  EXPECT_EQ(asked.login->kind, sasl::Step::Kind::need_password_check);
  EXPECT_EQ(asked.login->user, "anna@example.net");
  EXPECT_EQ(asked.login->password, "secret");
  EXPECT_EQ(asked.mechanism, sasl::Mechanism::plain);
  EXPECT_TRUE(session_.in_login());
  EXPECT_EQ(feed("NOOP\r\n").consumed, 0U);
  EXPECT_EQ(said(), "");
  session_.answer_password(sasl::PasswordVerdict::right, std::make_shared<const policy::UserRecord>(anna_));
  // Not before the step that tells.
  EXPECT_EQ(session_.account(), nullptr);
  const Step ended = feed({});
  EXPECT_EQ(ended.event, Event::login_ended);
  EXPECT_EQ(ended.login->user, "anna@example.net");
  EXPECT_EQ(said(), "235 2.7.0 Authentication successful\r\n");
  ASSERT_NE(session_.account(), nullptr);
  EXPECT_EQ(session_.client().user, "anna@example.net");
  feed("NOOP\r\n");
  EXPECT_FALSE(session_.in_login());
}

TEST_F(OpenQuestion, AsksForTheKeysOfAMechanism) {
  const Step asked = feed("AUTH SCRAM-SHA-256 biwsbj1hbm5hQGV4YW1wbGUubmV0LHI9Y2xpZW50\r\n");  // n,,n=...,r=client
  ASSERT_EQ(asked.event, Event::login);
  EXPECT_EQ(asked.login->kind, sasl::Step::Kind::need_credential);
  EXPECT_EQ(asked.login->credential, sasl::CredentialKind::scram_sha_256);
  session_.answer_login_unavailable();
  EXPECT_EQ(feed({}).event, Event::need_input);
  EXPECT_EQ(said(), "454 4.7.0 Temporary authentication failure\r\n");
  EXPECT_FALSE(session_.in_login());
}

TEST_F(OpenQuestion, ASuccessOfNobodyIsNone) {
  ASSERT_EQ(feed(kPlain).event, Event::login);
  session_.answer_password(sasl::PasswordVerdict::right, nullptr);
  const Step ended = feed({});
  EXPECT_EQ(ended.event, Event::login_ended);
  EXPECT_EQ(ended.login->kind, sasl::Step::Kind::failure);
  EXPECT_EQ(said(), "535 5.7.8 Authentication credentials invalid\r\n");
  EXPECT_EQ(session_.account(), nullptr);
  EXPECT_FALSE(session_.client().authenticated);
}

TEST_F(OpenQuestion, AnAnswerAfterTheFarewellChangesNothing) {
  for (int kind = 0; kind < 3; ++kind) {
    ServerSession session(0, kLan, 1, pool_);
    session.greet(world_, replies_);
    session.advance("EHLO c\r\n", world_, replies_);
    ASSERT_EQ(session.advance(kPlain, world_, replies_).event, Event::login);
    replies_.clear();
    session.say_goodbye("4.3.2 shutting down", replies_);
    const auto anna = std::make_shared<const policy::UserRecord>(anna_);
    if (kind == 0) session.answer_password(sasl::PasswordVerdict::right, anna);
    if (kind == 1) session.answer_credential({}, anna);
    if (kind == 2) session.answer_login_unavailable();
    EXPECT_EQ(session.advance({}, world_, replies_).event, Event::close);
    EXPECT_EQ(said(), "421 4.3.2 shutting down\r\n");
    EXPECT_EQ(session.account(), nullptr);
  }
}

TEST_F(OpenQuestion, AHandshakeAfterTheFarewellChangesNothing) {
  ASSERT_EQ(feed("STARTTLS\r\n").event, Event::start_tls);
  EXPECT_EQ(said(), "220 2.0.0 Ready to start TLS\r\n");
  EXPECT_EQ(feed("NOOP\r\n").consumed, 0U);
  session_.say_goodbye("4.3.2 shutting down", replies_);
  session_.tls_started(kTls);
  EXPECT_FALSE(session_.is_encrypted());
  EXPECT_EQ(feed("NOOP\r\n").event, Event::close);
  EXPECT_EQ(said(), "421 4.3.2 shutting down\r\n");
}

TEST_F(AuthSession, EnvelopeAndTraceSayHowItCame) {
  const std::string message = "MAIL FROM:<anna@example.net>\r\nRCPT TO:<a@example.net>\r\nDATA\r\n.\r\n";
  MemoryDriver& driver = open();
  driver.feed(message);
  driver.feed(kPlain);
  driver.feed(message);
  driver.feed("STARTTLS\r\n");
  driver.handshake(kTls);
  driver.feed("EHLO client.example\r\n" + message);
  driver.feed(kPlain);
  driver.feed(message);
  ASSERT_EQ(driver.stored().size(), 4U) << driver.said();
  const auto user_of = [&](std::size_t i) {
    return std::string(EnvelopeReader::open(driver.stored()[i].head)->session().user);
  };
  const auto says = [&](std::size_t i, std::string_view text) { return driver.stored()[i].trace.contains(text); };
  EXPECT_TRUE(says(0, " with ESMTP id ")) << driver.stored()[0].trace;
  EXPECT_TRUE(says(1, " with ESMTPA id ")) << driver.stored()[1].trace;
  EXPECT_TRUE(says(2, " with ESMTPS id ")) << driver.stored()[2].trace;
  EXPECT_TRUE(says(3, " with ESMTPSA id ")) << driver.stored()[3].trace;
  EXPECT_FALSE(says(1, "TLS"));
  EXPECT_TRUE(says(3, "TLS_AES_256_GCM_SHA384")) << driver.stored()[3].trace;
  EXPECT_EQ(user_of(0), "");
  EXPECT_EQ(user_of(1), "anna@example.net");
  EXPECT_EQ(user_of(2), "");
  EXPECT_EQ(user_of(3), "anna@example.net");
}

TEST_F(AuthSession, XclientForgetsTheLogin) {
  dialog_.settings["xclient_from"] = "[\"127.0.1.5\"]";
  MemoryDriver& driver = open();
  EXPECT_TRUE(say(kPlain).starts_with("235 "));
  EXPECT_TRUE(say("XCLIENT ADDR=127.0.1.6\r\n").starts_with("220 "));
  EXPECT_EQ(driver.session().account(), nullptr);
  EXPECT_FALSE(driver.session().client().authenticated);
  EXPECT_FALSE(driver.session().client().may_relay);
  EXPECT_TRUE(driver.session().client().user.empty());
}

// Peeked at for each recipient, taken at DATA: a message of another session of the user's may come in between.
TEST_F(AuthSession, QuotaUsedUpByOthersRefusesData) {
  anna_.limits.messages_per_hour = 1;
  MemoryDriver& driver = open();
  say(kPlain);
  EXPECT_EQ(say("MAIL FROM:<anna@example.net>\r\nRCPT TO:<a@example.net>\r\n"), "250 2.1.0 Ok\r\n250 2.1.5 Ok\r\n");
  const policy::RateLimits::Sender sender{"anna@example.net", {.messages_per_hour = 1}, nullptr, {}};
  ASSERT_TRUE(driver.rates().take(sender, 1, 1, driver.now()).allowed);
  EXPECT_EQ(say("DATA\r\n"), "450 4.7.1 Your quota is used up, try again later\r\n");
  EXPECT_TRUE(driver.rejected().back().contains("[quota_user] anna@example.net")) << driver.rejected().back();
  EXPECT_TRUE(driver.stored().empty());
  // The transaction stands, and DATA may be tried again when there is quota again.
  driver.now().boot_ns += 3600 * core::kNanosecondsPerSecond;
  EXPECT_EQ(say("DATA\r\n").substr(0, 3), "354");
  say(".\r\n");
  EXPECT_EQ(driver.stored().size(), 1U);
}

// A chunk that was refused is missing: those behind it are no message, though there may be quota for it again.
TEST_F(AuthSession, QuotaUsedUpByOthersRefusesAllChunks) {
  anna_.limits.messages_per_hour = 1;
  MemoryDriver& driver = open();
  say(kPlain);
  say("MAIL FROM:<anna@example.net>\r\nRCPT TO:<a@example.net>\r\n");
  const policy::RateLimits::Sender sender{"anna@example.net", {.messages_per_hour = 1}, nullptr, {}};
  ASSERT_TRUE(driver.rates().take(sender, 1, 1, driver.now()).allowed);
  EXPECT_EQ(say("BDAT 9\r\nQUIT\r\nab\n"), "450 4.7.1 Your quota is used up, try again later\r\n");
  driver.now().boot_ns += 3600 * core::kNanosecondsPerSecond;
  EXPECT_EQ(say("BDAT 6 LAST\r\nQUIT\r\n"), "503 5.5.1 MAIL first\r\n");
  EXPECT_TRUE(driver.stored().empty());
  EXPECT_FALSE(driver.session().in_transaction());
}

// --- memory --------------------------------------------------------------------------------------------------------

// Every octet of the pool's memory, of which nothing may be in use.
bool pool_has(core::BlockPool& pool, std::string_view text) {
  std::vector<char*> blocks;
  bool found = false;
  while (char* block = pool.take(core::BlockPool::kLargest)) {
    blocks.push_back(block);
    found |= std::string_view(block, core::BlockPool::kLargest).contains(text);
  }
  EXPECT_GT(blocks.size(), 1U);
  for (char* block : blocks) pool.give_back(block, core::BlockPool::kLargest);
  return found;
}

TEST_F(AuthSession, NothingIsLeftOfAPassword) {
  std::mt19937_64 random(1);
  for (const Cut cut : {Cut::whole, Cut::by_octet}) {
    for (const std::string_view password : {"secret", "guessed"}) {
      MemoryDriver& driver = open();
      driver.late_answers = true;
      const std::string line = password == "secret" ? std::string(kPlain)
                                                    : "AUTH PLAIN AGFubmFAZXhhbXBsZS5uZXQAZ3Vlc3NlZA==\r\n";
      driver.feed(line, cut, random);
      driver.feed("RSET\r\nAUTH LOGIN\r\n", cut, random);
      driver.feed("NOOP\r\n", cut, random);
      ASSERT_EQ(driver.logins_ended().size() + 0U, password == "secret" ? 1U : 2U) << driver.said();
      driver_.reset();
      EXPECT_FALSE(pool_has(pool_, password));
      EXPECT_FALSE(pool_has(pool_, line.substr(11, 20))) << "in base 64";
    }
  }
  // That it could be found: a name that nobody hides (a free block's first octets are the pool's).
  open();
  driver_.reset();
  EXPECT_TRUE(pool_has(pool_, "xample"));
}

TEST_F(AuthSession, WithoutMemoryItIs454) {
  MemoryDriver& driver = open();
  std::vector<std::pair<char*, std::size_t>> taken;
  for (std::size_t size = core::BlockPool::kLargest; size >= core::BlockPool::kSmallest; size /= 2) {
    while (char* block = pool_.take(size)) taken.emplace_back(block, size);
  }
  EXPECT_EQ(say(kPlain), "454 4.7.0 No memory for it now, try again later\r\n");
  EXPECT_EQ(say("NOOP\r\n"), "250 2.0.0 Ok\r\n");
  // What is decoded has a place now, the exchange has none.
  const auto small = std::find_if(taken.begin(), taken.end(), [](const auto& block) { return block.second == 128; });
  ASSERT_NE(small, taken.end());
  pool_.give_back(small->first, small->second);
  taken.erase(small);
  EXPECT_EQ(say(kPlain), "454 4.7.0 No memory for it now, try again later\r\n");
  for (const auto& [block, size] : taken) pool_.give_back(block, size);
  EXPECT_EQ(say(kPlain), "235 2.7.0 Authentication successful\r\n");
  EXPECT_EQ(driver.broken(), "");
}

TEST_F(AuthSession, AnExchangeHoldsOneBlockAndGivesItBack) {
  MemoryDriver& driver = open();
  const std::size_t before = pool_.used_bytes();
  say("AUTH LOGIN\r\n");
  EXPECT_EQ(pool_.used_bytes(), before + 4096);
  say("*\r\nNOOP\r\n");
  EXPECT_EQ(pool_.used_bytes(), before);
  say("AUTH LOGIN\r\n" + std::string(12286, 'A') + "x");
  driver.feed("\r\n");
  EXPECT_EQ(pool_.used_bytes(), before);
}

}  // namespace
}  // namespace postern::net::smtp::test
