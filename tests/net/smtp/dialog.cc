#include "tests/net/smtp/dialog.h"

#include <cstdlib>
#include <fstream>
#include <sstream>

#include "net/sasl/base64.h"

namespace postern::net::smtp::test {
namespace {

const std::map<std::string, std::string>& default_settings() {
  static const std::map<std::string, std::string> settings = {
      {"hostname", "\"mail.example.net\""},
      {"local_domains", "[\"example.net\"]"},
      {"lan", "[\"127.0.1.0/24\"]"},
      {"service.name", "\"smtp\""},
      {"service.listen", "[\"127.0.0.1:2525\"]"},
      {"route.domain", "\"*\""},
      {"route.to", "[\"smtp:127.0.0.1:2526\"]"},
  };
  return settings;
}

bool is_blank(char c) {
  return c == ' ' || c == '\t';
}

std::string_view trim(std::string_view text) {
  while (!text.empty() && is_blank(text.front())) text.remove_prefix(1);
  while (!text.empty() && is_blank(text.back())) text.remove_suffix(1);
  return text;
}

int hex(char c) {
  if (c >= '0' && c <= '9') return c - '0';
  if (c >= 'a' && c <= 'f') return c - 'a' + 10;
  if (c >= 'A' && c <= 'F') return c - 'A' + 10;
  return -1;
}

std::string base64(std::string_view octets) {
  std::string text(sasl::base64_bytes(octets.size()), '\0');
  sasl::base64_encode(octets, {text.data(), text.size()});
  return text;
}

bool unescape(std::string_view text, std::string& out);

// "{text}" behind "\\b": its base 64. Returns the octets read, 0: no end.
std::size_t unescape_base64(std::string_view text, std::string& out) {
  if (!text.starts_with('{')) return 0;
  std::size_t end = 1;
  while (end < text.size() && text[end] != '}') end += text[end] == '\\' ? 2 : 1;
  if (end >= text.size()) return 0;
  std::string octets;
  if (!unescape(text.substr(1, end - 1), octets)) return 0;
  out += base64(octets);
  return end + 1;
}

bool unescape(std::string_view text, std::string& out) {
  for (std::size_t i = 0; i < text.size(); ++i) {
    if (text[i] != '\\') {
      out += text[i];
      continue;
    }
    if (++i == text.size()) return false;
    switch (text[i]) {
      case 'b': {
        const std::size_t octets = unescape_base64(text.substr(i + 1), out);
        if (octets == 0) return false;
        i += octets;
        break;
      }
      case '}':
        out += '}';
        break;
      case 'r':
        out += '\r';
        break;
      case 'n':
        out += '\n';
        break;
      case 't':
        out += '\t';
        break;
      case '\\':
        out += '\\';
        break;
      case 'x': {
        if (text.size() - i < 3 || hex(text[i + 1]) < 0 || hex(text[i + 2]) < 0) return false;
        out += static_cast<char>(hex(text[i + 1]) * 16 + hex(text[i + 2]));
        i += 2;
        break;
      }
      default:
        return false;
    }
  }
  return true;
}

// "C: text", "C+ text", "C*900 text": the octets behind the letter.
bool parse_octets(std::string_view rest, std::string& octets) {
  const char kind = rest.empty() ? '\0' : rest.front();
  rest.remove_prefix(rest.empty() ? 0 : 1);
  long times = 1;
  if (kind == '*') {
    const std::size_t blank = rest.find(' ');
    times = std::strtol(std::string(rest.substr(0, blank)).c_str(), nullptr, 10);
    rest = blank == std::string_view::npos ? std::string_view{} : rest.substr(blank);
    if (times <= 0) return false;
  } else if (kind != ':' && kind != '+') {
    return false;
  }
  if (!rest.empty() && rest.front() == ' ') rest.remove_prefix(1);
  std::string once;
  if (!unescape(rest, once)) return false;
  for (long i = 0; i < times; ++i) octets += once;
  if (kind == ':') octets += "\r\n";
  return true;
}

// In a pattern only \\b{} is more than what it shows.
bool unescape_pattern(std::string_view text, std::string& out) {
  for (;;) {
    const std::size_t at = text.find("\\b{");
    out += text.substr(0, at);
    if (at == std::string_view::npos) return true;
    const std::size_t octets = unescape_base64(text.substr(at + 2), out);
    if (octets == 0) return false;
    text.remove_prefix(at + 2 + octets);
  }
}

std::string_view cut_word(std::string_view& text) {
  const std::string_view word = text.substr(0, text.find(' '));
  text = trim(text.substr(word.size()));
  return word;
}

bool parse_user_word(std::string_view word, policy::UserRecord& record) {
  const std::size_t equals = word.find('=');
  if (equals == std::string_view::npos) {
    record.may_relay |= word == "relay";
    record.disabled |= word == "disabled";
    record.held |= word == "held";
    return word == "relay" || word == "disabled" || word == "held";
  }
  const std::string_view key = word.substr(0, equals);
  const std::string value(word.substr(equals + 1));
  const auto number = static_cast<std::uint32_t>(std::strtoul(value.c_str(), nullptr, 10));
  if (key == "sender") {
    record.senders.push_back(value);
  } else if (key == "messages_per_hour") {
    record.limits.messages_per_hour = number;
  } else if (key == "recipients_per_hour") {
    record.limits.recipients_per_hour = number;
  } else {
    return false;
  }
  return true;
}

bool parse_user(std::string_view text, Dialog& dialog) {
  DialogUser user;
  user.record.name = cut_word(text);
  user.password = cut_word(text);
  if (user.password.empty()) return false;
  while (!text.empty()) {
    if (!parse_user_word(cut_word(text), user.record)) return false;
  }
  dialog.users.push_back(std::move(user));
  return true;
}

bool needs_memory(const DialogStep& step) {
  switch (step.act) {
    case DialogAct::login:
    case DialogAct::clock:
    case DialogAct::admit:
    case DialogAct::store:
    case DialogAct::unavailable:
    case DialogAct::logged:
      return true;
    case DialogAct::handshake:
      return !step.text.empty();
    default:
      return false;
  }
}

bool parse_directive(std::string_view line, int number, Dialog& dialog) {
  static const std::map<std::string_view, DialogAct> acts = {
      {"@close", DialogAct::close},         {"@drop", DialogAct::drop},
      {"@flags", DialogAct::flags},         {"@none", DialogAct::no_content},
      {"@login", DialogAct::login},         {"@clock", DialogAct::clock},
      {"@admit", DialogAct::admit},         {"@store", DialogAct::store},
      {"@handshake", DialogAct::handshake}, {"@unavailable", DialogAct::unavailable},
      {"@logged", DialogAct::logged}};
  const std::string_view word = line.substr(0, line.find(' '));
  const std::string_view rest = trim(line.substr(word.size()));
  if (const auto act = acts.find(word); act != acts.end()) {
    dialog.steps.push_back({act->second, std::string(rest), number});
    return true;
  }
  if (!dialog.steps.empty()) return false;  // what follows says how the server is made
  if (word == "@memory") {
    dialog.needs_memory = true;
    return true;
  }
  if (word == "@client") {
    dialog.client = rest;
    return true;
  }
  if (word == "@user") return parse_user(rest, dialog);
  const std::size_t equals = rest.find('=');
  if (word != "@set" || equals == std::string_view::npos) return false;
  dialog.settings[std::string(trim(rest.substr(0, equals)))] = trim(rest.substr(equals + 1));
  return true;
}

bool parse_line(std::string_view line, int number, Dialog& dialog) {
  if (trim(line).empty() || line.front() == '#') return true;
  if (line.front() == '@') return parse_directive(trim(line), number, dialog);
  if (line.starts_with("S:")) {
    line.remove_prefix(line.starts_with("S: ") ? 3 : 2);
    std::string pattern;
    if (!unescape_pattern(line, pattern)) return false;
    dialog.steps.push_back({DialogAct::expect, std::move(pattern), number});
    return true;
  }
  if (line.front() != 'C' && line.front() != 'M') return false;
  std::string octets;
  if (!parse_octets(line.substr(1), octets)) return false;
  dialog.steps.push_back({line.front() == 'C' ? DialogAct::send : DialogAct::content, octets, number});
  return true;
}

// "service.relay.require_auth" -> "service.relay" and "require_auth".
std::pair<std::string, std::string> split_key(const std::string& key) {
  const std::size_t dot = key.rfind('.');
  if (dot == std::string::npos) return {"", key};
  return {key.substr(0, dot), key.substr(dot + 1)};
}

}  // namespace

std::string Dialog::settings_text() const {
  std::map<std::string, std::string> all = default_settings();
  for (const auto& [key, value] : settings) all[key] = value;
  std::map<std::string, std::string> sections;  // "" first, and "service" before "service.relay"
  for (const auto& [key, value] : all) {
    const auto [section, last] = split_key(key);
    sections[section] += last + " = " + value + "\n";
  }
  std::string text;
  for (const auto& [section, lines] : sections) {
    const bool is_list = section == "service" || section == "route";
    if (!section.empty()) text += is_list ? "[[" + section + "]]\n" : "[" + section + "]\n";
    text += lines;
  }
  return text;
}

std::optional<Dialog> parse_dialog(std::string_view name, std::string_view text, std::string& why) {
  Dialog dialog;
  dialog.name = name;
  int number = 0;
  while (!text.empty()) {
    const std::size_t end = text.find('\n');
    const std::string_view line = text.substr(0, end);
    text = end == std::string_view::npos ? std::string_view{} : text.substr(end + 1);
    ++number;
    if (!parse_line(line, number, dialog)) {
      why = dialog.name + ":" + std::to_string(number) + ": not a line of a dialog: " + std::string(line);
      return std::nullopt;
    }
  }
  for (const DialogStep& step : dialog.steps) {
    if (needs_memory(step) && !dialog.needs_memory) {
      why = dialog.name + ":" + std::to_string(step.line) + ": needs @memory";
      return std::nullopt;
    }
  }
  return dialog;
}

std::optional<Dialog> load_dialog(const std::string& path, std::string& why) {
  std::ifstream file(path, std::ios::binary);
  if (!file) {
    why = path + ": cannot be read";
    return std::nullopt;
  }
  std::ostringstream text;
  text << file.rdbuf();
  return parse_dialog(path.substr(path.rfind('/') + 1), text.str(), why);
}

bool matches(std::string_view pattern, std::string_view text) {
  const std::size_t star = pattern.find('*');
  if (star == std::string_view::npos) return pattern == text;
  if (text.substr(0, star) != pattern.substr(0, star)) return false;
  const std::string_view rest = pattern.substr(star + 1);
  for (std::size_t at = star; at <= text.size(); ++at) {
    if (matches(rest, text.substr(at))) return true;
  }
  return false;
}

}  // namespace postern::net::smtp::test
