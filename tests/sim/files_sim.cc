// core/files.h over the simulated disk. Every call takes a while; in a process, others run meanwhile.
#include <cerrno>
#include <cstring>
#include <fcntl.h>

#include "core/clock.h"
#include "core/files.h"

#include "tests/sim/ring_sim.h"
#include "tests/sim/sim_disk.h"
#include "tests/sim/sim_world.h"

namespace postern::sim {

// Referred to by sim_world.cc, so that a program that links the world links the platform whole.
void link_files() {}

}  // namespace postern::sim

namespace postern::core::files {
namespace {

using sim::SimDisk;
using sim::SimOpenFile;
using sim::SimWorld;

constexpr std::int64_t kQuickNs = 3'000;  // what needs no disk

SimDisk& disk_after(std::int64_t nanoseconds) {
  SimWorld& world = SimWorld::current();
  world.spend(nanoseconds);
  return world.disk();
}

SimDisk& disk_after_delay() {
  return disk_after(SimWorld::current().disk_delay());
}

// Looked up after the wait: the machine may have died meanwhile.
SimOpenFile* file_of(int descriptor) {
  sim::SimDescriptor* open = SimWorld::current().descriptor(descriptor);
  return open != nullptr ? open->file.get() : nullptr;
}

std::unexpected<Error> failure(const char* what, int descriptor, std::int64_t negative_errno) {
  return fail_errno(std::string(what) + " descriptor " + std::to_string(descriptor), static_cast<int>(-negative_errno));
}

std::int64_t missing() {
  return SimWorld::current().is_on() ? -EBADF : -EIO;
}

Result<void> path_result(const char* what, const std::string& path, std::int32_t result) {
  if (result < 0) return fail_errno(std::string(what) + " " + path, -result);
  return {};
}

}  // namespace

Result<void> make_directory(const std::string& path) {
  return path_result("make the directory", path, disk_after_delay().make_directory(path));
}

Result<int> open_directory(const std::string& path) {
  return open(path, O_RDONLY | O_DIRECTORY);
}

Result<std::vector<std::string>> list(const std::string& path) {
  std::vector<std::string> names;
  if (const std::int32_t result = disk_after(kQuickNs).list(path, names); result < 0) {
    return fail_errno("list " + path, -result);
  }
  return names;
}

Result<int> open(const std::string& path, int flags, unsigned) {
  const std::int32_t result = disk_after(kQuickNs).open(nullptr, path, flags);
  if (result < 0) return fail_errno("open " + path, -result);
  return result;
}

void close(int descriptor) {
  static_cast<void>(SimWorld::current().close_descriptor(descriptor));
}

Result<std::uint64_t> size(int descriptor) {
  SimDisk& disk = SimWorld::current().disk();
  const SimOpenFile* file = file_of(descriptor);
  const std::int64_t result = file == nullptr ? missing() : disk.size(*file);
  if (result < 0) return failure("ask the size of", descriptor, result);
  return static_cast<std::uint64_t>(result);
}

Result<std::size_t> read_at(int descriptor, std::span<char> into, std::uint64_t offset) {
  SimDisk& disk = disk_after_delay();
  SimOpenFile* file = file_of(descriptor);
  const std::int64_t result = file == nullptr ? missing() : disk.read(*file, into, offset);
  if (result < 0) return failure("read from", descriptor, result);
  return static_cast<std::size_t>(result);
}

Result<void> write_at(int descriptor, std::string_view bytes, std::uint64_t offset) {
  while (!bytes.empty()) {
    SimDisk& disk = disk_after_delay();
    SimOpenFile* file = file_of(descriptor);
    std::int64_t result = file == nullptr ? missing() : 0;
    if (result == 0) result = disk.changes() ? disk.write(*file, bytes, offset) : -EIO;
    if (result < 0) return failure("write to", descriptor, result);
    bytes.remove_prefix(static_cast<std::size_t>(result));
    offset += static_cast<std::uint64_t>(result);
  }
  return {};
}

Result<void> sync(int descriptor) {
  SimWorld& world = SimWorld::current();
  SimOpenFile* file = file_of(descriptor);
  std::int64_t result = file == nullptr ? missing() : 0;
  if (result == 0) {
    if (!world.disk().changes()) return failure("sync", descriptor, -EIO);
    const auto snapshot = world.disk().begin_sync(*file);
    result = disk_after_delay().end_sync(*snapshot);
  }
  if (result < 0) return failure("sync", descriptor, result);
  return {};
}

Result<void> unlink(const std::string& path) {
  return path_result("remove", path, disk_after_delay().unlink(nullptr, path));
}

Result<void> remove_directory(const std::string& path) {
  return path_result("remove the directory", path, disk_after_delay().remove_directory(path));
}

Result<bool> try_lock(int descriptor) {
  SimOpenFile* file = file_of(descriptor);
  const std::int64_t result = file == nullptr ? missing() : SimWorld::current().disk().try_lock(*file);
  if (result < 0) return failure("lock", descriptor, result);
  return result == 1;
}

Result<bool> lock(int descriptor, std::uint32_t milliseconds) {
  constexpr std::uint32_t kPauseMilliseconds = 2;
  for (std::uint32_t waited = 0;; waited += kPauseMilliseconds) {
    const auto locked = try_lock(descriptor);
    if (!locked || *locked || waited >= milliseconds) return locked;
    SimWorld::current().spend(std::int64_t{kPauseMilliseconds} * kNanosecondsPerMillisecond);
  }
}

Result<std::uint64_t> free_bytes(const std::string&) {
  return SimWorld::current().disk().free_bytes();
}

Result<std::string> file_system(const std::string&) {
  return std::string("simulated");
}

void fill_random(std::span<char> out) {
  SimWorld::current().random().fill(out);
}

std::uint64_t random_u64() {
  return SimWorld::current().random().next();
}

}  // namespace postern::core::files
