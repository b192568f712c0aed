// The real server code of one worker, on the real ring, in a thread of a test: everything of `postern serve` except the
// settings file, the signals and the log's sink.
#pragma once

#include <atomic>
#include <filesystem>
#include <memory>
#include <string>
#include <thread>
#include <vector>

#include "core/log.h"
#include "core/mesh.h"
#include "core/published.h"
#include "net/machine_limits.h"
#include "net/snapshot.h"
#include "net/worker_server.h"
#include "policy/login_table.h"
#include "policy/settings.h"

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

class TestServer {
 public:
  // Listens for the first service on a loopback port. `thread_hook` runs first in the worker's thread.
  TestServer(policy::Settings settings, const std::string& spool, void (*thread_hook)() = nullptr);
  ~TestServer();
  TestServer(const TestServer&) = delete;
  TestServer& operator=(const TestServer&) = delete;

  [[nodiscard]] std::uint16_t port() const { return port_; }
  policy::LoginTable& logins() { return logins_; }
  // Readable from any thread.
  [[nodiscard]] const Counters& counters() const { return program_->counters(); }
  // Drains and ends the thread.
  void stop();

 private:
  void run(const std::string& spool, void (*thread_hook)());

  core::ReaderDomain readers_{1};
  core::Mesh mesh_{1};
  core::Published<Snapshot> snapshot_;
  policy::LoginTable logins_;
  MachineLimits machines_;
  core::LogRing log_{1024};
  Shared shared_;
  WorkerServer* program_ = nullptr;
  std::uint16_t port_ = 0;
  std::atomic<bool> ready_{false};
  std::atomic<bool> stopping_{false};
  std::string failure_;
  std::thread thread_;
};

// A client's blocking socket; every wait ends after ten seconds at most, with a failed test.
class TestClient {
 public:
  // `source`: the loopback address to speak from.
  TestClient(const std::string& source, std::uint16_t port);
  ~TestClient();
  TestClient(const TestClient&) = delete;
  TestClient& operator=(const TestClient&) = delete;

  void send(std::string_view octets);
  // The next line without its CRLF; "(closed)" at the end of the stream, "(timeout)" when nothing comes.
  std::string line();
  // The reply to one command: its last line.
  std::string command(std::string_view line);

 private:
  int socket_;
  std::string received_;
};

}  // namespace postern::net::test
