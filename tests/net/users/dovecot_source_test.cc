// Dovecot's answers, and what is none: a socket that refuses, hangs, dribbles, closes and talks nonsense. Nobody is let in
// by any of it, and no question takes longer than its time.
#include "net/users/dovecot_source.h"

#include <chrono>
#include <gtest/gtest.h>

#include "net/users/credentials.h"
#include "tests/net/users/fake_dovecot.h"
#include "tests/net/users/store_folder.h"

namespace postern::net::users {
namespace {

using sasl::PasswordVerdict;
using Answer = CredentialRequest::Answer;
using Clock = std::chrono::steady_clock;
using Connection = FakeDovecot::Connection;
using std::chrono::milliseconds;

class DovecotTest : public StoreTest {
 protected:
  void SetUp() override {
    StoreTest::SetUp();
    socket_ = folder_ + "/auth";
  }
  void TearDown() override {
    source_.reset();
    dovecot_.reset();
    StoreTest::TearDown();
  }
  void serve(std::vector<FakeDovecot::Script> scripts, milliseconds patience = milliseconds(5000)) {
    dovecot_ = std::make_unique<FakeDovecot>(socket_, std::move(scripts));
    connect(patience);
  }
  void connect(milliseconds patience) {
    auto opened = open_dovecot_source(socket_, patience);
    ASSERT_TRUE(opened.has_value()) << opened.error().text;
    source_ = std::move(*opened);
  }
  // "right name", "wrong", "disabled", "unavailable"
  std::string ask(std::string_view user = "anna@example.net", std::string_view password = "secret") {
    CredentialRequest request;
    request.set_user(user);
    request.set_password(password);
    request.client = core::IpAddress::parse("192.0.2.9");
    source_->answer(request);
    if (request.answer == Answer::unavailable) {
      EXPECT_EQ(request.account, nullptr);
      return "unavailable";
    }
    if (request.verdict == PasswordVerdict::right) return "right " + request.account->name;
    EXPECT_EQ(request.account, nullptr);
    return request.verdict == PasswordVerdict::disabled ? "disabled" : "wrong";
  }

