// The machine's disk: what is written, what is durable, and what a crash leaves.
//
// A file has two contents, in pages of eight 512-octet sectors: the current one, which everybody reads, and the durable
// one. A sector becomes durable when a write with O_DSYNC or O_SYNC completes, or when a sync completes that started
// after the write had completed. A directory's entries become durable only when a sync of that directory completes.
//
// A power cut leaves, for each sector and entry that differs, the one or the other by chance; writes in flight are torn
// likewise. A kill leaves the current contents, and an unknown part of the writes in flight.
//
// Kept to, as the kernel does: EINVAL for unaligned O_DIRECT (512), ENOSPC with a short write before it, EIO from a failed
// sync once only (what it did not write is clean for the kernel, and lost in a power cut), files that live on while open.
#pragma once

#include <array>
#include <cstdint>
#include <map>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace postern::sim {

class SimWorld;
struct SimOperation;
struct SimInode;
struct SimSnapshot;

struct SimOpenFile {
  std::shared_ptr<SimInode> inode;
  int flags = 0;
};

struct SimDiskCounters {
  std::uint64_t writes = 0;
  std::uint64_t written_bytes = 0;
  std::uint64_t reads = 0;
  std::uint64_t syncs = 0;
  std::uint64_t failures = 0;  // injected, and for want of space
};

class SimDisk {
 public:
  explicit SimDisk(SimWorld& world);
  ~SimDisk();
  SimDisk(const SimDisk&) = delete;
  SimDisk& operator=(const SimDisk&) = delete;

  // --- for tests --------------------------------------------------------------------------------------------------
  void set_capacity(std::uint64_t bytes) { capacity_ = bytes; }
  [[nodiscard]] std::uint64_t used_bytes() const { return used_; }
  [[nodiscard]] bool is_off() const { return is_off_; }  // the power is gone
  // The n-th from now (1: the next) fails with EIO.
  void fail_write(std::uint64_t n) { write_fails_in_ = n; }
  void fail_sync(std::uint64_t n) { sync_fails_in_ = n; }
  void fail_read(std::uint64_t n) { read_fails_in_ = n; }
  // The power goes when the n-th operation that changes the disk (write, sync, create, unlink) from now starts, in ring
  // or blocking call; SimWorld::run then ends with power_lost, and every later disk operation fails with EIO.
  void cut_power_after(std::uint64_t n) { power_goes_in_ = n; }
  // Changes octets behind everybody's back, durably. False: no such file, or not that long.
  bool damage(const std::string& path, std::uint64_t offset, std::string_view octets);
  // What is read now, or nothing if there is no such file.
  [[nodiscard]] std::optional<std::string> contents(const std::string& path) const;
  [[nodiscard]] const SimDiskCounters& counters() const { return counters_; }

  // --- blocking calls (files_sim) and operations: 0 or more, or -errno --------------------------------------------
  std::int32_t open(const SimInode* directory, std::string_view path, int flags);  // a descriptor
  std::int32_t unlink(const SimInode* directory, std::string_view path);
  std::int32_t make_directory(std::string_view path);
  std::int32_t remove_directory(std::string_view path);
  std::int32_t list(std::string_view path, std::vector<std::string>& names) const;
  std::int64_t read(SimOpenFile& file, std::span<char> into, std::uint64_t offset);
  std::int64_t write(SimOpenFile& file, std::string_view bytes, std::uint64_t offset);
  std::shared_ptr<SimSnapshot> begin_sync(SimOpenFile& file);
  std::int32_t end_sync(const SimSnapshot& snapshot);
  std::int32_t try_lock(SimOpenFile& file);  // 1: locked, 0: held by another
  [[nodiscard]] std::int64_t size(const SimOpenFile& file) const;
  [[nodiscard]] std::uint64_t free_bytes() const { return capacity_ > used_ ? capacity_ - used_ : 0; }
  // Counts an operation that changes the disk; false: the power is gone.
  bool changes();

  // === for the world ==============================================================================================
  void submit(SimOperation& operation);
  void execute(SimOperation& operation);
  void cancel(SimOperation& operation);
  void forget(SimOperation& operation);
  void close_file(SimOpenFile& file);
  void cut();
  void let_process_die();
  void restart();

 private:
  friend struct SimInode;
  struct Found {
    std::shared_ptr<SimInode> directory;
    std::shared_ptr<SimInode> inode;  // null: not there
    std::string name;
  };
  std::int32_t find(const SimInode* from, std::string_view path, Found& found) const;
  std::int32_t execute_open_or_unlink(SimOperation& operation);
  void put(SimInode& inode, std::string_view bytes, std::uint64_t offset, bool durable);
  void make_empty(SimInode& inode);
  bool fails(std::uint64_t& counted, std::uint32_t permille);
  void cut_file(SimInode& inode, std::uint32_t survives);
  void cut_directory(SimInode& directory, std::uint32_t survives);

  SimWorld& world_;
  std::shared_ptr<SimInode> root_;
  std::vector<SimOperation*> writes_in_flight_;
  std::uint64_t capacity_ = std::uint64_t{1} << 40;
  std::uint64_t used_ = 0;
  std::uint64_t version_ = 0;
  std::uint64_t write_fails_in_ = 0;
  std::uint64_t sync_fails_in_ = 0;
  std::uint64_t read_fails_in_ = 0;
  std::uint64_t power_goes_in_ = 0;
  bool is_off_ = false;
  SimDiskCounters counters_;
};

}  // namespace postern::sim
