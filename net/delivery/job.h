// One message for one route target: what a queue (the message's owner) hands to a lane (the target's home worker) and
// gets back with a result for every recipient.
//
// Memory and lifetime: the owner's. While a lane has it, the lane's worker alone touches the job, and reads (never
// changes) the message's octets; the mesh's queues order the two.
#pragma once

#include <array>
#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <string_view>

#include "core/spool.h"
#include "net/content.h"
#include "net/smtp/client_session.h"
#include "net/snapshot.h"

namespace postern::net {

struct QueuedMessage;
class MessageQueue;

// What became of one recipient; a copy, since the session's views die with its next call.
struct JobResult {
  std::uint16_t code = 0;  // 0: no attempt was made
  bool by_peer = false;
  bool dsn_passed_on = false;
  std::uint8_t enhanced_bytes = 0;
  std::uint8_t text_bytes = 0;
  std::array<char, 10> enhanced;
  std::array<char, 240> text;

  void set(std::uint16_t reply_code, std::string_view enhanced_code, std::string_view words, bool peer_said_it);
  [[nodiscard]] bool delivered() const { return code >= 200 && code < 300; }
  [[nodiscard]] bool failed() const { return code >= 500; }
  [[nodiscard]] std::string_view enhanced_view() const { return {enhanced.data(), enhanced_bytes}; }
  [[nodiscard]] std::string_view text_view() const { return {text.data(), text_bytes}; }
};

struct DeliveryJob {
  explicit DeliveryJob(std::shared_ptr<const RouteTarget> t) : target(std::move(t)) {}

  // The owner's.
  MessageQueue* owner = nullptr;
  std::size_t owner_worker = 0;
  QueuedMessage* message = nullptr;
  std::shared_ptr<const RouteTarget> target;
  DeliveryJob* next = nullptr;            // in the owner's waiting list, then in the lane's
  char* memory = nullptr;                 // holds the three arrays below
  std::size_t memory_bytes = 0;
  std::uint32_t next_recipient = 0;       // ordinal in the envelope at which the next batch starts

  // What to send.
  core::ItemId id = 0;
  smtp::Transaction transaction;
  std::span<std::uint32_t> ordinals;      // of transaction.recipients in the envelope
  const Content* content = nullptr;       // nullptr: a large body
  std::string large_path;

  // The lane's.
  std::span<JobResult> results;
  std::array<char, 96> peer;              // "host[192.0.2.1]:25", for the log and for bounces
  std::uint8_t peer_bytes = 0;
  bool was_retried = false;               // a kept connection had died: tried once more on a new one

  [[nodiscard]] std::string_view peer_view() const { return {peer.data(), peer_bytes}; }
  void set_peer(std::string_view name);
};

// A list of jobs in order, linked through DeliveryJob::next.
class JobList {
 public:
  [[nodiscard]] bool empty() const { return first_ == nullptr; }
  [[nodiscard]] std::size_t size() const { return size_; }
  void push_back(DeliveryJob& job);
  void push_front(DeliveryJob& job);
  DeliveryJob* pop_front();  // nullptr: empty

 private:
  DeliveryJob* first_ = nullptr;
  DeliveryJob* last_ = nullptr;
  std::size_t size_ = 0;
};

}  // namespace postern::net
