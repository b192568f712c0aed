// One connection to a next hop: a socket on the ring, a ClientSession, and the job it is at.
//
// Takes job after job from its lane while there are some, keeps the connection a few seconds when there are
// none, and ends it after messages_per_connection. The content goes out by sendmsg straight from the
// message's blocks; a large body is read from its file, one block at a time. One send in flight; what the
// peer says meanwhile is held. With TLS (outbound_tls.cc) the octets go through a TlsChannel, which has memory only while
// octets wait in it; where TLS fails that may fail, the connection ends and the next one goes without. A job whose kept connection turns out dead is put back once, untried, for a
// new connection. Thread: one, its lane's.
#pragma once

#include <array>
#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <sys/socket.h>
#include <sys/uio.h>

#include "core/ring.h"
#include "core/timer_wheel.h"
#include "net/delivery/job.h"
#include "net/held_input.h"
#include "net/smtp/client_session.h"
#include "net/smtp/data_encoder.h"
#include "net/tls_channel.h"

namespace postern::net {

class Lane;
class WorkerServer;

class Outbound {
 public:
  // `hop`: index in the lane's target; `address`: where to connect.
  Outbound(WorkerServer& server, Lane& lane, std::size_t hop, const core::IpAddress& address);
  ~Outbound();
  Outbound(const Outbound&) = delete;
  Outbound& operator=(const Outbound&) = delete;

  void start();
  // A job may be there for a connection that has none.
  void wake();
  void begin_drain();

  [[nodiscard]] std::size_t hop() const { return hop_; }
  [[nodiscard]] bool is_connecting() const { return state_ == State::connecting; }
  [[nodiscard]] bool is_idle() const { return state_ == State::open && job_ == nullptr && session_.idle(); }
  [[nodiscard]] std::string_view peer() const { return peer_; }

  Outbound* next = nullptr;  // in the lane's list
  Outbound* previous = nullptr;

 private:
  enum class State : std::uint8_t { connecting, open, closing };

  void on_connect(core::Completion&, const core::Outcome& outcome) noexcept;
  void on_receive(core::Completion&, const core::Outcome& outcome) noexcept;
  void on_sent(core::Completion&, const core::Outcome& outcome) noexcept;
  void on_file(core::Completion&, const core::Outcome& outcome) noexcept;
  void on_closed(core::Completion&, const core::Outcome& outcome) noexcept;
  void on_timer(core::Timer&) noexcept;
  void on_starved(core::Timer&) noexcept;

  void pump();
  bool handle(const smtp::ClientStep& step);
  void take_result(const smtp::RecipientResult& result);
  void begin(DeliveryJob& job);
  void fail_hop(const smtp::RecipientResult& cause);
  void finish_job(bool broken);
  [[nodiscard]] bool worth_another_connection() const;
  void arm_receive();
  void set_timer();
  void lose(std::string_view enhanced, std::string_view text);
  void close();
  void close_when_quiet();

  // outbound_tls.cc
  [[nodiscard]] static smtp::StartTls start_tls_for(const RouteTarget& target, std::size_t hop, std::int64_t boot_ns);
  [[nodiscard]] bool gives_up_tls() const;
  void avoid_tls(std::string_view why);
  void begin_handshake();
  void decrypt();
  // What the peer said and the session has not used, in plain text.
  [[nodiscard]] std::string_view input();
  [[nodiscard]] bool has_input() const;
  void consume(std::size_t octets);
  [[nodiscard]] std::string tls_trouble() const;
  void send_encrypted();
  void send_encrypted_content();
  [[nodiscard]] std::string_view unsent_commands() const { return commands_.view().substr(commands_taken_); }
  void clear_commands() {
    commands_.clear();
    commands_taken_ = 0;
  }

  // outbound_content.cc: the content on its way
  void start_content(const smtp::ClientStep& step);
  void send_more();
  void read_more();
  [[nodiscard]] bool sending_content() const { return content_step_ != ContentStep::none; }

  enum class ContentStep : std::uint8_t { none, opening, reading, sending, last };

  WorkerServer& server_;
  Lane& lane_;
  std::shared_ptr<const RouteTarget> target_;  // as it was when this was connected: a reload gives the lane another
  std::size_t hop_;
  core::Endpoint endpoint_;
  std::string peer_;
  int socket_ = -1;
  State state_ = State::connecting;
  bool draining_ = false;
  bool input_ended_ = false;
  bool reused_ = false;  // the job under way is not the connection's first
  bool heard_ = false;   // the peer said something in this transaction
  bool was_ready_ = false;       // greeting and EHLO went well
  DeliveryJob* job_ = nullptr;
  HeldInput held_;
  char* command_memory_ = nullptr;
  smtp::CommandBuffer commands_{nullptr, 0};

  std::unique_ptr<TlsChannel> tls_;      // nullptr: plain text
  std::int64_t handshake_until_ns_ = 0;  // 0: no handshake is under way
  std::size_t commands_taken_ = 0;       // octets of commands_ that are encrypted
  bool tls_wanted_ = false;              // the handshake is to begin
  bool tls_over_ = false;                // nothing more can be decrypted
  bool tls_failed_ = false;

  ContentStep content_step_ = ContentStep::none;
  smtp::DataEncoder encoder_{smtp::ContentForm::data, 0};
  std::array<iovec, Content::kPartsMax> pieces_;
  std::size_t piece_count_ = 0;
  std::size_t piece_at_ = 0;
  int file_ = -1;
  std::uint64_t file_offset_ = 0;
  char* file_memory_ = nullptr;
  std::array<iovec, 64> vector_;
  // With TLS: the parts of vector_ that are not encrypted yet.
  std::size_t vector_at_ = 0;
  std::size_t vector_count_ = 0;
  msghdr message_{};

  core::Completion connect_;
  core::Completion receive_;
  core::Completion send_;
  core::Completion file_operation_;
  core::Completion close_;
  core::Timer timer_;
  core::Timer starved_;  // no receive buffer was free: when to try again
  sockaddr_storage address_{};
  smtp::ClientSession session_;
};

}  // namespace postern::net
