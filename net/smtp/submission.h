// What a submission service does to a message's header (RFC 6409 sections 4.2, 6.3 and 8): a filter between the content
// as it comes in (DataDecoder) and what is stored.
//
// Added at the end of the header when missing: Date, Message-ID, From (of the submitter), and Sender where From does not
// say who submits. Taken out: Bcc, Resent-Bcc, Return-Path. Addresses without a domain in address fields are completed, or
// the message is refused. The body is never touched, nor is a field, present or absent, that a DKIM or ARC signature of
// the message names in its h=.
//
//   filter.begin(dot_stuffed);                          // begin_message
//   for each piece: filter.in_header() ? filter.push(piece, facts, sink) : keep(piece);
//   filter.end(facts, sink);                            // end_message
//   filter.verdict() is final once in_header() is false; nothing of a refused message needs to be kept.
//
// Where the header ends: HeaderScanner. Before a first line that is no field, an empty line is put (so that the body
// stays a body behind what is added); a content without a body gets none.
// Invariants: any cut of the content gives the same octets and verdict; what is put in ends in CRLF, has no line over 998
// octets and none that begins with a dot, so a content's form (plain or stuffed) stays what it was.
// Memory: the header is held in a block of the pool until it ends, up to kHeldBytes; one that comes whole in one piece is
// not copied. A longer one goes on in parts, each judged by the signatures seen so far; a single field longer than
// kHeldBytes passes as it is (Bcc and Return-Path are dropped all the same). No allocation.
// Pure. Thread: one.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string_view>

#include "core/pool.h"
#include "net/smtp/header_fields.h"
#include "net/smtp/header_scanner.h"
#include "policy/address.h"
#include "policy/relay_decision.h"

namespace postern::net::smtp {

// Where the octets go, in order; each view is valid during the call only.
struct ContentSink {
  void* object = nullptr;
  void (*put)(void* object, std::string_view octets) noexcept = nullptr;
};

// What the filter may know during one call; views are valid for that call only, so a snapshot may change between two.
struct SubmissionFacts {
  std::string_view domain;        // completes addresses that have none; empty: they are refused (554 5.6.0)
  std::string_view hostname;      // ours, for Message-ID
  std::string_view queue_id;      // ...
  std::int64_t unix_seconds = 0;  // for Date and Message-ID; the same at each call
  // Whose message it is: the envelope's reverse-path, which becomes From or Sender where one is missing. Empty: nobody's,
  // so a message without From is refused (554 5.6.0) and no Sender is added.
  std::string_view submitter;
  // Does this address belong to the authenticated user? null: nobody is authenticated, nothing is asked.
  bool (*owns)(void* object, const policy::Mailbox& mailbox) noexcept = nullptr;
  void* owner = nullptr;
  // From and Sender must belong to the user (550 5.7.1), and so must be readable (554 5.6.0). Off: an author who is not
  // the user is told apart by the Sender that is added.
  bool own_header_from = false;
};

// Bits of SubmissionFilter::changes(); for the log.
enum SubmissionChanges : std::uint8_t {
  added_date = 1,
  added_message_id = 2,
  added_from = 4,
  added_sender = 8,
  completed_addresses = 16,
  removed_fields = 32,    // Bcc, Resent-Bcc, Return-Path
  added_empty_line = 64,  // there was none between header and body
};

class SubmissionFilter {
 public:
  // Octets of header that are held until its end is known.
  static constexpr std::size_t kHeldBytes = core::BlockPool::kLargest;
  // Beyond: 554 5.6.0. The header may not grow by orders of magnitude, nor may policy be asked without end.
  static constexpr std::uint64_t kCompletedBytesMax = 65536;
  static constexpr std::uint32_t kAuthorsMax = 100;  // mailboxes in From and Sender, where they are asked about

  // The pool outlives the filter.
  explicit SubmissionFilter(core::BlockPool& pool) : pool_(pool) {}
  ~SubmissionFilter() { release(); }
  SubmissionFilter(const SubmissionFilter&) = delete;
  SubmissionFilter& operator=(const SubmissionFilter&) = delete;

