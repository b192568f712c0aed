// [[certificate]], [users], [tokens], [guard], [quota], [service.auth]; see docs/settings.md for each key.
#include "policy/settings_users.h"

#include <algorithm>
#include <array>
#include <fmt/format.h>
#include <set>

#include "policy/address.h"
#include "policy/settings_reader.h"

namespace postern::policy {
namespace {

constexpr std::uint32_t kDay = 86400;
constexpr std::size_t kPathMax = 4000;
constexpr std::uint32_t kMany = 1'000'000'000;

// In the order in which they are offered when nothing else is asked for: the best first.
constexpr std::array<std::string_view, 10> kMechanisms = {
    "SCRAM-SHA-256-PLUS", "SCRAM-SHA-256", "SCRAM-SHA-1-PLUS", "SCRAM-SHA-1", "EXTERNAL",
    "OAUTHBEARER",        "XOAUTH2",       "CRAM-MD5",         "PLAIN",       "LOGIN"};

bool names_any(const ServiceSettings& service, std::initializer_list<std::string_view> wanted) {
  return std::any_of(service.auth.mechanisms.begin(), service.auth.mechanisms.end(), [&](const std::string& name) {
    return std::find(wanted.begin(), wanted.end(), name) != wanted.end();
  });
}

void read_certificates(TableReader& top, Settings& settings, std::vector<Diagnostic>& diagnostics) {
  for (const toml::table* table : top.tables("certificate")) {
    CertificateSettings certificate;
    certificate.line = table->source().begin.line;
    TableReader reader(*table, "[[certificate]]", diagnostics);
    std::vector<PlacedText> names;
    if (reader.texts("names", names, "\"mail.example.net\"")) {
      for (PlacedText& entry : names) {
        const bool wild = entry.text.starts_with("*.");
        const DomainName name(std::string_view(entry.text).substr(wild ? 2 : 0));
        if (name.empty()) {
          reader.error_at(entry.place, fmt::format("in 'names': '{}' is not a host name, such as \"mail.example.net\" or "
                                                   "\"*.example.net\"", entry.text));
        } else {
          certificate.names.push_back((wild ? "*." : "") + std::string(name.text()));
        }
      }
    }
    for (const std::string_view key : {"chain", "key"}) {
      std::string& path = key == "key" ? certificate.key : certificate.chain;
      read_path(reader, key, kPathMax, path);
      if (!reader.has(key)) {
        reader.error(key, fmt::format("a certificate needs '{0}', the file that holds it: {0} = \"/etc/postern/tls/mail.pem\"",
                                      key));
      }
    }
    reader.finish();
    settings.certificates.push_back(std::move(certificate));
  }
}

void read_users(const toml::table& table, Settings::Users& users, std::vector<Diagnostic>& diagnostics) {
  TableReader reader(table, "[users]", diagnostics);
  read_path(reader, "store", kPathMax, users.store);
  read_path(reader, "dovecot", 107, users.dovecot);
  if (reader.has("store") && reader.has("dovecot")) {
    reader.error("dovecot", "'store' and 'dovecot' exclude each other: users come from one of them");
  }
  reader.boolean("cram_md5", users.cram_md5);
  reader.number("hash_threads", 0, 256, users.hash_threads);
  reader.number("hash_queue", 1, 100'000, users.hash_queue);
  reader.number("cache_seconds", 0, kDay, users.cache_seconds);
  reader.number("machines", 0, 16, users.machines);
  reader.boolean("hold_on_quota", users.hold_on_quota);
  reader.finish();
}

void read_tokens(const toml::table& table, Settings::Tokens& tokens, std::vector<Diagnostic>& diagnostics) {
  TableReader reader(table, "[tokens]", diagnostics);
  read_path(reader, "keys", kPathMax, tokens.keys);
  (void)reader.text("issuer", tokens.issuer, "https://login.example.net/");
  (void)reader.text("audience", tokens.audience, "mail");
  (void)reader.text("user_claim", tokens.user_claim, "email");
  for (const std::string_view key : {"keys", "issuer", "audience"}) {
    if (!reader.has(key)) reader.error(key, fmt::format("[tokens] needs '{}': without it any token would do", key));
  }
  reader.finish();
}

void read_guard(const toml::table& table, Settings::Guard& guard, std::vector<Diagnostic>& diagnostics) {
  TableReader reader(table, "[guard]", diagnostics);
  reader.number("failures", 0, 100'000, guard.failures);
  reader.duration("within", 1, 7 * kDay, guard.within_seconds);
  reader.duration("bar", 1, 30 * kDay, guard.bar_seconds);
  reader.duration("bar_max", 1, 365 * kDay, guard.bar_max_seconds);
  if (guard.bar_max_seconds < guard.bar_seconds) {
    reader.error("bar_max", "'bar_max' is shorter than 'bar': the first bar would already be longer");
  }
  reader.number("machines", 1024, 100'000'000, guard.machines);
  reader.prefixes("never", guard.never);
  reader.finish();
}

void read_quota(const toml::table& table, std::string_view where, QuotaSettings& quota,
                std::vector<Diagnostic>& diagnostics) {
  TableReader reader(table, where, diagnostics);
  reader.number("messages_per_hour", 0, kMany, quota.messages_per_hour);
  reader.number("messages_per_day", 0, kMany, quota.messages_per_day);
  reader.number("recipients_per_hour", 0, kMany, quota.recipients_per_hour);
  reader.number("recipients_per_day", 0, kMany, quota.recipients_per_day);
  reader.finish();
}

void check_mechanisms(const Settings& settings, const ServiceSettings& service,
                      std::vector<Diagnostic>& diagnostics) {
  const auto error = [&](std::string text) {
    diagnostics.push_back({DiagnosticKind::error, service.line, 1, fmt::format("service '{}': {}", service.name, text)});
  };
  if (names_any(service, {"CRAM-MD5"}) && !settings.users.cram_md5) {
    error("CRAM-MD5 needs verifiers that are as good as the password: write cram_md5 = true in [users] to keep them, or take "
          "it out of 'mechanisms'");
  }
  if (names_any(service, {"OAUTHBEARER", "XOAUTH2"}) && settings.tokens.keys.empty()) {
    error("OAUTHBEARER and XOAUTH2 need [tokens] with keys, issuer and audience to check tokens with");
  }
  if (names_any(service, {"EXTERNAL"}) && (service.auth.client_ca.empty() || service.tls == TlsMode::none)) {
    error("EXTERNAL needs TLS, and 'client_ca', the file with the certificates that sign client certificates");
  }
  const bool beyond_plain = std::any_of(service.auth.mechanisms.begin(), service.auth.mechanisms.end(),
                                        [](const auto& name) { return name != "PLAIN" && name != "LOGIN"; });
  if (!settings.users.dovecot.empty() && beyond_plain) {
    error("Dovecot checks passwords and keeps its verifiers to itself: with users.dovecot a service offers PLAIN and LOGIN");
  }
  const bool plain_only = !service.auth.mechanisms.empty() && service.tls == TlsMode::none && !service.auth.plain_on_lan &&
                          std::all_of(service.auth.mechanisms.begin(), service.auth.mechanisms.end(), [](const auto& name) {
                            return name == "PLAIN" || name == "LOGIN" || name == "XOAUTH2" || name == "OAUTHBEARER";
                          });
  if (plain_only) error("every mechanism here shows the password, so none is offered without TLS: set 'tls' or plain_on_lan");
}

}  // namespace

bool is_known_mechanism(std::string_view name) {
  return std::find(kMechanisms.begin(), kMechanisms.end(), name) != kMechanisms.end();
}

void read_auth(const toml::table& table, AuthSettings& auth, std::vector<Diagnostic>& diagnostics) {
  TableReader reader(table, "[service.auth]", diagnostics);
  std::size_t scope = auth.scope_all ? 1 : 0;
  reader.choice("scope", {"relay", "all"}, scope);
  auth.scope_all = scope == 1;
  std::vector<PlacedText> names;
  if (reader.texts("mechanisms", names, R"("SCRAM-SHA-256", "PLAIN")")) {
    for (PlacedText& entry : names) {
      if (!is_known_mechanism(entry.text)) {
        reader.error_at(entry.place, fmt::format("in 'mechanisms': there is no \"{}\"; known are {}", entry.text,
                                                 fmt::join(kMechanisms, ", ")));
      } else if (std::find(auth.mechanisms.begin(), auth.mechanisms.end(), entry.text) != auth.mechanisms.end()) {
        reader.warning_at(entry.place, fmt::format("in 'mechanisms': {} is listed twice", entry.text));
      } else {
        auth.mechanisms.push_back(std::move(entry.text));
      }
    }
  }
  reader.boolean("plain_on_lan", auth.plain_on_lan);
  reader.boolean("own_sender", auth.own_sender);
  reader.boolean("own_header_from", auth.own_header_from);
  read_path(reader, "client_ca", kPathMax, auth.client_ca);
  reader.finish();
}

void read_user_tables(TableReader& top, Settings& settings, std::vector<Diagnostic>& diagnostics) {
  read_certificates(top, settings, diagnostics);
  if (const auto* table = top.table("users")) read_users(*table, settings.users, diagnostics);
  if (const auto* table = top.table("tokens")) read_tokens(*table, settings.tokens, diagnostics);
  if (const auto* table = top.table("guard")) read_guard(*table, settings.guard, diagnostics);
  if (const auto* table = top.table("quota")) {
    TableReader reader(*table, "[quota]", diagnostics);
    if (const auto* user = reader.table("user")) read_quota(*user, "[quota.user]", settings.quota.user, diagnostics);
    if (const auto* machine = reader.table("machine")) {
      read_quota(*machine, "[quota.machine]", settings.quota.machine, diagnostics);
    }
    reader.finish();
  }
}

void check_user_tables(const Settings& settings, std::vector<Diagnostic>& diagnostics) {
  for (const ServiceSettings& service : settings.services) check_mechanisms(settings, service, diagnostics);
}

}  // namespace postern::policy
