// One door to all kinds of password hashes.
#include "net/users/password_hash.h"

#include <array>
#include <crypt.h>
#include <cstdint>
#include <fmt/format.h>
#include <openssl/digest.h>
#include <openssl/evp.h>
#include <openssl/mem.h>
#include <openssl/rand.h>

#include "net/sasl/prepare.h"
#include "net/sasl/scram_keys.h"
#include "net/users/crypt_hash.h"
#include "net/users/hash_text.h"

namespace postern::net::users {
namespace {

constexpr std::uint32_t kPbkdf2RoundsStrong = 200'000;
constexpr std::uint32_t kScramIterationsExecuted = kPbkdf2RoundsMax;  // sasl lets through more

// A hash as make() makes it, of a password that nobody knows.
constexpr std::string_view kDecoy = "$y$j9T$k2XAnEHBqQ1Ct2aMXFKNa/$s.Xv1mbbVnHGOCsDEvJ2dSdxqKiuGCALnyMz44n.Gh7";

constexpr unsigned long kYescryptCost = 5;  // crypt_gensalt's: N = 4096, r = 32

// The prepared form of a password (SASLprep), so that one password is one, however a keyboard encodes its accents.
// Where it cannot be prepared (old hashes may be of anything): nothing.
struct Prepared {
  std::array<char, sasl::kPasswordBytesMax> bytes;
  std::size_t size = 0;
  bool is_good = false;

