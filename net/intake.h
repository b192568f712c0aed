// One message on its way from the session to the spool: its octets gathered, its space reserved, its record appended.
//
// A message of usual size stays in memory and becomes one record of a group commit. One that outgrows inline_bytes_max
// streams to a file of its own, block after block, and holds the session back while the disk is slower than the client.
// Invariants: the trace header is the first of the octets; space admitted is released exactly once; on_done is called
//   exactly once after finish(), and the intake may be destroyed then, or after abandon() once is_idle().
// Thread: one, its worker's.
#pragma once

#include <cstdint>
#include <optional>
#include <string_view>

#include "core/spool.h"
#include "net/content.h"
#include "net/smtp/server_session.h"
#include "net/smtp/submission.h"

namespace postern::net {

class WorkerServer;

class Intake {
 public:
  // What the owner is told, in a later turn.
  struct Owner {
    void* object;
    void (*on_room)(void* object) noexcept;                                    // append() may be called again
    void (*on_done)(void* object, smtp::StoreResult result) noexcept;          // the answer to finish()
    void (*on_idle)(void* object) noexcept;                                    // after abandon(): may be destroyed
  };

  Intake(WorkerServer& server, const Owner& owner, std::uint64_t admitted);
  ~Intake();
  Intake(const Intake&) = delete;
  Intake& operator=(const Intake&) = delete;

  // Gives the message its id and writes the trace header.
  void begin(const smtp::ServerSession& session);
  // The next octets of the message, as the session gives them.
  void append(const smtp::ServerSession& session, std::string_view octets);
  // False: wait for on_room before the next append().
  [[nodiscard]] bool has_room() const;
  // The end of the message. A value: the answer, at once (nothing will be kept); nullopt: on_done will tell.
  [[nodiscard]] std::optional<smtp::StoreResult> finish(const smtp::ServerSession& session,
                                                        std::uint16_t content_flags);
  // The message is forgotten. True: at once; false: on_idle will tell.
  [[nodiscard]] bool abandon();

  // The record's append, put off while the spool cannot take it: again each turn.
  void append_now();

  // After StoreResult::refused: why.
  [[nodiscard]] const policy::Verdict& refusal() const { return filter_->verdict(); }

  [[nodiscard]] core::ItemId id() const { return id_; }
  [[nodiscard]] std::uint64_t octets() const { return octets_; }

 private:
  enum class Step : std::uint8_t { gathering, finishing, abandoned, done };
  // The body's file: opening, writing, sealing and closing wait for the spool.
  enum class LargeStep : std::uint8_t { none, opening, open, writing, sealing, closing, gone };

  [[nodiscard]] smtp::SubmissionFacts facts(const smtp::ServerSession& session) const;
  template <class Act>
  void push(const smtp::ServerSession& session, Act&& act);
  void keep(std::string_view octets);
  void on_large(int error) noexcept;
  void on_durable(int error) noexcept;
  void fail(smtp::StoreResult why);
  void append_or_wait();
  void start_large();
  void step_large();
  void tell(smtp::StoreResult result);

  WorkerServer& server_;
  Owner owner_;
  std::uint64_t admitted_;
  core::ItemId id_ = 0;
  std::uint64_t octets_ = 0;
  std::int64_t accepted_unix_ns_ = 0;
  std::string_view head_;            // the session's envelope; stays until the answer
  std::uint16_t content_flags_ = 0;
  Step step_ = Step::gathering;
  LargeStep large_step_ = LargeStep::none;
  bool failed_ = false;
  smtp::StoreResult failure_ = smtp::StoreResult::failed;
  std::optional<smtp::SubmissionFilter> filter_;  // on a submission service
  Content content_;
  core::Durable durable_;
  core::LargeBody large_;
};

}  // namespace postern::net
