// `postern user ...`: the operator's hand on the user store. Passwords are never arguments, and never printed.
#include <algorithm>
#include <cstdio>
#include <ctime>
#include <fmt/chrono.h>
#include <fmt/format.h>

#include "net/admin/password_prompt.h"
#include "net/admin/user_place.h"
#include "net/sasl/scram_keys.h"
#include "net/users/password_hash.h"
#include "net/users/password_strength.h"

namespace postern::net {
namespace admin {
namespace {

using users::Secret;
using users::StoredUser;
using users::StoreMode;
using users::UserStore;

template <class T>
using Result = std::expected<T, std::string>;

// A password that will do, as a hash and verifiers.
struct NewPassword {
  Secret hash;
  users::Verifiers verifiers;
};

Result<NewPassword> take_password(const std::string& name, const UserArguments& arguments, const UserPlace& place) {
  const auto password = arguments.from_stdin ? read_password_from_stdin() : ask_for_password(name);
  if (!password) return std::unexpected(password.error());
  const users::Strength strength = users::judge_password(password->view(), name, place.words);
  if (!strength.acceptable) {
    return std::unexpected(
        fmt::format("this password is refused: {}. Three or four words that have nothing to do with "
                    "each other are good",
                    strength.reason));
  }
  auto hash = users::make(password->view());
  if (!hash) return std::unexpected(hash.error());
  return NewPassword{std::move(*hash), users::derive_verifiers(password->view(), place.kinds)};
}

bool contains(const std::vector<std::string>& list, const std::string& text) {
  return std::find(list.begin(), list.end(), text) != list.end();
}

// What the arguments say about privilege, senders and limits.
Result<void> apply(const UserArguments& arguments, policy::UserRecord& record) {
  if (arguments.may_relay) record.may_relay = *arguments.may_relay;
  for (const std::string& text : arguments.no_senders) {
    const auto sender = policy::canonical_sender(text);
    if (!sender) return std::unexpected(sender.error());
    if (std::erase(record.senders, *sender) == 0) {
      return std::unexpected(fmt::format("{}: {} is not among its senders", record.name, *sender));
    }
  }
  for (const std::string& text : arguments.senders) {
    auto sender = policy::canonical_sender(text);
    if (!sender) return std::unexpected(sender.error());
    if (!contains(record.senders, *sender)) record.senders.push_back(std::move(*sender));
  }
  policy::UserRecord::Limits& limits = record.limits;
  limits.messages_per_hour = arguments.messages_per_hour.value_or(limits.messages_per_hour);
  limits.messages_per_day = arguments.messages_per_day.value_or(limits.messages_per_day);
  limits.recipients_per_hour = arguments.recipients_per_hour.value_or(limits.recipients_per_hour);
  limits.recipients_per_day = arguments.recipients_per_day.value_or(limits.recipients_per_day);
  return {};
}

bool is_address(std::string_view name) {
  const auto sender = policy::canonical_sender(name);
  return sender && *sender == name && !name.starts_with('@') && name != "*";
}

std::string senders_text(const policy::UserRecord& record) {
  std::string text = is_address(record.name) ? record.name : "";
  for (const std::string& sender : record.senders) text += (text.empty() ? "" : ", ") + sender;
  return text.empty() ? "nobody" : text;
}

std::string limit_text(std::uint32_t limit) {
  return limit == 0 ? "as the server says" : std::to_string(limit);
}

std::string time_text(std::int64_t seconds) {
  const std::time_t time = seconds;
  std::tm parts{};
  ::gmtime_r(&time, &parts);
  return fmt::format("{:%Y-%m-%d %H:%M} UTC", parts);
}

// "yescrypt N=4096 r=32"; never more of a hash than that.
std::string hash_text(const StoredUser& user) {
  if (user.password_hash.empty()) return "none";
  const auto described = users::describe(user.password_hash.view());
  if (!described) return "unusable: it " + described.error();
  std::string text = described->scheme + (described->cost.empty() ? "" : " ") + described->cost;
  if (described->plaintext) return text + " (in the clear: set it anew)";
  return users::needs_rehash(user.password_hash.view()) ? text + " (weak: set it anew)" : text;
}

std::string scram_text(sasl::ScramHash hash, const Secret& keys) {
  const auto parsed = sasl::parse_scram_keys(hash, keys.view());
  return parsed ? fmt::format("{} iterations", parsed->iterations) : "unusable";
}

std::string verifiers_text(const users::Verifiers& verifiers) {
  std::string text;
  const auto add = [&text](const std::string& part) { text += (text.empty() ? "" : ", ") + part; };
  if (!verifiers.scram_sha_256.empty()) {
    add(fmt::format("SCRAM-SHA-256 ({})", scram_text(sasl::ScramHash::sha_256, verifiers.scram_sha_256)));
  }
  if (!verifiers.scram_sha_1.empty()) {
    add(fmt::format("SCRAM-SHA-1 ({})", scram_text(sasl::ScramHash::sha_1, verifiers.scram_sha_1)));
  }
  if (!verifiers.cram_md5.empty()) add("CRAM-MD5 (as good as the password to a thief)");
  return text.empty() ? "none yet: made at the first login with the password" : text;
}

std::string_view standing_text(const policy::UserRecord& record) {
  if (record.disabled) return record.held ? "disabled, held" : "disabled";
  return record.held ? "held" : "active";
}

// --- the commands ----------------------------------------------------------------------------------------------------

int add_user(const UserArguments& arguments, const UserPlace& place) {
  StoredUser user;
  user.record.may_relay = true;
  auto name = policy::canonical_user_name(arguments.name);
  if (!name) return complain(name.error());
  user.record.name = *name;
  if (const auto applied = apply(arguments, user.record); !applied) return complain(applied.error());
  auto store = UserStore::open(place.store, StoreMode::create);
  if (!store) return complain(store.error());
  const auto existing = store->find(*name);
  if (!existing) return complain(existing.error());
  if (*existing) return complain(*name + ": there is a user of that name");
  auto password = take_password(*name, arguments, place);
  if (!password) return complain(password.error());
  user.password_hash = std::move(password->hash);
  user.verifiers = std::move(password->verifiers);
  if (const auto added = store->add(user); !added) return complain(added.error());
  fmt::print("{}: added; {}; sends as {}\n", *name,
             user.record.may_relay ? "may relay beyond this server" : "may not relay beyond this server",
             senders_text(user.record));
  if (!is_address(*name) && user.record.senders.empty()) {
    fmt::print("The name is no mail address: give it one to send as, with 'postern user set {} --sender ADDRESS'.\n",
               *name);
  }
  return 0;
}

int change_password(const UserArguments& arguments, const UserPlace& place) {
  auto store = UserStore::open(place.store, StoreMode::read_write);
  if (!store) return complain(store.error());
  const auto user = store->find(arguments.name);
  if (!user) return complain(user.error());
  if (!*user) return complain(no_such_user(arguments.name));
  const std::string& name = (*user)->record.name;
  const auto password = take_password(name, arguments, place);
  if (!password) return complain(password.error());
  const auto changed = store->set_password(name, password->hash, password->verifiers);
  if (!changed) return complain(changed.error());
  if (!*changed) return complain(no_such_user(name));  // removed meanwhile
  fmt::print("{}: the password was changed\n", name);
  return 0;
}

int set_user(const UserArguments& arguments, const UserPlace& place) {
  auto store = UserStore::open(place.store, StoreMode::read_write);
  if (!store) return complain(store.error());
  auto user = store->find(arguments.name);
  if (!user) return complain(user.error());
  if (!*user) return complain(no_such_user(arguments.name));
  policy::UserRecord record = (*user)->record;
  if (const auto applied = apply(arguments, record); !applied) return complain(applied.error());
  if (record == (*user)->record) return complain(record.name + ": nothing to change was given, see --help");
  const auto changed = store->update(record);
  if (!changed) return complain(changed.error());
  if (!*changed) return complain(no_such_user(record.name));
  fmt::print("{}: {}; sends as {}\n", record.name,
             record.may_relay ? "may relay beyond this server" : "may not relay beyond this server",
             senders_text(record));
  return 0;
}

int list_users(const UserPlace& place) {
  auto store = UserStore::open(place.store, StoreMode::read_only);
  if (!store) return complain(store.error());
  const auto listed = store->for_each([](const StoredUser& user) {
    const policy::UserRecord& record = user.record;
    fmt::print("{:<40} {:<8} {:<14} {}\n", record.name, record.may_relay ? "relays" : "local", standing_text(record),
               hash_text(user));
    return true;
  });
  return listed ? 0 : complain(listed.error());
}

int show_user(const UserArguments& arguments, const UserPlace& place) {
  auto store = UserStore::open(place.store, StoreMode::read_only);
  if (!store) return complain(store.error());
  const auto user = store->find(arguments.name);
  if (!user) return complain(user.error());
  if (!*user) return complain(no_such_user(arguments.name));
  const policy::UserRecord& record = (*user)->record;
  const policy::UserRecord::Limits& limits = record.limits;
  fmt::print("name        {}\nstanding    {}\nrelay       {}\nsends as    {}\n", record.name, standing_text(record),
             record.may_relay ? "may relay beyond this server" : "may not relay beyond this server",
             senders_text(record));
  fmt::print("messages    an hour: {}, a day: {}\nrecipients  an hour: {}, a day: {}\n",
             limit_text(limits.messages_per_hour), limit_text(limits.messages_per_day),
             limit_text(limits.recipients_per_hour), limit_text(limits.recipients_per_day));
  fmt::print("password    {}\nverifiers   {}\n", hash_text(**user), verifiers_text((*user)->verifiers));
  fmt::print("made        {}\nchanged     {} (the password)\n", time_text((*user)->created),
             time_text((*user)->password_changed));
  return 0;
}

// The commands that are one word of the store.
int change_standing(UserAction action, const UserArguments& arguments, const UserPlace& place) {
  auto store = UserStore::open(place.store, StoreMode::read_write);
  if (!store) return complain(store.error());
  Result<bool> done = false;
  std::string_view what;
  switch (action) {
    case UserAction::disable:
      done = store->set_disabled(arguments.name, true);
      what = "disabled: it cannot log in";
      break;
    case UserAction::enable:
      done = store->set_disabled(arguments.name, false);
      what = "enabled";
      break;
    case UserAction::release:
      done = store->set_held(arguments.name, false);
      what = "released";
      break;
    default:
      done = store->remove(arguments.name);
      what = "removed";
      break;
  }
  if (!done) return complain(done.error());
  if (!*done) return complain(no_such_user(arguments.name));
  fmt::print("{}: {}\n", *policy::canonical_user_name(arguments.name), what);
  return 0;
}

}  // namespace
}  // namespace admin

int user_command(UserAction action, const UserArguments& arguments) {
  using namespace admin;
  const auto place = find_user_place(arguments);
  if (!place) return complain(place.error());
  switch (action) {
    case UserAction::add:
      return add_user(arguments, *place);
    case UserAction::passwd:
      return change_password(arguments, *place);
    case UserAction::set:
      return set_user(arguments, *place);
    case UserAction::list:
      return list_users(*place);
    case UserAction::show:
      return show_user(arguments, *place);
    case UserAction::disable:
    case UserAction::enable:
    case UserAction::remove:
    case UserAction::release:
      return change_standing(action, arguments, *place);
    case UserAction::import_list:
      return import_users(arguments, *place);
    case UserAction::export_list:
      return export_users(arguments, *place);
    case UserAction::audit:
      return audit_users(arguments, *place);
  }
  return 1;
}

}  // namespace postern::net
