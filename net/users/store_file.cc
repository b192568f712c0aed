#include "net/users/store_file.h"

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <fcntl.h>
#include <fmt/format.h>
#include <openssl/mem.h>
#include <openssl/rand.h>
#include <sys/stat.h>
#include <unistd.h>

namespace postern::net::users {
namespace {

constexpr std::int64_t kApplicationId = 0x506f7374;  // "Post"

// Migration number n leads from schema n to n + 1; the first one makes the tables in an empty file. Each runs in a
// transaction of its own with the change of user_version. Never change one that was released: add another.
constexpr const char* kMigrations[] = {
    R"sql(
CREATE TABLE meta (
  id            INTEGER PRIMARY KEY CHECK (id = 1),
  generation    INTEGER NOT NULL,  -- of the last change to any user
  server_secret BLOB NOT NULL      -- 32 random octets, for made-up salts
) STRICT;
CREATE TABLE users (
  id                  INTEGER PRIMARY KEY,
  name                TEXT NOT NULL UNIQUE,           -- canonical
  may_relay           INTEGER NOT NULL,
  disabled            INTEGER NOT NULL,
  held                INTEGER NOT NULL,
  senders             TEXT NOT NULL,                  -- canonical, one a line
  messages_per_hour   INTEGER NOT NULL,               -- limits; 0: the server's
  messages_per_day    INTEGER NOT NULL,
  recipients_per_hour INTEGER NOT NULL,
  recipients_per_day  INTEGER NOT NULL,
  password_hash       TEXT NOT NULL,
  scram_sha_256       TEXT NOT NULL,                  -- iterations,salt,StoredKey,ServerKey
  scram_sha_1         TEXT NOT NULL,
  cram_md5            TEXT NOT NULL,                  -- outer and inner state of HMAC-MD5
  generation          INTEGER NOT NULL,
  created             INTEGER NOT NULL,               -- seconds since 1970
  password_changed    INTEGER NOT NULL
) STRICT;
PRAGMA application_id = 0x506f7374;
)sql",
};
static_assert(std::size(kMigrations) == UserStore::kSchemaVersion);

std::string folder_of(const std::string& path) {
  const std::size_t slash = path.rfind('/');
  if (slash == std::string::npos) return ".";
  return slash == 0 ? "/" : path.substr(0, slash);
}

std::unexpected<std::string> fail(const std::string& path, std::string_view what, int error) {
  return std::unexpected(fmt::format("{}: {}: {}", path, what, std::strerror(error)));
}

// What was made in the folder is still there after a power cut.
std::expected<void, std::string> sync_folder(const std::string& folder) {
  const int descriptor = ::open(folder.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  if (descriptor < 0) return fail(folder, "cannot be opened", errno);
  const int failed = ::fsync(descriptor) != 0 ? errno : 0;
  ::close(descriptor);
  if (failed != 0) return fail(folder, "cannot be synced", failed);
  return {};
}

// Another thread or process may be at it at the same time: both begin, one finds the work done.
std::expected<void, std::string> migrate(Database& database, std::int64_t& version) {
  while (version < UserStore::kSchemaVersion) {
    auto transaction = Transaction::begin(database);
    if (!transaction) return std::unexpected(transaction.error());
    const auto current = database.number("PRAGMA user_version");
    if (!current) return std::unexpected(current.error());
    version = *current;
    if (version >= UserStore::kSchemaVersion) break;
    if (auto done = database.run(kMigrations[version]); !done) return done;
    if (version == 0) {
      std::array<std::uint8_t, 32> secret;
      RAND_bytes(secret.data(), secret.size());
      Statement statement;
      if (auto done = database.prepare("INSERT INTO meta VALUES (1, 0, ?1)", statement); !done) return done;
      statement.bind_blob(1, {reinterpret_cast<const char*>(secret.data()), secret.size()});
      const int code = statement.step();
      OPENSSL_cleanse(secret.data(), secret.size());
      if (code != SQLITE_DONE) return database.fail(code);
    }
    ++version;
    if (auto done = database.run(fmt::format("PRAGMA user_version = {}", version).c_str()); !done) return done;
    if (auto done = transaction->commit(); !done) return done;
  }
  return {};
}

// Ours, of a version that we know, and not empty by accident.
std::expected<void, std::string> check_identity(Database& database, StoreMode mode, std::int64_t& version) {
  // Another process may be making the store just now: before or after, never in between.
  const auto moment = Transaction::begin_read(database);
  if (!moment) return std::unexpected(moment.error());
  const auto application = database.number("PRAGMA application_id");
  if (!application) return std::unexpected(application.error());
  const auto tables = database.number("SELECT count(*) FROM sqlite_schema");
  if (!tables) return std::unexpected(tables.error());
  const auto found = database.number("PRAGMA user_version");
  if (!found) return std::unexpected(found.error());
  version = *found;
  const auto says = [&database](std::string_view what) {
    return std::unexpected(fmt::format("{}: {}", database.path(), what));
  };
  const bool is_empty = *tables == 0 && *application == 0 && version == 0;
  if (is_empty) {
    if (mode != StoreMode::create) return says("empty: there is no store of users in it");
    return {};
  }
  if (*application != kApplicationId) return says("an SQLite database of another program, not a store of users");
  if (version > UserStore::kSchemaVersion) {
    return says(fmt::format("made by a newer Postern (schema {}, this one knows {}): upgrade this one", version,
                            UserStore::kSchemaVersion));
  }
  if (version < 1) return says("damaged: it has no schema version");
  if (version < UserStore::kSchemaVersion && mode == StoreMode::read_only) {
    return says("made by an older Postern: it is brought up to date when the server opens it");
  }
  return {};
}

std::expected<void, std::string> configure(Database& database, StoreMode mode) {
  if (mode != StoreMode::read_only) {
    const auto journal = database.text("PRAGMA journal_mode = WAL");
    if (!journal) return std::unexpected(journal.error());
    if (*journal != "wal") {
      return std::unexpected(
          fmt::format("{}: its file system cannot hold a write-ahead log (is it a network share?)", database.path()));
    }
  }
  // FULL: each commit is synced before it is answered. secure_delete: an old hash is overwritten, not only forgotten.
  // autocheckpoint: changes are rare, and each goes on into the file itself at once, so that who moves or copies the file
  // without its log loses nothing.
  return database.run(
      "PRAGMA synchronous = FULL; PRAGMA secure_delete = ON; PRAGMA wal_autocheckpoint = 1; PRAGMA temp_store = "
      "MEMORY; "
      "PRAGMA cell_size_check = ON");
}

// Makes an empty file, 0600. Made by root, it belongs to the folder's owner, as whom the server runs; SQLite gives its
// -wal and -shm files the same owner and mode.
std::expected<void, std::string> make_empty_file(const std::string& path, const struct stat& folder) {
  const int descriptor = ::open(path.c_str(), O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, 0600);
  if (descriptor < 0) return fail(path, "cannot be made", errno);
  int failed = 0;
  if (::geteuid() == 0 && ::fchown(descriptor, folder.st_uid, folder.st_gid) != 0) failed = errno;
  ::close(descriptor);
  if (failed != 0) return fail(path, "cannot be given to its folder's owner", failed);
  return {};
}

// Makes a whole store under another name, and then gives it its own: nobody ever meets half of one. Somebody else may
// be first, and then theirs is the one. (Nor may this process open and close a file that SQLite has open already: POSIX
// locks belong to the process, and closing any descriptor would drop them.)
std::expected<void, std::string> make_store(const std::string& path) {
  const std::string folder = folder_of(path);
  struct stat parent {};
  if (::stat(folder.c_str(), &parent) != 0) return fail(path, "cannot be made in its folder", errno);
  std::array<std::uint8_t, 8> random;
  RAND_bytes(random.data(), random.size());
  const std::string temporary = fmt::format("{}.new-{:02x}", path, fmt::join(random, ""));
  auto made = make_empty_file(temporary, parent);
  if (made) {
    auto database = Database::open(temporary, false, UserStore::kBusyMilliseconds);
    std::int64_t version = 0;
    made = database ? configure(*database, StoreMode::create) : std::unexpected(database.error());
    if (made) made = migrate(*database, version);
  }  // closed, and so synced and without a write-ahead log
  if (made && ::link(temporary.c_str(), path.c_str()) != 0 && errno != EEXIST)
    made = fail(path, "cannot be made", errno);
  for (const char* suffix : {"", "-wal", "-shm"}) ::unlink((temporary + suffix).c_str());
  if (!made) return made;
  return sync_folder(folder);
}

}  // namespace

std::expected<FileIdentity, std::string> identify(const std::string& path) {
  struct stat status {};
  if (::stat(path.c_str(), &status) != 0) {
    if (errno == ENOENT) return std::unexpected(path + ": there is no such file");
    return fail(path, "cannot be looked at", errno);
  }
  if (!S_ISREG(status.st_mode)) return std::unexpected(path + ": not a file");
  return FileIdentity{.device = status.st_dev, .inode = status.st_ino};
}

std::expected<StoreFile, std::string> open_store_file(const std::string& path, StoreMode mode) {
  struct stat status {};
  if (::stat(path.c_str(), &status) != 0 && errno == ENOENT && mode == StoreMode::create) {
    if (auto made = make_store(path); !made) return std::unexpected(made.error());
  }
  const auto identity = identify(path);
  if (!identity) return std::unexpected(identity.error());
  // Nobody but owner and group has business here; a copy or a restored backup may have come with other rights.
  if (mode != StoreMode::read_only && ::stat(path.c_str(), &status) == 0 && (status.st_mode & 07) != 0) {
    (void)::chmod(path.c_str(), status.st_mode & 0770);
  }
  auto database = Database::open(path, mode == StoreMode::read_only, UserStore::kBusyMilliseconds);
  if (!database) return std::unexpected(database.error());
  std::int64_t version = 0;
  if (auto good = check_identity(*database, mode, version); !good) return std::unexpected(good.error());
  if (auto done = configure(*database, mode); !done) return std::unexpected(done.error());
  if (auto done = migrate(*database, version); !done) return std::unexpected(done.error());
  StoreFile file{.database = std::move(*database), .identity = *identity};
  Statement statement;
  if (auto done = file.database.prepare("SELECT server_secret FROM meta WHERE id = 1", statement); !done) {
    return std::unexpected(done.error());
  }
  const int code = statement.step();
  if (code != SQLITE_ROW) return file.database.fail(code == SQLITE_DONE ? SQLITE_CORRUPT : code);
  const std::string_view secret = statement.text(0);
  if (secret.size() != file.server_secret.size()) return file.database.fail(SQLITE_CORRUPT);
  std::copy(secret.begin(), secret.end(), file.server_secret.begin());
  return file;
}

}  // namespace postern::net::users
