// The sending side of one SMTP or LMTP connection (RFC 5321, 2033, 2920, 1870, 6152, 6531, 3030, 3461, 2034,
// 3207).
//
// Sans-I/O. Octets of the peer go in, octets for the peer come out, and results of recipients with them. Two
// cursors move on their own, as in Postfix's smtp_proto.c: what was sent and what was answered, so that a
// pipelined transaction costs one send and the replies are matched as they come.
//
//   session.begin(transaction)        only when ready(); the transaction stays valid until Event::done
//   step = session.advance(input, out)
//
// The content is not copied through here: Event::send_content asks the driver to send `out`, then the content
// through a DataEncoder in the form Step::form, then to call content_sent().
//
// While a send is under way advance() may be called with the replies that came and a CommandBuffer without
// room: it takes replies before it writes commands, so that a peer whose replies pile up is read, and two
// full pipes cannot block each other (RFC 2920 section 3.1). `flush` then means: when that send is done.
//
// While the content is being sent, advance() may be called with what comes in: need_input (a reply is kept
// for content_sent()), or results and `broken`, after which sending is to stop.
//
// Rules kept here: all RCPT refused while DATA was pipelined and a 354 came: an empty message is ended at
// once and counts as nothing; a hop that lacks SIZE room, 8BITMIME, SMTPUTF8, BINARYMIME or CHUNKING for this
// message fails its recipients (5.3.4, 5.6.3, 5.6.7, 5.6.1) before MAIL is sent, never mangles it; DSN
// parameters go out only to a hop that announced DSN. A reply out of place, longer than the bounds, or with a
// bad code ends the connection (4.5.0). 421 in any place ends it as well, and is the answer to every
// recipient still open (RFC 5321 section 3.8).
//
// STARTTLS comes after the first EHLO where the hop announced it and ClientOptions::start_tls asks for it.
// Event::start_tls: the handshake is the driver's, on what it receives from then on; then tls_started(), and
// EHLO is said again, with nothing kept of the first answer (RFC 3207 section 4.2). What came behind the hop's
// 220 in plain text could be anybody's: it is thrown away and the connection is broken (4.7.0, is_injected()).
// The driver does the same with what it had received and not yet given here. Refused STARTTLS, or none: the
// session goes on in plain text, or with `required` is broken (4.7.4).
//
// Thread: one. No clock, no system, no allocation. Size: about 2.5 KiB, most of it the words of the peer.
#pragma once

#include <array>
#include <cstdint>
#include <span>
#include <string_view>

#include "net/smtp/envelope.h"
#include "net/smtp/reply_parser.h"

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
  std::uint32_t index = 0;     // into Transaction::recipients
  std::uint16_t code = 0;      // 250: the peer took responsibility; 4xx: later; 5xx: never
  std::string_view enhanced;   // "5.1.1"; empty: the peer gave none
  std::string_view text;       // the peer's words, first line first, lines joined by a blank; not yet escaped
  bool by_peer = true;         // false: decided here (a missing extension, a lost connection)
  bool dsn_passed_on = false;  // the hop announced DSN and was given this recipient's parameters
};

enum class ClientEvent : std::uint8_t {
  // All input is consumed; only between send_content and content_sent() may some be left: keep it, give it
  // again.
  need_input,
  flush,         // send `out`, clear it, call again
  start_tls,     // begin the TLS handshake; then tls_started(), or connection_lost()
  ready,         // begin() may be called
  send_content,  // send `out`, then the content in `form`, then content_sent()
  result,        // Step::result
  done,          // the transaction is over: every recipient got exactly one result
  // The connection is unusable: every recipient still open got its result before. Close it; no `done`
  // follows.
  // Step::result says why (code, enhanced, text, by_peer), for those who wait for this hop.
  broken,
  closed,  // after quit(): the peer answered; close it
};

enum class ContentForm : std::uint8_t {
  data,  // dot-stuffed, ended by CRLF.CRLF
  bdat,  // as it is; the BDAT command line is already in `out`
};

struct ClientStep {
  std::size_t consumed = 0;
  ClientEvent event = ClientEvent::need_input;
  RecipientResult result;
  ContentForm form = ContentForm::data;
  std::uint64_t form_bytes = 0;  // bdat: octets announced
};

// Octets for the peer. The driver owns the memory: at least kCommandMax octets, more for longer pipelines.
class CommandBuffer {
 public:
  static constexpr std::size_t kCommandMax = 2048;  // no single command is longer

