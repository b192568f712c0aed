#include "net/admin/login_requests.h"

#include <algorithm>
#include <charconv>
#include <iterator>
#include <optional>

#include <fmt/format.h>

#include "net/admin/queue_report.h"
#include "net/clock_now.h"
#include "net/server.h"

namespace postern::net {
namespace {

constexpr std::uint32_t kSecondsMax = 7 * 86400;
constexpr std::size_t kListDefault = 100;
constexpr std::size_t kListMost = 100'000'000;
constexpr std::size_t kUserBytesMax = 255;

std::string error(std::string_view why) { return fmt::format("error: {}\n", why); }

template <class Number>
std::optional<Number> number(std::string_view text) {
  Number value{};
  const auto [end, code] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (code != std::errc{} || end != text.data() + text.size()) return std::nullopt;
  return value;
}

// A client's address. Empty text: it is one; else what is wrong with it.
std::string parse_machine(std::string_view text, core::IpAddress& machine) {
  const auto address = core::IpAddress::parse(text);
  if (!address) return fmt::format("'{}' is no IP address, such as 192.0.2.7 or 2001:db8::7", admin::printable(text));
  const auto first = address->is_v4() ? address->bytes[12] : address->bytes[0];
  const bool is_nobodys = address->is_v4() ? first == 0 || first >= 224 : first == 0xff || *address == core::IpAddress{};
  if (is_nobodys) return fmt::format("{} is no address of a machine", address->text());
  machine = *address;
  return {};
}

std::string login_add(Server& server, const std::vector<std::string_view>& words, std::string_view request) {
  core::IpAddress machine;
  if (const std::string wrong = parse_machine(words[2], machine); !wrong.empty()) return error(wrong);
  std::uint32_t seconds = 0;
  if (words.size() > 3 && words[3] != "-") {
    const auto given = number<std::uint32_t>(words[3]);
    if (!given || *given < 1 || *given > kSecondsMax) {
      return error(fmt::format("'{}' seconds: it must be 1 to {} (seven days)", admin::printable(words[3]), kSecondsMax));
    }
    seconds = *given;
  }
  std::string_view user;  // all the rest of the line
  if (words.size() > 4) user = request.substr(static_cast<std::size_t>(words[4].data() - request.data()));
  if (user.size() > kUserBytesMax) return error("the user name is longer than 255 octets");
  server.record_login(LoginSource::control, machine, user, seconds);
  return fmt::format("ok\nrecorded for {} seconds\n", seconds != 0 ? seconds : server.logins().window_seconds());
}

std::string login_remove(Server& server, std::string_view text) {
  core::IpAddress machine;
  if (const std::string wrong = parse_machine(text, machine); !wrong.empty()) return error(wrong);
  const core::Time now = clock_now();
  const bool was_there = server.logins().is_granted(machine, now.boot_ns / core::kNanosecondsPerSecond);
  server.logins().revoke(machine);
  if (!was_there) return "ok\nthere was none\n";
  server.with_log([&](core::LogRing& ring) {
    core::LogLine(ring, now, core::Severity::info, "login_removed").add("machine", machine);
  });
  return "ok\nremoved\n";
}

std::string login_list(Server& server, const std::vector<std::string_view>& words) {
  std::size_t limit = kListDefault;
  bool as_json = false;
  for (std::size_t i = 2; i < words.size(); ++i) {
    if (words[i] == "json" && i + 1 == words.size()) {
      as_json = true;
    } else if (const auto given = number<std::size_t>(words[i]); given && *given <= kListMost && i == 2) {
      limit = *given;
    } else {
      return error("usage: login list [LIMIT] [json]; LIMIT is a number up to 100000000");
    }
  }
  const policy::LoginTable& table = server.logins();
  const std::int64_t now = clock_now().boot_ns / core::kNanosecondsPerSecond;
  std::vector<policy::LoginTable::Entry> live = table.live(now);
  const std::size_t shown = std::min(limit, live.size());
  const auto longest_first = [](const auto& a, const auto& b) {
    return a.expires_boot_seconds != b.expires_boot_seconds ? a.expires_boot_seconds > b.expires_boot_seconds
                                                            : a.machine < b.machine;
  };
  std::partial_sort(live.begin(), live.begin() + static_cast<std::ptrdiff_t>(shown), live.end(), longest_first);
  std::string out = as_json ? "ok\n{\"logins\":[" : "ok\n";
  const auto put = std::back_inserter(out);
  for (std::size_t i = 0; i < shown; ++i) {
    // The whole network that a login opened to.
    const std::string machine = live[i].machine.is_v4()
                                    ? live[i].machine.text()
                                    : fmt::format("{}/{}", live[i].machine.text(), table.ipv6_prefix());
    const std::int64_t remaining = live[i].expires_boot_seconds - now;
    if (as_json) {
      fmt::format_to(put, "{}{{\"machine\":\"{}\",\"seconds\":{}}}", i == 0 ? "" : ",", machine, remaining);
    } else {
      fmt::format_to(put, "{:<43} {:>7} seconds left\n", machine, remaining);
    }
  }
  if (as_json) {
    fmt::format_to(put, "],\"total\":{}}}\n", live.size());
  } else {
    fmt::format_to(put, "{} of {} machines\n", shown, live.size());
  }
  return out;
}

}  // namespace

std::string login_request(Server& server, const std::vector<std::string_view>& words, std::string_view request) {
  const std::string_view verb = words.size() > 1 ? words[1] : "";
  if (verb == "add" && words.size() >= 3) return login_add(server, words, request);
  if (verb == "list") return login_list(server, words);
  if (verb == "remove" && words.size() == 3) return login_remove(server, words[2]);
  return error("usage: login add ADDRESS [SECONDS|- [USER]] | list [LIMIT] [json] | remove ADDRESS");
}

}  // namespace postern::net
