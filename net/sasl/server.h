// The server's side of one SASL exchange (RFC 4422): octets in, octets and one question out.
//
// It knows no SMTP, POP3 or IMAP: their base 64, "=" for an empty initial response, "*" (cancel()) and line limits are
// the caller's. It knows no user store either: it asks, and goes on when it is answered.
//
//   Step step = server.start(mechanism, surroundings, has_initial, initial);
//   for (;;) switch (step.kind) {
//     challenge:           send step.text; step = server.respond(octets, surroundings), or server.cancel()
//     need_password_check: ask; step = server.answer_password(verdict)
//     need_credential:     ask; step = server.answer_credential(credential)
//     success, failure:    the end
//   }
//
// Invariants:
//  1. One start() an object. Each call is what the last step asked for; success and failure are final.
//  2. A Step's views are valid until the next call, and for an open question until it is answered. `octets`, `initial`
//     and the surroundings are looked at during the call only.
//  3. Whether the user exists shows in no step before the last: same kinds, same lengths, same work on our side.
//  4. Nobody but the proven identity logs in: an authorization identity other than that one fails.
//  5. What was typed or proven is wiped when the object ends.
// Memory: sizeof(Server), under 4 KiB; no allocation of ours (BoringSSL's HMAC and signature checks make theirs).
// Thread: one at a time.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <span>
#include <string_view>

#include "net/sasl/jwt.h"
#include "net/sasl/mechanism.h"
#include "net/sasl/prepare.h"
#include "net/sasl/scram_keys.h"

namespace postern::net::sasl {

// What is known about the connection, now. Give the same at start() and respond(), with the keys and time of the
// moment. Whether a plaintext mechanism is allowed without TLS is the caller's to decide, before start().
struct Surroundings {
  std::span<const std::byte> tls_exporter;  // 32 octets (RFC 9266), or none: then no -PLUS
  bool plus_offered = false;                // a -PLUS mechanism was in what the client was offered
  std::string_view certificate_name;        // of the verified client certificate; empty: there is none
  const JwtKeys* keys = nullptr;            // none: no OAUTHBEARER, no XOAUTH2
  std::int64_t unix_seconds = 0;
  std::string_view hostname;           // ours, in CRAM-MD5's challenge; at most 255 octets of it are used
  std::array<std::byte, 32> random{};  // fresh for every start(); respond() does not look at it
};

enum class CredentialKind : std::uint8_t {
  scram_sha_1,
  scram_sha_256,
  cram_md5,
  user_exists,  // the identity is proven by a certificate or token: does such an account exist, and is it enabled?
};

// The store's answer to need_credential.
struct Credential {
  enum class Standing : std::uint8_t {
    usable,
    unknown_user,
    no_verifier,  // the user exists, without keys for this mechanism
    disabled,     // with keys, if there are any
  };
  Standing standing = Standing::unknown_user;
  ScramKeys scram;    // for scram_*: always; the user's, or for everybody else decoy_scram_keys()
  CramVerifier cram;  // for cram_md5: always; the user's, or decoy_cram_verifier()
};

enum class PasswordVerdict : std::uint8_t {
  wrong,  // or no such user
  right,
  no_verifier,
  disabled,
};

enum class Failure : std::uint8_t {
  none,
  bad_credentials,           // wrong password, proof or digest; or no such user
  no_verifier,               // the user exists, and cannot use this mechanism
  account_disabled,          // proven, but disabled
  unknown_user,              // proven by certificate or token, but without an account here
  malformed,                 // not what the mechanism's syntax allows: 501 in SMTP
  cancelled,                 // by the client ("*"): 501 in SMTP
  unsupported_authzid,       // asks to act for somebody else
  channel_binding_mismatch,  // bound to another connection, or the client was kept from seeing the -PLUS offers
  not_available,             // the surroundings lack what the mechanism needs (exporter, certificate, keys)
  expired_token,
  bad_token,  // see Step::token_fault
};

// For log and counters: "bad-credentials". Static storage.
[[nodiscard]] std::string_view name_of(Failure failure) noexcept;

struct Step {
  enum class Kind : std::uint8_t { challenge, need_password_check, need_credential, success, failure };
  Kind kind = Kind::failure;
  std::string_view text{};  // challenge: octets to send, possibly none
  std::string_view user{};  // prepared (prepare.h). Questions and success: always; failure: if it got that far
  // need_password_check: as it was sent; valid UTF-8 without NUL, 1..kPasswordBytesMax octets.
  std::string_view password{};
  CredentialKind credential = CredentialKind::user_exists;  // need_credential
  Failure failure = Failure::none;                          // failure
  TokenFault token_fault = TokenFault::none;                // expired_token and bad_token: what was wrong, for the log
  bool counts_as_guess = false;                             // failure: the guess guard is to hear of it
};

// Longest messages that are looked at, in octets after base 64; longer ones are malformed. The caller's line limit may
// be lower.
inline constexpr std::size_t kMessageBytesMax = 18 * 1024;  // a bearer token and what stands round it
inline constexpr std::size_t kTlsExporterBytes = 32;        // RFC 9266 section 2
inline constexpr std::size_t kChallengeBytesMax = 640;      // of what is sent: no challenge is longer

class Server {
 public:
  Server() noexcept;
  ~Server();
  Server(const Server&) = delete;
  Server& operator=(const Server&) = delete;

