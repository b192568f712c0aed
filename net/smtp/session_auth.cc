// STARTTLS (RFC 3207) and AUTH (RFC 4954): base 64, lines and replies here; what is proven, in net/sasl.
#include <algorithm>
#include <cstring>
#include <memory>
#include <new>
#include <utility>

#include "core/assert.h"
#include "net/sasl/base64.h"
#include "net/smtp/command.h"
#include "net/smtp/server_session.h"
#include "policy/policy_snapshot.h"

namespace postern::net::smtp {

struct AuthExchange {
  sasl::Server server;
  sasl::Step step;
  Account account;           // becomes the session's on success
  bool unavailable = false;  // the question found no answer
};

namespace {

const std::size_t kExchangeBytes = core::BlockPool::class_bytes(sizeof(AuthExchange));

struct Refusal {
  std::uint16_t code;
  std::string_view enhanced;
  std::string_view text;
};

// RFC 4954 sections 4 and 6. Why a login failed is the log's to know: the client learns one thing only.
Refusal refusal_of(sasl::Failure failure) {
  switch (failure) {
    case sasl::Failure::malformed:
      return {501, "5.5.2", "Not what this mechanism says"};
    case sasl::Failure::cancelled:
      return {501, "5.7.0", "Authentication cancelled"};
    default:
      return {535, "5.7.8", "Authentication credentials invalid"};
  }
}

bool is_listed(sasl::Mechanism mechanism, const policy::AuthSettings& auth) {
  return std::find(auth.mechanisms.begin(), auth.mechanisms.end(), sasl::name_of(mechanism)) != auth.mechanisms.end();
}

// What a client sent in base 64, decoded into a block of the pool, and wiped with it.
class Decoded {
 public:
  Decoded(core::BlockPool& pool, std::string_view text)
      : pool_(pool), capacity_(core::BlockPool::class_bytes(sasl::base64_decoded_bytes_max(text.size()) + 1)) {
    block_ = pool.take(capacity_);
    if (block_ != nullptr) size_ = sasl::base64_decode(text, {block_, capacity_});
  }
  ~Decoded() {
    if (block_ == nullptr) return;
    explicit_bzero(block_, capacity_);
    pool_.give_back(block_, capacity_);
  }
  Decoded(const Decoded&) = delete;
  Decoded& operator=(const Decoded&) = delete;

  [[nodiscard]] bool has_memory() const { return block_ != nullptr; }
  [[nodiscard]] bool is_valid() const { return size_.has_value(); }
  [[nodiscard]] std::string_view view() const { return {block_, *size_}; }

