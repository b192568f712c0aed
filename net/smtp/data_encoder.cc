// Duty: doubles dots at line beginnings where the store did not, and ends DATA. Thread: one.
#include "net/smtp/data_encoder.h"

#include <cstring>

#include "core/assert.h"
#include "net/smtp/envelope.h"

namespace postern::net::smtp {

namespace {

constexpr std::string_view kEnd = ".\r\n";
constexpr std::string_view kLineAndEnd = "\r\n.\r\n";

// iovec is also for reading, so it wants memory that could be written; nobody does.
iovec part_of(std::string_view bytes) {
  return {const_cast<char*>(bytes.data()), bytes.size()};
}

}  // namespace

DataEncoder::DataEncoder(ContentForm form, std::uint16_t content_flags)
    : data_(form == ContentForm::data), stuffing_(data_ && (content_flags & content_needs_stuffing) != 0) {
  POSTERN_ASSERT(data_ || (content_flags & content_dot_stuffed) == 0);
}

DataEncoder::Progress DataEncoder::encode(std::string_view piece, std::span<iovec> out) {
  POSTERN_ASSERT(!out.empty() && !piece.empty());
  if (stuffing_) return encode_stuffing(piece, out);
  out[0] = part_of(piece);
  remember_end(piece);
  wire_bytes_ += piece.size();
  return {piece.size(), 1};
}

// A dot at a line's beginning is sent twice without a constant: it ends one part and begins the next one.
DataEncoder::Progress DataEncoder::encode_stuffing(std::string_view piece, std::span<iovec> out) {
  Progress progress;
  std::size_t search_at = 0;  // from here on dots were not looked at
  if (doubled_) {
    search_at = 1;
    doubled_ = false;
  }
  while (progress.parts < out.size() && progress.consumed < piece.size()) {
    std::size_t dot = std::string_view::npos;
    for (std::size_t at = search_at; at < piece.size(); ++at) {
      at = piece.find('.', at);
      if (at == std::string_view::npos) break;
      const char last = at >= 1 ? piece[at - 1] : last_;
      const char before_last = at >= 2 ? piece[at - 2] : at == 1 ? last_ : before_last_;
      if (last == '\n' && before_last == '\r') {
        dot = at;
        break;
      }
    }
    const bool found = dot != std::string_view::npos;
    const std::size_t end = found ? dot + 1 : piece.size();
    const std::string_view part = piece.substr(progress.consumed, end - progress.consumed);
    out[progress.parts++] = part_of(part);
    wire_bytes_ += part.size();
    progress.consumed = found ? dot : piece.size();
    search_at = dot + 1;
    doubled_ = found;
  }
  if (progress.consumed != 0) remember_end(piece.substr(0, progress.consumed));
  return progress;
}

void DataEncoder::remember_end(std::string_view taken) {
  before_last_ = taken.size() >= 2 ? taken[taken.size() - 2] : last_;
  last_ = taken.back();
}

std::size_t DataEncoder::finish(std::span<iovec> out) {
  POSTERN_ASSERT(!out.empty() && !doubled_);
  if (!data_) return 0;
  const std::string_view end = before_last_ == '\r' && last_ == '\n' ? kEnd : kLineAndEnd;
  out[0] = part_of(end);
  wire_bytes_ += end.size();
  return 1;
}

}  // namespace postern::net::smtp
