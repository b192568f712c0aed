// The spool on disk: what a segment, a commit and a record look like. Pure: octets in, values out.
//
//   DIR/FORMAT                      "postern spool 1\n"
//   DIR/log-0003/lock               the process that has the log open
//   DIR/log-0003/seg-0000002a.seg   segment files of a fixed size, prewritten, recycled oldest first
//   DIR/log-0003/large/<id>         a large body each, sixteen hexadecimal digits
//
//   segment   | header, 4 KiB | commit | commit | ... | nothing yet: zeros, or the records of a former life |
//   commit    | commit header, 64 | record | record | ... | zeros up to a multiple of 4 KiB |
//   record    | record header, 64 | head | state | body | zeros up to a multiple of 8 |
//
// All integers are little-endian. A segment's life begins with a header that carries a fresh random 64-bit life id.
// Every record and commit header carries that id, and its header CRC is keyed with the id and with its own offset:
// neither the records of a former life of the file nor octets inside a message can pass for a record.
//
// record header                             commit header
//    0 u32 magic "PREC"                        0 u32 magic "PREC"
//    4 u8  type: item, state, finish           4 u8  type: commit
//    5 u8  flags: large, moved                 5 u8  0
//    6 u16 content flags (the caller's)        6 u16 0
//    8 u64 life id                             8 u64 life id
//   16 u64 item id                            16 u64 chain
//   24 i64 accepted, unix ns                  24 u64 number: 0, 1, 2, ... in its chain
//   32 u64 body octets (here or in its file)  32 u64 durable: all smaller numbers were on disk when this was issued
//   40 u32 head octets                        40 u32 length of the commit, padding included
//   44 u32 state octets                       44 u32 length of the commit without padding
//   48 u32 record octets, header included     48 u32 64
//   52 u32 CRC of the large body's file       52 u32 records
//   56 u32 payload CRC: head, state, body     56 u32 0
//   60 u32 header CRC                         60 u32 header CRC
//
// A chain is an unbroken series of commits of one run. Several commits may be in flight at once, so after a power cut a
// hole may be followed by whole commits. `durable` tells a torn tail from damage: a missing or bad commit number is
// damage exactly when a commit of the same chain vouches for it with a greater `durable`.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>

namespace postern::core {

inline constexpr std::uint64_t kBlockBytes = 4096;  // the unit of commits: no acknowledged block is written again
inline constexpr std::uint32_t kRecordHeaderBytes = 64;
inline constexpr std::uint32_t kCommitBytesMax = 2u << 20;     // so that a reader's window holds any commit
inline constexpr std::uint64_t kInFlightBytesMax = 16u << 20;  // all commits in flight: how far behind the last whole
                                                               // record recovery must look
inline constexpr int kLogNumberBits = 10;
inline constexpr int kCounterBits = 64 - kLogNumberBits;  // of an item id
inline constexpr std::uint32_t kFormatVersion = 1;

inline constexpr std::uint64_t round_up(std::uint64_t value, std::uint64_t unit) {
  return (value + unit - 1) / unit * unit;
}
inline constexpr std::uint64_t round_down(std::uint64_t value, std::uint64_t unit) {
  return value / unit * unit;
}

// --- segments -------------------------------------------------------------------------------------------------------

struct SegmentHeader {
  std::uint32_t log_number = 0;
  std::uint64_t sequence = 0;  // 1, 2, 3, ... in the log: the order of lives
  std::uint64_t life = 0;
  std::uint64_t segment_bytes = 0;
  std::uint64_t id_floor = 0;  // every id counter handed out before this life began is smaller
};

enum class HeaderState {
  valid,
  blank,    // all zeros: prewritten, never used
  foreign,  // a whole header of another format version
  damaged,
};

// Fills the segment's first block.
void encode_segment_header(const SegmentHeader& header, std::span<char, kBlockBytes> block);
HeaderState decode_segment_header(std::span<const char, kBlockBytes> block, SegmentHeader& header);

// --- records --------------------------------------------------------------------------------------------------------

enum class RecordType : std::uint8_t { item = 1, state = 2, finish = 3, commit = 4 };

inline constexpr std::uint8_t kRecordLarge = 1;  // item: the body lies in a file; finish: of such an item
inline constexpr std::uint8_t kRecordMoved = 2;  // item: a copy made by compaction, with its state of that time

struct RecordHeader {
  std::uint32_t magic = 0;
  RecordType type = RecordType::item;
  std::uint8_t flags = 0;
  std::uint16_t content_flags = 0;
  std::uint64_t life = 0;
  std::uint64_t id = 0;
  std::int64_t accepted_unix_ns = 0;
  std::uint64_t body_bytes = 0;
  std::uint32_t head_bytes = 0;
  std::uint32_t state_bytes = 0;
  std::uint32_t record_bytes = 0;
  std::uint32_t file_crc = 0;
  std::uint32_t payload_crc = 0;
  std::uint32_t header_crc = 0;

