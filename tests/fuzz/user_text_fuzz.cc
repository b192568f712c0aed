// Texts about users that come from files: a line of a list, a stored hash, a name, a sender. What is taken has one form, and
// comes back from that form unchanged.
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <string>
#include <string_view>

#include "net/users/password_hash.h"
#include "net/users/user_list.h"
#include "policy/user.h"

namespace {

void require(bool condition) {
  if (!condition) std::abort();
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using namespace postern;
  const std::string_view text(reinterpret_cast<const char*>(data), size);

  if (const auto name = policy::canonical_user_name(text)) {
    require(!name->empty() && name->size() <= policy::kUserNameBytesMax);
    require(policy::canonical_user_name(*name).value_or("") == *name);
  }
  if (const auto sender = policy::canonical_sender(text)) {
    // A local part that had quotes has none now, so that the form is not always one of its own.
    require(*sender == "*" || sender->find('@') != std::string::npos);
  }
  policy::UserRecord record;
  record.name = "anna@example.net";
  record.senders = {"@example.org", "info@example.com"};
  const std::size_t at = text.rfind('@');
  const policy::Mailbox mailbox = at == std::string_view::npos
                                      ? policy::Mailbox{text, {}}
                                      : policy::Mailbox{text.substr(0, at), text.substr(at + 1)};
  (void)policy::may_send_as(record, mailbox);

  const auto described = net::users::describe(text);
  if (described) {
    require(!described->scheme.empty());
  } else {
    require(net::users::needs_rehash(text));
  }

  if (text.find_first_of("\r\n") != std::string_view::npos) return 0;  // no line
  const auto line = net::users::parse_user_line(text);
  if (!line || !*line) return 0;
  const net::users::StoredUser& user = (*line)->user;
  require(net::users::describe(user.password_hash.view()).has_value());
  const net::users::Secret written = net::users::user_line(user);
  require(written.view().find_first_of("\r\n") == std::string_view::npos);
  const auto back = net::users::parse_user_line(written.view());
  require(back && *back);
  require((*back)->user.record == user.record);
  return 0;
}
