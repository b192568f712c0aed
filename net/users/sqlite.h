// The little of SQLite that the user store needs: a connection, and statements that are prepared once.
//
// Errors are texts for an operator and begin with the file's path. They hold SQLite's own words, never values.
// Thread: one at a time. Blocks.
#pragma once

#include <cstdint>
#include <expected>
#include <memory>
#include <sqlite3.h>
#include <string>
#include <string_view>
#include <utility>

namespace postern::net::users {

class Statement;

class Database {
 public:
  template <class T>
  using Result = std::expected<T, std::string>;

  // The file must be there. Waits for another process's lock up to `busy_milliseconds` in each call.
  static Result<Database> open(const std::string& path, bool read_only, int busy_milliseconds);
  Database(Database&&) noexcept = default;
  Database& operator=(Database&&) noexcept = default;

  Result<void> run(const char* sql);             // no rows asked for; several statements
  Result<std::int64_t> number(const char* sql);  // one row, one number
  Result<std::string> text(const char* sql);     // one row, one text
  // `statement` prepared once and kept.
  Result<void> prepare(const char* sql, Statement& statement);

  [[nodiscard]] std::string describe(int code) const;  // "/var/lib/postern/users.db: locked by another process for 2 s"
  [[nodiscard]] std::unexpected<std::string> fail(int code) const { return std::unexpected(describe(code)); }
  [[nodiscard]] std::int64_t changes() const { return sqlite3_changes64(handle_.get()); }
  [[nodiscard]] const std::string& path() const { return path_; }

 private:
  struct Close {
    void operator()(sqlite3* handle) const { sqlite3_close_v2(handle); }
  };
  Database(std::string path, int busy_milliseconds) : path_(std::move(path)), busy_milliseconds_(busy_milliseconds) {}

  std::string path_;
  int busy_milliseconds_;
  std::unique_ptr<sqlite3, Close> handle_;
};

class Statement {
 public:
  [[nodiscard]] bool is_prepared() const { return handle_ != nullptr; }
  void bind(int place, std::string_view text);  // places count from 1; the text must outlive the run
  void bind(int place, std::int64_t number);
  void bind_blob(int place, std::string_view octets);
  [[nodiscard]] int step() { return sqlite3_step(handle_.get()); }  // SQLITE_ROW, SQLITE_DONE, or an error
  [[nodiscard]] std::string_view text(int column) const;            // valid until the next step; columns count from 0
  [[nodiscard]] std::int64_t number(int column) const { return sqlite3_column_int64(handle_.get(), column); }
  void reset();

 private:
  friend class Database;
  struct Finalize {
    void operator()(sqlite3_stmt* handle) const { sqlite3_finalize(handle); }
  };
  std::unique_ptr<sqlite3_stmt, Finalize> handle_;
};

// Resets the statement at the end of a scope, so that it holds no lock and no text.
class Run {
 public:
  explicit Run(Statement& statement) : statement_(statement) {}
  Run(const Run&) = delete;
  Run& operator=(const Run&) = delete;
  ~Run() { statement_.reset(); }

 private:
  Statement& statement_;
};

// A transaction; rolled back unless it was committed.
class Transaction {
 public:
  static Database::Result<Transaction> begin(Database& database);       // to write
  static Database::Result<Transaction> begin_read(Database& database);  // what is read is of one moment
  Transaction(Transaction&& other) noexcept : database_(std::exchange(other.database_, nullptr)) {}
  Transaction& operator=(Transaction&&) = delete;
  ~Transaction();
  Database::Result<void> commit();

 private:
  explicit Transaction(Database& database) : database_(&database) {}
  Database* database_;
};

}  // namespace postern::net::users
