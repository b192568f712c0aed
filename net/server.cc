#include "net/server.h"

#include <algorithm>
#include <cstdlib>
#include <fmt/format.h>
#include <future>
#include <pthread.h>
#include <sched.h>
#include <utility>

#include "core/files.h"
#include "core/resource_limits.h"
#include "net/clock_now.h"
#include "net/state_files.h"
#include "net/version.h"

namespace postern::net {
namespace {

using core::kNanosecondsPerSecond;

constexpr std::int64_t kGiveUpSeconds = 2;  // for a start that failed
constexpr const char* kHostsFile = "/etc/hosts";
constexpr std::uint64_t kHostsFileBytesMax = 16u << 20;
constexpr const char* kResolvConf = "/etc/resolv.conf";
constexpr std::uint64_t kResolvConfBytesMax = 1u << 20;

std::size_t worker_count(const policy::Settings& settings) {
  if (settings.workers != 0) return settings.workers;
  cpu_set_t set;
  CPU_ZERO(&set);
  if (sched_getaffinity(0, sizeof set, &set) != 0) return 1;
  return static_cast<std::size_t>(std::max(CPU_COUNT(&set), 1));
}

// Worker i on the i-th core this process may use, when there are enough; else the kernel chooses.
void pin_to_core(std::size_t index) {
  cpu_set_t allowed;
  if (sched_getaffinity(0, sizeof allowed, &allowed) != 0) return;
  std::size_t seen = 0;
  for (int cpu = 0; cpu < CPU_SETSIZE; ++cpu) {
    if (!CPU_ISSET(cpu, &allowed) || seen++ != index) continue;
    cpu_set_t one;
    CPU_ZERO(&one);
    CPU_SET(cpu, &one);
    pthread_setaffinity_np(pthread_self(), sizeof one, &one);
    return;
  }
}

policy::LoginTableOptions login_options(const policy::Settings& settings) {
  policy::LoginTableOptions options;
  options.machines = settings.logins.machines;
  options.window_seconds = settings.logins.window_seconds;
  options.ipv6_prefix = static_cast<std::uint8_t>(settings.logins.ipv6_prefix);
  return options;
}

bool offers_auth(const policy::Settings& settings) {
  return std::any_of(settings.services.begin(), settings.services.end(),
                     [](const auto& service) { return !service.auth.mechanisms.empty(); });
}

bool offers_any(const policy::Settings& settings, std::initializer_list<std::string_view> mechanisms) {
  return std::any_of(settings.services.begin(), settings.services.end(), [&](const auto& service) {
    const auto& offered = service.auth.mechanisms;
    return std::find_first_of(offered.begin(), offered.end(), mechanisms.begin(), mechanisms.end()) != offered.end();
  });
}

// Is somebody told to report logins here, and so failed ones?
bool has_feeds(const policy::Settings& settings) {
  return settings.admin.http && !settings.logins.feeds.empty();
}

// Is there something to remember: bars, quotas, users?
bool remembers(const policy::Settings& settings) {
  return offers_auth(settings) || has_feeds(settings) || !settings.mailboxes.empty() || settings.quota.user.any() || settings.quota.machine.any();
}

// Of services and mailboxes: their sockets stay, and whoever is connected knows them by their place in the list.
template <class Listed>
std::string listeners_changed(std::string_view what, const std::vector<Listed>& now, const std::vector<Listed>& next) {
  if (now.size() != next.size()) return fmt::format("the number of [[{}]]", what);
  for (std::size_t i = 0; i < now.size(); ++i) {
    if (now[i].name != next[i].name) return fmt::format("the names or the order of [[{}]]", what);
    if (now[i].listen != next[i].listen) return fmt::format("listen of {} {}", what, now[i].name);
    if (now[i].proxy_protocol != next[i].proxy_protocol) return fmt::format("proxy_protocol of {} {}", what, now[i].name);
  }
  return {};
}

// What a reload cannot change, in words; empty: nothing.
std::string needs_restart(const policy::Settings& now, const policy::Settings& next) {
  if (now.spool != next.spool) return "spool";
  if (now.workers != next.workers) return "workers";
  if (now.log.to != next.log.to || now.log.json != next.log.json) return "log";
  if (now.admin.socket != next.admin.socket) return "admin.socket";
  if (now.admin.http != next.admin.http) return "admin.http";
  if (now.limits.connections != next.limits.connections) return "limits.connections";
  if (now.limits.memory_bytes != next.limits.memory_bytes) return "limits.memory_bytes";
  if (now.limits.queue_messages != next.limits.queue_messages) return "limits.queue_messages";
  if (now.logins.machines != next.logins.machines || now.logins.window_seconds != next.logins.window_seconds ||
      now.logins.ipv6_prefix != next.logins.ipv6_prefix) {
    return "logins";
  }
  if (now.state != next.state) return "state";
  if (now.users.store != next.users.store || now.users.dovecot != next.users.dovecot ||
      now.users.cram_md5 != next.users.cram_md5 || now.users.hash_threads != next.users.hash_threads ||
      now.users.hash_queue != next.users.hash_queue || now.users.cache_seconds != next.users.cache_seconds) {
    return "users";
  }
  if (now.guard.machines != next.guard.machines) return "guard.machines";
  if (!remembers(now) && remembers(next)) return "AUTH, quotas or logins.feeds, of which there were none,";
  if (std::string what = listeners_changed("service", now.services, next.services); !what.empty()) return what;
  return listeners_changed("mailbox", now.mailboxes, next.mailboxes);
}

}  // namespace

Server::Server(policy::Settings settings, std::size_t workers)
    : readers_(workers + 1),  // and with_snapshot()
      mesh_(workers),
      snapshot_(readers_, std::make_unique<Snapshot>(settings)),
      settings_(std::move(settings)),
      state_folder_(settings_.state),
      spool_folder_(settings_.spool),
      logins_(login_options(settings_)),
      machines_(settings_.limits.connections),
      drained_(workers) {}

core::Result<std::unique_ptr<Server>> Server::start(policy::Settings settings) {
  if (auto enough = core::reserve_descriptors(settings.limits.connections, settings.mailboxes.empty() ? 1 : 2); !enough) {
    return std::unexpected(enough.error());
  }
  const std::size_t workers = worker_count(settings);
  std::unique_ptr<Server> server(new Server(std::move(settings), workers));
  auto log = core::Log::start({server->settings_.log.json, server->settings_.log.to}, workers + 1);
  if (!log) return std::unexpected(log.error());
  server->log_ = std::move(*log);
  server->shared_ = std::make_unique<Shared>(server->snapshot_, server->logins_, server->machines_, workers);
  server->shared_->resolves_names = true;
  if (auto made = core::files::make_directory(server->spool_folder_); !made) return std::unexpected(made.error());
  if (auto published = server->publish(server->settings_); !published) return std::unexpected(published.error());
  server->read_logins();
  if (auto open = server->start_logins(); !open) return std::unexpected(open.error());
  if (auto started = server->start_workers(); !started) return std::unexpected(started.error());
  if (auto listening = server->start_listeners(); !listening) return std::unexpected(listening.error());
  server->caretaker_ = std::make_unique<Caretaker>(*server);
  return server;
}

// The settings with what they name by files, for the workers.
core::Result<void> Server::publish(policy::Settings settings) {
  std::vector<std::string> notes;
  auto parts = load_security(settings, tickets_, clock_now().unix_ns / kNanosecondsPerSecond, notes);
  if (!parts) return std::unexpected(parts.error());
  for (const std::string& note : notes) log_line(core::Severity::warning, "certificate", note);
  if (const auto hosts = read_file(kHostsFile, kHostsFileBytesMax)) parts->hosts = dns::HostsFile(*hosts);
  if (auto resolvers = read_file(kResolvConf, kResolvConfBytesMax)) parts->resolv_conf = std::move(*resolvers);
  certificates_ = parts->tls ? parts->tls->certificates() : std::vector<tls::Certificate>{};
  settings_ = settings;
  snapshot_.publish(std::make_unique<Snapshot>(std::move(settings), std::move(*parts)));
  return {};
}

core::Result<void> Server::start_logins() {
  if (!remembers(settings_)) return {};
  if (auto read = read_state(); !read) return read;
  shared_->rates = rates_.get();
  if (offers_auth(settings_) || has_feeds(settings_) || !settings_.mailboxes.empty()) shared_->guard = guard_.get();
  if (!offers_auth(settings_)) return {};
  const policy::Settings::Users& users = settings_.users;
  users::VerifierKinds kinds;
  kinds.scram_sha_1 = offers_any(settings_, {"SCRAM-SHA-1", "SCRAM-SHA-1-PLUS"});
  kinds.cram_md5 = users.cram_md5;
  auto credentials = users::Credentials::open(
      {users.store, users.dovecot, kinds, users.hash_threads, users.hash_queue, users.cache_seconds}, mesh_);
  if (!credentials) return std::unexpected(credentials.error());
  credentials_ = std::move(*credentials);
  shared_->credentials = credentials_.get();
  return {};
}

core::Result<void> Server::start_workers() {
  const std::size_t workers = drained_.size();
  for (std::size_t i = 0; i < workers; ++i) threads_.emplace_back([this, i] { run_worker(i); });
  std::unique_lock lock(mutex_);
  changed_.wait(lock, [&] { return reported_ == workers; });
  core::LogRing& log = log_->ring(workers);
  for (const std::string& note : notes_) {
    core::LogLine(log, clock_now(), core::Severity::warning, "recovery").add("note", note);
  }
  if (!start_error_) return {};
  give_up_.store(true);
  for (std::size_t i = 0; i < workers; ++i) mesh_.post(i, {});
  return std::unexpected(*start_error_);
}

// On each worker a socket for each of the endpoints.
core::Result<void> Server::listen_at(const std::string& name, const std::vector<core::Endpoint>& endpoints,
                                     const std::function<void(WorkerServer&, int)>& take) {
  for (core::Endpoint endpoint : endpoints) {
    for (std::size_t worker = 0; worker < threads_.size(); ++worker) {
      const core::Result<int> socket = core::Ring::listen(endpoint);
      if (!socket) {
        give_up_.store(true);
        for (std::size_t i = 0; i < threads_.size(); ++i) mesh_.post(i, {});
        return std::unexpected(socket.error());
      }
      // Port 0: the first socket gets a port, the other workers' sockets join it.
      if (const auto given = core::Ring::local_name(*socket)) endpoint = *given;
      const bool is_taken = on_worker(worker, [fd = *socket, take](WorkerServer& w) { take(w, fd); });
      if (!is_taken) return core::fail("a worker does not answer");
    }
    addresses_.push_back({name, endpoint});
  }
  return {};
}

core::Result<void> Server::start_listeners() {
  for (std::size_t s = 0; s < settings_.services.size(); ++s) {
    const policy::ServiceSettings& service = settings_.services[s];
    const auto take = [s](WorkerServer& worker, int socket) { worker.listen(socket, s); };
    if (auto done = listen_at(service.name, service.listen, take); !done) return done;
  }
  for (std::size_t m = 0; m < settings_.mailboxes.size(); ++m) {
    const policy::MailboxSettings& mailbox = settings_.mailboxes[m];
    const auto take = [m](WorkerServer& worker, int socket) { worker.listen_mailbox(socket, m); };
    if (auto done = listen_at(mailbox.name, mailbox.listen, take); !done) return done;
  }
  for (std::size_t i = 0; i < threads_.size(); ++i) {
    on_worker(i, [](WorkerServer& w) { w.start_queue(); });
  }
  return {};
}

Server::~Server() {
  if (!threads_.empty() && threads_.front().joinable()) {
    if (!give_up_.load() && !stop()) abandon(1);
    for (std::thread& thread : threads_) {
      if (thread.joinable()) thread.join();
    }
  }
}

void Server::abandon(int status) {
  log_.reset();
  std::_Exit(status);
}

// --- a worker's thread ---------------------------------------------------------------------------------------------

void Server::report(std::size_t, core::Result<void> outcome, std::vector<std::string> notes) {
  const std::lock_guard lock(mutex_);
  ++reported_;
  if (!outcome && !start_error_) start_error_ = outcome.error();
  notes_.insert(notes_.end(), notes.begin(), notes.end());
  changed_.notify_all();
}

void Server::run_worker(std::size_t index) {
  pthread_setname_np(pthread_self(), ("worker-" + std::to_string(index)).c_str());
  if (drained_.size() <= std::max(1u, std::thread::hardware_concurrency())) pin_to_core(index);
  const core::RingOptions ring_options;
  auto worker = core::Worker::create(index, ring_options, mesh_, readers_);
  if (!worker) return report(index, std::unexpected(worker.error()), {});
  WorkerServerOptions options;
  options.spool_directory = spool_folder_;
  options.receive_buffers = ring_options.buffer_count;
  std::vector<std::string> notes;
  auto program = WorkerServer::create(**worker, *shared_, log_->ring(index), options, notes);
  if (!program) return report(index, std::unexpected(program.error()), std::move(notes));
  report(index, {}, std::move(notes));

  bool everybody_drained = false;
  while (!everybody_drained) {
    if (give_up_.load(std::memory_order_relaxed)) {
      (*program)->begin_drain((*worker)->now().boot_ns + kGiveUpSeconds * kNanosecondsPerSecond);
    }
    (*worker)->turn(true);
    drained_[index].store((*program)->is_drained(), std::memory_order_release);
    // A worker that is done still answers the mesh until all are; one that failed to start never asks.
    everybody_drained =
        (give_up_.load(std::memory_order_relaxed) && (*program)->is_drained()) ||
        std::all_of(drained_.begin(), drained_.end(),
                    [](const std::atomic<bool>& d) { return d.load(std::memory_order_acquire); });
  }
  if (!(*program)->is_quiet()) {
    // Past the deadline: what is still in flight refers to this memory, so it goes down with the process.
    all_in_time_.store(false);
    static_cast<void>(program->release());
    static_cast<void>(worker->release());
  }
}

bool Server::stop() {
  draining_.store(true, std::memory_order_release);
  std::int64_t seconds = 0;
  {
    const std::lock_guard lock(settings_mutex_);
    seconds = settings_.queue.drain_seconds;
  }
  for (std::size_t i = 0; i < threads_.size(); ++i) {
    WorkerServer* program = shared_->servers[i].load(std::memory_order_acquire);
    mesh_.post(i, {[](void* target, std::uint64_t for_seconds, std::uint64_t) noexcept {
                     auto* server = static_cast<WorkerServer*>(target);
                     server->begin_drain(server->now().boot_ns +
                                         static_cast<std::int64_t>(for_seconds) * kNanosecondsPerSecond);
                   },
                   program, static_cast<std::uint64_t>(seconds), 0});
  }
  for (std::thread& thread : threads_) thread.join();
  if (credentials_ != nullptr) credentials_->stop();
  caretaker_.reset();
  return all_in_time_.load();
}

// --- the starting thread's log lines -------------------------------------------------------------------------------

void Server::with_log(const std::function<void(core::LogRing&)>& write) {
  const std::lock_guard lock(log_mutex_);
  write(log_->ring(drained_.size()));
}

void Server::log_line(core::Severity severity, const char* event, std::string_view note) {
  with_log([&](core::LogRing& ring) { core::LogLine(ring, clock_now(), severity, event).add("note", note); });
}

void Server::log_ready() {
  const std::lock_guard lock(log_mutex_);
  core::LogRing& ring = log_->ring(drained_.size());
  for (const ListeningAddress& address : addresses_) {
    core::LogLine(ring, clock_now(), core::Severity::info, "listening")
        .add("service", address.service)
        .add("address", address.endpoint.text());
  }
  core::LogLine(ring, clock_now(), core::Severity::info, "ready")
      .add("version", kVersion)
      .add("workers", std::uint64_t{drained_.size()})
      .add("spool", spool_folder_);
}

// --- requests from other threads -----------------------------------------------------------------------------------

void Server::with_snapshot(const std::function<void(const Snapshot&)>& look) {
  const std::lock_guard lock(look_mutex_);
  const std::size_t reader = drained_.size();
  readers_.online(reader);
  look(*snapshot_.read());
  readers_.offline(reader);
}

void Server::record_login(LoginSource source, const core::IpAddress& machine, std::string_view user,
                          std::uint32_t seconds) {
  with_log([&](core::LogRing& ring) {
    shared_->login_records.record(logins_, ring, clock_now(), source, machine, user, seconds);
  });
}

bool Server::on_worker(std::size_t worker, std::function<void(WorkerServer&)> function, std::chrono::seconds patience) {
  // Workers end together, when all are drained; from then on nobody would answer.
  if (std::all_of(drained_.begin(), drained_.end(), [](const auto& d) { return d.load(std::memory_order_acquire); })) {
    return false;
  }
  struct Call {
    std::function<void(WorkerServer&)> function;
    WorkerServer* server = nullptr;
    std::promise<void> done;
    std::atomic<bool> is_taken{false};  // by the worker, or by a caller who gave up
  };
  // Both sides hold it: whoever is later frees it.
  auto call = std::make_shared<Call>();
  call->function = std::move(function);
  call->server = shared_->servers[worker].load(std::memory_order_acquire);
  auto done = call->done.get_future();
  mesh_.post(worker, {[](void*, std::uint64_t a, std::uint64_t) noexcept {
                        const std::unique_ptr<std::shared_ptr<Call>> held(reinterpret_cast<std::shared_ptr<Call>*>(a));
                        if ((*held)->is_taken.exchange(true, std::memory_order_acq_rel)) return;
                        (*held)->function(*(*held)->server);
                        (*held)->done.set_value();
                      },
                      nullptr, reinterpret_cast<std::uint64_t>(new std::shared_ptr<Call>(call)), 0});
  if (done.wait_for(patience) == std::future_status::ready) return true;
  if (!call->is_taken.exchange(true, std::memory_order_acq_rel)) return false;
  done.wait();  // it began just now: what it refers to is the caller's
  return true;
}

core::Result<void> Server::reload(policy::Settings settings) {
  const std::lock_guard lock(settings_mutex_);
  const std::string what = needs_restart(settings_, settings);
  if (!what.empty()) return core::fail("a change of " + what + " needs a restart; the settings stay as they were");
  return publish(std::move(settings));
}

}  // namespace postern::net
