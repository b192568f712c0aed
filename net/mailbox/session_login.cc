// A login's way: the client's command, the question to the driver, the store's part, the end. SASL whole (RFC 4422,
// 5034, 9051 section 6.2.2); of the other commands what they have in common with it.
#include <algorithm>
#include <cstring>

#include "core/assert.h"
#include "net/mailbox/mailbox_session.h"
#include "net/mailbox/text.h"
#include "net/sasl/base64.h"

namespace postern::net::mailbox {

namespace {

// A decoded message, wiped with its holder.
struct Decoded {
  Decoded() = default;
  ~Decoded() { explicit_bzero(octets.data(), octets.size()); }
  Decoded(const Decoded&) = delete;
  Decoded& operator=(const Decoded&) = delete;

  std::array<char, sasl::base64_decoded_bytes_max(MailboxSession::kLineBytesMax)> octets;
};

}  // namespace

void MailboxSession::tell_login(Event event, Turn& turn) const {
  turn.step.event = event;
  turn.step.login.user = user_.view();
  turn.step.login.mechanism = exchange_.mechanism_name();
  turn.step.login.plaintext = exchange_.traits.is_plaintext;
  turn.step.login.grants = exchange_.standing == Standing::mailbox_user;
}

bool MailboxSession::ask(Turn& turn) {
  phase_ = Phase::asking;
  tell_login(Event::login_wanted, turn);
  return true;
}

bool MailboxSession::ask_for_login(std::string_view mechanism, bool plaintext, Turn& turn) {
  exchange_ = {};
  exchange_.is_open = true;
  exchange_.traits.is_plaintext = plaintext;
  exchange_.standing = standing_of(user_.view(), options_.master_separator);
  exchange_.mechanism_bytes =
      static_cast<std::uint8_t>(mechanism.copy(exchange_.mechanism.data(), exchange_.mechanism.size()));
  return ask(turn);
}

bool MailboxSession::begin_sasl(std::string_view mechanism, std::optional<std::string_view> initial, Turn& turn) {
  exchange_ = {};
  exchange_.is_sasl = true;
  exchange_.mechanism_bytes =
      static_cast<std::uint8_t>(mechanism.copy(exchange_.mechanism.data(), exchange_.mechanism.size()));
  std::transform(
      exchange_.mechanism.begin(), exchange_.mechanism.begin() + exchange_.mechanism_bytes, exchange_.mechanism.begin(),
      [](char octet) { return octet >= 'a' && octet <= 'z' ? static_cast<char>(octet - 'a' + 'A') : octet; });
  const std::string_view name = exchange_.mechanism_name();
  exchange_.traits = traits_of(name);
  if (mechanism.size() > name.size() || !is_spoken_through(name) || !capabilities_.has_mechanism(name)) {
    return complain({LoginFailure::refused, {}, "Mechanism is not offered"}, turn);
  }
  if (exchange_.traits.is_plaintext && !offer().plaintext) {
    return complain({LoginFailure::refused, encryption_code(), "Encryption is needed for this mechanism"}, turn);
  }
  if (initial && exchange_.traits.server_first) return bad_command("This mechanism has no initial response", turn);
  if (initial) {
    if (*initial == "=") initial = std::string_view{};
    if (!is_base64(*initial)) return bad_command("Not base 64", turn);
    if (!identify(*initial)) return bad_command("Not a message of this mechanism", turn);
    exchange_.is_open = true;
    hold(*initial);
    return ask(turn);
  }
  drop_line();
  exchange_.is_open = true;
  user_.clear();
  if (exchange_.traits.client_first) {
    turn.to_client.put("+ \r\n");
    phase_ = Phase::client_response;
  } else {
    exchange_.is_begun = true;
    write_authenticate(std::nullopt, turn);
    phase_ = Phase::store_reply;
  }
  return false;
}

bool MailboxSession::identify(std::string_view response) {
  Decoded decoded;
  const auto size = sasl::base64_decode(response, decoded.octets);
  if (!size) return false;
  const std::string_view message(decoded.octets.data(), *size);
  const auto standing = read_identity(exchange_.traits.name, message, options_.master_separator, user_);
  exchange_.standing = standing.value_or(Standing::unseen);
  return standing.has_value();
}

// --- the client's messages -----------------------------------------------------------------------------------------

bool MailboxSession::run_client_response(Turn& turn) {
  switch (collect(turn.client)) {
    case Line::incomplete:
      return await(turn);
    case Line::complete:
      return take_response(line(), turn);
    case Line::bare_line_feed:
      return cancel({LoginFailure::cancelled, {}, "Lines end in CRLF"}, turn);
    case Line::too_long:
      break;
  }
  return close_session(CloseReason::line_too_long, "Response too long", turn);
}

bool MailboxSession::take_response(std::string_view response, Turn& turn) {
  if (response == "*") return cancel({LoginFailure::cancelled, {}, "Login cancelled"}, turn);
  if (!is_base64(response)) return cancel({LoginFailure::cancelled, {}, "Not base 64"}, turn);
  if (exchange_.is_allowed) {
    hold(response);
    return send_held(turn);
  }
  if (!identify(response)) return cancel({LoginFailure::cancelled, {}, "Not a message of this mechanism"}, turn);
  hold(response);
  return ask(turn);
}

bool MailboxSession::send_held(Turn& turn) {
  turn.to_store.put({held(), "\r\n"});
  drop_held();
  exchange_.is_sent = true;
  phase_ = Phase::store_reply;
  return false;
}

bool MailboxSession::run_answered(Turn& turn) {
  static constexpr Refusal kRefused{LoginFailure::wrong_credentials, {}, "Authentication failed"};
  switch (answer_) {
    case LoginAnswer::allow:
      break;
    case LoginAnswer::refuse:
      return cancel(kRefused, turn);
    case LoginAnswer::unavailable:
      return cancel({LoginFailure::unavailable, {}, "Logins are not possible now, try again later"}, turn);
    case LoginAnswer::close:
      write_refusal(kRefused, turn);
      write_goodbye({}, "Too many failed logins", true, turn.to_client);
      return close_silently(CloseReason::guard);
  }
  exchange_.is_allowed = true;
  phase_ = Phase::store_reply;
  if (!exchange_.is_sasl) {
    begin_login(turn);
    return false;
  }
  if (exchange_.is_begun) return send_held(turn);
  exchange_.is_begun = true;
  if (exchange_.traits.sends_initial && write_authenticate(held(), turn)) {
    drop_held();
    exchange_.is_sent = true;
  } else {
    write_authenticate(std::nullopt, turn);
    exchange_.awaits_prompt = true;
  }
  return false;
}

// --- the store's replies -------------------------------------------------------------------------------------------

bool MailboxSession::take_login_line(std::string_view text, Turn& turn) {
  using Kind = StoreReply::Kind;
  const StoreReply reply = read_reply(text, turn);
  if (reply.kind == Kind::nothing) {
    drop_line();
    return false;
  }
  if (reply.kind == Kind::goodbye) return give_up_store(CloseReason::store_refused, turn);
  if (phase_ == Phase::cancelling && reply.kind == Kind::refusal) return refuse_login(refusal_, turn);
  if (phase_ == Phase::cancelling || reply.kind == Kind::garbage) {
    return give_up_store(CloseReason::store_garbage, turn);
  }
  if (reply.kind == Kind::refusal) return refuse_login(reply.refusal, turn);
  if (!exchange_.is_sasl && !exchange_.is_sent) {
    drop_line();
    return continue_login(reply, turn) ? false : give_up_store(CloseReason::store_garbage, turn);
  }
  if (reply.kind == Kind::prompt) return take_prompt(reply, turn);
  // Success before the credentials went out is somebody else's.
  if (!exchange_.is_sent) return give_up_store(CloseReason::store_garbage, turn);
  phase_ = Phase::recording;
  tell_login(Event::login_succeeded, turn);
  return true;
}

bool MailboxSession::take_prompt(const StoreReply& reply, Turn& turn) {
  if (exchange_.awaits_prompt) {
    exchange_.awaits_prompt = false;
    drop_line();
    return send_held(turn);
  }
  if (!exchange_.is_sasl || !is_base64(reply.text)) return give_up_store(CloseReason::store_garbage, turn);
  turn.to_client.put({"+ ", reply.text, "\r\n"});
  drop_line();
  drop_held();
  phase_ = Phase::client_response;
  return false;
}

// The store forgets the exchange first, if it knows of it.
bool MailboxSession::cancel(const Refusal& refusal, Turn& turn) {
  if (!exchange_.is_sasl || !exchange_.is_begun) return refuse_login(refusal, turn);
  drop_line();
  drop_held();
  turn.to_store.put("*\r\n");
  refusal_ = refusal;
  phase_ = Phase::cancelling;
  return false;
}

bool MailboxSession::refuse_login(const Refusal& refusal, Turn& turn) {
  const bool is_told = exchange_.is_allowed;
  write_refusal(refusal, turn);
  if (is_told) {
    tell_login(Event::login_failed, turn);
    turn.step.failure = refusal.failure;
  }
  drop_line();
  drop_held();
  exchange_.is_open = false;
  phase_ = Phase::command;
  count_error(turn);
  return is_told;
}

}  // namespace postern::net::mailbox
