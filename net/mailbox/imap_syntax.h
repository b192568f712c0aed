// The syntax of IMAP commands (RFC 9051 section 9) as far as the time before the login needs it: tags, atoms, strings,
// literals (RFC 7888).
//
// A command is read whole, literals where they stood: `a LOGIN anna {6}CRLF secret`. Pure, no allocation. Thread: any.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <string_view>

namespace postern::net::mailbox {

// What a line's end announces.
struct LiteralMark {
  enum class Kind : std::uint8_t { none, synchronising, non_synchronising };
  Kind kind = Kind::none;
  std::uint64_t octets = 0;  // more than 18 digits: the largest number
};
// `line`: without its CRLF. "{6}" and "{6+}"; what only looks like it ("{}", "{-1}", "{6-}") is none.
[[nodiscard]] LiteralMark find_literal(std::string_view line) noexcept;

// Takes a command apart from its beginning to its end.
class CommandReader {
 public:
  // `command`: without its last CRLF. Strings are unescaped where they stand.
  explicit CommandReader(std::span<char> command) : rest_(command) {}

  // A tag, with the blank behind it. Nothing: none, or too long.
  [[nodiscard]] std::optional<std::string_view> tag();
  // Up to the next blank, which goes too, or the end. Empty: there is none.
  [[nodiscard]] std::string_view word();
  // atom, quoted string or literal, with the blank behind it if there is one. More is taken for an atom than the RFC
  // allows ('%', '*', ']', octets above 127), as mail programs say passwords. Nothing: no such thing, or NUL in it.
  [[nodiscard]] std::optional<std::string_view> astring();
  [[nodiscard]] bool is_at_end() const { return rest_.empty(); }
  [[nodiscard]] std::string_view rest() const { return {rest_.data(), rest_.size()}; }

 private:
  [[nodiscard]] std::optional<std::string_view> quoted();
  [[nodiscard]] std::optional<std::string_view> literal();
  [[nodiscard]] std::string_view take(std::size_t octets);
  [[nodiscard]] bool end_of_argument();

  std::span<char> rest_;
};

inline constexpr std::size_t kTagBytesMax = 64;

// A string can be said in quotes: printable ASCII only. Otherwise it goes as a literal.
[[nodiscard]] bool is_quotable(std::string_view text) noexcept;

}  // namespace postern::net::mailbox
