// One connection of a mail program to the POP3/IMAP front, from its beginning to the login: what both protocols share.
//
//   mail program <-> driver (sockets, TLS, timers, guess guard) <-> mail store
//                        |
//                 MailboxSession: octets of both in, octets for both and one event out
//
//   for (;;) {
//     Step step = session.advance(from_client, from_store, to_client, to_store);
//     wipe and remove step.client_consumed octets of from_client, step.store_consumed of from_store;
//     send to_client and to_store, clear() both;
//     switch (step.event) ...
//   }
//
// Until the login the front is the one who speaks: greeting, capabilities, errors and STLS/STARTTLS are its own, and
// the store hears of a client nothing but its login, as one well-formed command after another. The store is greeted,
// told the client's address (an option) and asked for its capabilities before the client is greeted. From
// Event::passthrough on the session is no longer needed: what both sides said behind the login was not consumed and is
// handed on unchanged.
//
// What a driver may rely on
//  1. One question at a time (connect_store, login_wanted, login_succeeded, start_tls): nothing is consumed until it is
//     answered. While a login is at the store nothing of the client is consumed either. So a client that pipelines is
//     answered in order, and what it is owed waits in the driver's bounded buffers.
//  2. No octet of a password goes to the store before login_wanted was answered by `allow`, and login_wanted comes once
//     for each login. (The start of a mechanism in which the server speaks first goes out earlier; the name does not.)
//  3. login_succeeded only when the whole credentials went out and the store's reply to them said so; it comes before
//     the first octet of the success is written for the client.
//  4. Nothing the store says unasked is believed: octets that come while nothing was asked, behind a reply, or while
//     the question is still in `to_store` (not sent) end the session. In IMAP as well: a store that must say something
//     says BYE.
//  5. The same octets give the same output, however they are cut. (How octets of the client interleave with octets the
//     store says unasked is the one thing that matters.)
//  6. Every octet of a client that is consumed, and every octet for the store, may be a password's: wipe them. The
//     session wipes its own copy as soon as it was handed to `to_store` or refused, and all of itself when it ends.
//     Step's fields for the log never hold one: user, mechanism and static texts are all there is. The store's words
//     reach the client only.
//  7. After `close` everything is consumed and nothing said.
//
// What the driver owes
//  - What the store said, in order, before store_lost(). What came before `to_store` was handed to the kernel is given
//    while it still stands there; what came later, or cannot be told, after clear().
//  - Both outputs sent and cleared before the next call. A side that does not take them is not read from, and advance()
//    is not called: that is all the back-pressure there is.
//  - Timers (SessionTimeouts). Plaintext of the client that came before its handshake, behind start_tls, thrown away.
//    With implicit TLS the session begins after the handshake.
// A login that follows within one connection (IMAP's UNAUTHENTICATE, RFC 8437) is out of sight: the store must not
// offer it. It is taken out of what a login's success announces.
//
// Bounds: the session is under 4 KiB and allocates nothing. A command with its literals, and a line of the store, has
// at most kLineBytesMax octets; a password kPasswordBytesMax, a user's name kUserBytesMax (identity.h); a reply of the
// store kStoreReplyBytesMax. Step's views are valid until the next call.
// Thread: one. No clock, no system.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <string_view>

#include "core/ip_address.h"
#include "net/mailbox/capability.h"
#include "net/mailbox/identity.h"
#include "net/mailbox/output.h"

