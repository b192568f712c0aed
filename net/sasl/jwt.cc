// A token taken apart and judged: signature first, then what it claims.
#include "net/sasl/jwt.h"

#include <algorithm>
#include <array>
#include <openssl/mem.h>
#include <optional>
#include <utility>

#include "net/sasl/base64.h"
#include "net/sasl/json.h"
#include "net/sasl/jwt_keys.h"

namespace postern::net::sasl {
namespace {

constexpr std::size_t kSignatureBytesMax = 1024;  // RSA of 8192 bits

// A decoded part; wiped.
struct PartBuffer {
  std::array<char, base64_decoded_bytes_max(kTokenBytesMax)> octets;
  ~PartBuffer() { OPENSSL_cleanse(octets.data(), octets.size()); }

  bool read(std::string_view part, JsonVisitor& visitor) {
    const std::optional<std::size_t> size = base64url_decode(part, octets);
    return size && read_json(std::span(octets).first(*size), visitor);
  }
};

// Says whether a member is told for the first time: a second one of the same name could be read by others instead.
class Once {
 public:
  bool operator()(bool& seen) const { return !std::exchange(seen, true); }
};
constexpr Once kOnce;

// JOSE header (RFC 7515 section 4).
struct Header final : JsonVisitor {
  std::string_view alg;
  std::optional<std::string_view> kid;
  bool has_alg = false;
  bool has_kid = false;

  bool visit(JsonPath path, const JsonValue& value) override {
    if (path.empty()) return value.kind == JsonKind::object_begin || value.kind == JsonKind::object_end;
    if (path.size() != 1 || value.kind == JsonKind::object_end || value.kind == JsonKind::array_end) return true;
    if (is_at(path, {"crit"})) return false;
    if (is_at(path, {"alg"})) {
      alg = value.string;
      return value.kind == JsonKind::string && kOnce(has_alg);
    }
    if (is_at(path, {"kid"})) {
      kid = value.string;
      return value.kind == JsonKind::string && kOnce(has_kid);
    }
    return true;
  }
};

// Claims set (RFC 7519 section 4).
struct Claims final : JsonVisitor {
  explicit Claims(const JwtSettings& settings) : settings_(settings) {}

  bool is_issuer = false;
  bool is_audience = false;
  std::optional<double> expires;
  std::optional<double> not_before;
  std::optional<std::string_view> user;
  std::optional<bool> is_email_verified;

  bool visit(JsonPath path, const JsonValue& value) override {
    if (path.empty()) return value.kind == JsonKind::object_begin || value.kind == JsonKind::object_end;
    if (value.kind == JsonKind::object_end || value.kind == JsonKind::array_end) return true;
    const bool is_text = value.kind == JsonKind::string;
    if (is_at(path, {"aud", "[]"})) {
      is_audience = is_audience || value.string == settings_.audience;
      return is_text;
    }
    if (path.size() != 1) return true;
    const std::string_view name = path.front().key;
    if (name == settings_.user_claim) {
      if (!is_text || !kOnce(has_user_)) return false;
      user = value.string;
    }
    if (name == "iss") {
      is_issuer = value.string == settings_.issuer;
      return is_text && kOnce(has_issuer_);
    }
    if (name == "aud") {
      is_audience = is_text && value.string == settings_.audience;
      return (is_text || value.kind == JsonKind::array_begin) && kOnce(has_audience_);
    }
    if (name == "exp") return take_date(value, expires);
    if (name == "nbf") return take_date(value, not_before);
    if (name == "email_verified") {
      // A boolean (OpenID Connect Core section 5.1); some providers write it as a string.
      is_email_verified = is_text ? value.string == "true" : value.kind == JsonKind::boolean && value.boolean;
      return kOnce(has_email_verified_);
    }
    return true;
  }

  [[nodiscard]] TokenFault judge(std::int64_t unix_seconds) const {
    const auto now = static_cast<double>(unix_seconds);
    const auto leeway = static_cast<double>(settings_.leeway_seconds);
    if (!is_issuer) return TokenFault::issuer;
    if (!is_audience) return TokenFault::audience;
    if (!expires || now >= *expires + leeway) return TokenFault::expired;
    if (not_before && now < *not_before - leeway) return TokenFault::not_yet_valid;
    if (!user || user->empty()) return TokenFault::user;
    if (settings_.user_claim == "email" && is_email_verified == false) return TokenFault::email_not_verified;
    return TokenFault::none;
  }

 private:
  static bool take_date(const JsonValue& value, std::optional<double>& date) {
    if (value.kind != JsonKind::number || date) return false;
    date = value.number;
    return true;
  }

