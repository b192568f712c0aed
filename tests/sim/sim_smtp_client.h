// Mail programs at random: they connect, send messages whole or not, wait for replies or pipeline, are slow, and vanish.
//
// Everything sent and every reply is noted in the ledger. A reply that no command waits for, a relay for a stranger, and
// an acknowledged content that must be refused fail the test at once.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>

#include "core/ip_address.h"

#include "tests/sim/sim_mail.h"

namespace postern::sim {

class SimWorld;

struct SenderPlan {
  core::IpAddress from;
  core::Endpoint server;
  bool is_stranger = false;  // outside the LAN: may write to the local domain only
  bool pipelines = false;
  bool uses_chunks = false;   // BDAT in the place of DATA
  bool is_slow = false;       // sends in pieces, reads late
  bool sends_binary = false;  // contents without a line end at their end, by BDAT
  bool sends_eight_bit = false;
  bool asks_for_notices = false;
  std::uint32_t connections = 1;
  std::uint32_t messages_most = 4;  // a connection
  std::size_t large_above = 16'384;
  // Per thousand messages.
  std::uint32_t resets_transaction = 80;  // RSET before the end
  std::uint32_t vanishes = 40;            // in the middle of the content, or behind it
  std::uint32_t illegal = 30;
};

// One machine that sends; its connections follow each other.
class SimSender : public std::enable_shared_from_this<SimSender> {
 public:
  SimSender(SimWorld& world, MailLedger& ledger, const SenderPlan& plan)
      : world_(world), ledger_(ledger), plan_(plan) {}

  void start_after(std::int64_t nanoseconds);
  [[nodiscard]] bool is_done() const { return is_done_; }

  // --- for its connections ----------------------------------------------------------------------------------------
  [[nodiscard]] SimWorld& world() { return world_; }
  [[nodiscard]] MailLedger& ledger() { return ledger_; }
  [[nodiscard]] const SenderPlan& plan() const { return plan_; }
  void connection_over(bool was_refused);

 private:
  void connect();

  SimWorld& world_;
  MailLedger& ledger_;
  SenderPlan plan_;
  std::uint32_t connections_made_ = 0;
  std::uint32_t refusals_ = 0;
  bool is_done_ = false;
};

}  // namespace postern::sim
