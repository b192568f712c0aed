// Keys of SCRAM: derived, made up, written and read.
#include "net/sasl/scram_keys.h"

#include <algorithm>
#include <charconv>
#include <openssl/mem.h>

#include "net/sasl/base64.h"
#include "net/sasl/digest.h"
#include "net/sasl/prepare.h"

namespace postern::net::sasl {
namespace {

// Cuts the text before the first `separator` off `rest`, and the separator with it; all of it when there is none.
std::string_view take_field(std::string_view& rest, char separator) {
  const std::size_t end = std::min(rest.find(separator), rest.size());
  const std::string_view field = rest.substr(0, end);
  rest.remove_prefix(std::min(end + 1, rest.size()));
  return field;
}

bool read_exactly(std::string_view text, std::span<char> out) {
  return base64_decode(text, out) == out.size();
}

void append_base64(std::string& text, std::string_view octets) {
  std::array<char, base64_bytes(32)> encoded{};
  text.append(encoded.data(), base64_encode(octets, encoded));
  OPENSSL_cleanse(encoded.data(), encoded.size());
}

}  // namespace

ScramKeys::~ScramKeys() {
  OPENSSL_cleanse(stored_key.data(), stored_key.size());
  OPENSSL_cleanse(server_key.data(), server_key.size());
}

std::optional<ScramKeys> derive_scram_keys(ScramHash hash, std::string_view password, std::string_view salt,
                                           std::uint32_t iterations) noexcept {
  if (salt.size() < kScramSaltBytesMin || salt.size() > kScramSaltBytesMax) return std::nullopt;
  if (iterations < kScramIterationsMin || iterations > kScramIterationsMax) return std::nullopt;
  std::array<char, kPasswordBytesMax> prepared;
  const std::optional<std::size_t> bytes = prepare(password, prepared);
  if (!bytes) return std::nullopt;
  const Digest salted = salted_password(hash, {prepared.data(), *bytes}, salt, iterations);
  OPENSSL_cleanse(prepared.data(), prepared.size());

  ScramKeys keys;
  keys.hash = hash;
  keys.iterations = iterations;
  keys.salt_bytes = static_cast<std::uint8_t>(salt.copy(keys.salt.data(), keys.salt.size()));
  keys.stored_key = digest(hash, hmac(hash, salted.view(), "Client Key").view()).octets;
  keys.server_key = hmac(hash, salted.view(), "Server Key").octets;
  return keys;
}

ScramKeys decoy_scram_keys(ScramHash hash, std::span<const std::byte, 32> secret, std::string_view user,
                           std::uint32_t iterations) noexcept {
  const std::string_view key(reinterpret_cast<const char*>(secret.data()), secret.size());
  // One salt a user and mechanism, as with real ones: the user's name under two labels.
  const Digest by_mechanism = hmac(ScramHash::sha_256, key, hash == ScramHash::sha_1 ? "salt 1" : "salt 256");
  const Digest salt = hmac(ScramHash::sha_256, by_mechanism.view(), user);
  ScramKeys keys;
  keys.hash = hash;
  keys.is_decoy = true;
  keys.iterations = iterations;
  keys.salt_bytes = kScramSaltBytes;
  std::copy_n(salt.octets.begin(), kScramSaltBytes, keys.salt.begin());
  // Never compared with success; there, so that the work is the same.
  keys.stored_key = hmac(ScramHash::sha_256, by_mechanism.view(), salt.view()).octets;
  keys.server_key = keys.stored_key;
  return keys;
}

std::string scram_keys_text(const ScramKeys& keys) {
  std::string text = std::to_string(keys.iterations);
  text.reserve(160);
  for (const std::string_view part : {keys.salt_view(), std::string_view(keys.stored_key.data(), hash_bytes(keys.hash)),
                                      std::string_view(keys.server_key.data(), hash_bytes(keys.hash))}) {
    text += ',';
    append_base64(text, part);
  }
  return text;
}

std::optional<ScramKeys> parse_scram_keys(ScramHash hash, std::string_view text) noexcept {
  ScramKeys keys;
  keys.hash = hash;
  const std::string_view count = take_field(text, ',');
  const auto [end, error] = std::from_chars(count.data(), count.data() + count.size(), keys.iterations);
  if (error != std::errc() || end != count.data() + count.size() || count.starts_with('0')) return std::nullopt;
  if (keys.iterations < kScramIterationsMin || keys.iterations > kScramIterationsMax) return std::nullopt;
  const std::optional<std::size_t> salt_bytes = base64_decode(take_field(text, ','), keys.salt);
  if (!salt_bytes || *salt_bytes < kScramSaltBytesMin) return std::nullopt;
  keys.salt_bytes = static_cast<std::uint8_t>(*salt_bytes);
  if (!read_exactly(take_field(text, ','), std::span(keys.stored_key).first(hash_bytes(hash)))) return std::nullopt;
  if (!read_exactly(text, std::span(keys.server_key).first(hash_bytes(hash)))) return std::nullopt;
  return keys;
}

}  // namespace postern::net::sasl
