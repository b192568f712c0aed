// Reading a whole spool folder offline, as it lies: for `postern spool dump`, for rescue, for tests.
//
// Only reads, takes no lock, and goes on past damage. Over a spool that is in use the picture may be a little old.
// Thread: any; blocks.
#pragma once

#include <cstdint>
#include <functional>
#include <string>
#include <string_view>
#include <vector>

#include "core/result.h"
#include "core/spool.h"

namespace postern::core {

struct DumpedItem {
  std::uint32_t log_number = 0;
  ItemInfo info;
  std::string_view head;
  std::string_view state;
  std::string_view body;  // what could be read of it
  std::string body_path;  // of a large item
  std::string damage;     // empty: all of it is there and matches its checksum
};

// One call an item, log by log, in the order of ids within a log; views live for the call. `reports`: one a log.
// Error: no spool folder, or a foreign format.
Result<void> dump_spool(const std::string& spool_directory, const std::function<void(const DumpedItem&)>& item,
                        std::vector<RecoveryReport>* reports = nullptr);

}  // namespace postern::core
