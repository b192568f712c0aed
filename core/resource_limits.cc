#include "core/resource_limits.h"

#include <cerrno>
#include <limits>
#include <sys/prctl.h>
#include <sys/resource.h>

namespace postern::core {

namespace {

std::uint64_t as_number(rlim_t limit) {
  return limit == RLIM_INFINITY ? std::numeric_limits<std::uint64_t>::max() : limit;
}

}  // namespace

std::optional<std::string> descriptor_problem(std::uint64_t connections, std::uint64_t hard, std::uint64_t each) {
  const std::uint64_t needed = connections * each + kOtherDescriptors;
  if (hard >= needed) return std::nullopt;
  const std::string possible = std::to_string(hard > kOtherDescriptors ? (hard - kOtherDescriptors) / each : 0);
  return std::to_string(connections) + " connections" + (each == 1 ? "" : ", each with one to a mail store,") + " need " +
         std::to_string(needed) + " open files, and the hard limit (RLIMIT_NOFILE) is " + std::to_string(hard) +
         ": set LimitNOFILE=" + std::to_string(needed) +
         " or more in the unit ('ulimit -Hn' in a shell), or limits.connections to " + possible + " or less";
}

void forbid_core_dumps() {
  // The limit alone is not looked at when a program takes the dumps (core_pattern begins with '|').
  constexpr rlimit kNone{0, 0};
  (void)setrlimit(RLIMIT_CORE, &kNone);
  (void)prctl(PR_SET_DUMPABLE, 0, 0, 0, 0);
}

Result<std::uint64_t> reserve_descriptors(std::uint64_t connections, std::uint64_t each) {
  rlimit limit{};
  if (getrlimit(RLIMIT_NOFILE, &limit) != 0) return fail_errno("ask the limit of open files", errno);
  if (const auto problem = descriptor_problem(connections, as_number(limit.rlim_max), each))
    return fail(*problem, EMFILE);
  const std::uint64_t needed = connections * each + kOtherDescriptors;
  if (as_number(limit.rlim_cur) >= needed) return as_number(limit.rlim_cur);
  limit.rlim_cur = needed;
  if (setrlimit(RLIMIT_NOFILE, &limit) != 0) return fail_errno("raise the limit of open files", errno);
  return needed;
}

}  // namespace postern::core
