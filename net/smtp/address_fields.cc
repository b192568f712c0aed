#include "net/smtp/address_fields.h"

#include <array>

#include "net/smtp/address.h"
#include "net/smtp/command.h"

namespace postern::net::smtp {
namespace {

// RFC 5322 section 3.2.3 with UTF-8 by RFC 6532 section 3.2; the octets above 127 of old charsets too: names have them.
constexpr std::array<bool, 256> kAtom = [] {
  std::array<bool, 256> atom{};
  for (int c = 'a'; c <= 'z'; ++c) atom[static_cast<std::size_t>(c)] = true;
  for (int c = 'A'; c <= 'Z'; ++c) atom[static_cast<std::size_t>(c)] = true;
  for (int c = '0'; c <= '9'; ++c) atom[static_cast<std::size_t>(c)] = true;
  for (const char c : std::string_view("!#$%&'*+-/=?^_`{|}~")) atom[static_cast<unsigned char>(c)] = true;
  for (std::size_t c = 128; c < 256; ++c) atom[c] = true;
  return atom;
}();

bool is_atext(char c) {
  return kAtom[static_cast<unsigned char>(c)];
}

bool is_control(char c) {
  const auto octet = static_cast<unsigned char>(c);
  return octet < 0x20 || octet == 0x7f;
}

// What a word must be to be part of an address, and not only of a name.
bool is_address_text(std::string_view text) {
  for (std::size_t at = 0; at < text.size();) {
    if (is_control(text[at])) return false;
    const std::size_t octets = utf8_sequence_bytes(text, at);
    if (octets == 0) return false;
    at += octets;
  }
  return true;
}

// RFC 2047 section 2. A name, where one stands alone: no one's local part.
bool is_encoded_word(std::string_view word) {
  return word.starts_with("=?") && word.ends_with("?=");
}

}  // namespace

bool AddressListReader::take(char c) {
  if (is_at_end() || peek() != c) return false;
  ++at_;
  return true;
}

// A line's end inside the value, with the blank that makes the next line its continuation; or the value's end.
bool AddressListReader::skip_fold() {
  if (!take('\r') || !take('\n')) return false;
  if (is_at_end()) return true;
  if (dot_stuffed_) take('.');
  return take(' ') || take('\t');
}

bool AddressListReader::skip_comment() {
  std::size_t depth = 0;
  while (!is_at_end()) {
    const char c = peek();
    if (c == '\r') {
      if (!skip_fold()) return false;
      continue;
    }
    if (is_control(c) && c != '\t') return false;
    ++at_;
    if (c == '(') ++depth;
    if (c == ')' && --depth == 0) return true;
    if (c == '\\') {
      if (is_at_end() || is_control(peek())) return false;
      ++at_;
    }
  }
  return false;
}

bool AddressListReader::skip_blanks() {
  while (!is_at_end()) {
    const char c = peek();
    if (c == ' ' || c == '\t') {
      ++at_;
    } else if (c == '\r') {
      if (!skip_fold()) return false;
    } else if (c == '(') {
      if (!skip_comment()) return false;
    } else {
      break;
    }
  }
  return true;
}

bool AddressListReader::skip_quoted_string() {
  if (!take('"')) return false;
  while (!is_at_end()) {
    const char c = peek();
    if (c == '\r') {
      if (!skip_fold()) return false;
      continue;
    }
    if (is_control(c) && c != '\t') return false;
    ++at_;
    if (c == '"') return true;
    if (c == '\\') {
      if (is_at_end() || is_control(peek())) return false;
      ++at_;
    }
  }
  return false;
}

// As much of a dot-atom as there is: a dot that no atom follows is left.
bool AddressListReader::skip_dot_atom() {
  const std::size_t start = at_;
  while (!is_at_end()) {
    if (is_atext(peek())) {
      ++at_;
    } else if (peek() == '.' && at_ != start && at_ + 1 < text_.size() && is_atext(text_[at_ + 1])) {
      at_ += 2;
    } else {
      break;
    }
  }
  return at_ != start;
}

bool AddressListReader::skip_word() {
  return !is_at_end() && peek() == '"' ? skip_quoted_string() : skip_dot_atom();
}

bool AddressListReader::read_domain(std::string_view& domain) {
  const std::size_t start = at_;
  if (take('[')) {
    while (!is_at_end() && peek() > ' ' && peek() <= '~' && peek() != '[' && peek() != ']' && peek() != '\\') ++at_;
    if (!take(']')) return false;
  } else if (!skip_dot_atom()) {
    return false;
  }
  domain = text_.substr(start, at_ - start);
  return domain.size() <= kDomainBytesMax && is_address_text(domain);
}

// The word before `at_` is a local part; what follows may be its domain.
bool AddressListReader::finish_address(std::string_view local_part, FieldMailbox& out) {
  out = {};
  out.mailbox.local_part = local_part;
  out.domain_goes = static_cast<std::size_t>(local_part.data() - text_.data()) + local_part.size();
  if (!is_address_text(local_part)) return false;
  if (!take('@')) return !is_encoded_word(local_part);
  return skip_blanks() && read_domain(out.mailbox.domain) && skip_blanks();
}

bool AddressListReader::read_angle_address(FieldMailbox& out) {
  if (!take('<') || !skip_blanks()) return false;
  const std::size_t start = at_;
  if (!skip_word()) return false;
  const std::string_view local_part = text_.substr(start, at_ - start);
  return skip_blanks() && finish_address(local_part, out) && take('>') && skip_blanks();
}

// A mailbox, or a group's name with its colon. Stands at its first octet, which is no blank.
bool AddressListReader::read_element(FieldMailbox& out, bool& is_group) {
  if (peek() == '<') return read_angle_address(out);
  const std::size_t start = at_;
  if (!skip_word()) return false;
  const std::string_view first = text_.substr(start, at_ - start);
  if (!skip_blanks()) return false;
  if (is_at_end() || peek() == '@' || peek() == ',' || peek() == ';') return finish_address(first, out);
  // It was the first word of a name.
  for (;;) {
    if (is_at_end()) return false;
    if (peek() == '<') return read_angle_address(out);
    if (take(':')) {
      is_group = true;
      return !in_group_;
    }
    if (!take('.') && !skip_word()) return false;
    if (!skip_blanks()) return false;
  }
}

AddressListReader::Result AddressListReader::next(FieldMailbox& out) {
  for (;;) {
    if (!skip_blanks()) return Result::malformed;
    if (is_at_end()) return in_group_ ? Result::malformed : Result::end;
    if (take(',')) continue;  // section 4.4: empty places in a list
    if (in_group_ && take(';')) {
      in_group_ = false;
      if (!skip_blanks() || (!is_at_end() && peek() != ',')) return Result::malformed;
      continue;
    }
    bool is_group = false;
    if (!read_element(out, is_group)) return Result::malformed;
    if (is_group) {
      in_group_ = true;
      continue;
    }
    if (!is_at_end() && peek() != ',' && !(in_group_ && peek() == ';')) return Result::malformed;
    return Result::mailbox;
  }
}

}  // namespace postern::net::smtp
