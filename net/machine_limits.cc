#include "net/machine_limits.h"

#include <bit>
#include <mutex>
#include <vector>

#include "core/files.h"

namespace postern::net {
namespace {

struct Key {
  std::uint64_t high;
  std::uint64_t low;
  bool operator==(const Key&) const = default;
};

Key key_of(const core::IpAddress& machine) {
  return machine.is_v4() ? Key{machine.high(), machine.low()} : Key{machine.high(), 0};
}

std::uint64_t mix(std::uint64_t x) {  // the finaliser of splitmix64
  x = (x ^ (x >> 30)) * 0xbf58476d1ce4e5b9ULL;
  x = (x ^ (x >> 27)) * 0x94d049bb133111ebULL;
  return x ^ (x >> 31);
}

std::uint64_t hash_of(const Key& key, std::uint64_t secret) { return mix(mix(key.high ^ secret) ^ key.low); }

}  // namespace

struct MachineLimits::Shard {
  struct Entry {
    Key key{};
    std::uint32_t connections = 0;  // 0: free
  };
  std::mutex mutex;
  std::vector<Entry> entries;  // linear probing; a power of two

  [[nodiscard]] std::size_t home(std::uint64_t hash) const { return (hash >> 8) & (entries.size() - 1); }

  // Deletion by shifting back, so that no tombstones pile up over months.
  void erase(std::size_t at, std::uint64_t secret) {
    const std::size_t mask = entries.size() - 1;
    std::size_t hole = at;
    for (std::size_t i = (at + 1) & mask; entries[i].connections != 0; i = (i + 1) & mask) {
      const std::size_t wanted = home(hash_of(entries[i].key, secret));
      if (((i - wanted) & mask) >= ((i - hole) & mask)) {
        entries[hole] = entries[i];
        hole = i;
      }
    }
    entries[hole] = Entry{};
  }
};

MachineLimits::MachineLimits(std::size_t connections)
    : secret_(core::files::random_u64()), shards_(std::make_unique<Shard[]>(kShards)) {
  // Four times the even share, so that probing stays short and an uneven spread still fits.
  const std::size_t per_shard = std::bit_ceil(connections * 4 / kShards + 64);
  for (std::size_t i = 0; i < kShards; ++i) shards_[i].entries.resize(per_shard);
}

MachineLimits::~MachineLimits() = default;

MachineLimits::Shard& MachineLimits::shard_of(std::uint64_t hash) const { return shards_[hash % kShards]; }

bool MachineLimits::enter(const core::IpAddress& machine, std::uint32_t limit) {
  const Key key = key_of(machine);
  const std::uint64_t hash = hash_of(key, secret_);
  Shard& shard = shard_of(hash);
  const std::lock_guard lock(shard.mutex);
  const std::size_t mask = shard.entries.size() - 1;
  std::size_t probes = 0;
  for (std::size_t i = shard.home(hash); probes < mask; i = (i + 1) & mask, ++probes) {
    Shard::Entry& entry = shard.entries[i];
    if (entry.connections != 0 && entry.key != key) continue;
    if (entry.connections >= limit) return false;
    entry.key = key;
    ++entry.connections;
    return true;
  }
  return false;  // full: shed rather than miscount
}

void MachineLimits::leave(const core::IpAddress& machine) {
  const Key key = key_of(machine);
  const std::uint64_t hash = hash_of(key, secret_);
  Shard& shard = shard_of(hash);
  const std::lock_guard lock(shard.mutex);
  const std::size_t mask = shard.entries.size() - 1;
  for (std::size_t i = shard.home(hash); shard.entries[i].connections != 0; i = (i + 1) & mask) {
    if (shard.entries[i].key != key) continue;
    if (--shard.entries[i].connections == 0) shard.erase(i, secret_);
    return;
  }
}

}  // namespace postern::net
