// Files and directories of the simulated disk.
//
// Invariants
//   1. A page pointer that is shared (current with durable, or with a snapshot) is never written through.
//   2. A null page is 4,096 zeros of version 0. Zeros written over a null page leave it null: prewriting costs nothing.
//   3. A sector's version tells which write it holds; a sync never replaces a later version by an earlier one.
#include "tests/sim/sim_disk.h"

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <fcntl.h>
#include <utility>

#include "core/assert.h"

#include "tests/sim/ring_sim.h"
#include "tests/sim/sim_world.h"

namespace postern::sim {
namespace {

constexpr std::size_t kPageBytes = 4096;
constexpr std::size_t kSectorBytes = 512;
constexpr std::size_t kSectors = kPageBytes / kSectorBytes;
constexpr std::uint64_t kDirectBytes = 512;

struct Page {
  std::array<char, kPageBytes> octets{};
  std::array<std::uint64_t, kSectors> versions{};
};

struct PagePair {
  std::shared_ptr<Page> current;
  std::shared_ptr<Page> durable;
  bool is_dirty = false;  // listed in SimInode::dirty: a sync will write it
};

std::uint64_t round_up(std::uint64_t bytes) {
  return (bytes + kPageBytes - 1) / kPageBytes * kPageBytes;
}

bool is_zero(std::string_view bytes) {
  return bytes.empty() || (bytes[0] == 0 && std::memcmp(bytes.data(), bytes.data() + 1, bytes.size() - 1) == 0);
}

std::uint64_t version_of(const std::shared_ptr<Page>& page, std::size_t sector) {
  return page == nullptr ? 0 : page->versions[sector];
}

// The page, made to be owned by `pointer` alone.
Page& own(std::shared_ptr<Page>& pointer) {
  if (pointer == nullptr) {
    pointer = std::make_shared<Page>();
  } else if (pointer.use_count() > 1) {
    pointer = std::make_shared<Page>(*pointer);
  }
  return *pointer;
}

// Brings to `durable` what `from` has newer. All of it in most cases: then the page is shared.
void make_durable(std::shared_ptr<Page>& durable, const std::shared_ptr<Page>& from) {
  if (durable == from || from == nullptr) return;
  std::size_t newer = 0;
  std::size_t older = 0;
  for (std::size_t s = 0; s < kSectors; ++s) {
    newer += from->versions[s] > version_of(durable, s);
    older += from->versions[s] < version_of(durable, s);
  }
  if (older == 0) {
    durable = from;
    return;
  }
  if (newer == 0) return;
  Page& page = own(durable);
  for (std::size_t s = 0; s < kSectors; ++s) {
    if (from->versions[s] <= page.versions[s]) continue;
    std::memcpy(&page.octets[s * kSectorBytes], &from->octets[s * kSectorBytes], kSectorBytes);
    page.versions[s] = from->versions[s];
  }
}

}  // namespace

using Entries = std::map<std::string, std::shared_ptr<SimInode>, std::less<>>;

struct SimInode {
  SimInode(SimDisk& d, bool directory) : disk(d), is_directory(directory) {}
  ~SimInode() { disk.used_ -= allocated; }
  SimInode(const SimInode&) = delete;
  SimInode& operator=(const SimInode&) = delete;

