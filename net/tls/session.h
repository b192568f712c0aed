// One TLS connection (RFC 8446, RFC 5246), without the connection: the server's side, or the client's towards a next hop.
//
// Sans-I/O: ciphertext in as it was received, in any cut; ciphertext out into the caller's OutputBuffer; plaintext out
// into the caller's memory. Any cut of the input gives the same plaintext.
//
//   for (;;) {                                       // a client begins with an empty `cipher`
//     const Progress p = session.receive(cipher, plain, out);
//     cipher.remove_prefix(p.consumed);
//     ... send what is in `out`, use plain[0, p.plain) ...
//     if (p.status == need_input) break;           // all of `cipher` is used: give the receive buffer back
//     if (p.status is closed or failed) end;        // after `out` was sent
//   }                                               // need_plain, need_output: again, with room
//
// Invariants: with need_input everything was consumed, also half a record (it waits inside), and no plaintext waits;
//   nothing is lost when `plain` or `out` are full; after `failed` or `closed` all input is thrown away.
// Memory: BoringSSL's SSL, about 5 KiB. Buffers exist only while octets of a record wait in them: an idle connection
//   has none, one that stopped in the middle of a record has at most 17 KiB.
// Time: the one given at construction judges tickets and client certificates: handshakes are short (the caller bounds
//   them; nothing here measures time).
// Errors: the peer's: `failed`, an alert in `out`, failure() for the log. Ours (no memory): the same.
// Thread: one at a time. Not movable. The SSL keeps its context alive: the ServerContexts may be gone.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <memory>
#include <span>
#include <string>
#include <string_view>

#include "core/assert.h"
#include "core/clock.h"
#include "net/tls/client_context.h"
#include "net/tls/server_contexts.h"

struct ssl_st;

namespace postern::net::tls {

// Octets that wait to be sent, in memory of the caller.
class OutputBuffer {
 public:
  // With less room than this receive() does not begin: any alert fits.
  static constexpr std::size_t kRoomMin = 64;

  OutputBuffer(char* memory, std::size_t capacity) : memory_(memory), capacity_(capacity) {}
  [[nodiscard]] std::string_view view() const { return {memory_, size_}; }
  [[nodiscard]] std::size_t room() const { return capacity_ - size_; }
  [[nodiscard]] bool empty() const { return size_ == 0; }
  void append(std::string_view octets) {
    POSTERN_ASSERT(octets.size() <= room());
    std::memcpy(memory_ + size_, octets.data(), octets.size());
    size_ += octets.size();
  }
  void clear() { size_ = 0; }

 private:
  char* memory_;
  std::size_t capacity_;
  std::size_t size_ = 0;
};

enum class Status : std::uint8_t {
  need_input,   // everything was consumed and handed out
  need_plain,   // `plain` is full and there is, or may be, more
  need_output,  // `out` lacks room for what must be sent first
  closed,       // the peer said close_notify: nothing more comes; sending still works
  failed,       // over; what `out` holds (an alert) may be sent
};

struct Progress {
  std::size_t consumed = 0;  // of the ciphertext
  std::size_t plain = 0;     // written to the front of `plain`
  Status status = Status::need_input;
};

// Who a client certificate is, for SASL EXTERNAL (RFC 4422 appendix A). That the client has its key is proved.
struct ClientCertificate {
  std::string name;     // the first rfc822Name, else the common name; empty if it is not believed. Printable
  std::string failure;  // why it is not: "certificate has expired", "unable to get local issuer certificate", ...
};

class Session {
 public:
  // `service`: index into the services that `contexts` was made of.
  Session(const ServerContexts& contexts, std::size_t service, const core::Time& now);
  // Towards a next hop. With a context that verifies, a certificate that is not believed fails the handshake.
  Session(std::shared_ptr<const ClientContext> context, ClientPeer peer, const core::Time& now);
  ~Session();
  Session(const Session&) = delete;
  Session& operator=(const Session&) = delete;

  // Runs the handshake, then decrypts. `cipher` may be empty: what waits inside is handed out. After need_output send
  // and clear `out` first.
  Progress receive(std::string_view cipher, std::span<char> plain, OutputBuffer& out);
  // Encrypts as much of `plain` as fits into `out`; returns the octets of it that were taken. Session tickets and
  // answers to key updates leave in front of it. 0: no room (or the handshake is not done, or failed).
  std::size_t send(std::string_view plain, OutputBuffer& out);
  // Says close_notify, once. False: no room, call again. Nothing can be sent afterwards.
  bool close(OutputBuffer& out);

  // Room that one record of `plain` octets needs at most.
  [[nodiscard]] static constexpr std::size_t record_bytes_max(std::size_t plain) { return plain + kRecordOverheadMax; }

  [[nodiscard]] bool handshake_done() const { return phase_ == Phase::open || phase_ == Phase::closed; }
  [[nodiscard]] bool has_pending_plain() const;
  // A short reason, printable and ours throughout: "unsupported protocol", "plaintext HTTP request", "alert from the
  // client: unknown ca". Towards a next hop also why its certificate is not believed, with the host's name in it. Empty
  // unless failed. Valid while the session lives.
  [[nodiscard]] std::string_view failure() const;

  // The rest: once the handshake is done. Static storage, except server_name.
  [[nodiscard]] std::string_view protocol() const;  // "TLSv1.3"
  [[nodiscard]] std::string_view cipher() const;    // "TLS_AES_128_GCM_SHA256", IANA's name
  [[nodiscard]] bool resumed() const;
  // As the client sent it (SNI), empty if it did not: escape it before it reaches a log. Valid while the session lives.
  [[nodiscard]] std::string_view server_name() const;
  // tls-exporter channel binding (RFC 9266), for SCRAM's -PLUS. False: TLS 1.2 without extended master secret (RFC
  // 7627), where it would bind nothing; -PLUS must not be offered then.
  [[nodiscard]] bool channel_binding(std::span<std::uint8_t, 32> out) const;
  // nullptr: the service asked for none, or the client gave none.
  [[nodiscard]] const ClientCertificate* client_certificate() const { return client_certificate_.get(); }

  // BoringSSL's callbacks reach what a handshake needs through this; not for others.
  struct Wire;
  struct ClientSide;

 private:
  static constexpr std::size_t kRecordOverheadMax = 64;
  enum class Phase : std::uint8_t { handshake, open, closed, failed };
  struct FreeSsl {
    void operator()(ssl_st* ssl) const;
  };

  [[nodiscard]] bool attach(ssl_st* ssl);
  bool run_handshake(std::string_view cipher, Progress& progress);
  void decrypt(std::span<char> plain, Progress& progress);
  bool flush();
  void fail(std::string_view reason);
  void end_of_handshake();

  std::unique_ptr<Wire> wire_;
  std::unique_ptr<ssl_st, FreeSsl> ssl_;
  std::unique_ptr<ClientCertificate> client_certificate_;
  Phase phase_ = Phase::handshake;
  std::uint8_t failure_bytes_ = 0;
  std::array<char, 62> failure_{};
};

}  // namespace postern::net::tls