 private:
  core::BlockPool& pool_;
  std::size_t capacity_;
  char* block_ = nullptr;
  std::optional<std::size_t> size_;
};

}  // namespace

// --- TLS -----------------------------------------------------------------------------------------------------------

bool ServerSession::on_starttls(Turn& turn) {
  if (tls_ != nullptr) return complain(turn, 503, "5.5.1", "TLS is under way already");
  if (turn.service.settings().tls != policy::TlsMode::starttls) {
    return complain(turn, 502, "5.5.1", "Not offered here");  // RFC 5321 section 4.2.4
  }
  reply::line(turn.replies, 220, "2.0.0", "Ready to start TLS");
  return start_tls(turn);
}

void ServerSession::tls_started(const TlsFacts& facts) {
  if (phase_ == Phase::closing) return;  // after say_goodbye()
  POSTERN_ASSERT(phase_ == Phase::tls_pending);
  forget_transaction();
  forget_account();
  helo_.clear(pool_);
  extended_ = false;
  tls_ = &facts;
  phase_ = is_greeted_ ? Phase::command : Phase::greeting;
}

// --- what is offered -----------------------------------------------------------------------------------------------

bool ServerSession::is_offered(sasl::Mechanism mechanism, const Turn& turn) const {
  const policy::AuthSettings& auth = turn.service.settings().auth;
  const bool is_hidden = tls_ != nullptr || (auth.plain_on_lan && !client_.address_unknown &&
                                             turn.world.policy->is_lan(client_.address));
  if (sasl::is_plaintext(mechanism) && !is_hidden) return false;
  if (sasl::is_plus(mechanism) && (tls_ == nullptr || tls_->exporter.empty())) return false;
  if (mechanism == sasl::Mechanism::external && (tls_ == nullptr || tls_->certificate_name.empty())) return false;
  return is_listed(mechanism, auth);
}

bool ServerSession::is_auth_offered(const Turn& turn) const {
  return std::any_of(sasl::kMechanisms.begin(), sasl::kMechanisms.end(),
                     [&](sasl::Mechanism mechanism) { return is_offered(mechanism, turn); });
}

std::size_t ServerSession::list_mechanisms(std::span<char> out, const Turn& turn) const {
  std::size_t size = 0;
  for (const std::string& name : turn.service.settings().auth.mechanisms) {
    const auto mechanism = sasl::parse_mechanism(name);
    if (!mechanism || !is_offered(*mechanism, turn) || size + 1 + name.size() > out.size()) continue;
    if (size != 0) out[size++] = ' ';
    size += name.copy(out.data() + size, name.size());
  }
  return size;
}

sasl::Surroundings ServerSession::surroundings(const Turn& turn) const {
  sasl::Surroundings around;
  if (tls_ != nullptr) {
    around.tls_exporter = tls_->exporter;
    around.certificate_name = tls_->certificate_name;
  }
  around.plus_offered = is_offered(sasl::Mechanism::scram_sha_256_plus, turn) ||
                        is_offered(sasl::Mechanism::scram_sha_1_plus, turn);
  around.keys = turn.world.token_keys;
  around.unix_seconds = turn.world.now.unix_ns / core::kNanosecondsPerSecond;
  around.hostname = turn.world.policy->settings().hostname;
  return around;
}

// --- AUTH ----------------------------------------------------------------------------------------------------------

bool ServerSession::on_auth(std::string_view argument, Turn& turn) {
  if (turn.service.settings().auth.mechanisms.empty()) return complain(turn, 502, "5.5.1", "Not offered here");
  if (!extended_) return complain(turn, 503, "5.5.1", "Say EHLO first");
  if (client_.authenticated) return complain(turn, 503, "5.5.1", "Authenticated already");
  const auto mechanism = sasl::parse_mechanism(take_word(argument));
  if (!mechanism || !is_offered(*mechanism, turn)) {
    const policy::ServiceSettings& service = turn.service.settings();
    const bool wants_tls = mechanism && sasl::is_plaintext(*mechanism) && is_listed(*mechanism, service.auth) &&
                           tls_ == nullptr && service.tls == policy::TlsMode::starttls;
    if (wants_tls) return complain(turn, 538, "5.7.11", "Encryption required for this mechanism");
    return complain(turn, 504, "5.5.4", "Mechanism not offered");
  }
  if (argument.find(' ') != std::string_view::npos) return complain(turn, 501, "5.5.4", "One initial response only");
  if (!argument.empty() && sasl::server_speaks_first(*mechanism)) {
    return complain(turn, 501, "5.7.0", "This mechanism has no initial response");
  }
  return begin_login(*mechanism, argument, turn);
}

bool ServerSession::begin_login(sasl::Mechanism mechanism, std::string_view initial, Turn& turn) {
  const bool has_initial = !initial.empty();
  const Decoded octets(pool_, initial == "=" ? std::string_view{} : initial);
  char* block = octets.has_memory() ? pool_.take(kExchangeBytes) : nullptr;
  if (block == nullptr) {
    reply::line(turn.replies, 454, "4.7.0", "No memory for it now, try again later");
    return false;
  }
  if (!octets.is_valid()) {
    pool_.give_back(block, kExchangeBytes);
    return complain(turn, 501, "5.5.2", "Not base 64");
  }
  login_ = ::new (static_cast<void*>(block)) AuthExchange;
  sasl::Surroundings around = surroundings(turn);
  turn.world.random(around.random);
  login_->step = login_->server.start(mechanism, around, has_initial, octets.view());
  return run_auth_step(turn);
}

// The client's next line. As run_command(), with a bound of its own, and without verbs.
bool ServerSession::run_auth_response(std::string_view& input, Turn& turn) {
  if (input.empty()) return true;
  const bool after_return = !line_.empty() && line_.view().back() == '\r';
  const std::size_t end = find_line_end(input, after_return);
  const std::size_t octets = std::min(end, input.size());
  if (line_.size() + octets > kAuthLineBytesMax) {
    forget_login();
    return begin_long_line(input, after_return, turn);
  }
  if (end != kNoLineEnd && line_.empty()) {
    const std::string_view line = input.substr(0, end - 2);
    input.remove_prefix(end);
    return take_auth_response(line, turn);
  }
  if (!line_.append(pool_, input.substr(0, octets))) return shut(turn, kNoMemory);
  input.remove_prefix(octets);
  if (end == kNoLineEnd) return true;
  line_is_spent_ = true;
  return take_auth_response(line_.view().substr(0, line_.size() - 2), turn);
}

bool ServerSession::take_auth_response(std::string_view line, Turn& turn) {
  if (line == "*") {
    login_->step = login_->server.cancel();
    return run_auth_step(turn);
  }
  const Decoded octets(pool_, line);
  if (!octets.has_memory()) return shut(turn, kNoMemory);
  if (!octets.is_valid()) {
    login_->step = login_->server.cancel();
    login_->step.failure = sasl::Failure::malformed;
  } else {
    login_->step = login_->server.respond(octets.view(), surroundings(turn));
  }
  return run_auth_step(turn);
}

void ServerSession::answer_password(sasl::PasswordVerdict verdict, Account account) {
  if (phase_ == Phase::closing) return;  // after say_goodbye()
  POSTERN_ASSERT(phase_ == Phase::auth_asking);
  login_->step = login_->server.answer_password(verdict);
  login_->account = std::move(account);
  phase_ = Phase::auth_step;
}

void ServerSession::answer_credential(const sasl::Credential& credential, Account account) {
  if (phase_ == Phase::closing) return;
  POSTERN_ASSERT(phase_ == Phase::auth_asking);
  login_->step = login_->server.answer_credential(credential);
  login_->account = std::move(account);
  phase_ = Phase::auth_step;
}

void ServerSession::answer_login_unavailable() {
  if (phase_ == Phase::closing) return;
  POSTERN_ASSERT(phase_ == Phase::auth_asking);
  login_->unavailable = true;
  phase_ = Phase::auth_step;
}

bool ServerSession::run_auth_step(Turn& turn) {
  if (login_->unavailable) {
    forget_login();
    phase_ = Phase::command;
    reply::line(turn.replies, 454, "4.7.0", "Temporary authentication failure");
    return false;
  }
  switch (login_->step.kind) {
    case sasl::Step::Kind::challenge:
      reply::challenge(turn.replies, login_->step.text);
      phase_ = Phase::auth_response;
      return false;
    case sasl::Step::Kind::need_password_check:
    case sasl::Step::Kind::need_credential:
      phase_ = Phase::auth_asking;
      turn.step.event = Event::login;
      turn.step.login = &login_->step;
      turn.step.mechanism = login_->server.mechanism();
      return true;
    case sasl::Step::Kind::success:
    case sasl::Step::Kind::failure:
      return end_login(turn);
  }
  return false;
}

bool ServerSession::end_login(Turn& turn) {
  phase_ = Phase::command;
  // A success without an account is none: whoever answered the question has to say who it is.
  if (login_->step.kind == sasl::Step::Kind::success && login_->account == nullptr) {
    login_->step.kind = sasl::Step::Kind::failure;
    login_->step.failure = sasl::Failure::unknown_user;
  }
  if (login_->step.kind == sasl::Step::Kind::success) {
    account_ = std::move(login_->account);
    client_.user = account_->name;
    client_.authenticated = true;
    client_.may_relay = account_->may_relay;
    reply::line(turn.replies, 235, "2.7.0", "Authentication successful");
  } else {
    const Refusal refusal = refusal_of(login_->step.failure);
    complain(turn, refusal.code, refusal.enhanced, refusal.text);
  }
  login_ended_ = true;
  turn.step.event = Event::login_ended;
  turn.step.login = &login_->step;
  turn.step.mechanism = login_->server.mechanism();
  return true;
}

void ServerSession::forget_login() {
  login_ended_ = false;
  if (login_ == nullptr) return;
  login_->~AuthExchange();
  pool_.give_back(reinterpret_cast<char*>(std::exchange(login_, nullptr)), kExchangeBytes);
}

void ServerSession::forget_account() {
  client_.user = {};
  client_.authenticated = client_.may_relay = false;
  account_.reset();
}

}  // namespace postern::net::smtp
