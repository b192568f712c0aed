#include "tests/net/smtp/memory_driver.h"

#include <cstdio>
#include <cstdlib>
#include <sstream>
#include <utility>

#include "policy/settings.h"

namespace postern::net::smtp::test {

std::unique_ptr<policy::PolicySnapshot> make_snapshot(const std::string& settings_text) {
  policy::ParsedSettings parsed = policy::parse_settings(settings_text);
  if (!parsed.ok()) {
    for (const auto& diagnostic : parsed.diagnostics)
      std::fprintf(stderr, "%s\n", diagnostic.format("settings").c_str());
    std::fprintf(stderr, "%s\n", settings_text.c_str());
    std::abort();
  }
  return std::make_unique<policy::PolicySnapshot>(std::move(parsed.settings));
}

MemoryDriver::MemoryDriver(const policy::PolicySnapshot& snapshot, const core::IpAddress& client,
                           std::size_t pool_bytes)
    : MemoryDriver(snapshot, client, *new core::BlockPool(pool_bytes)) {
  own_pool_.reset(&pool_);
}

MemoryDriver::MemoryDriver(const policy::PolicySnapshot& snapshot, const core::IpAddress& client, core::BlockPool& pool)
    : snapshot_(snapshot),
      pool_(pool),
      pool_used_before_(pool.used_bytes()),
      logins_({64, snapshot.settings().logins.window_seconds, 64}),
      rates_({.key = {}, .users = 64, .machines = 64, .senders = 64}),
      now_{1000 * core::kNanosecondsPerSecond, 1795492107 * core::kNanosecondsPerSecond},
      reply_memory_(ReplyBuffer::kReplyMax),
      replies_(reply_memory_.data(), reply_memory_.size()),
      session_(std::make_unique<ServerSession>(0, client, 40000, pool_)) {}

MemoryDriver::~MemoryDriver() {
  session_.reset();
  if (pool_.used_bytes() != pool_used_before_) {
    std::fprintf(stderr, "the session kept octets of the pool\n");
    std::abort();
  }
}

void MemoryDriver::must(bool holds, const char* what) {
  if (!holds && broken_.empty()) broken_ = what;
}

World MemoryDriver::world() {
  World world;
  world.policy = &snapshot_;
  world.logins = &logins_;
  world.now = now_;
  world.rates = &rates_;
  world.random = [](std::span<std::byte> out) noexcept {
    std::uint8_t next = 0;
    for (std::byte& octet : out) octet = static_cast<std::byte>(++next);
  };
  return world;
}

void MemoryDriver::greet() {
  const Step step = session_->greet(world(), replies_);
  must(step.event == Event::need_input || step.event == Event::rejected || step.event == Event::start_tls,
       "greet() gave another event");
  handle(step, {});
  pump({});
}

void MemoryDriver::handshake(const TlsFacts& facts) {
  must(awaits_handshake_, "no handshake is awaited");
  if (!awaits_handshake_) return;
  awaits_handshake_ = false;
  session_->tls_started(facts);
  must(session_->is_encrypted() && session_->account() == nullptr && session_->helo().empty() &&
           !session_->in_transaction(),
       "something from before TLS is left");
  pump({});
}

void MemoryDriver::feed(std::string_view octets) {
  pump(octets);
}

void MemoryDriver::feed(std::string_view octets, Cut cut, std::mt19937_64& random) {
  if (cut == Cut::whole) return pump(octets);
  while (!octets.empty() && !closed_) {
    const std::size_t most = random() % 8 == 0 ? 200 : 6;
    const std::size_t size = cut == Cut::by_octet ? 1 : std::min<std::size_t>(octets.size(), 1 + random() % most);
    // In memory of its own, so that a view that outlives it is seen by the sanitizer.
    const auto piece = std::make_unique<char[]>(size);
    octets.copy(piece.get(), size);
    pump({piece.get(), size});
    octets.remove_prefix(size);
  }
}

void MemoryDriver::pump(std::string_view octets) {
  std::string moved;
  for (;;) {
    if (awaits_handshake_) {
      // Nothing happens until then, whatever comes.
      must(session_->advance(octets, world(), replies_).consumed == 0, "consumed while a handshake is awaited");
      octets = {};
      break;
    }
    const Step step = session_->advance(octets, world(), replies_);
    must(step.consumed <= octets.size(), "consumed more than there was");
    const bool go_on = handle(step, octets);
    octets.remove_prefix(step.consumed);
    if (asked_ != nullptr) {
      // The answer comes when it comes: nothing is consumed before, and the octets may be elsewhere then.
      must(session_->advance(octets, world(), replies_).consumed == 0, "consumed with a question open");
      if (late_answers) octets = moved = std::string(octets);
      answer_login();
      continue;
    }
    if (!go_on) break;
  }
  must(closed_ || octets.empty(), "need_input with octets left");
  said_ += replies_.view();
  replies_.clear();
}

bool MemoryDriver::handle(const Step& step, std::string_view octets) {
  switch (step.event) {
    case Event::need_input:
      return false;
    case Event::flush:
      must(!replies_.has_room(), "flush with room left");
      said_ += replies_.view();
      replies_.clear();
      return true;
    case Event::admit:
      admitted_.push_back(step.size);
      must(session_->advance(octets.substr(step.consumed), world(), replies_).consumed == 0,
           "consumed with a question open");
      session_->answer_admit(next_admit, replies_);
      next_admit = true;
      return true;
    case Event::begin_message:
      begin_message();
      return true;
    case Event::content:
      must(in_message_ && !step.content.empty(), "content out of order");
      content_ += step.content;
      return true;
    case Event::end_message:
      end_message(step);
      return true;
    case Event::abort_message:
      must(in_message_ && !session_->in_message(), "abort_message out of order");
      in_message_ = false;
      ++aborted_;
      return true;
    case Event::start_tls:
      must(!session_->is_encrypted() && !in_message_, "start_tls out of order");
      awaits_handshake_ = true;
      return true;
    case Event::login:
      must(session_->in_login() && step.login != nullptr && session_->account() == nullptr, "login out of order");
      asked_ = step.login;
      return true;
    case Event::login_ended:
      note_login(step);
      return true;
    case Event::rejected:
      note_rejected(step);
      return true;
    case Event::close:
    case Event::drop:
      must(!in_message_, "closed with a message open");
      closed_ = true;
      dropped_ = step.event == Event::drop;
      return false;
  }
  return false;
}

void MemoryDriver::begin_message() {
  must(!in_message_ && session_->in_message() && session_->in_transaction(), "begin_message out of order");
  must(session_->envelope().recipients() > 0, "a message without recipients");
  in_message_ = true;
  content_.clear();
  char trace[kTraceHeaderMax];
  const std::size_t size =
      format_received(trace, session_->trace(snapshot_.settings().hostname, "QUEUEID", now_.unix_seconds()));
  trace_.assign(trace, size);
}

void MemoryDriver::end_message(const Step& step) {
  must(in_message_, "end_message out of order");
  must(step.size == content_.size(), "end_message tells another size");
  if (next_store == StoreResult::stored) {
    stored_.push_back({content_, step.content_flags, std::string(session_->envelope().head()), trace_});
  }
  session_->answer_stored(next_store, "QUEUEID", replies_);
  must(!session_->in_transaction() && !session_->in_message(), "a transaction behind its end");
  next_store = StoreResult::stored;
  in_message_ = false;
}

void MemoryDriver::note_rejected(const Step& step) {
  std::ostringstream line;
  line << step.verdict.code << " " << step.verdict.enhanced << " " << step.verdict.text << " ["
       << policy::rule_name(step.verdict.rule) << "] " << step.content;
  must(step.verdict.code >= 400, "a rejection without a code");
  rejected_.push_back(line.str());
}

void MemoryDriver::note_login(const Step& step) {
  must(step.login != nullptr, "a login ended, and which one is not told");
  const sasl::Step& ended = *step.login;
  const bool success = ended.kind == sasl::Step::Kind::success;
  must(success || ended.kind == sasl::Step::Kind::failure, "a login that ended in its middle");
  must(success == session_->client().authenticated && success == (session_->account() != nullptr),
       "what is told of a login is not what holds");
  std::string line = success ? "success " : "failure ";
  line += std::string(ended.user) + " " + std::string(sasl::name_of(step.mechanism));
  if (!success) line += " " + std::string(sasl::name_of(ended.failure)) + (ended.counts_as_guess ? " guess" : "");
  logins_ended_.push_back(std::move(line));
}

void MemoryDriver::answer_login() {
  const sasl::Step& question = *std::exchange(asked_, nullptr);
  if (next_login && users_ != nullptr) {
    users_->answer(*session_, question);
  } else {
    session_->answer_login_unavailable();
  }
  next_login = true;
}

}  // namespace postern::net::smtp::test
