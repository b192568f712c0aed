#include "net/smtp/address.h"

#include "core/ip_address.h"
#include "net/smtp/command.h"

namespace postern::net::smtp {
namespace {

bool is_letter_or_digit(char c) {
  return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9');
}

bool is_high(char c) {
  return (static_cast<unsigned char>(c) & 0x80) != 0;
}

// RFC 5322 section 3.2.3.
bool is_atext(char c) {
  return is_letter_or_digit(c) ||
         (c != '\0' && std::string_view("!#$%&'*+-/=?^_`{|}~").find(c) != std::string_view::npos);
}

// One pass over a path, left to right. Each method returns false once a fault is found.
class PathParser {
 public:
  PathParser(std::string_view text, PathKind kind) : text_(text), kind_(kind) {}

  ParsedPath parse() {
    if (!parse_inside() && result_.fault == PathFault::none) result_.fault = PathFault::syntax;
    return result_;
  }

 private:
  [[nodiscard]] char peek() const { return at_ < text_.size() ? text_[at_] : '\0'; }
  bool take(char c) {
    if (at_ >= text_.size() || text_[at_] != c) return false;
    ++at_;
    return true;
  }
  bool fail(PathFault fault) {
    if (result_.fault == PathFault::none) result_.fault = fault;
    return false;
  }

  bool parse_inside() {
    if (!take('<')) return false;
    if (kind_ == PathKind::reverse && take('>')) return finish({});
    if (peek() == '@' && !parse_source_route()) return false;
    const std::size_t start = at_;
    if (!parse_local_part()) return false;
    result_.mailbox.local_part = text_.substr(start, at_ - start);
    if (kind_ == PathKind::forward && !result_.has_source_route && take('>')) {
      if (!equals_ignoring_case(result_.mailbox.local_part, "postmaster"))
        return false;  // RFC 5321 section 4.5.1
      return finish(result_.mailbox.local_part);
    }
    if (!take('@') || !parse_domain(result_.mailbox.domain)) return false;
    const std::size_t end = static_cast<std::size_t>(result_.mailbox.domain.data() - text_.data()) +
                            result_.mailbox.domain.size();
    return take('>') && finish(text_.substr(start, end - start));
  }

  bool finish(std::string_view address) {
    if (at_ > kPathBytesMax) return fail(PathFault::path_too_long);
    result_.address = address;
    result_.consumed = at_;
    return true;
  }

  // A-d-l ":"
  bool parse_source_route() {
    do {
      std::string_view domain;
      if (!take('@') || !parse_domain(domain)) return false;
    } while (take(','));
    result_.has_source_route = true;
    return take(':');
  }

  bool parse_local_part() {
    const std::size_t start = at_;
    if (!(peek() == '"' ? parse_quoted_string() : parse_dot_string())) return false;
    return at_ - start <= kLocalPartBytesMax || fail(PathFault::local_part_too_long);
  }

  bool take_utf8() {
    const std::size_t octets = utf8_sequence_bytes(text_, at_);
    if (octets == 0) return fail(PathFault::bad_utf8);
    result_.has_utf8 = true;
    at_ += octets;
    return true;
  }

  bool parse_dot_string() {
    do {
      const std::size_t start = at_;
      while (at_ < text_.size() && (is_atext(text_[at_]) || is_high(text_[at_]))) {
        if (!is_high(text_[at_])) {
          ++at_;
        } else if (!take_utf8()) {
          return false;
        }
      }
      if (at_ == start) return false;
    } while (take('.'));
    return true;
  }

  bool parse_quoted_string() {
    take('"');
    while (at_ < text_.size() && text_[at_] != '"') {
      if (is_high(text_[at_])) {
        if (!take_utf8()) return false;
        continue;
      }
      if (text_[at_] == '\\') ++at_;  // quoted-pairSMTP: a printable octet or a blank follows
      if (at_ >= text_.size() || text_[at_] < ' ' || text_[at_] > '~') return false;
      ++at_;
    }
    return take('"');
  }

