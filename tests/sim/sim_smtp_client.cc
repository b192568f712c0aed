#include "tests/sim/sim_smtp_client.h"

#include <algorithm>
#include <deque>
#include <gtest/gtest.h>
#include <string_view>
#include <utility>
#include <vector>

#include "core/clock.h"

#include "tests/sim/sim_network.h"
#include "tests/sim/sim_random.h"
#include "tests/sim/sim_world.h"

namespace postern::sim {
namespace {

using End = SentMessage::End;
using core::kNanosecondsPerMillisecond;

constexpr std::uint32_t kRefusalsMost = 200;  // connection attempts in vain, then it gives up

enum class Kind : std::uint8_t { greeting, hello, mail, recipient, data, content, chunk, last_chunk, reset, quit };

struct Command {
  Kind kind;
  std::string octets;
  SentMessage* message = nullptr;
  std::size_t recipient = 0;
};

// Lines of letters, some of which begin with dots.
std::string make_content(SimRandom& random, std::size_t octets, const std::string& id, bool eight_bit) {
  std::string content;
  content.reserve(octets + 100);
  const std::string header = "X-Id: " + id + "\r\n\r\n";
  if (octets > header.size()) content = header;
  while (content.size() < octets) {
    const std::uint64_t word = random.next();
    if ((word & 7) == 0) content.append(1 + (word >> 3 & 1), '.');
    if (eight_bit && (word & 0x70) == 0) content += "\xC3\xA9";
    content.append(word >> 8 & 63, static_cast<char>('a' + (word >> 16 & 15)));
    content += "\r\n";
  }
  return content;
}

std::string with_dots_doubled(std::string_view content) {
  std::string wire;
  wire.reserve(content.size() + 64);
  for (std::size_t at = 0; at < content.size();) {
    const std::size_t end = content.find("\r\n", at);
    const std::size_t next = end == std::string_view::npos ? content.size() : end + 2;
    if (content[at] == '.') wire += '.';
    wire.append(content.substr(at, next - at));
    at = next;
  }
  return wire;
}

}  // namespace

// One connection of a sender.
class SmtpClient : public SimPeer, public std::enable_shared_from_this<SmtpClient> {
 public:
  explicit SmtpClient(std::shared_ptr<SimSender> sender)
      : sender_(std::move(sender)), random_(sender_->world().random()) {}

  void on_connect(SimLink& link) override {
    link_ = link;
    was_connected_ = true;
    awaited_.push_back({Kind::greeting, {}});
    pending_.push_back({Kind::hello, "EHLO client.example\r\n"});
    for (std::uint64_t left = 1 + random_.below(plan().messages_most); left > 0; --left) plan_message();
    pending_.push_back({Kind::quit, "QUIT\r\n"});
    if (plan().is_slow && random_.chance(300)) read_later();
  }
  void on_data(SimLink&, std::string_view bytes) override {
    received_ += bytes;
    for (std::size_t end; !is_over_ && (end = received_.find("\r\n")) != std::string::npos;) {
      const std::string line = received_.substr(0, end);
      received_.erase(0, end + 2);
      take_line(line);
    }
    pump();
  }
  void on_end(SimLink&) override { end(); }
  void on_reset() override { end(); }
  void on_refused(int) override { end(); }

 private:
  [[nodiscard]] const SenderPlan& plan() const { return sender_->plan(); }

  void end() {
    if (is_over_) return;
    is_over_ = true;
    link_.close();
    sender_->connection_over(!was_connected_);
  }

  // --- what is to be said -----------------------------------------------------------------------------------------

