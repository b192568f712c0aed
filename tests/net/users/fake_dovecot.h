// A socket that answers as Dovecot's auth service does, or not: a script for each connection, in a thread of its own.
#pragma once

#include <array>
#include <cstring>
#include <functional>
#include <gtest/gtest.h>
#include <mutex>
#include <poll.h>
#include <string>
#include <string_view>
#include <sys/socket.h>
#include <sys/un.h>
#include <thread>
#include <unistd.h>
#include <utility>
#include <vector>

namespace postern::net::users {

inline constexpr std::string_view kDovecotGreeting =
    "VERSION\t1\t2\nMECH\tPLAIN\tplaintext\nMECH\tLOGIN\tplaintext\nSPID\t1\nCUID\t2\nCOOKIE\t0123456789abcdef\nDONE\n";

class FakeDovecot {
 public:
  class Connection {
   public:
    Connection(int socket, int stop) : socket_(socket), stop_(stop) {}
    ~Connection() { ::close(socket_); }
    Connection(const Connection&) = delete;
    Connection& operator=(const Connection&) = delete;
    // False: the other side closed before all of it was out.
    bool send(std::string_view octets) const {
      return ::send(socket_, octets.data(), octets.size(), MSG_NOSIGNAL) == static_cast<ssize_t>(octets.size());
    }
    // False: the test ends.
    bool pause(int milliseconds) const {
      pollfd stop{stop_, POLLIN, 0};
      return ::poll(&stop, 1, milliseconds) == 0;
    }
    // The next line that begins with `word`; empty: the other side closed, or the test ends.
    std::string line(std::string_view word = "") {
      for (;;) {
        if (const std::size_t end = received_.find('\n'); end != std::string::npos) {
          std::string found = received_.substr(0, end);
          received_.erase(0, end + 1);
          if (found.starts_with(word)) return found;
          continue;
        }
        if (!wait()) return {};
        std::array<char, 4096> octets;
        const ssize_t n = ::recv(socket_, octets.data(), octets.size(), 0);
        if (n <= 0) return {};
        received_.append(octets.data(), static_cast<std::size_t>(n));
      }
    }
    // The id of the next AUTH.
    std::string auth() {
      const std::string found = line("AUTH\t");
      return found.substr(std::min<std::size_t>(5, found.size()), found.find('\t', 5) - 5);
    }
    // Until the other side closes, or the test ends. True: it closed.
    bool wait_for_close() {
      while (wait()) {
        char octet = 0;
        if (::recv(socket_, &octet, 1, 0) <= 0) return true;
      }
      return false;
    }

   private:
    bool wait() const {
      std::array<pollfd, 2> both{{{socket_, POLLIN, 0}, {stop_, POLLIN, 0}}};
      return ::poll(both.data(), both.size(), 20'000) > 0 && both[0].revents != 0;
    }
    int socket_;
    int stop_;
    std::string received_;
  };
  using Script = std::function<void(Connection&)>;

  // The last script is that of all further connections.
  FakeDovecot(const std::string& path, std::vector<Script> scripts) : scripts_(std::move(scripts)) {
    listener_ = ::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    sockaddr_un address{};
    address.sun_family = AF_UNIX;
    std::memcpy(address.sun_path, path.data(), path.size());
    EXPECT_EQ(::bind(listener_, reinterpret_cast<sockaddr*>(&address), sizeof address), 0);
    EXPECT_EQ(::listen(listener_, 100), 0);
    EXPECT_EQ(::pipe(stop_.data()), 0);
    acceptor_ = std::thread([this] { run(); });
  }
  ~FakeDovecot() {
    ::close(stop_[1]);  // wakes everybody
    acceptor_.join();
    for (std::thread& thread : threads_) thread.join();
    ::close(stop_[0]);
    ::close(listener_);
  }
  FakeDovecot(const FakeDovecot&) = delete;
  FakeDovecot& operator=(const FakeDovecot&) = delete;

  [[nodiscard]] std::size_t connections() {
    const std::lock_guard lock(mutex_);
    return connections_;
  }

 private:
  void run() {
    for (;;) {
      std::array<pollfd, 2> both{{{listener_, POLLIN, 0}, {stop_[0], POLLIN, 0}}};
      if (::poll(both.data(), both.size(), -1) <= 0 || both[1].revents != 0) return;
      const int socket = ::accept(listener_, nullptr, nullptr);
      const std::lock_guard lock(mutex_);
      const Script script = scripts_[std::min(connections_++, scripts_.size() - 1)];
      threads_.emplace_back([this, socket, script] {
        Connection connection(socket, stop_[0]);
        script(connection);
      });
    }
  }

  std::vector<Script> scripts_;
  std::mutex mutex_;
  std::size_t connections_ = 0;
  int listener_ = -1;
  std::array<int, 2> stop_{};
  std::thread acceptor_;
  std::vector<std::thread> threads_;
};

}  // namespace postern::net::users
