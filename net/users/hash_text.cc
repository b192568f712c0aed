// The table of schemes, and their encodings.
#include "net/users/hash_text.h"

#include <algorithm>
#include <charconv>
#include <fmt/format.h>
#include <openssl/digest.h>
#include <openssl/mem.h>
#include <optional>
#include <utility>

#include "core/ascii.h"
#include "net/sasl/base64.h"

namespace postern::net::users {
namespace {

enum class Encoding : std::uint8_t { none, base64, hex };

struct Scheme {
  std::string_view name;
  HashFamily family;
  Encoding encoding = Encoding::none;  // when the text names none
  const EVP_MD* (*digest)() = nullptr;
  bool is_salted = false;        // a salt follows the digest
  std::string_view prefix = {};  // of crypt(3) and Argon2 texts: {SHA512-CRYPT} holds no bcrypt hash
};

constexpr Scheme kSchemes[] = {
    {"CRYPT", HashFamily::crypt},
    {"SHA512-CRYPT", HashFamily::crypt, Encoding::none, nullptr, false, "$6$"},
    {"SHA256-CRYPT", HashFamily::crypt, Encoding::none, nullptr, false, "$5$"},
    {"BLF-CRYPT", HashFamily::crypt, Encoding::none, nullptr, false, "$2"},
    {"MD5-CRYPT", HashFamily::crypt, Encoding::none, nullptr, false, "$1$"},
    {"MD5", HashFamily::crypt, Encoding::none, nullptr, false, "$1$"},  // Dovecot's old name of it
    {"ARGON2ID", HashFamily::argon2, Encoding::none, nullptr, false, "$argon2id$"},
    {"ARGON2I", HashFamily::argon2, Encoding::none, nullptr, false, "$argon2i$"},
    {"PBKDF2", HashFamily::pbkdf2},
    {"SCRAM-SHA-256", HashFamily::scram},
    {"SCRAM-SHA-1", HashFamily::scram},
    {"CRAM-MD5", HashFamily::cram_md5, Encoding::hex},
    {"HMAC-MD5", HashFamily::cram_md5, Encoding::hex},
    {"SSHA512", HashFamily::digest, Encoding::base64, EVP_sha512, true},
    {"SSHA256", HashFamily::digest, Encoding::base64, EVP_sha256, true},
    {"SSHA", HashFamily::digest, Encoding::base64, EVP_sha1, true},
    {"SMD5", HashFamily::digest, Encoding::base64, EVP_md5, true},
    {"SHA512", HashFamily::digest, Encoding::base64, EVP_sha512},
    {"SHA256", HashFamily::digest, Encoding::base64, EVP_sha256},
    {"SHA1", HashFamily::digest, Encoding::base64, EVP_sha1},
    {"SHA", HashFamily::digest, Encoding::base64, EVP_sha1},
    {"LDAP-MD5", HashFamily::digest, Encoding::base64, EVP_md5},
    {"PLAIN-MD5", HashFamily::digest, Encoding::hex, EVP_md5},
    {"PLAIN", HashFamily::plaintext},
    {"CLEARTEXT", HashFamily::plaintext},
    {"CLEAR", HashFamily::plaintext},
};

constexpr std::size_t kTextBytesMax = 4096;  // no hash is longer; a longer {PLAIN} is no password
constexpr std::size_t kSaltBytesMax = 64;    // behind a digest

const Scheme* find_scheme(std::string_view name) {
  const auto* found = std::find_if(std::begin(kSchemes), std::end(kSchemes),
                                   [name](const Scheme& scheme) { return core::equals_ignoring_case(scheme.name, name); });
  return found == std::end(kSchemes) ? nullptr : found;
}

bool decode_base64(std::string_view text, std::string& octets) {
  octets.resize(sasl::base64_decoded_bytes_max(text.size()));
  const auto size = sasl::base64_decode(text, octets);
  octets.resize(size.value_or(0));
  return size.has_value();
}

// How many octets the value has for certain; 0: it depends.
std::size_t fixed_bytes(const Scheme& scheme) {
  if (scheme.family == HashFamily::cram_md5) return 32;
  return scheme.family == HashFamily::digest && !scheme.is_salted ? EVP_MD_size(scheme.digest()) : 0;
}

std::optional<Secret> decode(std::string_view text, Encoding encoding) {
  std::string octets;
  const bool good = encoding == Encoding::hex ? decode_hex(text, octets) : decode_base64(text, octets);
  std::optional<Secret> result;
  if (good) result.emplace(octets);
  wipe(octets);
  return result;
}

// What is in the value must be of the scheme.
std::expected<HashText, std::string> checked(const Scheme& scheme, Secret value) {
  HashText result;
  result.family = scheme.family;
  result.scheme = scheme.name;
  result.value = std::move(value);
  const std::string_view text = result.value.view();
  const auto wrong = [&scheme] { return std::unexpected(fmt::format("is a damaged {} hash", scheme.name)); };
  switch (scheme.family) {
    case HashFamily::crypt:
    case HashFamily::argon2:
      if (!text.starts_with(scheme.prefix)) return wrong();
      break;
    case HashFamily::digest: {
      result.digest = scheme.digest();
      const std::size_t size = EVP_MD_size(result.digest);
      const std::size_t salt_bytes_max = scheme.is_salted ? kSaltBytesMax : 0;
      if (text.size() < size + (scheme.is_salted ? 1 : 0) || text.size() > size + salt_bytes_max) return wrong();
      break;
    }
    case HashFamily::cram_md5:
      if (text.size() != 32) return wrong();
      break;
    case HashFamily::scram:
      result.scram_hash = scheme.name == "SCRAM-SHA-1" ? sasl::ScramHash::sha_1 : sasl::ScramHash::sha_256;
      if (!sasl::parse_scram_keys(result.scram_hash, text)) return wrong();
      break;
    case HashFamily::pbkdf2:
      if (const auto parsed = parse_pbkdf2(text); !parsed) return std::unexpected(parsed.error());
      break;
    case HashFamily::plaintext:
      if (text.empty()) return std::unexpected("is an empty password");
      break;
  }
  return result;
}

}  // namespace

bool decode_hex(std::string_view text, std::string& octets) {
  octets.clear();
  if (text.size() % 2 != 0) return false;
  for (std::size_t i = 0; i < text.size(); i += 2) {
    unsigned value = 0;
    const char* end = text.data() + i + 2;
    const auto parsed = std::from_chars(text.data() + i, end, value, 16);
    if (parsed.ec != std::errc{} || parsed.ptr != end) return false;
    octets.push_back(static_cast<char>(value));
  }
  return true;
}

std::expected<Pbkdf2, std::string> parse_pbkdf2(std::string_view value) {
  const std::unexpected<std::string> wrong("is a damaged PBKDF2 hash");
  if (!value.starts_with("$1$")) return wrong;
  value.remove_prefix(3);
  Pbkdf2 result;
  std::size_t end = value.find('$');
  if (end == std::string_view::npos || end == 0 || end > kSaltBytesMax) return wrong;
  result.salt = value.substr(0, end);
  value.remove_prefix(end + 1);
  const auto [stop, error] = std::from_chars(value.data(), value.data() + value.size(), result.rounds);
  if (error != std::errc{} || result.rounds == 0) return wrong;
  value.remove_prefix(static_cast<std::size_t>(stop - value.data()));
  if (value.size() != 41 || value.front() != '$') return wrong;
  result.hash_hex = value.substr(1);
  std::string octets;
  if (!decode_hex(result.hash_hex, octets)) return wrong;
  return result;
}

std::expected<HashText, std::string> parse_hash_text(std::string_view stored) {
  if (stored.size() > kTextBytesMax) return std::unexpected("is longer than any password hash");
  if (!stored.starts_with('{')) {
    const bool is_argon2 = stored.starts_with("$argon2");
    HashText result;
    result.family = is_argon2 ? HashFamily::argon2 : HashFamily::crypt;
    result.scheme = is_argon2 ? "ARGON2" : "CRYPT";
    result.value = Secret(stored);
    return result;
  }
  const std::size_t end = stored.find('}');
  if (end == std::string_view::npos) return std::unexpected("has a '{' without its '}'");
  std::string_view name = stored.substr(1, end - 1);
  std::string_view text = stored.substr(end + 1);
  std::optional<Encoding> named;
  if (const std::size_t dot = name.rfind('.'); dot != std::string_view::npos) {
    const std::string_view encoding = name.substr(dot + 1);
    if (core::equals_ignoring_case(encoding, "b64") || core::equals_ignoring_case(encoding, "base64")) {
      named = Encoding::base64;
    } else if (core::equals_ignoring_case(encoding, "hex")) {
      named = Encoding::hex;
    } else {
      return std::unexpected("has an encoding behind its scheme that is neither b64 nor hex");
    }
    name = name.substr(0, dot);
  }
  const Scheme* scheme = find_scheme(name);
  if (scheme == nullptr) return std::unexpected("has a scheme in braces that is not known here");
  // A CRYPT text may be an Argon2 one: crypt(3) of other systems knows it.
  if (scheme->name == "CRYPT" && !named && text.starts_with("$argon2")) return parse_hash_text(text);
  Encoding encoding = named.value_or(scheme->encoding);
  // A value of known length tells by itself in which of the two encodings it was written.
  if (const std::size_t fixed = fixed_bytes(*scheme); !named && fixed != 0) {
    encoding = text.size() == 2 * fixed ? Encoding::hex : Encoding::base64;
  }
  if (encoding == Encoding::none) return checked(*scheme, Secret(text));
  auto value = decode(text, encoding);
  if (!value) return std::unexpected(fmt::format("is a damaged {} hash", scheme->name));
  return checked(*scheme, std::move(*value));
}

}  // namespace postern::net::users
