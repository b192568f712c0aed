#include "net/dns/mail_hosts.h"

#include <algorithm>
#include <tuple>
#include <utility>

#include "core/assert.h"

namespace postern::net::dns {

MailHosts choose_mail_hosts(const Answer& mx, std::string_view own_name) {
  MailHosts chosen;
  if (mx.exchanges.size() == 1 && mx.exchanges.front().host.empty()) {
    chosen.status = MailHostsStatus::null_mx;
    return chosen;
  }
  std::vector<Exchange> exchanges;
  for (const Exchange& exchange : mx.exchanges) {
    if (!exchange.host.empty()) exchanges.push_back(exchange);  // a "." beside others means nothing
  }
  if (exchanges.empty()) {
    chosen.status = MailHostsStatus::null_mx;
    return chosen;
  }
  const auto own = [own_name](const Exchange& exchange) { return exchange.host == own_name; };
  std::uint32_t worst = UINT16_MAX + 1u;  // this and all behind it are not tried
  for (const Exchange& exchange : exchanges) {
    if (own(exchange)) worst = std::min<std::uint32_t>(worst, exchange.preference);
  }
  std::erase_if(exchanges, [worst](const Exchange& exchange) { return exchange.preference >= worst; });
  if (exchanges.empty()) {
    chosen.status = MailHostsStatus::loops_back;
    return chosen;
  }
  std::sort(exchanges.begin(), exchanges.end(), [](const Exchange& a, const Exchange& b) {
    return std::tie(a.preference, a.host) < std::tie(b.preference, b.host);
  });
  chosen.status = MailHostsStatus::found;
  std::uint8_t rank = 0;
  std::uint16_t preference = exchanges.front().preference;
  for (Exchange& exchange : exchanges) {
    const bool is_known = std::any_of(chosen.hosts.begin(), chosen.hosts.end(),
                                      [&exchange](const MailHost& host) { return host.host == exchange.host; });
    if (is_known) continue;
    if (chosen.hosts.size() == kMailHostsMax) break;
    if (exchange.preference != preference) {
      preference = exchange.preference;
      ++rank;
    }
    chosen.hosts.push_back({std::move(exchange.host), rank});
  }
  return chosen;
}

void order_hosts(std::span<const std::uint8_t> ranks, std::uint64_t random, std::span<std::uint8_t> out) {
  POSTERN_ASSERT(ranks.size() <= kMailHostsMax && out.size() == ranks.size());
  for (std::size_t i = 0; i < out.size(); ++i) out[i] = static_cast<std::uint8_t>(i);
  for (std::size_t begin = 0; begin < ranks.size();) {
    std::size_t end = begin + 1;
    while (end < ranks.size() && ranks[end] == ranks[begin]) ++end;
    for (std::size_t left = end - begin; left > 1; --left) {
      // The generator of Steele, Lea and Flood (SplitMix, OOPSLA 2014): a stream from one seed.
      random += 0x9e3779b97f4a7c15ULL;
      std::uint64_t mixed = random;
      mixed = (mixed ^ mixed >> 30) * 0xbf58476d1ce4e5b9ULL;
      mixed = (mixed ^ mixed >> 27) * 0x94d049bb133111ebULL;
      mixed ^= mixed >> 31;
      std::swap(out[begin + left - 1], out[begin + mixed % left]);
    }
    begin = end;
  }
}

}  // namespace postern::net::dns
