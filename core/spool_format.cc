#include "core/spool_format.h"

#include <algorithm>
#include <charconv>
#include <cstdio>
#include <cstring>

#include "core/assert.h"
#include "core/crc32c.h"

namespace postern::core {
namespace {

constexpr std::uint32_t kRecordMagic = 0x43455250;          // "PREC"
constexpr std::uint64_t kSegmentMagic = 0x474553'4e545350;  // "PSTNSEG\0"
constexpr std::size_t kCrcAt = 60;

struct SegmentHeaderImage {
  std::uint64_t magic;
  std::uint32_t version;
  std::uint32_t log_number;
  std::uint64_t sequence;
  std::uint64_t life;
  std::uint64_t segment_bytes;
  std::uint64_t id_floor;
  std::uint64_t zero64;
  std::uint32_t zero32;
  std::uint32_t crc;
};
static_assert(sizeof(SegmentHeaderImage) == 64);

std::uint32_t keyed_crc(const char* header, std::uint64_t life, std::uint64_t offset) {
  const std::uint64_t key[2] = {life, offset};
  return crc32c(crc32c(0, key, sizeof key), header, kCrcAt);
}

std::optional<std::uint64_t> parse_hex(std::string_view digits) {
  std::uint64_t value = 0;
  for (const char c : digits) {
    if ((c < '0' || c > '9') && (c < 'a' || c > 'f')) return std::nullopt;
  }
  const auto [end, error] = std::from_chars(digits.data(), digits.data() + digits.size(), value, 16);
  if (error != std::errc() || end != digits.data() + digits.size()) return std::nullopt;
  return value;
}

bool lengths_are_sound(const RecordHeader& header) {
  if (header.type == RecordType::commit) {
    CommitHeader commit;
    std::memcpy(static_cast<void*>(&commit), &header, sizeof commit);
    return commit.header_bytes == kRecordHeaderBytes && commit.used_bytes >= kRecordHeaderBytes &&
           commit.used_bytes <= commit.commit_bytes && commit.commit_bytes <= kCommitBytesMax &&
           commit.used_bytes % 8 == 0 && commit.commit_bytes % kBlockBytes == 0;
  }
  if (header.type != RecordType::item && header.type != RecordType::state && header.type != RecordType::finish) {
    return false;
  }
  if (header.inline_body_bytes() > kCommitBytesMax) return false;
  return header.record_bytes <= kCommitBytesMax && header.record_bytes == record_bytes_for(header.payload_bytes());
}

}  // namespace

void encode_segment_header(const SegmentHeader& header, std::span<char, kBlockBytes> block) {
  SegmentHeaderImage image{};
  image.magic = kSegmentMagic;
  image.version = kFormatVersion;
  image.log_number = header.log_number;
  image.sequence = header.sequence;
  image.life = header.life;
  image.segment_bytes = header.segment_bytes;
  image.id_floor = header.id_floor;
  image.crc = crc32c(0, &image, kCrcAt);
  std::fill(block.begin(), block.end(), '\0');
  std::memcpy(block.data(), &image, sizeof image);
}

HeaderState decode_segment_header(std::span<const char, kBlockBytes> block, SegmentHeader& header) {
  SegmentHeaderImage image;
  std::memcpy(&image, block.data(), sizeof image);
  if (image.magic != kSegmentMagic || image.crc != crc32c(0, &image, kCrcAt)) {
    const bool zeros = std::all_of(block.begin(), block.end(), [](char c) { return c == '\0'; });
    return zeros ? HeaderState::blank : HeaderState::damaged;
  }
  if (image.version != kFormatVersion) return HeaderState::foreign;
  header.log_number = image.log_number;
  header.sequence = image.sequence;
  header.life = image.life;
  header.segment_bytes = image.segment_bytes;
  header.id_floor = image.id_floor;
  return HeaderState::valid;
}

void finish_record(RecordHeader header, char* record) {
  const std::uint64_t payload = header.payload_bytes();
  const std::uint64_t total = record_bytes_for(payload);
  POSTERN_ASSERT(total <= kCommitBytesMax);
  char* const behind = record + kRecordHeaderBytes + payload;
  std::memset(behind, 0, static_cast<std::size_t>(record + total - behind));
  header.magic = kRecordMagic;
  header.record_bytes = static_cast<std::uint32_t>(total);
  header.payload_crc = crc32c(0, record + kRecordHeaderBytes, payload);
  std::memcpy(record, &header, sizeof header);
}

void seal_record(char* record, std::uint64_t life, std::uint64_t offset) {
  std::memcpy(record + offsetof(RecordHeader, life), &life, sizeof life);
  const std::uint32_t crc = keyed_crc(record, life, offset);
  std::memcpy(record + kCrcAt, &crc, sizeof crc);
}

void seal_commit(CommitHeader header, char* commit, std::uint64_t offset) {
  header.magic = kRecordMagic;
  std::memcpy(commit, &header, sizeof header);
  seal_record(commit, header.life, offset);
}

RecordHeader read_record_header(const char* record) {
  RecordHeader header;
  std::memcpy(static_cast<void*>(&header), record, sizeof header);
  return header;
}

CommitHeader read_commit_header(const char* record) {
  CommitHeader header;
  std::memcpy(static_cast<void*>(&header), record, sizeof header);
  return header;
}

std::optional<RecordHeader> check_record_header(const char* record, std::uint64_t life, std::uint64_t offset) {
  std::uint32_t magic;
  std::memcpy(&magic, record, sizeof magic);
  if (magic != kRecordMagic) return std::nullopt;
  const RecordHeader header = read_record_header(record);
  if (header.life != life || header.header_crc != keyed_crc(record, life, offset)) return std::nullopt;
  if (!lengths_are_sound(header)) return std::nullopt;
  return header;
}

bool check_payload(const RecordHeader& header, const char* record) {
  return crc32c(0, record + kRecordHeaderBytes, header.payload_bytes()) == header.payload_crc;
}

// --- RecordScanner --------------------------------------------------------------------------------------------------

void RecordScanner::enter_hole() {
  if (in_hole_) return;
  in_hole_ = true;
  hole_ = position_;
  hole_in_commit_ = used_end_ != 0;
}

RecordScanner::Step RecordScanner::found(const char* at, const RecordHeader& header, std::uint64_t window_end) {
  if (header.type == RecordType::commit) {
    commit_ = read_commit_header(at);
    offset_ = position_;
    used_end_ = position_ + commit_.used_bytes;
    commit_end_ = position_ + commit_.commit_bytes;
    position_ += kRecordHeaderBytes;
    sound_end_ = commit_end_;
    in_hole_ = false;
    return Step::commit;
  }
  if (position_ + header.record_bytes > window_end) return Step::more;
  header_ = header;
  record_in_commit_ = used_end_ != 0;
  offset_ = position_;
  payload_ = at + kRecordHeaderBytes;
  position_ += header.record_bytes;
  sound_end_ = std::max(sound_end_, round_up(position_, kBlockBytes));
  in_hole_ = false;
  return check_payload(header, at) ? Step::record : Step::damaged_payload;
}

RecordScanner::Step RecordScanner::next(std::string_view window, std::uint64_t base) {
  const std::uint64_t window_end = base + window.size();
  if (!in_hole_) {
    hole_ = 0;
    hole_in_commit_ = false;
  }
  for (;;) {
    if (used_end_ != 0 && position_ >= used_end_) {
      position_ = commit_end_;
      used_end_ = 0;
    }
    if (position_ + kRecordHeaderBytes > segment_bytes_) return Step::end;
    if (position_ < base || position_ + kRecordHeaderBytes > window_end) return Step::more;
    const char* at = window.data() + (position_ - base);
    const std::optional<RecordHeader> header = check_record_header(at, life_, position_);
    const std::uint64_t length = !header                              ? 0
                                 : header->type == RecordType::commit ? read_commit_header(at).commit_bytes
                                                                      : header->record_bytes;
    if (header && position_ + length <= segment_bytes_) return found(at, *header, window_end);
    enter_hole();
    // Only multiples of 8 can begin a record; look for the magic alone, the CRC decides.
    do {
      position_ += 8;
      at += 8;
      if (position_ == used_end_ || position_ + kRecordHeaderBytes > window_end) break;
      std::uint32_t magic;
      std::memcpy(&magic, at, sizeof magic);
      if (magic == kRecordMagic) break;
    } while (true);
  }
}

// --- names ----------------------------------------------------------------------------------------------------------

std::string segment_file_name(std::uint32_t number) {
  char text[32];
  std::snprintf(text, sizeof text, "seg-%08x.seg", number);
  return text;
}

std::optional<std::uint32_t> parse_segment_file_name(std::string_view name) {
  if (name.size() != 16 || !name.starts_with("seg-") || !name.ends_with(".seg")) return std::nullopt;
  const auto value = parse_hex(name.substr(4, 8));
  if (!value) return std::nullopt;
  return static_cast<std::uint32_t>(*value);
}

std::string large_file_name(std::uint64_t id) {
  char text[32];
  std::snprintf(text, sizeof text, "%016llx", static_cast<unsigned long long>(id));
  return text;
}

std::optional<std::uint64_t> parse_large_file_name(std::string_view name) {
  if (name.size() != 16) return std::nullopt;
  return parse_hex(name);
}

std::string log_folder_name(std::uint32_t number) {
  char text[32];
  std::snprintf(text, sizeof text, "log-%04u", number);
  return text;
}

std::optional<std::uint32_t> parse_log_folder_name(std::string_view name) {
  if (name.size() != 8 || !name.starts_with("log-")) return std::nullopt;
  std::uint32_t value = 0;
  for (const char c : name.substr(4)) {
    if (c < '0' || c > '9') return std::nullopt;
    value = value * 10 + static_cast<std::uint32_t>(c - '0');
  }
  if (value >= (1u << kLogNumberBits)) return std::nullopt;
  return value;
}

}  // namespace postern::core
