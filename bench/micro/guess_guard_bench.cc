// The guess guard, and beside it what one would write first: a std::unordered_map under a std::shared_mutex.
//
// is_barred is asked at every accept, record_failure at every wrong password. Questions are drawn beforehand from a
// fixed seed. The map keeps a bar as its end, and the failures of a machine as their seconds, for machines only: less
// than the guard does.
#include <benchmark/benchmark.h>
#include <deque>
#include <mutex>
#include <random>
#include <shared_mutex>
#include <string>
#include <unordered_map>
#include <vector>

#include "core/ip_address.h"
#include "policy/guess_guard.h"
#include "policy/rate_limits.h"

namespace {

using namespace postern;

constexpr std::size_t kQuestions = 1 << 16;

core::Time at_second(std::int64_t second) {
  return {.boot_ns = second * core::kNanosecondsPerSecond, .unix_ns = 0};
}

core::IpAddress stranger(std::mt19937_64& random, bool v4) {
  if (v4) return core::IpAddress::from_v4(static_cast<std::uint32_t>(random()) & ~1u);
  core::IpAddress address;
  for (auto& octet : address.bytes) octet = static_cast<std::uint8_t>(random());
  address.bytes[0] = 0x20;
  return address;
}

core::IpAddress guesser(std::mt19937_64& random) {
  return core::IpAddress::from_v4(static_cast<std::uint32_t>(random()) | 1);
}

struct AddressHash {
  std::size_t operator()(const core::IpAddress& address) const {
    return std::hash<std::string_view>()({reinterpret_cast<const char*>(address.bytes.data()), 16});
  }
};

class MapGuard {
 public:
  bool is_barred(const core::IpAddress& client, std::int64_t now) const {
    const std::shared_lock holding(lock_);
    const auto found = bars_.find(client);
    return found != bars_.end() && now < found->second;
  }
  void record_failure(const core::IpAddress& client, std::int64_t now) {
    const std::unique_lock holding(lock_);
    std::deque<std::int64_t>& seconds = failures_[client];
    while (!seconds.empty() && now >= seconds.front() + 600) seconds.pop_front();
    seconds.push_back(now);
    if (seconds.size() < 10) return;
    failures_.erase(client);
    bars_[client] = now + 900;
  }

