// The messages that one worker owns: every message in its spool logs, from the commit that made it durable to
// the commit that finishes it.
//
// An attempt: the pending recipients are grouped by route target, one job a target (on a route by MX the
// targets are those of the recipients' domains, which may have to be looked up first); each job goes to the
// target's lane (a batch of at most Transaction::kRecipientsMax recipients at a time) and comes back with a
// result for each recipient. When all jobs of the attempt are back: notices (RFC 3464) that are due are made
// durable first, then the outcome is written: finished, or a new state and the next attempt by
// policy::next_attempt.
//
// Invariants: an outcome is written only after it happened, and a notice is durable before the outcome that
// hides its
//   cause: a crash in between repeats work, and never loses it.
// Bounds: `messages_max` messages; jobs handed to one target's lane at once: its window; message octets in
// memory: the
//   content pool (what does not fit is read back from the spool when its turn comes).
// Thread: one, its worker's.
#pragma once

#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <unordered_map>
#include <utility>
#include <vector>

#include "core/id_table.h"
#include "core/pool.h"
#include "core/spool.h"
#include "core/timer_wheel.h"
#include "net/content.h"
#include "net/delivery/job.h"
#include "net/dns/mail_hosts.h"
#include "net/delivery/recipient_state.h"
#include "net/snapshot.h"

namespace postern::net {

class Notice;
class WorkerServer;

// Of a message in an attempt with recipients of routes by MX.
struct MessageSites {
  explicit MessageSites(std::uint32_t recipients) : of(recipients) {}
  std::vector<std::shared_ptr<const RouteTarget>> of;  // by ordinal; nullptr: not known, another route's, or in a batch
  std::vector<std::string> waiting;                    // domains that are being looked up
};

struct QueuedMessage {
  QueuedMessage(MessageQueue& q, core::Spool& s, core::BlockPool& pool);

  MessageQueue& queue;
  core::Spool& spool;  // the log that owns it: outcomes go there
  core::ItemId id = 0;
  char* head = nullptr;  // the envelope; a block of the queue's head pool
  std::uint32_t head_bytes = 0;
  std::uint32_t recipients = 0;
  std::uint16_t content_flags = 0;
  bool is_large = false;
  bool in_attempt = false;
  bool was_tried = false;              // in this attempt
  bool remove_asked = false;  // by an operator: finish without a notice when nothing is under way
  bool is_held = false;       // its sender's account was held when it was due last
  bool retry_asked = false;   // while an attempt was under way
  std::int64_t asked_ns = 0;  // when an operator asked for an attempt last; 0: never
  std::uint32_t open_jobs = 0;
  std::uint64_t body_bytes = 0;
  std::int64_t accepted_unix_ns = 0;
  Content content;                                // empty: to be read from the spool
  std::unique_ptr<delivery::MessageState> state;  // nullptr: never tried
  // Who answered with the last error of a recipient, for notices; not kept over a restart.
  std::vector<std::pair<std::uint32_t, std::string>> peers;
  core::Timer timer;                              // the next attempt
  std::unique_ptr<core::Load> load;    // while it is being read back
  JobList waiting_for_load;
  std::unique_ptr<MessageSites> sites;
  QueuedMessage* next = nullptr;  // in the queue's list, oldest first
  QueuedMessage* previous = nullptr;

  [[nodiscard]] std::string_view head_view() const { return {head, head_bytes}; }
  void remember_peer(std::uint32_t ordinal, std::string_view peer);
  [[nodiscard]] std::string_view peer_of(std::uint32_t ordinal) const;  // empty: it was decided here
};

// The jobs of one queue for one target: those that wait, and how many the lane has.
struct DeliveryFlow {
  std::shared_ptr<const RouteTarget> target;
  JobList waiting;
  std::uint32_t outstanding = 0;
  std::uint32_t window = 0;
  std::int64_t quiet_since_ns = 0;
  bool marked = false;
};

class MessageQueue {
 public:
  // What one message with a short envelope takes while it waits, spool index included.
  static constexpr std::uint64_t kBytesPerMessage = sizeof(QueuedMessage) + 512 + 64;

  MessageQueue(WorkerServer& server, std::uint64_t messages_max);
  ~MessageQueue();
  MessageQueue(const MessageQueue&) = delete;
  MessageQueue& operator=(const MessageQueue&) = delete;

  // --- messages come
  // ------------------------------------------------------------------------------------------------
  [[nodiscard]] bool has_room() const;
  // A message that is durable now; its first attempt begins this turn.
  void add(core::Spool& spool, const core::ItemInfo& info, std::string_view head, Content&& content);
  // One that recovery found; due when start() is called.
  void add_recovered(core::Spool& spool, const core::RecoveredItem& item);
  void start();

