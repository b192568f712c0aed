// The resolver over a table instead of name servers, on a clock of the test's.
#include <gtest/gtest.h>

#include <map>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "core/clock.h"
#include "net/dns/resolver.h"

namespace postern::net::dns {
namespace {

using core::IpAddress;
using core::kNanosecondsPerSecond;

struct World {
  std::map<std::pair<std::string, RecordType>, Answer> records;
  struct Asked {
    std::uint64_t token;
    std::string name;
    RecordType type;
    NameOrigin origin;
  };
  std::vector<Asked> asked;     // not answered yet
  std::size_t questions = 0;    // ever
  bool answers_at_once = true;  // from inside the question, as a library may
  std::int64_t now_ns = 1'000 * kNanosecondsPerSecond;
  Resolver resolver{{this, [](void* self, std::uint64_t token, const std::string& name, RecordType type, NameOrigin origin) {
                       auto* world = static_cast<World*>(self);
                       ++world->questions;
                       world->asked.push_back({token, name, type, origin});
                       if (world->answers_at_once) world->answer();
                     }}};

  void add(const std::string& name, RecordType type, AnswerStatus status, std::uint32_t ttl) {
    records[{name, type}] = {status, {}, {}, ttl};
  }
  void add_mx(const std::string& name, std::vector<Exchange> exchanges, std::uint32_t ttl) {
    records[{name, RecordType::mx}] = {AnswerStatus::found, {}, std::move(exchanges), ttl};
  }
  void add_address(const std::string& name, const char* address, std::uint32_t ttl) {
    const IpAddress parsed = *IpAddress::parse(address);
    Answer& answer = records[{name, parsed.is_v4() ? RecordType::a : RecordType::aaaa}];
    answer.status = AnswerStatus::found;
    answer.ttl_seconds = ttl;
    answer.addresses.push_back(parsed);
  }
  void answer() {
    for (const Asked& question : std::exchange(asked, {})) {
      const auto known = records.find({question.name, question.type});
      Answer answer;
      answer.status = AnswerStatus::no_such_name;
      if (known != records.end()) answer = known->second;
      resolver.answered(question.token, answer, answer.status == AnswerStatus::failed ? "timed out" : "", now_ns);
    }
  }
  void pass(std::int64_t seconds) { now_ns += seconds * kNanosecondsPerSecond; }
  std::shared_ptr<const MailHosts> mail(const std::string& domain) {
    std::shared_ptr<const MailHosts> got;
    resolver.ask_mail_hosts(domain, "mail.example.net", now_ns, [&got](const auto& value) { got = value; });
    EXPECT_EQ(got, nullptr);  // never under the asker's feet
    while (resolver.has_work() || !asked.empty()) {
      answer();
      resolver.deliver();
    }
    EXPECT_NE(got, nullptr);
    return got;
  }
  std::shared_ptr<const HostAddresses> host(const std::string& name, NameOrigin origin = NameOrigin::dns) {
    std::shared_ptr<const HostAddresses> got;
    resolver.ask_addresses(name, origin, now_ns, [&got](const auto& value) { got = value; });
    EXPECT_EQ(got, nullptr);
    while (resolver.has_work() || !asked.empty()) {
      answer();
      resolver.deliver();
    }
    EXPECT_NE(got, nullptr);
    return got;
  }
};

TEST(Resolver, MailHostsAreKeptForTheirTime) {
  World world;
  world.add_mx("one.test", {{10, "mx.test"}}, 300);
  EXPECT_EQ(world.mail("one.test")->hosts, (std::vector<MailHost>{{"mx.test", 0}}));
  EXPECT_EQ(world.questions, 1u);
  world.pass(299);
  EXPECT_NE(world.resolver.find_mail_hosts("one.test", world.now_ns), nullptr);
  world.add_mx("one.test", {{10, "other.test"}}, 300);
  EXPECT_EQ(world.mail("one.test")->hosts.front().host, "mx.test");
  world.pass(1);
  EXPECT_EQ(world.resolver.find_mail_hosts("one.test", world.now_ns), nullptr);
  EXPECT_EQ(world.mail("one.test")->hosts.front().host, "other.test");
  EXPECT_EQ(world.questions, 2u);
}

TEST(Resolver, KeepingTimesAreBounded) {
  EXPECT_EQ(keeping_time(AnswerStatus::found, 0), Resolver::kKeptLeast);
  EXPECT_EQ(keeping_time(AnswerStatus::found, 3600), 3600);
  EXPECT_EQ(keeping_time(AnswerStatus::found, 0x7fffffff), Resolver::kKeptMost);
  EXPECT_EQ(keeping_time(AnswerStatus::no_such_name, 0), Resolver::kFailureKept);
  EXPECT_EQ(keeping_time(AnswerStatus::no_data, 600), 600);
  EXPECT_EQ(keeping_time(AnswerStatus::no_such_name, 86400), Resolver::kNegativeMost);
  EXPECT_EQ(keeping_time(AnswerStatus::failed, 86400), Resolver::kFailureKept);
}

TEST(Resolver, NegativeAnswersAreKept) {
  World world;
  world.add("gone.test", RecordType::mx, AnswerStatus::no_such_name, 60);
  EXPECT_EQ(world.mail("gone.test")->status, MailHostsStatus::no_such_domain);
  world.pass(59);
  EXPECT_EQ(world.mail("gone.test")->status, MailHostsStatus::no_such_domain);
  EXPECT_EQ(world.questions, 1u);
  world.pass(1);
  world.mail("gone.test");
  EXPECT_EQ(world.questions, 2u);
}

TEST(Resolver, FailuresAreTemporaryAndShort) {
  World world;
  world.add("bad.test", RecordType::mx, AnswerStatus::failed, 0);
  const auto first = world.mail("bad.test");
  EXPECT_EQ(first->status, MailHostsStatus::failed);
  EXPECT_EQ(first->error, "MX of bad.test: timed out");
  world.mail("bad.test");
  EXPECT_EQ(world.questions, 1u);
  world.pass(Resolver::kFailureKept);
  world.add_mx("bad.test", {{10, "mx.test"}}, 300);
  EXPECT_EQ(world.mail("bad.test")->status, MailHostsStatus::found);
}

TEST(Resolver, WithoutMxTheDomainIsItsHost) {
  for (const bool at_once : {true, false}) {
    World world;
    world.answers_at_once = at_once;
    for (const char* name : {"plain.test", "bare.test", "broken.test", "mail.example.net"}) {
      world.add(name, RecordType::mx, AnswerStatus::no_data, 60);
      world.add(name, RecordType::a, AnswerStatus::no_data, 60);
      world.add(name, RecordType::aaaa, AnswerStatus::no_data, 60);
    }
    world.records.erase({"plain.test", RecordType::a});
    world.add_address("plain.test", "127.0.0.9", 60);
    world.add("broken.test", RecordType::aaaa, AnswerStatus::failed, 0);
    EXPECT_EQ(world.mail("plain.test")->hosts, (std::vector<MailHost>{{"plain.test", 0}}));
    EXPECT_EQ(world.host("plain.test")->addresses, std::vector<IpAddress>{*IpAddress::parse("127.0.0.9")});
    EXPECT_EQ(world.questions, 3u);  // the addresses are known from then on
    EXPECT_EQ(world.mail("bare.test")->status, MailHostsStatus::no_host);
    // Half an answer is none: that there is no A does not say that there is no AAAA.
    EXPECT_EQ(world.mail("broken.test")->status, MailHostsStatus::failed);
    EXPECT_EQ(world.mail("mail.example.net")->status, MailHostsStatus::loops_back);
  }
}

TEST(Resolver, FamiliesTakeTurns) {
  World world;
  for (const char* address : {"192.0.2.1", "192.0.2.2", "192.0.2.3", "2001:db8::1"}) world.add_address("h.test", address, 100);
  std::vector<std::string> order;
  for (const IpAddress& address : world.host("h.test")->addresses) order.push_back(address.text());
  EXPECT_EQ(order, (std::vector<std::string>{"2001:db8::1", "192.0.2.1", "192.0.2.2", "192.0.2.3"}));
}

TEST(Resolver, OneFamilyIsEnough) {
  World world;
  world.add_address("h.test", "192.0.2.1", 600);
  world.add("h.test", RecordType::aaaa, AnswerStatus::failed, 0);
  const auto found = world.host("h.test");
  EXPECT_EQ(found->status, AnswerStatus::found);
  EXPECT_EQ(found->until_ns, world.now_ns + Resolver::kFailureKept * kNanosecondsPerSecond);
}

TEST(Resolver, AskedOnceForMany) {
  World world;
  world.answers_at_once = false;
  world.add_mx("one.test", {{10, "mx.test"}}, 300);
  int told = 0;
  for (int i = 0; i < 100; ++i) {
    world.resolver.ask_mail_hosts("one.test", "mail.example.net", world.now_ns, [&told](const auto&) { ++told; });
  }
  EXPECT_EQ(world.questions, 1u);
  EXPECT_EQ(world.resolver.questions(), 1u);
  world.answer();
  EXPECT_EQ(told, 0);
  world.resolver.deliver();
  EXPECT_EQ(told, 100);
  EXPECT_EQ(world.resolver.questions(), 0u);
}

TEST(Resolver, Bounded) {
  World world;
  world.answers_at_once = false;
  std::size_t failed = 0;
  for (std::size_t i = 0; i < Resolver::kQuestionsMax + 10; ++i) {
    world.resolver.ask_mail_hosts("d" + std::to_string(i) + ".test", "mail.example.net", world.now_ns,
                                  [&failed](const auto& hosts) { failed += hosts->status == MailHostsStatus::failed; });
  }
  EXPECT_EQ(world.questions, Resolver::kQuestionsMax);
  world.resolver.deliver();
  EXPECT_EQ(failed, 10u);
}

TEST(Resolver, NamesOfSettingsAndOfTheDnsAreApart) {
  World world;
  world.add_address("mx.test", "192.0.2.1", 600);
  world.host("mx.test", NameOrigin::dns);
  EXPECT_EQ(world.resolver.find_addresses("mx.test", NameOrigin::settings, world.now_ns), nullptr);
  world.host("mx.test", NameOrigin::settings);
  EXPECT_EQ(world.questions, 4u);
}

TEST(Resolver, WhatWasAskedBeforeAReloadIsNotKept) {
  World world;
  world.answers_at_once = false;
  world.add_mx("one.test", {{10, "old.test"}}, 300);
  std::string first;
  std::string second;
  world.resolver.ask_mail_hosts("one.test", "mail.example.net", world.now_ns,
                                [&first](const auto& hosts) { first = hosts->hosts.at(0).host; });
  world.resolver.forget_all();
  const auto old_questions = std::exchange(world.asked, {});
  world.resolver.ask_mail_hosts("one.test", "mail.example.net", world.now_ns,
                                [&second](const auto& hosts) { second = hosts->hosts.at(0).host; });
  const auto new_questions = std::exchange(world.asked, old_questions);
  world.answer();
  world.resolver.deliver();
  EXPECT_EQ(first, "old.test");
  EXPECT_EQ(world.resolver.find_mail_hosts("one.test", world.now_ns), nullptr);
  world.add_mx("one.test", {{10, "new.test"}}, 300);
  world.asked = new_questions;
  world.answer();
  world.resolver.deliver();
  EXPECT_EQ(second, "new.test");
  EXPECT_NE(world.resolver.find_mail_hosts("one.test", world.now_ns), nullptr);
}

TEST(Resolver, NamesThatCannotBeAsked) {
  World world;
  EXPECT_EQ(world.mail("a b.test")->status, MailHostsStatus::no_such_domain);
  EXPECT_EQ(world.host("a b.test")->status, AnswerStatus::no_such_name);
  EXPECT_EQ(world.questions, 0u);
}

TEST(Resolver, WithoutATransport) {
  Resolver resolver({});
  MailHostsStatus status = MailHostsStatus::found;
  resolver.ask_mail_hosts("one.test", "x", 1, [&status](const auto& hosts) { status = hosts->status; });
  ASSERT_TRUE(resolver.has_work());
  resolver.deliver();
  EXPECT_EQ(status, MailHostsStatus::failed);
}

}  // namespace
}  // namespace postern::net::dns
