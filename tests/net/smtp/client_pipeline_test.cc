// Two full pipes, and servers that behave at random: nobody waits for ever, and each recipient gets exactly one result, which is
// never better than what the server said.
#include <algorithm>
#include <cstdint>
#include <gtest/gtest.h>
#include <map>
#include <random>
#include <string>
#include <vector>

#include "tests/net/smtp/client_harness.h"

namespace postern::net::smtp {
namespace {

// A connection's direction: holds what was sent and not yet read.
struct Pipe {
  std::string octets;
  std::size_t capacity = 0;

  [[nodiscard]] std::size_t room() const { return capacity - octets.size(); }
  // What fits; returns how much.
  std::size_t write(std::string_view bytes) {
    const std::size_t count = std::min(bytes.size(), room());
    octets += bytes.substr(0, count);
    return count;
  }
};

TEST(ClientPipelining, TwoFullPipesDoNotBlockEachOther) {
  Pipe to_server{{}, 512};
  Pipe to_client{{}, 512};
  const std::string words(180, 'w');  // 100 replies of this are far more than both pipes hold
  std::string server_unread;
  std::string server_unsent = "220 mx\r\n";
  bool content = false;
  std::size_t commands = 0;

  ClientSession session({false, "relay.example.net"});
  std::string memory(CommandBuffer::kCommandMax, '\0');
  CommandBuffer out(memory.data(), memory.size());
  std::string in_flight;  // a send that is not finished; `out` is not touched meanwhile
  Mail mail(Transaction::kRecipientsMax);
  bool begun = false;
  bool done = false;
  std::size_t results = 0;

  std::size_t turns = 0;
  for (; turns < 100000 && !done; ++turns) {
    // The server reads nothing while its own replies do not fit.
    server_unsent.erase(0, to_client.write(server_unsent));
    if (server_unsent.empty()) {
      server_unread += std::exchange(to_server.octets, {});
      const std::size_t end = server_unread.find(content ? "\r\n.\r\n" : "\r\n");
      if (end != std::string::npos) {
        const std::string line = server_unread.substr(0, end);
        server_unread.erase(0, end + (content ? 5 : 2));
        ++commands;
        if (line.starts_with("EHLO")) {
          server_unsent = "250-mx\r\n250 PIPELINING\r\n";
        } else if (line.starts_with("DATA")) {
          server_unsent = "354 go\r\n";
          content = true;
        } else {
          server_unsent = "250 " + words + "\r\n";
          content = false;
        }
      }
    }
    // The client's driver: one send in flight, receives all the while.
    in_flight.erase(0, to_server.write(in_flight));
    CommandBuffer none(nullptr, 0);
    const ClientStep step = session.advance(to_client.octets, in_flight.empty() ? out : none);
    to_client.octets.erase(0, step.consumed);
    ASSERT_NE(step.event, ClientEvent::broken);
    if (step.event == ClientEvent::flush && in_flight.empty()) {
      in_flight = out.view();
      out.clear();
    }
    if (step.event == ClientEvent::send_content) {
      ASSERT_TRUE(in_flight.empty());
      in_flight = "text\r\n.\r\n";
      session.content_sent();
    }
    if (step.event == ClientEvent::ready && !begun) {
      begun = true;
      session.begin(mail.transaction);
    }
    if (step.event == ClientEvent::result) {
      EXPECT_EQ(step.result.code, 250);
      ++results;
    }
    done = step.event == ClientEvent::done;
  }
  EXPECT_TRUE(done) << "blocked after " << commands << " commands";
  EXPECT_EQ(results, Transaction::kRecipientsMax);
}

TEST(ClientPipelining, ASmallBufferTakesSeveralSends) {
  ClientHarness client(false, CommandBuffer::kCommandMax);
  client.greet("PIPELINING");
  Mail mail(Transaction::kRecipientsMax);
  client.begin(mail.transaction);
  EXPECT_GT(client.sends.size(), 1u);
  for (const std::string& send : client.sends) {
    EXPECT_LE(send.size(), CommandBuffer::kCommandMax);
    EXPECT_TRUE(send.ends_with("\r\n")) << "only whole commands";
  }
  EXPECT_EQ(std::count(client.sent.begin(), client.sent.end(), '\n'), 102);
  EXPECT_TRUE(client.sent.ends_with("DATA\r\n"));
}

TEST(ClientPipelining, NoDataAfterMailWasRefusedInTheFirstOfSeveralSends) {
  std::string memory(CommandBuffer::kCommandMax, '\0');
  CommandBuffer out(memory.data(), memory.size());
  ClientSession session({false, "relay.example.net"});
  EXPECT_EQ(session.advance("220 x\r\n", out).event, ClientEvent::flush);
  out.clear();
  EXPECT_EQ(session.advance("250-x\r\n250 PIPELINING\r\n", out).event, ClientEvent::ready);
  Mail mail(Transaction::kRecipientsMax);
  session.begin(mail.transaction);
  EXPECT_EQ(session.advance({}, out).event, ClientEvent::flush);
  const auto written = std::count(out.view().begin(), out.view().end(), '\n');
  out.clear();
  const std::string refusal = "550 no\r\n";
  ClientStep step = session.advance(refusal, out);
  for (std::size_t i = 0; i < Transaction::kRecipientsMax; ++i) {
    ASSERT_EQ(step.event, ClientEvent::result);
    step = session.advance({}, out);
  }
  EXPECT_EQ(step.event, ClientEvent::need_input);
  EXPECT_TRUE(out.view().empty()) << "the rest of the recipients and DATA stay unsent";
  for (std::ptrdiff_t i = 1; i < written; ++i) {
    EXPECT_EQ(step.event, ClientEvent::need_input);
    step = session.advance("503 no MAIL\r\n", out);
  }
  EXPECT_EQ(step.event, ClientEvent::done);
}

// --- servers at random --------------------------------------------------------------------------------------------

// Reads what the client sends, answers as it likes, and remembers what it took responsibility for.
class RandomServer {
 public:
  RandomServer(std::mt19937_64& random, bool lmtp, bool faults) : random_(random), lmtp_(lmtp), faults_(faults) {
    say(220, "mx");
  }

