#include "policy/saved_state.h"

#include <algorithm>

#include "core/assert.h"
#include "core/crc32c.h"

namespace postern::policy {
namespace {

constexpr std::size_t kKindBytes = 8;
constexpr std::size_t kTrailerBytes = 12;
constexpr std::size_t kTextMax = 255;
constexpr std::size_t kPieceBytes = 65536;
constexpr std::int64_t kTimeMax = std::int64_t{1} << 62;  // 146 years: differences of such times cannot overflow

std::uint64_t number(std::string_view octets) {
  std::uint64_t value = 0;
  for (std::size_t i = 0; i < octets.size(); ++i) {
    value |= std::uint64_t{static_cast<unsigned char>(octets[i])} << 8 * i;
  }
  return value;
}

bool is_time(std::int64_t nanoseconds) {
  return nanoseconds >= 0 && nanoseconds <= kTimeMax;
}

}  // namespace

StateWriter::StateWriter(std::string_view kind, std::uint32_t version, std::uint64_t key_id, const core::Time& now,
                         std::string_view boot_id, const Sink& sink)
    : sink_(sink) {
  POSTERN_ASSERT(kind.size() == kKindBytes);
  buffer_.reserve(kPieceBytes + kTextMax + 1);
  buffer_.append(kind);
  u32(version);
  u64(key_id);
  i64(std::clamp<std::int64_t>(now.boot_ns, 0, kTimeMax));
  i64(std::clamp<std::int64_t>(now.unix_ns, 0, kTimeMax));
  text(boot_id);
}

void StateWriter::put(std::uint64_t value, int octets) {
  for (int i = 0; i < octets; ++i) buffer_.push_back(static_cast<char>(value >> 8 * i));
  if (buffer_.size() >= kPieceBytes) flush();
}

void StateWriter::u8(std::uint8_t value) {
  put(value, 1);
}
void StateWriter::u32(std::uint32_t value) {
  put(value, 4);
}
void StateWriter::u64(std::uint64_t value) {
  put(value, 8);
}

void StateWriter::text(std::string_view octets) {
  octets = octets.substr(0, kTextMax);
  put(octets.size(), 1);
  buffer_.append(octets);
}

void StateWriter::flush() {
  crc_ = core::crc32c(crc_, buffer_);
  total_ += buffer_.size();
  sink_(buffer_);
  buffer_.clear();
}

void StateWriter::finish() {
  flush();
  u64(total_);
  crc_ = core::crc32c(crc_, buffer_);
  const std::uint32_t crc = crc_;
  u32(crc);
  sink_(buffer_);
  buffer_.clear();
}

core::Result<StateReader> StateReader::open(std::string_view octets, std::string_view kind, std::uint32_t version) {
  if (octets.size() < kKindBytes + kTrailerBytes) {
    return core::fail("saved state is truncated: " + std::to_string(octets.size()) + " octets");
  }
  if (octets.substr(0, kKindBytes) != kind) {
    return core::fail("saved state is of another kind: expected one that starts with '" + std::string(kind) + "'");
  }
  const std::size_t body = octets.size() - kTrailerBytes;
  const std::uint64_t said = number(octets.substr(body, 8));
  if (said != body) {
    return core::fail("saved state is truncated or altered: its trailer tells of " + std::to_string(said) +
                      " octets, and there are " + std::to_string(body));
  }
  if (core::crc32c(0, octets.substr(0, body + 8)) != number(octets.substr(body + 8, 4))) {
    return core::fail("saved state is altered: its checksum does not fit");
  }
  StateReader reader;
  reader.rest_ = octets.substr(kKindBytes, body - kKindBytes);
  const std::uint32_t written_version = reader.u32();
  if (reader.ok_ && written_version != version) {
    return core::fail("saved state has version " + std::to_string(written_version) + "; this program reads version " +
                      std::to_string(version));
  }
  reader.key_id_ = reader.u64();
  reader.written_.boot_ns = reader.i64();
  reader.written_.unix_ns = reader.i64();
  reader.boot_id_ = reader.text();
  if (!reader.ok_ || !is_time(reader.written_.boot_ns) || !is_time(reader.written_.unix_ns)) {
    return core::fail("saved state has a bad header");
  }
  return reader;
}

std::int64_t StateReader::written_boot_ns(const core::Time& now, std::string_view boot_id) const {
  const std::int64_t boot_now = std::clamp<std::int64_t>(now.boot_ns, 0, kTimeMax);
  const bool same_boot = !boot_id_.empty() && boot_id.substr(0, kTextMax) == boot_id_;
  if (same_boot) return std::min(boot_now, written_.boot_ns);
  const std::int64_t wall_now = std::clamp<std::int64_t>(now.unix_ns, 0, kTimeMax);
  return boot_now - std::max<std::int64_t>(0, wall_now - written_.unix_ns);
}

std::int64_t StateReader::written_boot_seconds(const core::Time& now, std::string_view boot_id) const {
  const std::int64_t nanoseconds = written_boot_ns(now, boot_id);
  const std::int64_t seconds = nanoseconds / core::kNanosecondsPerSecond;
  return nanoseconds % core::kNanosecondsPerSecond < 0 ? seconds - 1 : seconds;
}

std::string_view StateReader::text() {
  const std::size_t size = u8();
  if (size > rest_.size()) {
    ok_ = false;
    rest_ = {};
    return {};
  }
  const std::string_view octets = rest_.substr(0, size);
  rest_.remove_prefix(size);
  return octets;
}

std::uint64_t StateReader::take(std::size_t octets) {
  if (octets > rest_.size()) {
    ok_ = false;
    rest_ = {};
    return 0;
  }
  const std::uint64_t value = number(rest_.substr(0, octets));
  rest_.remove_prefix(octets);
  return value;
}

}  // namespace postern::policy
