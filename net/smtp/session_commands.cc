// A command line's checks, and the commands outside the mail transaction (RFC 5321 section 4.1.1).
#include <array>

#include "net/smtp/command.h"
#include "net/smtp/server_session.h"
#include "policy/policy_snapshot.h"

namespace postern::net::smtp {
namespace {

// What HELO and EHLO may say: any printable word. Literals and names are not told apart, as too many clients
// get theirs wrong, and nothing is decided by it (RFC 5321 section 4.1.4: never refuse mail for it).
bool is_hello_name(std::string_view name) {
  if (name.empty() || name.size() > 255) return false;
  for (const char c : name) {
    if (c <= ' ' || c > '~') return false;
  }
  return true;
}

// No reply to HELO and EHLO carries an enhanced code (RFC 2034 section 4).
std::string_view enhanced_for(const VerbRules* rules, std::string_view code) {
  const bool is_hello = rules != nullptr && (rules->verb == Verb::helo || rules->verb == Verb::ehlo);
  return is_hello ? std::string_view{} : code;
}

}  // namespace

bool ServerSession::execute(std::string_view line, Turn& turn) {
  const CommandLine command = split_command(line);
  if (is_http_method(command.word)) return drop_connection(turn, line, "HTTP request");
  const VerbRules* rules = find_verb(command.word);
  const bool is_bdat = rules != nullptr && rules->verb == Verb::bdat;
  const LineFault fault = check_octets(command.text);
  if (fault != LineFault::none) {
    complain(turn, fault == LineFault::bare_line_end ? 500 : 501, enhanced_for(rules, "5.5.2"),
             fault == LineFault::bare_line_end ? "Only CRLF ends a line" : "Control octets in a command");
    // The octets of such a BDAT cannot be told from the commands behind them.
    if (is_bdat) phase_ = Phase::closing;
    return false;
  }
  if (is_refused_ && !is_bdat && (rules == nullptr || rules->verb != Verb::quit)) {
    return complain(turn, 503, enhanced_for(rules, "5.5.1"),
                    "No service for this client, only QUIT");  // RFC 5321 section 3.1
  }
  if (rules == nullptr) return complain(turn, 500, "5.5.1", "Command not known");
  return execute_verb(*rules, command.argument, line.size() + 2, turn);
}

bool ServerSession::execute_verb(const VerbRules& rules, std::string_view argument, std::size_t line_bytes,
                                 Turn& turn) {
  const bool has_more = rules.verb == Verb::mail && is_auth_offered(turn);
  if (line_bytes > rules.line_bytes_max + (has_more ? kMailAuthBytes : 0)) {
    complain(turn, 500, enhanced_for(&rules, "5.5.2"), "Line too long");  // RFC 5321 section 4.5.3.1.4
    if (rules.verb == Verb::bdat) phase_ = Phase::closing;
    return false;
  }
  if (rules.needs_hello && helo_.empty()) return complain(turn, 503, "5.5.1", "Say EHLO first");
  if (!rules.allowed_inside_chunks && message_open_) {
    return complain(turn, 503, "5.5.1", "BDAT is under way");  // RFC 3030 section 2
  }
  if (rules.needs_no_transaction && in_transaction()) {
    return complain(turn, 503, "5.5.1", "A transaction is under way");  // RFC 5321 section 4.1.4
  }
  if (rules.argument == ArgumentRule::none && !argument.empty()) {
    return complain(turn, 501, "5.5.4", "No argument allowed");  // RFC 5321 section 4.1.1.4 and others
  }
  if (rules.argument == ArgumentRule::required && argument.empty()) {
    return complain(turn, 501, "5.5.4", "Argument missing");
  }
  return dispatch(rules.verb, argument, turn);
}

bool ServerSession::dispatch(Verb verb, std::string_view argument, Turn& turn) {
  switch (verb) {
    case Verb::helo:
      return on_hello(argument, false, turn);
    case Verb::ehlo:
      return on_hello(argument, true, turn);
    case Verb::mail:
      return on_mail(argument, turn);
    case Verb::rcpt:
      return on_rcpt(argument, turn);
    case Verb::data:
      return on_data(turn);
    case Verb::bdat:
      return on_bdat(argument, turn);
    case Verb::rset:
      return on_rset(turn);
    case Verb::noop:
      return on_noop(turn);
    case Verb::vrfy:
      return on_vrfy(turn);
    case Verb::expn:
      return on_expn(turn);
    case Verb::help:
      return on_help(turn);
    case Verb::quit:
      return on_quit(turn);
    case Verb::xclient:
      return on_xclient(argument, turn);
    case Verb::starttls:
      return on_starttls(turn);
    case Verb::auth:
      return on_auth(argument, turn);
  }
  return false;
}

bool ServerSession::on_hello(std::string_view argument, bool extended, Turn& turn) {
  if (!is_hello_name(argument))
    return complain(turn, 501, {}, extended ? "EHLO needs a host name" : "HELO needs a host name");
  if (!helo_.assign(pool_, argument)) return shut(turn, kNoMemory);
  extended_ = extended;
  const policy::Settings& settings = turn.world.policy->settings();
  if (extended) {
    std::array<char, 256> mechanisms;
    const std::size_t listed = list_mechanisms(mechanisms, turn);
    const bool starttls = turn.service.settings().tls == policy::TlsMode::starttls && tls_ == nullptr;
    reply::ehlo(turn.replies, settings.hostname,
                {settings.limits.message_bytes, settings.limits.recipients, xclient_believed_, starttls,
                 {mechanisms.data(), listed}});
  } else {
    reply::helo(turn.replies, settings.hostname);
  }
  return abandon_transaction(turn);  // RFC 5321 section 4.1.4: as RSET does
}

bool ServerSession::on_rset(Turn& turn) {
  reply::line(turn.replies, 250, "2.0.0", "Ok");
  return abandon_transaction(turn);
}

bool ServerSession::on_noop(Turn& turn) {
  reply::line(turn.replies, 250, "2.0.0", "Ok");
  return false;
}

bool ServerSession::on_vrfy(Turn& turn) {
  reply::line(turn.replies, 252, "2.1.5",
              "Not verified here, but mail for it may be accepted");  // RFC 5321 section 7.3
  return false;
}

bool ServerSession::on_expn(Turn& turn) {
  // Not implemented is 502 (RFC 5321 section 4.2.4); 252 would promise what VRFY's does (section 3.5.3).
  return complain(turn, 502, "5.5.1", "EXPN is not offered");
}

bool ServerSession::on_help(Turn& turn) {
  reply::help(turn.replies);
  return false;
}

bool ServerSession::on_quit(Turn& turn) {
  reply::line(turn.replies, 221, "2.0.0", "Bye");
  phase_ = Phase::closing;
  return false;
}

}  // namespace postern::net::smtp
