// The real server of one process on the simulated machine: what net/server.cc does with threads, done with processes of
// the simulator. Each worker makes its ring, opens its spool logs, listens, and repeats turns until all have drained.
//
// Life:  SimServer server(world, options);  server.start();  world.run(... server.is_serving() ...);
//   an orderly end:  server.begin_drain();  world.run(... server.is_over() ...);
//   a crash:         world.power_cut() or kill();  server.bury();  world.power_on();
// Thread: the test's. Between runs its workers may be looked at.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "core/log.h"
#include "core/mesh.h"
#include "core/published.h"
#include "net/machine_limits.h"
#include "net/snapshot.h"
#include "net/worker_server.h"
#include "policy/login_table.h"
#include "policy/settings.h"

namespace postern::sim {

class SimWorld;

struct SimServerOptions {
  std::size_t workers = 1;
  policy::Settings settings;
  core::RingOptions ring;
  net::WorkerServerOptions server;
  std::function<net::SecurityParts()> security = {};  // of services with TLS
};

class SimServer {
 public:
  SimServer(SimWorld& world, const SimServerOptions& options);
  ~SimServer();  // requires that it is over, or buried
  SimServer(const SimServer&) = delete;
  SimServer& operator=(const SimServer&) = delete;

  void start();
  // All workers listen and deliver.
  [[nodiscard]] bool is_serving() const { return listening_ == options_.workers; }
  // Why a worker could not start; empty: none failed.
  [[nodiscard]] const std::string& failure() const { return failure_; }
  // What recovery found.
  [[nodiscard]] const std::vector<std::string>& notes() const { return notes_; }

  // Nothing is queued or under way but client sessions.
  [[nodiscard]] bool is_delivered() const;
  // For messages of failed tests.
  [[nodiscard]] std::string queue_text() const;

  [[nodiscard]] const policy::LoginTable& logins() const { return logins_; }
  [[nodiscard]] net::WorkerServer& program(std::size_t worker) { return *members_[worker].program; }

  void begin_drain(std::int64_t seconds);
  // All workers have drained and are gone.
  [[nodiscard]] bool is_over() const { return ended_ == options_.workers; }
  // They were quiet when they went.
  [[nodiscard]] bool ended_quietly() const { return quiet_ == options_.workers; }

  // After a crash: lets the rings end everything, then destroys the workers.
  void bury();

 private:
  struct Member {
    std::unique_ptr<core::Worker> worker;
    std::unique_ptr<net::WorkerServer> program;
  };

  void run(std::size_t index);
  bool create(std::size_t index);
  void start_all();
  void listen(net::WorkerServer& program);
  [[nodiscard]] bool everybody_drained() const;
  void read_log();

  SimWorld& world_;
  SimServerOptions options_;
  core::ReaderDomain readers_;
  core::Mesh mesh_;
  core::Published<net::Snapshot> snapshot_;
  policy::LoginTable logins_;
  net::MachineLimits machines_;
  net::Shared shared_;
  std::vector<std::unique_ptr<core::LogRing>> logs_;
  std::vector<Member> members_;
  std::string failure_;
  std::vector<std::string> notes_;
  std::size_t notes_read_ = 0;
  std::size_t made_ = 0;
  std::size_t listening_ = 0;
  std::size_t ended_ = 0;
  std::size_t quiet_ = 0;
  bool gives_up_ = false;
};

}  // namespace postern::sim
