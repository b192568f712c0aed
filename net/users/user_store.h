// The users of this server, in an SQLite database.
//
// Every call may block (disk, another process's lock: at most kBusyMilliseconds) and runs on the blocking pool or in
// the `postern user` process, never on a worker. One UserStore a thread; several threads and processes may have the
// same file open. Write-ahead log, synchronous FULL: what a call has answered survives a power cut.
//
// Errors are texts for an operator ("/var/lib/postern/users.db: locked by another process for 2 s"). They never hold a
// password, a hash or a key. An error is not an answer: a server says 454 4.7.0 to it, never 535. After one that says
// that the file is gone or was replaced, open it anew.
//
// The file: mode 0600, owned by the owner of its folder when root makes it (so that `postern user add` as root, before
// the server ran, leaves a file that the server can open). application_id "Post", user_version = schema version.
#pragma once

#include <array>
#include <cstdint>
#include <expected>
#include <functional>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "net/users/secret.h"
#include "policy/user.h"

namespace postern::net::users {

// HMACs a guess costs whoever steals SCRAM keys, and a mail program at each login: 25 times the RFCs' least, 13 ms here
// and some 100 ms on a phone (docs/users.md).
inline constexpr std::uint32_t kScramIterations = 100'000;

// What a mechanism needs that never shows the password. Empty: the user cannot use that mechanism (yet).
struct Verifiers {
  Secret scram_sha_256;  // text as Dovecot has it, without the scheme: "iterations,salt,StoredKey,ServerKey"
  Secret scram_sha_1;    // the same
  Secret cram_md5;       // 64 hex digits: the outer and inner state of HMAC-MD5. As good as the password to who has it
};

struct StoredUser {
  policy::UserRecord record;
  Secret password_hash;  // password_hash.h; empty: the user has none
  Verifiers verifiers;
  std::int64_t created = 0;           // seconds since 1970
  std::int64_t password_changed = 0;  // likewise
};

enum class StoreMode : std::uint8_t {
  read_only,   // the file must be there
  read_write,  // likewise
  create,      // made when it is missing
};

class UserStore {
 public:
  template <class T>
  using Result = std::expected<T, std::string>;

  static constexpr int kBusyMilliseconds = 2000;
  static constexpr int kSchemaVersion = 1;

  // Errors: no such file, no permission, locked, not a database, damaged, of another program, of a newer Postern.
  static Result<UserStore> open(const std::string& path, StoreMode mode);
  UserStore(UserStore&&) noexcept;
  UserStore& operator=(UserStore&&) noexcept;
  ~UserStore();

  // --- what a login needs ------------------------------------------------------------------------------------------
  // `name` in any spelling. nullopt: there is no such user, or it cannot be a user's name.
  [[nodiscard]] Result<std::optional<StoredUser>> find(std::string_view name);
  // Keys derived from a password that was proven just now, and perhaps a better hash of the same password. Empty
  // members are left as they are. False: the user is not of that generation any more, and nothing was written. Changes
  // neither the generation nor data_version: nothing that a cache knows becomes wrong.
  [[nodiscard]] Result<bool> set_derived_keys(std::string_view name, std::uint64_t generation, const Verifiers& keys,
                                              const Secret& better_hash = {});
  // The server trips a limit: held until `release`. False: no such user.
  [[nodiscard]] Result<bool> set_held(std::string_view name, bool held);
  // Who is held, by name. Reads all users.
  [[nodiscard]] Result<std::vector<std::string>> held();
  // Grows with every change that this or another process makes to a user. Cheap (no disk, some µs) while nothing
  // changed. An error when the file is gone or was replaced by another: open it anew, and drop what was cached.
  [[nodiscard]] Result<std::uint64_t> data_version();
  // A stored hash that is typical of this store and always the same one for the same name (while users do not change):
  // burn() it for a name that is not there. Empty: the store has no hash.
  [[nodiscard]] Result<Secret> decoy_hash(std::string_view name);
  // 32 random octets, made with the file: for made-up SCRAM salts.
  [[nodiscard]] std::span<const std::uint8_t, 32> server_secret() const;

  // --- what an operator does ---------------------------------------------------------------------------------------
  // record.name and record.senders in any spelling; generation and times are the store's.
  [[nodiscard]] Result<void> add(const StoredUser& user);
  // False: no such user. All verifiers are replaced, and those that are empty are removed.
  [[nodiscard]] Result<bool> set_password(std::string_view name, const Secret& hash, const Verifiers& verifiers);
  // Privilege, disabled, held, senders and limits become those of `record`. False: no user of record.name.
  [[nodiscard]] Result<bool> update(const policy::UserRecord& record);
  [[nodiscard]] Result<bool> set_disabled(std::string_view name, bool disabled);
  [[nodiscard]] Result<bool> remove(std::string_view name);
  // All or none. The error names the user; `failed` (if given) is its index.
  [[nodiscard]] Result<void> add_all(std::span<const StoredUser> users, std::size_t* failed = nullptr);
  // In order of name, of one moment. `visit` returns false to stop; it must not use this store.
  [[nodiscard]] Result<void> for_each(const std::function<bool(const StoredUser&)>& visit);
  [[nodiscard]] Result<std::uint64_t> count();
  // Reads every page. An error: damaged, with SQLite's words.
  [[nodiscard]] Result<void> check();
  [[nodiscard]] const std::string& path() const;

 private:
  struct State;
  explicit UserStore(std::unique_ptr<State> state);
  std::unique_ptr<State> state_;
};

}  // namespace postern::net::users
