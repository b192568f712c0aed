#include "tests/net/server/test_client.h"

#include <algorithm>
#include <arpa/inet.h>
#include <cerrno>
#include <gtest/gtest.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <unistd.h>
#include <utility>

namespace postern::net::test {

TestClient::TestClient(const std::string& source, std::uint16_t port) : socket_(::socket(AF_INET, SOCK_STREAM, 0)) {
  const timeval limit{10, 0};
  setsockopt(socket_, SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof limit);
  setsockopt(socket_, SOL_SOCKET, SO_SNDTIMEO, &limit, sizeof limit);
  sockaddr_in address{};
  address.sin_family = AF_INET;
  inet_pton(AF_INET, source.c_str(), &address.sin_addr);
  EXPECT_EQ(bind(socket_, reinterpret_cast<sockaddr*>(&address), sizeof address), 0) << source;
  inet_pton(AF_INET, "127.0.0.1", &address.sin_addr);
  address.sin_port = htons(port);
  EXPECT_EQ(connect(socket_, reinterpret_cast<sockaddr*>(&address), sizeof address), 0);
}

TestClient::~TestClient() { close(socket_); }

bool TestClient::handshake(const tls::test::ClientOptions& options) {
  tls_ = std::make_unique<tls::test::Client>(options);
  for (;;) {
    const bool well = tls_->step();
    send_raw(tls_->take());
    if (!well) return false;
    if (tls_->is_done()) return true;
    const std::string cipher = receive_raw();
    if (cipher.empty()) return false;
    tls_->give(cipher);
  }
}

void TestClient::send_raw(std::string_view octets) {
  while (!octets.empty()) {
    const ssize_t n = ::send(socket_, octets.data(), octets.size(), MSG_NOSIGNAL);
    if (n < 0 && errno == EINTR) continue;
    if (n <= 0) return;  // the server closed: what it says about that is read by line()
    octets.remove_prefix(static_cast<std::size_t>(n));
  }
}

std::string TestClient::receive_raw() {
  std::string octets(16384, '\0');
  for (;;) {
    const ssize_t n = recv(socket_, octets.data(), octets.size(), 0);
    if (n < 0 && errno == EINTR) continue;
    timed_out_ = n < 0 && (errno == EAGAIN || errno == EWOULDBLOCK);
    octets.resize(static_cast<std::size_t>(std::max<ssize_t>(n, 0)));
    return octets;
  }
}

void TestClient::send(std::string_view octets) {
  if (tls_ == nullptr) return send_raw(octets);
  tls_->write(octets);
  send_raw(tls_->take());
}

// More of what the server says. False: there is no more.
bool TestClient::receive() {
  const std::string octets = receive_raw();
  if (octets.empty()) return false;
  if (tls_ == nullptr) {
    received_ += octets;
    return true;
  }
  tls_->give(octets);
  const bool well = tls_->step();
  received_ += std::exchange(tls_->read(), {});
  return well;
}

std::string TestClient::line() {
  if (tls_ != nullptr) received_ += std::exchange(tls_->read(), {});
  for (;;) {
    const std::size_t end = received_.find("\r\n");
    if (end != std::string::npos) {
      std::string line = received_.substr(0, end);
      received_.erase(0, end + 2);
      return line;
    }
    if (!receive() && received_.find("\r\n") == std::string::npos) return timed_out_ ? "(timeout)" : "(closed)";
  }
}

std::string TestClient::command(std::string_view text) {
  send(std::string(text) + "\r\n");
  std::string answer = line();
  while (answer.size() > 3 && answer[3] == '-') answer = line();
  return answer;
}

std::string TestClient::octets() {
  if (tls_ != nullptr) received_ += std::exchange(tls_->read(), {});
  while (received_.empty() && receive()) {
  }
  return std::exchange(received_, {});
}

std::size_t TestClient::send_until_blocked(std::string_view octets) {
  const timeval brief{0, 500'000};
  setsockopt(socket_, SOL_SOCKET, SO_SNDTIMEO, &brief, sizeof brief);
  constexpr std::size_t kSlice = 16384;
  std::size_t sent = 0;
  while (sent < octets.size() && blocked_.empty()) {
    const std::string_view slice = octets.substr(sent, kSlice);
    if (tls_ != nullptr) tls_->write(slice);
    blocked_ = tls_ != nullptr ? tls_->take() : std::string(slice);
    sent += slice.size();
    while (!blocked_.empty()) {
      const ssize_t n = ::send(socket_, blocked_.data(), blocked_.size(), MSG_NOSIGNAL);
      if (n <= 0) break;
      blocked_.erase(0, static_cast<std::size_t>(n));
    }
  }
  const timeval limit{10, 0};
  setsockopt(socket_, SOL_SOCKET, SO_SNDTIMEO, &limit, sizeof limit);
  return sent;
}

void TestClient::send_rest(std::string_view octets, std::size_t sent) {
  send_raw(std::exchange(blocked_, {}));
  send(octets.substr(sent));
}

void TestClient::close_output() {
  if (tls_ != nullptr) {
    tls_->shut();
    send_raw(tls_->take());
  } else {
    shut();
  }
}

void TestClient::shut() { ::shutdown(socket_, SHUT_WR); }

void TestClient::reset() {
  const linger now{1, 0};
  setsockopt(socket_, SOL_SOCKET, SO_LINGER, &now, sizeof now);
  close(std::exchange(socket_, -1));
}

}  // namespace postern::net::test
