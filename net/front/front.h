// One client of the POP3/IMAP front and its connection to the mail store.
//
// Until the login it drives a mailbox::MailboxSession (net/mailbox/mailbox_session.h says what that is owed): client and
// store are sockets of the ring, TLS ends here, the guess guard is asked before any password goes on, and a successful login
// is in the login table before the first octet of "+OK" or "OK" is sent.
// After the login it passes octets on both ways, unchanged. In plain text the ring's receive buffers are handed to the
// send of the other side, without a copy; with TLS they are decrypted and encrypted through blocks that it has only while
// octets wait. At most HeldInput::kHeldMax buffers a direction are under way: one buffer a receive, and no receive while
// the other side does not take them, so that each side's TCP holds the other back. When a buffer was filled, its send is
// put off for as long as more comes in each turn: one send of four buffers costs much less than four.
//
// Ends: a half-close is handed on, behind what came before it; when both directions have ended, both connections are closed.
//   A connection that is lost ends its direction, and what the other side still has for the living one is passed on.
// Memory: this slot; kSessionBytes of Fronts' pool until the login; kOutputBytes while something is said. Idle after the
//   login: the slot alone, and with TLS a TlsChannel.
// Secrets: consumed octets of a client are wiped in the ring's buffers, what goes to the store when it was sent.
// Lifetime: a slot of Fronts, given back when nothing of it is in flight. Thread: one, its worker's.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <string_view>
#include <sys/socket.h>
#include <sys/uio.h>

#include "core/ring.h"
#include "core/timer_wheel.h"
#include "net/held_input.h"
#include "net/mailbox/mailbox_session.h"

namespace postern::net {

class TlsChannel;
class WorkerServer;
enum class FrontRefusal : std::uint8_t;

class Front {
 public:
  static constexpr std::size_t kSessionBytes = 4096;
  static constexpr std::size_t kOutputBytes = 8192;

  // `mailbox`: index into the settings' mailboxes.
  Front(WorkerServer& server, int socket, const core::Endpoint& peer, std::size_t mailbox);
  ~Front();
  Front(const Front&) = delete;
  Front& operator=(const Front&) = delete;

  void start();
  void begin_drain(std::int64_t deadline_boot_ns);
  // Fronts::defer(). True: once more.
  bool flush_deferred();
  // Receive buffers are scarce: what has waited for a slow reader since `before_ns` is copied, and they are free.
  void relieve(std::int64_t before_ns);

  Front* next = nullptr;  // in the list of Fronts
  Front* previous = nullptr;

 private:
  enum class State : std::uint8_t {
    proxy_header,  // of the balancer
    talking,       // handshake and login
    passing,       // after the login
    flushing,      // the last words are on their way
    lingering,     // ... and are being read
    closing,
  };
  struct Outputs;

  // One of the two connections.
  struct Side {
    int socket = -1;
    bool input_ended = false;   // it says nothing more
    bool output_ended = false;  // nothing more is said to it
    bool is_starved = false;    // no receive is armed, for want of buffers
    bool has_more = false;      // the last receive filled its buffer: there is more where it came from
    bool is_relieved = false;   // a send to it was cancelled, to copy what waits for it
    std::uint8_t borrowed = 0;  // buffers of the other side that the send to it has
    HeldInput held;             // received from it, not passed on
    char* copy = nullptr;       // likewise, before that: copied, as a slow reader kept the receive buffers for too long
    std::uint32_t copy_begin = 0;
    std::uint32_t copy_end = 0;
    std::int64_t send_since_ns = 0;
    core::Completion receive;
    core::Completion send;
    core::Completion other;  // connect, shutdown, close
    std::array<iovec, HeldInput::kHeldMax> parts;
    msghdr message{};
  };

  void on_client_received(core::Completion&, const core::Outcome& outcome) noexcept;
  void on_client_sent(core::Completion&, const core::Outcome& outcome) noexcept;
  void on_store_connected(core::Completion&, const core::Outcome& outcome) noexcept;
  void on_store_received(core::Completion&, const core::Outcome& outcome) noexcept;
  void on_store_sent(core::Completion&, const core::Outcome& outcome) noexcept;
  void on_shut(core::Completion&, const core::Outcome& outcome) noexcept;
  void on_closed(core::Completion&, const core::Outcome& outcome) noexcept;
  void on_timer(core::Timer&) noexcept;

  // front.cc: who connects, and how it ends
  void read_proxy_header();
  void admit();
  void refuse(FrontRefusal why);
  void take_received(Side& side, const core::Outcome& outcome);
  void arm(Side& side);
  void say_goodbye(std::string_view text);
  void end_after_words();
  void linger();
  void end_now();
  void close_when_quiet();
  [[nodiscard]] bool is_quiet() const;
  [[nodiscard]] std::int64_t deadline_ns() const;
  void set_timer();
  void too_late();

  // talking.cc: until the login
  void begin_session();
  void end_session();
  bool take_outputs();
  void release_outputs();
  void pump();
  bool advance();
  bool handle(const mailbox::Step& step);
  void send_outputs();
  void connect_store();
  void lose_store(std::string_view why);

  // front_login.cc
  [[nodiscard]] mailbox::LoginAnswer judge(const mailbox::Login& login);
  void note_success(const mailbox::Login& login);
  void note_failure(const mailbox::Login& login, mailbox::LoginFailure failure);
  void log_close(mailbox::CloseReason reason);

  // front_tls.cc
  void begin_handshake();
  bool decrypt();
  void tls_failed();
  void pass_up_encrypted();
  void pass_down_encrypted();

  // passing.cc: after the login
  void begin_passing();
  void pass();
  [[nodiscard]] bool waits_for_more(const Side& from);
  void forward(Side& from, Side& to);
  void forwarded(Side& from, Side& to, const core::Outcome& outcome);
  void count(const Side& to, std::size_t octets);
  void copy_out(Side& from, std::size_t sent);
  // What was received from a side and is to be passed on next; empty: nothing.
  [[nodiscard]] std::string_view next_of(const Side& from) const;
  void consume(Side& from, std::size_t octets);
  void end_output(Side& side);
  void broke(Side& side);

  WorkerServer& server_;
  std::uint32_t mailbox_;
  State state_ = State::proxy_header;
  bool is_behind_proxy_ = false;
  bool is_address_unknown_ = false;
  bool is_machine_counted_ = false;
  bool is_connecting_ = false;     // to the store
  bool is_header_pending_ = false;  // a PROXY header goes to the store first
  bool is_store_lost_ = false;
  bool is_store_failure_told_ = false;
  bool tls_wanted_ = false;        // start_tls: once the reply is out
  bool passing_wanted_ = false;    // likewise
  bool is_deferred_ = false;       // in Fronts' list
  bool is_fresh_ = false;          // a send was put off in this turn
  bool has_waited_ = false;        // nothing more came since
  core::Endpoint client_at_;
  Side client_;
  Side store_;
  mailbox::MailboxSession* session_ = nullptr;  // these three: of the worker's pools
  Outputs* outputs_ = nullptr;
  TlsChannel* tls_ = nullptr;
  char* header_ = nullptr;          // a PROXY header that came in pieces
  std::size_t header_bytes_ = 0;
  std::int64_t started_ns_;
  std::int64_t active_ns_;          // of the client; after the login of both
  std::int64_t store_active_ns_ = 0;
  std::int64_t handshake_ns_ = 0;
  std::int64_t last_ns_ = 0;        // flushing, lingering: their end
  std::int64_t drain_ns_ = INT64_MAX;  // draining: when it has to be over
  core::Timer timer_;
};

}  // namespace postern::net
