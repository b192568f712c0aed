#include "net/users/audit.h"

#include <algorithm>
#include <atomic>
#include <map>
#include <memory>
#include <mutex>
#include <thread>

#include "net/users/guesses.h"
#include "net/users/password_hash.h"

namespace postern::net::users {
namespace {

using std::chrono::nanoseconds;
using std::chrono::steady_clock;

// Work is handed out in pieces of about this length, so that all threads end together, also for a single account.
constexpr nanoseconds kPieceTime = std::chrono::milliseconds(200);
constexpr std::size_t kPieceGuessesMin = 16;

Secret hash_of(std::string_view scheme, const Secret& verifier) {
  std::string text = std::string(scheme).append(verifier.view());
  Secret result(text);
  wipe(text);
  return result;
}

// Everything in the store that tells whether a guess is right.
std::vector<Secret> hashes_of(const StoredUser& user) {
  std::vector<Secret> hashes;
  const Verifiers& verifiers = user.verifiers;
  if (!verifiers.cram_md5.empty()) hashes.push_back(hash_of("{CRAM-MD5}", verifiers.cram_md5));
  if (!verifiers.scram_sha_256.empty()) hashes.push_back(hash_of("{SCRAM-SHA-256}", verifiers.scram_sha_256));
  if (!verifiers.scram_sha_1.empty()) hashes.push_back(hash_of("{SCRAM-SHA-1}", verifiers.scram_sha_1));
  if (!user.password_hash.empty()) hashes.push_back(user.password_hash);
  return hashes;
}

nanoseconds measure(std::string_view hash) {
  // The least of two: the first one warms up.
  nanoseconds least = nanoseconds::max();
  for (int i = 0; i < 2; ++i) {
    const auto begin = steady_clock::now();
    (void)verify(hash, "a guess of 20 octets");
    least = std::min<nanoseconds>(least, steady_clock::now() - begin);
  }
  return least;
}

struct Piece {
  std::size_t account = 0;
  std::size_t from = 0;
  std::size_t to = 0;
};

std::vector<Piece> pieces_of(const AuditPlan& plan, std::size_t guesses) {
  std::vector<Piece> pieces;
  for (std::size_t i = 0; i < plan.accounts.size(); ++i) {
    const nanoseconds guess = std::max(plan.accounts[i].guess_time, nanoseconds(1));
    const auto fitting = static_cast<std::size_t>(kPieceTime / guess);
    const std::size_t length = std::max(fitting, kPieceGuessesMin);
    for (std::size_t from = 0; from < guesses; from += length) {
      pieces.push_back({.account = i, .from = from, .to = std::min(from + length, guesses)});
    }
  }
  return pieces;
}

}  // namespace

AuditPlan plan_audit(std::span<const StoredUser> users, std::size_t guesses) {
  AuditPlan plan;
  std::map<std::string, nanoseconds> times;  // by kind of hash
  for (const StoredUser& user : users) {
    AuditPlan::Account account{.user = &user, .hash = {}};
    std::string kind;
    for (Secret& hash : hashes_of(user)) {
      const auto described = describe(hash.view());
      if (!described) continue;
      const std::string name = described->scheme + (described->cost.empty() ? "" : " ") + described->cost;
      const auto [known, is_new] = times.try_emplace(name, nanoseconds(0));
      if (is_new) known->second = measure(hash.view());
      if (!account.hash.empty() && known->second >= account.guess_time) continue;
      account.hash = std::move(hash);
      account.guess_time = known->second;
      kind = name;
    }
    if (account.hash.empty()) {
      plan.untried.push_back(user.record.name);
      continue;
    }
    plan.most += account.guess_time * static_cast<std::int64_t>(guesses);
    if (account.guess_time >= plan.costliest_time) {
      plan.costliest_time = account.guess_time;
      plan.costliest = kind;
    }
    plan.accounts.push_back(std::move(account));
  }
  return plan;
}

std::size_t run_audit(const AuditPlan& plan, const AuditOptions& options,
                      const std::function<void(std::string_view)>& found) {
  const std::vector<Piece> pieces = pieces_of(plan, options.guesses);
  const auto is_found = std::make_unique<std::atomic<bool>[]>(plan.accounts.size());
  std::atomic<std::size_t> next = 0;
  std::atomic<std::size_t> count = 0;
  std::mutex telling;
  const auto work = [&] {
    std::size_t listed = plan.accounts.size();  // whose guesses `guesses` are
    std::vector<std::string> guesses;
    for (std::size_t i = next++; i < pieces.size(); i = next++) {
      const Piece& piece = pieces[i];
      const AuditPlan::Account& account = plan.accounts[piece.account];
      if (listed != piece.account) {
        guesses = likely_passwords(account.user->record.name, options.words, options.year, options.guesses);
        listed = piece.account;
      }
      for (std::size_t g = piece.from; g < std::min(piece.to, guesses.size()); ++g) {
        if (is_found[piece.account]) break;
        if (verify(account.hash.view(), guesses[g]) != Match::yes) continue;
        if (is_found[piece.account].exchange(true)) break;
        ++count;
        const std::lock_guard lock(telling);
        found(account.user->record.name);
        break;
      }
    }
  };
  std::vector<std::jthread> threads;
  for (std::size_t i = 1; i < options.threads; ++i) threads.emplace_back(work);
  work();
  threads.clear();
  return count;
}

}  // namespace postern::net::users
