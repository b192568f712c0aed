// Failing writes, failing syncs and full disks, one at a time; on the simulated disk.
#include <algorithm>
#include <cerrno>
#include <fcntl.h>
#include <gtest/gtest.h>
#include <random>
#include <string>

#include "tests/core/spool/spool_harness.h"

namespace postern::core::spool_test {
namespace {

class SpoolFault : public ::testing::Test {
 protected:
  sim::SimDisk& disk() { return at.world->disk(); }
  std::uint64_t segment_files() {
    std::uint64_t count = 0;
    for (const std::string& name : names_in(at.options.directory)) count += name.ends_with(".seg") ? 1 : 0;
    return count;
  }
  void cut_power() {
    at.world->power_cut();
    at.end();
    at.world->power_on();
  }
  SpoolHarness at;
};

TEST_F(SpoolFault, AFailedWriteRefusesItsAppendsAndVoidsThem) {
  at.open();
  const ItemId before = at.append("before", "body");
  EXPECT_TRUE(at.spool->healthy());
  disk().fail_write(1);
  Waiter& first = at.waiter();
  Waiter& second = at.waiter();
  at.start_append("refused", "body", first);
  at.start_append("refused", "body", second);
  ASSERT_TRUE(at.until([&] { return second.error >= 0; }));
  EXPECT_EQ(first.error, EIO);
  EXPECT_EQ(second.error, EIO);
  EXPECT_FALSE(at.spool->healthy());
  EXPECT_EQ(at.spool->items(), 1u);
  EXPECT_EQ(at.spool->counters().write_errors, 1u);
  // The log goes on, elsewhere.
  const ItemId after = at.append("after", "body");
  ASSERT_TRUE(at.settle());
  cut_power();
  at.open();
  EXPECT_EQ(at.order, (std::vector<ItemId>{before, after}));
  EXPECT_EQ(at.report.damaged_records, 0u) << "a refused write is no damage";
}

// Whatever part of the failed write reached the disk.
TEST_F(SpoolFault, ARefusedItemDoesNotRise) {
  for (int round = 0; round < 30; ++round) {
    at.open();
    disk().fail_write(1);
    Waiter& waiter = at.waiter();
    at.start_append("refused", std::string(12'000, 'r'), waiter);
    ASSERT_TRUE(at.until([&] { return waiter.error >= 0; }));
    EXPECT_EQ(waiter.error, EIO);
    ASSERT_TRUE(at.settle());
    cut_power();
    at.open();
    EXPECT_TRUE(at.order.empty());
    at.close();
  }
}

TEST_F(SpoolFault, WhatWasInFlightBehindAFailedWriteIsRefusedToo) {
  at.options.commits_in_flight = 4;
  at.open();
  at.append("warm", "up");
  disk().fail_write(1);
  std::vector<Waiter*> waiters;
  for (int i = 0; i < 4; ++i) {
    waiters.push_back(&at.waiter());
    at.start_append("head", "body", *waiters.back());
    at.spool->flush(at.now);
  }
  ASSERT_TRUE(at.until([&] { return waiters.back()->error >= 0; }));
  int refused = 0;
  for (const Waiter* waiter : waiters) refused += waiter->error == EIO ? 1 : 0;
  EXPECT_GE(refused, 1);
  // Once one is refused, all later ones are.
  for (std::size_t i = 1; i < waiters.size(); ++i) {
    if (waiters[i - 1]->error == EIO) {
      EXPECT_EQ(waiters[i]->error, EIO);
    }
  }
  ASSERT_TRUE(at.settle());
  cut_power();
  at.open();
  EXPECT_EQ(at.order.size(), 1u + 4u - static_cast<std::size_t>(refused));
}

TEST_F(SpoolFault, OutcomesOutliveAFailedWrite) {
  at.open();
  const ItemId deferred = at.append("deferred", "body");
  const ItemId delivered = at.append("delivered", "body");
  disk().fail_write(1);
  Waiter& state = at.waiter();
  Waiter& old_state = at.waiter();
  Waiter& finish = at.waiter();
  at.spool->update(deferred, "old", &old_state.durable);
  at.spool->update(deferred, "new", &state.durable);
  at.spool->finish(delivered, &finish.durable);
  ASSERT_TRUE(at.until([&] { return state.error >= 0 && finish.error >= 0 && old_state.error >= 0; }));
  EXPECT_EQ(state.error, 0) << "logged again in another segment, and only then told";
  EXPECT_EQ(old_state.error, 0);
  EXPECT_EQ(finish.error, 0);
  EXPECT_FALSE(at.spool->healthy());
  cut_power();
  at.open();
  ASSERT_EQ(at.order, (std::vector<ItemId>{deferred}));
  EXPECT_EQ(at.recovered[deferred].state, "new");
}

// A later state is already in the next buffer when the earlier one's write fails.
TEST_F(SpoolFault, AnOldStateNeverCoversANewOne) {
  at.open();
  const ItemId id = at.append("head", "body");
  disk().fail_write(1);
  at.spool->update(id, "old", nullptr);
  at.start_append("other", "body", at.waiter());  // issues the commit at once
  at.spool->flush(at.now);
  Waiter& newest = at.waiter();
  at.spool->update(id, "new", &newest.durable);
  ASSERT_TRUE(at.until([&] { return newest.error >= 0; }));
  ASSERT_TRUE(at.settle());
  cut_power();
  at.open();
  EXPECT_EQ(at.recovered[id].state, "new");
}

TEST_F(SpoolFault, AFailedSegmentIsNeverWrittenAgainAndGoesWhenItIsEmpty) {
  at.open();
  const ItemId survivor = at.append("survivor", "body");
  const auto names = files::list(at.options.directory).value();
  std::string failed;  // the file that holds it
  for (const std::string& name : names) {
    const auto octets = disk().contents(at.options.directory + "/" + name);
    if (octets && octets->find("survivor") != std::string::npos) failed = at.options.directory + "/" + name;
  }
  ASSERT_FALSE(failed.empty());
  disk().fail_write(1);
  Waiter& waiter = at.waiter();
  at.start_append("refused", "body", waiter);
  ASSERT_TRUE(at.until([&] { return waiter.error >= 0; }));
  const auto then = disk().contents(failed);
  ASSERT_TRUE(then);
  const auto is_untouched_or_gone = [&] {
    const auto now = disk().contents(failed);
    return !now || *now == *then;
  };
  for (int i = 0; i < 200; ++i) {
    at.spool->finish(at.append("h", std::string(10'000, 'x')), nullptr);
    ASSERT_TRUE(is_untouched_or_gone());
  }
  ASSERT_TRUE(at.settle());
  EXPECT_FALSE(disk().contents(failed)) << "compaction moved what lived in it, then it went";
  Kept kept;
  EXPECT_EQ(at.load(survivor, kept), 0);
  EXPECT_EQ(kept.head, "survivor");
  at.reopen();
  EXPECT_EQ(at.order, (std::vector<ItemId>{survivor}));
}

// The n-th write may be a commit, a segment's header, or a segment's first zeros.
TEST_F(SpoolFault, WhicheverWriteFailsOnlyWhatWasRefusedIsMissing) {
  for (std::uint64_t nth = 1; nth <= 60; ++nth) {
    SpoolHarness one;
    one.open();
    std::vector<ItemId> accepted;
    one.world->disk().fail_write(nth);
    int refused = 0;
    for (int i = 0; i < 60; ++i) {
      Waiter& waiter = one.waiter();
      ASSERT_TRUE(one.until([&] { return one.spool->can_append(9004); }));
      const ItemId id = one.start_append("head", std::string(9000, 'x'), waiter);
      ASSERT_TRUE(one.until([&] { return waiter.error >= 0; }));
      waiter.error == 0 ? accepted.push_back(id) : static_cast<void>(++refused);
    }
    EXPECT_LE(refused, 1);
    EXPECT_FALSE(one.spool->healthy());
    ASSERT_TRUE(one.settle());
    one.world->power_cut();
    one.end();
    one.world->power_on();
    one.open();
    EXPECT_EQ(one.order, accepted);
    EXPECT_EQ(one.report.damaged_records, 0u);
  }
}

// A finish whose write failed may still be read by the next start; from then on a power cut must not take it back.
TEST_F(SpoolFault, WhatAStartHasReadStaysAsItIs) {
  int finished = 0;
  for (std::uint64_t seed = 1; seed <= 60; ++seed) {
    SpoolHarness one(sim::SimOptions{.seed = seed});
    one.open();
    one.append("keeps the segment in use", "body");
    const ItemId id = one.append("head", "body");
    one.world->disk().fail_write(1);
    one.spool->finish(id, nullptr);
    ASSERT_TRUE(one.until([&] { return one.spool->counters().write_errors > 0; }));
    one.crash();
    one.open();
    EXPECT_EQ(one.report.unsynced_segments, 0u);
    const auto then = one.order;
    finished += then.size() == 1 ? 1 : 0;
    one.world->power_cut();
    one.end();
    one.world->power_on();
    one.open();
    EXPECT_EQ(one.order, then) << "seed " << seed;
  }
  EXPECT_GT(finished, 5);
  EXPECT_LT(finished, 55);
}

TEST_F(SpoolFault, AStartThatCannotSyncWhatItReadSaysSoAndGoesOn) {
  at.open();
  const ItemId id = at.append("head", "body");
  at.close();
  disk().fail_sync(4);  // the mark, its folder and the log's folder come first
  at.open();
  EXPECT_EQ(at.order, (std::vector<ItemId>{id}));
  EXPECT_EQ(at.report.unsynced_segments, 1u);
  ASSERT_EQ(at.report.notes.size(), 1u);
  EXPECT_NE(at.report.notes[0].find("may be delivered again"), std::string::npos) << at.report.notes[0];
}

// The kernel may still be writing for a process that was killed.
TEST_F(SpoolFault, AStartWaitsForTheLastWritesOfAFormerProcess) {
  at.open();
  const ItemId id = at.append("head", "body");
  at.close();
  const std::string segment = at.options.directory + "/seg-00000001.seg";
  int file = files::open(segment, O_RDWR).value();
  ASSERT_TRUE(files::try_lock(file).value());
  at.world->after(3 * kNanosecondsPerSecond, [&] { files::close(file); });
  const std::int64_t begin = at.world->now().boot_ns;
  at.world->start("start", [&] { at.open(); });
  ASSERT_EQ(at.world->run([&] { return at.world->processes() == 0; }), sim::RunEnd::condition);
  EXPECT_GE(at.world->now().boot_ns - begin, 3 * kNanosecondsPerSecond);
  EXPECT_EQ(at.order, (std::vector<ItemId>{id}));
  // While it is open its segments are locked; one that does not come free ends the start.
  file = files::open(segment, O_RDWR).value();
  EXPECT_FALSE(files::try_lock(file).value());
  at.close();
  ASSERT_TRUE(files::try_lock(file).value());
  const auto refused = at.try_open();
  ASSERT_FALSE(refused);
  EXPECT_NE(refused.error().text.find("still under way"), std::string::npos) << refused.error().text;
  files::close(file);
  at.open();
}

TEST_F(SpoolFault, MovedItemsSurviveAFailedCopy) {
  for (std::uint64_t nth = 1; nth < 12; ++nth) {
    SpoolHarness one;
    one.open();
    std::vector<ItemId> kept;
    std::vector<ItemId> dead;
    for (int i = 0; i < 150; ++i) {
      const ItemId id = one.append("head " + std::to_string(i), std::string(8000, 'k'));
      (i % 10 == 0 ? kept : dead).push_back(id);
    }
    one.update(kept[0], "state");
    for (const ItemId id : dead) one.spool->finish(id, nullptr);
    one.world->disk().fail_write(nth);
    ASSERT_TRUE(one.settle());
    EXPECT_EQ(one.spool->items(), kept.size());
    one.world->power_cut();
    one.end();
    one.world->power_on();
    one.open();
    EXPECT_EQ(one.order, kept);
    EXPECT_EQ(one.recovered[kept[0]].state, "state");
  }
}

TEST_F(SpoolFault, LargeBodiesWithFailingSteps) {
  at.open();
  LargeWriter write_fails(at);
  ASSERT_EQ(write_fails.begin(), 0);
  disk().fail_write(1);
  EXPECT_EQ(write_fails.write(std::string(20'000, 'x')), EIO);
  EXPECT_EQ(write_fails.abandon(), 0);
  EXPECT_TRUE(at.spool->healthy()) << "a body's file is not the log";

  LargeWriter sync_fails(at);
  ASSERT_EQ(sync_fails.begin(), 0);
  ASSERT_EQ(sync_fails.write(std::string(20'000, 'x')), 0);
  disk().fail_sync(1);
  EXPECT_EQ(sync_fails.append("head"), EIO);

  LargeWriter folder_sync_fails(at);
  ASSERT_EQ(folder_sync_fails.begin(), 0);
  ASSERT_EQ(folder_sync_fails.write(std::string(20'000, 'x')), 0);
  disk().fail_sync(2);
  EXPECT_EQ(folder_sync_fails.append("head"), EIO);

  LargeWriter record_fails(at);
  ASSERT_EQ(record_fails.begin(), 0);
  ASSERT_EQ(record_fails.write(std::string(20'000, 'x')), 0);
  disk().fail_write(1);
  EXPECT_EQ(record_fails.append("head"), EIO);
  ASSERT_TRUE(at.settle());
  EXPECT_TRUE(files::list(at.options.directory + "/large").value().empty());
  EXPECT_EQ(at.spool->items(), 0u);
  at.reopen();
  EXPECT_TRUE(at.order.empty());
  EXPECT_EQ(at.report.lost_items, 0u);
}

// --- full disks -------------------------------------------------------------------------------------------------------

TEST_F(SpoolFault, AFullDiskRefusesMailTakesOutcomesAndRecoversByItself) {
  disk().set_capacity(2u << 20);  // eight segments
  at.open();
  std::vector<ItemId> ids;
  const auto fill = [&] {
    for (int i = 0; i < 10'000; ++i) {
      if (!at.spool->admit(15'000)) return true;
      Waiter& waiter = at.waiter();
      if (!at.until([&] { return at.spool->can_append(15'010); }, 200)) {
        at.spool->release(15'000);
        return true;
      }
      ids.push_back(at.start_append("head", std::string(15'000, 'f'), waiter));
      at.spool->release(15'000);
      if (!at.until([&] { return waiter.error >= 0; })) return false;
      EXPECT_EQ(waiter.error, 0) << "admitted, then refused";
    }
    return false;
  };
  ASSERT_TRUE(fill());
  EXPECT_GT(ids.size(), 40u);
  EXPECT_TRUE(at.spool->healthy()) << "a full disk is no broken one";
  EXPECT_FALSE(at.spool->admit(15'000));
  // Outcomes go through, with their space kept in reserve.
  for (int i = 0; i < 30; ++i) EXPECT_EQ(at.update(ids[static_cast<std::size_t>(i)], "deferred"), 0);
  // A restart on the full disk, and another.
  at.reopen();
  EXPECT_EQ(at.order, ids);
  at.reopen();
  EXPECT_EQ(at.recovered[ids[3]].state, "deferred");
  EXPECT_FALSE(at.spool->admit(15'000));
  // Mail goes out: the service resumes without being asked.
  for (std::size_t i = 0; i < ids.size(); i += 2) EXPECT_EQ(at.finish(ids[i]), 0);
  for (std::size_t i = 1; i < ids.size(); i += 2) EXPECT_EQ(at.finish(ids[i]), 0);
  ASSERT_TRUE(at.until([&] {
    const bool yes = at.spool->admit(15'000);
    if (yes) at.spool->release(15'000);
    return yes;
  }));
  at.append("after", "body");
}

TEST_F(SpoolFault, SpaceThatComesBackIsFoundByItself) {
  disk().set_capacity(2u << 20);
  at.open();
  const auto can = [&] {
    const bool yes = at.spool->admit(15'000);
    if (yes) at.spool->release(15'000);
    return yes;
  };
  while (can() && at.until([&] { return at.spool->can_append(15'010); }, 200))
    at.append("head", std::string(15'000, 'f'));
  EXPECT_FALSE(can());
  disk().set_capacity(8u << 20);
  ASSERT_TRUE(at.until(can, 400)) << "within a few seconds";
  for (int i = 0; i < 100; ++i) at.append("head", std::string(15'000, 'g'));
}

// One finished here and there among much that lives: outcomes alone must never use the log up, though each costs a
// block and frees less.
TEST_F(SpoolFault, OutcomesOnAFullDiskMakeTheirOwnSpace) {
  for (std::uint64_t seed = 1; seed <= 24; ++seed) {
    SCOPED_TRACE("seed " + std::to_string(seed));
    std::mt19937_64 random(seed);
    SpoolHarness one;
    one.world->disk().set_capacity((2u << 20) + random() % (2u << 20));
    one.open();
    const std::uint64_t most = seed % 3 == 0 ? 400 : 8000;
    std::vector<ItemId> ids;
    for (;;) {
      const std::uint64_t bytes = random() % most;
      if (!one.spool->admit(bytes)) break;
      one.spool->release(bytes);
      if (!one.until([&] { return one.spool->can_append(bytes + 4); }, 200)) break;
      Waiter& waiter = one.waiter();
      ids.push_back(one.start_append("head", std::string(bytes, 'f'), waiter));
      if (random() % 4 == 0) one.turn(false);
    }
    ASSERT_TRUE(one.settle());
    ASSERT_GT(ids.size(), 100u);
    std::shuffle(ids.begin(), ids.end(), random);
    // A hundred one by one; then what is left at random, most of them.
    for (std::size_t i = 0; i < ids.size(); ++i) {
      Waiter& waiter = one.waiter();
      if (random() % 3 == 0 && i + 1 < ids.size()) one.spool->update(ids[i + 1], "deferred", nullptr);
      one.spool->finish(ids[i], &waiter.durable);
      if (i > 400 && i % 64 != 0) continue;
      ASSERT_TRUE(one.until([&] { return waiter.error == 0; }, 4000)) << "item " << i << " of " << ids.size();
      if (i == 60) one.reopen();
    }
    ASSERT_TRUE(one.settle());
    EXPECT_EQ(one.spool->items(), 0u);
    EXPECT_TRUE(one.spool->healthy());
  }
}

TEST_F(SpoolFault, NoSpaceForTheFirstSegmentsIsAnError) {
  disk().set_capacity(200u << 10);
  const auto opened = at.try_open();
  ASSERT_FALSE(opened);
  EXPECT_EQ(opened.error().code, ENOSPC) << opened.error().text;
  disk().set_capacity(20u << 20);
  at.open();
  at.append("head", "body");
}

TEST_F(SpoolFault, LargeBodiesCountAgainstTheDisk) {
  disk().set_capacity(2u << 20);
  at.options.disk_reserve_bytes = 256u << 10;
  at.open();
  EXPECT_FALSE(at.spool->admit(900u << 10));
  EXPECT_TRUE(at.spool->admit(300u << 10));
  EXPECT_TRUE(at.spool->admit(300u << 10));
  EXPECT_FALSE(at.spool->admit(300u << 10));
  at.spool->release(300u << 10);
  EXPECT_TRUE(at.spool->admit(300u << 10));
  at.spool->release(300u << 10);
  at.spool->release(300u << 10);
  EXPECT_EQ(segment_files(), 4u);
}

}  // namespace
}  // namespace postern::core::spool_test
