// What a server does beside its workers, once a second: takes in changed certificates and changed users, holds accounts that
// tripped a limit (HoldRequests), and keeps what must survive a restart (logins each second; bars, quotas) on disk.
//
// Thread: its own. Started after the workers, stopped before them.
#pragma once

#include <condition_variable>
#include <cstdint>
#include <mutex>
#include <thread>

#include "core/result.h"

namespace postern::net {

class Server;

class Caretaker {
 public:
  explicit Caretaker(Server& server);
  ~Caretaker();  // saves once more
  Caretaker(const Caretaker&) = delete;
  Caretaker& operator=(const Caretaker&) = delete;

 private:
  void run();
  void refresh_users();

  Server& server_;
  std::mutex mutex_;
  std::condition_variable changed_;
  bool stopping_ = false;
  bool users_failed_ = false;  // said once, until it works again
  std::thread thread_;
};

}  // namespace postern::net
