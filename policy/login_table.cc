// The table behind POP-before-SMTP; duty and limits in the header.
//
//   page     := 64 buckets, 4 KiB
//   bucket   := 4 keys u64, 4 stamps u64: a cache line    all atomic; the key and the stamp of one number are an entry
//   stamp    := family 1 bit | expiry 31 bits | check 32 bits; 0: the entry is free
//   check    := keyed hash of key, family and expiry
//
// Invariants
//   1. A key word changes only while its stamp is 0, under the page's lock.
//   2. A reader believes an entry only when the key is the machine's after it has read the stamp, and the check fits
//      both. Who sees a stamp sees the key that it was stored with, or a later one: for one grant's key beside another
//      one's stamp the key has to change, and be changed back; the check word then refuses it.
//   3. A machine that is granted again keeps its entry: only its stamp is stored, in one store, so that a live grant
//      never blinks.
//   4. A machine has at most one entry: writers look in both buckets first, and both are in one page.
// Order: key and stamp are stored with release, the stamp is loaded with acquire; there is no fence (TSan knows none).
//
// Speed. In which of eight entries a machine stands nobody can foresee, so the search has no branch that depends on it, and
// both cache lines are on their way before either is looked at: out of the cache, a lookup waits once. Both are in one page
// for the processor's page tables' sake.
#include "policy/login_table.h"

#include <sys/mman.h>
#ifdef __SSE4_1__
#include <smmintrin.h>
#endif

#include <algorithm>
#include <array>
#include <bit>
#include <cstring>
#include <memory>
#include <new>
#include <random>
#include <thread>

#include "core/assert.h"

namespace postern::policy {
namespace {

constexpr std::size_t kEntriesPerBucket = 4;
constexpr std::size_t kBucketsPerPage = 64;
constexpr std::size_t kPagesMin = 2;
constexpr std::size_t kLocks = 64;  // pages take turns at them
constexpr std::size_t kHugePageBytes = std::size_t{2} << 20;
constexpr std::int64_t kExpiryMax = 0x7fffffff;  // 68 years after boot
constexpr std::uint64_t kExpiryBits = std::uint64_t{kExpiryMax} << 32;
constexpr std::uint64_t kV4Bit = std::uint64_t{1} << 63;

struct Key {
  std::uint64_t word = 0;
  std::uint64_t family = 0;  // as in a stamp: kV4Bit or 0
};

struct alignas(64) Bucket {
  std::atomic<std::uint64_t> keys[kEntriesPerBucket];
  std::atomic<std::uint64_t> stamps[kEntriesPerBucket];
};
static_assert(sizeof(Bucket) == 64);

// An entry, for writers. `key` nullptr: none.
struct Cell {
  std::atomic<std::uint64_t>* key = nullptr;
  std::atomic<std::uint64_t>* stamp = nullptr;
};

// Buckets that stay where they are, all free. On huge pages where the system has some to give (nothing depends on it): a
// lookup in a big table would else wait for the page tables as well.
class Buckets {
 public:
  explicit Buckets(std::size_t count)
      : count_(count), alignment_{bytes() >= kHugePageBytes ? kHugePageBytes : kBucketsPerPage * sizeof(Bucket)} {
    void* memory = ::operator new(bytes(), alignment_);
    // Whole huge pages only: what is behind the last one belongs to others.
    if (bytes() >= kHugePageBytes) madvise(memory, bytes() / kHugePageBytes * kHugePageBytes, MADV_HUGEPAGE);
    first_ = static_cast<Bucket*>(memory);
    std::uninitialized_value_construct_n(first_, count);
  }
  ~Buckets() { ::operator delete(first_, alignment_); }
  Buckets(const Buckets&) = delete;
  Buckets& operator=(const Buckets&) = delete;
  [[nodiscard]] std::size_t size() const noexcept { return count_; }
  [[nodiscard]] std::size_t bytes() const noexcept { return count_ * sizeof(Bucket); }
  Bucket& operator[](std::size_t at) noexcept { return first_[at]; }
  const Bucket& operator[](std::size_t at) const noexcept { return first_[at]; }

 private:
  std::size_t count_;
  std::align_val_t alignment_;
  Bucket* first_ = nullptr;
};

// Holds the pages of a lock for one writer. Writers are logins: rare, and a few loads and stores long.
class alignas(64) PageLock {
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
  explicit Holding(PageLock& lock) noexcept : lock_(lock) { lock_.lock(); }
  ~Holding() { lock_.unlock(); }
  Holding(const Holding&) = delete;
  Holding& operator=(const Holding&) = delete;

