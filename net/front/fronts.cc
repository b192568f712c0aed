#include "net/front/fronts.h"

#include <algorithm>

#include "net/worker_server.h"

namespace postern::net {
namespace {

using core::kNanosecondsPerMillisecond;

constexpr std::size_t kPoolBytes = 64u << 20;
constexpr std::int64_t kReliefTickNanoseconds = 100 * kNanosecondsPerMillisecond;
constexpr std::int64_t kSlowNanoseconds = 500 * kNanosecondsPerMillisecond;  // a send this old waits for a slow reader

}  // namespace

std::string_view refusal_line(policy::MailboxProtocol protocol, FrontRefusal why) {
  const bool is_pop3 = protocol == policy::MailboxProtocol::pop3;
  switch (why) {
    case FrontRefusal::too_many:
      return is_pop3 ? "-ERR [SYS/TEMP] Too many connections, try again later\r\n"
                     : "* BYE [UNAVAILABLE] Too many connections, try again later\r\n";
    case FrontRefusal::barred:
      return is_pop3 ? "-ERR [SYS/TEMP] Too many failed logins from your network, try again later\r\n"
                     : "* BYE [UNAVAILABLE] Too many failed logins from your network, try again later\r\n";
    case FrontRefusal::not_admitted:
      return is_pop3 ? "-ERR [SYS/PERM] This service is not open to your address\r\n"
                     : "* BYE This service is not open to your address\r\n";
  }
  return {};
}

Fronts::Fronts(WorkerServer& server)
    : server_(server),
      pool_(server.settings().mailboxes.empty() ? core::BlockPool::kLargest : kPoolBytes),
      fronts_(server.settings().limits.connections),
      relief_(core::timer_handler<&Fronts::on_relief>, this) {}

Fronts::~Fronts() { server_.worker().timers().cancel(relief_); }

void Fronts::listen(int listener, std::size_t mailbox) {
  static constexpr auto kAccepted = [](void* self, int socket, std::size_t index) {
    static_cast<Fronts*>(self)->accepted(socket, index);
  };
  static constexpr auto kName = [](void* self, std::size_t index) -> std::string_view {
    return static_cast<Fronts*>(self)->server_.settings().mailboxes[index].name;
  };
  listeners_.push_back(std::make_unique<Listener>(server_, listener, mailbox, Listener::Owner{this, kAccepted, kName}));
  listeners_.back()->start();
}

void Fronts::accepted(int socket, std::size_t mailbox) {
  Counters& counters = server_.counters();
  counters.connections_accepted.add();
  const auto peer = core::Ring::peer_name(socket);
  if (!peer) return core::Ring::close_now(socket);  // gone already
  const policy::MailboxSettings& rules = server_.settings().mailboxes[mailbox];
  const auto refuse = [&](FrontRefusal why) {
    const bool can_read = rules.tls != policy::TlsMode::implicit;
    server_.refuse(socket, can_read ? refusal_line(rules.protocol, why) : std::string_view{});
  };
  // Before TLS, and before anything else is spent on it. Behind a balancer the machine is not known yet.
  if (!rules.proxy_protocol && server_.is_barred(peer->address)) return refuse(FrontRefusal::barred);
  Front* front = nullptr;
  if (server_.take_place()) {
    front = fronts_.make(server_, socket, *peer, mailbox);
    if (front == nullptr) server_.give_place();
  }
  if (front == nullptr) {
    counters.connections_shed.add();
    return refuse(FrontRefusal::too_many);
  }
  counters.mailbox_connections_open.set(fronts_.in_use());
  front->next = first_;
  if (first_ != nullptr) first_->previous = front;
  first_ = front;
  front->start();
}

void Fronts::ended(Front& front) {
  std::replace(deferred_.begin(), deferred_.end(), &front, static_cast<Front*>(nullptr));
  std::replace(flushing_.begin(), flushing_.end(), &front, static_cast<Front*>(nullptr));
  (front.previous == nullptr ? first_ : front.previous->next) = front.next;
  if (front.next != nullptr) front.next->previous = front.previous;
  fronts_.destroy(&front);
  server_.counters().mailbox_connections_open.set(fronts_.in_use());
  server_.give_place();
}

void Fronts::begin_drain(std::int64_t deadline_boot_ns) {
  for (const auto& listener : listeners_) listener->stop();
  for (Front* front = first_; front != nullptr;) {
    Front* following = front->next;
    front->begin_drain(deadline_boot_ns);
    front = following;
  }
}

bool Fronts::is_quiet() const {
  return first_ == nullptr &&
         std::all_of(listeners_.begin(), listeners_.end(), [](const auto& listener) { return listener->is_quiet(); });
}

bool Fronts::flush() {
  flushing_.swap(deferred_);
  for (Front* front : flushing_) {
    if (front != nullptr && front->flush_deferred()) deferred_.push_back(front);
  }
  flushing_.clear();
  return deferred_.empty();
}

std::uint64_t Fronts::pool_bytes() { return kPoolBytes; }

bool Fronts::buffers_scarce() {
  const bool is_scarce = server_.ring().buffers_free() < server_.links().links.size() / 4;
  if (is_scarce && !relief_.is_set()) {
    server_.worker().timers().set(relief_, server_.now().boot_ns + kReliefTickNanoseconds);
  }
  return is_scarce;
}

void Fronts::on_relief(core::Timer&) noexcept {
  if (!buffers_scarce()) return;
  for (Front* front = first_; front != nullptr;) {
    Front* following = front->next;
    front->relieve(server_.now().boot_ns - kSlowNanoseconds);
    front = following;
  }
}

}  // namespace postern::net
