// The table behind POP-before-SMTP; duty and limits in the header.
//
//   entry    := key u64, stamp u64                        both atomic
//   stamp    := family 1 bit | expiry 31 bits | check 32 bits; 0: the entry is free
//   check    := keyed hash of key, family and expiry
//
// Invariants
//   1. A key word changes only while its stamp is 0, under the shard's lock.
//   2. A reader believes an entry only when it read the same stamp before and after the key, and the check
//   fits both.
//      By 1, a key from one grant beside a stamp from another one needs the stamp to change in between, and
//      be changed back; the check word then refuses it.
//   3. A machine that is granted again keeps its entry: only its stamp is stored, in one store, so that a
//   live grant
//      never blinks.
//   4. A machine has at most one entry: writers look in both buckets first, and both are in one shard.
// Order: key and stamp are stored with release and loaded with acquire; there is no fence (TSan knows none).
#include "policy/login_table.h"

#include <algorithm>
#include <array>
#include <random>
#include <thread>

#include "core/assert.h"

namespace postern::policy {
namespace {

constexpr std::size_t kEntriesPerBucket = 4;
constexpr std::size_t kShards = 64;
constexpr std::int64_t kExpiryMax = 0x7fffffff;  // 68 years after boot

struct Key {
  std::uint64_t word = 0;
  bool v4 = false;
};

struct Cell {
  std::atomic<std::uint64_t> key{0};
  std::atomic<std::uint64_t> stamp{0};
};

struct alignas(64) Bucket {
  Cell entries[kEntriesPerBucket];
};
static_assert(sizeof(Bucket) == 64);

// Holds a shard for one writer. Writers are logins: rare, and a few loads and stores long.
class alignas(64) ShardLock {
 public:
  void lock() noexcept {
    for (int spins = 0; taken_.exchange(true, std::memory_order_acquire); ++spins) {
      if (spins > 100) std::this_thread::yield();  // its holder may not be running
    }
  }
  void unlock() noexcept { taken_.store(false, std::memory_order_release); }

 private:
  std::atomic<bool> taken_{false};
};

class Holding {
 public:
  explicit Holding(ShardLock& lock) noexcept : lock_(lock) { lock_.lock(); }
  ~Holding() { lock_.unlock(); }
  Holding(const Holding&) = delete;
  Holding& operator=(const Holding&) = delete;

 private:
  ShardLock& lock_;
};

// The finaliser of SplitMix64 (Steele, Lea, Flood, OOPSLA 2014): every bit of the input moves every bit of
// the output.
std::uint64_t mix(std::uint64_t x) noexcept {
  x = (x ^ x >> 30) * 0xbf58476d1ce4e5b9u;
  x = (x ^ x >> 27) * 0x94d049bb133111ebu;
  return x ^ x >> 31;
}

std::int64_t expiry_of(std::uint64_t stamp) noexcept {
  return static_cast<std::int64_t>(stamp >> 32 & kExpiryMax);
}
bool is_v4_stamp(std::uint64_t stamp) noexcept {
  return stamp >> 63 != 0;
}

std::uint64_t draw_secret() {
  std::random_device source;
  return std::uint64_t{source()} << 32 | source();
}

}  // namespace

struct LoginTable::Implementation {
  explicit Implementation(const LoginTableOptions& given)
      : options(given),
        secret(given.secret != 0 ? given.secret : draw_secret()),
        buckets_per_shard(std::max<std::size_t>(2, (given.machines + kPerRow - 1) / kPerRow)),
        buckets(buckets_per_shard * kShards) {
    POSTERN_ASSERT(options.ipv6_prefix >= 1 && options.ipv6_prefix <= 64);
  }

  struct Places {
    std::size_t shard;
    std::size_t bucket[2];  // never equal
  };

  [[nodiscard]] Key key_of(const core::IpAddress& machine) const noexcept {
    if (machine.is_v4()) return {machine.v4(), true};
    constexpr std::uint64_t kTranslated = 0x0064ff9b00000000u;
    if (machine.high() == kTranslated && machine.low() >> 32 == 0) return {machine.low(), true};
    return {machine.high() & ~std::uint64_t{0} << (64 - options.ipv6_prefix), false};
  }

