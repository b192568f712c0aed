// The POP3/IMAP front's session for IMAP (RFC 9051, 3501; 2971 ID, 4959 SASL-IR, 7888 LITERAL+, 5530 response codes;
// the addresses in ID as Dovecot takes them). mailbox_session.h is the contract.
//
// Towards the client
//   greeting   "* OK [CAPABILITY ...] Postern IMAP server ready"
//   answered   CAPABILITY, NOOP, ID, STARTTLS, LOGOUT; everything else that is no login: BAD, without asking the store
//   logins     LOGIN with atoms, quoted strings and literals of both kinds; AUTHENTICATE with and without initial
//              response. Where LOGIN is not allowed its literals are not asked for
//   literals   of any command, kLiteralsMax of them, kPasswordBytesMax octets each. A larger one is refused before it
//              is sent; one that is sent unasked ({n+}) ends the session (RFC 7888 section 4)
//   success    the store's untagged CAPABILITY and its tagged OK, under the client's tag, both rewritten
//              (rewrite_after_login()). [ALERT] that the store says beside its reply is passed on, other untagged
//              responses to a login are not
// Towards the store: tags of our own ("P1"); [CAPABILITY,] [ID, CAPABILITY], then per login LOGIN, with quoted strings
//   or, where they will not do, literals ({n+} if the store takes them, or else waiting for each), or AUTHENTICATE,
//   with the initial response if the store announces SASL-IR.
// Refusals: NO with the store's response code, if RFC 5530 knows it, and its words.
#pragma once

#include "net/mailbox/imap_syntax.h"
#include "net/mailbox/mailbox_session.h"

namespace postern::net::mailbox {

class ImapSession final : public MailboxSession {
 public:
  static constexpr std::uint32_t kLiteralsMax = 4;

  explicit ImapSession(const SessionOptions& options) : MailboxSession(options) {}

 private:
  enum class Setup : std::uint8_t { greeting, capability, id };

  bool take_setup_line(std::string_view line, Turn& turn) override;
  void write_greeting(Turn& turn) override;
  bool run_command(Turn& turn) override;
  StoreReply read_reply(std::string_view line, Turn& turn) override;
  void write_refusal(const Refusal& refusal, Turn& turn) override;
  void write_success(std::string_view line, Turn& turn) override;
  void write_goodbye(std::string_view code, std::string_view text, bool is_answer, Output& to_client) override;
  [[nodiscard]] std::string_view unavailable_code() const override { return "UNAVAILABLE"; }
  [[nodiscard]] std::string_view encryption_code() const override { return "PRIVACYREQUIRED"; }
  void begin_login(Turn& turn) override;
  bool continue_login(const StoreReply& reply, Turn& turn) override;
  bool write_authenticate(std::optional<std::string_view> initial, Turn& turn) override;
  void forget_client() override { tag_bytes_ = 0; }

  // The store.
  void write_store_tag(Turn& turn);
  void ask_capabilities(Turn& turn);
  void send_id(Turn& turn);
  bool greeted_by_store(std::string_view line, Turn& turn);
  bool capabilities_told(Turn& turn);
  [[nodiscard]] StoreReply read_untagged(std::string_view line, Turn& turn);
  [[nodiscard]] bool take_store_tag(std::string_view& line) const;
  void keep_capabilities(std::string_view words);
  void write_login(Turn& turn);
  bool write_argument(std::string_view text, Turn& turn);

  // The client.
  bool run_literal(Turn& turn);
  bool take_segment(Turn& turn);
  bool take_mark(const LiteralMark& mark, Turn& turn);
  void take_tag();
  bool execute(Turn& turn);
  bool answer(std::string_view text, Turn& turn);
  bool on_capability(Turn& turn);
  bool on_id(std::string_view arguments, Turn& turn);
  bool on_starttls(Turn& turn);
  bool on_login(CommandReader& reader, Turn& turn);
  bool on_authenticate(CommandReader& reader, Turn& turn);
  bool on_logout(Turn& turn);
  [[nodiscard]] bool may_login() const { return offer().plaintext && !capabilities_.login_disabled; }
  bool refuse_login_command(Turn& turn);
  [[nodiscard]] std::string_view tag() const { return {tag_.data(), tag_bytes_}; }

  // What of LOGIN was written to the store.
  enum class Piece : std::uint8_t { command, user, user_literal, password, password_literal };

  Setup setup_ = Setup::greeting;
  Piece piece_ = Piece::command;
  bool is_id_sent_ = false;
  std::uint8_t tag_bytes_ = 0;      // 0: the command's tag is not known
  std::uint16_t literal_left_ = 0;  // octets of a literal that have not come yet
  std::uint32_t literals_ = 0;      // of the command under way
  std::uint32_t store_commands_ = 0;
  std::array<char, kTagBytesMax> tag_;
};

}  // namespace postern::net::mailbox
