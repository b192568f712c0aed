// The folder as other programs may find it: locks, versions, several logs.
#include "core/spool_folder.h"

#include <cerrno>
#include <fcntl.h>
#include <fstream>
#include <gtest/gtest.h>
#include <string>
#include <sys/wait.h>
#include <unistd.h>

#include "tests/core/spool/spool_harness.h"

namespace postern::core::spool_test {
namespace {

class SpoolFolder : public ::testing::Test {
 protected:
  void write(const std::string& name, const std::string& text) { std::ofstream(at.folder + "/" + name) << text; }
  SpoolHarness at;
};

TEST_F(SpoolFolder, ALockedLogSaysWhoHoldsIt) {
  at.open();
  RecoveryReport report;
  const auto second = Spool::open(at.options, *at.ring, *at.timers, at.now, {}, report);
  ASSERT_FALSE(second);
  EXPECT_NE(second.error().text.find("in use by process " + std::to_string(getpid())), std::string::npos)
      << second.error().text;
}

TEST_F(SpoolFolder, AnotherProcessMeetsTheLockToo) {
  at.open();
  const pid_t child = fork();
  ASSERT_GE(child, 0);
  if (child == 0) {
    const auto locked = lock_log(at.options.directory);
    _exit(!locked && locked.error().code == EWOULDBLOCK ? 0 : 1);
  }
  int status = 0;
  ASSERT_EQ(waitpid(child, &status, 0), child);
  EXPECT_EQ(status, 0);
}

TEST_F(SpoolFolder, AForeignFormatIsRefused) {
  at.open();
  at.close();
  write("FORMAT", "postern spool 2\n");
  const auto opened = at.try_open();
  ASSERT_FALSE(opened);
  EXPECT_NE(opened.error().text.find("postern spool 2"), std::string::npos) << opened.error().text;
  EXPECT_FALSE(dump_spool(at.folder, [](const DumpedItem&) {}));
}

TEST_F(SpoolFolder, AHalfWrittenMarkIsCompleted) {
  at.open();
  const ItemId id = at.append("head", "body");
  at.close();
  for (const char* text : {"", "postern sp"}) {
    write("FORMAT", text);
    at.open();
    EXPECT_EQ(at.order, (std::vector<ItemId>{id}));
    at.close();
  }
}

TEST_F(SpoolFolder, ALogOfAnotherNumberIsRefused) {
  at.open();
  at.close();
  at.options.log_number = 4;
  const auto opened = at.try_open();
  ASSERT_FALSE(opened);
  EXPECT_NE(opened.error().text.find("belongs to log 3"), std::string::npos) << opened.error().text;
}

TEST_F(SpoolFolder, LogsAreListedAndDumpedTogether) {
  at.open();
  const ItemId first = at.append("of log 3", "body 3");
  at.close();
  at.options.directory = at.folder + "/log-0001";
  at.options.log_number = 1;
  at.open();
  const ItemId second = at.append("of log 1", "body 1");
  at.update(second, "deferred");
  write("log-0001x", "not a log");
  const auto logs = list_logs(at.folder);
  ASSERT_TRUE(logs);
  ASSERT_EQ(logs->size(), 2u);
  EXPECT_EQ((*logs)[0].number, 1u);
  EXPECT_EQ((*logs)[1].path, at.folder + "/log-0003");
  // While log 1 is open.
  auto all = at.dump();
  ASSERT_EQ(all.size(), 2u);
  EXPECT_EQ(all[first].body, "body 3");
  EXPECT_EQ(all[second].state, "deferred");
}

TEST_F(SpoolFolder, NoSpoolIsAnError) {
  const auto dumped = dump_spool(at.folder + "/nowhere", [](const DumpedItem&) {});
  ASSERT_FALSE(dumped);
  EXPECT_NE(dumped.error().text.find("no spool"), std::string::npos);
  EXPECT_TRUE(list_logs(at.folder + "/nowhere").value().empty());
}

TEST_F(SpoolFolder, SegmentsOfAnotherSizeAreReadAndReplaced) {
  at.open();
  std::vector<ItemId> ids;
  for (int i = 0; i < 40; ++i) ids.push_back(at.append("head", std::string(15'000, 's')));
  at.close();
  at.options.segment_bytes = 512u << 10;
  at.open();
  EXPECT_EQ(at.order, ids);
  for (const ItemId id : ids) at.spool->finish(id, nullptr);
  const ItemId last = at.append("head", "body");
  ASSERT_TRUE(at.settle());
  at.reopen();
  EXPECT_EQ(at.order, (std::vector<ItemId>{last}));
  const auto names = files::list(at.options.directory);
  ASSERT_TRUE(names);
  for (const std::string& name : *names) {
    if (!name.ends_with(".seg")) continue;
    const int file = files::open(at.options.directory + "/" + name, O_RDONLY).value();
    EXPECT_EQ(files::size(file).value(), at.options.segment_bytes) << name;
    files::close(file);
  }
}

TEST_F(SpoolFolder, OptionsThatCannotWorkAreRefused) {
  const SpoolOptions good = at.options;
  const auto refused = [&](auto change) {
    at.options = good;
    change(at.options);
    return !at.try_open();
  };
  EXPECT_TRUE(refused([](SpoolOptions& o) { o.log_number = 1024; }));
  EXPECT_TRUE(refused([](SpoolOptions& o) { o.segment_bytes += 512; }));
  EXPECT_TRUE(refused([](SpoolOptions& o) { o.commit_bytes = 4096; }));
  EXPECT_TRUE(refused([](SpoolOptions& o) { o.segment_bytes = 2 * o.commit_bytes; }));
  EXPECT_TRUE(refused([](SpoolOptions& o) { o.commits_in_flight = 0; }));
  at.options = good;
  at.open();
}

}  // namespace
}  // namespace postern::core::spool_test
