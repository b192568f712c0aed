// `postern user import`, `export` and `audit`: all users at once.
#include <algorithm>
#include <atomic>
#include <cerrno>
#include <chrono>
#include <cstdio>
#include <cstring>
#include <ctime>
#include <fmt/format.h>
#include <fstream>
#include <iostream>
#include <map>
#include <thread>

#include "net/admin/user_place.h"
#include "net/users/audit.h"
#include "net/users/password_hash.h"
#include "net/users/user_list.h"

namespace postern::net::admin {
namespace {

using users::Secret;
using users::StoredUser;
using users::StoreMode;
using users::UserStore;

constexpr std::size_t kLineBytesMax = 256 * 1024;  // a user with the most senders there can be
constexpr std::size_t kErrorsShown = 20;

std::size_t thread_count(std::size_t wanted) {
  return wanted != 0 ? wanted : std::max(1u, std::thread::hardware_concurrency());
}

// What a file of users says, line by line.
struct ImportList {
  std::vector<StoredUser> users;
  std::vector<std::size_t> lines;   // of each user
  std::vector<std::string> errors;  // "users.txt:12: ..."
  std::size_t error_count = 0;
  std::size_t dropped_cram = 0;

  void fail(const std::string& file, std::size_t line, std::string_view what) {
    if (++error_count <= kErrorsShown) errors.push_back(fmt::format("{}:{}: {}", file, line, what));
  }
};

// Verifiers that the settings do not want are left out; those that the hash is by itself are taken.
void complete_verifiers(StoredUser& user, const UserPlace& place, ImportList& list) {
  users::Verifiers& has = user.verifiers;
  if (!has.cram_md5.empty() && !place.kinds.cram_md5) {
    has.cram_md5 = Secret();
    ++list.dropped_cram;
  }
  users::Verifiers own = users::verifiers_of_hash(user.password_hash.view(), place.kinds);
  if (has.scram_sha_256.empty()) has.scram_sha_256 = std::move(own.scram_sha_256);
  if (has.scram_sha_1.empty()) has.scram_sha_1 = std::move(own.scram_sha_1);
  if (has.cram_md5.empty()) has.cram_md5 = std::move(own.cram_md5);
}

ImportList read_list(std::istream& input, const UserArguments& arguments, const UserPlace& place) {
  ImportList list;
  std::map<std::string, std::size_t> first_lines;
  std::string line;
  for (std::size_t number = 1; std::getline(input, line); ++number) {
    if (line.size() > kLineBytesMax) {
      list.fail(arguments.file, number, "longer than any user's line");
      continue;
    }
    auto parsed = users::parse_user_line(line);
    users::wipe(line);
    if (!parsed) {
      list.fail(arguments.file, number, parsed.error());
      continue;
    }
    if (!*parsed) continue;
    StoredUser& user = (*parsed)->user;
    if (!(*parsed)->says_relay) user.record.may_relay = arguments.may_relay.value_or(true);
    const auto [first, is_new] = first_lines.try_emplace(user.record.name, number);
    if (!is_new) {
      list.fail(arguments.file, number, fmt::format("{}: stands in line {} already", user.record.name, first->second));
      continue;
    }
    complete_verifiers(user, place, list);
    list.users.push_back(std::move(user));
    list.lines.push_back(number);
  }
  return list;
}

// Passwords in the clear become hashes before they are stored anywhere. Returns the index of a user whose password
// cannot be hashed, or the number of users.
std::size_t hash_plaintext(std::vector<StoredUser>& list, const UserPlace& place, std::size_t threads) {
  std::vector<std::size_t> plain;
  for (std::size_t i = 0; i < list.size(); ++i) {
    if (!users::plaintext_of(list[i].password_hash.view()).empty()) plain.push_back(i);
  }
  if (plain.empty()) return list.size();
  fmt::print(stderr, "{} of the passwords stand in the clear; they are hashed first, some {} ms each on {} threads\n",
             plain.size(), 100, threads);
  std::atomic<std::size_t> next = 0;
  std::atomic<std::size_t> failed = list.size();
  const auto work = [&] {
    for (std::size_t i = next++; i < plain.size(); i = next++) {
      StoredUser& user = list[plain[i]];
      const Secret password = users::plaintext_of(user.password_hash.view());
      auto hash = users::make(password.view());
      if (!hash) {
        failed = plain[i];
        continue;
      }
      user.password_hash = std::move(*hash);
      user.verifiers = users::derive_verifiers(password.view(), place.kinds);
    }
  };
  {
    std::vector<std::jthread> pool;
    for (std::size_t i = 1; i < threads; ++i) pool.emplace_back(work);
    work();
  }
  return failed;
}

int this_year() {
  const std::time_t now = std::time(nullptr);
  std::tm parts{};
  ::gmtime_r(&now, &parts);
  return parts.tm_year + 1900;
}

std::string duration_text(std::chrono::nanoseconds time) {
  const double seconds = std::chrono::duration<double>(time).count();
  if (seconds < 1) return "less than a second";
  if (seconds < 120) return fmt::format("{:.0f} seconds", seconds);
  if (seconds < 7200) return fmt::format("{:.0f} minutes", seconds / 60);
  if (seconds < 172800) return fmt::format("{:.1f} hours", seconds / 3600);
  return fmt::format("{:.1f} days", seconds / 86400);
}

}  // namespace

int import_users(const UserArguments& arguments, const UserPlace& place) {
  std::ifstream file;
  if (arguments.file != "-") {
    file.open(arguments.file);
    if (!file) return complain(fmt::format("{}: {}", arguments.file, std::strerror(errno)));
  }
  std::istream& input = arguments.file == "-" ? std::cin : file;
  ImportList list = read_list(input, arguments, place);
  if (input.bad()) return complain(arguments.file + ": cannot be read");
  if (list.error_count > 0) {
    for (const std::string& error : list.errors) complain(error);
    if (list.error_count > kErrorsShown) complain(fmt::format("and {} more", list.error_count - kErrorsShown));
    return complain("nothing was imported");
  }
  if (list.users.empty()) return complain(arguments.file + ": no user in it");
  auto store = UserStore::open(place.store, StoreMode::create);
  if (!store) return complain(store.error());
  std::size_t failed = hash_plaintext(list.users, place, thread_count(arguments.threads));
  if (failed < list.users.size()) {
    return complain(
        fmt::format("{}:{}: the password cannot be hashed; nothing was imported", arguments.file, list.lines[failed]));
  }
  if (const auto added = store->add_all(list.users, &failed); !added) {
    const std::string where =
        failed < list.lines.size() ? fmt::format("{}:{}: ", arguments.file, list.lines[failed]) : "";
    return complain(where + added.error() + "; nothing was imported");
  }
  fmt::print("{} users imported\n", list.users.size());
  if (list.dropped_cram > 0) {
    fmt::print("{} CRAM-MD5 verifiers were left out: users.cram_md5 is off\n", list.dropped_cram);
  }
  const auto is_weak = [](const StoredUser& user) { return users::needs_rehash(user.password_hash.view()); };
  if (const auto weak = std::count_if(list.users.begin(), list.users.end(), is_weak); weak > 0) {
    fmt::print("{} have a hash that is weak by now ('postern user list' says which)\n", weak);
  }
  return 0;
}

int export_users(const UserArguments& arguments, const UserPlace& place) {
  if (!arguments.with_hashes) {
    return complain("an export holds everybody's password hashes; say --with-hashes if that is meant");
  }
  auto store = UserStore::open(place.store, StoreMode::read_only);
  if (!store) return complain(store.error());
  bool is_written = true;
  const auto exported = store->for_each([&is_written](const StoredUser& user) {
    const Secret line = users::user_line(user);
    is_written =
        std::fwrite(line.view().data(), 1, line.size(), stdout) == line.size() && std::fputc('\n', stdout) != EOF;
    return is_written;
  });
  if (!exported) return complain(exported.error());
  if (!is_written || std::fflush(stdout) != 0) return complain("standard output cannot be written");
  return 0;
}

int audit_users(const UserArguments& arguments, const UserPlace& place) {
  auto store = UserStore::open(place.store, StoreMode::read_only);
  if (!store) return complain(store.error());
  std::vector<StoredUser> all;
  if (arguments.name.empty()) {
    const auto read = store->for_each([&all](const StoredUser& user) {
      all.push_back(user);
      return true;
    });
    if (!read) return complain(read.error());
  } else {
    auto user = store->find(arguments.name);
    if (!user) return complain(user.error());
    if (!*user) return complain(no_such_user(arguments.name));
    all.push_back(std::move(**user));
  }
  const users::AuditOptions options{.words = place.words,
                                    .year = this_year(),
                                    .guesses = arguments.guesses,
                                    .threads = thread_count(arguments.threads)};
  const users::AuditPlan plan = users::plan_audit(all, options.guesses);
  for (const std::string& name : plan.untried) complain(name + ": has no password hash that can be tried");
  if (!plan.accounts.empty()) {
    fmt::print(stderr,
               "trying at most {} guesses for each of {} accounts, on {} threads: {} at most (the slowest hash is {}, "
               "{:.3g} ms a guess)\n",
               options.guesses, plan.accounts.size(), options.threads,
               duration_text(plan.most / static_cast<std::int64_t>(options.threads)), plan.costliest,
               std::chrono::duration<double, std::milli>(plan.costliest_time).count());
  }
  const std::size_t count = users::run_audit(plan, options, [](std::string_view name) {
    fmt::print("{}\n", name);
    std::fflush(stdout);
  });
  fmt::print(stderr, "{} of {} accounts have a password that is easy to guess\n", count, plan.accounts.size());
  return count > 0 ? kAuditFound : 0;
}

}  // namespace postern::net::admin
