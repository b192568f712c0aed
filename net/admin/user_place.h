// Which user store a `postern user` command works on, and what the settings say about users.
#pragma once

#include <expected>
#include <string>
#include <string_view>
#include <vector>

#include "net/admin/commands.h"
#include "net/users/user_store.h"
#include "net/users/verifiers.h"

namespace postern::net::admin {

struct UserPlace {
  std::string store;
  std::vector<std::string> words;  // domains and host name: no password of anybody here
  users::VerifierKinds kinds;      // what is kept beside a password's hash
};

// The errors are whole texts for standard error, without "postern: ".
[[nodiscard]] std::expected<UserPlace, std::string> find_user_place(const UserArguments& arguments);

// "anna: there is no such user"
[[nodiscard]] std::string no_such_user(std::string_view name);
int complain(std::string_view text);  // prints "postern: TEXT"; 1

// The commands, one function each, given the place.
int import_users(const UserArguments& arguments, const UserPlace& place);
int export_users(const UserArguments& arguments, const UserPlace& place);
int audit_users(const UserArguments& arguments, const UserPlace& place);

}  // namespace postern::net::admin
