// The login table beside what one would otherwise take: std::unordered_map under a std::shared_mutex, TBB's
// concurrent_hash_map, Concurrency Kit's ck_ht (the last two where they are installed). Names read
//
//   TABLE/machines:N/ask:HOW/hit:H
//
// machines: how many are logged in. hit: 1, all questions are about them; 0, none is. ask:
//   reads    questions in a row, as fast as they go: lookups a second a core (items_per_second)
//   writes   the same with one grant of a machine that is logged in for 99 questions
//   alone    each question only when the answer before it is there: what one lookup costs between other work
// octets: memory for each machine that is logged in. The login table is made a quarter larger than what it holds, so that
// next to nothing is evicted; the others grow as they like, and each is told the count beforehand.
//
// Machines are distinct and look random. Which ones are asked for is drawn beforehand from a fixed seed, so that neither the
// generator nor the table's order in memory is what is measured. The login table gets an address as connections have it, and
// makes the key itself; the others get the key ready-made. All hash as they come.
//
// On a machine with other work: --benchmark_enable_random_interleaving=true --benchmark_repetitions=9
// --benchmark_report_aggregates_only=true, and believe the medians. GLIBC_TUNABLES=glibc.malloc.hugetlb=1 gives the
// others the huge pages that the login table asks for itself.
#include <benchmark/benchmark.h>
#include <malloc.h>
#include <map>
#include <memory>
#include <mutex>
#include <random>
#include <shared_mutex>
#include <string>
#include <unordered_map>
#include <vector>
#ifdef POSTERN_BENCH_TBB
#include <tbb/concurrent_hash_map.h>
#endif
#ifdef POSTERN_BENCH_CK
extern "C" {
#include <ck_ht.h>
}
#endif

#include "core/ip_address.h"
#include "policy/login_table.h"

namespace {

using namespace postern;

constexpr std::int64_t kNow = 1000;
constexpr std::uint32_t kWindowSeconds = 300;
constexpr std::size_t kBatch = 100;  // one in so many is a grant, when there are writes

// Different numbers give different machines: the 32-bit finaliser of MurmurHash3 (Appleby) can be undone.
std::uint32_t machine(std::uint32_t number) {
  number = (number ^ number >> 16) * 0x85ebca6bu;
  number = (number ^ number >> 13) * 0xc2b2ae35u;
  return number ^ number >> 16;
}

class Ours {
 public:
  using Question = core::IpAddress;
  explicit Ours(std::size_t machines)
      : table_({.machines = machines * 5 / 4, .window_seconds = kWindowSeconds, .secret = 20240217}) {}
  static Question question(std::uint32_t word) { return core::IpAddress::from_v4(word); }
  [[nodiscard]] bool is_granted(const Question& of, std::int64_t now) const { return table_.is_granted(of, now); }
  void grant(const Question& of, std::int64_t now) { table_.grant(of, now); }
  [[nodiscard]] std::size_t memory_bytes() const { return table_.memory_bytes(); }
  [[nodiscard]] std::uint64_t evictions() const { return table_.evictions(); }

 private:
  policy::LoginTable table_;
};

// What the C library's allocator has given out.
std::size_t allocated_bytes() {
  const auto info = mallinfo2();
  return info.uordblks + info.hblkhd;
}

class LockedMap {
 public:
  using Question = std::uint64_t;
  explicit LockedMap(std::size_t machines) { map_.reserve(machines); }
  static Question question(std::uint32_t word) { return word; }
  [[nodiscard]] bool is_granted(Question of, std::int64_t now) const {
    const std::shared_lock holding(lock_);
    const auto found = map_.find(of);
    return found != map_.end() && now < found->second;
  }
  void grant(Question of, std::int64_t now) {
    const std::unique_lock holding(lock_);
    map_[of] = now + kWindowSeconds;
  }

