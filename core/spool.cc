#include "core/spool.h"

#include <algorithm>
#include <cerrno>
#include <cstring>

#include "core/assert.h"
#include "core/crc32c.h"
#include "core/files.h"
#include "core/spool_folder.h"
#include "core/spool_internal.h"
#include "core/spool_recovery.h"

namespace postern::core {
namespace {

Result<void> check_options(const SpoolOptions& options) {
  const std::uint64_t commit_least = std::uint64_t{options.inline_bytes_max} + kHeadBytesMax + 2 * kBlockBytes;
  if (options.log_number >= (1u << kLogNumberBits)) return fail("a spool has at most 1024 logs");
  if (options.segment_bytes % kBlockBytes != 0 || options.commit_bytes % kBlockBytes != 0) {
    return fail("segments and commits are multiples of 4096 octets");
  }
  if (options.commit_bytes < commit_least || options.commit_bytes > kCommitBytesMax) {
    return fail("commit_bytes must hold an item of inline_bytes_max and be at most 2 MiB");
  }
  if (options.segment_bytes < kBlockBytes + 2 * std::uint64_t{options.commit_bytes} ||
      options.segment_bytes > (std::uint64_t{1} << 34)) {
    return fail("a segment holds at least two commits, and at most 16 GiB");
  }
  if (options.segments_kept < 4) return fail("a log keeps at least 4 segments");
  if (options.commits_in_flight < 1 ||
      std::uint64_t{options.commits_in_flight} * options.commit_bytes > kInFlightBytesMax) {
    return fail("between one commit and 16 MiB of commits may be in flight");
  }
  return {};
}

std::uint64_t total_bytes(std::span<const iovec> parts) {
  std::uint64_t bytes = 0;
  for (const iovec& part : parts) bytes += part.iov_len;
  return bytes;
}

}  // namespace

// --- opening ----------------------------------------------------------------------------------------------------------

Spool::Implementation::Implementation(const SpoolOptions& spool_options, Ring& spool_ring, TimerWheel& spool_timers,
                                      std::size_t items_expected)
    : options(spool_options),
      ring(spool_ring),
      timers(spool_timers),
      index(items_expected),
      segments(options, ring, timers, counters, id_counter),
      log(options, ring, timers, segments, index, counters, &Implementation::on_large_finished, this),
      compactor(options, ring, segments, index, log, counters),
      later_timer(timer_handler<&Implementation::on_tell>, this),
      unlink_completion(completion_handler<&Implementation::on_unlinked>, this) {}

Spool::Implementation::~Implementation() {
  timers.cancel(later_timer);
  if (large_folder >= 0) files::close(large_folder);
  if (lock >= 0) files::close(lock);
}

Result<void> Spool::Implementation::take_over(FoundLog& found, const Time& time) {
  now = time;
  const auto micros = static_cast<std::uint64_t>(std::max<std::int64_t>(time.unix_ns, 0)) / 1000;
  id_counter = std::max({found.id_counter_floor, micros, std::uint64_t{1}});
  auto slots = segments.adopt(found);
  if (!slots) return std::unexpected(slots.error());
  found.items.each([&](ItemId id, const FoundItem& item) {
    IndexEntry entry = item.entry;
    entry.place.segment = (*slots)[entry.place.segment];
    if (entry.state_place.is_set()) entry.state_place.segment = (*slots)[entry.state_place.segment];
    index.insert(id, entry);
    segments.add_live(entry.place.segment, entry.record_bytes);
  });
  return segments.settle(time);
}

Result<std::unique_ptr<Spool>> Spool::open(const SpoolOptions& options, Ring& ring, TimerWheel& timers, const Time& now,
                                           const RecoverItem& item, RecoveryReport& report) {
  if (auto sound = check_options(options); !sound) return std::unexpected(sound.error());
  const std::string large = options.directory + "/large";
  if (auto made = files::make_directory(large); !made) return std::unexpected(made.error());
  // A run that died between a mkdir and its sync left folders that are there and not durable: both of these sync anew.
  if (auto marked = mark_format(spool_folder_of(options.directory)); !marked) return std::unexpected(marked.error());
  if (auto synced = sync_folder(options.directory); !synced) return std::unexpected(synced.error());
  auto lock = lock_log(options.directory);
  if (!lock) return std::unexpected(lock.error());
  auto settled = settle_segments(options.directory, report);
  auto found = settled ? scan_log(options.directory, options.log_number, report) : std::unexpected(settled.error());
  if (!found) {
    files::close(*lock);
    return std::unexpected(found.error());
  }
  auto inside = std::make_unique<Implementation>(options, ring, timers, found->items.size());
  inside->lock = *lock;
  if (auto done = inside->take_over(*found, now); !done) return std::unexpected(done.error());
  auto folder = files::open_directory(large);
  if (!folder) return std::unexpected(folder.error());
  inside->large_folder = *folder;
  for (const std::string& name : found->orphans) {
    // After damage a body may only seem to have no record: it is left for whoever mends it.
    if (report.damaged_records > 0) {
      report.notes.push_back("kept " + large + "/" + name + ": no record names it, but records were damaged");
    } else if (auto removed = files::unlink(large + "/" + name); !removed) {
      report.notes.push_back(removed.error().text);
    } else {
      ++report.orphans_removed;
    }
  }
  std::vector<ItemId> ids;
  ids.reserve(found->items.size());
  found->items.each([&](ItemId id, const FoundItem&) { ids.push_back(id); });
  std::sort(ids.begin(), ids.end());
  for (const ItemId id : ids) {
    if (std::binary_search(found->lost_bodies.begin(), found->lost_bodies.end(), id)) continue;
    const FoundItem& recovered = *found->items.find(id);
    if (item) item({recovered.entry.info(id), recovered.head(), recovered.state()});
  }
  return std::unique_ptr<Spool>(new Spool(std::move(inside)));
}

Spool::Spool(std::unique_ptr<Implementation> implementation) : implementation_(std::move(implementation)) {}
Spool::~Spool() = default;

// --- admission --------------------------------------------------------------------------------------------------------

bool Spool::admit(std::uint64_t bytes) {
  Implementation& in = *implementation_;
  if (in.options.draining) return false;
  const bool is_large = bytes > in.options.inline_bytes_max;
  const std::uint64_t in_log = kAdmissionExtraBytes + (is_large ? 0 : bytes);
  const std::uint64_t in_file = is_large ? bytes : 0;
  const std::uint64_t promised = in.admitted_file_bytes + in_file;
  const std::uint64_t wanted = in.admitted_log_bytes + in_log + in.log.unissued_bytes();
  const std::uint64_t room = in.segments.room_for_items();
  // In a second this server and others fill gigabytes: where it hangs on the file system, its word must be fresh.
  if (is_large || room < wanted) in.segments.ask_free_bytes();
  if (is_large && in.segments.file_bytes_free() < promised) return false;
  if (room < wanted && room + in.segments.room_to_grow(promised) < wanted) return false;
  in.admitted_log_bytes += in_log;
  in.admitted_file_bytes += in_file;
  return true;
}

void Spool::release(std::uint64_t bytes) {
  Implementation& in = *implementation_;
  const bool is_large = bytes > in.options.inline_bytes_max;
  const std::uint64_t in_log = kAdmissionExtraBytes + (is_large ? 0 : bytes);
  const std::uint64_t in_file = is_large ? bytes : 0;
  POSTERN_ASSERT(in.admitted_log_bytes >= in_log && in.admitted_file_bytes >= in_file);
  in.admitted_log_bytes -= in_log;
  in.admitted_file_bytes -= in_file;
}

// --- items ------------------------------------------------------------------------------------------------------------

ItemId Spool::next_id() {
  Implementation& in = *implementation_;
  return (std::uint64_t{in.options.log_number} << kCounterBits) | in.id_counter++;
}

bool Spool::Implementation::has_room(std::uint64_t record_bytes) const {
  return segments.room_for_items() >= log.unissued_bytes() + record_bytes + kBlockBytes;
}

bool Spool::can_append(std::uint64_t head_and_body_bytes) const {
  const Implementation& in = *implementation_;
  const std::uint64_t bytes = record_bytes_for(head_and_body_bytes);
  return !in.options.draining && in.has_room(bytes) && in.log.can_take(bytes, CommitLog::Use::append);
}

int Spool::Implementation::log_item(RecordHeader header, std::string_view record_head, std::span<const iovec> body,
                                    Durable& durable) {
  durable.id = header.id;
  header.head_bytes = static_cast<std::uint32_t>(record_head.size());
  const std::uint64_t bytes = record_bytes_for(header.payload_bytes());
  if (options.draining) return EROFS;
  if (!has_room(bytes)) return ENOSPC;
  char* record = log.reserve(bytes, CommitLog::Use::append);
  if (record == nullptr) return ENOBUFS;
  char* at = std::copy(record_head.begin(), record_head.end(), record + kRecordHeaderBytes);
  for (const iovec& part : body) {
    if (part.iov_len > 0) std::memcpy(at, part.iov_base, part.iov_len);
    at += part.iov_len;
  }
  finish_record(header, record);
  IndexEntry entry;
  entry.accepted_unix_ns = header.accepted_unix_ns;
  entry.body_bytes = header.body_bytes;
  entry.head_bytes = header.head_bytes;
  entry.record_bytes = static_cast<std::uint32_t>(bytes);
  entry.content_flags = header.content_flags;
  entry.flags = header.is_large() ? IndexEntry::kLarge : 0;
  index.insert(header.id, entry);
  log.attach(durable);
  ++counters.items_appended;
  return 0;
}

void Spool::append(ItemId id, std::string_view head, std::span<const iovec> body, std::uint16_t content_flags,
                   std::int64_t accepted_unix_ns, Durable& durable) {
  Implementation& in = *implementation_;
  RecordHeader header;
  header.type = RecordType::item;
  header.content_flags = content_flags;
  header.id = id;
  header.accepted_unix_ns = accepted_unix_ns;
  header.body_bytes = total_bytes(body);
  POSTERN_ASSERT(head.size() + header.body_bytes <= std::uint64_t{in.options.inline_bytes_max} + kHeadBytesMax);
  if (const int error = in.log_item(header, head, body, durable); error != 0) {
    in.tell_later(Implementation::Kind::durable, &durable, error);
  }
}

void Spool::update(ItemId id, std::string_view state, Durable* durable) {
  Implementation& in = *implementation_;
  POSTERN_ASSERT(state.size() <= state_bytes_max());
  if (durable != nullptr) durable->id = id;
  IndexEntry* entry = in.index.find(id);
  if (entry == nullptr) {
    if (durable != nullptr) in.tell_later(Implementation::Kind::durable, durable, ENOENT);
    return;
  }
  ++entry->state_pending;
  if ((entry->flags & IndexEntry::kMoving) != 0) entry->flags |= IndexEntry::kStateNewer;
  RecordHeader header;
  header.type = RecordType::state;
  header.id = id;
  header.state_bytes = static_cast<std::uint32_t>(state.size());
  in.log.log_outcome(header, state, durable);
}

void Spool::finish(ItemId id, Durable* durable) {
  Implementation& in = *implementation_;
  if (durable != nullptr) durable->id = id;
  IndexEntry* entry = in.index.find(id);
  if (entry == nullptr) {
    if (durable != nullptr) in.tell_later(Implementation::Kind::durable, durable, ENOENT);
    return;
  }
  RecordHeader header;
  header.type = RecordType::finish;
  header.flags = entry->is_large() ? kRecordLarge : 0;
  header.id = id;
  if (entry->place.is_set()) in.segments.remove_live(entry->place.segment, entry->record_bytes);
  in.index.erase(id);
  ++in.counters.items_finished;
  in.log.log_outcome(header, {}, durable);
}

bool Spool::find(ItemId id, ItemInfo& info) const {
  const IndexEntry* entry = implementation_->index.find(id);
  if (entry == nullptr) return false;
  info = entry->info(id);
  return true;
}

std::string Spool::large_path(ItemId id) const {
  return implementation_->options.directory + "/large/" + large_file_name(id);
}

// A state must fit a moved record together with the largest item.
std::size_t Spool::state_bytes_max() const {
  const SpoolOptions& options = implementation_->options;
  return options.commit_bytes - options.inline_bytes_max - kHeadBytesMax - kBlockBytes;
}

// --- loading ----------------------------------------------------------------------------------------------------------

std::size_t Spool::load_bytes(ItemId id) const {
  const IndexEntry* entry = implementation_->index.find(id);
  if (entry == nullptr) return 0;
  // Wherever compaction may have put it by then, and with whatever state beside it: a block more than its length.
  return round_up(std::uint64_t{entry->record_bytes}, kBlockBytes) + kBlockBytes;
}

void Spool::load(ItemId id, Load& load) {
  Implementation& in = *implementation_;
  const IndexEntry* entry = in.index.find(id);
  load.id = id;
  load.spool = &in;
  load.head = load.body = {};
  if (entry == nullptr) return in.tell_later(Implementation::Kind::load, &load, ENOENT);
  if (!entry->place.is_set() || !in.log.is_durable(entry->place)) {
    return in.tell_later(Implementation::Kind::load, &load, EAGAIN);
  }
  load.segment = entry->place.segment;
  load.offset = entry->place.offset();
  load.record_bytes = entry->record_bytes;
  const std::uint64_t begin = round_down(load.offset, kBlockBytes);
  const std::uint64_t bytes = round_up(load.offset + load.record_bytes, kBlockBytes) - begin;
  if (load.into.size() < bytes) return in.tell_later(Implementation::Kind::load, &load, ENOBUFS);
  ++in.segments.at(load.segment).pins;
  ++in.operations;
  load.completion.handler = &Implementation::on_loaded;
  load.completion.owner = &load;
  in.ring.read(in.segments.at(load.segment).file, load.into.first(bytes), begin, load.completion);
}

void Spool::Implementation::on_loaded(void* owner, Completion&, const Outcome& outcome) noexcept {
  Load& load = *static_cast<Load*>(owner);
  Implementation& in = *static_cast<Implementation*>(load.spool);
  Segment& segment = in.segments.at(load.segment);
  --segment.pins;
  --in.operations;
  const std::uint64_t within = load.offset % kBlockBytes;
  int error = EIO;
  if (outcome.result >= 0 && static_cast<std::uint64_t>(outcome.result) >= within + load.record_bytes) {
    const char* record = load.into.data() + within;
    const auto header = check_record_header(record, segment.header.life, load.offset);
    if (header && header->id == load.id && header->type == RecordType::item &&
        header->record_bytes == load.record_bytes && check_payload(*header, record)) {
      error = 0;
      const char* payload = record + kRecordHeaderBytes;
      load.head = {payload, header->head_bytes};
      load.body = {payload + header->head_bytes + header->state_bytes, header->inline_body_bytes()};
      load.body_crc = header->file_crc;
    }
  }
  if (error != 0) ++in.counters.read_errors;
  load.handler(load.owner, load, error);
}

// --- the worker's turn ------------------------------------------------------------------------------------------------

void Spool::flush(const Time& now) {
  implementation_->flush(now);
}

void Spool::Implementation::flush(const Time& time) {
  now = time;
  if (!to_record.empty()) record_large();
  segments.step(time);
  compactor.step();
  log.flush(time);
  unlink_next();
}

bool Spool::Implementation::is_idle() const {
  return log.is_idle() && segments.is_idle() && compactor.is_idle() && operations == 0 && later.empty() &&
         to_record.empty() && unlinks.empty() && !unlink_completion.in_flight;
}

void Spool::Implementation::tell_later(Kind kind, void* object, int error) {
  later.push_back({kind, object, error});
  if (!later_timer.is_set()) timers.set(later_timer, now.boot_ns);
}

void Spool::Implementation::on_tell(Timer&) noexcept {
  telling.swap(later);
  for (const Later& what : telling) {
    switch (what.kind) {
      case Kind::durable: {
        auto& durable = *static_cast<Durable*>(what.object);
        durable.handler(durable.owner, durable, what.error);
        break;
      }
      case Kind::load: {
        auto& load = *static_cast<Load*>(what.object);
        load.handler(load.owner, load, what.error);
        break;
      }
      case Kind::large: {
        auto& large = *static_cast<LargeBody*>(what.object);
        large.handler(large.owner, large, what.error);
        break;
      }
    }
  }
  telling.clear();
}

bool Spool::is_idle() const {
  return implementation_->is_idle();
}
bool Spool::healthy() const {
  return implementation_->segments.healthy();
}
std::size_t Spool::items() const {
  return implementation_->index.size();
}
const SpoolCounters& Spool::counters() const {
  return implementation_->counters;
}

}  // namespace postern::core
