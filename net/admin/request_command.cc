#include <cstdio>

#include <fmt/format.h>

#include "net/admin/commands.h"
#include "net/admin/control.h"

namespace postern::net {

int request_command(const std::string& socket, const std::string& request) {
  const auto answer = ask_server(socket, request);
  if (!answer) {
    fmt::print(stderr, "postern: {}\n", answer.error().text);
    return 1;
  }
  std::fputs(answer->c_str(), stdout);
  return 0;
}

}  // namespace postern::net
