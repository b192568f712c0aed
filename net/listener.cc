#include "net/listener.h"

#include <cerrno>
#include <cstring>

#include "net/worker_server.h"

namespace postern::net {
namespace {

constexpr std::int64_t kRetryNanoseconds = 100 * core::kNanosecondsPerMillisecond;

}  // namespace

Listener::Listener(WorkerServer& server, int socket, std::size_t index, const Owner& owner)
    : server_(server),
      socket_(socket),
      index_(index),
      owner_(owner),
      accept_(core::completion_handler<&Listener::on_accept>, this),
      retry_(core::timer_handler<&Listener::on_retry>, this) {}

Listener::~Listener() {
  server_.worker().timers().cancel(retry_);
  core::Ring::close_now(socket_);
}

void Listener::start() { server_.ring().accept(socket_, accept_); }

void Listener::stop() {
  is_stopped_ = true;
  server_.worker().timers().cancel(retry_);
  if (accept_.in_flight) server_.ring().cancel(accept_);
}

void Listener::on_accept(core::Completion&, const core::Outcome& outcome) noexcept {
  if (outcome.result >= 0) {
    owner_.accepted(owner_.object, outcome.result, index_);
  } else if (outcome.result != -ECANCELED) {
    core::LogLine(server_.log(), server_.now(), core::Severity::error, "accept_error")
        .add("service", owner_.name(owner_.object, index_))
        .add("error", std::string_view(std::strerror(-outcome.result)))
        .flood_key(static_cast<std::uint64_t>(-outcome.result));
  }
  if (outcome.has_more || is_stopped_) return;
  server_.worker().timers().set(retry_, server_.now().boot_ns + (outcome.result < 0 ? kRetryNanoseconds : 0));
}

void Listener::on_retry(core::Timer&) noexcept {
  if (!is_stopped_ && !accept_.in_flight) start();
}

}  // namespace postern::net
