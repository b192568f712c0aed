#include "net/mailbox/pop3_session.h"

#include <algorithm>

#include "net/mailbox/text.h"

namespace postern::net::mailbox {

static_assert(sizeof(Pop3Session) <= 4096);

namespace {

constexpr std::size_t kCommandBytesMax = 255;  // RFC 2449 section 4, CRLF included
constexpr std::size_t kDigestBytes = 32;       // of APOP

struct KnownCode {
  std::string_view code;
  LoginFailure failure;
};
// RFC 2449 section 8.1, RFC 3206 section 4.
constexpr std::array<KnownCode, 5> kCodes = {{
    {"AUTH", LoginFailure::wrong_credentials},
    {"SYS/TEMP", LoginFailure::unavailable},
    {"SYS/PERM", LoginFailure::refused},
    {"IN-USE", LoginFailure::unavailable},
    {"LOGIN-DELAY", LoginFailure::unavailable},
}};

bool is_ok(std::string_view line) {
  return line == "+OK" || line.substr(0, 4) == "+OK ";
}
bool is_error(std::string_view line) {
  return line == "-ERR" || line.substr(0, 5) == "-ERR ";
}

std::string_view words_of(std::string_view line) {
  take_word(line);
  return line;
}

bool is_digest(std::string_view text) {
  return text.size() == kDigestBytes && std::all_of(text.begin(), text.end(), [](char octet) {
           return (octet >= '0' && octet <= '9') || (octet >= 'a' && octet <= 'f') || (octet >= 'A' && octet <= 'F');
         });
}

}  // namespace

// --- the store, before the client is greeted -----------------------------------------------------------------------

bool Pop3Session::take_setup_line(std::string_view line, Turn& turn) {
  switch (setup_) {
    case Setup::greeting:
      return greeted_by_store(line, turn);
    case Setup::xclient:
      // A store that does not take it sees our address: its log is poorer, its users are not.
      address_told_ = is_ok(line);
      if (!is_ok(line) && !is_error(line)) return give_up_store(CloseReason::store_garbage, turn);
      ask_capabilities(turn);
      return false;
    case Setup::capa:
      if (is_ok(line)) {
        setup_ = Setup::capabilities;
        return false;
      }
      if (!is_error(line)) return give_up_store(CloseReason::store_garbage, turn);
      capabilities_.assume_pop3();
      return capabilities_told(turn);
    case Setup::capabilities:
      if (line == ".") return capabilities_told(turn);
      capabilities_.take_pop3(line.substr(0, 1) == "." ? line.substr(1) : line);
      return false;
  }
  return false;
}

bool Pop3Session::greeted_by_store(std::string_view line, Turn& turn) {
  if (is_error(line)) return give_up_store(CloseReason::store_refused, turn);
  if (!is_ok(line)) return give_up_store(CloseReason::store_garbage, turn);
  take_stamp(line);
  // Dovecot says so in its greeting, to those whom it trusts with it.
  if (options_.tell_address && words_of(line).substr(0, 9) == "[XCLIENT]") {
    send_xclient(turn);
  } else {
    ask_capabilities(turn);
  }
  return false;
}

// RFC 1939 section 7: "<process-ID.clock@hostname>".
void Pop3Session::take_stamp(std::string_view greeting) {
  const std::size_t begin = greeting.rfind('<');
  const std::size_t end = begin == std::string_view::npos ? begin : greeting.find('>', begin);
  if (end == std::string_view::npos) return;
  const std::string_view stamp = greeting.substr(begin, end + 1 - begin);
  const bool is_sound = stamp.find('@') != std::string_view::npos &&
                        std::all_of(stamp.begin(), stamp.end(), [](char octet) { return octet > ' ' && octet <= '~'; });
  if (is_sound && stamp.size() <= stamp_.size()) {
    stamp_bytes_ = static_cast<std::uint8_t>(stamp.copy(stamp_.data(), stamp_.size()));
  }
}

void Pop3Session::ask_capabilities(Turn& turn) {
  capabilities_.clear();
  turn.to_store.put("CAPA\r\n");
  setup_ = Setup::capa;
}

void Pop3Session::send_xclient(Turn& turn) {
  std::array<char, core::IpAddress::kTextBytes> address;
  turn.to_store.put({"XCLIENT ADDR=", options_.client.address.text_into(address), " PORT="});
  turn.to_store.put_number(options_.client.port);
  turn.to_store.put("\r\n");
  is_xclient_sent_ = true;
  setup_ = Setup::xclient;
}

bool Pop3Session::capabilities_told(Turn& turn) {
  if (options_.tell_address && capabilities_.xclient && !is_xclient_sent_) {
    send_xclient(turn);
  } else {
    setup_done(turn);
  }
  return false;
}

// --- the client ----------------------------------------------------------------------------------------------------

void Pop3Session::write_greeting(Turn& turn) {
  turn.to_client.put("+OK Postern POP3 server ready");
  if (stamp_bytes_ != 0) turn.to_client.put({" ", {stamp_.data(), stamp_bytes_}});
  turn.to_client.put("\r\n");
}

bool Pop3Session::run_command(Turn& turn) {
  switch (collect(turn.client)) {
    case Line::incomplete:
      return await(turn);
    case Line::complete:
      break;
    case Line::bare_line_feed:
      return bad_command("Lines end in CRLF", turn);
    case Line::too_long:
      return skip_line(turn);
  }
  return execute(line(), turn);
}

bool Pop3Session::execute(std::string_view line, Turn& turn) {
  if (has_control_octet(line)) return bad_command("Control characters in the command", turn);
  if (is_http_request(line)) return close_silently(CloseReason::http);
  std::string_view argument = line;
  const std::string_view verb = take_word(argument);
  const auto is = [verb](std::string_view name) { return equals_ignoring_case(verb, name); };
  if (is("USER")) return on_user(argument, turn);
  if (is("PASS")) return on_pass(argument, turn);
  if (is("APOP")) return on_apop(argument, turn);
  if (is("AUTH")) return on_auth(argument, turn);
  if (is("CAPA")) return on_capa(turn);
  if (is("STLS")) return on_stls(turn);
  if (is("QUIT")) {
    turn.to_client.put("+OK Bye\r\n");
    return close_silently(CloseReason::quit);
  }
  return bad_command("Not a command before the login", turn);
}

bool Pop3Session::on_capa(Turn& turn) {
  turn.to_client.put("+OK Capability list follows\r\n");
  capabilities_.write_pop3(turn.to_client, offer());
  turn.to_client.put(".\r\n");
  drop_line();
  return false;
}

bool Pop3Session::on_stls(Turn& turn) {
  if (!offer().starttls) return bad_command("STLS is not offered", turn);
  turn.to_client.put("+OK Begin TLS negotiation\r\n");
  return start_tls(turn);
}

bool Pop3Session::on_user(std::string_view name, Turn& turn) {
  is_user_given_ = false;
  if (!capabilities_.user) return bad_command("USER is not offered", turn);
  if (!offer().plaintext) return bad_command("Encryption is needed for USER and PASS", turn);
  if (name.empty() || !user_.assign(name)) return bad_command("Not a user's name", turn);
  is_user_given_ = true;
  turn.to_client.put("+OK\r\n");
  drop_line();
  return false;
}

// The password is all that stands behind the blank, blanks included (RFC 1939 section 7).
bool Pop3Session::on_pass(std::string_view password, Turn& turn) {
  if (!is_user_given_) return bad_command("USER comes first", turn);
  is_user_given_ = false;
  if (password.empty() || password.size() > kPasswordBytesMax) return bad_command("Not a password", turn);
  is_apop_ = false;
  hold(password);
  return ask_for_login("USER", true, turn);
}

bool Pop3Session::on_apop(std::string_view arguments, Turn& turn) {
  is_user_given_ = false;
  if (stamp_bytes_ == 0) return bad_command("APOP is not offered", turn);
  const std::size_t blank = arguments.rfind(' ');
  const std::string_view name = arguments.substr(0, blank);
  if (blank == std::string_view::npos || name.empty() || !is_digest(arguments.substr(blank + 1)) ||
      !user_.assign(name)) {
    return bad_command("Not a name and a digest", turn);
  }
  is_apop_ = true;
  hold(arguments.substr(blank + 1));
  return ask_for_login("APOP", false, turn);
}

bool Pop3Session::on_auth(std::string_view arguments, Turn& turn) {
  is_user_given_ = false;
  if (arguments.empty()) {
    turn.to_client.put("+OK\r\n");
    capabilities_.write_mechanisms(turn.to_client, offer(), {}, "\r\n");
    turn.to_client.put(".\r\n");
    drop_line();
    return false;
  }
  const bool has_initial = arguments.find(' ') != std::string_view::npos;
  const std::string_view mechanism = take_word(arguments);
  if (!has_initial) return begin_sasl(mechanism, std::nullopt, turn);
  if (arguments.empty()) return bad_command("A blank, and nothing behind it", turn);
  return begin_sasl(mechanism, arguments, turn);
}

// --- the login at the store ----------------------------------------------------------------------------------------

void Pop3Session::begin_login(Turn& turn) {
  if (!is_apop_) {
    turn.to_store.put({"USER ", user_.view(), "\r\n"});
    return;
  }
  turn.to_store.put({"APOP ", user_.view(), " "});
  exchange_.is_sent = true;
  turn.to_store.put({held(), "\r\n"});
  drop_held();
}

bool Pop3Session::continue_login(const StoreReply& reply, Turn& turn) {
  if (reply.kind != StoreReply::Kind::success) return false;
  turn.to_store.put({"PASS ", held(), "\r\n"});
  drop_held();
  exchange_.is_sent = true;
  return true;
}

bool Pop3Session::write_authenticate(std::optional<std::string_view> initial, Turn& turn) {
  const std::string_view name = exchange_.mechanism_name();
  if (!initial) {
    turn.to_store.put({"AUTH ", name, "\r\n"});
    return true;
  }
  const std::string_view text = initial->empty() ? "=" : *initial;
  if (name.size() + text.size() + 8 > kCommandBytesMax) return false;
  turn.to_store.put({"AUTH ", name, " ", text, "\r\n"});
  return true;
}

MailboxSession::StoreReply Pop3Session::read_reply(std::string_view line, Turn&) {
  StoreReply reply;
  if (is_ok(line)) {
    reply.kind = StoreReply::Kind::success;
  } else if (line == "+" || line.substr(0, 2) == "+ ") {
    reply.kind = StoreReply::Kind::prompt;
    reply.text = words_of(line);
  } else if (is_error(line)) {
    reply.kind = StoreReply::Kind::refusal;
    reply.refusal = {LoginFailure::wrong_credentials, "AUTH", words_of(line)};
    const std::size_t end = reply.refusal.text.find(']');
    if (reply.refusal.text.substr(0, 1) != "[" || end == std::string_view::npos) return reply;
    const std::string_view code = reply.refusal.text.substr(1, end - 1);
    reply.refusal.text.remove_prefix(std::min(end + 2, reply.refusal.text.size()));
    for (const KnownCode& known : kCodes) {
      if (!equals_ignoring_case(code, known.code)) continue;
      reply.refusal.failure = known.failure;
      reply.refusal.code = known.code;
    }
  }
  return reply;
}

void Pop3Session::write_refusal(const Refusal& refusal, Turn& turn) {
  std::string_view code = refusal.code;
  if (code.empty() && refusal.failure == LoginFailure::wrong_credentials) code = "AUTH";
  if (code.empty() && refusal.failure == LoginFailure::unavailable) code = unavailable_code();
  turn.to_client.put("-ERR ");
  if (!code.empty()) turn.to_client.put({"[", code, "] "});
  turn.to_client.put_words(refusal.text.empty() ? "Login failed" : refusal.text);
  turn.to_client.put("\r\n");
}

void Pop3Session::write_success(std::string_view line, Turn& turn) {
  turn.to_client.put("+OK ");
  const std::string_view words = words_of(line);
  turn.to_client.put_words(words.empty() ? "Logged in" : words);
  turn.to_client.put("\r\n");
}

// One reply a command: behind an answer there is nothing to say.
void Pop3Session::write_goodbye(std::string_view code, std::string_view text, bool is_answer, Output& to_client) {
  if (is_answer) return;
  to_client.put("-ERR ");
  if (!code.empty()) to_client.put({"[", code, "] "});
  to_client.put({text, "\r\n"});
}

}  // namespace postern::net::mailbox
