// Compiling one service's lists; see the header.
#include "policy/service_policy.h"

#include <algorithm>
#include <vector>

namespace postern::policy {
namespace {

std::vector<std::string> only_if(bool ticked, const std::vector<std::string>& entries) {
  return ticked ? entries : std::vector<std::string>{};
}

bool admits_everyone(const std::vector<std::string>& access) {
  return std::find(access.begin(), access.end(), "any") != access.end();
}

}  // namespace

ServicePolicy::ServicePolicy(const ServiceSettings& settings)
    : settings_(settings),
      access_any_(admits_everyone(settings.access)),
      access_(only_if(!access_any_, settings.access)),
      blacklist_(settings.blacklist),
      whitelist_(settings.whitelist),
      always_from_(only_if(settings.relay.always_from_enabled, settings.relay.always_from)),
      always_to_(only_if(settings.relay.always_to_enabled, settings.relay.always_to)) {}

}  // namespace postern::policy
