// Duty: the cursor of what was sent: writes each command of the session once, in order, as far as the peer's
// extensions and the room in `out` allow. Invariants: without PIPELINING at most one command is unanswered;
// with it (RFC 2920 section 3.1) RSET, MAIL, RCPT and, last, DATA
//   go out together. EHLO, STARTTLS, DATA, "." and BDAT are never followed by anything before their reply.
// Limits: no command is longer than CommandBuffer::kCommandMax. Thread: one.
#include <algorithm>
#include <array>
#include <charconv>

#include "core/assert.h"
#include "net/smtp/client_session.h"

namespace postern::net::smtp {

namespace {

constexpr std::uint32_t kResetPosition = 0;
constexpr std::uint32_t kMailPosition = 1;
constexpr std::uint32_t kFirstRecipientPosition = 2;

constexpr std::size_t kEnvelopeIdMax = 100;  // RFC 3461 section 4.4
constexpr std::size_t kOriginalMax = 500;    // section 4.2

// One command, put together before it is known to fit.
class CommandLine {
 public:
  CommandLine& operator<<(std::string_view bytes) {
    POSTERN_ASSERT(bytes.size() <= line_.size() - size_);
    std::copy_n(bytes.data(), bytes.size(), line_.data() + size_);
    size_ += bytes.size();
    return *this;
  }
  CommandLine& operator<<(std::uint64_t number) {
    std::array<char, 20> digits;
    const auto end = std::to_chars(digits.data(), digits.data() + digits.size(), number).ptr;
    return *this << std::string_view(digits.data(), end);
  }
  [[nodiscard]] bool put(CommandBuffer& out) const {
    if (out.room() < size_) return false;
    out.append({line_.data(), size_});
    return true;
  }

 private:
  std::array<char, CommandBuffer::kCommandMax> line_;
  std::size_t size_ = 0;
};

// A DSN parameter that is not printable, or longer than RFC 3461 has it, is left out rather than sent on: the
// address it annotates is still good. Octets above 127 are for SMTPUTF8 only (RFC 6533 section 3).
bool is_parameter(std::string_view value, std::size_t bytes_max, bool utf8) {
  return !value.empty() && value.size() <= bytes_max &&
         std::all_of(value.begin(), value.end(), [utf8](char octet) {
           const auto value_of = static_cast<unsigned char>(octet);
           return value_of >= 0x80 ? utf8 : value_of > 0x20 && value_of < 0x7f;
         });
}

void add_notify(CommandLine& line, std::uint8_t notify) {
  if (notify == notify_unset) return;
  line << " NOTIFY=";
  if ((notify & notify_never) != 0) {  // stands alone
    line << "NEVER";
    return;
  }
  std::string_view comma;
  const auto add = [&](NotifyFlags flag, std::string_view word) {
    if ((notify & flag) == 0) return;
    line << comma << word;
    comma = ",";
  };
  add(notify_success, "SUCCESS");
  add(notify_failure, "FAILURE");
  add(notify_delay, "DELAY");
}

}  // namespace

std::uint32_t ClientSession::data_position() const {
  return kFirstRecipientPosition + static_cast<std::uint32_t>(transaction_.recipients.size());
}

// Both cursors step over the recipients that were refused here.
std::uint32_t ClientSession::next_position(std::uint32_t position) const {
  ++position;
  while (position >= kFirstRecipientPosition && position < data_position() &&
         refusal_[position - kFirstRecipientPosition] != Refusal::none) {
    ++position;
  }
  return position;
}

bool ClientSession::write_commands(CommandBuffer& out) {
  switch (state_) {
    case State::hello:
    case State::old_hello:
    case State::start_tls:
    case State::nothing:
      break;
    case State::envelope:
      return write_envelope(out);
    default:
      return true;
  }
  if (command_written_) return true;
  CommandLine line;
  if (state_ == State::nothing) {
    line << ".\r\n";  // after the CRLF of DATA: the end of no content
  } else if (state_ == State::start_tls) {
    line << "STARTTLS\r\n";
  } else {
    const std::string_view verb = state_ == State::old_hello ? "HELO " : options_.lmtp ? "LHLO " : "EHLO ";
    line << verb << options_.hostname << "\r\n";
  }
  command_written_ = line.put(out);
  tried_tls_ = tried_tls_ || (command_written_ && state_ == State::start_tls);
  return command_written_;
}

bool ClientSession::write_envelope(CommandBuffer& out) {
  while (may_write_next()) {
    bool written = false;
    if (sent_ == kResetPosition) {
      written = (CommandLine() << "RSET\r\n").put(out);
    } else if (sent_ == kMailPosition) {
      written = put_mail(out);
      if (written) ++transactions_;
    } else if (sent_ == data_position()) {
      written = (CommandLine() << "DATA\r\n").put(out);
    } else {
      written = put_recipient(out, transaction_.recipients[sent_ - kFirstRecipientPosition]);
    }
    if (!written) return false;
    sent_ = next_position(sent_);
  }
  return true;
}

bool ClientSession::may_write_next() const {
  if (mail_refused_ || sent_ > data_position()) return false;
  const bool all_answered = answered_ == sent_;
  if (sent_ != data_position()) return all_answered || capabilities_.pipelining;
  if (binary_) return false;  // BDAT waits for all replies: its content cannot be called back
  return all_answered ? accepted_ != 0 : capabilities_.pipelining;
}

// RFC 3030 section 2: one chunk, the last.
bool ClientSession::put_chunk(CommandBuffer& out) {
  return (CommandLine() << "BDAT " << transaction_.content_bytes << " LAST\r\n").put(out);
}

bool ClientSession::put_mail(CommandBuffer& out) const {
  const SenderFields& sender = transaction_.sender;
  CommandLine line;
  line << "MAIL FROM:<" << sender.reverse_path << ">";
  if (capabilities_.size) line << " SIZE=" << transaction_.content_bytes;  // RFC 1870
  const bool eight_bit = (transaction_.content_flags & (content_eight_bit | content_eight_bit_header)) != 0;
  if (binary_) {
    line << " BODY=BINARYMIME";
  } else if (capabilities_.eight_bit_mime && (eight_bit || sender.body != BodyType::seven_bit)) {
    line << " BODY=8BITMIME";
  }
  if (utf8_) line << " SMTPUTF8";
  if (capabilities_.dsn) {
    if (sender.ret != DsnReturn::unset) line << (sender.ret == DsnReturn::full ? " RET=FULL" : " RET=HDRS");
    if (is_parameter(sender.envelope_id, kEnvelopeIdMax, false)) line << " ENVID=" << sender.envelope_id;
  }
  line << "\r\n";
  return line.put(out);
}

bool ClientSession::put_recipient(CommandBuffer& out, const RecipientFields& recipient) const {
  CommandLine line;
  line << "RCPT TO:<" << recipient.forward_path << ">";
  if (capabilities_.dsn) {
    add_notify(line, recipient.notify);
    if (is_parameter(recipient.original, kOriginalMax, utf8_)) line << " ORCPT=" << recipient.original;
  }
  line << "\r\n";
  return line.put(out);
}

}  // namespace postern::net::smtp
