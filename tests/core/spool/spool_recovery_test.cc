// What recovery makes of damage, torn tails, former lives and crashes at every step; on the simulated disk.
#include <cerrno>
#include <fcntl.h>
#include <gtest/gtest.h>
#include <string>

#include "tests/core/spool/spool_harness.h"

namespace postern::core::spool_test {
namespace {

class SpoolRecovery : public ::testing::Test {
 protected:
  sim::SimDisk& disk() { return at.world->disk(); }
  // Where these octets lie on the disk, the first place in the order of file names.
  struct Place {
    std::string path;
    std::uint64_t offset = 0;
  };
  Place find(const std::string& octets) {
    for (const std::string& name : names_in(at.options.directory)) {
      const std::string path = at.options.directory + "/" + name;
      const auto contents = disk().contents(path);
      if (!contents) continue;
      if (const auto offset = contents->find(octets); offset != std::string::npos) return {path, offset};
    }
    ADD_FAILURE() << "not on the disk: " << octets;
    return {};
  }
  void spoil(const Place& place) { ASSERT_TRUE(disk().damage(place.path, place.offset, "!")); }
  bool noted(std::string_view text) {
    for (const std::string& note : at.report.notes) {
      if (note.find(text) != std::string::npos) return true;
    }
    return false;
  }
  SpoolHarness at;
};

TEST_F(SpoolRecovery, DamageIsSkippedAndReported) {
  at.open();
  const ItemId a = at.append("first", "body of the first");
  const ItemId b = at.append("second", "body of the second");
  const ItemId c = at.append("third", "body of the third");
  at.close();
  const Place body = find("body of the second");
  spoil(body);
  at.open();
  EXPECT_EQ(at.order, (std::vector<ItemId>{a, c}));
  EXPECT_EQ(at.report.damaged_records, 1u);
  EXPECT_FALSE(at.report.torn_tail);
  EXPECT_TRUE(noted("DAMAGE")) << "said loudly";
  EXPECT_TRUE(noted(body.path)) << "with the file";
  (void)b;
}

TEST_F(SpoolRecovery, ADamagedHeaderOfACommitOrARecordLosesNoOther) {
  for (const std::uint64_t back : {64u, 128u}) {  // the record's header, its commit's
    SpoolHarness fresh;
    fresh.open();
    const ItemId a = fresh.append("first", "");
    const ItemId b = fresh.append("second", "");
    const ItemId c = fresh.append("third", "");
    fresh.close();
    for (const std::string& name : names_in(fresh.options.directory)) {
      const std::string path = fresh.options.directory + "/" + name;
      const auto contents = fresh.world->disk().contents(path);
      const auto offset = contents ? contents->find("second") : std::string::npos;
      if (offset != std::string::npos) {
        ASSERT_TRUE(fresh.world->disk().damage(path, offset - back + 20, "!"));
      }
    }
    fresh.open();
    if (back == 64) {
      EXPECT_EQ(fresh.order, (std::vector<ItemId>{a, c}));
    } else {
      EXPECT_EQ(fresh.order, (std::vector<ItemId>{a, b, c})) << "records stand by themselves";
    }
    EXPECT_EQ(fresh.report.damaged_records, 1u);
  }
}

TEST_F(SpoolRecovery, ADamagedLastCommitIsATornTail) {
  at.open();
  const ItemId a = at.append("first", "body of the first");
  at.append("last", "body of the last");
  at.close();
  spoil(find("body of the last"));
  at.open();
  EXPECT_EQ(at.order, (std::vector<ItemId>{a}));
  EXPECT_TRUE(at.report.torn_tail) << "nothing behind it vouches for it";
  EXPECT_EQ(at.report.damaged_records, 0u);
  // The torn place is not gone on with, and does not turn into damage by what comes later.
  const ItemId next = at.append("next", "body");
  at.reopen();
  EXPECT_EQ(at.order, (std::vector<ItemId>{a, next}));
  EXPECT_EQ(at.report.damaged_records, 0u);
  EXPECT_TRUE(at.report.torn_tail);
}

TEST_F(SpoolRecovery, ADamagedSegmentHeaderLeavesTheFileAlone) {
  at.open();
  at.append("in the first segment", std::string(15'000, 'a'));
  std::vector<ItemId> later;
  for (int i = 0; i < 30; ++i) later.push_back(at.append("later", std::string(15'000, 'b')));
  at.close();
  const Place place = find("in the first segment");
  ASSERT_TRUE(disk().damage(place.path, 20, "!"));
  const std::string octets = *disk().contents(place.path);
  at.open();
  EXPECT_GE(at.report.damaged_records, 1u);
  EXPECT_TRUE(noted("header is damaged"));
  EXPECT_EQ(at.order.back(), later.back());
  for (const ItemId id : at.order) at.spool->finish(id, nullptr);
  for (int i = 0; i < 100; ++i) at.spool->finish(at.append("x", std::string(15'000, 'c')), nullptr);
  at.close();
  EXPECT_EQ(*disk().contents(place.path), octets);
  const auto removed = Spool::remove(at.options.directory);
  ASSERT_FALSE(removed);
  EXPECT_NE(removed.error().text.find("damaged"), std::string::npos);
}

TEST_F(SpoolRecovery, OrphansAreKeptWhenRecordsAreDamaged) {
  at.open();
  LargeWriter writer(at);
  ASSERT_EQ(writer.begin(), 0);
  ASSERT_EQ(writer.write(std::string(50'000, 'x')), 0);
  ASSERT_EQ(writer.append("large head"), 0);
  at.append("next", "body");
  const std::string path = at.spool->large_path(writer.large.id);
  at.close();
  spoil(find("large head"));
  at.open();
  EXPECT_EQ(at.report.orphans_removed, 0u);
  EXPECT_TRUE(disk().contents(path)) << "it may be the body of the damaged record";
  EXPECT_TRUE(noted("kept"));
}

TEST_F(SpoolRecovery, AnUnreadableStretchCostsOnlyWhatLiesInIt) {
  at.open();
  for (int i = 0; i < 20; ++i) at.append("head", std::string(15'000, 'u'));
  at.close();
  disk().fail_read(9);
  at.open();
  // The window failed once and was then read block by block: nothing is lost.
  EXPECT_EQ(at.order.size(), 20u);
}

// A finish record must outlive the record it finishes, whatever is recycled in between.
TEST_F(SpoolRecovery, FinishesInYoungerSegmentsHold) {
  at.open();
  const ItemId pinned = at.append("pins the oldest segment", "body");
  const ItemId finished = at.append("finished later", "body");
  for (int i = 0; i < 100; ++i) at.spool->finish(at.append("x", std::string(15'000, 'd')), nullptr);
  EXPECT_EQ(at.finish(finished), 0);
  for (int i = 0; i < 300; ++i) {
    at.spool->finish(at.append("x", std::string(15'000, 'e')), nullptr);
    if (i % 50 != 0) continue;
    at.world->kill();
    at.end();
    at.world->power_on();
    at.open();
    for (const ItemId id : at.order) {
      EXPECT_NE(id, finished);
      if (id != pinned) at.spool->finish(id, nullptr);
    }
    ASSERT_TRUE(at.recovered.contains(pinned));
  }
}

// A crash before each single operation of the disk, through appends, outcomes, compaction and recycling.
TEST_F(SpoolRecovery, APowerCutBeforeEveryStepOfCompaction) {
  std::uint64_t moved_seen = 0;
  for (std::uint64_t cut = 1;; ++cut) {
    SpoolHarness one;
    one.open();
    std::vector<ItemId> kept;
    std::vector<ItemId> dead;
    for (int i = 0; i < 90; ++i) {
      const ItemId id = one.append("head " + std::to_string(i), std::string(12'000, 'k'));
      (i % 15 == 0 ? kept : dead).push_back(id);
    }
    one.update(kept[1], "state");
    for (const ItemId id : dead) one.spool->finish(id, nullptr);
    one.world->disk().cut_power_after(cut);
    const auto is_lost = [&] { return one.world->run([] { return true; }) == sim::RunEnd::power_lost; };
    ASSERT_TRUE(one.until([&] { return is_lost() || one.spool->is_idle(); }));
    moved_seen = std::max(moved_seen, one.spool->counters().items_moved);
    const bool was_cut = is_lost();
    one.world->disk().cut_power_after(0);
    one.world->power_cut();
    one.end();
    one.world->power_on();
    one.open();
    SCOPED_TRACE("cut before operation " + std::to_string(cut));
    for (const ItemId id : kept) {
      ASSERT_TRUE(one.recovered.contains(id));
      EXPECT_EQ(one.recovered[id].state, id == kept[1] ? "state" : "");
      Kept found;
      EXPECT_EQ(one.load(id, found), 0);
      EXPECT_EQ(found.body, std::string(12'000, 'k'));
    }
    EXPECT_EQ(one.report.damaged_records, 0u);
    if (!was_cut) break;  // it came to its end
  }
  EXPECT_GT(moved_seen, 0u);
}

TEST_F(SpoolRecovery, AnUnmovableItemPinsItsSegmentAndIsCounted) {
  at.open();
  const ItemId bad = at.append("the bad one", "body that will rot");
  std::vector<ItemId> others;
  for (int i = 0; i < 100; ++i) others.push_back(at.append("x", std::string(15'000, 'f')));
  spoil(find("body that will rot"));
  for (const ItemId id : others) at.spool->finish(id, nullptr);
  ASSERT_TRUE(at.settle());
  EXPECT_GT(at.spool->counters().read_errors, 0u);
  EXPECT_EQ(at.spool->items(), 1u) << "its owner decides";
  Kept kept;
  EXPECT_EQ(at.load(bad, kept), EIO);
  EXPECT_EQ(at.finish(bad), 0);
  ASSERT_TRUE(at.settle());
  at.turn(false);
  EXPECT_LE(at.spool->counters().segments_in_use, 2u);
}

TEST_F(SpoolRecovery, AFailingReadIsAnErrorAndMayWorkLater) {
  at.open();
  const ItemId id = at.append("head", "body");
  Kept kept;
  disk().fail_read(1);
  EXPECT_EQ(at.load(id, kept), EIO);
  EXPECT_EQ(at.load(id, kept), 0);
  EXPECT_EQ(kept.body, "body");
}

TEST_F(SpoolRecovery, IdsGoOnThoughTheClockWentBack) {
  at.open();
  const ItemId id = at.append("head", "body");
  at.finish(id);
  at.close();
  at.world->step_unix_clock(-1'000'000 * kNanosecondsPerSecond);
  at.open();
  EXPECT_GT(at.spool->next_id(), id);
}

TEST_F(SpoolRecovery, HalfMadeSegmentsAreRemoved) {
  at.open();
  const ItemId id = at.append("head", "body");
  at.close();
  const int file = files::open(at.options.directory + "/seg-000000ff.seg", O_RDWR | O_CREAT).value();
  ASSERT_TRUE(files::write_at(file, std::string(8192, '\0'), 0));
  files::close(file);
  at.open();
  EXPECT_EQ(at.order, (std::vector<ItemId>{id}));
  EXPECT_FALSE(disk().contents(at.options.directory + "/seg-000000ff.seg"));
}

TEST_F(SpoolRecovery, TheDumpReadsWhatADamagedLogStillHas) {
  at.open();
  const ItemId a = at.append("first", "body of the first");
  LargeWriter writer(at);
  ASSERT_EQ(writer.begin(), 0);
  ASSERT_EQ(writer.write("large " + std::string(50'000, 'x')), 0);
  ASSERT_EQ(writer.append("large head"), 0);
  const ItemId c = at.append("third", "body of the third");
  ASSERT_TRUE(disk().damage(at.spool->large_path(writer.large.id), 100, "!"));
  spoil(find("body of the first"));
  std::vector<std::string> damage;
  const auto all = at.dump(&damage);
  EXPECT_FALSE(all.contains(a));
  ASSERT_TRUE(all.contains(writer.large.id));
  EXPECT_EQ(all.at(writer.large.id).body.size(), 50'006u) << "what there is of it";
  ASSERT_EQ(damage.size(), 1u);
  EXPECT_NE(damage[0].find("checksum"), std::string::npos);
  EXPECT_EQ(all.at(c).body, "body of the third");
}

}  // namespace
}  // namespace postern::core::spool_test
