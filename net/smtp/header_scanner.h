// Looks at a message's header while it streams past: counts its Received: fields (the hops so far, RFC 5321
// section 6.3) and finds its end.
//
// The header ends at the first empty line, or before the first line that is neither a field nor a
// continuation (RFC 5322 section 2.2): a message may lack one. Works on the octets as they came, so any cut
// of them gives the same result; by DATA a dot in front of a line is not looked at (RFC 5321 section 4.5.2).
// Pure. Thread: one.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string_view>

namespace postern::net::smtp {

class HeaderScanner {
 public:
  explicit HeaderScanner(bool dot_stuffed = false) : dot_stuffed_(dot_stuffed) {}

  // Returns how many of the octets were needed to tell; fewer than all: the header has ended. It ends behind
  // them at an empty line, else before the line they end in.
  std::size_t feed(std::string_view octets);

  [[nodiscard]] bool ended() const { return state_ == State::ended; }
  // Were this the content's end: the last line, cut short, is no field.
  [[nodiscard]] bool ends_in_fragment() const {
    return state_ == State::name || state_ == State::before_colon || state_ == State::after_return ||
           state_ == State::after_dot;
  }
  [[nodiscard]] std::uint32_t hops() const { return hops_; }

 private:
  enum class State : std::uint8_t { line_start, after_dot, after_return, name, before_colon, value, ended };

  void at_line_start(char octet);
  void in_name(char octet);

  bool dot_stuffed_;
  State state_ = State::line_start;
  std::uint8_t matched_ = 0;  // octets of "received" matched by the name so far
  bool is_received_ = true;   // ... and it may still be that name
  std::uint32_t hops_ = 0;
};

}  // namespace postern::net::smtp
