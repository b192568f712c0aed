#include "tests/sim/sim_next_hop.h"

#include <gtest/gtest.h>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "core/clock.h"

#include "tests/sim/sim_network.h"
#include "tests/sim/sim_random.h"
#include "tests/sim/sim_world.h"

namespace postern::sim {
namespace {

using core::kNanosecondsPerMillisecond;

// "<address>" of "MAIL FROM:<address> SIZE=1".
std::string path_of(std::string_view line) {
  const std::size_t begin = line.find('<') + 1;
  return std::string(line.substr(begin, line.find('>') - begin));
}

}  // namespace

NextHopOptions NextHopOptions::draw(SimRandom& random) {
  NextHopOptions options;
  options.lmtp = random.chance(200);
  options.pipelining = !random.chance(300);
  options.size = !random.chance(300);
  options.chunking_and_binary = random.chance(500);
  options.dsn = random.chance(400);
  const auto draw = [&random](std::uint32_t most) {
    return random.chance(600) ? 0u : 1 + static_cast<std::uint32_t>(random.below(most));
  };
  options.greets_badly = draw(200);
  options.defers = draw(150);
  options.refuses = draw(100);
  options.drops = draw(60);
  options.drops_after_dot = draw(150);
  options.is_slow = draw(150);
  options.is_silent = draw(15);
  options.goes_down = draw(100);
  return options;
}

// One connection from the machine.
class HopConnection : public SimPeer, public std::enable_shared_from_this<HopConnection> {
 public:
  explicit HopConnection(std::shared_ptr<NextHop> hop) : hop_(std::move(hop)) {}

  void on_connect(SimLink& link) override {
    link_ = link;
    if (hop_->draws(options().greets_badly)) {
      const std::uint64_t way = random().below(3);
      if (way == 2) return link_.reset();
      link_.send(way == 0 ? "421 4.3.2 later\r\n" : "554 5.3.2 no service here\r\n");
      return leave();
    }
    answer("220 hop.example ESMTP\r\n");
  }
  void on_data(SimLink&, std::string_view bytes) override {
    input_ += bytes;
    work();
  }
  void on_end(SimLink&) override { leave(); }
  void on_reset() override { is_gone_ = true; }

 private:
  enum class Phase : std::uint8_t { commands, data, chunk };

  [[nodiscard]] const NextHopOptions& options() const { return hop_->options(); }
  [[nodiscard]] SimRandom& random() { return hop_->world().random(); }

  void leave() {
    is_gone_ = true;
    link_.close();
  }

