// The receiving side of one SMTP connection (RFC 5321, 2920, 1870, 6152, 6531, 3030, 2034, 3461, 9422, 3207,
// 4954; XCLIENT).
//
// Sans-I/O: octets in, reply octets out, and one question at a time. Any split of the input gives the same
// replies.
//
//   for (;;) {
//     Step step = session.advance(input, world, replies);
//     input.remove_prefix(step.consumed);
//     switch (step.event) ...
//   }
//
// Invariants: advance() consumes nothing while a question is open (answer it first) or while `replies` has
// less room
//   than one reply needs (event `flush`); every command gets exactly one reply; after `close` or `drop`
//   nothing is consumed any more.
// Memory: the object itself, and the envelope's block while a transaction is open. A command line that is cut
// by the
//   end of the input is kept in a block of the pool until the rest arrives.
// Thread: one, its worker's. It reads no clock and calls no system.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <string_view>

#include "core/clock.h"
#include "core/ip_address.h"
#include "core/pool.h"
#include "net/sasl/server.h"
#include "net/smtp/data_decoder.h"
#include "net/smtp/envelope.h"
#include "net/smtp/pooled_text.h"
#include "net/smtp/reply.h"
#include "net/smtp/trace_header.h"
#include "net/smtp/verb_table.h"
#include "policy/rate_limits.h"
#include "policy/relay_decision.h"
#include "policy/user.h"

namespace postern::policy {
class LoginTable;
class PolicySnapshot;
class ServicePolicy;
}  // namespace postern::policy

namespace postern::net::smtp {

struct AuthExchange;    // session_auth.cc
struct MailParameters;  // parameters.h
struct ParsedPath;      // address.h
struct ProxyHeader;     // proxy_protocol.h
struct XclientFields;   // xclient.h

// What a session may look at during one call; valid for that call only.
struct World {
  const policy::PolicySnapshot* policy = nullptr;
  const policy::LoginTable* logins = nullptr;
  core::Time now;
  policy::RateLimits* rates = nullptr;         // none: no quotas
  const sasl::JwtKeys* token_keys = nullptr;   // none: no OAUTHBEARER, no XOAUTH2
  void (*random)(std::span<std::byte> out) noexcept = nullptr;  // needed where AUTH is offered
};

// The encryption of the connection, from the end of its handshake on. The driver owns it, and keeps it as long as the
// session.
struct TlsFacts {
  std::string_view protocol;            // "TLSv1.3"
  std::string_view cipher;              // "TLS_AES_128_GCM_SHA256"
  std::span<const std::byte> exporter;  // tls-exporter channel binding (RFC 9266), 32 octets; none: not to be had
  std::string_view certificate_name;    // of the verified client certificate; empty: none
};

// Who logged in. Held by the session for as long as it is that user's.
using Account = std::shared_ptr<const policy::UserRecord>;

enum class Event : std::uint8_t {
  need_input,  // consumed all it can use now
  flush,       // `replies` is full: send, clear, and call again
  admit,       // question: is there space for a message of Step::size octets (0: not told)?  answer_admit()
  begin_message,  // content will follow; the envelope is complete
  content,        // Step::content: the next octets of the message, to be kept
  end_message,    // question: keep it.  answer_stored()
  abort_message,  // what was kept of the content is to be forgotten (no answer); the reply is already written
                  // or follows
  start_tls,      // send the replies, throw away what came behind, do the handshake, then tls_started()
  login,          // question: Step::login asks for a password's verdict or a credential.  answer_password(),
                  // answer_credential() or answer_login_unavailable()
  login_ended,    // for the log and the guess guard: Step::login is a success or a failure; the reply is written
  rejected,       // for the log: Step::verdict refused a connection, sender or recipient
  close,          // send the replies, then close
  drop,           // close at once, send nothing
};

struct Step {
  std::size_t consumed = 0;
  Event event = Event::need_input;
  std::string_view content;         // content; for `rejected`: the address or command it was about
  std::uint64_t size = 0;           // admit: octets announced by SIZE=; end_message: octets of the content
  std::uint16_t content_flags = 0;  // end_message
  policy::Verdict verdict;          // rejected
  const sasl::Step* login = nullptr;                         // login, login_ended; valid until the next call
  sasl::Mechanism mechanism = sasl::Mechanism::plain;        // likewise
};

enum class StoreResult : std::uint8_t {
  stored,
  no_space,
  failed,
  refused,  // by what the header says: answer_refused() instead of answer_stored()
};

// Times and sizes that a driver enforces; named here because the protocol says them.
struct SessionTimeouts {
  static constexpr std::int64_t kDataSeconds = 180;  // RFC 5321 section 4.5.3.2.5: between pieces of DATA
  static constexpr std::int64_t kProxyHeaderSeconds = 5;
  static constexpr std::int64_t kHandshakeSeconds = 30;  // a whole TLS handshake
};

class ServerSession {
 public:
  // `service`: index in the snapshot. The pool outlives the session.
  ServerSession(std::size_t service, const core::IpAddress& client, std::uint16_t client_port,
                core::BlockPool& pool);
  ~ServerSession();
  ServerSession(const ServerSession&) = delete;
  ServerSession& operator=(const ServerSession&) = delete;