  std::string socket_;
  std::unique_ptr<FakeDovecot> dovecot_;
  std::unique_ptr<CredentialSource> source_;
};

// Answers each AUTH with this line, "ID" in it being the request's.
FakeDovecot::Script answers(std::string line) {
  return [line](Connection& peer) {
    peer.send(kDovecotGreeting);
    for (std::string id = peer.auth(); !id.empty(); id = peer.auth()) {
      std::string said = line;
      if (const std::size_t at = said.find("ID"); at != std::string::npos) said.replace(at, 2, id);
      peer.send(said + "\n");
    }
  };
}

TEST_F(DovecotTest, SaysWhatTheProtocolSays) {
  std::vector<std::string> said;
  serve({[&said](Connection& peer) {
    said = {peer.line(), peer.line()};
    peer.send(kDovecotGreeting);
    for (int i = 0; i < 2; ++i) {
      said.push_back(peer.line());
      peer.send(i == 0 ? "OK\t1\tuser=anna@example.net\n" : "FAIL\t2\tuser=anna@example.net\n");
    }
  }});
  EXPECT_EQ(ask(), "right anna@example.net");
  EXPECT_EQ(ask("anna@example.net", "guessed"), "wrong");
  EXPECT_EQ(dovecot_->connections(), 1U) << "one connection is used for all questions";
  dovecot_.reset();
  ASSERT_EQ(said.size(), 4U);
  EXPECT_EQ(said[0], "VERSION\t1\t2");
  EXPECT_EQ(said[1], "CPID\t" + std::to_string(getpid()));
  EXPECT_TRUE(said[2].starts_with("AUTH\t1\tPLAIN\tservice=smtp\t")) << said[2];
  EXPECT_TRUE(said[2].contains("\trip=192.0.2.9\t")) << said[2];
  EXPECT_TRUE(said[2].ends_with("\tresp=AGFubmFAZXhhbXBsZS5uZXQAc2VjcmV0")) << said[2] << " (resp= must be last)";
  EXPECT_TRUE(said[3].starts_with("AUTH\t2\tPLAIN\t"));
}

TEST_F(DovecotTest, Verdicts) {
  const std::pair<const char*, const char*> cases[] = {
      {"OK\tID\tuser=anna@example.net", "right anna@example.net"},
      {"OK\tID\tuser=Anna@Example.NET\tother=x", "right anna@example.net"},
      {"OK\tID", "right anna@example.net"},
      {"OK\tID\tuser=anna", "right anna"},  // Dovecot may know the user under another name
      {"FAIL\tID", "wrong"},
      {"FAIL\tID\tuser=anna@example.net\treason=no", "wrong"},
      {"FAIL\tID\ttemp", "unavailable"},
      {"FAIL\tID\tcode=temp_fail", "unavailable"},
      {"FAIL\tID\tuser=x\ttemp\tcode=user_disabled", "unavailable"},
      {"FAIL\tID\tuser_disabled", "disabled"},
      {"FAIL\tID\tcode=user_disabled", "disabled"},
  };
  for (const auto& [line, verdict] : cases) {
    serve({answers(line)});
    EXPECT_EQ(ask(), verdict) << line;
    EXPECT_EQ(ask(), verdict) << line << ", the second time";
    EXPECT_EQ(dovecot_->connections(), 1U) << line;
    source_.reset();
    dovecot_.reset();
    ::unlink(socket_.c_str());
  }
}

// What is asked may only be what Dovecot can answer.
TEST_F(DovecotTest, KnowsNoKeys) {
  serve({answers("OK\tID")});
  for (const auto kind : {sasl::CredentialKind::scram_sha_256, sasl::CredentialKind::cram_md5, sasl::CredentialKind::user_exists}) {
    CredentialRequest request;
    request.kind = CredentialRequest::Kind::credential;
    request.credential_kind = kind;
    request.set_user("anna@example.net");
    source_->answer(request);
    EXPECT_EQ(request.answer, Answer::unavailable);
    EXPECT_EQ(request.account, nullptr);
  }
  EXPECT_EQ(dovecot_->connections(), 0U);
  EXPECT_FALSE(source_->hold("anna@example.net").has_value());
  EXPECT_EQ(source_->version().value(), source_->version().value());
}

TEST_F(DovecotTest, WaitsUntilDovecotIsThere) {
  connect(milliseconds(5000));
  EXPECT_EQ(ask(), "unavailable");
  dovecot_ = std::make_unique<FakeDovecot>(socket_, std::vector{answers("OK\tID")});
  EXPECT_EQ(ask(), "right anna@example.net");
}

TEST_F(DovecotTest, PathsThatCannotBeASocketsAreRefused) {
  EXPECT_FALSE(open_dovecot_source("").has_value());
  EXPECT_FALSE(open_dovecot_source("/" + std::string(107, 'x')).has_value());
  EXPECT_TRUE(open_dovecot_source("/" + std::string(106, 'x')).has_value());
}

// --- what is no answer ---------------------------------------------------------------------------------------------

TEST_F(DovecotTest, NonsenseIsNoAnswer) {
  using Scripts = std::vector<std::pair<const char*, FakeDovecot::Script>>;
  const auto greets_with = [](std::string greeting) {
    return [greeting](Connection& peer) {
      peer.send(greeting);
      peer.send("OK\t1\tuser=anna@example.net\n");
    };
  };
  const auto replies_with = [](std::string reply) {
    return [reply](Connection& peer) {
      peer.send(kDovecotGreeting);
      if (peer.auth().empty()) return;
      peer.send(reply);
    };
  };
  const Scripts scripts = {
      {"closes at once", [](Connection&) {}},
      {"closes in the greeting", [](Connection& peer) { peer.send("VERSION\t1\t2\nMECH\tPL"); }},
      {"no version", greets_with("MECH\tPLAIN\nDONE\n")},
      {"another version", greets_with("VERSION\t2\t0\nMECH\tPLAIN\nDONE\n")},
      {"a version that begins like ours", greets_with("VERSION\t11\t0\nDONE\n")},
      {"an SMTP server", greets_with("220 mail.example.net ESMTP\r\n")},
      {"no end of the greeting", greets_with([] {
         std::string lines = "VERSION\t1\t2\n";
         for (int i = 0; i < 200; ++i) lines += "MECH\tX\n";
         return lines;
       }())},
      {"a line without an end", greets_with("VERSION\t1\t2\n" + std::string(100'000, 'x'))},
      {"zeros", greets_with(std::string(5000, '\0'))},
      {"closes instead of an answer", [](Connection& peer) {
         peer.send(kDovecotGreeting);
         peer.auth();
       }},
      {"closes in the answer", replies_with("OK\t1\tuser=anna@exa")},
      {"another's answer", replies_with("OK\t7\tuser=anna@example.net\n")},
      {"no id", replies_with("OK\n")},
      {"an id that begins like ours", replies_with("OK\t11\n")},
      {"lower case", replies_with("ok\t1\n")},
      {"a word that begins like one", replies_with("OKAY\t1\n")},
      {"go on", replies_with("CONT\t1\tabcd\n")},
      {"lines without end", replies_with([] {
         std::string lines;
         for (int i = 0; i < 500; ++i) lines += "MECH\tX\n";
         return lines + "OK\t1\n";
       }())},
      {"an answer without an end", replies_with("OK\t1\tuser=" + std::string(50'000, 'a'))},
      {"a user that can be none", replies_with("OK\t1\tuser=a:b\n")},
      {"an empty user", replies_with("OK\t1\tuser=\n")},
  };
  for (const auto& [name, script] : scripts) {
    serve({script});
    const auto begin = Clock::now();
    EXPECT_EQ(ask(), "unavailable") << name;
    EXPECT_LT(Clock::now() - begin, milliseconds(4000)) << name << " took the whole patience";
    source_.reset();
    dovecot_.reset();
    ::unlink(socket_.c_str());
  }
}

// Dovecot was restarted: the old connection is dead, a new one answers, and nobody hears of it.
TEST_F(DovecotTest, ConnectsAnewWhenTheConnectionWasClosed) {
  serve({[](Connection& peer) {
           peer.send(kDovecotGreeting);
           peer.send("OK\t" + peer.auth() + "\n");
         },
         answers("OK\tID")});
  EXPECT_EQ(ask(), "right anna@example.net");
  EXPECT_EQ(ask(), "right anna@example.net");
  EXPECT_EQ(dovecot_->connections(), 2U);
}

// An answer that was given up is not the next question's.
TEST_F(DovecotTest, ALateAnswerIsNobodys) {
  serve({[](Connection& peer) {
           peer.send(kDovecotGreeting);
           const std::string id = peer.auth();
           peer.wait_for_close();
         },
         answers("FAIL\tID")},
        milliseconds(200));
  EXPECT_EQ(ask(), "unavailable");
  const auto until = Clock::now() + std::chrono::seconds(10);
  std::string then = ask("anna@example.net", "guessed");
  while (then == "unavailable" && Clock::now() < until) then = ask("anna@example.net", "guessed");
  EXPECT_EQ(then, "wrong");
  EXPECT_EQ(dovecot_->connections(), 2U);
}

// --- time ----------------------------------------------------------------------------------------------------------

TEST_F(DovecotTest, ASocketThatHangsIsLeftInItsTime) {
  const auto dribble = [](Connection& peer) {
    // An octet now and then, for ever: each read succeeds, and nothing comes of it.
    const std::string_view greeting = "VERSION\t1\t2\nMECH\tPLAIN\tplaintext\nMECH\tLOGIN\tplaintext\n";
    for (std::size_t at = 0; at < greeting.size() && peer.send(greeting.substr(at, 1)) && peer.pause(20);) ++at;
  };
  const std::pair<const char*, FakeDovecot::Script> scripts[] = {
      {"says nothing", [](Connection& peer) { peer.wait_for_close(); }},
      {"does not answer",
       [](Connection& peer) {
         peer.send(kDovecotGreeting);
         peer.wait_for_close();
       }},
      {"answers others",
       [](Connection& peer) {
         peer.send(kDovecotGreeting);
         peer.auth();
         for (int i = 0; i < 50 && peer.send("OK\t77\n") && peer.pause(20);) ++i;
       }},
      {"dribbles", dribble},
  };
  for (const auto& [name, script] : scripts) {
    serve({script}, milliseconds(300));
    const auto begin = Clock::now();
    EXPECT_EQ(ask(), "unavailable") << name;
    const auto took = Clock::now() - begin;
    EXPECT_GE(took, milliseconds(290)) << name;
    EXPECT_LT(took, milliseconds(1500)) << name;
    // Those that wait behind it do not each wait as long again.
    const auto next = Clock::now();
    for (int i = 0; i < 20; ++i) EXPECT_EQ(ask(), "unavailable") << name;
    EXPECT_LT(Clock::now() - next, milliseconds(290)) << name;
    source_.reset();
    dovecot_.reset();
    ::unlink(socket_.c_str());
  }
}

// Its owner does not accept, and its queue is full: connect() waits too.
TEST_F(DovecotTest, ASocketNobodyAcceptsFromIsLeftInItsTime) {
  const int listener = ::socket(AF_UNIX, SOCK_STREAM, 0);
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  std::memcpy(address.sun_path, socket_.data(), socket_.size());
  ASSERT_EQ(::bind(listener, reinterpret_cast<sockaddr*>(&address), sizeof address), 0);
  ASSERT_EQ(::listen(listener, 0), 0);
  const int first = ::socket(AF_UNIX, SOCK_STREAM, 0);
  ASSERT_EQ(::connect(first, reinterpret_cast<sockaddr*>(&address), sizeof address), 0);
  connect(milliseconds(300));
  const auto begin = Clock::now();
  EXPECT_EQ(ask(), "unavailable");
  EXPECT_GE(Clock::now() - begin, milliseconds(290));
  EXPECT_LT(Clock::now() - begin, milliseconds(1500));
  ::close(first);
  ::close(listener);
}

}  // namespace
}  // namespace postern::net::users
