// Paths, parameters and XCLIENT's argument: what is accepted is within its bounds, safe to say to the next hop, and reads
// the same again.
// Input: an octet that chooses the parser, and the text.
#include <array>
#include <cstdint>
#include <string>
#include <string_view>

#include "core/assert.h"
#include "net/smtp/address.h"
#include "net/smtp/parameters.h"
#include "net/smtp/xclient.h"

namespace {

using namespace postern;
using namespace postern::net::smtp;

void expect_no_controls(std::string_view text) {
  for (const char c : text) {
    const auto octet = static_cast<unsigned char>(c);
    POSTERN_ASSERT(octet >= 0x20 && octet != 0x7f);
  }
}

void try_path(std::string_view text, PathKind kind) {
  const ParsedPath path = parse_path(text, kind);
  if (path.fault != PathFault::none) {
    POSTERN_ASSERT(path.address.empty() && path.consumed == 0);
    return;
  }
  POSTERN_ASSERT(path.consumed >= 2 && path.consumed <= kPathBytesMax && path.consumed <= text.size());
  POSTERN_ASSERT(text[path.consumed - 1] == '>');
  expect_no_controls(text.substr(0, path.consumed));
  POSTERN_ASSERT(path.mailbox.local_part.size() <= kLocalPartBytesMax);
  POSTERN_ASSERT(path.mailbox.domain.size() <= kDomainBytesMax);
  // What policy compares exists.
  POSTERN_ASSERT(path.mailbox.domain.empty() || !policy::DomainName(path.mailbox.domain).empty());
  const std::string again = "<" + std::string(path.address) + ">";
  const ParsedPath second = parse_path(again, kind);
  POSTERN_ASSERT(second.fault == PathFault::none && !second.has_source_route);
  POSTERN_ASSERT(second.address == path.address && second.consumed == again.size());
  POSTERN_ASSERT(second.mailbox.local_part == path.mailbox.local_part && second.mailbox.domain == path.mailbox.domain);
}

void try_parameters(std::string_view text, bool smtputf8) {
  MailParameters mail;
  if (parse_mail_parameters(text, true, mail).is_none()) POSTERN_ASSERT(mail.envelope_id.size() <= 100);
  RcptParameters rcpt;
  if (parse_rcpt_parameters(text, smtputf8, rcpt).is_none()) {
    POSTERN_ASSERT(rcpt.original.size() <= 500);
    expect_no_controls(rcpt.original);
    POSTERN_ASSERT(rcpt.original.find(' ') == std::string_view::npos);
    POSTERN_ASSERT((rcpt.notify & notify_never) == 0 || rcpt.notify == notify_never);
  }
}

void try_xclient(std::string_view text) {
  XclientFields fields;
  if (!parse_xclient(text, fields)) return;
  expect_no_controls(fields.name.view());
  expect_no_controls(fields.helo.view());
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  if (size < 1) return 0;
  const std::string_view text(reinterpret_cast<const char*>(data) + 1, size - 1);
  switch (data[0] % 5) {
    case 0:
      try_path(text, PathKind::reverse);
      break;
    case 1:
      try_path(text, PathKind::forward);
      break;
    case 2:
      try_parameters(text, false);
      break;
    case 3:
      try_parameters(text, true);
      break;
    default:
      try_xclient(text);
      break;
  }
  return 0;
}
