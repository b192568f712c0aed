// files.h over the real system.
#include <algorithm>
#include <array>
#include <cerrno>
#include <dirent.h>
#include <fcntl.h>
#include <memory>
#include <sys/file.h>
#include <sys/random.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <sys/vfs.h>
#include <time.h>
#include <unistd.h>

#include "core/assert.h"
#include "core/files.h"

namespace postern::core::files {

namespace {

template <class Call>
auto retry(Call call) {
  auto result = call();
  while (result < 0 && errno == EINTR) result = call();
  return result;
}

bool is_directory(const std::string& path) {
  struct stat status {};
  return stat(path.c_str(), &status) == 0 && S_ISDIR(status.st_mode);
}

std::string parent_of(const std::string& path) {
  const std::size_t end = path.find_last_not_of('/');
  const std::size_t slash = end == std::string::npos ? end : path.rfind('/', end);
  if (slash == std::string::npos) return end == std::string::npos ? "/" : ".";
  const std::size_t last = path.find_last_not_of('/', slash);
  return last == std::string::npos ? "/" : path.substr(0, last + 1);
}

std::string named(const char* what, int descriptor) {
  return std::string(what) + " descriptor " + std::to_string(descriptor);
}

}  // namespace

Result<void> make_directory(const std::string& path) {
  if (is_directory(path)) return {};
  const std::string parent = parent_of(path);
  if (auto made = make_directory(parent); !made) return made;
  if (mkdir(path.c_str(), 0700) != 0 && errno != EEXIST)
    return fail_errno("make the directory " + path, errno);
  if (!is_directory(path)) return fail_errno("make the directory " + path, ENOTDIR);
  auto opened = open_directory(parent);
  if (!opened) return std::unexpected(opened.error());
  auto synced = sync(*opened);
  close(*opened);
  return synced;
}

Result<int> open_directory(const std::string& path) {
  return open(path, O_RDONLY | O_DIRECTORY);
}

Result<std::vector<std::string>> list(const std::string& path) {
  const std::unique_ptr<DIR, int (*)(DIR*)> directory(opendir(path.c_str()), &closedir);
  if (directory == nullptr) return fail_errno("list " + path, errno);
  std::vector<std::string> names;
  for (;;) {
    errno = 0;
    const dirent* entry = readdir(directory.get());
    if (entry == nullptr) break;
    const std::string_view name = entry->d_name;
    if (name != "." && name != "..") names.emplace_back(name);
  }
  if (errno != 0) return fail_errno("list " + path, errno);
  std::sort(names.begin(), names.end());
  return names;
}

Result<int> open(const std::string& path, int flags, unsigned mode) {
  int descriptor = retry([&] { return ::open(path.c_str(), flags | O_CLOEXEC, mode); });
  if (descriptor < 0 && errno == EINVAL && (flags & O_DIRECT) != 0) {
    descriptor = retry([&] { return ::open(path.c_str(), (flags & ~O_DIRECT) | O_CLOEXEC, mode); });
  }
  if (descriptor < 0) return fail_errno("open " + path, errno);
  return descriptor;
}

void close(int descriptor) {
  ::close(descriptor);
}

Result<std::uint64_t> size(int descriptor) {
  struct stat status {};
  if (fstat(descriptor, &status) != 0) return fail_errno(named("ask the size of", descriptor), errno);
  return static_cast<std::uint64_t>(status.st_size);
}

Result<std::size_t> read_at(int descriptor, std::span<char> into, std::uint64_t offset) {
  std::size_t done = 0;
  while (done < into.size()) {
    const ssize_t got = retry([&] {
      return pread(descriptor, into.data() + done, into.size() - done, static_cast<off_t>(offset + done));
    });
    if (got < 0) return fail_errno(named("read from", descriptor), errno);
    if (got == 0) break;
    done += static_cast<std::size_t>(got);
  }
  return done;
}

Result<void> write_at(int descriptor, std::string_view bytes, std::uint64_t offset) {
  while (!bytes.empty()) {
    const ssize_t put =
        retry([&] { return pwrite(descriptor, bytes.data(), bytes.size(), static_cast<off_t>(offset)); });
    if (put < 0) return fail_errno(named("write to", descriptor), errno);
    bytes.remove_prefix(static_cast<std::size_t>(put));
    offset += static_cast<std::uint64_t>(put);
  }
  return {};
}

Result<void> sync(int descriptor) {
  // Not retried on EINTR: a failed sync may have dropped what it could not write.
  if (fsync(descriptor) != 0) return fail_errno(named("sync", descriptor), errno);
  return {};
}

Result<void> unlink(const std::string& path) {
  if (::unlink(path.c_str()) != 0) return fail_errno("remove " + path, errno);
  return {};
}

Result<void> remove_directory(const std::string& path) {
  if (rmdir(path.c_str()) != 0) return fail_errno("remove the directory " + path, errno);
  return {};
}

Result<bool> try_lock(int descriptor) {
  if (retry([&] { return flock(descriptor, LOCK_EX | LOCK_NB); }) == 0) return true;
  if (errno == EWOULDBLOCK) return false;
  return fail_errno(named("lock", descriptor), errno);
}

Result<bool> lock(int descriptor, std::uint32_t milliseconds) {
  constexpr std::uint32_t kPauseMilliseconds = 2;
  for (std::uint32_t waited = 0;; waited += kPauseMilliseconds) {
    const auto locked = try_lock(descriptor);
    if (!locked || *locked || waited >= milliseconds) return locked;
    const timespec pause{0, kPauseMilliseconds * 1'000'000};
    nanosleep(&pause, nullptr);
  }
}

Result<std::uint64_t> free_bytes(const std::string& path) {
  struct statvfs status {};
  if (statvfs(path.c_str(), &status) != 0) return fail_errno("ask the free space of " + path, errno);
  return static_cast<std::uint64_t>(status.f_bavail) * status.f_frsize;
}

Result<std::string> file_system(const std::string& path) {
  struct statfs status {};
  if (statfs(path.c_str(), &status) != 0) return fail_errno("ask the file system of " + path, errno);
  struct Known {
    std::uint32_t magic;  // statfs(2), <linux/magic.h>
    const char* name;
  };
  static constexpr std::array kKnown = {
      Known{0xef53, "ext4"},     Known{0x58465342, "xfs"},       Known{0x9123683e, "btrfs"},
      Known{0x2fc12fc1, "zfs"},  Known{0x01021994, "tmpfs"},     Known{0x6969, "nfs"},
      Known{0xf2f52010, "f2fs"}, Known{0x794c7630, "overlayfs"}, Known{0xca451a4e, "bcachefs"},
      Known{0xff534d42, "cifs"}, Known{0x65735546, "fuse"},      Known{0x01021997, "9p"},
      Known{0x00c36400, "ceph"}, Known{0x6a656a63, "virtiofs"},
  };
  const auto magic = static_cast<std::uint32_t>(status.f_type);
  for (const Known& known : kKnown) {
    if (known.magic == magic) return std::string(known.name);
  }
  static constexpr char kHex[] = "0123456789abcdef";
  std::string name = "type 0x";
  for (int shift = 28; shift >= 0; shift -= 4) name += kHex[magic >> shift & 0xf];
  return name;
}

void fill_random(std::span<char> out) {
  while (!out.empty()) {
    const ssize_t got = retry([&] { return getrandom(out.data(), out.size(), 0); });
    POSTERN_ASSERT(got > 0);  // it has no other way to fail
    out = out.subspan(static_cast<std::size_t>(got));
  }
}

std::uint64_t random_u64() {
  std::uint64_t value = 0;
  fill_random({reinterpret_cast<char*>(&value), sizeof value});
  return value;
}

}  // namespace postern::core::files
