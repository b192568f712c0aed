#include "net/admin/http_routes.h"

#include <algorithm>
#include <utility>

#include "net/admin/auth_policy.h"
#include "net/admin/metrics.h"
#include "net/clock_now.h"
#include "net/server.h"

namespace postern::net::admin {
namespace {

constexpr std::string_view kAuthPolicyPath = "/dovecot/auth-policy";
// Dovecot waits for two seconds, behind whatever asks the workers.
constexpr std::chrono::seconds kWorkerPatience(1);

HttpAnswer text(unsigned status, std::string_view what) {
  HttpAnswer answer;
  answer.status = status;
  answer.body = std::string(what) + "\n";
  return answer;
}

HttpAnswer json(std::string_view body) {
  HttpAnswer answer;
  answer.content_type = "application/json";
  answer.body = body;
  return answer;
}

HttpAnswer not_allowed(std::string_view methods) {
  HttpAnswer answer = text(405, "this method does nothing here");
  answer.allow = methods;
  return answer;
}

void log_refusal(Server& server, const char* event, const core::IpAddress& peer, std::string_view why) {
  server.with_log([&](core::LogRing& ring) {
    core::LogLine(ring, clock_now(), core::Severity::warning, event)
        .add("client", peer)
        .add("reason", why)
        .flood_key(peer.low() ^ peer.high() ^ 0x403);
  });
}

HttpAnswer metrics(Server& server) {
  const auto gathered = gather_metrics(server, kWorkerPatience);
  if (!gathered) return text(503, gathered.error().text);
  HttpAnswer answer;
  answer.content_type = "text/plain; version=0.0.4; charset=utf-8";
  answer.body = prometheus_text(*gathered);
  return answer;
}

HttpAnswer ready(Server& server) {
  const std::string why_not = why_not_ready(server, kWorkerPatience);
  return why_not.empty() ? text(200, "ready") : text(503, why_not);
}

// --- Dovecot -------------------------------------------------------------------------------------------------------

HttpAnswer check(Server& server, const AuthPolicyDecision& asked) {
  bool barred = false;
  if (policy::GuessGuard* guard = server.guard()) {
    server.with_snapshot([&](const Snapshot& snapshot) {
      barred = static_cast<bool>(guard->check_login(snapshot.guard, asked.user, asked.machine, clock_now()));
    });
  }
  return json(barred ? R"({"status":-1,"msg":"Too many failed logins, try again later"})" : R"({"status":0})");
}

void note_success(Server& server, const AuthPolicyDecision& reported) {
  policy::GuessGuard* guard = server.guard();
  if (guard == nullptr || reported.user.empty()) return;
  server.with_snapshot([&](const Snapshot& snapshot) {
    guard->record_success(snapshot.guard, reported.machine, reported.user, clock_now());
  });
}

void log_bar(Server& server, const policy::Bar& bar, const AuthPolicyDecision& reported) {
  const core::Time now = clock_now();
  server.with_log([&](core::LogRing& ring) {
    core::LogLine line(ring, now, core::Severity::warning, "barred");
    line.add("kind", policy::bar_kind_name(bar.kind));
    if (bar.kind == policy::BarKind::name) {
      line.add("user", reported.user);
    } else {
      line.add("network", policy::barred_network(bar.kind, reported.machine).text());
    }
    line.add("seconds", static_cast<std::uint64_t>(
                            std::max<std::int64_t>(0, bar.until_boot_seconds - now.boot_ns / core::kNanosecondsPerSecond)));
  });
}

void note_failure(Server& server, const AuthPolicyDecision& reported) {
  server.with_log([&](core::LogRing& ring) {
    core::LogLine(ring, clock_now(), core::Severity::info, "login_failed")
        .add("source", kLoginSourceNames[static_cast<std::size_t>(LoginSource::dovecot)])
        .add("client", reported.machine)
        .add("user", reported.user)
        .flood_key(reported.machine.low() ^ reported.machine.high() ^ 0x535);
  });
  policy::GuessGuard* guard = server.guard();
  if (guard == nullptr) return;
  policy::NewBars bars;
  server.with_snapshot([&](const Snapshot& snapshot) {
    bars = guard->record_failure(snapshot.guard, reported.machine, reported.user, clock_now());
  });
  for (const policy::Bar& bar : bars.made()) log_bar(server, bar, reported);
}

HttpAnswer auth_policy(Server& server, const HttpQuestion& question, std::span<char> body) {
  using Act = AuthPolicyDecision::Act;
  const AuthPolicyDecision decision = decide_auth_policy(question.command, body);
  switch (decision.act) {
    case Act::refuse:
      log_refusal(server, "feed_malformed", question.peer, decision.why);
      return text(400, decision.why);
    case Act::ignore:
      if (!decision.why.empty()) log_refusal(server, "feed_ignored", question.peer, decision.why);
      break;
    case Act::check:
      return check(server, decision);
    case Act::login:
      server.record_login(LoginSource::dovecot, decision.machine, decision.user);
      note_success(server, decision);
      break;
    case Act::success:
      note_success(server, decision);
      break;
    case Act::failure:
      note_failure(server, decision);
      break;
  }
  return json(R"({"status":0})");
}

// What is there for GET, and what is not there at all.
HttpAnswer page(Server& server, const HttpQuestion& question) {
  using Page = HttpAnswer (*)(Server&);
  constexpr std::pair<std::string_view, Page> kPages[] = {
      {"/healthz", [](Server&) { return text(200, "alive"); }}, {"/readyz", ready}, {"/metrics", metrics}};
  for (const auto& [path, make] : kPages) {
    if (question.path != path) continue;
    return question.method == "GET" || question.method == "HEAD" ? make(server) : not_allowed("GET, HEAD");
  }
  if (question.path == kAuthPolicyPath) return not_allowed("POST");
  return text(404, "there are /healthz, /readyz, /metrics, and /dovecot/auth-policy for POST");
}

bool is_auth_policy(const HttpQuestion& question) {
  return question.path == kAuthPolicyPath && question.method == "POST";
}

}  // namespace

bool is_feed(Server& server, const core::IpAddress& peer) {
  bool listed = false;
  server.with_snapshot([&](const Snapshot& snapshot) {
    const auto& feeds = snapshot.policy.settings().logins.feeds;
    listed = std::ranges::any_of(feeds, [&](const core::IpPrefix& feed) { return feed.contains(peer); });
  });
  return listed;
}

bool wants_http_body(Server& server, const HttpQuestion& question, HttpAnswer& refusal) {
  if (!is_auth_policy(question)) {
    refusal = page(server, question);
    return false;
  }
  if (!is_feed(server, question.peer)) {
    log_refusal(server, "feed_refused", question.peer, "not in logins.feeds");
    refusal = text(403, "logins.feeds does not name this address");
    return false;
  }
  return true;
}

HttpAnswer answer_http(Server& server, const HttpQuestion& question, std::span<char> body) {
  HttpAnswer refusal;
  return wants_http_body(server, question, refusal) ? auth_policy(server, question, body) : refusal;
}

}  // namespace postern::net::admin
