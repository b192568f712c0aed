#include "net/admin/sink.h"

#include <array>
#include <cerrno>
#include <chrono>
#include <sys/socket.h>
#include <unistd.h>
#include <utility>

#include "core/pool.h"
#include "core/ring.h"
#include "net/smtp/envelope.h"
#include "net/smtp/server_session.h"
#include "policy/login_table.h"

namespace postern::net {
namespace {

policy::Settings sink_settings(const std::string& domain) {
  policy::Settings settings;
  settings.hostname = "sink." + domain;
  settings.local_domains = {domain};
  settings.postmaster = "postmaster@" + domain;
  policy::ServiceSettings service;
  service.name = "sink";
  service.reject_forged_local = false;
  settings.services.push_back(service);
  return settings;
}

std::string describe(const smtp::EnvelopeWriter& envelope) {
  const auto reader = smtp::EnvelopeReader::open(envelope.head());
  std::string text = "MAIL FROM:<" + std::string(reader->sender().reverse_path) + ">\n";
  for (auto at = reader->first(); const auto recipient = reader->next(at);) {
    text += "RCPT TO:<" + std::string(recipient->forward_path) + ">\n";
  }
  return text;
}

}  // namespace

core::Result<std::unique_ptr<Sink>> Sink::start(const std::string& domain) {
  const auto listener = core::Ring::listen({core::IpAddress::from_v4(0x7f000001), 0});
  if (!listener) return std::unexpected(listener.error());
  const auto name = core::Ring::local_name(*listener);
  if (!name) return core::fail("the sink's socket has no name");
  return std::unique_ptr<Sink>(
      new Sink(std::make_unique<policy::PolicySnapshot>(sink_settings(domain)), *listener, name->port));
}

Sink::Sink(std::unique_ptr<policy::PolicySnapshot> policy, int listener, std::uint16_t port)
    : policy_(std::move(policy)), listener_(listener), port_(port), thread_([this] { run(); }) {}

Sink::~Sink() {
  shutdown(listener_, SHUT_RDWR);  // ends the accept
  thread_.join();
  close(listener_);
}

std::optional<SunkMessage> Sink::wait(int seconds) {
  std::unique_lock lock(mutex_);
  arrived_.wait_for(lock, std::chrono::seconds(seconds), [this] { return message_.has_value(); });
  return message_;
}

void Sink::run() {
  for (;;) {
    const int connection = accept(listener_, nullptr, nullptr);
    if (connection >= 0) {
      serve(connection);
      close(connection);
    } else if (errno != EINTR && errno != EAGAIN && errno != ECONNABORTED) {
      return;
    }
  }
}

void Sink::serve(int connection) {
  core::BlockPool pool(4u << 20);
  policy::LoginTable logins({.machines = 1024});
  smtp::ServerSession session(0, core::IpAddress::from_v4(0x7f000001), 0, pool);
  std::array<char, 4096> reply_memory;
  smtp::ReplyBuffer replies(reply_memory.data(), reply_memory.size());
  smtp::World world{policy_.get(), &logins, {}};
  std::array<char, 16384> input;
  SunkMessage message;
  session.greet(world, replies);
  std::string_view rest;
  for (bool open = true; open;) {
    const smtp::Step step = session.advance(rest, world, replies);
    rest.remove_prefix(step.consumed);
    switch (step.event) {
      case smtp::Event::admit:
        session.answer_admit(true, replies);
        break;
      case smtp::Event::begin_message:
        message = {describe(session.envelope()), {}};
        break;
      case smtp::Event::content:
        message.content.append(step.content);
        break;
      case smtp::Event::end_message: {
        session.answer_stored(smtp::StoreResult::stored, "in-the-sink", replies);
        const std::lock_guard lock(mutex_);
        if (!message_) message_ = std::move(message);
        arrived_.notify_all();
        break;
      }
      case smtp::Event::need_input:
      case smtp::Event::flush:
      case smtp::Event::close:
      case smtp::Event::drop: {
        const std::string_view out = replies.view();
        open = send(connection, out.data(), out.size(), MSG_NOSIGNAL) == static_cast<ssize_t>(out.size()) &&
               step.event != smtp::Event::close && step.event != smtp::Event::drop;
        replies.clear();
        if (!open || step.event == smtp::Event::flush || !rest.empty()) break;
        const ssize_t n = recv(connection, input.data(), input.size(), 0);
        open = n > 0;
        rest = {input.data(), open ? static_cast<std::size_t>(n) : 0};
        break;
      }
      case smtp::Event::start_tls:
      case smtp::Event::login:
      case smtp::Event::login_ended:
        open = false;  // its service offers neither TLS nor AUTH
        break;
      case smtp::Event::abort_message:
      case smtp::Event::rejected:
        break;
    }
  }
}

}  // namespace postern::net
