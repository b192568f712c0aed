// SipHash-2-4 after the paper: two rounds a word, four at the end.
#include "policy/keyed_hash.h"

#include <bit>
#include <cstddef>

namespace postern::policy {
namespace {

std::uint64_t little_endian(const char* octets, std::size_t count) noexcept {
  std::uint64_t word = 0;
  for (std::size_t i = 0; i < count; ++i) word |= std::uint64_t{static_cast<unsigned char>(octets[i])} << 8 * i;
  return word;
}

// The octets of the word that are 'A' to 'Z' become lower case, all eight at once: bit 7 of each octet of `upper` tells
// whether it is one (each octet is added to below 0x80, so nothing carries into its neighbour).
std::uint64_t fold_ascii(std::uint64_t word) noexcept {
  constexpr std::uint64_t kEach = 0x0101010101010101u;
  const std::uint64_t seven_bits = word & kEach * 0x7f;
  const std::uint64_t from_a = seven_bits + kEach * (0x80 - 'A');
  const std::uint64_t after_z = seven_bits + kEach * (0x80 - 'Z' - 1);
  const std::uint64_t upper = from_a & ~after_z & ~word & kEach * 0x80;
  return word | upper >> 2;  // 0x80 becomes 0x20
}

class State {
 public:
  State(std::uint64_t k0, std::uint64_t k1) noexcept
      : v0_(k0 ^ 0x736f6d6570736575u),
        v1_(k1 ^ 0x646f72616e646f6du),
        v2_(k0 ^ 0x6c7967656e657261u),
        v3_(k1 ^ 0x7465646279746573u) {}

  void add(std::uint64_t word) noexcept {
    v3_ ^= word;
    round();
    round();
    v0_ ^= word;
  }

  std::uint64_t finish() noexcept {
    v2_ ^= 0xff;
    for (int i = 0; i < 4; ++i) round();
    return v0_ ^ v1_ ^ v2_ ^ v3_;
  }

 private:
  void round() noexcept {
    v0_ += v1_;
    v2_ += v3_;
    v1_ = std::rotl(v1_, 13) ^ v0_;
    v3_ = std::rotl(v3_, 16) ^ v2_;
    v0_ = std::rotl(v0_, 32);
    v2_ += v1_;
    v0_ += v3_;
    v1_ = std::rotl(v1_, 17) ^ v2_;
    v3_ = std::rotl(v3_, 21) ^ v0_;
    v2_ = std::rotl(v2_, 32);
  }

  std::uint64_t v0_, v1_, v2_, v3_;
};

template <class Fold>
std::uint64_t hash_octets(std::uint64_t k0, std::uint64_t k1, std::string_view octets, Fold fold) noexcept {
  State state(k0, k1);
  std::size_t at = 0;
  for (; at + 8 <= octets.size(); at += 8) state.add(fold(little_endian(octets.data() + at, 8)));
  // The last word: what is left, and the length in its highest octet.
  state.add(fold(little_endian(octets.data() + at, octets.size() - at)) | std::uint64_t{octets.size()} << 56);
  return state.finish();
}

}  // namespace

KeyedHash::KeyedHash(const HashKey& key) noexcept
    : k0_(little_endian(reinterpret_cast<const char*>(key.data()), 8)),
      k1_(little_endian(reinterpret_cast<const char*>(key.data()) + 8, 8)) {}

std::uint64_t KeyedHash::operator()(std::string_view octets) const noexcept {
  return hash_octets(k0_, k1_, octets, [](std::uint64_t word) { return word; });
}

std::uint64_t KeyedHash::operator()(std::uint64_t first, std::uint64_t second) const noexcept {
  State state(k0_, k1_);
  state.add(first);
  state.add(second);
  state.add(std::uint64_t{16} << 56);
  return state.finish();
}

std::uint64_t KeyedHash::of_name(std::string_view name) const noexcept {
  return hash_octets(k0_, k1_, name, fold_ascii);
}

}  // namespace postern::policy
