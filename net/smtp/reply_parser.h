// SMTP replies (RFC 5321 section 4.2.1) with enhanced status codes (RFC 2034), from any peer.
//
// Octets go in as they come; any split gives the same result. A reply is one or more lines "ddd-text" and a
// last "ddd text" or "ddd". Accepted although not in the grammar, because old servers do it and nothing is at
// stake in a reply: lines that end by LF alone, a second digit above 5, any octet in the text. Not accepted:
// another code on a later line, a first digit other than 2 to 5, more than the bounds. What was not accepted
// is never accepted later: start over with a new parser.
//
// An enhanced code is taken when its class is the reply's first digit, whether or not ENHANCEDSTATUSCODES was
// announced. Thread: one. Pure; no allocation. The texts are the peer's words: escape them before they are
// shown.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <string_view>

namespace postern::net::smtp {

class ReplyParser {
 public:
  static constexpr std::size_t kLineBytesMax = 2048;  // one line, without its end; RFC 5321 asks for 512
  static constexpr std::size_t kLinesMax = 128;
  static constexpr std::size_t kReplyBytesMax = 16384;  // all lines of a reply together
  static constexpr std::size_t kTextKept = 1024;        // text() is cut here
  static constexpr std::size_t kLineKept = 512;         // line() is cut here

  enum class Event : std::uint8_t {
    need_input,
    line,       // a line with more to follow: line()
    reply,      // the last line: line(), and code(), enhanced(), text() of the whole
    malformed,  // and stays so
  };

  // Parses up to the next event; `consumed` octets of `input` were used. The views below are valid until the
  // next call that is given input.
  Event advance(std::string_view input, std::size_t& consumed);

  [[nodiscard]] bool in_reply() const { return reply_bytes_ != 0; }  // some of a reply came, not all
  [[nodiscard]] std::uint16_t code() const { return code_; }
  [[nodiscard]] std::string_view enhanced() const {
    return {enhanced_.data(), enhanced_size_};
  }  // "5.1.1" or empty
  // All lines, joined by a blank, without codes.
  [[nodiscard]] std::string_view text() const { return {text_.data(), text_size_}; }
  // This line after its code, enhanced code included.
  [[nodiscard]] std::string_view line() const { return {line_.data(), line_size_}; }
  [[nodiscard]] std::uint32_t lines() const { return lines_; }

 private:
  Event fail();
  Event end_line();
  bool take_octet(char octet);
  bool take_text(std::string_view bytes);
  void join_line();
  void start_reply();

  std::uint16_t code_ = 0;
  std::uint16_t line_code_ = 0;
  std::uint32_t lines_ = 0;
  std::uint32_t reply_bytes_ = 0;  // of this reply, 0 between replies
  std::uint32_t line_bytes_ = 0;
  bool malformed_ = false;
  bool complete_ = false;       // the last event was `reply`
  bool line_complete_ = false;  // the last event was `line`
  bool last_line_ = false;
  bool cr_pending_ = false;  // a CR came that may be the line's end
  std::uint16_t line_size_ = 0;
  std::uint16_t text_size_ = 0;
  std::uint16_t enhanced_size_ = 0;
  std::array<char, 12> enhanced_{};
  std::array<char, kLineKept> line_{};
  std::array<char, kTextKept> text_{};
};

// The length of an enhanced status code (RFC 2034, RFC 3463: class "." subject "." detail) at the beginning
// of `text`, whose class is `code`'s first digit and which a blank or the end follows; 0: there is none.
[[nodiscard]] std::size_t enhanced_code_length(std::string_view text, std::uint16_t code);

}  // namespace postern::net::smtp
