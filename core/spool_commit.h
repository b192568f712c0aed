// Group commit: records gather in a buffer, the buffer goes to the disk in one write, all that waited for it are told.
//
// Records are built in place in the open buffer and bound to their life and offset only when the buffer is issued, so
// a buffer that waits may still go into whichever segment is then the active one.
//
// Invariants
//   1. Buffers are issued, and their waiters told, in the order in which they were filled. A later commit that came
//      home first waits for the earlier ones.
//   2. A commit whose write failed is not written again: its appends get the error and are voided by finish records in
//      another segment; so are those behind it in the same segment. States and outcomes that were in it are logged
//      anew, unless a later one of the same item has taken their place, and told when that is durable.
//   3. One buffer is always left to outcomes; compaction leaves two.
// Memory: commits_in_flight + kSpareBuffers buffers of commit_bytes at most, kept once made. Outcomes that find no
//   buffer at all (the disk stands still) wait in an allocated queue.
// Thread: the worker's.
#pragma once

#include <cstdint>
#include <deque>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "core/ring.h"
#include "core/spool.h"
#include "core/spool_format.h"
#include "core/spool_index.h"
#include "core/spool_segments.h"
#include "core/timer_wheel.h"

namespace postern::core {

class CommitLog {
 public:
  enum class Use : std::uint8_t { append, outcome, move };
  // The outcome of a large item is on disk: its body's file may go.
  using LargeFinished = void (*)(void* owner, ItemId id);

  static constexpr std::size_t kSpareBuffers = 6;
  static constexpr std::int64_t kCompanyNs = 5 * kNanosecondsPerMillisecond;  // how long outcomes wait for others
  static constexpr std::int64_t kScarceCompanyNs = 200 * kNanosecondsPerMillisecond;  // ... when space is short

  CommitLog(const SpoolOptions& options, Ring& ring, TimerWheel& timers, SegmentStore& segments, ItemIndex& index,
            SpoolCounters& counters, LargeFinished large_finished, void* owner);
  ~CommitLog();
  CommitLog(const CommitLog&) = delete;
  CommitLog& operator=(const CommitLog&) = delete;

  [[nodiscard]] bool can_take(std::uint64_t record_bytes, Use use) const;
  // Where a record of this length is to be built (see finish_record), in the open buffer. nullptr: no buffer for this
  // use now. Requires record_bytes to fit a commit.
  char* reserve(std::uint64_t record_bytes, Use use);
  // To be told with the record reserved last.
  void attach(Durable& durable);
  // A state or finish record; never refused. `durable` may be null.
  void log_outcome(const RecordHeader& header, std::string_view payload, Durable* durable);

  // Once a turn: issues what may be issued.
  void flush(const Time& now);

  [[nodiscard]] bool is_durable(RecordPlace place) const;
  // Gathered and not issued, padding included.
  [[nodiscard]] std::uint64_t unissued_bytes() const;
  [[nodiscard]] std::uint64_t moves_pending() const { return moves_pending_; }
  [[nodiscard]] bool is_idle() const { return queue_.empty() && open_ == nullptr && overflow_.empty() && !is_telling_; }

 private:
  struct Waiters {
    Durable* first = nullptr;
    Durable* last = nullptr;
    void push(Durable& durable);
    void append(Waiters& other);
  };
  struct Buffer {
    explicit Buffer(CommitLog& commit_log, std::size_t bytes);
    CommitLog& log;
    AlignedMemory memory;
    std::uint32_t used = kRecordHeaderBytes;
    std::uint32_t records = 0;
    bool has_append = false;  // someone waits for a 250
    bool has_moves = false;
    bool has_large_outcomes = false;
    bool is_done = false;
    int error = 0;
    Segment* segment = nullptr;  // once issued
    std::uint64_t offset = 0;
    std::uint32_t length = 0;
    std::uint64_t chain = 0;
    std::uint64_t number = 0;
    Waiters appends;
    Waiters outcomes;
    Completion completion;
  };
  // An outcome without a buffer yet. Without a record: only somebody who waits for those before it.
  struct Waiting {
    bool has_record = false;
    RecordHeader header;
    std::string payload;
    Waiters waiters;
  };

  [[nodiscard]] bool has_buffer(Use use) const;
  [[nodiscard]] bool would_spill(std::uint64_t record_bytes, Use use) const;
  Buffer* take_buffer(Use use);
  [[nodiscard]] std::size_t buffers_left() const;
  void give_back(Buffer& buffer);
  void close_open();
  void drain_overflow();
  bool issue(Buffer& buffer);
  void place(Buffer& buffer);
  void release_done();
  void release(Buffer& buffer);
  void fail(Buffer& buffer, int error);
  void give_up_appends();
  void take_back(Buffer& buffer);
  void settle_moves(Buffer& buffer);
  void log_again(const RecordHeader& header, const char* record);
  void void_append(const RecordHeader& header, RecordPlace place);
  void tell(Waiters waiters, int error);
  void start_chain();
  template <class Visit>
  void each_record(Buffer& buffer, Visit&& visit);

  static void on_written(void* owner, Completion& completion, const Outcome& outcome) noexcept;
  void on_timer(Timer& timer) noexcept;

  const SpoolOptions& options_;
  Ring& ring_;
  TimerWheel& timers_;
  SegmentStore& segments_;
  ItemIndex& index_;
  SpoolCounters& counters_;
  LargeFinished large_finished_;
  void* owner_;

  std::vector<std::unique_ptr<Buffer>> buffers_;
  std::vector<Buffer*> free_;
  Buffer* open_ = nullptr;
  std::vector<Buffer*> queue_;  // closed, oldest first; the first issued_ of them are on their way
  std::size_t issued_ = 0;
  std::size_t in_flight_ = 0;  // issued, not back yet
  std::deque<Waiting> overflow_;
  std::uint64_t moves_pending_ = 0;
  bool is_telling_ = false;

  std::uint64_t chain_ = 0;
  std::uint64_t next_number_ = 0;
  std::uint64_t durable_number_ = 0;  // all smaller numbers of this chain are on disk

  std::int64_t now_ns_ = 0;
  std::int64_t stuck_since_ns_ = 0;  // no segment could be had for what is gathered; 0: one was
  bool company_is_over_ = false;  // the open buffer has waited long enough
  Timer company_timer_;
};

}  // namespace postern::core
