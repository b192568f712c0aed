// The machine: phases, lines, the PROXY header, and the ways out. What the commands do is in session_*.cc.
#include "net/smtp/server_session.h"

#include <algorithm>
#include <array>

#include "core/assert.h"
#include "net/smtp/command.h"
#include "net/smtp/proxy_protocol.h"
#include "policy/login_table.h"
#include "policy/policy_snapshot.h"

namespace postern::net::smtp {
namespace {

// The first octet of a TLS record that carries a handshake (RFC 8446 section 5.1); no command begins with it.
constexpr char kTlsHandshake = 0x16;

// How long the line may be that is `head`, then `more`: its first word tells, wherever the input was cut.
std::size_t line_bound(std::string_view head, std::string_view more) {
  std::array<char, 5> word;
  const std::size_t kept = head.copy(word.data(), word.size());
  const std::size_t size = kept + more.copy(word.data() + kept, word.size() - kept);
  return starts_ignoring_case({word.data(), size}, "AUTH ") ? kAuthLineBytesMax : kCommandBytesMax;
}

}  // namespace

ServerSession::ServerSession(std::size_t service, const core::IpAddress& client, std::uint16_t client_port,
                             core::BlockPool& pool)
    : service_(service), pool_(pool), envelope_(pool), client_port_(client_port) {
  client_.address = client;
}

ServerSession::~ServerSession() {
  forget_login();
  line_.wipe(pool_);
  helo_.clear(pool_);
  host_name_.clear(pool_);
}

ServerSession::Turn ServerSession::begin_turn(const World& world, ReplyBuffer& replies) const {
  return Turn{world, replies, world.policy->service(service_), {}};
}

Step ServerSession::greet(const World& world, ReplyBuffer& replies) {
  Turn turn = begin_turn(world, replies);
  if (!turn.service.settings().proxy_protocol) {
    xclient_believed_ = world.policy->believes_xclient(client_.address);
    if (turn.service.settings().tls == policy::TlsMode::implicit) {
      start_tls(turn);
    } else {
      greet_client(turn);
    }
  } else if (world.policy->believes_proxy(client_.address)) {
    phase_ = Phase::proxy_header;
  } else {
    drop_connection(turn, {}, "PROXY header awaited from a host that proxy_from does not list");
  }
  return turn.step;
}

Step ServerSession::advance(std::string_view input, const World& world, ReplyBuffer& replies) {
  Turn turn = begin_turn(world, replies);
  std::string_view rest = input;
  release_spent();
  while (!run_phase(rest, turn)) {
  }
  turn.step.consumed = input.size() - rest.size();
  return turn.step;
}

bool ServerSession::run_phase(std::string_view& input, Turn& turn) {
  if (phase_ == Phase::closing || phase_ == Phase::dropping) {
    if (abandon_transaction(turn)) return true;
    turn.step.event = phase_ == Phase::closing ? Event::close : Event::drop;
    return true;
  }
  if (phase_ == Phase::admitting || phase_ == Phase::storing || phase_ == Phase::tls_pending ||
      phase_ == Phase::auth_asking) {
    return true;
  }
  if (!turn.replies.has_room()) {
    turn.step.event = Event::flush;
    return true;
  }
  switch (phase_) {
    case Phase::proxy_header:
      return run_proxy_header(input, turn);
    case Phase::greeting:
      return greet_client(turn);
    case Phase::auth_response:
      return run_auth_response(input, turn);
    case Phase::auth_step:
      return run_auth_step(turn);
    case Phase::long_line:
      return run_long_line(input, turn);
    case Phase::data:
      return run_data(input, turn);
    case Phase::chunk:
      return run_chunk(input, turn);
    case Phase::skipped_chunk:
      return run_skipped_chunk(input, turn);
    default:
      return run_command(input, turn);
  }
}

// --- the PROXY header
// -----------------------------------------------------------------------------------------------

bool ServerSession::run_proxy_header(std::string_view& input, Turn& turn) {
  ProxyHeader header = parse_proxy_header(line_.empty() ? input : line_.view());
  while (header.status == ProxyHeaderStatus::need_more) {
    if (input.empty()) return true;
    const std::size_t octets = std::min(header.bytes - line_.size(), input.size());
    if (!line_.append(pool_, input.substr(0, octets)))
      return drop_connection(turn, {}, "No memory for a PROXY header");
    input.remove_prefix(octets);
    header = parse_proxy_header(line_.view());
  }
  if (header.status == ProxyHeaderStatus::malformed)
    return drop_connection(turn, {}, "Malformed PROXY header");
  if (line_.empty()) input.remove_prefix(header.bytes);
  line_.clear(pool_);
  return apply_proxy_header(header, turn);
}

bool ServerSession::apply_proxy_header(const ProxyHeader& header, Turn& turn) {
  client_.address_unknown = !header.has_client;
  if (header.has_client) {
    client_.address = header.client.address;
    client_port_ = header.client.port;
    xclient_believed_ = turn.world.policy->believes_xclient(client_.address);
  }
  return turn.service.settings().tls == policy::TlsMode::implicit ? start_tls(turn) : greet_client(turn);
}

// --- lines
// ----------------------------------------------------------------------------------------------------------

bool ServerSession::run_command(std::string_view& input, Turn& turn) {
  release_spent();
  if (input.empty()) return true;
  if (line_.empty() && input.front() == kTlsHandshake && tls_ == nullptr) {
    return drop_connection(turn, {}, "TLS handshake on a plaintext service");
  }
  const bool after_return = !line_.empty() && line_.view().back() == '\r';
  const std::size_t end = find_line_end(input, after_return);
  const std::size_t octets = std::min(end, input.size());
  if (line_.size() + octets > kCommandBytesMax && line_.size() + octets > line_bound(line_.view(), input)) {
    return begin_long_line(input, after_return, turn);
  }
  if (end != kNoLineEnd && line_.empty()) {
    const std::string_view line = input.substr(0, end - 2);
    input.remove_prefix(end);
    return execute(line, turn);
  }
  if (!line_.append(pool_, input.substr(0, octets))) return shut(turn, kNoMemory);
  input.remove_prefix(octets);
  if (end == kNoLineEnd) return true;
  line_is_spent_ = true;
  return execute(line_.view().substr(0, line_.size() - 2), turn);
}

bool ServerSession::begin_long_line(std::string_view input, bool after_return, Turn& turn) {
  // Its first word still tells what kind of peer this is, wherever the input was cut.
  std::array<char, 16> head;
  const std::size_t kept = line_.view().copy(head.data(), head.size());
  const std::size_t size = kept + input.copy(head.data() + kept, head.size() - kept);
  const std::string_view word = split_command({head.data(), size}).word;
  if (is_http_method(word)) return drop_connection(turn, {}, "HTTP request");
  const VerbRules* rules = find_verb(word);
  if (rules != nullptr && rules->verb == Verb::bdat) {
    // Its octets, however many, would be taken for commands.
    complain(turn, 500, "5.5.2", "Line too long");
    phase_ = Phase::closing;
    return false;
  }
  skipped_auth_ = phase_ == Phase::auth_response || (rules != nullptr && rules->verb == Verb::auth);
  skipped_octets_ = static_cast<std::uint32_t>(line_.size());
  skipped_return_ = after_return;
  line_.wipe(pool_);
  phase_ = Phase::long_line;
  return false;
}

bool ServerSession::run_long_line(std::string_view& input, Turn& turn) {
  if (input.empty()) return true;
  const std::size_t end = find_line_end(input, skipped_return_);
  const std::size_t octets = std::min(end, input.size());
  if (skipped_octets_ + octets > kSkippedLineBytesMax) return shut(turn, "4.7.0 Line without an end");
  skipped_octets_ += static_cast<std::uint32_t>(octets);
  skipped_return_ = input[octets - 1] == '\r';
  input.remove_prefix(octets);
  if (end == kNoLineEnd) return true;
  phase_ = Phase::command;
  // RFC 4954 section 6; RFC 5321 section 4.5.3.1.10
  return complain(turn, 500, skipped_auth_ ? "5.5.6" : "5.5.2", "Line too long");
}

// --- what a connection meets, and how it ends
// -----------------------------------------------------------------------

bool ServerSession::start_tls(Turn& turn) {
  phase_ = Phase::tls_pending;
  turn.step.event = Event::start_tls;
  return true;
}

bool ServerSession::greet_client(Turn& turn) {
  phase_ = Phase::command;
  is_greeted_ = true;
  const policy::Verdict verdict = policy::decide_connect(*turn.world.policy, turn.service, client_);
  is_refused_ = !verdict.accepted();
  if (!is_refused_) {
    reply::greeting(turn.replies, turn.world.policy->settings().hostname);
    return false;
  }
  // RFC 5321 section 3.1: 554, and then the client is to say QUIT; 421 closes at once.
  reply::line(turn.replies, verdict.code, verdict.enhanced, verdict.text);
  if (verdict.code == 421) phase_ = Phase::closing;
  turn.step.event = Event::rejected;
  turn.step.verdict = verdict;
  return true;
}

bool ServerSession::drop_connection(Turn& turn, std::string_view about, std::string_view why) {
  phase_ = Phase::dropping;
  turn.step.event = Event::rejected;
  turn.step.content = about;
  turn.step.verdict = {policy::Rule::none, 554, "5.7.0", why};
  return true;
}

bool ServerSession::complain(Turn& turn, std::uint16_t code, std::string_view enhanced,
                             std::string_view text) {
  if (!is_over_error_limit(turn)) reply::line(turn.replies, code, enhanced, text);
  return false;
}

bool ServerSession::refuse(Turn& turn, const policy::Verdict& verdict, std::string_view about) {
  if (!is_over_error_limit(turn)) reply::line(turn.replies, verdict.code, verdict.enhanced, verdict.text);
  turn.step.event = Event::rejected;
  turn.step.content = about;
  turn.step.verdict = verdict;
  return true;
}

// True: the error before was the last one allowed; 421 is the reply and the connection closes.
bool ServerSession::is_over_error_limit(Turn& turn) {
  const std::uint32_t limit = turn.service.settings().errors;
  if (limit == 0 || errors_++ < limit) return false;
  shut(turn, "4.7.0 Too many errors");
  return true;
}

bool ServerSession::shut(Turn& turn, std::string_view enhanced_and_text) {
  reply::closing(turn.replies, enhanced_and_text);  // RFC 5321 section 4.2.3: 421
  phase_ = Phase::closing;
  return false;
}

void ServerSession::say_goodbye(std::string_view enhanced_and_text, ReplyBuffer& replies) {
  if (phase_ == Phase::closing || phase_ == Phase::dropping) return;
  if (replies.has_room()) reply::closing(replies, enhanced_and_text);
  phase_ = Phase::closing;
}

// --- the end of a transaction
// ---------------------------------------------------------------------------------------

void ServerSession::forget_transaction() {
  envelope_.clear();
  envelope_is_spent_ = false;
  sender_local_bytes_ = 0;
  body_ = BodyType::seven_bit;
  smtputf8_ = false;
  message_open_ = message_given_up_ = content_ended_ = is_last_chunk_ = false;
  chunk_left_ = 0;
}

// True: content was kept, and abort_message is the step.
bool ServerSession::abandon_transaction(Turn& turn) {
  const bool was_open = message_open_;
  forget_transaction();
  if (was_open) turn.step.event = Event::abort_message;
  return was_open;
}

void ServerSession::release_spent() {
  // Whatever was said in a line that had to be kept may have been a password.
  if (line_is_spent_) line_.wipe(pool_);
  line_is_spent_ = false;
  if (login_ended_) forget_login();
  if (envelope_is_spent_) forget_transaction();
}

void ServerSession::answer_admit(bool admitted, ReplyBuffer& replies) {
  if (phase_ == Phase::closing) return;  // after say_goodbye()
  POSTERN_ASSERT(phase_ == Phase::admitting);
  phase_ = Phase::command;
  if (admitted) {
    reply::line(replies, 250, "2.1.0", "Ok");
  } else {
    forget_transaction();
    reply::line(replies, 452, "4.3.1", "No space for it now, try again later");  // RFC 1870 section 6.1
  }
}

void ServerSession::answer_stored(StoreResult result, std::string_view queue_id, ReplyBuffer& replies) {
  if (phase_ == Phase::closing) return forget_transaction();  // after say_goodbye()
  POSTERN_ASSERT(phase_ == Phase::storing);
  phase_ = Phase::command;
  forget_transaction();
  switch (result) {
    case StoreResult::stored:
      return reply::queued(replies, queue_id);
    case StoreResult::no_space:
      return reply::line(replies, 452, "4.3.1", "No space for it now, try again later");
    case StoreResult::failed:
    case StoreResult::refused:
      return reply::line(replies, 451, "4.3.0", "It could not be stored, try again later");
  }
}

void ServerSession::answer_refused(const policy::Verdict& verdict, ReplyBuffer& replies) {
  if (phase_ == Phase::closing) return forget_transaction();
  POSTERN_ASSERT(phase_ == Phase::storing);
  phase_ = Phase::command;
  forget_transaction();
  ++errors_;
  reply::line(replies, verdict.code, verdict.enhanced, verdict.text);
}

TraceFields ServerSession::trace(std::string_view hostname, std::string_view queue_id,
                                 std::int64_t unix_seconds) const {
  TraceFields fields;
  fields.helo = helo_.view();
  fields.client_name = client_.host_name;
  fields.client = client_.address;
  fields.client_unknown = client_.address_unknown;
  fields.hostname = hostname;
  fields.extended = extended_;
  fields.smtputf8 = smtputf8_;
  fields.authenticated = client_.authenticated;
  fields.encrypted = tls_ != nullptr;
  if (tls_ != nullptr) {
    fields.tls_version = tls_->protocol;
    fields.tls_cipher = tls_->cipher;
  }
  fields.queue_id = queue_id;
  fields.unix_seconds = unix_seconds;
  if (envelope_.recipients() != 1) return fields;
  const auto reader = EnvelopeReader::open(envelope_.head());
  EnvelopeReader::Position at = reader->first();
  fields.recipient = reader->next(at)->forward_path;
  return fields;
}

}  // namespace postern::net::smtp
