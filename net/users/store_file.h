// The user store's file: made so that nobody else can read it, opened, brought to the present schema, or refused with
// words.
//
// Blocks. Thread: any.
#pragma once

#include <array>
#include <cstdint>
#include <expected>
#include <string>

#include "net/users/sqlite.h"
#include "net/users/user_store.h"

namespace postern::net::users {

// Which file a path names; another one when somebody replaced it.
struct FileIdentity {
  std::uint64_t device = 0;
  std::uint64_t inode = 0;
  bool operator==(const FileIdentity&) const = default;
};

struct StoreFile {
  Database database;
  FileIdentity identity;
  std::array<std::uint8_t, 32> server_secret{};
};

[[nodiscard]] std::expected<StoreFile, std::string> open_store_file(const std::string& path, StoreMode mode);
[[nodiscard]] std::expected<FileIdentity, std::string> identify(const std::string& path);

}  // namespace postern::net::users
