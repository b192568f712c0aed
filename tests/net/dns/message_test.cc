// Answers of name servers, good, odd and hostile.
#include <gtest/gtest.h>

#include <random>
#include <string>
#include <vector>

#include "net/dns/message.h"

#include "tests/net/dns/answer_builder.h"

namespace postern::net::dns {
namespace {

using testing::AnswerBuilder;
using core::IpAddress;

TEST(DnsMessage, AnswerOfARealServer) {
  // nsd's answer for MX of example.test, with compressed names: two exchanges.
  const std::vector<std::uint8_t> bytes = {
      0x2b, 0x67, 0x84, 0x00, 0, 1, 0, 2, 0, 0, 0, 0,                                  // header
      7, 'e', 'x', 'a', 'm', 'p', 'l', 'e', 4, 't', 'e', 's', 't', 0, 0, 15, 0, 1,      // question, at 12
      0xc0, 12, 0, 15, 0, 1, 0, 0, 0x0e, 0x10, 0, 8, 0, 10, 3, 'm', 'x', '1', 0xc0, 12,  // MX 10 mx1
      0xc0, 12, 0, 15, 0, 1, 0, 0, 0x01, 0x2c, 0, 8, 0, 20, 3, 'M', 'X', '2', 0xc0, 12,  // MX 20 MX2
  };
  const Answer answer = parse_answer(bytes, RecordType::mx);
  ASSERT_EQ(answer.status, AnswerStatus::found);
  EXPECT_EQ(answer.exchanges, (std::vector<Exchange>{{10, "mx1.example.test"}, {20, "mx2.example.test"}}));
  EXPECT_EQ(answer.ttl_seconds, 300u);
}

TEST(DnsMessage, Addresses) {
  const Answer v4 = AnswerBuilder("h.test", RecordType::a).a("h.test", 60, 0x7f000102).a("H.TEST", 50, 0xc0000201).parse(RecordType::a);
  ASSERT_EQ(v4.status, AnswerStatus::found);
  EXPECT_EQ(v4.addresses, (std::vector<IpAddress>{IpAddress::from_v4(0x7f000102), IpAddress::from_v4(0xc0000201)}));
  EXPECT_EQ(v4.ttl_seconds, 50u);
  const IpAddress address = *IpAddress::parse("2001:db8::25");
  const Answer v6 = AnswerBuilder("h.test", RecordType::aaaa).aaaa("h.test", 60, address).parse(RecordType::aaaa);
  ASSERT_EQ(v6.status, AnswerStatus::found);
  EXPECT_EQ(v6.addresses, std::vector<IpAddress>{address});
  // A mapped address would be another family's, by the back door.
  const Answer mapped =
      AnswerBuilder("h.test", RecordType::aaaa).aaaa("h.test", 60, IpAddress::from_v4(0x7f000001)).parse(RecordType::aaaa);
  EXPECT_EQ(mapped.status, AnswerStatus::failed);
}

TEST(DnsMessage, AliasesAreFollowed) {
  const Answer answer = AnswerBuilder("www.test", RecordType::a)
                            .a("real.test", 300, 0x7f000001)  // order does not matter
                            .cname("www.test", 100, "alias.test")
                            .cname("alias.test", 40, "real.test")
                            .a("other.test", 5, 0x7f000002)  // nobody asked
                            .parse(RecordType::a);
  ASSERT_EQ(answer.status, AnswerStatus::found);
  EXPECT_EQ(answer.addresses, std::vector<IpAddress>{IpAddress::from_v4(0x7f000001)});
  EXPECT_EQ(answer.ttl_seconds, 40u);
}

TEST(DnsMessage, AliasesInACircle) {
  const Answer answer = AnswerBuilder("a.test", RecordType::a)
                            .cname("a.test", 60, "b.test")
                            .cname("b.test", 60, "a.test")
                            .parse(RecordType::a);
  EXPECT_EQ(answer.status, AnswerStatus::failed);
}

TEST(DnsMessage, RecordsOfOthersAreNotBelieved) {
  const Answer answer = AnswerBuilder("a.test", RecordType::mx).mx("b.test", 60, 0, "evil.test").parse(RecordType::mx);
  EXPECT_EQ(answer.status, AnswerStatus::no_data);
  EXPECT_TRUE(answer.exchanges.empty());
}

TEST(DnsMessage, NegativeAnswersHoldAsTheSoaSays) {
  const auto ttl = [](std::uint32_t own, std::uint32_t minimum) {
    return AnswerBuilder("a.test", RecordType::mx, 3).soa("test", own, minimum).parse(RecordType::mx).ttl_seconds;
  };
  EXPECT_EQ(ttl(900, 60), 60u);  // RFC 2308 section 5: the lesser
  EXPECT_EQ(ttl(30, 600), 30u);
  const Answer none = AnswerBuilder("a.test", RecordType::mx, 3).parse(RecordType::mx);
  EXPECT_EQ(none.status, AnswerStatus::no_such_name);
  EXPECT_EQ(none.ttl_seconds, 0u);
  const Answer no_data = AnswerBuilder("a.test", RecordType::mx).soa("test", 900, 77).parse(RecordType::mx);
  EXPECT_EQ(no_data.status, AnswerStatus::no_data);
  EXPECT_EQ(no_data.ttl_seconds, 77u);
  const Answer aliased =
      AnswerBuilder("a.test", RecordType::mx).cname("a.test", 20, "b.test").soa("test", 900, 77).parse(RecordType::mx);
  EXPECT_EQ(aliased.status, AnswerStatus::no_data);
  EXPECT_EQ(aliased.ttl_seconds, 20u);
}

TEST(DnsMessage, FailuresAreNeverNegativeAnswers) {
  for (const unsigned code : {1u, 2u, 4u, 5u, 9u}) {
    EXPECT_EQ(AnswerBuilder("a.test", RecordType::mx, code).parse(RecordType::mx).status, AnswerStatus::failed) << code;
  }
  AnswerBuilder question("a.test", RecordType::mx);
  question.bytes[2] = 0x01;  // no response bit
  EXPECT_EQ(question.parse(RecordType::mx).status, AnswerStatus::failed);
  AnswerBuilder cut("a.test", RecordType::mx);
  cut.bytes[2] |= 0x02;  // truncated
  EXPECT_EQ(cut.parse(RecordType::mx).status, AnswerStatus::failed);
  EXPECT_EQ(AnswerBuilder("a.test", RecordType::a).parse(RecordType::mx).status, AnswerStatus::failed);
  EXPECT_EQ(parse_answer({}, RecordType::a).status, AnswerStatus::failed);
  // Records that are all nonsense: an A of three octets, an MX whose host is none.
  EXPECT_EQ(AnswerBuilder("a.test", RecordType::a).raw("a.test", 1, {1, 2, 3}).parse(RecordType::a).status,
            AnswerStatus::failed);
  EXPECT_EQ(AnswerBuilder("a.test", RecordType::mx).mx("a.test", 60, 10, "white space.test").parse(RecordType::mx).status,
            AnswerStatus::failed);
}

TEST(DnsMessage, PointersNeverGoForward) {
  AnswerBuilder builder("a.test", RecordType::mx);
  const auto place = static_cast<std::uint8_t>(builder.bytes.size() + 8 + 11);
  builder.raw("a.test", 15, {0, 10, 0xc0, place});
  EXPECT_EQ(builder.parse(RecordType::mx).status, AnswerStatus::failed);
}

// Whatever is cut off or changed: no crash, and a message that breaks off says nothing.
TEST(DnsMessage, BrokenAnswers) {
  const std::uint64_t seed = testing::test_seed();
  SCOPED_TRACE("POSTERN_SEED=" + std::to_string(seed));
  const std::vector<std::uint8_t> whole = AnswerBuilder("a.test", RecordType::mx)
                                              .cname("a.test", 100, "b.test")
                                              .mx("b.test", 60, 10, "mx.test")
                                              .soa("test", 5, 5)
                                              .bytes;
  for (std::size_t cut = 0; cut < whole.size(); ++cut) {
    const Answer answer = parse_answer({whole.data(), cut}, RecordType::mx);
    // Behind the answers only the SOA is missing, which nobody needs.
    EXPECT_TRUE(answer.status == AnswerStatus::failed || answer.status == AnswerStatus::found) << cut;
  }
  std::mt19937_64 random(seed);
  for (int round = 0; round < 20000; ++round) {
    std::vector<std::uint8_t> changed = whole;
    for (int i = 0; i < 3; ++i) changed[random() % changed.size()] = static_cast<std::uint8_t>(random());
    const Answer answer = parse_answer(changed, RecordType::mx);
    EXPECT_EQ(answer.status == AnswerStatus::found, !answer.exchanges.empty());
  }
}

TEST(DnsMessage, WhatCanBeAsked) {
  EXPECT_TRUE(is_askable("example.test"));
  EXPECT_TRUE(is_askable("_dmarc.xn--bcher-kva.test"));
  EXPECT_TRUE(is_askable(std::string(63, 'a') + ".test"));
  for (const std::string& bad : {std::string(), std::string("."), std::string("a..b"), std::string("a."), std::string(".a"),
                                 std::string(64, 'a'), std::string("a b"), std::string("a\\.b"), std::string("[192.0.2.1]")}) {
    EXPECT_FALSE(is_askable(bad)) << bad;
  }
  std::string longest;
  for (int i = 0; i < 126; ++i) longest += "a.";
  EXPECT_TRUE(is_askable(longest + "b"));
  EXPECT_FALSE(is_askable(longest + "bc"));
}

}  // namespace
}  // namespace postern::net::dns
