#include "core/spool_compaction.h"

#include <algorithm>
#include <cstring>

#include "core/assert.h"

namespace postern::core {
namespace {

constexpr std::uint64_t kWindowBytes = kCommitBytesMax + 2 * kBlockBytes;

}  // namespace

Compactor::Compactor(const SpoolOptions& options, Ring& ring, SegmentStore& segments, ItemIndex& index, CommitLog& log,
                     SpoolCounters& counters)
    : options_(options),
      ring_(ring),
      segments_(segments),
      index_(index),
      log_(log),
      counters_(counters),
      completion_(completion_handler<&Compactor::on_read>, this) {}

bool Compactor::is_wanted() {
  if (segments_.in_use() < 2 || log_.moves_pending() > 0) return false;
  const Segment& oldest = *segments_.oldest();
  if (&oldest == segments_.active() || oldest.pins > 0 || oldest.live_items == 0) return false;
  // Walked already, and what is left in it cannot be moved; unless a failed write took the copies.
  if (oldest.header.sequence == settled_sequence_ && errors_then_ == counters_.write_errors) return false;
  // Begun only when it can be brought to its end; a commit's length pays for padding and for the segment's end.
  if (segments_.bytes_at_hand() < oldest.live_bytes + options_.commit_bytes) return false;
  const std::uint64_t used = segments_.used_bytes();
  const std::uint64_t dead = used - std::min(used, segments_.live_bytes());
  if (oldest.unusable || (segments_.in_use() >= kSegmentsLeast && dead > used / 2)) return true;
  // On a full disk outcomes eat the reserve. Each leaves at least as much dead as it takes, so when a quarter of a
  // segment is gone, as much can be won back, and there is room for the moving.
  return segments_.is_scarce() && (dead > used / 8 || dead > options_.segment_bytes / 4);
}

void Compactor::start() {
  if (!window_) {
    window_ = make_aligned(kWindowBytes);
    state_window_ = make_aligned(kWindowBytes);
  }
  source_ = segments_.oldest();
  ++source_->pins;
  scanner_.emplace(source_->header.life, source_->used);
  window_bytes_ = 0;
  has_survivor_ = false;
  state_read_ = RecordPlace{};
  errors_then_ = counters_.write_errors;
}

void Compactor::stop() {
  settled_sequence_ = source_->header.sequence;
  --source_->pins;
  source_ = nullptr;
}

void Compactor::step() {
  if (reading_ != Reading::none) return;
  if (source_ == nullptr) {
    if (!is_wanted()) return;
    start();
  }
  std::uint64_t moved = 0;
  while (moved < kStepBytes) {
    if (source_->live_items == 0) return stop();
    if (!has_survivor_ && !find_survivor()) return;
    if (!move_survivor(moved)) return;
  }
}

// False: nothing to be moved now; reading goes on, or the walk is over.
bool Compactor::find_survivor() {
  for (;;) {
    const RecordScanner::Step found = scanner_->next({window_.get(), window_bytes_}, window_base_);
    switch (found) {
      case RecordScanner::Step::more: {
        const std::uint64_t base = round_down(scanner_->position(), kBlockBytes);
        window_base_ = base;
        window_bytes_ = std::min(kWindowBytes, source_->used - base);
        read(Reading::records, *source_, window_, base, window_bytes_);
        return false;
      }
      case RecordScanner::Step::end:
        stop();
        return false;
      case RecordScanner::Step::record: {
        if (scanner_->header().type != RecordType::item) break;
        const IndexEntry* entry = index_.find(scanner_->header().id);
        if (entry == nullptr || entry->place != RecordPlace::at(source_->slot, scanner_->offset())) break;
        has_survivor_ = true;
        return true;
      }
      case RecordScanner::Step::damaged_payload:
        if (const IndexEntry* entry = index_.find(scanner_->header().id);
            entry != nullptr && entry->place == RecordPlace::at(source_->slot, scanner_->offset())) {
          ++counters_.read_errors;
        }
        break;
      case RecordScanner::Step::commit:
        break;
    }
  }
}

// False: it has to wait, for its state or for a buffer.
bool Compactor::move_survivor(std::uint64_t& moved_bytes) {
  RecordHeader header = scanner_->header();
  IndexEntry* entry = index_.find(header.id);
  if (entry == nullptr) {  // finished meanwhile
    has_survivor_ = false;
    return true;
  }
  std::string_view state;
  if (!have_state(*entry, state)) return false;
  if (!has_survivor_) return true;
  header.state_bytes = static_cast<std::uint32_t>(state.size());
  const std::uint64_t bytes = record_bytes_for(header.payload_bytes());
  if (kRecordHeaderBytes + bytes > options_.commit_bytes) {  // written when commits were larger
    has_survivor_ = false;
    return true;
  }
  char* record = log_.reserve(bytes, CommitLog::Use::move);
  if (record == nullptr) return false;
  header.flags |= kRecordMoved;
  char* at = record + kRecordHeaderBytes;
  for (const std::string_view part : {scanner_->head(), state, scanner_->body()}) {
    at = std::copy(part.begin(), part.end(), at);
  }
  finish_record(header, record);
  entry->flags |= IndexEntry::kMoving;
  has_survivor_ = false;
  moved_bytes += bytes;
  return true;
}

// False: it is being read, or not on disk yet. True with has_survivor_ gone: it cannot be read.
bool Compactor::have_state(const IndexEntry& entry, std::string_view& state) {
  if (entry.state_pending > 0) return false;
  if (entry.state_record_bytes == 0) return true;
  if (entry.state_place == entry.place) {
    state = scanner_->state();
    return true;
  }
  if (state_read_ != entry.state_place) {
    if (!log_.is_durable(entry.state_place)) return false;
    const std::uint64_t begin = round_down(entry.state_place.offset(), kBlockBytes);
    const std::uint64_t end = round_up(entry.state_place.offset() + entry.state_record_bytes, kBlockBytes);
    state_read_ = entry.state_place;
    read(Reading::state, segments_.at(entry.state_place.segment), state_window_, begin, end - begin);
    return false;
  }
  const char* record = state_window_.get() + entry.state_place.offset() % kBlockBytes;
  const Segment& segment = segments_.at(entry.state_place.segment);
  const auto header =
      state_is_sound_ ? check_record_header(record, segment.header.life, entry.state_place.offset()) : std::nullopt;
  if (!header || header->id != scanner_->header().id || !check_payload(*header, record)) {
    skip_unreadable();
    return true;
  }
  state = {record + kRecordHeaderBytes + header->head_bytes, header->state_bytes};
  return true;
}

void Compactor::skip_unreadable() {
  ++counters_.read_errors;
  has_survivor_ = false;
}

void Compactor::read(Reading what, Segment& segment, AlignedMemory& into, std::uint64_t begin, std::uint64_t bytes) {
  POSTERN_ASSERT(bytes <= kWindowBytes);
  reading_ = what;
  read_from_ = &segment;
  read_bytes_ = bytes;
  ++segment.pins;
  ring_.read(segment.file, {into.get(), bytes}, begin, completion_);
}

void Compactor::on_read(Completion&, const Outcome& outcome) noexcept {
  --read_from_->pins;
  const bool is_whole = outcome.result == static_cast<std::int32_t>(read_bytes_);
  if (reading_ == Reading::state) {
    state_is_sound_ = is_whole;
  } else if (!is_whole) {
    // As if nothing sound were there: the scanner goes on behind it, and what lived there is not moved.
    std::memset(window_.get(), 0, window_bytes_);
    ++counters_.read_errors;
  }
  reading_ = Reading::none;
}

}  // namespace postern::core