 private:
  PageLock& lock_;
};

// The finaliser of SplitMix64 (Steele, Lea, Flood, OOPSLA 2014): every bit of the input moves every bit of
// the output.
std::uint64_t mix(std::uint64_t x) noexcept {
  x = (x ^ x >> 30) * 0xbf58476d1ce4e5b9u;
  x = (x ^ x >> 27) * 0x94d049bb133111ebu;
  return x ^ x >> 31;
}

std::int64_t expiry_of(std::uint64_t stamp) noexcept {
  return static_cast<std::int64_t>((stamp & kExpiryBits) >> 32);
}

std::uint64_t draw_secret() {
  std::random_device source;
  return std::uint64_t{source()} << 32 | source();
}

// Eight octets of an address, host order. Inline, unlike IpAddress's own: a whole lookup is a few calls long.
std::uint64_t word_at(const std::uint8_t* octets) noexcept {
  std::uint64_t word;
  std::memcpy(&word, octets, sizeof word);
  return std::endian::native == std::endian::little ? std::byteswap(word) : word;
}

__extension__ using Product = unsigned __int128;

// Where keys stand and what their check words are, for nobody to foresee who does not know the secret.
class SecretHash {
 public:
  explicit SecretHash(std::uint64_t secret) noexcept
      : v4_(mix(secret + 1)),
        v6_(mix(secret + 2)),
        factor_{mix(secret + 3) | 1, mix(secret + 4) | 1},
        between_(mix(secret + 5)),
        check_factor_(mix(secret + 6) | 1) {}

  // Of a key and its family. `place` says where it stands, `check` goes into its check words.
  struct Hash {
    std::uint64_t place;
    std::uint64_t check;
  };
  [[nodiscard]] Hash operator()(const Key& key) const noexcept {
    const std::uint64_t once = folded(key.word ^ (key.family != 0 ? v4_ : v6_), factor_[0]);
    return {folded(once ^ between_, factor_[1]), once};
  }
  // `head`: what is above the check word in its stamp. The upper bits of a product hang on all bits of both.
  [[nodiscard]] std::uint32_t check_word(const Hash& hash, std::uint64_t head) const noexcept {
    return static_cast<std::uint32_t>((hash.check ^ head) * check_factor_ >> 32);
  }

 private:
  // Both halves of a product in one: a multiplication that loses nothing (after Wang Yi's wyhash). Twice with secret
  // factors spreads keys that differ in a few bits, or by a constant, like any others.
  static std::uint64_t folded(std::uint64_t a, std::uint64_t b) noexcept {
    const Product product = Product{a} * b;
    return static_cast<std::uint64_t>(product) ^ static_cast<std::uint64_t>(product >> 64);
  }

  std::uint64_t v4_;
  std::uint64_t v6_;
  std::uint64_t factor_[2];
  std::uint64_t between_;
  std::uint64_t check_factor_;
};

// Where a machine may stand: in `first`, or in the bucket of the same page whose number differs by the bits of `away`.
struct Places {
  std::size_t first;
  std::size_t away;  // 1..63

  // Multiply and shift spreads the upper bits over any count of buckets without a division, and the lower ones over the rest
  // of the page.
  Places(std::uint64_t hash, std::size_t buckets) noexcept
      : first(static_cast<std::size_t>(Product{hash} * buckets >> 64)),
        away(1 + ((hash & 0xffffffffu) * (kBucketsPerPage - 1) >> 32)) {}
  [[nodiscard]] std::size_t bucket(std::size_t choice) const noexcept { return first ^ (away & (0 - choice)); }
  [[nodiscard]] std::size_t page() const noexcept { return first / kBucketsPerPage; }
};

// Which keys are `word`: bits 0..3 those of the first bucket, 4..7 of the second. Only a hint where to look: writers may be
// at work, so what it says is read again, in order. Two keys at a time need no atomic loads for that; TSan knows of no such
// thing, and gets what machines without these instructions get.
#if defined(__SSE4_1__) && !defined(__SANITIZE_THREAD__)
unsigned matching(const Bucket& first, const Bucket& second, std::uint64_t word) noexcept {
  std::atomic_signal_fence(std::memory_order_acq_rel);  // read anew each time, whatever surrounds the call
  const __m128i wanted = _mm_set1_epi64x(static_cast<std::int64_t>(word));
  const auto pair = [wanted](const std::atomic<std::uint64_t>& keys) {
    return _mm_cmpeq_epi64(_mm_load_si128(reinterpret_cast<const __m128i*>(&keys)), wanted);
  };
  // All ones or all zeros, halved in width until a key is an octet.
  const __m128i one = _mm_packs_epi32(pair(first.keys[0]), pair(first.keys[2]));
  const __m128i other = _mm_packs_epi32(pair(second.keys[0]), pair(second.keys[2]));
  const __m128i both = _mm_packs_epi32(one, other);
  return static_cast<unsigned>(_mm_movemask_epi8(_mm_packs_epi16(both, _mm_setzero_si128())));
}
#else
unsigned matching(const Bucket& first, const Bucket& second, std::uint64_t word) noexcept {
  unsigned found = 0;
  for (unsigned i = 0; i < kEntriesPerBucket; ++i) {
    found |= unsigned{first.keys[i].load(std::memory_order_relaxed) == word} << i;
    found |= unsigned{second.keys[i].load(std::memory_order_relaxed) == word} << (kEntriesPerBucket + i);
  }
  return found;
}
#endif

}  // namespace

struct LoginTable::Implementation {
  explicit Implementation(const LoginTableOptions& given)
      : options(given),
        hash_of(given.secret != 0 ? given.secret : draw_secret()),
        buckets(std::max(kPagesMin, (given.machines + kPerPage - 1) / kPerPage) * kBucketsPerPage) {
    POSTERN_ASSERT(options.ipv6_prefix >= 1 && options.ipv6_prefix <= 64);
    network_mask = ~std::uint64_t{0} << (64 - options.ipv6_prefix);
  }

