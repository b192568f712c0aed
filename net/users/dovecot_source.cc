#include "net/users/dovecot_source.h"

#include <algorithm>
#include <array>
#include <cerrno>
#include <charconv>
#include <chrono>
#include <cstring>
#include <optional>
#include <string>
#include <string_view>
#include <poll.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <sys/un.h>
#include <unistd.h>
#include <utility>

#include "net/sasl/base64.h"
#include "net/users/credentials.h"
#include "net/users/secret.h"
#include "policy/user.h"

namespace postern::net::users {
namespace {

using Clock = std::chrono::steady_clock;

constexpr std::size_t kLineBytesMax = 8192;
constexpr int kGreetingLinesMax = 100;

std::string_view next_field(std::string_view& line) {
  const std::size_t end = std::min(line.find('\t'), line.size());
  const std::string_view field = line.substr(0, end);
  line.remove_prefix(std::min(end + 1, line.size()));
  return field;
}

// One connection. Lines out and in; nothing is believed but what the protocol says. Everything fails at the deadline.
class DovecotConnection {
 public:
  ~DovecotConnection() { close(); }

  void set_deadline(Clock::time_point deadline) { deadline_ = deadline; }
  [[nodiscard]] bool is_open() const { return socket_ >= 0; }

  bool open(const std::string& path) {
    sockaddr_un address{};
    address.sun_family = AF_UNIX;
    std::memcpy(address.sun_path, path.data(), path.size());
    socket_ = ::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (socket_ < 0) return false;
    // A socket whose owner accepts nobody lets connect() wait; the rest is waited for by wait_for().
    const int left = milliseconds_left();
    const timeval limit{left / 1000, left % 1000 * 1000 + 1};
    setsockopt(socket_, SOL_SOCKET, SO_SNDTIMEO, &limit, sizeof limit);
    if (::connect(socket_, reinterpret_cast<const sockaddr*>(&address), sizeof address) != 0 || !shake_hands()) {
      close();
      return false;
    }
    return true;
  }

  void close() {
    if (socket_ >= 0) ::close(socket_);
    socket_ = -1;
    wipe(received_);
  }

  bool write(std::string_view octets) {
    while (!octets.empty()) {
      if (!wait_for(POLLOUT)) return false;
      const ssize_t sent = ::send(socket_, octets.data(), octets.size(), MSG_NOSIGNAL | MSG_DONTWAIT);
      if (sent < 0 && (errno == EINTR || errno == EAGAIN)) continue;
      if (sent <= 0) return false;
      octets.remove_prefix(static_cast<std::size_t>(sent));
    }
    return true;
  }

  // Without its end. Nothing: the peer is gone, too slow, or the line has no end.
  std::optional<std::string> read_line() {
    for (;;) {
      if (const std::size_t end = received_.find('\n'); end != std::string::npos) {
        std::string line = received_.substr(0, end);
        received_.erase(0, end + 1);
        return line;
      }
      if (received_.size() > kLineBytesMax) return std::nullopt;
      std::array<char, 2048> octets;
      if (!wait_for(POLLIN)) return std::nullopt;
      const ssize_t got = ::recv(socket_, octets.data(), octets.size(), MSG_DONTWAIT);
      if (got < 0 && (errno == EINTR || errno == EAGAIN)) continue;
      if (got <= 0) return std::nullopt;
      received_.append(octets.data(), static_cast<std::size_t>(got));
    }
  }

  // Ids are this connection's, counted up.
  std::uint32_t next_id() { return ++last_id_; }

 private:
  [[nodiscard]] int milliseconds_left() const {
    const auto left = std::chrono::ceil<std::chrono::milliseconds>(deadline_ - Clock::now()).count();
    return static_cast<int>(std::clamp<std::int64_t>(left, 0, INT32_MAX));
  }
  // False: the deadline came first.
  bool wait_for(short events) {
    for (;;) {
      pollfd descriptor{socket_, events, 0};
      const int ready = ::poll(&descriptor, 1, milliseconds_left());
      if (ready > 0) return true;  // or in error, which the next call tells
      if (ready == 0 || errno != EINTR) return false;
    }
  }

  bool shake_hands() {
    if (!write("VERSION\t1\t2\nCPID\t" + std::to_string(getpid()) + "\n")) return false;
    bool is_version_known = false;
    for (int lines = 0; lines < kGreetingLinesMax; ++lines) {
      auto line = read_line();
      if (!line) return false;
      std::string_view rest = *line;
      const std::string_view word = next_field(rest);
      if (word == "VERSION") is_version_known = next_field(rest) == "1";
      if (word == "DONE") return is_version_known;
    }
    return false;
  }

