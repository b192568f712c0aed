// Moving the last items out of the oldest segment, so that it and the dead ones behind it can be used again.
//
// Only the oldest segment is ever a source (lives end in order). Its records are read in sequence and checked; those
// that are still items are appended again as moved items, with their present state. The original stands until the copy
// is durable (CommitLog::settle_moves), and the segment is free once nothing in it lives.
//
// When: more than half of what the log holds is dead and at least kSegmentsLeast segments are in use, so that moving
//   costs at most as much writing as the mail itself did; or the disk is full and there is something to gain, whatever
//   it costs; or the oldest segment may not be written again.
// How much: kStepBytes a turn, and only into buffers that appends can spare.
// An item whose record or state cannot be read stays where it is and keeps its segment; it is counted (read_errors), and
//   its owner meets the error when it loads it. Thread: the worker's.
#pragma once

#include <cstdint>
#include <optional>
#include <string_view>

#include "core/ring.h"
#include "core/spool.h"
#include "core/spool_commit.h"
#include "core/spool_format.h"
#include "core/spool_index.h"
#include "core/spool_recovery.h"
#include "core/spool_segments.h"

namespace postern::core {

class Compactor {
 public:
  static constexpr std::size_t kSegmentsLeast = 4;
  static constexpr std::uint64_t kStepBytes = 256u << 10;

  Compactor(const SpoolOptions& options, Ring& ring, SegmentStore& segments, ItemIndex& index, CommitLog& log,
            SpoolCounters& counters);
  ~Compactor() = default;
  Compactor(const Compactor&) = delete;
  Compactor& operator=(const Compactor&) = delete;

  void step();
  [[nodiscard]] bool is_idle() const { return reading_ == Reading::none; }

 private:
  enum class Reading : std::uint8_t { none, records, state };

  [[nodiscard]] bool is_wanted();
  void start();
  void stop();
  bool find_survivor();
  bool move_survivor(std::uint64_t& moved_bytes);
  bool have_state(const IndexEntry& entry, std::string_view& state);
  void read(Reading what, Segment& segment, AlignedMemory& into, std::uint64_t begin, std::uint64_t bytes);
  void skip_unreadable();
  void on_read(Completion& completion, const Outcome& outcome) noexcept;

  const SpoolOptions& options_;
  Ring& ring_;
  SegmentStore& segments_;
  ItemIndex& index_;
  CommitLog& log_;
  SpoolCounters& counters_;

  Segment* source_ = nullptr;  // pinned while set
  std::optional<RecordScanner> scanner_;
  bool has_survivor_ = false;           // the scanner stands on it
  std::uint64_t settled_sequence_ = 0;  // the life that was last walked to its end
  std::uint64_t errors_then_ = 0;

  Reading reading_ = Reading::none;
  Completion completion_;
  Segment* read_from_ = nullptr;
  std::uint64_t read_bytes_ = 0;
  AlignedMemory window_;
  std::uint64_t window_base_ = 0;
  std::uint64_t window_bytes_ = 0;
  AlignedMemory state_window_;
  RecordPlace state_read_;  // what state_window_ holds
  bool state_is_sound_ = false;
};

}  // namespace postern::core
