// An attempt's way out: from a message that is due to jobs in the lanes.

#include <algorithm>
#include <cstring>
#include <functional>
#include <new>
#include <utility>

#include "net/delivery/message_queue.h"
#include "net/queue_id.h"
#include "net/smtp/envelope.h"
#include "net/users/credentials.h"
#include "net/worker_server.h"

namespace postern::net {
namespace {

constexpr std::int64_t kStarvedNanoseconds = 50 * core::kNanosecondsPerMillisecond;
// How long a message whose sender's account is held waits before that is looked at again.
constexpr std::int64_t kHeldSeconds = 30;

}  // namespace

// True: its sender's account is held, and so is it. Not an attempt: the retry schedule does not move, and its time is not over
// before an attempt was made.
bool MessageQueue::hold(QueuedMessage& message) {
  const users::Credentials* credentials = server_.shared().credentials;
  if (credentials == nullptr || credentials->held().count() == 0 || message.remove_asked) return message.is_held = false;
  const std::string_view user = smtp::EnvelopeReader::open(message.head_view())->session().user;
  const bool was_held = std::exchange(message.is_held, !user.empty() && credentials->held().contains(user));
  if (!message.is_held) return false;
  server_.counters().messages_held.add();
  if (!was_held) {
    core::LogLine(server_.log(), server_.now(), core::Severity::info, "held")
        .add("id", QueueId(message.id).text())
        .add("user", user)
        .flood_key(std::hash<std::string_view>{}(user));
  }
  message.in_attempt = false;
  message.retry_asked = false;
  schedule(message, server_.now().unix_seconds() + kHeldSeconds);
  return true;
}

void MessageQueue::begin_attempt(QueuedMessage& message) {
  if (hold(message)) return;
  ++attempts_open_;
  message.open_jobs = 1;  // held by this function, so that the attempt cannot end before all jobs are made
  if (!message.remove_asked) make_jobs(message);
  if (--message.open_jobs == 0) end_attempt(message);
}

// One job a target. The envelope is walked once; the targets of a message are few.
void MessageQueue::make_jobs(QueuedMessage& message) {
  const auto reader = smtp::EnvelopeReader::open(message.head_view());
  const Snapshot& snapshot = server_.snapshot();
  const RouteTarget* last = nullptr;
  std::vector<const RouteTarget*> seen;  // more than one target only; an empty vector allocates nothing
  std::uint32_t ordinal = 0;
  for (auto at = reader->first(); const auto recipient = reader->next(at); ++ordinal) {
    if (message.state != nullptr && message.state->status(ordinal) != delivery::RecipientStatus::pending) continue;
    std::shared_ptr<const RouteTarget> target = snapshot.target_of(recipient->forward_path);
    if (target == nullptr) {
      settle_here(message, ordinal, recipient->forward_path, 550, "5.4.4", "no [[route]] takes this domain");
      continue;
    }
    if (target->by_mx) target = site_of(message, ordinal, recipient->forward_path, target);
    if (target == nullptr || target.get() == last) continue;
    if (std::find(seen.begin(), seen.end(), target.get()) != seen.end()) continue;
    if (last != nullptr) seen.push_back(last);
    last = target.get();
    add_job(message, target, ordinal);
  }
}

void MessageQueue::add_job(QueuedMessage& message, const std::shared_ptr<const RouteTarget>& target,
                           std::uint32_t ordinal) {
  DeliveryJob* job = jobs_.make(target);
  if (job == nullptr) return;  // its recipients stay pending: the next attempt will have them
  job->owner = this;
  job->owner_worker = server_.worker().index();
  job->message = &message;
  job->id = message.id;
  job->next_recipient = ordinal;
  job->asked_ns = message.asked_ns;
  DeliveryFlow& flow = flow_of(target);
  job->flow = &flow;
  flow.waiting.push_back(*job);
  mark(flow);
  ++message.open_jobs;
}

DeliveryFlow& MessageQueue::flow_of(const std::shared_ptr<const RouteTarget>& target) {
  std::unique_ptr<DeliveryFlow>& flow = flows_[target->key];
  if (flow == nullptr) {
    flow = std::make_unique<DeliveryFlow>();
  }
  if (flow->target != target) {
    flow->target = target;
    const std::size_t workers = server_.worker().workers();
    const std::size_t home = LanePlan::home(*target, workers, server_.worker().index());
    flow->window = std::max(2u, 2 * LanePlan::connections(*target, workers, home));
  }
  return *flow;
}

void MessageQueue::mark(DeliveryFlow& flow) {
  if (flow.marked) return;
  flow.marked = true;
  marked_.push_back(&flow);
}

void MessageQueue::run_flow(DeliveryFlow& flow) {
  flow.quiet_since_ns = server_.now().boot_ns;
  while (flow.outstanding < flow.window && !flow.waiting.empty()) {
    DeliveryJob* job = flow.waiting.pop_front();
    if (draining_ || job->message->remove_asked) {
      QueuedMessage& message = *job->message;
      drop_job(*job);
      if (--message.open_jobs == 0) end_attempt(message);
      continue;
    }
    if (!load(*job)) {
      flow.waiting.push_front(*job);
      server_.worker().timers().set(starved_, server_.now().boot_ns + kStarvedNanoseconds);
      return;
    }
  }
}

// Makes sure that the octets are in memory, then dispatches, now or when they are. False: no memory now.
bool MessageQueue::load(DeliveryJob& job) {
  QueuedMessage& message = *job.message;
  if (message.load != nullptr) {
    ++job.flow->outstanding;
    message.waiting_for_load.push_back(job);
    return true;
  }
  if (message.is_large || !message.content.empty()) {
    if (!fill(job)) return false;
    ++job.flow->outstanding;
    dispatch(job);
    return true;
  }
  const std::span<char> memory = message.content.prepare_load(message.spool.load_bytes(message.id));
  if (memory.empty()) return false;
  message.load = std::make_unique<core::Load>();
  message.load->owner = &message;
  message.load->handler = &MessageQueue::on_loaded;
  message.load->into = memory;
  ++job.flow->outstanding;
  message.waiting_for_load.push_back(job);
  message.spool.load(message.id, *message.load);
  return true;
}

void MessageQueue::on_loaded(void* self, core::Load&, int error) noexcept {
  auto* message = static_cast<QueuedMessage*>(self);
  message->queue.loaded(*message, error);
}

void MessageQueue::loaded(QueuedMessage& message, int error) {
  if (error == 0) {
    message.content.loaded(message.load->body);
  } else {
    message.content.clear();
    core::LogLine(server_.log(), server_.now(), core::Severity::error, "queue_error")
        .add("id", QueueId(message.id).text())
        .add("reason", "the message cannot be read back from the spool")
        .add("error", std::strerror(error));
    // An attempt like another, so that the schedule and the lifetime bound it.
    message.was_tried = true;
    delivery::MessageState& state = state_of(message);
    for (std::uint32_t i = 0; i < message.recipients; ++i) {
      if (state.status(i) == delivery::RecipientStatus::pending) {
        state.set_error(i, 451, "4.3.0", "the message cannot be read from the spool");
      }
    }
  }
  message.load.reset();
  JobList waiting = std::exchange(message.waiting_for_load, JobList{});
  ++message.open_jobs;  // as in begin_attempt
  while (DeliveryJob* job = waiting.pop_front()) {
    --job->flow->outstanding;
    if (error != 0) {
      mark(*job->flow);
      drop_job(*job);
      --message.open_jobs;
    } else if (draining_ || !fill(*job)) {
      job->flow->waiting.push_front(*job);
      mark(*job->flow);
    } else {
      ++job->flow->outstanding;
      dispatch(*job);
    }
  }
  if (--message.open_jobs == 0) end_attempt(message);
}

// Collects the next recipients of this job's target. False: no memory now.
bool MessageQueue::fill(DeliveryJob& job) {
  QueuedMessage& message = *job.message;
  const auto reader = smtp::EnvelopeReader::open(message.head_view());
  const Snapshot& snapshot = server_.snapshot();
  const std::size_t most = std::min<std::size_t>(message.recipients, smtp::Transaction::kRecipientsMax);
  const std::string path = message.is_large ? message.spool.large_path(message.id) : std::string();
  const std::size_t bytes = sizeof(DeliveryBatch) + path.size() + 1 +
                            most * (sizeof(smtp::RecipientFields) + sizeof(JobResult) + sizeof(std::uint32_t)) + 64;
  char* memory = job_pool_.take(bytes);
  if (memory == nullptr) return false;
  job.batch_bytes = bytes;
  job.batch = ::new (static_cast<void*>(memory)) DeliveryBatch();
  memory += sizeof(DeliveryBatch);
  auto* recipients = ::new (static_cast<void*>(memory)) smtp::RecipientFields[most];
  memory += most * sizeof(smtp::RecipientFields);
  auto* ordinals = ::new (static_cast<void*>(memory)) std::uint32_t[most];
  memory += (most * sizeof(std::uint32_t) + 7) & ~std::size_t{7};
  auto* results = ::new (static_cast<void*>(memory)) JobResult[most];
  memory += most * sizeof(JobResult);
  if (message.is_large) {
    std::memcpy(memory, path.c_str(), path.size() + 1);
    job.batch->large_path = memory;
  } else {
    job.batch->content = &message.content;
  }

  std::size_t count = 0;
  std::uint32_t ordinal = 0;
  auto at = reader->first();
  for (; count < most; ++ordinal) {
    const auto recipient = reader->next(at);
    if (!recipient) break;
    if (ordinal < job.next_recipient) continue;
    if (message.state != nullptr && message.state->status(ordinal) != delivery::RecipientStatus::pending) continue;
    std::shared_ptr<const RouteTarget> target;
    if (message.sites != nullptr) target = std::exchange(message.sites->of[ordinal], nullptr);
    if (target == nullptr) target = snapshot.target_of(recipient->forward_path);
    // By key: the same target may have been built anew by a reload since the job was made.
    if (target == nullptr || target->key != job.target->key) {
      if (target != nullptr && target->by_mx && !target->to.empty()) message.sites->of[ordinal] = std::move(target);
      continue;
    }
    recipients[count] = *recipient;
    if (domain_of(recipient->forward_path).empty()) recipients[count].forward_path = job.target->postmaster;
    ordinals[count] = ordinal;
    ++count;
  }
  job.next_recipient = ordinal;
  job.batch->ordinals = {ordinals, count};
  job.batch->results = {results, count};
  job.batch->transaction.sender = reader->sender();
  job.batch->transaction.recipients = {recipients, count};
  job.batch->transaction.content_bytes = message.body_bytes;
  job.batch->transaction.content_flags = message.content_flags;
  return true;
}

void MessageQueue::dispatch(DeliveryJob& job) {
  if (job.batch->ordinals.empty()) return job_done(job);  // a reload sent its recipients elsewhere
  const std::size_t workers = server_.worker().workers();
  const std::size_t self = server_.worker().index();
  const std::size_t home = LanePlan::home(*job.target, workers, self);
  if (home == self) return server_.lanes().submit(job);
  WorkerServer* other = server_.shared().servers[home].load(std::memory_order_acquire);
  server_.worker().send(home, {[](void* target, std::uint64_t a, std::uint64_t) noexcept {
                                 static_cast<WorkerServer*>(target)->lanes().submit(
                                     *reinterpret_cast<DeliveryJob*>(a));
                               },
                               other, reinterpret_cast<std::uint64_t>(&job), 0});
}

void MessageQueue::drop_job(DeliveryJob& job) {
  if (job.batch != nullptr) {
    job.batch->~DeliveryBatch();
    job_pool_.give_back(reinterpret_cast<char*>(job.batch), job.batch_bytes);
  }
  jobs_.destroy(&job);
}

}  // namespace postern::net
