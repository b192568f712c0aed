// Folding of names and senders into fixed buffers, and their comparison; the rules are in the header.
#include "policy/user.h"

#include <array>
#include <span>

#include "policy/unicode_fold.h"

namespace postern::policy {
namespace {

// A name of 255 octets has at most as many code points; composition may need room for what it takes apart.
constexpr std::size_t kCodePointsMax = 256;

// Folded text in a fixed place, so that a comparison allocates nothing.
struct Folded {
  std::array<char, kUserNameBytesMax> bytes;
  std::size_t size = 0;

  [[nodiscard]] std::string_view text() const { return {bytes.data(), size}; }
};

enum class FoldFault : std::uint8_t { none, too_long, bad_utf8, control, character };

bool put_utf8(char32_t c, Folded& out) {
  const auto put = [&out](char32_t octet) {
    if (out.size == out.bytes.size()) return false;
    out.bytes[out.size++] = static_cast<char>(octet);
    return true;
  };
  if (c < 0x80) return put(c);
  if (c < 0x800) return put(0xc0 | c >> 6) && put(0x80 | (c & 0x3f));
  if (c < 0x10000) return put(0xe0 | c >> 12) && put(0x80 | (c >> 6 & 0x3f)) && put(0x80 | (c & 0x3f));
  return put(0xf0 | c >> 18) && put(0x80 | (c >> 12 & 0x3f)) && put(0x80 | (c >> 6 & 0x3f)) && put(0x80 | (c & 0x3f));
}

// Lower case, composed. Beyond ASCII only what may stand in a domain label: no invisible or ambiguous characters.
FoldFault fold(std::string_view text, Folded& out) noexcept {
  std::array<char32_t, kCodePointsMax> points;
  std::size_t used = 0;
  out.size = 0;
  while (!text.empty()) {
    const char32_t raw = take_code_point(text);
    if (raw == 0xffffffff) return FoldFault::bad_utf8;
    if (raw < 0x20 || (raw >= 0x7f && raw < 0xa0)) return FoldFault::control;
    const char32_t c = lower_case(raw);
    if (c >= 0x80 && !may_stand_in_label(c)) return FoldFault::character;
    if (used == points.size()) return FoldFault::too_long;
    points[used++] = c;
  }
  if (used == 0) return FoldFault::none;
  used = compose(points, used);
  if (used == 0) return FoldFault::too_long;
  for (const char32_t c : std::span(points).first(used)) {
    if (!put_utf8(c, out)) return FoldFault::too_long;
  }
  return FoldFault::none;
}

std::string describe(FoldFault fault) {
  switch (fault) {
    case FoldFault::bad_utf8:
      return "is not UTF-8";
    case FoldFault::control:
      return "has a control character in it";
    case FoldFault::character:
      return "has a character in it that looks like another or like nothing (a symbol, an invisible or compatibility "
             "character)";
    case FoldFault::too_long:
    case FoldFault::none:
      break;
  }
  return "is longer than 255 octets";
}

// The local part without quotes and backslashes (RFC 5321 section 4.1.2), folded. False: no user's sender looks so.
bool fold_local_part(std::string_view written, Folded& out) noexcept {
  const bool quoted = written.size() >= 2 && written.front() == '"' && written.back() == '"';
  if (!quoted) return fold(written, out) == FoldFault::none;
  written = written.substr(1, written.size() - 2);
  std::array<char, kUserNameBytesMax> plain;
  std::size_t size = 0;
  for (std::size_t i = 0; i < written.size(); ++i) {
    if (written[i] == '\\' && i + 1 < written.size()) ++i;
    if (size == plain.size()) return false;
    plain[size++] = written[i];
  }
  return fold({plain.data(), size}, out) == FoldFault::none;
}

// Both canonical: is `address` ("local@domain") that local part at that domain? An empty local part is "@domain".
bool is_address(std::string_view address, std::string_view local_part, std::string_view domain) {
  return address.size() == local_part.size() + 1 + domain.size() && address.starts_with(local_part) &&
         address[local_part.size()] == '@' && address.ends_with(domain);
}

}  // namespace

std::expected<std::string, std::string> canonical_user_name(std::string_view name) {
  if (name.empty()) return std::unexpected("a user name is empty");
  if (name.size() > 4 * kUserNameBytesMax) return std::unexpected("the user name is longer than 255 octets");
  Folded folded;
  if (const FoldFault fault = fold(name, folded); fault != FoldFault::none) {
    return std::unexpected("the user name " + describe(fault));
  }
  const std::string_view text = folded.text();
  if (text.front() == ' ' || text.back() == ' ') return std::unexpected("the user name begins or ends with a blank");
  if (text.front() == '#')
    return std::unexpected("the user name begins with '#', as a comment does in a list of users");
  if (text.find(':') != std::string_view::npos) {
    return std::unexpected("the user name has a ':' in it, which separates fields in a list of users");
  }
  const std::size_t at = text.rfind('@');
  if (at == std::string_view::npos) return std::string(text);
  const DomainName domain(text.substr(at + 1));
  if (domain.empty()) return std::string(text);
  std::string result(text.substr(0, at + 1));
  result += domain.text();
  if (result.size() > kUserNameBytesMax) return std::unexpected("the user name is longer than 255 octets");
  return result;
}

std::expected<std::string, std::string> canonical_sender(std::string_view sender) {
  if (sender == "*") return std::string(sender);
  Folded printable;
  const bool is_printable = fold(sender, printable) == FoldFault::none;
  const std::string shown = is_printable ? "the sender '" + std::string(sender) + "'" : std::string("a sender");
  const std::size_t at = sender.rfind('@');
  if (at == std::string_view::npos) {
    return std::unexpected(shown +
                           " is neither a mail address (\"user@example.net\"), a whole domain (\"@example.net\") "
                           "nor everything (\"*\")");
  }
  const DomainName domain(sender.substr(at + 1));
  if (domain.empty()) return std::unexpected(shown + " has no valid domain behind the @");
  Folded local_part;
  if (at > 0 && (!fold_local_part(sender.substr(0, at), local_part) || local_part.size == 0)) {
    return std::unexpected(shown + " has a local part that is no local part");
  }
  return std::string(local_part.text()).append("@").append(domain.text());
}

bool may_send_as(const UserRecord& user, const Mailbox& sender) noexcept {
  if (sender.is_null()) return true;
  const DomainName domain(sender.domain);
  Folded local_part;
  // A local part that cannot be folded is nobody's own, but still one of a whole domain's.
  const bool has_local_part = fold_local_part(sender.local_part, local_part) && local_part.size > 0;
  const auto is_sender = [&](std::string_view address) {
    return has_local_part && is_address(address, local_part.text(), domain.text());
  };
  if (!domain.empty() && is_sender(user.name)) return true;
  for (const std::string& entry : user.senders) {
    if (entry == "*") return true;
    if (!domain.empty() && (is_address(entry, "", domain.text()) || is_sender(entry))) return true;
  }
  return false;
}

}  // namespace postern::policy
