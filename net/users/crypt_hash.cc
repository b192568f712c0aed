// libxcrypt's hashes. Its own checks let a hash run for minutes: parameters are read here first (crypt(5) draws the
// forms).
#include "net/users/crypt_hash.h"

#include <algorithm>
#include <array>
#include <bit>
#include <charconv>
#include <crypt.h>
#include <cstring>
#include <fmt/format.h>
#include <memory>
#include <openssl/mem.h>
#include <optional>

namespace postern::net::users {
namespace {

// The 64 digits of crypt(3), the lowest first.
constexpr std::string_view kDigits = "./0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";

std::unexpected<std::string> damaged(std::string_view scheme) {
  return std::unexpected(fmt::format("is a damaged {} hash", scheme));
}

std::unexpected<std::string> too_costly(std::string_view scheme, std::string_view cost) {
  return std::unexpected(fmt::format("is a {} hash that costs more than is ever spent on a login ({})", scheme, cost));
}

bool is_digits(std::string_view text, std::size_t count) {
  return text.size() == count && text.find_first_not_of(kDigits) == std::string_view::npos;
}

std::optional<std::uint32_t> take_digit(std::string_view& text) {
  if (text.empty()) return std::nullopt;
  const std::size_t digit = kDigits.find(text.front());
  if (digit == std::string_view::npos) return std::nullopt;
  text.remove_prefix(1);
  return static_cast<std::uint32_t>(digit);
}

// Splits off what stands before the next '$'. Nothing: there is none.
std::optional<std::string_view> take_field(std::string_view& text) {
  const std::size_t end = text.find('$');
  if (end == std::string_view::npos) return std::nullopt;
  const std::string_view field = text.substr(0, end);
  text.remove_prefix(end + 1);
  return field;
}

// A number of yescrypt's parameters: the first digit's range tells how many more digits follow, and each range goes on
// counting where the one below it ends. 48 values have one digit; what is left of the 64 is halved at each step.
std::optional<std::uint32_t> take_yescrypt_number(std::string_view& text, std::uint32_t least) {
  const auto first = take_digit(text);
  if (!first) return std::nullopt;
  std::uint64_t value = least;
  std::uint32_t range_start = 0;
  std::uint32_t range_end = 47;
  unsigned bits = 0;
  while (*first > range_end) {
    value += std::uint64_t{range_end + 1 - range_start} << bits;
    range_start = range_end + 1;
    range_end = range_start + (62 - range_end) / 2;
    bits += 6;
    if (bits > 24) return std::nullopt;
  }
  value += std::uint64_t{*first - range_start} << bits;
  while (bits > 0) {
    const auto digit = take_digit(text);
    if (!digit) return std::nullopt;
    bits -= 6;
    value += std::uint64_t{*digit} << bits;
  }
  if (value > 0xffffffff) return std::nullopt;
  return static_cast<std::uint32_t>(value);
}

constexpr std::uint64_t kScryptWorkStrong = 1u
                                            << 17;  // what make() spends: N = 4096, r = 32; scrypt's N = 16384, r = 8

struct ScryptCost {
  std::uint32_t n_log2 = 0;
  std::uint32_t r = 0;
  std::uint32_t p = 1;
  std::uint32_t t = 0;
};

std::expected<HashCost, std::string> scrypt_verdict(std::string_view scheme, const ScryptCost& cost) {
  HashCost result;
  result.scheme = scheme;
  if (cost.n_log2 > 40 || cost.r > 1u << 20 || cost.p > 1u << 10 || cost.t > 1u << 10 || cost.p == 0 || cost.r == 0) {
    return too_costly(scheme, fmt::format("N=2^{} r={} p={} t={}", cost.n_log2, cost.r, cost.p, cost.t));
  }
  const std::uint64_t blocks = (std::uint64_t{1} << cost.n_log2) * cost.r;  // below 2^60
  result.cost = fmt::format("N={} r={}", std::uint64_t{1} << cost.n_log2, cost.r);
  if (cost.p != 1) result.cost += fmt::format(" p={}", cost.p);
  if (cost.t != 0) result.cost += fmt::format(" t={}", cost.t);
  // yescrypt's working memory is N blocks of 128 * r octets; with classic scrypt's p each lane has the same again in
  // turn.
  if (blocks > kHashMemoryBytesMax / 128) return too_costly(scheme, result.cost);
  const std::uint64_t work = blocks * cost.p * (1 + cost.t);
  if (work > kYescryptWorkMax) return too_costly(scheme, result.cost);
  result.is_strong = work >= kScryptWorkStrong;
  return result;
}

// "$y$j9T$SALT$HASH": flavour, log2 of N, r, and where a mask says so p, t, g and the size of a ROM.
std::expected<HashCost, std::string> yescrypt_cost(std::string_view scheme, std::string_view rest) {
  const auto parameters = take_field(rest);
  const auto salt = take_field(rest);
  if (!parameters || !salt || salt->size() > 86 || !is_digits(rest, 43)) return damaged(scheme);
  std::string_view text = *parameters;
  const auto flavour = take_yescrypt_number(text, 0);
  const auto n_log2 = take_yescrypt_number(text, 1);
  const auto r = take_yescrypt_number(text, 1);
  if (!flavour || !n_log2 || !r) return damaged(scheme);
  ScryptCost cost{.n_log2 = *n_log2, .r = *r};
  if (!text.empty()) {
    const auto mask = take_yescrypt_number(text, 1);
    if (!mask) return damaged(scheme);
    if (*mask & ~3u) return std::unexpected(fmt::format("is a {} hash with a ROM or an upgrade", scheme));
    if (*mask & 1) {
      const auto p = take_yescrypt_number(text, 2);
      if (!p) return damaged(scheme);
      cost.p = *p;
    }
    if (*mask & 2) {
      const auto t = take_yescrypt_number(text, 1);
      if (!t) return damaged(scheme);
      cost.t = *t;
    }
    if (!text.empty()) return damaged(scheme);
  }
  return scrypt_verdict(scheme, cost);
}

// "$7$CU..../....SALT$HASH": log2 of N in one digit, r and p in five, the lowest first.
std::expected<HashCost, std::string> scrypt_cost(std::string_view rest) {
  constexpr std::string_view kScheme = "scrypt";
  const auto setting = take_field(rest);
  if (!setting || setting->size() < 11 || !is_digits(rest, 43)) return damaged(kScheme);
  std::string_view text = *setting;
  const auto n_log2 = take_digit(text);
  const auto take_five = [&text]() -> std::optional<std::uint32_t> {
    std::uint32_t value = 0;
    for (unsigned bits = 0; bits < 30; bits += 6) {
      const auto digit = take_digit(text);
      if (!digit) return std::nullopt;
      value |= *digit << bits;
    }
    return value;
  };
  const auto r = take_five();
  const auto p = take_five();
  if (!n_log2 || !r || !p || *r == 0 || *p == 0) return damaged(kScheme);
  return scrypt_verdict(kScheme, {.n_log2 = *n_log2, .r = *r, .p = *p});
}

// "$2b$12$", 22 digits of salt and 31 of hash.
std::expected<HashCost, std::string> bcrypt_cost(std::string_view rest) {
  constexpr std::string_view kScheme = "bcrypt";
  const auto field = take_field(rest);
  if (!field || field->size() != 2 || !is_digits(rest, 53)) return damaged(kScheme);
  unsigned cost = 0;
  const auto [end, error] = std::from_chars(field->data(), field->data() + 2, cost);
  if (error != std::errc{} || end != field->data() + 2 || cost < 4) return damaged(kScheme);
  HashCost result{.scheme = kScheme, .cost = fmt::format("cost={}", cost), .is_strong = cost >= 10};
  if (cost > kBcryptCostMax) return too_costly(kScheme, result.cost);
  return result;
}

// "$6$SALT$HASH" or "$6$rounds=10000$SALT$HASH".
std::expected<HashCost, std::string> sha_crypt_cost(std::string_view scheme, std::string_view rest,
                                                    std::size_t digits) {
  std::uint32_t rounds = 5000;
  constexpr std::string_view kRounds = "rounds=";
  if (rest.starts_with(kRounds)) {
    rest.remove_prefix(kRounds.size());
    const auto field = take_field(rest);
    if (!field) return damaged(scheme);
    const auto [end, error] = std::from_chars(field->data(), field->data() + field->size(), rounds);
    if (error == std::errc::result_out_of_range) return too_costly(scheme, "rounds=" + std::string(*field));
    if (error != std::errc{} || end != field->data() + field->size() || rounds < 1000) return damaged(scheme);
  }
  const auto salt = take_field(rest);
  if (!salt || salt->size() > 16 || !is_digits(rest, digits)) return damaged(scheme);
  HashCost result{.scheme = scheme, .cost = fmt::format("rounds={}", rounds), .is_strong = rounds >= 100'000};
  if (rounds > kShaCryptRoundsMax) return too_costly(scheme, result.cost);
  return result;
}

std::expected<HashCost, std::string> md5_crypt_cost(std::string_view rest) {
  const auto salt = take_field(rest);
  if (!salt || salt->size() > 8 || !is_digits(rest, 22)) return damaged("MD5-crypt");
  return HashCost{.scheme = "MD5-crypt", .cost = "rounds=1000", .is_strong = false};
}

}  // namespace

std::expected<HashCost, std::string> crypt_cost(std::string_view text) {
  const auto rest_of = [text](std::string_view prefix) { return text.substr(prefix.size()); };
  if (text.size() >= CRYPT_OUTPUT_SIZE) return std::unexpected("is longer than any crypt hash");
  // crypt(3) refuses these everywhere, as they would break a password file.
  if (text.find_first_of(":;*!\\") != std::string_view::npos ||
      std::any_of(text.begin(), text.end(), [](char c) { return c <= ' ' || c >= 0x7f; })) {
    return std::unexpected("has a character in it that no crypt hash has");
  }
  if (text.starts_with("$y$")) return yescrypt_cost("yescrypt", rest_of("$y$"));
  if (text.starts_with("$gy$")) return yescrypt_cost("gost-yescrypt", rest_of("$gy$"));
  if (text.starts_with("$7$")) return scrypt_cost(rest_of("$7$"));
  for (const std::string_view prefix : {"$2a$", "$2b$", "$2y$"}) {
    if (text.starts_with(prefix)) return bcrypt_cost(rest_of(prefix));
  }
  if (text.starts_with("$6$")) return sha_crypt_cost("SHA-512-crypt", rest_of("$6$"), 86);
  if (text.starts_with("$5$")) return sha_crypt_cost("SHA-256-crypt", rest_of("$5$"), 43);
  if (text.starts_with("$1$")) return md5_crypt_cost(rest_of("$1$"));
  return std::unexpected("is no hash that is known here");
}

Match verify_crypt(std::string_view text, std::string_view password) {
  // 32 KiB, too large for a stack. Zeroed, as crypt_r wants it.
  const auto work = std::make_unique<crypt_data>();
  std::array<char, kPasswordBytesMax + 1> phrase{};
  std::array<char, CRYPT_OUTPUT_SIZE> setting{};
  if (password.size() > kPasswordBytesMax || text.size() >= setting.size()) return Match::no;
  std::copy(password.begin(), password.end(), phrase.begin());
  std::copy(text.begin(), text.end(), setting.begin());
  const char* result = crypt_r(phrase.data(), setting.data(), work.get());
  Match match = Match::unsupported;
  if (result != nullptr && result[0] != '*') {
    const bool equal = std::strlen(result) == text.size() && CRYPTO_memcmp(result, text.data(), text.size()) == 0;
    match = equal ? Match::yes : Match::no;
  }
  OPENSSL_cleanse(phrase.data(), phrase.size());
  OPENSSL_cleanse(work.get(), sizeof(crypt_data));
  return match;
}

}  // namespace postern::net::users
