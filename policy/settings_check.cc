// check_settings: what the settings mean, and what an operator may not have meant. RELAY rows by number:
// docs/relay-decision.md.
//
// Pure; cold. Errors are open relays and nothing else: whatever is wrong in form was found by parse_settings.
#include <algorithm>
#include <cstdint>
#include <fmt/format.h>
#include <utility>

#include "policy/address_list.h"
#include "policy/name_map.h"
#include "policy/policy_snapshot.h"
#include "policy/settings.h"

namespace postern::policy {
namespace {

constexpr std::uint8_t kMappedBits = 96;
constexpr std::uint64_t kGlobalUnicast = 0x2000000000000000u;  // 2000::/3, RFC 4291 section 2.4

bool is_v4(const core::IpPrefix& prefix) {
  return prefix.bits >= kMappedBits && prefix.address.is_v4();
}

// Do the ranges, taken together, cover all from `first` to `last`?
bool cover(std::vector<std::pair<std::uint64_t, std::uint64_t>> ranges, std::uint64_t first,
           std::uint64_t last) {
  std::sort(ranges.begin(), ranges.end());
  std::uint64_t next = first;
  for (const auto& [begin, end] : ranges) {
    if (end < next) continue;
    if (begin > next) return false;
    if (end >= last) return true;
    next = end + 1;
  }
  return false;
}

// Everybody, in one piece ("0.0.0.0/0", "::/0", "2000::/3") or in several ("0.0.0.0/1" and "128.0.0.0/1").
// IPv6 is judged by networks: the first 64 bits.
bool covers_a_family(const std::vector<core::IpPrefix>& prefixes) {
  std::vector<std::pair<std::uint64_t, std::uint64_t>> v4;
  std::vector<std::pair<std::uint64_t, std::uint64_t>> v6;
  for (const core::IpPrefix& prefix : prefixes) {
    if (is_v4(prefix)) {
      const std::uint64_t first = prefix.address.v4();
      v4.emplace_back(first, first | std::uint64_t{0xffffffff} >> (prefix.bits - kMappedBits));
    } else if (prefix.bits <= 64) {
      const std::uint64_t first = prefix.address.high();
      v6.emplace_back(first, prefix.bits == 0 ? ~std::uint64_t{0}
                                              : first | ((std::uint64_t{1} << (64 - prefix.bits)) - 1));
    }
  }
  return cover(std::move(v4), 0, 0xffffffffu) || cover(std::move(v6), kGlobalUnicast, 2 * kGlobalUnicast - 1);
}

std::vector<core::IpPrefix> prefixes_of(const std::vector<std::string>& entries) {
  std::vector<core::IpPrefix> prefixes;
  for (const std::string& text : entries) {
    const auto entry = AddressEntry::parse(text);
    if (entry && entry->kind == AddressEntryKind::prefix) prefixes.push_back(entry->prefix);
  }
  return prefixes;
}

class Checker {
 public:
  Checker(const Settings& settings, const std::vector<core::IpPrefix>& own_networks)
      : settings_(settings), own_networks_(own_networks) {}

  std::vector<Diagnostic> run() {
    for (const ServiceSettings& service : settings_.services) {
      check_open_relay(service);
      check_risks(service);
      check_without_effect(service);
    }
    for (const MailboxSettings& mailbox : settings_.mailboxes) check_mailbox(mailbox);
    check_feeds();
    check_lan();
    check_routes();
    return std::move(found_);
  }

 private:
  void add(DiagnosticKind kind, std::uint32_t line, std::string text) {
    found_.push_back({kind, line, line == 0 ? 0u : 1u, std::move(text)});
  }
  void add(DiagnosticKind kind, const ServiceSettings& service, const std::string& text) {
    add(kind, service.line, fmt::format("service '{}': {}", service.name, text));
  }
  // An error, unless the service says that it knows.
  void open_relay(const ServiceSettings& service, const std::string& text) {
    if (service.i_know_this_is_an_open_relay) {
      add(DiagnosticKind::warning, service, text + " (accepted: i_know_this_is_an_open_relay = true)");
    } else {
      add(DiagnosticKind::error, service,
          text + "; if that is really meant, say i_know_this_is_an_open_relay = true");
    }
  }

