// Lookups of the policy room: nanoseconds per prefix lookup, login lookup, domain, decision.
//
// Questions are drawn beforehand from a fixed seed and asked in turn, so that neither the generator nor one cached line
// is what is measured.
#include <benchmark/benchmark.h>
#include <random>
#include <vector>

#include "core/ip_address.h"
#include "policy/address.h"
#include "policy/login_table.h"
#include "policy/policy_snapshot.h"
#include "policy/prefix_trie.h"
#include "policy/relay_decision.h"

namespace {

using namespace postern;

constexpr std::size_t kQuestions = 1 << 16;

core::IpAddress random_address(std::mt19937_64& random, bool v4) {
  if (v4) return core::IpAddress::from_v4(static_cast<std::uint32_t>(random()));
  core::IpAddress address;
  for (auto& octet : address.bytes) octet = static_cast<std::uint8_t>(random());
  address.bytes[0] = 0x20;
  address.bytes[1] = 0x01;
  return address;
}

core::IpPrefix random_prefix(std::mt19937_64& random, bool v4) {
  // Lengths as in the world's tables: /16 to /24, /32 to /48.
  const int bits = v4 ? 96 + 16 + static_cast<int>(random() % 9) : 32 + static_cast<int>(random() % 17);
  core::IpAddress address = random_address(random, v4);
  for (int bit = bits; bit < 128; ++bit) {
    address.bytes[static_cast<std::size_t>(bit / 8)] &= static_cast<std::uint8_t>(~(0x80u >> bit % 8));
  }
  return {address, static_cast<std::uint8_t>(bits)};
}

// range(0): prefixes; range(1): 4 or 6. Half of the questions are inside a prefix.
void prefix_lookup(benchmark::State& state) {
  std::mt19937_64 random(20240217);
  const bool v4 = state.range(1) == 4;
  std::vector<core::IpPrefix> prefixes;
  for (std::int64_t i = 0; i < state.range(0); ++i) prefixes.push_back(random_prefix(random, v4));
  const policy::PrefixTrie trie(prefixes);
  std::vector<core::IpAddress> questions;
  for (std::size_t i = 0; i < kQuestions; ++i) {
    core::IpAddress address = random_address(random, v4);
    if (i % 2 == 0) {
      address = prefixes[random() % prefixes.size()].address;
      address.bytes[15] = static_cast<std::uint8_t>(random());
    }
    questions.push_back(address);
  }
  std::size_t at = 0;
  for (auto _ : state) {
    benchmark::DoNotOptimize(trie.lookup(questions[at]));
    at = (at + 1) % kQuestions;
  }
  state.counters["KiB"] = static_cast<double>(trie.memory_bytes()) / 1024;
}
BENCHMARK(prefix_lookup)->ArgsProduct({{10, 1000, 100000}, {4, 6}})->ArgNames({"prefixes", "ip"});

// range(0): machines logged in; range(1): 1: all questions hit, 0: none does.
void login_lookup(benchmark::State& state) {
  std::mt19937_64 random(7);
  policy::LoginTable table({.machines = static_cast<std::size_t>(state.range(0)) * 5 / 4, .secret = 1});
  std::vector<core::IpAddress> in;
  for (std::int64_t i = 0; i < state.range(0); ++i) {
    in.push_back(core::IpAddress::from_v4(static_cast<std::uint32_t>(random()) | 1));
    table.grant(in.back(), 0);
  }
  std::vector<core::IpAddress> questions;
  for (std::size_t i = 0; i < kQuestions; ++i) {
    const auto stranger = core::IpAddress::from_v4(static_cast<std::uint32_t>(random()) & ~1u);
    questions.push_back(state.range(1) == 1 ? in[random() % in.size()] : stranger);
  }
  std::size_t at = 0;
  for (auto _ : state) {
    benchmark::DoNotOptimize(table.is_granted(questions[at], 1));
    at = (at + 1) % kQuestions;
  }
}
BENCHMARK(login_lookup)->ArgsProduct({{1000, 1000000}, {0, 1}})->ArgNames({"machines", "hit"});

void login_grant(benchmark::State& state) {
  static policy::LoginTable table({.machines = 1000000, .secret = 1});
  std::mt19937_64 random(static_cast<std::uint64_t>(state.thread_index()) + 1);
  for (auto _ : state) table.grant(core::IpAddress::from_v4(static_cast<std::uint32_t>(random())), 0);
}
BENCHMARK(login_grant)->Threads(1)->Threads(2);

void domain_name(benchmark::State& state) {
  constexpr std::string_view kNames[] = {"mail.example.net", "b\u00fccher.example"};
  const std::string_view name = kNames[state.range(0)];
  for (auto _ : state) benchmark::DoNotOptimize(policy::DomainName(name));
}
BENCHMARK(domain_name)->Arg(0)->Arg(1)->ArgName("unicode");

policy::Settings decision_settings() {
  policy::Settings settings;
  settings.hostname = "mail.example.net";
  for (int i = 0; i < 1000; ++i) settings.local_domains.push_back("d" + std::to_string(i) + ".example.net");
  std::mt19937_64 random(3);
  for (int i = 0; i < 1000; ++i) settings.lan.push_back(random_prefix(random, true));
  policy::ServiceSettings& service = settings.services.emplace_back();
  service.name = "smtp";
  service.relay.after_login = true;
  service.relay.always_to_enabled = true;
  for (int i = 0; i < 100; ++i) service.relay.always_to.push_back("backup" + std::to_string(i) + ".example");
  return settings;
}

// A stranger's RCPT for a foreign domain, refused after every step: the most expensive answer.
void decide_rcpt_refused(benchmark::State& state) {
  const policy::PolicySnapshot snapshot(decision_settings());
  const policy::LoginTable logins({.machines = 1000000, .secret = 1});
  policy::Client client;
  client.address = core::IpAddress::from_v4(0xc6336401);
  const policy::Mailbox sender{"someone", "stranger.example"};
  const policy::Mailbox recipient{"somebody", "mail.remote.example"};
  for (auto _ : state) {
    benchmark::DoNotOptimize(policy::decide_recipient(snapshot, snapshot.service(0), logins, core::Time{}, client,
                                                      sender, recipient, false));
  }
}
BENCHMARK(decide_rcpt_refused);

void decide_rcpt_local(benchmark::State& state) {
  const policy::PolicySnapshot snapshot(decision_settings());
  const policy::LoginTable logins({.machines = 1000000, .secret = 1});
  policy::Client client;
  client.address = core::IpAddress::from_v4(0xc6336401);
  const policy::Mailbox sender{"someone", "stranger.example"};
  const policy::Mailbox recipient{"somebody", "d500.example.net"};
  for (auto _ : state) {
    benchmark::DoNotOptimize(policy::decide_recipient(snapshot, snapshot.service(0), logins, core::Time{}, client,
                                                      sender, recipient, false));
  }
}
BENCHMARK(decide_rcpt_local);

}  // namespace

BENCHMARK_MAIN();
