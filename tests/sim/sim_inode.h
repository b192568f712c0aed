// What the simulated disk is made of: pages, files and directories. Not for tests.
//
// Invariants
//   1. A page pointer that is shared (current with durable, or with a snapshot) is never written through.
//   2. A null page is 4,096 zeros of version 0. Zeros written over a null page leave it null: prewriting costs nothing.
//   3. A sector's version tells which write it holds; a sync never replaces a later version by an earlier one.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <string>
#include <utility>
#include <vector>

namespace postern::sim {

class SimDisk;
struct SimOpenFile;

inline constexpr std::size_t kPageBytes = 4096;
inline constexpr std::size_t kSectorBytes = 512;
inline constexpr std::size_t kSectors = kPageBytes / kSectorBytes;

struct Page {
  std::array<char, kPageBytes> octets{};
  std::array<std::uint64_t, kSectors> versions{};
};

struct PagePair {
  std::shared_ptr<Page> current;
  std::shared_ptr<Page> durable;
  bool is_dirty = false;  // listed in SimInode::dirty: a sync will write it
};

inline std::uint64_t round_up(std::uint64_t bytes) {
  return (bytes + kPageBytes - 1) / kPageBytes * kPageBytes;
}

inline std::uint64_t version_of(const std::shared_ptr<Page>& page, std::size_t sector) {
  return page == nullptr ? 0 : page->versions[sector];
}

// The page, made to be owned by `pointer` alone.
inline Page& own(std::shared_ptr<Page>& pointer) {
  if (pointer == nullptr) {
    pointer = std::make_shared<Page>();
  } else if (pointer.use_count() > 1) {
    pointer = std::make_shared<Page>(*pointer);
  }
  return *pointer;
}

using Entries = std::map<std::string, std::shared_ptr<SimInode>, std::less<>>;

struct SimInode {
  SimInode(SimDisk& d, bool directory) : disk(d), is_directory(directory) {}
  ~SimInode();
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

}  // namespace postern::sim
