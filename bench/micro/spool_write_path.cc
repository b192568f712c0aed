// Which way a commit should reach the disk: the measurement behind docs/decisions/0001 and 0002.
//
//   spool_write_path FOLDER [seconds a cell] [rounds]
//
// Writes commits of 4 KiB to 1 MiB into prewritten files, over and over, the ways the spool could, with one log and with
// two logs on two threads. Cells are measured in turn, round by round, and the median round is shown, so that a slow
// minute of the disk does not decide. Latency is from the start of a commit to the worker's knowledge that it is durable;
// CPU is the whole process's, the kernel's workers for it included.
#include <algorithm>
#include <array>
#include <atomic>
#include <chrono>
#include <condition_variable>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <fcntl.h>
#include <memory>
#include <mutex>
#include <poll.h>
#include <string>
#include <sys/eventfd.h>
#include <sys/resource.h>
#include <thread>
#include <unistd.h>
#include <vector>

#include "core/files.h"
#include "core/ring.h"
#include "core/spool_format.h"
#include "core/spool_recovery.h"

namespace {

using namespace postern::core;
using Clock = std::chrono::steady_clock;

constexpr std::uint64_t kFileBytes = 128u << 20;
constexpr std::array<std::uint32_t, 4> kSizes = {4096, 65536, 262144, 1u << 20};

enum class Way { helper, buffered, direct1, direct2, direct4, direct8 };
constexpr std::array kWays = {Way::helper, Way::buffered, Way::direct1, Way::direct2, Way::direct4, Way::direct8};
constexpr std::array kNames = {"pwrite+fdatasync, helper thread", "ring write, then ring fdatasync",
                               "ring O_DIRECT|O_DSYNC, 1",        "ring O_DIRECT|O_DSYNC, 2",
                               "ring O_DIRECT|O_DSYNC, 4",        "ring O_DIRECT|O_DSYNC, 8"};

std::size_t depth_of(Way way) {
  switch (way) {
    case Way::direct2:
      return 2;
    case Way::direct4:
      return 4;
    case Way::direct8:
      return 8;
    default:
      return 1;
  }
}

struct Measured {
  double commits_a_second = 0;
  double p50_us = 0;
  double p99_us = 0;
  double cpu_us = 0;  // a commit
};

double cpu_seconds() {
  rusage usage{};
  getrusage(RUSAGE_SELF, &usage);
  return static_cast<double>(usage.ru_utime.tv_sec + usage.ru_stime.tv_sec) +
         static_cast<double>(usage.ru_utime.tv_usec + usage.ru_stime.tv_usec) * 1e-6;
}

[[noreturn]] void give_up(const std::string& why) {
  std::fprintf(stderr, "spool_write_path: %s\n", why.c_str());
  std::exit(1);
}

template <class T>
T must(Result<T> result) {
  if (!result) give_up(result.error().text);
  return std::move(*result);
}

// One log: a file, and up to eight commits on their way.
class Log {
 public:
  Log(std::string path, Way way, std::uint32_t bytes) : way_(way), bytes_(bytes) {
    const bool direct = depth_of(way) > 1 || way == Way::direct1;
    file_ = must(files::open(path, O_RDWR | (direct ? O_DIRECT | O_DSYNC : 0)));
    RingOptions options;
    options.submission_entries = 64;
    options.buffer_count = 2;
    options.buffer_bytes = 4096;
    ring_ = must(Ring::create(options));
    memory_ = make_aligned(bytes);
    std::memset(memory_.get(), 'm', bytes);
    for (std::size_t i = 0; i < depth_of(way); ++i) {
      slots_.push_back(std::make_unique<Slot>());
      slots_.back()->log = this;
      slots_.back()->completion.owner = slots_.back().get();
      slots_.back()->completion.handler = &Log::on_done;
    }
    if (way == Way::helper) {
      event_ = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
      helper_ = std::thread([this] { help(); });
    }
  }
  ~Log() {
    if (helper_.joinable()) {
      {
        const std::lock_guard lock(mutex_);
        is_over_ = true;
      }
      wanted_.notify_one();
      helper_.join();
      ::close(event_);
    }
    files::close(file_);
  }
  Log(const Log&) = delete;
  Log& operator=(const Log&) = delete;

