// A next hop that misbehaves: it takes over, defers or refuses; drops connections, is slow or silent, refuses
// connections for a while; until it is told to behave. Speaks SMTP or LMTP, with the extensions the run drew.
//
// What it takes over and what it refuses for good is noted in the ledger. Octets that come before they may (without
// PIPELINING) and commands out of order fail the test.
#pragma once

#include <cstdint>
#include <memory>

#include "core/ip_address.h"

#include "tests/sim/sim_mail.h"

namespace postern::sim {

class SimRandom;
class SimWorld;

struct NextHopOptions {
  core::Endpoint at;
  bool lmtp = false;
  // Extensions.
  bool pipelining = true;
  bool size = true;
  bool chunking_and_binary = false;
  bool dsn = false;
  // Faults, per thousand.
  std::uint32_t greets_badly = 0;     // 421, 554, or nothing
  std::uint32_t defers = 0;           // 4xx to a command, a recipient, a content
  std::uint32_t refuses = 0;          // 5xx to a recipient or a message; never to a notification
  std::uint32_t drops = 0;            // the connection ends before a reply
  std::uint32_t drops_after_dot = 0;  // it took over, and the reply is never sent
  std::uint32_t is_slow = 0;          // a reply takes some seconds
  std::uint32_t is_silent = 0;        // no reply any more
  std::uint32_t goes_down = 0;        // refuses connections for a while, asked at each connection

  // Draws which of them this run has.
  static NextHopOptions draw(SimRandom& random);
};

class NextHop : public std::enable_shared_from_this<NextHop> {
 public:
  NextHop(SimWorld& world, MailLedger& ledger, const NextHopOptions& options)
      : world_(world), ledger_(ledger), options_(options) {}

  void open();
  // No fault any more.
  void behave();
  [[nodiscard]] bool behaves() const { return behaves_; }
  // Faults of this frequency happen now.
  [[nodiscard]] bool draws(std::uint32_t permille);

  [[nodiscard]] SimWorld& world() { return world_; }
  [[nodiscard]] MailLedger& ledger() { return ledger_; }
  [[nodiscard]] const NextHopOptions& options() const { return options_; }

 private:
  SimWorld& world_;
  MailLedger& ledger_;
  NextHopOptions options_;
  bool behaves_ = false;
};

}  // namespace postern::sim
