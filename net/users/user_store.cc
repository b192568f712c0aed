// Users as rows. Each write is one transaction, which takes the next generation.
#include "net/users/user_store.h"

#include <algorithm>
#include <array>
#include <chrono>
#include <cstring>
#include <fmt/format.h>
#include <openssl/digest.h>
#include <openssl/hmac.h>
#include <openssl/mem.h>

#include "net/users/sqlite.h"
#include "net/users/store_file.h"

namespace postern::net::users {
namespace {

enum class Sql : std::uint8_t {
  find,
  all,
  insert,
  set_password,
  update,
  set_disabled,
  set_held,
  set_derived_keys,
  remove,
  next_generation,
  generation,
  data_version,
  highest_id,
  hash_from_id,
  count,
  held,
};

#define POSTERN_USER_COLUMNS                                                                             \
  "name, may_relay, disabled, held, senders, messages_per_hour, messages_per_day, recipients_per_hour, " \
  "recipients_per_day, password_hash, scram_sha_256, scram_sha_1, cram_md5, generation, created, password_changed"

// In the order of Sql.
constexpr const char* kSql[] = {
    "SELECT " POSTERN_USER_COLUMNS " FROM users WHERE name = ?1",
    "SELECT " POSTERN_USER_COLUMNS " FROM users ORDER BY name",
    "INSERT INTO users (" POSTERN_USER_COLUMNS
    ") VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13, ?14, ?15, ?16)",
    "UPDATE users SET password_hash = ?2, scram_sha_256 = ?3, scram_sha_1 = ?4, cram_md5 = ?5, generation = ?6, "
    "password_changed = ?7 WHERE name = ?1",
    "UPDATE users SET may_relay = ?2, disabled = ?3, held = ?4, senders = ?5, messages_per_hour = ?6, "
    "messages_per_day = ?7, recipients_per_hour = ?8, recipients_per_day = ?9, generation = ?10 WHERE name = ?1",
    "UPDATE users SET disabled = ?2, generation = ?3 WHERE name = ?1",
    "UPDATE users SET held = ?2, generation = ?3 WHERE name = ?1",
    // An empty text leaves what is there.
    "UPDATE users SET scram_sha_256 = iif(?3 = '', scram_sha_256, ?3), scram_sha_1 = iif(?4 = '', scram_sha_1, ?4), "
    "cram_md5 = iif(?5 = '', cram_md5, ?5), password_hash = iif(?6 = '', password_hash, ?6) "
    "WHERE name = ?1 AND generation = ?2",
    "DELETE FROM users WHERE name = ?1",
    "UPDATE meta SET generation = generation + 1 WHERE id = 1 RETURNING generation",
    "SELECT generation FROM meta WHERE id = 1",
    "PRAGMA data_version",
    "SELECT coalesce(max(id), 0) FROM users",
    "SELECT password_hash FROM users WHERE id >= ?1 AND password_hash <> '' ORDER BY id LIMIT 1",
    "SELECT count(*) FROM users",
    "SELECT name FROM users WHERE held ORDER BY name",
};
constexpr std::size_t kSqlCount = std::size(kSql);
static_assert(kSqlCount == static_cast<std::size_t>(Sql::held) + 1);

std::int64_t now_seconds() {
  return std::chrono::duration_cast<std::chrono::seconds>(std::chrono::system_clock::now().time_since_epoch()).count();
}

std::string join_lines(const std::vector<std::string>& lines) {
  std::string text;
  for (const std::string& line : lines) text += (text.empty() ? "" : "\n") + line;
  return text;
}

std::vector<std::string> split_lines(std::string_view text) {
  std::vector<std::string> lines;
  while (!text.empty()) {
    const std::size_t end = std::min(text.find('\n'), text.size());
    lines.emplace_back(text.substr(0, end));
    text.remove_prefix(std::min(end + 1, text.size()));
  }
  return lines;
}

StoredUser read_user(const Statement& row) {
  StoredUser user;
  policy::UserRecord& record = user.record;
  record.name = row.text(0);
  record.may_relay = row.number(1) != 0;
  record.disabled = row.number(2) != 0;
  record.held = row.number(3) != 0;
  record.senders = split_lines(row.text(4));
  record.limits.messages_per_hour = static_cast<std::uint32_t>(row.number(5));
  record.limits.messages_per_day = static_cast<std::uint32_t>(row.number(6));
  record.limits.recipients_per_hour = static_cast<std::uint32_t>(row.number(7));
  record.limits.recipients_per_day = static_cast<std::uint32_t>(row.number(8));
  user.password_hash = Secret(row.text(9));
  user.verifiers.scram_sha_256 = Secret(row.text(10));
  user.verifiers.scram_sha_1 = Secret(row.text(11));
  user.verifiers.cram_md5 = Secret(row.text(12));
  record.generation = static_cast<std::uint64_t>(row.number(13));
  user.created = row.number(14);
  user.password_changed = row.number(15);
  return user;
}

std::expected<policy::UserRecord, std::string> canonical(const policy::UserRecord& record) {
  policy::UserRecord result = record;
  auto name = policy::canonical_user_name(record.name);
  if (!name) return std::unexpected(name.error());
  result.name = std::move(*name);
  result.senders.clear();
  if (record.senders.size() > policy::kUserSendersMax) {
    return std::unexpected(fmt::format("{}: more than {} senders", result.name, policy::kUserSendersMax));
  }
  for (const std::string& sender : record.senders) {
    auto one = policy::canonical_sender(sender);
    if (!one) return std::unexpected(fmt::format("{}: {}", result.name, one.error()));
    if (std::find(result.senders.begin(), result.senders.end(), *one) == result.senders.end()) {
      result.senders.push_back(std::move(*one));
    }
  }
  return result;
}

}  // namespace

struct UserStore::State {
  StoreFile file;
  std::array<Statement, kSqlCount> statements;
  std::int64_t seen_data_version = -1;  // SQLite's, of other connections' commits
  std::uint64_t seen_generation = 0;
  bool is_seen = false;  // nothing was written by this connection since

