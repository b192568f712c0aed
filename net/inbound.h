// One client connection: a socket on the ring, a ServerSession, and the message it is handing in.
//
// Receives by multishot into the ring's buffers and lets the session parse them where they lie; gathers the replies of
// what came together into one send; has at most one send in flight. While a question is open (is the message on disk?)
// or a send is under way, input is held; at HeldInput::kHeldMax buffers the receive is cancelled and later armed anew.
//
// Lifetime: a slot of the server's pool; it is given back when nothing of it is in flight any more (no receive, send,
//   close, append). Timers are lazy: activity only notes the time; the timer looks at it when it fires.
// Thread: one, its worker's.
#pragma once

#include <cstdint>
#include <optional>

#include "core/ring.h"
#include "core/timer_wheel.h"
#include "net/held_input.h"
#include "net/intake.h"
#include "net/smtp/server_session.h"

namespace postern::net {

namespace users {
struct CredentialRequest;
}
class TlsChannel;
class WorkerServer;

class Inbound {
 public:
  Inbound(WorkerServer& server, int socket, const core::Endpoint& peer, std::size_t service);
  ~Inbound();
  Inbound(const Inbound&) = delete;
  Inbound& operator=(const Inbound&) = delete;

  void start();
  // The server stops: say 421 now, or when the message that is coming in has been answered.
  void begin_drain();

  Inbound* next = nullptr;      // in the server's list
  Inbound* previous = nullptr;

 private:
  static constexpr std::int64_t kLastSendSeconds = 10;  // how long the last octets may take

  enum class State : std::uint8_t { open, flushing, lingering, closing };

  void on_receive(core::Completion&, const core::Outcome& outcome) noexcept;
  void on_sent(core::Completion&, const core::Outcome& outcome) noexcept;
  void on_shutdown(core::Completion&, const core::Outcome& outcome) noexcept;
  void on_closed(core::Completion&, const core::Outcome& outcome) noexcept;
  void on_timer(core::Timer& timer) noexcept;

  void pump();
  bool advance();
  bool take_reply_memory();
  void release_reply_memory();
  bool handle(const smtp::Step& step);

  // inbound_tls.cc
  void start_tls();
  void begin_handshake();
  bool decrypt();
  void note_client_certificate();
  void tls_failed();
  void send_encrypted();

  // inbound_login.cc
  void ask_login(const smtp::Step& step);
  void login_answered();
  void note_login(const smtp::Step& step);
  void log_login(const smtp::Step& step);
  void count_machines(std::string_view name);
  void hold_account(std::string_view why);

  bool begin_message();
  bool count_machine();
  void end_message(const smtp::Step& step);
  void abandon_message();
  void message_answered(smtp::StoreResult result);
  void answer_message(smtp::StoreResult result);
  void log_rejection(const policy::Verdict& verdict, std::string_view about);

  void send_replies();
  void arm_receive();
  void look_for_end();
  void set_timer();
  void say_goodbye(std::string_view enhanced_and_text);
  void end_after_replies();      // no more input; close when the replies are out
  void end_now();                // close as soon as nothing is in flight
  void close_when_quiet();
  [[nodiscard]] std::int64_t deadline_ns() const;

  WorkerServer& server_;
  int socket_;
  State state_ = State::open;
  bool waiting_ = false;         // a question is open, or the intake has no room
  bool finishing_ = false;       // the intake has the whole message; only its answer is missing
  bool receive_cancelled_ = false;
  bool starved_ = false;  // no receive is armed, for want of buffers: the timer tries again
  bool input_ended_ = false;
  bool draining_ = false;
  bool machine_counted_ = false;
  bool is_behind_proxy_ = false;
  bool goodbye_said_ = false;
  bool tls_wanted_ = false;      // start_tls: once the replies are out
  core::IpAddress counted_machine_;
  HeldInput held_;
  char* reply_memory_ = nullptr;
  smtp::ReplyBuffer replies_{nullptr, 0};
  std::uint64_t admitted_ = 0;
  Intake* intake_ = nullptr;     // slots of the server's pools
  TlsChannel* tls_ = nullptr;
  users::CredentialRequest* login_ = nullptr;
  std::optional<smtp::StoreResult> late_answer_;
  std::int64_t started_ns_;
  std::int64_t handshake_ns_ = 0;  // when it began
  std::int64_t active_ns_;
  std::int64_t looked_ns_;         // active_ns_, when look_for_end() looked last
  core::Completion receive_;
  core::Completion send_;
  core::Completion close_;
  core::Timer timer_;
  smtp::ServerSession session_;
};

}  // namespace postern::net
