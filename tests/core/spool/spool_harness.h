// A spool on a ring, driven turn by turn by the test: on the real one in a temporary folder, or on the simulator's.
#pragma once

#include <algorithm>
#include <cstdlib>
#include <functional>
#include <gtest/gtest.h>
#include <map>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "core/files.h"
#include "core/ring.h"
#include "core/spool.h"
#include "core/spool_dump.h"
#include "core/spool_recovery.h"
#include "core/timer_wheel.h"

#ifdef POSTERN_TEST_SIM
#include "tests/sim/sim_disk.h"
#include "tests/sim/sim_world.h"
#else
#include <filesystem>
#endif

namespace postern::core::spool_test {

struct Kept {
  std::string head;
  std::string body;
  std::string state;
  std::uint16_t content_flags = 0;
  bool is_large = false;
};

inline SpoolOptions small_options(const std::string& folder) {
  SpoolOptions options;
  options.directory = folder + "/log-0003";
  options.log_number = 3;
  options.commit_bytes = 96u << 10;
  options.inline_bytes_max = 16u << 10;
  options.segment_bytes = 256u << 10;
  options.segments_kept = 4;
  options.disk_reserve_bytes = 0;
  return options;
}

// By value: what a range-for goes over must outlive its expression.
inline std::vector<std::string> names_in(const std::string& folder) { return files::list(folder).value(); }

struct Waiter {
  Durable durable{&Waiter::on_durable, this, nullptr, 0};
  int error = -1;  // not told yet
  std::function<void(int)> then;

  static void on_durable(void* owner, Durable&, int e) noexcept {
    auto& self = *static_cast<Waiter*>(owner);
    EXPECT_EQ(self.error, -1) << "told twice";
    self.error = e;
    if (self.then) self.then(e);
  }
};

class SpoolHarness {
 public:
#ifdef POSTERN_TEST_SIM
  explicit SpoolHarness(const sim::SimOptions& sim_options = sim::SimOptions{})
      : world(std::make_unique<sim::SimWorld>(sim_options)), folder("/spool"), options(small_options(folder)) {}
#else
  SpoolHarness() {
    std::string name = (std::filesystem::temp_directory_path() / "postern-spool-XXXXXX").string();
    if (mkdtemp(name.data()) == nullptr) std::abort();
    folder = name;
    options = small_options(folder);
  }
#endif
  ~SpoolHarness() {
    if (spool) crash();
#ifndef POSTERN_TEST_SIM
    std::filesystem::remove_all(folder);
#endif
  }
  SpoolHarness(const SpoolHarness&) = delete;
  SpoolHarness& operator=(const SpoolHarness&) = delete;

  Result<void> try_open() {
    RingOptions ring_options;
    ring_options.submission_entries = 64;
    ring_options.buffer_count = 2;
    ring_options.buffer_bytes = 4096;
    if (!ring) {
      ring = Ring::create(ring_options).value();
      now = ring->read_clock();
      timers = std::make_unique<TimerWheel>(now.boot_ns);
    }
    recovered.clear();
    order.clear();
    report = RecoveryReport{};
    auto opened = Spool::open(
        options, *ring, *timers, now,
        [&](const RecoveredItem& item) {
          Kept kept{std::string(item.head), "", std::string(item.state), item.info.content_flags, item.info.is_large};
          EXPECT_TRUE(recovered.emplace(item.info.id, kept).second) << "handed over twice";
          order.push_back(item.info.id);
        },
        report);
    if (!opened) return std::unexpected(opened.error());
    spool = std::move(*opened);
    return {};
  }
  void open() {
    auto opened = try_open();
    ASSERT_TRUE(opened) << opened.error().text;
  }

  void turn(bool may_sleep = true) {
    const std::int64_t latest = ring->read_clock().boot_ns + 50 * kNanosecondsPerMillisecond;
    now = ring->submit_and_wait(may_sleep ? std::min(timers->next_deadline_ns(), latest) : 0);
    ring->reap();
    timers->advance(now.boot_ns);
    spool->flush(now);
  }
  // False: it did not happen.
  bool until(const std::function<bool()>& condition, int turns = 20'000) {
    for (int i = 0; i < turns; ++i) {
      if (condition()) return true;
      turn();
    }
    return condition();
  }
  bool settle() {
    return until([&] { return spool->is_idle(); });
  }
  // An orderly end.
  void close() {
    ASSERT_TRUE(settle());
    end();
  }
  // As the end of the process: nothing more is written. On the simulator; the real kernel would go on writing from
  // memory that is gone, so there what is under way is waited for.
  void crash() {
#ifdef POSTERN_TEST_SIM
    world->kill();
    end();
    world->power_on();
#else
    EXPECT_TRUE(settle());
    end();
#endif
  }
  void end() {
    spool.reset();
    timers.reset();
    ring.reset();
  }
  void reopen() {
    close();
    open();
  }

