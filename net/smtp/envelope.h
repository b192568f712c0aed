// An envelope: what MAIL and RCPT said, in the one encoding that the session writes, the spool keeps as an item's head,
// and the queue reads. Written once, front to back; read by views into it.
//
// EnvelopeWriter grows in blocks of a worker's BlockPool (no other memory), so that an idle session owns none.
// Pure. Thread: one.
//
//   head := version u8 (1), then fields: tag u8, length u32 LE, octets. Order: session fields, sender, recipients.
//   A recipient is a group: recipient (forward-path), then its notify and orcpt fields if there are any.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string_view>

#include "core/ip_address.h"
#include "core/pool.h"

namespace postern::net::smtp {

// RFC 6152, RFC 3030. What the client declared; what the content really holds is in ContentFlags.
enum class BodyType : std::uint8_t { seven_bit, eight_bit_mime, binary_mime };

// RFC 3461 section 4.1. none: no NOTIFY was given (failure and delay then count as asked).
enum NotifyFlags : std::uint8_t {
  notify_unset = 0,
  notify_never = 1,
  notify_success = 2,
  notify_failure = 4,
  notify_delay = 8
};

enum class DsnReturn : std::uint8_t { unset, full, headers };

// What the octets of a stored content need on the way out; kept in the spool's content_flags.
// A content without dot_stuffed and needs_stuffing has no line that begins with a dot: it goes out as it is, both by DATA
// and by BDAT.
enum ContentFlags : std::uint16_t {
  content_dot_stuffed = 1,     // as it came by DATA: at least one line has a doubled dot in front
  content_needs_stuffing = 2,  // came by BDAT: at least one line begins with a dot, not doubled
  content_binary = 4,     // BODY=BINARYMIME, or BDAT with bare CR or LF or without a last CRLF: DATA cannot carry it
  content_eight_bit = 8,  // octets above 127 occur in the body
  content_eight_bit_header = 16  // ... in the header (RFC 6532)
};

struct SenderFields {
  std::string_view reverse_path;  // without angle brackets; empty: <>
  BodyType body = BodyType::seven_bit;
  bool smtputf8 = false;
  DsnReturn ret = DsnReturn::unset;
  std::string_view envelope_id;  // ENVID as xtext
};

struct RecipientFields {
  std::string_view forward_path;  // without angle brackets
  std::uint8_t notify = notify_unset;
  std::string_view original;  // ORCPT: "rfc822;user@example.net", as given
};

struct SessionFields {
  core::IpAddress client;
  std::string_view helo;
  std::string_view service;  // the service's name
  std::string_view user;     // authenticated user; empty: none
  bool extended = false;     // ESMTP rather than SMTP
};

class EnvelopeWriter {
 public:
  explicit EnvelopeWriter(core::BlockPool& pool) : pool_(pool) {}
  ~EnvelopeWriter() { clear(); }
  EnvelopeWriter(const EnvelopeWriter&) = delete;
  EnvelopeWriter& operator=(const EnvelopeWriter&) = delete;

  // Each returns false, and leaves the envelope as it was, when the pool has no memory (452) or the head would pass
  // kMaxBytes.
  [[nodiscard]] bool begin(const SessionFields& session, const SenderFields& sender);
  [[nodiscard]] bool add(const RecipientFields& recipient);
  void clear();

  [[nodiscard]] bool empty() const { return size_ == 0; }
  [[nodiscard]] std::uint32_t recipients() const { return recipients_; }
  [[nodiscard]] std::string_view head() const { return {block_, size_}; }
  // As given to begin(); valid until the next add() or clear().
  [[nodiscard]] std::string_view reverse_path() const { return head().substr(reverse_path_at_, reverse_path_bytes_); }

  // One block of the pool: about 1,000 recipients with long addresses.
  static constexpr std::size_t kMaxBytes = core::BlockPool::kLargest;

 private:
  bool reserve(std::size_t more);
  void put(std::uint8_t tag, std::string_view bytes);

  core::BlockPool& pool_;
  char* block_ = nullptr;
  std::size_t capacity_ = 0;
  std::size_t size_ = 0;
  std::uint32_t recipients_ = 0;
  std::uint32_t reverse_path_at_ = 0;
  std::uint32_t reverse_path_bytes_ = 0;
};

// Reads a head. Every view points into it.
class EnvelopeReader {
 public:
  // nullopt: not a head of a version known here, or cut short.
  static std::optional<EnvelopeReader> open(std::string_view head);

  [[nodiscard]] const SessionFields& session() const { return session_; }
  [[nodiscard]] const SenderFields& sender() const { return sender_; }
  [[nodiscard]] std::uint32_t recipient_count() const { return recipients_; }

  // for (auto at = reader.first(); auto recipient = reader.next(at);) ...
  using Position = std::size_t;
  [[nodiscard]] Position first() const { return first_recipient_; }
  [[nodiscard]] std::optional<RecipientFields> next(Position& at) const;

 private:
  std::string_view head_;
  SessionFields session_;
  SenderFields sender_;
  std::uint32_t recipients_ = 0;
  Position first_recipient_ = 0;
};

}  // namespace postern::net::smtp
