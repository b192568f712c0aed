#include "core/spool_recovery.h"

#include <algorithm>
#include <cstdlib>
#include <cstring>
#include <fcntl.h>
#include <map>
#include <new>

#include "core/assert.h"
#include "core/files.h"

namespace postern::core {
namespace {

constexpr std::size_t kWindowBytes = 4u << 20;
static_assert(kWindowBytes >= kCommitBytesMax + kBlockBytes);
constexpr std::uint32_t kLastWritesMilliseconds = 30'000;

class File {
 public:
  explicit File(int descriptor) : descriptor_(descriptor) {}
  ~File() {
    if (descriptor_ >= 0) files::close(descriptor_);
  }
  File(const File&) = delete;
  File& operator=(const File&) = delete;
  [[nodiscard]] int descriptor() const { return descriptor_; }

 private:
  int descriptor_;
};

// Damage or torn tail: known only when all commits of the chain were seen.
struct Suspect {
  std::size_t segment;
  std::uint64_t offset;
  std::uint64_t chain;
  std::uint64_t number;
  const char* what;
  ItemId id;
};

class LogScan {
 public:
  LogScan(const std::string& directory, std::uint32_t log_number, RecoveryReport& report)
      : directory_(directory), log_number_(log_number), report_(report), memory_(make_aligned(kWindowBytes)) {}

  Result<FoundLog> run() {
    if (auto done = find_segments(); !done) return std::unexpected(done.error());
    std::stable_sort(log_.segments.begin(), log_.segments.end(), [](const FoundSegment& a, const FoundSegment& b) {
      const bool a_used = a.state == FoundSegment::State::used;
      const bool b_used = b.state == FoundSegment::State::used;
      return a_used != b_used ? a_used : a_used && a.header.sequence < b.header.sequence;
    });
    std::size_t used = 0;
    while (used < log_.segments.size() && log_.segments[used].state == FoundSegment::State::used) ++used;
    for (std::size_t i = 0; i < used; ++i) {
      if (auto done = walk(i, i + 1 == used); !done) return std::unexpected(done.error());
    }
    judge_suspects();
    if (auto done = check_large(); !done) return std::unexpected(done.error());
    report_.segments = used;
    report_.items = log_.items.size();
    return std::move(log_);
  }

 private:
  Result<void> find_segments();
  Result<void> look_at(FoundSegment& segment);
  Result<bool> holds_records(int file, std::uint64_t bytes);
  Result<void> walk(std::size_t index, bool is_last);
  void on_commit(std::size_t index, const RecordScanner& scanner);
  void on_hole(std::size_t index, const RecordScanner& scanner, bool at_end);
  void suspect(std::size_t index, std::uint64_t offset, std::uint64_t number, const char* what, ItemId id = 0);
  void apply(std::size_t index, const RecordScanner& scanner);
  void judge_suspects();
  Result<void> check_large();
  std::string_view read_window(int file, FoundSegment& segment, std::uint64_t base);

  void note(const FoundSegment& segment, std::uint64_t offset, const std::string& text) {
    report_.notes.push_back(directory_ + "/" + segment.name + " at " + std::to_string(offset) + ": " + text);
  }

