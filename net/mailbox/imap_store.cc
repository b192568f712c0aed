// Duty: the store's side of IMAP: its greeting, what it can do, LOGIN and AUTHENTICATE, and what it says to them.
// Invariant: a command of ours has a tag that was not used before, and only the reply under the last one counts.
#include <algorithm>
#include <charconv>

#include "core/assert.h"
#include "net/mailbox/imap_session.h"
#include "net/mailbox/text.h"

namespace postern::net::mailbox {

namespace {

struct KnownCode {
  std::string_view code;
  LoginFailure failure;
};
// RFC 5530 section 3; ALERT of RFC 9051 section 7.1 says nothing of the reason.
constexpr std::array<KnownCode, 12> kCodes = {{
    {"AUTHENTICATIONFAILED", LoginFailure::wrong_credentials},
    {"ALERT", LoginFailure::wrong_credentials},
    {"AUTHORIZATIONFAILED", LoginFailure::refused},
    {"EXPIRED", LoginFailure::refused},
    {"PRIVACYREQUIRED", LoginFailure::refused},
    {"CONTACTADMIN", LoginFailure::refused},
    {"NOPERM", LoginFailure::refused},
    {"UNAVAILABLE", LoginFailure::unavailable},
    {"INUSE", LoginFailure::unavailable},
    {"LIMIT", LoginFailure::unavailable},
    {"SERVERBUG", LoginFailure::unavailable},
    {"CORRUPTION", LoginFailure::unavailable},
}};

constexpr std::string_view kCapability = "CAPABILITY ";

// Cuts "[CODE arguments] " off the beginning of `text`. Empty: there is none.
std::string_view take_code(std::string_view& text) {
  const std::size_t end = text.find(']');
  if (text.substr(0, 1) != "[" || end == std::string_view::npos) return {};
  const std::string_view code = text.substr(1, end - 1);
  text.remove_prefix(std::min(end + 2, text.size()));
  return code;
}

}  // namespace

// --- before the client is greeted ----------------------------------------------------------------------------------

void ImapSession::write_store_tag(Turn& turn) {
  turn.to_store.put("P");
  turn.to_store.put_number(++store_commands_);
  turn.to_store.put(" ");
}

// "P7 " of the command under way.
bool ImapSession::take_store_tag(std::string_view& line) const {
  std::array<char, 16> tag{'P'};
  char* const end = std::to_chars(tag.data() + 1, tag.data() + tag.size(), store_commands_).ptr;
  std::string_view rest = line;
  if (take_word(rest) != std::string_view(tag.data(), static_cast<std::size_t>(end - tag.data()))) return false;
  line = rest;
  return true;
}

void ImapSession::ask_capabilities(Turn& turn) {
  capabilities_.clear();
  write_store_tag(turn);
  turn.to_store.put("CAPABILITY\r\n");
  setup_ = Setup::capability;
}

// The names are Dovecot's, who believes them from login_trusted_networks only.
void ImapSession::send_id(Turn& turn) {
  std::array<char, core::IpAddress::kTextBytes> text;
  write_store_tag(turn);
  turn.to_store.put(
      {"ID (\"x-originating-ip\" \"", options_.client.address.text_into(text), "\" \"x-originating-port\" \""});
  turn.to_store.put_number(options_.client.port);
  turn.to_store.put({"\" \"x-connected-ip\" \"", options_.local.address.text_into(text), "\" \"x-connected-port\" \""});
  turn.to_store.put_number(options_.local.port);
  turn.to_store.put("\")\r\n");
  is_id_sent_ = true;
  setup_ = Setup::id;
}

bool ImapSession::capabilities_told(Turn& turn) {
  if (options_.tell_address && capabilities_.id && !is_id_sent_) {
    send_id(turn);
  } else {
    setup_done(turn);
  }
  return false;
}

bool ImapSession::greeted_by_store(std::string_view line, Turn& turn) {
  if (take_word(line) != "*") return give_up_store(CloseReason::store_garbage, turn);
  const std::string_view status = take_word(line);
  if (equals_ignoring_case(status, "PREAUTH")) return give_up_store(CloseReason::store_preauth, turn);
  if (equals_ignoring_case(status, "BYE")) return give_up_store(CloseReason::store_refused, turn);
  if (!equals_ignoring_case(status, "OK")) return give_up_store(CloseReason::store_garbage, turn);
  const std::string_view code = take_code(line);
  if (starts_ignoring_case(code, kCapability)) {
    capabilities_.take_imap(code.substr(kCapability.size()));
    return capabilities_told(turn);
  }
  // Dovecot asks for patience in these words when its authentication is slow to start; the greeting follows.
  if (starts_ignoring_case(line, "Waiting for authentication process")) return false;
  ask_capabilities(turn);
  return false;
}

bool ImapSession::take_setup_line(std::string_view line, Turn& turn) {
  if (setup_ == Setup::greeting) return greeted_by_store(line, turn);
  if (line.substr(0, 2) == "* ") {
    line.remove_prefix(2);
    if (setup_ == Setup::capability && starts_ignoring_case(line, kCapability)) {
      capabilities_.take_imap(line.substr(kCapability.size()));
    }
    std::string_view rest = line;
    if (equals_ignoring_case(take_word(rest), "BYE")) return give_up_store(CloseReason::store_refused, turn);
    return false;
  }
  if (!take_store_tag(line)) return give_up_store(CloseReason::store_garbage, turn);
  const std::string_view status = take_word(line);
  const bool is_ok = equals_ignoring_case(status, "OK");
  if (!is_ok && !equals_ignoring_case(status, "NO") && !equals_ignoring_case(status, "BAD")) {
    return give_up_store(CloseReason::store_garbage, turn);
  }
  if (setup_ == Setup::id) {
    address_told_ = is_ok;
    ask_capabilities(turn);
    return false;
  }
  // A store that does not say what it can do is none (RFC 9051 section 6.1.1).
  if (!is_ok || !capabilities_.is_known) return give_up_store(CloseReason::store_garbage, turn);
  return capabilities_told(turn);
}

// --- the login -----------------------------------------------------------------------------------------------------

void ImapSession::begin_login(Turn& turn) {
  write_login(turn);
}

bool ImapSession::continue_login(const StoreReply& reply, Turn& turn) {
  if (reply.kind != StoreReply::Kind::prompt) return false;
  write_login(turn);
  return true;
}

// Writes an argument, or of a literal that the store must ask for the mark only: false.
bool ImapSession::write_argument(std::string_view text, Turn& turn) {
  if (is_quotable(text)) {
    turn.to_store.put("\"");
    while (!text.empty()) {
      const std::size_t plain = std::min(text.find_first_of("\"\\"), text.size());
      turn.to_store.put(text.substr(0, plain));
      text.remove_prefix(plain);
      if (text.empty()) break;
      turn.to_store.put({"\\", text.substr(0, 1)});
      text.remove_prefix(1);
    }
    turn.to_store.put("\"");
    return true;
  }
  turn.to_store.put("{");
  turn.to_store.put_number(text.size());
  turn.to_store.put(capabilities_.literal_plus ? "+}\r\n" : "}\r\n");
  if (capabilities_.literal_plus) turn.to_store.put(text);
  return capabilities_.literal_plus;
}

// Goes on where it stopped for a literal.
void ImapSession::write_login(Turn& turn) {
  if (piece_ == Piece::command) {
    write_store_tag(turn);
    turn.to_store.put("LOGIN ");
    piece_ = write_argument(user_.view(), turn) ? Piece::password : Piece::user_literal;
    if (piece_ == Piece::user_literal) return;
  } else if (piece_ == Piece::user_literal) {
    turn.to_store.put(user_.view());
    piece_ = Piece::password;
  }
  if (piece_ == Piece::password) {
    turn.to_store.put(" ");
    if (!write_argument(held(), turn)) {
      piece_ = Piece::password_literal;
      return;
    }
  } else {
    turn.to_store.put(held());
  }
  turn.to_store.put("\r\n");
  drop_held();
  exchange_.is_sent = true;
}

bool ImapSession::write_authenticate(std::optional<std::string_view> initial, Turn& turn) {
  if (initial && !capabilities_.sasl_ir) return false;
  write_store_tag(turn);
  turn.to_store.put({"AUTHENTICATE ", exchange_.mechanism_name()});
  if (initial) turn.to_store.put({" ", initial->empty() ? "=" : *initial});
  turn.to_store.put("\r\n");
  return true;
}

// --- its replies ---------------------------------------------------------------------------------------------------

MailboxSession::StoreReply ImapSession::read_reply(std::string_view line, Turn& turn) {
  StoreReply reply;
  if (line.substr(0, 2) == "* ") return read_untagged(line.substr(2), turn);
  if (line == "+" || line.substr(0, 2) == "+ ") {
    reply.kind = StoreReply::Kind::prompt;
    reply.text = line.substr(std::min<std::size_t>(2, line.size()));
    return reply;
  }
  if (!take_store_tag(line)) return reply;
  const std::string_view status = take_word(line);
  const bool is_bad = equals_ignoring_case(status, "BAD");
  if (equals_ignoring_case(status, "OK")) {
    reply.kind = StoreReply::Kind::success;
    return reply;
  }
  if (!is_bad && !equals_ignoring_case(status, "NO")) return reply;
  reply.kind = StoreReply::Kind::refusal;
  const std::string_view code = take_code(line);
  reply.refusal = {is_bad ? LoginFailure::cancelled : LoginFailure::wrong_credentials, {}, line};
  for (const KnownCode& known : kCodes) {
    if (!equals_ignoring_case(code, known.code)) continue;
    if (!is_bad) reply.refusal.failure = known.failure;
    reply.refusal.code = known.code;
  }
  return reply;
}

MailboxSession::StoreReply ImapSession::read_untagged(std::string_view line, Turn& turn) {
  StoreReply reply;
  reply.kind = StoreReply::Kind::nothing;
  if (starts_ignoring_case(line, kCapability)) {
    if (exchange_.is_sent) keep_capabilities(line.substr(kCapability.size()));
    return reply;
  }
  const std::string_view status = take_word(line);
  if (equals_ignoring_case(status, "BYE")) reply.kind = StoreReply::Kind::goodbye;
  if (equals_ignoring_case(status, "PREAUTH")) reply.kind = StoreReply::Kind::garbage;
  const bool is_words =
      equals_ignoring_case(status, "OK") || equals_ignoring_case(status, "NO") || equals_ignoring_case(status, "BAD");
  if (is_words && equals_ignoring_case(take_code(line), "ALERT")) {
    turn.to_client.put("* OK [ALERT] ");
    turn.to_client.put_words(line);
    turn.to_client.put("\r\n");
  }
  return reply;
}

// Until the reply says whether the client is to have them. The last list counts.
void ImapSession::keep_capabilities(std::string_view words) {
  char* const begin = buffer_.data() + (words.data() - buffer_.data());
  const std::size_t size = rewrite_after_login(begin, words.size());
  hold({begin, size});
}

void ImapSession::write_success(std::string_view line, Turn& turn) {
  if (!held().empty()) turn.to_client.put({"* CAPABILITY ", held(), "\r\n"});
  take_word(line);  // our tag
  take_word(line);  // OK
  std::string_view words = line;
  const std::string_view code = take_code(words);
  turn.to_client.put({tag(), " OK "});
  if (starts_ignoring_case(code, kCapability)) {
    const std::string_view list = code.substr(kCapability.size());
    char* const begin = buffer_.data() + (list.data() - buffer_.data());
    const std::size_t size = rewrite_after_login(begin, list.size());
    turn.to_client.put({"[CAPABILITY ", {begin, size}, "] "});
  } else if (!code.empty() && code.find('[') == std::string_view::npos && !starts_ignoring_case(code, "REFERRAL")) {
    // A referral would lead the client round the front.
    turn.to_client.put("[");
    turn.to_client.put_words(code);
    turn.to_client.put("] ");
  }
  turn.to_client.put_words(words.empty() ? "Logged in" : words);
  turn.to_client.put("\r\n");
}

}  // namespace postern::net::mailbox
