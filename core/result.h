// The world's errors (disk, network, file) as values.
//
// Three kinds of error exist here: our bug (assert.h), the peer's error (an SMTP reply), the world's error (this).
#pragma once

#include <cstring>
#include <expected>
#include <string>
#include <utility>

namespace postern::core {

// `code` is an errno value (positive), or 0 where no system call failed. `text` says what was being done, to what, and
// where it helps, what to change: it is shown to an operator as it is.
struct Error {
  int code = 0;
  std::string text;
};

template <class T>
using Result = std::expected<T, Error>;

[[nodiscard]] inline std::unexpected<Error> fail(std::string text, int code = 0) {
  return std::unexpected(Error{code, std::move(text)});
}

// "open /var/spool/postern: Permission denied"
[[nodiscard]] inline std::unexpected<Error> fail_errno(std::string what, int code) {
  what += ": ";
  what += std::strerror(code);
  return std::unexpected(Error{code, std::move(what)});
}

}  // namespace postern::core
