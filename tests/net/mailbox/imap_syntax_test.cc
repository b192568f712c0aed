#include "net/mailbox/imap_syntax.h"

#include <gtest/gtest.h>
#include <limits>
#include <string>

namespace postern::net::mailbox {
namespace {

using Kind = LiteralMark::Kind;
using namespace std::string_literals;

void expect_mark(std::string_view line, Kind kind, std::uint64_t octets) {
  const LiteralMark mark = find_literal(line);
  EXPECT_EQ(mark.kind, kind) << line;
  EXPECT_EQ(mark.octets, octets) << line;
}

TEST(LiteralMark, OfBothKinds) {
  expect_mark("a LOGIN {4}", Kind::synchronising, 4);
  expect_mark("a LOGIN {4+}", Kind::non_synchronising, 4);
  expect_mark("{0}", Kind::synchronising, 0);
  expect_mark("{0012+}", Kind::non_synchronising, 12);
  expect_mark("a LOGIN {4294967296}", Kind::synchronising, 4294967296);
  expect_mark("{18446744073709551621+}", Kind::non_synchronising, std::numeric_limits<std::uint64_t>::max());
}

TEST(LiteralMark, WhatIsNone) {
  for (const char* line : {"", "}", "4}", "{}", "{+}", "{4-}", "{-4}", "{4++}", "{4} ", "{4", "{ 4}", "{4 }", "a}"}) {
    expect_mark(line, Kind::none, 0);
  }
}

// "<anna> <secret>", or "none" where there is no argument.
std::string arguments(std::string command) {
  CommandReader reader({command.data(), command.size()});
  std::string text;
  while (!reader.is_at_end()) {
    const auto argument = reader.astring();
    if (!argument) return text + "none";
    text.append("<").append(*argument).append(">");
  }
  return text;
}

TEST(CommandReader, Arguments) {
  EXPECT_EQ(arguments("anna secret"), "<anna><secret>");
  EXPECT_EQ(arguments("\"an na\" \"\""), "<an na><>");
  EXPECT_EQ(arguments(R"("a\"b\\c" x)"), R"(<a"b\c><x>)");
  EXPECT_EQ(arguments("{4}\r\nanna {8+}\r\nse\r\ncret"), "<anna><se\r\ncret>");
  EXPECT_EQ(arguments("{0}\r\n x"), "<><x>");
  EXPECT_EQ(arguments("anna pass%w*rd]~"), "<anna><pass%w*rd]~>");
  EXPECT_EQ(arguments("anna \xc3\xa4"), "<anna><\xc3\xa4>");
}

TEST(CommandReader, WhatIsNoArgument) {
  for (const char* command : {" anna", "anna ", "anna  x", "\"anna", "\"an\\na\"", "\"anna\"x", "\"anna\\", "(anna)",
                              "an\"na", "an{na", "{4}anna", "{4}\r\nann", "{4}\r\nannax", "{x}\r\n", "a\\b", "a\tb"}) {
    const std::string text = arguments(command);
    EXPECT_EQ(text.substr(text.size() - 4), "none") << command;
  }
  EXPECT_EQ(arguments("an\0na"s), "none");
  EXPECT_EQ(arguments("\"an\0na\""s), "none");
  EXPECT_EQ(arguments("{5}\r\nan\0na"s), "none");
  EXPECT_EQ(arguments("\"an\rna\""), "none");
  EXPECT_EQ(arguments("\"x{4}\r\nanna\""), "none");
}

TEST(CommandReader, TagAndWord) {
  std::string command = "A.1 LOGIN x";
  CommandReader reader({command.data(), command.size()});
  EXPECT_EQ(reader.tag(), "A.1");
  EXPECT_EQ(reader.word(), "LOGIN");
  EXPECT_EQ(reader.rest(), "x");
  for (std::string bad :
       {std::string(" x"), std::string("a"), std::string("+ x"), std::string("* x"), std::string("a+b x"),
        std::string("a\x80 x"), std::string("(a x"), std::string(kTagBytesMax + 1, 'a') + " x"}) {
    EXPECT_FALSE(CommandReader({bad.data(), bad.size()}).tag()) << bad;
  }
  std::string longest = std::string(kTagBytesMax, 'a') + " x";
  EXPECT_TRUE(CommandReader({longest.data(), longest.size()}).tag());
}

TEST(Quotable, PrintableAsciiOnly) {
  EXPECT_TRUE(is_quotable("") && is_quotable("a \"b\" \\ ~"));
  EXPECT_FALSE(is_quotable("a\tb"));
  EXPECT_FALSE(is_quotable("a\x7f"));
  EXPECT_FALSE(is_quotable("\xc3\xa4"));
}

}  // namespace
}  // namespace postern::net::mailbox
