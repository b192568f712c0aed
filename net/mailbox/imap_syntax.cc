#include "net/mailbox/imap_syntax.h"

#include <algorithm>
#include <charconv>
#include <limits>

namespace postern::net::mailbox {

namespace {

constexpr std::size_t kDigitsMax = 18;

bool is_atom_octet(char octet) {
  const auto value = static_cast<unsigned char>(octet);
  return value > 0x20 && value != 0x7f && octet != '(' && octet != ')' && octet != '{' && octet != '"' && octet != '\\';
}

bool is_tag_octet(char octet) {
  const auto value = static_cast<unsigned char>(octet);
  return is_atom_octet(octet) && value < 0x80 && octet != '%' && octet != '*' && octet != '+';
}

bool is_digit(char octet) {
  return octet >= '0' && octet <= '9';
}

}  // namespace

LiteralMark find_literal(std::string_view line) noexcept {
  LiteralMark mark;
  if (line.empty() || line.back() != '}') return mark;
  line.remove_suffix(1);
  const bool waits = line.empty() || line.back() != '+';
  if (!waits) line.remove_suffix(1);
  std::string_view digits = line.substr(line.size());
  while (digits.size() < line.size() && is_digit(line[line.size() - digits.size() - 1])) {
    digits = line.substr(line.size() - digits.size() - 1);
  }
  const bool is_open = digits.size() < line.size() && line[line.size() - digits.size() - 1] == '{';
  if (digits.empty() || !is_open) return mark;
  mark.kind = waits ? LiteralMark::Kind::synchronising : LiteralMark::Kind::non_synchronising;
  mark.octets = std::numeric_limits<std::uint64_t>::max();
  if (digits.size() <= kDigitsMax) std::from_chars(digits.data(), digits.data() + digits.size(), mark.octets);
  return mark;
}

std::string_view CommandReader::take(std::size_t octets) {
  const std::string_view taken(rest_.data(), octets);
  rest_ = rest_.subspan(octets);
  return taken;
}

std::optional<std::string_view> CommandReader::tag() {
  const auto end = std::find_if_not(rest_.begin(), rest_.end(), is_tag_octet);
  const auto octets = static_cast<std::size_t>(end - rest_.begin());
  if (octets == 0 || octets > kTagBytesMax || end == rest_.end() || *end != ' ') return std::nullopt;
  const std::string_view tag = take(octets);
  rest_ = rest_.subspan(1);
  return tag;
}

std::string_view CommandReader::word() {
  const auto end = std::find(rest_.begin(), rest_.end(), ' ');
  const std::string_view word = take(static_cast<std::size_t>(end - rest_.begin()));
  if (!rest_.empty()) rest_ = rest_.subspan(1);
  return word;
}

// A blank and more, or the end.
bool CommandReader::end_of_argument() {
  if (rest_.empty()) return true;
  if (rest_.front() != ' ' || rest_.size() == 1) return false;
  rest_ = rest_.subspan(1);
  return true;
}

std::optional<std::string_view> CommandReader::astring() {
  std::optional<std::string_view> text;
  if (rest_.empty()) return std::nullopt;
  if (rest_.front() == '"') {
    text = quoted();
  } else if (rest_.front() == '{') {
    text = literal();
  } else {
    const auto end = std::find_if_not(rest_.begin(), rest_.end(), is_atom_octet);
    if (end != rest_.begin()) text = take(static_cast<std::size_t>(end - rest_.begin()));
  }
  return text && end_of_argument() ? text : std::nullopt;
}

std::optional<std::string_view> CommandReader::quoted() {
  const std::size_t size = rest_.size();
  std::size_t to = 0;
  for (std::size_t from = 1; from < size; ++from) {
    char octet = rest_[from];
    if (octet == '"') {
      const std::string_view text(rest_.data(), to);
      rest_ = rest_.subspan(from + 1);
      return text;
    }
    if (octet == '\\') {
      if (++from == size) return std::nullopt;
      octet = rest_[from];
      if (octet != '"' && octet != '\\') return std::nullopt;
    }
    if (octet == '\0' || octet == '\r' || octet == '\n') return std::nullopt;
    rest_[to++] = octet;
  }
  return std::nullopt;
}

std::optional<std::string_view> CommandReader::literal() {
  const std::string_view text(rest_.data(), rest_.size());
  const std::size_t end = text.find("\r\n");
  if (end == std::string_view::npos) return std::nullopt;
  const LiteralMark mark = find_literal(text.substr(0, end));
  const std::size_t begin = end + 2;
  // The mark begins the argument: nothing else stands before it.
  const bool is_whole = text.substr(1, end).find('{') == std::string_view::npos;
  if (mark.kind == LiteralMark::Kind::none || !is_whole || mark.octets > text.size() - begin) return std::nullopt;
  const auto octets = static_cast<std::size_t>(mark.octets);
  rest_ = rest_.subspan(begin);
  const std::string_view content = take(octets);
  return content.find('\0') == std::string_view::npos ? std::optional(content) : std::nullopt;
}

bool is_quotable(std::string_view text) noexcept {
  return std::all_of(text.begin(), text.end(), [](char octet) { return octet >= ' ' && octet <= '~'; });
}

}  // namespace postern::net::mailbox
