// The log's rings, its thread and its sink.
//
// Invariants: a ring has one producer, and the log thread is its only consumer; the thread never sleeps
// longer than
//   kPollInterval, so a ring holds what its worker logs in that time; a line that found its ring full is
//   counted there and reported by the thread.
// Owner thread: the log's own, for everything but LogRing::begin/commit and LogLine.
#include "core/log.h"

#include <algorithm>
#include <bit>
#include <cerrno>
#include <charconv>
#include <chrono>
#include <condition_variable>
#include <ctime>
#include <fcntl.h>
#include <mutex>
#include <spdlog/details/log_msg.h>
#include <spdlog/pattern_formatter.h>
#include <spdlog/sinks/basic_file_sink.h>
#include <spdlog/sinks/stdout_sinks.h>
#include <unistd.h>

#include "core/assert.h"
#include "core/log_fold.h"
#include "core/log_format.h"

namespace postern::core {

namespace {

constexpr std::chrono::milliseconds kPollInterval{25};
constexpr std::size_t kRingLines = 4096;  // 2 MiB a ring: at one poll each 25 ms, 160,000 lines a second
constexpr int kLinesAtOnce = 1024;        // between two looks at whether to stop or reopen
constexpr std::size_t kShortValue = 24;   // room for any number

std::int64_t clock_ns(clockid_t clock) {
  timespec now{};
  clock_gettime(clock, &now);
  return now.tv_sec * kNanosecondsPerSecond + now.tv_nsec;
}

void append_field(LogRecord& record, std::string_view key, std::string_view value, bool is_number) {
  POSTERN_ASSERT(key.size() <= kLogKeyBytesMax);
  constexpr std::size_t kOverhead = 3;
  const std::size_t room = LogRecord::kFieldBytes - record.used;
  if (room < kOverhead + key.size() + std::min(value.size(), kShortValue)) {
    record.truncated = true;
    return;
  }
  const std::size_t value_room = room - kOverhead - key.size();
  if (value.size() > value_room) {
    record.truncated = true;
    value = value.substr(0, value_room);
    // Not in the middle of a character.
    while (!value.empty() && (static_cast<unsigned char>(value.back()) & 0xc0) == 0x80)
      value.remove_suffix(1);
    if (!value.empty() && static_cast<unsigned char>(value.back()) >= 0xc0) value.remove_suffix(1);
  }
  char* at = record.fields.data() + record.used;
  *at++ = static_cast<char>(key.size() | (is_number ? kLogNumberBit : 0));
  at = std::copy(key.begin(), key.end(), at);
  *at++ = static_cast<char>(value.size() & 0xff);
  *at++ = static_cast<char>(value.size() >> 8);
  std::copy(value.begin(), value.end(), at);
  record.used = static_cast<std::uint16_t>(record.used + kOverhead + key.size() + value.size());
}

using Sink = std::shared_ptr<spdlog::sinks::sink>;

Result<Sink> open_sink(const std::string& to) {
  Sink sink;
  if (to == "stderr" || to == "journal") {
    sink = std::make_shared<spdlog::sinks::stderr_sink_st>();
  } else {
    // spdlog throws without an errno: find out first.
    const int descriptor = ::open(to.c_str(), O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0640);
    if (descriptor < 0) return fail_errno("open the log file " + to, errno);
    ::close(descriptor);
    try {
      sink = std::make_shared<spdlog::sinks::basic_file_sink_st>(to);
    } catch (const spdlog::spdlog_ex& error) {
      return fail("open the log file " + to + ": " + error.what());
    }
  }
  // Our lines are whole: no pattern around them, no line end behind them.
  sink->set_formatter(std::make_unique<spdlog::pattern_formatter>("%v", spdlog::pattern_time_type::utc, ""));
  return sink;
}

}  // namespace

LogRing::LogRing(std::size_t capacity) : records_(capacity) {
  POSTERN_ASSERT(std::has_single_bit(capacity));
}

LogRecord* LogRing::begin() {
  POSTERN_ASSERT(!open_);
  const std::uint64_t head = head_.load(std::memory_order_relaxed);
  if (head - tail_.load(std::memory_order_acquire) == records_.size()) {
    dropped_.fetch_add(1, std::memory_order_relaxed);
    return nullptr;
  }
  open_ = true;
  return &records_[head & (records_.size() - 1)];
}

void LogRing::commit() {
  open_ = false;
  head_.store(head_.load(std::memory_order_relaxed) + 1, std::memory_order_release);
}

const LogRecord* LogRing::front() const {
  const std::uint64_t tail = tail_.load(std::memory_order_relaxed);
  if (tail == head_.load(std::memory_order_acquire)) return nullptr;
  return &records_[tail & (records_.size() - 1)];
}

void LogRing::pop() {
  tail_.store(tail_.load(std::memory_order_relaxed) + 1, std::memory_order_release);
}

LogLine::LogLine(LogRing& ring, const Time& now, Severity severity, const char* event)
    : ring_(ring), record_(ring.begin()) {
  if (record_ == nullptr) return;
  record_->unix_ns = now.unix_ns;
  record_->event = event;
  record_->flood_key = 0;
  record_->severity = severity;
  record_->truncated = false;
  record_->used = 0;
}

LogLine::~LogLine() {
  if (record_ != nullptr) ring_.commit();
}

LogLine& LogLine::add(std::string_view key, std::string_view value) {
  if (record_ != nullptr) append_field(*record_, key, value, false);
  return *this;
}

LogLine& LogLine::add(std::string_view key, std::uint64_t value) {
  if (record_ == nullptr) return *this;
  char text[kShortValue];
  const char* end = std::to_chars(text, text + sizeof text, value).ptr;
  append_field(*record_, key, {text, static_cast<std::size_t>(end - text)}, true);
  return *this;
}

LogLine& LogLine::add(std::string_view key, const IpAddress& value) {
  if (record_ == nullptr) return *this;
  std::array<char, IpAddress::kTextBytes> text;
  append_field(*record_, key, value.text_into(text), false);
  return *this;
}

LogLine& LogLine::flood_key(std::uint64_t key) {
  if (record_ != nullptr) record_->flood_key = key;
  return *this;
}

struct Log::Implementation {
  LogOptions options;
  std::vector<std::unique_ptr<LogRing>> rings;
  std::vector<std::uint64_t> dropped_reported;
  Sink sink;
  FloodFolder folder;
  std::string line;

