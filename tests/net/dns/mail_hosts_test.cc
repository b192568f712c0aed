// Which hosts take a domain's mail, and in which order.
#include <gtest/gtest.h>

#include <algorithm>
#include <map>
#include <numeric>
#include <random>
#include <string>
#include <vector>

#include "net/dns/mail_hosts.h"

#include "tests/net/dns/answer_builder.h"

namespace postern::net::dns {
namespace {

constexpr std::string_view kOwn = "mail.example.net";

MailHosts choose(std::vector<Exchange> exchanges) {
  Answer answer;
  answer.status = AnswerStatus::found;
  answer.exchanges = std::move(exchanges);
  return choose_mail_hosts(answer, kOwn);
}

TEST(MailHosts, ByPreference) {
  const MailHosts hosts = choose({{20, "b.test"}, {5, "z.test"}, {20, "a.test"}, {700, "c.test"}});
  EXPECT_EQ(hosts.status, MailHostsStatus::found);
  EXPECT_EQ(hosts.hosts, (std::vector<MailHost>{{"z.test", 0}, {"a.test", 1}, {"b.test", 1}, {"c.test", 2}}));
}

TEST(MailHosts, SameSetSameList) {
  EXPECT_EQ(choose({{10, "a.test"}, {20, "b.test"}}).hosts, choose({{50, "b.test"}, {1, "a.test"}}).hosts);
  EXPECT_NE(choose({{10, "a.test"}, {20, "b.test"}}).hosts, choose({{10, "a.test"}, {10, "b.test"}}).hosts);
}

TEST(MailHosts, ADoubleKeepsItsBetterPreference) {
  EXPECT_EQ(choose({{20, "a.test"}, {10, "a.test"}, {15, "b.test"}}).hosts,
            (std::vector<MailHost>{{"a.test", 0}, {"b.test", 1}}));
}

TEST(MailHosts, NullMx) {
  EXPECT_EQ(choose({{0, ""}}).status, MailHostsStatus::null_mx);
  EXPECT_EQ(choose({{10, ""}}).status, MailHostsStatus::null_mx);
  EXPECT_EQ(choose({{0, ""}, {0, ""}}).status, MailHostsStatus::null_mx);
  // RFC 7505 section 3: it must be the only one; beside others it names no host.
  const MailHosts mixed = choose({{0, ""}, {10, "a.test"}});
  EXPECT_EQ(mixed.status, MailHostsStatus::found);
  EXPECT_EQ(mixed.hosts, (std::vector<MailHost>{{"a.test", 0}}));
}

TEST(MailHosts, OurselvesAndWorseAreDropped) {
  const MailHosts second = choose({{10, "a.test"}, {20, "mail.example.net"}, {20, "b.test"}, {30, "c.test"}});
  EXPECT_EQ(second.status, MailHostsStatus::found);
  EXPECT_EQ(second.hosts, (std::vector<MailHost>{{"a.test", 0}}));
  const MailHosts best = choose({{10, "mail.example.net"}, {10, "a.test"}, {20, "b.test"}});
  EXPECT_EQ(best.status, MailHostsStatus::loops_back);
  EXPECT_TRUE(best.hosts.empty());
  EXPECT_EQ(choose({{30, "mail.example.net"}, {10, "mail.example.net"}, {20, "a.test"}}).status,
            MailHostsStatus::loops_back);
}

TEST(MailHosts, Bounded) {
  std::vector<Exchange> many;
  for (std::uint16_t i = 0; i < 200; ++i) many.push_back({static_cast<std::uint16_t>(200 - i), "h" + std::to_string(i) + ".test"});
  const MailHosts hosts = choose(many);
  ASSERT_EQ(hosts.hosts.size(), kMailHostsMax);
  EXPECT_EQ(hosts.hosts.front(), (MailHost{"h199.test", 0}));
  EXPECT_EQ(hosts.hosts.back().rank, kMailHostsMax - 1);
}

// Against a model that is told in one sentence: all hosts better than ourselves, each once, by its best preference.
TEST(MailHosts, Oracle) {
  const std::uint64_t seed = testing::test_seed();
  SCOPED_TRACE("POSTERN_SEED=" + std::to_string(seed));
  std::mt19937_64 random(seed);
  for (int round = 0; round < 5000; ++round) {
    std::vector<Exchange> exchanges;
    for (std::size_t n = 1 + random() % 8; n > 0; --n) {
      const std::uint64_t which = random() % 7;
      exchanges.push_back({static_cast<std::uint16_t>(random() % 5), which == 0 ? std::string(kOwn) : "h" + std::to_string(which)});
    }
    std::map<std::string, std::uint16_t> best;
    std::uint32_t own = UINT32_MAX;
    for (const Exchange& e : exchanges) {
      if (e.host == kOwn) own = std::min<std::uint32_t>(own, e.preference);
      const auto [at, fresh] = best.emplace(e.host, e.preference);
      if (!fresh) at->second = std::min(at->second, e.preference);
    }
    std::map<std::uint16_t, std::vector<std::string>> wanted;  // names rise, as in `best`
    for (const auto& [host, preference] : best) {
      if (preference < own) wanted[preference].push_back(host);
    }
    std::vector<MailHost> list;
    std::uint8_t rank = 0;
    for (const auto& [preference, names] : wanted) {
      for (const std::string& name : names) list.push_back({name, rank});
      ++rank;
    }
    const MailHosts got = choose(exchanges);
    EXPECT_EQ(got.hosts, list);
    EXPECT_EQ(got.status, list.empty() ? MailHostsStatus::loops_back : MailHostsStatus::found);
  }
}

TEST(OrderHosts, RanksRiseAndEqualsAreShuffledEvenly) {
  const std::uint64_t seed = testing::test_seed();
  SCOPED_TRACE("POSTERN_SEED=" + std::to_string(seed));
  std::mt19937_64 random(seed);
  const std::vector<std::uint8_t> ranks = {0, 1, 1, 1, 2, 2};
  std::map<std::vector<std::uint8_t>, int> seen;
  constexpr int kRounds = 12000;
  for (int i = 0; i < kRounds; ++i) {
    std::vector<std::uint8_t> order(ranks.size());
    order_hosts(ranks, random(), order);
    for (std::size_t n = 1; n < order.size(); ++n) EXPECT_LE(ranks[order[n - 1]], ranks[order[n]]);
    std::vector<std::uint8_t> sorted = order;
    std::sort(sorted.begin(), sorted.end());
    EXPECT_EQ(sorted, (std::vector<std::uint8_t>{0, 1, 2, 3, 4, 5}));
    ++seen[order];
  }
  ASSERT_EQ(seen.size(), 12u);  // 3! times 2!
  // 1000 each are expected with a deviation of 30; seven of them do not happen by chance.
  for (const auto& [order, times] : seen) EXPECT_NEAR(times, kRounds / 12, 210);
}

TEST(OrderHosts, SameRandomSameOrder) {
  const std::vector<std::uint8_t> ranks(kMailHostsMax, 0);
  std::vector<std::uint8_t> first(ranks.size());
  std::vector<std::uint8_t> second(ranks.size());
  order_hosts(ranks, 7, first);
  order_hosts(ranks, 7, second);
  EXPECT_EQ(first, second);
  order_hosts(ranks, 8, second);
  EXPECT_NE(first, second);
  order_hosts({}, 1, {});
}

}  // namespace
}  // namespace postern::net::dns
