#include "net/smtp/command.h"

#include <cstring>

namespace postern::net::smtp {
namespace {

std::string_view skip_blanks(std::string_view text) {
  while (!text.empty() && text.front() == ' ') text.remove_prefix(1);
  return text;
}

}  // namespace

std::size_t find_line_end(std::string_view input, bool after_return) {
  std::size_t at = 0;
  while (at < input.size()) {
    const void* found = std::memchr(input.data() + at, '\n', input.size() - at);
    if (found == nullptr) return kNoLineEnd;
    const auto feed = static_cast<std::size_t>(static_cast<const char*>(found) - input.data());
    if (feed == 0 ? after_return : input[feed - 1] == '\r') return feed + 1;
    at = feed + 1;
  }
  return kNoLineEnd;
}

LineFault check_octets(std::string_view line) {
  LineFault fault = LineFault::none;
  for (const char c : line) {
    const auto octet = static_cast<unsigned char>(c);
    if (octet >= 0x20 && octet != 0x7f) continue;
    if (octet == '\r' || octet == '\n') return LineFault::bare_line_end;
    fault = LineFault::control_octet;
  }
  return fault;
}

CommandLine split_command(std::string_view line) {
  while (!line.empty() && (line.back() == ' ' || line.back() == '\t')) line.remove_suffix(1);
  CommandLine command;
  command.text = line;
  command.word = line.substr(0, line.find(' '));
  command.argument = skip_blanks(line.substr(command.word.size()));
  return command;
}

std::string_view take_word(std::string_view& text) {
  text = skip_blanks(text);
  const std::string_view word = text.substr(0, text.find(' '));
  text = skip_blanks(text.substr(word.size()));
  return word;
}

}  // namespace postern::net::smtp