  using Hash = SecretHash::Hash;

  [[nodiscard]] Key key_of(const core::IpAddress& machine) const noexcept {
    const std::uint64_t high = word_at(machine.bytes.data());
    const std::uint64_t low = word_at(machine.bytes.data() + 8);
    constexpr std::uint64_t kTranslated = 0x0064ff9b00000000u;
    if (high == 0 && low >> 32 == 0xffff) [[likely]] return {low & 0xffffffffu, kV4Bit};
    if (high == kTranslated && low >> 32 == 0) return {low, kV4Bit};
    return {high & network_mask, 0};
  }

  [[nodiscard]] Places places_of(const Hash& hash) const noexcept { return {hash.place, buckets.size()}; }

  [[nodiscard]] PageLock& lock_of(std::size_t page) noexcept { return locks[page % kLocks]; }

  [[nodiscard]] std::uint64_t stamp_of(const Key& key, const Hash& hash, std::int64_t expiry) const noexcept {
    const std::uint64_t head = (key.family | static_cast<std::uint64_t>(expiry) << 32) >> 32;
    return head << 32 | hash_of.check_word(hash, head);
  }

  // Wait-free.
  [[nodiscard]] bool is_granted(const core::IpAddress& machine, std::int64_t now) const noexcept {
    const Key key = key_of(machine);
    const Hash hash = hash_of(key);
    const Places places = places_of(hash);
    const Bucket* const first = &buckets[places.bucket(0)];
    const Bucket* const second = &buckets[places.bucket(1)];
    unsigned matches = matching(*first, *second, key.word);
    // More than one: an address's and a network's word may be equal, and free entries keep their keys.
    for (; matches != 0; matches &= matches - 1) {
      const auto i = static_cast<std::size_t>(std::countr_zero(matches));
      const Bucket& bucket = i < kEntriesPerBucket ? *first : *second;
      const std::uint64_t stamp = bucket.stamps[i % kEntriesPerBucket].load(std::memory_order_acquire);
      const std::uint64_t word = bucket.keys[i % kEntriesPerBucket].load(std::memory_order_relaxed);
      if (word != key.word || (stamp & kV4Bit) != key.family) [[unlikely]] continue;
      if (hash_of.check_word(hash, stamp >> 32) != static_cast<std::uint32_t>(stamp)) [[unlikely]] continue;
      return now < expiry_of(stamp);
    }
    return false;
  }

  // The entry that holds the key. Under the page's lock.
  [[nodiscard]] Cell held_by(const Places& places, const Key& key) noexcept {
    for (const std::size_t choice : {0, 1}) {
      Bucket& bucket = buckets[places.bucket(choice)];
      for (std::size_t i = 0; i < kEntriesPerBucket; ++i) {
        const std::uint64_t stamp = bucket.stamps[i].load(std::memory_order_relaxed);
        if (stamp == 0 || (stamp & kV4Bit) != key.family) continue;
        if (bucket.keys[i].load(std::memory_order_relaxed) == key.word) return {&bucket.keys[i], &bucket.stamps[i]};
      }
    }
    return {};
  }

  // Where a new machine goes: the bucket with more room, so that both fill evenly ("the power of two choices"); when
  // neither has room, what expires first. Under the page's lock.
  [[nodiscard]] Cell place_for_new(const Places& places, std::int64_t now) noexcept {
    struct Choice {
      Cell first_to_expire;
      std::int64_t earliest = kExpiryMax + 1;
      int room = 0;
    } choices[2];
    for (const std::size_t choice : {0, 1}) {
      Bucket& bucket = buckets[places.bucket(choice)];
      Choice& found = choices[choice];
      for (std::size_t i = 0; i < kEntriesPerBucket; ++i) {
        const std::int64_t expiry = expiry_of(bucket.stamps[i].load(std::memory_order_relaxed));
        if (expiry <= now) ++found.room;
        if (expiry >= found.earliest) continue;
        found.earliest = expiry;
        found.first_to_expire = {&bucket.keys[i], &bucket.stamps[i]};
      }
    }
    if (choices[0].room != choices[1].room) return choices[choices[0].room > choices[1].room ? 0 : 1].first_to_expire;
    return choices[choices[1].earliest < choices[0].earliest ? 1 : 0].first_to_expire;
  }

