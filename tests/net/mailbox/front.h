// A session of the POP3/IMAP front between a client and a store that are both text: the store says its next piece for
// every command it hears. Whatever a scenario is, run_all_cuts() plays it with the octets of both sides cut in every
// way, and the same must come out.
//
// What a driver owes is kept here (mailbox_session.h); what a session promises is checked, and `broken` says what was
// not so. Used by unit tests and fuzzers. Thread: one.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "net/mailbox/mailbox_session.h"

namespace postern::net::mailbox::test {

enum class Protocol { pop3, imap };
// together: both sides whole, and the client's octets are there before the store says anything.
enum class Cut { whole, together, by_octet, random };

struct Scenario {
  Protocol protocol = Protocol::pop3;
  SessionOptions options;
  std::vector<std::string> store;    // its greeting, then a piece for each command it hears; none left: silence
  std::vector<std::string> client;   // what comes in plaintext, and behind each TLS handshake
  std::vector<LoginAnswer> answers;  // to login_wanted, in order; none left: allow
  bool store_is_down = false;        // it cannot be reached
  bool store_leaves = false;         // it closes behind its last piece
  std::string goodbye;               // the driver's last words, when nothing happens any more
};

struct Outcome {
  std::string said;                 // to the client
  std::string heard;                // by the store
  std::string events;               // one a line: "wanted anna PLAIN plaintext grants"; '?' for control octets
  std::string said_before_success;  // to the client, when login_succeeded came
  std::string verdict;              // what the store said since it last heard something, when login_succeeded came
  std::string rest_client;          // passthrough: what is to be handed on unchanged
  std::string rest_store;
  std::string broken;  // a promise that was not kept; empty: none

  bool operator==(const Outcome&) const = default;
};

Outcome run(const Scenario& scenario, Cut cut, std::uint64_t seed);

// Plays it whole, by octet and with `seeds` random cuts, and returns what came out of the first. `broken` names what
// differed, with the seed; POSTERN_SEED=n runs that cut only.
Outcome run_all_cuts(const Scenario& scenario, std::uint64_t seeds = 20, std::uint64_t first_seed = 1);

std::string base64(std::string_view octets);

}  // namespace postern::net::mailbox::test