  bool parse_domain(std::string_view& domain) {
    const std::size_t start = at_;
    if (peek() == '[') return parse_literal(domain);
    bool is_international = false;
    for (;;) {
      if (!parse_label(is_international)) return false;
      if (at_ - start > kDomainBytesMax) return fail(PathFault::domain_too_long);
      domain = text_.substr(start, at_ - start);
      if (!take('.') || peek() == '>') break;
    }
    return !is_international || !policy::DomainName(domain).empty();
  }

  // sub-domain, or a U-label.
  bool parse_label(bool& is_international) {
    const std::size_t start = at_;
    while (at_ < text_.size()) {
      const char c = text_[at_];
      if (is_letter_or_digit(c) || (c == '-' && at_ != start)) {
        ++at_;
      } else if (is_high(c)) {
        is_international = true;
        if (!take_utf8()) return false;
      } else {
        break;
      }
    }
    return at_ != start && text_[at_ - 1] != '-' && (is_international || at_ - start <= kLabelBytesMax);
  }

  bool parse_literal(std::string_view& domain) {
    const std::size_t close = text_.substr(at_, kLiteralBytesMax).find(']');
    if (close == std::string_view::npos) return false;
    domain = text_.substr(at_, close + 1);
    at_ += close + 1;
    std::string_view inside = domain.substr(1, close - 1);
    const bool is_v6 = starts_ignoring_case(inside, "IPv6:");
    if (is_v6) inside.remove_prefix(5);
    const bool has_colon = inside.find(':') != std::string_view::npos;
    return has_colon == is_v6 && core::IpAddress::parse(inside).has_value();
  }

  // Of a U-label the octets are more than the 63 its A-label may have; policy::DomainName checks that one.
  static constexpr std::size_t kLabelBytesMax = 63;
  static constexpr std::size_t kLiteralBytesMax = 64;

  std::string_view text_;
  PathKind kind_;
  std::size_t at_ = 0;
  ParsedPath result_;
};

}  // namespace

ParsedPath parse_path(std::string_view text, PathKind kind) {
  ParsedPath result = PathParser(text, kind).parse();
  if (result.fault != PathFault::none) {
    const PathFault fault = result.fault;
    result = {};
    result.fault = fault;
  }
  return result;
}

std::string_view describe(PathFault fault) {
  switch (fault) {
    case PathFault::none:
      return "no fault";
    case PathFault::syntax:
      return "address syntax is <local-part@domain>";
    case PathFault::local_part_too_long:
      return "local part is longer than 64 octets";
    case PathFault::domain_too_long:
      return "domain is longer than 255 octets";
    case PathFault::path_too_long:
      return "path is longer than 256 octets";
    case PathFault::bad_utf8:
      return "address is not valid UTF-8";
  }
  return "bad address";
}

std::size_t utf8_sequence_bytes(std::string_view text, std::size_t at) {
  const auto octet = [&](std::size_t i) -> unsigned { return static_cast<unsigned char>(text[at + i]); };
  if (at >= text.size()) return 0;
  const unsigned first = octet(0);
  if (first < 0x80) return 1;
  const std::size_t size = first >= 0xc2 && first <= 0xdf   ? 2
                           : first >= 0xe0 && first <= 0xef ? 3
                           : first >= 0xf0 && first <= 0xf4 ? 4
                                                            : 0;
  if (size == 0 || text.size() - at < size) return 0;
  for (std::size_t i = 1; i < size; ++i) {
    if ((octet(i) & 0xc0) != 0x80) return 0;
  }
  const unsigned second = octet(1);
  if (first == 0xc2 && second < 0xa0)
    return 0;  // C1 controls: no mail address needs them, and terminals obey them
  if (first == 0xe0 && second < 0xa0) return 0;  // overlong
  if (first == 0xed && second > 0x9f) return 0;  // surrogates
  if (first == 0xf0 && second < 0x90) return 0;  // overlong
  if (first == 0xf4 && second > 0x8f) return 0;  // above U+10FFFF
  return size;
}

}  // namespace postern::net::smtp
