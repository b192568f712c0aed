#include "net/smtp/parameters.h"

#include <charconv>

#include "net/smtp/address.h"
#include "net/smtp/command.h"

namespace postern::net::smtp {
namespace {

constexpr std::size_t kEnvelopeIdBytesMax = 100;  // RFC 3461 section 4.4
constexpr std::size_t kOriginalBytesMax = 500;    // RFC 3461 section 4.2
constexpr std::size_t kSubmitterBytesMax = 495;   // what RFC 4954 section 5 adds to the line, less "AUTH="

constexpr Refusal bad_value(std::string_view text) {
  return {501, "5.5.4", text};
}

struct Parameter {
  std::string_view keyword;
  std::string_view value;
  bool has_value = false;
};

bool is_keyword(std::string_view word) {  // RFC 5321 section 4.1.2, esmtp-keyword
  if (word.empty() || word.front() == '-') return false;
  for (const char c : word) {
    const bool is_letter = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z');
    if (!is_letter && !(c >= '0' && c <= '9') && c != '-') return false;
  }
  return true;
}

// False: not a parameter's syntax.
bool split_parameter(std::string_view word, Parameter& parameter) {
  const std::size_t equals = word.find('=');
  parameter.has_value = equals != std::string_view::npos;
  parameter.keyword = word.substr(0, equals);
  parameter.value = parameter.has_value ? word.substr(equals + 1) : std::string_view{};
  if (parameter.has_value && (parameter.value.empty() || parameter.value.find('=') != std::string_view::npos))
    return false;
  return is_keyword(parameter.keyword);
}

// Calls `take(parameter, seen)` for each; `seen` gathers bits that take() chooses, so that none comes twice.
template <class Take>
Refusal each_parameter(std::string_view text, Take take) {
  if (!text.empty() && text.front() != ' ') return bad_value("A blank must follow the path");
  unsigned seen = 0;
  while (!text.empty()) {
    const std::string_view word = take_word(text);
    if (word.empty()) break;
    Parameter parameter;
    if (!split_parameter(word, parameter)) return bad_value("Parameter syntax is KEYWORD or KEYWORD=value");
    unsigned bit = 0;
    const Refusal refusal = take(parameter, bit);
    if (!refusal.is_none()) return refusal;
    if ((seen & bit) != 0) return bad_value("Parameter given twice");
    seen |= bit;
  }
  return {};
}

int hex_digit(char c) {  // RFC 3461 section 4: upper case only
  if (c >= '0' && c <= '9') return c - '0';
  if (c >= 'A' && c <= 'F') return c - 'A' + 10;
  return -1;
}

// Octets that the xtext at `at` takes, and the octet it stands for. 0: not xtext.
std::size_t xtext_step(std::string_view text, std::size_t at, char& octet) {
  const char c = text[at];
  if (c == '+') {
    if (text.size() - at < 3) return 0;
    const int high = hex_digit(text[at + 1]);
    const int low = hex_digit(text[at + 2]);
    if (high < 0 || low < 0) return 0;
    octet = static_cast<char>(high << 4 | low);
    return 3;
  }
  if (c <= ' ' || c > '~' || c == '=') return 0;
  octet = c;
  return 1;
}

// `utf8`: sequences above ASCII may stand for themselves (RFC 6533 section 3, utf-8-addr-unitext).
bool is_printable_xtext(std::string_view text, bool utf8) {
  for (std::size_t at = 0; at < text.size();) {
    if ((static_cast<unsigned char>(text[at]) & 0x80) != 0) {
      const std::size_t octets = utf8 ? utf8_sequence_bytes(text, at) : 0;
      if (octets == 0) return false;
      at += octets;
      continue;
    }
    char octet = 0;
    const std::size_t octets = xtext_step(text, at, octet);
    if (octets == 0 || octet < ' ' || octet > '~') return false;
    at += octets;
  }
  return true;
}

Refusal take_size(std::string_view value, std::uint64_t& size) {  // RFC 1870 section 4: 1 to 20 digits
  const char* end = value.data() + value.size();
  const auto [rest, error] = std::from_chars(value.data(), end, size);
  if (value.empty() || value.size() > 20 || error != std::errc{} || rest != end)
    return bad_value("Bad SIZE value");
  return {};
}

Refusal take_body(std::string_view value, BodyType& body) {
  if (equals_ignoring_case(value, "7BIT")) {
    body = BodyType::seven_bit;
  } else if (equals_ignoring_case(value, "8BITMIME")) {
    body = BodyType::eight_bit_mime;
  } else if (equals_ignoring_case(value, "BINARYMIME")) {
    body = BodyType::binary_mime;
  } else {
    return bad_value("BODY is 7BIT, 8BITMIME or BINARYMIME");
  }
  return {};
}

Refusal take_ret(std::string_view value, DsnReturn& ret) {
  if (equals_ignoring_case(value, "FULL")) {
    ret = DsnReturn::full;
  } else if (equals_ignoring_case(value, "HDRS")) {
    ret = DsnReturn::headers;
  } else {
    return bad_value("RET is FULL or HDRS");
  }
  return {};
}

Refusal take_notify(std::string_view value, std::uint8_t& notify) {  // RFC 3461 section 4.1
  notify = notify_unset;
  if (equals_ignoring_case(value, "NEVER")) {
    notify = notify_never;
    return {};
  }
  for (;;) {
    const std::size_t comma = value.find(',');
    const std::string_view word = value.substr(0, comma);
    if (equals_ignoring_case(word, "SUCCESS")) {
      notify |= notify_success;
    } else if (equals_ignoring_case(word, "FAILURE")) {
      notify |= notify_failure;
    } else if (equals_ignoring_case(word, "DELAY")) {
      notify |= notify_delay;
    } else {
      return bad_value("NOTIFY is NEVER, or of SUCCESS, FAILURE and DELAY");
    }
    if (comma == std::string_view::npos) return {};
    value.remove_prefix(comma + 1);
  }
}

Refusal take_original(std::string_view value, bool smtputf8,
                      std::string_view& original) {  // RFC 3461 section 4.2
  const std::size_t semicolon = value.find(';');
  if (value.size() > kOriginalBytesMax || semicolon == std::string_view::npos ||
      semicolon + 1 == value.size()) {
    return bad_value("ORCPT is type;xtext of at most 500 octets");
  }
  const std::string_view type = value.substr(0, semicolon);
  const bool utf8 = smtputf8 && equals_ignoring_case(type, "utf-8");
  if (!is_keyword(type) || !is_printable_xtext(value.substr(semicolon + 1), utf8)) {
    return bad_value("ORCPT is type;xtext of at most 500 octets");
  }
  original = value;
  return {};
}

Refusal check_submitter(std::string_view value) {  // RFC 4954 section 5: xtext, of a mailbox or "<>"
  const bool is_good = !value.empty() && value.size() <= kSubmitterBytesMax && is_printable_xtext(value, false);
  return is_good ? Refusal{} : bad_value("AUTH is <>, or xtext of at most 495 octets");
}

constexpr Refusal kUnknownParameter = {555, "5.5.4", "Parameter not known here"};

}  // namespace

Refusal parse_mail_parameters(std::string_view text, bool auth_offered, MailParameters& out) {
  return each_parameter(text, [&](const Parameter& parameter, unsigned& bit) -> Refusal {
    if (equals_ignoring_case(parameter.keyword, "SIZE")) {
      bit = 1;
      return take_size(parameter.value, out.size);
    }
    if (equals_ignoring_case(parameter.keyword, "BODY")) {
      bit = 2;
      return take_body(parameter.value, out.body);
    }
    if (equals_ignoring_case(parameter.keyword, "SMTPUTF8")) {
      bit = 4;
      out.smtputf8 = true;
      return parameter.has_value ? bad_value("SMTPUTF8 takes no value") : Refusal{};
    }
    if (equals_ignoring_case(parameter.keyword, "RET")) {
      bit = 8;
      return take_ret(parameter.value, out.ret);
    }
    if (equals_ignoring_case(parameter.keyword, "ENVID")) {
      bit = 16;
      out.envelope_id = parameter.value;
      const bool is_good = !parameter.value.empty() && parameter.value.size() <= kEnvelopeIdBytesMax &&
                           is_printable_xtext(parameter.value, false);
      return is_good ? Refusal{} : bad_value("ENVID is xtext of at most 100 octets");
    }
    if (auth_offered && equals_ignoring_case(parameter.keyword, "AUTH")) {
      bit = 32;
      return check_submitter(parameter.value);
    }
    return kUnknownParameter;
  });
}

Refusal parse_rcpt_parameters(std::string_view text, bool smtputf8, RcptParameters& out) {
  return each_parameter(text, [&](const Parameter& parameter, unsigned& bit) -> Refusal {
    if (equals_ignoring_case(parameter.keyword, "NOTIFY")) {
      bit = 1;
      return take_notify(parameter.value, out.notify);
    }
    if (equals_ignoring_case(parameter.keyword, "ORCPT")) {
      bit = 2;
      return take_original(parameter.value, smtputf8, out.original);
    }
    return kUnknownParameter;
  });
}

std::ptrdiff_t decode_xtext(std::string_view xtext, char* out, std::size_t room) {
  std::size_t written = 0;
  for (std::size_t at = 0; at < xtext.size();) {
    char octet = 0;
    const std::size_t octets = xtext_step(xtext, at, octet);
    if (octets == 0 || written == room) return -1;
    out[written++] = octet;
    at += octets;
  }
  return static_cast<std::ptrdiff_t>(written);
}

}  // namespace postern::net::smtp
