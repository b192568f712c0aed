// Duty: the machine that both protocols run on: whose turn it is, lines, the store's conduct, ends. A login's way
// through it is in session_login.cc.
// Invariants: run() consumes before it answers, and answers whole; only run_store() reads what the store said.
#include "net/mailbox/mailbox_session.h"

#include <algorithm>
#include <cstring>

#include "core/assert.h"
#include "net/mailbox/text.h"

namespace postern::net::mailbox {

namespace {

constexpr std::string_view kStoreUnavailable = "Mail store is not available now, try again later";

}  // namespace

std::string_view name_of(LoginFailure failure) noexcept {
  switch (failure) {
    case LoginFailure::none:
      return "none";
    case LoginFailure::wrong_credentials:
      return "wrong-credentials";
    case LoginFailure::refused:
      return "refused";
    case LoginFailure::unavailable:
      return "unavailable";
    case LoginFailure::cancelled:
      return "cancelled";
  }
  return "none";
}

std::string_view name_of(CloseReason reason) noexcept {
  switch (reason) {
    case CloseReason::none:
      return "none";
    case CloseReason::quit:
      return "quit";
    case CloseReason::errors:
      return "errors";
    case CloseReason::goodbye:
      return "goodbye";
    case CloseReason::guard:
      return "guard";
    case CloseReason::http:
      return "http";
    case CloseReason::line_too_long:
      return "line-too-long";
    case CloseReason::store_lost:
      return "store-lost";
    case CloseReason::store_refused:
      return "store-refused";
    case CloseReason::store_preauth:
      return "store-preauth";
    case CloseReason::store_unasked:
      return "store-unasked";
    case CloseReason::store_garbage:
      return "store-garbage";
  }
  return "none";
}

MailboxSession::MailboxSession(const SessionOptions& options) : options_(options) {}

MailboxSession::~MailboxSession() {
  explicit_bzero(buffer_.data(), buffer_.size());
}

// --- the turn ------------------------------------------------------------------------------------------------------

Step MailboxSession::advance(std::string_view from_client, std::string_view from_store, Output& to_client,
                             Output& to_store) {
  Turn turn{from_client, from_store, to_client, to_store, {}};
  while (!run(turn)) {
  }
  turn.step.client_consumed = from_client.size() - turn.client.size();
  turn.step.store_consumed = from_store.size() - turn.store.size();
  return turn.step;
}

bool MailboxSession::listens_to_store() const {
  return phase_ == Phase::setting_up || phase_ == Phase::store_reply || phase_ == Phase::cancelling;
}

bool MailboxSession::run(Turn& turn) {
  if (phase_ == Phase::closing) {
    turn.client = turn.store = {};
    turn.step.event = Event::close;
    turn.step.reason = reason_;
    return true;
  }
  if (phase_ == Phase::passthrough) {
    turn.step.event = Event::passthrough;
    return true;
  }
  // What the store says behind the success is the client's, and its going away is the driver's.
  const bool is_won = phase_ == Phase::recording || phase_ == Phase::recorded;
  if (!is_won && !turn.store.empty() && (!listens_to_store() || !turn.to_store.empty())) {
    is_store_wrong_ = true;
    turn.store = {};
    turn.to_store.clear();
  }
  // To the store there is room: it is asked one thing at a time, and answers only what was sent.
  if (!turn.to_client.has_room()) {
    turn.step.event = Event::flush;
    return true;
  }
  if (is_store_wrong_) return give_up_store(CloseReason::store_unasked, turn);
  if (!is_won && is_store_lost_) return give_up_store(CloseReason::store_lost, turn);
  if (!turn.to_store.empty()) reply_bytes_ = 0;
  return run_phase(turn);
}

bool MailboxSession::run_phase(Turn& turn) {
  switch (phase_) {
    case Phase::start:
      phase_ = Phase::connecting;
      turn.step.event = Event::connect_store;
      return true;
    case Phase::setting_up:
    case Phase::store_reply:
    case Phase::cancelling:
      return run_store(turn);
    case Phase::command:
      return run_command(turn);
    case Phase::client_response:
      return run_client_response(turn);
    case Phase::skipping:
      return run_skipping(turn);
    case Phase::answered:
      return run_answered(turn);
    case Phase::recorded:
      write_success(line(), turn);
      drop_line();
      drop_held();
      phase_ = Phase::passthrough;
      return false;
    case Phase::connecting:
    case Phase::asking:
    case Phase::recording:
    case Phase::tls_pending:
    case Phase::passthrough:
    case Phase::closing:
      break;
  }
  return await(turn);
}

bool MailboxSession::await(Turn& turn) const {
  turn.step.event = Event::need_input;
  return true;
}

bool MailboxSession::awaits_store() const {
  return phase_ == Phase::connecting || listens_to_store();
}

bool MailboxSession::awaits_client() const {
  return phase_ == Phase::command || phase_ == Phase::client_response || phase_ == Phase::skipping;
}

// --- lines ---------------------------------------------------------------------------------------------------------

MailboxSession::Line MailboxSession::collect(std::string_view& input) {
  const std::size_t feed = input.find('\n');
  const std::size_t wanted = feed == std::string_view::npos ? input.size() : feed + 1;
  const std::size_t octets = std::min(wanted, buffer_.size() - held_bytes_ - line_bytes_);
  input.copy(buffer_.data() + held_bytes_ + line_bytes_, octets);
  line_bytes_ = static_cast<std::uint16_t>(line_bytes_ + octets);
  input.remove_prefix(octets);
  if (octets < wanted) return Line::too_long;
  if (feed == std::string_view::npos) return Line::incomplete;
  const bool has_return = line_bytes_ - segment_at_ >= 2 && buffer_[held_bytes_ + line_bytes_ - 2U] == '\r';
  return has_return ? Line::complete : Line::bare_line_feed;
}

std::string_view MailboxSession::line() const {
  return {buffer_.data() + held_bytes_, line_bytes_ - 2U};
}

void MailboxSession::drop_line() {
  if (line_bytes_ != 0) explicit_bzero(buffer_.data() + held_bytes_, line_bytes_);
  line_bytes_ = 0;
  segment_at_ = 0;
}

void MailboxSession::hold(std::string_view octets) {
  const std::size_t end = held_bytes_ + line_bytes_;
  if (!octets.empty()) std::memmove(buffer_.data(), octets.data(), octets.size());
  if (end > octets.size()) explicit_bzero(buffer_.data() + octets.size(), end - octets.size());
  held_bytes_ = static_cast<std::uint16_t>(octets.size());
  line_bytes_ = 0;
  segment_at_ = 0;
}

void MailboxSession::drop_held() {
  POSTERN_ASSERT(line_bytes_ == 0);
  if (held_bytes_ != 0) explicit_bzero(buffer_.data(), held_bytes_);
  held_bytes_ = 0;
}

// The line so far is dropped, and what still comes of it, up to its LF.
bool MailboxSession::skip_line(Turn& turn) {
  skipped_bytes_ = line_bytes_;
  drop_line();
  phase_ = Phase::skipping;
  return run_skipping(turn);
}

bool MailboxSession::run_skipping(Turn& turn) {
  const std::size_t feed = turn.client.find('\n');
  const std::size_t octets = feed == std::string_view::npos ? turn.client.size() : feed + 1;
  if (octets > kSkippedBytesMax - skipped_bytes_) {
    return close_session(CloseReason::line_too_long, "Line far too long", turn);
  }
  skipped_bytes_ += static_cast<std::uint32_t>(octets);
  turn.client.remove_prefix(octets);
  if (feed == std::string_view::npos) return await(turn);
  phase_ = Phase::command;
  return bad_command("Line too long", turn);
}

// --- the store's side ----------------------------------------------------------------------------------------------

bool MailboxSession::run_store(Turn& turn) {
  switch (collect(turn.store)) {
    case Line::incomplete:
      return await(turn);
    case Line::complete:
      break;
    case Line::bare_line_feed:
    case Line::too_long:
      return give_up_store(CloseReason::store_garbage, turn);
  }
  reply_bytes_ += line_bytes_;
  if (reply_bytes_ > kStoreReplyBytesMax || has_control_octet(line())) {
    return give_up_store(CloseReason::store_garbage, turn);
  }
  if (phase_ != Phase::setting_up) return take_login_line(line(), turn);
  const bool is_over = take_setup_line(line(), turn);
  drop_line();
  return is_over;
}

// In the same breath as the store's last line, so that the cuts of what comes behind it do not matter.
void MailboxSession::setup_done(Turn& turn) {
  write_greeting(turn);
  phase_ = Phase::command;
}

bool MailboxSession::give_up_store(CloseReason reason, Turn& turn) {
  // Between the reply to STLS and the end of the handshake there are no words.
  if (phase_ == Phase::tls_pending) return close_silently(reason);
  const Refusal refusal{LoginFailure::unavailable, unavailable_code(), kStoreUnavailable};
  const bool is_answer = exchange_.is_open;
  const bool is_told = exchange_.is_open && exchange_.is_allowed;
  if (is_answer) write_refusal(refusal, turn);
  write_goodbye(refusal.code, refusal.text, is_answer, turn.to_client);
  if (is_told) {
    tell_login(Event::login_failed, turn);
    turn.step.failure = LoginFailure::unavailable;
  }
  close_silently(reason);
  return is_told;
}

// --- answers -------------------------------------------------------------------------------------------------------

void MailboxSession::store_connected() {
  if (phase_ == Phase::closing) return;  // after say_goodbye()
  POSTERN_ASSERT(phase_ == Phase::connecting);
  phase_ = Phase::setting_up;
}

void MailboxSession::store_lost() {
  is_store_lost_ = true;
}

void MailboxSession::answer_login(LoginAnswer answer) {
  if (phase_ == Phase::closing) return;
  POSTERN_ASSERT(phase_ == Phase::asking);
  answer_ = answer;
  phase_ = Phase::answered;
}

void MailboxSession::login_recorded() {
  if (phase_ == Phase::closing) return;
  POSTERN_ASSERT(phase_ == Phase::recording);
  phase_ = Phase::recorded;
}

void MailboxSession::tls_started() {
  if (phase_ == Phase::closing) return;
  POSTERN_ASSERT(phase_ == Phase::tls_pending);
  options_.encrypted = true;
  user_.clear();
  forget_client();
  phase_ = Phase::command;
}

// --- what both protocols do alike ----------------------------------------------------------------------------------

Offer MailboxSession::offer() const {
  return {options_.tls_offered && !options_.encrypted, options_.plaintext_allowed || options_.encrypted};
}

bool MailboxSession::complain(const Refusal& refusal, Turn& turn) {
  write_refusal(refusal, turn);
  drop_line();
  count_error(turn);
  return false;
}

void MailboxSession::count_error(Turn& turn) {
  ++errors_;
  if (options_.errors_max == 0 || errors_ < options_.errors_max) return;
  write_goodbye({}, "Too many errors", true, turn.to_client);
  close_silently(CloseReason::errors);
}

bool MailboxSession::start_tls(Turn& turn) {
  drop_line();
  turn.client = {};
  phase_ = Phase::tls_pending;
  turn.step.event = Event::start_tls;
  return true;
}

bool MailboxSession::close_session(CloseReason reason, std::string_view text, Turn& turn) {
  write_goodbye({}, text, false, turn.to_client);
  return close_silently(reason);
}

bool MailboxSession::close_silently(CloseReason reason) {
  drop_line();
  drop_held();
  exchange_.is_open = false;
  reason_ = reason;
  phase_ = Phase::closing;
  return false;
}

void MailboxSession::say_goodbye(std::string_view text, Output& to_client) {
  if (phase_ == Phase::closing || phase_ == Phase::passthrough) return;
  if (phase_ != Phase::tls_pending) write_goodbye({}, text, false, to_client);
  close_silently(CloseReason::goodbye);
}

}  // namespace postern::net::mailbox
