// What all mechanisms share: which call comes next, the user's name, the ends. The mechanisms are in
// server_password.cc, server_scram.cc and server_bearer.cc.
#include "net/sasl/server.h"

#include <algorithm>
#include <openssl/mem.h>

#include "core/ascii.h"
#include "core/assert.h"

namespace postern::net::sasl {
std::string_view name_of(Failure failure) noexcept {
  switch (failure) {
    case Failure::none:
      return "none";
    case Failure::bad_credentials:
      return "bad-credentials";
    case Failure::no_verifier:
      return "no-verifier";
    case Failure::account_disabled:
      return "account-disabled";
    case Failure::unknown_user:
      return "unknown-user";
    case Failure::malformed:
      return "malformed";
    case Failure::cancelled:
      return "cancelled";
    case Failure::unsupported_authzid:
      return "unsupported-authzid";
    case Failure::channel_binding_mismatch:
      return "channel-binding-mismatch";
    case Failure::not_available:
      return "not-available";
    case Failure::expired_token:
      return "expired-token";
    case Failure::bad_token:
      return "bad-token";
  }
  return "";
}

Server::Server() noexcept {}  // user_ and text_ are written before they are read

Server::~Server() {
  OPENSSL_cleanse(user_.data(), user_.size());
  OPENSSL_cleanse(text_.data(), text_.size());
}

Step Server::start(Mechanism mechanism, const Surroundings& surroundings, bool has_initial, std::string_view initial) {
  POSTERN_ASSERT(state_ == State::unused);
  mechanism_ = mechanism;
  random_ = surroundings.random;
  if (is_plus(mechanism) && surroundings.tls_exporter.size() != kTlsExporterBytes) return fail(Failure::not_available);
  if (mechanism == Mechanism::external && surroundings.certificate_name.empty()) return fail(Failure::not_available);
  const bool is_bearer = mechanism == Mechanism::oauthbearer || mechanism == Mechanism::xoauth2;
  if (is_bearer && surroundings.keys == nullptr) return fail(Failure::not_available);
  if (server_speaks_first(mechanism)) return has_initial ? fail(Failure::malformed) : start_cram(surroundings);
  if (has_initial) return take_first(initial, surroundings);
  return challenge(mechanism == Mechanism::login ? "Username:" : "", State::client_first);
}

Step Server::respond(std::string_view octets, const Surroundings& surroundings) {
  switch (state_) {
    case State::client_first:
      return take_first(octets, surroundings);
    case State::login_password:
      return take_login_password(octets);
    case State::cram_digest:
      return take_cram_digest(octets);
    case State::scram_final:
      return take_scram_final(octets, surroundings);
    case State::scram_confirm:
      return octets.empty() ? succeed() : fail(Failure::malformed);
    case State::token_error:
      return end_token_error();
    case State::unused:
    case State::password_check:
    case State::credential:
    case State::done:
      break;
  }
  POSTERN_ASSERT(!"respond() answers a challenge");
  return {};
}

Step Server::take_first(std::string_view octets, const Surroundings& surroundings) {
  if (octets.size() > kMessageBytesMax) return fail(Failure::malformed);
  switch (mechanism_) {
    case Mechanism::plain:
      return take_plain(octets);
    case Mechanism::login:
      return take_login_user(octets);
    case Mechanism::scram_sha_1:
    case Mechanism::scram_sha_1_plus:
    case Mechanism::scram_sha_256:
    case Mechanism::scram_sha_256_plus:
      return take_scram_first(octets, surroundings);
    case Mechanism::oauthbearer:
      return take_oauthbearer(octets, surroundings);
    case Mechanism::xoauth2:
      return take_xoauth2(octets, surroundings);
    case Mechanism::external:
      return take_external(octets, surroundings);
    case Mechanism::cram_md5:
      break;
  }
  POSTERN_ASSERT(!"the server speaks first in CRAM-MD5");
  return {};
}

Step Server::cancel() {
  if (state_ == State::token_error) return end_token_error();
  const bool is_challenged = state_ == State::client_first || state_ == State::login_password ||
                             state_ == State::cram_digest || state_ == State::scram_final ||
                             state_ == State::scram_confirm;
  POSTERN_ASSERT(is_challenged);
  return fail(Failure::cancelled);
}

Step Server::answer_credential(const Credential& credential) {
  POSTERN_ASSERT(state_ == State::credential);
  if (is_scram(mechanism_)) return send_scram_first(credential);
  if (mechanism_ == Mechanism::cram_md5) return finish_cram(credential);
  return finish_proven(credential.standing);
}

bool Server::set_user(std::string_view name) {
  if (name.size() > kUserBytesMax) return false;
  const std::optional<std::size_t> bytes = prepare(name, user_);
  user_bytes_ = static_cast<std::uint8_t>(bytes.value_or(0));
  return bytes.has_value();
}

// The name that gets in is the proven one whatever this says, so letters may differ in case.
bool Server::is_user(std::string_view authzid) const {
  std::array<char, kUserBytesMax> prepared;
  const std::optional<std::size_t> bytes = prepare(authzid, prepared);
  if (!bytes) return false;
  return core::equals_ignoring_case({prepared.data(), *bytes}, user());
}

bool Server::append(std::string_view octets) {
  if (octets.size() > text_.size() - text_bytes_) return false;
  octets.copy(text_.data() + text_bytes_, octets.size());
  text_bytes_ = static_cast<std::uint16_t>(text_bytes_ + octets.size());
  return true;
}

void Server::put(std::string_view octets) {
  POSTERN_ASSERT(append(octets));
}

Step Server::challenge(std::string_view text, State next) {
  POSTERN_ASSERT(text.size() <= kChallengeBytesMax);
  state_ = next;
  return {.kind = Step::Kind::challenge, .text = text, .user = user()};
}

Step Server::ask_credential(CredentialKind kind) {
  state_ = State::credential;
  return {.kind = Step::Kind::need_credential, .user = user(), .credential = kind};
}

Step Server::judge(bool is_proven) {
  switch (standing_) {
    case Credential::Standing::usable:
      break;
    case Credential::Standing::unknown_user:
      is_proven = false;
      break;
    case Credential::Standing::no_verifier:
      return fail(Failure::no_verifier);
    case Credential::Standing::disabled:
      if (is_proven) return fail(Failure::account_disabled);
      break;
  }
  return is_proven ? succeed() : fail(Failure::bad_credentials, true);
}

Step Server::succeed() {
  state_ = State::done;
  return {.kind = Step::Kind::success, .user = user()};
}

Step Server::fail(Failure failure, bool counts_as_guess) {
  state_ = State::done;
  return {.kind = Step::Kind::failure, .user = user(), .failure = failure, .counts_as_guess = counts_as_guess};
}

}  // namespace postern::net::sasl
