// The failed logins of the last minutes, and how many of them count against a machine, a network or a name.
//
// A ring of records, newest last, and hash indexes into it (as LZ77 compressors index their window), one a level and
// one for machine and name together: an index is an array of places, each the newest record whose key falls there, and
// each record names the one before it. Nothing is ever deleted: a link to a record that was overwritten is told by its
// distance, one that is too old by its time, and what does not count any more (taken back, used up by a bar) is taken
// out of a chain by the next walk that passes it. So an operation costs the records that it counts (at most a limit),
// and those that it passes once and never again.
//
//   record := second, machine, name, and a bit a level: does it still count there?
//
// Exact: a record counts at a level while its bit is set and now < second + within. Bounded: when the ring is full the
// oldest record is overwritten. Single-threaded: the owner's lock. Times are seconds, unsigned and not 0; one that lies
// before the newest record (another worker's older turn) is taken for the newest one's.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <vector>

#include "policy/keyed_hash.h"
#include "policy/machine_key.h"

namespace postern::policy {

enum class FailureLevel : std::uint8_t { machine, net56, net48, name };
inline constexpr std::size_t kFailureLevels = 4;
using FailureLevels = std::uint8_t;  // a set: bit n is level n
[[nodiscard]] constexpr FailureLevels level_bit(FailureLevel level) {
  return static_cast<FailureLevels>(1u << static_cast<unsigned>(level));
}

class FailureLog {
 public:
  struct Failure {
    MachineKey machine;      // IPv6: /64
    std::uint64_t name = 0;  // its hash; 0: no name
  };

  // `failures`: how many are remembered, rounded up to a power of two.
  FailureLog(std::size_t failures, const KeyedHash& hash);

  // Returns true when this one pushed out a failure that still counted somewhere.
  bool add(const Failure& failure, FailureLevels levels, std::uint32_t now, std::uint32_t within) noexcept;
  // How many count against the failure's key at this level; stops at `limit`.
  [[nodiscard]] std::uint32_t count(FailureLevel level, const Failure& failure, std::uint32_t now, std::uint32_t within,
                                    std::uint32_t limit) noexcept;
  // Those that count against this key at this level count there no more.
  void use_up(FailureLevel level, const Failure& failure) noexcept;
  // The machine's failures under this name count nowhere any more. Returns how many they were.
  std::uint32_t take_back(const Failure& failure, std::uint32_t now, std::uint32_t within) noexcept;
  // The same for all machines that `matches` names: piece by piece, a piece is the ring's places [first, first +
  // count).
  template <class Matches>
  void take_back_if(std::size_t first, std::size_t count, Matches matches) noexcept {
    for (std::size_t i = first; i < first + count && i < ring_.size(); ++i) {
      if (ring_[i].counts != 0 && matches(MachineKey{ring_[i].machine, ring_[i].v4})) ring_[i].counts = 0;
    }
  }
  [[nodiscard]] std::size_t capacity() const noexcept { return ring_.size(); }
  [[nodiscard]] std::size_t memory_bytes() const noexcept;

 private:
  using Sequence = std::uint32_t;  // of a record; wraps round: what is more than a ring behind is no record any more
  // An index for each level; the last one holds what counts anywhere, by machine and name.
  static constexpr std::size_t kPairIndex = kFailureLevels;
  static constexpr std::size_t kIndexes = kFailureLevels + 1;
  static constexpr Sequence kFirst = 0xfffffe00;  // wraps round soon after every start, and not first after a year
  static constexpr Sequence kFarBehind = 0x80000000;
  struct Record {
    std::uint64_t machine = 0;
    std::uint64_t name = 0;
    std::uint32_t second = 0;
    FailureLevels counts = 0;
    bool v4 = false;
    std::array<Sequence, kIndexes> before{};  // the next older one in the same place of each index
  };

  [[nodiscard]] Record& at(Sequence sequence) noexcept { return ring_[sequence & (ring_.size() - 1)]; }
  [[nodiscard]] Sequence& newest_at(std::size_t index, const Failure& failure) noexcept;
  static bool same_key(std::size_t index, const Record& record, const Failure& failure) noexcept;
  template <class Visit>
  void walk(std::size_t index, const Failure& failure, std::uint32_t oldest_second, Visit visit) noexcept;

  KeyedHash hash_;
  std::vector<Record> ring_;
  std::vector<Sequence> newest_;  // kIndexes indexes of ring_.size() places
  Sequence next_ = kFirst;
  std::uint32_t newest_second_ = 0;
};

}  // namespace postern::policy
