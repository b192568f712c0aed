// What was proven or read of users lately: a fixed number of entries, each good for a while.
//
// Keys are HMAC-SHA256 under a key of this process: who reads this memory later learns no password from it without that
// key, and nobody can aim at a bucket.
// Thread: any; a short lock of one of the shards.
#pragma once

#include <array>
#include <atomic>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <mutex>
#include <optional>
#include <string_view>
#include <vector>

#include "net/sasl/server.h"
#include "policy/user.h"

namespace postern::net::users {

using CacheKey = std::array<std::uint8_t, 32>;

struct CacheEntry {
  std::shared_ptr<const policy::UserRecord> account;
  sasl::Credential credential;  // of password entries: unused
};

class CredentialCache {
 public:
  explicit CredentialCache(std::uint32_t seconds);  // 0: nothing is remembered
  ~CredentialCache();
  CredentialCache(const CredentialCache&) = delete;
  CredentialCache& operator=(const CredentialCache&) = delete;

  // `kind` tells what of the user is meant; `secret` may be empty.
  [[nodiscard]] CacheKey key(std::uint8_t kind, std::string_view user, std::string_view secret) const;
  [[nodiscard]] std::optional<CacheEntry> find(const CacheKey& key, std::int64_t boot_ns);
  // `epoch`: as epoch() was before the entry was read from the store. One from before a clear() is not kept: what it
  // says may be what has changed.
  void put(const CacheKey& key, std::uint64_t epoch, std::int64_t boot_ns, const CacheEntry& entry);
  void clear();
  [[nodiscard]] std::uint64_t epoch() const { return epoch_.load(std::memory_order_acquire); }

 private:
  static constexpr std::size_t kShards = 64;
  static constexpr std::size_t kEntries = 256;  // a shard
  static constexpr std::size_t kWays = 4;
  struct Slot {
    CacheKey key{};
    std::int64_t until_ns = 0;  // 0: empty
    CacheEntry entry;
  };
  struct Shard {
    std::mutex mutex;
    std::vector<Slot> slots;
  };
  Shard& shard_of(const CacheKey& key) { return shards_[key[0] % kShards]; }
  static std::size_t bucket_of(const CacheKey& key);

  std::int64_t lifetime_ns_;
  std::array<std::uint8_t, 32> secret_{};
  std::atomic<std::uint64_t> epoch_{1};
  std::array<Shard, kShards> shards_;
};

}  // namespace postern::net::users
