// Paths of MAIL and RCPT (RFC 5321 section 4.1.2, RFC 6531 section 3.3).
#include "net/smtp/address.h"

#include <gtest/gtest.h>
#include <string>

namespace postern::net::smtp {
namespace {

std::string repeat(std::string_view text, int times) {
  std::string all;
  for (int i = 0; i < times; ++i) all += text;
  return all;
}

TEST(Address, TakesThePartsAsWritten) {
  const ParsedPath path = parse_path("<User.Name+tag@Mail.Example.NET> SIZE=3", PathKind::reverse);
  ASSERT_EQ(path.fault, PathFault::none);
  EXPECT_EQ(path.address, "User.Name+tag@Mail.Example.NET");
  EXPECT_EQ(path.mailbox.local_part, "User.Name+tag");
  EXPECT_EQ(path.mailbox.domain, "Mail.Example.NET");
  EXPECT_EQ(path.consumed, 32U);
  EXPECT_FALSE(path.has_source_route);
  EXPECT_FALSE(path.has_utf8);
}

TEST(Address, NullPathOnlyForSenders) {
  const ParsedPath path = parse_path("<>", PathKind::reverse);
  EXPECT_EQ(path.fault, PathFault::none);
  EXPECT_EQ(path.consumed, 2U);
  EXPECT_TRUE(path.mailbox.is_null());
  EXPECT_EQ(parse_path("<>", PathKind::forward).fault, PathFault::syntax);
}

TEST(Address, PostmasterOnlyForRecipients) {
  const ParsedPath path = parse_path("<PostMaster>", PathKind::forward);
  EXPECT_EQ(path.fault, PathFault::none);
  EXPECT_EQ(path.address, "PostMaster");
  EXPECT_EQ(path.mailbox.local_part, "PostMaster");
  EXPECT_EQ(path.mailbox.domain, "");
  EXPECT_EQ(parse_path("<postmaster>", PathKind::reverse).fault, PathFault::syntax);
  EXPECT_EQ(parse_path("<user>", PathKind::forward).fault, PathFault::syntax);
  EXPECT_EQ(parse_path("<@a.example:postmaster>", PathKind::forward).fault, PathFault::syntax);
}

TEST(Address, SourceRouteIsReportedAndDropped) {
  const ParsedPath path = parse_path("<@a.example,@[192.0.2.1]:user@b.example>", PathKind::forward);
  ASSERT_EQ(path.fault, PathFault::none);
  EXPECT_TRUE(path.has_source_route);
  EXPECT_EQ(path.address, "user@b.example");
  for (const char* bad : {"<@a.example:>", "<@a.example user@b.example>", "<@:user@b.example>",
                          "<@a.example,b.example:user@b.example>", "<@a.example,:user@b.example>"}) {
    EXPECT_EQ(parse_path(bad, PathKind::forward).fault, PathFault::syntax) << bad;
  }
}

TEST(Address, TrailingDotIsDropped) {
  const ParsedPath path = parse_path("<user@example.net.>", PathKind::forward);
  ASSERT_EQ(path.fault, PathFault::none);
  EXPECT_EQ(path.address, "user@example.net");
  EXPECT_EQ(path.mailbox.domain, "example.net");
  EXPECT_EQ(path.consumed, 19U);
  EXPECT_EQ(parse_path("<user@example.net..>", PathKind::forward).fault, PathFault::syntax);
  EXPECT_EQ(parse_path("<user@.>", PathKind::forward).fault, PathFault::syntax);
}

TEST(Address, GoodLocalParts) {
  for (const char* good :
       {"a", "a.b", "!#$%&'*+-/=?^_`{|}~", "\"\"", "\"a b\"", "\"a\\\"b\"", "\"a\\\\\"", "\"<>@,;:\"", "\"..\"", "1"}) {
    const std::string text = std::string("<") + good + "@b.example>";
    const ParsedPath path = parse_path(text, PathKind::reverse);
    EXPECT_EQ(path.fault, PathFault::none) << text;
    EXPECT_EQ(path.mailbox.local_part, good);
    EXPECT_EQ(path.consumed, text.size());
  }
}

TEST(Address, BadLocalParts) {
  for (const char* bad :
       {"",     ".",      ".a",     "a.",  "a..b",    "a b",      "a,b", "a:b",      "a;b",      "a(b)", "a[b",
        "a\\b", "a\"b\"", "\"a\"b", "\"a", "\"a\\\"", "\"a\"b\"", "a<b", "\"a\tb\"", "\"\\\t\"", "a\x7f"}) {
    EXPECT_EQ(parse_path(std::string("<") + bad + "@b.example>", PathKind::reverse).fault, PathFault::syntax) << bad;
  }
  EXPECT_EQ(parse_path(std::string("<\"a\0b\"@b.example>", 17), PathKind::reverse).fault, PathFault::syntax);
}

TEST(Address, GoodDomains) {
  for (const char* good : {"a", "a.b", "localhost", "1.2.3", "a--b", "xn--bcher-kva.example", "[192.0.2.1]",
                           "[IPv6:2001:db8::1]", "[ipv6:::]", "[IPv6:::ffff:192.0.2.1]"}) {
    const std::string text = std::string("<x@") + good + ">";
    const ParsedPath path = parse_path(text, PathKind::forward);
    EXPECT_EQ(path.fault, PathFault::none) << text;
    EXPECT_EQ(path.mailbox.domain, good);
  }
}

TEST(Address, BadDomains) {
  for (const char* bad : {"",
                          ".a",
                          "a..b",
                          "-a",
                          "a-",
                          "a.-b",
                          "a_b",
                          "a b",
                          "a,b",
                          "a@b",
                          "[",
                          "[]",
                          "[192.0.2]",
                          "[192.0.2.256]",
                          "[2001:db8::1]",
                          "[IPv6:]",
                          "[IPv6:192.0.2.1]",
                          "[IPv6:2001:db8::1",
                          "[X:y]",
                          "[192.0.2.1]x",
                          "[192.0.2.1].",
                          "a[1]"}) {
    EXPECT_NE(parse_path(std::string("<x@") + bad + ">", PathKind::forward).fault, PathFault::none) << bad;
  }
}

TEST(Address, BracketsAreRequired) {
  for (const char* bad : {"", "x@b.example", "<x@b.example", "x@b.example>", " <x@b.example>", "< x@b.example>",
                          "<x@b.example >", "<<x@b.example>>", "<x@b.example\r>"}) {
    EXPECT_EQ(parse_path(bad, PathKind::forward).fault, PathFault::syntax) << bad;
  }
}

TEST(Address, Bounds) {
  const auto fault = [](const std::string& text) { return parse_path(text, PathKind::forward).fault; };
  EXPECT_EQ(fault("<" + repeat("x", 64) + "@b.example>"), PathFault::none);
  EXPECT_EQ(fault("<" + repeat("x", 65) + "@b.example>"), PathFault::local_part_too_long);
  EXPECT_EQ(fault("<\"" + repeat("x", 62) + "\"@b.example>"), PathFault::none);
  EXPECT_EQ(fault("<\"" + repeat("x", 63) + "\"@b.example>"), PathFault::local_part_too_long);
  EXPECT_EQ(fault("<x@" + repeat("a", 63) + ".b>"), PathFault::none);
  EXPECT_EQ(fault("<x@" + repeat("a", 64) + ".b>"), PathFault::syntax);
  EXPECT_EQ(fault("<x@" + repeat("a.", 125) + "aa>"), PathFault::none);          // 256 octets
  EXPECT_EQ(fault("<x@" + repeat("a.", 126) + "a>"), PathFault::path_too_long);  // 257 octets
  EXPECT_EQ(fault("<x@" + repeat("a.", 128) + "a>"), PathFault::domain_too_long);
  EXPECT_EQ(fault("<" + repeat("@a.example,", 30) + "@a.example:x@b>"), PathFault::path_too_long);
}

TEST(Address, Utf8) {
  const auto parse = [](const std::string& text) { return parse_path(text, PathKind::forward); };
  EXPECT_TRUE(parse("<jürgen@b.example>").has_utf8);
  EXPECT_TRUE(parse("<\"jü rgen\"@b.example>").has_utf8);
  EXPECT_TRUE(parse("<x@bücher.example>").has_utf8);
  EXPECT_EQ(parse("<x@bücher.example>").mailbox.domain, "bücher.example");
  EXPECT_TRUE(parse("<用户@例え.example>").has_utf8);
  for (const char* bad :
       {"<\x80@b>", "<\xc3@b>", "<\xc3(@b>", "<\xc0\xaf@b>", "<\xe0\x80\xaf@b>", "<\xed\xa0\x80@b>",
        "<\xf4\x90\x80\x80@b>", "<\xf8\x88\x80\x80\x80@b>", "<\xc2\x85@b>", "<x@\xff>", "<\"\xc3\"@b>"}) {
    EXPECT_EQ(parse(bad).fault, PathFault::bad_utf8) << bad;
  }
}

TEST(Address, Utf8Sequences) {
  EXPECT_EQ(utf8_sequence_bytes("a", 0), 1U);
  EXPECT_EQ(utf8_sequence_bytes("a", 1), 0U);
  EXPECT_EQ(utf8_sequence_bytes("\xc2\xa0", 0), 2U);
  EXPECT_EQ(utf8_sequence_bytes("\xed\x9f\xbf", 0), 3U);
  EXPECT_EQ(utf8_sequence_bytes("\xee\x80\x80", 0), 3U);
  EXPECT_EQ(utf8_sequence_bytes("\xf0\x90\x80\x80", 0), 4U);
  EXPECT_EQ(utf8_sequence_bytes("\xf4\x8f\xbf\xbf", 0), 4U);
  EXPECT_EQ(utf8_sequence_bytes("\xf0\x8f\xbf\xbf", 0), 0U);
  EXPECT_EQ(utf8_sequence_bytes("\xf5\x80\x80\x80", 0), 0U);
}

}  // namespace
}  // namespace postern::net::smtp
