// The SASL server under any messages, for every mechanism: every call in turn is answered, nothing is longer than it
// may be, the end is an end, and nobody gets in without the password, the keys, the certificate or the token.
//
// Input: mechanism, flags, then messages with '\xfe' between. A message that is "\xfd" alone stands for what an honest
// client would say at that point, and one that begins with it, for that with the rest of the message behind it.
#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

#include "core/assert.h"
#include "net/sasl/server.h"

#include "tests/net/sasl/jwt_support.h"
#include "tests/net/sasl/sasl_support.h"

namespace {

using namespace postern::net::sasl;
using postern::net::sasl::test::ScramClient;

constexpr std::string_view kUser = "user@example.com";
constexpr std::string_view kPassword = "pencil";
constexpr std::string_view kHonest = "\xfd";

enum Flags : std::uint8_t {
  has_initial = 1,
  plus_offered = 2,
  has_exporter = 4,
  has_certificate = 8,
  has_keys = 16,
  is_disabled = 32,
  cancels = 64,  // instead of the last message
};

// Keys are derived once: 4096 iterations an input would be all that is fuzzed.
const Credential& known(CredentialKind kind) {
  static const Credential credentials[] = {test::credential_of(CredentialKind::scram_sha_1, kUser, kPassword),
                                           test::credential_of(CredentialKind::scram_sha_256, kUser, kPassword)};
  return credentials[kind == CredentialKind::scram_sha_1 ? 0 : 1];
}

Credential find(CredentialKind kind, std::string_view user, bool disabled) {
  if (user != kUser) return test::credential_of(kind, user, std::nullopt);
  Credential credential = known(kind);
  if (disabled) credential.standing = Credential::Standing::disabled;
  return credential;
}

const std::string& good_token() {
  static const std::string token = test::token("EdDSA", test::claims());
  return token;
}

const JwtKeys& token_keys() {
  static const JwtKeys keys = std::move(*JwtKeys::load(test::all_jwks(), test::settings()));
  return keys;
}

// An honest client of each mechanism.
class Honest {
 public:
  Honest(Mechanism mechanism, const Surroundings& here) : mechanism_(mechanism) {
    const bool is_sha_1 = mechanism == Mechanism::scram_sha_1 || mechanism == Mechanism::scram_sha_1_plus;
    scram_.hash = is_sha_1 ? ScramHash::sha_1 : ScramHash::sha_256;
    if (is_plus(mechanism)) {
      scram_.gs2 = "p=tls-exporter,,";
      scram_.binding.assign(reinterpret_cast<const char*>(here.tls_exporter.data()), here.tls_exporter.size());
    }
  }

  std::string answer(std::string_view challenge, std::size_t turn) {
    const std::string user(kUser);
    const std::string password(kPassword);
    switch (mechanism_) {
      case Mechanism::plain:
        return std::string(1, '\0') + user + '\0' + password;
      case Mechanism::login:
        return turn == 0 ? user : password;
      case Mechanism::cram_md5: {
        const auto digits = cram_response(known(CredentialKind::cram_md5).cram, challenge);
        return user + " " + std::string(digits.data(), digits.size());
      }
      case Mechanism::oauthbearer:
        return "n,,\x01"
               "auth=Bearer " +
               good_token() + "\x01\x01";
      case Mechanism::xoauth2:
        return "user=" + user +
               "\x01"
               "auth=Bearer " +
               good_token() + "\x01\x01";
      case Mechanism::external:
        return "";
      default:
        break;
    }
    if (turn == 0) return scram_.first();
    return challenge.starts_with("r=") ? scram_.final(challenge) : "";
  }

 private:
  Mechanism mechanism_;
  ScramClient scram_;
};

void check(const Step& step) {
  POSTERN_ASSERT(step.text.size() <= kChallengeBytesMax);
  POSTERN_ASSERT(step.user.size() <= kUserBytesMax);
  POSTERN_ASSERT((step.kind == Step::Kind::failure) == (step.failure != Failure::none));
  if (step.kind == Step::Kind::need_password_check) {
    POSTERN_ASSERT(!step.user.empty() && !step.password.empty() && step.password.size() <= kPasswordBytesMax);
    POSTERN_ASSERT(is_utf8(step.password) && step.password.find('\0') == std::string_view::npos);
  }
  if (step.counts_as_guess) {
    POSTERN_ASSERT(step.failure == Failure::bad_credentials || step.failure == Failure::bad_token);
  }
}

// What can be got in with, apart from being honest: a password in the clear, or no more than a certificate.
bool is_easy(Mechanism mechanism) {
  return mechanism == Mechanism::plain || mechanism == Mechanism::login || mechanism == Mechanism::external;
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  if (size < 2) return 0;
  const Mechanism mechanism = kMechanisms[data[0] % kMechanisms.size()];
  const std::uint8_t flags = data[1];
  std::string_view rest(reinterpret_cast<const char*>(data) + 2, size - 2);
  Surroundings here = test::connection();
  here.plus_offered = (flags & plus_offered) != 0;
  if ((flags & has_exporter) == 0) here.tls_exporter = {};
  if ((flags & has_certificate) != 0) here.certificate_name = kUser;
  if ((flags & has_keys) != 0) here.keys = &token_keys();

  Honest honest(mechanism, here);
  bool was_honest = false;
  std::size_t turn = 0;
  const auto next = [&](std::string_view challenge) {
    const std::size_t end = std::min(rest.find('\xfe'), rest.size());
    const std::string_view message = rest.substr(0, end);
    rest.remove_prefix(std::min(end + 1, rest.size()));
    if (!message.starts_with(kHonest)) return turn++, std::string(message);
    was_honest = true;
    return honest.answer(challenge, turn++) + std::string(message.substr(kHonest.size()));
  };

  Server server;
  const bool initial = (flags & has_initial) != 0;
  Step step = server.start(mechanism, here, initial, initial ? next("") : "");
  while (step.kind != Step::Kind::success && step.kind != Step::Kind::failure) {
    check(step);
    if (step.kind == Step::Kind::need_password_check) {
      const bool is_right = step.user == kUser && step.password == kPassword && (flags & is_disabled) == 0;
      step = server.answer_password(is_right ? PasswordVerdict::right : PasswordVerdict::wrong);
    } else if (step.kind == Step::Kind::need_credential) {
      step = server.answer_credential(find(step.credential, step.user, (flags & is_disabled) != 0));
    } else if (rest.empty() && (flags & cancels) != 0) {
      step = server.cancel();
      POSTERN_ASSERT(step.kind == Step::Kind::failure);
    } else {
      const std::string challenge(step.text);
      step = server.respond(next(challenge), here);
    }
    POSTERN_ASSERT(turn < 10);
  }
  check(step);
  if (step.kind == Step::Kind::success) {
    POSTERN_ASSERT(step.user == kUser && (flags & is_disabled) == 0);
    POSTERN_ASSERT(was_honest || is_easy(mechanism));
    POSTERN_ASSERT(!is_plus(mechanism) || (flags & has_exporter) != 0);
    POSTERN_ASSERT(mechanism != Mechanism::external || (flags & has_certificate) != 0);
  }
  return 0;
}
