// What one worker knows of names: mail hosts of domains and addresses of hosts, asked for once and kept for their time.
//
// Sans-I/O: questions go out through a Transport (dns::Channel; a table in tests), answers come in by answered(). Askers are
// told in deliver(), never from inside ask: whoever asks need not expect an answer under its feet.
//
// Bounds: kEntriesMax names of each kind in memory; kQuestionsMax lookups under way, more fail at once (which defers). How
// long a thing is kept: keeping_time(). A failure to look up is kept too, shortly, so that a queue full of mail for one broken
// domain does not ask for each message. Source of negative caching: RFC 2308. Thread: one, its worker's.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "core/ip_address.h"
#include "net/dns/mail_hosts.h"
#include "net/dns/message.h"
#include "net/dns/ttl_cache.h"

namespace postern::net::dns {

struct HostAddresses {
  AnswerStatus status = AnswerStatus::failed;
  std::vector<core::IpAddress> addresses;  // found: the order to try them in, IPv6 and IPv4 by turns (RFC 8305 section 4)
  std::string error;                       // else: why, in words
  std::int64_t until_ns = 0;               // how long this holds
};

// Where a name comes from: one in the settings is also completed by the system's search list; one from the DNS is whole.
enum class NameOrigin : std::uint8_t { dns, settings };

// How an answer is kept: its TTL within kKeptLeast..kKeptMost; "no such" at most kNegativeMost, and without a SOA, like a failure,
// kFailureKept.
[[nodiscard]] std::int64_t keeping_time(AnswerStatus status, std::uint32_t ttl_seconds);

class Resolver {
 public:
  static constexpr std::size_t kEntriesMax = 16384;
  static constexpr std::size_t kQuestionsMax = 4096;
  static constexpr std::int64_t kKeptLeast = 5;        // seconds
  static constexpr std::int64_t kKeptMost = 86400;
  static constexpr std::int64_t kNegativeMost = 3600;
  static constexpr std::int64_t kFailureKept = 5;

  // Asks for one record set; `token` comes back in answered(), in this call or later, exactly once.
  struct Transport {
    void* self = nullptr;
    void (*ask)(void* self, std::uint64_t token, const std::string& name, RecordType type, NameOrigin origin) = nullptr;
  };
  // `value` is the one that find_ would give now.
  using HostsAsker = std::function<void(const std::shared_ptr<const MailHosts>& value)>;
  using AddressAsker = std::function<void(const std::shared_ptr<const HostAddresses>& value)>;

  // Without a transport every lookup fails.
  explicit Resolver(Transport transport) : transport_(transport) {}
  Resolver(const Resolver&) = delete;
  Resolver& operator=(const Resolver&) = delete;

  // `domain` and `host` in their one form (policy::DomainName), no literals. `own_name` as in choose_mail_hosts: the same
  // in all calls, or after forget_all().
  std::shared_ptr<const MailHosts> find_mail_hosts(const std::string& domain, std::int64_t now_ns);
  void ask_mail_hosts(const std::string& domain, std::string_view own_name, std::int64_t now_ns, HostsAsker asker);
  std::shared_ptr<const HostAddresses> find_addresses(const std::string& host, NameOrigin origin, std::int64_t now_ns);
  void ask_addresses(const std::string& host, NameOrigin origin, std::int64_t now_ns, AddressAsker asker);

  // From the transport. `why`: of an answer that failed, in words.
  void answered(std::uint64_t token, Answer answer, std::string_view why, std::int64_t now_ns);
  // Tells the askers of all that is known now. Once a turn.
  void deliver();
  [[nodiscard]] bool has_work() const { return !told_.empty(); }
  [[nodiscard]] std::size_t questions() const { return lookups_.size(); }
  // Nothing that is known counts any longer (the settings changed). Lookups under way end as they began.
  void forget_all();

 private:
  // One thing that is being looked up, and who waits for it. Of a host both families, of a domain its MX and, for lack of
  // them, the host of its own name.
  struct Lookup {
    std::string key;
    std::string name;
    NameOrigin origin = NameOrigin::dns;
    std::string own_name;
    bool is_mail = false;
    std::uint32_t generation = 0;
    unsigned open = 0;  // answers that are missing
    Answer v6, v4;
    std::string why;
    std::vector<HostsAsker> hosts_askers;
    std::vector<AddressAsker> address_askers;
  };
  Lookup* begin(std::string key, bool is_mail);
  // Answered at once when it cannot be asked for.
  void ask(std::uint64_t token, const std::string& name, RecordType type, NameOrigin origin, std::int64_t now_ns);
  void mail_answered(std::uint64_t id, Answer answer, std::string_view why, std::int64_t now_ns);
  void end_mail(std::uint64_t id, MailHosts hosts, std::int64_t seconds, std::int64_t now_ns);
  void end_host(std::uint64_t id, std::int64_t now_ns);

  Transport transport_;
  TtlCache<MailHosts> mail_{kEntriesMax};
  TtlCache<HostAddresses> hosts_{kEntriesMax};
  std::unordered_map<std::uint64_t, std::unique_ptr<Lookup>> lookups_;
  std::unordered_map<std::string, std::uint64_t> by_key_;
  std::uint64_t next_id_ = 0;
  std::uint32_t generation_ = 0;
  std::vector<std::function<void()>> told_;
  std::vector<std::function<void()>> telling_;  // kept: deliver() swaps it with told_
};

}  // namespace postern::net::dns
