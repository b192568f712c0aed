// Duty: cut the peer's octets into replies. One state for every octet position, so that a cut anywhere
// changes nothing. Invariants: line_bytes_ counts the octets of the line that are known not to be its end; a
// CR is counted only when the next octet shows that it was text. Limits: ReplyParser's constants. Thread:
// one.
#include "net/smtp/reply_parser.h"

#include <algorithm>
#include <cstring>

namespace postern::net::smtp {

namespace {

constexpr std::uint32_t kCodeDigits = 3;
constexpr std::uint32_t kTextStart = kCodeDigits + 1;  // after the separator

bool is_digit(char octet) {
  return octet >= '0' && octet <= '9';
}

// Between one and three digits at `at`; 0: none, or more.
std::size_t count_digits(std::string_view text, std::size_t at) {
  std::size_t digits = 0;
  while (at + digits < text.size() && is_digit(text[at + digits])) ++digits;
  return digits <= 3 ? digits : 0;
}

}  // namespace

std::size_t enhanced_code_length(std::string_view text, std::uint16_t code) {
  const int reply_class = code / 100;
  if (reply_class != 2 && reply_class != 4 && reply_class != 5) return 0;
  if (text.size() < 5 || text[0] != static_cast<char>('0' + reply_class) || text[1] != '.') return 0;
  const std::size_t subject = count_digits(text, 2);
  if (subject == 0 || 2 + subject >= text.size() || text[2 + subject] != '.') return 0;
  const std::size_t detail_at = 3 + subject;
  const std::size_t detail = count_digits(text, detail_at);
  if (detail == 0) return 0;
  const std::size_t length = detail_at + detail;
  return length == text.size() || text[length] == ' ' ? length : 0;
}

ReplyParser::Event ReplyParser::advance(std::string_view input, std::size_t& consumed) {
  consumed = 0;
  if (malformed_) return Event::malformed;
  if (input.empty()) return Event::need_input;
  if (complete_) start_reply();
  if (line_complete_) {
    line_complete_ = false;
    line_size_ = 0;
  }
  while (consumed < input.size()) {
    if (cr_pending_ || line_bytes_ < kTextStart) {
      const char octet = input[consumed++];
      ++reply_bytes_;
      if (octet == '\n') return end_line();
      if (cr_pending_) {
        cr_pending_ = false;
        if (!take_octet('\r')) return fail();
      }
      if (octet == '\r') {
        cr_pending_ = true;
      } else if (!take_octet(octet)) {
        return fail();
      }
      continue;
    }
    const std::string_view rest = input.substr(consumed);
    const void* line_feed = std::memchr(rest.data(), '\n', rest.size());
    std::string_view run = rest;
    if (line_feed != nullptr) run = rest.substr(0, static_cast<const char*>(line_feed) - rest.data());
    consumed += run.size() + (line_feed != nullptr ? 1 : 0);
    reply_bytes_ += static_cast<std::uint32_t>(run.size() + (line_feed != nullptr ? 1 : 0));
    cr_pending_ = !run.empty() && run.back() == '\r';
    if (cr_pending_) run.remove_suffix(1);
    if (!take_text(run)) return fail();
    if (line_feed != nullptr) return end_line();
  }
  return reply_bytes_ > kReplyBytesMax ? fail() : Event::need_input;
}

ReplyParser::Event ReplyParser::fail() {
  malformed_ = true;
  return Event::malformed;
}

bool ReplyParser::take_octet(char octet) {
  if (line_bytes_ >= kTextStart) return take_text({&octet, 1});
  if (line_bytes_ < kCodeDigits) {
    if (!is_digit(octet)) return false;
    if (line_bytes_ == 0 && (octet < '2' || octet > '5')) return false;
    line_code_ = static_cast<std::uint16_t>((line_bytes_ == 0 ? 0 : line_code_ * 10) + (octet - '0'));
    last_line_ = true;  // until a hyphen says otherwise; "250" CRLF is a reply
  } else {
    if (octet != ' ' && octet != '-') return false;
    last_line_ = octet == ' ';
  }
  ++line_bytes_;
  return true;
}

bool ReplyParser::take_text(std::string_view bytes) {
  if (bytes.size() > kLineBytesMax - line_bytes_) return false;
  line_bytes_ += static_cast<std::uint32_t>(bytes.size());
  const std::size_t kept = std::min(bytes.size(), kLineKept - line_size_);
  std::copy_n(bytes.data(), kept, line_.data() + line_size_);
  line_size_ = static_cast<std::uint16_t>(line_size_ + kept);
  return true;
}

ReplyParser::Event ReplyParser::end_line() {
  cr_pending_ = false;
  if (line_bytes_ < kCodeDigits || reply_bytes_ > kReplyBytesMax) return fail();
  if (lines_ == 0) code_ = line_code_;
  if (line_code_ != code_ || ++lines_ > kLinesMax) return fail();
  line_bytes_ = 0;
  join_line();
  if (!last_line_) {
    line_complete_ = true;
    return Event::line;
  }
  complete_ = true;
  reply_bytes_ = 0;
  return Event::reply;
}

// The enhanced code stands on every line (RFC 2034 section 4); people want to read it once.
void ReplyParser::join_line() {
  std::string_view words = line();
  const std::size_t length = enhanced_code_length(words, code_);
  if (length != 0) {
    if (lines_ == 1) {
      enhanced_size_ = static_cast<std::uint16_t>(length);
      std::copy_n(words.data(), length, enhanced_.data());
    }
    words.remove_prefix(std::min(length + 1, words.size()));
  }
  if (words.empty()) return;
  if (text_size_ != 0 && text_size_ < kTextKept) text_[text_size_++] = ' ';
  const std::size_t kept = std::min(words.size(), kTextKept - text_size_);
  std::copy_n(words.data(), kept, text_.data() + text_size_);
  text_size_ = static_cast<std::uint16_t>(text_size_ + kept);
}

void ReplyParser::start_reply() {
  complete_ = false;
  code_ = 0;
  lines_ = 0;
  line_size_ = 0;
  text_size_ = 0;
  enhanced_size_ = 0;
}

}  // namespace postern::net::smtp
