// The inside of core::Spool: the parts of one log and what passes between them. For spool*.cc only.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "core/spool.h"
#include "core/spool_commit.h"
#include "core/spool_compaction.h"
#include "core/spool_index.h"
#include "core/spool_segments.h"

namespace postern::core {

// What a message costs in the log beyond its octets: head, headers, padding to a block. A longer head than this is
// covered by the reserve.
inline constexpr std::uint64_t kAdmissionExtraBytes = 8192;
inline constexpr std::uint32_t kHeadBytesMax = 64u << 10;

struct Spool::Implementation {
  Implementation(const SpoolOptions& spool_options, Ring& spool_ring, TimerWheel& spool_timers,
                 std::size_t items_expected);
  ~Implementation();

  // --- opening and items: spool.cc ----------------------------------------------------------------------------------
  Result<void> take_over(FoundLog& found, const Time& now);
  [[nodiscard]] bool has_room(std::uint64_t record_bytes) const;
  // Builds an item's record. 0, or why it cannot be now.
  int log_item(RecordHeader header, std::string_view record_head, std::span<const iovec> body, Durable& durable);
  void flush(const Time& now);
  [[nodiscard]] bool is_idle() const;

  // What must be told, but not from inside the call that caused it.
  enum class Kind : std::uint8_t { durable, load, large };
  struct Later {
    Kind kind;
    void* object;
    int error;
  };
  void tell_later(Kind kind, void* object, int error);
  void on_tell(Timer& timer) noexcept;

  static void on_loaded(void* owner, Completion& completion, const Outcome& outcome) noexcept;

  // --- large bodies: spool_large.cc ---------------------------------------------------------------------------------
  enum LargeStep : std::uint8_t { idle, opening, ready, writing, syncing_file, syncing_folder, recording, unlinking };
  void begin_large(LargeBody& large);
  void write_large(LargeBody& large, std::string_view piece);
  void append_large(LargeBody& large);
  void abandon_large(LargeBody& large);
  void record_large();
  void fail_large(LargeBody& large, int error);
  void start_large(LargeBody& large, LargeStep step);
  void large_done(LargeBody& large, const Outcome& outcome);
  static void on_large(void* owner, Completion& completion, const Outcome& outcome) noexcept;
  static void on_large_finished(void* owner, ItemId id);
  void unlink_next();
  void on_unlinked(Completion& completion, const Outcome& outcome) noexcept;

  const SpoolOptions options;
  Ring& ring;
  TimerWheel& timers;
  SpoolCounters counters;
  std::uint64_t id_counter = 0;
  int lock = -1;
  int large_folder = -1;

  ItemIndex index;
  SegmentStore segments;
  CommitLog log;
  Compactor compactor;

  std::uint64_t admitted_log_bytes = 0;
  std::uint64_t admitted_file_bytes = 0;
  std::size_t operations = 0;  // loads and large bodies under way

  std::vector<Later> later;
  std::vector<Later> telling;
  Timer later_timer;

  std::vector<LargeBody*> to_record;  // safe on disk, waiting for room in a commit
  std::vector<ItemId> unlinks;
  std::string unlink_name;
  Completion unlink_completion;
  Time now;
};

}  // namespace postern::core