  void read(std::string_view bytes) {
    unread_ += bytes;
    while (!gone && step()) {
    }
  }

  std::string unsent;
  bool gone = false;
  std::map<std::string, int> outcome;  // by address: the last code that settles it

 private:
  bool chance(int of_hundred) { return static_cast<int>(random_() % 100) < of_hundred; }

  void say(int code, std::string_view text) {
    if (faults_ && chance(2)) {
      static constexpr const char* kOdd[] = {"421 4.3.2 going\r\n", "garbage\r\n", "250-a\r\n451 b\r\n",
                                             "354 hm\r\n",          "250 ",        "250 twice\r\n250 twice\r\n",
                                             "299-\r\n299 odd\r\n"};
      unsent += kOdd[random_() % std::size(kOdd)];
      if (chance(50)) gone = true;
      return;
    }
    if (chance(20)) unsent += std::to_string(code) + "-more\r\n";
    unsent += std::to_string(code) + ' ' + std::string(text) + (chance(10) ? "\n" : "\r\n");
  }

  int verdict(int good) {
    if (chance(75)) return good;
    return chance(50) ? 450 : 550;
  }

  bool step() {
    if (bdat_left_ != 0 || in_bdat_) return read_bdat();
    if (in_data_) return read_data();
    const std::size_t end = unread_.find("\r\n");
    if (end == std::string::npos) return false;
    const std::string line = unread_.substr(0, end);
    unread_.erase(0, end + 2);
    command(line);
    return true;
  }

  bool read_data() {
    const bool empty = unread_.starts_with(".\r\n");
    const std::size_t end = empty ? 0 : unread_.find("\r\n.\r\n");
    if (end == std::string::npos) return false;
    unread_.erase(0, end + (empty ? 3 : 5));
    in_data_ = false;
    // A faulty server has told the client something else.
    if (!faults_) {
      EXPECT_EQ(accepted_.empty(), empty) << "content for nobody, or none for somebody";
    }
    content_replies();
    return true;
  }

