// The content of a message on its way out: stored octets to the octets of DATA (RFC 5321 section 4.5.2) or
// BDAT (RFC 3030).
//
//   DataEncoder encoder(step.form, content_flags);
//   for each piece, in order:
//     while (!piece.empty()) {
//       auto [consumed, parts] = encoder.encode(piece, vectors);
//       send vectors[0 .. parts); piece.remove_prefix(consumed);
//     }
//   parts = encoder.finish(vectors); send them; session.content_sent();
//
// No octet is copied: parts point into the piece or to constants. Stored content that is plain or dot-stuffed
// goes out as one part a piece; only content that came by BDAT and has lines with a dot in front
// (content_needs_stuffing) is searched. Pieces may be cut anywhere; the result is the same.
//
// BDAT never has to take dots away: only content_binary goes by BDAT, and content that came by DATA is never
// binary. Pure, no allocation. Thread: one.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <string_view>
#include <sys/uio.h>

#include "net/smtp/client_session.h"

namespace postern::net::smtp {

class DataEncoder {
 public:
  // Requires: not (form bdat and content_dot_stuffed).
  DataEncoder(ContentForm form, std::uint16_t content_flags);

  struct Progress {
    std::size_t consumed = 0;  // octets of the piece that the parts cover
    std::size_t parts = 0;     // used of `out`
  };
  // Requires out.size() >= 1 and a piece that is not empty; then parts >= 1. `consumed` may be 0 when a part
  // holds nothing but the doubled dot: the call after it goes on.
  Progress encode(std::string_view piece, std::span<iovec> out);
  // The end of DATA: ".", with CRLF before it should the content lack its last line end. No part for BDAT.
  // Requires out.size() >= 1.
  std::size_t finish(std::span<iovec> out);

  // Octets handed out so far, by encode() and finish().
  [[nodiscard]] std::uint64_t wire_bytes() const { return wire_bytes_; }

 private:
  Progress encode_stuffing(std::string_view piece, std::span<iovec> out);
  void remember_end(std::string_view taken);

  bool data_;  // DATA rather than BDAT
  bool stuffing_;
  bool doubled_ = false;     // the dot at the front of the next piece was already doubled
  char before_last_ = '\r';  // the two octets before the next one; a content begins at a line's beginning
  char last_ = '\n';
  std::uint64_t wire_bytes_ = 0;
};

}  // namespace postern::net::smtp
