// What the tests of the sending side share: a driver that runs a ClientSession against replies given as text,
// and keeps everything that came out.
#pragma once

#include <gtest/gtest.h>
#include <string>
#include <string_view>
#include <vector>

#include "net/smtp/client_session.h"

namespace postern::net::smtp {

struct KeptResult {
  std::uint32_t index = 0;
  std::uint16_t code = 0;
  std::string enhanced;
  std::string text;
  bool by_peer = false;
  bool dsn_passed_on = false;

  bool operator==(const KeptResult&) const = default;
};

class ClientHarness {
 public:
  explicit ClientHarness(bool lmtp = false, std::size_t buffer_bytes = 16384)
      : ClientHarness(ClientOptions{lmtp, "relay.example.net"}, buffer_bytes) {}
  explicit ClientHarness(const ClientOptions& options, std::size_t buffer_bytes = 16384)
      : memory_(buffer_bytes, '\0'), out(memory_.data(), memory_.size()), session(options) {
    run();
  }

  // Gives `replies` in pieces of `piece` octets (0: at once), and runs until the session waits.
  void peer(std::string_view replies, std::size_t piece = 0) {
    if (piece == 0) piece = replies.size();
    while (!replies.empty()) {
      held += replies.substr(0, piece);
      replies.remove_prefix(std::min(piece, replies.size()));
      run();
    }
  }

  void run() {
    for (;;) {
      const ClientStep step = session.advance(held, out);
      held.erase(0, step.consumed);
      last = step.event;
      switch (step.event) {
        case ClientEvent::need_input:
          return;
        case ClientEvent::flush:
          ASSERT_FALSE(out.view().empty());
          sent += out.view();
          sends.emplace_back(out.view());
          out.clear();
          break;
        case ClientEvent::send_content:
          sent += out.view();
          if (!out.view().empty()) sends.emplace_back(out.view());
          out.clear();
          form = step.form;
          form_bytes = step.form_bytes;
          ++contents;
          if (hold_content) return;
          session.content_sent();
          break;
        case ClientEvent::result:
          results.push_back({step.result.index, step.result.code, std::string(step.result.enhanced),
                             std::string(step.result.text), step.result.by_peer, step.result.dsn_passed_on});
          break;
        case ClientEvent::done:
          ++done;
          break;
        case ClientEvent::broken:
          reason = {0,
                    step.result.code,
                    std::string(step.result.enhanced),
                    std::string(step.result.text),
                    step.result.by_peer,
                    false};
          return;
        case ClientEvent::start_tls:
          ASSERT_TRUE(out.view().empty());
          ++handshakes;
          return;
        case ClientEvent::ready:
        case ClientEvent::closed:
          return;
      }
    }
  }

  // Gets a session that is ready, and forgets what was sent for it.
  void greet(std::string_view extensions) {
    peer("220 mx.example.org\r\n");
    std::string reply;
    for (const std::string_view rest = extensions; const std::string& line : split(rest))
      reply += "250-" + line + "\r\n";
    peer("250-mx.example.org\r\n" + reply + "250 HELP\r\n");
    ASSERT_TRUE(session.ready());
    ASSERT_EQ(last, ClientEvent::ready);
    forget();
  }
  void forget() {
    sent.clear();
    sends.clear();
    results.clear();
    done = 0;
    contents = 0;
  }
  void begin(const Transaction& transaction) {
    session.begin(transaction);
    run();
  }

  static std::vector<std::string> split(std::string_view words) {
    std::vector<std::string> out_words;
    while (!words.empty()) {
      const std::size_t end = std::min(words.find('|'), words.size());
      out_words.emplace_back(words.substr(0, end));
      words.remove_prefix(std::min(end + 1, words.size()));
    }
    return out_words;
  }

 private:
  std::string memory_;

 public:
  CommandBuffer out;
  ClientSession session;
  std::string held;  // what came and was not consumed
  std::string sent;
  std::vector<std::string> sends;
  std::vector<KeptResult> results;
  KeptResult reason;
  ClientEvent last = ClientEvent::need_input;
  ContentForm form = ContentForm::data;
  std::uint64_t form_bytes = 0;
  int done = 0;
  int contents = 0;
  int handshakes = 0;
  bool hold_content = false;
};

// A message for recipients r0@example.org, r1@...
class Mail {
 public:
  explicit Mail(std::size_t recipients = 1) {
    paths_.reserve(recipients);
    for (std::size_t i = 0; i < recipients; ++i) paths_.push_back("r" + std::to_string(i) + "@example.org");
    for (const std::string& path : paths_) fields.push_back({path, notify_unset, {}});
    transaction.sender.reverse_path = "sender@example.net";
    transaction.content_bytes = 1234;
    transaction.recipients = fields;
  }
  Mail(const Mail&) = delete;
  Mail& operator=(const Mail&) = delete;

 private:
  std::vector<std::string> paths_;

 public:
  std::vector<RecipientFields> fields;
  Transaction transaction;
};

}  // namespace postern::net::smtp
