// Duty and bounds are in the header.
#include "policy/failure_log.h"

#include <algorithm>
#include <bit>

#include "core/assert.h"

namespace postern::policy {
namespace {

// How much of the machine's word is the key in the index of a level.
constexpr unsigned kShift[] = {0, 8, 16};
constexpr std::size_t kNameIndex = static_cast<std::size_t>(FailureLevel::name);

// The first second that still counts.
std::uint32_t oldest_counting(std::uint32_t now, std::uint32_t within) noexcept {
  return now >= within ? now - within + 1 : 0;
}

}  // namespace

FailureLog::FailureLog(std::size_t failures, const KeyedHash& hash)
    : hash_(hash),
      ring_(std::bit_ceil(std::max<std::size_t>(failures, 16))),
      newest_(ring_.size() * kIndexes, kFirst - kFarBehind) {
  POSTERN_ASSERT(ring_.size() <= std::size_t{1} << 30);  // distances are told in 32 bits
}

FailureLog::Sequence& FailureLog::newest_at(std::size_t index, const Failure& failure) noexcept {
  const std::uint64_t kind = index | (failure.machine.v4 ? 8 : 0);
  std::uint64_t place = 0;
  if (index == kNameIndex) {
    place = hash_(failure.name, index);
  } else if (index == kPairIndex) {
    place = hash_(hash_(failure.machine.word, kind), failure.name);
  } else {
    place = hash_(failure.machine.word >> kShift[index], kind);
  }
  return newest_[index * ring_.size() + (place & (ring_.size() - 1))];
}

bool FailureLog::same_key(std::size_t index, const Record& record, const Failure& failure) noexcept {
  if (index == kNameIndex) return record.name == failure.name;
  if (record.v4 != failure.machine.v4) return false;
  if (index == kPairIndex) return record.machine == failure.machine.word && record.name == failure.name;
  return record.machine >> kShift[index] == failure.machine.word >> kShift[index];
}

// Visits the records that count for this key in this index, newest first, until `visit` returns false. Takes out of the
// chain what does not count there, and cuts it where it gets too old.
template <class Visit>
void FailureLog::walk(std::size_t index, const Failure& failure, std::uint32_t oldest_second, Visit visit) noexcept {
  const auto mask = static_cast<FailureLevels>(index == kPairIndex ? ~0u : 1u << index);
  Sequence* link = &newest_at(index, failure);
  // Distances from the next record grow along a chain. A link from so long ago that the numbers came round again may
  // lead into another chain; nothing there has this key, and what is done to it here is right for it, too.
  for (Sequence distance = 0;;) {
    const Sequence further = next_ - *link;
    if (further <= distance || further > ring_.size()) break;
    Record& record = at(*link);
    if (record.second < oldest_second) break;
    if ((record.counts & mask) == 0) {
      distance = further;
      *link = record.before[index];
      continue;
    }
    distance = further;
    if (same_key(index, record, failure) && !visit(record)) return;
    link = &record.before[index];
  }
  *link = next_ - kFarBehind;
}

bool FailureLog::add(const Failure& failure, FailureLevels levels, std::uint32_t now, std::uint32_t within) noexcept {
  newest_second_ = std::max(newest_second_, now);
  Record& record = at(next_);
  const bool forgotten = record.counts != 0 && record.second >= oldest_counting(newest_second_, within);
  record.machine = failure.machine.word;
  record.v4 = failure.machine.v4;
  record.name = failure.name;
  record.second = newest_second_;
  record.counts = levels;
  for (std::size_t index = 0; index < kIndexes; ++index) {
    if (index == kPairIndex ? levels == 0 : (levels >> index & 1) == 0) continue;
    Sequence& newest = newest_at(index, failure);
    record.before[index] = newest;
    newest = next_;
  }
  ++next_;
  return forgotten;
}

std::uint32_t FailureLog::count(FailureLevel level, const Failure& failure, std::uint32_t now, std::uint32_t within,
                                std::uint32_t limit) noexcept {
  std::uint32_t counted = 0;
  walk(static_cast<std::size_t>(level), failure, oldest_counting(std::max(now, newest_second_), within),
       [&](const Record&) { return ++counted < limit; });
  return counted;
}

void FailureLog::use_up(FailureLevel level, const Failure& failure) noexcept {
  walk(static_cast<std::size_t>(level), failure, 0, [level](Record& record) {
    record.counts &= static_cast<FailureLevels>(~level_bit(level));
    return true;
  });
}

std::uint32_t FailureLog::take_back(const Failure& failure, std::uint32_t now, std::uint32_t within) noexcept {
  std::uint32_t taken = 0;
  walk(kPairIndex, failure, oldest_counting(std::max(now, newest_second_), within), [&](Record& record) {
    record.counts = 0;
    ++taken;
    return true;
  });
  return taken;
}

std::size_t FailureLog::memory_bytes() const noexcept {
  return ring_.size() * sizeof(Record) + newest_.size() * sizeof(Sequence);
}

}  // namespace postern::policy
