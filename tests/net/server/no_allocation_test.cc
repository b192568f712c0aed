// Between the receive of a message and its 250, and on to the next hop, nothing is allocated once the server is warm.
//
// malloc itself is replaced in this program (it has no mimalloc and no sanitizer), so that what libraries allocate counts
// as well. Only the worker's thread is counted.
#include <algorithm>
#include <array>
#include <chrono>
#include <cstdint>
#include <atomic>
#include <gtest/gtest.h>
#include <string>
#include <sys/socket.h>
#include <thread>
#include <unistd.h>

#include "core/pool.h"
#include "core/ring.h"
#include "net/admin/sink.h"
#include "tests/net/server/test_server.h"

namespace {

std::atomic<std::uint64_t> g_allocations{0};
thread_local bool t_counted = false;

void count() {
  if (t_counted) g_allocations.fetch_add(1, std::memory_order_relaxed);
}

}  // namespace

// glibc's own, under the names it keeps for replacements.
extern "C" {
void* __libc_malloc(std::size_t);
void* __libc_calloc(std::size_t, std::size_t);
void* __libc_realloc(void*, std::size_t);
void* __libc_memalign(std::size_t, std::size_t);

__attribute__((visibility("default"))) void* malloc(std::size_t bytes) {
  count();
  return __libc_malloc(bytes);
}
__attribute__((visibility("default"))) void* calloc(std::size_t n, std::size_t bytes) {
  count();
  return __libc_calloc(n, bytes);
}
__attribute__((visibility("default"))) void* realloc(void* old, std::size_t bytes) {
  count();
  return __libc_realloc(old, bytes);
}
__attribute__((visibility("default"))) void* aligned_alloc(std::size_t alignment, std::size_t bytes) {
  count();
  return __libc_memalign(alignment, bytes);
}
}

namespace postern::net::test {
namespace {

policy::Settings settings_with_hop(std::uint16_t port) {
  policy::Settings settings;
  settings.hostname = "mail.example.net";
  settings.local_domains = {"example.net"};
  settings.postmaster = "postmaster@example.net";
  settings.lan = {*core::IpPrefix::parse("127.0.0.0/8")};
  settings.limits.connections = 100;
  settings.limits.queue_messages = 1000;
  policy::ServiceSettings service;
  service.name = "smtp";
  settings.services.push_back(service);
  policy::RouteSettings route;
  route.domain = "*";
  route.connections = 1;
  route.messages_per_connection = 1000000;
  route.to = {{policy::NextHopProtocol::smtp, "127.0.0.1", port, core::IpAddress::from_v4(0x7f000001)}};
  settings.routes = {route};
  return settings;
}

void hand_in(TestClient& client, int messages, const std::string& body) {
  for (int i = 0; i < messages; ++i) {
    client.send("MAIL FROM:<a@example.net>\r\nRCPT TO:<b@elsewhere.example>\r\nRCPT TO:<c@elsewhere.example>\r\nDATA\r\n");
    for (int reply = 0; reply < 3; ++reply) ASSERT_EQ(client.line().substr(0, 3), "250");
    ASSERT_EQ(client.line().substr(0, 3), "354");
    client.send(body + ".\r\n");
    ASSERT_EQ(client.line().substr(0, 3), "250");
  }
}

void wait_delivered(const TestServer& server, std::uint64_t recipients) {
  const auto until = std::chrono::steady_clock::now() + std::chrono::seconds(20);
  while (server.counters().recipients_delivered.get() < recipients) {
    ASSERT_LT(std::chrono::steady_clock::now(), until) << "the next hop did not get everything";
    std::this_thread::yield();
  }
}

TEST(NoAllocation, FromReceiveToTheNextHop) {
  auto sink = Sink::start("elsewhere.example");
  ASSERT_TRUE(sink.has_value());
  const ScratchFolder spool;
  TestServer server(settings_with_hop((*sink)->port()), spool.path(), {.thread_hook = [] { t_counted = true; }});
  {
    TestClient client("127.0.0.1", server.port());
    client.line();
    client.command("EHLO client.example");
    const std::string small = "Subject: x\r\n\r\n" + std::string(1000, 'x').insert(500, "\r\n") + "\r\n";
    std::string large = "Subject: y\r\n\r\n";
    for (int i = 0; i < 500; ++i) large += std::string(98, 'y') + "\r\n";
    // Warm: every pool, table and segment has had its turn.
    hand_in(client, 300, small);
    hand_in(client, 100, large);
    wait_delivered(server, 800);
    EXPECT_GT(g_allocations.load(), 0U) << "the counter does not count";
    // What a message allocates shows in every window; housekeeping (a segment that is made) only in some.
    std::uint64_t least = UINT64_MAX;
    for (std::uint64_t window = 1; window <= 5 && least != 0; ++window) {
      const std::uint64_t before = g_allocations.load();
      hand_in(client, 100, small);
      hand_in(client, 20, large);
      wait_delivered(server, 800 + window * 240);
      least = std::min(least, g_allocations.load() - before);
    }
    EXPECT_EQ(least, 0U) << "allocations while 120 messages went through";
    client.command("QUIT");
  }
  server.stop();
}

}  // namespace
}  // namespace postern::net::test
