// The POP3/IMAP front after the login, over the real ring: octets both ways and unchanged, back-pressure, slow readers, ends.
#include <algorithm>
#include <atomic>
#include <future>
#include <gtest/gtest.h>
#include <memory>
#include <string>
#include <sys/socket.h>
#include <sys/time.h>
#include <thread>
#include <vector>

#include "tests/net/server/front_support.h"
#include "tests/net/server/test_server.h"

namespace postern::net::test {
namespace {

using policy::MailboxProtocol;
using policy::TlsMode;

constexpr std::uint32_t kRingBuffers = 128;  // of TestServer

// Octets that tell where in the stream they belong.
std::string stream(std::size_t octets, std::uint32_t seed) {
  std::string text(octets, '\0');
  std::uint32_t state = seed;
  for (char& octet : text) {
    state = state * 1664525 + 1013904223;
    octet = static_cast<char>(state >> 24);
  }
  return text;
}

// Everything that the client gets until the end, or `octets` of it.
std::string read_all(TestClient& client, std::size_t octets = SIZE_MAX) {
  std::string all;
  while (all.size() < octets) {
    const std::string more = client.octets();
    if (more.empty()) break;
    all += more;
  }
  return all;
}

class Passing : public FrontServer, public testing::WithParamInterface<TlsMode> {
 protected:
  Passing() { mailbox().tls = GetParam(); }
};

TEST_P(Passing, MuchGoesBothWaysAtOnce) {
  const std::string down = stream(20'000'000, 1);
  const std::string up = stream(10'000'000, 2);
  const auto store_end = local_script([&](StorePeer& store) {
    store.take_login_pop3();
    std::thread sender([&] { store.send(down); });
    EXPECT_TRUE(store.octets(up.size()) == up) << "what the client sent";
    sender.join();
    EXPECT_EQ(store.line(), "QUIT");
  });
  start();
  const auto client = log_in();
  // TLS is one state machine: one thread at a time. Slices keep both directions busy.
  std::string received;
  if (GetParam() == TlsMode::none) {
    std::thread sender([&] { client->send(up); });
    received = read_all(*client, down.size());
    sender.join();
  } else {
    constexpr std::size_t kSlice = 100'000;
    for (std::size_t at = 0; at < up.size(); at += kSlice) {
      client->send(std::string_view(up).substr(at, kSlice));
      received += client->octets();
    }
    while (received.size() < down.size()) {
      const std::string more = client->octets();
      ASSERT_FALSE(more.empty());
      received += more;
    }
  }
  EXPECT_TRUE(received == down) << "what the store sent";
  client->send("QUIT\r\n");
  EXPECT_EQ(read_all(*client), "");
  EXPECT_EQ(server_->counters().mailbox_bytes_to_clients.get(), down.size());
  EXPECT_EQ(server_->counters().mailbox_bytes_to_stores.get(), up.size() + 6);
}

// A client that does not read holds the store back: a few buffers are all that waits here.
TEST_P(Passing, AClientThatDoesNotReadHoldsTheStoreBack) {
  const std::string down = stream(64'000'000, 3);
  std::promise<std::size_t> held_at;
  const auto store_end = local_script([&](StorePeer& store) {
    store.take_login_pop3();
    EXPECT_EQ(store.line(), "RETR 1");
    const std::size_t sent = store.send_until_blocked(down);
    held_at.set_value(sent);
    store.send(std::string_view(down).substr(sent));
    EXPECT_EQ(store.line(), "NOOP");
  });
  start();
  const auto client = log_in();
  client->send("RETR 1\r\n");
  EXPECT_LT(held_at.get_future().get(), down.size()) << "the store could send everything to nobody";
  server_->on_worker([](WorkerServer& worker) {
    EXPECT_GE(worker.ring().buffers_free(), kRingBuffers - HeldInput::kHeldMax - 1);
    EXPECT_LE(worker.fronts().pool().used_bytes(), 2U * 65536U);
  });
  // The other direction is not held up by this one.
  client->send("NOOP\r\n");
  await([](WorkerServer& worker) { return worker.counters().mailbox_bytes_to_stores.get() == 14; }, "the command to pass");
  EXPECT_TRUE(read_all(*client) == down);
}

TEST_P(Passing, AStoreThatDoesNotReadHoldsTheClientBack) {
  const std::string up = stream(64'000'000, 4);
  std::promise<void> go_on;
  const auto store_end = local_script([&](StorePeer& store) {
    store.take_login_pop3();
    store.send("+OK go\r\n");
    go_on.get_future().wait();
    EXPECT_TRUE(store.octets(up.size()) == up);
    store.send("+OK all\r\n");
  });
  start();
  const auto client = log_in();
  EXPECT_EQ(client->line(), "+OK go");
  const std::size_t sent = client->send_until_blocked(up);
  EXPECT_LT(sent, up.size());
  server_->on_worker([](WorkerServer& worker) {
    EXPECT_GE(worker.ring().buffers_free(), kRingBuffers - HeldInput::kHeldMax - 1);
    EXPECT_LE(worker.fronts().pool().used_bytes(), 2U * 65536U);
  });
  go_on.set_value();
  client->send_rest(up, sent);
  EXPECT_EQ(client->line(), "+OK all");
  EXPECT_EQ(client->line(), "(closed)");
}

TEST_P(Passing, AnIdleConnectionHoldsNothing) {
  constexpr int kClients = 30;
  store_script([](StorePeer& store) {
    store.take_login_pop3();
    EXPECT_EQ(store.line(), "NOOP");
    store.send("+OK\r\n");
    EXPECT_TRUE(store.ended());
  });
  start();
  std::vector<std::unique_ptr<TestClient>> clients;
  for (int i = 0; i < kClients; ++i) clients.push_back(log_in());
  server_->on_worker([](WorkerServer& worker) {
    EXPECT_EQ(worker.counters().mailbox_connections_open.get(), static_cast<std::uint64_t>(kClients));
    EXPECT_EQ(worker.ring().buffers_free(), kRingBuffers);
    EXPECT_EQ(worker.fronts().pool().used_bytes(), 0U);
    EXPECT_LE(sizeof(Front), 1024U);
  });
  for (const auto& client : clients) EXPECT_EQ(client->command("NOOP"), "+OK");
  server_->on_worker([](WorkerServer& worker) { EXPECT_EQ(worker.ring().buffers_free(), kRingBuffers); });
}

// --- ends ----------------------------------------------------------------------------------------------------------

TEST_P(Passing, TheStoresEndComesBehindItsLastOctet) {
  const std::string down = stream(3'000'000, 5);
  const auto store_end = local_script([&](StorePeer& store) {
    store.take_login_pop3();
    store.send(down);
    store.shut();
    EXPECT_TRUE(store.ended());
  });
  start();
  {
    const auto client = log_in();
    EXPECT_TRUE(read_all(*client) == down);
  }
  expect_all_gone();
}

TEST_P(Passing, TheClientsEndComesBehindItsLastOctet) {
  const std::string up = stream(3'000'000, 6);
  const auto store_end = local_script([&](StorePeer& store) {
    store.take_login_pop3();
    EXPECT_TRUE(store.octets(up.size()) == up);
    EXPECT_TRUE(store.ended());
    store.send("+OK all\r\n");  // the other direction is open still
  });
  start();
  const auto client = log_in();
  client->send(up);
  client->close_output();
  EXPECT_EQ(client->line(), "+OK all");
  EXPECT_EQ(client->line(), "(closed)");
}

TEST_P(Passing, AStoreThatIsLost) {
  store_script([](StorePeer& store) {
    store.take_login_pop3();
    EXPECT_EQ(store.line(), "NOOP");
    store.reset();
  });
  start();
  const auto client = log_in();
  client->send("NOOP\r\n");
  EXPECT_EQ(client->line(), "(closed)");
}

TEST_P(Passing, AClientThatIsLost) {
  store_script([](StorePeer& store) {
    store.take_login_pop3();
    EXPECT_EQ(store.line(), "NOOP");
    store.send("+OK\r\n");
    EXPECT_TRUE(store.ended());
  });
  start();
  const auto client = log_in();
  EXPECT_EQ(client->command("NOOP"), "+OK");
  client->reset();
  expect_all_gone();
}

// In the middle of a large mail, which nobody takes any more.
TEST_P(Passing, AClientThatIsLostWhileMuchIsOnItsWay) {
  const std::string down = stream(64'000'000, 7);
  const auto store_end = local_script([&](StorePeer& store) {
    store.take_login_pop3();
    store.send(down);
  });
  start();
  const auto client = log_in();
  EXPECT_FALSE(client->octets().empty());
  client->reset();
  expect_all_gone();
}

// What came behind the login in the same piece is handed on, from both sides.
TEST_P(Passing, WhatCameWithTheLoginIsPassedOn) {
  store_script([](StorePeer& store) {
    store.greet_pop3();
    EXPECT_EQ(store.line(), "USER anna@example.net");
    store.send("+OK\r\n");
    EXPECT_EQ(store.line(), "PASS secret");
    store.send("+OK Logged in.\r\n+OK hello\r\n");
    EXPECT_EQ(store.line(), "STAT");
    EXPECT_EQ(store.line(), "LIST");
    store.send("+OK done\r\n");
  });
  start();
  TestClient client("127.0.0.1", server_->mailbox_port());
  if (GetParam() == TlsMode::implicit) {
    ASSERT_TRUE(client.handshake());
  }
  EXPECT_TRUE(client.line().starts_with("+OK"));
  if (GetParam() == TlsMode::starttls) {
    EXPECT_TRUE(client.command("STLS").starts_with("+OK"));
    ASSERT_TRUE(client.handshake());
  }
  client.send("USER anna@example.net\r\nPASS secret\r\nSTAT\r\nLIST\r\n");
  EXPECT_TRUE(client.line().starts_with("+OK"));
  EXPECT_EQ(client.line(), "+OK Logged in.");
  EXPECT_EQ(client.line(), "+OK hello");
  EXPECT_EQ(client.line(), "+OK done");
}

// --- receive buffers are scarce ------------------------------------------------------------------------------------

// More slow readers than the ring has buffers for: their octets are copied, and others go on.
TEST_P(Passing, SlowReadersDoNotTakeAllReceiveBuffers) {
  constexpr std::size_t kSlow = 50;
  const std::string down = stream(12'000'000, 8);
  const auto store_end = local_script([&](StorePeer& store) {
    store.greet_pop3();
    EXPECT_EQ(store.line(), "USER anna@example.net");
    store.send("+OK\r\n");
    EXPECT_EQ(store.line(), "PASS secret");
    store.send("+OK Logged in.\r\n");
    const std::string command = store.line();
    if (command == "RETR 1") {
      store.wait_patiently();
      store.send(down);
    } else {
      EXPECT_EQ(command, "STAT");
      store.send("+OK 0 0\r\n");
    }
  });
  start();
  std::vector<std::unique_ptr<TestClient>> slow;
  for (std::size_t i = 0; i < kSlow; ++i) {
    slow.push_back(log_in());
    slow.back()->send("RETR 1\r\n");
  }
  await([](WorkerServer& worker) { return worker.counters().mailbox_slow_readers.get() >= kSlow / 2; }, "slow readers' copies");
  await([](WorkerServer& worker) { return worker.ring().buffers_free() >= kRingBuffers / 4; }, "receive buffers");
  const auto quick = log_in();
  EXPECT_EQ(quick->command("STAT"), "+OK 0 0");
  for (const auto& client : slow) EXPECT_TRUE(read_all(*client) == down);
}

INSTANTIATE_TEST_SUITE_P(Modes, Passing, testing::Values(TlsMode::none, TlsMode::starttls, TlsMode::implicit),
                         [](const auto& mode) {
                           return std::string(mode.param == TlsMode::none       ? "Plain"
                                              : mode.param == TlsMode::starttls ? "Starttls"
                                                                                : "Implicit");
                         });

// --- the server ends -----------------------------------------------------------------------------------------------

TEST_F(FrontServer, ADrainLetsFinishWhatIsUnderWay) {
  const std::string down = stream(30'000'000, 9);
  std::promise<void> draining;
  std::shared_future<void> is_draining(draining.get_future());
  const auto store_end = local_script([&](StorePeer& store) {
    store.greet_pop3();
    if (store.line() == "(closed)") return;
    store.send("+OK\r\n");
    store.line();
    store.send("+OK Logged in.\r\n");
    if (store.line() != "RETR 1") return;
    store.send(std::string_view(down).substr(0, 1'000'000));
    is_draining.wait();
    store.send(std::string_view(down).substr(1'000'000));
    store.ended();
  });
  start();
  TestClient outside("127.0.0.1", server_->mailbox_port());
  outside.line();
  const auto idle = log_in();
  const auto busy = log_in();
  busy->send("RETR 1\r\n");
  std::string received = read_all(*busy, 1'000'000);
  server_->begin_drain();
  EXPECT_EQ(outside.line(), "-ERR Server is shutting down");
  EXPECT_EQ(outside.line(), "(closed)");
  draining.set_value();
  received += read_all(*busy);
  EXPECT_TRUE(received == down) << received.size();
  EXPECT_EQ(idle->line(), "(closed)");
  server_->stop();
  server_.reset();
}

}  // namespace
}  // namespace postern::net::test
