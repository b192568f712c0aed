// Users as lines of text, in the form of Dovecot's passwd-file and of /etc/shadow: "name:hash:...".
//
// Of the fields behind the hash only the eighth (Dovecot's extra fields, blank between) is looked at, and in it only
// what is ours, so that a list that we wrote comes back whole and a list of others is taken for its names and hashes:
//   postern_relay=yes|no  postern_disabled=yes  postern_held=yes  postern_sender=ADDRESS (several)
//   postern_limits=MESSAGES/HOUR,MESSAGES/DAY,RECIPIENTS/HOUR,RECIPIENTS/DAY
//   postern_scram_sha_256=KEYS  postern_scram_sha_1=KEYS  postern_cram_md5=VERIFIER
// A blank, '%', ':' or control in a sender is written as %XX.
//
// Pure. Thread: any. A hash without a {SCHEME} is crypt(3)'s.
#pragma once

#include <expected>
#include <optional>
#include <string>
#include <string_view>

#include "net/users/secret.h"
#include "net/users/user_store.h"

namespace postern::net::users {

struct ListedUser {
  StoredUser user;          // name canonical, hash and verifiers checked; may_relay as the line says, else false
  bool says_relay = false;  // the line has postern_relay
};

// `line` without its line end. nullopt: an empty line, or a comment (#). The error says what is wrong, for an operator
// who knows the line's number; it repeats the name at most.
[[nodiscard]] std::expected<std::optional<ListedUser>, std::string> parse_user_line(std::string_view line);

// Without a line end.
[[nodiscard]] Secret user_line(const StoredUser& user);

}  // namespace postern::net::users
