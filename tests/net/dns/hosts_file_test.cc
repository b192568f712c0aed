#include <gtest/gtest.h>

#include "net/dns/hosts_file.h"

namespace postern::net::dns {
namespace {

TEST(HostsFile, Names) {
  const HostsFile hosts(
      "127.0.0.1\tlocalhost LocalHost.LocalDomain. # not.this\r\n"
      "# 192.0.2.9 commented\n"
      "::1 localhost ip6-localhost\n"
      "fe80::1%eth0 scoped\n"
      "nonsense mail\n"
      "192.0.2.1\n"
      "127.0.0.1 localhost\n"
      "192.0.2.7 last");
  const auto text = [&hosts](const std::string& name) {
    std::string all;
    for (const core::IpAddress& address : hosts.find(name)) all += address.text() + " ";
    return all;
  };
  EXPECT_EQ(text("localhost"), "127.0.0.1 ::1 ");
  EXPECT_EQ(text("localhost.localdomain"), "127.0.0.1 ");
  EXPECT_EQ(text("ip6-localhost"), "::1 ");
  EXPECT_EQ(text("last"), "192.0.2.7 ");
  for (const char* none : {"not.this", "commented", "mail", "scoped", "", "nowhere"}) EXPECT_EQ(text(none), "") << none;
}

}  // namespace
}  // namespace postern::net::dns
