// Dictionary-attack prevention: one table of failed logins for SMTP AUTH, POP3 and IMAP, and of who is barred for them.
//
// What is counted (docs/guard.md says the same to operators)
//   - A failure counts for its machine (IPv4 address; IPv6 /64), for the IPv6 /56 and /48 around it, and for the user
//     name that was tried. It counts while now < its second + within_seconds.
//   - The limits: `failures` for a machine and for a name, kNet56Factor times that for a /56, kNet48Factor times for a
//     /48: who rotates through the networks he was given has the guesses of 4 or 16 machines, and a neighbour is not
//     barred for one bad machine.
//   - The failure that reaches a limit makes a bar: refused while now < until. It uses up what was counted towards it.
//     While a bar lives nothing more is counted towards the same bar.
//   - A machine's or a network's bar is twice as long as its last one if that ended less than bar_max_seconds ago, and
//     never longer than bar_max_seconds. A name's bar does not grow: it would keep the user's own new machines out for
//     a day for what strangers did, and already at bar_seconds it leaves all strangers together `failures` guesses in
//     that time.
//   - A name's bar binds only machines that are not known for that name: no login as that name from there is remembered
//     that is younger than known_seconds. Failures of known machines do not count towards the name.
//   - The bar of a /56 or /48 does not bind a machine that is known for any name; its own bar does.
//   - A success takes back the failures of its machine under its name, wherever they count. Nothing else: with an
//     account of one's own nobody clears his guesses at other names. A live bar stays.
//   - Hosts in `never` are not counted and never refused, not by a name's bar either.
//   - "No verifier for this mechanism" must not be reported here at all.
//
// Bounds: everything is allocated at construction (memory_bytes()). What happens when something is full:
//   - failures: the oldest one is forgotten, counted (failures_forgotten).
//   - live bars: never evicted. A bar that finds no room falls on two places of a fixed overflow filter, chosen by a
//     keyed hash; who falls on two shut places is refused, unless he is known (a machine for any name; for a name's
//     bar: the machine for that name); counted (bars_in_overflow). So a flood can cost strangers a false refusal, and
//     neither memory nor a bar.
//   - ended bars, kept so that the next one doubles: the one that ended first goes, counted (histories_forgotten).
//   - known machines: of the places it may stand in, the oldest success goes, counted (known_forgotten).
//
// Threads: any. is_barred, is_name_barred, check_login, find_bar and is_known are wait-free: no lock, and no store but
//   a counter when they refuse. The rest takes one mutex, for about a microsecond; list, clear and serialize, which
//   walk everything, let go of it between pieces.
// Order: what returned from record_failure, record_success or clear is seen by every later question on every core.
// Time: boot seconds of the `now` handed in.
// Names: the caller gives the user's canonical name; ASCII case is ignored; an empty name is no name.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <span>
#include <string_view>

#include "core/clock.h"
#include "core/ip_address.h"
#include "core/result.h"
#include "policy/keyed_hash.h"
#include "policy/prefix_trie.h"

namespace postern::policy {

// From the settings file; lives in the snapshot, so that a reload counts at once.
struct GuardRules {
  // 0: nobody is barred and nothing is counted. To record a failure takes up to 16 times as many steps, and the log of
  // failures must have room for as many: thousands are no limit at all.
  std::uint32_t failures = 10;
  std::uint32_t within_seconds = 600;
  std::uint32_t bar_seconds = 900;
  std::uint32_t bar_max_seconds = 86400;
  std::uint32_t known_seconds = 30 * 86400;
  PrefixTrie never;
};

enum class BarKind : std::uint8_t { none, machine, net56, net48, name, overflow };
[[nodiscard]] std::string_view bar_kind_name(BarKind kind) noexcept;  // "machine", "net56", ... for logs and metrics

struct Bar {
  BarKind kind = BarKind::none;
  std::int64_t until_boot_seconds = 0;  // refused while now < until; 0: not barred

  explicit operator bool() const noexcept { return kind != BarKind::none; }
};

// What the bar of this kind on this client stands for, as text for a log line: the address or its /64, /56, /48.
[[nodiscard]] core::IpPrefix barred_network(BarKind kind, const core::IpAddress& client) noexcept;

// The bars that one failure made, for the log.
struct NewBars {
  std::array<Bar, 4> bars{};
  std::size_t count = 0;
  [[nodiscard]] std::span<const Bar> made() const noexcept { return {bars.data(), count}; }
};

struct GuessGuardOptions {
  // Secret, from the system's random numbers; the same one after a restart, or known machines are not found again.
  HashKey key{};
  // Live bars; twice as many failures and four times as many known logins are remembered. The default: about 16 MiB.
  std::size_t machines = 65536;
};

class GuessGuard {
 public:
  static constexpr std::uint32_t kNet56Factor = 4;
  static constexpr std::uint32_t kNet48Factor = 16;

