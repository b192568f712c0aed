// A client's blocking socket, with or without TLS; every wait ends after ten seconds at most, with a failed test.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>
#include <string_view>

#include "tests/net/tls/tls_support.h"

namespace postern::net::test {

class TestClient {
 public:
  // `source`: the loopback address to speak from.
  TestClient(const std::string& source, std::uint16_t port);
  ~TestClient();
  TestClient(const TestClient&) = delete;
  TestClient& operator=(const TestClient&) = delete;

  // From now on within TLS. False: the handshake failed, or the server closed.
  [[nodiscard]] bool handshake(const tls::test::ClientOptions& options = {});
  [[nodiscard]] tls::test::Client& tls() { return *tls_; }

  void send(std::string_view octets);
  // The next line without its CRLF; "(closed)" at the end of the stream, "(timeout)" when nothing comes.
  std::string line();
  // The reply to one command: its last line.
  std::string command(std::string_view line);

  // Octets as they are on the wire.
  void send_raw(std::string_view octets);
  // What comes next; empty: the end of the stream, or nothing came in time.
  std::string receive_raw();
  // What comes next, decrypted; empty: the end of the stream, or nothing came in time.
  std::string octets();
  // Sends until the server has not taken a single octet for half a second; returns how many were sent. Then send_rest().
  std::size_t send_until_blocked(std::string_view octets);
  void send_rest(std::string_view octets, std::size_t sent);
  // Sends no more; the server sees the end of the stream.
  void shut();
  // The same in the orderly way: with TLS, close_notify.
  void close_output();
  // Closes with a reset instead of a farewell.
  void reset();
  [[nodiscard]] int socket() const { return socket_; }

 private:
  bool receive();

  int socket_;
  std::unique_ptr<tls::test::Client> tls_;
  std::string received_;
  std::string blocked_;  // of send_until_blocked(): encrypted, and not sent
  bool timed_out_ = false;
};

}  // namespace postern::net::test