namespace postern::net::mailbox {

struct SessionOptions {
  bool encrypted = false;          // implicit TLS: the handshake is done
  bool tls_offered = false;        // STLS or STARTTLS can be had, unless the connection is encrypted already
  bool plaintext_allowed = false;  // ... without encryption: in the LAN, where the settings say so
  bool tell_address = false;       // by XCLIENT or ID, if the store announces them
  char master_separator = 0;       // "user*master" (Dovecot's auth_master_user_separator); 0: there is none
  std::uint32_t errors_max = 10;   // bad commands and failed logins, then goodbye; 0: no limit
  core::Endpoint client;           // who connected, and to which of our addresses: what the store is told
  core::Endpoint local;
};

enum class Event : std::uint8_t {
  need_input,       // consumed all it can use now
  flush,            // to_client is full: send and clear both outputs, call again
  connect_store,    // question: connect to the store (and send a PROXY header).  store_connected(), store_lost()
  login_wanted,     // question: Step::login.  answer_login()
  login_succeeded,  // question: record Step::login, if it grants; then login_recorded()
  login_failed,  // for guess guard and log: Step::login, Step::failure. Only of logins that were allowed; the reply is
                 // written
  start_tls,     // send to_client, throw away what came behind, do the handshake, then tls_started()
  passthrough,   // send both outputs, then all that both sides said and say
  close,         // send to_client, then close both connections; Step::reason
};

struct Login {
  std::string_view user;       // as the client gave it: escape it. Empty: the mechanism does not show it
  std::string_view mechanism;  // "PLAIN"; "USER", "APOP" or "LOGIN command" outside of SASL
  bool plaintext = false;      // the password itself crosses the connection
  // A success counts for POP-before-SMTP: the mailbox's own user logs in. Not a master user (who has another one's
  // password and mailbox), and not somebody whom the mechanism does not show.
  bool grants = false;
};

enum class LoginFailure : std::uint8_t {
  none,
  wrong_credentials,  // the guess guard is to count it
  refused,            // the credentials may be right: expired, not permitted, encryption required, ...
  unavailable,        // the store cannot tell now, or the mailbox is in use
  cancelled,          // by the client, or what it said was no message of the mechanism
};

enum class CloseReason : std::uint8_t {
  none,
  quit,
  errors,         // options.errors_max
  goodbye,        // say_goodbye()
  guard,          // LoginAnswer::close
  http,           // a browser; nothing is said
  line_too_long,  // or a literal
  store_lost,     // not reached, or gone
  store_refused,  // its greeting was -ERR or BYE, or it said BYE later
  store_preauth,  // its greeting was PREAUTH: whose mailbox it would be is not ours to say
  store_unasked,  // it said something that nobody asked for
  store_garbage,  // it said what is no reply, or said it without end
};

// For log and metrics: "wrong-credentials", "store-unasked". Static storage.
[[nodiscard]] std::string_view name_of(LoginFailure failure) noexcept;
[[nodiscard]] std::string_view name_of(CloseReason reason) noexcept;

struct Step {
  std::size_t client_consumed = 0;
  std::size_t store_consumed = 0;
  Event event = Event::need_input;
  Login login;                                // login_wanted, login_succeeded, login_failed
  LoginFailure failure = LoginFailure::none;  // login_failed
  CloseReason reason = CloseReason::none;     // close
};

enum class LoginAnswer : std::uint8_t {
  allow,
  refuse,       // the client hears what a wrong password gets; no login_failed
  unavailable,  // the client hears to try again later
  close,        // as refuse, and the session ends
};

// What a driver enforces; named here because the protocols say them.
struct SessionTimeouts {
  static constexpr std::int64_t kIdleSeconds = 60;  // for the client's next octet before the login (Dovecot's as well)
  static constexpr std::int64_t kLoginSeconds = 180;  // from the greeting to the login
  static constexpr std::int64_t kStoreSeconds = 30;   // connect, and each reply (awaits_store())
  static constexpr std::int64_t kHandshakeSeconds = 30;
};

class MailboxSession {
 public:
  static constexpr std::size_t kLineBytesMax = 2560;
  static constexpr std::size_t kPasswordBytesMax = 1024;
  static constexpr std::size_t kStoreReplyBytesMax = 16384;
  static constexpr std::size_t kSkippedBytesMax = 65536;  // of a line that is too long

  virtual ~MailboxSession();
  MailboxSession(const MailboxSession&) = delete;
  MailboxSession& operator=(const MailboxSession&) = delete;

