// What a server remembers over a restart, and what its caretaker does with the rest of it.
#include <cerrno>
#include <cstring>

#include "core/files.h"
#include "net/clock_now.h"
#include "net/server.h"
#include "net/state_files.h"

namespace postern::net {
namespace {

constexpr std::uint64_t kStateBytesMax = 4ull << 30;
// Logins are saved every second; when there are more than a small file holds, every ten.
constexpr std::size_t kLoginsEachSecond = 100'000;
constexpr std::size_t kLoginBytes = 9;  // of an IPv4 machine (login_table_state.cc)
constexpr std::int64_t kLoginsRestNs = 10 * core::kNanosecondsPerSecond;
constexpr std::size_t kKeysBytes = 2 * sizeof(policy::HashKey);

// Tells one run of the kernel from another: its boot clock begins anew.
std::string boot_id() {
  const auto text = read_file("/proc/sys/kernel/random/boot_id", 4096);
  return text ? *text : std::string();
}

// The keys of the tables' hashes: the same after a restart, or nothing in the saved tables would be found again.
core::Result<std::string> load_keys(const std::string& path) {
  auto keys = read_file(path, kKeysBytes);
  if (keys && keys->size() == kKeysBytes) return keys;
  if (!keys && keys.error().code != ENOENT) return keys;
  std::string fresh(kKeysBytes, '\0');
  core::files::fill_random(fresh);
  if (auto written = write_file(path, fresh); !written) return std::unexpected(written.error());
  return fresh;
}

}  // namespace

// A table that cannot be read is no reason not to serve: it fills again.
template <class Table>
void Server::restore(const char* name, Table& table) {
  const auto octets = read_file(state_folder_ + name, kStateBytesMax);
  if (!octets) {
    if (octets.error().code != ENOENT) log_line(core::Severity::error, "state_unreadable", octets.error().text);
    return;
  }
  if (const auto restored = table.restore(*octets, clock_now(), boot_id()); !restored) {
    log_line(core::Severity::error, "state_unreadable", state_folder_ + name + ": " + restored.error().text);
  }
}

// What was restored is something new to save_logins(): with the clocks of this boot, should the wall clock go back.
void Server::read_logins() { restore("/logins", logins_); }

void Server::save_logins(bool at_once) {
  const std::lock_guard lock(save_mutex_);
  const core::Time now = clock_now();
  const std::uint64_t changes = logins_.changes();
  if (changes == logins_saved_) return;
  const bool rests = logins_many_ && now.boot_ns - logins_saved_at_ns_ < kLoginsRestNs;
  if (rests && !at_once) return;
  std::string octets;
  logins_.serialize(now, boot_id(), [&octets](std::string_view piece) { octets += piece; });
  auto done = core::files::make_directory(state_folder_);  // where nothing else is remembered it may not be there
  if (done) done = write_file(state_folder_ + "/logins", octets);
  const std::string problem = done ? std::string() : done.error().text;
  if (!done && problem != logins_problem_) log_line(core::Severity::error, "state_unwritable", problem);
  logins_problem_ = problem;
  if (!done) return;
  logins_saved_ = changes;
  logins_saved_at_ns_ = now.boot_ns;
  logins_many_ = octets.size() > kLoginsEachSecond * kLoginBytes;
}

core::Result<void> Server::read_state() {
  if (auto made = core::files::make_directory(state_folder_); !made) return made;
  const auto keys = load_keys(state_folder_ + "/table-keys");
  if (!keys) return std::unexpected(keys.error());
  policy::GuessGuardOptions guard;
  guard.machines = settings_.guard.machines;
  std::memcpy(guard.key.data(), keys->data(), guard.key.size());
  guard_ = std::make_unique<policy::GuessGuard>(guard);
  policy::RateLimitsOptions rates;
  std::memcpy(rates.key.data(), keys->data() + guard.key.size(), rates.key.size());
  rates_ = std::make_unique<policy::RateLimits>(rates);

  restore("/guard", *guard_);
  restore("/quotas", *rates_);
  return {};
}

void Server::save_state() {
  if (guard_ == nullptr) return;
  const auto save = [this](const char* name, const auto& table) {
    std::string octets;
    table.serialize(clock_now(), boot_id(), [&octets](std::string_view piece) { octets += piece; });
    if (const auto written = write_file(state_folder_ + name, octets); !written) {
      log_line(core::Severity::error, "state_unwritable", written.error().text);
    }
  };
  save("/guard", *guard_);
  save("/quotas", *rates_);
}

void Server::renew_certificates() {
  const std::lock_guard lock(settings_mutex_);
  bool changed = false;
  for (const tls::Certificate& certificate : certificates_) changed |= certificate.files_changed();
  if (!changed) return;
  const auto renewed = publish(settings_);
  const std::string problem = renewed ? std::string() : renewed.error().text;
  if (renewed) log_line(core::Severity::info, "certificates_renewed", "");
  // Half a pair in place, say: the old ones go on serving, and it is tried again.
  if (!renewed && problem != certificate_problem_) log_line(core::Severity::error, "certificates_not_renewed", problem);
  certificate_problem_ = problem;
}

std::string Server::refresh_users() {
  if (credentials_ == nullptr) return {};
  const auto refreshed = credentials_->refresh();
  return refreshed ? std::string() : refreshed.error().text;
}

void Server::hold_accounts() {
  for (const auto& [user, why] : shared_->holds.take()) {
    if (credentials_ == nullptr) continue;
    const auto held = credentials_->hold(user);
    if (held && *held) log_line(core::Severity::warning, "account_held", user + ": " + why);
    if (!held) log_line(core::Severity::error, "account_not_held", user + ": " + held.error().text);
  }
}

}  // namespace postern::net
