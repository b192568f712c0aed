// How many connections each machine has open, over all workers: the bound that keeps one stranger from taking them all.
//
// A sharded open-addressing table of fixed size, locked for a moment when a connection opens and closes (never while it
// talks). The key is the IPv4 address or the IPv6 /64. Thread: any.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>

#include "core/ip_address.h"

namespace postern::net {

class MachineLimits {
 public:
  explicit MachineLimits(std::size_t connections);  // at most this many at once are counted
  ~MachineLimits();
  MachineLimits(const MachineLimits&) = delete;
  MachineLimits& operator=(const MachineLimits&) = delete;

  // Counts one more connection of the machine, unless it has `limit` already: then false.
  [[nodiscard]] bool enter(const core::IpAddress& machine, std::uint32_t limit);
  void leave(const core::IpAddress& machine);  // for each enter() that said true

 private:
  struct Shard;
  Shard& shard_of(std::uint64_t hash) const;

  static constexpr std::size_t kShards = 64;
  std::uint64_t secret_;
  std::unique_ptr<Shard[]> shards_;
};

}  // namespace postern::net
