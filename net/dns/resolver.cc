#include "net/dns/resolver.h"

#include <algorithm>
#include <utility>

#include "core/clock.h"

namespace postern::net::dns {
namespace {

// A token is the lookup's id and what of it was asked.
constexpr std::uint64_t kPartBits = 2;
enum Part : std::uint64_t { part_mx = 0, part_v6 = 1, part_v4 = 2 };

std::string mail_key(std::string_view domain) { return "m " + std::string(domain); }

std::string host_key(std::string_view host, NameOrigin origin) {
  return (origin == NameOrigin::settings ? "s " : "d ") + std::string(host);
}

// One of each family by turns, so that a family without a way out costs one attempt, not all.
std::vector<core::IpAddress> by_turns(const std::vector<core::IpAddress>& v6, const std::vector<core::IpAddress>& v4) {
  std::vector<core::IpAddress> mixed;
  const auto add = [&mixed](const core::IpAddress& address) {
    if (std::find(mixed.begin(), mixed.end(), address) == mixed.end()) mixed.push_back(address);
  };
  for (std::size_t i = 0; i < std::max(v6.size(), v4.size()); ++i) {
    if (i < v6.size()) add(v6[i]);
    if (i < v4.size()) add(v4[i]);
  }
  return mixed;
}

}  // namespace

std::int64_t keeping_time(AnswerStatus status, std::uint32_t ttl_seconds) {
  const std::int64_t ttl = ttl_seconds;
  switch (status) {
    case AnswerStatus::found:
      return std::clamp(ttl, Resolver::kKeptLeast, Resolver::kKeptMost);
    case AnswerStatus::no_data:
    case AnswerStatus::no_such_name:
      return std::clamp(ttl, Resolver::kFailureKept, Resolver::kNegativeMost);
    case AnswerStatus::failed:
      break;
  }
  return Resolver::kFailureKept;
}

std::shared_ptr<const MailHosts> Resolver::find_mail_hosts(const std::string& domain, std::int64_t now_ns) {
  return mail_.find(mail_key(domain), now_ns);
}

std::shared_ptr<const HostAddresses> Resolver::find_addresses(const std::string& host, NameOrigin origin,
                                                              std::int64_t now_ns) {
  return hosts_.find(host_key(host, origin), now_ns);
}

// nullptr: the bound is reached. A lookup without askers is a new one, whose questions are still to be asked.
Resolver::Lookup* Resolver::begin(std::string key, bool is_mail) {
  if (const auto known = by_key_.find(key); known != by_key_.end()) return lookups_[known->second].get();
  if (lookups_.size() == kQuestionsMax) return nullptr;
  auto lookup = std::make_unique<Lookup>();
  lookup->key = key;
  lookup->is_mail = is_mail;
  lookup->generation = generation_;
  Lookup* begun = lookup.get();
  lookups_.emplace(++next_id_, std::move(lookup));
  by_key_.emplace(std::move(key), next_id_);
  return begun;
}

void Resolver::ask_mail_hosts(const std::string& domain, std::string_view own_name, std::int64_t now_ns,
                              HostsAsker asker) {
  if (auto known = find_mail_hosts(domain, now_ns)) {
    told_.push_back([asker = std::move(asker), known = std::move(known)] { asker(known); });
    return;
  }
  Lookup* lookup = begin(mail_key(domain), true);
  if (lookup == nullptr) {
    auto busy = std::make_shared<MailHosts>();
    busy->error = "too many names are being looked up";
    told_.push_back([asker = std::move(asker), busy = std::move(busy)] { asker(busy); });
    return;
  }
  lookup->hosts_askers.push_back(std::move(asker));
  if (lookup->hosts_askers.size() > 1) return;
  lookup->name = domain;
  lookup->own_name = own_name;
  ask(next_id_ << kPartBits | part_mx, domain, RecordType::mx, NameOrigin::dns, now_ns);
}

void Resolver::ask_addresses(const std::string& host, NameOrigin origin, std::int64_t now_ns, AddressAsker asker) {
  if (auto known = find_addresses(host, origin, now_ns)) {
    told_.push_back([asker = std::move(asker), known = std::move(known)] { asker(known); });
    return;
  }
  Lookup* lookup = begin(host_key(host, origin), false);
  if (lookup == nullptr) {
    auto busy = std::make_shared<HostAddresses>();
    busy->error = "too many names are being looked up";
    busy->until_ns = now_ns;
    told_.push_back([asker = std::move(asker), busy = std::move(busy)] { asker(busy); });
    return;
  }
  lookup->address_askers.push_back(std::move(asker));
  if (lookup->address_askers.size() > 1) return;
  const std::uint64_t id = next_id_;
  lookup->name = host;
  lookup->origin = origin;
  lookup->open = 2;
  for (const auto& [part, type] : {std::pair{part_v6, RecordType::aaaa}, std::pair{part_v4, RecordType::a}}) {
    ask(id << kPartBits | part, host, type, origin, now_ns);
  }
}

void Resolver::ask(std::uint64_t token, const std::string& name, RecordType type, NameOrigin origin,
                   std::int64_t now_ns) {
  Answer none;
  if (!is_askable(name)) {
    none.status = AnswerStatus::no_such_name;
    answered(token, std::move(none), {}, now_ns);
  } else if (transport_.ask == nullptr) {
    answered(token, std::move(none), "names cannot be resolved here", now_ns);
  } else {
    transport_.ask(transport_.self, token, name, type, origin);
  }
}

void Resolver::answered(std::uint64_t token, Answer answer, std::string_view why, std::int64_t now_ns) {
  const std::uint64_t id = token >> kPartBits;
  const auto found = lookups_.find(id);
  if (found == lookups_.end()) return;
  Lookup& lookup = *found->second;
  const std::uint64_t part = token & ((1u << kPartBits) - 1);
  if (part == part_mx) return mail_answered(id, std::move(answer), why, now_ns);
  if (answer.status == AnswerStatus::failed) lookup.why.assign(why);
  (part == part_v6 ? lookup.v6 : lookup.v4) = std::move(answer);
  if (--lookup.open == 0) end_host(id, now_ns);
}

void Resolver::mail_answered(std::uint64_t id, Answer answer, std::string_view why, std::int64_t now_ns) {
  Lookup& lookup = *lookups_[id];
  MailHosts hosts;
  const std::int64_t seconds = keeping_time(answer.status, answer.ttl_seconds);
  switch (answer.status) {
    case AnswerStatus::found:
      hosts = choose_mail_hosts(answer, lookup.own_name);
      return end_mail(id, std::move(hosts), seconds, now_ns);
    case AnswerStatus::no_such_name:
      hosts.status = MailHostsStatus::no_such_domain;
      return end_mail(id, std::move(hosts), seconds, now_ns);
    case AnswerStatus::failed:
      hosts.error = "MX of " + lookup.name + ": " + std::string(why);
      return end_mail(id, std::move(hosts), seconds, now_ns);
    case AnswerStatus::no_data:
      break;
  }
  // No MX: the domain itself is its one host, if it has an address (RFC 5321 section 5.1).
  if (lookup.name == lookup.own_name) {
    hosts.status = MailHostsStatus::loops_back;
    return end_mail(id, std::move(hosts), seconds, now_ns);
  }
  ask_addresses(lookup.name, NameOrigin::dns, now_ns, [this, id, seconds, now_ns](const auto& addresses) {
    MailHosts implicit;
    std::int64_t kept = seconds;
    switch (addresses->status) {
      case AnswerStatus::found:
        implicit.status = MailHostsStatus::found;
        implicit.hosts.push_back({lookups_[id]->name, 0});
        break;
      case AnswerStatus::failed:
        implicit.error = addresses->error;
        kept = kFailureKept;
        break;
      case AnswerStatus::no_data:
      case AnswerStatus::no_such_name:
        implicit.status = MailHostsStatus::no_host;
        break;
    }
    end_mail(id, std::move(implicit), kept, now_ns);
  });
}

void Resolver::end_mail(std::uint64_t id, MailHosts hosts, std::int64_t seconds, std::int64_t now_ns) {
  const std::unique_ptr<Lookup> lookup = std::move(lookups_[id]);
  lookups_.erase(id);
  if (const auto known = by_key_.find(lookup->key); known != by_key_.end() && known->second == id) by_key_.erase(known);
  const auto value = std::make_shared<const MailHosts>(std::move(hosts));
  if (lookup->generation == generation_) {
    mail_.insert(lookup->key, value, now_ns + seconds * core::kNanosecondsPerSecond);
  }
  for (HostsAsker& asker : lookup->hosts_askers) {
    told_.push_back([asker = std::move(asker), value] { asker(value); });
  }
}

void Resolver::end_host(std::uint64_t id, std::int64_t now_ns) {
  const std::unique_ptr<Lookup> lookup = std::move(lookups_[id]);
  lookups_.erase(id);
  if (const auto known = by_key_.find(lookup->key); known != by_key_.end() && known->second == id) by_key_.erase(known);
  auto value = std::make_shared<HostAddresses>();
  value->addresses = by_turns(lookup->v6.addresses, lookup->v4.addresses);
  const auto any = [&lookup](AnswerStatus status) { return lookup->v6.status == status || lookup->v4.status == status; };
  std::int64_t seconds = kFailureKept;
  if (!value->addresses.empty()) {
    value->status = AnswerStatus::found;
    seconds = kKeptMost;
    for (const Answer* answer : {&lookup->v6, &lookup->v4}) {
      // The other family's failure is asked about again soon.
      seconds = std::min(seconds, keeping_time(answer->status, answer->ttl_seconds));
    }
  } else if (any(AnswerStatus::failed)) {
    value->error = lookup->name + ": " + lookup->why;
  } else {
    value->status = any(AnswerStatus::no_such_name) ? AnswerStatus::no_such_name : AnswerStatus::no_data;
    value->error = lookup->name + (any(AnswerStatus::no_such_name) ? ": there is no such name" : ": the name has no address");
    seconds = std::min(keeping_time(lookup->v6.status, lookup->v6.ttl_seconds),
                       keeping_time(lookup->v4.status, lookup->v4.ttl_seconds));
  }
  value->until_ns = now_ns + seconds * core::kNanosecondsPerSecond;
  if (lookup->generation == generation_) hosts_.insert(lookup->key, value, value->until_ns);
  for (AddressAsker& asker : lookup->address_askers) {
    told_.push_back([asker = std::move(asker), value = std::shared_ptr<const HostAddresses>(value)] { asker(value); });
  }
}

void Resolver::deliver() {
  telling_.swap(told_);
  for (const auto& tell : telling_) tell();
  telling_.clear();
}

void Resolver::forget_all() {
  ++generation_;
  by_key_.clear();  // who asks from now on gets a lookup of its own
  mail_ = TtlCache<MailHosts>(kEntriesMax);
  hosts_ = TtlCache<HostAddresses>(kEntriesMax);
}

}  // namespace postern::net::dns