  void run(double seconds) {
    const Clock::time_point begin = Clock::now();
    end_ = begin + std::chrono::duration_cast<Clock::duration>(std::chrono::duration<double>(seconds));
    for (auto& slot : slots_) start(*slot);
    while (in_flight_ > 0) {
      ring_->submit_and_wait(INT64_MAX);
      ring_->reap();
    }
    elapsed_ = std::chrono::duration<double>(Clock::now() - begin).count();
  }
  std::vector<double> latencies_us;
  [[nodiscard]] double elapsed() const { return elapsed_; }

 private:
  struct Slot {
    Log* log = nullptr;
    Completion completion;
    Clock::time_point begin;
    std::uint64_t offset = 0;
    bool is_syncing = false;
  };

  void start(Slot& slot) {
    slot.begin = Clock::now();
    if (slot.begin >= end_) return;
    slot.offset = offset_;
    slot.is_syncing = false;
    offset_ = offset_ + 2 * bytes_ > kFileBytes ? 0 : offset_ + bytes_;
    ++in_flight_;
    if (way_ == Way::helper) {
      {
        const std::lock_guard lock(mutex_);
        task_ = slot.offset;
        has_task_ = true;
      }
      wanted_.notify_one();
      ring_->poll(event_, POLLIN, slot.completion);
    } else {
      ring_->write(file_, {memory_.get(), bytes_}, slot.offset, slot.completion);
    }
  }
  static void on_done(void* owner, Completion&, const Outcome& outcome) noexcept {
    Slot& slot = *static_cast<Slot*>(owner);
    Log& log = *slot.log;
    if (outcome.result < 0) give_up(std::string("a write failed: ") + std::strerror(-outcome.result));
    if (log.way_ == Way::buffered && !slot.is_syncing) {
      slot.is_syncing = true;
      return log.ring_->sync(log.file_, true, slot.completion);
    }
    if (log.way_ == Way::helper) {
      std::uint64_t count = 0;
      if (::read(log.event_, &count, sizeof count) < 0) give_up("eventfd");
    }
    --log.in_flight_;
    log.latencies_us.push_back(std::chrono::duration<double, std::micro>(Clock::now() - slot.begin).count());
    log.start(slot);
  }
  void help() {
    for (;;) {
      std::uint64_t offset = 0;
      {
        std::unique_lock lock(mutex_);
        wanted_.wait(lock, [&] { return has_task_ || is_over_; });
        if (is_over_) return;
        offset = task_;
        has_task_ = false;
      }
      if (pwrite(file_, memory_.get(), bytes_, static_cast<off_t>(offset)) != static_cast<ssize_t>(bytes_) ||
          fdatasync(file_) != 0) {
        give_up("pwrite or fdatasync failed");
      }
      const std::uint64_t one = 1;
      if (::write(event_, &one, sizeof one) < 0) give_up("eventfd");
    }
  }

