// parse_settings: the settings file's text to typed values. Services and routes are read in
// settings_services.cc.
//
// toml++ throws on text that is not TOML; that is caught here and nowhere else. Cold: start, reload, `postern
// check`.
#include <algorithm>
#include <fmt/format.h>
#include <set>
#include <toml++/toml.h>
#include <utility>

#include "policy/address_list.h"
#include "policy/settings.h"
#include "policy/settings_reader.h"
#include "policy/settings_services.h"
#include "policy/settings_users.h"

namespace postern::policy {
namespace {

constexpr std::uint64_t kMebi = 1024 * 1024;
constexpr std::uint64_t kGibi = 1024 * kMebi;
constexpr std::uint32_t kDay = 86400;
constexpr std::size_t kDnsServersMax = 8;
constexpr std::size_t kSocketPathMax = 107;  // sockaddr_un's, without the ending NUL

void read_hostname(TableReader& reader, std::string& hostname) {
  std::string given;
  if (!reader.text("hostname", given, "mail.example.net")) {
    if (!reader.has("hostname")) {
      reader.error_at({1, 1},
                      "'hostname' is missing: the name this server greets with, such as hostname = "
                      "\"mail.example.net\"");
    }
    return;
  }
  const DomainName name(given);
  if (name.empty() || given.front() == '[') {
    reader.error("hostname", fmt::format("'{}' is not a host name, such as \"mail.example.net\"", given));
    return;
  }
  hostname = name.text();
}

void read_local_domains(TableReader& reader, std::vector<std::string>& domains) {
  std::vector<PlacedText> read;
  if (!reader.texts("local_domains", read, "\"example.net\"")) return;
  std::set<std::string> seen;
  for (const PlacedText& entry : read) {
    const DomainName name(entry.text);
    if (name.empty()) {
      reader.error_at(
          entry.place,
          fmt::format("in 'local_domains': '{}' is not a domain, such as \"example.net\"{}", entry.text,
                      entry.text.starts_with('.') ? "; each one is listed by its own name" : ""));
    } else if (!seen.emplace(name.text()).second) {
      reader.warning_at(entry.place, fmt::format("in 'local_domains': '{}' is listed twice", entry.text));
    } else {
      domains.emplace_back(name.text());
    }
  }
}

void read_postmaster(TableReader& reader, Settings& settings) {
  std::string given;
  if (reader.text("postmaster", given, "postmaster@example.net")) {
    const auto entry = AddressEntry::parse(given);
    if (entry && entry->kind == AddressEntryKind::mailbox) {
      settings.postmaster = given;
    } else {
      reader.error("postmaster",
                   fmt::format("'{}' is not a mail address, such as \"postmaster@example.net\"", given));
    }
  }
  if (settings.postmaster.empty()) {
    settings.postmaster =
        "postmaster@" + (settings.local_domains.empty() ? settings.hostname : settings.local_domains.front());
  }
}

void read_log(const toml::table& table, Settings::Log& log, std::vector<Diagnostic>& diagnostics) {
  TableReader reader(table, "[log]", diagnostics);
  std::size_t format = log.json ? 1 : 0;
  reader.choice("format", {"logfmt", "json"}, format);
  log.json = format == 1;
  std::string to;
  if (reader.text("to", to, "stderr")) {
    if (to == "journal") {
      reader.error(
          "to",
          "to = \"journal\" is not available in this version; under systemd \"stderr\" goes to the journal");
    } else if (to != "stderr" && to.front() != '/') {
      reader.error(
          "to", fmt::format(
                    "'to' must be \"stderr\" or a file's whole path, such as \"/var/log/postern.log\"; found "
                    "\"{}\"",
                    to));
    } else {
      log.to = to;
    }
  }
  reader.finish();
}

void read_limits(const toml::table& table, Settings::Limits& limits, std::vector<Diagnostic>& diagnostics) {
  TableReader reader(table, "[limits]", diagnostics);
  reader.number("connections", 1, 10'000'000, limits.connections);
  reader.number("message_bytes", 1024, 64 * kGibi, limits.message_bytes);
  reader.number("recipients", 1, 10000, limits.recipients);
  reader.number("idle_seconds", 1, kDay, limits.idle_seconds);
  reader.number("session_seconds", 1, 7 * kDay, limits.session_seconds);
  reader.number("connections_per_machine", 1, 10'000'000, limits.connections_per_machine);
  reader.number("queue_messages", 1, 1'000'000'000, limits.queue_messages);
  reader.number("memory_bytes", kMebi, 1024 * kGibi, limits.memory_bytes);
  reader.number("hops", 1, 1000, limits.hops);
  reader.finish();
}

void read_logins(const toml::table& table, Settings::Logins& logins, std::vector<Diagnostic>& diagnostics) {
  TableReader reader(table, "[logins]", diagnostics);
  reader.number("window_seconds", 1, 7 * kDay, logins.window_seconds);
  const std::size_t before = diagnostics.size();
  reader.number("ipv6_prefix", 32, 64, logins.ipv6_prefix);
  if (diagnostics.size() > before) {
    diagnostics.back().text +=
        ": a machine is told by at most the first 64 bits, its network, because the rest changes by "
        "itself (RFC 8981)";
  }
  reader.number("machines", 256, 100'000'000, logins.machines);
  reader.prefixes("feeds", logins.feeds);
  reader.finish();
}

void read_queue(const toml::table& table, Settings::Queue& queue, std::vector<Diagnostic>& diagnostics) {
  TableReader reader(table, "[queue]", diagnostics);
  reader.numbers("retry_seconds", 1, 7 * kDay, queue.retry_seconds);
  reader.number("lifetime_seconds", 1, 60 * kDay, queue.lifetime_seconds);
  reader.number("drain_seconds", 0, 3600, queue.drain_seconds);
  reader.finish();
}

void read_dns(const toml::table& table, Settings::Dns& dns, std::vector<Diagnostic>& diagnostics) {
  TableReader reader(table, "[dns]", diagnostics);
  std::vector<PlacedText> read;
  if (reader.texts("servers", read, R"("127.0.0.1:53")")) {
    if (read.empty()) {
      reader.error("servers", "'servers' is empty: leave the line out for those of /etc/resolv.conf");
    }
    for (const PlacedText& entry : read) {
      const auto server = core::Endpoint::parse(entry.text);
      if (server && server->port != 0) {
        dns.servers.push_back(*server);
      } else {
        reader.error_at(entry.place, fmt::format("in 'servers': '{}' is not an address and port, such as "
                                                 "\"127.0.0.1:53\" or \"[::1]:53\"",
                                                 entry.text));
      }
    }
    if (dns.servers.size() > kDnsServersMax) {
      reader.error("servers", fmt::format("'servers' has {} entries; at most {} are asked", dns.servers.size(), kDnsServersMax));
    }
  }
  reader.number("timeout_seconds", 1, 60, dns.timeout_seconds);
  reader.number("tries", 1, 10, dns.tries);
  reader.finish();
}

// "" is written by who wants none.
void read_http(TableReader& reader, std::optional<core::Endpoint>& http) {
  std::string given;
  if (!reader.text_or_empty("http", given, "127.0.0.1:8025") || given.empty()) return;
  http = core::Endpoint::parse(given);
  if (!http) {
    reader.error("http", fmt::format("'{}' is not an address and port, such as \"127.0.0.1:8025\" or \"[::1]:8025\"; "
                                     "\"\" is no listener",
                                     given));
  }
}

void read_admin(const toml::table& table, Settings::Admin& admin, std::vector<Diagnostic>& diagnostics) {
  TableReader reader(table, "[admin]", diagnostics);
  read_path(reader, "socket", kSocketPathMax, admin.socket);
  read_http(reader, admin.http);
  reader.finish();
}

void read_top(const toml::table& table, Settings& settings, std::vector<Diagnostic>& diagnostics) {
  TableReader top(table, "the top of the file", diagnostics);
  read_hostname(top, settings.hostname);
  read_local_domains(top, settings.local_domains);
  top.prefixes("lan", settings.lan);
  read_path(top, "spool", 4000, settings.spool);
  read_path(top, "state", 4000, settings.state);
  top.number("workers", 0, 1024, settings.workers);
  top.prefixes("proxy_from", settings.proxy_from);
  top.prefixes("xclient_from", settings.xclient_from);
  read_postmaster(top, settings);
  if (const auto* log = top.table("log")) read_log(*log, settings.log, diagnostics);
  if (const auto* limits = top.table("limits")) read_limits(*limits, settings.limits, diagnostics);
  if (const auto* logins = top.table("logins")) read_logins(*logins, settings.logins, diagnostics);
  if (const auto* queue = top.table("queue")) read_queue(*queue, settings.queue, diagnostics);
  if (const auto* dns = top.table("dns")) read_dns(*dns, settings.dns, diagnostics);
  if (const auto* admin = top.table("admin")) read_admin(*admin, settings.admin, diagnostics);
  read_user_tables(top, settings, diagnostics);
  const bool has_service = top.has("service");
  const auto services = top.tables("service");
  if (!has_service || (services.empty() && table.get("service")->is_array())) {
    top.error_at({0, 0}, "there is no [[service]]: nothing would listen");
  }
  read_services(services, settings, diagnostics);
  read_mailboxes(top.tables("mailbox"), settings, diagnostics);
  read_routes(top.tables("route"), settings, diagnostics);
  check_user_tables(settings, diagnostics);
  top.finish();
}

}  // namespace

void read_path(TableReader& reader, std::string_view key, std::size_t most, std::string& path) {
  std::string given;
  if (!reader.text(key, given, path)) return;
  if (given.front() != '/') {
    reader.error(key, fmt::format("'{}' must be a whole path that begins with '/', such as {} = \"{}\"", key,
                                  key, path));
  } else if (given.size() > most) {
    reader.error(key, fmt::format("'{}' is longer than {} octets", key, most));
  } else {
    path = given;
  }
}

std::string Diagnostic::format(std::string_view file) const {
  constexpr std::string_view kKinds[] = {"error", "warning", "note"};
  const std::string_view shown = kKinds[static_cast<std::size_t>(kind)];
  if (line == 0) return fmt::format("{}: {}: {}", file, shown, text);
  return fmt::format("{}:{}:{}: {}: {}", file, line, column, shown, text);
}

bool uses_tls(const Settings& settings) {
  const auto speaks_it = [](const auto& listener) { return listener.tls != TlsMode::none; };
  return std::any_of(settings.services.begin(), settings.services.end(), speaks_it) ||
         std::any_of(settings.mailboxes.begin(), settings.mailboxes.end(), speaks_it);
}

bool ParsedSettings::ok() const {
  return std::none_of(diagnostics.begin(), diagnostics.end(),
                      [](const Diagnostic& diagnostic) { return diagnostic.kind == DiagnosticKind::error; });
}

ParsedSettings parse_settings(std::string_view text) {
  ParsedSettings parsed;
  try {
    const toml::table table = toml::parse(text);
    read_top(table, parsed.settings, parsed.diagnostics);
  } catch (const toml::parse_error& error) {
    const auto& place = error.source().begin;
    parsed.diagnostics.push_back({DiagnosticKind::error, place.line, place.column,
                                  fmt::format("this is not TOML: {}", error.description())});
  }
  std::stable_sort(parsed.diagnostics.begin(), parsed.diagnostics.end(),
                   [](const Diagnostic& a, const Diagnostic& b) {
                     return std::pair(a.line, a.column) < std::pair(b.line, b.column);
                   });
  return parsed;
}

}  // namespace postern::policy
