// The content decoder against a slow, plain one that looks at one octet after the other.
#include "net/smtp/data_decoder.h"

#include <gtest/gtest.h>
#include <random>
#include <string>

#include "net/smtp/envelope.h"

namespace postern::net::smtp {
namespace {

struct Decoded {
  std::string content;
  std::size_t consumed = 0;
  bool end = false;
  std::uint8_t faults = 0;
  std::uint16_t flags = 0;
  std::uint32_t hops = 0;
  bool operator==(const Decoded&) const = default;
};

std::ostream& operator<<(std::ostream& out, const Decoded& decoded) {
  return out << "content '" << decoded.content << "' consumed " << decoded.consumed << " end " << decoded.end
             << " faults " << int{decoded.faults} << " flags " << decoded.flags << " hops " << decoded.hops;
}

// Without header fields: those are the scanner's, tested below.
Decoded plainly(std::string_view input, bool ended_by_dot) {
  Decoded out;
  const std::size_t found = ended_by_dot && input.starts_with(".\r\n") ? 0 : input.find("\r\n.\r\n");
  out.end = ended_by_dot && found != std::string_view::npos;
  if (out.end) {
    const bool at_once = input.starts_with(".\r\n");
    out.content = input.substr(0, at_once ? 0 : found + 2);
    out.consumed = out.content.size() + 3;
  } else {
    out.content = input;
    out.consumed = input.size();
  }
  std::size_t line = 0;
  for (std::size_t i = 0; i <= out.content.size(); ++i) {
    const bool at_end = i == out.content.size();
    const char c = at_end ? '\0' : out.content[i];
    const bool after_return = i > 0 && out.content[i - 1] == '\r';
    if (!at_end && i == line && c == '.') out.flags |= ended_by_dot ? content_dot_stuffed : content_needs_stuffing;
    if (!at_end && (c == '\n') != after_return) out.faults |= fault_bare_octet;
    const std::size_t dot = ended_by_dot && line < out.content.size() && out.content[line] == '.' ? 1 : 0;
    const bool ends_line = !at_end && c == '\n' && after_return;
    const std::size_t size = i - line + (at_end ? 0 : 1);
    if ((ends_line || at_end) && size > 1000 + dot) out.faults |= fault_long_line;
    if (ends_line) line = i + 1;
    if (!at_end && (static_cast<unsigned char>(c) & 0x80) != 0) out.flags |= content_eight_bit;
  }
  return out;
}

Decoded decode(std::string_view input, bool ended_by_dot, std::mt19937_64* random) {
  DataDecoder decoder;
  decoder.begin(ended_by_dot);
  Decoded out;
  while (out.consumed < input.size() && !out.end) {
    std::string_view part = input.substr(out.consumed);
    if (random != nullptr) part = part.substr(0, 1 + (*random)() % ((*random)() % 4 == 0 ? 150 : 4));
    const DataDecoder::Piece piece = decoder.decode(part);
    EXPECT_LE(piece.consumed, part.size());
    EXPECT_TRUE(piece.consumed > 0 || !piece.content.empty());
    out.content += piece.content;
    out.consumed += piece.consumed;
    out.end = piece.end;
  }
  out.faults = decoder.faults();
  out.flags = decoder.content_flags();
  out.hops = decoder.hops();
  EXPECT_EQ(decoder.content_bytes(), out.content.size());
  return out;
}

// The plain one keeps octets back for nobody: what the real one holds at the input's end is not yet content.
void expect_alike(std::string_view input, bool ended_by_dot, std::mt19937_64& random) {
  Decoded awaited = plainly(input, ended_by_dot);
  const Decoded whole = decode(input, ended_by_dot, nullptr);
  if (ended_by_dot && !awaited.end) {
    for (const std::string_view held : {".", ".\r"}) {
      const bool at_line_start = input == held || input.ends_with("\r\n" + std::string(held));
      if (at_line_start) awaited = plainly(input.substr(0, input.size() - held.size()), true);
      if (at_line_start) awaited.consumed = input.size();
    }
  }
  EXPECT_EQ(whole, awaited) << testing::PrintToString(input);
  for (int i = 0; i < 3; ++i) EXPECT_EQ(decode(input, ended_by_dot, &random), whole) << testing::PrintToString(input);
}

TEST(DataDecoder, LikeThePlainOne) {
  const std::uint64_t seed = std::random_device()();
  SCOPED_TRACE("seed " + std::to_string(seed));
  std::mt19937_64 random(seed);
  static constexpr std::string_view kBits[] = {"\r\n",
                                               "\r\n",
                                               ".",
                                               "..",
                                               "\r",
                                               "\n",
                                               "x",
                                               "words and words",
                                               "\r\n.\r\n",
                                               "\r\n.\r",
                                               "\r\n.",
                                               "\r\n..",
                                               "\n.\n",
                                               "\xc3\xbc",
                                               "                    "};
  for (int round = 0; round < 20000 && !testing::Test::HasFailure(); ++round) {
    std::string input = round % 2 == 0 ? "" : " ";  // a leading blank keeps it from being a header, mostly
    const auto bits = random() % 24;
    for (std::size_t i = 0; i < bits; ++i) input += kBits[random() % std::size(kBits)];
    // A body at once: no header, so that the eight-bit flag is always the body's.
    input.insert(0, "\r\n");
    expect_alike(input, random() % 2 == 0, random);
  }
}

TEST(DataDecoder, LineLengthsAtEveryOffset) {
  std::mt19937_64 random(7);
  for (std::size_t before = 0; before < 70; ++before) {
    for (const std::size_t length : {997U, 998U, 999U, 1000U}) {
      for (const std::string_view dots : {"", "..", "."}) {
        const std::string input = "\r\n" + std::string(before, 'y') + "\r\n" + std::string(dots) +
                                  std::string(length, 'x') + "\r\nshort\r\n.\r\nnext";
        expect_alike(input, true, random);
        expect_alike(input, false, random);
      }
    }
  }
}

TEST(DataDecoder, TheClosingDotAtEveryOffset) {
  std::mt19937_64 random(7);
  for (std::size_t before = 0; before < 200; ++before) {
    const std::string input = "\r\n" + std::string(before, 'y') + "\r\n.\r\nNOOP\r\n.\r\n";
    const Decoded decoded = decode(input, true, nullptr);
    EXPECT_TRUE(decoded.end);
    EXPECT_EQ(decoded.content.size(), before + 4);
    EXPECT_EQ(decoded.faults, 0);
    expect_alike(input, true, random);
  }
}

TEST(DataDecoder, AtOnce) {
  const Decoded decoded = decode(".\r\nQUIT\r\n", true, nullptr);
  EXPECT_TRUE(decoded.end);
  EXPECT_EQ(decoded.consumed, 3U);
  EXPECT_EQ(decoded.content, "");
}

TEST(DataDecoder, EightBitInHeaderAndBody) {
  EXPECT_EQ(decode("A: \xc3\xbc\r\n\r\nbody\r\n", false, nullptr).flags, content_eight_bit_header);
  EXPECT_EQ(decode("A: u\r\n\r\nb\xc3\xbc y\r\n", false, nullptr).flags, content_eight_bit);
  EXPECT_EQ(decode("no field \xc3\xbc\r\n", false, nullptr).flags, content_eight_bit);
  EXPECT_EQ(decode("A: u\r\n \xc3\xbc\r\nB: \xc3\xbc", false, nullptr).flags, content_eight_bit_header);
}

TEST(DataDecoder, DoubledDotsAreNotOfTheSize) {
  for (const std::size_t step : {1U, 2U, 5U, 100U}) {
    const std::string_view input = "..a\r\n..\r\n.b\r\n. .\r\n.\r\n";
    DataDecoder decoder;
    decoder.begin(true);
    for (std::size_t at = 0; at < input.size();) at += decoder.decode(input.substr(at, step)).consumed;
    EXPECT_EQ(decoder.content_bytes(), input.size() - 3);
    EXPECT_EQ(decoder.message_bytes(), input.size() - 3 - 4) << step;
  }
  DataDecoder chunks;
  chunks.begin(false);
  (void)chunks.decode(".a\r\n..\r\n");
  EXPECT_EQ(chunks.message_bytes(), 8U);
}

TEST(DataDecoder, EndOfChunks) {
  DataDecoder decoder;
  decoder.begin(false);
  EXPECT_TRUE(decoder.ends_with_line_end());
  (void)decoder.decode("a\r");
  EXPECT_TRUE(decoder.ends_in_bare_return());
  EXPECT_FALSE(decoder.ends_with_line_end());
  (void)decoder.decode("\n");
  EXPECT_FALSE(decoder.ends_in_bare_return());
  EXPECT_TRUE(decoder.ends_with_line_end());
  EXPECT_EQ(decoder.faults(), 0);
}

struct Header {
  std::size_t octets = 0;
  std::uint32_t hops = 0;
  bool ended = false;
  bool operator==(const Header&) const = default;
};

Header scan(std::string_view text, std::size_t step, bool dot_stuffed = false) {
  HeaderScanner scanner(dot_stuffed);
  Header header;
  for (std::size_t at = 0; at < text.size() && !scanner.ended(); at += step) {
    header.octets += scanner.feed(text.substr(at, step));
  }
  header.hops = scanner.hops();
  header.ended = scanner.ended();
  return header;
}

TEST(HeaderScanner, CountsHopsAndFindsTheEnd) {
  const struct {
    std::string_view text;
    Header awaited;
  } cases[] = {
      {"Received: a\r\nReceived: b\r\n\r\nReceived: c\r\n", {28, 2, true}},
      {"received : a\r\nRECEIVED\t:b\r\n", {27, 2, false}},
      {"X-Received: a\r\nReceived-SPF: b\r\nReceive: c\r\n", {44, 0, false}},
      {"Subject: a\r\n Received: folded\r\n\tReceived: folded\r\n", {50, 0, false}},
      {"\r\nReceived: a\r\n", {2, 0, true}},
      {"No field\r\nReceived: a\r\n", {3, 0, true}},
      {": no name\r\nReceived: a\r\n", {0, 0, true}},
      {"Received: a\r\n.\r\n", {14, 1, true}},
      {"Received: a\r\n\rx", {14, 1, true}},
      {"", {0, 0, false}},
  };
  for (const auto& one : cases) {
    for (std::size_t step = 1; step <= one.text.size() + 1; ++step) {
      const Header header = scan(one.text, step);
      EXPECT_EQ(header.hops, one.awaited.hops) << one.text << " by " << step;
      EXPECT_EQ(header.ended, one.awaited.ended) << one.text << " by " << step;
      EXPECT_EQ(header.octets, one.awaited.octets) << one.text << " by " << step;
    }
  }
}

// RFC 5321 section 4.5.2: by DATA a dot in front of a line is not the line's.
TEST(HeaderScanner, DotsInFront) {
  const struct {
    std::string_view text;
    Header awaited;
  } cases[] = {
      {".Received: a\r\nreceived: b\r\n\r\nx", {29, 2, true}},
      {"..Received: a\r\n..: b\r\n", {22, 0, false}},
      {"A: b\r\n. Received: c\r\n.\tReceived: d\r\n\r\nx", {38, 0, true}},
      {".: x\r\n", {1, 0, true}},
      {".\r\n", {1, 0, true}},
      {"A: b\r\n..\r\n", {8, 0, true}},
      {".", {1, 0, false}},
  };
  for (const auto& one : cases) {
    for (std::size_t step = 1; step <= one.text.size() + 1; ++step) {
      EXPECT_EQ(scan(one.text, step, true).hops, one.awaited.hops) << one.text << " by " << step;
      EXPECT_EQ(scan(one.text, step, true).ended, one.awaited.ended) << one.text << " by " << step;
      EXPECT_EQ(scan(one.text, step, true).octets, one.awaited.octets) << one.text << " by " << step;
    }
  }
  // BDAT doubles no dots.
  EXPECT_EQ(scan(".Received: a\r\n", 1).hops, 0U);
  EXPECT_TRUE(scan("A: b\r\n. c\r\n", 1).ended);
  // The decoder tells the scanner how the content comes.
  EXPECT_EQ(decode(".Received: a\r\n\r\n.\r\n", true, nullptr).hops, 1U);
  EXPECT_EQ(decode(".Received: a\r\n\r\n", false, nullptr).hops, 0U);
  EXPECT_EQ(decode("A: b\r\n. \xc3\xbc\r\n\r\n.\r\n", true, nullptr).flags,
            content_dot_stuffed | content_eight_bit_header);
}

TEST(HeaderScanner, AFragmentIsNoField) {
  for (const std::string_view text : {"Subject", "A: b\r\nSub ", "A: b\r\n\r", ".", "A: b\r\n."}) {
    HeaderScanner scanner(true);
    scanner.feed(text);
    EXPECT_TRUE(scanner.ends_in_fragment()) << text;
  }
  for (const std::string_view text : {"", "A:", "A: b", "A: b\r", "A: b\r\n", "A: b\r\n c", "A: b\r\n. ", "x y", "\r\n"}) {
    HeaderScanner scanner(true);
    scanner.feed(text);
    EXPECT_FALSE(scanner.ends_in_fragment()) << text;
  }
}

}  // namespace
}  // namespace postern::net::smtp
