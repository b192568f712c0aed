// A server of one service with TLS and users, for tests over the real ring; and what such tests share.
#pragma once

#include <chrono>
#include <gtest/gtest.h>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "core/spool_dump.h"
#include "policy/settings.h"
#include "tests/net/server/test_server.h"

namespace postern::net::test {

// anna@example.net, secret
inline constexpr std::string_view kAuthPlain = "AUTH PLAIN AGFubmFAZXhhbXBsZS5uZXQAc2VjcmV0";
inline constexpr std::string_view kAuthWrong = "AUTH PLAIN AGFubmFAZXhhbXBsZS5uZXQAZ3Vlc3NlZA==";  // ... guessed

inline policy::Settings tls_settings(policy::TlsMode mode) {
  policy::Settings settings;
  settings.hostname = "mail.example.net";
  settings.local_domains = {"example.net"};
  settings.postmaster = "postmaster@example.net";
  settings.limits.connections = 1000;
  settings.limits.connections_per_machine = 1000;
  settings.limits.queue_messages = 10000;
  settings.queue.drain_seconds = 10;
  policy::ServiceSettings service;
  service.name = "submission";
  service.tls = mode;
  service.auth.mechanisms = {"SCRAM-SHA-256-PLUS", "SCRAM-SHA-256", "PLAIN", "LOGIN"};
  service.errors = 0;
  settings.services = {service};
  // A next hop that is not there: what was accepted stays in the spool, to be looked at.
  policy::RouteSettings route;
  route.domain = "*";
  route.to = {{policy::NextHopProtocol::smtp, "127.0.0.1", 1, core::IpAddress::from_v4(0x7f000001)}};
  settings.routes = {route};
  return settings;
}

inline TestServerOptions with_anna() {
  TestServerOptions options;
  policy::UserRecord anna;
  anna.name = "anna@example.net";
  anna.may_relay = true;
  options.users = {{anna, "secret"}};
  return options;
}

// Through greeting and handshake, up to where EHLO may come.
inline void open_tls(TestClient& client, policy::TlsMode mode, const tls::test::ClientOptions& options = {}) {
  if (mode == policy::TlsMode::starttls) {
    ASSERT_EQ(client.line().substr(0, 3), "220");
    ASSERT_EQ(client.command("STARTTLS"), "220 2.0.0 Ready to start TLS");
  }
  ASSERT_TRUE(client.handshake(options));
  if (mode == policy::TlsMode::implicit) {
    ASSERT_EQ(client.line().substr(0, 3), "220");
  }
}

// The contents of all messages in a spool that nobody uses, without our Received field.
inline std::vector<std::string> stored_contents(const std::string& spool) {
  std::vector<std::string> contents;
  const auto dumped = core::dump_spool(spool, [&contents](const core::DumpedItem& item) {
    EXPECT_EQ(item.damage, "");
    std::size_t end = item.body.find("\r\n");
    while (end + 2 < item.body.size() && (item.body[end + 2] == '\t' || item.body[end + 2] == ' ')) {
      end = item.body.find("\r\n", end + 2);
    }
    EXPECT_TRUE(item.body.starts_with("Received: "));
    contents.emplace_back(item.body.substr(end + 2));
  });
  EXPECT_TRUE(dumped.has_value());
  return contents;
}

// What connections own, when there is none.
inline void expect_nothing_held(TestServer& server) {
  server.on_worker([](WorkerServer& worker) {
    EXPECT_EQ(worker.tls_channels().in_use(), 0U);
    EXPECT_EQ(worker.credential_requests().in_use(), 0U);
    EXPECT_EQ(worker.intakes().in_use(), 0U);
    EXPECT_EQ(worker.session_pool().used_bytes(), 0U);
    EXPECT_EQ(worker.counters().connections_open.get(), 0U);
  });
}

// Ends when the server has noticed that its clients are gone.
inline void await_no_connections(TestServer& server) {
  const auto until = std::chrono::steady_clock::now() + std::chrono::seconds(20);
  while (server.counters().connections_open.get() != 0) {
    ASSERT_LT(std::chrono::steady_clock::now(), until) << "connections are left open";
    server.await_turn();
  }
}

}  // namespace postern::net::test
