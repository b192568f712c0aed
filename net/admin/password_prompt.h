// A new password from an operator: typed twice at the terminal without being shown, or read from standard input.
//
// Never a command's argument: those are seen by everybody on the machine. Blocks. Thread: the program's main one
// (signals are caught while a password is typed, so that the terminal shows what is typed again after Ctrl-C).
#pragma once

#include <expected>
#include <string>

#include "net/users/secret.h"

namespace postern::net::admin {

// The first line; nothing may follow it but its line end.
[[nodiscard]] std::expected<users::Secret, std::string> read_password_from_stdin();

// Asks until both are the same, three times at most. The error says that there is no terminal, or what went wrong.
[[nodiscard]] std::expected<users::Secret, std::string> ask_for_password(const std::string& name);

}  // namespace postern::net::admin
