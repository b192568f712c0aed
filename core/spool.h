// The spool of one worker: items that must survive anything, in an append-only log of recycled segments.
//
// An item is a head (small, opaque; the rooms above keep the envelope there), a body (opaque; trace header and
// content) and a state (small, opaque, replaced whole; the outcome per recipient). No mail is known here.
//
//   append() ... item durable -> Durable handler -> "250"     one commit (one O_DSYNC write) carries all that gathered
//   update() ... new state, in one of the next commits
//   finish() ... the item is dead; its space is recycled, oldest segment first
//
// Format, with its drawing: spool_format.h. Recovery: spool_recovery.h. Traps this avoids: docs/spool.md.
//
// Thread: the owning worker's; runs alike on the simulator's ring.
// Errors: a failed write is never retried: every append in it gets its error, the segment is never written again, and
//   the log goes on in another one; healthy() is false from then on. When no space can be had admit() says no before
//   a body is sent, while updates and finishes still have segments kept in reserve.
// Allocation: none between append() and its completion once warm.
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <sys/uio.h>
#include <vector>

#include "core/clock.h"
#include "core/result.h"
#include "core/ring.h"
#include "core/timer_wheel.h"

namespace postern::core {

// Unique in a spool folder for all time and across its logs; never 0.
using ItemId = std::uint64_t;

struct SpoolOptions {
  std::string directory;         // of this log (made when missing): DIR/log-0003
  std::uint32_t log_number = 0;  // unique in the spool folder; part of every ItemId
  std::uint64_t segment_bytes = 32u << 20;
  std::uint32_t segments_kept = 4;               // prewritten and kept even when idle
  std::uint32_t commits_in_flight = 2;           // writes under way at once; chosen in docs/decisions/0001
  std::uint32_t commit_bytes = 1u << 20;         // a commit's buffer; bounds inline items
  std::uint32_t inline_bytes_max = 256u << 10;   // larger bodies go to a file of their own
  std::uint64_t disk_reserve_bytes = 64u << 20;  // left free on the file system
  bool draining = false;                         // a log of a former run: takes no new items, is only emptied
};

// The bits of `content_flags` are the caller's (plain, dot-stuffed, binary); the spool only keeps them.
struct ItemInfo {
  ItemId id = 0;
  std::int64_t accepted_unix_ns = 0;
  std::uint32_t head_bytes = 0;
  std::uint64_t body_bytes = 0;
  std::uint16_t content_flags = 0;
  bool is_large = false;  // the body lies in a file of its own
};

// Embedded by whoever waits for durability. error 0: durable; else a positive errno: not acknowledged.
struct Durable {
  using Handler = void (*)(void* owner, Durable& durable, int error) noexcept;
  Handler handler = nullptr;
  void* owner = nullptr;
  Durable* next = nullptr;  // the spool's own
  ItemId id = 0;            // set by append()
};

// Embedded by whoever reads an item back. `head` and `body` point into memory the caller gave.
struct Load {
  using Handler = void (*)(void* owner, Load& load, int error) noexcept;
  Handler handler = nullptr;
  void* owner = nullptr;
  std::span<char> into;        // 4096-aligned, at least load_bytes(id) octets; given by the caller
  std::string_view head;       // results
  std::string_view body;       // empty for a large item: read its file
  std::uint32_t body_crc = 0;  // of a large item: the CRC-32C (crc32c.h) of its file's first body_bytes octets
  ItemId id = 0;
  // The spool's own:
  Completion completion;
  void* spool = nullptr;
  std::uint32_t segment = 0;
  std::uint32_t record_bytes = 0;
  std::uint64_t offset = 0;
};

// Embedded by whoever streams a large body in. Use: begin_large, then write_large piece after piece (each waits for the
// last one's handler), then finish with append_large, or abandon_large. One operation at a time.
struct LargeBody {
  using Handler = void (*)(void* owner, LargeBody& large, int error) noexcept;
  Handler handler = nullptr;  // called when begun, when a piece is written, and when abandoned
  void* owner = nullptr;
  ItemId id = 0;
  std::uint64_t bytes = 0;
  // The spool's own:
  int file = -1;
  std::uint32_t crc = 0;
  std::string_view piece;
  std::uint8_t step = 0;
  Completion completion;
  Durable* durable = nullptr;
  std::string path;  // reserved once, kept
  void* spool = nullptr;
  std::string head;
  std::uint16_t content_flags = 0;
  std::int64_t accepted_unix_ns = 0;
};

// What recovery hands over, one call an item, in the order of ids, which is the order in which they were begun.
struct RecoveredItem {
  ItemInfo info;
  std::string_view head;
  std::string_view state;  // empty: none was ever written
};

struct RecoveryReport {
  std::uint64_t items = 0;
  std::uint64_t segments = 0;
  std::uint64_t records = 0;
  std::uint64_t damaged_records = 0;  // a bad record with later good ones that vouch for it
  std::uint64_t lost_items = 0;       // large bodies whose file is missing or short
  std::uint64_t orphans_removed = 0;  // large bodies that no record names
  std::uint64_t unsynced_segments = 0;  // what was read in them may be gone after the next power cut
  bool torn_tail = false;
  std::vector<std::string> notes;  // a line each for the log: file, offset, what was found
};

struct SpoolCounters {
  std::uint64_t commits = 0;
  std::uint64_t commit_bytes = 0;
  std::uint64_t items_appended = 0;
  std::uint64_t items_finished = 0;
  std::uint64_t items_moved = 0;  // by compaction
  std::uint64_t write_errors = 0;
  std::uint64_t read_errors = 0;  // records that could not be read back, or did not match their checksum
  std::uint64_t segments_in_use = 0;
  std::uint64_t segments_free = 0;
};

class Spool {
 public:
  using RecoverItem = std::function<void(const RecoveredItem&)>;