  // First call after accept: the greeting (220), or the refusal (554, then 503 to all but QUIT). On a service
  // with proxy_protocol the PROXY header is awaited first, and the greeting comes out of advance(); a peer
  // whose header is not believed gets `rejected` here and `drop` from advance(). `rejected` or `need_input`;
  // go on with advance() after both, even without input.
  Step greet(const World& world, ReplyBuffer& replies);

  Step advance(std::string_view input, const World& world, ReplyBuffer& replies);

  // Answers; each writes its reply (250 or 4xx/5xx) and opens the way for advance().
  void answer_admit(bool admitted, ReplyBuffer& replies);
  // `queue_id` appears in the 250's text.
  void answer_stored(StoreResult result, std::string_view queue_id, ReplyBuffer& replies);
  void answer_refused(const policy::Verdict& verdict, ReplyBuffer& replies);

  // After Event::start_tls, when the handshake is done. What was said before is forgotten (RFC 3207 section 4.2).
  void tls_started(const TlsFacts& facts);
  // After Event::login. `account`: the user, when there is one; it becomes the session's when the exchange succeeds.
  void answer_password(sasl::PasswordVerdict verdict, Account account);
  void answer_credential(const sasl::Credential& credential, Account account);
  void answer_login_unavailable();  // 454: no answer can be had now

  // The driver ends the session: 421 with `text` ("4.4.2 idle too long", "4.3.2 shutting down").
  void say_goodbye(std::string_view enhanced_and_text, ReplyBuffer& replies);

  [[nodiscard]] const policy::Client& client() const { return client_; }
  [[nodiscard]] std::uint16_t client_port() const { return client_port_; }
  [[nodiscard]] std::string_view helo() const { return helo_.view(); }
  // What the Received: field of the message under way says. Valid until the next call. `queue_id` is kept as
  // a view.
  [[nodiscard]] TraceFields trace(std::string_view hostname, std::string_view queue_id,
                                  std::int64_t unix_seconds) const;
  [[nodiscard]] const EnvelopeWriter& envelope() const { return envelope_; }
  // The content comes dot-stuffed, by DATA. Between begin_message and its end.
  [[nodiscard]] bool is_dot_stuffed() const { return phase_ == Phase::data || content_ended_; }
  // Between begin_message and its end: abort_message, or the answer to end_message.
  [[nodiscard]] bool in_message() const { return message_open_; }
  // MAIL was accepted. False again, and what was admitted is to be released, after RSET and its like, after a
  // refusal of the content, and after answer_stored().
  [[nodiscard]] bool in_transaction() const { return !envelope_.empty() && !envelope_is_spent_; }
  // The PROXY header has not come yet (the driver gives it SessionTimeouts::kProxyHeaderSeconds).
  [[nodiscard]] bool awaits_proxy_header() const { return phase_ == Phase::proxy_header; }
  [[nodiscard]] std::size_t service() const { return service_; }
  [[nodiscard]] bool is_encrypted() const { return tls_ != nullptr; }
  [[nodiscard]] const Account& account() const { return account_; }  // empty: not authenticated
  // An AUTH exchange is under way: what the client sends is a secret, and it has less time.
  [[nodiscard]] bool in_login() const { return login_ != nullptr; }

