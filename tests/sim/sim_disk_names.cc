// Names on the simulated disk, and what a crash leaves of all it holds.
#include <algorithm>
#include <array>
#include <cerrno>
#include <cstring>
#include <fcntl.h>
#include <utility>

#include "tests/sim/ring_sim.h"
#include "tests/sim/sim_disk.h"
#include "tests/sim/sim_inode.h"
#include "tests/sim/sim_world.h"

namespace postern::sim {

// --- names ----------------------------------------------------------------------------------------------------------

std::int32_t SimDisk::find(const SimInode* from, std::string_view path, Found& found) const {
  const bool is_relative = from != nullptr && !path.starts_with('/');
  found.directory = nullptr;
  found.inode = root_;
  if (is_relative) found.inode = std::shared_ptr<SimInode>(std::shared_ptr<void>(), const_cast<SimInode*>(from));
  found.name.clear();
  while (!path.empty()) {
    const std::size_t slash = std::min(path.find('/'), path.size());
    const std::string_view name = path.substr(0, slash);
    path.remove_prefix(std::min(slash + 1, path.size()));
    if (name.empty() || name == ".") continue;
    if (found.inode == nullptr) return -ENOENT;  // a missing directory on the way
    if (!found.inode->is_directory) return -ENOTDIR;
    if (name == "..") return -EACCES;  // nobody here needs it
    found.directory = std::move(found.inode);
    found.name = name;
    const auto entry = found.directory->entries.find(name);
    found.inode = entry == found.directory->entries.end() ? nullptr : entry->second;
  }
  return 0;
}

std::int32_t SimDisk::open(const SimInode* directory, std::string_view path, int flags) {
  if (is_off_) return -EIO;
  Found found;
  if (const std::int32_t error = find(directory, path, found); error != 0) return error;
  if (found.inode == nullptr) {
    if ((flags & O_CREAT) == 0) return -ENOENT;
    if (!changes()) return -EIO;
    found.inode = std::make_shared<SimInode>(*this, false);
    found.directory->entries[found.name] = found.inode;
  } else if ((flags & O_CREAT) != 0 && (flags & O_EXCL) != 0) {
    return -EEXIST;
  }
  const bool for_writing = (flags & O_ACCMODE) != O_RDONLY;
  if (found.inode->is_directory && for_writing) return -EISDIR;
  if (!found.inode->is_directory && (flags & O_DIRECTORY) != 0) return -ENOTDIR;
  if ((flags & O_TRUNC) != 0 && for_writing && found.inode->size > 0) {
    if (!changes()) return -EIO;
    make_empty(*found.inode);
  }
  auto descriptor = std::make_unique<SimDescriptor>();
  descriptor->file = std::make_unique<SimOpenFile>();
  descriptor->file->inode = found.inode;
  descriptor->file->flags = flags;
  return world_.add_descriptor(std::move(descriptor));
}

std::int32_t SimDisk::unlink(const SimInode* directory, std::string_view path) {
  if (is_off_) return -EIO;
  Found found;
  if (const std::int32_t error = find(directory, path, found); error != 0) return error;
  if (found.inode == nullptr) return -ENOENT;
  if (found.inode->is_directory) return -EISDIR;
  if (!changes()) return -EIO;
  found.directory->entries.erase(found.name);
  return 0;
}

std::int32_t SimDisk::make_directory(std::string_view path) {
  if (is_off_) return -EIO;
  for (std::size_t end = 0; end < path.size();) {  // each parent on the way
    end = std::min(path.find('/', end + 1), path.size());
    Found found;
    if (const std::int32_t error = find(nullptr, path.substr(0, end), found); error != 0) return error;
    if (found.inode != nullptr) {
      if (!found.inode->is_directory) return -ENOTDIR;
      continue;
    }
    if (!changes()) return -EIO;
    auto made = std::make_shared<SimInode>(*this, true);
    found.directory->entries[found.name] = made;
    // The call syncs the parent; another sync of it that began before must not take the entry back.
    found.directory->durable_entries = found.directory->entries;
    found.directory->durable_entries_version = ++version_;
  }
  return 0;
}

std::int32_t SimDisk::remove_directory(std::string_view path) {
  if (is_off_) return -EIO;
  Found found;
  if (const std::int32_t error = find(nullptr, path, found); error != 0) return error;
  if (found.inode == nullptr) return -ENOENT;
  if (!found.inode->is_directory) return -ENOTDIR;
  if (!found.inode->entries.empty() || found.directory == nullptr) return -ENOTEMPTY;
  if (!changes()) return -EIO;
  found.directory->entries.erase(found.name);
  return 0;
}

std::int32_t SimDisk::list(std::string_view path, std::vector<std::string>& names) const {
  if (is_off_) return -EIO;
  Found found;
  if (const std::int32_t error = find(nullptr, path, found); error != 0) return error;
  if (found.inode == nullptr) return -ENOENT;
  if (!found.inode->is_directory) return -ENOTDIR;
  for (const auto& [name, inode] : found.inode->entries) names.push_back(name);
  return 0;
}

// --- crashes --------------------------------------------------------------------------------------------------------

void SimDisk::cut_file(SimInode& inode, std::uint32_t survives) {
  SimRandom& random = world_.random();
  for (PagePair& pair : inode.pages) {
    pair.is_dirty = false;
    if (pair.current == pair.durable) continue;
    for (std::size_t s = 0; s < kSectors; ++s) {
      if (version_of(pair.current, s) == version_of(pair.durable, s) || !random.chance(survives)) continue;
      Page& stable = own(pair.durable);
      std::memcpy(&stable.octets[s * kSectorBytes], &pair.current->octets[s * kSectorBytes], kSectorBytes);
      stable.versions[s] = pair.current->versions[s];
    }
    pair.current = pair.durable;
  }
  inode.dirty.clear();
  if (inode.size != inode.durable_size && !random.chance(survives)) inode.size = inode.durable_size;
  inode.durable_size = inode.size;
  inode.durable_size_version = inode.size_version = ++version_;
  // What lies behind the end reads as zeros if the file grows again.
  inode.pages.resize(round_up(inode.size) / kPageBytes);
  if (const std::size_t tail = inode.size % kPageBytes; tail != 0 && inode.pages.back().current != nullptr) {
    Page& last = own(inode.pages.back().current);
    std::memset(&last.octets[tail], 0, kPageBytes - tail);
    inode.pages.back().durable = inode.pages.back().current;
  }
  used_ -= inode.allocated;
  inode.allocated = round_up(inode.size);
  used_ += inode.allocated;
}

void SimDisk::cut_directory(SimInode& directory, std::uint32_t survives) {
  SimRandom& random = world_.random();
  Entries left;
  for (const auto& [name, inode] : directory.durable_entries) {
    const auto now = directory.entries.find(name);
    if (now != directory.entries.end() && now->second == inode) {
      left[name] = inode;
    } else if (!random.chance(survives)) {
      left[name] = inode;  // its removal did not reach the disk
    } else if (now != directory.entries.end()) {
      left[name] = now->second;
    }
  }
  for (const auto& [name, inode] : directory.entries) {
    if (!directory.durable_entries.contains(name) && random.chance(survives)) left[name] = inode;
  }
  directory.entries = left;
  directory.durable_entries = left;
  directory.durable_entries_version = ++version_;
  for (const auto& [name, inode] : left) {
    inode->locked_by = nullptr;
    if (inode->is_directory) {
      cut_directory(*inode, survives);
    } else {
      cut_file(*inode, survives);
    }
  }
}

void SimDisk::cut() {
  if (is_off_) return;
  SimRandom& random = world_.random();
  // Writes in flight join what is not durable; chance then decides by sector.
  for (SimOperation* operation : writes_in_flight_) {
    SimDescriptor* descriptor = world_.descriptor(operation->descriptor);
    if (descriptor == nullptr || descriptor->file == nullptr) continue;
    const std::uint64_t end = round_up(operation->offset + operation->bytes);
    if (end > descriptor->file->inode->allocated && end - descriptor->file->inode->allocated > free_bytes()) continue;
    put(*descriptor->file->inode, {operation->data, operation->bytes}, operation->offset, false);
  }
  is_off_ = true;
  // Nothing, everything, a half, or some: the extremes are worth more than a thousand halves.
  const std::array<std::uint32_t, 4> choices = {0, 1000, 500, static_cast<std::uint32_t>(random.below(1001))};
  cut_directory(*root_, choices[random.below(choices.size())]);
}

namespace {

void forget_locks(SimInode& directory) {
  for (const auto& [name, inode] : directory.entries) {
    inode->locked_by = nullptr;
    if (inode->is_directory) forget_locks(*inode);
  }
}

}  // namespace

void SimDisk::let_process_die() {
  for (SimOperation* operation : writes_in_flight_) {
    SimDescriptor* descriptor = world_.descriptor(operation->descriptor);
    if (descriptor == nullptr || descriptor->file == nullptr || !world_.random().chance(500)) continue;
    SimOpenFile& file = *descriptor->file;
    std::size_t bytes = operation->bytes;
    if ((file.flags & O_DIRECT) == 0) bytes = world_.random().below(bytes + 1);
    write(file, {operation->data, bytes}, operation->offset);
  }
  is_off_ = true;
  forget_locks(*root_);
}

void SimDisk::restart() {
  is_off_ = false;
  power_goes_in_ = 0;
}

}  // namespace postern::sim
