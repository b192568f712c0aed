#include "net/users/credential_cache.h"

#include <openssl/hmac.h>
#include <openssl/mem.h>
#include <openssl/rand.h>

#include "core/clock.h"

namespace postern::net::users {

CredentialCache::CredentialCache(std::uint32_t seconds)
    : lifetime_ns_(static_cast<std::int64_t>(seconds) * core::kNanosecondsPerSecond) {
  RAND_bytes(secret_.data(), secret_.size());
  for (Shard& shard : shards_) shard.slots.resize(seconds == 0 ? 0 : kEntries);
}

CredentialCache::~CredentialCache() { OPENSSL_cleanse(secret_.data(), secret_.size()); }

CacheKey CredentialCache::key(std::uint8_t kind, std::string_view user, std::string_view secret) const {
  bssl::ScopedHMAC_CTX hmac;
  // The lengths in front: no two pairs of user and secret are the same octets.
  const std::array<std::uint8_t, 3> head = {kind, static_cast<std::uint8_t>(user.size()),
                                            static_cast<std::uint8_t>(user.size() >> 8)};
  CacheKey key{};
  unsigned size = 0;
  HMAC_Init_ex(hmac.get(), secret_.data(), secret_.size(), EVP_sha256(), nullptr);
  HMAC_Update(hmac.get(), head.data(), head.size());
  HMAC_Update(hmac.get(), reinterpret_cast<const std::uint8_t*>(user.data()), user.size());
  HMAC_Update(hmac.get(), reinterpret_cast<const std::uint8_t*>(secret.data()), secret.size());
  HMAC_Final(hmac.get(), key.data(), &size);
  return key;
}

std::size_t CredentialCache::bucket_of(const CacheKey& key) {
  return (key[1] | static_cast<std::size_t>(key[2]) << 8) % (kEntries / kWays) * kWays;
}

std::optional<CacheEntry> CredentialCache::find(const CacheKey& key, std::int64_t boot_ns) {
  if (lifetime_ns_ == 0) return std::nullopt;
  Shard& shard = shard_of(key);
  const std::lock_guard lock(shard.mutex);
  for (std::size_t way = 0; way < kWays; ++way) {
    Slot& slot = shard.slots[bucket_of(key) + way];
    if (slot.until_ns <= boot_ns || CRYPTO_memcmp(slot.key.data(), key.data(), key.size()) != 0) continue;
    return slot.entry;
  }
  return std::nullopt;
}

void CredentialCache::put(const CacheKey& key, std::uint64_t epoch, std::int64_t boot_ns, const CacheEntry& entry) {
  if (lifetime_ns_ == 0) return;
  Shard& shard = shard_of(key);
  const std::lock_guard lock(shard.mutex);
  // Under the lock that clear() takes as well: it either clears this entry, or is seen here.
  if (epoch != epoch_.load(std::memory_order_acquire)) return;
  Slot* chosen = nullptr;  // the same key, or the one that ends first
  for (std::size_t way = 0; way < kWays; ++way) {
    Slot& slot = shard.slots[bucket_of(key) + way];
    if (slot.key == key) {
      chosen = &slot;
      break;
    }
    if (chosen == nullptr || slot.until_ns < chosen->until_ns) chosen = &slot;
  }
  chosen->key = key;
  chosen->until_ns = boot_ns + lifetime_ns_;
  chosen->entry = entry;
}

void CredentialCache::clear() {
  epoch_.fetch_add(1, std::memory_order_acq_rel);
  for (Shard& shard : shards_) {
    const std::lock_guard lock(shard.mutex);
    for (Slot& slot : shard.slots) slot = {};
  }
}

}  // namespace postern::net::users
