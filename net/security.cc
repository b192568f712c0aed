#include "net/security.h"

#include <algorithm>
#include <cerrno>
#include <fcntl.h>
#include <map>
#include <string_view>
#include <utility>

#include <fmt/format.h>

#include "core/files.h"
#include "net/state_files.h"

namespace postern::net {
namespace {

constexpr std::uint64_t kKeysBytesMax = 1 << 20;
constexpr std::string_view kNoAuthorities =
    "tls = \"verify\" of a route needs authorities to believe, and the system has none: install ca-certificates, or name a "
    "file with 'tls_ca'";

core::Result<sasl::JwtKeys> load_token_keys(const policy::Settings::Tokens& tokens) {
  const auto text = read_file(tokens.keys, kKeysBytesMax);
  if (!text) return std::unexpected(text.error());
  sasl::JwtSettings settings;
  settings.issuer = tokens.issuer;
  settings.audience = tokens.audience;
  settings.user_claim = tokens.user_claim;
  auto keys = sasl::JwtKeys::load(*text, std::move(settings));
  if (!keys) return core::fail(tokens.keys + ": " + keys.error().text);
  return keys;
}

// In the order that tls_index_of() counts on.
std::vector<tls::ServiceRules> service_rules(const policy::Settings& settings) {
  std::vector<tls::ServiceRules> rules;
  for (const policy::ServiceSettings& service : settings.services) {
    const bool external = std::find(service.auth.mechanisms.begin(), service.auth.mechanisms.end(), "EXTERNAL") !=
                          service.auth.mechanisms.end();
    rules.push_back({service.name, external ? service.auth.client_ca : std::string(), tls::Speaks::smtp});
  }
  for (const policy::MailboxSettings& mailbox : settings.mailboxes) {
    const bool is_pop3 = mailbox.protocol == policy::MailboxProtocol::pop3;
    rules.push_back({mailbox.name, {}, is_pop3 ? tls::Speaks::pop3 : tls::Speaks::imap});
  }
  return rules;
}

// The certificate of a server that nobody gave one.
tls::CertificateFiles self_signed_files(const policy::Settings& settings) {
  return {{settings.hostname}, settings.state + "/tls/self-signed.pem", settings.state + "/tls/self-signed.key"};
}

core::Result<tls::Certificate> load_or_make_self_signed(const policy::Settings& settings, std::int64_t unix_now,
                                                        std::vector<std::string>& notes) {
  const tls::CertificateFiles files = self_signed_files(settings);
  auto loaded = tls::Certificate::load(files);
  if (loaded || loaded.error().code != ENOENT) return loaded;
  if (auto made = core::files::make_directory(settings.state); !made) return std::unexpected(made.error());
  auto made = tls::make_self_signed(files.names, files.chain, files.key, unix_now);
  if (!made) return std::unexpected(made.error());
  notes.push_back(fmt::format("no [[certificate]] is configured: made a self-signed one for {} in {}; mail programs will ask "
                              "their users whether to trust it",
                              settings.hostname, files.chain));
  return tls::Certificate::load(files);
}

// By route. Routes that believe the same authorities share a context, as those that believe anybody do.
core::Result<void> load_hop_tls(const policy::Settings& settings, SecurityParts& parts) {
  std::map<std::string, std::shared_ptr<const tls::ClientContext>> made;
  for (const policy::RouteSettings& route : settings.routes) {
    parts.hop_tls.emplace_back();
    if (route.tls == policy::HopTls::none) continue;
    std::string authorities;
    if (route.tls == policy::HopTls::verify) {
      authorities = route.tls_ca.empty() ? tls::ClientContext::system_authorities() : route.tls_ca;
      if (authorities.empty()) return core::fail(std::string(kNoAuthorities));
    }
    auto& context = made[authorities];
    if (context == nullptr) {
      auto fresh = tls::ClientContext::make(authorities);
      if (!fresh) return std::unexpected(fresh.error());
      context = std::move(*fresh);
    }
    parts.hop_tls.back() = context;
  }
  return {};
}

}  // namespace

core::Result<SecurityParts> load_security(const policy::Settings& settings, tls::TicketKeys& tickets,
                                          std::int64_t unix_now, std::vector<std::string>& notes) {
  SecurityParts parts;
  if (!settings.tokens.keys.empty()) {
    auto keys = load_token_keys(settings.tokens);
    if (!keys) return std::unexpected(keys.error());
    parts.token_keys.emplace(std::move(*keys));
  }
  if (const auto loaded = load_hop_tls(settings, parts); !loaded) return std::unexpected(loaded.error());
  if (!policy::uses_tls(settings)) return parts;
  std::vector<tls::Certificate> certificates;
  for (const policy::CertificateSettings& each : settings.certificates) {
    auto certificate = tls::Certificate::load({each.names, each.chain, each.key});
    if (!certificate) return std::unexpected(certificate.error());
    certificates.push_back(std::move(*certificate));
  }
  if (certificates.empty()) {
    auto made = load_or_make_self_signed(settings, unix_now, notes);
    if (!made) return std::unexpected(made.error());
    certificates.push_back(std::move(*made));
  } else {
    for (const tls::Certificate& certificate : certificates) {
      for (const tls::Finding& finding : tls::inspect(certificate, unix_now)) notes.push_back(finding.text);
    }
  }
  auto contexts = tls::ServerContexts::make(std::move(certificates), service_rules(settings), tickets);
  if (!contexts) return std::unexpected(contexts.error());
  parts.tls.emplace(std::move(*contexts));
  return parts;
}

std::vector<policy::Diagnostic> check_security(const policy::Settings& settings, std::int64_t unix_now) {
  using policy::DiagnosticKind;
  std::vector<policy::Diagnostic> found;
  if (!settings.tokens.keys.empty()) {
    if (const auto keys = load_token_keys(settings.tokens); !keys) {
      found.push_back({DiagnosticKind::error, 0, 0, "[tokens]: " + keys.error().text});
    }
  }
  for (const policy::RouteSettings& route : settings.routes) {
    if (route.tls != policy::HopTls::verify) continue;
    const std::string authorities = route.tls_ca.empty() ? tls::ClientContext::system_authorities() : route.tls_ca;
    if (authorities.empty()) {
      found.push_back({DiagnosticKind::error, route.line, 1, std::string(kNoAuthorities)});
    } else if (const auto context = tls::ClientContext::make(authorities); !context) {
      found.push_back({DiagnosticKind::error, route.line, 1, "[[route]]: " + context.error().text});
    }
  }
  std::vector<tls::Certificate> certificates;
  for (const policy::CertificateSettings& each : settings.certificates) {
    auto certificate = tls::Certificate::load({each.names, each.chain, each.key});
    if (!certificate) {
      found.push_back({DiagnosticKind::error, each.line, 1, "[[certificate]]: " + certificate.error().text});
      continue;
    }
    for (const tls::Finding& finding : tls::inspect(*certificate, unix_now)) {
      // A certificate that some client refuses is no reason to refuse to start: mail must go on while it is renewed.
      found.push_back({DiagnosticKind::warning, each.line, 1, "[[certificate]]: " + finding.text});
    }
    certificates.push_back(std::move(*certificate));
  }
  if (policy::uses_tls(settings) && settings.certificates.empty()) {
    found.push_back({DiagnosticKind::warning, 0, 0,
                     fmt::format("TLS without a [[certificate]]: the server makes itself a self-signed one in {}/tls, which "
                                 "mail programs do not trust",
                                 settings.state)});
    for (const tls::ServiceRules& rules : service_rules(settings)) {
      if (const auto known = tls::check_client_authorities(rules); !known) {
        found.push_back({DiagnosticKind::error, 0, 0, known.error().text});
      }
    }
  }
  if (!certificates.empty()) {
    tls::TicketKeys tickets;
    const auto contexts = tls::ServerContexts::make(std::move(certificates), service_rules(settings), tickets);
    if (!contexts) found.push_back({DiagnosticKind::error, 0, 0, contexts.error().text});
  }
  return found;
}

}  // namespace postern::net