  [[nodiscard]] Places places_of(const Key& key) const noexcept {
    const std::uint64_t hash = mix(mix(key.word ^ secret) + (key.v4 ? 0x9e3779b97f4a7c15u : 0));
    const std::size_t shard = hash >> 58;
    // Multiply and shift spreads a 29-bit number over any count of buckets without a division.
    const std::size_t first = (hash & 0x1fffffffu) * buckets_per_shard >> 29;
    std::size_t second = (hash >> 29 & 0x1fffffffu) * (buckets_per_shard - 1) >> 29;
    if (second >= first) ++second;
    const std::size_t base = shard * buckets_per_shard;
    return {shard, {base + first, base + second}};
  }

  [[nodiscard]] std::uint64_t stamp_of(const Key& key, std::int64_t expiry) const noexcept {
    const std::uint64_t head = (key.v4 ? std::uint64_t{1} << 63 : 0) | static_cast<std::uint64_t>(expiry) << 32;
    return head | mix(mix(key.word + secret) ^ head ^ secret) >> 32;
  }

  // The stamp of the key's entry in this bucket, 0: none. Wait-free.
  [[nodiscard]] std::uint64_t find(const Bucket& bucket, const Key& key) const noexcept {
    for (const Cell& entry : bucket.entries) {
      if (entry.key.load(std::memory_order_relaxed) != key.word) continue;
      const std::uint64_t before = entry.stamp.load(std::memory_order_acquire);
      const std::uint64_t word = entry.key.load(std::memory_order_acquire);
      const std::uint64_t after = entry.stamp.load(std::memory_order_relaxed);
      if (word != key.word || before != after || before != stamp_of(key, expiry_of(before))) continue;
      return before;
    }
    return 0;
  }

  // The entry that holds the key, or nullptr. Under the shard's lock.
  [[nodiscard]] Cell* held_by(const Places& places, const Key& key) noexcept {
    for (const std::size_t place : places.bucket) {
      for (Cell& entry : buckets[place].entries) {
        const std::uint64_t stamp = entry.stamp.load(std::memory_order_relaxed);
        if (stamp != 0 && is_v4_stamp(stamp) == key.v4 && entry.key.load(std::memory_order_relaxed) == key.word) {
          return &entry;
        }
      }
    }
    return nullptr;
  }

  // Where a new machine goes: the bucket with more room, so that both fill evenly ("the power of two choices"); when
  // neither has room, what expires first. Under the shard's lock.
  [[nodiscard]] Cell& place_for_new(const Places& places, std::int64_t now) noexcept {
    Cell* first_to_expire[2] = {};
    int room[2] = {};
    for (int choice = 0; choice < 2; ++choice) {
      std::int64_t earliest = kExpiryMax + 1;
      for (Cell& entry : buckets[places.bucket[choice]].entries) {
        const std::int64_t expiry = expiry_of(entry.stamp.load(std::memory_order_relaxed));
        if (expiry <= now) ++room[choice];
        if (expiry >= earliest) continue;
        earliest = expiry;
        first_to_expire[choice] = &entry;
      }
    }
    if (room[0] != room[1]) return *first_to_expire[room[0] > room[1] ? 0 : 1];
    const auto expiry = [](const Cell* entry) { return expiry_of(entry->stamp.load(std::memory_order_relaxed)); };
    return expiry(first_to_expire[1]) < expiry(first_to_expire[0]) ? *first_to_expire[1] : *first_to_expire[0];
  }

  static constexpr std::size_t kPerRow = kEntriesPerBucket * kShards;

