// The requests of the control socket: each asks the workers, one after the other, and gathers what they say.

#include <algorithm>
#include <charconv>
#include <map>
#include <string>
#include <vector>

#include <fmt/format.h>

#include "net/admin/control.h"
#include "net/admin/login_requests.h"
#include "net/admin/metrics.h"
#include "net/admin/queue_report.h"
#include "net/clock_now.h"
#include "net/queue_id.h"
#include "net/server.h"

namespace postern::net {
namespace {

constexpr std::size_t kListDefault = 100;
constexpr std::size_t kListMost = 1'000'000;
// Messages looked at in one turn of a worker, so that a long queue does not hold up its mail.
constexpr std::size_t kChunk = 1000;

std::string error(std::string_view why) { return fmt::format("error: {}\n", why); }

std::vector<std::string_view> words_of(std::string_view line) {
  std::vector<std::string_view> words;
  while (!line.empty()) {
    const std::size_t end = std::min(line.find(' '), line.size());
    if (end != 0) words.push_back(line.substr(0, end));
    line.remove_prefix(std::min(end + 1, line.size()));
  }
  return words;
}

// Walks a worker's queue, oldest first, a chunk a turn. `visit` runs in the worker's turn; false ends the walk.
// Returns false when the worker does not answer.
bool walk_queue(Server& server, std::size_t worker, const std::function<bool(QueuedMessage&, WorkerServer&)>& visit) {
  core::ItemId last = 0;
  bool more = true;
  while (more) {
    const bool answered = server.on_worker(worker, [&](WorkerServer& w) {
      QueuedMessage* message = w.queue().oldest();
      if (last != 0) {
        QueuedMessage* at = w.queue().find(last);
        // The last one has left meanwhile: go on with the first that is younger.
        if (at != nullptr) {
          message = at->next;
        } else {
          while (message != nullptr && message->id <= last) message = message->next;
        }
      }
      std::size_t seen = 0;
      while (message != nullptr && more && seen++ < kChunk) {
        QueuedMessage* following = message->next;  // the visitor may remove it
        last = message->id;
        more = visit(*message, w);
        message = following;
      }
      more = more && message != nullptr;
    });
    if (!answered) return false;
  }
  return true;
}

// Runs `act` on the message with this id in its worker's turn.
std::string with_message(Server& server, std::string_view id_text,
                         const std::function<std::string(QueuedMessage&, WorkerServer&)>& act) {
  const auto id = QueueId::parse(id_text);
  if (!id) return error("not a queue id: 13 letters and digits, as in the log and in 'postern queue list'");
  std::string answer;
  for (std::size_t worker = 0; worker < server.workers() && answer.empty(); ++worker) {
    const bool answered = server.on_worker(worker, [&](WorkerServer& w) {
      if (QueuedMessage* message = w.queue().find(*id)) answer = act(*message, w);
    });
    if (!answered) return error("a worker does not answer");
  }
  return answer.empty() ? error("no such message in the queue") : answer;
}

std::string queue_list(Server& server, const std::vector<std::string_view>& words) {
  std::size_t limit = kListDefault;
  if (words.size() > 2) {
    const auto [end, code] = std::from_chars(words[2].data(), words[2].data() + words[2].size(), limit);
    if (code != std::errc{} || end != words[2].data() + words[2].size() || limit > kListMost) {
      return error("the limit is a number up to 1000000");
    }
  }
  std::multimap<std::int64_t, std::string> lines;  // by acceptance, over all workers
  std::size_t total = 0;
  for (std::size_t worker = 0; worker < server.workers(); ++worker) {
    std::size_t taken = 0;
    server.on_worker(worker, [&](WorkerServer& w) { total += w.queue().size(); });
    const bool answered = limit == 0 || walk_queue(server, worker, [&](QueuedMessage& message, WorkerServer& w) {
      std::string line;
      admin::append_queue_line(message, w.now(), line);
      lines.emplace(message.accepted_unix_ns, std::move(line));
      return ++taken < limit;
    });
    if (!answered) return error("a worker does not answer");
  }
  std::string out = "ok\n" + admin::queue_list_heading();
  std::size_t shown = 0;
  for (const auto& [accepted, line] : lines) {
    if (shown++ == limit) break;
    out += line;
  }
  return out + fmt::format("{} of {} messages\n", std::min(shown, limit), total);
}

std::string queue_retry(Server& server, std::string_view which) {
  if (which != "all") {
    return with_message(server, which, [](QueuedMessage& message, WorkerServer& w) {
      w.queue().retry_now(message);
      return std::string("ok\nwill be tried now\n");
    });
  }
  std::size_t count = 0;
  for (std::size_t worker = 0; worker < server.workers(); ++worker) {
    const bool answered = walk_queue(server, worker, [&](QueuedMessage& message, WorkerServer& w) {
      w.queue().retry_now(message);
      ++count;
      return true;
    });
    if (!answered) return error("a worker does not answer");
  }
  return fmt::format("ok\n{} messages will be tried now\n", count);
}

std::string queue_request(Server& server, const std::vector<std::string_view>& words) {
  const std::string_view verb = words.size() > 1 ? words[1] : "";
  if (verb == "list") return queue_list(server, words);
  if (words.size() != 3) return error("usage: queue list [LIMIT] | show ID | retry ID|all | remove ID");
  if (verb == "show") {
    return with_message(server, words[2], [](QueuedMessage& message, WorkerServer& w) {
      std::string out = "ok\n";
      admin::append_queue_details(message, w.now(), out);
      return out;
    });
  }
  if (verb == "retry") return queue_retry(server, words[2]);
  if (verb == "remove") {
    return with_message(server, words[2], [](QueuedMessage& message, WorkerServer& w) {
      const bool busy = message.in_attempt;
      w.queue().remove(message);
      return std::string(busy ? "ok\nis being tried; will be removed after that\n" : "ok\nremoved\n");
    });
  }
  return error("unknown queue command; there are list, show, retry and remove");
}

std::string status(Server& server) {
  const auto metrics = admin::gather_metrics(server, std::chrono::seconds(10));
  if (!metrics) return error(metrics.error().text);
  std::map<std::string, std::uint64_t> lines;
  for (const admin::Metric& metric : *metrics) {
    if (metric.name == "build_info") continue;
    lines[fmt::format("{}{}{}", metric.name, metric.label.empty() ? "" : "_", metric.label)] = metric.value;
  }
  std::string out = "ok\n";
  for (const auto& [name, value] : lines) out += fmt::format("{} {}\n", name, value);
  return out;
}

std::string guard_list(const policy::GuessGuard& guard) {
  std::string out = "ok\n";
  std::size_t bars = 0;
  guard.list(clock_now(), [&](const policy::GuessGuard::Listed& bar) {
    ++bars;
    const std::string_view kind = policy::bar_kind_name(bar.kind);
    if (bar.kind == policy::BarKind::overflow) {
      out += fmt::format("{:<9} {} bars that found no room, up to {}\n", kind, bar.bars, admin::duration(bar.remaining_seconds));
      return;
    }
    const std::string what = bar.kind != policy::BarKind::name ? bar.network.text()
                             : bar.name.empty()                ? fmt::format("(name with hash {:016x})", bar.name_hash)
                                                               : admin::printable(bar.name);
    out += fmt::format("{:<9} {:<43} {:>12} left, {} in a row\n", kind, what, admin::duration(bar.remaining_seconds), bar.bars);
  });
  return out + fmt::format("{} bars\n", bars);
}

std::string guard_clear(policy::GuessGuard& guard, std::string_view which, std::string_view value) {
  if (which == "name") return fmt::format("ok\n{} bars lifted\n", guard.clear_name(value, clock_now()));
  std::string why;
  const auto prefix = core::IpPrefix::parse(value, &why);
  if (!prefix) return error(why);
  return fmt::format("ok\n{} bars lifted\n", guard.clear(*prefix, clock_now()));
}

std::string guard_request(Server& server, const std::vector<std::string_view>& words, std::string_view request) {
  if (server.guard() == nullptr) return error("no service offers AUTH and no feed reports logins, so nobody is barred");
  if (words.size() == 2 && words[1] == "list") return guard_list(*server.guard());
  if (words.size() >= 4 && words[1] == "clear" && (words[2] == "machine" || words[2] == "name")) {
    // A name may hold blanks: all the rest of the line is it.
    return guard_clear(*server.guard(), words[2], request.substr(static_cast<std::size_t>(words[3].data() - request.data())));
  }
  return error("usage: guard list | clear machine ADDRESS-OR-PREFIX | clear name USER");
}

}  // namespace

std::string answer_request(Server& server, std::string_view request) {
  const std::vector<std::string_view> words = words_of(request);
  if (words.empty()) return error("an empty request");
  if (words[0] == "queue") return queue_request(server, words);
  if (words[0] == "status" && words.size() == 1) return status(server);
  if (words[0] == "guard") return guard_request(server, words, request);
  if (words[0] == "login") return login_request(server, words, request);
  return error("unknown request; there are queue, guard, login and status");
}

}  // namespace postern::net
