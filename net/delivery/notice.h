// One delivery status notification on its way: from the recipients it is about to a message of ours that is durable.
//
// Reads the original's octets (memory, spool or file), builds the notification (bounce.h), appends it to the spool, and
// tells the queue. Lives from start() to MessageQueue::notice_done. Cold path: allocates.
// Thread: one, the queue's.
#pragma once

#include <cstdint>
#include <deque>
#include <string>
#include <vector>

#include "core/ring.h"
#include "core/spool.h"
#include "net/content.h"
#include "net/delivery/bounce.h"
#include "net/delivery/message_queue.h"

namespace postern::net {

class Notice {
 public:
  Notice(MessageQueue& queue, QueuedMessage& message);
  Notice(const Notice&) = delete;
  Notice& operator=(const Notice&) = delete;

  // The views in `recipient` stay valid while the message does (its envelope, its state).
  void add(std::uint32_t ordinal, const delivery::BounceRecipient& recipient, std::string status);
  [[nodiscard]] bool empty() const { return recipients_.empty(); }
  void start();

  struct Told {
    std::uint32_t ordinal;
    delivery::DsnAction action;
  };
  [[nodiscard]] const std::vector<Told>& told() const { return told_; }

 private:
  void on_file(core::Completion&, const core::Outcome& outcome) noexcept;
  static void on_loaded(void* self, core::Load& load, int error) noexcept;
  static void on_durable(void* self, core::Durable& durable, int error) noexcept;
  void read_large();
  void build(std::string_view original);

  enum class FileStep : std::uint8_t { opening, reading, closing };

  MessageQueue& queue_;
  QueuedMessage& message_;
  std::vector<Told> told_;
  std::deque<std::string> statuses_;  // what the recipients' `status` points to
  std::vector<delivery::BounceRecipient> recipients_;
  core::ItemId id_ = 0;
  Content content_;
  core::Load load_;
  core::Durable durable_;
  core::Completion file_operation_;
  FileStep file_step_ = FileStep::opening;
  int file_ = -1;
  std::string path_;
  std::string original_;
  std::string head_;
  std::string body_;
  std::uint16_t content_flags_ = 0;
  std::int64_t accepted_unix_ns_ = 0;
};

}  // namespace postern::net
