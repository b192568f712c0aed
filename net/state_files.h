// Small files as wholes: settings, keys, and what the server remembers over a restart.
//
// Blocks; not in a worker. Thread: any.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

#include "core/result.h"

namespace postern::net {

// Error: it cannot be read, or is larger than `bytes_max`. Error::code is errno.
[[nodiscard]] core::Result<std::string> read_file(const std::string& path, std::uint64_t bytes_max);

// Replaces the file, mode 0600: whole and durable, or as it was.
[[nodiscard]] core::Result<void> write_file(const std::string& path, std::string_view octets);

}  // namespace postern::net