  explicit State(StoreFile opened) : file(std::move(opened)) {}
  ~State() { OPENSSL_cleanse(file.server_secret.data(), file.server_secret.size()); }

  // Moved or replaced under a running server, the file is another one than what is open here, and what is open is no
  // longer what SQLite believes it is: its log lies beside the new one. Then nothing that is read is an answer.
  Result<void> check_place() const {
    const auto identity = identify(file.database.path());
    if (!identity) return std::unexpected(identity.error());
    if (*identity != file.identity) return std::unexpected(file.database.path() + ": replaced by another file");
    return {};
  }
  Result<Statement*> statement(Sql which) {
    Statement& found = statements[static_cast<std::size_t>(which)];
    if (auto prepared = file.database.prepare(kSql[static_cast<std::size_t>(which)], found); !prepared) {
      return std::unexpected(prepared.error());
    }
    return &found;
  }
  Result<std::int64_t> number(Sql which) {
    auto found = statement(which);
    if (!found) return std::unexpected(found.error());
    const Run run(**found);
    const int code = (*found)->step();
    if (code != SQLITE_ROW) return file.database.fail(code == SQLITE_DONE ? SQLITE_CORRUPT : code);
    const std::int64_t value = (*found)->number(0);
    // To the end, so that what it writes is written.
    if (const int rest = (*found)->step(); rest != SQLITE_DONE) return file.database.fail(rest);
    return value;
  }
  // Binds, runs, and says whether a row was changed.
  template <class Bind>
  Result<bool> change(Sql which, const Bind& bind) {
    auto found = statement(which);
    if (!found) return std::unexpected(found.error());
    const Run run(**found);
    bind(**found);
    const int code = (*found)->step();
    if (code != SQLITE_DONE) return file.database.fail(code);
    return file.database.changes() > 0;
  }
  // One change to one user, with the generation that `bind` is given. False, and nothing written: no such user.
  template <class Bind>
  Result<bool> change_user(Sql which, std::string_view name, const Bind& bind) {
    const auto wanted = policy::canonical_user_name(name);
    if (!wanted) return false;
    if (auto placed = check_place(); !placed) return std::unexpected(placed.error());
    auto transaction = Transaction::begin(file.database);
    if (!transaction) return std::unexpected(transaction.error());
    const auto generation = number(Sql::next_generation);
    if (!generation) return std::unexpected(generation.error());
    const auto changed = change(which, [&](Statement& row) {
      row.bind(1, *wanted);
      bind(row, *generation);
    });
    if (!changed || !*changed) return changed;
    if (auto done = transaction->commit(); !done) return std::unexpected(done.error());
    is_seen = false;
    return true;
  }
  Result<void> insert(const StoredUser& user, std::int64_t now);
};

UserStore::UserStore(std::unique_ptr<State> state) : state_(std::move(state)) {}
UserStore::UserStore(UserStore&&) noexcept = default;
UserStore& UserStore::operator=(UserStore&&) noexcept = default;
UserStore::~UserStore() = default;

UserStore::Result<UserStore> UserStore::open(const std::string& path, StoreMode mode) {
  auto file = open_store_file(path, mode);
  if (!file) return std::unexpected(file.error());
  return UserStore(std::make_unique<State>(std::move(*file)));
}

const std::string& UserStore::path() const {
  return state_->file.database.path();
}

std::span<const std::uint8_t, 32> UserStore::server_secret() const {
  return state_->file.server_secret;
}

// --- what a login needs
// ------------------------------------------------------------------------------------------------

UserStore::Result<std::optional<StoredUser>> UserStore::find(std::string_view name) {
  const auto wanted = policy::canonical_user_name(name);
  if (!wanted) return std::nullopt;
  if (auto placed = state_->check_place(); !placed) return std::unexpected(placed.error());
  auto statement = state_->statement(Sql::find);
  if (!statement) return std::unexpected(statement.error());
  const Run run(**statement);
  (*statement)->bind(1, *wanted);
  const int code = (*statement)->step();
  if (code == SQLITE_DONE) return std::nullopt;
  if (code != SQLITE_ROW) return state_->file.database.fail(code);
  return read_user(**statement);
}

UserStore::Result<bool> UserStore::set_derived_keys(std::string_view name, std::uint64_t generation,
                                                    const Verifiers& keys, const Secret& better_hash) {
  const auto wanted = policy::canonical_user_name(name);
  if (!wanted) return false;
  if (auto placed = state_->check_place(); !placed) return std::unexpected(placed.error());
  return state_->change(Sql::set_derived_keys, [&](Statement& row) {
    row.bind(1, *wanted);
    row.bind(2, static_cast<std::int64_t>(generation));
    row.bind(3, keys.scram_sha_256.view());
    row.bind(4, keys.scram_sha_1.view());
    row.bind(5, keys.cram_md5.view());
    row.bind(6, better_hash.view());
  });
}

UserStore::Result<std::uint64_t> UserStore::data_version() {
  if (auto placed = state_->check_place(); !placed) return std::unexpected(placed.error());
  const auto version = state_->number(Sql::data_version);
  if (!version) return std::unexpected(version.error());
  if (state_->is_seen && *version == state_->seen_data_version) return state_->seen_generation;
  // Read after the version: a change in between shows at the next call.
  const auto generation = state_->number(Sql::generation);
  if (!generation) return std::unexpected(generation.error());
  state_->seen_data_version = *version;
  state_->seen_generation = static_cast<std::uint64_t>(*generation);
  state_->is_seen = true;
  return state_->seen_generation;
}

UserStore::Result<Secret> UserStore::decoy_hash(std::string_view name) {
  // Any spelling of a name is one name here too; what is no name at all is taken as it is.
  const std::string one = policy::canonical_user_name(name).value_or(std::string(name));
  const auto highest = state_->number(Sql::highest_id);
  if (!highest) return std::unexpected(highest.error());
  if (*highest <= 0) return Secret();
  const auto& secret = state_->file.server_secret;
  std::array<std::uint8_t, EVP_MAX_MD_SIZE> digest{};
  unsigned size = 0;
  HMAC(EVP_sha256(), secret.data(), secret.size(), reinterpret_cast<const std::uint8_t*>(one.data()), one.size(),
       digest.data(), &size);
  std::uint64_t place = 0;
  std::memcpy(&place, digest.data(), sizeof place);
  const std::int64_t chosen = 1 + static_cast<std::int64_t>(place % static_cast<std::uint64_t>(*highest));
  // From the chosen row on; behind the last one, from the first.
  for (const std::int64_t from : {chosen, std::int64_t{1}}) {
    auto statement = state_->statement(Sql::hash_from_id);
    if (!statement) return std::unexpected(statement.error());
    const Run run(**statement);
    (*statement)->bind(1, from);
    const int code = (*statement)->step();
    if (code == SQLITE_ROW) return Secret((*statement)->text(0));
    if (code != SQLITE_DONE) return state_->file.database.fail(code);
  }
  return Secret();
}

// --- what an operator does
// ---------------------------------------------------------------------------------------------

UserStore::Result<void> UserStore::State::insert(const StoredUser& user, std::int64_t now) {
  const auto record = canonical(user.record);
  if (!record) return std::unexpected(record.error());
  auto existing = statement(Sql::find);
  if (!existing) return std::unexpected(existing.error());
  {
    const Run run(**existing);
    (*existing)->bind(1, record->name);
    const int code = (*existing)->step();
    if (code == SQLITE_ROW) return std::unexpected(fmt::format("{}: there is a user of that name", record->name));
    if (code != SQLITE_DONE) return file.database.fail(code);
  }
  const auto generation = number(Sql::next_generation);
  if (!generation) return std::unexpected(generation.error());
  const std::string senders = join_lines(record->senders);
  const auto changed = change(Sql::insert, [&](Statement& row) {
    row.bind(1, record->name);
    row.bind(2, std::int64_t{record->may_relay});
    row.bind(3, std::int64_t{record->disabled});
    row.bind(4, std::int64_t{record->held});
    row.bind(5, senders);
    row.bind(6, std::int64_t{record->limits.messages_per_hour});
    row.bind(7, std::int64_t{record->limits.messages_per_day});
    row.bind(8, std::int64_t{record->limits.recipients_per_hour});
    row.bind(9, std::int64_t{record->limits.recipients_per_day});
    row.bind(10, user.password_hash.view());
    row.bind(11, user.verifiers.scram_sha_256.view());
    row.bind(12, user.verifiers.scram_sha_1.view());
    row.bind(13, user.verifiers.cram_md5.view());
    row.bind(14, *generation);
    row.bind(15, now);
    row.bind(16, now);
  });
  if (!changed) return std::unexpected(changed.error());
  return {};
}

UserStore::Result<void> UserStore::add(const StoredUser& user) {
  return add_all({&user, 1});
}

UserStore::Result<void> UserStore::add_all(std::span<const StoredUser> users, std::size_t* failed) {
  if (auto placed = state_->check_place(); !placed) return placed;
  auto transaction = Transaction::begin(state_->file.database);
  if (!transaction) return std::unexpected(transaction.error());
  const std::int64_t now = now_seconds();
  for (std::size_t i = 0; i < users.size(); ++i) {
    if (auto done = state_->insert(users[i], now); !done) {
      if (failed != nullptr) *failed = i;
      return done;
    }
  }
  state_->is_seen = false;
  return transaction->commit();
}

UserStore::Result<bool> UserStore::set_password(std::string_view name, const Secret& hash, const Verifiers& verifiers) {
  return state_->change_user(Sql::set_password, name, [&](Statement& row, std::int64_t generation) {
    row.bind(2, hash.view());
    row.bind(3, verifiers.scram_sha_256.view());
    row.bind(4, verifiers.scram_sha_1.view());
    row.bind(5, verifiers.cram_md5.view());
    row.bind(6, generation);
    row.bind(7, now_seconds());
  });
}

UserStore::Result<bool> UserStore::update(const policy::UserRecord& given) {
  const auto record = canonical(given);
  if (!record) return std::unexpected(record.error());
  const std::string senders = join_lines(record->senders);
  return state_->change_user(Sql::update, record->name, [&](Statement& row, std::int64_t generation) {
    row.bind(2, std::int64_t{record->may_relay});
    row.bind(3, std::int64_t{record->disabled});
    row.bind(4, std::int64_t{record->held});
    row.bind(5, senders);
    row.bind(6, std::int64_t{record->limits.messages_per_hour});
    row.bind(7, std::int64_t{record->limits.messages_per_day});
    row.bind(8, std::int64_t{record->limits.recipients_per_hour});
    row.bind(9, std::int64_t{record->limits.recipients_per_day});
    row.bind(10, generation);
  });
}

UserStore::Result<bool> UserStore::set_disabled(std::string_view name, bool disabled) {
  return state_->change_user(Sql::set_disabled, name, [disabled](Statement& row, std::int64_t generation) {
    row.bind(2, std::int64_t{disabled});
    row.bind(3, generation);
  });
}

UserStore::Result<bool> UserStore::set_held(std::string_view name, bool held) {
  return state_->change_user(Sql::set_held, name, [held](Statement& row, std::int64_t generation) {
    row.bind(2, std::int64_t{held});
    row.bind(3, generation);
  });
}

UserStore::Result<std::vector<std::string>> UserStore::held() {
  auto statement = state_->statement(Sql::held);
  if (!statement) return std::unexpected(statement.error());
  const Run run(**statement);
  std::vector<std::string> names;
  for (;;) {
    const int code = (*statement)->step();
    if (code == SQLITE_DONE) return names;
    if (code != SQLITE_ROW) return state_->file.database.fail(code);
    names.emplace_back((*statement)->text(0));
  }
}

UserStore::Result<bool> UserStore::remove(std::string_view name) {
  return state_->change_user(Sql::remove, name, [](Statement&, std::int64_t) {});
}

UserStore::Result<void> UserStore::for_each(const std::function<bool(const StoredUser&)>& visit) {
  auto statement = state_->statement(Sql::all);
  if (!statement) return std::unexpected(statement.error());
  const Run run(**statement);
  for (;;) {
    const int code = (*statement)->step();
    if (code == SQLITE_DONE) return {};
    if (code != SQLITE_ROW) return state_->file.database.fail(code);
    if (!visit(read_user(**statement))) return {};
  }
}

UserStore::Result<std::uint64_t> UserStore::count() {
  const auto counted = state_->number(Sql::count);
  if (!counted) return std::unexpected(counted.error());
  return static_cast<std::uint64_t>(*counted);
}

UserStore::Result<void> UserStore::check() {
  const auto verdict = state_->file.database.text("PRAGMA integrity_check(1)");
  if (!verdict) return std::unexpected(verdict.error());
  if (*verdict != "ok") return std::unexpected(fmt::format("{}: damaged: {}", path(), *verdict));
  return {};
}

}  // namespace postern::net::users