  const LoginTableOptions options;
  const std::uint64_t secret;
  const std::size_t buckets_per_shard;
  std::vector<Bucket> buckets;
  std::array<ShardLock, kShards> locks;
  std::atomic<std::uint64_t> evictions{0};
  std::atomic<std::uint64_t> changes{0};
};

LoginTable::LoginTable(const LoginTableOptions& options) : implementation_(std::make_unique<Implementation>(options)) {}

LoginTable::~LoginTable() = default;

void LoginTable::grant(const core::IpAddress& machine, std::int64_t now_boot_seconds, std::uint32_t seconds) noexcept {
  Implementation& table = *implementation_;
  const Key key = table.key_of(machine);
  const Implementation::Places places = table.places_of(key);
  const std::int64_t window = seconds != 0 ? seconds : table.options.window_seconds;
  const std::uint64_t stamp = table.stamp_of(key, std::clamp<std::int64_t>(now_boot_seconds + window, 0, kExpiryMax));
  const Holding holding(table.locks[places.shard]);
  table.changes.fetch_add(1, std::memory_order_relaxed);
  if (Cell* held = table.held_by(places, key)) {
    held->stamp.store(stamp, std::memory_order_release);
    return;
  }
  Cell& entry = table.place_for_new(places, now_boot_seconds);
  if (expiry_of(entry.stamp.load(std::memory_order_relaxed)) > now_boot_seconds) {
    table.evictions.fetch_add(1, std::memory_order_relaxed);
  }
  entry.stamp.store(0, std::memory_order_relaxed);
  entry.key.store(key.word, std::memory_order_release);  // who sees the new key sees the stamp gone
  entry.stamp.store(stamp, std::memory_order_release);   // who sees the new stamp sees the new key
}

void LoginTable::revoke(const core::IpAddress& machine) noexcept {
  Implementation& table = *implementation_;
  const Key key = table.key_of(machine);
  const Implementation::Places places = table.places_of(key);
  const Holding holding(table.locks[places.shard]);
  Cell* held = table.held_by(places, key);
  if (held == nullptr) return;
  held->stamp.store(0, std::memory_order_release);
  table.changes.fetch_add(1, std::memory_order_relaxed);
}

bool LoginTable::is_granted(const core::IpAddress& machine, std::int64_t now_boot_seconds) const noexcept {
  const Implementation& table = *implementation_;
  const Key key = table.key_of(machine);
  const Implementation::Places places = table.places_of(key);
  const Bucket& first = table.buckets[places.bucket[0]];
  const Bucket& second = table.buckets[places.bucket[1]];
  __builtin_prefetch(&second);
  std::uint64_t stamp = table.find(first, key);
  if (stamp == 0) stamp = table.find(second, key);
  return stamp != 0 && now_boot_seconds < expiry_of(stamp);
}

std::vector<LoginTable::Entry> LoginTable::live(std::int64_t now_boot_seconds) const {
  Implementation& table = *implementation_;
  std::vector<Entry> found;
  for (std::size_t shard = 0; shard < kShards; ++shard) {
    for (std::size_t i = 0; i < table.buckets_per_shard; ++i) {
      const Holding holding(table.locks[shard]);  // a bucket at a time: a login never waits for the whole table
      for (const auto& entry : table.buckets[shard * table.buckets_per_shard + i].entries) {
        const std::uint64_t stamp = entry.stamp.load(std::memory_order_relaxed);
        if (stamp == 0 || expiry_of(stamp) <= now_boot_seconds) continue;
        const std::uint64_t word = entry.key.load(std::memory_order_relaxed);
        Entry shown;
        shown.expires_boot_seconds = expiry_of(stamp);
        if (is_v4_stamp(stamp)) {
          shown.machine = core::IpAddress::from_v4(static_cast<std::uint32_t>(word));
        } else {
          for (std::size_t octet = 0; octet < 8; ++octet) {
            shown.machine.bytes[octet] = static_cast<std::uint8_t>(word >> (56 - 8 * octet));
          }
        }
        found.push_back(shown);
      }
    }
  }
  return found;
}

std::uint64_t LoginTable::evictions() const noexcept {
  return implementation_->evictions.load(std::memory_order_relaxed);
}

std::uint64_t LoginTable::changes() const noexcept {
  return implementation_->changes.load(std::memory_order_relaxed);
}

std::size_t LoginTable::memory_bytes() const noexcept {
  return sizeof(Implementation) + implementation_->buckets.size() * sizeof(Bucket);
}

std::uint32_t LoginTable::window_seconds() const noexcept {
  return implementation_->options.window_seconds;
}

std::uint8_t LoginTable::ipv6_prefix() const noexcept {
  return implementation_->options.ipv6_prefix;
}

}  // namespace postern::policy
