// Finds accounts whose password is among the first that an attacker tries.
//
// Each account is tried by the cheapest thing the store has of it: a fast verifier beside a slow hash lets guesses
// through at its own price. Passwords found are forgotten at once; the answer is names. Blocks for as long as planned,
// on threads of its own. Memory: the users given, and one list of guesses a thread.
#pragma once

#include <chrono>
#include <cstddef>
#include <functional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "net/users/user_store.h"

namespace postern::net::users {

struct AuditPlan {
  struct Account {
    const StoredUser* user = nullptr;
    Secret hash;  // what is tried, in the form of a password hash
    std::chrono::nanoseconds guess_time{0};
  };
  std::vector<Account> accounts;
  std::vector<std::string> untried;  // names without a hash that can be tried
  std::string costliest;             // "yescrypt N=4096 r=32"
  std::chrono::nanoseconds costliest_time{0};
  std::chrono::nanoseconds most{0};  // of all threads together, if nobody's password is found
};

// Measures one guess of each kind. `users` outlives the plan.
[[nodiscard]] AuditPlan plan_audit(std::span<const StoredUser> users, std::size_t guesses);

struct AuditOptions {
  std::span<const std::string> words;  // domains and host name
  int year = 2026;
  std::size_t guesses = 1000;  // for each account
  std::size_t threads = 1;
};

// `found(name)` is called as they are found, one at a time, from any thread. Returns how many.
std::size_t run_audit(const AuditPlan& plan, const AuditOptions& options,
                      const std::function<void(std::string_view)>& found);

}  // namespace postern::net::users
