// The operator's lists: what each form of entry matches, and what it does not.
#include "policy/address_list.h"

#include <gtest/gtest.h>
#include <string>
#include <vector>

#include "tests/policy/support.h"

namespace postern::policy {
namespace {

using testing::ip;
using testing::mailbox;

AddressList list(std::vector<std::string> entries) {
  return AddressList(entries);
}

bool has(const AddressList& in, std::string_view address) {
  const Mailbox box = mailbox(address);
  return in.matches_mailbox(box, DomainName(box.domain));
}
bool has_recipient(const AddressList& in, std::string_view address) {
  const Mailbox box = mailbox(address);
  return in.matches_recipient(box, DomainName(box.domain));
}

TEST(AddressList, EmptyMatchesNothing) {
  const AddressList empty;
  EXPECT_TRUE(empty.empty());
  EXPECT_FALSE(empty.matches_client(ip("192.0.2.1"), "host.example"));
  EXPECT_FALSE(has(empty, "a@example.net"));
  EXPECT_FALSE(has(empty, ""));
}

TEST(AddressList, AddressesAndPrefixesMatchClients) {
  const AddressList hosts = list({"192.0.2.1", "192.168.0.0/16", "2001:db8::/32"});
  EXPECT_TRUE(hosts.matches_client(ip("192.0.2.1"), ""));
  EXPECT_TRUE(hosts.matches_client(ip("::ffff:192.168.9.9"), ""));
  EXPECT_TRUE(hosts.matches_client(ip("2001:db8:5::1"), ""));
  EXPECT_FALSE(hosts.matches_client(ip("192.0.2.2"), ""));
  EXPECT_FALSE(has(hosts, "a@[192.0.2.1]")) << "a sender's literal is forged at will";
  EXPECT_TRUE(has_recipient(hosts, "a@[192.0.2.1]"));
  EXPECT_TRUE(has_recipient(hosts, "a@[IPv6:2001:DB8::7]"));
  EXPECT_FALSE(has_recipient(hosts, "a@[192.0.2.2]"));
}

TEST(AddressList, DomainsMatchExactlyAndBelow) {
  const AddressList exact = list({"example.net"});
  EXPECT_TRUE(has(exact, "a@example.net"));
  EXPECT_TRUE(has(exact, "a@EXAMPLE.Net."));
  EXPECT_FALSE(has(exact, "a@sub.example.net"));
  EXPECT_FALSE(has(exact, "a@notexample.net"));
  const AddressList below = list({".example.net"});
  EXPECT_FALSE(has(below, "a@example.net"));
  EXPECT_TRUE(has(below, "a@sub.example.net"));
  EXPECT_TRUE(has(below, "a@deep.sub.example.net"));
  EXPECT_FALSE(has(below, "a@notexample.net"));
  EXPECT_TRUE(has(list({"b\u00fccher.example"}), "a@XN--BCHER-KVA.example"));
  EXPECT_TRUE(has(list({"xn--bcher-kva.example"}), "a@B\u00dcCHER.example"));
}

TEST(AddressList, NamesMatchVerifiedHostNames) {
  const AddressList names = list({"mail.partner.example", ".pool.example"});
  EXPECT_TRUE(names.matches_client(ip("192.0.2.1"), "MAIL.partner.example"));
  EXPECT_TRUE(names.matches_client(ip("192.0.2.1"), "a.pool.example."));
  EXPECT_FALSE(names.matches_client(ip("192.0.2.1"), "partner.example"));
  EXPECT_FALSE(names.matches_client(ip("192.0.2.1"), ""));
}

TEST(AddressList, MailAddresses) {
  const AddressList one = list({"Boss@Example.NET", "\"odd name\"@example.net"});
  EXPECT_TRUE(has(one, "Boss@example.net"));
  EXPECT_TRUE(has(one, "\"Boss\"@example.net")) << "quotes change nothing";
  EXPECT_TRUE(has(one, "\"\\Boss\"@example.net"));
  EXPECT_FALSE(has(one, "boss@example.net")) << "local parts are compared exactly";
  EXPECT_FALSE(has(one, "Boss@other.example"));
  EXPECT_FALSE(has(one, "oss@example.net"));
  EXPECT_TRUE(has(one, "\"odd name\"@example.net"));
  EXPECT_TRUE(has(one, "\"odd\\ name\"@example.net"));
  EXPECT_FALSE(has(one, std::string(300, 'a') + "@example.net"));
}

TEST(AddressList, StarMatchesAllButTheNullSender) {
  const AddressList all = list({"*"});
  EXPECT_TRUE(all.matches_any());
  EXPECT_TRUE(has(all, "a@anything.example"));
  EXPECT_TRUE(all.matches_client(ip("192.0.2.1"), ""));
  EXPECT_FALSE(has(all, ""));
}

TEST(AddressList, BadEntriesSayWhatIsWrong) {
  const auto fault = [](std::string_view text) {
    const auto entry = AddressEntry::parse(text);
    return entry ? std::string("none") : entry.error();
  };
  EXPECT_NE(fault("192.168.1.0/16").find("host bits"), std::string::npos);
  EXPECT_NE(fault("192.168.0.0/33").find("prefix length"), std::string::npos);
  EXPECT_NE(fault("300.1.1.1").find("not an address"), std::string::npos);
  EXPECT_NE(fault("@example.net").find("without it"), std::string::npos);
  EXPECT_NE(fault("user@").find("no valid domain"), std::string::npos);
  EXPECT_NE(fault("exa mple").find("neither"), std::string::npos);
  EXPECT_NE(fault("").find("neither"), std::string::npos);
  EXPECT_EQ(fault("*"), "none");
}

TEST(NameMap, FindsWholeNamesOnly) {
  const NameMap map({{"a", 1}, {"ab", 2}, {"", 3}, {"a", 0}});
  EXPECT_EQ(map.find("a"), 0u) << "of equal names the lowest value counts";
  EXPECT_EQ(map.find("ab"), 2u);
  EXPECT_EQ(map.find("a", "b"), 2u);
  EXPECT_EQ(map.find("b"), NameMap::kNone);
  EXPECT_EQ(map.find(""), 3u);
  EXPECT_EQ(NameMap().find("a"), NameMap::kNone);
  std::vector<NameMap::Item> many;
  for (std::uint32_t i = 0; i < 3000; ++i) many.push_back({"name" + std::to_string(i), i});
  const NameMap large(many);
  for (std::uint32_t i = 0; i < 3000; ++i) ASSERT_EQ(large.find("name", std::to_string(i)), i);
  EXPECT_EQ(large.find("name3000"), NameMap::kNone);
}

}  // namespace
}  // namespace postern::policy
