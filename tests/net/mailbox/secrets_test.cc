// Passwords stay in the session no longer than they are needed, and nowhere that a log could see.
#include <cstring>
#include <gtest/gtest.h>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "net/mailbox/imap_session.h"
#include "net/mailbox/pop3_session.h"

#include "tests/net/mailbox/front.h"

namespace postern::net::mailbox::test {
namespace {

using namespace std::string_literals;

constexpr std::string_view kSecret = "Tr0ub4dor&3";

// A session at a place of memory that can be looked through, also when the session is gone.
template <class Session>
class Glass {
 public:
  explicit Glass(const SessionOptions& options) { session_ = ::new (static_cast<void*>(memory_)) Session(options); }
  ~Glass() { end(); }
  Glass(const Glass&) = delete;
  Glass& operator=(const Glass&) = delete;

  void end() {
    if (session_ != nullptr) session_->~Session();
    session_ = nullptr;
  }
  // Both inputs must be used up.
  Event advance(std::string_view from_client, std::string_view from_store) {
    for (;;) {
      const Step step = session_->advance(from_client, from_store, to_client, to_store);
      from_client.remove_prefix(step.client_consumed);
      from_store.remove_prefix(step.store_consumed);
      heard.append(to_store.view());
      to_client.clear();
      to_store.clear();
      if (step.event == Event::flush) continue;
      EXPECT_TRUE(from_client.empty() && from_store.empty());
      return step.event;
    }
  }
  // Through the greeting.
  void begin(std::initializer_list<std::string_view> store) {
    EXPECT_EQ(advance({}, {}), Event::connect_store);
    session_->store_connected();
    for (const std::string_view piece : store) EXPECT_EQ(advance({}, piece), Event::need_input);
  }
  [[nodiscard]] bool holds(std::string_view text) const {
    return std::string_view(memory_, sizeof memory_).find(text) != std::string_view::npos;
  }
  [[nodiscard]] bool outputs_hold(std::string_view text) const {
    return std::string_view(client_memory.data(), client_memory.size()).find(text) != std::string_view::npos ||
           std::string_view(store_memory.data(), store_memory.size()).find(text) != std::string_view::npos;
  }
  MailboxSession& session() { return *session_; }

  std::vector<char> client_memory = std::vector<char>(Output::kReplyMax);
  std::vector<char> store_memory = std::vector<char>(Output::kReplyMax);
  Output to_client{client_memory.data(), client_memory.size()};
  Output to_store{store_memory.data(), store_memory.size()};
  std::string heard;

