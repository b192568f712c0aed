// The POP3/IMAP front's session for POP3 (RFC 1939, 2449 CAPA, 2595 STLS, 5034 AUTH, 3206 response codes; XCLIENT as
// Dovecot takes it). mailbox_session.h is the contract.
//
// Towards the client
//   greeting   "+OK Postern POP3 server ready", with the store's APOP stamp behind it if it has one
//   answered   CAPA, AUTH (list of mechanisms), STLS, QUIT; USER is answered "+OK" whoever it names. NOOP and the
//              commands of a mailbox are no commands before the login (RFC 1939 section 5): -ERR
//   logins     USER and PASS, APOP, AUTH with and without initial response
// Towards the store: [XCLIENT,] CAPA [, XCLIENT, CAPA], then per login USER, PASS or APOP or AUTH. An initial response
//   goes with AUTH only if the command stays within 255 octets (RFC 5034 section 4).
// Refusals: -ERR [AUTH], [SYS/TEMP], [SYS/PERM], [IN-USE], [LOGIN-DELAY] as the store said, with its words.
#pragma once

#include "net/mailbox/mailbox_session.h"

namespace postern::net::mailbox {

class Pop3Session final : public MailboxSession {
 public:
  static constexpr std::size_t kStampBytesMax = 128;

  explicit Pop3Session(const SessionOptions& options) : MailboxSession(options) {}

 private:
  enum class Setup : std::uint8_t { greeting, xclient, capa, capabilities };

  bool take_setup_line(std::string_view line, Turn& turn) override;
  void write_greeting(Turn& turn) override;
  bool run_command(Turn& turn) override;
  StoreReply read_reply(std::string_view line, Turn& turn) override;
  void write_refusal(const Refusal& refusal, Turn& turn) override;
  void write_success(std::string_view line, Turn& turn) override;
  void write_goodbye(std::string_view code, std::string_view text, bool is_answer, Output& to_client) override;
  [[nodiscard]] std::string_view unavailable_code() const override { return "SYS/TEMP"; }
  [[nodiscard]] std::string_view encryption_code() const override { return {}; }
  void begin_login(Turn& turn) override;
  bool continue_login(const StoreReply& reply, Turn& turn) override;
  bool write_authenticate(std::optional<std::string_view> initial, Turn& turn) override;
  void forget_client() override { is_user_given_ = false; }

  bool greeted_by_store(std::string_view line, Turn& turn);
  void take_stamp(std::string_view greeting);
  void ask_capabilities(Turn& turn);
  void send_xclient(Turn& turn);
  bool capabilities_told(Turn& turn);
  bool execute(std::string_view line, Turn& turn);
  bool on_capa(Turn& turn);
  bool on_user(std::string_view name, Turn& turn);
  bool on_pass(std::string_view password, Turn& turn);
  bool on_apop(std::string_view arguments, Turn& turn);
  bool on_auth(std::string_view arguments, Turn& turn);
  bool on_stls(Turn& turn);

  Setup setup_ = Setup::greeting;
  bool is_xclient_sent_ = false;
  bool is_user_given_ = false;
  bool is_apop_ = false;  // the login under way
  std::uint8_t stamp_bytes_ = 0;
  std::array<char, kStampBytesMax> stamp_;
};

}  // namespace postern::net::mailbox