 private:
  enum class Phase : std::uint8_t {
    proxy_header,  // the PROXY header must come first
    tls_pending,   // start_tls was emitted; the handshake is the driver's
    greeting,      // the handshake is done on a service of implicit TLS
    command,
    auth_response,  // a line of a SASL exchange
    auth_asking,    // question open: login
    auth_step,      // ... and answered
    long_line,      // a command line over its bound is thrown away up to its CRLF
    admitting,      // question open: admit
    data,           // DATA's content, up to its dot
    chunk,          // BDAT's octets
    skipped_chunk,  // BDAT's octets, thrown away before the refusal
    storing,        // question open: end_message
    closing,
    dropping,
  };
  // One call: what it may use, and the step it will return. A handler returns true when the step is to be
  // returned now.
  struct Turn {
    const World& world;
    ReplyBuffer& replies;
    const policy::ServicePolicy& service;
    Step step;
  };
  static constexpr std::string_view kNoMemory = "4.3.2 No memory now, try again later";
  static constexpr std::string_view kFarTooLarge = "4.3.4 Far more octets than SIZE allows";

  // server_session.cc: the machine
  Turn begin_turn(const World& world, ReplyBuffer& replies) const;
  bool run_phase(std::string_view& input, Turn& turn);
  bool run_proxy_header(std::string_view& input, Turn& turn);
  bool apply_proxy_header(const ProxyHeader& header, Turn& turn);
  bool run_command(std::string_view& input, Turn& turn);
  bool begin_long_line(std::string_view input, bool after_return, Turn& turn);
  bool run_long_line(std::string_view& input, Turn& turn);
  bool start_tls(Turn& turn);
  bool greet_client(Turn& turn);
  bool drop_connection(Turn& turn, std::string_view about, std::string_view why);
  bool complain(Turn& turn, std::uint16_t code, std::string_view enhanced, std::string_view text);
  bool refuse(Turn& turn, const policy::Verdict& verdict, std::string_view about);
  bool is_over_error_limit(Turn& turn);
  bool shut(Turn& turn, std::string_view enhanced_and_text);
  void forget_transaction();
  bool abandon_transaction(Turn& turn);
  void release_spent();

  // session_commands.cc
  bool execute(std::string_view line, Turn& turn);
  bool execute_verb(const VerbRules& rules, std::string_view argument, std::size_t line_bytes, Turn& turn);
  bool dispatch(Verb verb, std::string_view argument, Turn& turn);
  bool on_hello(std::string_view argument, bool extended, Turn& turn);
  bool on_rset(Turn& turn);
  bool on_noop(Turn& turn);
  bool on_vrfy(Turn& turn);
  bool on_expn(Turn& turn);
  bool on_help(Turn& turn);
  bool on_quit(Turn& turn);

  // session_auth.cc
  [[nodiscard]] bool is_offered(sasl::Mechanism mechanism, const Turn& turn) const;
  [[nodiscard]] bool is_auth_offered(const Turn& turn) const;  // any of its mechanisms
  [[nodiscard]] std::size_t list_mechanisms(std::span<char> out, const Turn& turn) const;
  [[nodiscard]] sasl::Surroundings surroundings(const Turn& turn) const;
  bool on_starttls(Turn& turn);
  bool on_auth(std::string_view argument, Turn& turn);
  bool begin_login(sasl::Mechanism mechanism, std::string_view initial, Turn& turn);
  bool run_auth_response(std::string_view& input, Turn& turn);
  bool take_auth_response(std::string_view line, Turn& turn);
  bool run_auth_step(Turn& turn);
  bool end_login(Turn& turn);
  void forget_login();
  void forget_account();

