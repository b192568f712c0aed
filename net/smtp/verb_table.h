// The SMTP verbs and, as facts in one table, what each needs before it may act: the state of the session, an
// argument, the length its line may have.
//
// Pure data. Thread: any.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string_view>

namespace postern::net::smtp {

enum class Verb : std::uint8_t {
  helo,
  ehlo,
  mail,
  rcpt,
  data,
  bdat,
  rset,
  noop,
  vrfy,
  expn,
  help,
  quit,
  xclient,
  starttls,
  auth,
};
inline constexpr std::size_t kVerbs = 15;

enum class ArgumentRule : std::uint8_t { none, optional, required };

struct VerbRules {
  std::string_view name;  // upper case
  Verb verb = Verb::noop;
  ArgumentRule argument = ArgumentRule::optional;
  bool needs_hello = false;            // 503 before EHLO or HELO
  bool needs_no_transaction = false;   // 503 once MAIL was accepted
  bool allowed_inside_chunks = true;   // false: 503 between a BDAT and the last one (RFC 3030 section 2)
  std::uint16_t line_bytes_max = 512;  // with CRLF: RFC 5321 section 4.5.3.1.4, and what extensions add to it
};

// nullptr: not a verb of ours. Letter case does not matter.
const VerbRules* find_verb(std::string_view word);

// A word that opens an HTTP request line: a browser that was made to speak to us, never a mail client.
bool is_http_method(std::string_view word);

// What MAIL's line may have more where AUTH is offered (RFC 4954 section 5).
inline constexpr std::size_t kMailAuthBytes = 500;
// No command line is longer, its CRLF included, but AUTH, and the client's lines in its exchange (RFC 4954 section 4).
inline constexpr std::size_t kCommandBytesMax = 2048;
inline constexpr std::size_t kAuthLineBytesMax = 12288;
// Octets of a longer line that are thrown away while its CRLF is awaited; then the connection ends.
inline constexpr std::size_t kSkippedLineBytesMax = 65536;

}  // namespace postern::net::smtp
