// What the tests of the guess guard share: rules as an operator has them, moments, and short words for what happens.
#pragma once

#include <cstdint>
#include <cstdlib>
#include <random>
#include <string>
#include <string_view>
#include <vector>

#include "policy/guess_guard.h"

#include "tests/policy/support.h"

namespace postern::policy::testing {

inline HashKey test_key(std::uint8_t first = 1) {
  HashKey key{};
  for (std::size_t i = 0; i < key.size(); ++i) key[i] = static_cast<std::uint8_t>(first + 17 * i);
  return key;
}

// The defaults (10 failures in 600 s, 900 s doubling to 86400 s) with these hosts never barred.
inline GuardRules guard_rules(const std::vector<core::IpPrefix>& never = {}) {
  GuardRules rules;
  rules.never = PrefixTrie(never);
  return rules;
}

// A guard, rules and a moment that the test moves.
struct GuardWorld {
  explicit GuardWorld(std::size_t machines = 4096, GuardRules r = guard_rules())
      : guard({.key = test_key(), .machines = machines}), rules(std::move(r)) {}

  NewBars fail(std::string_view machine, std::string_view user) {
    return guard.record_failure(rules, ip(machine), user, at_second(now));
  }
  // The bars that the last of so many failures made.
  NewBars fail(std::string_view machine, std::string_view user, int times) {
    NewBars made;
    for (int i = 0; i < times; ++i) made = fail(machine, user);
    return made;
  }
  void succeed(std::string_view machine, std::string_view user) {
    guard.record_success(rules, ip(machine), user, at_second(now));
  }
  Bar barred(std::string_view machine) const { return guard.is_barred(rules, ip(machine), at_second(now)); }
  Bar barred(std::string_view machine, std::string_view user) const {
    return guard.is_name_barred(rules, user, ip(machine), at_second(now));
  }
  bool known(std::string_view machine, std::string_view user) const {
    return guard.is_known(rules, ip(machine), user, at_second(now));
  }

  GuessGuard guard;
  GuardRules rules;
  std::int64_t now = 1000;
};

// POSTERN_SEED=n runs that one.
inline std::uint64_t test_seed() {
  const char* given = std::getenv("POSTERN_SEED");
  return given != nullptr ? std::strtoull(given, nullptr, 10) : std::random_device{}();
}

}  // namespace postern::policy::testing
