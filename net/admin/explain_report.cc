// The words of `postern explain`; see the header.
#include "net/admin/explain_report.h"

#include <fmt/format.h>
#include <iterator>
#include <string_view>
#include <utility>
#include <vector>

#include "policy/login_table.h"
#include "policy/service_policy.h"
#include "policy/settings.h"

namespace postern::net::admin {
namespace {

using Out = std::back_insert_iterator<std::string>;

class WrittenTrace final : public policy::DecisionTrace {
 public:
  explicit WrittenTrace(std::string& out) : out_(out) {}
  void step(policy::Rule rule, bool decided, std::string_view note) override {
    fmt::format_to(Out(out_), "  {} {:<24}  {}\n", decided ? ">" : " ", policy::rule_name(rule), note);
  }

 private:
  std::string& out_;
};

std::string mailbox_text(const policy::Mailbox& mailbox) {
  if (mailbox.domain.empty()) return fmt::format("<{}>", mailbox.local_part);
  return fmt::format("<{}@{}>", mailbox.local_part, mailbox.domain);
}

std::string_view place_of(const policy::PolicySnapshot& snapshot, const policy::Mailbox& mailbox) {
  if (mailbox.domain.empty()) return "counts as local";
  return snapshot.is_local_domain(policy::DomainName(mailbox.domain)) ? "local" : "not local";
}

void put_question(std::string& out, const policy::PolicySnapshot& snapshot, const ExplainQuestion& question) {
  const policy::Client& client = question.client;
  fmt::format_to(Out(out), "service    {}\n", snapshot.service(question.service).name());
  if (client.address_unknown) {
    out += "client     unknown (PROXY LOCAL or UNKNOWN)\n";
  } else {
    fmt::format_to(Out(out), "client     {}, {} the LAN\n", client.address.text(),
                   snapshot.is_lan(client.address) ? "in" : "outside");
  }
  if (!client.host_name.empty()) fmt::format_to(Out(out), "host name  {}\n", client.host_name);
  if (client.authenticated) {
    fmt::format_to(Out(out), "user       {}, {} the privilege to relay\n", client.user,
                   client.may_relay ? "with" : "without");
  } else {
    out += "user       not authenticated\n";
  }
  fmt::format_to(Out(out), "login      {}\n", question.has_login ? "yes" : "no");
  fmt::format_to(Out(out), "sender     {}, {}\n", mailbox_text(question.sender),
                 place_of(snapshot, question.sender));
  fmt::format_to(Out(out), "recipient  {}, {}{}\n", mailbox_text(question.recipient),
                 place_of(snapshot, question.recipient),
                 question.has_source_route ? ", with a source route" : "");
}

void put_greyed(std::string& out, const policy::ServiceSettings& service) {
  for (const policy::GreyedOption& option : policy::greyed_options(service)) {
    fmt::format_to(Out(out), "  ignored: {} ({})\n", option.name, option.because);
  }
}

void put_answer(std::string& out, const policy::Verdict& verdict) {
  if (verdict.accepted()) {
    fmt::format_to(Out(out), "\nanswer     250, decided by {}\n", policy::rule_name(verdict.rule));
  } else {
    fmt::format_to(Out(out), "\nanswer     {} {} {}, decided by {}\n", verdict.code, verdict.enhanced,
                   verdict.text, policy::rule_name(verdict.rule));
  }
}

}  // namespace

ExplainAnswer explain_report(const policy::PolicySnapshot& snapshot, const ExplainQuestion& question) {
  ExplainAnswer answer;
  const policy::ServicePolicy& service = snapshot.service(question.service);
  // A table of its own, at second 0, so that "login: yes" means this machine and nothing else.
  policy::LoginTable logins({.machines = 1,
                             .window_seconds = 300,
                             .ipv6_prefix = static_cast<std::uint8_t>(snapshot.settings().logins.ipv6_prefix),
                             .secret = 1});
  if (question.has_login) logins.grant(question.client.address, 0);
  const core::Time now;
  WrittenTrace trace(answer.text);
  put_question(answer.text, snapshot, question);
  answer.text += "\nat connect\n";
  answer.verdict = policy::explain_connect(snapshot, service, question.client, trace);
  if (answer.verdict.accepted()) {
    answer.text += "at MAIL\n";
    answer.verdict =
        policy::explain_sender(snapshot, service, logins, now, question.client, question.sender, trace);
  }
  if (answer.verdict.accepted()) {
    answer.text += "at RCPT\n";
    answer.verdict =
        policy::explain_recipient(snapshot, service, logins, now, question.client, question.sender,
                                  question.recipient, question.has_source_route, trace);
    put_greyed(answer.text, service.settings());
  }
  put_answer(answer.text, answer.verdict);
  return answer;
}

}  // namespace postern::net::admin