  // Takes the log's lock, recovers, calls `item` for every live item, and prepares segments; blocks.
  // A large item whose body is lost is not handed over (it could only be delivered cut short): it is reported, stays in
  // the log, and goes when finish() is called for it.
  // Error: the lock is held (by which process), an unknown format version, no space for the first segments.
  // `ring` and `timers` outlive the spool.
  static Result<std::unique_ptr<Spool>> open(const SpoolOptions& options, Ring& ring, TimerWheel& timers,
                                             const Time& now, const RecoverItem& item, RecoveryReport& report);
  // Requires is_idle(), or a ring that calls no handler any more: the kernel writes from the spool's memory.
  ~Spool();
  Spool(const Spool&) = delete;
  Spool& operator=(const Spool&) = delete;

  // Removes a log's folder if nothing lives in it and nobody has it open; blocks. Error: why not.
  static Result<void> remove(const std::string& log_directory);

  // --- admission ------------------------------------------------------------------------------------------------
  // Sets space aside for a body that is announced or about to come; false: no space now (452). Give back exactly what
  // was admitted, when the item was appended or given up.
  [[nodiscard]] bool admit(std::uint64_t bytes);
  void release(std::uint64_t bytes);

  // --- items ----------------------------------------------------------------------------------------------------
  [[nodiscard]] ItemId next_id();
  // Copies head and body at once; the memory is the caller's again on return. Requires head + bodies to fit
  // inline_bytes_max + 64 KiB. `id` from next_id(). The handler is called in a later turn's completions.
  // The error is ENOSPC or ENOBUFS where can_append() would have said no, EROFS while draining.
  void append(ItemId id, std::string_view head, std::span<const iovec> body, std::uint16_t content_flags,
              std::int64_t accepted_unix_ns, Durable& durable);

  // A commit buffer and a segment are at hand for an item of this size. False: the disk does not keep up, or segments are
  // being made; ask again in a later turn before append(), or answer 452 when admit() says no as well.
  [[nodiscard]] bool can_append(std::uint64_t head_and_body_bytes) const;

  // After an error the body can only be abandoned. `head` is copied. When append_large() fails, the file is removed and
  // the body is over: no abandon_large().
  void begin_large(LargeBody& large);  // large.id from next_id()
  void write_large(LargeBody& large, std::string_view piece);
  // Syncs file and folder, then appends the record; `durable` is called as for append().
  void append_large(LargeBody& large, std::string_view head, std::uint16_t content_flags, std::int64_t accepted_unix_ns,
                    Durable& durable);
  void abandon_large(LargeBody& large);

  // Neither waits: they ride in the next commits. `durable` (may be null) is called when they are safe; a failed write
  // does not end them, they are logged again in the next segment. Of an unknown item: ENOENT.
  // Requires state.size() <= state_bytes_max().
  void update(ItemId id, std::string_view state, Durable* durable);
  void finish(ItemId id, Durable* durable);

  [[nodiscard]] bool find(ItemId id, ItemInfo& info) const;
  [[nodiscard]] std::size_t load_bytes(ItemId id) const;  // 4096-multiple
  // Errors: ENOENT (no such item), EAGAIN (not durable yet), EIO (unreadable, or it does not match its checksum).
  void load(ItemId id, Load& load);
  // The path of a large item's body, for whoever reads it (any worker); valid until the item is finished.
  [[nodiscard]] std::string large_path(ItemId id) const;
  [[nodiscard]] std::size_t state_bytes_max() const;

  // --- the worker's turn ----------------------------------------------------------------------------------------
  // Called once a turn, after everything that may append: issues the gathered commit if a write may start.
  void flush(const Time& now);
  // True when nothing is gathered or in flight.
  [[nodiscard]] bool is_idle() const;
  [[nodiscard]] bool healthy() const;
  [[nodiscard]] std::size_t items() const;
  [[nodiscard]] const SpoolCounters& counters() const;

 private:
  struct Implementation;
  explicit Spool(std::unique_ptr<Implementation> implementation);
  std::unique_ptr<Implementation> implementation_;
};

// The logs in a spool folder, by number; none when the folder is not there.
struct LogFolder {
  std::uint32_t number = 0;
  std::string path;
};
Result<std::vector<LogFolder>> list_logs(const std::string& spool_directory);

}  // namespace postern::core
