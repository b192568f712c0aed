// The simulated disk keeps what it promises, loses what it may, and fails when told.
#include "tests/sim/sim_disk.h"

#include <array>
#include <cerrno>
#include <cstdint>
#include <fcntl.h>
#include <gtest/gtest.h>
#include <memory>
#include <string>
#include <vector>

#include "core/files.h"
#include "core/ring.h"

#include "tests/sim/sim_world.h"

namespace postern::sim {
namespace {

namespace files = core::files;
using core::Completion;
using core::Outcome;
using core::Ring;

constexpr int kReadWrite = O_RDWR | O_CREAT;

core::RingOptions small_ring() {
  core::RingOptions options;
  options.buffer_count = 2;
  options.buffer_bytes = 64;
  return options;
}

struct Noted {
  Completion completion{core::completion_handler<&Noted::on_done>, this};
  bool is_done = false;
  std::int32_t result = 0;
  void on_done(Completion&, const Outcome& outcome) noexcept {
    is_done = true;
    result = outcome.result;
  }
};

std::int32_t wait_for(Ring& ring, Noted& noted) {
  while (!noted.is_done) ring.submit_and_reap(INT64_MAX);
  noted.is_done = false;
  return noted.result;
}

SimOptions with_seed(std::uint64_t seed) {
  SimOptions options;
  options.seed = seed;
  return options;
}

// Makes the file and its entry durable, empty.
int make_file(const std::string& path, int flags = kReadWrite) {
  const int file = files::open(path, flags).value();
  const int folder = files::open_directory("/").value();
  EXPECT_TRUE(files::sync(folder));
  files::close(folder);
  return file;
}

std::string read_all(const std::string& path) {
  return SimWorld::current().disk().contents(path).value_or("(no file)");
}

TEST(SimDisk, ReadsWhatWasWritten) {
  SimWorld world(SimOptions{});
  ASSERT_TRUE(files::make_directory("/var/spool/postern"));
  const int file = files::open("/var/spool/postern/a", kReadWrite).value();
  ASSERT_TRUE(files::write_at(file, "there", 10'000));
  ASSERT_TRUE(files::write_at(file, "here", 4'094));  // across a page's edge
  EXPECT_EQ(files::size(file).value(), 10'005u);
  std::string octets(20'000, 'x');
  EXPECT_EQ(files::read_at(file, octets, 0).value(), 10'005u);
  EXPECT_EQ(octets.substr(4'093, 6), std::string("\0here\0", 6));
  EXPECT_EQ(octets.substr(10'000, 6), "therex");
  EXPECT_EQ(files::list("/var/spool/postern").value(), std::vector<std::string>{"a"});
  EXPECT_EQ(files::open("/var/spool/postern/b", O_RDONLY).error().code, ENOENT);
  EXPECT_EQ(files::open("/var/none/b", kReadWrite).error().code, ENOENT);
  EXPECT_EQ(files::open("/var/spool/postern/a", kReadWrite | O_EXCL).error().code, EEXIST);
  EXPECT_EQ(files::remove_directory("/var/spool/postern").error().code, ENOTEMPTY);
  ASSERT_TRUE(files::unlink("/var/spool/postern/a"));
  EXPECT_EQ(files::size(file).value(), 10'005u);  // lives on while it is open
  EXPECT_GT(world.disk().used_bytes(), 0u);
  files::close(file);
  EXPECT_EQ(world.disk().used_bytes(), 0u);
  ASSERT_TRUE(files::remove_directory("/var/spool/postern"));
  EXPECT_EQ(world.open_descriptors(), 0u);
}

TEST(SimDisk, APowerCutLosesUnsyncedSectorsByChanceAndKeepsSyncedOnes) {
  bool seen[2] = {};
  bool torn = false;
  for (std::uint64_t seed = 1; seed <= 100; ++seed) {
    SimWorld world(with_seed(seed));
    const int file = make_file("/a");
    ASSERT_TRUE(files::write_at(file, std::string(2'048, 's'), 0));
    ASSERT_TRUE(files::sync(file));
    ASSERT_TRUE(files::write_at(file, std::string(2'048, 'u'), 2'048));  // never synced
    ASSERT_TRUE(files::write_at(file, std::string(512, 'U'), 0));        // over synced octets
    world.power_cut();
    EXPECT_EQ(files::open("/a", O_RDONLY).error().code, EIO);
    world.power_on();
    const std::string left = read_all("/a");
    ASSERT_GE(left.size(), 2'048u) << "seed " << seed;
    EXPECT_EQ(left.substr(512, 1'536), std::string(1'536, 's')) << "seed " << seed;
    const std::string first = left.substr(0, 512);
    EXPECT_TRUE(first == std::string(512, 's') || first == std::string(512, 'U')) << "seed " << seed;
    seen[first[0] == 'U'] = true;
    if (left.size() == 4'096) {
      int survivors = 0;
      for (std::size_t sector = 2'048; sector < 4'096; sector += 512) survivors += left[sector] == 'u';
      torn |= survivors != 0 && survivors != 4;
    }
  }
  EXPECT_TRUE(seen[0] && seen[1] && torn);
}

TEST(SimDisk, AWriteWithDsyncIsDurableOnceItCompletedAndMayBeTornBefore) {
  bool torn = false;
  for (std::uint64_t seed = 1; seed <= 60; ++seed) {
    SimWorld world(with_seed(seed));
    auto ring = Ring::create(small_ring()).value();
    const int file = make_file("/a", kReadWrite | O_DSYNC);
    const std::string first(4'096, 'a');
    const std::string second(4'096, 'b');
    Noted done;
    Noted pending;
    ring->write(file, first, 0, done.completion);
    EXPECT_EQ(wait_for(*ring, done), 4'096);
    ring->write(file, second, 4'096, pending.completion);
    ring->submit_and_reap(0);
    world.power_cut();
    ring->submit_and_reap(0);
    EXPECT_TRUE(pending.is_done);
    EXPECT_EQ(pending.result, -ECANCELED);
    ring.reset();
    world.power_on();
    const std::string left = read_all("/a");
    EXPECT_EQ(left.substr(0, 4'096), first) << "seed " << seed;
    int survivors = 0;
    for (std::size_t sector = 4'096; sector < left.size(); sector += 512) survivors += left[sector] == 'b';
    torn |= survivors != 0 && survivors != 8;
  }
  EXPECT_TRUE(torn);
}

TEST(SimDisk, ASyncCoversOnlyWhatWasWrittenBeforeItStarted) {
  bool lost = false;
  for (std::uint64_t seed = 1; seed <= 60; ++seed) {
    SimWorld world(with_seed(seed));
    auto ring = Ring::create(small_ring()).value();
    const int file = make_file("/a");
    ASSERT_TRUE(files::write_at(file, std::string(1'024, 'a'), 0));
    Noted sync;
    ring->sync(file, true, sync.completion);
    ring->submit_and_reap(0);
    ASSERT_TRUE(files::write_at(file, std::string(512, 'b'), 0));
    EXPECT_EQ(wait_for(*ring, sync), 0);
    world.power_cut();
    ring.reset();
    world.power_on();
    const std::string left = read_all("/a");
    ASSERT_EQ(left.size(), 1'024u);
    EXPECT_EQ(left.substr(512), std::string(512, 'a'));
    lost |= left[0] == 'a';
  }
  EXPECT_TRUE(lost);
}

TEST(SimDisk, EntriesAreDurableOnlyAfterASyncOfTheirDirectory) {
  bool created[2] = {};
  bool unlinked[2] = {};
  for (std::uint64_t seed = 1; seed <= 60; ++seed) {
    SimWorld world(with_seed(seed));
    const int synced = make_file("/synced", kReadWrite | O_DSYNC);
    ASSERT_TRUE(files::write_at(synced, "kept", 0));
    const int lonely = files::open("/lonely", kReadWrite | O_DSYNC).value();
    ASSERT_TRUE(files::write_at(lonely, "lost?", 0));
    const int gone = make_file("/gone");  // its sync of the folder is before the unlink, and covers /lonely as well
    static_cast<void>(gone);
    const int late = files::open("/late", kReadWrite).value();
    ASSERT_TRUE(files::sync(late));
    ASSERT_TRUE(files::unlink("/gone"));
    world.power_cut();
    world.power_on();
    EXPECT_EQ(read_all("/synced"), "kept");
    EXPECT_EQ(read_all("/lonely"), "lost?");
    created[world.disk().contents("/late").has_value()] = true;
    unlinked[!world.disk().contents("/gone").has_value()] = true;
    EXPECT_EQ(world.open_descriptors(), 0u);
  }
  EXPECT_TRUE(created[0] && created[1] && unlinked[0] && unlinked[1]);
}

TEST(SimDisk, AFailedSyncLosesItsPagesAndLaterSyncsDoNotTell) {
  bool lost = false;
  for (std::uint64_t seed = 1; seed <= 40; ++seed) {
    SimWorld world(with_seed(seed));
    const int file = make_file("/a");
    ASSERT_TRUE(files::write_at(file, std::string(4'096, 'a'), 0));
    ASSERT_TRUE(files::sync(file));
    ASSERT_TRUE(files::write_at(file, std::string(4'096, 'b'), 0));
    world.disk().fail_sync(1);
    EXPECT_EQ(files::sync(file).error().code, EIO);
    EXPECT_TRUE(files::sync(file));
    EXPECT_EQ(read_all("/a")[0], 'b');  // from the cache
    world.power_cut();
    world.power_on();
    lost |= read_all("/a")[0] == 'a';
  }
  EXPECT_TRUE(lost);
}

TEST(SimDisk, AFailedWriteSaysSoOnceAndLeavesAnything) {
  SimWorld world(SimOptions{});
  const int file = make_file("/a", kReadWrite | O_DSYNC);
  ASSERT_TRUE(files::write_at(file, std::string(4'096, 'a'), 0));
  world.disk().fail_write(2);
  EXPECT_TRUE(files::write_at(file, std::string(512, 'b'), 0));
  EXPECT_EQ(files::write_at(file, std::string(4'096, 'c'), 0).error().code, EIO);
  EXPECT_TRUE(files::write_at(file, std::string(512, 'd'), 0));
  EXPECT_EQ(world.disk().counters().failures, 1u);
  const std::string left = read_all("/a");
  EXPECT_EQ(left.find_first_not_of("abcd"), std::string::npos);
}

TEST(SimDisk, AFullDiskWritesShortThenNotAtAllUntilItHasRoom) {
  SimWorld world(SimOptions{});
  world.disk().set_capacity(3 * 4'096);
  auto ring = Ring::create(small_ring()).value();
  const int file = make_file("/a");
  const std::string five_pages(5 * 4'096, 'a');
  Noted noted;
  ring->write(file, five_pages, 0, noted.completion);
  EXPECT_EQ(wait_for(*ring, noted), 3 * 4'096);
  EXPECT_EQ(files::free_bytes("/").value(), 0u);
  ring->write(file, five_pages, 3 * 4'096, noted.completion);
  EXPECT_EQ(wait_for(*ring, noted), -ENOSPC);
  ring->write(file, five_pages, 0, noted.completion);  // its own pages can be written again
  EXPECT_EQ(wait_for(*ring, noted), 3 * 4'096);
  world.disk().set_capacity(100 * 4'096);
  EXPECT_TRUE(files::write_at(file, five_pages, 0));
  EXPECT_EQ(files::free_bytes("/").value(), 95u * 4'096);
  files::close(file);
}

TEST(SimDisk, PrewritingCountsAsUsedAndCostsNoMemory) {
  SimWorld world(SimOptions{});
  const int file = make_file("/a");
  const std::string zeros(1u << 20, '\0');
  for (std::uint64_t i = 0; i < 64; ++i) ASSERT_TRUE(files::write_at(file, zeros, i << 20));
  EXPECT_EQ(world.disk().used_bytes(), 64u << 20);
  EXPECT_EQ(files::size(file).value(), 64u << 20);
}

TEST(SimDisk, DirectWritesAreAligned) {
  SimWorld world(SimOptions{});
  auto ring = Ring::create(small_ring()).value();
  const int file = make_file("/a", kReadWrite | O_DIRECT | O_DSYNC);
  alignas(4'096) std::array<char, 8'192> octets{};
  Noted noted;
  ring->write(file, {octets.data(), 4'096}, 0, noted.completion);
  EXPECT_EQ(wait_for(*ring, noted), 4'096);
  ring->write(file, {octets.data() + 1, 4'096}, 0, noted.completion);
  EXPECT_EQ(wait_for(*ring, noted), -EINVAL);
  ring->write(file, {octets.data(), 4'000}, 0, noted.completion);
  EXPECT_EQ(wait_for(*ring, noted), -EINVAL);
  ring->read(file, {octets.data(), 512}, 100, noted.completion);
  EXPECT_EQ(wait_for(*ring, noted), -EINVAL);
  Noted closed;
  ring->close(file, closed.completion);
  EXPECT_EQ(wait_for(*ring, closed), 0);
}

TEST(SimDisk, LocksEndWithTheirDescriptorAndWithTheMachine) {
  SimWorld world(SimOptions{});
  const int first = make_file("/lock");
  const int second = files::open("/lock", O_RDWR).value();
  EXPECT_TRUE(files::try_lock(first).value());
  EXPECT_TRUE(files::try_lock(first).value());
  EXPECT_FALSE(files::try_lock(second).value());
  files::close(first);
  EXPECT_TRUE(files::try_lock(second).value());
  world.kill();
  world.power_on();
  const int third = files::open("/lock", O_RDWR).value();
  EXPECT_TRUE(files::try_lock(third).value());
  files::close(third);
}

TEST(SimDisk, RingOpenUnlinkAndSyncWorkInADirectory) {
  SimWorld world(SimOptions{});
  auto ring = Ring::create(small_ring()).value();
  ASSERT_TRUE(files::make_directory("/spool"));
  const int folder = files::open_directory("/spool").value();
  Noted noted;
  ring->open(folder, "large-1", kReadWrite | O_EXCL, 0600, noted.completion);
  const int file = wait_for(*ring, noted);
  ASSERT_GE(file, 0);
  ring->write(file, "body", 0, noted.completion);
  EXPECT_EQ(wait_for(*ring, noted), 4);
  ring->sync(file, true, noted.completion);
  EXPECT_EQ(wait_for(*ring, noted), 0);
  ring->sync(folder, false, noted.completion);
  EXPECT_EQ(wait_for(*ring, noted), 0);
  ring->close(file, noted.completion);
  EXPECT_EQ(wait_for(*ring, noted), 0);
  world.power_cut();
  ring.reset();
  world.power_on();
  EXPECT_EQ(read_all("/spool/large-1"), "body");
  ring = Ring::create(small_ring()).value();
  const int again = files::open_directory("/spool").value();
  ring->unlink(again, "large-1", noted.completion);
  EXPECT_EQ(wait_for(*ring, noted), 0);
  ring->unlink(again, "large-1", noted.completion);
  EXPECT_EQ(wait_for(*ring, noted), -ENOENT);
  files::close(again);
}

TEST(SimDisk, AKillKeepsTheFileCache) {
  for (std::uint64_t seed = 1; seed <= 20; ++seed) {
    SimWorld world(with_seed(seed));
    const int file = files::open("/a", kReadWrite).value();
    ASSERT_TRUE(files::write_at(file, "never synced", 0));
    world.kill();
    world.power_on();
    EXPECT_EQ(read_all("/a"), "never synced");
  }
}

TEST(SimDisk, ACountedCutStopsProcessesInTheMiddleOfBlockingCalls) {
  for (std::uint64_t operations = 1; operations <= 6; ++operations) {
    SimWorld world(with_seed(operations));
    int written = 0;
    bool failed = false;
    world.start("writer", [&] {
      const int file = files::open("/a", kReadWrite | O_DSYNC).value_or(-1);
      for (int i = 0; i < 5 && !failed; ++i) {
        failed = !files::write_at(file, std::string(512, 'a'), static_cast<std::uint64_t>(i) * 512).has_value();
        if (!failed) ++written;
      }
    });
    world.disk().cut_power_after(operations);
    EXPECT_EQ(world.run([] { return false; }), RunEnd::power_lost);
    world.power_cut();
    EXPECT_TRUE(failed);
    EXPECT_EQ(world.processes(), 0u);
    EXPECT_EQ(written, operations == 1 ? 0 : static_cast<int>(operations) - 2);  // the first makes the file
    world.power_on();
  }
}

TEST(SimDisk, DamageIsReadAndStays) {
  SimWorld world(SimOptions{});
  const int file = make_file("/a", kReadWrite | O_DSYNC);
  ASSERT_TRUE(files::write_at(file, std::string(1'000, 'a'), 0));
  EXPECT_TRUE(world.disk().damage("/a", 10, "X"));
  EXPECT_FALSE(world.disk().damage("/a", 1'000, "X"));
  EXPECT_FALSE(world.disk().damage("/b", 0, "X"));
  world.power_cut();
  world.power_on();
  EXPECT_EQ(read_all("/a"), std::string(10, 'a') + "X" + std::string(989, 'a'));
}

}  // namespace
}  // namespace postern::sim
