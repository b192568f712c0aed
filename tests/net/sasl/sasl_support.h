// Surroundings, stores and clients for tests of the SASL server.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <string_view>

#include "net/sasl/server.h"

namespace postern::net::sasl::test {

inline constexpr std::int64_t kNow = 1'795'500'000;  // November 2026

// Octets 1, 2, 3...
std::array<std::byte, 32> octets_from(unsigned first);

// With an exporter value, PLUS offered, no certificate, no keys.
Surroundings connection();

std::string encode(std::string_view octets);               // base 64
std::string encode_url(std::string_view octets);           // base 64 for URLs, without padding
std::optional<std::string> decode(std::string_view text);  // base 64

// The store's answer for a user with this password, or, without one, for nobody.
Credential credential_of(CredentialKind kind, std::string_view user, std::optional<std::string_view> password,
                         Credential::Standing standing = Credential::Standing::usable);

// A user store of one.
struct Store {
  std::string user = "user@example.com";
  std::string password = "pencil";
  Credential::Standing standing = Credential::Standing::usable;  // of that user

  [[nodiscard]] PasswordVerdict check(std::string_view name, std::string_view tried) const;
  [[nodiscard]] Credential find(CredentialKind kind, std::string_view name) const;
};

// Answers the server's questions out of the store until there is a challenge, or an end.
Step settle(Server& server, Step step, const Store& store);

// A step in words: "challenge 12", "need-password", "need-credential", "success user", "failure reason [guess]".
std::string words(const Step& step);

// SCRAM's client, by the book; tests change what it says.
struct ScramClient {
  ScramHash hash = ScramHash::sha_256;
  std::string gs2 = "n,,";
  std::string name = "user@example.com";
  std::string password = "pencil";
  std::string nonce = "rOprNGfwEbeRWgbNEkqO";
  std::string binding;           // behind the gs2 header in c=
  std::string first_extensions;  // ",x=1"
  std::string final_extensions;

  [[nodiscard]] std::string bare() const { return "n=" + name + ",r=" + nonce + first_extensions; }
  [[nodiscard]] std::string first() const { return gs2 + bare(); }
  // client-final-message for a server-first-message; remembers the server's signature that must come.
  std::string final(std::string_view server_first);
  std::string server_signature;  // "v=..."
};

std::string hmac_text(ScramHash hash, std::string_view key, std::string_view text);
std::string hash_text(ScramHash hash, std::string_view text);

}  // namespace postern::net::sasl::test
