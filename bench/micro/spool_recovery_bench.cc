// How fast the spool takes items in, and how fast a queue of them is there again after a restart.
//
//   spool_recovery_bench FOLDER [items] [body octets] [appends a turn]
//
// Appends as fast as can_append() allows, at most so many a turn, then closes the log and opens it again; the second
// opening is the figure. Segments are read past the page cache, as after a power cut.
#include <algorithm>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <memory>
#include <string>
#include <vector>

#include "core/files.h"
#include "core/ring.h"
#include "core/spool.h"
#include "core/timer_wheel.h"

namespace {

using namespace postern::core;
using Clock = std::chrono::steady_clock;

double seconds_since(Clock::time_point begin) {
  return std::chrono::duration<double>(Clock::now() - begin).count();
}

struct Bench {
  SpoolOptions options;
  std::unique_ptr<Ring> ring;
  std::unique_ptr<TimerWheel> timers;
  std::unique_ptr<Spool> spool;
  std::uint64_t recovered = 0;
  std::uint64_t durable = 0;
  std::vector<std::unique_ptr<Durable>> free;

  double open() {
    RingOptions ring_options;
    ring_options.buffer_count = 2;
    ring = Ring::create(ring_options).value();
    const Time now = ring->read_clock();
    timers = std::make_unique<TimerWheel>(now.boot_ns);
    RecoveryReport report;
    recovered = 0;
    const Clock::time_point begin = Clock::now();
    auto opened = Spool::open(
        options, *ring, *timers, now, [this](const RecoveredItem&) { ++recovered; }, report);
    if (!opened) {
      std::fprintf(stderr, "%s\n", opened.error().text.c_str());
      std::exit(1);
    }
    const double took = seconds_since(begin);
    spool = std::move(*opened);
    return took;
  }
  void turn() {
    const Time now = ring->submit_and_wait(spool->can_append(1 << 16) ? 0 : timers->next_deadline_ns());
    ring->reap();
    timers->advance(now.boot_ns);
    spool->flush(now);
  }
  void close() {
    while (!spool->is_idle()) turn();
    spool.reset();
    timers.reset();
    ring.reset();
  }
  static void on_durable(void* owner, Durable& durable, int error) noexcept {
    Bench& self = *static_cast<Bench*>(owner);
    if (error != 0) std::abort();
    ++self.durable;
    self.free.emplace_back(&durable);
  }
};

}  // namespace

int main(int argc, char** argv) {
  if (argc < 2) {
    std::fprintf(stderr, "usage: spool_recovery_bench FOLDER [items] [body octets] [appends a turn]\n");
    return 2;
  }
  const std::uint64_t items = argc > 2 ? std::strtoull(argv[2], nullptr, 10) : 1'000'000;
  std::string body(argc > 3 ? std::strtoull(argv[3], nullptr, 10) : 1024, 'b');
  const std::uint64_t a_turn = argc > 4 ? std::strtoull(argv[4], nullptr, 10) : 64;
  const std::string head(120, 'h');

  Bench bench;
  bench.options.directory = std::string(argv[1]) + "/log-0000";
  std::printf("first opening: %.3f s\n", bench.open());
  const Clock::time_point begin = Clock::now();
  std::uint64_t appended = 0;
  std::vector<ItemId> ids;
  while (bench.durable < items) {
    for (std::uint64_t i = 0; i < a_turn && appended < items; ++i) {
      if (!bench.spool->can_append(head.size() + body.size())) break;
      Durable* durable =
          bench.free.empty() ? new Durable{&Bench::on_durable, &bench, nullptr, 0} : bench.free.back().release();
      if (!bench.free.empty() && bench.free.back() == nullptr) bench.free.pop_back();
      const iovec part{body.data(), body.size()};
      ids.push_back(bench.spool->next_id());
      bench.spool->append(ids.back(), head, {&part, 1}, 0, 1, *durable);
      ++appended;
    }
    bench.turn();
  }
  const double took = seconds_since(begin);
  const SpoolCounters counters = bench.spool->counters();
  std::printf("appended %lu items of %zu octets in %.2f s: %.0f a second, %lu commits of %.1f KiB, %.0f MB/s\n", items,
              body.size(), took, static_cast<double>(items) / took, counters.commits,
              static_cast<double>(counters.commit_bytes) / static_cast<double>(counters.commits) / 1024,
              static_cast<double>(counters.commit_bytes) / took / 1e6);
  bench.close();

  std::vector<double> openings;
  for (int i = 0; i < 3; ++i) {
    openings.push_back(bench.open());
    if (bench.recovered != items) std::abort();
    if (i < 2) bench.close();
  }
  std::sort(openings.begin(), openings.end());
  std::printf("recovered %lu items in %.2f s (median of 3; %.2f-%.2f): %.0f items a second\n", bench.recovered,
              openings[1], openings[0], openings[2], static_cast<double>(items) / openings[1]);
  const Clock::time_point finishing = Clock::now();
  for (std::size_t i = 0; i < ids.size(); ++i) {
    bench.spool->finish(ids[i], nullptr);
    if (i % 256 == 255) bench.turn();
  }
  while (!bench.spool->is_idle()) bench.turn();
  std::printf("finished all in %.2f s\n", seconds_since(finishing));
  bench.close();
  return 0;
}