  const JwtSettings& settings_;
  bool has_user_ = false;
  bool has_issuer_ = false;
  bool has_audience_ = false;
  bool has_email_verified_ = false;
};

// HEADER "." PAYLOAD "." SIGNATURE, and no further dot.
struct Parts {
  std::string_view header;
  std::string_view payload;
  std::string_view signature;
  std::string_view is_signed;  // header and payload with the dot between
};

std::optional<Parts> split(std::string_view token) {
  if (token.size() > kTokenBytesMax) return std::nullopt;
  const std::size_t first = token.find('.');
  const std::size_t second = first == std::string_view::npos ? first : token.find('.', first + 1);
  if (second == std::string_view::npos || token.find('.', second + 1) != std::string_view::npos) return std::nullopt;
  return Parts{token.substr(0, first), token.substr(first + 1, second - first - 1), token.substr(second + 1),
               token.substr(0, second)};
}

}  // namespace

std::string_view text_of(TokenFault fault) noexcept {
  switch (fault) {
    case TokenFault::none:
      return "none";
    case TokenFault::malformed:
      return "no signed token";
    case TokenFault::algorithm:
      return "algorithm without a key";
    case TokenFault::unknown_key:
      return "unknown key id";
    case TokenFault::signature:
      return "wrong signature";
    case TokenFault::issuer:
      return "wrong issuer";
    case TokenFault::audience:
      return "for another audience";
    case TokenFault::expired:
      return "expired";
    case TokenFault::not_yet_valid:
      return "not yet valid";
    case TokenFault::user:
      return "no user name in it";
    case TokenFault::email_not_verified:
      return "address not verified by the issuer";
  }
  return "";
}

TokenFault JwtKeys::check_signature(std::string_view algorithm_name, std::optional<std::string_view> kid,
                                    std::string_view text, std::string_view signature) const noexcept {
  const std::optional<JwtAlgorithm> algorithm = parse_jwt_algorithm(algorithm_name);
  TokenFault fault = TokenFault::algorithm;
  if (!algorithm) return fault;
  for (const Key& key : keys_) {
    if (!key.fits(*algorithm)) continue;
    if (kid && !key.kid.empty() && key.kid != *kid) {
      if (fault == TokenFault::algorithm) fault = TokenFault::unknown_key;
      continue;
    }
    if (key.verify(*algorithm, text, signature)) return TokenFault::none;
    fault = TokenFault::signature;
  }
  return fault;
}

TokenCheck JwtKeys::check(std::string_view token, std::int64_t unix_seconds, std::span<char> user) const noexcept {
  const std::optional<Parts> parts = split(token);
  std::array<char, kSignatureBytesMax> signature;
  const std::optional<std::size_t> signature_bytes =
      parts ? base64url_decode(parts->signature, signature) : std::nullopt;
  PartBuffer buffer;
  Header header;
  if (!signature_bytes || !buffer.read(parts->header, header) || !header.has_alg) return {TokenFault::malformed};
  const TokenFault fault =
      check_signature(header.alg, header.kid, parts->is_signed, {signature.data(), *signature_bytes});
  if (fault != TokenFault::none) return {fault};

  Claims claims(settings_);
  if (!buffer.read(parts->payload, claims)) return {TokenFault::malformed};
  const TokenFault verdict = claims.judge(unix_seconds);
  if (verdict != TokenFault::none) return {verdict};
  if (claims.user->size() > user.size()) return {TokenFault::user};
  return {TokenFault::none, claims.user->copy(user.data(), user.size())};
}

core::Result<JwtKeys> JwtKeys::load(std::string_view text, JwtSettings settings) {
  if (settings.issuer.empty() || settings.audience.empty() || settings.user_claim.empty()) {
    return core::fail(
        "token keys need an issuer, an audience and a claim with the user's name: without them any token would do");
  }
  const std::size_t begin = text.find_first_not_of(" \t\r\n");
  const bool is_json = begin != std::string_view::npos && text[begin] == '{';
  core::Result<std::vector<Key>> keys = is_json ? Key::read_jwks(text) : Key::read_pem(text);
  if (!keys) return std::unexpected(std::move(keys.error()));
  if (keys->empty()) return core::fail("token keys: none here that could check a token's signature");
  if (keys->size() > kJwtKeysMax)
    return core::fail("token keys: more than " + std::to_string(kJwtKeysMax) + " of them");
  return JwtKeys(std::move(*keys), std::move(settings));
}

JwtKeys::JwtKeys(std::vector<Key> keys, JwtSettings settings)
    : keys_(std::move(keys)), settings_(std::move(settings)) {}
JwtKeys::JwtKeys(JwtKeys&&) noexcept = default;
JwtKeys& JwtKeys::operator=(JwtKeys&&) noexcept = default;
JwtKeys::~JwtKeys() = default;

std::size_t JwtKeys::key_count() const noexcept {
  return keys_.size();
}

}  // namespace postern::net::sasl
