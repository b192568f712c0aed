// Two implementations of one function. The fast one hides the instruction's latency of three cycles by running three
// streams and joining them: the CRC of "a then b" is the CRC of a, shifted by the length of b, xor the CRC of b.
#include "core/crc32c.h"

#include <array>
#include <bit>
#include <cstring>

#ifdef __SSE4_2__
#include <nmmintrin.h>
#endif

namespace postern::core {
namespace {

constexpr std::uint32_t kPolynomial = 0x82F63B78;  // reflected

using Tables = std::array<std::array<std::uint32_t, 256>, 8>;

// tables[k][b]: the CRC register after octet b and then k zero octets.
constexpr Tables make_tables() {
  Tables tables{};
  for (std::uint32_t octet = 0; octet < 256; ++octet) {
    std::uint32_t crc = octet;
    for (int bit = 0; bit < 8; ++bit) crc = (crc >> 1) ^ ((crc & 1) != 0 ? kPolynomial : 0);
    tables[0][octet] = crc;
  }
  for (std::uint32_t octet = 0; octet < 256; ++octet) {
    for (std::size_t k = 1; k < 8; ++k) {
      const std::uint32_t previous = tables[k - 1][octet];
      tables[k][octet] = (previous >> 8) ^ tables[0][previous & 0xFF];
    }
  }
  return tables;
}

constexpr Tables kTables = make_tables();

static_assert(std::endian::native == std::endian::little, "the spool's format is read and written in place");

inline std::uint64_t word(const char* at) {
  std::uint64_t value;
  std::memcpy(&value, at, sizeof value);
  return value;
}

}  // namespace

std::uint32_t crc32c_portable(std::uint32_t crc, const void* data, std::size_t bytes) noexcept {
  const char* at = static_cast<const char*>(data);
  std::uint32_t state = ~crc;
  for (; bytes >= 8; bytes -= 8, at += 8) {
    const std::uint64_t mixed = word(at) ^ state;
    state = 0;
    for (std::size_t k = 0; k < 8; ++k) state ^= kTables[7 - k][(mixed >> (8 * k)) & 0xFF];
  }
  for (; bytes > 0; --bytes, ++at) {
    state = (state >> 8) ^ kTables[0][(state ^ static_cast<unsigned char>(*at)) & 0xFF];
  }
  return ~state;
}

#ifdef __SSE4_2__
namespace {

constexpr std::size_t kStream = 1024;  // octets of each of the three streams between two joins

// shift[k][b]: octet b at place k of the register, moved on over kStream zero octets.
struct ShiftTable {
  std::array<std::array<std::uint32_t, 256>, 4> shift{};

  ShiftTable() {
    for (std::size_t place = 0; place < 4; ++place) {
      for (std::uint32_t octet = 0; octet < 256; ++octet) {
        std::uint32_t state = octet << (8 * place);
        for (std::size_t i = 0; i < kStream; ++i) state = (state >> 8) ^ kTables[0][state & 0xFF];
        shift[place][octet] = state;
      }
    }
  }
  [[nodiscard]] std::uint32_t apply(std::uint32_t state) const {
    return shift[0][state & 0xFF] ^ shift[1][(state >> 8) & 0xFF] ^ shift[2][(state >> 16) & 0xFF] ^
           shift[3][state >> 24];
  }
};

const ShiftTable kShift;

}  // namespace

std::uint32_t crc32c(std::uint32_t crc, const void* data, std::size_t bytes) noexcept {
  const char* at = static_cast<const char*>(data);
  std::uint64_t state = static_cast<std::uint32_t>(~crc);
  while (bytes >= 3 * kStream) {
    std::uint64_t second = 0;
    std::uint64_t third = 0;
    for (std::size_t i = 0; i < kStream; i += 8) {
      state = _mm_crc32_u64(state, word(at + i));
      second = _mm_crc32_u64(second, word(at + kStream + i));
      third = _mm_crc32_u64(third, word(at + 2 * kStream + i));
    }
    state = kShift.apply(static_cast<std::uint32_t>(state)) ^ second;
    state = kShift.apply(static_cast<std::uint32_t>(state)) ^ third;
    at += 3 * kStream;
    bytes -= 3 * kStream;
  }
  for (; bytes >= 8; bytes -= 8, at += 8) state = _mm_crc32_u64(state, word(at));
  auto narrow = static_cast<std::uint32_t>(state);
  for (; bytes > 0; --bytes, ++at) narrow = _mm_crc32_u8(narrow, static_cast<unsigned char>(*at));
  return ~narrow;
}

#else

std::uint32_t crc32c(std::uint32_t crc, const void* data, std::size_t bytes) noexcept {
  return crc32c_portable(crc, data, bytes);
}

#endif

}  // namespace postern::core
