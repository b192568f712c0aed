#include "net/caretaker.h"

#include <chrono>
#include <string>

#include "net/server.h"

namespace postern::net {
namespace {

constexpr auto kPeriod = std::chrono::seconds(1);
constexpr int kSavePeriods = 30;

}  // namespace

Caretaker::Caretaker(Server& server) : server_(server), thread_([this] { run(); }) {}

Caretaker::~Caretaker() {
  {
    const std::lock_guard lock(mutex_);
    stopping_ = true;
  }
  changed_.notify_all();
  thread_.join();
}

void Caretaker::run() {
  int periods = 0;
  std::unique_lock lock(mutex_);
  while (!stopping_) {
    changed_.wait_for(lock, kPeriod, [this] { return stopping_; });
    lock.unlock();
    server_.save_logins();
    server_.hold_accounts();
    refresh_users();
    server_.renew_certificates();
    if (++periods % kSavePeriods == 0) server_.save_state();
    lock.lock();
  }
  lock.unlock();
  server_.save_state();
  server_.save_logins(true);
}

void Caretaker::refresh_users() {
  const std::string problem = server_.refresh_users();
  if (!problem.empty() && !users_failed_) server_.log_line(core::Severity::error, "users_unavailable", problem);
  if (problem.empty() && users_failed_) server_.log_line(core::Severity::info, "users_available", "");
  users_failed_ = !problem.empty();
}

}  // namespace postern::net
