#include "net/delivery/notice.h"

#include <fcntl.h>

#include <algorithm>
#include <array>
#include <utility>

#include "net/queue_id.h"
#include "net/smtp/envelope.h"
#include "net/worker_server.h"

namespace postern::net {

Notice::Notice(MessageQueue& queue, QueuedMessage& message)
    : queue_(queue),
      message_(message),
      content_(queue.server().content_pool()),
      file_operation_(core::completion_handler<&Notice::on_file>, this) {
  load_.owner = this;
  load_.handler = &Notice::on_loaded;
  durable_.owner = this;
  durable_.handler = &Notice::on_durable;
}

void Notice::add(std::uint32_t ordinal, const delivery::BounceRecipient& recipient, std::string status) {
  told_.push_back({ordinal, recipient.action});
  recipients_.push_back(recipient);
  recipients_.back().status = statuses_.emplace_back(std::move(status));
}

// --- the original's octets -----------------------------------------------------------------------------------------

void Notice::start() {
  if (message_.is_large) {
    path_ = message_.spool.large_path(message_.id);
    return queue_.server().ring().open(AT_FDCWD, path_.c_str(), O_RDONLY | O_CLOEXEC, 0, file_operation_);
  }
  if (!message_.content.empty()) {
    std::array<iovec, Content::kPartsMax> parts;
    const std::size_t n = message_.content.parts(parts);
    for (std::size_t i = 0; i < n; ++i) {
      original_.append(static_cast<const char*>(parts[i].iov_base), parts[i].iov_len);
    }
    return build(original_);
  }
  load_.into = content_.prepare_load(message_.spool.load_bytes(message_.id));
  if (load_.into.empty()) return build({});  // no memory: the notification goes without the original's header
  message_.spool.load(message_.id, load_);
}

void Notice::on_loaded(void* self, core::Load& load, int error) noexcept {
  static_cast<Notice*>(self)->build(error == 0 ? load.body : std::string_view{});
}

// A large original is never returned whole: its beginning holds the header.
void Notice::on_file(core::Completion&, const core::Outcome& outcome) noexcept {
  switch (file_step_) {
    case FileStep::opening:
      if (outcome.result < 0) return build({});
      file_ = outcome.result;
      file_step_ = FileStep::reading;
      original_.resize(delivery::kBounceHeaderMax);
      return queue_.server().ring().read(file_, original_, 0, file_operation_);
    case FileStep::reading:
      original_.resize(static_cast<std::size_t>(std::max(outcome.result, 0)));
      file_step_ = FileStep::closing;
      return queue_.server().ring().close(file_, file_operation_);
    case FileStep::closing:
      return build(original_);
  }
}

// --- the notification ----------------------------------------------------------------------------------------------

void Notice::build(std::string_view original) {
  WorkerServer& server = queue_.server();
  const policy::Settings& settings = server.settings();
  const core::Time& now = server.now();
  const auto reader = smtp::EnvelopeReader::open(message_.head_view());
  id_ = server.spool().next_id();
  accepted_unix_ns_ = now.unix_ns;
  const QueueId name(id_);
  const QueueId original_name(message_.id);

  delivery::BounceRequest request;
  request.hostname = settings.hostname;
  request.postmaster = settings.postmaster;
  request.queue_id = name.text();
  request.original_queue_id = original_name.text();
  request.now_unix_seconds = now.unix_seconds();
  request.arrival_unix_seconds = message_.accepted_unix_ns / core::kNanosecondsPerSecond;
  request.retry_until_unix_seconds = request.arrival_unix_seconds + settings.queue.lifetime_seconds;
  request.sender = reader->sender();
  request.recipients = recipients_;
  request.content = original;
  request.content_bytes = message_.body_bytes;
  request.content_flags = message_.content_flags;
  delivery::BounceMessage bounce = delivery::make_bounce(request);

  smtp::EnvelopeWriter envelope(server.session_pool());
  smtp::SessionFields session;
  session.helo = settings.hostname;
  session.service = "notification";
  session.extended = true;
  if (!envelope.begin(session, bounce.sender) || !envelope.add(bounce.recipient)) {
    return queue_.notice_done(message_, *this, false);
  }
  head_.assign(envelope.head());
  body_ = std::move(bounce.content);
  content_flags_ = bounce.content_flags;
  const iovec part{body_.data(), body_.size()};
  server.spool().append(id_, head_, {&part, 1}, content_flags_, accepted_unix_ns_, durable_);
}

void Notice::on_durable(void* self, core::Durable&, int error) noexcept {
  auto* notice = static_cast<Notice*>(self);
  WorkerServer& server = notice->queue_.server();
  if (error == 0) {
    server.counters().bounces_made.add();
    core::LogLine(server.log(), server.now(), core::Severity::info, "bounced")
        .add("id", QueueId(notice->message_.id).text())
        .add("bounce_id", QueueId(notice->id_).text())
        .add("recipients", notice->told_.size());
    core::ItemInfo info;
    info.id = notice->id_;
    info.accepted_unix_ns = notice->accepted_unix_ns_;
    info.head_bytes = static_cast<std::uint32_t>(notice->head_.size());
    info.body_bytes = notice->body_.size();
    info.content_flags = notice->content_flags_;
    Content content(server.content_pool());
    if (!content.append(notice->body_)) content.clear();  // then it is read back
    notice->queue_.add(server.spool(), info, notice->head_, std::move(content));
  }
  notice->queue_.notice_done(notice->message_, *notice, error == 0);
}

}  // namespace postern::net
