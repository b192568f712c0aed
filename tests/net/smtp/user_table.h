// A few users in memory who answer the questions of a login: the store of the dialog tests and the fuzzer.
//
// Keys of SCRAM and CRAM-MD5 are derived when they are first asked for. Thread: one.
#pragma once

#include <array>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <string_view>

#include "net/smtp/server_session.h"
#include "policy/user.h"

namespace postern::net::smtp::test {

class UserTable {
 public:
  void add(const policy::UserRecord& record, std::string_view password);
  // Answers the question of Event::login.
  void answer(ServerSession& session, const sasl::Step& question);

 private:
  struct User {
    Account account;
    std::string password;
    std::array<std::optional<sasl::Credential>, 4> credentials;  // by CredentialKind
  };
  const sasl::Credential& credential(sasl::CredentialKind kind, User& user);

  std::map<std::string, User, std::less<>> users_;
};

}  // namespace postern::net::smtp::test
