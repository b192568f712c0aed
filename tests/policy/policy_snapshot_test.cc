// The snapshot's own lookups: LAN, local domains, believed proxies, routes.
#include "policy/policy_snapshot.h"

#include <gtest/gtest.h>

#include "tests/policy/support.h"

namespace postern::policy {
namespace {

using testing::ip;
using testing::prefix;

TEST(PolicySnapshot, LanAndBelievedHosts) {
  Settings settings = testing::base_settings();
  settings.proxy_from = {prefix("10.0.0.1"), prefix("2001:db8:5::/64")};
  settings.xclient_from = {prefix("127.0.0.1")};
  const PolicySnapshot snapshot(settings);
  EXPECT_TRUE(snapshot.is_lan(ip("192.168.255.255")));
  EXPECT_TRUE(snapshot.is_lan(ip("::ffff:192.168.0.1")));
  EXPECT_TRUE(snapshot.is_lan(ip("2001:db8:1:2::3")));
  EXPECT_FALSE(snapshot.is_lan(ip("192.169.0.1")));
  EXPECT_FALSE(snapshot.is_lan(ip("2001:db8:2::3")));
  EXPECT_TRUE(snapshot.believes_proxy(ip("10.0.0.1")));
  EXPECT_TRUE(snapshot.believes_proxy(ip("2001:db8:5::9")));
  EXPECT_FALSE(snapshot.believes_proxy(ip("127.0.0.1")));
  EXPECT_TRUE(snapshot.believes_xclient(ip("127.0.0.1")));
  EXPECT_FALSE(snapshot.believes_xclient(ip("10.0.0.1")));
}

TEST(PolicySnapshot, LocalDomains) {
  Settings settings = testing::base_settings();
  settings.local_domains.push_back("b\u00fccher.example");
  const PolicySnapshot snapshot(settings);
  EXPECT_TRUE(snapshot.is_local_domain(DomainName("EXAMPLE.NET.")));
  EXPECT_TRUE(snapshot.is_local_domain(DomainName("xn--bcher-kva.example")));
  EXPECT_FALSE(snapshot.is_local_domain(DomainName("sub.example.net")));
  EXPECT_FALSE(snapshot.is_local_domain(DomainName("net")));
  EXPECT_FALSE(snapshot.is_local_domain(DomainName("")));
}

TEST(PolicySnapshot, TheFirstRouteThatTakesTheDomain) {
  Settings settings = testing::base_settings();
  for (const char* domain : {"example.net", ".example.net", "special.example.org", ".example.org", "*"}) {
    settings.routes.emplace_back().domain = domain;
  }
  const PolicySnapshot snapshot(settings);
  EXPECT_EQ(snapshot.route(DomainName("Example.NET")), 0);
  EXPECT_EQ(snapshot.route(DomainName("a.b.example.net")), 1);
  EXPECT_EQ(snapshot.route(DomainName("special.example.org")), 2);
  EXPECT_EQ(snapshot.route(DomainName("other.example.org")), 3);
  EXPECT_EQ(snapshot.route(DomainName("example.org")), 4);
  EXPECT_EQ(snapshot.route(DomainName("[192.0.2.1]")), 4);
}

TEST(PolicySnapshot, OrderDecidesBetweenExactAndBelow) {
  Settings settings = testing::base_settings();
  for (const char* domain : {".example.net", "mail.example.net", ".deep.example.net"}) {
    settings.routes.emplace_back().domain = domain;
  }
  const PolicySnapshot snapshot(settings);
  EXPECT_EQ(snapshot.route(DomainName("mail.example.net")), 0);
  EXPECT_EQ(snapshot.route(DomainName("x.deep.example.net")), 0);
  EXPECT_EQ(snapshot.route(DomainName("example.net")), -1);
  EXPECT_EQ(snapshot.route(DomainName("other.example")), -1);
}

}  // namespace
}  // namespace postern::policy
