// The fields of a message's header as they came: where each begins and ends, which of the few known here it is, and what
// a signature covers.
//
// Works on the octets as a client sent them. By DATA a line may have a dot in front that does not count (RFC 5321
// section 4.5.2), so ".From: x" and ". x" are a From field and a continuation: whoever reads them otherwise reads another
// message than the next hop. Field names are compared without regard to case; blanks before the colon are obsolete and
// still read (RFC 5322 section 4.5). Pure, no allocation. Thread: any.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string_view>

namespace postern::net::smtp {

// The fields that a submission service looks at (RFC 5322 section 3.6, RFC 6376, RFC 8617).
enum class FieldName : std::uint8_t {
  other,
  date,
  message_id,
  from,
  sender,
  reply_to,
  to,
  cc,
  bcc,
  return_path,
  resent_from,
  resent_sender,
  resent_to,
  resent_cc,
  resent_bcc,
  resent_other,  // any other name that begins with "Resent-"
  dkim_signature,
  arc_signature,  // ARC-Message-Signature
};
[[nodiscard]] FieldName field_name_of(std::string_view name);

// A set of FieldName.
class FieldSet {
 public:
  void add(FieldName name) { bits_ |= bit(name); }
  void add(FieldSet other) { bits_ |= other.bits_; }
  [[nodiscard]] bool has(FieldName name) const { return (bits_ & bit(name)) != 0; }

 private:
  static std::uint32_t bit(FieldName name) { return std::uint32_t{1} << static_cast<unsigned>(name); }
  std::uint32_t bits_ = 0;
};

struct HeaderField {
  FieldName name = FieldName::other;
  std::string_view text;   // the whole field: its name, its folded lines, its last line end
  std::string_view value;  // of `text`, behind the colon; with the last line end
};

// Reads the fields of a header, or of a part of one that begins with a field.
class HeaderFieldReader {
 public:
  // `header`: fields and their continuations only (HeaderScanner tells where they end).
  HeaderFieldReader(std::string_view header, bool dot_stuffed) : header_(header), dot_stuffed_(dot_stuffed) {}
  // False: there is no more. A last field that is cut short is handed out as far as it goes.
  [[nodiscard]] bool next(HeaderField& field);
  // Octets of the fields handed out so far.
  [[nodiscard]] std::size_t consumed() const { return at_; }

 private:
  [[nodiscard]] std::size_t end_of_field() const;

  std::string_view header_;
  bool dot_stuffed_;
  std::size_t at_ = 0;
};

// The names in the h= tag of a DKIM-Signature (RFC 6376 section 3.5) or ARC-Message-Signature (RFC 8617 section 4.1.2):
// fields that are signed, or signed as absent. Without h= the signature covers nothing. `other` and `resent_other` are
// not told.
[[nodiscard]] FieldSet signed_fields(std::string_view value, bool dot_stuffed);

}  // namespace postern::net::smtp