 private:
  alignas(Session) char memory_[sizeof(Session)] = {};
  Session* session_ = nullptr;
};

SessionOptions options() {
  SessionOptions made;
  made.encrypted = true;
  return made;
}

template <class Session>
void expect_gone(const Glass<Session>& glass, std::string_view secret) {
  EXPECT_FALSE(glass.holds(secret));
  EXPECT_FALSE(glass.outputs_hold(secret));
}

TEST(Pop3Secrets, APasswordIsWipedWhenItWasForwarded) {
  Glass<Pop3Session> glass(options());
  glass.begin({"+OK x\r\n", "+OK\r\nUSER\r\n.\r\n"});
  EXPECT_EQ(glass.advance("USER anna\r\n", {}), Event::need_input);
  EXPECT_EQ(glass.advance("PASS " + std::string(kSecret) + "\r\n", {}), Event::login_wanted);
  EXPECT_TRUE(glass.holds(kSecret));
  glass.session().answer_login(LoginAnswer::allow);
  EXPECT_EQ(glass.advance({}, {}), Event::need_input);
  EXPECT_EQ(glass.advance({}, "+OK\r\n"), Event::need_input);
  EXPECT_NE(glass.heard.find(kSecret), std::string::npos);
  expect_gone(glass, kSecret);
}

TEST(Pop3Secrets, APasswordIsWipedWhenItIsRefused) {
  for (const LoginAnswer answer : {LoginAnswer::refuse, LoginAnswer::unavailable, LoginAnswer::close}) {
    Glass<Pop3Session> glass(options());
    glass.begin({"+OK x\r\n", "+OK\r\nUSER\r\n.\r\n"});
    EXPECT_EQ(glass.advance("USER anna\r\nPASS " + std::string(kSecret) + "\r\n", {}), Event::login_wanted);
    glass.session().answer_login(answer);
    glass.advance({}, {});
    EXPECT_EQ(glass.heard.find(kSecret), std::string::npos);
    expect_gone(glass, kSecret);
  }
}

TEST(Pop3Secrets, APasswordInTheWrongPlaceIsWiped) {
  Glass<Pop3Session> glass(options());
  glass.begin({"+OK x\r\n", "+OK\r\nUSER\r\n.\r\n"});
  EXPECT_EQ(glass.advance("PASS " + std::string(kSecret) + "\r\n", {}), Event::need_input);
  expect_gone(glass, kSecret);
  EXPECT_EQ(glass.advance(std::string(kSecret) + std::string(MailboxSession::kLineBytesMax, 'x'), {}),
            Event::need_input);
  expect_gone(glass, kSecret);
}

TEST(Pop3Secrets, HalfAPasswordGoesWithTheSession) {
  Glass<Pop3Session> glass(options());
  glass.begin({"+OK x\r\n", "+OK\r\nUSER\r\n.\r\n"});
  EXPECT_EQ(glass.advance("PASS " + std::string(kSecret), {}), Event::need_input);
  EXPECT_TRUE(glass.holds(kSecret));
  glass.end();
  expect_gone(glass, kSecret);
}

TEST(Pop3Secrets, APasswordIsWipedWhenTheStoreGoesAway) {
  Glass<Pop3Session> glass(options());
  glass.begin({"+OK x\r\n", "+OK\r\nUSER\r\n.\r\n"});
  EXPECT_EQ(glass.advance("USER anna\r\nPASS " + std::string(kSecret) + "\r\n", {}), Event::login_wanted);
  glass.session().store_lost();
  EXPECT_EQ(glass.advance({}, {}), Event::close);
  expect_gone(glass, kSecret);
}

TEST(ImapSecrets, APasswordIsWipedWhenItWasForwarded) {
  for (const std::string& command : {"a LOGIN anna \"" + std::string(kSecret) + "\"\r\n",
                                     "a LOGIN {4+}\r\nanna {11+}\r\n" + std::string(kSecret) + "\r\n"}) {
    Glass<ImapSession> glass(options());
    glass.begin({"* OK [CAPABILITY IMAP4rev1] x\r\n"});
    EXPECT_EQ(glass.advance(command, {}), Event::login_wanted);
    EXPECT_TRUE(glass.holds(kSecret));
    glass.session().answer_login(LoginAnswer::allow);
    EXPECT_EQ(glass.advance({}, {}), Event::need_input);
    EXPECT_NE(glass.heard.find(kSecret), std::string::npos);
    expect_gone(glass, kSecret);
  }
}

TEST(ImapSecrets, AMessageOfSaslIsWipedWhenItWasForwarded) {
  const std::string response = base64("\0anna\0"s + std::string(kSecret));
  Glass<ImapSession> glass(options());
  glass.begin({"* OK [CAPABILITY IMAP4rev1 AUTH=PLAIN] x\r\n"});
  EXPECT_EQ(glass.advance("a AUTHENTICATE PLAIN " + response + "\r\n", {}), Event::login_wanted);
  EXPECT_TRUE(glass.holds(response));
  EXPECT_FALSE(glass.holds(kSecret));
  glass.session().answer_login(LoginAnswer::allow);
  EXPECT_EQ(glass.advance({}, {}), Event::need_input);  // no SASL-IR: it waits
  EXPECT_EQ(glass.advance({}, "+ \r\n"), Event::need_input);
  EXPECT_NE(glass.heard.find(response), std::string::npos);
  expect_gone(glass, response);
}

TEST(ImapSecrets, WhatIsLeftBehindIsWiped) {
  const std::string response = base64("no message of PLAIN " + std::string(kSecret));
  Glass<ImapSession> glass(options());
  glass.begin({"* OK [CAPABILITY IMAP4rev1 AUTH=PLAIN] x\r\n"});
  EXPECT_EQ(glass.advance("a AUTHENTICATE PLAIN " + response + "\r\nb AUTHENTICATE PLAIN\r\n" + response + "\r\n", {}),
            Event::need_input);
  expect_gone(glass, response);
  EXPECT_EQ(glass.advance("c LOGIN anna " + std::string(kSecret) + " x\r\nd LOGIN " + std::string(kSecret) + "\n", {}),
            Event::need_input);
  expect_gone(glass, kSecret);
  EXPECT_EQ(glass.advance("e LOGIN anna {11+}\r\n" + std::string(kSecret) + " {9999+}\r\n", {}), Event::close);
  expect_gone(glass, kSecret);
}

// Whatever way a login takes, events name the user and never the password.
TEST(Secrets, AreInNoEvent) {
  const std::string secret(kSecret);
  const std::string plain = base64("\0anna\0"s + secret);
  for (const std::string& client : {"USER anna\r\nPASS " + secret + "\r\n", "AUTH PLAIN " + plain + "\r\n",
                                    "AUTH LOGIN\r\n" + base64("anna") + "\r\n" + base64(secret) + "\r\n"}) {
    for (const char* verdict : {"+OK\r\n", "-ERR\r\n", "garbage\r\n"}) {
      Scenario played;
      played.options.encrypted = true;
      const bool is_login = client.substr(0, 10) == "AUTH LOGIN";
      const bool is_user = client.substr(0, 4) == "USER";
      played.store = {"+OK\r\n", "+OK\r\nUSER\r\nSASL PLAIN LOGIN\r\n.\r\n"};
      if (is_user) played.store.push_back("+OK\r\n");
      if (is_login) played.store.insert(played.store.end(), {"+ VXNlcm5hbWU6\r\n", "+ UGFzc3dvcmQ6\r\n"});
      played.store.push_back(verdict);
      played.client = {client};
      const Outcome outcome = run_all_cuts(played);
      EXPECT_EQ(outcome.broken, "");
      EXPECT_NE(outcome.events.find("wanted anna "), std::string::npos);
      EXPECT_EQ(outcome.events.find(secret), std::string::npos);
      EXPECT_EQ(outcome.events.find(base64(secret)), std::string::npos);
    }
  }
}

}  // namespace
}  // namespace postern::net::mailbox::test
