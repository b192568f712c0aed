// The settings file as typed values, with the defaults an operator gets by leaving a line out.
//
// Pure: parse_settings takes the file's text and gives Settings or diagnostics, each with line, column, what
// was expected, and the nearest valid name for an unknown key. Names are those of postern.example.toml
// (docs/settings.md). A key that exists in the product's plan but is not built yet is a clear error, never
// silently ignored.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "core/ip_address.h"

namespace postern::policy {

struct RelaySettings {
  bool require_auth = false;
  bool after_login = false;
  bool outside_lan = false;
  bool non_local_senders = true;
  bool always_from_enabled = false;
  std::vector<std::string> always_from;
  bool always_to_enabled = false;
  std::vector<std::string> always_to;
  bool login_counts_as_auth = false;
};

enum class TlsMode : std::uint8_t { none, starttls, implicit };

// [service.auth]. AUTH is offered on a service that lists mechanisms.
struct AuthSettings {
  bool scope_all = false;               // scope = "all": AUTH before any MAIL
  std::vector<std::string> mechanisms;  // SASL names in capitals, the server's preference first
  bool plain_on_lan = false;            // mechanisms that show the password, without TLS, for LAN clients
  bool own_sender = true;               // MAIL FROM must belong to the user
  bool own_header_from = false;         // ... and the header's From
  std::string client_ca;                // file: client certificates it signed log in by EXTERNAL
};

struct ServiceSettings {
  std::string name;
  std::vector<core::Endpoint> listen;
  TlsMode tls = TlsMode::none;
  bool submission = false;          // RFC 6409: fix-ups
  std::string submission_domain;    // completes addresses without a domain; default: the first local domain
  bool hide_client = false;         // the client's name and address stay out of Received
  bool proxy_protocol = false;
  bool reject_forged_local = true;
  bool exempt_authenticated = true;
  std::vector<std::string> access = {"any"};
  std::vector<std::string> blacklist;
  std::vector<std::string> whitelist;
  std::uint32_t errors = 20;    // bad commands or refusals before 421; 0: no limit
  bool long_lines = false;      // text lines over 998 octets are taken as they are
  bool i_know_this_is_an_open_relay = false;
  RelaySettings relay;
  AuthSettings auth;
  std::uint32_t line = 0;  // where it stands in the file; 0: it came from no file
};

// [[mailbox]]: a listener of the POP3/IMAP front, and the mail store behind it.
enum class MailboxProtocol : std::uint8_t { pop3, imap };
struct MailboxSettings {
  std::string name;
  MailboxProtocol protocol = MailboxProtocol::pop3;
  std::vector<core::Endpoint> listen;
  TlsMode tls = TlsMode::none;
  core::Endpoint store;
  bool store_proxy_protocol = false;  // the store is told who connects by a PROXY header, else by XCLIENT or ID
  bool proxy_protocol = false;        // a balancer of proxy_from tells who connects
  bool plain_on_lan = false;          // logins that show the password, without TLS, for LAN clients
  char master_separator = 0;          // "user*master": such logins grant nothing; 0: there is none
  std::vector<std::string> access = {"any"};
  std::uint32_t errors = 10;          // bad commands and failed logins before goodbye; 0: no limit
  std::uint32_t idle_seconds = 2100;  // after the login
  std::uint32_t line = 0;
};

enum class NextHopProtocol : std::uint8_t { smtp, lmtp };
struct NextHop {
  NextHopProtocol protocol = NextHopProtocol::smtp;
  std::string host;  // a name or an address without brackets
  std::uint16_t port = 25;
  std::optional<core::IpAddress> address;  // set when `host` is an address
  bool operator==(const NextHop&) const = default;
};

// How mail to a route's next hops is encrypted (docs/delivery.md).
enum class HopTls : std::uint8_t {
  none,     // STARTTLS is never said
  may,      // where it works; a hop without it gets the mail in plain text
  encrypt,  // or not at all; any certificate will do
  verify,   // and the certificate is checked
};

struct RouteSettings {
  std::string domain;       // "example.net" exactly, ".example.net" its subdomains, "*" any
  std::vector<NextHop> to;  // tried in order
  bool by_mx = false;       // to = ["mx"]: the DNS names the hosts of each domain; `to` is empty
  std::uint16_t port = 25;  // of hosts found by MX
  HopTls tls = HopTls::may;
  std::string tls_ca;  // file: the authorities that `verify` believes; empty: the system's
  std::uint32_t connections = 20;
  std::uint32_t messages_per_connection = 1000;
  std::uint32_t line = 0;
};

// A certificate and the names it is for. A name may have an ECDSA and an RSA one.
struct CertificateSettings {
  std::vector<std::string> names;  // empty: those the certificate itself has
  std::string chain;               // file, PEM: the server's certificate first
  std::string key;                 // file, PEM
  std::uint32_t line = 0;
};

// Messages and recipients in an hour and a day; 0: no limit.
struct QuotaSettings {
  std::uint32_t messages_per_hour = 0;
  std::uint32_t messages_per_day = 0;
  std::uint32_t recipients_per_hour = 0;
  std::uint32_t recipients_per_day = 0;
  [[nodiscard]] bool any() const {
    return messages_per_hour + messages_per_day + recipients_per_hour + recipients_per_day != 0;
  }
};

struct Settings {
  std::string hostname;
  std::vector<std::string> local_domains;
  std::vector<core::IpPrefix> lan;
  std::string spool = "/var/spool/postern";
  std::string state = "/var/lib/postern";  // folder: bars, logins, a certificate made at the first start
  std::uint32_t workers = 0;  // 0: one a core
  std::vector<core::IpPrefix> proxy_from;
  std::vector<core::IpPrefix> xclient_from;
  std::string postmaster;  // default: postmaster@ the first local domain, or the host name