  std::mutex mutex;  // guards the next two
  std::condition_variable changed;
  bool stopping = false;
  bool reopening = false;
  std::thread thread;

  void write(const LogRecord& record, std::uint64_t folded);
  bool write_next();
  void flush();
  void report_dropped();
  void reopen();
  void run();
};

void Log::Implementation::write(const LogRecord& record, std::uint64_t folded) {
  static constexpr spdlog::level::level_enum kLevels[] = {spdlog::level::debug, spdlog::level::info,
                                                          spdlog::level::warn, spdlog::level::err};
  line.clear();
  if (options.to == "journal") {
    // sd-daemon(3): how a line on standard error tells the journal its priority.
    static constexpr std::string_view kPriorities[] = {"<7>", "<6>", "<4>", "<3>"};
    line += kPriorities[static_cast<int>(record.severity)];
  }
  format_log_line(record, options.json, folded, line);
  try {
    sink->log(spdlog::details::log_msg("", kLevels[static_cast<int>(record.severity)], line));
  } catch (const spdlog::spdlog_ex&) {
    // The disk of the log file is full or gone; there is nowhere to say so, and mail goes on.
  }
}

void Log::Implementation::flush() {
  try {
    sink->flush();
  } catch (const spdlog::spdlog_ex&) {
    // As in write().
  }
}

// Writes the oldest line that waits in any ring. False: there is none.
bool Log::Implementation::write_next() {
  LogRing* oldest = nullptr;
  for (const auto& ring : rings) {
    const LogRecord* front = ring->front();
    if (front != nullptr && (oldest == nullptr || front->unix_ns < oldest->front()->unix_ns))
      oldest = ring.get();
  }
  if (oldest == nullptr) return false;
  const LogRecord& record = *oldest->front();
  if (folder.pass(record, clock_ns(CLOCK_MONOTONIC))) write(record, 0);
  oldest->pop();
  return true;
}

void Log::Implementation::report_dropped() {
  std::uint64_t dropped = 0;
  for (std::size_t i = 0; i < rings.size(); ++i) {
    const std::uint64_t now_dropped = rings[i]->dropped();
    dropped += now_dropped - std::exchange(dropped_reported[i], now_dropped);
  }
  if (dropped == 0) return;
  LogRing scratch(1);
  LogLine(scratch, Time{0, clock_ns(CLOCK_REALTIME)}, Severity::warning, "log-lines-dropped")
      .add("lines", dropped);
  write(*scratch.front(), 0);
}

void Log::Implementation::reopen() {
  auto opened = open_sink(options.to);
  if (opened) {
    sink = std::move(*opened);
    return;
  }
  // The old file is better than none.
  LogRing scratch(1);
  LogLine(scratch, Time{0, clock_ns(CLOCK_REALTIME)}, Severity::error, "log-not-reopened")
      .add("reason", opened.error().text);
  write(*scratch.front(), 0);
}

void Log::Implementation::run() {
  for (;;) {
    bool stop = false;
    bool reopen_now = false;
    {
      const std::lock_guard lock(mutex);
      stop = stopping;
      reopen_now = std::exchange(reopening, false);
    }
    if (reopen_now) reopen();
    int written = 0;
    while (written < kLinesAtOnce && write_next()) ++written;
    report_dropped();
    const bool drained = written < kLinesAtOnce;
    folder.expire(stop && drained ? INT64_MAX : clock_ns(CLOCK_MONOTONIC),
                  [this](const LogRecord& last, std::uint64_t folded) { write(last, folded); });
    if (!drained) continue;
    flush();
    if (stop) return;
    std::unique_lock lock(mutex);
    changed.wait_for(lock, kPollInterval, [this] { return stopping || reopening; });
  }
}

Log::Log(std::unique_ptr<Implementation> implementation) : implementation_(std::move(implementation)) {}

Result<std::unique_ptr<Log>> Log::start(const LogOptions& options, std::size_t rings) {
  auto implementation = std::make_unique<Implementation>();
  implementation->options = options;
  auto sink = open_sink(options.to);
  if (!sink) return std::unexpected(sink.error());
  implementation->sink = std::move(*sink);
  for (std::size_t i = 0; i < rings; ++i)
    implementation->rings.push_back(std::make_unique<LogRing>(kRingLines));
  implementation->dropped_reported.resize(rings);
  Implementation* self = implementation.get();
  self->thread = std::thread([self] { self->run(); });
  return std::unique_ptr<Log>(new Log(std::move(implementation)));
}

Log::~Log() {
  {
    const std::lock_guard lock(implementation_->mutex);
    implementation_->stopping = true;
  }
  implementation_->changed.notify_one();
  implementation_->thread.join();
}

void Log::reopen() {
  {
    const std::lock_guard lock(implementation_->mutex);
    implementation_->reopening = true;
  }
  implementation_->changed.notify_one();
}

LogRing& Log::ring(std::size_t index) {
  POSTERN_ASSERT(index < implementation_->rings.size());
  return *implementation_->rings[index];
}

}  // namespace postern::core
