// Structured log lines: one line an event, built on a worker without waiting or allocating, written by another thread.
//
// A worker fills a fixed record in its own single-producer ring; the log thread formats it (log_format.h), escapes what
// strangers said, folds floods of equal lines into one with a count (log_fold.h), and hands it to the sink. A full ring drops
// lines and counts them (the count is itself logged). What is secret never gets here: callers pass no credentials.
//
// Thread: LogRing::begin/commit by its one producer; Log's own thread reads.
#pragma once

#include <array>
#include <atomic>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <thread>
#include <vector>

#include "core/clock.h"
#include "core/ip_address.h"
#include "core/result.h"

namespace postern::core {

enum class Severity : std::uint8_t { debug, info, warning, error };

// One line. Fields are encoded one behind the other: key length u8 (at most 127; the top bit marks a number), key, value
// length u16 little-endian, value; a value that does not fit is cut and the line marked, small ones are left out whole.
struct LogRecord {
  static constexpr std::size_t kFieldBytes = 472;
  std::int64_t unix_ns = 0;
  const char* event = nullptr;      // static storage
  std::uint64_t flood_key = 0;      // != 0: lines of the same event and key are folded when they come in floods
  Severity severity = Severity::info;
  bool truncated = false;
  std::uint16_t used = 0;
  std::array<char, kFieldBytes> fields;
};

class LogRing {
 public:
  explicit LogRing(std::size_t capacity);  // a power of two
  // nullptr: full; the line is dropped and counted.
  LogRecord* begin();
  void commit();
  // The reader's.
  const LogRecord* front() const;
  void pop();
  [[nodiscard]] std::uint64_t dropped() const { return dropped_.load(std::memory_order_relaxed); }

 private:
  std::vector<LogRecord> records_;
  alignas(64) std::atomic<std::uint64_t> head_{0};  // next to write
  alignas(64) std::atomic<std::uint64_t> tail_{0};  // next to read
  std::atomic<std::uint64_t> dropped_{0};
  bool open_ = false;  // the producer's: a line is being written
};

// One at a time a ring: the next may begin when this one has ended.
// LogLine(ring, now, Severity::info, "accepted").add("id", id).add("from", sender);   // written at the end of life
class LogLine {
 public:
  LogLine(LogRing& ring, const Time& now, Severity severity, const char* event);
  ~LogLine();
  LogLine(const LogLine&) = delete;
  LogLine& operator=(const LogLine&) = delete;

  LogLine& add(std::string_view key, std::string_view value);
  LogLine& add(std::string_view key, std::uint64_t value);
  LogLine& add(std::string_view key, const IpAddress& value);
  LogLine& flood_key(std::uint64_t key);

 private:
  LogRing& ring_;
  LogRecord* record_;
};

struct LogOptions {
  bool json = false;
  std::string to = "stderr";  // "journal" (stderr with the priorities journald understands), or a file to append to
};

// The log thread and its rings.
class Log {
 public:
  // `rings`: one a worker plus one for each other thread that logs. Error: the file cannot be opened.
  static Result<std::unique_ptr<Log>> start(const LogOptions& options, std::size_t rings);
  ~Log();  // writes what is left
  // Any thread: opens the file anew, for log rotation. The log thread does it soon; if that fails it keeps the old one.
  void reopen();
  [[nodiscard]] LogRing& ring(std::size_t index);

 private:
  struct Implementation;
  explicit Log(std::unique_ptr<Implementation> implementation);
  std::unique_ptr<Implementation> implementation_;
};

// Appends the line (with its newline) that a record makes; used by the log thread and by tests. `folded`: how many equal
// lines it stands for besides itself.
void format_log_line(const LogRecord& record, bool json, std::uint64_t folded, std::string& out);

}  // namespace postern::core
