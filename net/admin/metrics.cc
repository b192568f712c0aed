#include "net/admin/metrics.h"

#include <algorithm>
#include <iterator>
#include <utility>

#include <fmt/format.h>

#include "net/clock_now.h"
#include "net/server.h"
#include "net/version.h"

namespace postern::net::admin {
namespace {

// What is now, by the words of the list in counters.h.
bool tells_a_state(std::string_view help) { return help.ends_with(" now"); }

class Sums {
 public:
  void add(std::string_view name, std::string_view help, std::uint64_t value) {
    const auto found = std::ranges::find(metrics_, name, &Metric::name);
    if (found != metrics_.end()) {
      found->value += value;
    } else {
      metrics_.push_back({name, help, tells_a_state(help), {}, {}, value});
    }
  }
  std::vector<Metric> take() { return std::move(metrics_); }

 private:
  std::vector<Metric> metrics_;
};

void add_spool(Sums& sums, const core::Spool& spool) {
  const core::SpoolCounters& counters = spool.counters();
  sums.add("spool_commits", "writes to the spool, each with all that was ready", counters.commits);
  sums.add("spool_commit_bytes", "octets in them", counters.commit_bytes);
  sums.add("spool_items_moved", "messages moved to free their segment", counters.items_moved);
  sums.add("spool_write_errors", "writes to the spool that failed", counters.write_errors);
  sums.add("spool_segments_in_use", "segments that hold messages now", counters.segments_in_use);
  sums.add("spool_segments_free", "prewritten segments that wait now", counters.segments_free);
}

void add_guard(std::vector<Metric>& metrics, const policy::GuessGuard& guard) {
  const policy::GuessGuard::Counters counters = guard.counters();
  std::uint64_t made = 0;
  for (const std::uint64_t each : counters.bars_made) made += each;
  metrics.push_back({"guard_failures", "failed logins that were counted", false, {}, {}, counters.failures});
  metrics.push_back({"guard_bars_made", "bars made for guessing passwords", false, {}, {}, made});
  metrics.push_back({"guard_bars_in_overflow", "bars that found no room", false, {}, {}, counters.bars_in_overflow});
  metrics.push_back({"guard_failures_forgotten", "failures forgotten because there were too many", false, {}, {},
                     counters.failures_forgotten});
}

void add_logins(std::vector<Metric>& metrics, Server& server) {
  for (std::size_t source = 0; source < kLoginSourceNames.size(); ++source) {
    metrics.push_back({"logins_recorded", "POP3/IMAP logins recorded for after_login", false, "source",
                       std::string(kLoginSourceNames[source]),
                       server.login_records().recorded(static_cast<LoginSource>(source))});
  }
  metrics.push_back({"logins_evicted", "live logins pushed out of a full table", false, {}, {},
                     server.logins().evictions()});
}

}  // namespace

core::Result<std::vector<Metric>> gather_metrics(Server& server, std::chrono::seconds patience) {
  Sums sums;
  for (std::size_t worker = 0; worker < server.workers(); ++worker) {
    // Shared with the call, which may run after we have given up on it.
    const auto seen = std::make_shared<Sums>();
    const bool answered = server.on_worker(
        worker,
        [seen](WorkerServer& w) {
          w.counters().each([&](std::string_view name, std::string_view help, std::uint64_t value) {
            seen->add(name, help, value);
          });
          add_spool(*seen, w.spool());
        },
        patience);
    if (!answered) return core::fail(fmt::format("worker {} does not answer", worker));
    for (const Metric& metric : seen->take()) sums.add(metric.name, metric.help, metric.value);
  }
  std::vector<Metric> metrics = sums.take();
  if (server.guard() != nullptr) add_guard(metrics, *server.guard());
  add_logins(metrics, server);
  metrics.push_back({"build_info", "always 1; its label tells the version", true, "version", kVersion, 1});
  return metrics;
}

std::string prometheus_text(std::span<const Metric> metrics) {
  std::string out;
  std::string_view last;
  for (const Metric& metric : metrics) {
    const std::string name = fmt::format("postern_{}{}", metric.name, metric.is_gauge ? "" : "_total");
    if (metric.name != last) {
      fmt::format_to(std::back_inserter(out), "# HELP {} {}\n# TYPE {} {}\n", name, metric.help, name,
                     metric.is_gauge ? "gauge" : "counter");
    }
    last = metric.name;
    out += name;
    if (!metric.label_name.empty()) fmt::format_to(std::back_inserter(out), "{{{}=\"{}\"}}", metric.label_name, metric.label);
    fmt::format_to(std::back_inserter(out), " {}\n", metric.value);
  }
  return out;
}

std::string why_not_ready(Server& server, std::chrono::seconds patience) {
  if (server.is_draining()) return "draining";
  for (std::size_t worker = 0; worker < server.workers(); ++worker) {
    const auto healthy = std::make_shared<std::atomic<bool>>(false);
    const auto ask = [healthy](WorkerServer& w) { healthy->store(w.spool().healthy()); };
    if (!server.on_worker(worker, ask, patience)) return fmt::format("worker {} does not answer", worker);
    if (!healthy->load()) return fmt::format("the spool of worker {} had a write error", worker);
  }
  return {};
}

}  // namespace postern::net::admin
