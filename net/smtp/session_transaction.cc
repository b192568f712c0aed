// The mail transaction (RFC 5321 section 3.3): syntax, then the policy question, then the act.
#include <charconv>

#include "net/smtp/address.h"
#include "net/smtp/command.h"
#include "net/smtp/parameters.h"
#include "net/smtp/server_session.h"
#include "policy/login_table.h"
#include "policy/policy_snapshot.h"
#include "policy/rate_limits.h"
#include "policy/user.h"

namespace postern::net::smtp {
namespace {

// Cuts "FROM:" or "TO:" off. Blanks behind the colon are no syntax of RFC 5321 (section 3.3), and are widely
// sent.
bool take_prefix(std::string_view& argument, std::string_view prefix) {
  if (!starts_ignoring_case(argument, prefix)) return false;
  argument.remove_prefix(prefix.size());
  while (!argument.empty() && argument.front() == ' ') argument.remove_prefix(1);
  return true;
}

struct ChunkHead {
  std::uint64_t octets = 0;
  bool is_last = false;
};

bool parse_chunk_head(std::string_view argument, ChunkHead& head) {  // RFC 3030 section 2: bdat-cmd
  const std::string_view size = take_word(argument);
  const char* end = size.data() + size.size();
  const auto [rest, error] = std::from_chars(size.data(), end, head.octets);
  if (size.empty() || size.size() > 20 || error != std::errc{} || rest != end) return false;
  head.is_last = equals_ignoring_case(argument, "LAST");
  return head.is_last || argument.empty();
}

}  // namespace

policy::Mailbox ServerSession::sender() const {
  const std::string_view path = envelope_.reverse_path();
  if (path.empty()) return {};
  return {path.substr(0, sender_local_bytes_), path.substr(sender_local_bytes_ + 1U)};
}

bool ServerSession::on_mail(std::string_view argument, Turn& turn) {
  if (!take_prefix(argument, "FROM:")) return complain(turn, 501, "5.5.4", "Syntax is MAIL FROM:<address>");
  const ParsedPath path = parse_path(argument, PathKind::reverse);
  if (path.fault != PathFault::none) return complain(turn, 501, "5.1.7", describe(path.fault));
  MailParameters parameters;
  const Refusal refusal = parse_mail_parameters(argument.substr(path.consumed), is_auth_offered(turn), parameters);
  if (!refusal.is_none()) return complain(turn, refusal.code, refusal.enhanced, refusal.text);
  if (path.has_utf8 && !parameters.smtputf8) {
    return complain(turn, 550, "5.6.7", "A non-ASCII address needs SMTPUTF8");  // RFC 6531 section 3.5
  }
  if (parameters.size > turn.world.policy->settings().limits.message_bytes) {
    return complain(turn, 552, "5.3.4", "Message larger than SIZE allows");  // RFC 1870 section 6.1
  }
  const policy::Verdict verdict = policy::decide_sender(*turn.world.policy, turn.service, *turn.world.logins,
                                                        turn.world.now, client_, path.mailbox);
  if (!verdict.accepted()) return refuse(turn, verdict, path.address);
  if (account_ != nullptr) {
    const policy::Verdict users =
        policy::decide_user_sender(*turn.world.policy, turn.service, *account_, path.mailbox);
    if (!users.accepted()) return refuse(turn, users, path.address);
  }
  return open_transaction(path, parameters, turn);
}

// Whose quota the mail counts for: the user's, or that of a machine outside the LAN that nobody logged in from.
policy::RateLimits::Sender ServerSession::rate_sender(const Turn& turn) const {
  const policy::Settings& settings = turn.world.policy->settings();
  policy::RateLimits::Sender sender;
  if (account_ != nullptr) {
    const auto own_or = [](std::uint32_t own, std::uint32_t servers) { return own != 0 ? own : servers; };
    const policy::UserRecord::Limits& own = account_->limits;
    const policy::QuotaSettings& servers = settings.quota.user;
    sender.user = account_->name;
    sender.user_quota = {own_or(own.messages_per_hour, servers.messages_per_hour),
                         own_or(own.messages_per_day, servers.messages_per_day),
                         own_or(own.recipients_per_hour, servers.recipients_per_hour),
                         own_or(own.recipients_per_day, servers.recipients_per_day)};
  } else if (!client_.address_unknown && !turn.world.policy->is_lan(client_.address)) {
    sender.machine = &client_.address;
    sender.machine_quota = settings.quota.machine;
  }
  return sender;
}

// Looked at for each recipient; counted once, when the content begins.
policy::Verdict ServerSession::check_quota(std::uint32_t recipients, bool take, const Turn& turn) const {
  if (turn.world.rates == nullptr) return {};
  const policy::RateLimits::Sender sender = rate_sender(turn);
  const policy::RateVerdict rate = take ? turn.world.rates->take(sender, 1, recipients, turn.world.now)
                                        : turn.world.rates->peek(sender, 1, recipients, turn.world.now);
  if (rate.allowed) return {};
  return {rate.of_machine ? policy::Rule::quota_machine : policy::Rule::quota_user, 450, "4.7.1",
          "Your quota is used up, try again later"};
}

bool ServerSession::open_transaction(const ParsedPath& path, const MailParameters& parameters, Turn& turn) {
  SessionFields session;
  session.client = client_.address;
  session.helo = helo_.view();
  session.service = turn.service.name();
  session.user = client_.user;
  session.extended = extended_;
  const SenderFields fields = {path.address, parameters.body, parameters.smtputf8, parameters.ret,
                               parameters.envelope_id};
  if (!envelope_.begin(session, fields)) {
    reply::line(turn.replies, 452, "4.3.1", "No memory for it now, try again later");
    return false;
  }
  sender_local_bytes_ = static_cast<std::uint16_t>(path.mailbox.local_part.size());
  body_ = parameters.body;
  smtputf8_ = parameters.smtputf8;
  phase_ = Phase::admitting;
  turn.step.event = Event::admit;
  turn.step.size = parameters.size;
  return true;
}

bool ServerSession::on_rcpt(std::string_view argument, Turn& turn) {
  if (!in_transaction()) return complain(turn, 503, "5.5.1", "MAIL first");
  if (!take_prefix(argument, "TO:")) return complain(turn, 501, "5.5.4", "Syntax is RCPT TO:<address>");
  const ParsedPath path = parse_path(argument, PathKind::forward);
  if (path.fault != PathFault::none) return complain(turn, 501, "5.1.3", describe(path.fault));
  RcptParameters parameters;
  const Refusal refusal = parse_rcpt_parameters(argument.substr(path.consumed), smtputf8_, parameters);
  if (!refusal.is_none()) return complain(turn, refusal.code, refusal.enhanced, refusal.text);
  if (path.has_utf8 && !smtputf8_) {
    return complain(turn, 553, "5.6.7", "A non-ASCII address needs SMTPUTF8");  // RFC 6531 section 3.5
  }
  const policy::Verdict verdict =
      policy::decide_recipient(*turn.world.policy, turn.service, *turn.world.logins, turn.world.now, client_,
                               sender(), path.mailbox, path.has_source_route);
  if (!verdict.accepted()) return refuse(turn, verdict, path.address);
  if (envelope_.recipients() >= turn.world.policy->settings().limits.recipients) {
    reply::line(turn.replies, 452, "4.5.3", "Too many recipients");  // RFC 5321 section 4.5.3.1.10
    return false;
  }
  const policy::Verdict quota = check_quota(static_cast<std::uint32_t>(envelope_.recipients() + 1), false, turn);
  if (!quota.accepted()) return refuse(turn, quota, path.address);
  if (!envelope_.add({path.address, parameters.notify, parameters.original})) {
    reply::line(turn.replies, 452, "4.3.1", "No memory for it now, try again later");
    return false;
  }
  reply::line(turn.replies, 250, "2.1.5", "Ok");
  return false;
}

bool ServerSession::on_data(Turn& turn) {
  if (!in_transaction()) return complain(turn, 503, "5.5.1", "MAIL first");
  if (body_ == BodyType::binary_mime) {
    return complain(turn, 503, "5.5.1", "BINARYMIME needs BDAT");  // RFC 3030 section 3
  }
  if (envelope_.recipients() == 0) {
    return complain(turn, 554, "5.5.1", "No valid recipients");  // RFC 5321 section 3.3
  }
  const policy::Verdict quota = check_quota(static_cast<std::uint32_t>(envelope_.recipients()), true, turn);
  if (!quota.accepted()) return refuse(turn, quota, envelope_.reverse_path());
  reply::line(turn.replies, 354, {}, "End data with <CR><LF>.<CR><LF>");
  phase_ = Phase::data;
  return open_message(true, turn);
}

bool ServerSession::on_bdat(std::string_view argument, Turn& turn) {
  ChunkHead head;
  if (!parse_chunk_head(argument, head)) {
    // How many octets follow is not known: they must not be taken for commands.
    complain(turn, 501, "5.5.4", "Syntax is BDAT octets [LAST]");
    phase_ = Phase::closing;
    return false;
  }
  if (is_over_drain_limit(head.octets, turn)) return shut(turn, kFarTooLarge);
  const auto skip = [&](std::uint16_t code, std::string_view text) {
    return skip_chunk(head.octets, {policy::Rule::none, code, "5.5.1", text});
  };
  if (is_refused_) return skip(503, "No service for this client, only QUIT");
  if (!in_transaction()) return skip(503, "MAIL first");
  if (envelope_.recipients() == 0) return skip(554, "No valid recipients");
  if (!message_open_) {
    const policy::Verdict quota = check_quota(static_cast<std::uint32_t>(envelope_.recipients()), true, turn);
    if (!quota.accepted()) return skip_chunk(head.octets, quota);
  }
  chunk_left_ = chunk_bytes_ = head.octets;
  is_last_chunk_ = head.is_last;
  phase_ = Phase::chunk;
  return !message_open_ && open_message(false, turn);
}

}  // namespace postern::net::smtp
