// The store's file: its rights, what is refused with which words, locks, other processes, power cuts.
#include <array>
#include <atomic>
#include <chrono>
#include <fcntl.h>
#include <gtest/gtest.h>
#include <signal.h>
#include <string>
#include <sys/stat.h>
#include <sys/wait.h>
#include <thread>
#include <unistd.h>
#include <vector>

#include "tests/net/users/store_folder.h"

namespace postern::net::users {
namespace {

using StoreFileTest = StoreTest;

unsigned mode_of(const std::string& path) {
  struct stat status {};
  return ::stat(path.c_str(), &status) == 0 ? status.st_mode & 07777 : 0;
}

#define EXPECT_HAS(text, part) EXPECT_NE((text).find(part), std::string::npos) << (text)

TEST_F(StoreFileTest, NobodyElseCanReadIt) {
  const mode_t before = ::umask(0);
  {
    UserStore store = open();
    ASSERT_TRUE(store.add(user("anna")));
    EXPECT_EQ(mode_of(path_), 0600u);
    EXPECT_EQ(mode_of(path_ + "-wal"), 0600u);
    EXPECT_EQ(mode_of(path_ + "-shm"), 0600u);
  }
  ::umask(before);
  // A restored backup came with other rights: a group's are the operator's choice, everybody's are not.
  ASSERT_EQ(::chmod(path_.c_str(), 0664), 0);
  { UserStore store = open(StoreMode::read_write); }
  EXPECT_EQ(mode_of(path_), 0660u);
  // Nothing is left beside it.
  std::vector<std::string> names;
  for (const auto& entry : std::filesystem::directory_iterator(folder_)) names.push_back(entry.path().filename());
  EXPECT_EQ(names, std::vector<std::string>{"users.db"});
}

TEST_F(StoreFileTest, MadeByRootItBelongsToItsFoldersOwner) {
  if (::geteuid() != 0) GTEST_SKIP() << "only root makes files for others";
  ASSERT_EQ(::chown(folder_.c_str(), 12345, 12346), 0);
  UserStore store = open();
  ASSERT_TRUE(store.add(user("anna")));
  for (const std::string& path : {path_, path_ + "-wal", path_ + "-shm"}) {
    struct stat status {};
    ASSERT_EQ(::stat(path.c_str(), &status), 0) << path;
    EXPECT_EQ(status.st_uid, 12345u) << path;
    EXPECT_EQ(status.st_gid, 12346u) << path;
  }
}

TEST_F(StoreFileTest, GoneIsSaid) {
  for (const StoreMode mode : {StoreMode::read_only, StoreMode::read_write}) {
    EXPECT_HAS(open_error(mode), path_ + ": there is no such file");
    EXPECT_FALSE(std::filesystem::exists(path_));
  }
  path_ = folder_ + "/no/users.db";
  EXPECT_HAS(open_error(StoreMode::create), "No such file or directory");
  path_ = folder_;
  EXPECT_HAS(open_error(StoreMode::create), "not a file");
}

TEST_F(StoreFileTest, WhatIsNoDatabaseIsRefused) {
  write_file(std::string(10000, 'x'));
  for (const StoreMode mode : {StoreMode::read_only, StoreMode::read_write, StoreMode::create}) {
    EXPECT_HAS(open_error(mode), "not a store of users (no SQLite database)");
  }
  EXPECT_EQ(std::filesystem::file_size(path_), 10000u);
}

TEST_F(StoreFileTest, AnotherProgramsDatabaseIsRefusedAndLeftAlone) {
  run_sql("CREATE TABLE users (name TEXT); INSERT INTO users VALUES ('anna')");
  for (const StoreMode mode : {StoreMode::read_only, StoreMode::read_write, StoreMode::create}) {
    EXPECT_HAS(open_error(mode), "another program");
  }
  run_sql("INSERT INTO users VALUES ('bert')");
}

TEST_F(StoreFileTest, AnEmptyFileBecomesAStoreOnlyWhereOneMayBeMade) {
  write_file("");
  for (const StoreMode mode : {StoreMode::read_only, StoreMode::read_write}) EXPECT_HAS(open_error(mode), "empty");
  EXPECT_EQ(open_error(StoreMode::create), "opened");
  EXPECT_EQ(open_error(StoreMode::read_only), "opened");
}

TEST_F(StoreFileTest, ANewerSchemaIsRefused) {
  { UserStore store = open(); }
  run_sql("PRAGMA user_version = 2");
  for (const StoreMode mode : {StoreMode::read_only, StoreMode::read_write, StoreMode::create}) {
    EXPECT_HAS(open_error(mode), "newer Postern (schema 2, this one knows 1)");
  }
  run_sql("PRAGMA user_version = 1");
  EXPECT_EQ(open_error(StoreMode::read_write), "opened");
}

// Another process was at it and did not finish: its half is nobody's.
TEST_F(StoreFileTest, TablesAreMadeWhollyOrNotAtAll) {
  write_file("");
  run_sql("PRAGMA journal_mode = WAL");
  sqlite3* handle = nullptr;
  ASSERT_EQ(sqlite3_open(path_.c_str(), &handle), SQLITE_OK);
  ASSERT_EQ(sqlite3_exec(handle, "BEGIN IMMEDIATE; CREATE TABLE meta (id INTEGER)", nullptr, nullptr, nullptr),
            SQLITE_OK);
  EXPECT_HAS(open_error(StoreMode::create), "locked");
  sqlite3_close(handle);  // never committed
  UserStore store = open(StoreMode::create);
  EXPECT_TRUE(store.add(user("anna")));
  EXPECT_TRUE(store.check());
}

TEST_F(StoreFileTest, DamageIsSaidAndGivesNoUser) {
  {
    UserStore store = open();
    std::vector<StoredUser> users;
    for (int i = 0; i < 2000; ++i) users.push_back(user("user" + std::to_string(i)));
    ASSERT_TRUE(store.add_all(users));
  }
  // Every page but the first two and the last is overwritten.
  const auto size = std::filesystem::file_size(path_);
  {
    std::fstream file(path_, std::ios::binary | std::ios::in | std::ios::out);
    file.seekp(8192);
    file << std::string(size - 8192 - 4096, '\xa5');
  }
  UserStore store = open(StoreMode::read_write);
  EXPECT_FALSE(store.check());
  EXPECT_HAS(store.check().error(), "damaged");
  int errors = 0;
  for (int i = 0; i < 2000; ++i) {
    const auto found = store.find("user" + std::to_string(i));
    if (!found) {
      ++errors;
      EXPECT_HAS(found.error(), "damaged");
    } else if (*found) {
      EXPECT_EQ((**found).record.name, "user" + std::to_string(i));
    }
  }
  EXPECT_GT(errors, 1000);
}

// A page with nonsense in it, at random, never crashes a reader.
TEST_F(StoreFileTest, DamageAtRandomNeverCrashes) {
  {
    UserStore store = open();
    std::vector<StoredUser> users;
    for (int i = 0; i < 300; ++i) users.push_back(user("user" + std::to_string(i)));
    ASSERT_TRUE(store.add_all(users));
  }
  const char* given = std::getenv("POSTERN_SEED");
  std::uint64_t seed = given ? std::strtoull(given, nullptr, 10)
                             : static_cast<std::uint64_t>(std::chrono::steady_clock::now().time_since_epoch().count());
  SCOPED_TRACE("POSTERN_SEED=" + std::to_string(seed));
  const auto random = [&seed] {
    seed = seed * 6364136223846793005u + 1442695040888963407u;
    return seed >> 33;
  };
  const std::string good = path_ + ".good";
  std::filesystem::copy_file(path_, good);
  for (int round = 0; round < 60; ++round) {
    std::filesystem::copy_file(good, path_, std::filesystem::copy_options::overwrite_existing);
    const auto size = std::filesystem::file_size(path_);
    std::fstream file(path_, std::ios::binary | std::ios::in | std::ios::out);
    for (auto n = random() % 20 + 1; n > 0; --n) {
      file.seekp(static_cast<std::streamoff>(random() % size));
      file.put(static_cast<char>(random()));
    }
    file.close();
    auto store = UserStore::open(path_, StoreMode::read_write);
    if (!store) continue;
    (void)store->check();
    for (int i = 0; i < 300; i += 7) (void)store->find("user" + std::to_string(i));
    (void)store->for_each([](const StoredUser&) { return true; });
    (void)store->add(user("new"));
  }
}

TEST_F(StoreFileTest, AForeignLockIsWaitedForAndThenSaid) {
  UserStore store = open();
  ASSERT_TRUE(store.add(user("anna")));
  sqlite3* handle = nullptr;
  ASSERT_EQ(sqlite3_open(path_.c_str(), &handle), SQLITE_OK);
  ASSERT_EQ(sqlite3_exec(handle, "BEGIN IMMEDIATE", nullptr, nullptr, nullptr), SQLITE_OK);
  // Readers do not mind a writer.
  EXPECT_TRUE(store.find("anna").value());
  const auto begin = std::chrono::steady_clock::now();
  const auto refused = store.set_disabled("anna", true);
  const auto waited = std::chrono::steady_clock::now() - begin;
  ASSERT_FALSE(refused);
  EXPECT_HAS(refused.error(), path_ + ": locked by another process");
  EXPECT_GE(waited, std::chrono::milliseconds(UserStore::kBusyMilliseconds / 2));
  EXPECT_LT(waited, std::chrono::milliseconds(UserStore::kBusyMilliseconds * 5));
  sqlite3_close(handle);
  EXPECT_TRUE(store.set_disabled("anna", true).value());

  // Nobody can even read what another one keeps for itself.
  path_ = folder_ + "/exclusive.db";
  { UserStore other = open(); }
  sqlite3* exclusive = nullptr;
  ASSERT_EQ(sqlite3_open(path_.c_str(), &exclusive), SQLITE_OK);
  ASSERT_EQ(sqlite3_exec(exclusive, "PRAGMA locking_mode = EXCLUSIVE; BEGIN EXCLUSIVE", nullptr, nullptr, nullptr),
            SQLITE_OK);
  EXPECT_HAS(open_error(StoreMode::read_write), "locked by another process");
  sqlite3_close(exclusive);
}

TEST_F(StoreFileTest, ReadOnlyWritesNothing) {
  {
    UserStore store = open();
    ASSERT_TRUE(store.add(user("anna")));
  }
  UserStore store = open(StoreMode::read_only);
  EXPECT_TRUE(store.find("anna").value());
  const auto refused = store.set_disabled("anna", true);
  ASSERT_FALSE(refused);
  EXPECT_HAS(refused.error(), "cannot be written");
}

TEST_F(StoreFileTest, ARunningServerNoticesWhenItsFileGoes) {
  UserStore store = open();
  ASSERT_TRUE(store.add(user("anna")));
  const std::uint64_t generation = store.find("anna").value().value().record.generation;
  const Verifiers keys{.scram_sha_256 = Secret("x"), .scram_sha_1 = {}, .cram_md5 = {}};
  ASSERT_TRUE(store.data_version());
  const std::string moved = folder_ + "/moved.db";
  ASSERT_EQ(::rename(path_.c_str(), moved.c_str()), 0);
  EXPECT_HAS(store.data_version().error(), "there is no such file");
  // "There is no such user" would be no answer to a question that cannot be answered.
  EXPECT_HAS(store.find("anna").error(), "there is no such file");
  EXPECT_HAS(store.find("nobody").error(), "there is no such file");
  EXPECT_HAS(store.add(user("bert")).error(), "there is no such file");
  EXPECT_HAS(store.set_held("anna", true).error(), "there is no such file");
  EXPECT_HAS(store.set_derived_keys("anna", generation, keys).error(), "there is no such file");
  write_file("another one");
  EXPECT_HAS(store.data_version().error(), "replaced");
  EXPECT_HAS(store.find("anna").error(), "replaced");
  ASSERT_EQ(::rename(moved.c_str(), path_.c_str()), 0);
  EXPECT_TRUE(store.data_version());
  EXPECT_TRUE(store.find("anna").value());
}

// What somebody copies without knowing of the log beside it.
TEST_F(StoreFileTest, TheFileAloneHasWhatWasAnswered) {
  UserStore store = open();
  ASSERT_TRUE(store.add(user("anna")));
  ASSERT_TRUE(store.add(user("bert")));
  ASSERT_TRUE(store.set_password("anna", Secret("new"), {}).value());
  const std::string copy = folder_ + "/copy.db";
  std::filesystem::copy_file(path_, copy);
  auto copied = UserStore::open(copy, StoreMode::read_write);
  ASSERT_TRUE(copied) << copied.error();
  EXPECT_EQ(copied->count().value(), 2u);
  EXPECT_EQ(copied->find("anna").value().value().password_hash.view(), "new");
}

TEST_F(StoreFileTest, ManyMakeItAtOnce) {
  constexpr int kThreads = 8;
  std::vector<std::string> errors(kThreads);
  std::vector<std::array<std::uint8_t, 32>> secrets(kThreads);
  std::vector<std::thread> threads;
  for (int i = 0; i < kThreads; ++i) {
    threads.emplace_back([this, i, &errors, &secrets] {
      auto store = UserStore::open(path_, StoreMode::create);
      if (!store) {
        errors[i] = store.error();
        return;
      }
      std::copy(store->server_secret().begin(), store->server_secret().end(), secrets[i].begin());
      if (auto added = store->add(user("user" + std::to_string(i))); !added) errors[i] = added.error();
    });
  }
  for (std::thread& thread : threads) thread.join();
  for (int i = 0; i < kThreads; ++i) {
    EXPECT_EQ(errors[i], "");
    EXPECT_EQ(secrets[i], secrets[0]);
  }
  EXPECT_EQ(open(StoreMode::read_only).count().value(), static_cast<std::uint64_t>(kThreads));
}

// One process writes users, whole, while another reads: a reader sees each change whole, and each within its next look.
TEST_F(StoreFileTest, AnotherProcessWritesWhileThisOneReads) {
  constexpr int kRounds = 200;
  UserStore store = open();
  StoredUser anna = user("anna", "0");
  anna.verifiers.scram_sha_256 = Secret("0");
  ASSERT_TRUE(store.add(anna));
  const pid_t child = ::fork();
  ASSERT_GE(child, 0);
  if (child == 0) {
    auto own = UserStore::open(path_, StoreMode::read_write);
    bool good = own.has_value();
    for (int i = 1; good && i <= kRounds; ++i) {
      const std::string text = std::to_string(i);
      const auto done =
          own->set_password("anna", Secret(text), {.scram_sha_256 = Secret(text), .scram_sha_1 = {}, .cram_md5 = {}});
      good = done && *done;
    }
    ::_exit(good ? 0 : 1);
  }
  std::uint64_t version = 0;
  int last = 0;
  int changes = 0;
  const auto end = std::chrono::steady_clock::now() + std::chrono::seconds(60);
  while (last < kRounds && std::chrono::steady_clock::now() < end) {
    const auto now = store.data_version();
    ASSERT_TRUE(now) << now.error();
    if (*now == version) continue;
    version = *now;
    const auto found = store.find("anna");
    ASSERT_TRUE(found) << found.error();
    ASSERT_TRUE(*found);
    EXPECT_EQ((**found).password_hash.view(), (**found).verifiers.scram_sha_256.view());
    const int value = std::stoi(std::string((**found).password_hash.view()));
    EXPECT_GE(value, last);
    last = value;
    ++changes;
  }
  int status = 0;
  ASSERT_EQ(::waitpid(child, &status, 0), child);
  EXPECT_TRUE(WIFEXITED(status) && WEXITSTATUS(status) == 0);
  EXPECT_EQ(last, kRounds);
  EXPECT_GT(changes, 1);
}

TEST_F(StoreFileTest, SeveralThreadsWriteAndReadEachWithItsOwn) {
  { UserStore store = open(); }
  constexpr int kThreads = 4;
  constexpr int kEach = 50;
  std::atomic<int> errors = 0;
  std::vector<std::thread> threads;
  for (int t = 0; t < kThreads; ++t) {
    threads.emplace_back([this, t, &errors] {
      auto store = UserStore::open(path_, StoreMode::read_write);
      if (!store) {
        ++errors;
        return;
      }
      for (int i = 0; i < kEach; ++i) {
        const std::string name = "user" + std::to_string(t) + "-" + std::to_string(i);
        if (!store->add(user(name))) ++errors;
        const auto found = store->find(name);
        if (!found || !*found) ++errors;
      }
    });
  }
  for (std::thread& thread : threads) thread.join();
  EXPECT_EQ(errors, 0);
  EXPECT_EQ(open(StoreMode::read_only).count().value(), static_cast<std::uint64_t>(kThreads * kEach));
}

// Killed in the middle of its work: what was answered is there, and the file is whole.
TEST_F(StoreFileTest, WhatWasAnsweredOutlivesAKill) {
  { UserStore store = open(); }
  int pipe[2];
  ASSERT_EQ(::pipe(pipe), 0);
  const pid_t child = ::fork();
  ASSERT_GE(child, 0);
  if (child == 0) {
    auto own = UserStore::open(path_, StoreMode::read_write);
    for (std::uint32_t i = 0; own; ++i) {
      if (!own->add(user("user" + std::to_string(i)))) break;
      if (::write(pipe[1], &i, sizeof i) != sizeof i) break;
    }
    ::_exit(1);
  }
  ::close(pipe[1]);
  std::uint32_t last = 0;
  for (int i = 0; i < 40; ++i) ASSERT_EQ(::read(pipe[0], &last, sizeof last), static_cast<ssize_t>(sizeof last));
  ::kill(child, SIGKILL);
  ASSERT_EQ(::waitpid(child, nullptr, 0), child);
  while (::read(pipe[0], &last, sizeof last) == sizeof last) {
  }
  ::close(pipe[0]);
  UserStore store = open(StoreMode::read_write);
  EXPECT_TRUE(store.check());
  EXPECT_GE(store.count().value(), last + 1);
  EXPECT_LE(store.count().value(), last + 2);
  for (std::uint32_t i = 0; i <= last; ++i) EXPECT_TRUE(store.find("user" + std::to_string(i)).value()) << i;
}

// What a commit gives the file system is synced before the answer: SQLite says so itself.
TEST_F(StoreFileTest, CommitsAreSynced) {
  static std::atomic<int> syncs = 0;
  static sqlite3_vfs counting;
  static sqlite3_io_methods methods;
  static int (*plain_open)(sqlite3_vfs*, const char*, sqlite3_file*, int, int*) = nullptr;
  static int (*plain_sync)(sqlite3_file*, int) = nullptr;
  sqlite3_vfs* standard = sqlite3_vfs_find(nullptr);
  counting = *standard;
  counting.zName = "counting";
  counting.pNext = nullptr;
  plain_open = standard->xOpen;
  counting.xOpen = [](sqlite3_vfs* vfs, const char* name, sqlite3_file* file, int flags, int* out) {
    const int code = plain_open(vfs, name, file, flags, out);
    if (code == SQLITE_OK && (flags & SQLITE_OPEN_WAL) != 0) {
      methods = *file->pMethods;
      plain_sync = methods.xSync;
      methods.xSync = [](sqlite3_file* f, int how) {
        ++syncs;
        return plain_sync(f, how);
      };
      file->pMethods = &methods;
    }
    return code;
  };
  ASSERT_EQ(sqlite3_vfs_register(&counting, 1), SQLITE_OK);
  {
    UserStore store = open();
    for (int i = 0; i < 5; ++i) {
      const int before = syncs;
      ASSERT_TRUE(store.add(user("user" + std::to_string(i))));
      EXPECT_GT(syncs, before);
    }
    const int before = syncs;
    (void)store.find("user1");
    EXPECT_EQ(syncs, before);
  }
  sqlite3_vfs_unregister(&counting);
  sqlite3_vfs_register(standard, 1);
}

}  // namespace
}  // namespace postern::net::users
