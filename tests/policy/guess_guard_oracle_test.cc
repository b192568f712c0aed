// The guess guard against a second statement of its rules: plain lists, searched from end to end.
//
// Random machines, names, rules and steps of time; after each step the bars that were made, and then what is barred and
// known, must be the same. The world is small, so that limits are reached all the time, and the table large, so that
// nothing is given up.
#include <algorithm>
#include <cstdint>
#include <gtest/gtest.h>
#include <map>
#include <random>
#include <set>
#include <string>
#include <tuple>
#include <vector>

#include "policy/guess_guard.h"

#include "tests/policy/guard_support.h"

namespace postern::policy {
namespace {

using testing::at_second;
using testing::ip;
using testing::prefix;

struct NaiveGuard {
  // Which bar: its kind, and the network's or the name's text.
  using Key = std::pair<BarKind, std::string>;
  struct Failure {
    std::int64_t second;
    std::string machine;  // its /64 or address, as text
    std::string name;
    std::set<Key> counts;
  };
  struct OldBar {
    std::int64_t until;
    int in_a_row;
  };

  GuardRules* rules = nullptr;
  std::vector<Failure> failures;
  std::map<Key, OldBar> bars;
  std::map<std::pair<std::string, std::string>, std::int64_t> logins;  // (machine, name)
  std::int64_t now = 0;

  static std::string net(const core::IpAddress& client, int bits) {
    if (client.is_v4()) return bits == 64 ? client.text() : "";
    core::IpAddress cut;
    for (int bit = 0; bit < bits; ++bit) {
      cut.bytes[static_cast<std::size_t>(bit / 8)] |=
          client.bytes[static_cast<std::size_t>(bit / 8)] & (0x80 >> bit % 8);
    }
    return cut.text() + "/" + std::to_string(bits);
  }
  static std::string folded(std::string name) {
    std::transform(name.begin(), name.end(), name.begin(),
                   [](unsigned char c) { return c >= 'A' && c <= 'Z' ? c + 32 : c; });
    return name;
  }

  bool is_never(const core::IpAddress& client) const { return rules->never.contains(client); }
  bool lives(const Key& key) const { return bars.contains(key) && now < bars.at(key).until; }
  bool knows(const core::IpAddress& client, const std::string& name) const {
    const std::string machine = net(client, 64);
    for (const auto& [who, second] : logins) {
      if (who.first != machine || (!name.empty() && who.second != folded(name))) continue;
      if (now < second + rules->known_seconds) return true;
    }
    return false;
  }

  Bar find(const Key& key) const { return lives(key) ? Bar{key.first, bars.at(key).until} : Bar{}; }
  Bar machine_bar(const core::IpAddress& client) const {
    if (rules->failures == 0 || is_never(client)) return {};
    if (const Bar bar = find({BarKind::machine, net(client, 64)})) return bar;
    if (client.is_v4() || knows(client, "")) return {};
    if (const Bar bar = find({BarKind::net56, net(client, 56)})) return bar;
    return find({BarKind::net48, net(client, 48)});
  }
  Bar name_bar(const core::IpAddress& client, const std::string& name) const {
    if (rules->failures == 0 || name.empty() || is_never(client) || knows(client, name)) return {};
    return find({BarKind::name, folded(name)});
  }