  int socket_ = -1;
  Clock::time_point deadline_{};
  std::uint32_t last_id_ = 0;
  std::string received_;
};

class DovecotSource final : public CredentialSource {
 public:
  DovecotSource(std::string path, std::chrono::milliseconds patience) : path_(std::move(path)), patience_(patience) {}

  void answer(CredentialRequest& request) noexcept override {
    request.answer = CredentialRequest::Answer::unavailable;
    if (request.kind != CredentialRequest::Kind::password) return;
    const auto begin = Clock::now();
    if (begin < silent_until_) return;
    const auto deadline = begin + patience_;
    connection_.set_deadline(deadline);
    // A connection that Dovecot closed meanwhile shows only when it is used: one more try, with a new one.
    const bool was_open = connection_.is_open();
    bool is_answered = check(request);
    if (!is_answered && was_open && Clock::now() < deadline) is_answered = check(request);
    if (!is_answered && Clock::now() >= deadline) silent_until_ = Clock::now() + patience_;
  }

  // Dovecot does not tell when a user changes: what is remembered is good for as long as it is remembered.
  core::Result<std::uint64_t> version() override { return std::uint64_t{0}; }
  core::Result<bool> hold(std::string_view) override {
    return core::fail("accounts in Dovecot cannot be held from here: disable them there");
  }
  core::Result<std::vector<std::string>> held() override { return std::vector<std::string>{}; }

 private:
  // False: no answer, and the connection is closed.
  bool check(CredentialRequest& request) {
    if (!connection_.is_open() && !connection_.open(path_)) return false;
    const std::string id = std::to_string(connection_.next_id());
    std::string response;
    response.reserve(request.user().size() + request.password().size() + 2);
    response += '\0';
    response += request.user();
    response += '\0';
    response += request.password();
    std::string line = "AUTH\t" + id + "\tPLAIN\tservice=smtp\tnologin\tno-penalty\tsecured";
    if (request.client) line += "\trip=" + request.client->text();
    line += "\tresp=";
    const std::size_t head = line.size();
    line.resize(head + sasl::base64_bytes(response.size()));
    sasl::base64_encode(response, {line.data() + head, line.size() - head});
    line += '\n';
    const bool written = connection_.write(line);
    wipe(line);
    wipe(response);
    const bool answered = written && read_answer(id, request);
    if (!answered) connection_.close();
    return answered;
  }

  bool read_answer(std::string_view id, CredentialRequest& request) {
    for (int lines = 0; lines < kGreetingLinesMax; ++lines) {
      auto line = connection_.read_line();
      if (!line) return false;
      std::string_view rest = *line;
      const std::string_view word = next_field(rest);
      if (word != "OK" && word != "FAIL") continue;  // MECH and the like may come again
      if (next_field(rest) != id) continue;
      return word == "OK" ? take_success(rest, request) : take_failure(rest, request);
    }
    return false;
  }

  static bool take_success(std::string_view fields, CredentialRequest& request) {
    std::string_view user = request.user();
    while (!fields.empty()) {
      const std::string_view field = next_field(fields);
      if (field.starts_with("user=")) user = field.substr(5);
    }
    auto name = policy::canonical_user_name(user);
    if (!name) return false;  // it could not be logged, limited or barred under that name
    policy::UserRecord record;
    record.name = std::move(*name);
    record.may_relay = true;
    request.answer = CredentialRequest::Answer::given;
    request.verdict = sasl::PasswordVerdict::right;
    request.account = std::make_shared<const policy::UserRecord>(std::move(record));
    return true;
  }

  static bool take_failure(std::string_view fields, CredentialRequest& request) {
    bool is_temporary = false;
    bool is_disabled = false;
    while (!fields.empty()) {
      const std::string_view field = next_field(fields);
      is_temporary |= field == "temp" || field == "code=temp_fail";
      is_disabled |= field == "user_disabled" || field == "code=user_disabled";
    }
    if (is_temporary) return true;  // still unavailable
    request.answer = CredentialRequest::Answer::given;
    request.verdict = is_disabled ? sasl::PasswordVerdict::disabled : sasl::PasswordVerdict::wrong;
    return true;
  }

  std::string path_;
  std::chrono::milliseconds patience_;
  DovecotConnection connection_;
  Clock::time_point silent_until_{};
};

}  // namespace

core::Result<std::unique_ptr<CredentialSource>> open_dovecot_source(const std::string& path,
                                                                    std::chrono::milliseconds patience) {
  if (path.empty() || path.size() >= sizeof(sockaddr_un::sun_path)) {
    return core::fail("users.dovecot: '" + path + "' cannot be a socket's path");
  }
  return std::make_unique<DovecotSource>(path, patience);
}

}  // namespace postern::net::users
