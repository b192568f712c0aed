// Where a keyed hash may stand in a table of shards and small groups: in either of two groups of one shard ("the power
// of two choices": both fill evenly, and none overflows long before the table is full).
#pragma once

#include <cstddef>
#include <cstdint>

namespace postern::policy {

struct TwoChoices {
  static constexpr std::size_t kShards = 64;

  std::size_t shard = 0;
  std::size_t group[2] = {};  // counted over all shards; never equal

  // `groups_per_shard`: 2 to 2^29.
  TwoChoices(std::uint64_t hash, std::size_t groups_per_shard) noexcept : shard(hash >> 58) {
    // Multiply and shift spreads a 29-bit number over any count without a division.
    const std::size_t first = (hash & 0x1fffffffu) * groups_per_shard >> 29;
    std::size_t second = (hash >> 29 & 0x1fffffffu) * (groups_per_shard - 1) >> 29;
    if (second >= first) ++second;
    group[0] = shard * groups_per_shard + first;
    group[1] = shard * groups_per_shard + second;
  }
  static std::size_t shard_of(std::uint64_t hash) noexcept { return hash >> 58; }
};

}  // namespace postern::policy
