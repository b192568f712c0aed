#include "net/intake.h"

#include <algorithm>
#include <array>
#include <cerrno>
#include <utility>

#include "net/queue_id.h"
#include "net/smtp/trace_header.h"
#include "net/worker_server.h"

namespace postern::net {
namespace {

// A body that came without SIZE= asks for more space in steps of this.
constexpr std::uint64_t kAdmitStep = 1 << 20;
// What a streaming body may have in memory before its sender has to wait for the disk.
constexpr std::size_t kStreamWindow = 4 * core::BlockPool::kLargest;

bool is_lack_of_space(int error) { return error == ENOSPC || error == EDQUOT || error == ENOBUFS; }

}  // namespace

Intake::Intake(WorkerServer& server, const Owner& owner, std::uint64_t admitted)
    : server_(server), owner_(owner), admitted_(admitted), content_(server.content_pool()) {
  durable_.owner = this;
  durable_.handler = [](void* self, core::Durable&, int error) noexcept {
    static_cast<Intake*>(self)->on_durable(error);
  };
  large_.owner = this;
  large_.handler = [](void* self, core::LargeBody&, int error) noexcept {
    static_cast<Intake*>(self)->on_large(error);
  };
}

Intake::~Intake() {
  if (admitted_ != 0) server_.spool().release(admitted_);
}

void Intake::begin(const smtp::ServerSession& session) {
  id_ = server_.spool().next_id();
  accepted_unix_ns_ = server_.worker().now().unix_ns;
  const policy::ServiceSettings& service = server_.settings().services[session.service()];
  const QueueId id(id_);
  std::array<char, smtp::kTraceHeaderMax> memory;
  smtp::TraceFields trace =
      session.trace(server_.settings().hostname, id.text(), accepted_unix_ns_ / core::kNanosecondsPerSecond);
  trace.hide_client = service.hide_client;
  keep({memory.data(), smtp::format_received(memory, trace)});
  if (!service.submission) return;
  filter_.emplace(server_.session_pool());
  filter_->begin(session.is_dot_stuffed());
}

smtp::SubmissionFacts Intake::facts(const smtp::ServerSession& session) const {
  const policy::Settings& settings = server_.settings();
  const policy::ServiceSettings& service = settings.services[session.service()];
  smtp::SubmissionFacts facts;
  facts.domain = !service.submission_domain.empty() ? std::string_view(service.submission_domain)
                 : !settings.local_domains.empty()  ? std::string_view(settings.local_domains.front())
                                                    : std::string_view(settings.hostname);
  facts.hostname = settings.hostname;
  facts.unix_seconds = accepted_unix_ns_ / core::kNanosecondsPerSecond;
  facts.submitter = session.envelope().reverse_path();
  facts.own_header_from = service.auth.own_header_from;
  if (session.account() != nullptr) {
    facts.owns = [](void* object, const policy::Mailbox& mailbox) noexcept {
      const auto& asked = *static_cast<const std::pair<Intake*, const smtp::ServerSession*>*>(object);
      return policy::owns_sender(asked.first->server_.snapshot().policy, *asked.second->account(), mailbox);
    };
  }
  return facts;
}

void Intake::append(const smtp::ServerSession& session, std::string_view octets) {
  if (!filter_ || !filter_->in_header()) return keep(octets);
  push(session, [&](const smtp::SubmissionFacts& known, const smtp::ContentSink& sink) { filter_->push(octets, known, sink); });
}

// Octets through the header's filter, which tells in the end what it thinks of them.
template <class Act>
void Intake::push(const smtp::ServerSession& session, Act&& act) {
  const QueueId id(id_);
  std::pair<Intake*, const smtp::ServerSession*> owner{this, &session};
  smtp::SubmissionFacts known = facts(session);
  known.queue_id = id.text();
  known.owner = &owner;
  act(known, {this, [](void* self, std::string_view piece) noexcept { static_cast<Intake*>(self)->keep(piece); }});
  if (!filter_->verdict().accepted() && !failed_) fail(smtp::StoreResult::refused);
}

void Intake::keep(std::string_view octets) {
  if (failed_) return;  // the session drains the rest
  octets_ += octets.size();
  if (octets_ > admitted_) {
    // Anew as a whole: what was admitted in one piece is released in one piece.
    const std::uint64_t wanted = octets_ + kAdmitStep;
    if (!server_.spool().admit(wanted)) return fail(smtp::StoreResult::no_space);
    server_.spool().release(std::exchange(admitted_, wanted));
  }
  if (!content_.append(octets)) return fail(smtp::StoreResult::no_space);
  if (large_step_ == LargeStep::none && octets_ > server_.inline_bytes_max()) start_large();
  step_large();
}

bool Intake::has_room() const {
  return large_step_ == LargeStep::none || failed_ || content_.size() < kStreamWindow;
}

std::optional<smtp::StoreResult> Intake::finish(const smtp::ServerSession& session, std::uint16_t content_flags) {
  if (filter_) {
    push(session, [&](const smtp::SubmissionFacts& known, const smtp::ContentSink& sink) { filter_->end(known, sink); });
    content_flags |= filter_->added_flags();
  }
  step_ = Step::finishing;
  head_ = session.envelope().head();
  content_flags_ = content_flags;
  if (failed_ && (large_step_ == LargeStep::none || large_step_ == LargeStep::gone)) {
    step_ = Step::done;
    return failure_;
  }
  if (large_step_ == LargeStep::none) {
    append_or_wait();
  } else {
    step_large();
  }
  return std::nullopt;
}

void Intake::append_or_wait() {
  core::Spool& spool = server_.spool();
  if (!spool.can_append(head_.size() + octets_)) return server_.wait_to_append(*this);
  std::array<iovec, Content::kPartsMax> parts;
  const std::size_t n = content_.parts(parts);
  spool.append(id_, head_, std::span(parts.data(), n), content_flags_, accepted_unix_ns_, durable_);
}

void Intake::append_now() {
  // The disk is behind, which passes; or there is no space, which nobody should have to wait for.
  core::Spool& spool = server_.spool();
  if (!spool.can_append(head_.size() + octets_)) {
    if (!spool.admit(octets_)) return tell(smtp::StoreResult::no_space);
    spool.release(octets_);
  }
  append_or_wait();
}

// --- a body in a file of its own -----------------------------------------------------------------------------------

void Intake::start_large() {
  large_step_ = LargeStep::opening;
  large_.id = id_;
  server_.spool().begin_large(large_);
}

// Does the next thing with the file, unless the spool is still at the last one.
void Intake::step_large() {
  if (large_step_ != LargeStep::open && large_step_ != LargeStep::gone) return;
  if (failed_ || step_ == Step::abandoned) {
    if (large_step_ == LargeStep::open) {
      large_step_ = LargeStep::closing;
      return server_.spool().abandon_large(large_);
    }
    if (step_ == Step::abandoned) return owner_.on_idle(owner_.object);
    if (step_ == Step::finishing) return tell(failure_);
    return;
  }
  const std::string_view piece = content_.front();
  const bool ended = step_ == Step::finishing;
  // Only whole blocks go out before the end, so that the file is written in large pieces.
  if (!piece.empty() && (ended || content_.size() > piece.size())) {
    large_step_ = LargeStep::writing;
    server_.spool().write_large(large_, piece);
  } else if (ended) {
    large_step_ = LargeStep::sealing;
    server_.spool().append_large(large_, head_, content_flags_, accepted_unix_ns_, durable_);
  }
}

void Intake::on_large(int error) noexcept {
  const LargeStep was = large_step_;
  large_step_ = was == LargeStep::closing || (was == LargeStep::opening && error != 0) ? LargeStep::gone
                                                                                        : LargeStep::open;
  if (was == LargeStep::writing && error == 0) content_.pop_front();
  if (error != 0 && was != LargeStep::closing) {
    fail(is_lack_of_space(error) ? smtp::StoreResult::no_space : smtp::StoreResult::failed);
  }
  const bool gathering = step_ == Step::gathering;
  step_large();  // may end in the owner destroying this, but not while it gathers
  if (gathering && has_room()) owner_.on_room(owner_.object);
}

// --- the end -------------------------------------------------------------------------------------------------------

void Intake::fail(smtp::StoreResult why) {
  failed_ = true;
  failure_ = why;
  if (large_step_ != LargeStep::writing) content_.clear();
}

bool Intake::abandon() {
  step_ = Step::abandoned;
  if (large_step_ == LargeStep::none || large_step_ == LargeStep::gone) return true;
  step_large();
  return false;
}

void Intake::on_durable(int error) noexcept {
  if (error != 0) {
    return tell(is_lack_of_space(error) ? smtp::StoreResult::no_space : smtp::StoreResult::failed);
  }
  server_.message_accepted(id_, head_, content_flags_, accepted_unix_ns_, large_step_ != LargeStep::none, octets_,
                           std::move(content_));
  tell(smtp::StoreResult::stored);
}

void Intake::tell(smtp::StoreResult result) {
  step_ = Step::done;
  owner_.on_done(owner_.object, result);
}

}  // namespace postern::net
