#include "net/worker_server.h"

#include <algorithm>
#include <cerrno>
#include <cstdio>
#include <cstring>
#include <utility>

#include <openssl/rand.h>

#include "net/queue_id.h"
#include "net/smtp/envelope.h"

namespace postern::net {
namespace {

using core::kNanosecondsPerMillisecond;

// What a message without SIZE= is taken for until it proves longer.
constexpr std::uint64_t kUntoldBytes = 16384;
// Beside the body: envelope, record header, padding.
constexpr std::uint64_t kRecordOverhead = 8192;
// Envelopes, cut command lines and replies of sessions that are at work.
constexpr std::size_t kSessionPoolBytes = 64u << 20;
constexpr std::size_t kRefusalsMax = 256;
// Logins of one worker that may wait for an answer at once; more get 454.
constexpr std::size_t kCredentialRequestsMax = 4096;
constexpr std::int64_t kDrainTickNanoseconds = 20 * kNanosecondsPerMillisecond;
// A disk that does not answer must not keep the process for ever.
constexpr std::int64_t kDiskGraceNanoseconds = 10 * core::kNanosecondsPerSecond;
constexpr std::string_view kTooManyConnections = "421 4.7.0 too many connections, try again later\r\n";
constexpr std::string_view kBarred = "421 4.7.0 too many failed logins from your network, try again later\r\n";

}  // namespace

// --- connections come in --------------------------------------------------------------------------------------------

struct WorkerServer::Refusal {
  Refusal(WorkerServer& s, int fd) : server(s), socket(fd), operation(&Refusal::on_done, this) {}
  static void on_done(void* self, core::Completion&, const core::Outcome&) noexcept {
    auto* refusal = static_cast<Refusal*>(self);
    if (refusal->socket >= 0) {
      refusal->server.ring().close(std::exchange(refusal->socket, -1), refusal->operation);
    } else {
      refusal->server.refusals_.destroy(refusal);
    }
  }
  WorkerServer& server;
  int socket;
  core::Completion operation;
};

void WorkerServer::listen(int listener, std::size_t service) {
  static constexpr auto kAccepted = [](void* self, int socket, std::size_t index) {
    static_cast<WorkerServer*>(self)->accepted(socket, index);
  };
  static constexpr auto kName = [](void* self, std::size_t index) -> std::string_view {
    return static_cast<WorkerServer*>(self)->settings().services[index].name;
  };
  listeners_.push_back(std::make_unique<Listener>(*this, listener, service, Listener::Owner{this, kAccepted, kName}));
  listeners_.back()->start();
}

void WorkerServer::listen_mailbox(int listener, std::size_t mailbox) { fronts_->listen(listener, mailbox); }

void WorkerServer::accepted(int socket, std::size_t service) {
  counters_.connections_accepted.add();
  const auto peer = core::Ring::peer_name(socket);
  if (!peer) return core::Ring::close_now(socket);  // gone already
  const policy::ServiceSettings& rules = settings().services[service];
  // A client that awaits a handshake cannot read plain words.
  const bool can_read = rules.tls != policy::TlsMode::implicit;
  // Before TLS, and before anything else is spent on it. Behind a balancer the machine is not known yet.
  if (!rules.proxy_protocol && is_barred(peer->address)) return refuse(socket, can_read ? kBarred : std::string_view{});
  Inbound* inbound = nullptr;
  if (take_place()) {
    inbound = inbounds_.make(*this, socket, *peer, service);
    if (inbound == nullptr) give_place();
  }
  if (inbound == nullptr) {
    counters_.connections_shed.add();
    return refuse(socket, can_read ? kTooManyConnections : std::string_view{});
  }
  counters_.connections_open.set(inbounds_.in_use());
  inbound->next = first_inbound_;
  if (first_inbound_ != nullptr) first_inbound_->previous = inbound;
  first_inbound_ = inbound;
  inbound->start();
}

bool WorkerServer::take_place() {
  const std::uint32_t limit = settings().limits.connections;
  if (shared_.connections_open.fetch_add(1, std::memory_order_relaxed) < limit && !draining_) return true;
  give_place();
  return false;
}

void WorkerServer::give_place() { shared_.connections_open.fetch_sub(1, std::memory_order_relaxed); }

bool WorkerServer::is_barred(const core::IpAddress& machine) {
  if (shared_.guard == nullptr || !shared_.guard->is_barred(snapshot().guard, machine, now())) return false;
  counters_.connections_barred.add();
  return true;
}

void WorkerServer::refuse(int socket, std::string_view line) {
  Refusal* refusal = line.empty() ? nullptr : refusals_.make(*this, socket);
  if (refusal == nullptr) return core::Ring::close_now(socket);
  ring().send(socket, line, refusal->operation);
}

void WorkerServer::connection_ended(Inbound& inbound) {
  (inbound.previous == nullptr ? first_inbound_ : inbound.previous->next) = inbound.next;
  if (inbound.next != nullptr) inbound.next->previous = inbound.previous;
  inbounds_.destroy(&inbound);
  counters_.connections_open.set(inbounds_.in_use());
  give_place();
}

// --- life ----------------------------------------------------------------------------------------------------------

WorkerServer::WorkerServer(core::Worker& worker, Shared& shared, core::LogRing& log,
                           const WorkerServerOptions& options)
    : worker_(worker),
      shared_(shared),
      log_(log),
      inline_bytes_max_(options.spool.inline_bytes_max),
      session_pool_(kSessionPoolBytes),
      content_pool_(std::max<std::size_t>(settings().limits.memory_bytes / worker.workers(), 4u << 20)),
      intakes_(settings().limits.connections),
      tls_channels_(settings().limits.connections),
      credential_requests_(kCredentialRequestsMax),
      inbounds_(settings().limits.connections),
      refusals_(kRefusalsMax),
      links_(options.receive_buffers) {
  queue_ = std::make_unique<MessageQueue>(
      *this, std::max<std::uint64_t>(settings().limits.queue_messages / worker.workers(), 1));
  lanes_ = std::make_unique<Lanes>(*this);
  start_resolver();
  fronts_ = std::make_unique<Fronts>(*this);
}

WorkerServer::~WorkerServer() { worker_.timers().cancel(drain_tick_); }

core::Result<std::unique_ptr<WorkerServer>> WorkerServer::create(core::Worker& worker, Shared& shared,
                                                                 core::LogRing& log,
                                                                 const WorkerServerOptions& options,
                                                                 std::vector<std::string>& notes) {
  std::unique_ptr<WorkerServer> server(new WorkerServer(worker, shared, log, options));
  if (auto opened = server->open_spools(options, notes); !opened) return std::unexpected(opened.error());
  worker.attach(server.get(), [](void* self) noexcept { return static_cast<WorkerServer*>(self)->flush(); });
  shared.servers[worker.index()].store(server.get(), std::memory_order_release);
  return server;
}

core::Result<void> WorkerServer::open_spools(const WorkerServerOptions& options, std::vector<std::string>& notes) {
  const auto self = static_cast<std::uint32_t>(worker_.index());
  char name[16];
  std::snprintf(name, sizeof name, "/log-%04u", self);
  if (auto own = open_log(options.spool_directory + name, self, false, options, notes); own) {
    spool_ = std::move(*own);
  } else {
    return std::unexpected(own.error());
  }
  const auto logs = core::list_logs(options.spool_directory);
  if (!logs) return std::unexpected(logs.error());
  for (const core::LogFolder& log : *logs) {
    if (log.number < worker_.workers() || log.number % worker_.workers() != self) continue;
    auto adopted = open_log(log.path, log.number, true, options, notes);
    if (!adopted) return std::unexpected(adopted.error());
    if ((*adopted)->items() > 0) {
      adopted_.push_back(std::move(*adopted));
      continue;
    }
    adopted->reset();
    if (auto removed = core::Spool::remove(log.path); !removed) notes.push_back("kept: " + removed.error().text);
  }
  return {};
}

core::Result<std::unique_ptr<core::Spool>> WorkerServer::open_log(const std::string& directory,
                                                                  std::uint32_t number, bool draining,
                                                                  const WorkerServerOptions& options,
                                                                  std::vector<std::string>& notes) {
  core::SpoolOptions spool = options.spool;
  spool.directory = directory;
  spool.log_number = number;
  spool.draining = draining;
  core::RecoveryReport report;
  // The queue needs to know which spool an item is in, and the spool is only there when recovery is over.
  std::vector<std::pair<core::RecoveredItem, std::string>> found;
  auto opened = core::Spool::open(
      spool, ring(), worker_.timers(), now(),
      [&found](const core::RecoveredItem& item) {
        found.emplace_back(item, std::string(item.head) + std::string(item.state));
      },
      report);
  if (!opened) return opened;
  for (auto& [item, memory] : found) {
    const std::size_t head_bytes = item.head.size();
    item.head = std::string_view(memory).substr(0, head_bytes);
    item.state = std::string_view(memory).substr(head_bytes);
    queue_->add_recovered(**opened, item);
  }
  for (std::string& note : report.notes) notes.push_back(std::move(note));
  if (report.items != 0 || report.damaged_records != 0 || report.lost_items != 0) {
    core::LogLine(log_, now(), report.damaged_records + report.lost_items != 0 ? core::Severity::error
                                                                               : core::Severity::info,
                  "recovered")
        .add("log", std::uint64_t{number})
        .add("messages", report.items)
        .add("damaged_records", report.damaged_records)
        .add("lost_messages", report.lost_items)
        .add("orphans_removed", report.orphans_removed);
  }
  return opened;
}

void WorkerServer::start_queue() { queue_->start(); }

smtp::World WorkerServer::world() const {
  const Snapshot& at = snapshot();
  smtp::World world;
  world.policy = &at.policy;
  world.logins = &shared_.logins;
  world.now = worker_.now();
  world.rates = shared_.rates;
  world.token_keys = at.token_keys ? &*at.token_keys : nullptr;
  world.random = [](std::span<std::byte> out) noexcept {
    RAND_bytes(reinterpret_cast<std::uint8_t*>(out.data()), out.size());
  };
  return world;
}

void WorkerServer::begin_drain(std::int64_t deadline_boot_ns) {
  if (draining_) return;
  draining_ = true;
  drain_deadline_ns_ = deadline_boot_ns;
  drain_tick_.owner = this;
  drain_tick_.handler = core::timer_handler<&WorkerServer::on_drain_tick>;
  on_drain_tick(drain_tick_);
  for (const auto& listener : listeners_) listener->stop();
  fronts_->begin_drain(deadline_boot_ns);
  queue_->begin_drain();
  lanes_->begin_drain();
  if (dns_channel_ != nullptr) dns_channel_->cancel_all();
  for (Inbound* inbound = first_inbound_; inbound != nullptr;) {
    Inbound* following = inbound->next;
    inbound->begin_drain();
    inbound = following;
  }
}

void WorkerServer::start_resolver() {
  dns_settings_ = settings().dns;
  resolv_conf_ = snapshot().resolv_conf;
  own_name_ = settings().hostname;
  dns::Resolver::Transport transport;
  if (shared_.resolves_names) {
    static constexpr auto kAnswered = [](void* self, std::uint64_t token, dns::Answer answer, std::string_view why) {
      auto* server = static_cast<WorkerServer*>(self);
      if (answer.status == dns::AnswerStatus::failed) server->counters_.dns_failures.add();
      server->resolver_->answered(token, std::move(answer), why, server->now().boot_ns);
    };
    static constexpr auto kAsk = [](void* self, std::uint64_t token, const std::string& name, dns::RecordType type,
                                    dns::NameOrigin origin) {
      auto* server = static_cast<WorkerServer*>(self);
      server->counters_.dns_questions.add();
      server->dns_channel_->ask(server->settings().dns, token, name, type, origin);
    };
    dns_channel_ = std::make_unique<dns::Channel>(worker_, dns::Channel::Owner{this, kAnswered});
    transport = {this, kAsk};
  }
  resolver_ = std::make_unique<dns::Resolver>(transport);
}

// After a reload: other servers may know other things, and another name makes other hosts ourselves.
void WorkerServer::watch_dns_settings() {
  const policy::Settings& now = settings();
  const bool is_same_file = snapshot().resolv_conf == resolv_conf_;
  if (is_same_file && now.dns == dns_settings_ && now.hostname == own_name_) return;
  if (!is_same_file && dns_channel_ != nullptr) dns_channel_->reopen();
  resolv_conf_ = snapshot().resolv_conf;
  dns_settings_ = now.dns;
  own_name_ = now.hostname;
  resolver_->forget_all();
}

bool WorkerServer::is_quiet() const {
  return first_inbound_ == nullptr && refusals_.in_use() == 0 && queue_->is_quiet() && lanes_->is_quiet() &&
         spool_->is_idle() && (dns_channel_ == nullptr || dns_channel_->is_quiet()) &&
         std::all_of(adopted_.begin(), adopted_.end(), [](const auto& spool) { return spool->is_idle(); }) &&
         fronts_->is_quiet() &&
         std::all_of(listeners_.begin(), listeners_.end(), [](const auto& listener) { return listener->is_quiet(); });
}

bool WorkerServer::is_drained() const {
  return draining_ && (is_quiet() || (worker_.now().boot_ns >= drain_deadline_ns_ && spool_->is_idle()) ||
                       worker_.now().boot_ns >= drain_deadline_ns_ + kDiskGraceNanoseconds);
}

void WorkerServer::on_drain_tick(core::Timer&) noexcept {
  worker_.timers().set(drain_tick_, now().boot_ns + kDrainTickNanoseconds);
}

// Once a turn, last: what the turn gathered goes out together.
bool WorkerServer::flush() noexcept {
  watch_dns_settings();
  resolver_->deliver();
  if (dns_channel_ != nullptr) dns_channel_->sweep();
  queue_->flush();
  lanes_->flush();
  appending_.swap(waiting_to_append_);
  for (Intake* intake : appending_) intake->append_now();
  appending_.clear();
  spool_->flush(now());
  for (const auto& spool : adopted_) spool->flush(now());
  counters_.log_lines_dropped.set(log_.dropped());
  const bool is_passed_on = fronts_->flush();
  return is_passed_on && !queue_->has_work() && !lanes_->has_work() && !resolver_->has_work();
}

std::uint64_t WorkerServer::session_pool_bytes() { return kSessionPoolBytes; }

std::uint64_t WorkerServer::spool_buffer_bytes() {
  const core::SpoolOptions spool;
  return std::uint64_t{spool.commit_bytes} * (spool.commits_in_flight + 1);
}

// --- messages ------------------------------------------------------------------------------------------------------

std::uint64_t WorkerServer::admit(std::uint64_t octets) {
  const std::uint64_t wanted = (octets == 0 ? kUntoldBytes : octets) + kRecordOverhead;
  if (queue_->has_room() && content_pool_.used_bytes() < content_pool_.budget_bytes() && spool_->admit(wanted)) {
    return wanted;
  }
  counters_.messages_no_space.add();
  core::LogLine(log_, now(), core::Severity::warning, "no_space")
      .add("reason", !queue_->has_room() ? "the queue is full: limits.queue_messages"
                     : content_pool_.used_bytes() >= content_pool_.budget_bytes()
                         ? "message memory is used up: limits.memory_bytes"
                         : "no space for the spool on disk")
      .flood_key(1);
  return 0;
}

void WorkerServer::message_accepted(core::ItemId id, std::string_view head, std::uint16_t content_flags,
                                    std::int64_t accepted_unix_ns, bool is_large, std::uint64_t octets,
                                    Content&& content) {
  counters_.messages_accepted.add();
  counters_.bytes_accepted.add(octets);
  const auto reader = smtp::EnvelopeReader::open(head);
  core::LogLine(log_, now(), core::Severity::info, "accepted")
      .add("id", QueueId(id).text())
      .add("service", reader->session().service)
      .add("client", reader->session().client)
      .add("helo", reader->session().helo)
      .add("from", reader->sender().reverse_path)
      .add("recipients", std::uint64_t{reader->recipient_count()})
      .add("size", octets);
  core::ItemInfo info;
  info.id = id;
  info.accepted_unix_ns = accepted_unix_ns;
  info.head_bytes = static_cast<std::uint32_t>(head.size());
  info.body_bytes = octets;
  info.content_flags = content_flags;
  info.is_large = is_large;
  queue_->add(*spool_, info, head, std::move(content));
}

}  // namespace postern::net
