// SASLprep: RFC 4013's examples, the tables' edges, bounds.
#include "net/sasl/prepare.h"

#include <array>
#include <gtest/gtest.h>
#include <string>

namespace postern::net::sasl::test {
namespace {

std::optional<std::string> prepared(std::string_view text) {
  std::array<char, kPasswordBytesMax> out;
  const auto size = prepare(text, out);
  return size ? std::optional(std::string(out.data(), *size)) : std::nullopt;
}

TEST(Prepare, ExamplesOfTheRfc) {  // RFC 4013 section 3
  EXPECT_EQ(prepared("I\u00ADX"), "IX");
  EXPECT_EQ(prepared("user"), "user");
  EXPECT_EQ(prepared("USER"), "USER");
  EXPECT_EQ(prepared("\u00AA"), "a");
  EXPECT_EQ(prepared("\u2168"), "IX");
  EXPECT_EQ(prepared("\a"), std::nullopt);
  EXPECT_EQ(prepared("\u06271"), std::nullopt);
}

TEST(Prepare, AsciiStaysAsItIs) {
  std::string printable;
  for (char c = ' '; c < 0x7f; ++c) printable += c;
  EXPECT_EQ(prepared(printable), printable);
  for (int c = 0; c < 0x20; ++c) EXPECT_EQ(prepared(std::string("a") + static_cast<char>(c) + "b"), std::nullopt) << c;
  EXPECT_EQ(prepared("a\x7f"), std::nullopt);
  EXPECT_EQ(prepared(""), std::nullopt);
}

TEST(Prepare, OneSpellingForOneText) {
  EXPECT_EQ(prepared("J\u00F6rg"), "J\u00F6rg");
  EXPECT_EQ(prepared("Jo\u0308rg"), "J\u00F6rg");
  EXPECT_EQ(prepared("A\u030A"), "\u00C5");
  EXPECT_EQ(prepared("\u212B"), "\u00C5");                      // the angstrom sign
  EXPECT_EQ(prepared("\uFF55\uFF53\uFF45\uFF52"), "user");      // full-width letters
  EXPECT_EQ(prepared("\u1112\u1161\u11AB"), "\uD55C");          // Hangul
  EXPECT_EQ(prepared("q\u0307\u0323"), "q\u0323\u0307");        // order of marks
  EXPECT_EQ(prepared("a\u00A0b\u3000c\u2003d"), "a b c d");     // spaces
  EXPECT_EQ(prepared("a\u200Bb"), "a b");                       // table C.1.2 goes before B.1
  EXPECT_EQ(prepared("a\u200Db\uFEFFc\u2060d\uFE0F"), "abcd");  // invisible
  EXPECT_EQ(prepared("\u00AD"), std::nullopt);                  // nothing remains
  EXPECT_EQ(prepared("\U0001F600"), "\U0001F600");              // younger than Unicode 3.2
}

TEST(Prepare, RefusesWhatIsNoText) {
  for (const std::string_view text :
       {"a\u0080",    "a\u009F",    "\u06DD",     "\u180E",     "\u2028",     "\u200E",    "\u202E", "\u206A",
        "\uE000",     "\uF8FF",     "\uFDD0",     "\uFFF9",     "\uFFFD",     "\uFFFE",    "\uFFFF", "\u2FF0",
        "\U0001D173", "\U0001FFFE", "\U000E0001", "\U000E0041", "\U000F0000", "\U0010FFFD"}) {
    EXPECT_EQ(prepared(text), std::nullopt) << testing::PrintToString(text);
  }
  for (const std::string_view text :
       {"\xff", "\xc3", "\xc0\xaf", "\xed\xa0\x80", "\xf4\x90\x80\x80", "\xe2\x82", "a\x80"}) {
    EXPECT_EQ(prepared(text), std::nullopt) << testing::PrintToString(text);
    EXPECT_FALSE(is_utf8(text));
  }
  EXPECT_TRUE(is_utf8("a\u00E9\u20AC\U0001F600"));
  EXPECT_TRUE(is_utf8(std::string_view("\0", 1)));
}

TEST(Prepare, OneDirection) {  // RFC 3454 section 6
  EXPECT_EQ(prepared("\u05D0\u05D1"), "\u05D0\u05D1");
  EXPECT_EQ(prepared("\u0627"
                     "1"
                     "\u0628"),
            "\u0627"
            "1"
            "\u0628");
  EXPECT_EQ(prepared("\u05D0a\u05D1"), std::nullopt);
  EXPECT_EQ(prepared("1\u05D0"), std::nullopt);
  EXPECT_EQ(prepared("a\u05D0"), std::nullopt);
}

TEST(Prepare, Bounds) {
  const std::string longest(kPasswordBytesMax, 'x');
  EXPECT_EQ(prepared(longest), longest);
  EXPECT_EQ(prepared(longest + "x"), std::nullopt);
  std::string accents;
  while (accents.size() + 2 <= kPasswordBytesMax) accents += "\u00E9";
  EXPECT_EQ(prepared(accents), accents);
  // Grows in form KC to more than there is room for: refused, not cut.
  std::string growing;
  while (growing.size() + 3 <= kPasswordBytesMax) growing += "\uFDFA";
  EXPECT_EQ(prepared(growing), std::nullopt);
  std::array<char, 3> small{};
  EXPECT_EQ(prepare("abcd", small), std::nullopt);
  EXPECT_EQ(prepare("abc", small), 3U);
  EXPECT_EQ(prepare("\u00E9\u00E9", small), std::nullopt);
  EXPECT_EQ(prepare("\u00E9x", small), 3U);
}

}  // namespace
}  // namespace postern::net::sasl::test
