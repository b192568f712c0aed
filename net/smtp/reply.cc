#include "net/smtp/reply.h"

#include <algorithm>
#include <charconv>
#include <cstring>

#include "core/assert.h"
#include "net/sasl/base64.h"
#include "net/sasl/server.h"

namespace postern::net::smtp {

void ReplyBuffer::append(std::string_view bytes) {
  POSTERN_ASSERT(bytes.size() <= capacity_ - size_);
  std::memcpy(memory_ + size_, bytes.data(), bytes.size());
  size_ += bytes.size();
}

void ReplyBuffer::remove_prefix(std::size_t octets) {
  POSTERN_ASSERT(octets <= size_);
  std::memmove(memory_, memory_ + octets, size_ - octets);
  size_ -= octets;
}

std::size_t echo(char* out, std::size_t room, std::string_view text) {
  const std::size_t octets = std::min(room, text.size());
  for (std::size_t i = 0; i < octets; ++i) out[i] = text[i] >= ' ' && text[i] <= '~' ? text[i] : '?';
  return octets;
}

namespace reply {
namespace {

// Gathers one reply within its bound; what does not fit is cut, the CRLF always fits.
class Builder {
 public:
  Builder& raw(std::string_view text) {
    const std::size_t octets = std::min(text.size(), room());
    std::memcpy(text_ + size_, text.data(), octets);
    size_ += octets;
    return *this;
  }
  Builder& said(std::string_view text) {
    size_ += echo(text_ + size_, room(), text);
    return *this;
  }
  Builder& number(std::uint64_t value) {
    char digits[20];
    const auto end = std::to_chars(digits, digits + sizeof digits, value).ptr;
    return raw({digits, static_cast<std::size_t>(end - digits)});
  }
  Builder& end_line() {
    std::memcpy(text_ + size_, "\r\n", 2);
    size_ += 2;
    return *this;
  }
  void send(ReplyBuffer& out) const { out.append({text_, size_}); }

 private:
  [[nodiscard]] std::size_t room() const { return sizeof text_ - 2 - size_; }

  char text_[ReplyBuffer::kReplyMax];
  std::size_t size_ = 0;
};

constexpr std::size_t kHostBytesMax = 255;

}  // namespace

void line(ReplyBuffer& out, std::uint16_t code, std::string_view enhanced, std::string_view text,
          std::string_view more) {
  Builder builder;
  builder.number(code).raw(" ");
  if (!enhanced.empty()) builder.raw(enhanced).raw(" ");
  builder.said(text);
  if (!more.empty()) builder.raw(" ").said(more);
  builder.end_line().send(out);
}

void closing(ReplyBuffer& out, std::string_view enhanced_and_text) {
  line(out, 421, {}, enhanced_and_text);
}

void greeting(ReplyBuffer& out, std::string_view hostname) {
  Builder().raw("220 ").said(hostname.substr(0, kHostBytesMax)).raw(" ESMTP Postern").end_line().send(out);
}

void helo(ReplyBuffer& out, std::string_view hostname) {
  Builder().raw("250 ").said(hostname.substr(0, kHostBytesMax)).end_line().send(out);
}

void ehlo(ReplyBuffer& out, std::string_view hostname, const Extensions& extensions) {
  Builder builder;
  builder.raw("250-").said(hostname.substr(0, kHostBytesMax)).end_line();
  builder.raw("250-PIPELINING").end_line();                                         // RFC 2920
  builder.raw("250-SIZE ").number(extensions.size_max).end_line();                  // RFC 1870
  builder.raw("250-8BITMIME").end_line();                                           // RFC 6152
  builder.raw("250-SMTPUTF8").end_line();                                           // RFC 6531
  builder.raw("250-CHUNKING").end_line();                                           // RFC 3030
  builder.raw("250-BINARYMIME").end_line();                                         // RFC 3030
  builder.raw("250-ENHANCEDSTATUSCODES").end_line();                                // RFC 2034
  builder.raw("250-DSN").end_line();                                                // RFC 3461
  builder.raw("250-LIMITS RCPTMAX=").number(extensions.recipients_max).end_line();  // RFC 9422
  if (extensions.starttls) builder.raw("250-STARTTLS").end_line();                  // RFC 3207
  if (!extensions.mechanisms.empty()) builder.raw("250-AUTH ").raw(extensions.mechanisms).end_line();  // RFC 4954
  if (extensions.xclient) {
    builder.raw("250-XCLIENT NAME ADDR PORT PROTO HELO LOGIN DESTADDR DESTPORT").end_line();
  }
  builder.raw("250 HELP").end_line().send(out);  // RFC 5321 section 4.1.1.8
}

void challenge(ReplyBuffer& out, std::string_view octets) {
  POSTERN_ASSERT(octets.size() <= sasl::kChallengeBytesMax);
  char text[sasl::base64_bytes(sasl::kChallengeBytesMax)];
  const std::size_t size = sasl::base64_encode(octets, text);
  Builder().raw("334 ").raw({text, size}).end_line().send(out);
}

void help(ReplyBuffer& out) {
  out.append(
      "214-2.0.0 This is a mail relay. Commands:\r\n"
      "214-2.0.0 EHLO HELO STARTTLS AUTH MAIL RCPT DATA BDAT RSET NOOP VRFY HELP QUIT\r\n"
      "214 2.0.0 The postmaster of this host answers questions\r\n");
}

void queued(ReplyBuffer& out, std::string_view queue_id) {
  Builder().raw("250 2.0.0 Ok: queued as ").said(queue_id).end_line().send(out);
}

void chunk_received(ReplyBuffer& out, std::uint64_t octets) {
  Builder().raw("250 2.0.0 ").number(octets).raw(" octets received").end_line().send(out);
}

}  // namespace reply
}  // namespace postern::net::smtp
