// A mail store that is a script in a thread, and a server with a mailbox in front of it.
#pragma once

#include <atomic>
#include <functional>
#include <future>
#include <gtest/gtest.h>
#include <memory>
#include <mutex>
#include <string>
#include <string_view>
#include <thread>
#include <vector>

#include "policy/settings.h"
#include "tests/net/server/test_client.h"
#include "tests/net/server/test_server.h"

namespace postern::net::test {

// The store's end of one connection. Waits end after ten seconds, with "(timeout)".
class StorePeer {
 public:
  explicit StorePeer(int socket);
  ~StorePeer();
  StorePeer(const StorePeer&) = delete;
  StorePeer& operator=(const StorePeer&) = delete;

  // As TestClient has them.
  std::string line();
  void send(std::string_view octets);
  // Until not one more was taken for half a second; returns how many were.
  std::size_t send_until_blocked(std::string_view octets);
  // From now on a send waits for a slow reader as long as the test does.
  void wait_patiently();
  // Exactly so many octets; fewer at the end of the stream.
  std::string octets(std::size_t count);
  // Nothing more comes.
  bool ended();
  void shut();
  void reset();
  [[nodiscard]] int socket() const { return socket_; }

  // Through the front's set-up, up to a login. A POP3 store of few capabilities, an IMAP store with SASL-IR.
  void greet_pop3();
  void greet_imap();
  // ... and through a login of anna@example.net that is taken.
  void take_login_pop3();
  void take_login_imap();

 private:
  bool receive();

  int socket_;
  std::string received_;
  bool timed_out_ = false;
};

// Listens on a loopback port and runs the script once for each connection, in a thread of its own.
class FakeStore {
 public:
  using Script = std::function<void(StorePeer&)>;
  explicit FakeStore(Script script);
  ~FakeStore();
  FakeStore(const FakeStore&) = delete;
  FakeStore& operator=(const FakeStore&) = delete;

  [[nodiscard]] std::uint16_t port() const { return port_; }
  [[nodiscard]] std::size_t connections() const { return connections_.load(); }

 private:
  void run();

  Script script_;
  int listener_;
  std::uint16_t port_ = 0;
  std::atomic<std::size_t> connections_{0};
  std::mutex mutex_;
  std::vector<std::thread> peers_;
  std::thread thread_;
};

class FrontServer : public testing::Test {
 protected:
  FrontServer();
  void TearDown() override;

  void store_script(FakeStore::Script script) { store_ = std::make_unique<FakeStore>(std::move(script)); }
  // For a script that has the test's locals by reference: at the end of the scope waits for the script's.
  struct StoreEnd {
    std::unique_ptr<FakeStore>& store;
    ~StoreEnd() { store.reset(); }
  };
  [[nodiscard]] StoreEnd local_script(FakeStore::Script script) {
    store_script(std::move(script));
    return {store_};
  }
  policy::MailboxSettings& mailbox() { return settings_.mailboxes[0]; }
  void start(TestServerOptions options = {});
  // A client that has greeted and logged in.
  std::unique_ptr<TestClient> log_in(const std::string& source = "127.0.0.1", std::size_t mailbox = 0);
  // Waits until the worker's state is so.
  void await(const std::function<bool(WorkerServer&)>& condition, std::string_view what);
  [[nodiscard]] bool is_granted(std::string_view address);
  // The table's clock, seconds.
  [[nodiscard]] static std::int64_t client_time();
  // Nothing is left of any connection.
  void expect_all_gone();

  policy::Settings settings_;
  ScratchFolder folder_;
  std::unique_ptr<FakeStore> store_;
  std::unique_ptr<TestServer> server_;
};

}  // namespace postern::net::test
