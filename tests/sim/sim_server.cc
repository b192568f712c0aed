#include "tests/sim/sim_server.h"

#include <cstdio>
#include <cstdlib>
#include <utility>

#include "core/assert.h"
#include "core/files.h"
#include "net/queue_id.h"

#include "tests/sim/sim_world.h"

namespace postern::sim {
namespace {

constexpr int kLastTurnsMost = 500;  // of a dead worker
constexpr std::int64_t kLastTurnNs = 60 * core::kNanosecondsPerSecond;
constexpr std::size_t kLogLines = 256;

}  // namespace

SimServer::SimServer(SimWorld& world, const SimServerOptions& options)
    : world_(world),
      options_(options),
      readers_(options.workers),
      mesh_(options.workers),
      snapshot_(readers_, std::make_unique<net::Snapshot>(
                              options.settings, options.security ? options.security() : net::SecurityParts{})),
      logins_({.machines = 64, .window_seconds = 300, .ipv6_prefix = 64, .secret = 1}),
      machines_(options.settings.limits.connections),
      shared_(snapshot_, logins_, machines_, options.workers),
      members_(options.workers) {
  for (std::size_t i = 0; i < options.workers; ++i) logs_.push_back(std::make_unique<core::LogRing>(kLogLines));
}

SimServer::~SimServer() = default;

void SimServer::start() {
  for (std::size_t i = 0; i < options_.workers; ++i) {
    world_.start("worker " + std::to_string(i), [this, i] { run(i); });
  }
}

bool SimServer::create(std::size_t index) {
  auto worker = core::Worker::create(index, options_.ring, mesh_, readers_);
  if (!worker) {
    failure_ = worker.error().text;
    return false;
  }
  auto program = net::WorkerServer::create(**worker, shared_, *logs_[index], options_.server, notes_);
  if (!program) {
    failure_ = program.error().text;
    return false;
  }
  members_[index] = {std::move(*worker), std::move(*program)};
  return true;
}

// Once every worker is there: from here on they may send each other jobs.
void SimServer::start_all() {
  for (std::size_t i = 0; i < options_.workers; ++i) {
    mesh_.post(i, {[](void* self, std::uint64_t worker, std::uint64_t) noexcept {
                     auto& server = *static_cast<SimServer*>(self);
                     server.listen(*server.members_[worker].program);
                   },
                   this, i, 0});
  }
}

// At the first service's endpoints, and those of all mailboxes.
void SimServer::listen(net::WorkerServer& program) {
  const auto listen_at = [this](const std::vector<core::Endpoint>& endpoints, const auto& take) {
    for (const core::Endpoint& endpoint : endpoints) {
      const core::Result<int> socket = core::Ring::listen(endpoint);
      if (!socket) {
        failure_ = socket.error().text;
        return false;
      }
      take(*socket);
    }
    return true;
  };
  const policy::Settings& settings = options_.settings;
  if (!listen_at(settings.services[0].listen, [&](int socket) { program.listen(socket, 0); })) return;
  for (std::size_t i = 0; i < settings.mailboxes.size(); ++i) {
    if (!listen_at(settings.mailboxes[i].listen, [&](int socket) { program.listen_mailbox(socket, i); })) return;
  }
  program.start_queue();
  ++listening_;
}

void SimServer::run(std::size_t index) {
  if (!create(index)) {
    gives_up_ = true;
    for (std::size_t i = 0; i < options_.workers; ++i) {
      if (members_[i].worker != nullptr) mesh_.post(i, {});
    }
    ++ended_;
    return;
  }
  if (++made_ == options_.workers) start_all();
  core::Worker& worker = *members_[index].worker;
  net::WorkerServer& program = *members_[index].program;
  while (world_.is_on() && !everybody_drained()) {
    if (gives_up_) {
      program.begin_drain(worker.now().boot_ns + core::kNanosecondsPerSecond);
      if (program.is_drained()) break;
    }
    worker.turn(true);
    read_log();
  }
  if (!world_.is_on()) return;  // to be buried
  if (program.is_quiet()) ++quiet_;
  members_[index].program.reset();
  members_[index].worker.reset();
  ++ended_;
}

bool SimServer::everybody_drained() const {
  for (const Member& member : members_) {
    // One that is gone had seen that all were drained.
    if (member.program == nullptr ? made_ != options_.workers : !member.program->is_drained()) return false;
  }
  return true;
}

// POSTERN_SIM_LOG=1 shows what the server says.
void SimServer::read_log() {
  static const bool shows = std::getenv("POSTERN_SIM_LOG") != nullptr;
  std::string line;
  for (; notes_read_ < notes_.size(); ++notes_read_) {
    if (shows) std::fprintf(stderr, "%s\n", notes_[notes_read_].c_str());
  }
  for (std::size_t i = 0; i < logs_.size(); ++i) {
    for (const core::LogRecord* record; (record = logs_[i]->front()) != nullptr; logs_[i]->pop()) {
      if (!shows) continue;
      line.clear();
      core::format_log_line(*record, false, 0, line);
      std::fprintf(stderr, "%zu %s", i, line.c_str());
    }
  }
}

bool SimServer::is_delivered() const {
  if (!is_serving()) return false;
  for (const Member& member : members_) {
    if (member.program->queue().size() != 0 || !member.program->queue().is_quiet()) return false;
  }
  return true;
}

std::string SimServer::queue_text() const {
  std::string text;
  for (std::size_t i = 0; i < members_.size(); ++i) {
    if (members_[i].program == nullptr) continue;
    text += "worker " + std::to_string(i) + ":";
    net::MessageQueue& queue = members_[i].program->queue();
    for (const net::QueuedMessage* m = queue.oldest(); m != nullptr; m = m->next) {
      text += " " + std::string(net::QueueId(m->id).text()) + (m->in_attempt ? " in an attempt" : " waits") +
              (m->timer.is_set() ? "" : ", no timer") + ", " + std::to_string(m->open_jobs) + " jobs;";
    }
    text += "\n";
  }
  return text;
}

void SimServer::begin_drain(std::int64_t seconds) {
  for (std::size_t i = 0; i < members_.size(); ++i) {
    mesh_.post(i, {[](void* target, std::uint64_t for_seconds, std::uint64_t) noexcept {
                     auto* server = static_cast<net::WorkerServer*>(target);
                     server->begin_drain(server->now().boot_ns +
                                         static_cast<std::int64_t>(for_seconds) * core::kNanosecondsPerSecond);
                   },
                   members_[i].program.get(), static_cast<std::uint64_t>(seconds), 0});
  }
}

void SimServer::bury() {
  POSTERN_ASSERT(!world_.is_on());
  for (Member& member : members_) {
    if (member.program != nullptr) member.program->begin_drain(member.worker->now().boot_ns);
  }
  // Whoever waits for an answer gives up when his time is over. The spool may go on trying for ever.
  const auto rests = [this] {
    for (const Member& member : members_) {
      if (member.program == nullptr) continue;
      net::WorkerServer& program = *member.program;
      if (!program.queue().is_quiet() || !program.lanes().is_quiet() || program.intakes().in_use() != 0 ||
          program.counters().connections_open.get() != 0 || !program.fronts().is_quiet()) {
        return false;
      }
    }
    return true;
  };
  int turns_at_rest = 0;  // what else there is ends in a turn or two
  for (int turns = 0; turns < kLastTurnsMost && turns_at_rest < 3; ++turns) {
    for (Member& member : members_) {
      if (member.program != nullptr) member.worker->turn(true);
    }
    rests() ? ++turns_at_rest : turns_at_rest = 0;
    if (turns_at_rest == 0) world_.spend(kLastTurnNs);
    read_log();
  }
  for (Member& member : members_) {
    member.program.reset();
    member.worker.reset();
  }
}

}  // namespace postern::sim
