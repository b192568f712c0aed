// Everything one worker runs: its listeners, client connections, the POP3/IMAP front, spool, queue and lanes. The program that a core::Worker
// repeats turns for; the simulator runs the same object on its own ring.
//
// Thread: its worker's, except where a comment says otherwise. What workers share is in Shared, and only there.
#pragma once

#include <atomic>
#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "core/log.h"
#include "core/pool.h"
#include "core/published.h"
#include "core/spool.h"
#include "core/worker.h"
#include "net/counters.h"
#include "net/delivery/lane.h"
#include "net/delivery/mail_sites.h"
#include "net/delivery/message_queue.h"
#include "net/dns/channel.h"
#include "net/dns/resolver.h"
#include "net/front/fronts.h"
#include "net/held_input.h"
#include "net/hold_requests.h"
#include "net/inbound.h"
#include "net/listener.h"
#include "net/login_records.h"
#include "net/machine_limits.h"
#include "net/snapshot.h"
#include "net/tls_channel.h"
#include "net/users/credentials.h"
#include "policy/guess_guard.h"
#include "policy/login_table.h"
#include "policy/rate_limits.h"

namespace postern::net {

class WorkerServer;

// What all workers of one server share. Built before the first worker, dies after the last.
struct Shared {
  core::Published<Snapshot>& snapshot;
  policy::LoginTable& logins;
  MachineLimits& machines;
  bool resolves_names = false;                     // false: next hops are addresses only (the simulator)
  users::Credentials* credentials = nullptr;       // nullptr: no service offers AUTH
  policy::GuessGuard* guard = nullptr;             // nullptr: nobody is barred
  policy::RateLimits* rates = nullptr;             // nullptr: no quotas
  HoldRequests holds;                              // for the caretaker
  LoginRecords login_records;
  std::atomic<std::uint32_t> connections_open{0};
  std::vector<std::atomic<WorkerServer*>> servers; // by worker; set before a worker's first turn

  Shared(core::Published<Snapshot>& s, policy::LoginTable& l, MachineLimits& m, std::size_t workers)
      : snapshot(s), logins(l), machines(m), servers(workers) {}
};

struct WorkerServerOptions {
  std::string spool_directory;
  core::SpoolOptions spool;              // sizes; directory and log number are filled in here
  std::uint32_t receive_buffers = 1024;  // as the ring has them
};

class WorkerServer {
 public:
  // Opens the worker's spool log and adopts those of a former run that fall to it (log number modulo workers), and puts
  // what they hold into the queue, due at once. Blocks. `notes`: what recovery found, a line each.
  static core::Result<std::unique_ptr<WorkerServer>> create(core::Worker& worker, Shared& shared, core::LogRing& log,
                                                            const WorkerServerOptions& options,
                                                            std::vector<std::string>& notes);
  ~WorkerServer();
  WorkerServer(const WorkerServer&) = delete;
  WorkerServer& operator=(const WorkerServer&) = delete;

  // --- life ---------------------------------------------------------------------------------------------------------
  // Take over a listening socket, of a service or a mailbox (indices into the settings).
  void listen(int listener, std::size_t service);
  void listen_mailbox(int listener, std::size_t mailbox);
  // Starts delivering what recovery found.
  void start_queue();
  // No new connections; running sessions and deliveries end in their own time, or at `deadline_boot_ns`.
  void begin_drain(std::int64_t deadline_boot_ns);
  // Nothing is under way: what is left is the queue on disk, and this may be destroyed.
  [[nodiscard]] bool is_quiet() const;
  // After begin_drain: true when quiet, or past the deadline.
  [[nodiscard]] bool is_drained() const;
  [[nodiscard]] bool is_draining() const { return draining_; }

