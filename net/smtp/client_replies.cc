// Duty: the cursor of what was answered: gives each reply its meaning by the command it belongs to.
// Invariants: a reply that no command waits for breaks the session, 421 breaks it anywhere; what breaks it
// never makes a
//   failure permanent, except a refusal of the content that came before the connection was lost.
// Thread: one.
#include <algorithm>

#include "core/assert.h"
#include "net/smtp/client_session.h"

namespace postern::net::smtp {

namespace {

constexpr std::uint32_t kResetPosition = 0;
constexpr std::uint32_t kMailPosition = 1;
constexpr std::uint32_t kFirstRecipientPosition = 2;

// RFC 5321 sections 3.8, 4.2.
constexpr std::uint16_t kGoingAway = 421;
constexpr std::uint16_t kStartInput = 354;

bool is_success(std::uint16_t code) {
  return code / 100 == 2;
}
bool is_intermediate(std::uint16_t code) {
  return code / 100 == 3;
}

}  // namespace

bool ClientSession::take_input(std::string_view input, ClientStep& step) {
  if (state_ == State::handshake) {
    break_injected();
    return false;
  }
  std::size_t consumed = 0;
  const ReplyParser::Event event = reply_.advance(input.substr(step.consumed), consumed);
  step.consumed += consumed;
  switch (event) {
    case ReplyParser::Event::need_input:
      return false;
    case ReplyParser::Event::malformed:
      break_off({451, "4.5.0", "the next server sent what is no reply", false});
      return false;
    case ReplyParser::Event::line:
    case ReplyParser::Event::reply:
      // The first line is a greeting (RFC 5321 section 4.1.1.1).
      if (state_ == State::hello && reply_.lines() > 1) take_capability(reply_.line());
      if (event == ReplyParser::Event::line) return false;
      break;
  }
  if (state_ == State::content) {
    reply_held_ = true;
    return false;
  }
  const bool has_event = on_reply(step);
  // CVE-2011-0411, seen from the other side: a reply that was there before TLS would be taken for one under it.
  if (state_ == State::handshake && step.consumed < input.size()) {
    step.event = ClientEvent::need_input;
    break_injected();
    return false;
  }
  return has_event;
}

bool ClientSession::on_reply(ClientStep& step) {
  const std::uint16_t code = reply_.code();
  if (state_ == State::quitting) {
    state_ = State::closed;
    return false;
  }
  if (code == kGoingAway) {
    break_off(reply_cause());
    return false;
  }
  switch (state_) {
    case State::greeting:
      if (is_success(code)) {
        state_ = State::hello;
        command_written_ = false;
        return false;
      }
      break_off(reply_cause());
      return false;
    case State::hello:
    case State::old_hello:
      on_hello_reply();
      return false;
    case State::start_tls:
      return on_start_tls_reply(step);
    case State::envelope:
      return on_envelope_reply(step);
    case State::ending:
      return on_final_reply(step);
    case State::nothing:
      if (!command_written_) break;
      over_ = true;  // whatever the peer thinks of it: nobody was to get it
      reset_needed_ = false;
      return false;
    default:
      break;
  }
  break_off({451, "4.5.0", "the next server sent a reply to no command", false});
  return false;
}

void ClientSession::on_hello_reply() {
  const std::uint16_t code = reply_.code();
  if (!command_written_) {
    break_off({451, "4.5.0", "the next server sent a reply to no command", false});
    return;
  }
  if (is_success(code)) {
    const bool wants_tls = options_.start_tls != StartTls::never && !encrypted_;
    if (wants_tls && !capabilities_.start_tls && options_.start_tls == StartTls::required) {
      break_off({451, "4.7.4", "TLS is required here, and the next server does not offer it", false});
      return;
    }
    state_ = wants_tls && capabilities_.start_tls ? State::start_tls : State::ready;
    command_written_ = false;
    return;
  }
  capabilities_ = {};
  if (code / 100 == 5 && state_ == State::hello && !options_.lmtp) {
    state_ = State::old_hello;  // RFC 5321 section 3.2: a server without extensions
    command_written_ = false;
    return;
  }
  break_off(reply_cause());
}

bool ClientSession::on_start_tls_reply(ClientStep& step) {
  const std::uint16_t code = reply_.code();
  if (!command_written_ || is_intermediate(code)) {
    break_off({451, "4.5.0", "the next server sent a reply to STARTTLS that is out of place", false});
    return false;
  }
  if (is_success(code)) {
    state_ = State::handshake;
    capabilities_ = {};
    step.event = ClientEvent::start_tls;
    return true;
  }
  if (options_.start_tls != StartTls::required) {
    state_ = State::ready;
    return false;
  }
  constexpr std::string_view kRefused = "TLS is required here, and the next server refused STARTTLS: ";
  const std::string_view words = reply_.text().substr(0, lost_text_.size() - kRefused.size());
  char* const end = std::copy(words.begin(), words.end(), std::copy(kRefused.begin(), kRefused.end(), lost_text_.data()));
  break_off({451, "4.7.4", {lost_text_.data(), end}, false});
  return false;
}

bool ClientSession::on_envelope_reply(ClientStep& step) {
  const std::uint16_t code = reply_.code();
  const std::uint32_t position = answered_;
  const bool to_data = position == data_position();
  if (position == sent_ || (is_intermediate(code) && !to_data)) {
    break_off({451, "4.5.0", "the next server sent a reply out of place", false});
    return false;
  }
  answered_ = next_position(position);
  if (to_data) return on_data_reply(step);
  if (position == kResetPosition) {
    // Without it the peer might add this message's recipients to an earlier sender.
    if (!is_success(code)) break_off({451, "4.5.0", "the next server refused RSET", false});
    return false;
  }
  bool has_event = false;
  if (position != kMailPosition) {
    has_event = on_recipient_reply(position - kFirstRecipientPosition, step);
  } else if (is_success(code)) {
    reset_needed_ = true;
  } else {
    mail_refused_ = true;
    reset_needed_ = false;
    settle_all(reply_cause());
  }
  envelope_answered();
  return has_event;
}

bool ClientSession::on_recipient_reply(std::uint32_t index, ClientStep& step) {
  if (status_[index] == Status::settled) return false;  // MAIL was refused; this is its echo
  if (is_success(reply_.code())) {
    status_[index] = Status::accepted;
    ++accepted_;
    return false;
  }
  Cause cause = reply_cause();
  // RFC 5321 section 4.5.3.1.10: an old server says 552 for "too many recipients" and means 452. A full
  // mailbox says 5.2.2.
  if (cause.code == 552 && accepted_ != 0 && (cause.enhanced.empty() || cause.enhanced == "5.5.3")) {
    cause.code = 452;
    cause.enhanced = "4.5.3";
  }
  settle(index, cause, step);
  return true;
}

// All that was written is answered: what comes next, when it is not DATA or one more command?
void ClientSession::envelope_answered() {
  if (answered_ != sent_) return;
  if (mail_refused_) {
    over_ = true;
  } else if (answered_ == data_position()) {
    if (accepted_ == 0) {
      over_ = true;
    } else if (binary_) {
      state_ = State::chunk;
    }
  }
}

bool ClientSession::on_data_reply(ClientStep& step) {
  const std::uint16_t code = reply_.code();
  if (code == kStartInput) {
    if (accepted_ != 0) {
      state_ = State::content;
      step.event = ClientEvent::send_content;
      step.form = ContentForm::data;
      return true;
    }
    if (!options_.lmtp) {
      state_ = State::nothing;
      command_written_ = false;
      return false;
    }
    // RFC 2033 section 4.2: no recipient, so there would be no reply to wait for.
  } else if (code >= 400) {
    over_ = true;
    settle_all(reply_cause());
    return false;
  }
  break_off({451, "4.5.0", "the next server sent a reply to DATA that is out of place", false});
  return false;
}

bool ClientSession::on_final_reply(ClientStep& step) {
  if (is_intermediate(reply_.code())) {
    break_off({451, "4.5.0", "the next server sent a reply to the content that is out of place", false});
    return false;
  }
  reset_needed_ = false;
  if (!options_.lmtp) {
    over_ = true;
    settle_all(reply_cause());
    return false;
  }
  // RFC 2033 section 4.2: one for each accepted recipient, in their order.
  const auto* at = std::find(status_.begin(), status_.end(), Status::accepted);
  POSTERN_ASSERT(at != status_.end());
  settle(static_cast<std::uint32_t>(at - status_.begin()), reply_cause(), step);
  over_ = accepted_ == 0;
  return true;
}

ClientSession::Cause ClientSession::reply_cause() const {
  return {reply_.code(), reply_.enhanced(), reply_.text(), true};
}

// Every recipient without a result gets this one.
void ClientSession::settle_all(const Cause& cause) {
  cause_ = cause;
  settling_ = Settling::all;
  settle_at_ = 0;
}

void ClientSession::break_off(const Cause& cause) {
  state_ = State::broken;
  broken_by_ = cause;
  over_ = false;
  reply_held_ = false;
  // What is just being handed out (a 250, say) stays true for the rest of the recipients.
  if (settling_ != Settling::all) settle_all(cause);
}

bool ClientSession::next_result(ClientStep& step) {
  for (; settle_at_ < transaction_.recipients.size(); ++settle_at_) {
    if (status_[settle_at_] == Status::settled) continue;
    const Refusal refusal = refusal_[settle_at_];
    if (refusal == Refusal::none && settling_ != Settling::all) continue;
    settle(settle_at_, refusal != Refusal::none ? refusal_cause(refusal) : cause_, step);
    return true;
  }
  settling_ = Settling::none;
  return false;
}

void ClientSession::settle(std::uint32_t index, const Cause& cause, ClientStep& step) {
  POSTERN_ASSERT(status_[index] != Status::settled);
  if (status_[index] == Status::accepted) --accepted_;
  status_[index] = Status::settled;
  step.event = ClientEvent::result;
  step.result = {index,      cause.code,    cause.enhanced,
                 cause.text, cause.by_peer, cause.by_peer && capabilities_.dsn};
}

}  // namespace postern::net::smtp