 private:
  mutable std::shared_mutex lock_;
  std::unordered_map<std::uint64_t, std::int64_t> map_;
};

#ifdef POSTERN_BENCH_TBB
class Tbb {
 public:
  using Question = std::uint64_t;
  explicit Tbb(std::size_t machines) : map_(machines) {}
  static Question question(std::uint32_t word) { return word; }
  [[nodiscard]] bool is_granted(Question of, std::int64_t now) const {
    Map::const_accessor found;
    return map_.find(found, of) && now < found->second;
  }
  void grant(Question of, std::int64_t now) {
    Map::accessor entry;
    map_.insert(entry, of);
    entry->second = now + kWindowSeconds;
  }

 private:
  using Map = tbb::concurrent_hash_map<std::uint64_t, std::int64_t, tbb::tbb_hash_compare<std::uint64_t>,
                                       std::allocator<std::pair<const std::uint64_t, std::int64_t>>>;
  Map map_;
};
#endif

#ifdef POSTERN_BENCH_CK
// One writer and many readers are its promise: writers take turns by a mutex.
class Ck {
 public:
  using Question = std::uint64_t;
  explicit Ck(std::size_t machines) {
    allocator_.malloc = [](std::size_t bytes) { return std::malloc(bytes); };
    allocator_.free = [](void* address, std::size_t, bool) { std::free(address); };  // grows only while nobody reads
    if (!ck_ht_init(&table_, CK_HT_MODE_DIRECT, nullptr, &allocator_, machines, 20240217)) std::abort();
  }
  ~Ck() { ck_ht_destroy(&table_); }
  Ck(const Ck&) = delete;
  Ck& operator=(const Ck&) = delete;
  static Question question(std::uint32_t word) { return word; }
  [[nodiscard]] bool is_granted(Question of, std::int64_t now) const {
    ck_ht_hash_t hash;
    ck_ht_entry_t entry;
    ck_ht_hash_direct(&hash, &table_, of);
    ck_ht_entry_key_set_direct(&entry, of);
    return ck_ht_get_spmc(&table_, hash, &entry) && now < static_cast<std::int64_t>(ck_ht_entry_value_direct(&entry));
  }
  void grant(Question of, std::int64_t now) {
    const std::lock_guard holding(lock_);
    ck_ht_hash_t hash;
    ck_ht_entry_t entry;
    ck_ht_hash_direct(&hash, &table_, of);
    ck_ht_entry_set_direct(&entry, hash, of, static_cast<std::uintptr_t>(now + kWindowSeconds));
    if (!ck_ht_set_spmc(&table_, hash, &entry)) std::abort();
  }

