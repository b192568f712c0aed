#include "core/crc32c.h"

#include <gtest/gtest.h>
#include <random>
#include <string>

namespace postern::core {
namespace {

// RFC 3720 appendix B.4.
TEST(Crc32c, KnownVectors) {
  EXPECT_EQ(crc32c(0, std::string_view()), 0u);
  EXPECT_EQ(crc32c(0, std::string(32, '\0')), 0x8A9136AAu);
  EXPECT_EQ(crc32c(0, std::string(32, '\xff')), 0x62A8AB43u);
  EXPECT_EQ(crc32c(0, "123456789"), 0xE3069283u);
  std::string ascending;
  for (int i = 0; i < 32; ++i) ascending += static_cast<char>(i);
  EXPECT_EQ(crc32c(0, ascending), 0x46DD794Eu);
}

TEST(Crc32c, BothImplementationsAgreeOnEveryLengthAndAlignment) {
  std::mt19937_64 random(7);
  std::string octets(20'000, '\0');
  for (char& c : octets) c = static_cast<char>(random());
  for (std::size_t begin = 0; begin < 9; ++begin) {
    for (std::size_t length = 0; length < 10'000; length = length < 70 ? length + 1 : length * 5 / 4) {
      const auto part = std::string_view(octets).substr(begin, length);
      ASSERT_EQ(crc32c(0, part), crc32c_portable(0, part.data(), part.size())) << begin << "+" << length;
    }
  }
}

TEST(Crc32c, MayBeTakenPieceByPiece) {
  std::mt19937_64 random(8);
  std::string octets(50'000, '\0');
  for (char& c : octets) c = static_cast<char>(random());
  const std::uint32_t whole = crc32c(0, octets);
  for (int round = 0; round < 50; ++round) {
    std::uint32_t crc = 0;
    for (std::size_t at = 0; at < octets.size();) {
      const std::size_t piece = std::min<std::size_t>(octets.size() - at, random() % 9000);
      crc = crc32c(crc, std::string_view(octets).substr(at, piece));
      at += piece;
    }
    ASSERT_EQ(crc, whole);
  }
}

}  // namespace
}  // namespace postern::core
