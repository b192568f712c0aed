#include "bench/load/submission_client.h"

#include <arpa/inet.h>
#include <charconv>
#include <ctime>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <optional>
#include <sys/socket.h>
#include <unistd.h>

namespace postern::bench {
namespace {

constexpr time_t kPatienceSeconds = 60;

std::int64_t now_ns() {
  timespec now{};
  clock_gettime(CLOCK_MONOTONIC, &now);
  return now.tv_sec * 1'000'000'000LL + now.tv_nsec;
}

class Connection {
 public:
  explicit Connection(const SubmissionSession& session) : socket_(socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0)) {
    const int on = 1;
    const timeval patience{kPatienceSeconds, 0};
    setsockopt(socket_, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
    setsockopt(socket_, IPPROTO_IP, IP_BIND_ADDRESS_NO_PORT, &on, sizeof on);
    setsockopt(socket_, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof patience);
    setsockopt(socket_, SOL_SOCKET, SO_SNDTIMEO, &patience, sizeof patience);
    sockaddr_in address{};
    address.sin_family = AF_INET;
    address.sin_addr.s_addr = htonl(session.source.v4());
    is_open_ = bind(socket_, reinterpret_cast<const sockaddr*>(&address), sizeof address) == 0;
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    address.sin_port = htons(session.port);
    is_open_ = is_open_ && connect(socket_, reinterpret_cast<const sockaddr*>(&address), sizeof address) == 0;
  }
  ~Connection() {
    SSL_free(ssl_);
    close(socket_);
  }
  Connection(const Connection&) = delete;
  Connection& operator=(const Connection&) = delete;

  [[nodiscard]] bool is_open() const { return is_open_; }

  bool start_tls(SSL_CTX* context) {
    ssl_ = SSL_new(context);
    return ssl_ != nullptr && SSL_set_fd(ssl_, socket_) == 1 && SSL_connect(ssl_) == 1;
  }

  bool send(std::string_view octets) {
    while (!octets.empty()) {
      const ssize_t sent = ssl_ != nullptr ? SSL_write(ssl_, octets.data(), static_cast<int>(octets.size()))
                                           : write(socket_, octets.data(), octets.size());
      if (sent <= 0) return false;
      octets.remove_prefix(static_cast<std::size_t>(sent));
    }
    return true;
  }

  // The code of the next reply, of however many lines; 0: none came.
  int reply() {
    for (;;) {
      const std::optional<std::string_view> line = next_line();
      if (!line || line->size() < 4) return 0;
      int code = 0;
      std::from_chars(line->data(), line->data() + 3, code);
      if ((*line)[3] != '-') return code;
    }
  }

 private:
  std::optional<std::string_view> next_line() {
    for (;;) {
      const std::string_view held(buffer_.data() + begin_, end_ - begin_);
      if (const std::size_t at = held.find('\n'); at != std::string_view::npos) {
        begin_ += at + 1;
        return held.substr(0, at);
      }
      if (begin_ != 0) {
        held.copy(buffer_.data(), held.size());
        end_ -= begin_;
        begin_ = 0;
      }
      if (end_ == buffer_.size()) return std::nullopt;
      const ssize_t got = ssl_ != nullptr ? SSL_read(ssl_, buffer_.data() + end_, static_cast<int>(buffer_.size() - end_))
                                          : read(socket_, buffer_.data() + end_, buffer_.size() - end_);
      if (got <= 0) return std::nullopt;
      end_ += static_cast<std::size_t>(got);
    }
  }

  int socket_;
  SSL* ssl_ = nullptr;
  bool is_open_ = false;
  std::size_t begin_ = 0;
  std::size_t end_ = 0;
  std::array<char, 4096> buffer_;
};

// MAIL, RCPT and DATA in one packet (RFC 2920), then the content.
int hand_in(Connection& connection, const SubmissionSession& session) {
  std::string commands = "MAIL FROM:<";
  commands.append(session.from).append(">\r\nRCPT TO:<").append(session.to).append(">\r\nDATA\r\n");
  if (!connection.send(commands)) return 0;
  for (const int expected : {250, 250, 354}) {
    if (const int code = connection.reply(); code != expected) return code;
  }
  return connection.send(session.content) ? connection.reply() : 0;
}

}  // namespace

int run_session(SSL_CTX* context, const SubmissionSession& session, std::int64_t* auth_ns) {
  Connection connection(session);
  if (!connection.is_open()) return 0;
  if (const int code = connection.reply(); code != 220) return code;
  for (const std::string_view command : {"EHLO client.example\r\n", "STARTTLS\r\n"}) {
    if (!connection.send(command)) return 0;
    if (const int code = connection.reply(); code != 250 && code != 220) return code;
  }
  if (!connection.start_tls(context)) return 0;
  if (!connection.send("EHLO client.example\r\n")) return 0;
  if (const int code = connection.reply(); code != 250) return code;
  const std::int64_t asked_ns = now_ns();
  if (!connection.send(std::string("AUTH PLAIN ").append(session.auth_plain).append("\r\n"))) return 0;
  const int code = connection.reply();
  if (auth_ns != nullptr) *auth_ns = now_ns() - asked_ns;
  if (code != 235) return code;
  const int decided = session.content.empty() ? code : hand_in(connection, session);
  if (connection.send("QUIT\r\n")) (void)connection.reply();
  return decided;
}

}  // namespace postern::bench
