// What the guess guard, the quotas and the login table read back after a restart: the octets as they are, and the same as the records of
// a well-framed file, so that the checksum does not keep everything out. Whatever is taken over works, and is written
// as it was read.
#include <cstdint>
#include <string>
#include <string_view>

#include "core/assert.h"
#include "core/crc32c.h"
#include "policy/guess_guard.h"
#include "policy/login_table.h"
#include "policy/rate_limits.h"

namespace {

using namespace postern;

constexpr std::string_view kBoot = "boot";
constexpr std::size_t kTrailerBytes = 12;

core::Time at_second(std::int64_t second) {
  return {.boot_ns = second * core::kNanosecondsPerSecond, .unix_ns = second * core::kNanosecondsPerSecond};
}

std::string with_trailer(std::string body) {
  const auto append = [&body](std::uint64_t value, int octets) {
    for (int i = 0; i < octets; ++i) body.push_back(static_cast<char>(value >> 8 * i));
  };
  append(body.size(), 8);
  append(core::crc32c(0, body), 4);
  return body;
}

// A saved table without records, and then the records given.
template <class Table>
std::string framed(const Table& empty, std::string_view records) {
  std::string octets;
  empty.serialize(at_second(1000), kBoot, [&](std::string_view piece) { octets.append(piece); });
  octets.resize(octets.size() - kTrailerBytes);
  return with_trailer(octets.append(records));
}

template <class Table>
std::size_t saved_bytes(const Table& table, const core::Time& now) {
  std::size_t bytes = 0;
  table.serialize(now, kBoot, [&](std::string_view piece) { bytes += piece.size(); });
  return bytes;
}

void try_guard(std::string_view octets) {
  policy::GuessGuard guard({.key = {1, 2, 3}, .machines = 8});
  const std::size_t before = saved_bytes(guard, at_second(1010));
  const auto restored = guard.restore(octets, at_second(1010), kBoot);
  if (!restored) {
    POSTERN_ASSERT(!restored.error().text.empty());
    POSTERN_ASSERT(saved_bytes(guard, at_second(1010)) == before);
    return;
  }
  std::size_t bars = 0;
  guard.list(at_second(1010), [&](const policy::GuessGuard::Listed& bar) {
    POSTERN_ASSERT(bar.remaining_seconds > 0);
    ++bars;
  });
  POSTERN_ASSERT(bars <= restored->bars + 1);
  std::string again;
  guard.serialize(at_second(1010), kBoot, [&](std::string_view piece) { again.append(piece); });
  policy::GuessGuard second({.key = {1, 2, 3}, .machines = 8});
  POSTERN_ASSERT(second.restore(again, at_second(1010), kBoot).has_value());
  guard.clear({{}, 0}, at_second(1010));
  guard.clear({core::IpAddress::from_v4(0), 96}, at_second(1010));
  const policy::GuardRules rules;
  for (int i = 0; i < 10; ++i) guard.record_failure(rules, core::IpAddress::from_v4(7), "bob", at_second(1010));
  POSTERN_ASSERT(guard.is_barred(rules, core::IpAddress::from_v4(7), at_second(1010)));
}

void try_quotas(std::string_view octets) {
  policy::RateLimits limits({.key = {1, 2, 3}, .users = 8, .machines = 8, .senders = 8});
  const std::size_t before = saved_bytes(limits, at_second(1010));
  const auto restored = limits.restore(octets, at_second(1010), kBoot);
  if (!restored) {
    POSTERN_ASSERT(!restored.error().text.empty());
    POSTERN_ASSERT(saved_bytes(limits, at_second(1010)) == before);
    return;
  }
  // Nobody owes more than a whole quota: a day later nothing is left.
  POSTERN_ASSERT(saved_bytes(limits, at_second(1010 + 86400)) == before);
  const policy::RateLimits::Sender sender{
      .user = "bob", .user_quota = {.messages_per_day = 1}, .machine = nullptr, .machine_quota = {}};
  POSTERN_ASSERT(limits.take(sender, 1, 1, at_second(1010 + 86400)).allowed);
  POSTERN_ASSERT(!limits.take(sender, 1, 1, at_second(1010 + 86400)).allowed);
}

policy::LoginTableOptions login_options() {
  return {.machines = 256, .window_seconds = 300, .ipv6_prefix = 64, .secret = 7};
}

void try_logins(std::string_view octets) {
  policy::LoginTable table(login_options());
  const auto restored = table.restore(octets, at_second(1010), kBoot);
  if (!restored) {
    POSTERN_ASSERT(!restored.error().text.empty());
    POSTERN_ASSERT(table.live(0).empty());
    return;
  }
  POSTERN_ASSERT(table.live(1010).size() <= restored->machines);
  POSTERN_ASSERT(table.live(1010 + 7 * 86400).empty());  // no grant is longer than any was
  policy::LoginTable second(login_options());
  std::string again;
  table.serialize(at_second(1010), kBoot, [&](std::string_view piece) { again.append(piece); });
  const auto taken = second.restore(again, at_second(1010), kBoot);
  POSTERN_ASSERT(taken && taken->machines == table.live(1010).size());
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  if (size == 0) return 0;
  static const policy::GuessGuard guard({.key = {1, 2, 3}, .machines = 8});
  static const policy::RateLimits limits({.key = {1, 2, 3}, .users = 8, .machines = 8, .senders = 8});
  static const policy::LoginTable logins(login_options());
  const std::string_view input(reinterpret_cast<const char*>(data) + 1, size - 1);
  switch (data[0] % 9) {
    case 0:
      try_guard(input);
      break;
    case 1:
      try_quotas(input);
      break;
    case 2:
      try_guard(framed(guard, input));
      break;
    case 3:
      try_quotas(framed(limits, input));
      break;
    case 4:
      try_guard(with_trailer("PSTNGARD" + std::string(input)));
      break;
    case 5:
      try_quotas(with_trailer("PSTNRATE" + std::string(input)));
      break;
    case 6:
      try_logins(input);
      break;
    case 7:
      try_logins(framed(logins, input));
      break;
    default:
      try_logins(with_trailer("PSTNLOGN" + std::string(input)));
  }
  return 0;
}
