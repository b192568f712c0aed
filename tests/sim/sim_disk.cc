// Contents of the simulated disk's files, syncs, faults, and the operations of rings. Names and crashes: sim_disk_names.cc.
#include "tests/sim/sim_disk.h"

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <fcntl.h>
#include <utility>

#include "core/assert.h"

#include "tests/sim/ring_sim.h"
#include "tests/sim/sim_inode.h"
#include "tests/sim/sim_world.h"

namespace postern::sim {
namespace {

constexpr std::uint64_t kDirectBytes = 512;

bool is_zero(std::string_view bytes) {
  return bytes.empty() || (bytes[0] == 0 && std::memcmp(bytes.data(), bytes.data() + 1, bytes.size() - 1) == 0);
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

SimInode::~SimInode() {
  disk.used_ -= allocated;
}

SimDisk::SimDisk(SimWorld& world) : world_(world), root_(std::make_shared<SimInode>(*this, true)) {}

SimDisk::~SimDisk() {
  root_.reset();
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

}  // namespace postern::sim
