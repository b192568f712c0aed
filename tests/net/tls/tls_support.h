// A private certification authority, a BoringSSL client in memory, and the two ends of a connection between them: for the
// tests, the fuzzer and the benchmark of net/tls.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <openssl/ssl.h>
#include <openssl/x509.h>
#include <string>
#include <string_view>
#include <vector>

#include "core/clock.h"
#include "net/tls/certificate.h"
#include "net/tls/server_contexts.h"
#include "net/tls/session.h"

namespace postern::net::tls::test {

inline constexpr std::int64_t kNow = 1'800'000'000;  // unix seconds, where the tests stand
inline constexpr std::int64_t kDay = 86400;

core::Time at(std::int64_t unix_seconds, std::int64_t boot_seconds = 1000);

enum class Key : std::uint8_t { p256, p384, p521, rsa1024, rsa2048, ed25519 };

// What a certificate says. The defaults are those of a good server's.
struct Subject {
  std::string common_name = "mail.example.net";
  std::vector<std::string> dns = {"mail.example.net"};
  std::vector<std::string> email = {};
  Key key = Key::p256;
  std::int64_t begin = kNow - kDay;
  std::int64_t end = kNow + 90 * kDay;
  bool is_authority = false;
  int purpose = NID_server_auth;  // NID_undef: no extended key usage
  bool sha1 = false;              // how it is signed
};

// A key and a certificate for it. Keys of RSA are made once a program.
struct Identity {
  bssl::UniquePtr<EVP_PKEY> key;
  bssl::UniquePtr<X509> certificate;

  [[nodiscard]] std::string key_pem() const;
  [[nodiscard]] std::string encrypted_key_pem() const;
  [[nodiscard]] std::string pem() const;
  [[nodiscard]] std::string der() const;
};

// `issuer` nullptr: signed by itself.
Identity issue(const Subject& subject, const Identity* issuer);
const Identity& root();
const Identity& intermediate();  // signed by root()
// Signed by intermediate(), and loaded with its chain.
Certificate server_certificate(const Subject& subject, std::vector<std::string> names = {});

struct ClientOptions {
  std::uint16_t version_min = TLS1_2_VERSION;
  std::uint16_t version_max = TLS1_3_VERSION;
  std::string server_name = "mail.example.net";
  std::vector<std::string> protocols = {};             // ALPN
  std::vector<std::uint16_t> signatures = {};          // that it can verify; empty: the library's
  std::vector<int> groups = {};                        // NIDs; empty: the library's
  const char* ciphers = nullptr;                       // of TLS 1.2
  const Identity* identity = nullptr;                  // its certificate
  std::vector<const Identity*> identity_chain = {};    // sent behind it
  SSL_SESSION* session = nullptr;                      // to resume
};

class Client {
 public:
  explicit Client(const ClientOptions& options);
  Client(const Client&) = delete;

  // Goes as far as it can. False: failed.
  bool step();
  void give(std::string_view cipher);
  std::string take();
  void write(std::string_view plain);  // the ciphertext is had by take()
  std::string& read() { return read_; }  // plaintext so far, gathered by step()
  bool shut();

  [[nodiscard]] SSL* ssl() const { return ssl_.get(); }
  [[nodiscard]] bool is_done() const { return SSL_in_init(ssl_.get()) == 0; }
  [[nodiscard]] bool is_closed() const { return closed_; }
  [[nodiscard]] std::string server_der() const;  // the certificate it was shown, from the session
  [[nodiscard]] bssl::UniquePtr<SSL_SESSION> session();  // the newest ticket
  [[nodiscard]] std::uint32_t error() const { return error_; }

 private:
  bssl::UniquePtr<SSL_CTX> context_;
  bssl::UniquePtr<SSL> ssl_;
  bssl::UniquePtr<SSL_SESSION> session_;
  std::string read_;
  std::uint32_t error_ = 0;
  bool closed_ = false;
  bool failed_ = false;
};

// How long the next piece of ciphertext is.
using Cut = std::function<std::size_t()>;
Cut whole();
Cut octets(std::size_t count);
Cut random_cuts(std::uint64_t seed, std::size_t most);

// The two of them and the wire. Memory given to the server's side is `plain_bytes` and `out_bytes` long.
class Pair {
 public:
  Pair(const ServerContexts& contexts, std::size_t service, const ClientOptions& options, const core::Time& now = at(kNow))
      : server(contexts, service, now), client(options) {}

  // Lets both talk until neither has anything to say. False: one of them failed.
  bool run();
  // Hands ciphertext to the server and the answers to the client.
  Status give_server(std::string_view cipher);
  // Sends plaintext to the client.
  void say(std::string_view plain);

  Session server;
  Client client;
  std::string received;  // plaintext at the server
  Cut cut = whole();
  std::size_t plain_bytes = 65536;
  std::size_t out_bytes = 65536;
  Status status = Status::need_input;
};

}  // namespace postern::net::tls::test
