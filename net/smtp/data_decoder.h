// The octets of one message as DATA (RFC 5321 section 4.5.2) or BDAT (RFC 3030) carries them: finds DATA's
// end, and what the content holds. Nothing is copied or changed; a content is passed on as spans of the
// input, dot-stuffed as it came.
//
// Only CRLF.CRLF ends DATA. A CR or LF that stands alone is a fault, not a line's end: a peer that read one
// as such could be made to see another message in this one (SMTP smuggling). Faults are gathered over the
// whole content, so that the refusal does not depend on how the input was cut.
//
// Speed: 64 octets a step by SSE2, or by plain loops elsewhere; several GB/s.
// Pure. Thread: one.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string_view>

#include "net/smtp/header_scanner.h"

namespace postern::net::smtp {

// Bits of DataDecoder::faults().
enum ContentFaults : std::uint8_t {
  fault_bare_octet = 1,  // a CR without LF, or an LF without CR
  fault_long_line = 2,   // more than 998 octets and CRLF (RFC 5321 section 4.5.3.1.6; the doubled dot not counted)
};

class DataDecoder {
 public:
  static constexpr std::int64_t kLineBytesMax = 1000;  // with its CRLF

  // A content that DATA's dot ends, or one whose pieces BDAT counts.
  void begin(bool ended_by_dot);

  struct Piece {
    std::size_t consumed = 0;
    std::string_view content;  // a span of the input, or static storage (see decode)
    bool end = false;          // DATA: the closing dot was consumed
  };
  // Consumes all of the input, or up to the closing dot; call again until the input is empty or `end`. A last
  // dot, or dot and CR, that may yet turn out to be the closing one is consumed and kept back; when the next
  // input shows that it is content, a piece of its own hands it out first.
  Piece decode(std::string_view input);

  [[nodiscard]] std::uint8_t faults() const { return faults_; }
  // BDAT: the last octet was a CR that nothing followed. To be asked at the end only.
  [[nodiscard]] bool ends_in_bare_return() const { return previous_return_; }
  [[nodiscard]] bool ends_with_line_end() const { return at_line_start_; }  // or is empty
  [[nodiscard]] std::uint16_t content_flags() const { return flags_; }
  [[nodiscard]] std::uint32_t hops() const { return header_.hops(); }
  [[nodiscard]] std::uint64_t content_bytes() const { return content_bytes_; }
  // The message's size as SIZE counts it: without the doubled dots (RFC 1870 section 5).
  [[nodiscard]] std::uint64_t message_bytes() const { return content_bytes_ - doubled_dots_; }

 private:
  struct Masks;  // what 64 octets hold, a bit each

  Piece resume_dot(std::string_view input);
  Piece scan(std::string_view input);
  std::size_t find_dot(std::string_view input, std::size_t at, const Masks& masks, std::size_t& octets) const;
  void take_block(const Masks& masks, std::size_t at, std::size_t octets);
  void note_header(std::string_view content);

  HeaderScanner header_;
  bool ended_by_dot_ = true;
  bool at_line_start_ = true;
  bool previous_return_ = false;  // the last octet was CR
  bool line_is_stuffed_ = false;  // the line under way began with a dot that does not count
  std::uint8_t held_ = 0;         // octets of a closing dot begun in an earlier input: "." or ".<CR>"
  std::uint8_t faults_ = 0;
  std::uint16_t flags_ = 0;
  std::int64_t line_start_ = 0;  // of the line under way, relative to the input's beginning (negative: earlier)
  std::uint64_t content_bytes_ = 0;
  std::uint64_t doubled_dots_ = 0;
};

}  // namespace postern::net::smtp
