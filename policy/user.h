// A user as policy sees one: name, privileges, the senders that belong to it, limits of its own.
//
// Pure, no I/O. Thread: any. Canonical forms are made once, where a name or a sender enters (store, login, command
// line); the record holds canonical forms only, and comparisons allocate nothing.
//
// Names are compared without regard to case, and so are the local parts of senders: that is how a user types them, and
// no two users differ by case alone. Domains are compared as policy::DomainName has them.
#pragma once

#include <cstddef>
#include <cstdint>
#include <expected>
#include <string>
#include <string_view>
#include <vector>

#include "policy/address.h"

namespace postern::policy {

inline constexpr std::size_t kUserNameBytesMax = 255;
inline constexpr std::size_t kUserSendersMax = 1000;  // listed for one user; more is a slip of the operator

struct UserRecord {
  std::string name;        // canonical
  bool may_relay = false;  // the privilege "Relay mail beyond this server"
  bool disabled = false;   // by the operator: no login
  bool held = false;       // by the server, after limits were tripped, until `postern user release`
  // Allowed senders beside the own name: "a@x", "@x" (every address at that domain), "*". Canonical (canonical_sender).
  std::vector<std::string> senders;
  struct Limits {  // 0: the server's default
    std::uint32_t messages_per_hour = 0;
    std::uint32_t messages_per_day = 0;
    std::uint32_t recipients_per_hour = 0;
    std::uint32_t recipients_per_day = 0;
    bool operator==(const Limits&) const = default;
  } limits;
  // Changes whenever anything about the user changes; never the same twice in a store, also after a removal. 0: not
  // stored.
  std::uint64_t generation = 0;

  bool operator==(const UserRecord&) const = default;
};

// The one form of a user name: strict UTF-8 of 1 to 255 octets, lower case and composed (the limits of unicode_fold.h),
// the part behind the last '@' as DomainName has it where it is a domain. Refused, with the reason as text for an
// operator: controls and invisible characters, ':' (it separates fields where users are imported and exported), blanks
// or '#' in front, blanks behind.
[[nodiscard]] std::expected<std::string, std::string> canonical_user_name(std::string_view name);

// The one form of an entry of UserRecord::senders: "a@x", "@x", "*". The local part unquoted.
[[nodiscard]] std::expected<std::string, std::string> canonical_sender(std::string_view sender);

// May this user send with `sender` as MAIL FROM (or header From)? The null reverse-path: yes, a bounce or a receipt is
// anybody's. Otherwise: the user's name when it is an address, or a listed sender. A sender without a domain belongs to
// nobody but "*": complete it first.
[[nodiscard]] bool may_send_as(const UserRecord& user, const Mailbox& sender) noexcept;

}  // namespace postern::policy
