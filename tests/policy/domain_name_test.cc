// A domain is one domain however it is written.
#include <gtest/gtest.h>
#include <random>
#include <string>

#include "policy/address.h"
#include "policy/unicode_fold.h"

namespace postern::policy {
namespace {

std::string name(std::string_view text) {
  return std::string(DomainName(text).text());
}

TEST(DomainName, AsciiIsLoweredAndLosesItsTrailingDot) {
  EXPECT_EQ(name("example.net"), "example.net");
  EXPECT_EQ(name("EXAMPLE.Net"), "example.net");
  EXPECT_EQ(name("Example.NET."), "example.net");
  EXPECT_EQ(name("localhost"), "localhost");
  EXPECT_EQ(name("a_b.x-1.example"), "a_b.x-1.example");
  EXPECT_EQ(name("XN--BCHER-KVA.example"), "xn--bcher-kva.example");
}

TEST(DomainName, WhatIsNoDomainIsEmpty) {
  for (const char* bad :
       {"", ".", "..", ".example.net", "example..net", "example.net..", "exa mple.net", "a@b", "-a.example",
        "a-.example", "a.-b.example", "exam%ple.net", "a/b", "a:b", "\x7f.example", "a\tb", "*", "*.x"}) {
    EXPECT_TRUE(DomainName(bad).empty()) << bad;
  }
  EXPECT_TRUE(DomainName(std::string_view("a\0b", 3)).empty());
}

TEST(DomainName, Lengths) {
  const std::string label63(63, 'a');
  EXPECT_EQ(name(label63 + ".net"), label63 + ".net");
  EXPECT_TRUE(DomainName(label63 + "a.net").empty());
  const std::string four = label63 + "." + label63 + "." + label63 + "." + label63;  // 255 octets
  ASSERT_EQ(four.size(), 255u);
  EXPECT_EQ(name(four), four);
  EXPECT_EQ(name(four + "."), four);
  EXPECT_TRUE(DomainName(four + "a").empty());
  EXPECT_TRUE(DomainName(std::string(300, 'a')).empty());
  EXPECT_TRUE(DomainName(four + ".b.example").empty());
}

// The A-labels are those that IDNA tools give for these names.
TEST(DomainName, UnicodeLabelsBecomeALabels) {
  EXPECT_EQ(name("b\u00fccher.example"), "xn--bcher-kva.example");
  EXPECT_EQ(name("B\u00dcCHER.Example."), "xn--bcher-kva.example");
  EXPECT_EQ(name("m\u00fcnchen.de"), "xn--mnchen-3ya.de");
  EXPECT_EQ(name("fa\u00df.de"), "xn--fa-hia.de");
  EXPECT_EQ(name("\u03b5\u03bb\u03bb\u03ac\u03b4\u03b1.example"), "xn--hxakic4aa.example");
  EXPECT_EQ(name("\u0395\u039b\u039b\u0386\u0394\u0391.example"), "xn--hxakic4aa.example");
  EXPECT_EQ(name("\u043f\u0440\u0438\u043c\u0435\u0440.\u0440\u0444"), "xn--e1afmkfd.xn--p1ai");
  EXPECT_EQ(name("\u041f\u0420\u0418\u041c\u0415\u0420.\u0420\u0424"), "xn--e1afmkfd.xn--p1ai");
  EXPECT_EQ(name("\u4f8b\u5b50.example"), "xn--fsqu00a.example");
  EXPECT_EQ(name("\u4f8b\u5b50\u3002example"), "xn--fsqu00a.example");  // the ideographic full stop
  EXPECT_EQ(name("paral\u00b7lel.example"), "xn--parallel-koa.example");
}

TEST(DomainName, ComposedAndDecomposedAreOne) {
  EXPECT_EQ(name("bu\u0308cher.example"), "xn--bcher-kva.example");  // u and a combining diaeresis
  EXPECT_EQ(name("BU\u0308CHER.example"), "xn--bcher-kva.example");
  EXPECT_EQ(name("\u1ead.example"), name("a\u0302\u0323.example"));  // marks in either order
  EXPECT_EQ(name("\u1ead.example"), name("a\u0323\u0302.example"));
  EXPECT_EQ(name("\u1ead.example"), name("\u00e2\u0323.example"));
  EXPECT_FALSE(DomainName("\u1ead.example").empty());
  EXPECT_EQ(name("\u0439.example"), name("\u0438\u0306.example"));
}

TEST(DomainName, WhatCannotBeFoldedIsRefused) {
  for (const char* bad :
       {"a\u200bb.example", "a\u00adb.example", "\uff41.example", "\u2460.example", "\ufb01.example", "\u017f.example",
        "a\u00a0b.example", "\u0308a.example", "\u1f00.example", "\U0001f600.example", "-\u00fc.example",
        "\u00fc-.example", "xn--\u00fc.example", "\u0130.example", "\u01c6.example", "\u0132.example",
        "\u202eabc.example", "a\u00d7.example", "\u00fc..example"}) {
    EXPECT_TRUE(DomainName(bad).empty()) << bad;
  }
  for (const char* bad : {"\xc3.example", "\xc3\x28.example", "\xc0\xaf.example", "\xed\xa0\x80.example",
                          "\xff.example", "\xf4\x90\x80\x80.example", "\xe0\x80\x80.example", "abc\x80"}) {
    EXPECT_TRUE(DomainName(bad).empty());
  }
  std::string tall = "a";
  for (int i = 0; i < 300; ++i) tall += "\u0308";
  EXPECT_TRUE(DomainName(tall + ".example").empty());
}

TEST(DomainName, AddressLiteralsHaveOneForm) {
  EXPECT_EQ(name("[192.0.2.1]"), "[192.0.2.1]");
  EXPECT_EQ(name("[IPv6:2001:DB8::1]"), "[ipv6:2001:db8:0:0:0:0:0:1]");
  EXPECT_EQ(name("[ipv6:2001:db8:0::0:1]"), "[ipv6:2001:db8:0:0:0:0:0:1]");
  for (const char* bad : {"[", "[]", "[192.0.2.1", "[192.0.2]", "[2001:db8::1]", "[IPv6:192.0.2.1]", "[tag:x]",
                          "[300.1.1.1]", "[IPv6:]", "[IPv6:xyz]", "[192.0.2.1]x"}) {
    EXPECT_TRUE(DomainName(bad).empty()) << bad;
  }
}

// Normalising twice changes nothing, whatever the octets; and nothing reads or writes out of bounds.
TEST(DomainName, IsIdempotentOnRandomText) {
  const auto seed = std::random_device{}();
  SCOPED_TRACE(seed);
  std::mt19937 random(seed);
  const std::string pieces[] = {"a",         "Z",      "9",       "-",      ".",      "_",
                                "\u00fc",    "\u00dc", "u\u0308", "\u4f8b", "\u3002", "\xc3",
                                "[",         "]",      ":",       "\u0391", "\u0323", "abcdefghijklmnopqrstuvwxyz",
                                "\U00020000"};
  std::uniform_int_distribution<std::size_t> piece(0, std::size(pieces) - 1);
  std::uniform_int_distribution<int> count(0, 40);
  int valid = 0;
  for (int i = 0; i < 50000; ++i) {
    std::string text;
    for (int n = count(random) % (1 + i % 40); n >= 0; --n) text += pieces[piece(random)];
    const DomainName once(text);
    if (once.empty()) continue;
    ++valid;
    ASSERT_EQ(DomainName(once.text()).text(), once.text()) << text;
    for (const char c : once.text()) ASSERT_LT(static_cast<unsigned char>(c), 0x80) << text;
  }
  EXPECT_GT(valid, 1000);
}

TEST(UnicodeFold, LowerCaseIsStableAndAllowedLettersAreLower) {
  for (char32_t c = 0; c < 0x3000; ++c) {
    EXPECT_EQ(lower_case(lower_case(c)), lower_case(c)) << static_cast<unsigned>(c);
    if (may_stand_in_label(c)) {
      EXPECT_EQ(lower_case(c), c) << static_cast<unsigned>(c);
    }
  }
}

}  // namespace
}  // namespace postern::policy