  struct Log {
    bool json = false;
    std::string to = "stderr";  // stderr | a file
  } log;
  struct Limits {
    std::uint32_t connections = 100000;
    std::uint64_t message_bytes = 52428800;
    std::uint32_t recipients = 1000;
    std::uint32_t idle_seconds = 300;
    std::uint32_t session_seconds = 3600;  // a whole session's limit
    std::uint32_t connections_per_machine = 200;
    std::uint64_t queue_messages = 1000000;
    std::uint64_t memory_bytes = 268435456;  // message bytes held in memory, all workers together
    std::uint32_t hops = 100;                // Received headers before "loop" (RFC 5321 section 6.3)
  } limits;
  struct Logins {
    std::uint32_t window_seconds = 300;
    std::uint32_t ipv6_prefix = 64;
    std::uint64_t machines = 1000000;
    std::vector<core::IpPrefix> feeds;  // who may report logins to admin.http
  } logins;
  struct Queue {
    std::vector<std::uint32_t> retry_seconds = {300,  600,  1200, 2400,
                                                4800, 9600, 14400};  // the last one repeats
    std::uint32_t lifetime_seconds = 5 * 86400;
    std::uint32_t drain_seconds = 30;  // SIGTERM: how long running sessions and deliveries may finish
  } queue;
  struct Dns {
    std::vector<core::Endpoint> servers;  // empty: those of /etc/resolv.conf
    std::uint32_t timeout_seconds = 3;    // of the first try; each round through the servers doubles it
    std::uint32_t tries = 3;              // at each server
    bool operator==(const Dns&) const = default;
  } dns;
  struct Admin {
    std::string socket = "/run/postern/control";
    std::optional<core::Endpoint> http;  // metrics, health, login feeds; none: no HTTP listener
  } admin;

  struct Users {
    std::string store = "/var/lib/postern/users.db";  // SQLite; made when missing
    std::string dovecot;               // socket of Dovecot's auth service, instead of the store
    bool cram_md5 = false;             // keep CRAM-MD5 verifiers
    std::uint32_t hash_threads = 0;    // 0: one a core, at least two
    std::uint32_t hash_queue = 256;    // logins that may wait for a thread; more get 454
    std::uint32_t cache_seconds = 300; // how long a proven password is remembered (as a keyed hash)
    std::uint32_t machines = 0;        // an account seen from more of them within an hour is held; 0: never
    bool hold_on_quota = false;        // an account that trips its quota is held
  } users;
  struct Tokens {  // OAUTHBEARER and XOAUTH2
    std::string keys;      // file: a JWKS document or a PEM public key
    std::string issuer;
    std::string audience;
    std::string user_claim = "email";
  } tokens;
  struct Guard {
    std::uint32_t failures = 10;  // 0: nobody is ever barred
    std::uint32_t within_seconds = 600;
    std::uint32_t bar_seconds = 900;
    std::uint32_t bar_max_seconds = 86400;
    std::uint32_t machines = 65536;  // table size
    std::vector<core::IpPrefix> never;
  } guard;
  struct Quotas {
    QuotaSettings user;     // per user, unless the user has limits of its own
    QuotaSettings machine;  // per client machine that is neither in the LAN nor authenticated
  } quota;

  std::vector<CertificateSettings> certificates;
  std::vector<ServiceSettings> services;
  std::vector<MailboxSettings> mailboxes;
  std::vector<RouteSettings> routes;
};

// Does a service or a mailbox speak TLS?
[[nodiscard]] bool uses_tls(const Settings& settings);

// The SASL mechanisms that [service.auth] mechanisms may name.
[[nodiscard]] bool is_known_mechanism(std::string_view name);

enum class DiagnosticKind : std::uint8_t { error, warning, note };

struct Diagnostic {
  DiagnosticKind kind = DiagnosticKind::error;
  std::uint32_t line = 0;  // 1-based; 0: the file as a whole
  std::uint32_t column = 0;
  std::string text;  // what is wrong, what was expected, how to mend it

  [[nodiscard]] std::string format(std::string_view file) const;  // "postern.toml:12:3: error: ..."
};

struct ParsedSettings {
  Settings settings;  // usable only when no diagnostic is an error
  std::vector<Diagnostic> diagnostics;
  [[nodiscard]] bool ok() const;
};

[[nodiscard]] ParsedSettings parse_settings(std::string_view text);

// A relay option that another one switches off: kept in the settings, without effect.
struct GreyedOption {
  std::string_view name;     // "outside_lan"
  bool set = false;          // it differs from its default, so that somebody may count on it
  std::string_view because;  // "require_auth is on"
};
[[nodiscard]] std::vector<GreyedOption> greyed_options(const ServiceSettings& service);

// Do these entries of `access` admit clients from anywhere in the Internet?
[[nodiscard]] bool admits_the_internet(const ServiceSettings& service);

// The checks on meaning: open relays (errors; warnings where the service says i_know_this_is_an_open_relay),
// ignored options (notes), risky ones (warnings). `own_networks`: the machine's own prefixes, to tell a LAN
// that is wider; empty: not checked.
[[nodiscard]] std::vector<Diagnostic> check_settings(const Settings& settings,
                                                     const std::vector<core::IpPrefix>& own_networks);

}  // namespace postern::policy
