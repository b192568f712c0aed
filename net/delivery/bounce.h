// Delivery status notifications (RFC 3461, 3462, 3464, 6533): who gets one, and the whole message.
//
// Pure: values in, a message out. Cold path: allocates freely. Thread: any.
// What remote servers said stands in the message word for word, escaped: control characters, and octets that
// are no UTF-8, become \xNN, so that nobody writes headers or MIME parts into our bounces.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>

#include "net/smtp/envelope.h"

namespace postern::net::delivery {

enum class DsnAction : std::uint8_t { failed, delayed, delivered, relayed, expanded };

// What happened to one recipient.
enum class DeliveryEvent : std::uint8_t {
  failed,            // for good
  delayed,           // still tried, longer than the sender may expect
  delivered,         // final delivery: LMTP took it
  relayed,           // the next hop took it, and lacks DSN: nobody further on will report
  relayed_with_dsn,  // the next hop took it, and the duty to report
  expanded,          // became several recipients (an alias)
};

// RFC 3461 sections 4.1, 5.2: the action to report to the sender, or nothing. Never for a null reverse-path
// (RFC 5321 section 4.5.5). Without NOTIFY, failures and delays are told, successes are not. `delayed` is due
// once a recipient: the queue remembers (MessageState::delay_told).
[[nodiscard]] std::optional<DsnAction> notice_due(std::string_view reverse_path, std::uint8_t notify,
                                                  DeliveryEvent event);

struct BounceRecipient {
  std::string_view forward_path;  // without angle brackets
  std::string_view original;      // ORCPT as given: "rfc822;user+2Bx@example.net"; empty: none
  DsnAction action = DsnAction::failed;
  std::string_view status;      // "5.1.1"; empty, or of a class the action cannot have: "5.0.0", "4.0.0", "2.0.0"
  std::string_view remote_mta;  // host name of the hop that said so; empty: it was decided here
  std::uint16_t code = 0;       // the reply, for Diagnostic-Code; 0: none
  std::string_view text;        // the peer's words or ours, not escaped
  bool by_peer = true;          // false: no Diagnostic-Code, the text stands in the readable part only
  std::int64_t last_attempt_unix_seconds = 0;  // 0: not told
};

struct BounceRequest {
  std::string_view hostname;    // ours: Reporting-MTA, Message-ID
  std::string_view from;        // address of From; empty: MAILER-DAEMON@hostname
  std::string_view postmaster;  // who can help, for the readable part; empty: not told
  std::string_view queue_id;    // of this notification: Message-ID and MIME boundary
  std::string_view original_queue_id;
  std::int64_t now_unix_seconds = 0;
  std::int64_t arrival_unix_seconds = 0;        // of the original
  std::int64_t retry_until_unix_seconds = 0;    // for `delayed`; 0: not told
  smtp::SenderFields sender;                    // of the original; requires a reverse-path that is not null
  std::span<const BounceRecipient> recipients;  // at least one; as notice_due() chose them
  // The original as it is stored, from its first octet; may be cut short when larger than kBounceContentMax.
  std::string_view content;
  std::uint64_t content_bytes = 0;  // its whole length
  std::uint16_t content_flags = 0;  // smtp::ContentFlags
};

// A message for the queue: from <> to the original's sender.
struct BounceMessage {
  smtp::SenderFields sender;        // null reverse-path; body and smtputf8 as this content needs
  smtp::RecipientFields recipient;  // views into the request; NOTIFY=NEVER
  std::string content;              // lines end with CRLF, no dot doubled; without a Received header
  std::uint16_t content_flags = 0;
};

// A notification about at most kBounceRecipientsMax recipients, with addresses of the length that SMTP allows, is no
// larger than kBounceContentMax and kBounceHeaderMax together. More recipients: make several.
inline constexpr std::size_t kBounceRecipientsMax = 100;
inline constexpr std::size_t kBounceContentMax = 256u << 10;
inline constexpr std::size_t kBounceHeaderMax = 64u << 10;  // of the original's header

// The original is returned whole only for a failure with RET=FULL, when it is not binary and fits; else its
// header, cut at a line when it is too long.
[[nodiscard]] BounceMessage make_bounce(const BounceRequest& request);

}  // namespace postern::net::delivery