  SimDisk& disk;
  bool is_directory;
  const SimOpenFile* locked_by = nullptr;
  std::uint64_t allocated = 0;
  // A file.
  std::vector<PagePair> pages;
  std::vector<std::uint32_t> dirty;
  std::uint64_t size = 0;
  std::uint64_t size_version = 0;
  std::uint64_t durable_size = 0;
  std::uint64_t durable_size_version = 0;
  // A directory.
  Entries entries;
  Entries durable_entries;
  std::uint64_t durable_entries_version = 0;
};

// What a sync found when it started, and makes durable when it completes.
struct SimSnapshot {
  std::shared_ptr<SimInode> inode;
  std::vector<std::pair<std::uint32_t, std::shared_ptr<Page>>> pages;
  std::uint64_t size = 0;
  std::uint64_t size_version = 0;
  Entries entries;
  std::uint64_t version = 0;
};

SimDisk::SimDisk(SimWorld& world) : world_(world), root_(std::make_shared<SimInode>(*this, true)) {}

SimDisk::~SimDisk() {
  root_.reset();
}

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
    found.directory->durable_entries[found.name] = made;  // the call syncs the parent
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

// --- contents -------------------------------------------------------------------------------------------------------

bool SimDisk::changes() {
  if (is_off_) return false;
  if (power_goes_in_ != 0 && --power_goes_in_ == 0) {
    world_.lose_power();
    return false;
  }
  return true;
}

bool SimDisk::fails(std::uint64_t& counted, std::uint32_t permille) {
  const bool counted_out = counted != 0 && --counted == 0;
  if (!counted_out && !world_.random().chance(permille)) return false;
  ++counters_.failures;
  world_.note("disk fault", counters_.failures, 0);
  return true;
}

std::int64_t SimDisk::read(SimOpenFile& file, std::span<char> into, std::uint64_t offset) {
  if (is_off_) return -EIO;
  const SimInode& inode = *file.inode;
  if (inode.is_directory) return -EISDIR;
  if ((file.flags & O_ACCMODE) == O_WRONLY) return -EBADF;
  if ((file.flags & O_DIRECT) != 0 && (offset % kDirectBytes != 0 || into.size() % kDirectBytes != 0 ||
                                       reinterpret_cast<std::uintptr_t>(into.data()) % kDirectBytes != 0)) {
    return -EINVAL;
  }
  ++counters_.reads;
  if (fails(read_fails_in_, world_.options().read_fails)) return -EIO;
  if (offset >= inode.size) return 0;
  const std::size_t total = std::min<std::uint64_t>(into.size(), inode.size - offset);
  for (std::size_t done = 0; done < total;) {
    const std::size_t index = (offset + done) / kPageBytes;
    const std::size_t start = (offset + done) % kPageBytes;
    const std::size_t part = std::min(total - done, kPageBytes - start);
    const Page* page = index < inode.pages.size() ? inode.pages[index].current.get() : nullptr;
    if (page == nullptr) {
      std::memset(into.data() + done, 0, part);
    } else {
      std::memcpy(into.data() + done, &page->octets[start], part);
    }
    done += part;
  }
  return static_cast<std::int64_t>(total);
}

std::int64_t SimDisk::write(SimOpenFile& file, std::string_view bytes, std::uint64_t offset) {
  if (is_off_) return -EIO;
  SimInode& inode = *file.inode;
  if (inode.is_directory || (file.flags & O_ACCMODE) == O_RDONLY) return -EBADF;
  if ((file.flags & O_DIRECT) != 0 && (offset % kDirectBytes != 0 || bytes.size() % kDirectBytes != 0 ||
                                       reinterpret_cast<std::uintptr_t>(bytes.data()) % kDirectBytes != 0)) {
    return -EINVAL;
  }
  if ((file.flags & O_APPEND) != 0) offset = inode.size;
  ++counters_.writes;
  const bool durable = (file.flags & O_DSYNC) != 0;
  if (fails(write_fails_in_, world_.options().write_fails)) {
    // An unknown part of it is on the disk all the same.
    for (std::size_t done = 0; done < bytes.size(); done += kSectorBytes) {
      if (world_.random().chance(500)) continue;
      const std::string_view part = bytes.substr(done, kSectorBytes);
      if (round_up(offset + done + part.size()) > inode.allocated) break;  // nothing new is allocated
      put(inode, part, offset + done, world_.random().chance(500));
    }
    return -EIO;
  }
  const std::uint64_t end = round_up(offset + bytes.size());
  if (end > inode.allocated) {
    const std::uint64_t room = inode.allocated + free_bytes() / kPageBytes * kPageBytes;
    if (end > room) {
      ++counters_.failures;
      if (offset >= room) return -ENOSPC;
      bytes = bytes.substr(0, room - offset);  // a short write; the next one fails
    }
  }
  put(inode, bytes, offset, durable);
  counters_.written_bytes += bytes.size();
  return static_cast<std::int64_t>(bytes.size());
}

void SimDisk::put(SimInode& inode, std::string_view bytes, std::uint64_t offset, bool durable) {
  if (bytes.empty()) return;
  const std::uint64_t version = ++version_;
  const std::uint64_t end = offset + bytes.size();
  if (end > inode.size) {
    inode.size = end;
    inode.size_version = version;
  }
  if (round_up(end) > inode.allocated) {
    used_ += round_up(end) - inode.allocated;
    inode.allocated = round_up(end);
  }
  if (inode.pages.size() < inode.allocated / kPageBytes) inode.pages.resize(inode.allocated / kPageBytes);
  while (!bytes.empty()) {
    const std::size_t index = offset / kPageBytes;
    const std::size_t start = offset % kPageBytes;
    const std::string_view part = bytes.substr(0, kPageBytes - start);
    PagePair& pair = inode.pages[index];
    offset += part.size();
    bytes.remove_prefix(part.size());
    if (pair.current == nullptr && pair.durable == nullptr && is_zero(part)) continue;
    if (part.size() == kPageBytes && pair.current.use_count() != 1) pair.current = std::make_shared<Page>();
    Page& page = own(pair.current);
    std::memcpy(&page.octets[start], part.data(), part.size());
    const std::size_t first = start / kSectorBytes;
    const std::size_t last = (start + part.size() - 1) / kSectorBytes;
    for (std::size_t s = first; s <= last; ++s) page.versions[s] = version;
    if (!durable) {
      if (!pair.is_dirty) inode.dirty.push_back(static_cast<std::uint32_t>(index));
      pair.is_dirty = true;
    } else if (part.size() == kPageBytes) {
      pair.durable = pair.current;
    } else {
      Page& stable = own(pair.durable);
      for (std::size_t s = first; s <= last; ++s) {
        std::memcpy(&stable.octets[s * kSectorBytes], &page.octets[s * kSectorBytes], kSectorBytes);
        stable.versions[s] = version;
      }
    }
  }
  if (durable && inode.size_version > inode.durable_size_version) {
    inode.durable_size = inode.size;
    inode.durable_size_version = inode.size_version;
  }
}

void SimDisk::make_empty(SimInode& inode) {
  const std::uint64_t version = ++version_;
  for (std::uint32_t i = 0; i < inode.pages.size(); ++i) {
    PagePair& pair = inode.pages[i];
    if (pair.current == nullptr) continue;
    pair.current = std::make_shared<Page>();
    pair.current->versions.fill(version);
    if (!pair.is_dirty) inode.dirty.push_back(i);
    pair.is_dirty = true;
  }
  used_ -= inode.allocated;
  inode.allocated = 0;
  inode.size = 0;
  inode.size_version = version;
}

std::shared_ptr<SimSnapshot> SimDisk::begin_sync(SimOpenFile& file) {
  SimInode& inode = *file.inode;
  auto snapshot = std::make_shared<SimSnapshot>();
  snapshot->inode = file.inode;
  snapshot->version = ++version_;
  snapshot->size = inode.size;
  snapshot->size_version = inode.size_version;
  if (inode.is_directory) snapshot->entries = inode.entries;
  snapshot->pages.reserve(inode.dirty.size());
  for (const std::uint32_t index : inode.dirty) {
    snapshot->pages.emplace_back(index, inode.pages[index].current);
    inode.pages[index].is_dirty = false;  // a write from now on makes it dirty again
  }
  inode.dirty.clear();
  return snapshot;
}

std::int32_t SimDisk::end_sync(const SimSnapshot& snapshot) {
  if (is_off_) return -EIO;
  ++counters_.syncs;
  SimInode& inode = *snapshot.inode;
  const bool failed = fails(sync_fails_in_, world_.options().sync_fails);
  for (const auto& [index, page] : snapshot.pages) {
    // After a failure the page counts as written: no later sync writes it again unless it is changed.
    if (!failed || world_.random().chance(500)) make_durable(inode.pages[index].durable, page);
  }
  if (failed) return -EIO;
  if (snapshot.size_version > inode.durable_size_version) {
    inode.durable_size = snapshot.size;
    inode.durable_size_version = snapshot.size_version;
  }
  if (inode.is_directory && snapshot.version > inode.durable_entries_version) {
    inode.durable_entries = snapshot.entries;
    inode.durable_entries_version = snapshot.version;
  }
  return 0;
}

std::int32_t SimDisk::try_lock(SimOpenFile& file) {
  if (is_off_) return -EIO;
  if (file.inode->locked_by != nullptr && file.inode->locked_by != &file) return 0;
  file.inode->locked_by = &file;
  return 1;
}

std::int64_t SimDisk::size(const SimOpenFile& file) const {
  return is_off_ ? -EIO : static_cast<std::int64_t>(file.inode->size);
}

void SimDisk::close_file(SimOpenFile& file) {
  if (file.inode->locked_by == &file) file.inode->locked_by = nullptr;
}

bool SimDisk::damage(const std::string& path, std::uint64_t offset, std::string_view octets) {
  Found found;
  if (find(nullptr, path, found) != 0 || found.inode == nullptr || found.inode->is_directory) return false;
  if (offset + octets.size() > found.inode->size) return false;
  put(*found.inode, octets, offset, true);
  return true;
}

std::optional<std::string> SimDisk::contents(const std::string& path) const {
  Found found;
  if (find(nullptr, path, found) != 0 || found.inode == nullptr || found.inode->is_directory) return std::nullopt;
  std::string text(found.inode->size, '\0');
  for (std::size_t i = 0; i < found.inode->pages.size() && i * kPageBytes < text.size(); ++i) {
    const Page* page = found.inode->pages[i].current.get();
    if (page == nullptr) continue;
    std::memcpy(text.data() + i * kPageBytes, page->octets.data(), std::min(kPageBytes, text.size() - i * kPageBytes));
  }
  return text;
}

// --- operations of rings --------------------------------------------------------------------------------------------

void SimDisk::submit(SimOperation& operation) {
  SimDescriptor* descriptor = world_.descriptor(operation.descriptor);
  const bool by_path = operation.kind == OperationKind::open || operation.kind == OperationKind::unlink;
  const bool is_absolute = by_path && operation.data[0] == '/';
  if (!is_absolute && !(by_path && operation.descriptor == AT_FDCWD) &&
      (descriptor == nullptr || descriptor->file == nullptr)) {
    operation.ring->finish(operation, -EBADF);
    return;
  }
  if (operation.kind == OperationKind::write || operation.kind == OperationKind::sync) {
    if (operation.kind == OperationKind::write) writes_in_flight_.push_back(&operation);
    if (!is_off_ && changes() && operation.kind == OperationKind::sync) {
      operation.snapshot = begin_sync(*descriptor->file);
    }
  }
  world_.execute_later(operation, world_.disk_delay());
}

void SimDisk::execute(SimOperation& operation) {
  SimDescriptor* descriptor = world_.descriptor(operation.descriptor);
  SimOpenFile* file = descriptor != nullptr ? descriptor->file.get() : nullptr;
  std::int64_t result = -EIO;
  switch (operation.kind) {
    case OperationKind::open:
    case OperationKind::unlink: {
      const SimInode* directory = file != nullptr ? file->inode.get() : nullptr;
      result = operation.kind == OperationKind::open ? open(directory, operation.data, operation.flags)
                                                     : unlink(directory, operation.data);
      break;
    }
    case OperationKind::sync:
      if (!is_off_ && operation.snapshot != nullptr) result = end_sync(*operation.snapshot);
      break;
    default:
      if (file == nullptr) {
        world_.violation(std::string("a file was closed with an operation in flight: ") +
                         operation_name(operation.kind));
        result = -EBADF;
      } else if (operation.kind == OperationKind::read) {
        result = read(*file, {operation.into, operation.bytes}, operation.offset);
      } else {
        result = write(*file, {operation.data, operation.bytes}, operation.offset);
      }
  }
  operation.ring->finish(operation, static_cast<std::int32_t>(result));
}

// The kernel's file workers can hardly be stopped: only what has not begun can be taken back.
void SimDisk::cancel(SimOperation& operation) {
  if (world_.random().chance(100)) operation.ring->finish(operation, -ECANCELED);
}

void SimDisk::forget(SimOperation& operation) {
  if (operation.kind == OperationKind::write) std::erase(writes_in_flight_, &operation);
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
