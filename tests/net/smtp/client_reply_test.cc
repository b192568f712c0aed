// Replies: every split gives the same; what is accepted, what is not, and the bounds.
#include <gtest/gtest.h>
#include <string>
#include <vector>

#include "net/smtp/reply_parser.h"

namespace postern::net::smtp {
namespace {

struct Parsed {
  std::vector<std::string> lines;
  std::vector<std::string> replies;  // "code|enhanced|text"
  bool malformed = false;

  bool operator==(const Parsed&) const = default;
};

// Feeds `input` in two pieces, cut at `cut`, and then octet by octet from there when `slowly`.
Parsed parse(std::string_view input, std::size_t cut, bool slowly = false) {
  ReplyParser parser;
  Parsed parsed;
  const auto feed = [&](std::string_view piece) {
    while (!piece.empty()) {
      std::size_t consumed = 0;
      const auto event = parser.advance(piece, consumed);
      piece.remove_prefix(consumed);
      if (event == ReplyParser::Event::malformed) {
        parsed.malformed = true;
        return;
      }
      if (event == ReplyParser::Event::need_input) {
        EXPECT_TRUE(piece.empty());
        return;
      }
      parsed.lines.emplace_back(parser.line());
      if (event != ReplyParser::Event::reply) continue;
      EXPECT_FALSE(parser.in_reply());
      parsed.replies.push_back(std::to_string(parser.code()) + '|' + std::string(parser.enhanced()) + '|' +
                               std::string(parser.text()));
    }
  };
  feed(input.substr(0, cut));
  if (slowly) {
    for (const char octet : input.substr(cut)) {
      if (!parsed.malformed) feed({&octet, 1});
    }
  } else if (!parsed.malformed) {
    feed(input.substr(cut));
  }
  return parsed;
}

Parsed parse_everywhere(std::string_view input) {
  const Parsed whole = parse(input, input.size());
  for (std::size_t cut = 0; cut < input.size(); ++cut) {
    EXPECT_EQ(parse(input, cut), whole) << "cut at " << cut << " of " << input;
  }
  EXPECT_EQ(parse(input, 0, true), whole) << input;
  return whole;
}

using Strings = std::vector<std::string>;

TEST(ReplyParser, TakesLinesAndReplies) {
  const Parsed parsed = parse_everywhere("250-mx.example.org greets you\r\n250-SIZE 1000\r\n250 DSN\r\n354 go on\r\n");
  EXPECT_EQ(parsed.lines, (Strings{"mx.example.org greets you", "SIZE 1000", "DSN", "go on"}));
  EXPECT_EQ(parsed.replies, (Strings{"250||mx.example.org greets you SIZE 1000 DSN", "354||go on"}));
}

TEST(ReplyParser, TakesEnhancedCodesOffEveryLine) {
  const Parsed parsed = parse_everywhere("550-5.1.1 No such\r\n550 5.1.1 user\r\n250 2.0.0\r\n");
  EXPECT_EQ(parsed.replies, (Strings{"550|5.1.1|No such user", "250|2.0.0|"}));
}

TEST(ReplyParser, LeavesWhatIsNoEnhancedCodeInTheText) {
  EXPECT_EQ(parse_everywhere("550 4.1.1 other class\r\n").replies, Strings{"550||4.1.1 other class"});
  EXPECT_EQ(parse_everywhere("550 5.1.1x\r\n").replies, Strings{"550||5.1.1x"});
  EXPECT_EQ(parse_everywhere("550 5.1\r\n").replies, Strings{"550||5.1"});
  EXPECT_EQ(parse_everywhere("550 5.1000.1 x\r\n").replies, Strings{"550||5.1000.1 x"});
  EXPECT_EQ(parse_everywhere("550 5.1. x\r\n").replies, Strings{"550||5.1. x"});
  EXPECT_EQ(parse_everywhere("550 5.999.999 x\r\n").replies, Strings{"550|5.999.999|x"});
}

TEST(ReplyParser, ToleratesWhatOldServersDo) {
  EXPECT_EQ(parse_everywhere("250\r\n").replies, Strings{"250||"});
  EXPECT_EQ(parse_everywhere("250 \r\n").replies, Strings{"250||"});
  EXPECT_EQ(parse_everywhere("250-a\n250 b\n").replies, Strings{"250||a b"});
  EXPECT_EQ(parse_everywhere("250\n").replies, Strings{"250||"});
  EXPECT_EQ(parse_everywhere("591 blocked\r\n").replies, Strings{"591||blocked"});
  EXPECT_EQ(parse_everywhere("250 a\rb\r\r\n").replies, Strings{"250||a\rb\r"});
}

TEST(ReplyParser, RefusesWhatIsNoReply) {
  for (const char* text : {"hello\r\n", "\r\n", "\n", "25\r\n", "2500 x\r\n", "250x\r\n", "150 x\r\n", "650 x\r\n",
                           " 250 x\r\n", "250-a\r\n251 b\r\n", "250-a\r\nxyz\r\n", "2\r50 x\r\n", "250\r x\r\n"}) {
    const Parsed parsed = parse_everywhere(text);
    EXPECT_TRUE(parsed.malformed) << text;
    EXPECT_TRUE(parsed.replies.empty()) << text;
  }
}

TEST(ReplyParser, StaysMalformed) {
  ReplyParser parser;
  std::size_t consumed = 0;
  EXPECT_EQ(parser.advance("x", consumed), ReplyParser::Event::malformed);
  EXPECT_EQ(parser.advance("250 ok\r\n", consumed), ReplyParser::Event::malformed);
}

TEST(ReplyParser, BoundsALine) {
  const std::string most = "250 " + std::string(ReplyParser::kLineBytesMax - 4, 'x');
  EXPECT_FALSE(parse(most + "\r\n", most.size()).malformed);
  EXPECT_FALSE(parse(most + "\r\n", most.size() + 1).malformed);
  EXPECT_TRUE(parse(most + "x\r\n", 100).malformed);
  EXPECT_TRUE(parse(most + "xyz", 100).malformed) << "without waiting for the line's end";
}

TEST(ReplyParser, BoundsLinesAndOctetsOfAReply) {
  std::string lines;
  for (std::size_t i = 1; i < ReplyParser::kLinesMax; ++i) lines += "250-x\r\n";
  EXPECT_EQ(parse(lines + "250 y\r\n", 300).replies.size(), 1u);
  EXPECT_TRUE(parse(lines + "250-x\r\n250 y\r\n", 300).malformed);

  std::string octets;
  while (octets.size() + 1000 <= ReplyParser::kReplyBytesMax) octets += "250-" + std::string(994, 'x') + "\r\n";
  const std::size_t left = ReplyParser::kReplyBytesMax - octets.size();
  EXPECT_EQ(parse(octets + "250 " + std::string(left - 6, 'y') + "\r\n", 5000).replies.size(), 1u);
  EXPECT_TRUE(parse(octets + "250 " + std::string(left - 5, 'y') + "\r\n", 5000).malformed);
}

TEST(ReplyParser, CutsTheTextItKeeps) {
  const std::string line(400, 'x');
  const Parsed parsed = parse_everywhere("250-" + line + "\r\n250-" + line + "\r\n250-" + line + "\r\n250 y\r\n");
  ASSERT_EQ(parsed.replies.size(), 1u);
  EXPECT_EQ(parsed.replies[0], "250||" + line + ' ' + line + ' ' + std::string(ReplyParser::kTextKept - 802, 'x'));
  EXPECT_EQ(parsed.lines[3], "y");
  EXPECT_EQ(parse("250 " + std::string(1000, 'x') + "\r\n", 7).lines,
            Strings{std::string(ReplyParser::kLineKept, 'x')});
}

}  // namespace
}  // namespace postern::net::smtp