  explicit GuessGuard(const GuessGuardOptions& options);
  ~GuessGuard();
  GuessGuard(const GuessGuard&) = delete;
  GuessGuard& operator=(const GuessGuard&) = delete;

  // --- questions: wait-free -----------------------------------------------------------------------------------------
  // At accept, before TLS. Never BarKind::name. Counts the refusal.
  [[nodiscard]] Bar is_barred(const GuardRules& rules, const core::IpAddress& client,
                              const core::Time& now) const noexcept;
  // At AUTH, before any password work. Only BarKind::name, or overflow when the name's bar found no room.
  [[nodiscard]] Bar is_name_barred(const GuardRules& rules, std::string_view user, const core::IpAddress& client,
                                   const core::Time& now) const noexcept;
  // Both, the machine first: for AUTH on a connection that was open before its machine was barred.
  [[nodiscard]] Bar check_login(const GuardRules& rules, std::string_view user, const core::IpAddress& client,
                                const core::Time& now) const noexcept;
  // The same without counting, for `explain`; `user` may be empty.
  [[nodiscard]] Bar find_bar(const GuardRules& rules, std::string_view user, const core::IpAddress& client,
                             const core::Time& now) const noexcept;
  // Did this machine log in as this user within known_seconds? The fast lane of the hash pool. An empty user: as
  // anybody.
  [[nodiscard]] bool is_known(const GuardRules& rules, const core::IpAddress& client, std::string_view user,
                              const core::Time& now) const noexcept;

  // --- what happened ------------------------------------------------------------------------------------------------
  // A password or proof was wrong, or the user does not exist (the same to us). Not for 454, not for a missing
  // verifier.
  NewBars record_failure(const GuardRules& rules, const core::IpAddress& client, std::string_view user,
                         const core::Time& now) noexcept;
  void record_success(const GuardRules& rules, const core::IpAddress& client, std::string_view user,
                      const core::Time& now) noexcept;

  // --- for operators ------------------------------------------------------------------------------------------------
  static constexpr std::size_t kNameShownMax = 55;
  struct Listed {
    BarKind kind = BarKind::none;
    core::IpPrefix network;       // machine, net56, net48
    std::string_view name;        // name: its first kNameShownMax octets, as the client sent them (escape them);
                                  // empty when only its hash is remembered
    std::uint64_t name_hash = 0;  // name
    std::int64_t remaining_seconds = 0;
    std::uint32_t bars = 0;  // which in a row of bars this one is; overflow (one line for the whole filter): how many
  };
  // Every live bar, in no order. The name is valid during the call.
  void list(const core::Time& now, const std::function<void(const Listed&)>& visit) const;
  // Lifts the bars of machines and networks in the prefix and forgets their failures and their former bars. For a
  // machine (a full-length address, or an IPv6 prefix of /64 and longer) also those of the /56 and /48 around it, and
  // its share of the overflow filter; for 0.0.0.0/0 or ::/0 the whole filter. Returns how many live bars were lifted.
  std::size_t clear(const core::IpPrefix& prefix, const core::Time& now);
  // The same for a name. What is known of its machines stays.
  std::size_t clear_name(std::string_view user, const core::Time& now);

  struct Counters {
    std::uint64_t failures = 0;                // counted
    std::uint64_t failures_never = 0;          // not counted: from hosts in `never`
    std::uint64_t failures_taken_back = 0;     // by a success
    std::uint64_t failures_forgotten = 0;      // still within the window, when the log of failures was full
    std::array<std::uint64_t, 6> bars_made{};  // by BarKind
    std::array<std::uint64_t, 6> refused{};    // by BarKind
    std::uint64_t bars_in_overflow = 0;
    std::uint64_t histories_forgotten = 0;
    std::uint64_t known_forgotten = 0;
  };
  [[nodiscard]] Counters counters() const noexcept;
  [[nodiscard]] std::size_t memory_bytes() const noexcept;

  // --- over a restart -----------------------------------------------------------------------------------------------
  // Bars, former bars and known machines; not the failures that made no bar yet. Times are kept as seconds that remain,
  // with the clocks of the moment: on the same boot (equal boot ids: /proc/sys/kernel/random/boot_id) what passed is
  // told by the boot clock, after a reboot by the wall clock, and a wall clock that went back counts as no time. `sink`
  // is called with pieces in order; all together are what restore() takes.
  using Sink = std::function<void(std::string_view octets)>;
  void serialize(const core::Time& now, std::string_view boot_id, const Sink& sink) const;
  struct Restored {
    std::size_t bars = 0;  // live ones
    std::size_t known = 0;
    std::size_t dropped = 0;  // hashes that were made with another key, and logins that found no room
  };
  // Into a guard that serves nobody yet. An error (truncated, altered, another format or version) says what is wrong,
  // and nothing was taken over.
  core::Result<Restored> restore(std::string_view octets, const core::Time& now, std::string_view boot_id);

 private:
  struct Implementation;
  class Restoring;
  std::unique_ptr<Implementation> implementation_;
};

}  // namespace postern::policy