  std::vector<Bar> fail(const core::IpAddress& client, const std::string& name) {
    if (rules->failures == 0 || is_never(client)) return {};
    std::vector<std::pair<Key, std::int64_t>> keys = {{{BarKind::machine, net(client, 64)}, rules->failures}};
    if (!client.is_v4()) {
      keys.push_back({{BarKind::net56, net(client, 56)}, 4ll * rules->failures});
      keys.push_back({{BarKind::net48, net(client, 48)}, 16ll * rules->failures});
    }
    if (!name.empty() && !knows(client, name)) keys.push_back({{BarKind::name, folded(name)}, rules->failures});
    Failure failure{now, net(client, 64), folded(name), {}};
    for (const auto& [key, limit] : keys) {
      if (!lives(key)) failure.counts.insert(key);
    }
    failures.push_back(failure);
    std::vector<Bar> made;
    for (const auto& [key, limit] : keys) {
      if (!failure.counts.contains(key)) continue;
      const auto counts = [&, k = key](const Failure& f) {
        return f.counts.contains(k) && now < f.second + rules->within_seconds;
      };
      if (std::count_if(failures.begin(), failures.end(), counts) < limit) continue;
      for (Failure& f : failures) f.counts.erase(key);
      const bool again = bars.contains(key) && now < bars[key].until + rules->bar_max_seconds;
      const int in_a_row = again ? std::min(bars[key].in_a_row + 1, 31) : 1;
      std::int64_t length = rules->bar_seconds;
      for (int i = 1; i < in_a_row && key.first != BarKind::name && length < rules->bar_max_seconds; ++i) length *= 2;
      bars[key] = {now + std::min<std::int64_t>(length, rules->bar_max_seconds), in_a_row};
      made.push_back({key.first, bars[key].until});
    }
    return made;
  }

  void succeed(const core::IpAddress& client, const std::string& name) {
    const std::string machine = net(client, 64);
    const std::string user = folded(name);
    for (Failure& f : failures) {
      if (f.machine == machine && f.name == user) f.counts.clear();
    }
    logins[{net(client, 64), folded(name)}] = now;
  }

  void clear(const core::IpAddress& client) {
    for (Failure& f : failures) {
      if (f.machine == net(client, 64)) f.counts.clear();
    }
    for (const auto& [kind, bits] : {std::pair{BarKind::machine, 64}, {BarKind::net56, 56}, {BarKind::net48, 48}}) {
      bars.erase({kind, net(client, bits)});
      for (Failure& f : failures) f.counts.erase({kind, net(client, bits)});
    }
  }
  void clear_name(const std::string& name) {
    bars.erase({BarKind::name, folded(name)});
    for (Failure& f : failures) f.counts.erase({BarKind::name, folded(name)});
  }
  void forget_what_is_over() {
    std::erase_if(failures, [&](const Failure& f) { return now >= f.second + rules->within_seconds; });
  }
};

class Comparison {
 public:
  explicit Comparison(std::uint64_t seed) : random_(seed), guard_({.key = testing::test_key(), .machines = 8192}) {
    naive_.rules = &rules_;
    now_ = pick(0, 1) == 0 ? 0 : pick(1, 100000);
    rules_.failures = pick(1, 6);
    rules_.within_seconds = pick(1, 300);
    rules_.bar_seconds = pick(1, 300);
    rules_.bar_max_seconds = pick(0, 5) == 0 ? rules_.bar_seconds / 2 : rules_.bar_seconds * pick(1, 12);
    rules_.known_seconds = pick(1, 2000);
    if (pick(0, 1) == 0) rules_.never = PrefixTrie(std::vector{prefix("192.0.2.0/31"), prefix("2001:db8:0:100::/64")});
  }

  void run(int steps) {
    for (step_ = 0; step_ < steps && !::testing::Test::HasFatalFailure(); ++step_) {
      now_ += pick(0, 3) == 0 ? pick(1, 40) : 0;
      if (pick(0, 400) == 0) now_ += pick(1, 4000);
      if (pick(0, 200) == 0) rules_.failures = pick(0, 6);
      naive_.now = now_;
      act();
      for (int i = 0; i < 4; ++i) compare(machine(), name());
      if (step_ % 10 == 0) naive_.forget_what_is_over();
    }
    // At the end everything that could differ.
    for (int i = 0; i < 400; ++i) compare(machine(), name());
  }

  GuessGuard::Counters counters() const { return guard_.counters(); }

 private:
  std::uint32_t pick(std::uint32_t low, std::uint32_t high) {
    return std::uniform_int_distribution<std::uint32_t>(low, high)(random_);
  }
  core::IpAddress machine() {
    if (pick(0, 2) == 0) return core::IpAddress::from_v4(0xc0000200 + pick(0, 5));
    char text[64];
    std::snprintf(text, sizeof text, "2001:db8:%x:%x%02x::%x", pick(0, 1), pick(1, 2), pick(0, 7), pick(0, 9));
    return ip(text);
  }
  std::string name() {
    static const char* const kNames[] = {"", "bob", "Bob", "alice", "info@example.net", "INFO@example.net"};
    return kNames[pick(0, 5)];
  }

