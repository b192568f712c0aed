// Dovecot's auth-policy requests. The first octet says which command the rest is the body of. Nothing but a report that
// has the words for it is ever a login, and what is acted upon has a machine.
#include <cstdint>
#include <string>
#include <string_view>

#include "core/assert.h"
#include "net/admin/auth_policy.h"
#include "policy/user.h"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using namespace postern;
  using Act = net::admin::AuthPolicyDecision::Act;
  if (size == 0) return 0;
  const bool is_report = data[0] % 2 == 0;
  const std::string body(reinterpret_cast<const char*>(data) + 1, size - 1);
  std::string scratch = body;
  const auto decision = net::admin::decide_auth_policy(is_report ? "report" : "allow", scratch);
  POSTERN_ASSERT(decision.user.size() <= policy::kUserNameBytesMax);
  POSTERN_ASSERT(decision.act != Act::refuse || !decision.why.empty());
  POSTERN_ASSERT(is_report || decision.act == Act::refuse || decision.act == Act::ignore || decision.act == Act::check);
  POSTERN_ASSERT(!is_report || decision.act != Act::check);
  if (decision.act == Act::login) {
    POSTERN_ASSERT(!decision.user.empty());
    POSTERN_ASSERT(body.find("true") != body.npos);
    POSTERN_ASSERT(body.find('\\') != body.npos || body.find("\"protocol\"") != body.npos);
  }
  // The same request, the same answer.
  scratch = body;
  const auto again = net::admin::decide_auth_policy(is_report ? "report" : "allow", scratch);
  POSTERN_ASSERT(again.act == decision.act && again.machine == decision.machine && again.user == decision.user);
  return 0;
}
