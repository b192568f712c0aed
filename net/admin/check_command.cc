#include <algorithm>
#include <cstdio>
#include <vector>

#include <fmt/format.h>

#include "core/files.h"
#include "core/ring.h"
#include "net/admin/check_report.h"
#include "net/admin/commands.h"
#include "net/admin/explain_report.h"
#include "net/admin/load_settings.h"
#include "net/clock_now.h"
#include "net/security.h"
#include "net/smtp/address.h"
#include "net/worker_server.h"
#include "policy/policy_snapshot.h"

namespace postern::net {
namespace {

// Measured: docs/tls.md. An SSL of BoringSSL and what we keep beside it; buffers come out of the session pool.
constexpr std::uint64_t kTlsBytesPerConnection = 8192;
// A live bar, two failures and four known logins (guess_guard.h).
constexpr std::uint64_t kGuardBytesPerMachine = 248;

std::vector<admin::MemoryBound> memory_bounds(const policy::Settings& settings) {
  const core::RingOptions ring;
  const std::uint64_t workers = settings.workers != 0 ? settings.workers : 1;
  const std::uint64_t connections = settings.limits.connections;
  return {
      {"client connections (limits.connections)", connections * sizeof(Inbound)},
      {"POP3/IMAP connections (limits.connections)", settings.mailboxes.empty() ? 0 : connections * sizeof(Front)},
      {"messages in memory (limits.memory_bytes)", settings.limits.memory_bytes},
      {"queue (limits.queue_messages)", settings.limits.queue_messages * MessageQueue::kBytesPerMessage},
      {"login table (logins.machines)", settings.logins.machines * 16},
      {"guess guard (guard.machines)", settings.guard.machines * kGuardBytesPerMachine},
      {"TLS of client connections (limits.connections)", policy::uses_tls(settings) ? connections * kTlsBytesPerConnection : 0},
      {"receive buffers, a worker", workers * ring.buffer_count * ring.buffer_bytes},
      {"spool commit buffers, a worker", workers * WorkerServer::spool_buffer_bytes()},
      {"session replies and envelopes, a worker", workers * WorkerServer::session_pool_bytes()},
      {"POP3/IMAP logins and octets under way, a worker", settings.mailboxes.empty() ? 0 : workers * Fronts::pool_bytes()},
  };
}

}  // namespace

int check_command(const std::string& config) {
  LoadedSettings loaded = load_settings(config);
  if (!loaded.read_error.empty()) {
    fmt::print(stderr, "postern: {}\n", loaded.read_error);
    return 1;
  }
  if (loaded.settings) {
    const auto found = check_security(*loaded.settings, clock_now().unix_ns / core::kNanosecondsPerSecond);
    loaded.diagnostics.insert(loaded.diagnostics.end(), found.begin(), found.end());
  }
  const bool wrong = std::any_of(loaded.diagnostics.begin(), loaded.diagnostics.end(),
                                 [](const auto& d) { return d.kind == policy::DiagnosticKind::error; });
  if (!loaded.settings) {
    std::fputs(admin::diagnostics_text(config, loaded.diagnostics).c_str(), stderr);
    return 1;
  }
  const auto bounds = memory_bounds(*loaded.settings);
  std::fputs(admin::check_report(config, *loaded.settings, loaded.diagnostics, bounds).c_str(), stdout);
  if (const auto system = core::files::file_system(loaded.settings->spool)) {
    fmt::print("spool      {} on {}{}\n", loaded.settings->spool, *system,
               *system == "btrfs" || *system == "zfs"
                   ? ": it never writes in place, so prewritten segments gain nothing there; ext4 or xfs is faster"
                   : "");
  } else {
    fmt::print("spool      {} is not there yet; 'postern serve' makes it\n", loaded.settings->spool);
  }
  return wrong ? 1 : 0;
}

int explain_command(const ExplainArguments& arguments) {
  const LoadedSettings loaded = load_settings(arguments.config);
  if (!loaded.read_error.empty() || !loaded.settings) {
    const std::string text = loaded.read_error.empty() ? admin::diagnostics_text(arguments.config, loaded.diagnostics)
                                                       : "postern: " + loaded.read_error + "\n";
    std::fputs(text.c_str(), stderr);
    return 1;
  }
  const policy::PolicySnapshot snapshot(*loaded.settings);
  admin::ExplainQuestion question;
  const auto& services = snapshot.settings().services;
  const auto service = std::find_if(services.begin(), services.end(),
                                    [&](const auto& s) { return s.name == arguments.service; });
  if (service == services.end()) {
    std::string names;
    for (const auto& s : services) names += (names.empty() ? "" : ", ") + s.name;
    fmt::print(stderr, "postern: --service {}: there is no such service; there are {}\n", arguments.service, names);
    return 1;
  }
  question.service = static_cast<std::size_t>(service - services.begin());
  const auto client = core::IpAddress::parse(arguments.client);
  if (!client) {
    fmt::print(stderr, "postern: --client {}: not an IP address\n", arguments.client);
    return 1;
  }
  question.client.address = *client;
  question.client.user = arguments.user;
  question.client.authenticated = !arguments.user.empty();
  question.client.may_relay = question.client.authenticated && !arguments.no_privilege;
  question.has_login = arguments.has_login;
  const auto path_of = [](std::string text) { return text.starts_with('<') ? text : "<" + text + ">"; };
  const std::string from = path_of(arguments.from);
  const std::string to = path_of(arguments.to);
  const smtp::ParsedPath sender = smtp::parse_path(from, smtp::PathKind::reverse);
  const smtp::ParsedPath recipient = smtp::parse_path(to, smtp::PathKind::forward);
  if (sender.fault != smtp::PathFault::none || recipient.fault != smtp::PathFault::none) {
    const bool is_sender = sender.fault != smtp::PathFault::none;
    fmt::print(stderr, "postern: {} {}: {}\n", is_sender ? "--from" : "--to", is_sender ? from : to,
               smtp::describe(is_sender ? sender.fault : recipient.fault));
    return 1;
  }
  question.sender = sender.mailbox;
  question.recipient = recipient.mailbox;
  question.has_source_route = recipient.has_source_route;
  std::fputs(admin::explain_report(snapshot, question).text.c_str(), stdout);
  return 0;
}

}  // namespace postern::net