  explicit Prepared(std::string_view password) {
    if (const auto length = sasl::prepare(password, bytes)) {
      size = *length;
      is_good = size <= kPasswordBytesMax;
    }
  }
  Prepared(const Prepared&) = delete;
  Prepared& operator=(const Prepared&) = delete;
  ~Prepared() { OPENSSL_cleanse(bytes.data(), bytes.size()); }
  [[nodiscard]] std::string_view view() const { return {bytes.data(), size}; }
};

bool is_equal(std::string_view a, std::string_view b) {
  return a.size() == b.size() && CRYPTO_memcmp(a.data(), b.data(), a.size()) == 0;
}

Match match_of(bool equal) {
  return equal ? Match::yes : Match::no;
}

Match verify_digest(const HashText& hash, std::string_view password) {
  const std::size_t size = EVP_MD_size(hash.digest);
  const std::string_view wanted = hash.value.view().substr(0, size);
  const std::string_view salt = hash.value.view().substr(size);
  std::array<std::uint8_t, EVP_MAX_MD_SIZE> computed;
  bssl::ScopedEVP_MD_CTX context;
  if (!EVP_DigestInit_ex(context.get(), hash.digest, nullptr) ||
      !EVP_DigestUpdate(context.get(), password.data(), password.size()) ||
      !EVP_DigestUpdate(context.get(), salt.data(), salt.size()) ||
      !EVP_DigestFinal_ex(context.get(), computed.data(), nullptr)) {
    return Match::unsupported;
  }
  const Match match = match_of(CRYPTO_memcmp(computed.data(), wanted.data(), size) == 0);
  OPENSSL_cleanse(computed.data(), computed.size());
  return match;
}

Match verify_pbkdf2(const HashText& hash, std::string_view password) {
  const auto parsed = parse_pbkdf2(hash.value.view());
  std::string wanted;
  if (!parsed || parsed->rounds > kPbkdf2RoundsMax || !decode_hex(parsed->hash_hex, wanted)) return Match::unsupported;
  std::array<std::uint8_t, 20> computed;
  std::array<std::uint8_t, 64> salt;
  if (parsed->salt.size() > salt.size()) return Match::unsupported;
  for (std::size_t i = 0; i < parsed->salt.size(); ++i) salt[i] = static_cast<std::uint8_t>(parsed->salt[i]);
  if (!PKCS5_PBKDF2_HMAC(password.data(), password.size(), salt.data(), parsed->salt.size(), parsed->rounds, EVP_sha1(),
                         computed.size(), computed.data())) {
    return Match::unsupported;
  }
  return match_of(CRYPTO_memcmp(computed.data(), wanted.data(), computed.size()) == 0);
}

Match verify_scram(const HashText& hash, std::string_view password) {
  const auto keys = sasl::parse_scram_keys(hash.scram_hash, hash.value.view());
  if (!keys || keys->iterations > kScramIterationsExecuted) return Match::unsupported;
  const auto derived = sasl::derive_scram_keys(hash.scram_hash, password, keys->salt_view(), keys->iterations);
  if (!derived) return Match::no;  // what cannot be prepared was never the password
  return match_of(CRYPTO_memcmp(derived->stored_key.data(), keys->stored_key.data(), hash_bytes(hash.scram_hash)) == 0);
}

Match verify_cram(const HashText& hash, std::string_view password) {
  const auto derived = sasl::derive_cram_verifier(password);
  if (!derived) return Match::no;
  const std::string_view value = hash.value.view();  // 32 octets: outer, inner
  const int outer = CRYPTO_memcmp(derived->outer.data(), value.data(), 16);
  const int inner = CRYPTO_memcmp(derived->inner.data(), value.data() + 16, 16);
  return match_of((outer | inner) == 0);
}

Match verify_one(const HashText& hash, std::string_view password) {
  switch (hash.family) {
    case HashFamily::crypt:
      return crypt_cost(hash.value.view()) ? verify_crypt(hash.value.view(), password) : Match::unsupported;
    case HashFamily::argon2:
      return argon2_cost(hash.value.view()) ? verify_argon2(hash.value.view(), password) : Match::unsupported;
    case HashFamily::digest:
      return verify_digest(hash, password);
    case HashFamily::pbkdf2:
      return verify_pbkdf2(hash, password);
    case HashFamily::scram:
      return verify_scram(hash, password);
    case HashFamily::cram_md5:
      return verify_cram(hash, password);
    case HashFamily::plaintext:
      return match_of(is_equal(hash.value.view(), password));
  }
  return Match::unsupported;
}

// The family's own account of itself, with a verdict on its strength.
std::expected<HashCost, std::string> cost_of(const HashText& hash) {
  const auto too_costly = [&hash](const std::string& cost) {
    return std::unexpected(
        fmt::format("is a {} hash that costs more than is ever spent on a login ({})", hash.scheme, cost));
  };
  switch (hash.family) {
    case HashFamily::crypt:
      return crypt_cost(hash.value.view());
    case HashFamily::argon2:
      return argon2_cost(hash.value.view());
    case HashFamily::pbkdf2: {
      const auto parsed = parse_pbkdf2(hash.value.view());
      if (!parsed) return std::unexpected(parsed.error());
      HashCost result{.scheme = hash.scheme, .cost = fmt::format("rounds={}", parsed->rounds)};
      if (parsed->rounds > kPbkdf2RoundsMax) return too_costly(result.cost);
      result.is_strong = parsed->rounds >= kPbkdf2RoundsStrong;
      return result;
    }
    case HashFamily::scram: {
      const auto keys = sasl::parse_scram_keys(hash.scram_hash, hash.value.view());
      if (!keys) return std::unexpected(fmt::format("is a damaged {} hash", hash.scheme));
      HashCost result{.scheme = hash.scheme, .cost = fmt::format("iterations={}", keys->iterations)};
      if (keys->iterations > kScramIterationsExecuted) return too_costly(result.cost);
      result.is_strong = keys->iterations >= kPbkdf2RoundsStrong;
      return result;
    }
    case HashFamily::digest:
    case HashFamily::cram_md5:
    case HashFamily::plaintext:
      break;
  }
  return HashCost{.scheme = hash.scheme, .cost = {}, .is_strong = false};
}

bool is_hashable(std::string_view password) {
  return !password.empty() && password.size() <= kPasswordBytesMax && password.find('\0') == std::string_view::npos;
}

}  // namespace

Match verify(std::string_view stored, std::string_view password) {
  const auto hash = parse_hash_text(stored);
  if (!hash) return Match::unsupported;
  if (!is_hashable(password)) return Match::no;
  const Prepared prepared(password);
  // Hashes that we make are of the prepared form; those of others are of what was typed there.
  Match match = Match::no;
  if (prepared.is_good) match = verify_one(*hash, prepared.view());
  if (match == Match::no && (!prepared.is_good || prepared.view() != password)) match = verify_one(*hash, password);
  return match;
}

void burn(std::string_view stored, std::string_view password) {
  const auto hash = parse_hash_text(stored);
  const bool is_executable = hash && cost_of(*hash);
  (void)verify(is_executable ? stored : kDecoy, password);
}

std::expected<Secret, std::string> make(std::string_view password) {
  if (!is_hashable(password)) {
    return std::unexpected(password.empty()                      ? "a password is empty"
                           : password.size() > kPasswordBytesMax ? "a password is longer than 511 octets"
                                                                 : "a password has a NUL in it");
  }
  std::array<char, 16> random;
  RAND_bytes(reinterpret_cast<std::uint8_t*>(random.data()), random.size());
  std::array<char, CRYPT_GENSALT_OUTPUT_SIZE> setting;
  if (crypt_gensalt_rn("$y$", kYescryptCost, random.data(), random.size(), setting.data(), setting.size()) == nullptr) {
    return std::unexpected("libcrypt makes no yescrypt hashes");
  }
  const Prepared prepared(password);
  std::array<char, kPasswordBytesMax + 1> phrase{};
  (prepared.is_good ? prepared.view() : password).copy(phrase.data(), kPasswordBytesMax);
  const auto work = std::make_unique<crypt_data>();
  const char* result = crypt_r(phrase.data(), setting.data(), work.get());
  std::expected<Secret, std::string> hash = std::unexpected("libcrypt could not make a yescrypt hash (out of memory?)");
  if (result != nullptr && result[0] != '*') hash = Secret(result);
  OPENSSL_cleanse(phrase.data(), phrase.size());
  OPENSSL_cleanse(work.get(), sizeof(crypt_data));
  return hash;
}

bool needs_rehash(std::string_view stored) {
  const auto hash = parse_hash_text(stored);
  if (!hash) return true;
  const auto cost = cost_of(*hash);
  return !cost || !cost->is_strong;
}

std::expected<HashDescription, std::string> describe(std::string_view stored) {
  const auto hash = parse_hash_text(stored);
  if (!hash) return std::unexpected(hash.error());
  const auto cost = cost_of(*hash);
  if (!cost) return std::unexpected(cost.error());
  return HashDescription{
      .scheme = std::string(cost->scheme), .cost = cost->cost, .plaintext = hash->family == HashFamily::plaintext};
}

Secret plaintext_of(std::string_view stored) {
  auto hash = parse_hash_text(stored);
  return hash && hash->family == HashFamily::plaintext ? std::move(hash->value) : Secret();
}

}  // namespace postern::net::users
