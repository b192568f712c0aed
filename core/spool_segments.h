// The segment files of one log: made ahead of need, stamped for their next life, filled in order, recycled oldest first.
//
//   made (zeros, synced) -> free -> stamped (header durable) = ready -> active -> full -> no live item -> free ...
//
// Invariants
//   1. A segment's header is durable before a commit goes into it: the next one is stamped while the active one is
//      half full, so that commits do not wait for it.
//   2. Lives end in the order in which they began: a segment is stamped anew, or removed, only when the headers of all
//      older lives are gone from the disk. A finish record therefore outlives the record it finishes.
//   3. A file in which a write failed is never written again; it is removed when nothing in it lives.
//   4. kReserve segments are kept out of room_for_items(): one for outcomes, one for compaction, when nothing else is to
//      be had. Should it come to that, segments for outcomes are made from disk_reserve_bytes too.
//   5. The descriptor through which a segment is written holds a lock on its file. The kernel keeps it as long as a write
//      is under way, also when the process is gone: so the next one knows when the last write of this one has landed.
// Growth writes and syncs zeros through the ring, one write at a time; without space it is tried again every
// kRetrySeconds. Thread: the worker's. Starting up blocks; step() does not.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "core/ring.h"
#include "core/spool.h"
#include "core/spool_format.h"
#include "core/spool_recovery.h"
#include "core/timer_wheel.h"

namespace postern::core {

struct Segment {
  static constexpr std::uint64_t kNone = UINT64_MAX;

  std::uint32_t slot = 0;
  std::uint32_t number = 0;
  std::string name;
  int file = -1;
  std::uint64_t bytes = 0;
  SegmentHeader header;
  std::uint64_t used = kBlockBytes;  // where the next commit goes
  std::uint64_t live_bytes = 0;      // of records of live items
  std::uint32_t live_items = 0;
  std::uint32_t pins = 0;             // writes and reads under way
  std::uint64_t failed_from = kNone;  // a write at this offset failed: this one and those behind it are not trusted
  bool unusable = false;              // never to be written again
};

class SegmentStore {
 public:
  static constexpr std::size_t kReserve = 2;
  static constexpr int kRetrySeconds = 2;

  // `id_counter` is read whenever a segment is stamped.
  SegmentStore(const SpoolOptions& options, Ring& ring, TimerWheel& timers, SpoolCounters& counters,
               const std::uint64_t& id_counter);
  ~SegmentStore();
  SegmentStore(const SegmentStore&) = delete;
  SegmentStore& operator=(const SegmentStore&) = delete;

  // --- starting up: adopt, then add_live for every item, then settle ------------------------------------------------
  // Opens the found segments; slots[i] is the slot of found.segments[i] (RecordPlace::kNowhere: it has none).
  Result<std::vector<std::uint32_t>> adopt(const FoundLog& found);
  Result<void> settle(const Time& now);

  // --- for commits --------------------------------------------------------------------------------------------------
  [[nodiscard]] Segment* active() { return active_; }
  // The next segment becomes the active one. False: none is ready yet; step() will see to it.
  bool advance();
  void add_used(Segment& segment, std::uint64_t bytes);
  void give_up(Segment& segment, std::uint64_t failed_from);

  // --- for everyone -------------------------------------------------------------------------------------------------
  [[nodiscard]] Segment& at(std::uint32_t slot) { return *segments_[slot]; }
  void add_live(std::uint32_t slot, std::uint64_t bytes);
  void remove_live(std::uint32_t slot, std::uint64_t bytes);

  // What may still be written, to the last octet; what of it is sure to hold commits; and that without the reserve.
  [[nodiscard]] std::uint64_t bytes_at_hand() const;
  [[nodiscard]] std::uint64_t room() const;
  [[nodiscard]] std::uint64_t room_for_items() const;
  // What could be had beyond that by making segments.
  [[nodiscard]] std::uint64_t room_to_grow(std::uint64_t promised_elsewhere) const;
  [[nodiscard]] std::uint64_t file_bytes_free() const;  // on the file system, beyond disk_reserve_bytes
  // Both go by what was free up to a second ago; ask_free_bytes() before what hangs on them (a system call, about 1 us).
  void ask_free_bytes();
  // Only the reserve is left, and no more can be had.
  [[nodiscard]] bool is_scarce() const { return growth_blocked_ && room_for_items() == 0; }

