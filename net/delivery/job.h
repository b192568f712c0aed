// One message for one route target: what a queue (the message's owner) hands to a lane (the target's home
// worker) and gets back with a result for every recipient.
//
// Memory and lifetime: the owner's. While a lane has it, the lane's worker alone touches the job, and reads
// (never changes) the message's octets; the mesh's queues order the two.
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

struct DeliveryFlow;
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

  void set(std::uint16_t reply_code, std::string_view enhanced_code, std::string_view words,
           bool peer_said_it);
  [[nodiscard]] bool delivered() const { return code >= 200 && code < 300; }
  [[nodiscard]] bool failed() const { return code >= 500; }
  [[nodiscard]] std::string_view enhanced_view() const { return {enhanced.data(), enhanced_bytes}; }
  [[nodiscard]] std::string_view text_view() const { return {text.data(), text_bytes}; }
};

// The part of a job that exists while a lane has it: recipients in and results out. Lies in DeliveryJob::memory, behind
// it the arrays it points to.
struct DeliveryBatch {
  smtp::Transaction transaction;
  std::span<std::uint32_t> ordinals;    // of transaction.recipients in the envelope
  std::span<JobResult> results;         // filled by the lane
  const Content* content = nullptr;     // nullptr: a large body, in the file
  const char* large_path = nullptr;
  std::array<char, 96> peer;            // by the lane: "mx.example.net[192.0.2.1]:25", for the log and for notices
  std::uint8_t peer_bytes = 0;
  std::string_view tls;                 // by the lane: "TLSv1.3"; empty: plain text. Static storage
  bool tls_verified = false;            // ... and the hop proved its name
  bool was_retried = false;             // a kept connection had died: tried once more on a new one

  [[nodiscard]] std::string_view peer_view() const { return {peer.data(), peer_bytes}; }
  void set_peer(std::string_view name);
};

struct DeliveryJob {
  explicit DeliveryJob(std::shared_ptr<const RouteTarget> t) : target(std::move(t)) {}

  MessageQueue* owner = nullptr;
  std::size_t owner_worker = 0;
  QueuedMessage* message = nullptr;
  core::ItemId id = 0;
  std::shared_ptr<const RouteTarget> target;
  DeliveryFlow* flow = nullptr;          // the owner's
  DeliveryJob* next = nullptr;           // in one list at a time: the owner's, then the lane's
  std::uint32_t next_recipient = 0;      // ordinal in the envelope at which the next batch starts
  std::int64_t asked_ns = 0;             // when an operator asked for it: hops that have rested since before are tried again
  DeliveryBatch* batch = nullptr;        // from the owner's job pool, while a batch is under way
  std::size_t batch_bytes = 0;
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