  // Says it, sooner or later; nothing is read meanwhile.
  void answer(std::string reply) {
    if (hop_->draws(options().drops)) {
      if (random().chance(500)) link_.reset();
      return leave();
    }
    if (hop_->draws(options().is_silent)) {
      is_busy_ = true;
      return;
    }
    if (!hop_->draws(options().is_slow)) return link_.send(reply);
    is_busy_ = true;
    hop_->world().after(random().between(1, 5'000) * kNanosecondsPerMillisecond,
                        [self = shared_from_this(), reply = std::move(reply)] {
                          self->is_busy_ = false;
                          self->link_.send(reply);
                          self->work();
                        });
  }

  void work() {
    while (!is_busy_ && !is_gone_) {
      if (phase_ == Phase::chunk) {
        if (input_.size() < chunk_bytes_) return;
        content_ += input_.substr(0, chunk_bytes_);
        input_.erase(0, chunk_bytes_);
        phase_ = Phase::commands;
        take_over();
        continue;
      }
      const std::size_t end = input_.find("\r\n", at_);
      if (end == std::string::npos) return;
      const std::string_view line = std::string_view(input_).substr(at_, end - at_);
      at_ = end + 2;
      if (phase_ == Phase::data) {
        take_text(line);
      } else {
        const std::string command(line);
        drop_used();
        EXPECT_TRUE(input_.empty() || options().pipelining || command.starts_with("BDAT"))
            << "pipelined without PIPELINING: " << command;
        take_command(command);
      }
    }
  }
  void drop_used() { input_.erase(0, std::exchange(at_, 0)); }

  void take_text(std::string_view line) {
    if (line != ".") {
      content_ += line.starts_with('.') ? line.substr(1) : line;
      content_ += "\r\n";
      return;
    }
    drop_used();
    phase_ = Phase::commands;
    EXPECT_TRUE(input_.empty()) << "something behind the end of DATA";
    take_over();
  }

  // --- commands ---------------------------------------------------------------------------------------------------

  void take_command(const std::string& line) {
    if (hop_->draws(options().defers) && random().chance(100)) {
      link_.send("421 4.3.2 going down\r\n");
      return leave();
    }
    if (line.starts_with("EHLO ") || line.starts_with("LHLO ")) return greet(line);
    if (line.starts_with("MAIL FROM:<")) return take_mail(line);
    if (line.starts_with("RCPT TO:<")) return take_recipient(line);
    if (line == "DATA") return take_data();
    if (line.starts_with("BDAT ")) return take_chunk(line);
    if (line == "RSET") {
      forget();
      return answer("250 2.0.0 forgotten\r\n");
    }
    if (line == "QUIT") {
      link_.send("221 2.0.0 bye\r\n");
      return leave();
    }
    ADD_FAILURE() << "the hop was told: " << line;
    answer("500 5.5.2 what?\r\n");
  }

  void greet(const std::string& line) {
    EXPECT_EQ(line.starts_with("LHLO"), options().lmtp) << line;
    std::string reply = "250-hop.example\r\n250-8BITMIME\r\n250-ENHANCEDSTATUSCODES\r\n";
    if (options().pipelining) reply += "250-PIPELINING\r\n";
    if (options().size) reply += "250-SIZE 100000000\r\n";
    if (options().chunking_and_binary) reply += "250-CHUNKING\r\n250-BINARYMIME\r\n";
    if (options().dsn) reply += "250-DSN\r\n";
    answer(reply + "250 HELP\r\n");
  }

  void take_mail(const std::string& line) {
    EXPECT_FALSE(is_open_) << "MAIL within a transaction";
    sender_ = path_of(line);
    if (hop_->draws(options().defers)) return answer("451 4.7.1 not now\r\n");
    if (!sender_.empty() && hop_->draws(options().refuses) && random().chance(300)) {
      hop_->ledger().add_hop_refusal_of_sender(sender_);
      return answer("550 5.1.8 not from you\r\n");
    }
    is_open_ = true;
    answer("250 2.1.0 ok\r\n");
  }

  void take_recipient(const std::string& line) {
    if (!is_open_) return answer("503 5.5.1 MAIL first\r\n");  // the echo of a refused MAIL
    const std::string recipient = path_of(line);
    if (hop_->draws(options().defers)) return answer("450 4.2.1 not now\r\n");
    if (!is_notification(recipient) && hop_->draws(options().refuses)) {
      hop_->ledger().add_hop_refusal(recipient);
      return answer("550 5.1.1 no such user\r\n");
    }
    recipients_.push_back(recipient);
    answer("250 2.1.5 ok\r\n");
  }

  void take_data() {
    if (!is_open_ || recipients_.empty()) {
      if (is_open_ && options().pipelining && random().chance(300)) {  // some servers do
        phase_ = Phase::data;
        return answer("354 go on, to nobody\r\n");
      }
      return answer("554 5.5.1 no valid recipients\r\n");
    }
    if (hop_->draws(options().defers)) {
      forget();
      return answer("451 4.3.0 not now\r\n");
    }
    phase_ = Phase::data;
    answer("354 go on\r\n");
  }

  void take_chunk(const std::string& line) {
    EXPECT_TRUE(options().chunking_and_binary) << line;
    EXPECT_TRUE(line.ends_with(" LAST")) << line;
    EXPECT_TRUE(is_open_ && !recipients_.empty()) << line;
    chunk_bytes_ = std::stoull(line.substr(5));
    phase_ = Phase::chunk;
  }

  // --- the end of a content ---------------------------------------------------------------------------------------

  void take_over() {
    std::string replies;
    const auto content = std::make_shared<const std::string>(std::exchange(content_, {}));
    const bool drops = hop_->draws(options().drops_after_dot);
    if (recipients_.empty() && !options().lmtp) replies = "554 5.5.1 no valid recipients\r\n";
    // LMTP answers for each recipient (RFC 2033 section 4.2), SMTP for all of them.
    const std::size_t groups = options().lmtp ? recipients_.size() : recipients_.empty() ? 0 : 1;
    for (std::size_t group = 0; group < groups; ++group) {
      const std::size_t first = group;
      const std::size_t last = options().lmtp ? group + 1 : recipients_.size();
      if (hop_->draws(options().defers)) {
        replies += "451 4.3.0 not now\r\n";
      } else if (!is_notification(recipients_[first]) && hop_->draws(options().refuses)) {
        for (std::size_t i = first; i < last; ++i) hop_->ledger().add_hop_refusal(recipients_[i]);
        replies += "554 5.6.0 not this\r\n";
      } else {
        for (std::size_t i = first; i < last; ++i) hop_->ledger().add_arrival({sender_, recipients_[i], content});
        replies += "250 2.6.0 taken over\r\n";
      }
    }
    forget();
    if (drops) {
      if (random().chance(500)) link_.reset();
      return leave();
    }
    // Whoever took over says so, and in time: another end of the connection is drops_after_dot.
    link_.send(replies);
  }

  [[nodiscard]] bool is_notification(const std::string& recipient) const {
    return sender_.empty() && recipient.starts_with('s');
  }

  void forget() {
    is_open_ = false;
    sender_.clear();
    recipients_.clear();
    content_.clear();
  }

  std::shared_ptr<NextHop> hop_;
  SimLink link_;
  std::string input_;
  std::size_t at_ = 0;  // octets of input_ that are used
  Phase phase_ = Phase::commands;
  std::size_t chunk_bytes_ = 0;
  bool is_open_ = false;  // MAIL was taken
  std::string sender_;
  std::vector<std::string> recipients_;
  std::string content_;
  bool is_busy_ = false;
  bool is_gone_ = false;
};

void NextHop::open() {
  world_.network().listen(options_.at, [self = shared_from_this()]() -> std::shared_ptr<SimPeer> {
    if (self->draws(self->options_.goes_down)) {
      // Later: this function is what would be taken away.
      self->world_.after(0, [self] {
        if (!self->behaves_) self->world_.network().stop_listening(self->options_.at);
      });
      self->world_.after(self->world_.random().between(1, 20'000) * kNanosecondsPerMillisecond,
                         [self] { self->open(); });
      return nullptr;
    }
    return std::make_shared<HopConnection>(self);
  });
}

void NextHop::behave() {
  behaves_ = true;
  open();
}

bool NextHop::draws(std::uint32_t permille) {
  return !behaves_ && world_.random().chance(permille);
}

}  // namespace postern::sim
