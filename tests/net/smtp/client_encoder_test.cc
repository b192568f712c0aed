// Content on its way out: any cut gives the same octets, and a plain reader of DATA gets back what was stored.
#include <array>
#include <gtest/gtest.h>
#include <random>
#include <string>
#include <vector>

#include "net/smtp/data_encoder.h"

namespace postern::net::smtp {
namespace {

// Cuts `content` at random into pieces, with random room for parts. Checks that no octet was copied.
std::string encode(ContentForm form, std::uint16_t flags, std::string_view content, std::mt19937_64& random) {
  DataEncoder encoder(form, flags);
  std::string wire;
  std::array<iovec, 8> parts{};
  const auto take = [&](std::size_t count) {
    for (std::size_t i = 0; i < count; ++i) {
      EXPECT_NE(parts[i].iov_len, 0u);
      wire.append(static_cast<const char*>(parts[i].iov_base), parts[i].iov_len);
    }
  };
  while (!content.empty()) {
    std::string_view piece = content.substr(0, 1 + random() % std::min<std::size_t>(content.size(), 50));
    content.remove_prefix(piece.size());
    while (!piece.empty()) {
      const std::size_t room = 1 + random() % parts.size();
      const auto progress = encoder.encode(piece, {parts.data(), room});
      EXPECT_GE(progress.parts, 1u);
      EXPECT_LE(progress.parts, room);
      EXPECT_LE(progress.consumed, piece.size());
      for (std::size_t i = 0; i < progress.parts; ++i) {
        const char* begin = static_cast<const char*>(parts[i].iov_base);
        EXPECT_TRUE(begin >= piece.data() && begin + parts[i].iov_len <= piece.data() + piece.size());
      }
      take(progress.parts);
      piece.remove_prefix(progress.consumed);
    }
  }
  take(encoder.finish(parts));
  EXPECT_EQ(encoder.wire_bytes(), wire.size());
  return wire;
}

// RFC 5321 section 4.5.2 from the reader's side, line by line.
std::string decode(std::string_view wire) {
  std::string content;
  while (!wire.empty()) {
    const std::size_t end = wire.find("\r\n");
    if (end == std::string_view::npos) return content + "<no line end>";
    std::string_view line = wire.substr(0, end);
    wire.remove_prefix(end + 2);
    if (line == ".") return wire.empty() ? content : content + "<ended early>";
    if (line.starts_with('.')) line.remove_prefix(1);
    content += line;
    content += "\r\n";
  }
  return content + "<no end>";
}

std::string random_content(std::mt19937_64& random) {
  static constexpr const char* kWords[] = {"\r\n", "\r\n", ".", ".", "..", "text", "\r\n.", "\r\n.\r\n", "a.b", " "};
  std::string content;
  for (std::size_t n = random() % 60; n > 0; --n) content += kWords[random() % std::size(kWords)];
  if (!content.empty() && !content.ends_with("\r\n")) content += "\r\n";
  return content;
}

TEST(DataEncoder, StuffsWhatWasNotStuffed) {
  for (std::uint64_t seed = 1; seed <= 20000 && !HasFailure(); ++seed) {
    SCOPED_TRACE("seed " + std::to_string(seed));
    std::mt19937_64 random(seed);
    const std::string content = random_content(random);
    EXPECT_EQ(decode(encode(ContentForm::data, content_needs_stuffing, content, random)), content);
  }
}

TEST(DataEncoder, LeavesStuffedAndPlainContentAlone) {
  std::mt19937_64 random(7);
  const std::string stuffed = "..a\r\n..\r\nb.\r\n";
  EXPECT_EQ(encode(ContentForm::data, content_dot_stuffed, stuffed, random), stuffed + ".\r\n");
  EXPECT_EQ(encode(ContentForm::data, 0, "plain\r\n", random), "plain\r\n.\r\n");
  EXPECT_EQ(encode(ContentForm::data, 0, "", random), ".\r\n");
}

TEST(DataEncoder, EndsALineThatDoesNot) {
  std::mt19937_64 random(7);
  for (const std::uint16_t flags : {std::uint16_t{0}, std::uint16_t{content_needs_stuffing}}) {
    EXPECT_EQ(encode(ContentForm::data, flags, "text", random), "text\r\n.\r\n");
    EXPECT_EQ(encode(ContentForm::data, flags, "text\r", random), "text\r\r\n.\r\n");
    EXPECT_EQ(encode(ContentForm::data, flags, "text\n", random), "text\n\r\n.\r\n");
  }
}

TEST(DataEncoder, BdatIsAsItIs) {
  std::mt19937_64 random(7);
  const std::string content("\r\n.\r\n\0\n.\r.", 10);
  EXPECT_EQ(encode(ContentForm::bdat, content_binary | content_needs_stuffing, content, random), content);
}

TEST(DataEncoder, OneDotInOnePart) {
  DataEncoder encoder(ContentForm::data, content_needs_stuffing);
  std::array<iovec, 1> part{};
  const std::string_view piece = ".x\r\n";
  auto progress = encoder.encode(piece, part);
  EXPECT_EQ(progress.consumed, 0u);
  EXPECT_EQ(part[0].iov_len, 1u);
  progress = encoder.encode(piece, part);
  EXPECT_EQ(progress.consumed, piece.size());
  EXPECT_EQ(part[0].iov_len, piece.size());
  EXPECT_EQ(encoder.finish(part), 1u);
  EXPECT_EQ(encoder.wire_bytes(), 8u);
}

}  // namespace
}  // namespace postern::net::smtp
