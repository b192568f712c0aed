#include "core/spool_commit.h"

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <utility>

#include "core/assert.h"
#include "core/files.h"

namespace postern::core {
namespace {

// How long a commit waits for a segment before those who wait for it are told that it failed. A disk that is merely slow
// or full is never that late: admission stops before, and clients wait for minutes (RFC 5321 section 4.5.3.2.6).
constexpr std::int64_t kStuckNs = 30 * kNanosecondsPerSecond;

}  // namespace

void CommitLog::Waiters::push(Durable& durable) {
  durable.next = nullptr;
  (last != nullptr ? last->next : first) = &durable;
  last = &durable;
}

void CommitLog::Waiters::append(Waiters& other) {
  if (other.first == nullptr) return;
  (last != nullptr ? last->next : first) = other.first;
  last = other.last;
  other = Waiters{};
}

CommitLog::Buffer::Buffer(CommitLog& commit_log, std::size_t bytes)
    : log(commit_log), memory(make_aligned(bytes)), completion(&CommitLog::on_written, this) {}

CommitLog::CommitLog(const SpoolOptions& options, Ring& ring, TimerWheel& timers, SegmentStore& segments,
                     ItemIndex& index, SpoolCounters& counters, LargeFinished large_finished, void* owner)
    : options_(options),
      ring_(ring),
      timers_(timers),
      segments_(segments),
      index_(index),
      counters_(counters),
      large_finished_(large_finished),
      owner_(owner),
      company_timer_(timer_handler<&CommitLog::on_timer>, this) {
  const std::size_t most = options.commits_in_flight + kSpareBuffers;
  buffers_.reserve(most);
  free_.reserve(most);
  queue_.reserve(most);
  for (std::size_t i = 0; i < options.commits_in_flight + 2; ++i) {
    buffers_.push_back(std::make_unique<Buffer>(*this, options.commit_bytes));
    free_.push_back(buffers_.back().get());
  }
  start_chain();
}

CommitLog::~CommitLog() {
  timers_.cancel(company_timer_);
}

void CommitLog::start_chain() {
  files::fill_random({reinterpret_cast<char*>(&chain_), sizeof chain_});
  next_number_ = 0;
  durable_number_ = 0;
}

// --- gathering --------------------------------------------------------------------------------------------------------

std::size_t CommitLog::buffers_left() const {
  return free_.size() + options_.commits_in_flight + kSpareBuffers - buffers_.size();
}

bool CommitLog::has_buffer(Use use) const {
  return buffers_left() > static_cast<std::size_t>(use == Use::outcome ? 0 : use == Use::append ? 1 : 2);
}

bool CommitLog::can_take(std::uint64_t record_bytes, Use use) const {
  return (open_ != nullptr && open_->used + record_bytes <= options_.commit_bytes) || has_buffer(use);
}

CommitLog::Buffer* CommitLog::take_buffer(Use use) {
  if (!has_buffer(use)) return nullptr;
  if (free_.empty()) {
    buffers_.push_back(std::make_unique<Buffer>(*this, options_.commit_bytes));
    return buffers_.back().get();
  }
  Buffer* buffer = free_.back();
  free_.pop_back();
  return buffer;
}

void CommitLog::give_back(Buffer& buffer) {
  buffer.used = kRecordHeaderBytes;
  buffer.records = 0;
  buffer.has_append = buffer.has_moves = buffer.has_large_outcomes = buffer.is_done = false;
  buffer.error = 0;
  buffer.segment = nullptr;
  free_.push_back(&buffer);
}

void CommitLog::close_open() {
  queue_.push_back(open_);
  open_ = nullptr;
  company_is_over_ = false;
  timers_.cancel(company_timer_);
}

char* CommitLog::reserve(std::uint64_t record_bytes, Use use) {
  POSTERN_ASSERT(kRecordHeaderBytes + record_bytes <= options_.commit_bytes);
  if (!can_take(record_bytes, use)) return nullptr;
  if (open_ != nullptr && (open_->used + record_bytes > options_.commit_bytes || would_spill(record_bytes, use))) {
    close_open();
  }
  if (open_ == nullptr) {
    open_ = take_buffer(use);
    if (use != Use::append) {
      timers_.set(company_timer_, now_ns_ + (segments_.is_scarce() ? kScarceCompanyNs : kCompanyNs));
    }
  }
  char* const record = open_->memory.get() + open_->used;
  open_->used += static_cast<std::uint32_t>(record_bytes);
  ++open_->records;
  if (use == Use::append) open_->has_append = true;
  if (use == Use::move) {
    open_->has_moves = true;
    ++moves_pending_;
  }
  return record;
}

// The open buffer fits what is left of the active segment, and with this record it would not: closed now, it leaves no
// more of the segment unused than the record's length.
bool CommitLog::would_spill(std::uint64_t record_bytes, Use use) const {
  const Segment* segment = segments_.active();
  if (segment == nullptr || !has_buffer(use)) return false;
  std::uint64_t left = segment->bytes - segment->used;
  for (std::size_t i = issued_; i < queue_.size(); ++i) {
    left -= std::min(left, round_up(queue_[i]->used, kBlockBytes));
  }
  return round_up(open_->used, kBlockBytes) <= left && round_up(open_->used + record_bytes, kBlockBytes) > left;
}

void CommitLog::attach(Durable& durable) {
  open_->appends.push(durable);
}

void CommitLog::log_outcome(const RecordHeader& header, std::string_view payload, Durable* durable) {
  char* record = nullptr;
  // Those that wait go first: the last state of an item must be the last in the log.
  if (overflow_.empty()) record = reserve(record_bytes_for(payload.size()), Use::outcome);
  if (record == nullptr) {
    Waiting& waiting = overflow_.emplace_back();
    waiting.has_record = true;
    waiting.header = header;
    waiting.payload = payload;
    if (durable != nullptr) waiting.waiters.push(*durable);
    return;
  }
  if (!payload.empty()) std::memcpy(record + kRecordHeaderBytes, payload.data(), payload.size());
  finish_record(header, record);
  if (header.type == RecordType::finish && header.is_large()) open_->has_large_outcomes = true;
  if (durable != nullptr) open_->outcomes.push(*durable);
}

void CommitLog::drain_overflow() {
  while (!overflow_.empty()) {
    Waiting& waiting = overflow_.front();
    if (waiting.has_record) {
      char* record = reserve(record_bytes_for(waiting.payload.size()), Use::outcome);
      if (record == nullptr) return;
      std::memcpy(record + kRecordHeaderBytes, waiting.payload.data(), waiting.payload.size());
      finish_record(waiting.header, record);
      if (waiting.header.type == RecordType::finish && waiting.header.is_large()) open_->has_large_outcomes = true;
    } else if (open_ == nullptr) {
      open_ = take_buffer(Use::outcome);
      if (open_ == nullptr) return;
      company_is_over_ = true;
    }
    open_->outcomes.append(waiting.waiters);
    overflow_.pop_front();
  }
}

std::uint64_t CommitLog::unissued_bytes() const {
  std::uint64_t bytes = open_ == nullptr ? 0 : round_up(open_->used, kBlockBytes);
  for (std::size_t i = issued_; i < queue_.size(); ++i) bytes += round_up(queue_[i]->used, kBlockBytes);
  return bytes;
}

// --- issuing ----------------------------------------------------------------------------------------------------------

void CommitLog::flush(const Time& now) {
  now_ns_ = now.boot_ns;
  drain_overflow();
  while (in_flight_ < options_.commits_in_flight) {
    if (issued_ == queue_.size()) {
      if (open_ == nullptr || !(open_->has_append || company_is_over_)) return;
      close_open();
    }
    if (!issue(*queue_[issued_])) {
      if (stuck_since_ns_ == 0) stuck_since_ns_ = now_ns_;
      if (now_ns_ - stuck_since_ns_ > kStuckNs) give_up_appends();
      return;
    }
    stuck_since_ns_ = 0;
  }
}

template <class Visit>
void CommitLog::each_record(Buffer& buffer, Visit&& visit) {
  char* const begin = buffer.memory.get();
  for (std::uint32_t at = kRecordHeaderBytes; at < buffer.used;) {
    const RecordHeader header = read_record_header(begin + at);
    visit(begin + at, header, RecordPlace::at(buffer.segment->slot, buffer.offset + at));
    at += header.record_bytes;
  }
}

// False: no segment is ready.
bool CommitLog::issue(Buffer& buffer) {
  const auto length = static_cast<std::uint32_t>(round_up(buffer.used, kBlockBytes));
  Segment* segment = segments_.active();
  if (segment == nullptr || segment->used + length > segment->bytes) {
    if (!segments_.advance()) return false;
    segment = segments_.active();
  }
  buffer.segment = segment;
  buffer.offset = segment->used;
  buffer.length = length;
  buffer.chain = chain_;
  buffer.number = next_number_++;
  place(buffer);
  std::memset(buffer.memory.get() + buffer.used, 0, length - buffer.used);
  CommitHeader header;
  header.life = segment->header.life;
  header.chain = chain_;
  header.number = buffer.number;
  header.durable = durable_number_;
  header.commit_bytes = length;
  header.used_bytes = buffer.used;
  header.records = buffer.records;
  seal_commit(header, buffer.memory.get(), buffer.offset);

  segments_.add_used(*segment, length);
  ++segment->pins;
  ++issued_;
  ++in_flight_;
  ++counters_.commits;
  counters_.commit_bytes += length;
  ring_.write(segment->file, {buffer.memory.get(), length}, buffer.offset, buffer.completion);
  return true;
}

// Now it is known where each record will lie.
void CommitLog::place(Buffer& buffer) {
  each_record(buffer, [&](char* record, const RecordHeader& header, RecordPlace here) {
    if (header.type == RecordType::item && !header.is_moved()) {
      if (IndexEntry* entry = index_.find(header.id)) {
        entry->place = here;
        segments_.add_live(here.segment, entry->record_bytes);
      }
    } else if (header.type == RecordType::state) {
      if (IndexEntry* entry = index_.find(header.id)) {
        --entry->state_pending;
        entry->state_place = here;
        entry->state_record_bytes = header.record_bytes;
      }
    }
    seal_record(record, buffer.segment->header.life, here.offset());
  });
}

// --- coming home ------------------------------------------------------------------------------------------------------

void CommitLog::on_written(void* owner, Completion&, const Outcome& outcome) noexcept {
  Buffer& buffer = *static_cast<Buffer*>(owner);
  CommitLog& log = buffer.log;
  buffer.is_done = true;
  --log.in_flight_;
  if (outcome.result != static_cast<std::int32_t>(buffer.length)) {
    buffer.error = outcome.result < 0 ? -outcome.result : EIO;
    ++log.counters_.write_errors;
    log.segments_.give_up(*buffer.segment, buffer.offset);
    // What is issued from now on must not vouch for this one.
    log.start_chain();
  }
  log.release_done();
}

void CommitLog::release_done() {
  if (is_telling_) return;
  is_telling_ = true;
  while (issued_ > 0 && queue_.front()->is_done) {
    Buffer& buffer = *queue_.front();
    queue_.erase(queue_.begin());
    --issued_;
    --buffer.segment->pins;
    if (buffer.offset >= buffer.segment->failed_from) {
      fail(buffer, buffer.error != 0 ? buffer.error : EIO);
    } else {
      release(buffer);
    }
  }
  is_telling_ = false;
}

void CommitLog::release(Buffer& buffer) {
  if (buffer.chain == chain_) durable_number_ = buffer.number + 1;
  if (buffer.has_moves) settle_moves(buffer);
  if (buffer.has_large_outcomes) {
    each_record(buffer, [&](char*, const RecordHeader& header, RecordPlace) {
      if (header.type == RecordType::finish && header.is_large()) large_finished_(owner_, header.id);
    });
  }
  const Waiters appends = std::exchange(buffer.appends, {});
  const Waiters outcomes = std::exchange(buffer.outcomes, {});
  give_back(buffer);
  tell(appends, 0);
  tell(outcomes, 0);
}

// The copies are safe: from now on they are the items.
void CommitLog::settle_moves(Buffer& buffer) {
  each_record(buffer, [&](char*, const RecordHeader& header, RecordPlace here) {
    if (header.type != RecordType::item || !header.is_moved()) return;
    --moves_pending_;
    IndexEntry* entry = index_.find(header.id);
    if (entry == nullptr) return;
    segments_.remove_live(entry->place.segment, entry->record_bytes);
    entry->place = here;
    entry->record_bytes = header.record_bytes;
    segments_.add_live(here.segment, entry->record_bytes);
    if ((entry->flags & IndexEntry::kStateNewer) == 0 && header.state_bytes > 0) {
      entry->state_place = here;
      entry->state_record_bytes = header.record_bytes;
    }
    entry->flags &= static_cast<std::uint8_t>(~(IndexEntry::kMoving | IndexEntry::kStateNewer));
    ++counters_.items_moved;
  });
}

void CommitLog::fail(Buffer& buffer, int error) {
  each_record(buffer, [&](char* record, const RecordHeader& header, RecordPlace here) {
    IndexEntry* entry = index_.find(header.id);
    switch (header.type) {
      case RecordType::item:
        if (header.is_moved()) {
          // The original stands; compaction will come again.
          --moves_pending_;
          if (entry != nullptr) {
            entry->flags &= static_cast<std::uint8_t>(~(IndexEntry::kMoving | IndexEntry::kStateNewer));
          }
        } else {
          void_append(header, here);
        }
        break;
      case RecordType::state:
        if (entry == nullptr || entry->state_place != here || entry->state_pending > 0) break;
        ++entry->state_pending;
        log_again(header, record);
        break;
      case RecordType::finish:
        log_again(header, record);
        break;
      case RecordType::commit:
        break;
    }
  });
  // Whoever waited for an outcome goes on waiting: for all that was just logged again.
  if (buffer.outcomes.first != nullptr) overflow_.emplace_back().waiters.append(buffer.outcomes);
  const Waiters appends = std::exchange(buffer.appends, {});
  give_back(buffer);
  tell(appends, error);
}

// The record may have reached the disk whole: a finish record keeps it from rising after a restart.
void CommitLog::void_append(const RecordHeader& header, RecordPlace here) {
  IndexEntry* entry = index_.find(header.id);
  if (entry != nullptr && entry->place == here) {
    segments_.remove_live(here.segment, entry->record_bytes);
    index_.erase(header.id);
  }
  RecordHeader finish;
  finish.type = RecordType::finish;
  finish.flags = header.flags & kRecordLarge;
  finish.id = header.id;
  Waiting& waiting = overflow_.emplace_back();
  waiting.has_record = true;
  waiting.header = finish;
}

// No segment can be had: not for want of space, which admission foresees, but because the disk takes nothing any more (a
// file system that went read-only, say). Whoever waits for a 250 is told so; outcomes go on waiting.
void CommitLog::give_up_appends() {
  const auto begin = queue_.begin() + static_cast<std::ptrdiff_t>(issued_);
  const bool anyone_waits = (open_ != nullptr && open_->has_append) ||
                            std::any_of(begin, queue_.end(), [](const Buffer* buffer) { return buffer->has_append; });
  if (!anyone_waits) return;
  if (open_ != nullptr) close_open();
  const std::vector<Buffer*> unissued(queue_.begin() + static_cast<std::ptrdiff_t>(issued_), queue_.end());
  queue_.resize(issued_);
  for (Buffer* buffer : unissued) take_back(*buffer);
}

// As fail(), for a buffer that never had a place.
void CommitLog::take_back(Buffer& buffer) {
  char* const begin = buffer.memory.get();
  for (std::uint32_t at = kRecordHeaderBytes; at < buffer.used;) {
    const RecordHeader header = read_record_header(begin + at);
    IndexEntry* entry = index_.find(header.id);
    if (header.type == RecordType::item && header.is_moved()) {
      --moves_pending_;
      if (entry != nullptr) {
        entry->flags &= static_cast<std::uint8_t>(~(IndexEntry::kMoving | IndexEntry::kStateNewer));
      }
    } else if (header.type == RecordType::item) {
      index_.erase(header.id);
      if (header.is_large()) large_finished_(owner_, header.id);  // no record will ever name its file
    } else if (header.type == RecordType::finish) {
      log_again(header, begin + at);
    } else if (entry != nullptr && entry->state_pending > 1) {
      --entry->state_pending;  // a newer one waits behind it
    } else if (entry != nullptr) {
      log_again(header, begin + at);
    }
    at += header.record_bytes;
  }
  if (buffer.outcomes.first != nullptr) overflow_.emplace_back().waiters.append(buffer.outcomes);
  const Waiters appends = std::exchange(buffer.appends, {});
  give_back(buffer);
  tell(appends, EIO);
}

void CommitLog::log_again(const RecordHeader& header, const char* record) {
  Waiting& waiting = overflow_.emplace_back();
  waiting.has_record = true;
  waiting.header = header;
  waiting.payload.assign(record + kRecordHeaderBytes, header.payload_bytes());
}

void CommitLog::tell(Waiters waiters, int error) {
  for (Durable* durable = waiters.first; durable != nullptr;) {
    Durable* const next = durable->next;  // the handler may end the object
    durable->next = nullptr;
    durable->handler(durable->owner, *durable, error);
    durable = next;
  }
}

bool CommitLog::is_durable(RecordPlace place) const {
  for (std::size_t i = 0; i < issued_; ++i) {
    const Buffer& buffer = *queue_[i];
    if (buffer.segment->slot == place.segment && place.offset() >= buffer.offset &&
        place.offset() < buffer.offset + buffer.length) {
      return false;
    }
  }
  return true;
}

void CommitLog::on_timer(Timer&) noexcept {
  company_is_over_ = true;
}

}  // namespace postern::core