  // A new message. dot_stuffed: it comes by DATA.
  void begin(bool dot_stuffed);
  // The next octets of the content. Once in_header() is false they go to the sink as they are.
  void push(std::string_view content, const SubmissionFacts& facts, const ContentSink& sink);
  // The content has ended.
  void end(const SubmissionFacts& facts, const ContentSink& sink);

  [[nodiscard]] bool in_header() const { return phase_ != Phase::body; }
  // 550 5.7.1: From or Sender is not the user's. 554 5.6.0: no From, several, an unreadable one, an address without a
  // domain. 550 5.6.11: a CR or LF stands alone in the header. 452 4.3.2: no memory. Texts are static storage.
  [[nodiscard]] const policy::Verdict& verdict() const { return verdict_; }
  // Octets put in and taken out so far.
  [[nodiscard]] std::uint64_t added_bytes() const { return added_bytes_; }
  [[nodiscard]] std::uint64_t removed_bytes() const { return removed_bytes_; }
  [[nodiscard]] std::uint8_t changes() const { return changes_; }
  // ContentFlags to add to those of the content as it came: what was put in may have octets above 127.
  [[nodiscard]] std::uint16_t added_flags() const { return added_flags_; }

 private:
  enum class Phase : std::uint8_t {
    header,      // held, or about to be
    long_field,  // a field longer than what is held passes by
    body,
  };
  struct Turn {
    const SubmissionFacts& facts;
    const ContentSink& sink;
  };
  class Edit;  // a piece of header on its way to the sink

  // submission.cc: the octets
  std::size_t push_header(std::string_view content, const Turn& turn);
  std::size_t push_long_field(std::string_view content, const Turn& turn);
  [[nodiscard]] bool hold(std::string_view octets);
  void release();
  void spill(const Turn& turn);
  void begin_long_field(const HeaderField& field, const Turn& turn);
  void pass_long_field(std::string_view octets, const Turn& turn);
  void note_line_ends(std::string_view octets);
  void end_header(std::string_view header, bool by_empty_line, const Turn& turn);
  void put(std::string_view octets, const Turn& turn);
  void add(std::string_view text, const Turn& turn);
  void refuse(std::uint16_t code, std::string_view enhanced, std::string_view text);
  void finish_call();

  // submission_fields.cc: the fields
  void note_signature(const HeaderField& field);
  void note_field(const HeaderField& field);
  void note_unreadable(FieldName name, const Turn& turn);
  void note_author(FieldName name, const policy::Mailbox& mailbox, const Turn& turn);
  [[nodiscard]] bool is_to_be_removed(FieldName name) const;
  void settle(std::string_view header, const Turn& turn);
  void settle_addresses(const HeaderField& field, Edit& edit);
  void add_missing(const Turn& turn);
  void add_from(const Turn& turn);
  void add_message_id(const Turn& turn);
  void add_field(std::string_view name_and_colon, std::string_view value, const Turn& turn);

  core::BlockPool& pool_;
  char* block_ = nullptr;
  std::uint32_t capacity_ = 0;
  std::uint32_t size_ = 0;
  HeaderScanner scanner_;
  Phase phase_ = Phase::header;
  bool dot_stuffed_ = false;
  bool is_first_line_ = true;  // nothing was settled yet
  bool ends_line_ = true;      // the last octet that was put is a line's end
  char previous_ = '\n';       // the last octet of header that was looked at for bare line ends
  bool drops_long_field_ = false;
  bool at_line_start_ = false;        // of the long field
  bool dot_is_open_ = false;          // ... and a dot stands there whose line is not known yet
  bool has_strange_author_ = false;   // From is not the user's, or cannot be read
  bool author_is_submitter_ = false;  // the last mailbox of From is the submitter's
  std::uint8_t changes_ = 0;
  std::uint16_t added_flags_ = 0;
  FieldSet present_;
  FieldSet signed_;
  std::uint32_t from_mailboxes_ = 0;
  std::uint32_t asked_authors_ = 0;
  std::uint64_t completed_bytes_ = 0;
  std::uint64_t added_bytes_ = 0;
  std::uint64_t removed_bytes_ = 0;
  policy::Verdict verdict_;
};

}  // namespace postern::net::smtp