  // --- what connections and deliveries use --------------------------------------------------------------------------
  [[nodiscard]] core::Worker& worker() { return worker_; }
  [[nodiscard]] core::Ring& ring() { return worker_.ring(); }
  [[nodiscard]] const core::Time& now() const { return worker_.now(); }
  [[nodiscard]] Shared& shared() { return shared_; }
  [[nodiscard]] const Snapshot& snapshot() const { return *shared_.snapshot.read(); }  // this turn's
  [[nodiscard]] const policy::Settings& settings() const { return snapshot().policy.settings(); }
  [[nodiscard]] smtp::World world() const;
  [[nodiscard]] core::Spool& spool() { return *spool_; }
  [[nodiscard]] core::BlockPool& session_pool() { return session_pool_; }
  [[nodiscard]] core::BlockPool& content_pool() { return content_pool_; }
  [[nodiscard]] core::SlotPool<Intake>& intakes() { return intakes_; }
  [[nodiscard]] core::SlotPool<TlsChannel>& tls_channels() { return tls_channels_; }
  [[nodiscard]] core::SlotPool<users::CredentialRequest>& credential_requests() { return credential_requests_; }
  [[nodiscard]] BufferLinks& links() { return links_; }
  [[nodiscard]] core::LogRing& log() { return log_; }
  [[nodiscard]] Counters& counters() { return counters_; }
  [[nodiscard]] MessageQueue& queue() { return *queue_; }
  [[nodiscard]] Lanes& lanes() { return *lanes_; }
  [[nodiscard]] dns::Resolver& resolver() { return *resolver_; }
  [[nodiscard]] MailSites& mail_sites() { return mail_sites_; }
  [[nodiscard]] Fronts& fronts() { return *fronts_; }
  [[nodiscard]] std::uint32_t inline_bytes_max() const { return inline_bytes_max_; }

  // Is there room in queue, memory and spool for a message of `octets` (0: not told)? Returns what was set aside in the
  // spool, to be handed to an Intake; 0: no.
  [[nodiscard]] std::uint64_t admit(std::uint64_t octets);
  // A message is durable: log, count, queue.
  void message_accepted(core::ItemId id, std::string_view head, std::uint16_t content_flags,
                        std::int64_t accepted_unix_ns, bool is_large, std::uint64_t octets, Content&& content);
  void connection_ended(Inbound& inbound);
  // A place among limits.connections, for as long as a connection lives. False: there is none, or the server is ending.
  [[nodiscard]] bool take_place();
  void give_place();
  // Says one line and closes. Without a line, or when too many are being told at once: closes.
  void refuse(int socket, std::string_view line);
  // Is this machine barred for guessing passwords? Counted if so.
  [[nodiscard]] bool is_barred(const core::IpAddress& machine);
  // The spool takes no append just now: the intake's append_now() is called again in later turns until it succeeds.
  void wait_to_append(Intake& intake) { waiting_to_append_.push_back(&intake); }

  // For `check`: what one worker has for these.
  static std::uint64_t session_pool_bytes();
  static std::uint64_t spool_buffer_bytes();

 private:
  WorkerServer(core::Worker& worker, Shared& shared, core::LogRing& log, const WorkerServerOptions& options);
  core::Result<void> open_spools(const WorkerServerOptions& options, std::vector<std::string>& notes);
  core::Result<std::unique_ptr<core::Spool>> open_log(const std::string& directory, std::uint32_t number, bool draining,
                                                      const WorkerServerOptions& options,
                                                      std::vector<std::string>& notes);

  // A connection that is told 421 and closed: a bound was reached.
  struct Refusal;

  void accepted(int socket, std::size_t service);
  bool flush() noexcept;
  void on_drain_tick(core::Timer&) noexcept;
  void start_resolver();
  void watch_dns_settings();

  core::Worker& worker_;
  Shared& shared_;
  core::LogRing& log_;
  Counters counters_;
  std::uint32_t inline_bytes_max_;
  core::BlockPool session_pool_;
  core::BlockPool content_pool_;
  core::SlotPool<Intake> intakes_;
  core::SlotPool<TlsChannel> tls_channels_;
  core::SlotPool<users::CredentialRequest> credential_requests_;
  core::SlotPool<Inbound> inbounds_;
  core::SlotPool<Refusal> refusals_;
  BufferLinks links_;
  std::unique_ptr<core::Spool> spool_;
  std::vector<std::unique_ptr<core::Spool>> adopted_;
  std::unique_ptr<MessageQueue> queue_;
  std::unique_ptr<Lanes> lanes_;
  MailSites mail_sites_;
  // Dies before those whom it answers.
  std::unique_ptr<dns::Resolver> resolver_;
  std::unique_ptr<dns::Channel> dns_channel_;  // nullptr: every lookup fails
  policy::Settings::Dns dns_settings_;         // under which the resolver learnt what it knows
  std::string resolv_conf_;
  std::string own_name_;
  std::unique_ptr<Fronts> fronts_;
  std::vector<std::unique_ptr<Listener>> listeners_;
  Inbound* first_inbound_ = nullptr;
  std::vector<Intake*> waiting_to_append_;
  std::vector<Intake*> appending_;  // kept: flush() swaps it with the above
  bool draining_ = false;
  std::int64_t drain_deadline_ns_ = 0;
  core::Timer drain_tick_;  // while draining nobody else may wake a sleeping worker
};

}  // namespace postern::net
