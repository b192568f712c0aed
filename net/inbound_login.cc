// A client connection's logins: the guess guard before any password work, the question to the user store, what came of it.
#include <string>
#include <utility>

#include "net/guess_log.h"
#include "net/inbound.h"
#include "net/users/credentials.h"
#include "net/worker_server.h"
#include "policy/guess_guard.h"

namespace postern::net {
void Inbound::ask_login(const smtp::Step& step) {
  using core::BlockingPool;
  const sasl::Step& question = *step.login;
  const core::IpAddress& machine = session_.client().address;
  policy::GuessGuard* guard = server_.shared().guard;
  const policy::GuardRules& rules = server_.snapshot().guard;
  const std::string name = counted_name(question.user);
  if (guard != nullptr && guard->check_login(rules, name, machine, server_.now())) {
    server_.counters().logins_refused.add();
    // The same words whether the machine or the name is barred, and no password is looked at.
    return say_goodbye("4.7.0 too many failed logins, try again later");
  }
  users::Credentials* credentials = server_.shared().credentials;
  login_ = credentials != nullptr ? server_.credential_requests().make() : nullptr;
  if (login_ == nullptr) {
    server_.counters().logins_unavailable.add();
    return session_.answer_login_unavailable();
  }
  login_->kind = question.kind == sasl::Step::Kind::need_password_check ? users::CredentialRequest::Kind::password
                                                                        : users::CredentialRequest::Kind::credential;
  login_->credential_kind = question.credential;
  login_->set_user(question.user);
  login_->set_password(question.password);
  if (!session_.client().address_unknown) login_->client = machine;
  login_->worker = server_.worker().index();
  login_->now = server_.now();
  login_->owner = this;
  login_->answered = [](void* self) noexcept {
    auto* inbound = static_cast<Inbound*>(self);
    inbound->waiting_ = false;
    inbound->login_answered();
    inbound->state_ == State::open ? inbound->pump() : inbound->close_when_quiet();
  };
  const bool is_known = guard != nullptr && guard->is_known(rules, machine, name, server_.now());
  switch (credentials->ask(*login_, is_known ? BlockingPool::Lane::fast : BlockingPool::Lane::ordinary)) {
    case users::Credentials::Taken::answered:
      return login_answered();
    case users::Credentials::Taken::asked:
      waiting_ = true;
      return;
    case users::Credentials::Taken::full:
      login_->answer = users::CredentialRequest::Answer::unavailable;
      return login_answered();
  }
}

void Inbound::login_answered() {
  users::CredentialRequest& answer = *login_;
  active_ns_ = server_.now().boot_ns;
  if (state_ == State::open) {
    if (answer.answer == users::CredentialRequest::Answer::unavailable) {
      server_.counters().logins_unavailable.add();
      core::LogLine(server_.log(), server_.now(), core::Severity::warning, "login_unavailable")
          .add("service", server_.settings().services[session_.service()].name)
          .add("client", session_.client().address)
          .flood_key(0x454);
      session_.answer_login_unavailable();
    } else if (answer.kind == users::CredentialRequest::Kind::password) {
      session_.answer_password(answer.verdict, std::move(answer.account));
    } else {
      session_.answer_credential(answer.credential, std::move(answer.account));
    }
  }
  server_.credential_requests().destroy(std::exchange(login_, nullptr));
}

void Inbound::note_login(const smtp::Step& step) {
  const sasl::Step& ended = *step.login;
  const bool success = ended.kind == sasl::Step::Kind::success;
  const core::IpAddress& machine = session_.client().address;
  (success ? server_.counters().logins_accepted : server_.counters().logins_refused).add();
  log_login(step);
  policy::GuessGuard* guard = server_.shared().guard;
  if (guard == nullptr) return;
  const policy::GuardRules& rules = server_.snapshot().guard;
  const std::string name = counted_name(ended.user);
  if (success) {
    guard->record_success(rules, machine, name, server_.now());
    return count_machines(name);
  }
  if (!ended.counts_as_guess) return;
  const policy::NewBars bars = guard->record_failure(rules, machine, name, server_.now());
  for (const policy::Bar& bar : bars.made()) log_bar(server_.log(), server_.now(), bar, machine, ended.user);
}

// A line at a time: a LogLine is written when it ends.
void Inbound::log_login(const smtp::Step& step) {
  const sasl::Step& ended = *step.login;
  const bool success = ended.kind == sasl::Step::Kind::success;
  const core::IpAddress& machine = session_.client().address;
  core::LogLine line(server_.log(), server_.now(), core::Severity::info, success ? "login" : "login_failed");
  line.add("service", server_.settings().services[session_.service()].name)
      .add("client", machine)
      .add("user", ended.user)
      .add("mechanism", sasl::name_of(step.mechanism));
  if (success) return;
  line.add("reason", sasl::name_of(ended.failure));
  if (ended.token_fault != sasl::TokenFault::none) line.add("token", sasl::text_of(ended.token_fault));
  line.flood_key(machine.low() ^ machine.high() ^ 0x535);
}

// One user at many machines within an hour is a password that got about.
void Inbound::count_machines(std::string_view name) {
  const std::uint32_t most = server_.settings().users.machines;
  if (most == 0 || server_.shared().rates == nullptr) return;
  if (server_.shared().rates->note_machine(name, session_.client().address, server_.now()) > most) {
    hold_account("logins from more machines within an hour than users.machines allows");
  }
}

void Inbound::hold_account(std::string_view why) {
  if (session_.account() != nullptr) server_.shared().holds.add(session_.account()->name, why);
}

}  // namespace postern::net
