#include "net/mailbox/identity.h"

#include <algorithm>

#include "net/mailbox/text.h"

namespace postern::net::mailbox {

namespace {

// Cuts the octets before the first `mark` off `text`, and the mark. False: there is no mark.
bool cut(std::string_view& text, char mark, std::string_view& before) {
  const std::size_t at = text.find(mark);
  if (at == std::string_view::npos) return false;
  before = text.substr(0, at);
  text.remove_prefix(at + 1);
  return true;
}

// saslname (RFC 5802 section 5.1): ',' and '=' come as "=2C" and "=3D".
bool unescape(std::string_view text, UserName& user) {
  user.clear();
  while (!text.empty()) {
    char octet = text.front();
    std::size_t taken = 1;
    if (octet == '=') {
      const std::string_view escape = text.substr(0, 3);
      if (escape != "=2C" && escape != "=3D") return false;
      octet = escape == "=2C" ? ',' : '=';
      taken = 3;
    }
    if (!user.append(octet)) return false;
    text.remove_prefix(taken);
  }
  return true;
}

// authzid NUL authcid NUL password (RFC 4616)
std::optional<Standing> read_plain(std::string_view message, UserName& user) {
  std::string_view authorization;
  std::string_view name;
  if (!cut(message, '\0', authorization) || !cut(message, '\0', name)) return std::nullopt;
  if (message.find('\0') != std::string_view::npos || !user.assign(name)) return std::nullopt;
  return authorization.empty() || authorization == name ? Standing::mailbox_user : Standing::master_user;
}

// gs2-header: flag "," ["a=" saslname] "," (RFC 5801 section 4). False: it is none.
bool read_gs2(std::string_view& message, UserName& authorization) {
  std::string_view flag;
  std::string_view field;
  if (!cut(message, ',', flag) || (flag != "n" && flag != "y") || !cut(message, ',', field)) return false;
  if (field.empty()) return true;
  return field.substr(0, 2) == "a=" && unescape(field.substr(2), authorization);
}

std::optional<Standing> read_scram(std::string_view message, UserName& user) {
  UserName authorization;
  std::string_view name;
  if (!read_gs2(message, authorization) || !cut(message, ',', name)) return std::nullopt;
  if (name.substr(0, 2) != "n=" || !unescape(name.substr(2), user)) return std::nullopt;
  const bool is_own = authorization.empty() || authorization.view() == user.view();
  return is_own ? Standing::mailbox_user : Standing::master_user;
}

// RFC 7628 section 3.1: the identity that counts is in the token; whom the client says it is stands in the header.
std::optional<Standing> read_oauthbearer(std::string_view message, UserName& user) {
  user.clear();
  if (!read_gs2(message, user)) return std::nullopt;
  return user.empty() ? Standing::unseen : Standing::mailbox_user;
}

std::optional<Standing> read_xoauth2(std::string_view message, UserName& user) {
  std::string_view field;
  if (!cut(message, '\x01', field) || field.substr(0, 5) != "user=") return std::nullopt;
  if (!user.assign(field.substr(5))) return std::nullopt;
  return Standing::mailbox_user;
}

// RFC 2195: name, blank, digest. Names have blanks, digests have none.
std::optional<Standing> read_cram(std::string_view message, UserName& user) {
  const std::size_t blank = message.rfind(' ');
  if (blank == std::string_view::npos || !user.assign(message.substr(0, blank))) return std::nullopt;
  return Standing::mailbox_user;
}

// Cuts one value of RFC 2831 section 7.1 off `text`, with the comma behind it: a token, or a quoted string with
// escapes.
bool take_digest_value(std::string_view& text, UserName& value, bool& fits) {
  value.clear();
  fits = true;
  const bool is_quoted = !text.empty() && text.front() == '"';
  if (is_quoted) text.remove_prefix(1);
  while (!text.empty() && text.front() != (is_quoted ? '"' : ',')) {
    if (is_quoted && text.front() == '\\') text.remove_prefix(1);
    if (text.empty()) return false;
    fits = value.append(text.front()) && fits;
    text.remove_prefix(1);
  }
  if (is_quoted) {
    if (text.empty()) return false;
    text.remove_prefix(1);
  }
  if (text.empty()) return true;
  if (text.front() != ',') return false;
  text.remove_prefix(1);
  return true;
}

std::optional<Standing> read_digest(std::string_view message, UserName& user) {
  user.clear();
  UserName value;
  UserName authorization;
  while (!message.empty()) {
    std::string_view key;
    bool fits = true;
    if (!cut(message, '=', key) || !take_digest_value(message, value, fits)) return std::nullopt;
    while (!key.empty() && key.front() == ' ') key.remove_prefix(1);
    const bool is_user = equals_ignoring_case(key, "username");
    if (!is_user && !equals_ignoring_case(key, "authzid")) continue;
    if (!fits) return std::nullopt;
    (is_user ? user : authorization) = value;
  }
  const bool is_own = authorization.empty() || authorization.view() == user.view();
  return is_own ? Standing::mailbox_user : Standing::master_user;
}

std::optional<Standing> read(MechanismTraits::Name name, std::string_view message, UserName& user) {
  switch (name) {
    case MechanismTraits::Name::plain:
      return read_plain(message, user);
    case MechanismTraits::Name::login:
      if (!user.assign(message)) return std::nullopt;
      return Standing::mailbox_user;
    case MechanismTraits::Name::cram_md5:
      return read_cram(message, user);
    case MechanismTraits::Name::digest_md5:
      return read_digest(message, user);
    case MechanismTraits::Name::scram:
      return read_scram(message, user);
    case MechanismTraits::Name::oauthbearer:
      return read_oauthbearer(message, user);
    case MechanismTraits::Name::xoauth2:
      return read_xoauth2(message, user);
    case MechanismTraits::Name::unseen:
      break;
  }
  return Standing::unseen;
}

}  // namespace

bool UserName::assign(std::string_view text) {
  size_ = 0;
  if (text.size() > text_.size()) return false;
  size_ = static_cast<std::uint8_t>(text.copy(text_.data(), text.size()));
  return true;
}

bool UserName::append(char octet) {
  if (size_ == text_.size()) return false;
  text_[size_++] = octet;
  return true;
}

MechanismTraits traits_of(std::string_view mechanism) noexcept {
  using Name = MechanismTraits::Name;
  if (mechanism == "PLAIN") return {Name::plain, true, false, true, true};
  // LOGIN's initial response is the user's name where it is understood at all: it waits for the store's question.
  if (mechanism == "LOGIN") return {Name::login, false, false, true, false};
  if (mechanism == "CRAM-MD5") return {Name::cram_md5, false, true, false, false};
  if (mechanism == "DIGEST-MD5") return {Name::digest_md5, false, true, false, false};
  if (mechanism.substr(0, 6) == "SCRAM-") return {Name::scram, true, false, false, true};
  if (mechanism == "OAUTHBEARER") return {Name::oauthbearer, true, false, true, true};
  if (mechanism == "XOAUTH2") return {Name::xoauth2, true, false, true, true};
  const bool is_hidden = mechanism == "GSSAPI" || mechanism == "GSS-SPNEGO" || mechanism == "NTLM";
  return {Name::unseen, false, false, !is_hidden, true};
}

bool is_spoken_through(std::string_view mechanism) noexcept {
  if (mechanism.empty() || mechanism.size() > kMechanismBytesMax) return false;
  const bool is_name = std::all_of(mechanism.begin(), mechanism.end(), [](char octet) {
    return (octet >= 'A' && octet <= 'Z') || (octet >= '0' && octet <= '9') || octet == '-' || octet == '_';
  });
  return is_name && !mechanism.ends_with("-PLUS") && mechanism != "EXTERNAL" && mechanism != "ANONYMOUS";
}

Standing standing_of(std::string_view user, char separator) noexcept {
  const bool is_master = separator != 0 && user.find(separator) != std::string_view::npos;
  return is_master ? Standing::master_user : Standing::mailbox_user;
}

std::optional<Standing> read_identity(MechanismTraits::Name name, std::string_view message, char separator,
                                      UserName& user) noexcept {
  user.clear();
  std::optional<Standing> standing = read(name, message, user);
  const bool shows_user = name != MechanismTraits::Name::unseen && name != MechanismTraits::Name::oauthbearer;
  if (!standing || (shows_user && user.empty())) {
    user.clear();
    return std::nullopt;
  }
  if (standing_of(user.view(), separator) == Standing::master_user) standing = Standing::master_user;
  return standing;
}

}  // namespace postern::net::mailbox
