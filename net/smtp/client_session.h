// The sending side of one SMTP or LMTP connection (RFC 5321, 2033, 2920, 1870, 6152, 6531, 3030, 3461, 2034).
//
// Sans-I/O. Octets of the peer go in, octets for the peer come out, and results of recipients with them. Two cursors move
// on their own, as in Postfix's smtp_proto.c: what was sent and what was answered, so that a pipelined transaction costs
// one send and the replies are matched as they come.
//
//   session.begin(transaction)        only when ready(); the transaction stays valid until Event::done
//   step = session.advance(input, out)
//
// The content is not copied through here: Event::send_content asks the driver to send `out`, then the content through a
// DataEncoder in the form Step::form, then to call content_sent().
//
// Rules kept here: all RCPT refused while DATA was pipelined and a 354 came: an empty message is ended at once and counts
// as nothing; a hop that lacks SIZE room, 8BITMIME, SMTPUTF8, BINARYMIME or CHUNKING for this message fails its
// recipients (5.3.4, 5.6.3, 5.6.7, 5.6.1) before MAIL is sent, never mangles it; DSN parameters go out only to a hop
// that announced DSN. A reply out of place, longer than the bounds, or with a bad code ends the connection (4.5.0).
// Thread: one. No clock, no system, no allocation after construction except in `Transaction` (the driver's).
#pragma once

#include <array>
#include <cstdint>
#include <span>
#include <string_view>

#include "net/smtp/envelope.h"

namespace postern::net::smtp {

// One message for some of its recipients over this connection.
struct Transaction {
  SenderFields sender;
  std::span<const RecipientFields> recipients;  // at most kRecipientsMax
  std::uint64_t content_bytes = 0;              // as stored, trace header included
  std::uint16_t content_flags = 0;              // ContentFlags

  static constexpr std::size_t kRecipientsMax = 100;
};

// What the peer (or this side, in its stead) said about one recipient. Views are valid until the next call.
struct RecipientResult {
  std::uint32_t index = 0;         // into Transaction::recipients
  std::uint16_t code = 0;          // 250: the peer took responsibility; 4xx: later; 5xx: never
  std::string_view enhanced;       // "5.1.1"; empty: the peer gave none
  std::string_view text;           // the peer's words, first line first, lines joined by a blank; not yet escaped
  bool by_peer = true;             // false: decided here (a missing extension, a lost connection)
  bool dsn_passed_on = false;      // the hop announced DSN and was given this recipient's parameters
};

enum class ClientEvent : std::uint8_t {
  need_input,
  flush,          // send `out`, clear it, call again
  ready,          // begin() may be called
  send_content,   // send `out`, then the content in `form`, then content_sent()
  result,         // Step::result
  done,           // the transaction is over: every recipient got exactly one result
  broken,         // the connection is unusable: every recipient still open got its result before; close it
  closed,         // after quit(): the peer answered; close it
};

enum class ContentForm : std::uint8_t {
  data,   // dot-stuffed, ended by CRLF.CRLF
  bdat,   // as it is; the BDAT command line is already in `out`
};

struct ClientStep {
  std::size_t consumed = 0;
  ClientEvent event = ClientEvent::need_input;
  RecipientResult result;
  ContentForm form = ContentForm::data;
  std::uint64_t form_bytes = 0;  // bdat: octets announced
};

// Octets for the peer. The driver owns the memory.
class CommandBuffer {
 public:
  CommandBuffer(char* memory, std::size_t capacity) : memory_(memory), capacity_(capacity) {}
  [[nodiscard]] std::string_view view() const { return {memory_, size_}; }
  [[nodiscard]] std::size_t room() const { return capacity_ - size_; }
  void append(std::string_view bytes);
  void clear() { size_ = 0; }

 private:
  char* memory_;
  std::size_t capacity_;
  std::size_t size_ = 0;
};

struct ClientOptions {
  bool lmtp = false;
  std::string_view hostname;  // what EHLO or LHLO says; outlives the session
};

class ClientSession {
 public:
  explicit ClientSession(const ClientOptions& options);
  ClientSession(const ClientSession&) = delete;
  ClientSession& operator=(const ClientSession&) = delete;

  [[nodiscard]] bool ready() const;
  [[nodiscard]] bool idle() const;  // ready, and nothing of an earlier transaction is outstanding
  void begin(const Transaction& transaction);
  ClientStep advance(std::string_view input, CommandBuffer& out);
  void content_sent();
  // The driver lost the connection, or a timer ran out: `text` becomes the result of every open recipient (4.4.2), which
  // advance() then hands out, ending in `broken`.
  void connection_lost(std::string_view enhanced, std::string_view text);
  // The content could not be read or sent whole: the connection must end so that no half message counts.
  void quit(CommandBuffer& out);

  // Which timeout of RFC 5321 section 4.5.3.2 runs now, in seconds.
  [[nodiscard]] std::int64_t timeout_seconds() const;
  [[nodiscard]] std::uint32_t transactions() const;
};

}  // namespace postern::net::smtp