  Waiter& waiter() {
    waiters.push_back(std::make_unique<Waiter>());
    return *waiters.back();
  }
  ItemId start_append(std::string_view head, std::string_view body, Waiter& waiter_, std::uint16_t flags = 0) {
    const ItemId id = spool->next_id();
    // In two pieces, as callers do.
    char* octets = const_cast<char*>(body.data());
    const std::size_t cut = body.size() / 3;
    const iovec parts[2] = {{octets, cut}, {octets + cut, body.size() - cut}};
    spool->append(id, head, parts, flags, now.unix_ns, waiter_.durable);
    return id;
  }
  // Appends and waits until it is durable.
  ItemId append(std::string_view head, std::string_view body, std::uint16_t flags = 0) {
    Waiter& waiter_ = waiter();
    EXPECT_TRUE(until([&] { return spool->can_append(head.size() + body.size()); }));
    const ItemId id = start_append(head, body, waiter_, flags);
    EXPECT_TRUE(until([&] { return waiter_.error >= 0; }));
    EXPECT_EQ(waiter_.error, 0);
    return id;
  }
  int update(ItemId id, std::string_view state) {
    Waiter& waiter_ = waiter();
    spool->update(id, state, &waiter_.durable);
    EXPECT_TRUE(until([&] { return waiter_.error >= 0; }));
    return waiter_.error;
  }
  int finish(ItemId id) {
    Waiter& waiter_ = waiter();
    spool->finish(id, &waiter_.durable);
    EXPECT_TRUE(until([&] { return waiter_.error >= 0; }));
    return waiter_.error;
  }
  // 0 and the item's head and body, or an error.
  int load(ItemId id, Kept& kept) {
    struct Loading {
      Load load;
      int error = -1;
    } loading;
    const std::size_t bytes = std::max<std::size_t>(spool->load_bytes(id), 4096);
    const AlignedMemory memory = make_aligned(bytes);
    loading.load.into = {memory.get(), bytes};
    loading.load.owner = &loading;
    loading.load.handler = [](void* owner, Load&, int error) noexcept { static_cast<Loading*>(owner)->error = error; };
    spool->load(id, loading.load);
    EXPECT_TRUE(until([&] { return loading.error >= 0; }));
    kept.head = loading.load.head;
    kept.body = loading.load.body;
    return loading.error;
  }
  // Everything that a reader finds on the disk.
  std::map<ItemId, Kept> dump(std::vector<std::string>* damage = nullptr) {
    std::map<ItemId, Kept> all;
    auto done = dump_spool(folder, [&](const DumpedItem& item) {
      all[item.info.id] = {std::string(item.head), std::string(item.body), std::string(item.state),
                           item.info.content_flags, item.info.is_large};
      if (!item.damage.empty() && damage != nullptr) damage->push_back(item.damage);
    });
    EXPECT_TRUE(done) << done.error().text;
    return all;
  }

  // The same, or nothing where there is no spool yet.
  std::map<ItemId, Kept> dump_if_any() {
    if (!files::list(folder + "/log-0003")) return {};
    return dump();
  }

#ifdef POSTERN_TEST_SIM
  std::unique_ptr<sim::SimWorld> world;
#endif
  std::string folder;
  SpoolOptions options;
  std::unique_ptr<Ring> ring;
  std::unique_ptr<TimerWheel> timers;
  std::unique_ptr<Spool> spool;
  RecoveryReport report;
  std::map<ItemId, Kept> recovered;
  std::vector<ItemId> order;
  std::vector<std::unique_ptr<Waiter>> waiters;
  Time now;
};

// Streams a large body in, piece by piece.
struct LargeWriter {
  explicit LargeWriter(SpoolHarness& h) : harness(h) {
    large.owner = this;
    large.handler = [](void* owner, LargeBody&, int error) noexcept { static_cast<LargeWriter*>(owner)->told = error; };
  }
  int wait() {
    EXPECT_TRUE(harness.until([&] { return told >= 0; }));
    return told;
  }
  int begin() {
    large.id = harness.spool->next_id();
    told = -1;
    harness.spool->begin_large(large);
    return wait();
  }
  int write(std::string_view piece) {
    told = -1;
    harness.spool->write_large(large, piece);
    return wait();
  }
  int append(std::string_view head) {
    harness.spool->append_large(large, head, 0, harness.now.unix_ns, done.durable);
    EXPECT_TRUE(harness.until([&] { return done.error >= 0; }));
    return done.error;
  }
  int abandon() {
    told = -1;
    harness.spool->abandon_large(large);
    return wait();
  }
  SpoolHarness& harness;
  LargeBody large;
  Waiter done;
  int told = -1;
};

}  // namespace postern::core::spool_test
