// Reading a log as a crash left it: which items live, where they lie, and what is wrong.
//
// Only reads. Segments are taken in the order of their lives and records in the order they were written; a later record
// of an item wins, so the two copies that a crash in compaction leaves are one item. Only whole records count: right
// magic, life id, place and both CRCs.
// An unsound place is damage when a later commit vouches for it (see spool_format.h); otherwise it is a torn tail, of
//   which nothing was acknowledged. Either way what is sound behind it is kept.
// A segment whose header is unsound but which holds records is left aside, untouched, and reported.
// Thread: the one that opens the log. Blocks.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "core/result.h"
#include "core/spool.h"
#include "core/spool_format.h"
#include "core/spool_index.h"

namespace postern::core {

struct FoundSegment {
  enum class State : std::uint8_t {
    used,     // has a sound header
    blank,    // of full length, holds nothing: may be used
    partial,  // was being made, or its length is not what its header says: to be removed
    aside,    // an unsound header before sound records: not ours to touch
  };
  std::string name;
  std::uint32_t number = 0;
  std::uint64_t file_bytes = 0;
  State state = State::blank;
  SegmentHeader header;
  std::uint64_t sound_end = 0;  // behind the last sound record, a multiple of 4 KiB
  std::uint64_t records = 0;    // commits counted in
  bool is_clean = true;         // nothing unsound in it
};

struct FoundItem {
  IndexEntry entry;              // places name indexes of FoundLog::segments
  std::unique_ptr<char[]> text;  // head, then state
  std::uint32_t state_bytes = 0;

  [[nodiscard]] std::string_view head() const { return {text.get(), entry.head_bytes}; }
  [[nodiscard]] std::string_view state() const { return {text.get() + entry.head_bytes, state_bytes}; }
};

struct FoundLog {
  std::vector<FoundSegment> segments;  // used ones first, in the order of their lives
  IdTable<FoundItem> items;
  std::uint64_t sequence_max = 0;
  std::uint32_t number_max = 0;        // of segment files
  std::uint64_t id_counter_floor = 0;  // every id counter ever seen is smaller
  std::vector<ItemId> lost_bodies;     // live items whose large file is missing or short
  std::vector<std::string> orphans;    // names in large/ that no live item has
};

// Makes what scan_log() will read final: waits until no write to a segment is under way any more (a process that was
// killed leaves some to the kernel, and each holds its file's lock; see SegmentStore), and syncs it. Otherwise a later
// power cut could take back a finish record that this start acts on. What cannot be synced is noted and read all the same:
// whatever was acknowledged is durable anyway, and the worst is a message delivered twice.
// Requires the log's lock. Error: a write is still under way after half a minute.
Result<void> settle_segments(const std::string& directory, RecoveryReport& report);

// `directory` is the log's. `log_number`: what its headers must say. Fills `report` except for orphans_removed.
// Error: the folder cannot be read, a foreign format version, another log's segments.
Result<FoundLog> scan_log(const std::string& directory, std::uint32_t log_number, RecoveryReport& report);

// Memory whose address is a multiple of 4 KiB, for O_DIRECT.
struct FreeAligned {
  void operator()(char* memory) const;
};
using AlignedMemory = std::unique_ptr<char[], FreeAligned>;
AlignedMemory make_aligned(std::size_t bytes);  // zeroed

}  // namespace postern::core
