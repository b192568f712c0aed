#include "policy/sender_machines.h"

#include <algorithm>

namespace postern::policy {

SenderMachines::SenderMachines(std::size_t users, std::uint32_t window_seconds)
    : window_(window_seconds),
      groups_per_shard_(std::max<std::size_t>(
          2, (users + kSetsPerGroup * TwoChoices::kShards - 1) / (kSetsPerGroup * TwoChoices::kShards))),
      sets_(groups_per_shard_ * TwoChoices::kShards * kSetsPerGroup) {}

// The user's set, or one made empty for it: of the eight the one that was used longest ago.
SenderMachines::Set& SenderMachines::place(std::uint64_t user, std::uint32_t now, bool& given_up) noexcept {
  const TwoChoices places(user, groups_per_shard_);
  Set* oldest = nullptr;
  for (const std::size_t group : places.group) {
    for (std::size_t i = group * kSetsPerGroup; i < (group + 1) * kSetsPerGroup; ++i) {
      if (sets_[i].user == user) return sets_[i];
      if (oldest == nullptr || sets_[i].newest < oldest->newest) oldest = &sets_[i];
    }
  }
  given_up = is_live(oldest->newest, now);
  *oldest = Set{};
  oldest->user = user;
  return *oldest;
}

SenderMachines::Noted SenderMachines::note(std::uint64_t user, std::uint32_t tag, std::uint32_t now) noexcept {
  Noted noted;
  Set& set = place(user, now, noted.given_up);
  set.newest = std::max(set.newest, now);
  Machine* present = nullptr;
  Machine* oldest = &set.machines[0];
  std::uint32_t others = 0;
  for (Machine& machine : set.machines) {
    if (machine.second != 0 && machine.tag == tag) {
      present = &machine;
    } else if (is_live(machine.second, now)) {
      ++others;
    }
    if (machine.second < oldest->second) oldest = &machine;
  }
  if (present == nullptr) {
    if (others == kMachines) --others;  // the oldest one goes
    present = oldest;
    *present = {tag, now};
  }
  present->second = std::max(present->second, now);
  noted.machines = others + 1;
  return noted;
}

void SenderMachines::erase(std::uint64_t user) noexcept {
  const TwoChoices places(user, groups_per_shard_);
  for (const std::size_t group : places.group) {
    for (std::size_t i = group * kSetsPerGroup; i < (group + 1) * kSetsPerGroup; ++i) {
      if (sets_[i].user == user) sets_[i] = Set{};
    }
  }
}

std::size_t SenderMachines::memory_bytes() const noexcept {
  return sizeof(SenderMachines) + sets_.size() * sizeof(Set);
}

}  // namespace postern::policy