  void check_open_relay(const ServiceSettings& service) {
    const RelaySettings& relay = service.relay;
    if (!relay.require_auth && !relay.after_login && relay.outside_lan) {
      open_relay(service, relay.non_local_senders
                              ? "outside_lan lets everybody relay: this is an open relay (row 6)"
                              : "outside_lan lets everybody relay who forges a sender of ours: this is an "
                                "open relay (row 7)");
    }
    if (covers_a_family(settings_.lan)) {
      open_relay(
          service,
          "'lan' holds the whole Internet, so that every client counts as local: this is an open relay");
    }
    if (relay.always_from_enabled) check_always_from(service);
    if (relay.always_to_enabled && AddressList(relay.always_to).matches_any()) {
      open_relay(service, "\"*\" in always_to relays from everybody to everybody: this is an open relay");
    }
  }

  void check_always_from(const ServiceSettings& service) {
    if (covers_a_family(prefixes_of(service.relay.always_from))) {
      open_relay(service, "always_from holds the whole Internet: this is an open relay");
    }
    if (!admits_the_internet(service)) return;
    for (const std::string& text : service.relay.always_from) {
      const auto entry = AddressEntry::parse(text);
      if (!entry || entry->kind == AddressEntryKind::prefix) continue;
      open_relay(
          service,
          fmt::format("'{}' in always_from is a sender, which anybody can forge, and 'access' admits the "
                      "whole Internet: this is an open relay",
                      text));
    }
  }

  void check_risks(const ServiceSettings& service) {
    const bool port_25 = std::any_of(service.listen.begin(), service.listen.end(),
                                     [](const core::Endpoint& endpoint) { return endpoint.port == 25; });
    if (service.relay.require_auth && port_25) {
      add(DiagnosticKind::warning, service,
          "require_auth on port 25: other servers deliver here and never log in; they still reach local "
          "domains, but hosts "
          "of the LAN can no longer relay. Port 587 is the place for it (RFC 6409)");
    }
    if ((service.relay.require_auth || service.auth.scope_all) && service.auth.mechanisms.empty()) {
      add(DiagnosticKind::warning, service,
          fmt::format(
              "{} asks for AUTH, and none is offered, as 'mechanisms' of [service.auth] names none: {}",
              service.auth.scope_all ? "scope = \"all\"" : "require_auth",
              service.auth.scope_all ? "nobody can send mail here" : "nobody can relay here by logging in"));
    }
    if (counts_logins(service)) check_login_sources(service);
    if (service.access.empty())
      add(DiagnosticKind::warning, service, "'access' is empty: nobody may connect");
  }

  // Does a POP3/IMAP login decide anything here?
  static bool counts_logins(const ServiceSettings& service) {
    return service.relay.after_login && (!service.relay.require_auth || service.relay.login_counts_as_auth);
  }

  // Whatever records logins by itself. The control socket is always there, and does only what somebody's script asks.
  [[nodiscard]] bool records_logins() const {
    return !settings_.mailboxes.empty() || (settings_.admin.http && !settings_.logins.feeds.empty());
  }

  void check_login_sources(const ServiceSettings& service) {
    if (!records_logins()) {
      add(DiagnosticKind::warning, service,
          fmt::format("after_login: nothing records POP3/IMAP logins but 'postern login add', so that {}. A [[mailbox]] "
                      "does, in front of the mail store; a store that reports them needs admin.http, and its address in "
                      "logins.feeds",
                      service.relay.require_auth ? "nobody relays by one" : "only clients in the LAN may relay"));
    }
    if (settings_.admin.http && covers_a_family(settings_.logins.feeds)) {
      open_relay(service,
                 "logins.feeds holds the whole Internet: whoever reaches admin.http may open after_login to any "
                 "machine: this is an open relay");
    }
  }

  void check_mailbox(const MailboxSettings& mailbox) {
    const auto warn = [&](std::string_view text) {
      add(DiagnosticKind::warning, mailbox.line, fmt::format("mailbox '{}': {}", mailbox.name, text));
    };
    if (mailbox.access.empty()) warn("'access' is empty: nobody may connect");
    if (mailbox.tls == TlsMode::none && !mailbox.plain_on_lan) {
      warn("without 'tls' no login that shows the password is taken, and few mail programs have another: set 'tls', or "
           "plain_on_lan for clients in the LAN");
    }
  }

  void check_feeds() {
    const auto& http = settings_.admin.http;
    if (!settings_.logins.feeds.empty() && !http) {
      add(DiagnosticKind::warning, 0,
          "logins.feeds says who may report logins, and there is no admin.http to report them to");
    }
    if (http && !http->address.is_loopback()) {
      add(DiagnosticKind::warning, 0,
          fmt::format("admin.http = \"{}\" answers the network without encryption: whoever reaches it reads the "
                      "metrics, and who can send from an address in logins.feeds reports logins. A loopback address, "
                      "or a network of its own, is the place for it",
                      http->text()));
    }
  }

