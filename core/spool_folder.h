// The spool folder around the logs: its format mark, the lock of a log.
//
// Thread: any; blocks.
#pragma once

#include <cstdint>
#include <string>

#include "core/result.h"

namespace postern::core {

// The folder that holds `log_directory`.
[[nodiscard]] std::string spool_folder_of(const std::string& log_directory);

// Makes DIR/FORMAT durable, and with it the names in DIR; writes it where there is none (or only the beginning of one), else compares it.
// Error: another version; the text says which.
Result<void> mark_format(const std::string& spool_directory);
// Only compares. No mark at all: an error, it is not a spool.
Result<void> check_format(const std::string& spool_directory);

// Makes the names in a folder durable.
Result<void> sync_folder(const std::string& directory);

// Takes the lock of a log and writes our process into it; the descriptor holds it. Error: who has it.
Result<int> lock_log(const std::string& log_directory);

}  // namespace postern::core
