// A listening socket of one worker: accepts without end, and hands each connection on.
//
// When accepting fails (no descriptors, say) it is tried again a little later; what waits in the backlog is taken then.
// Thread: one, its worker's. Lifetime: until no accept is under way: is_quiet().
#pragma once

#include <cstddef>
#include <string_view>

#include "core/ring.h"
#include "core/timer_wheel.h"

namespace postern::net {

class WorkerServer;

class Listener {
 public:
  struct Owner {
    void* object = nullptr;
    void (*accepted)(void* object, int socket, std::size_t index) = nullptr;
    std::string_view (*name)(void* object, std::size_t index) = nullptr;  // for the log
  };

  // Takes over `socket`. `index`: what the owner knows it by.
  Listener(WorkerServer& server, int socket, std::size_t index, const Owner& owner);
  ~Listener();
  Listener(const Listener&) = delete;
  Listener& operator=(const Listener&) = delete;

  void start();
  void stop();
  [[nodiscard]] bool is_quiet() const { return !accept_.in_flight; }

 private:
  void on_accept(core::Completion&, const core::Outcome& outcome) noexcept;
  void on_retry(core::Timer&) noexcept;

  WorkerServer& server_;
  int socket_;
  std::size_t index_;
  Owner owner_;
  bool is_stopped_ = false;
  core::Completion accept_;
  core::Timer retry_;
};

}  // namespace postern::net