  CommandBuffer(char* memory, std::size_t capacity) : memory_(memory), capacity_(capacity) {}
  [[nodiscard]] std::string_view view() const { return {memory_, size_}; }
  [[nodiscard]] std::size_t room() const { return capacity_ - size_; }
  [[nodiscard]] std::size_t capacity() const { return capacity_; }
  void append(std::string_view bytes);  // requires room
  void clear() { size_ = 0; }

 private:
  char* memory_;
  std::size_t capacity_;
  std::size_t size_ = 0;
};

enum class StartTls : std::uint8_t {
  never,
  if_offered,  // opportunistic (RFC 7435): a hop that has none, or refuses it, gets the mail in plain text
  required,    // no mail without it
};

struct ClientOptions {
  bool lmtp = false;
  std::string_view hostname;  // what EHLO or LHLO says; outlives the session
  StartTls start_tls = StartTls::never;
};

// What the peer announced in its answer to EHLO or LHLO.
struct Capabilities {
  bool pipelining = false;      // RFC 2920
  bool size = false;            // RFC 1870
  bool eight_bit_mime = false;  // RFC 6152
  bool smtputf8 = false;        // RFC 6531
  bool chunking = false;        // RFC 3030
  bool binary_mime = false;     // RFC 3030
  bool dsn = false;             // RFC 3461
  bool start_tls = false;       // RFC 3207
  bool enhanced_codes = false;  // RFC 2034; for the log only: the codes are taken wherever they stand
  std::uint64_t size_max = 0;   // 0: no limit told
  // RFC 9422 LIMITS; 0: not told
  std::uint32_t rcpt_max = 0;
  std::uint32_t mail_max = 0;
};

class ClientSession {
 public:
  explicit ClientSession(const ClientOptions& options);
  ClientSession(const ClientSession&) = delete;
  ClientSession& operator=(const ClientSession&) = delete;

  [[nodiscard]] bool ready() const;
  [[nodiscard]] bool idle() const;  // ready, and nothing of an earlier transaction is outstanding
  // Requires ready() and 1 to kRecipientsMax recipients. Those past recipients_max() get 452 4.5.3 and are
  // not sent.
  void begin(const Transaction& transaction);
  ClientStep advance(std::string_view input, CommandBuffer& out);
  // Requires that Event::start_tls came last: all is encrypted from here on.
  void tls_started();
  // STARTTLS was sent: what goes wrong before ready() may be TLS's fault.
  [[nodiscard]] bool tried_tls() const { return tried_tls_; }
  [[nodiscard]] bool is_encrypted() const { return encrypted_; }
  // The connection broke because something stood behind the reply to STARTTLS.
  [[nodiscard]] bool is_injected() const { return injected_; }
  // The driver found octets behind that reply: as if they had been given to advance().
  void break_injected();
  // The content was handed to the socket whole. A reply that overtook this call is kept and counts from here
  // on.
  void content_sent();
  // The driver lost the connection, a timer ran out, or the content could not be read or sent whole (the
  // connection must then end, so that no half message counts): `text` becomes the result of every open
  // recipient (451, RFC 5321 section 4.4.2), which advance() then hands out, ending in `broken`; or in
  // `closed`, after quit(). A refusal that the peer sent before it left, while content was on its way, is the
  // result instead. Give advance() all that was received first. Both texts are copied, 200 octets of `text`
  // at most.
  void connection_lost(std::string_view enhanced, std::string_view text);
  // Ends a session that is ready(): writes QUIT; advance() then leads to `closed`. In any other state nothing
  // is written and advance() leads to `closed` at once, or to `broken` by way of the open recipients'
  // results.
  void quit(CommandBuffer& out);

  // Which timeout of RFC 5321 section 4.5.3.2 runs now, in seconds. 0: none, the session is idle (the
  // driver's own limit).
  [[nodiscard]] std::int64_t timeout_seconds() const;
  [[nodiscard]] std::uint32_t transactions() const { return transactions_; }  // MAIL commands written
  [[nodiscard]] const Capabilities& capabilities() const { return capabilities_; }
  // How many recipients one transaction may have here (RCPTMAX), at most kRecipientsMax.
  [[nodiscard]] std::size_t recipients_max() const;
  // No more transactions are welcome on this connection (MAILMAX): quit().
  [[nodiscard]] bool exhausted() const;

