// Tokens and key files. The first octet says what the rest is: a whole token, the header or the claims of one that is
// signed well, or a key file. No claims make a user of another issuer's token, and no unsigned token is taken.
#include <array>
#include <cstdint>
#include <string>
#include <string_view>

#include "core/assert.h"
#include "net/sasl/base64.h"
#include "net/sasl/jwt.h"
#include "net/sasl/prepare.h"

#include "tests/net/sasl/jwt_support.h"
#include "tests/net/sasl/sasl_support.h"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using namespace postern::net::sasl;
  static const JwtKeys keys = std::move(*JwtKeys::load(test::all_jwks(), test::settings()));
  if (size == 0) return 0;
  const std::string_view text(reinterpret_cast<const char*>(data) + 1, size - 1);
  std::array<char, kUserBytesMax> user;
  switch (data[0] % 4) {
    case 0:
      POSTERN_ASSERT(keys.check(text, test::kNow, user).fault != TokenFault::none);
      break;
    case 1: {
      const TokenCheck result = keys.check(test::token("HS256", text, test::claims()), test::kNow, user);
      // Signed well by the secret: nothing but HS256 can have been said.
      if (result.fault == TokenFault::none)
        POSTERN_ASSERT(text.find("HS256") != text.npos || text.find('\\') != text.npos);
      break;
    }
    case 2: {
      const TokenCheck result = keys.check(test::token("HS256", text), test::kNow, user);
      POSTERN_ASSERT(result.fault != TokenFault::signature && result.fault != TokenFault::algorithm);
      POSTERN_ASSERT(result.user_bytes <= user.size());
      if (result.fault == TokenFault::none) {
        POSTERN_ASSERT(result.user_bytes > 0 && is_utf8({user.data(), result.user_bytes}));
        const bool has_escapes = text.find('\\') != text.npos;
        POSTERN_ASSERT(has_escapes || text.find(test::kIssuer) != text.npos);
        POSTERN_ASSERT(has_escapes || text.find(test::kAudience) != text.npos);
      }
      break;
    }
    default: {
      const auto loaded = JwtKeys::load(text, test::settings());
      if (!loaded) {
        POSTERN_ASSERT(!loaded.error().text.empty());
        break;
      }
      POSTERN_ASSERT(loaded->key_count() >= 1 && loaded->key_count() <= kJwtKeysMax);
      // Unsigned tokens are refused whatever the keys are.
      const std::string unsigned_token =
          test::encode_url(R"({"alg":"none"})") + "." + test::encode_url(test::claims()) + ".";
      POSTERN_ASSERT(loaded->check(unsigned_token, test::kNow, user).fault == TokenFault::algorithm);
    }
  }
  return 0;
}
