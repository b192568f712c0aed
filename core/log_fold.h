// Folding of floods: of equal log lines (same event, same flood key) the first few of a window pass; the rest
// are counted, and the last of them is written with that count when the window ends.
//
// A stranger chooses how many keys there are, so the table is bounded: when it is full of running windows,
// lines with new keys pass unfolded. Thread: one, the log's. Time: the log thread's own clock, handed in.
#pragma once

#include <cstdint>
#include <functional>
#include <unordered_map>

#include "core/log.h"

namespace postern::core {

class FloodFolder {
 public:
  static constexpr std::uint64_t kLinesPassed = 5;
  static constexpr std::int64_t kWindowNanoseconds = 10 * kNanosecondsPerSecond;
  static constexpr std::size_t kWindowsMax = 4096;
  using Emit = std::function<void(const LogRecord& last, std::uint64_t folded)>;

  // True: the line is to be written now. Lines without a flood key always are.
  bool pass(const LogRecord& record, std::int64_t now_ns);
  // Ends the windows that are over at `now_ns` (INT64_MAX: all) and emits a line for each that folded some.
  void expire(std::int64_t now_ns, const Emit& emit);

 private:
  struct Key {
    const char* event;
    std::uint64_t flood_key;
    bool operator==(const Key&) const = default;
  };
  struct Hash {
    std::size_t operator()(const Key& key) const {
      return std::hash<const void*>()(key.event) ^
             static_cast<std::size_t>(key.flood_key * 0x9e3779b97f4a7c15u);
    }
  };
  struct Window {
    std::int64_t end_ns = 0;
    std::uint64_t lines = 0;
    LogRecord last;  // of the folded ones
  };
  std::unordered_map<Key, Window, Hash> windows_;
};

}  // namespace postern::core
