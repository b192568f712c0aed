#include "net/smtp/data_decoder.h"

#include <bit>
#include <cstring>

#include "net/smtp/envelope.h"

#if defined(__SSE2__)
#include <emmintrin.h>
#endif

namespace postern::net::smtp {
namespace {

constexpr std::size_t kBlock = 64;
constexpr std::string_view kClosingDot = ".\r\n";

std::uint64_t low_bits(std::size_t count) {
  return count >= kBlock ? ~std::uint64_t{0} : (std::uint64_t{1} << count) - 1;
}

bool has_high_octet(std::string_view octets) {
  std::uint64_t seen = 0;
  std::size_t at = 0;
  for (; octets.size() - at >= kBlock; at += kBlock) {
    std::uint64_t words[8];
    std::memcpy(words, octets.data() + at, sizeof words);
    for (const std::uint64_t word : words) seen |= word;
  }
  for (; at < octets.size(); ++at) {
    if ((static_cast<unsigned char>(octets[at]) & 0x80) != 0) return true;
  }
  return (seen & 0x8080808080808080) != 0;
}

}  // namespace

// Bit i speaks of octet i.
struct DataDecoder::Masks {
  std::uint64_t returns = 0;
  std::uint64_t feeds = 0;
  std::uint64_t dots = 0;

#if defined(__SSE2__)
  static Masks of(const char* octets) {
    Masks masks;
    const __m128i cr = _mm_set1_epi8('\r');
    const __m128i lf = _mm_set1_epi8('\n');
    const __m128i dot = _mm_set1_epi8('.');
    for (unsigned i = 0; i < 4; ++i) {
      const __m128i part = _mm_loadu_si128(reinterpret_cast<const __m128i*>(octets + 16 * i));
      masks.returns |= bits(_mm_cmpeq_epi8(part, cr)) << (16 * i);
      masks.feeds |= bits(_mm_cmpeq_epi8(part, lf)) << (16 * i);
      masks.dots |= bits(_mm_cmpeq_epi8(part, dot)) << (16 * i);
    }
    return masks;
  }
  static std::uint64_t bits(__m128i equal) {
    return static_cast<std::uint16_t>(_mm_movemask_epi8(equal));
  }
#else
  static Masks of(const char* octets) {
    Masks masks;
    for (unsigned i = 0; i < kBlock; ++i) {
      masks.returns |= static_cast<std::uint64_t>(octets[i] == '\r') << i;
      masks.feeds |= static_cast<std::uint64_t>(octets[i] == '\n') << i;
      masks.dots |= static_cast<std::uint64_t>(octets[i] == '.') << i;
    }
    return masks;
  }
#endif

