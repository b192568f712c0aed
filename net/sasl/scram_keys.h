// What the user store keeps instead of a password: SCRAM's keys (RFC 5802 section 3, RFC 7677) and CRAM-MD5's verifier.
//
// SCRAM keys let nobody log in (the client's key is one hash further back) but allow guessing at `iterations` HMACs a
// guess. A CRAM-MD5 verifier is as good as the password wherever CRAM-MD5 is offered, and allows guessing at two blocks
// of MD5 a guess.
//
// Pure. Thread: any. Deriving costs 2 * iterations compressions: on the blocking pool, never on a worker. The types
// wipe themselves when they end.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>

namespace postern::net::sasl {

enum class ScramHash : std::uint8_t { sha_1, sha_256 };

inline constexpr std::uint32_t kScramIterationsMin = 4096;  // RFC 5802 section 5.1, RFC 7677 section 4
inline constexpr std::uint32_t kScramIterationsMax =
    10'000'000;                                     // an imported count beyond that would stall its client
inline constexpr std::size_t kScramSaltBytes = 16;  // of salts that are made here, decoys included
inline constexpr std::size_t kScramSaltBytesMin = 4;
inline constexpr std::size_t kScramSaltBytesMax = 32;

// Octets of the hash, and so of its keys: 20 or 32.
[[nodiscard]] constexpr std::size_t hash_bytes(ScramHash hash) noexcept {
  return hash == ScramHash::sha_1 ? 20 : 32;
}

struct ScramKeys {
  ScramHash hash = ScramHash::sha_256;
  bool is_decoy = false;  // made up: no proof fits
  std::uint8_t salt_bytes = 0;
  std::uint32_t iterations = 0;
  std::array<char, kScramSaltBytesMax> salt{};
  std::array<char, 32> stored_key{};  // the first hash_bytes(hash) octets count
  std::array<char, 32> server_key{};

  ScramKeys() = default;
  ScramKeys(const ScramKeys&) = default;
  ScramKeys& operator=(const ScramKeys&) = default;
  ~ScramKeys();
  [[nodiscard]] std::string_view salt_view() const { return {salt.data(), salt_bytes}; }
};

// `password` as it was typed; it is prepared here (prepare.h). Nothing: the password cannot be prepared, or salt or
// iterations are out of bounds.
[[nodiscard]] std::optional<ScramKeys> derive_scram_keys(ScramHash hash, std::string_view password,
                                                         std::string_view salt, std::uint32_t iterations) noexcept;

// Keys for a user who does not exist, or has none: for one secret and one prepared name always the same salt, in the
// size and with the iteration count that new users get, so that asking twice tells nothing. `secret` is this server's
// own, and is kept over restarts.
[[nodiscard]] ScramKeys decoy_scram_keys(ScramHash hash, std::span<const std::byte, 32> secret, std::string_view user,
                                         std::uint32_t iterations) noexcept;

// "4096,SALT,STORED-KEY,SERVER-KEY", the last three in base 64: what follows {SCRAM-SHA-256} or {SCRAM-SHA-1} in
// Dovecot's password files, and what our own store keeps. Parsing is strict; nothing: not of this form, or out of
// bounds.
[[nodiscard]] std::string scram_keys_text(const ScramKeys& keys);
[[nodiscard]] std::optional<ScramKeys> parse_scram_keys(ScramHash hash, std::string_view text) noexcept;

// HMAC-MD5 stopped after its first blocks: the chaining values (four 32-bit words, least significant octet first)
// behind the password mixed with ipad, and with opad.
struct CramVerifier {
  std::array<char, 16> inner{};
  std::array<char, 16> outer{};

  CramVerifier() = default;
  CramVerifier(const CramVerifier&) = default;
  CramVerifier& operator=(const CramVerifier&) = default;
  ~CramVerifier();
};

// `password` as it was typed; it is prepared here. Nothing: it cannot be.
[[nodiscard]] std::optional<CramVerifier> derive_cram_verifier(std::string_view password) noexcept;
// A verifier that nobody has the password of.
[[nodiscard]] CramVerifier decoy_cram_verifier(std::span<const std::byte, 32> secret, std::string_view user) noexcept;

// 64 hexadecimal digits, outer before inner: what follows {CRAM-MD5} or {HMAC-MD5} in Dovecot's password files. Either
// case is read, lower case is written.
[[nodiscard]] std::string cram_verifier_text(const CramVerifier& verifier);
[[nodiscard]] std::optional<CramVerifier> parse_cram_verifier(std::string_view text) noexcept;

// The digest that answers `challenge` (RFC 2195 section 2): 32 hexadecimal digits in lower case.
[[nodiscard]] std::array<char, 32> cram_response(const CramVerifier& verifier, std::string_view challenge) noexcept;

}  // namespace postern::net::sasl