  // --- once a turn
  // --------------------------------------------------------------------------------------------------
  void flush();
  [[nodiscard]] bool has_work() const { return !marked_.empty() || (!due_.empty() && !draining_); }
  void begin_drain() { draining_ = true; }
  [[nodiscard]] bool is_quiet() const { return attempts_open_ == 0 && notices_open_ == 0; }

  // --- jobs and notices come back
  // -----------------------------------------------------------------------------------
  void job_done(DeliveryJob& job);
  void notice_done(QueuedMessage& message, Notice& notice, bool durable);

  // --- operators
  // ----------------------------------------------------------------------------------------------------
  [[nodiscard]] std::size_t size() const { return by_id_.size(); }
  [[nodiscard]] QueuedMessage* find(core::ItemId id);
  [[nodiscard]] QueuedMessage* oldest() { return first_; }
  void retry_now(QueuedMessage& message);
  // The message ends without a notice; what is under way for it ends first.
  void remove(QueuedMessage& message);
  [[nodiscard]] WorkerServer& server() { return server_; }

 private:
  QueuedMessage* insert(core::Spool& spool, const core::ItemInfo& info, std::string_view head);
  void erase(QueuedMessage& message);
  void schedule(QueuedMessage& message, std::int64_t at_unix_seconds);
  static void on_due(void* self, core::Timer& timer) noexcept;

  // attempt.cc: from due to jobs
  void begin_attempt(QueuedMessage& message);
  [[nodiscard]] bool hold(QueuedMessage& message);
  void make_jobs(QueuedMessage& message);
  void add_job(QueuedMessage& message, const std::shared_ptr<const RouteTarget>& target, std::uint32_t ordinal);
  DeliveryFlow& flow_of(const std::shared_ptr<const RouteTarget>& target);
  void mark(DeliveryFlow& flow);
  void run_flow(DeliveryFlow& flow);
  bool fill(DeliveryJob& job);
  bool load(DeliveryJob& job);
  static void on_loaded(void* self, core::Load& load, int error) noexcept;
  void loaded(QueuedMessage& message, int error);
  void dispatch(DeliveryJob& job);
  void drop_job(DeliveryJob& job);

  // by_mx.cc: from a domain to its target
  void settle_here(QueuedMessage& message, std::uint32_t ordinal, std::string_view forward_path, std::uint16_t code,
                   std::string_view enhanced, std::string_view text);
  [[nodiscard]] std::string mail_domain(std::string_view forward_path) const;
  std::shared_ptr<const RouteTarget> site_of(QueuedMessage& message, std::uint32_t ordinal, std::string_view forward_path,
                                             const std::shared_ptr<const RouteTarget>& route);
  std::shared_ptr<const RouteTarget> place(QueuedMessage& message, std::uint32_t ordinal, std::string_view forward_path,
                                           const RouteTarget& route, const dns::MailHosts& hosts);
  void mail_hosts_known(QueuedMessage& message, const std::string& domain, const dns::MailHosts& hosts);

  // outcome.cc: from results to what is written
  [[nodiscard]] bool is_simple_success(const DeliveryJob& job) const;
  void apply_result(DeliveryJob& job, std::size_t index);
  void log_result(const DeliveryJob& job, std::size_t index);
  void end_attempt(QueuedMessage& message);
  void plan_next(QueuedMessage& message);
  [[nodiscard]] bool start_notice(QueuedMessage& message);
  void conclude(QueuedMessage& message);
  void finish(QueuedMessage& message);
  delivery::MessageState& state_of(QueuedMessage& message);

  WorkerServer& server_;
  std::uint64_t messages_max_;
  core::BlockPool head_pool_;
  core::BlockPool job_pool_;
  core::SlotPool<QueuedMessage> messages_;
  core::SlotPool<DeliveryJob> jobs_;
  core::IdTable<QueuedMessage*> by_id_;
  QueuedMessage* first_ = nullptr;
  QueuedMessage* last_ = nullptr;
  std::vector<QueuedMessage*> due_;        // attempts to begin this turn
  std::vector<QueuedMessage*> beginning_;  // kept: flush() swaps it with due_
  std::unordered_map<std::string, std::unique_ptr<DeliveryFlow>> flows_;
  std::vector<DeliveryFlow*> marked_;
  std::vector<DeliveryFlow*> running_;
  std::uint32_t attempts_open_ = 0;
  std::uint32_t notices_open_ = 0;
  std::string scratch_;  // a state being encoded
  core::Timer starved_;  // memory was short: flows try again
  std::int64_t swept_ns_ = 0;
  bool draining_ = false;
};

}  // namespace postern::net
