#include "net/users/user_list.h"

#include <charconv>
#include <fmt/format.h>

#include "net/sasl/base64.h"
#include "net/sasl/scram_keys.h"
#include "net/users/hash_text.h"
#include "net/users/password_hash.h"

namespace postern::net::users {
namespace {

constexpr std::size_t kExtraField = 7;  // counted from 0
constexpr std::string_view kOurs = "postern_";

std::string_view take_until(std::string_view& text, char end) {
  const std::size_t at = std::min(text.find(end), text.size());
  const std::string_view part = text.substr(0, at);
  text.remove_prefix(std::min(at + 1, text.size()));
  return part;
}

std::string percent_encode(std::string_view text) {
  std::string result;
  for (const char c : text) {
    if (static_cast<unsigned char>(c) <= ' ' || c == '%' || c == ':' || c == '\x7f') {
      result += fmt::format("%{:02X}", static_cast<unsigned char>(c));
    } else {
      result += c;
    }
  }
  return result;
}

std::optional<std::string> percent_decode(std::string_view text) {
  std::string result;
  while (!text.empty()) {
    if (text.front() != '%') {
      result += text.front();
      text.remove_prefix(1);
      continue;
    }
    std::string octet;
    if (text.size() < 3 || !decode_hex(text.substr(1, 2), octet)) return std::nullopt;
    result += octet;
    text.remove_prefix(3);
  }
  return result;
}

bool parse_yes_no(std::string_view value, bool& out) {
  if (value != "yes" && value != "no") return false;
  out = value == "yes";
  return true;
}

bool parse_limits(std::string_view value, policy::UserRecord::Limits& limits) {
  for (std::uint32_t* limit :
       {&limits.messages_per_hour, &limits.messages_per_day, &limits.recipients_per_hour, &limits.recipients_per_day}) {
    const std::string_view number = take_until(value, ',');
    const auto [end, error] = std::from_chars(number.data(), number.data() + number.size(), *limit);
    if (error != std::errc{} || end != number.data() + number.size()) return false;
  }
  return value.empty();
}

// One "postern_key=value". False: it is not of its form.
bool read_extra(std::string_view key, std::string_view value, ListedUser& listed) {
  policy::UserRecord& record = listed.user.record;
  Verifiers& verifiers = listed.user.verifiers;
  if (key == "relay") {
    listed.says_relay = true;
    return parse_yes_no(value, record.may_relay);
  }
  if (key == "disabled") return parse_yes_no(value, record.disabled);
  if (key == "held") return parse_yes_no(value, record.held);
  if (key == "limits") return parse_limits(value, record.limits);
  if (key == "sender") {
    const auto decoded = percent_decode(value);
    if (!decoded) return false;
    auto sender = policy::canonical_sender(*decoded);
    if (!sender || record.senders.size() == policy::kUserSendersMax) return false;
    record.senders.push_back(std::move(*sender));
    return true;
  }
  if (key == "scram_sha_256" || key == "scram_sha_1") {
    const bool is_sha_1 = key == "scram_sha_1";
    (is_sha_1 ? verifiers.scram_sha_1 : verifiers.scram_sha_256) = Secret(value);
    return sasl::parse_scram_keys(is_sha_1 ? sasl::ScramHash::sha_1 : sasl::ScramHash::sha_256, value).has_value();
  }
  if (key == "cram_md5") {
    verifiers.cram_md5 = Secret(value);
    return sasl::parse_cram_verifier(value).has_value();
  }
  return false;
}

// A password in the clear may have a ':' in it, which the form cannot hold.
Secret exported_hash(const Secret& stored) {
  const Secret plain = plaintext_of(stored.view());
  if (plain.empty()) return stored;
  std::string encoded(sasl::base64_bytes(plain.size()), '\0');
  encoded.resize(sasl::base64_encode(plain.view(), encoded));
  std::string text = "{PLAIN.b64}" + encoded;
  Secret result(text);
  wipe(encoded);
  wipe(text);
  return result;
}

}  // namespace

std::expected<std::optional<ListedUser>, std::string> parse_user_line(std::string_view line) {
  if (line.ends_with('\r')) line.remove_suffix(1);
  if (line.empty() || line.front() == '#') return std::nullopt;
  if (line.find(':') == std::string_view::npos) return std::unexpected("no ':' between a name and a password hash");
  ListedUser listed;
  auto name = policy::canonical_user_name(take_until(line, ':'));
  if (!name) return std::unexpected(name.error());
  listed.user.record.name = std::move(*name);
  const std::string& shown = listed.user.record.name;
  const std::string_view hash = take_until(line, ':');
  if (hash.empty()) return std::unexpected(fmt::format("{}: no password hash", shown));
  if (const auto described = describe(hash); !described) {
    return std::unexpected(fmt::format("{}: the password hash {}", shown, described.error()));
  }
  listed.user.password_hash = Secret(hash);
  for (std::size_t field = 2; field < kExtraField; ++field) (void)take_until(line, ':');
  while (!line.empty()) {
    std::string_view value = take_until(line, ' ');
    if (!value.starts_with(kOurs)) continue;
    value.remove_prefix(kOurs.size());
    const std::string_view key = take_until(value, '=');
    if (!read_extra(key, value, listed)) {
      return std::unexpected(fmt::format("{}: an extra field postern_... is not of a known form", shown));
    }
  }
  return listed;
}

Secret user_line(const StoredUser& user) {
  const policy::UserRecord& record = user.record;
  std::string text = record.name + ":";
  text += exported_hash(user.password_hash).view();
  text += "::::::";
  text += record.may_relay ? "postern_relay=yes" : "postern_relay=no";
  if (record.disabled) text += " postern_disabled=yes";
  if (record.held) text += " postern_held=yes";
  for (const std::string& sender : record.senders) text += " postern_sender=" + percent_encode(sender);
  if (const auto& limits = record.limits; limits != policy::UserRecord::Limits{}) {
    text += fmt::format(" postern_limits={},{},{},{}", limits.messages_per_hour, limits.messages_per_day,
                        limits.recipients_per_hour, limits.recipients_per_day);
  }
  const auto add = [&text](std::string_view key, const Secret& value) {
    if (!value.empty()) text.append(" postern_").append(key).append("=").append(value.view());
  };
  add("scram_sha_256", user.verifiers.scram_sha_256);
  add("scram_sha_1", user.verifiers.scram_sha_1);
  add("cram_md5", user.verifiers.cram_md5);
  Secret result(text);
  wipe(text);
  return result;
}

}  // namespace postern::net::users
