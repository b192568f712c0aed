// Small helpers for tests that drive a real ring.
#pragma once

#include <cstdlib>
#include <functional>
#include <gtest/gtest.h>
#include <memory>
#include <string>
#include <unistd.h>
#include <vector>

#include "core/ring.h"

namespace postern::core::testing {

// A Completion that remembers its outcomes.
struct Operation {
  Operation() = default;
  explicit Operation(std::function<void(const Outcome&)> what_then) : then(std::move(what_then)) {}

  Completion completion{&Operation::on_outcome, this};
  std::vector<Outcome> outcomes;
  std::function<void(const Outcome&)> then;

  [[nodiscard]] bool is_done() const { return !completion.in_flight && !outcomes.empty(); }
  [[nodiscard]] int result() const { return outcomes.empty() ? -EINPROGRESS : outcomes.back().result; }

  static void on_outcome(void* owner, Completion&, const Outcome& outcome) noexcept {
    auto& self = *static_cast<Operation*>(owner);
    self.outcomes.push_back(outcome);
    if (self.then) self.then(outcome);
  }
};

inline std::unique_ptr<Ring> make_ring(const RingOptions& options = {
                                           .submission_entries = 64, .buffer_count = 8, .buffer_bytes = 4096}) {
  auto ring = Ring::create(options);
  if (!ring) {
    ADD_FAILURE() << ring.error().text;
    std::abort();
  }
  return std::move(*ring);
}

// Turns the ring until `is_reached` holds. False: not within ten seconds.
inline bool run_until(Ring& ring, const std::function<bool()>& is_reached) {
  const std::int64_t give_up_ns = ring.read_clock().boot_ns + 10 * kNanosecondsPerSecond;
  while (!is_reached()) {
    const std::int64_t now_ns = ring.read_clock().boot_ns;
    if (now_ns > give_up_ns) return false;
    ring.submit_and_reap(now_ns + kNanosecondsPerSecond / 10);
  }
  return true;
}

// A connected pair over loopback TCP: `server` was accepted, `client` connected.
struct Connected {
  int listener = -1;
  int server = -1;
  int client = -1;

  explicit Connected(Ring& ring, const char* address = "127.0.0.1:0") {
    listener = Ring::listen(*Endpoint::parse(address)).value();
    const Endpoint local = *Ring::local_name(listener);
    client = Ring::make_socket(local, nullptr).value();
    Operation accept;
    Operation connect;
    sockaddr_storage target;
    const std::uint32_t target_bytes = local.to_sockaddr(target);
    ring.accept(listener, accept.completion);
    ring.connect(client, target, target_bytes, connect.completion);
    EXPECT_TRUE(run_until(ring, [&] { return connect.is_done() && !accept.outcomes.empty(); }));
    EXPECT_EQ(connect.result(), 0);
    server = accept.result();
    EXPECT_GE(server, 0);
    ring.cancel(accept.completion);
    EXPECT_TRUE(run_until(ring, [&] { return accept.is_done(); }));
  }
  ~Connected() {
    for (const int descriptor : {listener, server, client}) {
      if (descriptor >= 0) Ring::close_now(descriptor);
    }
  }
  Connected(const Connected&) = delete;
  Connected& operator=(const Connected&) = delete;
};

// A fresh directory, removed with what is in it.
struct TemporaryDirectory {
  std::string path = "/tmp/postern-test-XXXXXX";
  TemporaryDirectory() { EXPECT_NE(mkdtemp(path.data()), nullptr); }
  ~TemporaryDirectory() {
    const std::string command = "rm -rf '" + path + "'";
    EXPECT_EQ(std::system(command.c_str()), 0);
  }
  TemporaryDirectory(const TemporaryDirectory&) = delete;
  TemporaryDirectory& operator=(const TemporaryDirectory&) = delete;
};

}  // namespace postern::core::testing
