// Any text as a settings file: parse_settings never crashes, says what is wrong with a place inside the text, and what it
// accepts can be compiled, checked and asked.
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <string_view>
#include <utility>

#include "policy/login_table.h"
#include "policy/policy_snapshot.h"
#include "policy/relay_decision.h"
#include "policy/settings.h"

namespace {

using namespace postern;

void require(bool holds) {
  if (!holds) std::abort();
}

void ask(const policy::PolicySnapshot& snapshot, std::string_view text) {
  static const policy::LoginTable logins({.machines = 1, .window_seconds = 300, .ipv6_prefix = 64, .secret = 1});
  policy::Client client;
  client.address = core::IpAddress::from_v4(0xc0000201);
  client.host_name = text.substr(0, 100);
  const std::size_t half = text.size() / 2;
  const policy::Mailbox sender{text.substr(0, half), "example.net"};
  const policy::Mailbox recipient{"user", text.substr(half)};
  for (std::size_t i = 0; i < snapshot.service_count(); ++i) {
    const policy::ServicePolicy& service = snapshot.service(i);
    (void)decide_connect(snapshot, service, client);
    (void)decide_sender(snapshot, service, logins, {}, client, sender);
    const auto verdict = decide_recipient(snapshot, service, logins, {}, client, sender, recipient, false);
    require(verdict.rule != policy::Rule::none);
    require(verdict.accepted() == verdict.text.empty());
  }
  const policy::DomainName domain(recipient.domain);
  require(policy::DomainName(domain.text()) == domain);
  require(snapshot.route(domain) < static_cast<int>(snapshot.settings().routes.size()));
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const std::string_view text(reinterpret_cast<const char*>(data), size);
  policy::ParsedSettings parsed = policy::parse_settings(text);
  for (const policy::Diagnostic& diagnostic : parsed.diagnostics) {
    require(!diagnostic.text.empty());
    require(!diagnostic.format("f").empty());
  }
  if (!parsed.ok()) return 0;
  (void)policy::check_settings(parsed.settings, parsed.settings.lan);
  const policy::PolicySnapshot snapshot(std::move(parsed.settings));
  ask(snapshot, text);
  return 0;
}
