// OAUTHBEARER (RFC 7628) and XOAUTH2 (developers.google.com/gmail/imap/xoauth2-protocol).
//
// A refused token is told in a challenge of its own, in JSON, which the client answers; only then the exchange fails.
#include <optional>

#include "core/ascii.h"
#include "net/sasl/gs2.h"
#include "net/sasl/server.h"

namespace postern::net::sasl {
namespace {

constexpr char kSeparator = '\x01';

// One KEY=VALUE up to the separator. Nothing: none is left, or it is none.
struct Pair {
  std::string_view key;
  std::string_view value;
};

std::optional<Pair> take_pair(std::string_view& text) {
  const std::size_t end = text.find(kSeparator);
  if (end == std::string_view::npos) return std::nullopt;
  const std::string_view pair = text.substr(0, end);
  text.remove_prefix(end + 1);
  const std::size_t equals = pair.find('=');
  if (equals == 0 || equals == std::string_view::npos) return std::nullopt;
  const std::string_view key = pair.substr(0, equals);
  for (const char c : key) {
    if ((c < 'a' || c > 'z') && (c < 'A' || c > 'Z')) return std::nullopt;
  }
  if (pair.contains('\0')) return std::nullopt;
  return Pair{key, pair.substr(equals + 1)};
}

// "Bearer" 1*SP token (RFC 6750 section 2.1); the scheme's case does not matter. Empty: another scheme, or no token.
std::string_view token_of(std::string_view authorization) {
  constexpr std::string_view kScheme = "bearer ";
  if (!core::starts_ignoring_case(authorization, kScheme)) return {};
  authorization.remove_prefix(kScheme.size());
  const std::size_t begin = authorization.find_first_not_of(' ');
  return begin == std::string_view::npos ? std::string_view() : authorization.substr(begin);
}

// A signature that does not fit is an attempt at forging one; the rest happens to honest clients.
bool is_guess(TokenFault fault) {
  return fault == TokenFault::signature;
}

}  // namespace

// gs2-header kvsep *( key "=" value kvsep ) kvsep. `auth` is there once; host, port and others say nothing we need.
Step Server::take_oauthbearer(std::string_view octets, const Surroundings& surroundings) {
  const std::optional<Gs2Header> gs2 = parse_gs2_header(octets);
  if (!gs2 || gs2->binding == ChannelBinding::used) return fail(Failure::malformed);
  std::array<char, kUserBytesMax> claimed;
  std::size_t claimed_bytes = 0;
  if (gs2->has_authzid) {
    const std::optional<std::size_t> bytes = unescape_saslname(gs2->authzid, claimed);
    if (!bytes) return fail(Failure::malformed);
    claimed_bytes = *bytes;
  }
  std::string_view rest = octets.substr(gs2->bytes);
  if (!rest.starts_with(kSeparator)) return fail(Failure::malformed);
  rest.remove_prefix(1);
  std::optional<std::string_view> authorization;
  while (rest.size() > 1) {
    const std::optional<Pair> pair = take_pair(rest);
    if (!pair) return fail(Failure::malformed);
    if (pair->key != "auth") continue;
    if (authorization) return fail(Failure::malformed);
    authorization = pair->value;
  }
  if (rest.size() != 1 || rest.front() != kSeparator || !authorization) return fail(Failure::malformed);
  return take_token({claimed.data(), claimed_bytes}, token_of(*authorization), surroundings);
}

// "user=" name ^A "auth=Bearer " token ^A ^A
Step Server::take_xoauth2(std::string_view octets, const Surroundings& surroundings) {
  const std::optional<Pair> name = take_pair(octets);
  const std::optional<Pair> authorization = take_pair(octets);
  const bool is_whole = name && name->key == "user" && !name->value.empty() && name->value.size() <= kUserBytesMax &&
                        authorization && authorization->key == "auth" && octets == std::string_view(&kSeparator, 1);
  if (!is_whole) return fail(Failure::malformed);
  return take_token(name->value, token_of(authorization->value), surroundings);
}

Step Server::take_token(std::string_view claimed_user, std::string_view token, const Surroundings& surroundings) {
  if (surroundings.keys == nullptr) return fail(Failure::not_available);
  if (!claimed_user.empty() && !set_user(claimed_user)) return fail(Failure::malformed);  // for the log, so far
  std::array<char, kUserBytesMax> name;
  const TokenCheck check = surroundings.keys->check(token, surroundings.unix_seconds, name);
  TokenFault fault = check.fault;
  if (fault == TokenFault::none && !set_user({name.data(), check.user_bytes})) fault = TokenFault::user;
  if (fault == TokenFault::expired) return send_token_error(Failure::expired_token, fault);
  if (fault != TokenFault::none) return send_token_error(Failure::bad_token, fault);
  const bool is_other = !claimed_user.empty() && !is_user(claimed_user);
  if (is_other) return send_token_error(Failure::unsupported_authzid, fault);
  return ask_credential(CredentialKind::user_exists);
}

// Certificate or token have said who it is, and the store whether there is such an account.
Step Server::finish_proven(Credential::Standing standing) {
  Failure failure = Failure::none;
  switch (standing) {
    case Credential::Standing::usable:
      return succeed();
    case Credential::Standing::unknown_user:
      failure = Failure::unknown_user;
      break;
    case Credential::Standing::no_verifier:
      failure = Failure::no_verifier;
      break;
    case Credential::Standing::disabled:
      failure = Failure::account_disabled;
      break;
  }
  return mechanism_ == Mechanism::external ? fail(failure) : send_token_error(failure, TokenFault::none);
}

Step Server::send_token_error(Failure failure, TokenFault fault) {
  pending_failure_ = failure;
  pending_fault_ = fault;
  // RFC 7628 section 3.2.2; one text for all reasons. XOAUTH2 has a status of HTTP's instead.
  return challenge(
      mechanism_ == Mechanism::oauthbearer ? R"({"status":"invalid_token"})" : R"({"status":"401","schemes":"bearer"})",
      State::token_error);
}

Step Server::end_token_error() {
  Step step = fail(pending_failure_, is_guess(pending_fault_));
  step.token_fault = pending_fault_;
  return step;
}

}  // namespace postern::net::sasl
