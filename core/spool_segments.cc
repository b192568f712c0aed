#include "core/spool_segments.h"

#include <algorithm>
#include <cerrno>
#include <fcntl.h>

#include "core/assert.h"
#include "core/files.h"

namespace postern::core {
namespace {

constexpr std::size_t kZerosBytes = 1u << 20;
constexpr std::int64_t kAskFreeBytesNs = kNanosecondsPerSecond;
constexpr std::int64_t kShrinkNs = kNanosecondsPerSecond;  // between two removals: a burst may come back

bool is_lack_of_space(int error) {
  return error == ENOSPC || error == EDQUOT;
}

// Invariant 5. Nobody else has it: the log's lock is ours, and settle_segments() waited for the last process's writes.
Result<void> lock_for_writes(int file) {
  const auto locked = files::try_lock(file);
  if (!locked) return std::unexpected(locked.error());
  return *locked ? Result<void>{} : fail("a segment is locked by another process", EWOULDBLOCK);
}

}  // namespace

SegmentStore::SegmentStore(const SpoolOptions& options, Ring& ring, TimerWheel& timers, SpoolCounters& counters,
                           const std::uint64_t& id_counter)
    : options_(options),
      ring_(ring),
      timers_(timers),
      counters_(counters),
      id_counter_(id_counter),
      open_flags_(O_RDWR | O_DIRECT | O_DSYNC | O_CLOEXEC),
      change_completion_(completion_handler<&SegmentStore::on_change>, this),
      block_(make_aligned(kBlockBytes)),
      growth_completion_(completion_handler<&SegmentStore::on_growth>, this),
      zeros_bytes_(std::min<std::size_t>(kZerosBytes, options.segment_bytes)),
      timer_(timer_handler<&SegmentStore::on_timer>, this) {
  zeros_ = make_aligned(zeros_bytes_);
}

SegmentStore::~SegmentStore() {
  timers_.cancel(timer_);
  for (const auto& segment : segments_) {
    if (segment && segment->file >= 0) files::close(segment->file);
  }
  if (folder_ >= 0) files::close(folder_);
}

// --- starting up ------------------------------------------------------------------------------------------------------

Segment& SegmentStore::make_segment(std::uint32_t number, std::uint64_t bytes) {
  auto segment = std::make_unique<Segment>();
  segment->number = number;
  segment->name = segment_file_name(number);
  segment->bytes = bytes;
  if (free_slots_.empty()) {
    segment->slot = static_cast<std::uint32_t>(segments_.size());
    segments_.push_back(std::move(segment));
    return *segments_.back();
  }
  const std::uint32_t slot = free_slots_.back();
  free_slots_.pop_back();
  segment->slot = slot;
  segments_[slot] = std::move(segment);
  return *segments_[slot];
}

void SegmentStore::drop_segment(Segment& segment) {
  if (segment.file >= 0) files::close(segment.file);
  const std::uint32_t slot = segment.slot;
  segments_[slot].reset();
  free_slots_.push_back(slot);
}

Result<std::vector<std::uint32_t>> SegmentStore::adopt(const FoundLog& found) {
  auto folder = files::open_directory(options_.directory);
  if (!folder) return std::unexpected(folder.error());
  folder_ = *folder;
  sequence_ = found.sequence_max;
  next_number_ = found.number_max + 1;
  std::vector<std::uint32_t> slots;
  for (const FoundSegment& file : found.segments) {
    slots.push_back(RecordPlace::kNowhere);
    if (file.state == FoundSegment::State::aside) continue;
    const bool is_used = file.state == FoundSegment::State::used;
    const bool fits = file.file_bytes == options_.segment_bytes;
    if (!is_used && (!fits || file.state == FoundSegment::State::partial)) {
      if (auto removed = remove_now(file.name); !removed) return std::unexpected(removed.error());
      continue;
    }
    auto opened = files::open(options_.directory + "/" + file.name, open_flags_);
    if (!opened) return std::unexpected(opened.error());
    Segment& segment = make_segment(file.number, file.file_bytes);
    segment.file = *opened;
    if (auto locked = lock_for_writes(*opened); !locked) return std::unexpected(locked.error());
    slots.back() = segment.slot;
    if (!is_used) {
      fresh_.push_back(segment.slot);
      ++free_usable_;
      continue;
    }
    segment.header = file.header;
    segment.used = std::max(file.sound_end, kBlockBytes);
    segment.unusable = !fits || file.header.segment_bytes != file.file_bytes;
    in_use_.push_back(segment.slot);
    used_bytes_ += segment.used - kBlockBytes;
    // Only one that can be trusted to its last octet is gone on with; see settle().
    if (!file.is_clean) segment.failed_from = segment.used;
  }
  return slots;
}

Result<void> SegmentStore::settle(const Time& now) {
  now_ns_ = now.boot_ns;
  // Stamped ahead of need and never written to: no record of this life exists.
  while (!in_use_.empty()) {
    Segment& last = at(in_use_.back());
    if (last.used > kBlockBytes || last.live_items > 0 || last.unusable || last.failed_from != Segment::kNone) break;
    in_use_.pop_back();
    fresh_.push_back(last.slot);
    ++free_usable_;
  }
  if (!in_use_.empty()) {
    Segment& last = at(in_use_.back());
    const bool is_whole = last.failed_from == Segment::kNone && !last.unusable;
    if (is_whole && last.live_items > 0 && last.used + options_.commit_bytes <= last.bytes) active_ = &last;
  }
  for (const std::uint32_t slot : in_use_) at(slot).failed_from = Segment::kNone;
  release_oldest();
  const std::size_t wanted = options_.draining ? 1 : options_.segments_kept;
  while (free_usable_ + (active_ != nullptr ? 1 : 0) < wanted) {
    const auto made = create_now();
    if (made) continue;
    if (!is_lack_of_space(made.error().code)) return made;
    if (active_ == nullptr && free_usable_ == 0) return made;
    growth_blocked_ = true;
    growth_wait_until_ns_ = now_ns_ + kRetrySeconds * kNanosecondsPerSecond;
    break;
  }
  if (active_ == nullptr) {
    if (auto done = activate_now(); !done) return done;
  }
  ask_free_bytes();
  return {};
}

Result<void> SegmentStore::create_now() {
  const std::uint32_t number = next_number_++;
  const std::string path = options_.directory + "/" + segment_file_name(number);
  auto opened = files::open(path, O_RDWR | O_CREAT | O_EXCL | O_DIRECT);
  if (!opened) return std::unexpected(opened.error());
  Result<void> done;
  for (std::uint64_t at = 0; done && at < options_.segment_bytes; at += zeros_bytes_) {
    const auto piece = std::min<std::uint64_t>(zeros_bytes_, options_.segment_bytes - at);
    done = files::write_at(*opened, {zeros_.get(), piece}, at);
  }
  if (done) done = files::sync(*opened);
  files::close(*opened);
  if (done) done = files::sync(folder_);
  Result<int> file = -1;
  if (done) {
    file = files::open(path, open_flags_);
    done = file ? lock_for_writes(*file) : std::unexpected(file.error());
  }
  if (!done) {
    if (file && *file >= 0) files::close(*file);
    // Should this fail too, recovery finds a file that is not whole, and removes it.
    (void)files::unlink(path);
    return done;
  }
  Segment& segment = make_segment(number, options_.segment_bytes);
  segment.file = *file;
  fresh_.push_back(segment.slot);
  ++free_usable_;
  return {};
}

Result<void> SegmentStore::remove_now(const std::string& name) {
  auto done = files::unlink(options_.directory + "/" + name);
  return done ? files::sync(folder_) : done;
}

Result<void> SegmentStore::activate_now() {
  Segment* segment = nullptr;
  while ((segment = take_free()) == nullptr) {
    // What is in the way may not be written to: remove it, oldest first.
    if (recycled_.empty()) return fail_errno("find a segment in " + options_.directory, ENOSPC);
    Segment& oldest = at(recycled_.front());
    if (auto removed = remove_now(oldest.name); !removed) return removed;
    recycled_.erase(recycled_.begin());
    drop_segment(oldest);
  }
  fill_header(*segment);
  if (auto done = files::write_at(segment->file, {block_.get(), kBlockBytes}, 0); !done) return done;
  if (auto done = files::sync(segment->file); !done) return done;
  ready_ = segment;
  advance();
  return {};
}

// --- accounts ---------------------------------------------------------------------------------------------------------

bool SegmentStore::advance() {
  if (ready_ == nullptr) {
    is_waited_for_ = true;
    return false;
  }
  active_ = ready_;
  ready_ = nullptr;
  is_waited_for_ = false;
  in_use_.push_back(active_->slot);
  return true;
}

void SegmentStore::add_used(Segment& segment, std::uint64_t bytes) {
  segment.used += bytes;
  used_bytes_ += bytes;
}

void SegmentStore::give_up(Segment& segment, std::uint64_t failed_from) {
  segment.failed_from = std::min(segment.failed_from, failed_from);
  segment.unusable = true;
  if (active_ == &segment) active_ = nullptr;
  healthy_ = false;
}

void SegmentStore::add_live(std::uint32_t slot, std::uint64_t bytes) {
  Segment& segment = at(slot);
  ++segment.live_items;
  segment.live_bytes += bytes;
  live_bytes_ += bytes;
}

void SegmentStore::remove_live(std::uint32_t slot, std::uint64_t bytes) {
  Segment& segment = at(slot);
  POSTERN_ASSERT(segment.live_items > 0 && segment.live_bytes >= bytes);
  --segment.live_items;
  segment.live_bytes -= bytes;
  live_bytes_ -= bytes;
}

// A commit never spans two segments, so up to one commit's length at the end of each may stay unused.
std::uint64_t SegmentStore::room() const {
  std::uint64_t bytes = free_count() * whole_segment();
  if (active_ != nullptr && active_->bytes - active_->used > options_.commit_bytes) {
    bytes += active_->bytes - active_->used - options_.commit_bytes;
  }
  return bytes;
}

std::uint64_t SegmentStore::bytes_at_hand() const {
  return free_count() * (options_.segment_bytes - kBlockBytes) +
         (active_ != nullptr ? active_->bytes - active_->used : 0);
}

std::uint64_t SegmentStore::room_for_items() const {
  const std::uint64_t bytes = room();
  return bytes - std::min(bytes, kReserve * whole_segment());
}

std::uint64_t SegmentStore::file_bytes_free() const {
  return free_bytes_ - std::min(free_bytes_, options_.disk_reserve_bytes);
}

std::uint64_t SegmentStore::room_to_grow(std::uint64_t promised_elsewhere) const {
  if (growth_blocked_ || options_.draining) return 0;
  std::uint64_t bytes = file_bytes_free();
  bytes -= std::min(bytes, promised_elsewhere);
  return bytes / options_.segment_bytes * whole_segment();
}

void SegmentStore::ask_free_bytes() {
  free_bytes_asked_ns_ = now_ns_;
  if (const auto bytes = files::free_bytes(options_.directory)) free_bytes_ = *bytes;
}

// --- the turn ---------------------------------------------------------------------------------------------------------

void SegmentStore::step(const Time& now) {
  now_ns_ = now.boot_ns;
  if (now_ns_ - free_bytes_asked_ns_ >= kAskFreeBytesNs) ask_free_bytes();
  release_oldest();
  step_changes(now);
  step_growth(now);
  arm_timer();
  counters_.segments_in_use = in_use_.size();
  counters_.segments_free = free_count();
}

// Lives end in the order they began; one that nobody needs waits behind one that somebody does.
void SegmentStore::release_oldest() {
  std::size_t count = 0;
  while (count < in_use_.size()) {
    Segment& oldest = at(in_use_[count]);
    if (&oldest == active_ || oldest.live_items > 0 || oldest.pins > 0) break;
    used_bytes_ -= oldest.used - kBlockBytes;
    recycled_.push_back(oldest.slot);
    if (!oldest.unusable) ++free_usable_;
    ++count;
  }
  in_use_.erase(in_use_.begin(), in_use_.begin() + static_cast<std::ptrdiff_t>(count));
}

Segment* SegmentStore::take_free() {
  std::vector<std::uint32_t>* list = &recycled_;
  if (recycled_.empty() || at(recycled_.front()).unusable) list = &fresh_;
  if (list->empty()) return nullptr;
  Segment& segment = at(list->front());
  list->erase(list->begin());
  --free_usable_;
  return &segment;
}

void SegmentStore::step_changes(const Time& now) {
  if (change_ != Change::none) return;
  const bool wants_next =
      ready_ == nullptr && (active_ == nullptr || is_waited_for_ || active_->used >= active_->bytes / 2);
  if (wants_next) {
    if (Segment* segment = take_free()) return start_stamp(*segment);
  }
  if (recycled_.empty() || now.boot_ns < changes_wait_until_ns_) return;
  Segment& oldest = at(recycled_.front());
  if (oldest.unusable) return start_removal(oldest);
  const std::size_t kept = options_.draining ? 1 : options_.segments_kept;
  if (free_usable_ <= std::max(kept, in_use_.size())) {
    shrink_after_ns_ = 0;
  } else if (shrink_after_ns_ == 0) {
    shrink_after_ns_ = now.boot_ns + kShrinkNs;
  } else if (now.boot_ns >= shrink_after_ns_) {
    shrink_after_ns_ = 0;
    --free_usable_;
    oldest.unusable = true;
    start_removal(oldest);
  }
}

void SegmentStore::fill_header(Segment& segment) {
  segment.header = {options_.log_number, ++sequence_, 0, segment.bytes, id_counter_};
  files::fill_random({reinterpret_cast<char*>(&segment.header.life), sizeof segment.header.life});
  segment.used = kBlockBytes;
  encode_segment_header(segment.header, std::span<char, kBlockBytes>(block_.get(), kBlockBytes));
}

void SegmentStore::start_stamp(Segment& segment) {
  change_ = Change::stamping;
  changing_ = &segment;
  fill_header(segment);
  ring_.write(segment.file, {block_.get(), kBlockBytes}, 0, change_completion_);
}

void SegmentStore::start_removal(Segment& segment) {
  change_ = Change::unlinking;
  changing_ = &segment;
  ring_.unlink(folder_, segment.name.c_str(), change_completion_);
}

void SegmentStore::on_change(Completion&, const Outcome& outcome) noexcept {
  const Change was = change_;
  change_ = Change::none;
  Segment& segment = *changing_;
  if (was == Change::stamping) {
    if (outcome.result == static_cast<std::int32_t>(kBlockBytes)) {
      ready_ = &segment;
      return;
    }
    // Old header or new one, nobody knows: it must go before any younger life ends.
    ++counters_.write_errors;
    healthy_ = false;
    segment.unusable = true;
    recycled_.insert(recycled_.begin(), segment.slot);
    return;
  }
  if (was == Change::unlinking && (outcome.result == 0 || outcome.result == -ENOENT)) {
    change_ = Change::syncing_folder;
    ring_.sync(folder_, false, change_completion_);
    return;
  }
  if (was == Change::syncing_folder && outcome.result == 0) {
    recycled_.erase(std::find(recycled_.begin(), recycled_.end(), segment.slot));
    drop_segment(segment);
    return;
  }
  healthy_ = false;
  changes_wait_until_ns_ = now_ns_ + kRetrySeconds * kNanosecondsPerSecond;
}

// --- growth -----------------------------------------------------------------------------------------------------------

void SegmentStore::step_growth(const Time& now) {
  if (growth_ != Growth::none) return;
  const std::size_t wanted = options_.draining ? 1 : kReserve + 1;
  if (free_count() >= wanted || now.boot_ns < growth_wait_until_ns_) return;
  // The part of the disk that is left to others is touched only for outcomes.
  const bool is_for_outcomes = options_.draining || free_count() < kReserve;
  ask_free_bytes();
  if (!is_for_outcomes && file_bytes_free() < options_.segment_bytes) {
    growth_error_ = ENOSPC;
    growth_blocked_ = true;
    growth_wait_until_ns_ = now.boot_ns + kRetrySeconds * kNanosecondsPerSecond;
    return;
  }
  start_growth();
}

void SegmentStore::start_growth() {
  growing_ = &make_segment(next_number_++, options_.segment_bytes);
  grown_ = 0;
  growth_error_ = 0;
  growth_ = Growth::opening;
  ring_.open(folder_, growing_->name.c_str(), O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC | (open_flags_ & O_DIRECT), 0600,
             growth_completion_);
}

void SegmentStore::write_zeros() {
  growth_ = Growth::writing;
  const auto piece = std::min<std::uint64_t>(zeros_bytes_, growing_->bytes - grown_);
  ring_.write(growing_->file, {zeros_.get(), piece}, grown_, growth_completion_);
}

void SegmentStore::on_growth(Completion&, const Outcome& outcome) noexcept {
  switch (growth_) {
    case Growth::none:
      POSTERN_ASSERT(false);
      return;
    case Growth::opening:
      if (outcome.result == -EINVAL && (open_flags_ & O_DIRECT) != 0) {
        open_flags_ &= ~O_DIRECT;  // this file system has none
        ring_.open(folder_, growing_->name.c_str(), O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0600, growth_completion_);
        return;
      }
      if (outcome.result < 0) return end_growth(-outcome.result);
      growing_->file = outcome.result;
      return write_zeros();
    case Growth::writing:
      if (outcome.result <= 0) return end_growth(outcome.result == 0 ? EIO : -outcome.result);
      grown_ += static_cast<std::uint64_t>(outcome.result);
      if (grown_ % kBlockBytes != 0) return end_growth(ENOSPC);  // cut short in the middle of a block: the disk is full
      if (grown_ < growing_->bytes) return write_zeros();
      growth_ = Growth::syncing;
      return ring_.sync(growing_->file, false, growth_completion_);
    case Growth::syncing:
      if (outcome.result < 0) return end_growth(-outcome.result);
      growth_ = Growth::syncing_folder;
      return ring_.sync(folder_, false, growth_completion_);
    case Growth::syncing_folder:
      if (outcome.result < 0) return end_growth(-outcome.result);
      growth_ = Growth::reopening;
      return ring_.open(folder_, growing_->name.c_str(), open_flags_, 0, growth_completion_);
    case Growth::reopening:
      if (outcome.result < 0) return end_growth(-outcome.result);
      files::close(growing_->file);
      growing_->file = outcome.result;
      if (!lock_for_writes(growing_->file)) return end_growth(EIO);
      fresh_.push_back(growing_->slot);
      ++free_usable_;
      growth_ = Growth::none;
      growth_blocked_ = false;
      growth_wait_until_ns_ = 0;
      return;
    case Growth::removing:
      growth_ = Growth::none;
      drop_segment(*growing_);
      return;
  }
}

void SegmentStore::end_growth(int error) {
  growth_error_ = error;
  if (!is_lack_of_space(error)) {
    ++counters_.write_errors;
    healthy_ = false;
  }
  growth_blocked_ = true;
  growth_wait_until_ns_ = now_ns_ + kRetrySeconds * kNanosecondsPerSecond;
  growth_ = Growth::removing;
  ring_.unlink(folder_, growing_->name.c_str(), growth_completion_);
}

// So that a turn comes when something is due; step() looks at the time itself.
void SegmentStore::arm_timer() {
  std::int64_t due = INT64_MAX;
  for (const std::int64_t at : {growth_wait_until_ns_, changes_wait_until_ns_, shrink_after_ns_}) {
    if (at > now_ns_) due = std::min(due, at);
  }
  if (due == INT64_MAX) {
    timers_.cancel(timer_);
  } else if (!timer_.is_set() || timer_due_ns_ != due) {
    timers_.set(timer_, due);
    timer_due_ns_ = due;
  }
}

void SegmentStore::on_timer(Timer&) noexcept {}

}  // namespace postern::core
