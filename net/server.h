// The whole server: its threads, their start, a reload, the drain, the end. Wires everything together; `main` and the
// demo own one.
//
// Order of a start: descriptors, log, workers (each makes its ring and recovers its spool in its own thread), and only
// when all have their spools (so that a second instance on the same spool stops here and takes no connection) the
// listeners. Order of an end: no new connections, sessions and deliveries end in their own time, spools are written
// out, threads end; what is not done by the deadline waits on disk for the next start.
// Thread: start, reload, stop from one (main); what others ask from any; what the caretaker does, from it.
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
#include "net/caretaker.h"
#include "net/machine_limits.h"
#include "net/security.h"
#include "net/snapshot.h"
#include "net/worker_server.h"
#include "net/tls/ticket_keys.h"
#include "net/users/credentials.h"
#include "policy/guess_guard.h"
#include "policy/login_table.h"
#include "policy/rate_limits.h"

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

  // --- what others ask: the control socket, the HTTP listener ---------------------------------------------------------
  // nullptr: no service offers AUTH, and no feed reports logins.
  [[nodiscard]] policy::GuessGuard* guard() { return guard_.get(); }
  [[nodiscard]] policy::LoginTable& logins() { return logins_; }
  [[nodiscard]] const LoginRecords& login_records() const { return shared_->login_records; }
  // Grants, logs, counts.
  void record_login(LoginSource source, const core::IpAddress& machine, std::string_view user,
                    std::uint32_t seconds = 0);
  // Runs `look` on the settings of the moment; they live until it returns. One caller at a time.
  void with_snapshot(const std::function<void(const Snapshot&)>& look);
  // Runs `write` on the log of all threads that are no workers.
  void with_log(const std::function<void(core::LogRing&)>& write);
  [[nodiscard]] bool is_draining() const { return draining_.load(std::memory_order_acquire); }
  // Runs `function` in a worker's turn and waits for it. False: the worker did not come to it in time, or has ended, and it
  // never will run: it may refer to what is the caller's.
  bool on_worker(std::size_t worker, std::function<void(WorkerServer&)> function,
                 std::chrono::seconds patience = std::chrono::seconds(10));

  // --- the caretaker's ------------------------------------------------------------------------------------------------
  // Takes in certificates and keys whose files have changed. What is wrong with them is logged, and the old ones stay.
  void renew_certificates();
  // Empty: all is well. Else what is wrong with the user store.
  [[nodiscard]] std::string refresh_users();
  // Those that the workers asked for.
  void hold_accounts();
  // Bars and quotas, for the next start.
  void save_state();
  // Logins, when there are new ones; once a second is often enough. With `at_once`, however many there are.
  void save_logins(bool at_once = false);

  [[nodiscard]] const std::vector<ListeningAddress>& addresses() const { return addresses_; }
  [[nodiscard]] std::size_t workers() const { return threads_.size(); }

 private:
  explicit Server(policy::Settings settings, std::size_t workers);
  core::Result<void> start_logins();
  core::Result<void> read_state();
  void read_logins();
  template <class Table>
  void restore(const char* name, Table& table);
  core::Result<void> publish(policy::Settings settings);
  core::Result<void> start_workers();
  core::Result<void> start_listeners();
  core::Result<void> listen_at(const std::string& name, const std::vector<core::Endpoint>& endpoints,
                               const std::function<void(WorkerServer&, int)>& take);
  void run_worker(std::size_t index);
  void report(std::size_t index, core::Result<void> outcome, std::vector<std::string> notes);

  core::ReaderDomain readers_;
  core::Mesh mesh_;
  std::unique_ptr<core::Log> log_;
  core::Published<Snapshot> snapshot_;
  std::mutex settings_mutex_;            // between reload(), the caretaker and stop(), once the caretaker runs
  policy::Settings settings_;            // as they were published last
  const std::string state_folder_;       // settings_.state and .spool, which no reload changes
  const std::string spool_folder_;
  tls::TicketKeys tickets_;
  std::vector<tls::Certificate> certificates_;  // as they were published last
  std::string certificate_problem_;             // said last, so that it is not said each second
  policy::LoginTable logins_;
  MachineLimits machines_;
  std::unique_ptr<policy::GuessGuard> guard_;
  std::unique_ptr<policy::RateLimits> rates_;
  std::unique_ptr<users::Credentials> credentials_;
  std::unique_ptr<Shared> shared_;
  std::unique_ptr<Caretaker> caretaker_;
  std::mutex log_mutex_;                 // the ring of all threads that are no workers
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
  std::atomic<bool> draining_{false};

  std::mutex look_mutex_;  // the one reader of the snapshot that is no worker

  // Of save_logins().
  std::mutex save_mutex_;
  std::uint64_t logins_saved_ = 0;       // the table's changes() then
  std::int64_t logins_saved_at_ns_ = 0;  // on the boot clock
  bool logins_many_ = false;             // so many that they are not saved each second
  std::string logins_problem_;           // said last
};

}  // namespace postern::net