  void check_without_effect(const ServiceSettings& service) {
    for (const GreyedOption& option : greyed_options(service)) {
      if (!option.set) continue;
      add(DiagnosticKind::note, service,
          fmt::format("{} is kept and does nothing: {}", option.name, option.because));
    }
    const auto unticked = [&](bool ticked, const std::vector<std::string>& list, std::string_view name) {
      if (ticked || list.empty()) return;
      add(DiagnosticKind::note, service,
          fmt::format("{0} has {1} {2} and does nothing: {0}_enabled is off", name, list.size(),
                      list.size() == 1 ? "entry" : "entries"));
    };
    unticked(service.relay.always_from_enabled, service.relay.always_from, "always_from");
    unticked(service.relay.always_to_enabled, service.relay.always_to, "always_to");
  }

  void check_lan() {
    if (own_networks_.empty()) return;
    for (const core::IpPrefix& prefix : settings_.lan) {
      const bool single_host = prefix.bits == 128;
      const bool loopback =
          is_v4(prefix) ? prefix.bits >= kMappedBits + 8 && prefix.address.bytes[12] == 127 : false;
      const bool within =
          std::any_of(own_networks_.begin(), own_networks_.end(), [&prefix](const core::IpPrefix& own) {
            return is_v4(own) == is_v4(prefix) && own.bits <= prefix.bits && own.contains(prefix.address);
          });
      if (single_host || loopback || within) continue;
      add(DiagnosticKind::warning, 0,
          fmt::format(
              "'lan' has {}, which is wider than this machine's own networks: every client in it may relay",
              prefix.text()));
    }
  }

  void check_routes() {
    if (settings_.routes.empty()) {
      add(DiagnosticKind::warning, 0, "there is no [[route]]: mail is taken in and never delivered");
      return;
    }
    const PolicySnapshot snapshot(settings_);
    for (const std::string& domain : settings_.local_domains) {
      const int route = snapshot.route(DomainName(domain));
      if (route >= 0 && settings_.routes[static_cast<std::size_t>(route)].by_mx) {
        add(DiagnosticKind::warning, settings_.routes[static_cast<std::size_t>(route)].line,
            fmt::format("the local domain '{}' goes by MX: where its MX is this server, its mail loops back and is bounced. "
                        "Give it a [[route]] to its mail store, such as to = [\"lmtp:127.0.0.1:24\"]",
                        domain));
      }
      if (route >= 0) continue;
      add(DiagnosticKind::warning, 0,
          fmt::format("no [[route]] takes the local domain '{}': its mail is taken in and never delivered",
                      domain));
    }
  }

  const Settings& settings_;
  const std::vector<core::IpPrefix>& own_networks_;
  std::vector<Diagnostic> found_;
};

}  // namespace

std::vector<GreyedOption> greyed_options(const ServiceSettings& service) {
  const RelaySettings& relay = service.relay;
  std::vector<GreyedOption> greyed;
  if (relay.require_auth && !relay.login_counts_as_auth) {
    greyed.push_back(
        {"after_login", relay.after_login, "require_auth is on and login_counts_as_auth is off"});
  }
  if (relay.require_auth || relay.after_login) {
    const std::string_view because = relay.require_auth ? "require_auth is on" : "after_login is on";
    greyed.push_back({"outside_lan", relay.outside_lan, because});
    greyed.push_back({"non_local_senders", !relay.non_local_senders, because});
  }
  if (!relay.require_auth || !relay.after_login) {
    greyed.push_back({"login_counts_as_auth", relay.login_counts_as_auth,
                      "it joins require_auth and after_login, and not both are on"});
  }
  if (!service.reject_forged_local) {
    greyed.push_back({"exempt_authenticated", !service.exempt_authenticated, "reject_forged_local is off"});
  }
  return greyed;
}

bool admits_the_internet(const ServiceSettings& service) {
  if (std::find(service.access.begin(), service.access.end(), "any") != service.access.end()) return true;
  const std::vector<core::IpPrefix> prefixes = prefixes_of(service.access);
  // A network this wide holds strangers, even if it is not everybody: no one owns half the Internet.
  const bool wide = std::any_of(prefixes.begin(), prefixes.end(), [](const core::IpPrefix& prefix) {
    return is_v4(prefix) ? prefix.bits < kMappedBits + 8 : prefix.bits < 16;
  });
  return wide || covers_a_family(prefixes);
}

std::vector<Diagnostic> check_settings(const Settings& settings,
                                       const std::vector<core::IpPrefix>& own_networks) {
  return Checker(settings, own_networks).run();
}

}  // namespace postern::policy