  // First call: with the connection (implicit TLS: after the handshake), without input. Both outputs have room.
  Step advance(std::string_view from_client, std::string_view from_store, Output& to_client, Output& to_store);

  // Answers. Each opens the way for advance().
  void store_connected();
  void answer_login(LoginAnswer answer);
  void login_recorded();
  void tls_started();
  // At any time: the store was not reached, closed, or took too long. The client hears its protocol's refusal.
  void store_lost();
  // The driver ends the session: writes the protocol's goodbye (to_client has room); advance() leads to `close`.
  void say_goodbye(std::string_view text, Output& to_client);

  [[nodiscard]] bool is_encrypted() const { return options_.encrypted; }
  // Which side it is the turn of, for the driver's timers. Neither: the driver's own, or nobody's.
  [[nodiscard]] bool awaits_store() const;
  [[nodiscard]] bool awaits_client() const;
  [[nodiscard]] bool is_passthrough() const { return phase_ == Phase::passthrough; }
  // The store took the client's address, by XCLIENT or ID.
  [[nodiscard]] bool is_address_told() const { return address_told_; }

 protected:
  enum class Phase : std::uint8_t {
    start,
    connecting,       // question open: connect_store
    setting_up,       // the store greets, takes the address, tells its capabilities
    command,          // the client's next command
    client_response,  // ... and its next line within a SASL exchange
    skipping,         // a line over its bound is thrown away
    asking,           // question open: login_wanted
    answered,
    store_reply,  // the login is at the store
    cancelling,   // the store was told "*"; then the client hears refusal_
    recording,    // question open: login_succeeded. The store's line stands in the buffer
    recorded,
    tls_pending,
    passthrough,
    closing,
  };
  enum class Line : std::uint8_t { incomplete, complete, bare_line_feed, too_long };

  // One call: what is left of the inputs, and the step it will return. A handler returns true when that step is to be
  // returned.
  struct Turn {
    std::string_view client;
    std::string_view store;
    Output& to_client;
    Output& to_store;
    Step step;
  };

  // What a client is told instead of success. `code`: of the protocol ("SYS/TEMP", "UNAVAILABLE"), or none.
  struct Refusal {
    LoginFailure failure = LoginFailure::none;
    std::string_view code;
    std::string_view text;  // may be the store's words
  };

  // A line of the store while a login is with it.
  struct StoreReply {
    enum class Kind : std::uint8_t { success, refusal, prompt, nothing, goodbye, garbage };
    Kind kind = Kind::garbage;
    std::string_view text;  // of a prompt
    Refusal refusal;
  };

  // A login from the command to its end.
  struct Exchange {
    bool is_open = false;
    bool is_sasl = false;
    bool is_begun = false;       // the store has heard of it
    bool is_allowed = false;     // login_wanted was answered
    bool is_sent = false;        // the credentials (of SASL: a message of the client) went to the store
    bool awaits_prompt = false;  // SASL: the message that is held goes out when the store asks for it
    MechanismTraits traits;
    Standing standing = Standing::mailbox_user;
    std::uint8_t mechanism_bytes = 0;
    std::array<char, kMechanismBytesMax> mechanism;

    [[nodiscard]] std::string_view mechanism_name() const { return {mechanism.data(), mechanism_bytes}; }
  };

  explicit MailboxSession(const SessionOptions& options);