 private:
  mutable ck_ht_t table_{};
  ck_malloc allocator_{};
  std::mutex lock_;
};
#endif

// A table with so many machines in it. Made at the first use, and kept: repetitions come in any order.
template <typename Table>
struct Filled {
  explicit Filled(std::size_t machines) {
    const std::size_t before = allocated_bytes();
    table = std::make_unique<Table>(machines);
    for (std::uint32_t i = 1; i <= machines; ++i) table->grant(Table::question(machine(i)), kNow);
    if constexpr (requires { table->memory_bytes(); }) {
      bytes = table->memory_bytes();
    } else {
      bytes = allocated_bytes() - before;
    }
  }
  std::unique_ptr<Table> table;
  std::size_t bytes;
};

template <typename Table>
Filled<Table>& filled(std::size_t machines) {
  static std::map<std::size_t, Filled<Table>> made;
  static std::mutex lock;
  const std::lock_guard holding(lock);
  return made.try_emplace(machines, machines).first->second;
}

// The questions are read in order and cost little; they are so many that no predictor learns them, and that at ten million
// machines few of the answers are in a cache.
template <typename Table>
std::vector<typename Table::Question> questions_for(std::size_t machines, bool hit, int thread) {
  const std::size_t count = machines > 100'000 ? kBatch * 40'000 : kBatch * 200;
  std::mt19937_64 random(static_cast<std::uint64_t>(thread) + 7);
  std::vector<typename Table::Question> questions;
  questions.reserve(count);
  for (std::size_t i = 0; i < count; ++i) {
    const std::uint64_t logged_in = 1 + random() % machines;
    const std::uint64_t stranger = std::uint64_t{1} << 31 | random();
    questions.push_back(Table::question(machine(static_cast<std::uint32_t>(hit ? logged_in : stranger))));
  }
  return questions;
}

enum class Ask { reads, writes, alone };

inline void wait_for_answer() {
#if defined(__x86_64__)
  asm volatile("lfence" ::: "memory");
#else
  std::atomic_thread_fence(std::memory_order_seq_cst);
#endif
}

template <typename Table, Ask kAsk>
void lookups(benchmark::State& state, std::size_t machines, bool hit) {
  Filled<Table>& world = filled<Table>(machines);
  Table& table = *world.table;
  const auto questions = questions_for<Table>(machines, hit, state.thread_index());
  const auto renewed = questions_for<Table>(machines, true, state.thread_index() + 1000);
  std::size_t at = 0;
  std::uint64_t granted = 0;
  for (auto _ : state) {
    const std::size_t end = at + kBatch;
    if constexpr (kAsk == Ask::writes) table.grant(renewed[at++], kNow);
    for (; at < end; ++at) {
      granted += table.is_granted(questions[at], kNow);
      if constexpr (kAsk == Ask::alone) wait_for_answer();
    }
    if (at == questions.size()) at = 0;
  }
  const auto asked = static_cast<std::uint64_t>(state.iterations()) * (kBatch - (kAsk == Ask::writes ? 1 : 0));
  state.SetItemsProcessed(state.iterations() * static_cast<std::int64_t>(kBatch));
  state.counters["octets"] =
      benchmark::Counter(static_cast<double>(world.bytes) / static_cast<double>(machines), benchmark::Counter::kAvgThreads);
  // A table that answers wrongly may not take part. Evicted are few, and they are told.
  double evicted = 0;
  if constexpr (requires { table.evictions(); }) evicted = static_cast<double>(table.evictions());
  const double missing = static_cast<double>(asked - granted) / static_cast<double>(asked);
  if (hit ? missing > 2 * evicted / static_cast<double>(machines) : granted != 0) state.SkipWithError("wrong answers");
  if (evicted != 0) state.counters["evicted"] = benchmark::Counter(evicted, benchmark::Counter::kAvgThreads);
}

template <typename Table>
void add(const std::string& name, std::size_t machines, bool hit) {
  const auto full_name = [&](const char* ask) {
    return name + "/machines:" + std::to_string(machines) + "/ask:" + ask + "/hit:" + (hit ? "1" : "0");
  };
  benchmark::RegisterBenchmark(full_name("reads").c_str(), lookups<Table, Ask::reads>, machines, hit);
  benchmark::RegisterBenchmark(full_name("writes").c_str(), lookups<Table, Ask::writes>, machines, hit);
  benchmark::RegisterBenchmark(full_name("alone").c_str(), lookups<Table, Ask::alone>, machines, hit);
  if (!hit) return;
  benchmark::RegisterBenchmark(full_name("writes").c_str(), lookups<Table, Ask::writes>, machines, hit)
      ->Threads(2)
      ->UseRealTime();
}

}  // namespace

int main(int count, char** arguments) {
  for (const std::size_t machines : {1'000u, 1'000'000u, 10'000'000u}) {
    for (const bool hit : {true, false}) {
      add<Ours>("postern", machines, hit);
      add<LockedMap>("unordered_map", machines, hit);
#ifdef POSTERN_BENCH_TBB
      add<Tbb>("tbb", machines, hit);
#endif
#ifdef POSTERN_BENCH_CK
      add<Ck>("ck_ht", machines, hit);
#endif
    }
  }
  benchmark::Initialize(&count, arguments);
  if (benchmark::ReportUnrecognizedArguments(count, arguments)) return 1;
  benchmark::RunSpecifiedBenchmarks();
  return 0;
}