  // xclient.cc
  bool on_xclient(std::string_view argument, Turn& turn);
  bool apply_xclient(const XclientFields& fields, Turn& turn);

  // session_transaction.cc
  bool on_mail(std::string_view argument, Turn& turn);
  bool on_rcpt(std::string_view argument, Turn& turn);
  bool on_data(Turn& turn);
  bool on_bdat(std::string_view argument, Turn& turn);
  bool open_transaction(const ParsedPath& path, const MailParameters& parameters, Turn& turn);
  [[nodiscard]] policy::Mailbox sender() const;
  [[nodiscard]] policy::RateLimits::Sender rate_sender(const Turn& turn) const;
  [[nodiscard]] policy::Verdict check_quota(std::uint32_t recipients, bool take, const Turn& turn) const;

  // session_content.cc
  bool run_data(std::string_view& input, Turn& turn);
  bool run_chunk(std::string_view& input, Turn& turn);
  bool run_skipped_chunk(std::string_view& input, Turn& turn);
  bool open_message(bool ended_by_dot, Turn& turn);
  bool skip_chunk(std::uint64_t octets, const policy::Verdict& verdict);
  [[nodiscard]] bool is_over_drain_limit(std::uint64_t more, const Turn& turn) const;
  bool take_piece(std::string_view content, Turn& turn);
  bool give_up_message(Turn& turn);
  bool end_message(Turn& turn);
  bool refuse_message(Turn& turn);
  [[nodiscard]] policy::Verdict content_refusal(const Turn& turn) const;
  [[nodiscard]] std::uint16_t content_flags() const;

  std::size_t service_;
  policy::Client client_;
  Account account_;  // client_.user points into it
  const TlsFacts* tls_ = nullptr;
  AuthExchange* login_ = nullptr;  // in a block of the pool, while an AUTH exchange is under way
  core::BlockPool& pool_;
  EnvelopeWriter envelope_;
  DataDecoder decoder_;
  PooledText line_;  // a command line, or PROXY header, whose rest has not come yet
  PooledText helo_;
  PooledText host_name_;          // of XCLIENT; client_.host_name points into it
  policy::Verdict skip_verdict_;  // the refusal behind a skipped chunk
  std::uint64_t chunk_left_ = 0;  // octets of the BDAT chunk that have not come yet
  std::uint64_t chunk_bytes_ = 0;
  std::uint32_t skipped_octets_ = 0;  // of a line that is too long
  std::uint32_t errors_ = 0;
  std::uint16_t client_port_;
  std::uint16_t sender_local_bytes_ = 0;
  Phase phase_ = Phase::command;
  BodyType body_ = BodyType::seven_bit;
  bool extended_ = false;  // EHLO rather than HELO
  bool smtputf8_ = false;
  bool is_greeted_ = false;
  bool is_refused_ = false;  // 554 was the greeting: QUIT, and 503 for the rest
  bool xclient_believed_ = false;
  bool login_ended_ = false;       // login_ is only kept for the step that points to it
  bool line_is_spent_ = false;  // line_ was executed; freed later, as the step may point into it
  bool envelope_is_spent_ = false;
  bool message_open_ = false;      // between begin_message and its end
  bool message_given_up_ = false;  // abort_message was emitted: the rest of the content is only looked at
  bool content_ended_ = false;     // DATA's dot was consumed
  bool is_last_chunk_ = false;
  bool skipped_return_ = false;  // the last octet of a too long line was CR
  bool skipped_auth_ = false;    // it was one of AUTH
};

}  // namespace postern::net::smtp
