// PLAIN (RFC 4616), LOGIN (draft-murchison-sasl-login-00), CRAM-MD5 (RFC 2195), EXTERNAL (RFC 4422 appendix A).
#include <charconv>
#include <openssl/mem.h>

#include "core/assert.h"
#include "net/sasl/base64.h"
#include "net/sasl/digest.h"
#include "net/sasl/server.h"

namespace postern::net::sasl {
namespace {

constexpr std::size_t kDigestBytes = 32;

// 1*SAFE of RFC 4616: UTF-8 without NUL.
bool is_password(std::string_view text) {
  return !text.empty() && text.size() <= kPasswordBytesMax && !text.contains('\0') && is_utf8(text);
}

}  // namespace

// [authzid] NUL authcid NUL passwd, and no further NUL.
Step Server::take_plain(std::string_view octets) {
  const std::size_t first = octets.find('\0');
  const std::size_t second = first == std::string_view::npos ? first : octets.find('\0', first + 1);
  if (second == std::string_view::npos) return fail(Failure::malformed);
  const std::string_view authzid = octets.substr(0, first);
  const std::string_view password = octets.substr(second + 1);
  if (!is_password(password)) return fail(Failure::malformed);
  if (!set_user(octets.substr(first + 1, second - first - 1))) return fail(Failure::malformed);
  if (!authzid.empty() && !is_user(authzid)) return fail(Failure::unsupported_authzid);
  return ask_password(password);
}

Step Server::take_login_user(std::string_view octets) {
  if (!set_user(octets)) return fail(Failure::malformed);
  return challenge("Password:", State::login_password);
}

Step Server::take_login_password(std::string_view octets) {
  return is_password(octets) ? ask_password(octets) : fail(Failure::malformed);
}

Step Server::ask_password(std::string_view password) {
  text_bytes_ = 0;
  put(password);
  state_ = State::password_check;
  return {.kind = Step::Kind::need_password_check, .user = user(), .password = {text_.data(), text_bytes_}};
}

Step Server::answer_password(PasswordVerdict verdict) {
  POSTERN_ASSERT(state_ == State::password_check);
  OPENSSL_cleanse(text_.data(), text_bytes_);
  switch (verdict) {
    case PasswordVerdict::right:
      return succeed();
    case PasswordVerdict::no_verifier:
      return fail(Failure::no_verifier);
    case PasswordVerdict::disabled:
      return fail(Failure::account_disabled);
    case PasswordVerdict::wrong:
      break;
  }
  return fail(Failure::bad_credentials, true);
}

// "<RANDOM.SECONDS@HOSTNAME>": a msg-id, and fresh.
Step Server::start_cram(const Surroundings& surroundings) {
  std::array<char, base64_bytes(16)> random;
  std::array<char, 24> seconds;
  const auto* octets = reinterpret_cast<const char*>(surroundings.random.data());
  const std::size_t random_bytes = base64_encode({octets, 15}, random);  // 120 bits: no padding
  const auto number = std::to_chars(seconds.data(), seconds.data() + seconds.size(), surroundings.unix_seconds);
  put("<");
  put({random.data(), random_bytes});
  put(".");
  put({seconds.data(), number.ptr});
  put("@");
  put(surroundings.hostname.substr(0, 255));
  put(">");
  return challenge({text_.data(), text_bytes_}, State::cram_digest);
}

// user SP digest. The name may hold spaces; the digest has 32 digits, in lower case.
Step Server::take_cram_digest(std::string_view octets) {
  if (octets.size() > kUserBytesMax + 1 + kDigestBytes) return fail(Failure::malformed);
  const std::size_t space = octets.rfind(' ');
  if (space == std::string_view::npos) return fail(Failure::malformed);
  const std::string_view digest = octets.substr(space + 1);
  const bool is_hex = digest.find_first_not_of("0123456789abcdef") == std::string_view::npos;
  if (digest.size() != kDigestBytes || !is_hex || !set_user(octets.substr(0, space))) return fail(Failure::malformed);
  put(digest);
  return ask_credential(CredentialKind::cram_md5);
}

Step Server::finish_cram(const Credential& credential) {
  const std::string_view whole(text_.data(), text_bytes_);
  const std::string_view challenge = whole.substr(0, whole.size() - kDigestBytes);
  std::array<char, kDigestBytes> wanted = cram_response(credential.cram, challenge);
  const bool is_proven = is_same_secret({wanted.data(), wanted.size()}, whole.substr(challenge.size()));
  OPENSSL_cleanse(wanted.data(), wanted.size());
  standing_ = credential.standing;
  return judge(is_proven);
}

// The authorization identity, or nothing: the certificate says who it is.
Step Server::take_external(std::string_view octets, const Surroundings& surroundings) {
  if (octets.size() > kUserBytesMax || octets.contains('\0')) return fail(Failure::malformed);
  if (!set_user(surroundings.certificate_name)) return fail(Failure::not_available);
  if (!octets.empty() && !is_user(octets)) return fail(Failure::unsupported_authzid);
  return ask_credential(CredentialKind::user_exists);
}

}  // namespace postern::net::sasl
