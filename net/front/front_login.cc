// A client's logins at the front: the guess guard before any password goes on, the login table before any success is told,
// and the log.
#include <string>

#include "net/front/front.h"
#include "net/guess_log.h"
#include "net/worker_server.h"

namespace postern::net {

using mailbox::CloseReason;
using mailbox::LoginFailure;

mailbox::LoginAnswer Front::judge(const mailbox::Login& login) {
  const policy::GuessGuard* guard = server_.shared().guard;
  if (guard == nullptr) return mailbox::LoginAnswer::allow;
  const core::IpAddress& machine = client_at_.address;
  if (!guard->check_login(server_.snapshot().guard, counted_name(login.user), machine, server_.now())) {
    return mailbox::LoginAnswer::allow;
  }
  server_.counters().mailbox_logins_refused.add();
  core::LogLine(server_.log(), server_.now(), core::Severity::info, "login_failed")
      .add("service", server_.settings().mailboxes[mailbox_].name)
      .add("client", machine)
      .add("user", login.user)
      .add("mechanism", login.mechanism)
      .add("reason", "barred")
      .flood_key(machine.low() ^ machine.high() ^ 0x535);
  // The same words whether the machine or the name is barred, and no password is looked at.
  return mailbox::LoginAnswer::close;
}

void Front::note_success(const mailbox::Login& login) {
  const core::IpAddress& machine = client_at_.address;
  // A balancer's own connections stand for nobody.
  if (login.grants && !is_address_unknown_) {
    server_.shared().login_records.record(server_.shared().logins, server_.log(), server_.now(), LoginSource::front, machine,
                                          login.user);
  }
  server_.counters().mailbox_logins_accepted.add();
  core::LogLine(server_.log(), server_.now(), core::Severity::info, "login")
      .add("service", server_.settings().mailboxes[mailbox_].name)
      .add("client", machine)
      .add("user", login.user)
      .add("mechanism", login.mechanism)
      .add("encrypted", tls_ != nullptr ? "yes" : "no");
  policy::GuessGuard* guard = server_.shared().guard;
  if (guard == nullptr || login.user.empty()) return;
  guard->record_success(server_.snapshot().guard, machine, counted_name(login.user), server_.now());
}

void Front::note_failure(const mailbox::Login& login, LoginFailure failure) {
  const core::IpAddress& machine = client_at_.address;
  const bool is_unavailable = failure == LoginFailure::unavailable;
  Counters& counters = server_.counters();
  (is_unavailable ? counters.mailbox_logins_unavailable : counters.mailbox_logins_refused).add();
  core::LogLine(server_.log(), server_.now(), core::Severity::info, "login_failed")
      .add("service", server_.settings().mailboxes[mailbox_].name)
      .add("client", machine)
      .add("user", login.user)
      .add("mechanism", login.mechanism)
      .add("reason", name_of(failure))
      .flood_key(machine.low() ^ machine.high() ^ 0x535);
  policy::GuessGuard* guard = server_.shared().guard;
  if (guard == nullptr || failure != LoginFailure::wrong_credentials) return;
  const policy::NewBars bars =
      guard->record_failure(server_.snapshot().guard, machine, counted_name(login.user), server_.now());
  for (const policy::Bar& bar : bars.made()) log_bar(server_.log(), server_.now(), bar, machine, login.user);
}

// Sessions that did not end as they should.
void Front::log_close(CloseReason reason) {
  if (reason == CloseReason::http) server_.counters().connections_dropped.add();
  // Clients come and go; of a barred one, and of a store that is lost, there is a line already.
  if (reason == CloseReason::quit || reason == CloseReason::goodbye || reason == CloseReason::guard ||
      reason == CloseReason::store_lost) {
    return;
  }
  const bool is_store = reason >= CloseReason::store_lost;
  if (is_store) server_.counters().mailbox_store_failures.add();
  core::LogLine(server_.log(), server_.now(), is_store ? core::Severity::warning : core::Severity::info, "mailbox_closed")
      .add("service", server_.settings().mailboxes[mailbox_].name)
      .add("client", client_at_.address)
      .add("reason", name_of(reason))
      .flood_key(is_store ? mailbox_ + 1 : client_at_.address.low() ^ client_at_.address.high());
}

}  // namespace postern::net
