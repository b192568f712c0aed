// An attempt's way back: from the lanes' results to what is written in the spool.

#include <algorithm>
#include <utility>

#include "net/delivery/bounce.h"
#include "net/delivery/message_queue.h"
#include "net/delivery/notice.h"
#include "net/queue_id.h"
#include "net/smtp/envelope.h"
#include "net/worker_server.h"
#include "policy/retry.h"

namespace postern::net {
namespace {

using delivery::DeliveryEvent;
using delivery::RecipientStatus;

// RFC 3461 leaves the time of a "delayed" notice to us: four hours, as the field does.
constexpr std::int64_t kDelayNoticeSeconds = 4 * 3600;
// When nothing could be tried at all (no memory, a failed read): not an attempt, so not the schedule's business.
constexpr std::int64_t kNotTriedSeconds = 60;

DeliveryEvent success_event(const RouteTarget& target, bool dsn_passed_on) {
  // An LMTP hop delivers for good; an SMTP hop only takes over, with the duty to report or without.
  if (!target.to.empty() && target.to.front().protocol == policy::NextHopProtocol::lmtp) {
    return DeliveryEvent::delivered;
  }
  return dsn_passed_on ? DeliveryEvent::relayed_with_dsn : DeliveryEvent::relayed;
}

// "Too many recipients": of RCPTMAX (RFC 9422), or in the peer's words. An enhanced code of another kind says that it is
// about the recipient: "452 4.2.2 mailbox full".
bool is_too_many(const JobResult& result) {
  return result.code == 452 && (result.enhanced_bytes == 0 || result.enhanced_view() == "4.5.3");
}

// The recipients that go into another transaction at once (RFC 5321 section 4.5.3.1.10): only where this one delivered to
// somebody, so that it comes to an end.
bool goes_on_at_once(const DeliveryBatch& batch) {
  return std::any_of(batch.results.begin(), batch.results.end(), [](const JobResult& r) { return r.delivered(); }) &&
         std::any_of(batch.results.begin(), batch.results.end(), is_too_many);
}

}  // namespace

delivery::MessageState& MessageQueue::state_of(QueuedMessage& message) {
  if (message.state == nullptr) message.state = std::make_unique<delivery::MessageState>(message.recipients);
  return *message.state;
}

// --- a job comes back ----------------------------------------------------------------------------------------------

// Everybody got it, in one job, and nobody asked to be told: the common case needs no state.
bool MessageQueue::is_simple_success(const DeliveryJob& job) const {
  const QueuedMessage& message = *job.message;
  const DeliveryBatch& batch = *job.batch;
  if (message.state != nullptr || message.open_jobs != 1 || batch.ordinals.size() != message.recipients) return false;
  for (std::size_t i = 0; i < batch.results.size(); ++i) {
    const JobResult& result = batch.results[i];
    if (!result.delivered()) return false;
    const smtp::RecipientFields& recipient = batch.transaction.recipients[i];
    if (recipient.notify != smtp::notify_unset &&
        delivery::notice_due(batch.transaction.sender.reverse_path, recipient.notify,
                             success_event(*job.target, result.dsn_passed_on))) {
      return false;
    }
  }
  return true;
}

void MessageQueue::job_done(DeliveryJob& job) {
  QueuedMessage& message = *job.message;
  DeliveryFlow& flow = *job.flow;
  --flow.outstanding;
  if (!flow.waiting.empty()) mark(flow);

  if (goes_on_at_once(*job.batch)) {
    for (std::size_t i = job.batch->results.size(); i-- > 0;) {
      if (!is_too_many(job.batch->results[i])) continue;
      job.batch->results[i].code = 0;
      job.next_recipient = job.batch->ordinals[i];
    }
  }
  for (std::size_t i = 0; i < job.batch->results.size(); ++i) {
    if (job.batch->results[i].code == 0) {  // given back untried
      if (job.target->by_mx) message.sites->of[job.batch->ordinals[i]] = job.target;
      continue;
    }
    message.was_tried = true;
    log_result(job, i);
  }
  if (is_simple_success(job)) {
    drop_job(job);
    --attempts_open_;
    return finish(message);
  }
  bool changed = false;
  for (std::size_t i = 0; i < job.batch->results.size(); ++i) {
    if (job.batch->results[i].code == 0) continue;
    apply_result(job, i);
    changed = true;
  }
  const bool more = job.next_recipient < message.recipients && !draining_;
  if (more) {
    job.batch->~DeliveryBatch();
    job_pool_.give_back(reinterpret_cast<char*>(std::exchange(job.batch, nullptr)), job.batch_bytes);
    flow.waiting.push_back(job);
    mark(flow);
  } else {
    drop_job(job);
    if (--message.open_jobs == 0) return end_attempt(message);
  }
  if (changed) {  // the rest is still under way: what is known already should not be done twice after a crash
    scratch_.clear();
    message.state->encode(scratch_);
    message.spool.update(message.id, scratch_, nullptr);
  }
}

void MessageQueue::apply_result(DeliveryJob& job, std::size_t index) {
  QueuedMessage& message = *job.message;
  const JobResult& result = job.batch->results[index];
  const std::uint32_t ordinal = job.batch->ordinals[index];
  delivery::MessageState& state = state_of(message);
  if (result.delivered()) {
    state.set_status(ordinal, RecipientStatus::delivered);
    state.clear_error(ordinal);
    const smtp::RecipientFields& recipient = job.batch->transaction.recipients[index];
    if (!delivery::notice_due(job.batch->transaction.sender.reverse_path, recipient.notify,
                              success_event(*job.target, result.dsn_passed_on))) {
      state.set_outcome_told(ordinal);
    }
    return;
  }
  if (result.failed()) state.set_status(ordinal, RecipientStatus::failed);
  state.set_error(ordinal, result.code, result.enhanced_view(), result.text_view());
  message.remember_peer(ordinal, result.by_peer ? job.batch->peer_view() : std::string_view{});
}

void MessageQueue::log_result(const DeliveryJob& job, std::size_t index) {
  const JobResult& result = job.batch->results[index];
  const bool ok = result.delivered();
  Counters& counters = server_.counters();
  (ok ? counters.recipients_delivered : result.failed() ? counters.recipients_failed : counters.recipients_deferred)
      .add();
  core::LogLine line(server_.log(), server_.now(), ok ? core::Severity::info : core::Severity::warning,
                     ok ? "delivered" : result.failed() ? "failed" : "deferred");
  line.add("id", QueueId(job.id).text())
      .add("to", job.batch->transaction.recipients[index].forward_path)
      .add("relay", job.batch->peer_view())
      .add("code", result.code);
  if (result.enhanced_bytes != 0) line.add("status", result.enhanced_view());
  if (ok) {
    const std::string_view tls = job.batch->tls;
    line.add("tls", tls.empty() ? "none" : tls)
        .add("proof", tls.empty() ? "none" : job.batch->tls_verified ? "verified" : "encrypted");
  }
  line.add("reply", result.text_view());
}

// --- the attempt ends ----------------------------------------------------------------------------------------------

void MessageQueue::end_attempt(QueuedMessage& message) {
  --attempts_open_;
  message.sites.reset();
  if (message.remove_asked) return finish(message);
  const bool has_pending = message.state == nullptr || message.state->pending() != 0;
  if (!message.was_tried && has_pending && draining_) {
    message.in_attempt = false;  // as it was: the next start will try it
    return;
  }
  state_of(message).last_unix_seconds = server_.now().unix_seconds();
  if (message.was_tried) ++message.state->attempts;
  plan_next(message);
  message.was_tried = false;
  if (!start_notice(message)) conclude(message);
}

// When again; or never, for recipients whose time is over.
void MessageQueue::plan_next(QueuedMessage& message) {
  delivery::MessageState& state = *message.state;
  const std::int64_t now = server_.now().unix_seconds();
  if (!message.was_tried || state.pending() == 0) {
    state.next_unix_seconds = now + kNotTriedSeconds;
    return;
  }
  const policy::Settings::Queue& queue = server_.settings().queue;
  const policy::RetryDecision decision = policy::next_attempt(
      {queue.retry_seconds, queue.lifetime_seconds}, state.attempts,
      message.accepted_unix_ns / core::kNanosecondsPerSecond, now, message.id * 0x9e3779b97f4a7c15ULL);
  state.next_unix_seconds = decision.at_seconds;
  if (!decision.expired) return;
  for (std::uint32_t i = 0; i < message.recipients; ++i) {
    if (state.status(i) != RecipientStatus::pending) continue;
    state.set_status(i, RecipientStatus::failed);
    if (state.error(i) == nullptr) state.set_error(i, 451, "4.4.7", "not delivered in time");
    server_.counters().recipients_failed.add();
  }
}

// Collects the recipients that are due a notice. True: one is on its way, and conclude() follows it.
bool MessageQueue::start_notice(QueuedMessage& message) {
  delivery::MessageState& state = *message.state;
  const auto reader = smtp::EnvelopeReader::open(message.head_view());
  const std::string_view reverse_path = reader->sender().reverse_path;
  const std::int64_t now = server_.now().unix_seconds();
  const bool is_late = now - message.accepted_unix_ns / core::kNanosecondsPerSecond >= kDelayNoticeSeconds;
  auto notice = std::make_unique<Notice>(*this, message);
  std::uint32_t ordinal = 0;
  for (auto at = reader->first(); const auto recipient = reader->next(at); ++ordinal) {
    const RecipientStatus status = state.status(ordinal);
    if (status == RecipientStatus::pending ? !is_late || state.delay_told(ordinal) : state.outcome_told(ordinal)) {
      continue;
    }
    DeliveryEvent event = DeliveryEvent::delayed;
    if (status == RecipientStatus::failed) event = DeliveryEvent::failed;
    if (status == RecipientStatus::delivered) {
      const auto target = server_.snapshot().target_of(recipient->forward_path);
      event = target == nullptr ? DeliveryEvent::relayed : success_event(*target, false);
    }
    const auto action = delivery::notice_due(reverse_path, recipient->notify, event);
    if (!action) {
      status == RecipientStatus::pending ? state.set_delay_told(ordinal) : state.set_outcome_told(ordinal);
      continue;
    }
    delivery::BounceRecipient entry;
    entry.forward_path = recipient->forward_path;
    entry.original = recipient->original;
    entry.action = *action;
    entry.last_attempt_unix_seconds = state.last_unix_seconds;
    std::string status_code;
    if (const delivery::LastError* error = state.error(ordinal)) {
      status_code = error->enhanced.format();
      entry.code = error->code;
      entry.text = error->text;
      entry.remote_mta = message.peer_of(ordinal);
      entry.by_peer = !entry.remote_mta.empty();
    }
    notice->add(ordinal, entry, std::move(status_code));
    if (notice->told().size() == delivery::kBounceRecipientsMax) break;  // the rest gets the next one
  }
  if (notice->empty()) return false;
  ++notices_open_;
  notice.release()->start();  // comes back in notice_done
  return true;
}

void MessageQueue::notice_done(QueuedMessage& message, Notice& notice, bool durable) {
  const std::unique_ptr<Notice> owned(&notice);
  --notices_open_;
  if (durable) {
    for (const Notice::Told& told : notice.told()) {
      told.action == delivery::DsnAction::delayed ? message.state->set_delay_told(told.ordinal)
                                                  : message.state->set_outcome_told(told.ordinal);
    }
    if (start_notice(message)) return;  // one notification tells of a bounded number of recipients
  }
  conclude(message);
}

// Writes what the attempt came to.
void MessageQueue::conclude(QueuedMessage& message) {
  message.in_attempt = false;
  if (message.remove_asked || message.state->finished()) return finish(message);
  scratch_.clear();
  message.state->encode(scratch_);
  message.spool.update(message.id, scratch_, nullptr);
  message.content.clear();
  if (std::exchange(message.retry_asked, false)) {
    message.in_attempt = true;
    due_.push_back(&message);
    return;
  }
  schedule(message, message.state->next_unix_seconds);
}

void MessageQueue::finish(QueuedMessage& message) {
  message.spool.finish(message.id, nullptr);
  erase(message);
}

}  // namespace postern::net
