// Answers to the questions of a login: is this the password, what are this user's SCRAM keys, does the account exist.
//
// What was proven or read lately is remembered and answered at once, in the worker; the rest goes to the blocking pool,
// whose threads have a UserStore (or a connection to Dovecot) each, and comes back through the mesh. A password that
// was proven is remembered as an HMAC under a key of this process, for cache_seconds, and not beyond a change of any
// user. Bounds: the pool's queues; a fixed number of remembered answers. Secrets: passwords live in a request, which
// wipes itself. Thread: ask() from workers; the rest where it says so.
#pragma once

#include <array>
#include <atomic>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <mutex>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "core/blocking_pool.h"
#include "core/clock.h"
#include "core/ip_address.h"
#include "core/mesh.h"
#include "core/result.h"
#include "net/sasl/server.h"
#include "net/users/credential_cache.h"
#include "net/users/held_users.h"
#include "net/users/verifiers.h"
#include "policy/user.h"

namespace postern::net::users {

class Credentials;
class CredentialSource;

// One question, in a slot of its worker from ask() until it is answered.
struct CredentialRequest : core::BlockingPool::Job {
  enum class Kind : std::uint8_t { password, credential };
  enum class Answer : std::uint8_t { given, unavailable };

  CredentialRequest() = default;
  ~CredentialRequest();
  CredentialRequest(const CredentialRequest&) = delete;
  CredentialRequest& operator=(const CredentialRequest&) = delete;

  void set_user(std::string_view text);      // at most sasl::kUserBytesMax octets
  void set_password(std::string_view text);  // at most sasl::kPasswordBytesMax octets
  [[nodiscard]] std::string_view user() const { return {user_.data(), user_bytes_}; }
  [[nodiscard]] std::string_view password() const { return {password_.data(), password_bytes_}; }

  // The question.
  Kind kind = Kind::password;
  sasl::CredentialKind credential_kind = sasl::CredentialKind::user_exists;  // Kind::credential
  std::optional<core::IpAddress> client;  // whose question it is, for a source that has rules or a log of its own
  std::size_t worker = 0;
  core::Time now;
  void* owner = nullptr;
  void (*answered)(void* owner) noexcept = nullptr;  // in the worker's turn

  // The answer.
  Answer answer = Answer::unavailable;
  sasl::PasswordVerdict verdict = sasl::PasswordVerdict::wrong;
  sasl::Credential credential;
  std::shared_ptr<const policy::UserRecord> account;

  Credentials* credentials = nullptr;  // set by ask()
  CacheKey cache_key{};                // likewise
  std::uint64_t epoch = 0;             // of the cache, when the question was asked

 private:
  std::array<char, sasl::kUserBytesMax> user_;
  std::array<char, sasl::kPasswordBytesMax> password_;
  std::uint8_t user_bytes_ = 0;
  std::uint16_t password_bytes_ = 0;
};

struct CredentialOptions {
  std::string store;         // path of the user store; made when missing
  std::string dovecot;       // path of Dovecot's auth socket, instead of the store
  VerifierKinds kinds;       // what is kept of a password when it is first proven
  std::uint32_t threads = 0;  // 0: one a core, at least two
  std::uint32_t queue = 256;
  std::uint32_t cache_seconds = 300;
};

class Credentials {
 public:
  // Opens the user store, to tell at once when it cannot be. The mesh outlives this.
  static core::Result<std::unique_ptr<Credentials>> open(const CredentialOptions& options, core::Mesh& mesh);
  ~Credentials();
  Credentials(const Credentials&) = delete;
  Credentials& operator=(const Credentials&) = delete;

  enum class Taken : std::uint8_t {
    answered,  // at once: the request holds the answer, and `answered` is not called
    asked,     // `answered` is called in a later turn; the request stays where it is until then
    full,      // too many wait: nothing was taken
  };
  // In the request's worker.
  [[nodiscard]] Taken ask(CredentialRequest& request, core::BlockingPool::Lane lane);

  // The account is held until the operator releases it. Blocks: not in a worker.
  core::Result<bool> hold(std::string_view user);
  // Forgets what was remembered when users changed, and learns who is held; open() does, then the caretaker about once a
  // second. Blocks. Error: the store is gone, or damaged.
  core::Result<void> refresh();
  // As of the last refresh(), and who was held by hold() since.
  [[nodiscard]] const HeldUsers& held() const { return held_; }

  // Before the workers end: no answer comes after it.
  void stop();

 private:
  Credentials(const CredentialOptions& options, core::Mesh& mesh);
  static void run(core::BlockingPool::Job& job, std::size_t thread) noexcept;

  CredentialOptions options_;
  core::Mesh& mesh_;
  CredentialCache cache_;
  HeldUsers held_;
  std::vector<std::unique_ptr<CredentialSource>> sources_;  // by thread of the pool; the last one is refresh()'s and hold()'s
  std::mutex caretaker_;                                    // guards the last source
  std::optional<std::uint64_t> version_;                    // of the last refresh()
  std::unique_ptr<core::BlockingPool> pool_;
};

}  // namespace postern::net::users
