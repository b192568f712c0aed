// Recipients of a route by MX: from a domain to the site that takes its mail, by way of the DNS, without waiting for it.
//
// A message's recipients are resolved by domain. What is known at once gets its jobs at once; a domain that has to be looked up
// keeps the attempt open and gets its own job when the answer is there, so that a name server that does not answer holds up
// only those who depend on it.

#include <algorithm>
#include <functional>
#include <utility>

#include "net/delivery/message_queue.h"
#include "net/queue_id.h"
#include "net/smtp/envelope.h"
#include "net/worker_server.h"
#include "policy/address.h"

namespace postern::net {
namespace {

struct Verdict {
  std::uint16_t code;
  std::string_view enhanced;
  std::string_view text;
};

// Of hosts that were not found.
Verdict verdict_on(const dns::MailHosts& hosts) {
  switch (hosts.status) {
    case dns::MailHostsStatus::null_mx:
      return {556, "5.1.10", "the domain takes no mail: its MX is \".\""};
    case dns::MailHostsStatus::no_such_domain:
      return {550, "5.1.2", "there is no such domain"};
    case dns::MailHostsStatus::no_host:
      return {550, "5.4.4", "the domain has no mail host: neither MX nor address"};
    case dns::MailHostsStatus::loops_back:
      return {554, "5.4.6", "mail for the domain loops back to this server: its best MX is our own name"};
    case dns::MailHostsStatus::found:
    case dns::MailHostsStatus::failed:
      break;
  }
  return {451, "4.4.3", hosts.error};
}

}  // namespace

// A recipient's outcome that no next hop was asked for.
void MessageQueue::settle_here(QueuedMessage& message, std::uint32_t ordinal, std::string_view forward_path,
                               std::uint16_t code, std::string_view enhanced, std::string_view text) {
  const bool is_final = code >= 500;
  delivery::MessageState& state = state_of(message);
  if (is_final) state.set_status(ordinal, delivery::RecipientStatus::failed);
  state.set_error(ordinal, code, enhanced, text);
  message.remember_peer(ordinal, {});
  (is_final ? server_.counters().recipients_failed : server_.counters().recipients_deferred).add();
  core::LogLine(server_.log(), server_.now(), core::Severity::warning, is_final ? "failed" : "deferred")
      .add("id", QueueId(message.id).text())
      .add("to", forward_path)
      .add("code", code)
      .add("status", enhanced)
      .add("reason", text);
}

std::string MessageQueue::mail_domain(std::string_view forward_path) const {
  std::string_view domain = domain_of(forward_path);
  if (domain.empty()) domain = domain_of(server_.settings().postmaster);
  return std::string(policy::DomainName(domain).text());
}

// The target of a recipient whose route is by MX. nullptr: settled, or being looked up.
std::shared_ptr<const RouteTarget> MessageQueue::site_of(QueuedMessage& message, std::uint32_t ordinal,
                                                         std::string_view forward_path,
                                                         const std::shared_ptr<const RouteTarget>& route) {
  if (message.sites == nullptr) message.sites = std::make_unique<MessageSites>(message.recipients);
  const std::string domain = mail_domain(forward_path);
  if (domain.starts_with('[')) {
    const auto address = parse_address_literal(domain);
    if (!address) {
      message.was_tried = true;
      settle_here(message, ordinal, forward_path, 550, "5.1.2", "the address literal is not understood");
      return nullptr;
    }
    return message.sites->of[ordinal] = server_.mail_sites().site(*route, *address);
  }
  std::vector<std::string>& waiting = message.sites->waiting;
  if (std::find(waiting.begin(), waiting.end(), domain) != waiting.end()) return nullptr;
  if (const auto hosts = server_.resolver().find_mail_hosts(domain, server_.now().boot_ns)) {
    return place(message, ordinal, forward_path, *route, *hosts);
  }
  waiting.push_back(domain);
  ++message.open_jobs;
  server_.resolver().ask_mail_hosts(domain, policy::DomainName(server_.settings().hostname).text(), server_.now().boot_ns,
                                    [this, &message, domain](const std::shared_ptr<const dns::MailHosts>& hosts) {
                                      mail_hosts_known(message, domain, *hosts);
                                    });
  return nullptr;
}

std::shared_ptr<const RouteTarget> MessageQueue::place(QueuedMessage& message, std::uint32_t ordinal,
                                                       std::string_view forward_path, const RouteTarget& route,
                                                       const dns::MailHosts& hosts) {
  if (hosts.status == dns::MailHostsStatus::found) {
    return message.sites->of[ordinal] = server_.mail_sites().site(route, hosts.hosts);
  }
  const Verdict verdict = verdict_on(hosts);
  message.was_tried = true;
  settle_here(message, ordinal, forward_path, verdict.code, verdict.enhanced, verdict.text);
  return nullptr;
}

// Finds the domain's recipients again: a message has few domains that nobody has looked up, and keeps no list for them.
void MessageQueue::mail_hosts_known(QueuedMessage& message, const std::string& domain, const dns::MailHosts& hosts) {
  std::erase(message.sites->waiting, domain);
  if (!draining_ && !message.remove_asked) {
    const auto reader = smtp::EnvelopeReader::open(message.head_view());
    const Snapshot& snapshot = server_.snapshot();
    std::shared_ptr<const RouteTarget> last;
    std::uint32_t ordinal = 0;
    for (auto at = reader->first(); const auto recipient = reader->next(at); ++ordinal) {
      if (message.state != nullptr && message.state->status(ordinal) != delivery::RecipientStatus::pending) continue;
      const auto route = snapshot.target_of(recipient->forward_path);
      if (route == nullptr || !route->by_mx || mail_domain(recipient->forward_path) != domain) continue;
      const auto target = place(message, ordinal, recipient->forward_path, *route, hosts);
      if (target == nullptr || target == last) continue;
      add_job(message, target, ordinal);
      last = target;
    }
  }
  if (--message.open_jobs == 0) end_attempt(message);
}

}  // namespace postern::net