  // Fewer than 64 octets; the bits behind them are clear.
  static Masks of_tail(std::string_view octets) {
    char block[kBlock] = {};
    std::memcpy(block, octets.data(), octets.size());
    return of(block);
  }
};

void DataDecoder::begin(bool ended_by_dot) {
  *this = DataDecoder();
  header_ = HeaderScanner(ended_by_dot);
  ended_by_dot_ = ended_by_dot;
}

DataDecoder::Piece DataDecoder::decode(std::string_view input) {
  if (input.empty()) return {};
  if (held_ != 0) return resume_dot(input);
  return scan(input);
}

DataDecoder::Piece DataDecoder::resume_dot(std::string_view input) {
  Piece piece;
  while (piece.consumed < input.size() && held_ < kClosingDot.size() && input[piece.consumed] == kClosingDot[held_]) {
    ++held_;
    ++piece.consumed;
  }
  piece.end = held_ == kClosingDot.size();
  if (piece.end || piece.consumed == input.size()) return piece;
  // It was a line that begins with a dot after all.
  piece.content = kClosingDot.substr(0, held_);
  flags_ |= content_dot_stuffed;
  line_is_stuffed_ = true;
  line_start_ = -static_cast<std::int64_t>(held_);
  previous_return_ = held_ == 2;
  at_line_start_ = false;
  content_bytes_ += held_;
  ++doubled_dots_;
  held_ = 0;
  note_header(piece.content);
  return piece;
}

DataDecoder::Piece DataDecoder::scan(std::string_view input) {
  Piece piece;
  std::size_t at = 0;
  std::size_t dot = 0;  // octets of a closing dot behind `at`, whole or begun
  while (at < input.size() && dot == 0) {
    const std::size_t left = input.size() - at;
    const Masks masks = left >= kBlock ? Masks::of(input.data() + at) : Masks::of_tail(input.substr(at));
    std::size_t octets = left >= kBlock ? kBlock : left;
    if (ended_by_dot_) dot = find_dot(input, at, masks, octets);
    take_block(masks, at, octets);
    at += octets;
  }
  const auto size = static_cast<std::int64_t>(at);
  if (!at_line_start_ && size - line_start_ > kLineBytesMax + (line_is_stuffed_ ? 1 : 0)) faults_ |= fault_long_line;
  line_start_ -= size;
  content_bytes_ += at;
  piece.content = input.substr(0, at);
  piece.consumed = at + dot;
  piece.end = dot == kClosingDot.size();
  held_ = piece.end ? 0 : static_cast<std::uint8_t>(dot);
  note_header(piece.content);
  return piece;
}

// Looks at the dots that open a line. Cuts `octets` before the closing one, and returns how much of it is
// there; 0: none.
std::size_t DataDecoder::find_dot(std::string_view input, std::size_t at, const Masks& masks,
                                  std::size_t& octets) const {
  const std::uint64_t line_ends = masks.feeds & (masks.returns << 1 | (previous_return_ ? 1U : 0U));
  const std::uint64_t starts = line_ends << 1 | (at_line_start_ ? 1U : 0U);
  for (std::uint64_t dots = starts & masks.dots; dots != 0; dots &= dots - 1) {
    const auto offset = static_cast<std::size_t>(std::countr_zero(dots));
    const std::string_view behind = input.substr(at + offset, kClosingDot.size());
    if (behind != kClosingDot.substr(0, behind.size())) continue;
    octets = offset;
    return behind.size();
  }
  return 0;
}

void DataDecoder::take_block(const Masks& masks, std::size_t at, std::size_t octets) {
  if (octets == 0) return;
  const std::uint64_t valid = low_bits(octets);
  const std::uint64_t feeds = masks.feeds & valid;
  const std::uint64_t after_return = masks.returns << 1 | (previous_return_ ? 1U : 0U);
  if (((after_return ^ feeds) & valid) != 0) faults_ |= fault_bare_octet;

  const auto start_of_block = static_cast<std::int64_t>(at);
  const std::uint64_t line_ends = feeds & after_return;
  const std::uint64_t starts = (line_ends << 1 | (at_line_start_ ? 1U : 0U)) & valid;
  const std::uint64_t dotted = starts & masks.dots;
  if (dotted != 0) flags_ |= ended_by_dot_ ? content_dot_stuffed : content_needs_stuffing;
  if (ended_by_dot_) doubled_dots_ += static_cast<unsigned>(std::popcount(dotted));
  if (at_line_start_) {
    line_start_ = start_of_block;
    line_is_stuffed_ = ended_by_dot_ && (dotted & 1) != 0;
  }
  if (line_ends != 0) {
    // Only the first end in a block can close a long line; the last one opens the line that goes on behind
    // the block.
    const std::int64_t first_end = start_of_block + std::countr_zero(line_ends) + 1;
    if (first_end - line_start_ > kLineBytesMax + (line_is_stuffed_ ? 1 : 0)) faults_ |= fault_long_line;
    const auto behind_last = static_cast<std::size_t>(64 - std::countl_zero(line_ends));
    if (behind_last < octets) {
      line_start_ = start_of_block + static_cast<std::int64_t>(behind_last);
      line_is_stuffed_ = ended_by_dot_ && (dotted >> behind_last & 1) != 0;
    }
  }
  previous_return_ = (masks.returns >> (octets - 1) & 1) != 0;
  at_line_start_ = (line_ends >> (octets - 1) & 1) != 0;
}

void DataDecoder::note_header(std::string_view content) {
  const std::size_t header = header_.ended() ? 0 : header_.feed(content);
  if (header != 0 && (flags_ & content_eight_bit_header) == 0 && has_high_octet(content.substr(0, header))) {
    flags_ |= content_eight_bit_header;
  }
  if ((flags_ & content_eight_bit) == 0 && has_high_octet(content.substr(header))) flags_ |= content_eight_bit;
}

}  // namespace postern::net::smtp
