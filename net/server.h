// The whole server: its threads, their start, a reload, the drain, the end. Wires everything together; `main` and the
// demo own one.
//
// Order of a start: descriptors, log, workers (each makes its ring and recovers its spool in its own thread), and only
// when all have their spools (so that a second instance on the same spool stops here and takes no connection) the
// listeners. Order of an end: no new connections, sessions and deliveries end in their own time, spools are written
// out, threads end; what is not done by the deadline waits on disk for the next start.
// Thread: start, reload, stop from one (main); on_worker from any.
#pragma once

#include <atomic>
#include <chrono>
#include <condition_variable>
#include <cstdint>
#include <functional>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <string_view>
#include <thread>
#include <vector>

#include "core/log.h"
#include "core/mesh.h"
#include "core/published.h"
#include "core/result.h"
#include "net/machine_limits.h"
#include "net/resolver.h"
#include "net/snapshot.h"
#include "net/worker_server.h"
#include "policy/login_table.h"

namespace postern::net {

struct ListeningAddress {
  std::string service;
  core::Endpoint endpoint;  // the port as it is, where the settings say 0
};

class Server {
 public:
  // Requires settings that parsed and checked without an error.
  static core::Result<std::unique_ptr<Server>> start(policy::Settings settings);
  // Waits for stop() to have ended the workers.
  ~Server();
  Server(const Server&) = delete;
  Server& operator=(const Server&) = delete;

  // Takes new settings without dropping a connection. Error: something changed that needs a restart; says what.
  core::Result<void> reload(policy::Settings settings);
  // Drains, for at most settings.queue.drain_seconds. True: everything ended in its own time. False: the kernel may
  // still write to what was under way, so nothing of it may be destroyed: call abandon().
  [[nodiscard]] bool stop();
  // Writes out the log and ends the process.
  [[noreturn]] void abandon(int status);
  void reopen_log() { log_->reopen(); }
  // A line of the starting thread's own in the log.
  void log_line(core::Severity severity, const char* event, std::string_view note);
  // "listening" for each listener, then "ready".
  void log_ready();

  [[nodiscard]] const std::vector<ListeningAddress>& addresses() const { return addresses_; }
  [[nodiscard]] std::size_t workers() const { return threads_.size(); }

  // Runs `function` in a worker's turn and waits for it. False: the worker did not come to it in time.
  bool on_worker(std::size_t worker, std::function<void(WorkerServer&)> function);

 private:
  explicit Server(policy::Settings settings, std::size_t workers);
  core::Result<void> start_workers();
  core::Result<void> start_listeners();
  void run_worker(std::size_t index);
  void report(std::size_t index, core::Result<void> outcome, std::vector<std::string> notes);

  core::ReaderDomain readers_;
  core::Mesh mesh_;
  std::unique_ptr<core::Log> log_;
  core::Published<Snapshot> snapshot_;
  policy::Settings settings_;            // as they were published last
  policy::LoginTable logins_;
  MachineLimits machines_;
  std::unique_ptr<Resolver> resolver_;
  std::unique_ptr<Shared> shared_;
  std::vector<std::thread> threads_;
  std::vector<ListeningAddress> addresses_;

  // Between the starting thread and the workers.
  std::mutex mutex_;
  std::condition_variable changed_;
  std::size_t reported_ = 0;
  std::optional<core::Error> start_error_;
  std::vector<std::string> notes_;
  std::atomic<bool> give_up_{false};               // the start failed: workers end at once
  std::vector<std::atomic<bool>> drained_;
  std::atomic<bool> all_in_time_{true};
  std::atomic<std::int64_t> drain_deadline_ns_{0};
};

}  // namespace postern::net
