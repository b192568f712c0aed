// Words from elsewhere, made safe for a notification: escaping, address forms, folding.
//
// Pure. Thread: any. Nothing here can put a line end into a message but append_field and append_wrapped, each
// followed by a blank.
#pragma once

#include <cstddef>
#include <string>
#include <string_view>

namespace postern::net::delivery {

// Printable ASCII stays; any other octet becomes \xNN.
[[nodiscard]] std::string escape_ascii(std::string_view text);

// Printable ASCII and well-formed UTF-8 stay; other octets, control characters of either kind, and those that
// turn the direction of writing around become \xNN.
[[nodiscard]] std::string escape_readable(std::string_view text);

[[nodiscard]] bool is_ascii(std::string_view text);

// RFC 3461 section 4: "+2B" is "+". What is not in that form stays as it is.
[[nodiscard]] std::string decode_xtext(std::string_view text);

// RFC 3464 section 2.3.1, RFC 6533 section 3: "rfc822; user@example.net", for other than ASCII
// "utf-8; us\x{E9}r@example.net", which needs no 8-bit transport.
[[nodiscard]] std::string typed_address(std::string_view address);
// The same from an ORCPT parameter, which names its type; empty: it names none.
[[nodiscard]] std::string typed_original(std::string_view orcpt);

// "Name: value" CRLF, folded at blanks near column 76 and, in a word without any, before column 900. Requires
// a value without controls.
void append_field(std::string& out, std::string_view name, std::string_view value);

// The same for readable text: each line, the last one too, begins with `indent` and ends with CRLF.
void append_wrapped(std::string& out, std::string_view indent, std::string_view text);

}  // namespace postern::net::delivery