 private:
  mutable std::shared_mutex lock_;
  std::unordered_map<core::IpAddress, std::int64_t, AddressHash> bars_;
  std::unordered_map<core::IpAddress, std::deque<std::int64_t>, AddressHash> failures_;
};

// Guards with so many live bars on IPv4 machines, and on one IPv6 network of each width, so that nothing is skipped.
struct Filled {
  explicit Filled(std::size_t bars) : guard({.key = {7}, .machines = std::max<std::size_t>(bars, 1024)}) {
    std::mt19937_64 random(20240217);
    policy::GuardRules at_once;
    at_once.failures = 1;
    for (std::size_t i = 0; i < bars; ++i) {
      barred.push_back(guesser(random));
      guard.record_failure(at_once, barred.back(), "", at_second(0));
      for (int k = 0; k < 10; ++k) map.record_failure(barred.back(), 0);
    }
    for (int i = 0; i < 16; ++i) {
      auto address = core::IpAddress::parse("2001:db8::1").value();
      address.bytes[7] = static_cast<std::uint8_t>(i);
      guard.record_failure(at_once, address, "", at_second(0));
    }
  }
  policy::GuessGuard guard;
  MapGuard map;
  std::vector<core::IpAddress> barred;
};

Filled& filled(std::size_t bars) {
  static std::unordered_map<std::size_t, std::unique_ptr<Filled>> made;
  static std::mutex lock;
  const std::lock_guard holding(lock);
  auto& one = made[bars];
  if (one == nullptr) one = std::make_unique<Filled>(bars);
  return *one;
}

std::vector<core::IpAddress> questions_for(const Filled& world, bool barred, bool v4, int thread) {
  std::mt19937_64 random(static_cast<std::uint64_t>(thread) + 1);
  std::vector<core::IpAddress> questions;
  for (std::size_t i = 0; i < kQuestions; ++i) {
    questions.push_back(barred ? world.barred[random() % world.barred.size()] : stranger(random, v4));
  }
  return questions;
}

// range(0): live bars; range(1): 4, 6, or 0 for machines that are barred.
void guard_is_barred(benchmark::State& state) {
  Filled& world = filled(static_cast<std::size_t>(state.range(0)));
  const auto questions = questions_for(world, state.range(1) == 0, state.range(1) == 4, state.thread_index());
  const policy::GuardRules rules;
  std::size_t at = 0;
  for (auto _ : state) {
    benchmark::DoNotOptimize(world.guard.find_bar(rules, {}, questions[at], at_second(1)));
    at = (at + 1) % kQuestions;
  }
}
BENCHMARK(guard_is_barred)->ArgsProduct({{1000, 1000000}, {4, 6, 0}})->ArgNames({"bars", "ip"});
BENCHMARK(guard_is_barred)->Args({1000000, 4})->ArgNames({"bars", "ip"})->Threads(2);

void map_is_barred(benchmark::State& state) {
  Filled& world = filled(static_cast<std::size_t>(state.range(0)));
  const auto questions = questions_for(world, state.range(1) == 0, state.range(1) == 4, state.thread_index());
  std::size_t at = 0;
  for (auto _ : state) {
    benchmark::DoNotOptimize(world.map.is_barred(questions[at], 1));
    at = (at + 1) % kQuestions;
  }
}
BENCHMARK(map_is_barred)->ArgsProduct({{1000, 1000000}, {4, 0}})->ArgNames({"bars", "ip"});
BENCHMARK(map_is_barred)->Args({1000000, 4})->ArgNames({"bars", "ip"})->Threads(2);

// What nearly every accept asks: nobody at all is barred.
void guard_is_barred_quiet(benchmark::State& state) {
  const policy::GuessGuard guard({.key = {7}});
  const policy::GuardRules rules;
  const auto client = core::IpAddress::parse("2001:db8::1").value();
  for (auto _ : state) benchmark::DoNotOptimize(guard.find_bar(rules, {}, client, at_second(1)));
}
BENCHMARK(guard_is_barred_quiet);

// A flood: every failure from another machine, at names in turn. range(0): 4 or 6.
void guard_record_failure(benchmark::State& state) {
  static policy::GuessGuard guard({.key = {7}});
  std::mt19937_64 random(static_cast<std::uint64_t>(state.thread_index()) + 1);
  const policy::GuardRules rules;
  const bool v4 = state.range(0) == 4;
  std::int64_t count = 0;
  for (auto _ : state) {
    const std::string name = "user" + std::to_string(random() % 100000);
    benchmark::DoNotOptimize(guard.record_failure(rules, stranger(random, v4), name, at_second(++count >> 14)));
  }
}
BENCHMARK(guard_record_failure)->Arg(4)->Arg(6)->ArgName("ip");
BENCHMARK(guard_record_failure)->Arg(4)->ArgName("ip")->Threads(2);

void map_record_failure(benchmark::State& state) {
  static MapGuard map;  // grows without a bound
  std::mt19937_64 random(static_cast<std::uint64_t>(state.thread_index()) + 1);
  std::int64_t count = 0;
  for (auto _ : state) map.record_failure(stranger(random, true), ++count >> 14);
}
BENCHMARK(map_record_failure)->Iterations(1000000);
BENCHMARK(map_record_failure)->Iterations(1000000)->Threads(2);

void guard_record_success(benchmark::State& state) {
  static policy::GuessGuard guard({.key = {7}});
  std::mt19937_64 random(static_cast<std::uint64_t>(state.thread_index()) + 1);
  const policy::GuardRules rules;
  for (auto _ : state) guard.record_success(rules, stranger(random, true), "user@example.net", at_second(1));
}
BENCHMARK(guard_record_success)->Threads(1)->Threads(2);

void guard_is_known(benchmark::State& state) {
  policy::GuessGuard guard({.key = {7}});
  std::mt19937_64 random(5);
  const policy::GuardRules rules;
  std::vector<core::IpAddress> machines;
  for (std::size_t i = 0; i < kQuestions; ++i) {
    machines.push_back(stranger(random, true));
    guard.record_success(rules, machines.back(), "user@example.net", at_second(1));
  }
  std::size_t at = 0;
  for (auto _ : state) {
    benchmark::DoNotOptimize(guard.is_known(rules, machines[at], "user@example.net", at_second(1)));
    at = (at + 1) % kQuestions;
  }
}
BENCHMARK(guard_is_known);

void quota_take(benchmark::State& state) {
  static policy::RateLimits limits({.key = {7}});
  std::mt19937_64 random(static_cast<std::uint64_t>(state.thread_index()) + 1);
  const policy::QuotaSettings quota{.messages_per_hour = 500, .recipients_per_day = 5000};
  std::int64_t count = 0;
  for (auto _ : state) {
    const core::IpAddress machine = stranger(random, true);
    const std::string name = "user" + std::to_string(random() % 10000);
    benchmark::DoNotOptimize(limits.take({name, quota, &machine, quota}, 1, 1, at_second(++count >> 12)));
  }
}
BENCHMARK(quota_take)->Threads(1)->Threads(2);

}  // namespace

BENCHMARK_MAIN();
