#include "net/smtp/header_scanner.h"

#include <cstring>

#include "core/ascii.h"

namespace postern::net::smtp {
namespace {

bool is_ftext(char c) {
  return c > ' ' && c <= '~' && c != ':';
}  // RFC 5322 section 3.6.8
bool is_blank(char c) {
  return c == ' ' || c == '\t';
}

constexpr std::string_view kReceived = "received";

}  // namespace

void HeaderScanner::at_line_start(char octet) {
  if (octet == '.' && dot_stuffed_ && state_ == State::line_start) {
    state_ = State::after_dot;
  } else if (octet == '\r' && state_ == State::line_start) {
    state_ = State::after_return;
  } else if (is_blank(octet)) {
    state_ = State::value;  // a continuation
  } else {
    matched_ = 0;
    is_received_ = true;
    state_ = State::line_start;
    in_name(octet);
  }
}

void HeaderScanner::in_name(char octet) {
  if (octet == ':' && (state_ == State::name || state_ == State::before_colon)) {
    if (is_received_ && matched_ == kReceived.size()) ++hops_;
    state_ = State::value;
  } else if (is_blank(octet) && state_ != State::line_start) {
    state_ = State::before_colon;  // obsolete, and still seen (RFC 5322 section 4.5)
  } else if (is_ftext(octet) && state_ != State::before_colon) {
    state_ = State::name;
    is_received_ = is_received_ && matched_ < kReceived.size() && core::ascii_lower(octet) == kReceived[matched_];
    if (is_received_) ++matched_;
  } else {
    state_ = State::ended;
  }
}

std::size_t HeaderScanner::feed(std::string_view octets) {
  std::size_t at = 0;
  while (at < octets.size() && state_ != State::ended) {
    if (state_ == State::value) {
      const void* feed = std::memchr(octets.data() + at, '\n', octets.size() - at);
      if (feed == nullptr) return octets.size();
      at = static_cast<std::size_t>(static_cast<const char*>(feed) - octets.data()) + 1;
      state_ = State::line_start;
      continue;
    }
    const char octet = octets[at];
    if (state_ == State::after_return) {
      state_ = State::ended;
      return octet == '\n' ? at + 1 : at;
    }
    if (state_ == State::line_start || state_ == State::after_dot) {
      at_line_start(octet);
    } else {
      in_name(octet);
    }
    if (state_ == State::ended) return at;
    ++at;
  }
  return at;
}

}  // namespace postern::net::smtp
