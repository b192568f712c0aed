// Folder and file operations that are made while starting, recovering or on cold paths, and randomness.
//
// Second half of the platform layer (with ring.h): implemented by core_ring_uring over the real system and by
// core_ring_sim over the simulated disk, where what was not synced is lost in a power cut. All calls block.
// Thread: any. Descriptors are the same numbers that Ring's file operations take.
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "core/result.h"

namespace postern::core::files {

// Makes the directory (and missing parents) with mode 0700 unless it is there; syncs the parent.
Result<void> make_directory(const std::string& path);
// A descriptor of the directory, for Ring::open, Ring::unlink and sync.
Result<int> open_directory(const std::string& path);
// Names in the directory without "." and "..", sorted.
Result<std::vector<std::string>> list(const std::string& path);
// `flags` as open(2); O_CLOEXEC is added. O_DIRECT is dropped where the file system refuses it.
Result<int> open(const std::string& path, int flags, unsigned mode = 0600);
void close(int descriptor);
Result<std::uint64_t> size(int descriptor);
// Octets read; fewer than asked only at the end of the file.
Result<std::size_t> read_at(int descriptor, std::span<char> into, std::uint64_t offset);
Result<void> write_at(int descriptor, std::string_view bytes, std::uint64_t offset);
Result<void> sync(int descriptor);
Result<void> unlink(const std::string& path);
Result<void> remove_directory(const std::string& path);
// Takes an exclusive advisory lock on the open file without waiting. False: another process holds it.
Result<bool> try_lock(int descriptor);
// The same, waiting at most so long. False: still held.
Result<bool> lock(int descriptor, std::uint32_t milliseconds);
// Octets that an unprivileged process may still write on the file system of `path`.
Result<std::uint64_t> free_bytes(const std::string& path);
// The name of the file system ("ext4", "xfs", "btrfs", ...), for `check`.
Result<std::string> file_system(const std::string& path);

// Fills with octets a stranger cannot predict.
void fill_random(std::span<char> out);
std::uint64_t random_u64();

}  // namespace postern::core::files