  Way way_;
  std::uint32_t bytes_;
  int file_ = -1;
  std::unique_ptr<Ring> ring_;
  AlignedMemory memory_;
  std::vector<std::unique_ptr<Slot>> slots_;
  std::uint64_t offset_ = 0;
  std::size_t in_flight_ = 0;
  Clock::time_point end_;
  double elapsed_ = 0;
  // The helper's.
  std::thread helper_;
  std::mutex mutex_;
  std::condition_variable wanted_;
  std::uint64_t task_ = 0;
  bool has_task_ = false;
  bool is_over_ = false;
  int event_ = -1;
};

Measured measure(const std::vector<std::string>& paths, std::size_t logs, Way way, std::uint32_t bytes,
                 double seconds) {
  std::vector<std::vector<double>> latencies(logs);
  std::vector<double> rates(logs);
  std::vector<std::thread> threads;
  const double cpu_before = cpu_seconds();
  for (std::size_t i = 0; i < logs; ++i) {
    threads.emplace_back([&, i] {
      Log log(paths[i], way, bytes);
      log.run(seconds);
      rates[i] = static_cast<double>(log.latencies_us.size()) / log.elapsed();
      latencies[i] = std::move(log.latencies_us);
    });
  }
  for (std::thread& thread : threads) thread.join();
  std::vector<double> all;
  Measured measured;
  measured.cpu_us = (cpu_seconds() - cpu_before) * 1e6;
  for (std::size_t i = 0; i < logs; ++i) {
    all.insert(all.end(), latencies[i].begin(), latencies[i].end());
    measured.commits_a_second += rates[i];
  }
  std::sort(all.begin(), all.end());
  if (all.empty()) return measured;
  measured.cpu_us /= static_cast<double>(all.size());
  measured.p50_us = all[all.size() / 2];
  measured.p99_us = all[all.size() * 99 / 100];
  return measured;
}

void prewrite(const std::string& path) {
  const int file = must(files::open(path, O_RDWR | O_CREAT | O_TRUNC));
  const AlignedMemory zeros = make_aligned(1u << 20);
  for (std::uint64_t at = 0; at < kFileBytes; at += 1u << 20) {
    if (!files::write_at(file, {zeros.get(), 1u << 20}, at)) give_up("cannot write " + path);
  }
  if (!files::sync(file)) give_up("cannot sync " + path);
  files::close(file);
}

}  // namespace

int main(int argc, char** argv) {
  if (argc < 2) {
    std::fprintf(stderr, "usage: spool_write_path FOLDER [seconds a cell] [rounds]\n");
    return 2;
  }
  const double seconds = argc > 2 ? std::atof(argv[2]) : 0.5;
  const int rounds = argc > 3 ? std::atoi(argv[3]) : 5;
  const std::vector<std::string> paths = {std::string(argv[1]) + "/write-path-1",
                                          std::string(argv[1]) + "/write-path-2"};
  for (const std::string& path : paths) prewrite(path);

  std::vector<Measured> cells[2][kSizes.size()][kWays.size()];
  for (int round = 0; round < rounds; ++round) {
    for (std::size_t logs = 1; logs <= 2; ++logs) {
      for (std::size_t size = 0; size < kSizes.size(); ++size) {
        for (std::size_t way = 0; way < kWays.size(); ++way) {
          cells[logs - 1][size][way].push_back(measure(paths, logs, kWays[way], kSizes[size], seconds));
        }
      }
    }
  }
  for (std::size_t logs = 1; logs <= 2; ++logs) {
    std::printf("\n%zu log%s: commits/s in all, p50/p99 us, CPU us a commit; median of %d rounds (slowest-fastest round)\n", logs,
                logs == 1 ? "" : "s on two threads", rounds);
    for (std::size_t way = 0; way < kWays.size(); ++way) {
      std::printf("%-32s", kNames[way]);
      for (std::size_t size = 0; size < kSizes.size(); ++size) {
        auto& all = cells[logs - 1][size][way];
        std::sort(all.begin(), all.end(),
                  [](const Measured& a, const Measured& b) { return a.commits_a_second < b.commits_a_second; });
        const Measured& median = all[all.size() / 2];
        std::printf(" | %4uK %6.0f %5.0f/%-6.0f cpu %4.0f (%.0f-%.0f)", kSizes[size] >> 10, median.commits_a_second,
                    median.p50_us, median.p99_us, median.cpu_us, all.front().commits_a_second,
                    all.back().commits_a_second);
      }
      std::printf("\n");
    }
  }
  for (const std::string& path : paths) ::unlink(path.c_str());
  return 0;
}
