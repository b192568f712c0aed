// The SASL mechanisms (RFC 4422) that are spoken here, under their registered names.
//
// NTLM (SPA), DIGEST-MD5, GSSAPI and ANONYMOUS are not: there is no enumerator that could be offered by accident.
#pragma once

#include <array>
#include <cstdint>
#include <optional>
#include <string_view>

namespace postern::net::sasl {

enum class Mechanism : std::uint8_t {
  plain,             // RFC 4616
  login,             // draft-murchison-sasl-login-00
  cram_md5,          // RFC 2195
  scram_sha_1,       // RFC 5802
  scram_sha_1_plus,  // with channel binding: RFC 5802 section 6, RFC 9266
  scram_sha_256,     // RFC 7677
  scram_sha_256_plus,
  oauthbearer,  // RFC 7628
  xoauth2,      // Google's and Microsoft's forerunner of it
  external,     // RFC 4422 appendix A
};

inline constexpr std::array<Mechanism, 10> kMechanisms = {
    Mechanism::plain,
    Mechanism::login,
    Mechanism::cram_md5,
    Mechanism::scram_sha_1,
    Mechanism::scram_sha_1_plus,
    Mechanism::scram_sha_256,
    Mechanism::scram_sha_256_plus,
    Mechanism::oauthbearer,
    Mechanism::xoauth2,
    Mechanism::external,
};

// "SCRAM-SHA-256-PLUS"; in capitals, static storage.
[[nodiscard]] std::string_view name_of(Mechanism mechanism) noexcept;

// Case does not matter (RFC 4954 section 4). Nothing: a name that is not spoken here.
[[nodiscard]] std::optional<Mechanism> parse_mechanism(std::string_view name) noexcept;

// Whoever reads the connection can log in afterwards: only with TLS. PLAIN, LOGIN and the two that send a token.
[[nodiscard]] bool is_plaintext(Mechanism mechanism) noexcept;

// Needs the connection's tls-exporter value.
[[nodiscard]] bool is_plus(Mechanism mechanism) noexcept;

// SCRAM in any of its four forms.
[[nodiscard]] bool is_scram(Mechanism mechanism) noexcept;

// The server speaks first: an initial response is an error in the client (RFC 4954 section 4: 501). CRAM-MD5 alone;
// LOGIN's is taken for the user name, as everybody does.
[[nodiscard]] bool server_speaks_first(Mechanism mechanism) noexcept;

}  // namespace postern::net::sasl
