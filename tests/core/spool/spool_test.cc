// What every caller relies on; run on the real ring and on the simulator's.
#include <cerrno>
#include <gtest/gtest.h>
#include <random>
#include <string>

#include "core/crc32c.h"

#include "tests/core/spool/spool_harness.h"

namespace postern::core::spool_test {
namespace {

// The simulator's disk is quick; the real one is shared with whoever else runs on the machine.
#ifdef POSTERN_TEST_SIM
constexpr int kShare = 1;
#else
constexpr int kShare = 4;
#endif

class SpoolTest : public ::testing::Test {
 protected:
  SpoolHarness at;
};

TEST_F(SpoolTest, WhatWasAppendedIsThereAfterARestart) {
  at.open();
  const ItemId first = at.append("head one", "body one", 7);
  const ItemId second = at.append("", "");
  const ItemId third = at.append("head three", std::string(16'000, 'x'));
  EXPECT_LT(first, second);
  EXPECT_LT(second, third);
  EXPECT_EQ(first >> 54, 3u);
  EXPECT_EQ(at.spool->items(), 3u);
  at.reopen();
  EXPECT_EQ(at.order, (std::vector<ItemId>{first, second, third}));
  EXPECT_EQ(at.recovered[first].head, "head one");
  EXPECT_EQ(at.recovered[first].content_flags, 7);
  EXPECT_EQ(at.report.items, 3u);
  EXPECT_FALSE(at.report.torn_tail);
  EXPECT_EQ(at.report.damaged_records, 0u);
  Kept kept;
  EXPECT_EQ(at.load(first, kept), 0);
  EXPECT_EQ(kept.head, "head one");
  EXPECT_EQ(kept.body, "body one");
  EXPECT_EQ(at.load(third, kept), 0);
  EXPECT_EQ(kept.body, std::string(16'000, 'x'));
  EXPECT_GT(at.append("next", "x"), third);
}

TEST_F(SpoolTest, TheCallersMemoryIsItsOwnAgainAtOnce) {
  at.open();
  std::string body = "first contents";
  Waiter& waiter = at.waiter();
  const ItemId id = at.start_append("head", body, waiter);
  body.assign(body.size(), 'z');
  ASSERT_TRUE(at.until([&] { return waiter.error == 0; }));
  Kept kept;
  EXPECT_EQ(at.load(id, kept), 0);
  EXPECT_EQ(kept.body, "first contents");
}

TEST_F(SpoolTest, WhatGathersInATurnSharesACommit) {
  at.open();
  at.append("warm", "up");
  const std::uint64_t commits = at.spool->counters().commits;
  for (int i = 0; i < 20; ++i) at.start_append("head", "body", at.waiter());
  ASSERT_TRUE(at.until([&] { return at.waiters.back()->error >= 0; }));
  EXPECT_EQ(at.spool->counters().commits, commits + 1);
  for (const auto& waiter : at.waiters) EXPECT_EQ(waiter->error, 0);
}

TEST_F(SpoolTest, HandlersAreCalledInTheOrderOfAppends) {
  at.open();
  std::vector<int> told;
  for (int i = 0; i < 60; ++i) {
    ASSERT_TRUE(at.until([&] { return at.spool->can_append(7004); }));
    Waiter& waiter = at.waiter();
    waiter.then = [&told, i](int error) {
      EXPECT_EQ(error, 0);
      told.push_back(i);
    };
    at.start_append("head", std::string(7000, 'x'), waiter);
    if (i % 7 == 0) at.turn(false);
  }
  ASSERT_TRUE(at.until([&] { return told.size() == 60; }));
  EXPECT_TRUE(std::is_sorted(told.begin(), told.end()));
}

TEST_F(SpoolTest, StatesAreReplacedAndFinishedItemsAreGone) {
  at.open();
  const ItemId a = at.append("a", "body a");
  const ItemId b = at.append("b", "body b");
  EXPECT_EQ(at.update(a, "first"), 0);
  EXPECT_EQ(at.update(a, "second, and longer"), 0);
  EXPECT_EQ(at.finish(b), 0);
  EXPECT_EQ(at.update(b, "too late"), ENOENT);
  EXPECT_EQ(at.finish(b), ENOENT);
  ItemInfo info;
  EXPECT_FALSE(at.spool->find(b, info));
  ASSERT_TRUE(at.spool->find(a, info));
  EXPECT_EQ(info.body_bytes, 6u);
  EXPECT_EQ(info.head_bytes, 1u);
  Kept kept;
  EXPECT_EQ(at.load(b, kept), ENOENT);
  at.reopen();
  ASSERT_EQ(at.order, (std::vector<ItemId>{a}));
  EXPECT_EQ(at.recovered[a].state, "second, and longer");
}

TEST_F(SpoolTest, OutcomesWaitForCompanyButNotForLong) {
  at.open();
  const ItemId id = at.append("a", "body");
  Waiter& waiter = at.waiter();
  const std::int64_t begin = at.now.boot_ns;
  at.spool->update(id, "state", &waiter.durable);
  ASSERT_TRUE(at.until([&] { return waiter.error == 0; }));
  EXPECT_GE(at.now.boot_ns - begin, 4 * kNanosecondsPerMillisecond);
#ifdef POSTERN_TEST_SIM
  EXPECT_LE(at.now.boot_ns - begin, 25 * kNanosecondsPerMillisecond);
#endif
}

TEST_F(SpoolTest, AnUnissuedItemCannotBeLoadedYet) {
  at.open();
  Waiter& waiter = at.waiter();
  const ItemId id = at.start_append("a", "body", waiter);
  struct Loading {
    Load load;
    int error = -1;
  } loading;
  const AlignedMemory memory = make_aligned(8192);
  loading.load.into = {memory.get(), 8192};
  loading.load.owner = &loading;
  loading.load.handler = [](void* owner, Load&, int error) noexcept { static_cast<Loading*>(owner)->error = error; };
  at.spool->load(id, loading.load);
  EXPECT_EQ(loading.error, -1) << "never from inside the call";
  ASSERT_TRUE(at.until([&] { return loading.error >= 0; }));
  EXPECT_EQ(loading.error, EAGAIN);
}

TEST_F(SpoolTest, SegmentsAreRecycledWithoutGrowing) {
  at.open();
  // Many segments' worth through a log that keeps four.
  for (int i = 0; i < 800 / kShare; ++i) {
    const ItemId id = at.append("head", std::string(12'000, static_cast<char>('a' + i % 26)));
    at.spool->finish(id, nullptr);
  }
  ASSERT_TRUE(at.settle());
  EXPECT_EQ(at.spool->items(), 0u);
  const auto& counters = at.spool->counters();
  EXPECT_LE(counters.segments_in_use + counters.segments_free, 6u);
  at.reopen();
  EXPECT_TRUE(at.order.empty());
  EXPECT_TRUE(at.report.notes.empty()) << at.report.notes[0];
}

TEST_F(SpoolTest, TheLogGrowsUnderABacklogAndShrinksAfterIt) {
  at.open();
  std::vector<ItemId> ids;
  for (int i = 0; i < 400 / kShare; ++i) ids.push_back(at.append("head", std::string(15'000, 'b')));
  EXPECT_GE(at.spool->counters().segments_in_use, 20u / kShare);
  at.reopen();
  EXPECT_EQ(at.order, ids);
  for (const ItemId id : ids) at.spool->finish(id, nullptr);
#ifdef POSTERN_TEST_SIM
  ASSERT_TRUE(at.until([&] {
    return at.spool->counters().segments_in_use + at.spool->counters().segments_free <= at.options.segments_kept + 1;
  }));
#endif
  at.reopen();
  EXPECT_TRUE(at.order.empty());
}

TEST_F(SpoolTest, CompactionCarriesSurvivorsAndTheirStates) {
  at.open();
  std::map<ItemId, Kept> expected;
  std::vector<ItemId> survivors;
  for (int i = 0; i < 400 / (kShare > 1 ? 2 : 1); ++i) {
    const Kept kept{"head " + std::to_string(i), std::string(static_cast<std::size_t>(9000 + i), 'k'), "", 0, false};
    const ItemId id = at.append(kept.head, kept.body, 5);
    if (i % 20 == 3) {
      survivors.push_back(id);
      expected[id] = kept;
      if (i % 40 == 3) {
        expected[id].state = "state of " + std::to_string(i);
        at.spool->update(id, expected[id].state, nullptr);
      }
    } else {
      at.spool->finish(id, nullptr);
    }
  }
  ASSERT_TRUE(at.settle());
  EXPECT_GT(at.spool->counters().items_moved, 0u);
  EXPECT_LE(at.spool->counters().segments_in_use, 6u);
  const auto check = [&] {
    for (const auto& [id, kept] : expected) {
      Kept found;
      ASSERT_EQ(at.load(id, found), 0);
      EXPECT_EQ(found.head, kept.head);
      EXPECT_EQ(found.body, kept.body);
    }
  };
  check();
  at.reopen();
  EXPECT_EQ(at.order, survivors);
  for (const auto& [id, kept] : expected) {
    EXPECT_EQ(at.recovered[id].state, kept.state);
    EXPECT_EQ(at.recovered[id].content_flags, 5);
  }
  check();
  // What was moved can be moved again, updated and finished.
  at.update(survivors[0], "later");
  for (int i = 0; i < 400 / kShare; ++i) at.spool->finish(at.append("h", std::string(9000, 'z')), nullptr);
  at.finish(survivors[1]);
  at.reopen();
  EXPECT_EQ(at.recovered[survivors[0]].state, "later");
  EXPECT_EQ(at.order.size(), survivors.size() - 1);
  EXPECT_TRUE(at.report.notes.empty());
}

TEST_F(SpoolTest, ManyAtOnceMeetTheBoundOfBuffers) {
  at.open();
  int refused = 0;
  int appended = 0;
  while (at.spool->can_append(16'004)) {
    at.start_append("head", std::string(16'000, 'm'), at.waiter());
    ++appended;
  }
  EXPECT_GT(appended, 10);
  Waiter& extra = at.waiter();
  at.start_append("head", std::string(16'000, 'm'), extra);
  // Outcomes find a place nevertheless.
  Waiter& outcome = at.waiter();
  at.spool->update(at.waiters[0]->durable.id, std::string(10'000, 's'), &outcome.durable);
  ASSERT_TRUE(at.until([&] {
    return std::all_of(at.waiters.begin(), at.waiters.end(), [](auto& waiter) { return waiter->error >= 0; });
  }));
  for (const auto& waiter : at.waiters) refused += waiter->error != 0;
  EXPECT_EQ(refused, 1);
  EXPECT_TRUE(extra.error == ENOBUFS || extra.error == ENOSPC);
  EXPECT_EQ(outcome.error, 0);
  at.reopen();
  EXPECT_EQ(static_cast<int>(at.order.size()), appended);
}

TEST_F(SpoolTest, LargeBodies) {
  at.open();
  std::string body;
  std::mt19937_64 random(5);
  for (int i = 0; i < 100'000; ++i) body += static_cast<char>(random());
  LargeWriter writer(at);
  ASSERT_EQ(writer.begin(), 0);
  ASSERT_EQ(writer.write(std::string_view(body).substr(0, 40'000)), 0);
  ASSERT_EQ(writer.write(std::string_view(body).substr(40'000)), 0);
  ASSERT_EQ(writer.append("large head"), 0);
  const ItemId id = writer.large.id;
  LargeWriter given_up(at);
  ASSERT_EQ(given_up.begin(), 0);
  ASSERT_EQ(given_up.write("some"), 0);
  const std::string left = at.spool->large_path(given_up.large.id);
  ASSERT_EQ(given_up.abandon(), 0);
  EXPECT_FALSE(files::open(left, 0));
  at.reopen();
  ASSERT_EQ(at.order, (std::vector<ItemId>{id}));
  EXPECT_TRUE(at.recovered[id].is_large);
  EXPECT_EQ(at.recovered[id].head, "large head");
  EXPECT_EQ(at.dump()[id].body, body);
  ItemInfo info;
  ASSERT_TRUE(at.spool->find(id, info));
  EXPECT_EQ(info.body_bytes, body.size());
  EXPECT_TRUE(info.is_large);
  Kept kept;
  EXPECT_EQ(at.load(id, kept), 0);
  EXPECT_EQ(kept.head, "large head");
  EXPECT_EQ(kept.body, "");
  const std::string path = at.spool->large_path(id);
  EXPECT_EQ(at.finish(id), 0);
  ASSERT_TRUE(at.settle());
  EXPECT_FALSE(files::open(path, 0));
  at.reopen();
  EXPECT_TRUE(at.order.empty());
  EXPECT_EQ(at.report.orphans_removed, 0u);
}

TEST_F(SpoolTest, AbandonedBodiesOfACrashAreRemoved) {
  at.open();
  LargeWriter writer(at);
  ASSERT_EQ(writer.begin(), 0);
  ASSERT_EQ(writer.write(std::string(50'000, 'x')), 0);
  const std::string path = at.spool->large_path(writer.large.id);
  const ItemId id = writer.large.id;
  at.crash();
  at.open();
  EXPECT_EQ(at.report.orphans_removed, 1u);
  EXPECT_FALSE(files::open(path, 0));
  EXPECT_GT(at.spool->next_id(), id) << "an id is never given twice";
}

TEST_F(SpoolTest, ALostLargeBodyIsReportedAndKept) {
  at.open();
  LargeWriter writer(at);
  ASSERT_EQ(writer.begin(), 0);
  ASSERT_EQ(writer.write(std::string(50'000, 'x')), 0);
  ASSERT_EQ(writer.append("head"), 0);
  const ItemId id = writer.large.id;
  const std::string path = at.spool->large_path(id);
  at.close();
  ASSERT_TRUE(files::unlink(path));
  at.open();
  EXPECT_EQ(at.report.lost_items, 1u);
  EXPECT_EQ(at.report.notes.size(), 1u);
  EXPECT_TRUE(at.order.empty()) << "not handed over";
  EXPECT_EQ(at.spool->items(), 1u) << "but kept";
  EXPECT_EQ(at.finish(id), 0);
  at.reopen();
  EXPECT_EQ(at.report.lost_items, 0u);
}

TEST_F(SpoolTest, AFolderThatOnlyDrains) {
  at.open();
  const ItemId id = at.append("head", "body");
  at.close();
  at.options.draining = true;
  at.open();
  EXPECT_FALSE(at.spool->admit(100));
  EXPECT_FALSE(at.spool->can_append(100));
  Waiter& waiter = at.waiter();
  at.start_append("no", "no", waiter);
  ASSERT_TRUE(at.until([&] { return waiter.error >= 0; }));
  EXPECT_EQ(waiter.error, EROFS);
  EXPECT_FALSE(Spool::remove(at.options.directory)) << "in use";
  at.close();
  EXPECT_FALSE(Spool::remove(at.options.directory)) << "not empty";
  at.open();
  EXPECT_EQ(at.finish(id), 0);
  at.close();
  const auto removed = Spool::remove(at.options.directory);
  EXPECT_TRUE(removed) << removed.error().text;
  EXPECT_TRUE(list_logs(at.folder).value().empty());
}

TEST_F(SpoolTest, AdmissionGivesBackWhatItTook) {
  at.open();
  for (int i = 0; i < 10'000; ++i) {
    ASSERT_TRUE(at.spool->admit(16'000));
    ASSERT_TRUE(at.spool->admit(1'000'000));
    at.spool->release(16'000);
    at.spool->release(1'000'000);
  }
  EXPECT_FALSE(at.spool->admit(std::uint64_t{1} << 60));
}

}  // namespace
}  // namespace postern::core::spool_test
