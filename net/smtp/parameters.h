// The ESMTP parameters of MAIL and RCPT: SIZE (RFC 1870), BODY (RFC 6152, 3030), SMTPUTF8 (RFC 6531), RET,
// ENVID, NOTIFY and ORCPT (RFC 3461 section 4; the utf-8 address type of RFC 6533 section 3), AUTH (RFC 4954 section 5).
//
// AUTH= is known where AUTH is offered, and is forgotten once its syntax was checked: nobody is trusted to say who else
// wrote a message, and nothing is decided by it. Each parameter may come once.
// Pure. Thread: any. Views point into the text.
#pragma once

#include <cstdint>
#include <string_view>

#include "net/smtp/envelope.h"

namespace postern::net::smtp {

// code 0: all is well. Texts are static storage.
struct Refusal {
  std::uint16_t code = 0;
  std::string_view enhanced;
  std::string_view text;

  [[nodiscard]] bool is_none() const { return code == 0; }
};

struct MailParameters {
  std::uint64_t size = 0;  // 0: not given
  BodyType body = BodyType::seven_bit;
  bool smtputf8 = false;
  DsnReturn ret = DsnReturn::unset;
  std::string_view envelope_id;
};

struct RcptParameters {
  std::uint8_t notify = notify_unset;
  std::string_view original;
};

// `text`: what follows the path; empty, or a blank and the parameters.
[[nodiscard]] Refusal parse_mail_parameters(std::string_view text, bool auth_offered, MailParameters& out);
[[nodiscard]] Refusal parse_rcpt_parameters(std::string_view text, bool smtputf8, RcptParameters& out);

// Decodes xtext (RFC 3461 section 4). Returns the octets written, or -1: not xtext, or more than `room`.
std::ptrdiff_t decode_xtext(std::string_view xtext, char* out, std::size_t room);

}  // namespace postern::net::smtp
