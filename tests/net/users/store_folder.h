// A folder for one test's stores, and the little that store tests share.
#pragma once

#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <gtest/gtest.h>
#include <memory>
#include <sqlite3.h>
#include <string>
#include <string_view>

#include "net/users/user_store.h"

namespace postern::net::users {

class StoreTest : public ::testing::Test {
 protected:
  void SetUp() override {
    std::string pattern = ::testing::TempDir() + "postern-users-XXXXXX";
    ASSERT_NE(::mkdtemp(pattern.data()), nullptr);
    folder_ = pattern;
    path_ = folder_ + "/users.db";
  }
  void TearDown() override { std::filesystem::remove_all(folder_); }

  // The test ends with the error when it cannot be opened.
  UserStore open(StoreMode mode = StoreMode::create) {
    auto store = UserStore::open(path_, mode);
    if (!store) ADD_FAILURE() << store.error();
    return std::move(store.value());
  }
  std::string open_error(StoreMode mode) {
    const auto store = UserStore::open(path_, mode);
    return store ? "opened" : store.error();
  }
  void write_file(std::string_view octets) { std::ofstream(path_, std::ios::binary | std::ios::trunc) << octets; }

  // Statements by another connection, as another program would make them.
  void run_sql(const char* sql) {
    sqlite3* handle = nullptr;
    ASSERT_EQ(sqlite3_open(path_.c_str(), &handle), SQLITE_OK);
    char* error = nullptr;
    EXPECT_EQ(sqlite3_exec(handle, sql, nullptr, nullptr, &error), SQLITE_OK) << error;
    sqlite3_free(error);
    sqlite3_close(handle);
  }

  std::string folder_;
  std::string path_;
};

inline StoredUser user(std::string_view name, std::string_view hash = "{PLAIN}x") {
  StoredUser made;
  made.record.name = name;
  made.record.may_relay = true;
  made.password_hash = Secret(hash);
  return made;
}

}  // namespace postern::net::users
