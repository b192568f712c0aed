#include "core/ip_address.h"

#include <gtest/gtest.h>
#include <netinet/in.h>

namespace postern::core {
namespace {

IpAddress address(std::string_view text) {
  return IpAddress::parse(text).value();
}

TEST(IpAddress, ParsesAndPrintsCanonically) {
  const std::pair<const char*, const char*> cases[] = {
      {"192.0.2.1", "192.0.2.1"},
      {"0.0.0.0", "0.0.0.0"},
      {"::", "::"},
      {"::1", "::1"},
      {"2001:DB8:0:0:0:0:0:1", "2001:db8::1"},
      {"2001:db8:0:1:1:1:1:1", "2001:db8:0:1:1:1:1:1"},  // RFC 5952 section 4.2.2: one group is not shortened
      {"2001:0:0:1:0:0:0:1", "2001:0:0:1::1"},           // section 4.2.3: the longest run
      {"::ffff:192.0.2.1", "192.0.2.1"},
      {"::ffff:c000:201", "192.0.2.1"},
  };
  for (const auto& [in, out] : cases) EXPECT_EQ(address(in).text(), out) << in;
  std::array<char, IpAddress::kTextBytes> buffer;
  EXPECT_EQ(address("2001:db8::1").text_into(buffer), "2001:db8::1");
}

TEST(IpAddress, RefusesWhatIsNotAnAddress) {
  for (const char* text : {"", "1", "1.2.3", "1.2.3.4.5", "256.0.0.1", "01.2.3.4", "1.2.3.4 ", " 1.2.3.4", "[::1]",
                           "fe80::1%eth0", ":::", "1::2::3", "12345::", "::ffff:1.2.3", "localhost", "0x7f.0.0.1",
                           "1111:2222:3333:4444:5555:6666:7777:8888:9999:aaaa:bbbb:cccc"}) {
    EXPECT_FALSE(IpAddress::parse(text).has_value()) << text;
  }
  EXPECT_FALSE(IpAddress::parse(std::string_view("1.2.3.4\0", 8)).has_value());
}

TEST(IpAddress, OneClientIsOneKeyInBothFamilies) {
  EXPECT_EQ(address("::ffff:10.1.2.3"), address("10.1.2.3"));
  EXPECT_TRUE(address("10.1.2.3").is_v4());
  EXPECT_FALSE(address("::10.1.2.3").is_v4());
  EXPECT_EQ(address("10.1.2.3").v4(), 0x0a010203u);
  EXPECT_EQ(IpAddress::from_v4(0x0a010203u), address("10.1.2.3"));
  EXPECT_EQ(address("2001:db8:1:2:3:4:5:6").high(), 0x20010db800010002u);
  EXPECT_EQ(address("2001:db8:1:2:3:4:5:6").low(), 0x0003000400050006u);
}

TEST(IpAddress, KnowsLoopback) {
  for (const char* text : {"127.0.0.1", "127.255.255.255", "::1", "::ffff:127.0.0.1"}) {
    EXPECT_TRUE(address(text).is_loopback()) << text;
  }
  for (const char* text : {"126.0.0.1", "128.0.0.1", "::", "::2", "fe80::1", "1::1"}) {
    EXPECT_FALSE(address(text).is_loopback()) << text;
  }
}

TEST(IpAddress, LiteralsOfRfc5321) {
  EXPECT_EQ(address("192.0.2.1").literal(), "[192.0.2.1]");
  EXPECT_EQ(address("2001:db8::1").literal(), "[IPv6:2001:db8::1]");
}

TEST(Endpoint, TextGoesBothWays) {
  for (const char* text : {"192.0.2.1:25", "[2001:db8::1]:587", "[::]:0", "0.0.0.0:65535"}) {
    const auto endpoint = Endpoint::parse(text);
    ASSERT_TRUE(endpoint.has_value()) << text;
    EXPECT_EQ(endpoint->text(), text);
  }
  for (const char* text : {"", ":25", "192.0.2.1", "192.0.2.1:", "192.0.2.1:65536", "192.0.2.1:+25", "192.0.2.1: 25",
                           "2001:db8::1:25", "[192.0.2.1]:25", "[::1]", "[::1]25", "::1]:25", "[]:25"}) {
    EXPECT_FALSE(Endpoint::parse(text).has_value()) << text;
  }
}

TEST(Endpoint, SocketAddressesGoBothWays) {
  for (const char* text : {"192.0.2.1:25", "[2001:db8::1]:587"}) {
    const Endpoint endpoint = *Endpoint::parse(text);
    sockaddr_storage storage;
    const std::uint32_t bytes = endpoint.to_sockaddr(storage);
    EXPECT_EQ(storage.ss_family, endpoint.address.is_v4() ? AF_INET : AF_INET6);
    EXPECT_EQ(bytes, endpoint.address.is_v4() ? sizeof(sockaddr_in) : sizeof(sockaddr_in6));
    EXPECT_EQ(Endpoint::from_sockaddr(reinterpret_cast<const sockaddr&>(storage)), endpoint);
  }
  sockaddr_storage unix_socket{};
  unix_socket.ss_family = AF_UNIX;
  EXPECT_FALSE(Endpoint::from_sockaddr(reinterpret_cast<const sockaddr&>(unix_socket)).has_value());
}

TEST(IpPrefix, ParsesPrintsAndContains) {
  const auto lan = IpPrefix::parse("192.168.0.0/16").value();
  EXPECT_EQ(lan.bits, 112);
  EXPECT_EQ(lan.text(), "192.168.0.0/16");
  EXPECT_TRUE(lan.contains(address("192.168.255.1")));
  EXPECT_TRUE(lan.contains(address("::ffff:192.168.0.1")));
  EXPECT_FALSE(lan.contains(address("192.169.0.1")));
  EXPECT_FALSE(lan.contains(address("2001:db8::1")));

  const auto odd = IpPrefix::parse("10.32.0.0/11").value();
  EXPECT_TRUE(odd.contains(address("10.63.255.255")));
  EXPECT_FALSE(odd.contains(address("10.64.0.0")));

  const auto all_v4 = IpPrefix::parse("0.0.0.0/0").value();
  EXPECT_EQ(all_v4.text(), "0.0.0.0/0");
  EXPECT_TRUE(all_v4.contains(address("8.8.8.8")));
  EXPECT_FALSE(all_v4.contains(address("2001:db8::1")));
  const auto everything = IpPrefix::parse("::/0").value();
  EXPECT_TRUE(everything.contains(address("8.8.8.8")));
  EXPECT_EQ(everything.text(), "::/0");

  EXPECT_EQ(IpPrefix::parse("192.0.2.7").value().text(), "192.0.2.7/32");
  EXPECT_EQ(IpPrefix::parse("2001:db8::7").value().text(), "2001:db8::7/128");
  EXPECT_EQ(IpPrefix::parse("::ffff:192.0.2.0/120").value(), IpPrefix::parse("192.0.2.0/24").value());
}

TEST(IpPrefix, RefusesAndSaysWhy) {
  const std::pair<const char*, const char*> cases[] = {
      {"192.168.1.0/16", "did you mean the network 192.168.0.0/16 or the host 192.168.1.0?"},
      {"2001:db8::1/32", "did you mean the network 2001:db8::/32 or the host 2001:db8::1?"},
      {"192.168.0.0/33", "a number from 0 to 32"},
      {"2001:db8::/129", "a number from 0 to 128"},
      {"192.168.0.0/", "a number from 0 to 32"},
      {"192.168.0.0/-1", "a number from 0 to 32"},
      {"192.168.0.0/16 ", "a number from 0 to 32"},
      {"192.168/16", "not an address or a prefix"},
      {"example.net", "not an address or a prefix"},
      {"", "not an address or a prefix"},
  };
  for (const auto& [text, expected] : cases) {
    std::string why;
    EXPECT_FALSE(IpPrefix::parse(text, &why).has_value()) << text;
    EXPECT_NE(why.find(expected), std::string::npos) << why;
    EXPECT_FALSE(IpPrefix::parse(text).has_value()) << text;
  }
}

}  // namespace
}  // namespace postern::core
