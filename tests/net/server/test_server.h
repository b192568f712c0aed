// The real server code of one worker, on the real ring, in a thread of a test: everything of `postern serve` except the
// settings file, the signals and the log's sink.
#pragma once

#include <atomic>
#include <filesystem>
#include <functional>
#include <memory>
#include <mutex>
#include <string>
#include <string_view>
#include <thread>
#include <vector>

#include "core/log.h"
#include "core/mesh.h"
#include "core/published.h"
#include "net/machine_limits.h"
#include "net/snapshot.h"
#include "net/tls/ticket_keys.h"
#include "net/users/credentials.h"
#include "net/worker_server.h"
#include "policy/guess_guard.h"
#include "policy/login_table.h"
#include "policy/rate_limits.h"
#include "policy/settings.h"
#include "policy/user.h"
#include "tests/net/server/test_client.h"

namespace postern::net::test {

// A folder that is gone with this object.
class ScratchFolder {
 public:
  ScratchFolder();
  ~ScratchFolder();
  [[nodiscard]] std::string path() const { return path_.string(); }

 private:
  std::filesystem::path path_;
};

struct TestUser {
  policy::UserRecord record;
  std::string password;
};

struct TestServerOptions {
  void (*thread_hook)() = nullptr;   // runs first in the worker's thread
  std::vector<TestUser> users = {};  // of the user store that is made in the spool's folder, where a service has AUTH
  users::CredentialOptions credentials = {};  // the store is filled in, unless `dovecot` is set
  bool guard = false;                // machines and names are barred
  bool keep_log = false;             // for logged()
};

// Where a service has TLS there is a certificate for mail.example.net, of the authority of tests/net/tls.
class TestServer {
 public:
  // Listens for the first service, and for each mailbox, on loopback ports.
  TestServer(policy::Settings settings, const std::string& spool, const TestServerOptions& options = {});
  ~TestServer();
  TestServer(const TestServer&) = delete;
  TestServer& operator=(const TestServer&) = delete;

  [[nodiscard]] std::uint16_t port() const { return port_; }
  [[nodiscard]] std::uint16_t mailbox_port(std::size_t mailbox = 0) const { return mailbox_ports_[mailbox]; }
  policy::LoginTable& logins() { return logins_; }
  policy::GuessGuard& guard() { return guard_; }
  // Readable from any thread.
  [[nodiscard]] const Counters& counters() const { return program_->counters(); }
  Shared& shared() { return shared_; }
  // Runs `function` in the worker's turn and waits for it.
  void on_worker(const std::function<void(WorkerServer&)>& function);
  // Another turn has begun and ended since the call: what the worker knows by now, it has acted on.
  void await_turn();
  // Lines of the log with this event (empty: all) since the last call, as they stand in a file. With keep_log.
  std::vector<std::string> logged(std::string_view event);
  // As SIGTERM begins it; stop() waits for the end.
  void begin_drain();
  // Drains and ends the thread.
  void stop();

 private:
  void open_users(const std::string& folder, const TestServerOptions& options, const policy::Settings& settings);
  void run(const std::string& spool, const TestServerOptions& options);
  void read_log(bool keep);

  core::ReaderDomain readers_{1};
  core::Mesh mesh_{1};
  tls::TicketKeys tickets_;
  core::Published<Snapshot> snapshot_;
  policy::GuessGuard guard_;
  policy::RateLimits rates_;
  std::unique_ptr<users::Credentials> credentials_;
  policy::LoginTable logins_;
  MachineLimits machines_;
  core::LogRing log_{1024};
  Shared shared_;
  WorkerServer* program_ = nullptr;
  std::uint16_t port_ = 0;
  std::vector<std::uint16_t> mailbox_ports_;
  std::atomic<bool> ready_{false};
  std::atomic<bool> stopping_{false};
  std::atomic<std::uint64_t> turns_{0};
  std::string failure_;
  std::mutex log_mutex_;
  std::vector<std::string> log_lines_;
  std::thread thread_;
};

}  // namespace postern::net::test
