// The POP3/IMAP front of one worker: its listeners, and its clients' connections.
//
// Thread: its worker's. Lifetime: the worker's server owns it.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <string_view>
#include <vector>

#include "core/pool.h"
#include "core/timer_wheel.h"
#include "net/front/front.h"
#include "net/listener.h"
#include "policy/settings.h"

namespace postern::net {

// Why a client is sent away before anything was said.
enum class FrontRefusal : std::uint8_t { too_many, barred, not_admitted };
// The protocol's own words, a whole line.
[[nodiscard]] std::string_view refusal_line(policy::MailboxProtocol protocol, FrontRefusal why);

class Fronts {
 public:
  explicit Fronts(WorkerServer& server);
  ~Fronts();
  Fronts(const Fronts&) = delete;
  Fronts& operator=(const Fronts&) = delete;

  // `mailbox`: index into the settings' mailboxes.
  void listen(int listener, std::size_t mailbox);
  // No new connections. Who has not logged in is told goodbye; the others are closed when they fall silent, or shortly
  // before the deadline: their mail programs come back.
  void begin_drain(std::int64_t deadline_boot_ns);
  [[nodiscard]] bool is_quiet() const;
  [[nodiscard]] bool is_empty() const { return first_ == nullptr; }
  void ended(Front& front);

  // Once a turn, last: sends what was put off. False: there is more, so that the worker must not sleep.
  [[nodiscard]] bool flush();
  // This front's flush_deferred() is called in this turn's flush() and the following ones, until it returns false.
  void defer(Front& front) { deferred_.push_back(&front); }
  // Sessions, TLS and octets under way: of its own, so that clients of mailboxes leave SMTP's memory alone.
  [[nodiscard]] core::BlockPool& pool() { return pool_; }
  static std::uint64_t pool_bytes();  // for `check`: what one worker has

  // Are receive buffers scarce? If so, those that slow readers hold up are freed before long.
  [[nodiscard]] bool buffers_scarce();

 private:
  void accepted(int socket, std::size_t mailbox);
  void on_relief(core::Timer&) noexcept;

  WorkerServer& server_;
  core::BlockPool pool_;
  core::SlotPool<Front> fronts_;
  Front* first_ = nullptr;
  std::vector<Front*> deferred_;
  std::vector<Front*> flushing_;  // kept: flush() swaps it with the above
  std::vector<std::unique_ptr<Listener>> listeners_;
  core::Timer relief_;
};

}  // namespace postern::net
