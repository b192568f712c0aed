// Argon2 (RFC 9106) by libargon2, one thread whatever the number of lanes: the pool's threads are the limit, not the
// hash's.
#include <argon2.h>
#include <array>
#include <charconv>
#include <fmt/format.h>
#include <openssl/mem.h>
#include <optional>

#include "net/sasl/base64.h"
#include "net/users/crypt_hash.h"

namespace postern::net::users {
namespace {

constexpr std::size_t kOctetsMax = 64;  // of salt and of hash; longer ones are not made by anybody
constexpr std::uint32_t kLanesMax = 64;

struct Argon2 {
  argon2_type type = Argon2_id;
  std::uint32_t memory_kib = 0;
  std::uint32_t passes = 0;
  std::uint32_t lanes = 0;
  std::array<std::uint8_t, kOctetsMax> salt{};
  std::size_t salt_bytes = 0;
  std::array<std::uint8_t, kOctetsMax> hash{};
  std::size_t hash_bytes = 0;
};

bool take(std::string_view& text, std::string_view prefix) {
  if (!text.starts_with(prefix)) return false;
  text.remove_prefix(prefix.size());
  return true;
}

bool take_number(std::string_view& text, std::uint32_t& value) {
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (error != std::errc{}) return false;
  text.remove_prefix(static_cast<std::size_t>(end - text.data()));
  return true;
}

// Base 64 without its padding.
bool decode(std::string_view text, std::array<std::uint8_t, kOctetsMax>& out, std::size_t& size) {
  std::array<char, sasl::base64_bytes(kOctetsMax)> padded;
  if (text.size() > padded.size() || text.find('=') != std::string_view::npos) return false;
  std::size_t length = text.copy(padded.data(), text.size());
  while (length % 4 != 0 && length < padded.size()) padded[length++] = '=';
  std::array<char, kOctetsMax> octets;
  const auto decoded = sasl::base64_decode({padded.data(), length}, octets);
  if (!decoded) return false;
  size = *decoded;
  for (std::size_t i = 0; i < size; ++i) out[i] = static_cast<std::uint8_t>(octets[i]);
  return true;
}

// "$argon2id$v=19$m=65536,t=3,p=1$SALT$HASH"
std::optional<Argon2> parse(std::string_view text) {
  Argon2 parsed;
  if (take(text, "$argon2i$")) {
    parsed.type = Argon2_i;
  } else if (!take(text, "$argon2id$")) {
    return std::nullopt;
  }
  if (!take(text, "v=19$m=") || !take_number(text, parsed.memory_kib) || !take(text, ",t=") ||
      !take_number(text, parsed.passes) || !take(text, ",p=") || !take_number(text, parsed.lanes) || !take(text, "$")) {
    return std::nullopt;
  }
  const std::size_t middle = text.find('$');
  if (middle == std::string_view::npos || !decode(text.substr(0, middle), parsed.salt, parsed.salt_bytes) ||
      !decode(text.substr(middle + 1), parsed.hash, parsed.hash_bytes)) {
    return std::nullopt;
  }
  const bool fits = parsed.salt_bytes >= ARGON2_MIN_SALT_LENGTH && parsed.hash_bytes >= 16 && parsed.lanes >= 1 &&
                    parsed.passes >= 1 && parsed.memory_kib / 8 >= parsed.lanes;
  return fits ? std::optional(parsed) : std::nullopt;
}

}  // namespace

std::expected<HashCost, std::string> argon2_cost(std::string_view text) {
  const auto parsed = parse(text);
  if (!parsed) return std::unexpected("is a damaged Argon2 hash, or of a kind not known here (argon2d, version 16)");
  const bool is_id = parsed->type == Argon2_id;
  HashCost result{.scheme = is_id ? "Argon2id" : "Argon2i",
                  .cost = fmt::format("m={} t={} p={}", parsed->memory_kib, parsed->passes, parsed->lanes),
                  .is_strong = is_id && parsed->memory_kib >= 19 * 1024};
  if (parsed->memory_kib > kHashMemoryBytesMax / 1024 || parsed->lanes > kLanesMax ||
      std::uint64_t{parsed->memory_kib} * parsed->passes > kArgon2WorkKibMax) {
    return std::unexpected(
        fmt::format("is an {} hash that costs more than is ever spent on a login ({})", result.scheme, result.cost));
  }
  return result;
}

Match verify_argon2(std::string_view text, std::string_view password) {
  auto parsed = parse(text);
  if (!parsed) return Match::unsupported;
  if (password.size() > kPasswordBytesMax) return Match::no;
  std::array<std::uint8_t, kPasswordBytesMax> phrase;
  for (std::size_t i = 0; i < password.size(); ++i) phrase[i] = static_cast<std::uint8_t>(password[i]);
  std::array<std::uint8_t, kOctetsMax> computed{};
  argon2_context context{};
  context.out = computed.data();
  context.outlen = static_cast<std::uint32_t>(parsed->hash_bytes);
  context.pwd = phrase.data();
  context.pwdlen = static_cast<std::uint32_t>(password.size());
  context.salt = parsed->salt.data();
  context.saltlen = static_cast<std::uint32_t>(parsed->salt_bytes);
  context.t_cost = parsed->passes;
  context.m_cost = parsed->memory_kib;
  context.lanes = parsed->lanes;
  context.threads = 1;
  context.version = ARGON2_VERSION_13;
  context.flags = ARGON2_DEFAULT_FLAGS;
  const int outcome = argon2_ctx(&context, parsed->type);
  OPENSSL_cleanse(phrase.data(), phrase.size());
  if (outcome != ARGON2_OK) return Match::unsupported;
  return CRYPTO_memcmp(computed.data(), parsed->hash.data(), parsed->hash_bytes) == 0 ? Match::yes : Match::no;
}

}  // namespace postern::net::users
