// [[mailbox]]: the listeners of the POP3/IMAP front; see docs/settings.md for each key.
#include <algorithm>
#include <fmt/format.h>
#include <map>
#include <set>
#include <utility>

#include "policy/settings_listeners.h"
#include "policy/settings_reader.h"
#include "policy/settings_services.h"

namespace postern::policy {
namespace {

constexpr std::uint32_t kDay = 86400;

void read_protocol(TableReader& reader, MailboxProtocol& protocol) {
  auto choice = static_cast<std::size_t>(protocol);
  reader.choice("protocol", {"pop3", "imap"}, choice);
  protocol = static_cast<MailboxProtocol>(choice);
  if (!reader.has("protocol")) {
    reader.error("protocol", "a mailbox needs a 'protocol': protocol = \"pop3\" or protocol = \"imap\"");
  }
}

void read_store(TableReader& reader, core::Endpoint& store) {
  std::string given;
  if (!reader.text("store", given, "127.0.0.1:10110")) {
    if (!reader.has("store")) {
      reader.error("store", "a mailbox needs a 'store', the mail store behind it: store = \"127.0.0.1:10110\"");
    }
    return;
  }
  const auto endpoint = core::Endpoint::parse(given);
  if (!endpoint || endpoint->port == 0) {
    reader.error("store", fmt::format("'{}' is not an address and port, such as \"127.0.0.1:10110\" or \"[::1]:10110\"; host "
                                      "names are not looked up",
                                      given));
    return;
  }
  store = *endpoint;
}

void read_separator(TableReader& reader, char& separator) {
  std::string given;
  if (!reader.text_or_empty("master_separator", given, "*") || given.empty()) return;
  if (given.size() == 1 && given.front() > ' ' && given.front() <= '~') {
    separator = given.front();
  } else {
    reader.error("master_separator", fmt::format("'{}' is not one printable ASCII character, such as \"*\"", given));
  }
}

MailboxSettings read_mailbox(const toml::table& table, std::set<std::string>& names,
                             std::vector<Diagnostic>& diagnostics) {
  MailboxSettings mailbox;
  mailbox.line = table.source().begin.line;
  TableReader reader(table, "[[mailbox]]", diagnostics);
  read_name(reader, "mailbox", mailbox.name, names);
  read_protocol(reader, mailbox.protocol);
  read_listen(reader, "mailbox", R"("0.0.0.0:110", "[::]:110")", mailbox.listen);
  mailbox.tls = read_tls(reader);
  read_store(reader, mailbox.store);
  reader.boolean("store_proxy_protocol", mailbox.store_proxy_protocol);
  reader.boolean("proxy_protocol", mailbox.proxy_protocol);
  reader.boolean("plain_on_lan", mailbox.plain_on_lan);
  read_separator(reader, mailbox.master_separator);
  read_access(reader, mailbox.access);
  reader.number("errors", 0, 100000, mailbox.errors);
  reader.number("idle_seconds", 10, 7 * kDay, mailbox.idle_seconds);
  reader.finish();
  return mailbox;
}

// Does a connection to `store` come to who listens at `listen`?
bool leads_to(const core::Endpoint& store, const core::Endpoint& listen) {
  if (store.port != listen.port) return false;
  if (store.address == listen.address) return true;
  const bool is_everywhere = listen.address == core::IpAddress::from_v4(0) || listen.address == core::IpAddress{};
  return is_everywhere && store.address.is_loopback() && store.address.is_v4() == listen.address.is_v4();
}

}  // namespace

void read_mailboxes(const std::vector<const toml::table*>& tables, Settings& settings,
                    std::vector<Diagnostic>& diagnostics) {
  std::set<std::string> names;
  std::map<core::Endpoint, std::string> taken;
  for (const ServiceSettings& service : settings.services) {
    names.insert(service.name);
    for (const core::Endpoint& endpoint : service.listen) taken.emplace(endpoint, service.name);
  }
  for (const toml::table* table : tables) {
    MailboxSettings mailbox = read_mailbox(*table, names, diagnostics);
    TableReader reader(*table, "[[mailbox]]", diagnostics);
    for (const core::Endpoint& endpoint : mailbox.listen) {
      if (endpoint.port == 0) continue;  // the system picks a free one for each
      const auto [other, is_fresh] = taken.emplace(endpoint, mailbox.name);
      if (!is_fresh) {
        reader.error("listen", fmt::format("{} is listened on twice: by '{}' and by '{}'", endpoint.text(), other->second,
                                           mailbox.name));
      }
    }
    if (mailbox.proxy_protocol && settings.proxy_from.empty()) {
      reader.error("proxy_protocol", fmt::format("mailbox '{}' expects the PROXY protocol, but 'proxy_from' names no balancer "
                                                 "to believe",
                                                 mailbox.name));
    }
    settings.mailboxes.push_back(std::move(mailbox));
  }
  // A mailbox that is its own store, or another one's, would connect to itself without end.
  for (std::size_t i = 0; i < settings.mailboxes.size(); ++i) {
    const core::Endpoint& store = settings.mailboxes[i].store;
    const auto own = std::find_if(taken.begin(), taken.end(), [&store](const auto& each) { return leads_to(store, each.first); });
    if (own == taken.end()) continue;
    TableReader reader(*tables[i], "[[mailbox]]", diagnostics);
    reader.error("store", fmt::format("{} is where '{}' of this server listens ({}); the store is another server",
                                      store.text(), own->second, own->first.text()));
  }
}

}  // namespace postern::policy
