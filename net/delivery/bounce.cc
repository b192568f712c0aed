// Duty: the rules of RFC 3461 on who is told what, and the notification itself: the parts first, then the
// header, which has to know how many bits they need.
// Thread: any. Limits: kBounceContentMax, kBounceHeaderMax, kDetails.
#include "net/delivery/bounce.h"

#include <algorithm>
#include <array>
#include <utility>

#include "core/assert.h"
#include "net/delivery/dsn_text.h"
#include "net/smtp/trace_header.h"

namespace postern::net::delivery {

namespace {

constexpr std::string_view kLineEnd = "\r\n";
constexpr std::size_t kHeaderLeast = 4 << 10;  // of the original's header, however long the report is

// How much is told about each recipient. The first that fits is taken, so that a thousand long-winded servers do
// not make a message that the spool cannot hold.
struct Detail {
  std::size_t text_max;  // of a server's words, escaped
  bool names_server;
};
constexpr std::array kDetails = {Detail{600, true}, Detail{120, true}, Detail{0, false}};

constexpr std::array kActionsInOrder = {DsnAction::failed, DsnAction::delayed, DsnAction::delivered, DsnAction::relayed,
                                        DsnAction::expanded};

std::string format_date(std::int64_t unix_seconds) {
  std::array<char, smtp::kDateTimeBytes> date;
  return {date.data(), smtp::format_date_time(date, unix_seconds)};
}

bool has_action(const BounceRequest& request, DsnAction action) {
  return std::any_of(request.recipients.begin(), request.recipients.end(),
                     [action](const BounceRecipient& recipient) { return recipient.action == action; });
}

std::string_view action_name(DsnAction action) {
  switch (action) {
    case DsnAction::failed:
      return "failed";
    case DsnAction::delayed:
      return "delayed";
    case DsnAction::delivered:
      return "delivered";
    case DsnAction::relayed:
      return "relayed";
    case DsnAction::expanded:
      return "expanded";
  }
  return "failed";
}

// Cuts what was already escaped, between characters.
std::string cut(std::string text, std::size_t bytes_max) {
  if (text.size() <= bytes_max) return text;
  std::size_t size = bytes_max;
  while (size > 0 && (static_cast<unsigned char>(text[size]) & 0xc0) == 0x80) --size;
  text.resize(size);
  return text + "...";
}

// RFC 3463 section 2: a message given up because a temporary condition persisted has failed with a 4.
std::string_view status_of(const BounceRecipient& recipient) {
  const char first = recipient.status.empty() ? ' ' : recipient.status.front();
  switch (recipient.action) {
    case DsnAction::failed:
      return first == '5' || first == '4' ? recipient.status : "5.0.0";
    case DsnAction::delayed:
      return first == '4' ? recipient.status : "4.0.0";
    default:
      return first == '2' ? recipient.status : "2.0.0";
  }
}

// --- what is returned of the original ----------------------------------------------------------------------------

struct Returned {
  std::string type;  // Content-Type
  std::string body;
};

// The next line with its end, as it was before its dot was doubled.
std::string_view take_line(std::string_view& content, bool dot_stuffed) {
  const std::size_t end = content.find(kLineEnd);
  std::string_view line = content.substr(0, end == std::string_view::npos ? end : end + kLineEnd.size());
  content.remove_prefix(line.size());
  if (dot_stuffed && line.starts_with('.')) line.remove_prefix(1);
  return line;
}

std::string copy_content(const BounceRequest& request) {
  const bool dot_stuffed = (request.content_flags & smtp::content_dot_stuffed) != 0;
  std::string out;
  out.reserve(request.content.size() + kLineEnd.size());
  for (std::string_view rest = request.content; !rest.empty();) out += take_line(rest, dot_stuffed);
  if (!out.ends_with(kLineEnd)) out += kLineEnd;
  return out;
}

std::string copy_header(const BounceRequest& request, std::size_t bytes_max) {
  const bool dot_stuffed = (request.content_flags & smtp::content_dot_stuffed) != 0;
  std::string out;
  for (std::string_view rest = request.content; !rest.empty();) {
    std::string_view line = take_line(rest, dot_stuffed);
    // Past the header, past the bound, or a line that was cut with the content.
    if (line == kLineEnd || out.size() + line.size() > bytes_max || !line.ends_with(kLineEnd)) break;
    line.remove_suffix(kLineEnd.size());
    for (const char octet : line) {
      // Binary content may hold these; DATA and other readers of a header may not.
      out += octet == '\r' || octet == '\n' || octet == '\0' ? ' ' : octet;
    }
    out += kLineEnd;
  }
  return out;
}

// RFC 3461 section 4.3: RET=FULL is about failures. Without RET the header must do: it names the message, and
// a forged sender is not sent a stranger's text.
// `room`: octets that are left in the notification.
Returned return_original(const BounceRequest& request, std::size_t room) {
  const bool binary = (request.content_flags & smtp::content_binary) != 0;
  const bool whole = request.sender.ret == smtp::DsnReturn::full && has_action(request, DsnAction::failed) && !binary &&
                     request.content_bytes <= room && request.content.size() == request.content_bytes;
  const bool global = request.sender.smtputf8 && (request.content_flags & smtp::content_eight_bit_header) != 0;
  Returned returned;
  if (whole) {
    returned.type = global ? "message/global" : "message/rfc822";
    returned.body = copy_content(request);
  } else {
    returned.type = global ? "message/global-headers; charset=utf-8" : "text/rfc822-headers";
    returned.body = copy_header(request, std::min(kBounceHeaderMax, room));
  }
  return returned;
}

// --- the machine's part: RFC 3464 section 2 -----------------------------------------------------------------------

void append_recipient_fields(std::string& out, const BounceRequest& request, const BounceRecipient& recipient,
                             const Detail& detail) {
  const std::string original = typed_original(recipient.original);
  if (!original.empty()) append_field(out, "Original-Recipient", original);
  append_field(out, "Final-Recipient", typed_address(recipient.forward_path));
  append_field(out, "Action", action_name(recipient.action));
  append_field(out, "Status", escape_ascii(status_of(recipient)));
  if (detail.names_server && !recipient.remote_mta.empty()) {
    append_field(out, "Remote-MTA", "dns; " + escape_ascii(recipient.remote_mta));
  }
  if (recipient.by_peer && recipient.code != 0) {
    std::string diagnostic = "smtp; " + std::to_string(recipient.code);
    if (!recipient.status.empty()) diagnostic += ' ' + escape_ascii(recipient.status);
    if (!recipient.text.empty() && detail.text_max != 0) {
      diagnostic += ' ' + cut(escape_ascii(recipient.text), detail.text_max);
    }
    append_field(out, "Diagnostic-Code", diagnostic);
  }
  if (detail.names_server && recipient.last_attempt_unix_seconds != 0) {
    append_field(out, "Last-Attempt-Date", format_date(recipient.last_attempt_unix_seconds));
  }
  if (recipient.action == DsnAction::delayed && request.retry_until_unix_seconds != 0) {
    append_field(out, "Will-Retry-Until", format_date(request.retry_until_unix_seconds));
  }
}

std::string machine_part(const BounceRequest& request, const Detail& detail) {
  std::string out;
  append_field(out, "Reporting-MTA", "dns; " + escape_ascii(request.hostname));
  const std::string envelope_id = escape_ascii(decode_xtext(request.sender.envelope_id));
  if (!envelope_id.empty()) append_field(out, "Original-Envelope-Id", envelope_id);
  if (!request.original_queue_id.empty()) {
    append_field(out, "X-Postern-Queue-Id", escape_ascii(request.original_queue_id));
  }
  append_field(out, "Arrival-Date", format_date(request.arrival_unix_seconds));
  for (const BounceRecipient& recipient : request.recipients) {
    out += kLineEnd;
    append_recipient_fields(out, request, recipient, detail);
  }
  return out;
}

// --- the reader's part --------------------------------------------------------------------------------------------

std::string lead_in(const BounceRequest& request, DsnAction action) {
  switch (action) {
    case DsnAction::failed:
      return "It could not be delivered to the following, and will not be tried again:";
    case DsnAction::delayed: {
      std::string text =
          "It has not yet been delivered to the following. There is nothing you need to do: it is still "
          "being tried";
      if (request.retry_until_unix_seconds != 0) text += ", until " + format_date(request.retry_until_unix_seconds);
      return text + '.';
    }
    case DsnAction::delivered:
      return "It was delivered to:";
    case DsnAction::relayed:
      return "It was passed on to the mail system of the following, which does not report what becomes of "
             "it:";
    case DsnAction::expanded:
      return "It was sent on to all the members of:";
  }
  return {};
}

std::string readable_cause(const BounceRecipient& recipient, const Detail& detail) {
  std::string text;
  if (detail.names_server && !recipient.remote_mta.empty()) {
    text += escape_readable(recipient.remote_mta);
    text += recipient.by_peer ? " said: " : ": ";
  }
  if (recipient.by_peer && recipient.code != 0) {
    text += std::to_string(recipient.code) + ' ';
    if (!recipient.status.empty()) text += escape_readable(recipient.status) + ' ';
  }
  return detail.text_max == 0 ? text : text + cut(escape_readable(recipient.text), detail.text_max);
}

std::string readable_part(const BounceRequest& request, const Detail& detail) {
  std::string out;
  append_wrapped(out, "", "This is the mail server " + escape_readable(request.hostname) + '.');
  out += kLineEnd;
  append_wrapped(out, "",
                 "It is about the message that you sent on " + format_date(request.arrival_unix_seconds) + '.');
  for (const DsnAction action : kActionsInOrder) {
    if (!has_action(request, action)) continue;
    out += kLineEnd;
    append_wrapped(out, "", lead_in(request, action));
    for (const BounceRecipient& recipient : request.recipients) {
      if (recipient.action != action) continue;
      out += kLineEnd;
      append_wrapped(out, "  ", '<' + escape_readable(recipient.forward_path) + '>');
      const std::string cause = readable_cause(recipient, detail);
      if (!cause.empty()) append_wrapped(out, "    ", cause);
    }
  }
  out += kLineEnd;
  if (!request.postmaster.empty()) {
    std::string help = "Should you need help, write to " + escape_readable(request.postmaster);
    if (!request.original_queue_id.empty()) help += " and name " + escape_readable(request.original_queue_id);
    append_wrapped(out, "", help + '.');
    out += kLineEnd;
  }
  append_wrapped(out, "", "What the servers said is above, word for word; what you sent is below.");
  return out;
}

// --- the message --------------------------------------------------------------------------------------------------

std::string_view subject_of(const BounceRequest& request) {
  if (has_action(request, DsnAction::failed)) return "Your message could not be delivered";
  if (has_action(request, DsnAction::delayed)) return "Your message is delayed";
  if (has_action(request, DsnAction::delivered)) return "Your message was delivered";
  return "Your message was passed on";
}

std::string_view transfer_encoding(std::string_view text) {
  return is_ascii(text) ? "7bit" : "8bit";
}

// A line of none of the parts, whoever wrote it. "=_" occurs in no quoted-printable text (RFC 2045
// section 6.7).
std::string choose_boundary(std::string_view queue_id, std::span<const std::string_view> parts) {
  std::string id;
  for (const char octet : queue_id.substr(0, 40)) {
    const bool plain =
        (octet >= '0' && octet <= '9') || (octet >= 'a' && octet <= 'z') || (octet >= 'A' && octet <= 'Z');
    id += plain ? octet : '.';
  }
  for (int number = 1;; ++number) {
    std::string boundary = "=_" + id + '_' + std::to_string(number);
    const bool occurs = std::any_of(parts.begin(), parts.end(), [&boundary](std::string_view part) {
      return part.find("--" + boundary) != std::string_view::npos;
    });
    if (!occurs) return boundary;
  }
}

void append_part(std::string& out, std::string_view boundary, std::string_view description, std::string_view type,
                 std::string_view body) {
  out += "\r\n--";
  out += boundary;
  out += kLineEnd;
  append_field(out, "Content-Description", description);
  append_field(out, "Content-Type", type);
  append_field(out, "Content-Transfer-Encoding", transfer_encoding(body));
  out += kLineEnd;
  out += body;
}

std::uint16_t flags_of(std::string_view header, std::string_view body) {
  unsigned flags = 0;
  if (!is_ascii(header)) flags |= smtp::content_eight_bit_header;
  if (!is_ascii(body)) flags |= smtp::content_eight_bit;
  if (body.find("\r\n.") != std::string_view::npos) flags |= smtp::content_needs_stuffing;
  return static_cast<std::uint16_t>(flags);
}

}  // namespace

std::optional<DsnAction> notice_due(std::string_view reverse_path, std::uint8_t notify, DeliveryEvent event) {
  if (reverse_path.empty() || (notify & smtp::notify_never) != 0) return std::nullopt;
  const auto wants = [notify](smtp::NotifyFlags flag) { return (notify & flag) != 0; };
  const bool unset = notify == smtp::notify_unset;
  switch (event) {
    case DeliveryEvent::failed:
      return unset || wants(smtp::notify_failure) ? std::optional(DsnAction::failed) : std::nullopt;
    case DeliveryEvent::delayed:
      return unset || wants(smtp::notify_delay) ? std::optional(DsnAction::delayed) : std::nullopt;
    case DeliveryEvent::delivered:
      return wants(smtp::notify_success) ? std::optional(DsnAction::delivered) : std::nullopt;
    case DeliveryEvent::relayed:
      return wants(smtp::notify_success) ? std::optional(DsnAction::relayed) : std::nullopt;
    case DeliveryEvent::expanded:
      return wants(smtp::notify_success) ? std::optional(DsnAction::expanded) : std::nullopt;
    case DeliveryEvent::relayed_with_dsn:
      break;
  }
  return std::nullopt;
}

BounceMessage make_bounce(const BounceRequest& request) {
  POSTERN_ASSERT(!request.sender.reverse_path.empty());
  POSTERN_ASSERT(!request.recipients.empty());
  std::string readable;
  std::string machine;
  std::size_t report_bytes = 0;
  for (const Detail& detail : kDetails) {
    readable = readable_part(request, detail);
    machine = machine_part(request, detail);
    report_bytes = readable.size() + machine.size();
    if (report_bytes <= kBounceContentMax / 2) break;
  }
  const Returned returned =
      return_original(request, std::max(kBounceContentMax - std::min(kBounceContentMax, report_bytes), kHeaderLeast));
  const std::array<std::string_view, 3> parts = {readable, machine, returned.body};
  const std::string boundary = choose_boundary(request.queue_id, parts);

  std::string body = "This message is in MIME format, for a reader of delivery status notifications.\r\n";
  append_part(body, boundary, "What happened",
              is_ascii(readable) ? "text/plain; charset=us-ascii" : "text/plain; charset=utf-8", readable);
  append_part(body, boundary, "Delivery report", "message/delivery-status", machine);
  const bool whole = returned.type == "message/rfc822" || returned.type == "message/global";
  append_part(body, boundary, whole ? "Your message" : "The header of your message", returned.type, returned.body);
  body += "\r\n--" + boundary + "--\r\n";

  const std::string hostname = escape_ascii(request.hostname);
  const std::string from = request.from.empty() ? "MAILER-DAEMON@" + hostname : escape_ascii(request.from);
  std::string header;
  append_field(header, "From", "Mail Delivery System <" + from + '>');
  append_field(header, "To", '<' + escape_readable(request.sender.reverse_path) + '>');
  append_field(header, "Subject", subject_of(request));
  append_field(header, "Date", format_date(request.now_unix_seconds));
  append_field(header, "Message-ID", '<' + escape_ascii(request.queue_id) + ".dsn@" + hostname + '>');
  append_field(header, "Auto-Submitted", "auto-replied");  // RFC 3834 section 5.2
  append_field(header, "MIME-Version", "1.0");
  append_field(header, "Content-Type", "multipart/report; report-type=delivery-status; boundary=\"" + boundary + '"');
  append_field(header, "Content-Transfer-Encoding", transfer_encoding(body));

  BounceMessage message;
  message.content_flags = flags_of(header, body);
  message.sender.smtputf8 = (message.content_flags & smtp::content_eight_bit_header) != 0;
  if (message.content_flags & (smtp::content_eight_bit | smtp::content_eight_bit_header)) {
    message.sender.body = smtp::BodyType::eight_bit_mime;
  }
  message.recipient = {request.sender.reverse_path, smtp::notify_never, {}};
  message.content = std::move(header);
  message.content += kLineEnd;
  message.content += body;
  return message;
}

}  // namespace postern::net::delivery