  [[nodiscard]] bool is_large() const { return (flags & kRecordLarge) != 0; }
  [[nodiscard]] bool is_moved() const { return (flags & kRecordMoved) != 0; }
  [[nodiscard]] std::uint64_t inline_body_bytes() const { return is_large() ? 0 : body_bytes; }
  [[nodiscard]] std::uint64_t payload_bytes() const {
    return std::uint64_t{head_bytes} + state_bytes + inline_body_bytes();
  }
};
static_assert(sizeof(RecordHeader) == kRecordHeaderBytes);

struct CommitHeader {
  std::uint32_t magic = 0;
  RecordType type = RecordType::commit;
  std::uint8_t zero8 = 0;
  std::uint16_t zero16 = 0;
  std::uint64_t life = 0;
  std::uint64_t chain = 0;
  std::uint64_t number = 0;
  std::uint64_t durable = 0;
  std::uint32_t commit_bytes = 0;
  std::uint32_t used_bytes = 0;
  std::uint32_t header_bytes = kRecordHeaderBytes;
  std::uint32_t records = 0;
  std::uint32_t zero32 = 0;
  std::uint32_t header_crc = 0;
};
static_assert(sizeof(CommitHeader) == kRecordHeaderBytes);

// The length of a record with this payload.
inline constexpr std::uint64_t record_bytes_for(std::uint64_t payload_bytes) {
  return kRecordHeaderBytes + round_up(payload_bytes, 8);
}

// Completes the record at `record`, whose payload is in place behind it: lengths, padding, payload CRC. What depends on
// where it will lie is left to seal().
void finish_record(RecordHeader header, char* record);
// Binds a finished record to its place. The commit's own header is bound with seal_commit.
void seal_record(char* record, std::uint64_t life, std::uint64_t offset);
void seal_commit(CommitHeader header, char* commit, std::uint64_t offset);

// The header at `record` (64 octets), which may still be unsealed.
[[nodiscard]] RecordHeader read_record_header(const char* record);

// The header at `record` if it is sound: magic, life, place, lengths and CRC. The payload is not looked at. For a
// commit the result's type says so: read it again with read_commit_header.
[[nodiscard]] std::optional<RecordHeader> check_record_header(const char* record, std::uint64_t life,
                                                              std::uint64_t offset);
[[nodiscard]] CommitHeader read_commit_header(const char* record);
// The payload of a sound header matches its CRC.
[[nodiscard]] bool check_payload(const RecordHeader& header, const char* record);

// --- walking a segment ----------------------------------------------------------------------------------------------

// Finds the sound records of one life in a segment, window by window, and says where something is missing. After an
// unsound place it looks for the next sound header at every multiple of 8.
class RecordScanner {
 public:
  enum class Step {
    commit,           // commit() is the header of the commit that follows
    record,           // header(), payload() and offset() are a whole record
    damaged_payload,  // header() is sound, its payload is not
    more,             // the window must be moved on: it has to begin at or (by less than a block) before position()
    end,
  };

  RecordScanner(std::uint64_t life, std::uint64_t segment_bytes) : life_(life), segment_bytes_(segment_bytes) {}

  // `window` holds the segment's octets from `base` on. Requires a window of at least kCommitBytesMax + kBlockBytes, or
  // one that reaches the segment's end.
  Step next(std::string_view window, std::uint64_t base);

  [[nodiscard]] const RecordHeader& header() const { return header_; }
  [[nodiscard]] const CommitHeader& commit() const { return commit_; }
  [[nodiscard]] std::uint64_t offset() const { return offset_; }
  [[nodiscard]] std::string_view head() const { return {payload_, header_.head_bytes}; }
  [[nodiscard]] std::string_view state() const { return {payload_ + header_.head_bytes, header_.state_bytes}; }
  [[nodiscard]] std::string_view body() const {
    return {payload_ + header_.head_bytes + header_.state_bytes, header_.inline_body_bytes()};
  }
  [[nodiscard]] std::uint64_t position() const { return position_; }
  // The unsound stretch that was passed to come to what the last next() returned; at the end: what comes behind the
  // last sound record, unless that ended exactly where its commit ends.
  [[nodiscard]] bool after_hole() const { return hole_ != 0; }
  [[nodiscard]] std::uint64_t hole_begin() const { return hole_; }
  // The hole begins in the commit that was returned last before it; else it begins where a commit should.
  [[nodiscard]] bool hole_in_commit() const { return hole_in_commit_; }
  // The record found last lies in the commit that commit() names; else its commit's header is unsound.
  [[nodiscard]] bool record_in_commit() const { return record_in_commit_; }
  // How much nothing has been seen behind the last sound record.
  [[nodiscard]] std::uint64_t hole_bytes() const { return in_hole_ ? position_ - hole_ : 0; }
  // Behind the last sound thing, padding included.
  [[nodiscard]] std::uint64_t sound_end() const { return sound_end_; }

 private:
  void enter_hole();
  Step found(const char* at, const RecordHeader& header, std::uint64_t window_end);

  std::uint64_t life_;
  std::uint64_t segment_bytes_;
  std::uint64_t position_ = kBlockBytes;
  std::uint64_t used_end_ = 0;  // of the current commit; 0: none
  std::uint64_t commit_end_ = 0;
  std::uint64_t sound_end_ = kBlockBytes;
  std::uint64_t hole_ = 0;
  bool hole_in_commit_ = false;
  bool record_in_commit_ = false;
  bool in_hole_ = false;
  std::uint64_t offset_ = 0;
  RecordHeader header_;
  CommitHeader commit_;
  const char* payload_ = nullptr;
};

// --- names ----------------------------------------------------------------------------------------------------------

inline constexpr std::string_view kFormatText = "postern spool 1\n";
[[nodiscard]] std::string segment_file_name(std::uint32_t number);  // "seg-0000002a.seg"
[[nodiscard]] std::optional<std::uint32_t> parse_segment_file_name(std::string_view name);
[[nodiscard]] std::string large_file_name(std::uint64_t id);  // sixteen hexadecimal digits
[[nodiscard]] std::optional<std::uint64_t> parse_large_file_name(std::string_view name);
[[nodiscard]] std::string log_folder_name(std::uint32_t number);  // "log-0003"
[[nodiscard]] std::optional<std::uint32_t> parse_log_folder_name(std::string_view name);

}  // namespace postern::core
