// Accounts that are to be put on hold: asked for by workers, when one trips a limit; done by the caretaker, whose thread
// may wait for a disk.
//
// Bounds: kMax accounts wait, each once; what does not fit is dropped, and asked for again when that account trips its
// limit again. Thread: any; a short lock.
#pragma once

#include <cstddef>
#include <mutex>
#include <string>
#include <string_view>
#include <vector>

namespace postern::net {

class HoldRequests {
 public:
  static constexpr std::size_t kMax = 256;

  struct Request {
    std::string user;  // canonical
    std::string why;   // of the first who asked, for the log
  };

  void add(std::string_view user, std::string_view why);
  // All that wait, in the order in which they were asked for; none of them waits any more.
  [[nodiscard]] std::vector<Request> take();

 private:
  std::mutex mutex_;
  std::vector<Request> requests_;
};

}  // namespace postern::net