 private:
  enum class State : std::uint8_t {
    greeting,   // waiting for 220
    hello,      // EHLO or LHLO
    old_hello,  // HELO
    start_tls,  // STARTTLS
    handshake,  // the driver's
    ready,
    envelope,  // RSET, MAIL, RCPT, DATA: written up to sent_, answered up to answered_
    chunk,     // BDAT is to be written
    content,   // the driver sends the content
    ending,    // waiting for the reply, in LMTP the replies, to the content
    nothing,   // 354 came for no recipient: "." alone, and the reply to it
    quitting,
    closed,
    broken,
  };
  enum class Status : std::uint8_t { open, accepted, settled };
  // Why a recipient is not sent to the peer at all.
  enum class Refusal : std::uint8_t { none, bad_address, no_smtputf8, too_many };
  enum class Settling : std::uint8_t { none, refused_here, all };
  // Why recipients get their results. Texts are constants or live in reply_ or lost_text_.
  struct Cause {
    std::uint16_t code = 0;
    std::string_view enhanced;
    std::string_view text;
    bool by_peer = false;
  };

  // --- what was announced, what this message needs (client_session.cc)
  void take_capability(std::string_view line);
  void take_limits(std::string_view parameters);
  [[nodiscard]] bool refuse_message(const Transaction& transaction);
  void refuse_recipients(bool utf8_content);
  [[nodiscard]] static Cause refusal_cause(Refusal refusal);

  // --- the cursor of what was sent (client_commands.cc). Positions: 0 RSET, 1 MAIL, 2.. RCPT, then DATA.
  [[nodiscard]] bool write_commands(CommandBuffer& out);  // false: one had no room
  [[nodiscard]] bool write_envelope(CommandBuffer& out);
  [[nodiscard]] bool may_write_next() const;
  [[nodiscard]] bool put_chunk(CommandBuffer& out);
  [[nodiscard]] bool put_mail(CommandBuffer& out) const;
  [[nodiscard]] bool put_recipient(CommandBuffer& out, const RecipientFields& recipient) const;
  [[nodiscard]] std::uint32_t data_position() const;
  [[nodiscard]] std::uint32_t next_position(std::uint32_t position) const;

  // --- the cursor of what was answered (client_replies.cc). Those that return bool: true when `step` holds
  // an event.
  bool take_input(std::string_view input, ClientStep& step);
  bool on_reply(ClientStep& step);
  void on_hello_reply();
  bool on_start_tls_reply(ClientStep& step);
  bool on_envelope_reply(ClientStep& step);
  bool on_recipient_reply(std::uint32_t index, ClientStep& step);
  bool on_data_reply(ClientStep& step);
  bool on_final_reply(ClientStep& step);
  void envelope_answered();
  [[nodiscard]] Cause reply_cause() const;
  void settle_all(const Cause& cause);
  void break_off(const Cause& cause);
  bool next_result(ClientStep& step);
  void settle(std::uint32_t index, const Cause& cause, ClientStep& step);
  void end_transaction();

  ClientOptions options_;
  State state_ = State::greeting;
  bool command_written_ = false;  // EHLO, HELO, STARTTLS or ".": the one command of this state
  bool reply_held_ = false;       // a whole reply waits in reply_ for content_sent()
  bool over_ = false;             // `done` is due
  bool reset_needed_ = false;     // the peer may still hold an earlier envelope
  bool reset_first_ = false;      // this transaction begins with RSET
  bool utf8_ = false;             // ... says SMTPUTF8
  bool binary_ = false;           // ... goes by BDAT
  bool mail_refused_ = false;
  bool tried_tls_ = false;
  bool encrypted_ = false;
  bool injected_ = false;
  Settling settling_ = Settling::none;
  std::uint32_t transactions_ = 0;
  std::uint32_t sent_ = 0;      // position of the next command to write
  std::uint32_t answered_ = 0;  // position of the command whose reply comes next
  std::uint32_t accepted_ = 0;  // recipients that are accepted and not settled
  std::uint32_t settle_at_ = 0;
  Capabilities capabilities_;
  Transaction transaction_;
  Cause cause_;      // of Settling::all
  Cause broken_by_;  // of State::broken
  std::array<Status, Transaction::kRecipientsMax> status_{};
  std::array<Refusal, Transaction::kRecipientsMax> refusal_{};
  std::array<char, 16> lost_enhanced_{};
  std::array<char, 200> lost_text_{};
  ReplyParser reply_;
};

}  // namespace postern::net::smtp