  static constexpr std::size_t kPerPage = kEntriesPerBucket * kBucketsPerPage;

  const LoginTableOptions options;
  std::uint64_t network_mask = 0;  // of IPv6
  const SecretHash hash_of;
  Buckets buckets;
  std::array<PageLock, kLocks> locks;
  std::atomic<std::uint64_t> evictions{0};
  std::atomic<std::uint64_t> changes{0};
};

LoginTable::LoginTable(const LoginTableOptions& options) : implementation_(std::make_unique<Implementation>(options)) {}

LoginTable::~LoginTable() = default;

void LoginTable::grant(const core::IpAddress& machine, std::int64_t now_boot_seconds, std::uint32_t seconds) noexcept {
  Implementation& table = *implementation_;
  const Key key = table.key_of(machine);
  const Implementation::Hash hash = table.hash_of(key);
  const Places places = table.places_of(hash);
  const std::int64_t window = seconds != 0 ? seconds : table.options.window_seconds;
  const std::int64_t expiry = std::clamp<std::int64_t>(now_boot_seconds + window, 0, kExpiryMax);
  const std::uint64_t stamp = table.stamp_of(key, hash, expiry);
  const Holding holding(table.lock_of(places.page()));
  table.changes.fetch_add(1, std::memory_order_relaxed);
  if (const Cell held = table.held_by(places, key); held.key != nullptr) {
    held.stamp->store(stamp, std::memory_order_release);
    return;
  }
  const Cell entry = table.place_for_new(places, now_boot_seconds);
  if (expiry_of(entry.stamp->load(std::memory_order_relaxed)) > now_boot_seconds) {
    table.evictions.fetch_add(1, std::memory_order_relaxed);
  }
  entry.stamp->store(0, std::memory_order_relaxed);
  entry.key->store(key.word, std::memory_order_release);  // who sees the new key sees the stamp gone
  entry.stamp->store(stamp, std::memory_order_release);   // who sees the new stamp sees the new key
}

void LoginTable::revoke(const core::IpAddress& machine) noexcept {
  Implementation& table = *implementation_;
  const Key key = table.key_of(machine);
  const Places places = table.places_of(table.hash_of(key));
  const Holding holding(table.lock_of(places.page()));
  const Cell held = table.held_by(places, key);
  if (held.key == nullptr) return;
  held.stamp->store(0, std::memory_order_release);
  table.changes.fetch_add(1, std::memory_order_relaxed);
}

bool LoginTable::is_granted(const core::IpAddress& machine, std::int64_t now_boot_seconds) const noexcept {
  return implementation_->is_granted(machine, now_boot_seconds);
}

std::vector<LoginTable::Entry> LoginTable::live(std::int64_t now_boot_seconds) const {
  Implementation& table = *implementation_;
  std::vector<Entry> found;
  for (std::size_t at = 0; at < table.buckets.size(); ++at) {
    const Bucket& bucket = table.buckets[at];
    // A bucket at a time: a login never waits for the whole table.
    const Holding holding(table.lock_of(at / kBucketsPerPage));
    for (std::size_t i = 0; i < kEntriesPerBucket; ++i) {
      const std::uint64_t stamp = bucket.stamps[i].load(std::memory_order_relaxed);
      if (stamp == 0 || expiry_of(stamp) <= now_boot_seconds) continue;
      const std::uint64_t word = bucket.keys[i].load(std::memory_order_relaxed);
      Entry shown;
      shown.expires_boot_seconds = expiry_of(stamp);
      if ((stamp & kV4Bit) != 0) {
        shown.machine = core::IpAddress::from_v4(static_cast<std::uint32_t>(word));
      } else {
        for (std::size_t octet = 0; octet < 8; ++octet) {
          shown.machine.bytes[octet] = static_cast<std::uint8_t>(word >> (56 - 8 * octet));
        }
      }
      found.push_back(shown);
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
  return sizeof(Implementation) + implementation_->buckets.bytes();
}

std::uint32_t LoginTable::window_seconds() const noexcept {
  return implementation_->options.window_seconds;
}

std::uint8_t LoginTable::ipv6_prefix() const noexcept {
  return implementation_->options.ipv6_prefix;
}

}  // namespace postern::policy
