// The receiving side of one SMTP connection (RFC 5321, 2920, 1870, 6152, 6531, 3030, 2034, 3461, 9422; XCLIENT).
//
// Sans-I/O: octets in, reply octets out, and one question at a time. Any split of the input gives the same replies.
//
//   for (;;) {
//     Step step = session.advance(input, world, replies);
//     input.remove_prefix(step.consumed);
//     switch (step.event) ...
//   }
//
// Invariants: advance() consumes nothing while a question is open (answer it first) or while `replies` has less room
//   than one reply needs (event `flush`); every command gets exactly one reply; after `close` or `drop` nothing is
//   consumed any more.
// Memory: the object itself, and the envelope's block while a transaction is open. A command line that is cut by the
//   end of the input is kept in a block of the pool until the rest arrives.
// Thread: one, its worker's. It reads no clock and calls no system.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <string_view>

#include "core/clock.h"
#include "core/ip_address.h"
#include "core/pool.h"
#include "net/smtp/envelope.h"
#include "policy/relay_decision.h"

namespace postern::policy {
class LoginTable;
class PolicySnapshot;
}  // namespace postern::policy

namespace postern::net::smtp {

// What a session may look at during one call; valid for that call only.
struct World {
  const policy::PolicySnapshot* policy = nullptr;
  const policy::LoginTable* logins = nullptr;
  core::Time now;
};

// Reply octets of one received chunk, sent together. The caller owns the memory.
class ReplyBuffer {
 public:
  static constexpr std::size_t kReplyMax = 1024;  // no single reply is longer

  ReplyBuffer(char* memory, std::size_t capacity) : memory_(memory), capacity_(capacity) {}
  [[nodiscard]] std::string_view view() const { return {memory_, size_}; }
  [[nodiscard]] bool has_room() const { return capacity_ - size_ >= kReplyMax; }
  void append(std::string_view bytes);  // requires room
  void clear() { size_ = 0; }

 private:
  char* memory_;
  std::size_t capacity_;
  std::size_t size_ = 0;
};

enum class Event : std::uint8_t {
  need_input,     // consumed all it can use now
  flush,          // `replies` is full: send, clear, and call again
  admit,          // question: is there space for a message of Step::size octets (0: not told)?  answer_admit()
  begin_message,  // content will follow; the envelope is complete
  content,        // Step::content: the next octets of the message, to be kept
  end_message,    // question: keep it.  answer_stored()
  abort_message,  // what was kept of the content is to be forgotten (no answer); the reply is already written or follows
  rejected,       // for the log: Step::verdict refused a connection, sender or recipient
  close,          // send the replies, then close
  drop,           // close at once, send nothing
};

struct Step {
  std::size_t consumed = 0;
  Event event = Event::need_input;
  std::string_view content;       // content; for `rejected`: the address or command it was about
  std::uint64_t size = 0;         // admit: octets announced by SIZE=; end_message: octets of the content
  std::uint16_t content_flags = 0;  // end_message
  policy::Verdict verdict;        // rejected
};

enum class StoreResult : std::uint8_t { stored, no_space, failed };

// Times and sizes that a driver enforces; named here because the protocol says them.
struct SessionTimeouts {
  static constexpr std::int64_t kDataSeconds = 180;  // RFC 5321 section 4.5.3.2.5: between pieces of DATA
};

class ServerSession {
 public:
  // `service`: index in the snapshot. The pool outlives the session.
  ServerSession(std::size_t service, const core::IpAddress& client, std::uint16_t client_port, core::BlockPool& pool);
  ~ServerSession();
  ServerSession(const ServerSession&) = delete;
  ServerSession& operator=(const ServerSession&) = delete;

  // First call after accept: the greeting (220), or the refusal (554, then 503 to all but QUIT). On a service with
  // proxy_protocol the PROXY header is awaited first, and the greeting comes out of advance().
  // `rejected` or `need_input`.
  Step greet(const World& world, ReplyBuffer& replies);

  Step advance(std::string_view input, const World& world, ReplyBuffer& replies);

  // Answers; each writes its reply (250 or 4xx/5xx) and opens the way for advance().
  void answer_admit(bool admitted, ReplyBuffer& replies);
  // `queue_id` appears in the 250's text.
  void answer_stored(StoreResult result, std::string_view queue_id, ReplyBuffer& replies);

  // The driver ends the session: 421 with `text` ("4.4.2 idle too long", "4.3.2 shutting down").
  void say_goodbye(std::string_view enhanced_and_text, ReplyBuffer& replies);

  [[nodiscard]] const policy::Client& client() const { return client_; }
  [[nodiscard]] std::string_view helo() const;
  [[nodiscard]] const EnvelopeWriter& envelope() const { return envelope_; }
  [[nodiscard]] bool in_message() const;       // between begin_message and its end
  [[nodiscard]] bool in_transaction() const;   // MAIL was accepted
  [[nodiscard]] std::size_t service() const { return service_; }

 private:
  // (the implementer's)
  std::size_t service_;
  policy::Client client_;
  core::BlockPool& pool_;
  EnvelopeWriter envelope_;
};

}  // namespace postern::net::smtp
