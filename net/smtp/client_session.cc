// Duty: the life of a sending session as its driver sees it: what the peer can do, what a message needs of
// it, begin, loss, end. The commands are written in client_commands.cc, the replies taken in
// client_replies.cc. Invariants: a transaction's recipient goes open -> (accepted ->) settled, and its result
// is handed out in the step that
//   settles it, so nobody gets two; `done` and `broken` are given only when nobody is open.
// Thread: one.
#include "net/smtp/client_session.h"

#include <algorithm>
#include <charconv>
#include <limits>
#include <strings.h>

#include "core/assert.h"

namespace postern::net::smtp {

namespace {

bool equal_ignoring_case(std::string_view a, std::string_view b) {
  return a.size() == b.size() && ::strncasecmp(a.data(), b.data(), a.size()) == 0;
}

// The word before the next blank, which is removed with it from `text`.
std::string_view take_word(std::string_view& text) {
  while (!text.empty() && text.front() == ' ') text.remove_prefix(1);
  const std::string_view word = text.substr(0, text.find(' '));
  text.remove_prefix(word.size());
  return word;
}

// 0 for what is not a number, or is none that fits.
template <class Number>
Number parse_number(std::string_view digits) {
  Number value = 0;
  const auto [end, error] = std::from_chars(digits.data(), digits.data() + digits.size(), value);
  return error == std::errc{} && end == digits.data() + digits.size() ? value : 0;
}

bool is_ascii(std::string_view text) {
  return std::none_of(text.begin(), text.end(),
                      [](char octet) { return static_cast<unsigned char>(octet) >= 0x80; });
}

// Longer than any address a server takes; keeps MAIL and RCPT within CommandBuffer::kCommandMax.
constexpr std::size_t kPathMax = 1024;

// The envelope came through a strict parser; this is the last door before the wire, where a line end would be
// a command.
bool is_sendable(std::string_view path) {
  return path.size() <= kPathMax && std::none_of(path.begin(), path.end(), [](char octet) {
           return static_cast<unsigned char>(octet) < 0x20 || octet == 0x7f;
         });
}

}  // namespace

void CommandBuffer::append(std::string_view bytes) {
  POSTERN_ASSERT(bytes.size() <= room());
  std::copy_n(bytes.data(), bytes.size(), memory_ + size_);
  size_ += bytes.size();
}

ClientSession::ClientSession(const ClientOptions& options) : options_(options) {
  POSTERN_ASSERT(options.hostname.size() <= 255);
}

bool ClientSession::ready() const {
  return state_ == State::ready && !reply_.in_reply();
}

// `done` is given only after the last reply, so a session that is ready owes and is owed nothing.
bool ClientSession::idle() const {
  return ready();
}

std::size_t ClientSession::recipients_max() const {
  constexpr std::size_t kMost = Transaction::kRecipientsMax;
  return capabilities_.rcpt_max == 0 ? kMost : std::min<std::size_t>(capabilities_.rcpt_max, kMost);
}

bool ClientSession::exhausted() const {
  return capabilities_.mail_max != 0 && transactions_ >= capabilities_.mail_max;
}

// RFC 5321 section 4.1.1.1: ehlo-keyword, then its parameters. What is not known is not needed.
void ClientSession::take_capability(std::string_view line) {
  std::string_view parameters = line;
  const std::string_view keyword = take_word(parameters);
  const auto is = [keyword](std::string_view name) { return equal_ignoring_case(keyword, name); };
  if (is("PIPELINING")) capabilities_.pipelining = true;
  if (is("8BITMIME")) capabilities_.eight_bit_mime = true;
  if (is("SMTPUTF8")) capabilities_.smtputf8 = true;
  if (is("CHUNKING")) capabilities_.chunking = true;
  if (is("BINARYMIME")) capabilities_.binary_mime = true;
  if (is("DSN")) capabilities_.dsn = true;
  if (is("STARTTLS")) capabilities_.start_tls = true;
  if (is("ENHANCEDSTATUSCODES")) capabilities_.enhanced_codes = true;
  if (is("SIZE")) {
    capabilities_.size = true;
    capabilities_.size_max = parse_number<std::uint64_t>(take_word(parameters));
  }
  if (is("LIMITS")) take_limits(parameters);
}

// RFC 9422 section 4: name "=" value, several.
void ClientSession::take_limits(std::string_view parameters) {
  for (std::string_view word = take_word(parameters); !word.empty(); word = take_word(parameters)) {
    const std::size_t equals = word.find('=');
    if (equals == std::string_view::npos) continue;
    const std::string_view name = word.substr(0, equals);
    const auto value = parse_number<std::uint32_t>(word.substr(equals + 1));
    if (equal_ignoring_case(name, "RCPTMAX")) capabilities_.rcpt_max = value;
    if (equal_ignoring_case(name, "MAILMAX")) capabilities_.mail_max = value;
  }
}

void ClientSession::begin(const Transaction& transaction) {
  POSTERN_ASSERT(ready());
  POSTERN_ASSERT(!transaction.recipients.empty());
  POSTERN_ASSERT(transaction.recipients.size() <= Transaction::kRecipientsMax);
  transaction_ = transaction;
  status_.fill(Status::open);
  refusal_.fill(Refusal::none);
  state_ = State::envelope;
  accepted_ = 0;
  mail_refused_ = false;
  reset_first_ = reset_needed_;
  sent_ = answered_ = reset_first_ ? 0 : 1;
  binary_ = (transaction.content_flags & content_binary) != 0;
  if (refuse_message(transaction)) over_ = true;
}

// Finds out, before MAIL, what this hop cannot carry. True: nothing is to be sent at all.
bool ClientSession::refuse_message(const Transaction& transaction) {
  const SenderFields& sender = transaction.sender;
  const bool eight_bit_header = (transaction.content_flags & content_eight_bit_header) != 0;
  const bool eight_bit = eight_bit_header || (transaction.content_flags & content_eight_bit) != 0;
  // RFC 6531 section 3.2: what was declared but holds nothing international is an ordinary message.
  const bool utf8_content = !is_ascii(sender.reverse_path) || (sender.smtputf8 && eight_bit_header);

  Cause cause;
  if (!is_sendable(sender.reverse_path)) {
    cause = {553, "5.1.7", "the sender's address cannot be sent", false};
  } else if (capabilities_.size_max != 0 && transaction.content_bytes > capabilities_.size_max) {
    cause = {552, "5.3.4", "the message is larger than the next server takes",
             false};  // RFC 1870 section 6.2
  } else if (utf8_content && !capabilities_.smtputf8) {
    cause = {553, "5.6.7", "the next server does not take internationalized mail (SMTPUTF8)", false};
  } else if (binary_ && !(capabilities_.chunking && capabilities_.binary_mime)) {
    cause = {554, "5.6.1", "the next server does not take binary content (BINARYMIME)", false};
  } else if (eight_bit && !binary_ && !capabilities_.eight_bit_mime) {
    cause = {554, "5.6.3", "the next server does not take 8-bit content (8BITMIME)", false};
  }
  if (cause.code != 0) {
    settle_all(cause);
    return true;
  }
  refuse_recipients(utf8_content);
  return std::all_of(refusal_.begin(), refusal_.begin() + transaction.recipients.size(),
                     [](Refusal refusal) { return refusal != Refusal::none; });
}

// One address that this hop cannot carry must not keep the others from their mail.
void ClientSession::refuse_recipients(bool utf8_content) {
  utf8_ = utf8_content;
  std::size_t sendable = 0;
  for (std::size_t i = 0; i < transaction_.recipients.size(); ++i) {
    const std::string_view path = transaction_.recipients[i].forward_path;
    const bool utf8_path = !is_ascii(path);
    if (path.empty() || !is_sendable(path)) {
      refusal_[i] = Refusal::bad_address;
    } else if (utf8_path && !capabilities_.smtputf8) {
      refusal_[i] = Refusal::no_smtputf8;
    } else if (sendable == recipients_max()) {
      refusal_[i] = Refusal::too_many;
    } else {
      ++sendable;
      utf8_ = utf8_ || utf8_path;
    }
    if (refusal_[i] != Refusal::none) settling_ = Settling::refused_here;
  }
  settle_at_ = 0;
}

ClientSession::Cause ClientSession::refusal_cause(Refusal refusal) {
  switch (refusal) {
    case Refusal::bad_address:
      return {553, "5.1.3", "the recipient's address cannot be sent", false};
    case Refusal::no_smtputf8:
      return {553, "5.6.7", "the next server does not take internationalized addresses (SMTPUTF8)", false};
    case Refusal::too_many:
      return {452, "4.5.3", "the next server takes fewer recipients at a time", false};
    case Refusal::none:
      break;
  }
  POSTERN_ASSERT(false);
  return {};
}

ClientStep ClientSession::advance(std::string_view input, CommandBuffer& out) {
  ClientStep step;
  for (;;) {
    if (settling_ != Settling::none && next_result(step)) return step;
    if (state_ == State::broken || state_ == State::closed) {
      step.consumed = input.size();
      step.event = state_ == State::broken ? ClientEvent::broken : ClientEvent::closed;
      step.result = {0, broken_by_.code, broken_by_.enhanced, broken_by_.text, broken_by_.by_peer, false};
      return step;
    }
    if (over_) {
      end_transaction();
      step.event = ClientEvent::done;
      return step;
    }
    if (reply_held_ && state_ != State::content) {
      reply_held_ = false;
      if (on_reply(step)) return step;
    } else if (step.consumed < input.size() && !reply_held_) {
      if (take_input(input, step)) return step;
    } else {
      break;
    }
  }
  const bool written = write_commands(out);
  if (state_ == State::chunk && written && put_chunk(out)) {
    state_ = State::content;
    step.event = ClientEvent::send_content;
    step.form = ContentForm::bdat;
    step.form_bytes = transaction_.content_bytes;
  } else if (!written || !out.view().empty() || state_ == State::chunk) {
    step.event = ClientEvent::flush;
  } else {
    step.event = ready() ? ClientEvent::ready : ClientEvent::need_input;
  }
  return step;
}

void ClientSession::tls_started() {
  POSTERN_ASSERT(state_ == State::handshake);
  encrypted_ = true;
  state_ = State::hello;
  command_written_ = false;
}

void ClientSession::break_injected() {
  injected_ = true;
  break_off({451, "4.7.0", "the next server sent something in plain text behind its reply to STARTTLS", false});
}

void ClientSession::content_sent() {
  if (state_ != State::content) return;  // it broke meanwhile
  state_ = State::ending;
}

void ClientSession::connection_lost(std::string_view enhanced, std::string_view text) {
  if (state_ == State::broken || state_ == State::closed) return;
  if (state_ == State::quitting) {
    state_ = State::closed;
    return;
  }
  const std::size_t enhanced_size = std::min(enhanced.size(), lost_enhanced_.size());
  const std::size_t text_size = std::min(text.size(), lost_text_.size());
  std::copy_n(enhanced.data(), enhanced_size, lost_enhanced_.data());
  std::copy_n(text.data(), text_size, lost_text_.data());
  // A server that has seen enough of a message says so and leaves: its words are better than ours. A 2xx that
  // came before the end was sent is worth nothing.
  if (reply_held_ && state_ == State::content && reply_.code() >= 400) settle_all(reply_cause());
  break_off({451, {lost_enhanced_.data(), enhanced_size}, {lost_text_.data(), text_size}, false});
}

void ClientSession::quit(CommandBuffer& out) {
  if (state_ == State::broken || state_ == State::closed || state_ == State::quitting) return;
  constexpr std::string_view kQuit = "QUIT\r\n";
  if (ready() && out.room() >= kQuit.size()) {
    out.append(kQuit);
    state_ = State::quitting;
  } else if (!transaction_.recipients.empty()) {
    break_off({451, "4.4.2", "the session was ended", false});
  } else {
    state_ = State::closed;
  }
}

void ClientSession::end_transaction() {
  over_ = false;
  transaction_ = {};
  state_ = State::ready;
}

std::int64_t ClientSession::timeout_seconds() const {
  switch (state_) {
    case State::greeting:
      return 300;  // RFC 5321 section 4.5.3.2.1
    case State::hello:
    case State::old_hello:
    case State::start_tls:
      return 300;  // not in the RFC: as for MAIL
    case State::handshake:
      return 60;  // the whole of it: two or three round trips and a signature
    case State::envelope:
      return answered_ == data_position() ? 120 : 300;  // .4; .2 and .3
    case State::chunk:
    case State::content:
      return 180;  // .5
    case State::ending:
    case State::nothing:
      return 600;  // .6
    case State::quitting:
      return 30;  // nothing depends on it any more
    case State::ready:
    case State::closed:
    case State::broken:
      break;
  }
  return 0;
}

}  // namespace postern::net::smtp