  // --- the protocol's part. Those that return bool: true when `turn.step` is to be returned.
  virtual bool take_setup_line(std::string_view line, Turn& turn) = 0;
  virtual void write_greeting(Turn& turn) = 0;
  virtual bool run_command(Turn& turn) = 0;
  virtual StoreReply read_reply(std::string_view line, Turn& turn) = 0;
  virtual void write_refusal(const Refusal& refusal, Turn& turn) = 0;
  virtual void write_success(std::string_view line, Turn& turn) = 0;  // `line`: the store's
  // `is_answer`: a refusal was just written, and this is about the session.
  virtual void write_goodbye(std::string_view code, std::string_view text, bool is_answer, Output& to_client) = 0;
  [[nodiscard]] virtual std::string_view unavailable_code() const = 0;
  [[nodiscard]] virtual std::string_view encryption_code() const = 0;
  // Outside of SASL: sends the first piece after login_wanted was allowed, and the next one after a reply that asks for
  // it (false: that reply is out of place).
  virtual void begin_login(Turn& turn) = 0;
  virtual bool continue_login(const StoreReply& reply, Turn& turn) = 0;
  // Writes the command that begins a SASL exchange, `initial` (base 64) with it if the store takes that; else false is
  // returned, and it has to wait.
  virtual bool write_authenticate(std::optional<std::string_view> initial, Turn& turn) = 0;
  virtual void forget_client() = 0;  // STLS, STARTTLS

  // --- lines
  // Adds octets of `input` to the line, up to its LF.
  [[nodiscard]] Line collect(std::string_view& input);
  [[nodiscard]] std::string_view line() const;  // complete: without its CRLF
  void drop_line();
  // Keeps `octets`, which are in the buffer, at its beginning, and drops the rest.
  void hold(std::string_view octets);
  [[nodiscard]] std::string_view held() const { return {buffer_.data(), held_bytes_}; }
  void drop_held();
  bool skip_line(Turn& turn);

  // --- what both protocols do alike
  bool await(Turn& turn) const;
  void setup_done(Turn& turn);
  [[nodiscard]] Offer offer() const;
  bool complain(const Refusal& refusal, Turn& turn);  // the answer to a command; counted. False
  bool bad_command(std::string_view text, Turn& turn) { return complain({LoginFailure::cancelled, {}, text}, turn); }
  bool close_session(CloseReason reason, std::string_view text, Turn& turn);
  bool close_silently(CloseReason reason);
  bool give_up_store(CloseReason reason, Turn& turn);
  bool start_tls(Turn& turn);
  // SASL: `initial` stands in the buffer.
  bool begin_sasl(std::string_view mechanism, std::optional<std::string_view> initial, Turn& turn);
  // Outside of SASL: user_ and what is held are set.
  bool ask_for_login(std::string_view mechanism, bool plaintext, Turn& turn);

  SessionOptions options_;
  StoreCapabilities capabilities_;
  Exchange exchange_;
  UserName user_;
  bool address_told_ = false;

  // The client's line, or what is held of it and behind that the store's line.
  std::array<char, kLineBytesMax> buffer_;
  std::uint16_t held_bytes_ = 0;
  std::uint16_t line_bytes_ = 0;
  std::uint16_t segment_at_ = 0;  // where in the line its last part begins, behind a literal
  Phase phase_ = Phase::start;

 private:
  bool run(Turn& turn);
  [[nodiscard]] bool listens_to_store() const;
  bool run_phase(Turn& turn);
  bool run_store(Turn& turn);
  bool run_skipping(Turn& turn);
  bool run_answered(Turn& turn);
  bool take_login_line(std::string_view line, Turn& turn);
  bool take_prompt(const StoreReply& reply, Turn& turn);
  bool run_client_response(Turn& turn);
  bool take_response(std::string_view response, Turn& turn);
  [[nodiscard]] bool identify(std::string_view response);
  bool send_held(Turn& turn);
  bool cancel(const Refusal& refusal, Turn& turn);
  bool refuse_login(const Refusal& refusal, Turn& turn);
  bool ask(Turn& turn);
  void count_error(Turn& turn);
  void tell_login(Event event, Turn& turn) const;

  Refusal refusal_;  // of cancelling: static texts
  std::uint32_t errors_ = 0;
  std::uint32_t skipped_bytes_ = 0;
  std::uint32_t reply_bytes_ = 0;  // of the store's reply under way
  LoginAnswer answer_ = LoginAnswer::refuse;
  CloseReason reason_ = CloseReason::none;
  bool is_store_wrong_ = false;  // it said something unasked
  bool is_store_lost_ = false;
};

}  // namespace postern::net::mailbox