  const std::string& directory_;
  std::uint32_t log_number_;
  RecoveryReport& report_;
  AlignedMemory memory_;
  FoundLog log_;
  std::vector<Suspect> suspects_;
  std::map<std::uint64_t, std::uint64_t> durable_;  // by chain: the greatest `durable` any commit vouches for
  // Where the walk is, across segments.
  std::uint64_t chain_ = 0;
  std::uint64_t expected_ = 0;  // number of the commit to come in this chain
  std::uint64_t current_ = 0;   // number of the commit the walk is in
  bool counted_ = false;        // a commit of this chain was seen before
};

Result<void> LogScan::find_segments() {
  auto names = files::list(directory_);
  if (!names) return std::unexpected(names.error());
  for (std::string& name : *names) {
    const auto number = parse_segment_file_name(name);
    if (!number) continue;
    FoundSegment segment;
    segment.name = std::move(name);
    segment.number = *number;
    log_.number_max = std::max(log_.number_max, *number);
    if (auto done = look_at(segment); !done) return done;
    log_.segments.push_back(std::move(segment));
  }
  return {};
}

Result<void> LogScan::look_at(FoundSegment& segment) {
  const std::string path = directory_ + "/" + segment.name;
  auto opened = files::open(path, O_RDONLY);
  if (!opened) return std::unexpected(opened.error());
  const File file(*opened);
  auto bytes = files::size(file.descriptor());
  if (!bytes) return std::unexpected(bytes.error());
  segment.file_bytes = *bytes;
  if (*bytes < kBlockBytes) {
    segment.state = FoundSegment::State::partial;
    return {};
  }
  const std::span<char, kBlockBytes> block(memory_.get(), kBlockBytes);
  auto got = files::read_at(file.descriptor(), block, 0);
  const HeaderState state =
      got && *got == kBlockBytes ? decode_segment_header(block, segment.header) : HeaderState::damaged;
  switch (state) {
    case HeaderState::valid:
      if (segment.header.log_number != log_number_) {
        return fail(path + " belongs to log " + std::to_string(segment.header.log_number) + ", not to log " +
                    std::to_string(log_number_));
      }
      segment.state = FoundSegment::State::used;
      log_.sequence_max = std::max(log_.sequence_max, segment.header.sequence);
      log_.id_counter_floor = std::max(log_.id_counter_floor, segment.header.id_floor);
      return {};
    case HeaderState::blank:
      segment.state = FoundSegment::State::blank;
      return {};
    case HeaderState::foreign:
      return fail(path + " has another format version than " + std::to_string(kFormatVersion) +
                  ": it was written by another release");
    case HeaderState::damaged:
      break;
  }
  auto holds = holds_records(file.descriptor(), *bytes);
  if (!holds) return std::unexpected(holds.error());
  segment.state = *holds ? FoundSegment::State::aside : FoundSegment::State::blank;
  if (*holds) {
    ++report_.damaged_records;
    note(segment, 0, "the segment's header is damaged: its records cannot be read; the file is left as it is");
  }
  return {};
}

// Records carry their life id, so they can be told without the segment's header, though not which life is the last.
Result<bool> LogScan::holds_records(int file, std::uint64_t bytes) {
  for (std::uint64_t base = 0; base < bytes; base += kWindowBytes) {
    auto got = files::read_at(file, {memory_.get(), kWindowBytes}, base);
    if (!got) return true;  // cannot be told: take the careful answer
    for (std::uint64_t at = 0; at + kRecordHeaderBytes <= *got; at += kBlockBytes) {
      const char* record = memory_.get() + at;
      if (check_record_header(record, read_record_header(record).life, base + at)) return true;
    }
  }
  return false;
}

// An unreadable block counts as zeros: what lay there is then missed like any other unsound stretch.
std::string_view LogScan::read_window(int file, FoundSegment& segment, std::uint64_t base) {
  const std::uint64_t want = std::min<std::uint64_t>(kWindowBytes, segment.file_bytes - base);
  const auto got = files::read_at(file, {memory_.get(), want}, base);
  if (got && *got == want) return {memory_.get(), want};
  std::uint64_t unreadable = 0;
  for (std::uint64_t at = 0; at < want; at += kBlockBytes) {
    const std::uint64_t block = std::min(kBlockBytes, want - at);
    const auto part = files::read_at(file, {memory_.get() + at, block}, base + at);
    if (part && *part == block) continue;
    std::memset(memory_.get() + at, 0, block);
    if (unreadable++ == 0) note(segment, base + at, part ? "the file ends early" : part.error().text);
  }
  if (unreadable > 0) segment.is_clean = false;
  return {memory_.get(), want};
}

Result<void> LogScan::walk(std::size_t index, bool is_last) {
  FoundSegment& segment = log_.segments[index];
  auto opened = files::open(directory_ + "/" + segment.name, O_RDONLY | O_DIRECT);
  if (!opened) return std::unexpected(opened.error());
  const File file(*opened);
  const std::uint64_t bytes = std::min(segment.file_bytes, segment.header.segment_bytes);
  if (bytes < segment.header.segment_bytes) {
    note(segment, bytes, "the file is shorter than its header says");
    segment.is_clean = false;
  }
  RecordScanner scanner(segment.header.life, bytes);
  std::string_view window;
  std::uint64_t base = 0;
  for (;;) {
    const RecordScanner::Step step = scanner.next(window, base);
    // Nothing was in flight so far behind the last sound record: the log ends here.
    const bool is_over = step == RecordScanner::Step::end ||
                         (step == RecordScanner::Step::more && is_last && scanner.hole_bytes() > kInFlightBytesMax);
    if (scanner.after_hole() && (is_over || step != RecordScanner::Step::more)) on_hole(index, scanner, is_over);
    if (is_over) break;
    switch (step) {
      case RecordScanner::Step::commit:
        on_commit(index, scanner);
        ++segment.records;
        break;
      case RecordScanner::Step::record:
        apply(index, scanner);
        ++segment.records;
        ++report_.records;
        break;
      case RecordScanner::Step::damaged_payload:
        suspect(index, scanner.offset(), scanner.record_in_commit() ? current_ : expected_,
                "a record's content does not match its checksum", scanner.header().id);
        break;
      default:
        base = round_down(scanner.position(), kBlockBytes);
        if (base >= segment.file_bytes) return fail(directory_ + "/" + segment.name + ": cannot be walked");
        window = read_window(file.descriptor(), segment, base);
    }
  }
  segment.sound_end = scanner.sound_end();
  return {};
}

void LogScan::on_commit(std::size_t index, const RecordScanner& scanner) {
  const CommitHeader& commit = scanner.commit();
  if (commit.chain != chain_) {
    chain_ = commit.chain;
    counted_ = false;
    expected_ = 0;
  }
  // The oldest segment may begin anywhere in its chain.
  const bool gap = counted_ && commit.number > expected_;
  if (gap && !scanner.after_hole()) suspect(index, scanner.offset(), expected_, "a commit before this one is missing");
  counted_ = true;
  current_ = commit.number;
  expected_ = commit.number + 1;
  std::uint64_t& durable = durable_[commit.chain];
  durable = std::max(durable, commit.durable);
}

void LogScan::on_hole(std::size_t index, const RecordScanner& scanner, bool at_end) {
  // The scanner has moved on to what follows; current_ and expected_ still tell what came before.
  if (scanner.hole_in_commit()) {
    suspect(index, scanner.hole_begin(), current_, "a record is unsound");
    return;
  }
  // Behind the last commit there is nothing: not a hole, unless a later segment goes on with a later number.
  if (at_end) return;
  const bool padding = !suspects_.empty() && suspects_.back().segment == index &&
                       suspects_.back().number == expected_ && suspects_.back().chain == chain_;
  if (!padding) suspect(index, scanner.hole_begin(), expected_, "a commit is unsound");
}

void LogScan::suspect(std::size_t index, std::uint64_t offset, std::uint64_t number, const char* what, ItemId id) {
  log_.segments[index].is_clean = false;
  suspects_.push_back({index, offset, chain_, number, what, id});
}

void LogScan::apply(std::size_t index, const RecordScanner& scanner) {
  const RecordHeader& record = scanner.header();
  const std::uint64_t counter = record.id & ((std::uint64_t{1} << kCounterBits) - 1);
  log_.id_counter_floor = std::max(log_.id_counter_floor, counter + 1);
  const RecordPlace place = RecordPlace::at(static_cast<std::uint32_t>(index), scanner.offset());
  const auto keep_text = [&](FoundItem& item, std::string_view head, std::string_view state) {
    auto text = std::make_unique_for_overwrite<char[]>(head.size() + state.size() + 1);
    std::copy(head.begin(), head.end(), text.get());
    std::copy(state.begin(), state.end(), text.get() + head.size());
    item.text = std::move(text);
    item.state_bytes = static_cast<std::uint32_t>(state.size());
  };
  FoundItem* item = log_.items.find(record.id);
  switch (record.type) {
    case RecordType::item: {
      if (record.id == 0) return;
      if (item == nullptr) {
        log_.items.insert(record.id, FoundItem{});
        item = log_.items.find(record.id);
      }
      IndexEntry& entry = item->entry;
      entry = IndexEntry{};
      entry.accepted_unix_ns = record.accepted_unix_ns;
      entry.body_bytes = record.body_bytes;
      entry.head_bytes = record.head_bytes;
      entry.record_bytes = record.record_bytes;
      entry.content_flags = record.content_flags;
      entry.flags = record.is_large() ? IndexEntry::kLarge : 0;
      entry.place = place;
      if (record.state_bytes > 0) {
        entry.state_place = place;
        entry.state_record_bytes = record.record_bytes;
      }
      keep_text(*item, scanner.head(), scanner.state());
      break;
    }
    case RecordType::state: {
      if (item == nullptr) break;
      item->entry.state_place = place;
      item->entry.state_record_bytes = record.record_bytes;
      const auto old = std::move(item->text);
      keep_text(*item, {old.get(), item->entry.head_bytes}, scanner.state());
      break;
    }
    case RecordType::finish:
      log_.items.erase(record.id);
      break;
    case RecordType::commit:
      break;
  }
}

void LogScan::judge_suspects() {
  for (const Suspect& suspect : suspects_) {
    const FoundSegment& segment = log_.segments[suspect.segment];
    const auto durable = durable_.find(suspect.chain);
    if (durable != durable_.end() && suspect.number < durable->second) {
      ++report_.damaged_records;
      std::string text = "DAMAGE: " + std::string(suspect.what) + " in what had been written safely";
      if (suspect.id != 0) text += " (item " + large_file_name(suspect.id) + ")";
      note(segment, suspect.offset, text);
    } else {
      report_.torn_tail = true;
      note(segment, suspect.offset, "torn tail: " + std::string(suspect.what) + "; nothing of it was acknowledged");
    }
  }
}

Result<void> LogScan::check_large() {
  const std::string folder = directory_ + "/large";
  auto names = files::list(folder);
  if (!names && names.error().code != ENOENT) return std::unexpected(names.error());
  if (names) {
    for (std::string& name : *names) {
      const auto id = parse_large_file_name(name);
      if (!id) continue;
      log_.id_counter_floor = std::max(log_.id_counter_floor, (*id & ((std::uint64_t{1} << kCounterBits) - 1)) + 1);
      const FoundItem* item = log_.items.find(*id);
      if (item == nullptr || !item->entry.is_large()) log_.orphans.push_back(std::move(name));
    }
  }
  log_.items.each([&](ItemId id, const FoundItem& item) {
    if (!item.entry.is_large()) return;
    const std::string path = folder + "/" + large_file_name(id);
    auto opened = files::open(path, O_RDONLY);
    std::string wrong;
    if (!opened) {
      wrong = opened.error().text;
    } else {
      const File file(*opened);
      auto bytes = files::size(file.descriptor());
      if (!bytes) {
        wrong = bytes.error().text;
      } else if (*bytes < item.entry.body_bytes) {
        wrong = path + " has " + std::to_string(*bytes) + " octets of " + std::to_string(item.entry.body_bytes);
      }
    }
    if (wrong.empty()) return;
    log_.lost_bodies.push_back(id);
    ++report_.lost_items;
    report_.notes.push_back("LOST: the body of item " + large_file_name(id) + ": " + wrong);
  });
  std::sort(log_.lost_bodies.begin(), log_.lost_bodies.end());
  return {};
}

}  // namespace

Result<void> settle_segments(const std::string& directory, RecoveryReport& report) {
  auto names = files::list(directory);
  if (!names) return std::unexpected(names.error());
  for (const std::string& name : *names) {
    if (!parse_segment_file_name(name)) continue;
    const std::string path = directory + "/" + name;
    auto opened = files::open(path, O_RDWR);
    if (!opened) return std::unexpected(opened.error());
    const File file(*opened);
    const auto locked = files::lock(file.descriptor(), kLastWritesMilliseconds);
    if (!locked) return std::unexpected(locked.error());
    if (!*locked) {
      return fail("a write that a former process began in " + path + " is still under way: the disk does not answer",
                  EWOULDBLOCK);
    }
    if (auto synced = files::sync(file.descriptor()); !synced) {
      ++report.unsynced_segments;
      report.notes.push_back(path + ": " + synced.error().text +
                             "; what a former run finished last may be delivered again after a power cut");
    }
  }
  return {};
}

Result<FoundLog> scan_log(const std::string& directory, std::uint32_t log_number, RecoveryReport& report) {
  return LogScan(directory, log_number, report).run();
}

void FreeAligned::operator()(char* memory) const {
  std::free(memory);
}

AlignedMemory make_aligned(std::size_t bytes) {
  bytes = round_up(bytes, kBlockBytes);
  char* memory = static_cast<char*>(std::aligned_alloc(kBlockBytes, bytes));
  if (memory == nullptr) throw std::bad_alloc();
  std::memset(memory, 0, bytes);
  return AlignedMemory(memory);
}

}  // namespace postern::core
