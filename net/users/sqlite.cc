// SQLite's results in an operator's words.
#include "net/users/sqlite.h"

#include <cstring>
#include <fmt/format.h>
#include <utility>

namespace postern::net::users {

Database::Result<Database> Database::open(const std::string& path, bool read_only, int busy_milliseconds) {
  Database database(path, busy_milliseconds);
  // A relative path could be one of SQLite's own words (":memory:").
  const std::string name = path.starts_with('/') ? path : "./" + path;
  const int flags = (read_only ? SQLITE_OPEN_READONLY : SQLITE_OPEN_READWRITE) | SQLITE_OPEN_NOMUTEX |
                    SQLITE_OPEN_PRIVATECACHE | SQLITE_OPEN_EXRESCODE;
  sqlite3* handle = nullptr;
  const int code = sqlite3_open_v2(name.c_str(), &handle, flags, nullptr);
  database.handle_.reset(handle);
  if (code != SQLITE_OK) return database.fail(code);
  sqlite3_busy_timeout(handle, busy_milliseconds);
  // A damaged or forged file must not make SQLite run anything.
  sqlite3_db_config(handle, SQLITE_DBCONFIG_DEFENSIVE, 1, nullptr);
  sqlite3_db_config(handle, SQLITE_DBCONFIG_TRUSTED_SCHEMA, 0, nullptr);
  sqlite3_db_config(handle, SQLITE_DBCONFIG_ENABLE_TRIGGER, 0, nullptr);
  return database;
}

std::string Database::describe(int code) const {
  const auto says = [this](std::string_view what) { return fmt::format("{}: {}", path_, what); };
  const int system = handle_ ? sqlite3_system_errno(handle_.get()) : 0;
  const std::string reason = system != 0 ? std::strerror(system) : sqlite3_errstr(code);
  switch (code & 0xff) {
    case SQLITE_BUSY:
    case SQLITE_LOCKED:
      return says(fmt::format("locked by another process for {} s", busy_milliseconds_ / 1000.0));
    case SQLITE_NOTADB:
      return says("not a store of users (no SQLite database)");
    case SQLITE_CORRUPT:
      return says("damaged: restore it from a backup (docs/users.md)");
    case SQLITE_CANTOPEN:
      return says(fmt::format("cannot be opened: {}", reason));
    case SQLITE_READONLY:
      return says("cannot be written: no permission, or a file system without writing");
    case SQLITE_FULL:
      return says("cannot be written: no space left");
    case SQLITE_IOERR:
      return says(fmt::format("cannot be read or written: {}", reason));
    case SQLITE_PERM:
    case SQLITE_AUTH:
      return says("no permission");
    default:
      return says(sqlite3_errstr(code));
  }
}

Database::Result<void> Database::run(const char* sql) {
  const int code = sqlite3_exec(handle_.get(), sql, nullptr, nullptr, nullptr);
  if (code != SQLITE_OK) return fail(code);
  return {};
}

Database::Result<void> Database::prepare(const char* sql, Statement& statement) {
  if (statement.is_prepared()) return {};
  sqlite3_stmt* handle = nullptr;
  const int code = sqlite3_prepare_v3(handle_.get(), sql, -1, SQLITE_PREPARE_PERSISTENT, &handle, nullptr);
  if (code != SQLITE_OK) return fail(code);
  statement.handle_.reset(handle);
  return {};
}

Database::Result<std::int64_t> Database::number(const char* sql) {
  Statement statement;
  if (auto prepared = prepare(sql, statement); !prepared) return std::unexpected(prepared.error());
  const int code = statement.step();
  if (code != SQLITE_ROW) return fail(code == SQLITE_DONE ? SQLITE_CORRUPT : code);
  return statement.number(0);
}

Database::Result<std::string> Database::text(const char* sql) {
  Statement statement;
  if (auto prepared = prepare(sql, statement); !prepared) return std::unexpected(prepared.error());
  const int code = statement.step();
  if (code != SQLITE_ROW) return fail(code == SQLITE_DONE ? SQLITE_CORRUPT : code);
  return std::string(statement.text(0));
}

void Statement::bind(int place, std::string_view text) {
  // A null pointer would bind NULL.
  sqlite3_bind_text64(handle_.get(), place, text.data() ? text.data() : "", text.size(), SQLITE_STATIC, SQLITE_UTF8);
}

void Statement::bind(int place, std::int64_t number) {
  sqlite3_bind_int64(handle_.get(), place, number);
}

void Statement::bind_blob(int place, std::string_view octets) {
  sqlite3_bind_blob64(handle_.get(), place, octets.data() ? octets.data() : "", octets.size(), SQLITE_STATIC);
}

std::string_view Statement::text(int column) const {
  const void* octets = sqlite3_column_blob(handle_.get(), column);
  const int size = sqlite3_column_bytes(handle_.get(), column);
  if (octets == nullptr) return {};
  return {static_cast<const char*>(octets), static_cast<std::size_t>(size)};
}

void Statement::reset() {
  sqlite3_reset(handle_.get());
  sqlite3_clear_bindings(handle_.get());
}

Database::Result<Transaction> Transaction::begin(Database& database) {
  // IMMEDIATE takes the writer's lock at once, and waits for it; a reader that turns writer could not wait.
  if (auto begun = database.run("BEGIN IMMEDIATE"); !begun) return std::unexpected(begun.error());
  return Transaction(database);
}

Database::Result<Transaction> Transaction::begin_read(Database& database) {
  if (auto begun = database.run("BEGIN"); !begun) return std::unexpected(begun.error());
  return Transaction(database);
}

Transaction::~Transaction() {
  if (database_ != nullptr) (void)database_->run("ROLLBACK");
}

Database::Result<void> Transaction::commit() {
  auto done = database_->run("COMMIT");
  if (done) database_ = nullptr;
  return done;
}

}  // namespace postern::net::users
