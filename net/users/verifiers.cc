#include "net/users/verifiers.h"

#include <array>
#include <openssl/rand.h>
#include <string>

#include "net/sasl/scram_keys.h"
#include "net/users/hash_text.h"

namespace postern::net::users {
namespace {

Secret take(std::string text) {
  Secret result(text);
  wipe(text);
  return result;
}

Secret derive_scram(sasl::ScramHash hash, std::string_view password) {
  std::array<std::uint8_t, sasl::kScramSaltBytes> salt;
  RAND_bytes(salt.data(), salt.size());
  const std::string_view octets(reinterpret_cast<const char*>(salt.data()), salt.size());
  const auto keys = sasl::derive_scram_keys(hash, password, octets, kScramIterations);
  return keys ? take(sasl::scram_keys_text(*keys)) : Secret();
}

}  // namespace

Verifiers derive_verifiers(std::string_view password, const VerifierKinds& kinds) {
  Verifiers result;
  if (kinds.scram_sha_256) result.scram_sha_256 = derive_scram(sasl::ScramHash::sha_256, password);
  if (kinds.scram_sha_1) result.scram_sha_1 = derive_scram(sasl::ScramHash::sha_1, password);
  if (kinds.cram_md5) {
    if (const auto verifier = sasl::derive_cram_verifier(password)) {
      result.cram_md5 = take(sasl::cram_verifier_text(*verifier));
    }
  }
  return result;
}

Verifiers verifiers_of_hash(std::string_view stored, const VerifierKinds& kinds) {
  Verifiers result;
  const auto hash = parse_hash_text(stored);
  if (!hash) return result;
  if (hash->family == HashFamily::scram) {
    Secret& place = hash->scram_hash == sasl::ScramHash::sha_1 ? result.scram_sha_1 : result.scram_sha_256;
    if (const auto keys = sasl::parse_scram_keys(hash->scram_hash, hash->value.view())) {
      place = take(sasl::scram_keys_text(*keys));
    }
  }
  if (hash->family == HashFamily::cram_md5 && kinds.cram_md5) {
    const std::string_view octets = hash->value.view();
    sasl::CramVerifier verifier;
    octets.copy(verifier.outer.data(), 16, 0);
    octets.copy(verifier.inner.data(), 16, 16);
    result.cram_md5 = take(sasl::cram_verifier_text(verifier));
  }
  return result;
}

}  // namespace postern::net::users
