// Duty: the client's side of IMAP before the login: commands with their literals, and what they are answered. The
// store's side is in imap_store.cc.
#include "net/mailbox/imap_session.h"

#include <algorithm>

#include "net/mailbox/text.h"

namespace postern::net::mailbox {

static_assert(sizeof(ImapSession) <= 4096);

void ImapSession::write_greeting(Turn& turn) {
  turn.to_client.put("* OK [CAPABILITY ");
  capabilities_.write_imap(turn.to_client, offer());
  turn.to_client.put("] Postern IMAP server ready\r\n");
}

// --- a command, whole ----------------------------------------------------------------------------------------------

bool ImapSession::run_command(Turn& turn) {
  if (literal_left_ != 0) return run_literal(turn);
  if (line_bytes_ == 0) literals_ = 0;
  switch (collect(turn.client)) {
    case Line::incomplete:
      return await(turn);
    case Line::complete:
      return take_segment(turn);
    case Line::bare_line_feed:
      take_tag();
      return bad_command("Lines end in CRLF", turn);
    case Line::too_long:
      break;
  }
  // A literal may stand at the end of what was not read: there is no next command to be found.
  take_tag();
  write_refusal({LoginFailure::cancelled, {}, "Command too long"}, turn);
  return close_session(CloseReason::line_too_long, "Command too long", turn);
}

bool ImapSession::run_literal(Turn& turn) {
  const std::size_t octets = std::min<std::size_t>(literal_left_, turn.client.size());
  turn.client.copy(buffer_.data() + held_bytes_ + line_bytes_, octets);
  turn.client.remove_prefix(octets);
  line_bytes_ = static_cast<std::uint16_t>(line_bytes_ + octets);
  literal_left_ = static_cast<std::uint16_t>(literal_left_ - octets);
  if (literal_left_ != 0) return await(turn);
  segment_at_ = line_bytes_;
  return false;
}

bool ImapSession::take_segment(Turn& turn) {
  const LiteralMark mark = find_literal(line().substr(segment_at_));
  if (mark.kind != LiteralMark::Kind::none) return take_mark(mark, turn);
  return execute(turn);
}

bool ImapSession::take_mark(const LiteralMark& mark, Turn& turn) {
  take_tag();
  const bool waits = mark.kind == LiteralMark::Kind::synchronising;
  const std::size_t room = buffer_.size() - line_bytes_;
  const bool fits = mark.octets <= kPasswordBytesMax && mark.octets + 2 <= room && literals_ < kLiteralsMax;
  if (!fits) {
    // RFC 7888 section 4: what is already on its way cannot be told from commands.
    if (waits) return bad_command("Literal too large, or too many", turn);
    write_refusal({LoginFailure::cancelled, {}, "Literal too large, or too many"}, turn);
    return close_session(CloseReason::line_too_long, "Literal too large, or too many", turn);
  }
  if (waits) {
    CommandReader reader({buffer_.data(), segment_at_ == 0 ? line().size() : 0});
    const bool is_login = reader.tag() && equals_ignoring_case(reader.word(), "LOGIN");
    // A password that is not wanted is better not sent.
    if (is_login && !may_login()) return refuse_login_command(turn);
    turn.to_client.put("+ OK\r\n");
  }
  ++literals_;
  literal_left_ = static_cast<std::uint16_t>(mark.octets);
  segment_at_ = line_bytes_;
  return false;
}

// The tag of what is being read, for an answer.
void ImapSession::take_tag() {
  CommandReader reader({buffer_.data() + held_bytes_, line_bytes_});
  const std::string_view tag = reader.tag().value_or(std::string_view{});
  tag_bytes_ = static_cast<std::uint8_t>(tag.copy(tag_.data(), tag_.size()));
}

bool ImapSession::execute(Turn& turn) {
  take_tag();
  if (is_http_request(line())) return close_silently(CloseReason::http);
  CommandReader reader({buffer_.data(), line().size()});
  if (!reader.tag()) return bad_command("No tag, or no command behind it", turn);
  const std::string_view verb = reader.word();
  const auto is = [verb](std::string_view name) { return equals_ignoring_case(verb, name); };
  if (is("LOGIN")) return on_login(reader, turn);
  if (is("AUTHENTICATE")) return on_authenticate(reader, turn);
  if (is("ID")) return on_id(reader.rest(), turn);
  const bool is_alone = reader.is_at_end() && line().back() != ' ';
  if (is("CAPABILITY") && is_alone) return on_capability(turn);
  if (is("NOOP") && is_alone) return answer("NOOP completed", turn);
  if (is("STARTTLS") && is_alone) return on_starttls(turn);
  if (is("LOGOUT") && is_alone) return on_logout(turn);
  return bad_command("Not a command before the login", turn);
}

bool ImapSession::answer(std::string_view text, Turn& turn) {
  turn.to_client.put({tag(), " OK ", text, "\r\n"});
  drop_line();
  return false;
}

// --- commands ------------------------------------------------------------------------------------------------------

bool ImapSession::on_capability(Turn& turn) {
  turn.to_client.put("* CAPABILITY ");
  capabilities_.write_imap(turn.to_client, offer());
  turn.to_client.put("\r\n");
  return answer("CAPABILITY completed", turn);
}

// RFC 2971. What the client says of itself goes nowhere: the store hears by ID what we say of the client.
bool ImapSession::on_id(std::string_view arguments, Turn& turn) {
  const bool is_list = arguments.size() >= 2 && arguments.front() == '(' && arguments.back() == ')';
  if (!is_list && !equals_ignoring_case(arguments, "NIL")) return bad_command("ID takes a list, or NIL", turn);
  turn.to_client.put("* ID (\"name\" \"Postern\")\r\n");
  return answer("ID completed", turn);
}

bool ImapSession::on_starttls(Turn& turn) {
  if (!offer().starttls) return bad_command("STARTTLS is not offered", turn);
  answer("Begin TLS negotiation now", turn);
  return start_tls(turn);
}

bool ImapSession::on_logout(Turn& turn) {
  turn.to_client.put("* BYE Logging out\r\n");
  answer("LOGOUT completed", turn);
  return close_silently(CloseReason::quit);
}

bool ImapSession::refuse_login_command(Turn& turn) {
  if (capabilities_.login_disabled) return complain({LoginFailure::refused, {}, "LOGIN is not offered"}, turn);
  return complain({LoginFailure::refused, encryption_code(), "Encryption is needed for LOGIN"}, turn);
}

bool ImapSession::on_login(CommandReader& reader, Turn& turn) {
  if (!may_login()) return refuse_login_command(turn);
  const auto user = reader.astring();
  const auto password = user && !reader.is_at_end() ? reader.astring() : std::nullopt;
  if (!password || !reader.is_at_end()) return bad_command("LOGIN takes a user's name and a password", turn);
  if (user->empty() || !user_.assign(*user)) return bad_command("Not a user's name", turn);
  if (password->size() > kPasswordBytesMax) return bad_command("Password too long", turn);
  hold(*password);
  piece_ = Piece::command;
  return ask_for_login("LOGIN command", true, turn);
}

bool ImapSession::on_authenticate(CommandReader& reader, Turn& turn) {
  const std::string_view arguments = reader.rest();
  const std::string_view mechanism = reader.word();
  if (mechanism.empty()) return bad_command("AUTHENTICATE takes a mechanism", turn);
  if (mechanism.size() == arguments.size()) return begin_sasl(mechanism, std::nullopt, turn);
  if (reader.is_at_end()) return bad_command("A blank, and nothing behind it", turn);
  return begin_sasl(mechanism, reader.rest(), turn);
}

// --- refusals and ends ---------------------------------------------------------------------------------------------

void ImapSession::write_refusal(const Refusal& refusal, Turn& turn) {
  std::string_view code = refusal.code;
  if (code.empty() && refusal.failure == LoginFailure::wrong_credentials) code = "AUTHENTICATIONFAILED";
  if (code.empty() && refusal.failure == LoginFailure::unavailable) code = unavailable_code();
  turn.to_client.put({tag_bytes_ == 0 ? "*" : tag(), refusal.failure == LoginFailure::cancelled ? " BAD " : " NO "});
  if (!code.empty()) turn.to_client.put({"[", code, "] "});
  turn.to_client.put_words(refusal.text.empty() ? "Login failed" : refusal.text);
  turn.to_client.put("\r\n");
}

void ImapSession::write_goodbye(std::string_view code, std::string_view text, bool, Output& to_client) {
  to_client.put("* BYE ");
  if (!code.empty()) to_client.put({"[", code, "] "});
  to_client.put({text, "\r\n"});
}

}  // namespace postern::net::mailbox
