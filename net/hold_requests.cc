#include "net/hold_requests.h"

#include <algorithm>
#include <utility>

namespace postern::net {

void HoldRequests::add(std::string_view user, std::string_view why) {
  const std::lock_guard lock(mutex_);
  if (requests_.size() >= kMax) return;
  const bool waits = std::any_of(requests_.begin(), requests_.end(), [&](const Request& each) { return each.user == user; });
  if (!waits) requests_.push_back({std::string(user), std::string(why)});
}

std::vector<HoldRequests::Request> HoldRequests::take() {
  const std::lock_guard lock(mutex_);
  return std::exchange(requests_, {});
}

}  // namespace postern::net
