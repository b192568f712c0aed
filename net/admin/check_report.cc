// The words of `postern check`; see the header. What is said here about a service follows
// docs/relay-decision.md.
#include "net/admin/check_report.h"

#include <algorithm>
#include <fmt/format.h>
#include <iterator>

namespace postern::net::admin {
namespace {

using Out = std::back_insert_iterator<std::string>;

std::string listed(const std::vector<std::string>& entries, std::string_view none) {
  return entries.empty() ? std::string(none) : fmt::format("{}", fmt::join(entries, ", "));
}

template <class Item, class Text>
std::string joined(const std::vector<Item>& items, Text text, std::string_view none) {
  std::vector<std::string> texts;
  for (const Item& item : items) texts.push_back(text(item));
  return listed(texts, none);
}

std::string prefixes(const std::vector<core::IpPrefix>& list, std::string_view none) {
  return joined(
      list, [](const core::IpPrefix& prefix) { return prefix.text(); }, none);
}

// "3.1 MiB"; exact octets below 1 KiB.
std::string size_text(std::uint64_t bytes) {
  constexpr std::string_view kUnits[] = {"KiB", "MiB", "GiB", "TiB"};
  if (bytes < 1024) return fmt::format("{} octets", bytes);
  double amount = static_cast<double>(bytes) / 1024;
  std::size_t unit = 0;
  while (amount >= 1024 && unit + 1 < std::size(kUnits)) {
    amount /= 1024;
    ++unit;
  }
  return fmt::format("{:.1f} {}", amount, kUnits[unit]);
}

std::string access_text(const std::vector<std::string>& access) {
  if (access.empty()) return "nobody (the list is empty)";
  if (access.front() == "any") return "any client";
  return "only " + listed(access, "");
}

std::string_view tls_text(policy::TlsMode tls) {
  switch (tls) {
    case policy::TlsMode::none:
      return "none";
    case policy::TlsMode::starttls:
      return "STARTTLS, where the client asks for it";
    case policy::TlsMode::implicit:
      return "TLS from the first octet";
  }
  return {};
}

std::string auth_text(const policy::ServiceSettings& service) {
  const policy::AuthSettings& auth = service.auth;
  if (auth.mechanisms.empty()) return "not offered";
  std::string text = listed(auth.mechanisms, "");
  text += auth.plain_on_lan ? "; those that show the password only with TLS, or in the LAN" : "; those that show the password only with TLS";
  if (auth.own_sender) text += "; senders must be the user's own";
  if (auth.own_header_from) text += ", and the header's From";
  return text;
}

std::string submission_text(const policy::ServiceSettings& service, const policy::Settings& settings) {
  const std::string domain = !service.submission_domain.empty() ? service.submission_domain
                             : !settings.local_domains.empty()  ? settings.local_domains.front()
                                                                : settings.hostname;
  return fmt::format("put in order (RFC 6409); addresses without a domain get @{}{}", domain,
                     service.hide_client ? "; where the client is stays out of it" : "");
}

std::string sender_text(const policy::ServiceSettings& service) {
  std::string text;
  if (service.auth.scope_all) text = "nobody sends before AUTH (530, scope \"all\"). ";
  if (!service.reject_forged_local)
    return text + "any sender, also one at a local domain from outside the LAN";
  text += "a sender at a local domain is refused (550) from outside the LAN";
  std::vector<std::string> except;
  if (service.exempt_authenticated) except.emplace_back("authenticated clients");
  if (service.relay.after_login) except.emplace_back("machines with a live POP3/IMAP login");
  if (service.relay.always_from_enabled && !service.relay.always_from.empty()) {
    except.emplace_back("hosts in always_from");
  }
  if (!except.empty()) fmt::format_to(Out(text), ", except for {}", fmt::join(except, " and "));
  return text;
}

// What decides behind always_to, always_from and AUTH: steps 6, 7 or 8.
std::string gate_text(const policy::RelaySettings& relay, std::uint32_t window_seconds) {
  if (relay.require_auth) {
    const bool counts = relay.after_login && relay.login_counts_as_auth;
    return fmt::format(
        "everybody else must authenticate, the LAN included (530); without the privilege: 550{}",
        counts ? fmt::format(". A POP3/IMAP login in the last {} seconds counts as AUTH", window_seconds)
               : "");
  }
  if (relay.after_login) {
    return fmt::format(
        "clients in the LAN, and machines that logged in to POP3 or IMAP in the last {} seconds; others: 550",
        window_seconds);
  }
  const std::string_view senders =
      relay.non_local_senders ? "with any sender" : "with a sender at a local domain or <>";
  if (relay.outside_lan) return fmt::format("EVERYBODY, inside and outside the LAN, {}", senders);
  return fmt::format("clients in the LAN, {}; others: 550", senders);
}

void put_list(std::string& out, std::string_view name, bool ticked, const std::vector<std::string>& entries,
              std::string_view meaning) {
  if (ticked) {
    fmt::format_to(Out(out), "    {}: {} {}\n", name, listed(entries, "(empty)"), meaning);
  } else {
    fmt::format_to(Out(out), "    {}: not ticked\n", name);
  }
}

void put_service(std::string& out, const policy::ServiceSettings& service, const policy::Settings& settings) {
  const policy::RelaySettings& relay = service.relay;
  const auto endpoint = [](const core::Endpoint& where) { return where.text(); };
  fmt::format_to(Out(out), "\nservice '{}' on {}\n", service.name,
                 joined(service.listen, endpoint, "nothing"));
  if (service.proxy_protocol) {
    fmt::format_to(Out(out), "  client address: from the PROXY protocol, believed from {}\n",
                   prefixes(settings.proxy_from, "nobody"));
  }
  fmt::format_to(Out(out), "  encryption:     {}\n", tls_text(service.tls));
  fmt::format_to(Out(out), "  AUTH:           {}\n", auth_text(service));
  fmt::format_to(Out(out), "  may connect:    {}\n", access_text(service.access));
  fmt::format_to(Out(out), "  black list:     {}\n", listed(service.blacklist, "empty"));
  fmt::format_to(Out(out), "  white list:     {}\n",
                 service.whitelist.empty()
                     ? std::string("empty")
                     : listed(service.whitelist, "") + " (lifts the black list; lets nobody relay)");
  fmt::format_to(Out(out), "  senders:        {}\n", sender_text(service));
  if (service.submission) fmt::format_to(Out(out), "  header:         {}\n", submission_text(service, settings));
  fmt::format_to(Out(out), "  local domains:  accepted from everybody who got this far\n");
  fmt::format_to(Out(out), "  relaying, the first that fits:\n");
  put_list(out, "always_to", relay.always_to_enabled, relay.always_to, "are relayed to, for any sender");
  put_list(out, "always_from", relay.always_from_enabled, relay.always_from, "may relay");
  fmt::format_to(Out(out), "    authenticated users with the privilege may relay{}\n",
                 service.auth.mechanisms.empty() ? " (but no AUTH is offered: 'mechanisms' names none)" : "");
  fmt::format_to(Out(out), "    {}\n", gate_text(relay, settings.logins.window_seconds));
  std::vector<std::string> greyed;
  for (const policy::GreyedOption& option : policy::greyed_options(service)) {
    greyed.push_back(fmt::format("{} ({})", option.name, option.because));
  }
  fmt::format_to(Out(out), "  without effect: {}\n", listed(greyed, "nothing"));
  if (service.i_know_this_is_an_open_relay)
    out += "  i_know_this_is_an_open_relay: the open relay checks only warn\n";
}

void put_mailbox(std::string& out, const policy::MailboxSettings& mailbox, const policy::Settings& settings) {
  const bool is_pop3 = mailbox.protocol == policy::MailboxProtocol::pop3;
  fmt::format_to(Out(out), "\nmailbox '{}': {} on {}\n", mailbox.name, is_pop3 ? "POP3" : "IMAP",
                 joined(mailbox.listen, [](const core::Endpoint& where) { return where.text(); }, "nothing"));
  if (mailbox.proxy_protocol) {
    fmt::format_to(Out(out), "  client address: from the PROXY protocol, believed from {}\n",
                   prefixes(settings.proxy_from, "nobody"));
  }
  fmt::format_to(Out(out), "  encryption:     {}\n",
                 is_pop3 && mailbox.tls == policy::TlsMode::starttls ? "STLS, where the client asks for it"
                                                                     : tls_text(mailbox.tls));
  fmt::format_to(Out(out), "  may connect:    {}\n", access_text(mailbox.access));
  fmt::format_to(Out(out), "  store:          {}, told the client's address by {}\n", mailbox.store.text(),
                 mailbox.store_proxy_protocol ? "a PROXY header" : is_pop3 ? "XCLIENT, if it takes it" : "ID, if it takes it");
  fmt::format_to(Out(out), "  logins:         those that show the password {}\n",
                 mailbox.tls == policy::TlsMode::none ? mailbox.plain_on_lan ? "only in the LAN" : "never"
                 : mailbox.plain_on_lan               ? "with TLS, or in the LAN"
                                                      : "with TLS only");
  fmt::format_to(Out(out), "  a login opens:  after_login for {} seconds{}\n", settings.logins.window_seconds,
                 mailbox.master_separator == 0
                     ? std::string()
                     : fmt::format(", unless it is a master user's (user{}master)", mailbox.master_separator));
  fmt::format_to(Out(out), "  idle:           closed after {} seconds without an octet\n", mailbox.idle_seconds);
}

std::string hop_text(const policy::NextHop& hop) {
  const bool v6 = hop.host.find(':') != std::string::npos;
  return fmt::format("{}:{}{}{}:{}", hop.protocol == policy::NextHopProtocol::lmtp ? "lmtp" : "smtp",
                     v6 ? "[" : "", hop.host, v6 ? "]" : "", hop.port);
}

void put_server(std::string& out, const policy::Settings& settings) {
  fmt::format_to(Out(out), "{}\n", settings.hostname);
  fmt::format_to(Out(out), "  local domains:  {}\n", listed(settings.local_domains, "none"));
  fmt::format_to(Out(out), "  LAN:            {}\n", prefixes(settings.lan, "nobody"));
  fmt::format_to(Out(out), "  postmaster:     {}\n", settings.postmaster);
  fmt::format_to(Out(out), "  spool:          {}\n", settings.spool);
  fmt::format_to(Out(out), "  users:          {}\n",
                 settings.users.dovecot.empty() ? settings.users.store : "Dovecot, at " + settings.users.dovecot);
  if (settings.admin.http) {
    fmt::format_to(Out(out), "  HTTP:           metrics and health at {}; logins are believed from {}\n",
                   settings.admin.http->text(), prefixes(settings.logins.feeds, "nobody"));
  }
  fmt::format_to(Out(out), "  workers:        {}\n",
                 settings.workers == 0 ? std::string("one a core") : std::to_string(settings.workers));
  if (!settings.xclient_from.empty()) {
    fmt::format_to(Out(out), "  XCLIENT:        believed from {}\n", prefixes(settings.xclient_from, ""));
  }
}

void put_routes(std::string& out, const policy::Settings& settings) {
  out += "\nroutes, the first that fits\n";
  if (settings.routes.empty()) out += "  none: nothing is ever delivered\n";
  for (const policy::RouteSettings& route : settings.routes) {
    fmt::format_to(Out(out), "  {} -> {}\n", route.domain == "*" ? std::string("every domain") : route.domain,
                   route.by_mx ? "the hosts that its MX names, port " + std::to_string(route.port)
                               : joined(route.to, hop_text, "nowhere"));
  }
  const auto seconds = [](std::uint32_t value) { return std::to_string(value); };
  fmt::format_to(Out(out), "  tried again after {} seconds; given up after {}\n",
                 joined(settings.queue.retry_seconds, seconds, "no"), settings.queue.lifetime_seconds);
}

void put_memory(std::string& out, std::span<const MemoryBound> memory) {
  if (memory.empty()) return;
  std::size_t width = 5;
  std::uint64_t sum = 0;
  for (const MemoryBound& bound : memory) {
    width = std::max(width, bound.name.size());
    sum += bound.bytes;
  }
  out += "\nmemory, at most\n";
  for (const MemoryBound& bound : memory) {
    fmt::format_to(Out(out), "  {:<{}}  {:>12}\n", bound.name, width, size_text(bound.bytes));
  }
  fmt::format_to(Out(out), "  {:<{}}  {:>12}\n", "total", width, size_text(sum));
}

}  // namespace

std::string diagnostics_text(std::string_view file, std::span<const policy::Diagnostic> diagnostics) {
  if (diagnostics.empty()) return {};
  std::string out;
  std::size_t counts[3] = {};
  for (const policy::Diagnostic& diagnostic : diagnostics) {
    out += diagnostic.format(file) + "\n";
    ++counts[static_cast<std::size_t>(diagnostic.kind)];
  }
  const auto count = [](std::size_t number, std::string_view what) {
    return fmt::format("{} {}{}", number, what, number == 1 ? "" : "s");
  };
  fmt::format_to(Out(out), "{}, {}, {}\n", count(counts[0], "error"), count(counts[1], "warning"),
                 count(counts[2], "note"));
  return out;
}

std::string check_report(std::string_view file, const policy::Settings& settings,
                         std::span<const policy::Diagnostic> diagnostics,
                         std::span<const MemoryBound> memory) {
  std::string out;
  put_server(out, settings);
  for (const policy::ServiceSettings& service : settings.services) put_service(out, service, settings);
  for (const policy::MailboxSettings& mailbox : settings.mailboxes) put_mailbox(out, mailbox, settings);
  put_routes(out, settings);
  put_memory(out, memory);
  const std::string found = diagnostics_text(file, diagnostics);
  out += "\n";
  out += found.empty() ? std::string(file) + ": nothing to complain about\n" : found;
  return out;
}

}  // namespace postern::net::admin
