// What the spool knows of an item in memory: where its record and its latest state lie. 64 octets an item.
#pragma once

#include <cstdint>

#include "core/id_table.h"
#include "core/spool.h"

namespace postern::core {

// Where a record lies. `segment` is a number the holder of the segments gives; offsets are multiples of 8.
struct RecordPlace {
  static constexpr std::uint32_t kNowhere = 0xFFFFFFFF;
  std::uint32_t segment = kNowhere;
  std::uint32_t offset8 = 0;

  [[nodiscard]] bool is_set() const { return segment != kNowhere; }
  [[nodiscard]] std::uint64_t offset() const { return std::uint64_t{offset8} * 8; }
  static RecordPlace at(std::uint32_t segment, std::uint64_t offset) {
    return {segment, static_cast<std::uint32_t>(offset / 8)};
  }
  bool operator==(const RecordPlace&) const = default;
};

struct IndexEntry {
  static constexpr std::uint8_t kLarge = 1;
  static constexpr std::uint8_t kMoving = 2;      // compaction's copy is on its way to the disk
  static constexpr std::uint8_t kStateNewer = 4;  // the state was replaced since that copy was made

  std::int64_t accepted_unix_ns = 0;
  std::uint64_t body_bytes = 0;
  std::uint32_t head_bytes = 0;
  std::uint32_t record_bytes = 0;
  RecordPlace place;                     // not set: in a buffer that was not issued yet
  RecordPlace state_place;               // of a state record, or of the item's own record when it carries a state
  std::uint32_t state_record_bytes = 0;  // 0: no state was ever written
  std::uint16_t content_flags = 0;
  std::uint16_t state_pending = 0;  // state records in buffers that were not issued yet: state_place is not the latest
  std::uint8_t flags = 0;

  [[nodiscard]] bool is_large() const { return (flags & kLarge) != 0; }
  [[nodiscard]] ItemInfo info(ItemId id) const {
    return {id, accepted_unix_ns, head_bytes, body_bytes, content_flags, is_large()};
  }
};

using ItemIndex = IdTable<IndexEntry>;

}  // namespace postern::core