  std::size_t draw_size() {
    const std::uint64_t choice = random_.below(100);
    if (choice < 5) return 0;
    if (choice < 30) return random_.below(200);
    if (choice < 80) return random_.below(4'000);
    if (choice < 92) return random_.below(plan().large_above);
    return plan().large_above - 2'000 + random_.below(plan().large_above * 2);
  }

  void add_recipients(SentMessage& message) {
    for (std::uint64_t left = 1 + random_.below(random_.chance(200) ? 6 : 2); left > 0; --left) {
      SentRecipient recipient;
      recipient.address = "m" + std::to_string(message.number) + "r" + std::to_string(left);
      recipient.address += plan().is_stranger && random_.chance(600) ? "@local.test" : "@far.example";
      if (plan().asks_for_notices && random_.chance(400)) {
        recipient.notify = random_.chance(500) ? SentRecipient::Notify::never : SentRecipient::Notify::success;
      }
      message.recipients.push_back(recipient);
    }
  }

  void plan_message() {
    // Whoever sends BDAT before he knows whether anybody is to get it must not take it for granted that it was taken.
    if ((plan().uses_chunks && plan().pipelines) || random_.chance(100)) pending_.push_back({Kind::reset, "RSET\r\n"});
    SentMessage& message = sender_->ledger().add_message();
    const std::string id = std::to_string(message.number);
    if (!random_.chance(100)) message.sender = "s" + id + (plan().is_stranger ? "@elsewhere.example" : "@local.test");
    message.content = make_content(random_, draw_size(), id, plan().sends_eight_bit && random_.chance(300));
    add_recipients(message);
    message.is_illegal = random_.chance(plan().illegal);
    if (message.is_illegal) message.content += "a line feed\nalone\r\n";
    message.is_binary = plan().uses_chunks && plan().sends_binary && random_.chance(200);
    if (message.is_binary) message.content += "no line end";
    std::string mail = "MAIL FROM:<" + message.sender + ">";
    if (random_.chance(400)) mail += " SIZE=" + std::to_string(message.content.size());
    if (plan().sends_eight_bit && random_.chance(500)) mail += " BODY=8BITMIME";
    pending_.push_back({Kind::mail, mail + "\r\n", &message});
    for (std::size_t i = 0; i < message.recipients.size(); ++i) {
      const SentRecipient& recipient = message.recipients[i];
      std::string line = "RCPT TO:<" + recipient.address + ">";
      if (recipient.notify == SentRecipient::Notify::never) line += " NOTIFY=NEVER";
      if (recipient.notify == SentRecipient::Notify::success) line += " NOTIFY=SUCCESS,FAILURE";
      pending_.push_back({Kind::recipient, line + "\r\n", &message, i});
    }
    const bool resets = random_.chance(plan().resets_transaction);
    if (plan().uses_chunks) {
      plan_chunks(message, resets);
    } else if (!resets) {
      pending_.push_back({Kind::data, "DATA\r\n", &message});
    }
    if (resets) pending_.push_back({Kind::reset, "RSET\r\n"});
  }

  void plan_chunks(SentMessage& message, bool resets) {
    std::string_view rest = message.content;
    for (std::uint64_t left = random_.below(3); left > 0; --left) {
      const std::string_view chunk = rest.substr(0, random_.below(rest.size() + 1));
      rest.remove_prefix(chunk.size());
      pending_.push_back({Kind::chunk, "BDAT " + std::to_string(chunk.size()) + "\r\n" + std::string(chunk), &message});
    }
    if (resets) return;
    pending_.push_back(
        {Kind::last_chunk, "BDAT " + std::to_string(rest.size()) + " LAST\r\n" + std::string(rest), &message});
  }

  // --- saying it --------------------------------------------------------------------------------------------------

  [[nodiscard]] bool may_send() const {
    if (awaited_.empty()) return true;
    if (!plan().pipelines) return false;
    // RFC 2920 section 3.1: what must be the last of a group.
    const Kind last = awaited_.back().kind;
    return last != Kind::greeting && last != Kind::hello && last != Kind::data && last != Kind::content;
  }

  void pump() {
    while (!is_over_ && !pending_.empty() && may_send()) {
      Command command = std::move(pending_.front());
      pending_.pop_front();
      const bool ends_message = command.kind == Kind::content || command.kind == Kind::last_chunk;
      if (ends_message && random_.chance(plan().vanishes)) return vanish(command);
      if (ends_message) command.message->end = End::sent;
      unsent_ += command.octets;
      command.octets.clear();
      awaited_.push_back(std::move(command));
    }
    flush();
  }

  void flush() {
    if (is_over_ || unsent_.empty() || is_waiting_) return;
    if (!plan().is_slow || random_.chance(500)) {
      link_.send(std::exchange(unsent_, {}));
      return;
    }
    const std::size_t piece = 1 + random_.below(unsent_.size());
    link_.send(std::string_view(unsent_).substr(0, piece));
    unsent_.erase(0, piece);
    is_waiting_ = true;
    sender_->world().after(random_.between(1, 300 * kNanosecondsPerMillisecond), [self = shared_from_this()] {
      self->is_waiting_ = false;
      self->flush();
    });
  }

  // The connection ends within the content, or at its end before the reply.
  void vanish(const Command& command) {
    const bool whole = random_.chance(300);
    if (whole) command.message->end = End::sent;
    unsent_ += whole ? command.octets : command.octets.substr(0, random_.below(command.octets.size()));
    link_.send(unsent_);
    if (random_.chance(400)) link_.reset();
    end();
  }

  void read_later() {
    link_.pause();
    sender_->world().after(random_.between(1, 4'000) * kNanosecondsPerMillisecond,
                           [self = shared_from_this()] { self->link_.resume(); });
  }

  // --- what is answered -------------------------------------------------------------------------------------------

  void take_line(const std::string& line) {
    const bool is_reply = line.size() >= 4 && line[0] >= '2' && line[0] <= '5' && (line[3] == ' ' || line[3] == '-');
    ASSERT_TRUE(is_reply) << "no reply: " << line;
    if (line[3] == '-') return;
    const int code = std::stoi(line.substr(0, 3));
    if (code == 421) {
      EXPECT_EQ(line.find("4.4.2"), std::string::npos) << "told to have been idle: " << line;
      return end();
    }
    ASSERT_FALSE(awaited_.empty()) << "a reply to no command: " << line;
    const Command command = std::move(awaited_.front());
    awaited_.pop_front();
    take_reply(command, code, line);
  }

  void take_reply(const Command& command, int code, const std::string& line) {
    SentMessage* message = command.message;
    switch (command.kind) {
      case Kind::greeting:
        if (code != 220) end();
        return;
      case Kind::hello:
      case Kind::reset:
        EXPECT_EQ(code, 250) << line;
        return;
      case Kind::mail:
        EXPECT_TRUE(code == 250 || code == 452) << line;
        return;
      case Kind::recipient: {
        SentRecipient& recipient = message->recipients[command.recipient];
        recipient.reply = code == 250 ? SentRecipient::Reply::accepted : SentRecipient::Reply::refused;
        if (plan().is_stranger && recipient.address.ends_with("@far.example")) {
          EXPECT_GE(code, 500) << line;
        }
        if (!plan().is_stranger) {
          EXPECT_TRUE(code == 250 || code == 452 || code == 503) << line;
        }
        return;
      }
      case Kind::data:
        if (code == 354) {
          pending_.push_front({Kind::content, with_dots_doubled(message->content) + ".\r\n", message});
        } else {
          EXPECT_TRUE(code == 503 || code == 554) << line;
          message->end = End::refused;
          pending_.push_front({Kind::reset, "RSET\r\n"});  // the transaction is still open
        }
        return;
      case Kind::chunk:
        EXPECT_TRUE(code == 250 || code >= 500) << line;
        return;
      case Kind::content:
      case Kind::last_chunk:
        if (message->is_illegal) {
          EXPECT_GE(code, 500) << "an illegal content: " << line;
        }
        if (command.kind == Kind::content && !message->is_illegal) {
          EXPECT_LT(code, 500) << line;
        }
        message->end = code == 250 ? End::acknowledged : code < 500 ? End::refused_for_now : End::refused;
        if (message->end == End::refused && !plan().pipelines) pending_.push_front({Kind::reset, "RSET\r\n"});
        return;
      case Kind::quit:
        EXPECT_EQ(code, 221) << line;
        return end();
    }
  }

  std::shared_ptr<SimSender> sender_;
  SimRandom& random_;
  SimLink link_;
  std::deque<Command> pending_;
  std::deque<Command> awaited_;
  std::string received_;
  std::string unsent_;
  bool was_connected_ = false;
  bool is_waiting_ = false;  // the next piece has its time
  bool is_over_ = false;
};

void SimSender::start_after(std::int64_t nanoseconds) {
  world_.after(nanoseconds, [self = shared_from_this()] { self->connect(); });
}

void SimSender::connect() {
  world_.network().connect({plan_.from, 0}, plan_.server, std::make_shared<SmtpClient>(shared_from_this()));
}

void SimSender::connection_over(bool was_refused) {
  was_refused ? ++refusals_ : ++connections_made_;
  if (connections_made_ >= plan_.connections || refusals_ >= kRefusalsMost) {
    is_done_ = true;
    return;
  }
  start_after(world_.random().between(1, 1'000) * kNanosecondsPerMillisecond);
}

}  // namespace postern::sim
