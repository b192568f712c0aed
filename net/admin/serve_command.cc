#include <algorithm>
#include <csignal>
#include <cstdio>
#include <memory>
#include <optional>
#include <pthread.h>
#include <utility>

#include <fmt/format.h>

#include "net/admin/check_report.h"
#include "net/admin/commands.h"
#include "net/admin/control.h"
#include "net/admin/http_listener.h"
#include "net/admin/load_settings.h"
#include "net/server.h"

namespace postern::net {
namespace {

void print_problems(const std::string& config, const LoadedSettings& loaded, bool all) {
  if (!loaded.read_error.empty()) {
    fmt::print(stderr, "postern: {}\n", loaded.read_error);
    return;
  }
  std::vector<policy::Diagnostic> shown = loaded.diagnostics;
  if (!all) std::erase_if(shown, [](const auto& d) { return d.kind == policy::DiagnosticKind::note; });
  std::fputs(admin::diagnostics_text(config, shown).c_str(), stderr);
}

bool has_errors(const LoadedSettings& loaded) {
  return !loaded.settings || std::any_of(loaded.diagnostics.begin(), loaded.diagnostics.end(), [](const auto& d) {
           return d.kind == policy::DiagnosticKind::error;
         });
}

// A settings file with an error changes nothing; the log says what is wrong with it.
void reload(Server& server, const std::string& config) {
  server.reopen_log();
  LoadedSettings loaded = load_settings(config);
  if (!loaded.read_error.empty()) return server.log_line(core::Severity::error, "reload_failed", loaded.read_error);
  if (has_errors(loaded)) {
    for (const policy::Diagnostic& d : loaded.diagnostics) {
      if (d.kind == policy::DiagnosticKind::error) {
        server.log_line(core::Severity::error, "reload_failed", d.format(config));
      }
    }
    return;
  }
  if (const auto done = server.reload(std::move(*loaded.settings)); !done) {
    return server.log_line(core::Severity::error, "reload_failed", done.error().text);
  }
  server.log_line(core::Severity::info, "reloaded", config);
}

}  // namespace

int serve_command(const std::string& config) {
  LoadedSettings loaded = load_settings(config);
  print_problems(config, loaded, false);
  if (has_errors(loaded)) return 1;

  // Blocked before the first thread is made, so that all inherit it and sigwait has them to itself.
  sigset_t signals;
  sigemptyset(&signals);
  for (const int signal : {SIGTERM, SIGINT, SIGHUP}) sigaddset(&signals, signal);
  pthread_sigmask(SIG_BLOCK, &signals, nullptr);
  std::signal(SIGPIPE, SIG_IGN);

  const std::string socket = loaded.settings->admin.socket;
  const std::optional<core::Endpoint> http_address = loaded.settings->admin.http;
  auto server = Server::start(std::move(*loaded.settings));
  if (!server) {
    fmt::print(stderr, "postern: {}\n", server.error().text);
    return 1;
  }
  auto control = Control::start(**server, socket);
  if (!control) {
    fmt::print(stderr, "postern: {}\n", control.error().text);
    return 1;
  }
  std::unique_ptr<HttpListener> http;
  if (http_address) {
    auto started = HttpListener::start(**server, *http_address);
    if (!started) {
      fmt::print(stderr, "postern: {}\n", started.error().text);
      return 1;
    }
    http = std::move(*started);
  }
  (*server)->log_ready();

  for (;;) {
    int signal = 0;
    if (sigwait(&signals, &signal) != 0) continue;
    if (signal == SIGHUP) {
      reload(**server, config);
      continue;
    }
    (*server)->log_line(core::Severity::info, "stopping", signal == SIGTERM ? "SIGTERM" : "SIGINT");
    break;
  }
  control->reset();
  const bool in_time = (*server)->stop();
  // Monitors hear "draining" to the end; what the mail store reported meanwhile counts at the next start.
  http.reset();
  (*server)->save_logins(true);
  (*server)->log_line(in_time ? core::Severity::info : core::Severity::warning, "stopped",
                      in_time ? "everything ended in its own time"
                              : "the drain's time was over; what was under way is in the spool");
  if (!in_time) (*server)->abandon(0);
  return 0;
}

}  // namespace postern::net
