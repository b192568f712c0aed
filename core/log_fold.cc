#include "core/log_fold.h"

namespace postern::core {

bool FloodFolder::pass(const LogRecord& record, std::int64_t now_ns) {
  if (record.flood_key == 0) return true;
  const Key key{record.event, record.flood_key};
  auto found = windows_.find(key);
  if (found == windows_.end()) {
    if (windows_.size() >= kWindowsMax) return true;
    found = windows_.try_emplace(key).first;
    found->second.end_ns = now_ns + kWindowNanoseconds;
  }
  Window& window = found->second;
  if (++window.lines <= kLinesPassed) return true;
  window.last = record;
  return false;
}

void FloodFolder::expire(std::int64_t now_ns, const Emit& emit) {
  for (auto at = windows_.begin(); at != windows_.end();) {
    const Window& window = at->second;
    if (window.end_ns > now_ns) {
      ++at;
      continue;
    }
    // The line stands for itself and for those before it.
    if (window.lines > kLinesPassed) emit(window.last, window.lines - kLinesPassed - 1);
    at = windows_.erase(at);
  }
}

}  // namespace postern::core
