#include "net/delivery/message_queue.h"

#include <algorithm>
#include <cstring>
#include <utility>

#include "net/delivery/lane.h"
#include "net/queue_id.h"
#include "net/smtp/envelope.h"
#include "net/worker_server.h"

namespace postern::net {
namespace {

using core::kNanosecondsPerSecond;

// Heads: a block for each message; the smallest holds an envelope of one or two recipients.
constexpr std::uint64_t kHeadBytesPlanned = 512;
// Recipients and results of the jobs that lanes have at once.
constexpr std::size_t kJobPoolBytes = 64u << 20;
constexpr std::int64_t kFlowQuietNanoseconds = 600 * kNanosecondsPerSecond;
constexpr std::size_t kJobsPerMessagePlanned = 4;

}  // namespace

QueuedMessage::QueuedMessage(MessageQueue& q, core::Spool& s, core::BlockPool& pool)
    : queue(q), spool(s), content(pool) {}

void QueuedMessage::remember_peer(std::uint32_t ordinal, std::string_view peer) {
  for (auto& [known, name] : peers) {
    if (known == ordinal) return static_cast<void>(name.assign(peer));
  }
  if (!peer.empty()) peers.emplace_back(ordinal, peer);
}

std::string_view QueuedMessage::peer_of(std::uint32_t ordinal) const {
  for (const auto& [known, name] : peers) {
    if (known == ordinal) return name;
  }
  return {};
}

MessageQueue::MessageQueue(WorkerServer& server, std::uint64_t messages_max)
    : server_(server),
      messages_max_(messages_max),
      head_pool_(std::max<std::uint64_t>(messages_max * kHeadBytesPlanned, 16u << 20)),
      job_pool_(kJobPoolBytes),
      messages_(messages_max + 65536),  // recovery and notices may go past the bound that admission keeps
      jobs_((messages_max + 65536) * kJobsPerMessagePlanned) {
  starved_.owner = this;
  starved_.handler = [](void* self, core::Timer&) noexcept {
    auto* queue = static_cast<MessageQueue*>(self);
    for (auto& [key, flow] : queue->flows_) queue->mark(*flow);
  };
}

MessageQueue::~MessageQueue() {
  server_.worker().timers().cancel(starved_);
  for (auto& [key, flow] : flows_) {
    while (DeliveryJob* job = flow->waiting.pop_front()) drop_job(*job);
  }
  while (first_ != nullptr) erase(*first_);
}

bool MessageQueue::has_room() const { return by_id_.size() < messages_max_; }

QueuedMessage* MessageQueue::find(core::ItemId id) {
  QueuedMessage** found = by_id_.find(id);
  return found == nullptr ? nullptr : *found;
}

// --- messages come -------------------------------------------------------------------------------------------------

void MessageQueue::add(core::Spool& spool, const core::ItemInfo& info, std::string_view head, Content&& content) {
  QueuedMessage* message = insert(spool, info, head);
  if (message == nullptr) return;
  // The octets stay in memory for the first attempt, unless memory is getting short: then they are read back.
  const core::BlockPool& pool = server_.content_pool();
  if (pool.used_bytes() < pool.budget_bytes() / 2) message->content = std::move(content);
  message->in_attempt = true;
  due_.push_back(message);
}

void MessageQueue::add_recovered(core::Spool& spool, const core::RecoveredItem& item) {
  QueuedMessage* message = insert(spool, item.info, item.head);
  if (message == nullptr || item.state.empty()) return;
  auto state = std::make_unique<delivery::MessageState>();
  // A state that cannot be read means "never tried": a recipient may get the message twice, but nobody loses it.
  if (state->decode(item.state, message->recipients)) message->state = std::move(state);
}

void MessageQueue::start() {
  for (QueuedMessage* m = first_; m != nullptr; m = m->next) {
    if (m->in_attempt || m->timer.is_set()) continue;
    m->in_attempt = true;
    due_.push_back(m);
  }
}

QueuedMessage* MessageQueue::insert(core::Spool& spool, const core::ItemInfo& info, std::string_view head) {
  const auto reader = smtp::EnvelopeReader::open(head);
  QueuedMessage* message = reader ? messages_.make(*this, spool, server_.content_pool()) : nullptr;
  char* memory = message == nullptr ? nullptr : head_pool_.take(head.size());
  if (memory == nullptr) {
    // On disk it is safe; it will be tried after the next start.
    if (message != nullptr) messages_.destroy(message);
    core::LogLine(server_.log(), server_.now(), core::Severity::error, "queue_error")
        .add("id", QueueId(info.id).text())
        .add("reason", reader ? "no memory for the queue: raise limits.queue_messages and restart"
                              : "the envelope in the spool cannot be read; see 'postern spool dump'");
    return nullptr;
  }
  std::memcpy(memory, head.data(), head.size());
  message->id = info.id;
  message->head = memory;
  message->head_bytes = static_cast<std::uint32_t>(head.size());
  message->recipients = reader->recipient_count();
  message->content_flags = info.content_flags;
  message->is_large = info.is_large;
  message->body_bytes = info.body_bytes;
  message->accepted_unix_ns = info.accepted_unix_ns;
  message->timer.owner = message;
  message->timer.handler = &MessageQueue::on_due;
  message->previous = last_;
  (last_ == nullptr ? first_ : last_->next) = message;
  last_ = message;
  by_id_.insert(message->id, message);
  server_.counters().queue_messages.set(by_id_.size());
  return message;
}

void MessageQueue::erase(QueuedMessage& message) {
  server_.worker().timers().cancel(message.timer);
  (message.previous == nullptr ? first_ : message.previous->next) = message.next;
  (message.next == nullptr ? last_ : message.next->previous) = message.previous;
  by_id_.erase(message.id);
  head_pool_.give_back(message.head, message.head_bytes);
  messages_.destroy(&message);
  server_.counters().queue_messages.set(by_id_.size());
}

// --- time ----------------------------------------------------------------------------------------------------------

void MessageQueue::schedule(QueuedMessage& message, std::int64_t at_unix_seconds) {
  const core::Time& now = server_.now();
  const std::int64_t wait = std::max<std::int64_t>(at_unix_seconds * kNanosecondsPerSecond - now.unix_ns, 0);
  server_.worker().timers().set(message.timer, now.boot_ns + wait);
}

void MessageQueue::on_due(void* self, core::Timer&) noexcept {
  auto* message = static_cast<QueuedMessage*>(self);
  message->in_attempt = true;
  message->queue.due_.push_back(message);
}

void MessageQueue::flush() {
  if (!draining_) {
    beginning_.swap(due_);
    for (QueuedMessage* message : beginning_) begin_attempt(*message);
    beginning_.clear();
  }
  running_.swap(marked_);
  for (DeliveryFlow* flow : running_) {
    flow->marked = false;
    run_flow(*flow);
  }
  running_.clear();
  const std::int64_t now = server_.now().boot_ns;
  if (now - swept_ns_ < kFlowQuietNanoseconds) return;
  swept_ns_ = now;
  std::erase_if(flows_, [now](const auto& entry) {
    const DeliveryFlow& flow = *entry.second;
    return flow.waiting.empty() && flow.outstanding == 0 && !flow.marked &&
           now - flow.quiet_since_ns > kFlowQuietNanoseconds;
  });
}

// --- operators -----------------------------------------------------------------------------------------------------

void MessageQueue::retry_now(QueuedMessage& message) {
  message.asked_ns = server_.now().boot_ns;
  if (message.in_attempt) {
    message.retry_asked = true;
    return;
  }
  server_.worker().timers().cancel(message.timer);
  message.in_attempt = true;
  due_.push_back(&message);
}

void MessageQueue::remove(QueuedMessage& message) {
  message.remove_asked = true;
  if (!message.in_attempt) finish(message);
}

}  // namespace postern::net