  // `has_initial`: an initial response came along, which may be empty.
  [[nodiscard]] Step start(Mechanism mechanism, const Surroundings& surroundings, bool has_initial,
                           std::string_view initial);
  // After `challenge`.
  [[nodiscard]] Step respond(std::string_view octets, const Surroundings& surroundings);
  // After `challenge`: the client gave up. Always a failure.
  [[nodiscard]] Step cancel();
  // After `need_password_check`.
  [[nodiscard]] Step answer_password(PasswordVerdict verdict);
  // After `need_credential`.
  [[nodiscard]] Step answer_credential(const Credential& credential);

  [[nodiscard]] Mechanism mechanism() const noexcept { return mechanism_; }

 private:
  enum class State : std::uint8_t {
    unused,
    client_first,  // an empty challenge went out, as the client's first message did not come along
    login_password,
    password_check,  // questions
    credential,
    cram_digest,
    scram_final,
    scram_confirm,  // the server's signature went out; an empty response ends it
    token_error,    // the error went out; any response ends it
    done,
  };

  [[nodiscard]] Step take_first(std::string_view octets, const Surroundings& surroundings);
  [[nodiscard]] Step take_plain(std::string_view octets);
  [[nodiscard]] Step take_login_user(std::string_view octets);
  [[nodiscard]] Step take_login_password(std::string_view octets);
  [[nodiscard]] Step start_cram(const Surroundings& surroundings);
  [[nodiscard]] Step take_cram_digest(std::string_view octets);
  [[nodiscard]] Step take_scram_first(std::string_view octets, const Surroundings& surroundings);
  [[nodiscard]] Step send_scram_first(const Credential& credential);
  [[nodiscard]] Step take_scram_final(std::string_view octets, const Surroundings& surroundings);
  [[nodiscard]] Step take_external(std::string_view octets, const Surroundings& surroundings);
  [[nodiscard]] Step take_oauthbearer(std::string_view octets, const Surroundings& surroundings);
  [[nodiscard]] Step take_xoauth2(std::string_view octets, const Surroundings& surroundings);
  [[nodiscard]] Step take_token(std::string_view claimed_user, std::string_view token,
                                const Surroundings& surroundings);
  [[nodiscard]] bool is_bound(std::string_view binding, const Surroundings& surroundings) const;
  [[nodiscard]] Step finish_cram(const Credential& credential);
  [[nodiscard]] Step finish_proven(Credential::Standing standing);

  [[nodiscard]] bool set_user(std::string_view name);
  [[nodiscard]] bool is_user(std::string_view authzid) const;
  [[nodiscard]] bool append(std::string_view octets);  // to text_; false: no room
  void put(std::string_view octets);                   // what the bounds leave room for
  [[nodiscard]] std::string_view user() const { return {user_.data(), user_bytes_}; }
  [[nodiscard]] Step challenge(std::string_view text, State next);
  [[nodiscard]] Step ask_password(std::string_view password);
  [[nodiscard]] Step ask_credential(CredentialKind kind);
  [[nodiscard]] Step judge(bool is_proven);
  [[nodiscard]] Step succeed();
  [[nodiscard]] Step fail(Failure failure, bool counts_as_guess = false);
  [[nodiscard]] Step send_token_error(Failure failure, TokenFault fault);
  [[nodiscard]] Step end_token_error();

  static constexpr std::size_t kTextBytesMax = 3072;

  State state_ = State::unused;
  Mechanism mechanism_ = Mechanism::plain;
  Credential::Standing standing_ = Credential::Standing::unknown_user;
  Failure pending_failure_ = Failure::none;  // told after the client's answer to the error
  TokenFault pending_fault_ = TokenFault::none;
  std::uint8_t user_bytes_ = 0;
  std::uint16_t text_bytes_ = 0;
  std::uint16_t bare_at_ = 0;   // SCRAM: where the gs2 header ends and client-first-message-bare begins
  std::uint16_t nonce_at_ = 0;  // ... where the client's and the server's nonce, as one, stand in server-first-message
  std::uint16_t nonce_bytes_ = 0;
  std::array<std::byte, 32> random_{};  // start()'s, for SCRAM's nonce: the client's first message may come later
  ScramKeys scram_;
  std::array<char, kUserBytesMax> user_;
  // SCRAM: client-first-message, then "," and server-first-message, then "," and client-final-message-without-proof:
  // from bare_at_ on it is the AuthMessage. PLAIN, LOGIN: the password. CRAM-MD5: the challenge, then the digest.
  std::array<char, kTextBytesMax> text_;
};

}  // namespace postern::net::sasl
