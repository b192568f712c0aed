// The decisions and every lookup they make allocate nothing: operator new is counted in this program.
#include <atomic>
#include <cstdlib>
#include <gtest/gtest.h>
#include <new>

#include "policy/guess_guard.h"
#include "policy/login_table.h"
#include "policy/policy_snapshot.h"
#include "policy/rate_limits.h"
#include "policy/relay_decision.h"

#include "tests/policy/support.h"

// The compiler sees malloc through one operator and free through another, and takes the pair for a mismatch.
#pragma GCC diagnostic ignored "-Wmismatched-new-delete"

namespace {
std::atomic<unsigned long> g_allocations{0};

void* counted(std::size_t bytes, std::size_t alignment) {
  g_allocations.fetch_add(1, std::memory_order_relaxed);
  void* memory = alignment <= alignof(std::max_align_t)
                     ? std::malloc(bytes > 0 ? bytes : 1)
                     : std::aligned_alloc(alignment, (bytes + alignment - 1) / alignment * alignment);
  if (memory == nullptr) throw std::bad_alloc();
  return memory;
}
}  // namespace

void* operator new(std::size_t bytes) {
  return counted(bytes, 1);
}
void* operator new[](std::size_t bytes) {
  return counted(bytes, 1);
}
void* operator new(std::size_t bytes, std::align_val_t alignment) {
  return counted(bytes, static_cast<std::size_t>(alignment));
}
void* operator new[](std::size_t bytes, std::align_val_t alignment) {
  return counted(bytes, static_cast<std::size_t>(alignment));
}
void operator delete(void* memory) noexcept {
  std::free(memory);
}
void operator delete[](void* memory) noexcept {
  std::free(memory);
}
void operator delete(void* memory, std::size_t) noexcept {
  std::free(memory);
}
void operator delete[](void* memory, std::size_t) noexcept {
  std::free(memory);
}
void operator delete(void* memory, std::align_val_t) noexcept {
  std::free(memory);
}
void operator delete[](void* memory, std::align_val_t) noexcept {
  std::free(memory);
}
void operator delete(void* memory, std::size_t, std::align_val_t) noexcept {
  std::free(memory);
}
void operator delete[](void* memory, std::size_t, std::align_val_t) noexcept {
  std::free(memory);
}

namespace postern::policy {
namespace {

using testing::at_second;
using testing::client_at;
using testing::mailbox;

static_assert(noexcept(decide_connect(std::declval<const PolicySnapshot&>(), std::declval<const ServicePolicy&>(),
                                      std::declval<const Client&>())));

TEST(NoAllocation, DecisionsAndLookups) {
  Settings settings = testing::base_settings();
  settings.local_domains.push_back("b\u00fccher.example");
  for (unsigned bits = 0; bits < 32; ++bits) {
    ServiceSettings& service = settings.services.emplace_back();
    service.name = "s";
    service.access = (bits & 1) != 0 ? std::vector<std::string>{"any"} : std::vector<std::string>{"192.168.0.0/16"};
    service.blacklist = {"192.0.2.99", "bad.example", "trap@example.net"};
    service.whitelist = {"good@bad.example", ".white.example"};
    service.relay.require_auth = (bits & 2) != 0;
    service.relay.after_login = (bits & 4) != 0;
    service.relay.non_local_senders = (bits & 8) != 0;
    service.relay.always_from_enabled = service.relay.always_to_enabled = (bits & 16) != 0;
    service.relay.always_from = {"203.0.113.0/24", "partner.example", ".below.example", "boss@example.net"};
    service.relay.always_to = {"backup.example", "192.0.2.200", "one@mixed.example"};
  }
  settings.routes.emplace_back().domain = ".below.example";
  settings.routes.emplace_back().domain = "*";
  const PolicySnapshot snapshot(settings);
  LoginTable logins({.machines = 1000, .window_seconds = 300, .ipv6_prefix = 64, .secret = 1});
  const std::string long_local(250, 'x');
  const std::string long_sender = long_local + "@mixed.example";

  const unsigned long before = g_allocations.load();
  std::size_t accepted = 0;
  for (std::size_t index = 0; index < snapshot.service_count(); ++index) {
    for (const char* address : {"192.168.1.1", "203.0.113.4", "192.0.2.99", "2001:db8:9::1"}) {
      Client client = client_at(address);
      client.host_name = "a.rather.long.host.name.of.a.client.below.example";
      logins.grant(client.address, static_cast<std::int64_t>(index));
      accepted += decide_connect(snapshot, snapshot.service(index), client).accepted() ? 1 : 0;
      for (const char* from : {"", "x@example.net", "boss@b\u00fccher.example", "a@deep.below.example",
                               "\"quoted\\ local part\"@partner.example", long_sender.c_str(), "x@bad..example"}) {
        accepted +=
            decide_sender(snapshot, snapshot.service(index), logins, at_second(20), client, mailbox(from)).accepted();
        for (const char* to : {"postmaster", "x@example.net", "x@BU\u0308CHER.example", "x@[IPv6:2001:db8::1]",
                               "x@[192.0.2.200]", "one@mixed.example", "x@remote.example", "a%b@example.net"}) {
          accepted += decide_recipient(snapshot, snapshot.service(index), logins, at_second(20), client, mailbox(from),
                                       mailbox(to), false)
                          .accepted();
          accepted += snapshot.route(DomainName(mailbox(to).domain)) >= 0 ? 1 : 0;
        }
      }
      logins.revoke(client.address);
    }
  }
  const unsigned long after = g_allocations.load();
  EXPECT_EQ(after - before, 0u);
  EXPECT_GT(accepted, 1000u);
  EXPECT_GT(before, 100u) << "the counter works";
}

TEST(NoAllocation, FailuresBarsAndQuotas) {
  GuessGuard guard({.key = {1}, .machines = 64});
  RateLimits limits({.key = {1}, .users = 64, .machines = 64, .senders = 64});
  GuardRules rules;
  rules.failures = 2;
  const std::string name(300, 'n');
  const QuotaSettings quota{.messages_per_hour = 5, .recipients_per_day = 9};
  const unsigned long before = g_allocations.load();
  std::size_t refused = 0;
  for (std::uint32_t i = 0; i < 5000; ++i) {  // far past what the tables hold
    core::IpAddress machine = core::IpAddress::from_v4(i / 3);
    if (i % 2 == 0) machine.bytes[0] = 0x20;  // an IPv6 address
    const core::Time now = at_second(i / 100);
    refused += guard.is_barred(rules, machine, now) ? 1 : 0;
    refused += guard.check_login(rules, name, machine, now) ? 1 : 0;
    guard.record_failure(rules, machine, name, now);
    if (i % 5 == 0) guard.record_success(rules, machine, name, now);
    refused += guard.is_known(rules, machine, name, now) ? 0 : 1;
    refused += limits.take({name, quota, &machine, quota}, 1, 2, now).allowed ? 0 : 1;
    refused += limits.peek({name, quota, &machine, quota}, 1, 2, now).allowed ? 0 : 1;
    refused += limits.note_machine(name, machine, now) > 20 ? 1 : 0;
  }
  EXPECT_EQ(g_allocations.load() - before, 0u);
  EXPECT_GT(refused, 1000u);
}

}  // namespace
}  // namespace postern::policy
