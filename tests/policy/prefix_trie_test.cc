// The trie against a naive longest-prefix matcher.
#include "policy/prefix_trie.h"

#include <algorithm>
#include <gtest/gtest.h>
#include <random>
#include <vector>

#include "tests/policy/support.h"

namespace postern::policy {
namespace {

using testing::ip;
using testing::prefix;

bool same_family(const core::IpPrefix& p, const core::IpAddress& address) {
  return (p.bits >= 96 && p.address.is_v4()) == address.is_v4();
}

PrefixTrie::Value naive(const std::vector<PrefixTrie::Entry>& entries, const core::IpAddress& address) {
  int best = -1;
  PrefixTrie::Value value = PrefixTrie::kNone;
  for (const auto& entry : entries) {
    if (!same_family(entry.prefix, address) || !entry.prefix.contains(address)) continue;
    if (entry.prefix.bits >= best) {
      best = entry.prefix.bits;
      value = entry.value;
    }
  }
  return value;
}

core::IpAddress random_address(std::mt19937_64& random, bool v4) {
  if (v4) return core::IpAddress::from_v4(static_cast<std::uint32_t>(random()));
  core::IpAddress address;
  for (auto& octet : address.bytes) octet = static_cast<std::uint8_t>(random());
  address.bytes[0] = 0x20;  // not the mapped space; and near each other
  address.bytes[1] &= 0x03;
  return address;
}

core::IpPrefix cut(core::IpAddress address, int bits) {
  for (int bit = bits; bit < 128; ++bit) {
    address.bytes[static_cast<std::size_t>(bit / 8)] &= static_cast<std::uint8_t>(~(0x80u >> bit % 8));
  }
  return {address, static_cast<std::uint8_t>(bits)};
}

TEST(PrefixTrie, EmptyMatchesNothing) {
  const PrefixTrie trie;
  EXPECT_TRUE(trie.empty());
  EXPECT_FALSE(trie.contains(ip("192.0.2.1")));
  EXPECT_FALSE(trie.contains(ip("::1")));
  EXPECT_FALSE(trie.contains(ip("ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff")));
}

TEST(PrefixTrie, LongestPrefixWins) {
  const std::vector<PrefixTrie::Entry> entries = {
      {prefix("0.0.0.0/0"), 1},       {prefix("10.0.0.0/8"), 2},    {prefix("10.1.0.0/16"), 3},
      {prefix("10.1.2.3"), 4},        {prefix("2001:db8::/32"), 5}, {prefix("2001:db8:0:1::/64"), 6},
      {prefix("2001:db8:0:1::7"), 7}, {prefix("10.1.2.2/31"), 8},   {prefix("10.1.0.0/16"), 9}};
  const PrefixTrie trie(entries);
  EXPECT_EQ(trie.lookup(ip("192.0.2.1")), 1);
  EXPECT_EQ(trie.lookup(ip("10.200.0.1")), 2);
  EXPECT_EQ(trie.lookup(ip("10.1.9.9")), 9) << "of equal prefixes the last one counts";
  EXPECT_EQ(trie.lookup(ip("10.1.2.3")), 4);
  EXPECT_EQ(trie.lookup(ip("10.1.2.2")), 8);
  EXPECT_EQ(trie.lookup(ip("::ffff:10.1.2.3")), 4);
  EXPECT_EQ(trie.lookup(ip("2001:db8:9::1")), 5);
  EXPECT_EQ(trie.lookup(ip("2001:db8:0:1::1")), 6);
  EXPECT_EQ(trie.lookup(ip("2001:db8:0:1::7")), 7);
  EXPECT_EQ(trie.lookup(ip("2001:db7::1")), PrefixTrie::kNone);
}

TEST(PrefixTrie, FamiliesAreApart) {
  const std::vector<core::IpPrefix> v6 = {prefix("::/0")};
  EXPECT_TRUE(PrefixTrie(v6).contains(ip("2001:db8::1")));
  EXPECT_TRUE(PrefixTrie(v6).contains(ip("::1")));
  EXPECT_FALSE(PrefixTrie(v6).contains(ip("192.0.2.1")));
  const std::vector<core::IpPrefix> v4 = {prefix("0.0.0.0/0")};
  EXPECT_TRUE(PrefixTrie(v4).contains(ip("255.255.255.255")));
  EXPECT_TRUE(PrefixTrie(v4).contains(ip("::ffff:1.2.3.4")));
  EXPECT_FALSE(PrefixTrie(v4).contains(ip("::1")));
  EXPECT_FALSE(PrefixTrie(v4).contains(ip("::fffe:1.2.3.4")));
  const std::vector<core::IpPrefix> mapped = {prefix("::ffff:192.168.0.0/112")};
  EXPECT_TRUE(PrefixTrie(mapped).contains(ip("192.168.3.4")));
  EXPECT_FALSE(PrefixTrie(mapped).contains(ip("192.169.3.4")));
}

TEST(PrefixTrie, EveryLengthAtItsEdges) {
  for (int bits = 0; bits <= 128; ++bits) {
    const core::IpAddress address = ip("2a5a:a5a5:5a5a:a5a5:5a5a:a5a5:5a5a:a5a5");
    const core::IpPrefix p = cut(address, bits);
    const PrefixTrie trie(std::vector<core::IpPrefix>{p});
    EXPECT_TRUE(trie.contains(address)) << bits;
    EXPECT_TRUE(trie.contains(p.address)) << bits;
    for (int flipped = 0; flipped < 128; ++flipped) {
      core::IpAddress other = address;
      other.bytes[static_cast<std::size_t>(flipped / 8)] ^= static_cast<std::uint8_t>(0x80u >> flipped % 8);
      EXPECT_EQ(trie.contains(other), flipped >= bits) << bits << " " << flipped;
    }
  }
  for (int bits = 0; bits <= 32; ++bits) {
    const core::IpAddress address = ip("90.165.90.165");
    const PrefixTrie trie(std::vector<core::IpPrefix>{cut(address, 96 + bits)});
    for (int flipped = 0; flipped < 32; ++flipped) {
      const auto other = core::IpAddress::from_v4(address.v4() ^ 0x80000000u >> flipped);
      EXPECT_EQ(trie.contains(other), flipped >= bits) << bits << " " << flipped;
    }
  }
}

void compare(std::mt19937_64& random, std::size_t count, bool v4, int questions) {
  std::vector<PrefixTrie::Entry> entries;
  const int most = v4 ? 32 : 128;
  for (std::size_t i = 0; i < count; ++i) {
    // Half of them stand inside an earlier one, so that nesting is common.
    core::IpAddress base = random_address(random, v4);
    if (!entries.empty() && random() % 2 == 0) {
      const auto& outer = entries[random() % entries.size()].prefix;
      for (int bit = 0; bit < outer.bits; ++bit) {
        const auto octet = static_cast<std::size_t>(bit / 8);
        const auto mask = static_cast<std::uint8_t>(0x80u >> bit % 8);
        base.bytes[octet] =
            static_cast<std::uint8_t>((base.bytes[octet] & ~mask) | (outer.address.bytes[octet] & mask));
      }
    }
    const int bits = static_cast<int>(random() % static_cast<unsigned>(most + 1)) + (v4 ? 96 : 0);
    entries.push_back({cut(base, std::max(bits, v4 ? 96 : 7)), static_cast<PrefixTrie::Value>(random() % 1000)});
  }
  const PrefixTrie trie(entries);
  for (int i = 0; i < questions; ++i) {
    core::IpAddress asked = random_address(random, v4);
    if (i % 2 == 0) {  // near an entry
      asked = entries[random() % entries.size()].prefix.address;
      const auto bit = 127 - random() % static_cast<unsigned>(most);
      asked.bytes[bit / 8] ^= static_cast<std::uint8_t>(0x80u >> bit % 8);
    }
    if (asked.is_v4() != v4) continue;
    ASSERT_EQ(trie.lookup(asked), naive(entries, asked)) << asked.text();
  }
}

TEST(PrefixTrie, AgreesWithANaiveMatcher) {
  const auto seed = std::random_device{}();
  SCOPED_TRACE(seed);
  std::mt19937_64 random(seed);
  for (const std::size_t count : {1u, 2u, 7u, 60u, 400u}) {
    for (int round = 0; round < 5; ++round) {
      compare(random, count, true, 2000);
      compare(random, count, false, 2000);
    }
  }
}

TEST(PrefixTrie, AgreesWithTheTableOfTheFirst16Bits) {
  const auto seed = std::random_device{}();
  SCOPED_TRACE(seed);
  std::mt19937_64 random(seed);
  compare(random, 6000, true, 3000);
  std::vector<core::IpPrefix> many;
  for (std::uint32_t i = 0; i < 5000; ++i) many.push_back({core::IpAddress::from_v4(i << 12), 96 + 20});
  const PrefixTrie trie(many);
  EXPECT_GE(trie.memory_bytes(), std::size_t{4} << 16) << "the table is in use";
  EXPECT_TRUE(trie.contains(core::IpAddress::from_v4(4999u << 12 | 0xfff)));
  EXPECT_FALSE(trie.contains(core::IpAddress::from_v4(5000u << 12)));
}

}  // namespace
}  // namespace postern::policy