  bool read_bdat() {
    const std::size_t take = std::min<std::size_t>(bdat_left_, unread_.size());
    unread_.erase(0, take);
    bdat_left_ -= take;
    if (bdat_left_ != 0) return false;
    in_bdat_ = false;
    content_replies();
    return true;
  }

  void content_replies() {
    if (lmtp_) {
      for (const std::string& address : accepted_) {
        const int code = verdict(250);
        outcome[address] = code;
        say(code, "done");
      }
    } else {
      const int code = verdict(250);
      for (const std::string& address : accepted_) outcome[address] = code;
      say(code, "done");
    }
    open_ = false;
    accepted_.clear();
  }

  void command(const std::string& line) {
    const auto is = [&line](std::string_view verb) { return line.starts_with(verb); };
    if (is("EHLO") || is("LHLO")) {
      if (!lmtp_ && chance(10)) return say(502, "what");
      unsent += "250-mx\r\n";
      for (const char* extension : {"PIPELINING", "SIZE", "8BITMIME", "DSN", "CHUNKING", "BINARYMIME"}) {
        if (chance(70)) unsent += "250-" + std::string(extension) + "\r\n";
      }
      say(250, "HELP");
    } else if (is("HELO")) {
      say(250, "mx");
    } else if (is("RSET")) {
      open_ = false;
      accepted_.clear();
      say(250, "reset");
    } else if (is("MAIL FROM:<")) {
      EXPECT_TRUE(faults_ || !open_) << "nested MAIL";
      const int code = verdict(250);
      open_ = code == 250;
      say(code, "sender");
    } else if (is("RCPT TO:<")) {
      const std::string address = line.substr(9, line.find('>') - 9);
      const int code = open_ ? verdict(250) : 503;
      outcome[address] = code;
      if (code == 250) accepted_.push_back(address);
      say(code, "recipient");
    } else if (is("DATA")) {
      // Some say 354 whatever came before; LMTP must not (RFC 2033 section 4.2).
      int code = verdict(354);
      if (accepted_.empty() && (lmtp_ || chance(50))) code = 503;
      if (code == 354) {
        in_data_ = true;
      } else {
        for (const std::string& address : accepted_) outcome[address] = code;
      }
      say(code, "data");
    } else if (is("BDAT ")) {
      EXPECT_TRUE(faults_ || !accepted_.empty());
      bdat_left_ = std::stoull(line.substr(5));
      in_bdat_ = true;
    } else if (is("QUIT")) {
      say(221, "bye");
    } else {
      EXPECT_TRUE(faults_) << "no command: " << line;
      say(500, "what");
    }
  }

  std::mt19937_64& random_;
  bool lmtp_;
  bool faults_;
  bool open_ = false;
  bool in_data_ = false;
  bool in_bdat_ = false;
  std::uint64_t bdat_left_ = 0;
  std::vector<std::string> accepted_;
  std::string unread_;
};

// One connection of several messages; returns how many recipients were delivered.
class RandomRun {
 public:
  RandomRun(std::uint64_t seed, bool faults)
      : random_(seed),
        faults_(faults),
        lmtp_(random_() % 2 == 0),
        server_(random_, lmtp_, faults),
        memory_(CommandBuffer::kCommandMax + random_() % 8000, '\0'),
        out_(memory_.data(), memory_.size()),
        session_({lmtp_, "relay.example.net"}) {}

  int run() {
    for (int turns = 0; turns < 200000; ++turns) {
      receive();
      const ClientStep step = session_.advance(input_, out_);
      input_.erase(0, step.consumed);
      if (!handle(step)) return delivered_;
    }
    ADD_FAILURE() << "does not end";
    return delivered_;
  }

 private:
  void receive() {
    const std::size_t count = std::min<std::size_t>(server_.unsent.size(), random_() % 60);
    input_ += server_.unsent.substr(0, count);
    server_.unsent.erase(0, count);
  }

