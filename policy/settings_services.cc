// [[service]] with its [service.relay] and [service.auth], and [[route]]; see docs/settings.md for each key.
#include "policy/settings_services.h"

#include <algorithm>
#include <charconv>
#include <expected>
#include <fmt/format.h>
#include <map>
#include <set>
#include <utility>

#include "policy/address_list.h"
#include "policy/settings_listeners.h"
#include "policy/settings_reader.h"
#include "policy/settings_users.h"

namespace postern::policy {
namespace {

constexpr std::size_t kPathMax = 4000;

// What may stand in a list, beside addresses, domains and mail addresses.
enum class ListKind : std::uint8_t { names, names_and_any };

constexpr std::string_view kListExample =
    R"("192.0.2.1", "192.168.0.0/16", "example.net", "user@example.net")";

// Why the entry may not stand in such a list; empty: it may.
std::string entry_fault(const std::string& text, ListKind kind) {
  const auto entry = AddressEntry::parse(text);
  if (!entry) return entry.error();
  if (entry->kind == AddressEntryKind::any && kind == ListKind::names) return "'*' is not allowed here";
  return {};
}

// `ticked`: a list whose box is not ticked does nothing, so that a mistake in it is only worth a warning.
void read_list(TableReader& reader, std::string_view key, ListKind kind, bool ticked,
               std::vector<std::string>& list) {
  std::vector<PlacedText> read;
  if (!reader.texts(key, read, kListExample)) return;
  list.clear();
  for (PlacedText& entry : read) {
    const std::string fault = entry_fault(entry.text, kind);
    if (!fault.empty() && ticked) reader.error_at(entry.place, fmt::format("in '{}': {}", key, fault));
    if (!fault.empty() && !ticked) {
      reader.warning_at(entry.place, fmt::format("in '{}' (not ticked, so without effect): {}", key, fault));
    }
    list.push_back(std::move(entry.text));
  }
}

void read_relay(const toml::table& table, RelaySettings& relay, std::vector<Diagnostic>& diagnostics) {
  TableReader reader(table, "[service.relay]", diagnostics);
  reader.boolean("require_auth", relay.require_auth);
  reader.boolean("after_login", relay.after_login);
  reader.boolean("outside_lan", relay.outside_lan);
  reader.boolean("non_local_senders", relay.non_local_senders);
  reader.boolean("always_from_enabled", relay.always_from_enabled);
  read_list(reader, "always_from", ListKind::names, relay.always_from_enabled, relay.always_from);
  reader.boolean("always_to_enabled", relay.always_to_enabled);
  read_list(reader, "always_to", ListKind::names_and_any, relay.always_to_enabled, relay.always_to);
  reader.boolean("login_counts_as_auth", relay.login_counts_as_auth);
  reader.finish();
}

void read_submission(TableReader& reader, ServiceSettings& service) {
  reader.boolean("submission", service.submission);
  reader.boolean("hide_client", service.hide_client);
  std::string given;
  if (!reader.text("submission_domain", given, "example.net")) return;
  const DomainName name(given);
  if (name.empty()) {
    reader.error("submission_domain", fmt::format("'{}' is not a domain, such as \"example.net\"", given));
  }
  service.submission_domain = name.text();
}

ServiceSettings read_service(const toml::table& table, std::set<std::string>& names,
                             std::vector<Diagnostic>& diagnostics) {
  ServiceSettings service;
  service.line = table.source().begin.line;
  TableReader reader(table, "[[service]]", diagnostics);
  read_name(reader, "service", service.name, names);
  read_listen(reader, "service", R"("0.0.0.0:25", "[::]:25")", service.listen);
  service.tls = read_tls(reader);
  read_submission(reader, service);
  reader.not_built("dnsbl", "[]", "no list is asked yet");
  reader.boolean("proxy_protocol", service.proxy_protocol);
  reader.boolean("reject_forged_local", service.reject_forged_local);
  reader.boolean("exempt_authenticated", service.exempt_authenticated);
  read_access(reader, service.access);
  read_list(reader, "blacklist", ListKind::names, true, service.blacklist);
  read_list(reader, "whitelist", ListKind::names, true, service.whitelist);
  reader.number("errors", 0, 100000, service.errors);
  reader.boolean("long_lines", service.long_lines);
  reader.boolean("i_know_this_is_an_open_relay", service.i_know_this_is_an_open_relay);
  if (const auto* relay = reader.table("relay")) read_relay(*relay, service.relay, diagnostics);
  if (const auto* auth = reader.table("auth")) read_auth(*auth, service.auth, diagnostics);
  reader.finish();
  return service;
}

std::expected<NextHop, std::string> parse_next_hop(std::string_view text) {
  const std::string shown(text);
  const auto refuse = [&shown](std::string_view why) {
    return std::unexpected(fmt::format(
        "'{}' {}; expected \"smtp:host:25\", \"lmtp:127.0.0.1:24\", \"smtp:[::1]:25\" or \"mx\"", shown, why));
  };
  NextHop hop;
  if (text.starts_with("lmtp:")) hop.protocol = NextHopProtocol::lmtp;
  if (text.starts_with("lmtp:") || text.starts_with("smtp:")) text.remove_prefix(5);
  const std::size_t bracket = text.rfind(']');
  const std::size_t colon = text.rfind(':');
  const bool has_port =
      colon != std::string_view::npos && (bracket == std::string_view::npos || colon > bracket);
  std::string_view host = text.substr(0, has_port ? colon : text.size());
  if (has_port) {
    const std::string_view digits = text.substr(colon + 1);
    const auto [end, error] = std::from_chars(digits.data(), digits.data() + digits.size(), hop.port);
    if (error != std::errc() || end != digits.data() + digits.size() || hop.port == 0) {
      return refuse("has no port from 1 to 65535 behind its last colon");
    }
  } else {
    return refuse("has no port");
  }
  const bool bracketed = host.size() > 2 && host.front() == '[' && host.back() == ']';
  if (bracketed) host = host.substr(1, host.size() - 2);
  hop.address = core::IpAddress::parse(host);
  if (bracketed != (host.find(':') != std::string_view::npos) || (bracketed && !hop.address)) {
    return refuse("has a bad host: IPv6 addresses, and only they, stand in brackets");
  }
  if (!hop.address) {
    const bool numeric = host.find_first_not_of("0123456789.") == std::string_view::npos;
    if (numeric || DomainName(host).empty()) return refuse("has neither an address nor a host name");
  }
  hop.host = hop.address ? std::string(host) : std::string(DomainName(host).text());
  return hop;
}

void read_next_hops(TableReader& reader, RouteSettings& route) {
  std::vector<NextHop>& to = route.to;
  std::vector<PlacedText> read;
  if (!reader.texts("to", read, R"("smtp:smarthost.example.org:25")")) {
    if (!reader.has("to"))
      reader.error("to", "a route needs 'to', such as to = [\"smtp:smarthost.example.org:25\"]");
    return;
  }
  if (read.empty()) reader.error("to", "'to' is empty: the route leads nowhere");
  for (const PlacedText& entry : read) {
    if (entry.text == "mx") {
      route.by_mx = true;
      if (read.size() > 1) {
        reader.error_at(entry.place, "in 'to': \"mx\" stands alone: the hosts of a domain are those that the DNS names");
      }
    } else if (auto hop = parse_next_hop(entry.text)) {
      to.push_back(*std::move(hop));
    } else {
      reader.error_at(entry.place, fmt::format("in 'to': {}", hop.error()));
    }
  }
}

// Normalises the domain, so that two ways to write it are one.
void read_route_domain(TableReader& reader, std::string& domain) {
  std::string given;
  if (!reader.text("domain", given, "example.net")) {
    if (!reader.has("domain"))
      reader.error("domain", "a route needs a 'domain': \"example.net\", \".example.net\" or \"*\"");
    return;
  }
  domain = given;
  if (given == "*") return;
  const bool below = given.starts_with('.');
  const DomainName name(std::string_view(given).substr(below ? 1 : 0));
  if (name.empty()) {
    reader.error(
        "domain",
        fmt::format("'{}' is not a domain; expected \"example.net\", \".example.net\" (those below it) "
                    "or \"*\" (all)",
                    given));
    return;
  }
  domain = (below ? "." : "") + std::string(name.text());
}

}  // namespace

void read_services(const std::vector<const toml::table*>& tables, Settings& settings,
                   std::vector<Diagnostic>& diagnostics) {
  std::set<std::string> names;
  std::map<core::Endpoint, std::string> taken;
  for (const toml::table* table : tables) {
    ServiceSettings service = read_service(*table, names, diagnostics);
    TableReader reader(*table, "[[service]]", diagnostics);
    for (const core::Endpoint& endpoint : service.listen) {
      if (endpoint.port == 0) continue;  // the system picks a free one for each
      const auto [other, fresh] = taken.emplace(endpoint, service.name);
      if (!fresh) {
        reader.error("listen", fmt::format("{} is listened on twice: by '{}' and by '{}'", endpoint.text(),
                                           other->second, service.name));
      }
    }
    if (service.proxy_protocol && settings.proxy_from.empty()) {
      reader.error("proxy_protocol",
                   fmt::format("service '{}' expects the PROXY protocol, but 'proxy_from' names no balancer "
                               "to believe",
                               service.name));
    }
    settings.services.push_back(std::move(service));
  }
}

void read_hop_tls(TableReader& reader, RouteSettings& route) {
  auto mode = static_cast<std::size_t>(route.tls);
  reader.choice("tls", {"none", "may", "encrypt", "verify", "dane", "mta-sts"}, mode);
  if (mode > static_cast<std::size_t>(HopTls::verify)) {
    reader.error("tls", fmt::format("tls = \"{}\" is not available in this version; \"verify\" checks "
                                    "the certificate of the next hop by its name", mode == 4 ? "dane" : "mta-sts"));
  } else {
    route.tls = static_cast<HopTls>(mode);
  }
  read_path(reader, "tls_ca", kPathMax, route.tls_ca);
  if (!route.tls_ca.empty() && mode < static_cast<std::size_t>(HopTls::verify)) {
    reader.error("tls_ca", "nothing checks a certificate here: 'tls_ca' needs tls = \"verify\"");
  }
}

void read_routes(const std::vector<const toml::table*>& tables, Settings& settings,
                 std::vector<Diagnostic>& diagnostics) {
  std::map<std::string, std::uint32_t> seen;
  for (const toml::table* table : tables) {
    RouteSettings route;
    route.line = table->source().begin.line;
    TableReader reader(*table, "[[route]]", diagnostics);
    read_route_domain(reader, route.domain);
    read_next_hops(reader, route);
    reader.number("port", 1, 65535, route.port);
    if (reader.has("port") && !route.by_mx) {
      reader.error("port", "'port' belongs to to = [\"mx\"]; the port of a named hop stands behind its colon");
    }
    read_hop_tls(reader, route);
    reader.number("connections", 1, 10000, route.connections);
    reader.number("messages_per_connection", 1, 1000000, route.messages_per_connection);
    reader.finish();
    if (!route.domain.empty()) {
      if (seen.contains("*")) {
        reader.error(
            "domain",
            fmt::format("the route \"*\" in line {} takes every domain, so this one is never reached: move "
                        "\"*\" to the end",
                        seen["*"]));
      } else if (!seen.emplace(route.domain, route.line).second) {
        reader.error("domain", fmt::format("the route in line {} takes '{}' already", seen[route.domain],
                                           route.domain));
      }
    }
    settings.routes.push_back(std::move(route));
  }
}

}  // namespace postern::policy
