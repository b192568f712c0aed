// What TLS towards next hops needs: whom to believe, and what is remembered of each of them.
//
// Offered: as by our own server (docs/tls.md). Where no certificate is asked for, mail would go in plain text to a hop that
//   has nothing better, so ciphers of TLS 1.2 without forward secrecy or AEAD are offered there as well, last.
// Verified: the chain leads to one of the authorities, is valid now and for servers, and names the hop: among its DNS
//   names (RFC 6125; the common name is not looked at), or its addresses for a hop that is given by address. Also at a
//   resumption. Revocation is not looked at.
// Remembered, by host and port, of at most kPeersMax hops: the newest session, to be resumed once (RFC 8446 appendix C.4),
//   and that TLS failed there a moment ago.
//
// Thread: any; what is remembered is behind a short lock. Lifetime: shared; a reload makes a new one, which remembers
//   nothing, and sessions hold on to theirs.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>
#include <string_view>

#include "core/result.h"

struct ssl_session_st;

namespace postern::net::tls {

// A next hop as the settings have it.
struct ClientPeer {
  std::string host;         // "mx.example.net", "192.0.2.1", "2001:db8::1"
  std::uint16_t port = 25;
  bool is_address = false;  // no server name is sent then (RFC 6066), and the certificate must be for the address

  [[nodiscard]] std::string key() const { return host + ' ' + std::to_string(port); }
};

class ClientContext {
 public:
  static constexpr std::size_t kPeersMax = 1000;

  // `authorities`: PEM, those that are believed; empty: any certificate will do. Blocks (reads the file).
  [[nodiscard]] static core::Result<std::shared_ptr<const ClientContext>> make(const std::string& authorities);
  // Where the operating system keeps the authorities that it believes; empty: at none of the places that are known.
  [[nodiscard]] static std::string system_authorities();

  ~ClientContext();
  ClientContext(const ClientContext&) = delete;
  ClientContext& operator=(const ClientContext&) = delete;

  [[nodiscard]] bool verifies() const;
  // TLS failed here: until then mail that may go in plain text does.
  void avoid(const ClientPeer& peer, std::int64_t until_boot_ns) const;
  [[nodiscard]] bool avoids(const ClientPeer& peer, std::int64_t boot_ns) const;
  // Sessions that wait to be resumed; for tests.
  [[nodiscard]] std::size_t sessions_kept() const;

  // BoringSSL's objects, for this room (parts.h).
  struct State;
  [[nodiscard]] State& state() const { return *state_; }

 private:
  explicit ClientContext(std::unique_ptr<State> state);
  std::unique_ptr<State> state_;
};

}  // namespace postern::net::tls
