// BoringSSL's objects behind the contracts of this room. Included by its own sources only.
#pragma once

#include <array>
#include <cstdint>
#include <memory>
#include <mutex>
#include <openssl/evp.h>
#include <openssl/pool.h>
#include <openssl/ssl.h>
#include <openssl/x509.h>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "core/clock.h"
#include "net/tls/certificate.h"
#include "net/tls/client_context.h"
#include "net/tls/pem.h"
#include "net/tls/server_contexts.h"
#include "net/tls/session.h"
#include "policy/name_map.h"

namespace postern::net::tls {

struct Certificate::Parts {
  CertificateFiles files;
  std::vector<std::string> names;
  std::vector<bssl::UniquePtr<CRYPTO_BUFFER>> chain;  // DER, the server's own first
  bssl::UniquePtr<EVP_PKEY> key;
  KeyKind key_kind = KeyKind::ecdsa_p256;
  bool key_is_exposed = false;  // everybody can read or write its file
  bool from_files = false;      // the stamps say something
  FileStamp chain_stamp;
  FileStamp key_stamp;
};

struct ServerContexts::State {
  // The certificates for one name, the order in which a client that can verify all of them gets them.
  using Choice = std::vector<std::uint32_t>;
  struct Service {
    bssl::UniquePtr<SSL_CTX> context;               // has the first certificate
    bssl::UniquePtr<X509_STORE> client_authorities;  // nullptr: clients are not asked
  };

  std::vector<Certificate> certificates;
  std::vector<std::vector<CRYPTO_BUFFER*>> chains;  // of each certificate, as BoringSSL wants it
  std::vector<Choice> choices;                      // the first is for names that nobody has
  policy::NameMap names;                            // index into choices
  std::vector<Service> services;
  TicketKeys* ticket_keys = nullptr;

  [[nodiscard]] const Choice& choice_for(std::string_view name) const;
};

struct ClientContext::State {
  struct Memory {
    bssl::UniquePtr<SSL_SESSION> session;
    std::int64_t avoid_until_ns = 0;  // on the boot clock
  };

  bssl::UniquePtr<SSL_CTX> context;
  bssl::UniquePtr<X509_STORE> authorities;  // nullptr: any certificate will do
  std::mutex mutex;                         // of what follows
  std::unordered_map<std::string, Memory> peers;

  Memory& memory_of(const std::string& key);  // under the lock
  void keep(const std::string& key, bssl::UniquePtr<SSL_SESSION> session);
  [[nodiscard]] bssl::UniquePtr<SSL_SESSION> take(const std::string& key);  // nullptr: none
};

// What a session towards a next hop has more than a server's.
struct Session::ClientSide {
  std::shared_ptr<const ClientContext> context;
  ClientPeer peer;
  std::string refusal;  // why the hop's certificate is not believed
};

// What BoringSSL's callbacks find behind an SSL: the caller's memory during a call, and the handshake's surroundings.
struct Session::Wire {
  std::string_view input;
  OutputBuffer* output = nullptr;
  std::shared_ptr<const ServerContexts::State> state;  // given up when the handshake is done
  std::size_t service = 0;
  std::unique_ptr<ClientSide> client;  // nullptr: we are the server
  core::Time now;

  static Wire& of(const SSL* ssl);
};

// The time that BoringSSL's clock shows on this thread: its callback is told of no connection.
inline thread_local std::int64_t handshake_unix_seconds = 0;

// An SSL_CTX with everything that is the same for all services (nullptr: no memory).
[[nodiscard]] bssl::UniquePtr<SSL_CTX> make_context();

// The certificates that a peer sent: its own, and the rest. Empty, or why it cannot be done.
[[nodiscard]] std::string parse_chain(const STACK_OF(CRYPTO_BUFFER) * chain, bssl::UniquePtr<X509>& leaf,
                                      bssl::UniquePtr<STACK_OF(X509)>& others);

// Judges the chain of a client's certificate (the leaf first) against `authorities`.
[[nodiscard]] ClientCertificate judge_client_certificate(const STACK_OF(CRYPTO_BUFFER) * chain, X509_STORE* authorities,
                                                         std::int64_t unix_now);

}  // namespace postern::net::tls
