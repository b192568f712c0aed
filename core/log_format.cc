// Formatting of log records.
#include "core/log_format.h"

#include <fmt/format.h>
#include <iterator>

namespace postern::core {

namespace {

struct Character {
  char32_t value = 0;
  std::size_t octets = 1;
  bool is_valid = false;
};

// RFC 3629: no overlong forms, no surrogates, nothing above U+10FFFF.
Character next_character(std::string_view text) {
  const auto octet = [text](std::size_t i) { return static_cast<unsigned char>(text[i]); };
  const unsigned first = octet(0);
  if (first < 0x80) return {first, 1, true};
  const std::size_t octets = first >= 0xf0 ? 4 : first >= 0xe0 ? 3 : 2;
  if (first < 0xc2 || first > 0xf4 || text.size() < octets) return {};
  char32_t value = first & (0xffu >> (octets + 1));
  for (std::size_t i = 1; i < octets; ++i) {
    if ((octet(i) & 0xc0) != 0x80) return {};
    value = value << 6 | (octet(i) & 0x3f);
  }
  constexpr char32_t kSmallest[] = {0, 0, 0x80, 0x800, 0x10000};
  if (value < kSmallest[octets] || value > 0x10ffff || (value >= 0xd800 && value <= 0xdfff)) return {};
  return {value, octets, true};
}

bool misleads(char32_t c) {
  return c < 0x20 || (c >= 0x7f && c <= 0x9f) || c == 0xad || c == 0x61c || (c >= 0x200b && c <= 0x200f) ||
         (c >= 0x2028 && c <= 0x202e) || (c >= 0x2060 && c <= 0x206f) || c == 0xfeff;
}

bool needs_quotes(std::string_view value) {
  if (value.empty()) return true;
  for (const unsigned char c : value) {
    if (c <= ' ' || c == '"' || c == '\\' || c == '=' || c >= 0x7f) return true;
  }
  return false;
}

void append_member(std::string_view key, bool json, std::string& out) {
  if (json) {
    out += ",\"";
    append_escaped(key, true, out);
    out += "\":";
  } else {
    out += ' ';
    out += key;
    out += '=';
  }
}

void append_value(std::string_view value, bool is_number, bool json, std::string& out) {
  if (is_number || (!json && !needs_quotes(value))) {
    out += value;
    return;
  }
  out += '"';
  append_escaped(value, json, out);
  out += '"';
}

std::string_view name_of(Severity severity) {
  switch (severity) {
    case Severity::debug:
      return "debug";
    case Severity::info:
      return "info";
    case Severity::warning:
      return "warning";
    case Severity::error:
      return "error";
  }
  return "";
}

}  // namespace

void append_escaped(std::string_view text, bool json, std::string& out) {
  while (!text.empty()) {
    const Character character = next_character(text);
    const std::string_view octets = text.substr(0, character.octets);
    text.remove_prefix(character.octets);
    if (!character.is_valid) {
      if (json) out += '\\';
      fmt::format_to(std::back_inserter(out), "\\x{:02x}", static_cast<unsigned char>(octets[0]));
    } else if (character.value == '"' || character.value == '\\') {
      out += '\\';
      out += octets;
    } else if (character.value == '\n') {
      out += "\\n";
    } else if (character.value == '\r') {
      out += "\\r";
    } else if (character.value == '\t') {
      out += "\\t";
    } else if (misleads(character.value)) {
      fmt::format_to(std::back_inserter(out), "\\u{:04x}", static_cast<std::uint32_t>(character.value));
    } else {
      out += octets;
    }
  }
}

void append_utc(std::int64_t unix_ns, std::string& out) {
  const std::time_t seconds = unix_ns / kNanosecondsPerSecond;
  std::tm utc{};
  gmtime_r(&seconds, &utc);
  fmt::format_to(std::back_inserter(out), "{:04}-{:02}-{:02}T{:02}:{:02}:{:02}.{:03}Z", utc.tm_year + 1900,
                 utc.tm_mon + 1, utc.tm_mday, utc.tm_hour, utc.tm_min, utc.tm_sec,
                 unix_ns % kNanosecondsPerSecond / kNanosecondsPerMillisecond);
}

void format_log_line(const LogRecord& record, bool json, std::uint64_t folded, std::string& out) {
  out += json ? "{\"time\":\"" : "time=";
  append_utc(record.unix_ns, out);
  if (json) out += '"';
  append_member("level", json, out);
  append_value(name_of(record.severity), false, json, out);
  append_member("event", json, out);
  append_value(record.event, false, json, out);
  std::string_view fields(record.fields.data(), record.used);
  while (!fields.empty()) {
    const auto head = static_cast<unsigned char>(fields[0]);
    const std::size_t key_bytes = head & kLogKeyBytesMax;
    const std::string_view key = fields.substr(1, key_bytes);
    fields.remove_prefix(1 + key_bytes);
    const std::size_t value_bytes = static_cast<std::size_t>(static_cast<unsigned char>(fields[0])) |
                                    static_cast<std::size_t>(static_cast<unsigned char>(fields[1])) << 8;
    append_member(key, json, out);
    append_value(fields.substr(2, value_bytes), (head & kLogNumberBit) != 0, json, out);
    fields.remove_prefix(2 + value_bytes);
  }
  if (record.truncated) {
    append_member("truncated", json, out);
    append_value("true", true, json, out);
  }
  if (folded > 0) {
    append_member("folded", json, out);
    append_value(fmt::format_int(folded).c_str(), true, json, out);
  }
  out += json ? "}\n" : "\n";
}

}  // namespace postern::core
