// Where the answers to login questions come from, for one thread: the user store, or Dovecot.
//
// Every call may block; one object a thread. A source that fails is opened anew at the next question.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "core/result.h"

namespace postern::net::users {

struct CredentialOptions;
struct CredentialRequest;

class CredentialSource {
 public:
  static core::Result<std::unique_ptr<CredentialSource>> open(const CredentialOptions& options);
  virtual ~CredentialSource() = default;

  // Fills in the request's answer. Takes the same time for a user who does not exist as for a wrong password.
  virtual void answer(CredentialRequest& request) noexcept = 0;
  // Changes when any user does.
  virtual core::Result<std::uint64_t> version() = 0;
  // The account is held from now on. False: there is no such user.
  virtual core::Result<bool> hold(std::string_view user) = 0;
  // Everybody who is. Canonical names.
  virtual core::Result<std::vector<std::string>> held() = 0;
};

}  // namespace postern::net::users