  void act() {
    const core::IpAddress client = machine();
    const std::string user = name();
    const std::uint32_t what = pick(0, 99);
    if (what < 85) {
      const NewBars made = guard_.record_failure(rules_, client, user, at_second(now_));
      const std::vector<Bar> expected = naive_.fail(client, user);
      ASSERT_EQ(made.count, expected.size()) << where(client, user);
      for (std::size_t i = 0; i < made.count; ++i) {
        ASSERT_EQ(made.bars[i].kind, expected[i].kind) << where(client, user);
        ASSERT_EQ(made.bars[i].until_boot_seconds, expected[i].until_boot_seconds) << where(client, user);
      }
    } else if (what < 97) {
      guard_.record_success(rules_, client, user, at_second(now_));
      naive_.succeed(client, user);
    } else if (what < 98) {
      guard_.clear({client, 128}, at_second(now_));
      naive_.clear(client);
    } else if (what < 99) {
      guard_.clear_name(user, at_second(now_));
      naive_.clear_name(user);
    }
  }

  void compare(const core::IpAddress& client, const std::string& user) {
    const Bar bar = guard_.is_barred(rules_, client, at_second(now_));
    const Bar expected = naive_.machine_bar(client);
    ASSERT_EQ(bar.kind, expected.kind) << where(client, user);
    ASSERT_EQ(bar.until_boot_seconds, expected.until_boot_seconds) << where(client, user);
    const Bar name_bar = guard_.is_name_barred(rules_, user, client, at_second(now_));
    const Bar expected_name = naive_.name_bar(client, user);
    ASSERT_EQ(name_bar.kind, expected_name.kind) << where(client, user);
    ASSERT_EQ(name_bar.until_boot_seconds, expected_name.until_boot_seconds) << where(client, user);
    ASSERT_EQ(guard_.is_known(rules_, client, user, at_second(now_)), naive_.knows(client, user))
        << where(client, user);
  }

  std::string where(const core::IpAddress& client, const std::string& user) const {
    return "step " + std::to_string(step_) + " at " + std::to_string(now_) + ": " + client.text() + " '" + user + "'";
  }

  std::mt19937_64 random_;
  GuessGuard guard_;
  NaiveGuard naive_;
  GuardRules rules_;
  std::int64_t now_ = 0;
  int step_ = 0;
};

TEST(GuessGuardOracle, RandomHistoriesAgree) {
  const std::uint64_t first = testing::test_seed();
  const int runs = std::getenv("POSTERN_SEED") != nullptr ? 1 : 12;
  GuessGuard::Counters all;
  for (int i = 0; i < runs; ++i) {
    const std::uint64_t seed = first + static_cast<std::uint64_t>(i);
    SCOPED_TRACE("POSTERN_SEED=" + std::to_string(seed));
    Comparison comparison(seed);
    comparison.run(1500);
    if (HasFatalFailure()) return;
    const auto counters = comparison.counters();
    for (std::size_t kind = 0; kind < all.bars_made.size(); ++kind) {
      all.bars_made[kind] += counters.bars_made[kind];
      all.refused[kind] += counters.refused[kind];
    }
    EXPECT_EQ(counters.bars_in_overflow, 0u);
    EXPECT_EQ(counters.failures_forgotten, 0u);
  }
  if (runs == 1) return;
  // The histories are worth something: every kind of bar was made and found.
  for (const BarKind kind : {BarKind::machine, BarKind::net56, BarKind::net48, BarKind::name}) {
    EXPECT_GT(all.bars_made[static_cast<std::size_t>(kind)], 0u) << bar_kind_name(kind);
    EXPECT_GT(all.refused[static_cast<std::size_t>(kind)], 0u) << bar_kind_name(kind);
  }
}

}  // namespace
}  // namespace postern::policy
