// A worker's way to the name servers: c-ares asks, the ring waits for its sockets, the timer wheel for its timeouts.
//
// c-ares does servers, retries, identifiers and TCP for long answers; the answers are read by parse_answer. Nothing blocks, but
// that reading /etc/resolv.conf happens at the first question, and at the first one after it or the settings changed:
// questions under way then end at the old servers.
// Lifetime: dies only when it is_quiet(): the ring has polls of it in flight.
// Thread: one, its worker's.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "core/worker.h"
#include "net/dns/resolver.h"
#include "policy/settings.h"

namespace postern::net::dns {

class Channel {
 public:
  // answered(self, token, answer, why): once for each question.
  struct Owner {
    void* self = nullptr;
    void (*answered)(void* self, std::uint64_t token, Answer answer, std::string_view why) = nullptr;
  };
  Channel(core::Worker& worker, Owner owner);
  ~Channel();
  Channel(const Channel&) = delete;
  Channel& operator=(const Channel&) = delete;

  // `settings` as they are this turn.
  void ask(const policy::Settings::Dns& settings, std::uint64_t token, const std::string& name, RecordType type,
           NameOrigin origin);
  // /etc/resolv.conf changed: read it anew at the next question.
  void reopen() { reopen_ = true; }
  // All questions under way are answered, as failed.
  void cancel_all();
  // Once a turn: lets go of channels to former servers.
  void sweep();
  // No poll is in flight: soon so when no question is under way.
  [[nodiscard]] bool is_quiet() const { return polls_ == 0; }

 private:
  class Asking;  // one c-ares channel
  core::Worker& worker_;
  Owner owner_;
  std::size_t polls_ = 0;  // in flight
  bool reopen_ = false;
  std::vector<std::unique_ptr<Asking>> channels_;  // the last one takes questions, those before it end theirs
};

}  // namespace postern::net::dns