  [[nodiscard]] Segment* oldest() { return in_use_.empty() ? nullptr : segments_[in_use_.front()].get(); }
  [[nodiscard]] std::size_t in_use() const { return in_use_.size(); }
  [[nodiscard]] std::uint64_t used_bytes() const { return used_bytes_; }
  [[nodiscard]] std::uint64_t live_bytes() const { return live_bytes_; }

  // --- the worker's turn --------------------------------------------------------------------------------------------
  void step(const Time& now);
  [[nodiscard]] bool is_idle() const { return change_ == Change::none && growth_ == Growth::none; }
  [[nodiscard]] bool healthy() const { return healthy_; }

 private:
  // One change to a file's header or name at a time, which is what keeps invariant 2.
  enum class Change : std::uint8_t { none, stamping, unlinking, syncing_folder };
  enum class Growth : std::uint8_t { none, opening, writing, syncing, syncing_folder, reopening, removing };

  // Ready, or about to be.
  [[nodiscard]] std::size_t free_count() const {
    return free_usable_ + (ready_ != nullptr || change_ == Change::stamping ? 1 : 0);
  }
  // What of a segment is counted on.
  [[nodiscard]] std::uint64_t whole_segment() const {
    return options_.segment_bytes - kBlockBytes - options_.commit_bytes;
  }
  Segment& make_segment(std::uint32_t number, std::uint64_t bytes);
  void drop_segment(Segment& segment);
  Result<void> create_now();
  Result<void> remove_now(const std::string& name);
  Result<void> activate_now();
  void fill_header(Segment& segment);
  void release_oldest();
  void step_changes(const Time& now);
  void step_growth(const Time& now);
  Segment* take_free();
  void start_stamp(Segment& segment);
  void start_removal(Segment& segment);
  void start_growth();
  void write_zeros();
  void end_growth(int error);
  void arm_timer();

  void on_change(Completion& completion, const Outcome& outcome) noexcept;
  void on_growth(Completion& completion, const Outcome& outcome) noexcept;
  void on_timer(Timer& timer) noexcept;

  const SpoolOptions& options_;
  Ring& ring_;
  TimerWheel& timers_;
  SpoolCounters& counters_;
  const std::uint64_t& id_counter_;
  int folder_ = -1;
  int open_flags_;  // of a segment in use

  std::vector<std::unique_ptr<Segment>> segments_;  // by slot; null: the slot is free
  std::vector<std::uint32_t> free_slots_;
  std::vector<std::uint32_t> in_use_;    // oldest first; the active one is the last
  std::vector<std::uint32_t> recycled_;  // free, but their old records are still there: oldest first
  std::vector<std::uint32_t> fresh_;     // free, and without records
  std::size_t free_usable_ = 0;          // of recycled_ and fresh_
  Segment* active_ = nullptr;
  Segment* ready_ = nullptr;
  bool is_waited_for_ = false;  // advance() found none
  std::uint64_t used_bytes_ = 0;
  std::uint64_t live_bytes_ = 0;
  std::uint64_t sequence_ = 0;  // of the last life begun
  std::uint32_t next_number_ = 0;

  Change change_ = Change::none;
  Segment* changing_ = nullptr;
  Completion change_completion_;
  AlignedMemory block_;  // the header being written
  std::int64_t changes_wait_until_ns_ = 0;

  Growth growth_ = Growth::none;
  Segment* growing_ = nullptr;
  Completion growth_completion_;
  AlignedMemory zeros_;
  std::size_t zeros_bytes_;
  std::uint64_t grown_ = 0;
  int growth_error_ = 0;
  bool growth_blocked_ = false;
  std::int64_t growth_wait_until_ns_ = 0;

  std::int64_t now_ns_ = 0;
  std::uint64_t free_bytes_ = 0;  // on the file system, as last asked
  std::int64_t free_bytes_asked_ns_ = 0;
  std::int64_t shrink_after_ns_ = 0;
  bool healthy_ = true;
  Timer timer_;
  std::int64_t timer_due_ns_ = 0;
};

}  // namespace postern::core
