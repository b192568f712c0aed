// What every TLS handshake of a server needs: the certificates by host name, and for each service its rules.
//
// Offered: TLS 1.3 and 1.2; X25519, P-256, P-384; for 1.2 ECDHE with AES-GCM or ChaCha20-Poly1305, in our order; no
//   renegotiation, compression or early data. docs/tls.md gives the reasons.
// Certificates: the server name (SNI, RFC 6066) chooses by exact name, then by wildcard of one label; an unknown name,
//   or none, gets those of the first certificate's first name. Of several for a name the client gets the ECDSA one if
//   it can verify it (its signature algorithms; for TLS 1.2 also its ciphers and groups), else the RSA one.
// Resumption: by tickets only, no session is kept here. A ticket is good for the service that gave it and no other
//   (session id context), so that resuming never walks round what a service asks for.
// ALPN (RFC 7301): what the service speaks is taken: "smtp" and "esmtp", "pop3", or "imap". A client that offers protocols
//   and none of those gets the alert no_application_protocol: it was led here (ALPACA), from a browser or another service.
//
// Immutable after make(): any number of workers use it at once. It is a snapshot: a reload makes a new one; connections
//   in a handshake hold on to the old one's parts, and those that are through need nothing of it but what BoringSSL itself
//   refers to, so the object may be destroyed under both. TicketKeys must outlive all of it.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "core/result.h"
#include "net/tls/certificate.h"
#include "net/tls/ticket_keys.h"

namespace postern::net::tls {

enum class Speaks : std::uint8_t { smtp, pop3, imap };

struct ServiceRules {
  std::string name;              // tells services apart in tickets: keep it over a reload, and tickets go on working
  std::string client_ca;         // path, PEM: clients are asked for a certificate by one of these; empty: not asked
  Speaks speaks = Speaks::smtp;  // for ALPN
};

// What make() would say of a service's client_ca, for whoever has no certificate yet. Blocks (reads the file).
[[nodiscard]] core::Result<void> check_client_authorities(const ServiceRules& rules);

class ServerContexts {
 public:
  // `services`: in the order of the settings, so that a service has the index that the rest of the server knows it by.
  // Errors: no certificate at all; a client_ca that cannot be read or has no certificate in it. Blocks (reads files).
  [[nodiscard]] static core::Result<ServerContexts> make(std::vector<Certificate> certificates,
                                                         const std::vector<ServiceRules>& services,
                                                         TicketKeys& ticket_keys);

  [[nodiscard]] const std::vector<Certificate>& certificates() const;
  // The first certificate that a client gets which asks for `name`; for logs and `check`.
  [[nodiscard]] const Certificate& certificate_for(std::string_view name) const;

  // BoringSSL's objects, for this room (parts.h).
  struct State;
  [[nodiscard]] const std::shared_ptr<const State>& state() const { return state_; }

 private:
  explicit ServerContexts(std::shared_ptr<const State> state) : state_(std::move(state)) {}
  std::shared_ptr<const State> state_;
};

}  // namespace postern::net::tls
