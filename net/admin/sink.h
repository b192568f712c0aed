// A next hop for demonstrations: takes every message for its domain and keeps it in memory.
//
// Drives the same ServerSession as the server does, over a blocking socket in a thread of its own, one connection after
// the other. Thread: start and the accessors from one thread; the sink's own thread serves.
#pragma once

#include <condition_variable>
#include <cstdint>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <thread>

#include "core/result.h"
#include "policy/policy_snapshot.h"

namespace postern::net {

struct SunkMessage {
  std::string envelope;  // MAIL and RCPT, for people
  std::string content;
};

class Sink {
 public:
  // Listens on a loopback port that the system chooses.
  static core::Result<std::unique_ptr<Sink>> start(const std::string& domain);
  ~Sink();
  Sink(const Sink&) = delete;
  Sink& operator=(const Sink&) = delete;

  [[nodiscard]] std::uint16_t port() const { return port_; }
  // Waits for the first message. nullopt: none came in time.
  [[nodiscard]] std::optional<SunkMessage> wait(int seconds);

 private:
  Sink(std::unique_ptr<policy::PolicySnapshot> policy, int listener, std::uint16_t port);
  void run();
  void serve(int connection);

  std::unique_ptr<policy::PolicySnapshot> policy_;
  int listener_;
  std::uint16_t port_;
  std::mutex mutex_;
  std::condition_variable arrived_;
  std::optional<SunkMessage> message_;
  std::thread thread_;
};

}  // namespace postern::net
