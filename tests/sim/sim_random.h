// The simulator's one source of chance: everything random in a run comes from here, so that a seed is a run.
//
// xoshiro256** (Blackman and Vigna, 2021), seeded through splitmix64. Not for secrets.
#pragma once

#include <algorithm>
#include <array>
#include <bit>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <span>

namespace postern::sim {

class SimRandom {
 public:
  explicit SimRandom(std::uint64_t seed) {
    for (std::uint64_t& word : state_) {
      seed += 0x9e3779b97f4a7c15u;
      std::uint64_t mixed = seed;
      mixed = (mixed ^ (mixed >> 30)) * 0xbf58476d1ce4e5b9u;
      mixed = (mixed ^ (mixed >> 27)) * 0x94d049bb133111ebu;
      word = mixed ^ (mixed >> 31);
    }
  }

  std::uint64_t next() {
    const std::uint64_t result = std::rotl(state_[1] * 5, 7) * 9;
    const std::uint64_t shifted = state_[1] << 17;
    state_[2] ^= state_[0];
    state_[3] ^= state_[1];
    state_[1] ^= state_[2];
    state_[0] ^= state_[3];
    state_[2] ^= shifted;
    state_[3] = std::rotl(state_[3], 45);
    return result;
  }
  // 0 .. bound-1; 0 for a bound of 0.
  std::uint64_t below(std::uint64_t bound) { return bound == 0 ? 0 : next() % bound; }
  // low .. high, both included.
  std::int64_t between(std::int64_t low, std::int64_t high) {
    if (high <= low) return low;
    return low + static_cast<std::int64_t>(below(static_cast<std::uint64_t>(high - low) + 1));
  }
  // True `permille` times in a thousand. A permille of 0 draws nothing.
  bool chance(std::uint32_t permille) { return permille != 0 && below(1000) < permille; }
  void fill(std::span<char> out) {
    while (!out.empty()) {
      const std::uint64_t word = next();
      const std::size_t part = std::min(out.size(), sizeof word);
      std::memcpy(out.data(), &word, part);
      out = out.subspan(part);
    }
  }

 private:
  std::array<std::uint64_t, 4> state_{};
};

}  // namespace postern::sim