  void begin() {
    const std::size_t recipients = 1 + random_() % (random_() % 4 == 0 ? Transaction::kRecipientsMax : 4);
    mail_ = std::make_unique<Mail>(recipients);
    mail_->transaction.content_bytes = 5;
    if (random_() % 4 == 0) mail_->transaction.content_flags = content_binary;
    results_.assign(recipients, 0);
    server_.outcome.clear();
    session_.begin(mail_->transaction);
    in_transaction_ = true;
  }

  void check_all_settled() {
    for (const int code : results_) EXPECT_NE(code, 0);
    in_transaction_ = false;
  }

  void take(const RecipientResult& result) {
    ASSERT_TRUE(in_transaction_);
    ASSERT_LT(result.index, results_.size());
    ASSERT_EQ(results_[result.index], 0) << "a second result";
    ASSERT_GE(result.code, 200);
    ASSERT_LT(result.code, 600);
    results_[result.index] = result.code;
    const auto said = server_.outcome.find(std::string(mail_->fields[result.index].forward_path));
    if (result.code < 300) {
      ++delivered_;
      ASSERT_TRUE(result.by_peer);
      if (!faults_) {
        ASSERT_NE(said, server_.outcome.end());
        ASSERT_EQ(said->second, 250);
      }
    } else if (!faults_ && result.by_peer && said != server_.outcome.end() && said->second != 503) {
      ASSERT_EQ(result.code, said->second);
    }
  }

  // False: the connection is over.
  bool handle(const ClientStep& step) {
    switch (step.event) {
      case ClientEvent::need_input:
        if (server_.unsent.empty()) {
          if (!server_.gone && faults_ == false) ADD_FAILURE() << "both sides wait";
          session_.connection_lost("4.4.2", "lost");
        }
        return true;
      case ClientEvent::start_tls:
        ADD_FAILURE() << "nobody asked for STARTTLS";
        return false;
      case ClientEvent::flush:
        EXPECT_FALSE(out_.view().empty());
        send(out_.view());
        out_.clear();
        return true;
      case ClientEvent::send_content:
        send(out_.view());
        out_.clear();
        send(step.form == ContentForm::bdat ? std::string_view("a\n.\nb") : std::string_view("text\r\n.\r\n"));
        EXPECT_EQ(step.form_bytes, step.form == ContentForm::bdat ? 5u : 0u);
        session_.content_sent();
        return true;
      case ClientEvent::result:
        take(step.result);
        return !::testing::Test::HasFatalFailure();
      case ClientEvent::done:
        check_all_settled();
        return true;
      case ClientEvent::ready:
        if (messages_++ < 6) {
          begin();
        } else {
          session_.quit(out_);
        }
        return true;
      case ClientEvent::broken:
        if (in_transaction_) check_all_settled();
        EXPECT_TRUE(faults_ || step.result.code != 0);
        return false;
      case ClientEvent::closed:
        EXPECT_FALSE(in_transaction_);
        return false;
    }
    return false;
  }

  void send(std::string_view bytes) {
    if (!server_.gone) server_.read(bytes);
  }

  std::mt19937_64 random_;
  bool faults_;
  bool lmtp_;
  RandomServer server_;
  std::string memory_;
  CommandBuffer out_;
  ClientSession session_;
  std::unique_ptr<Mail> mail_;
  std::vector<int> results_;
  std::string input_;
  bool in_transaction_ = false;
  int messages_ = 0;
  int delivered_ = 0;
};

TEST(ClientRandom, HonestServersAreBelievedExactly) {
  int delivered = 0;
  for (std::uint64_t seed = 1; seed <= 3000 && !HasFailure(); ++seed) {
    SCOPED_TRACE("seed " + std::to_string(seed));
    delivered += RandomRun(seed, false).run();
  }
  EXPECT_GT(delivered, 10000) << "the servers are too unkind to test anything";
}

TEST(ClientRandom, FaultyServersNeverCauseASecondOrMissingResult) {
  for (std::uint64_t seed = 1; seed <= 5000 && !HasFailure(); ++seed) {
    SCOPED_TRACE("seed " + std::to_string(seed));
    RandomRun(seed, true).run();
  }
}

}  // namespace
}  // namespace postern::net::smtp
