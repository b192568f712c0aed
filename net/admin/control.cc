#include "net/admin/control.h"

#include <cerrno>
#include <fcntl.h>
#include <poll.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/time.h>
#include <sys/un.h>
#include <unistd.h>
#include <utility>

namespace postern::net {
namespace {

core::Result<sockaddr_un> socket_address(const std::string& path) {
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  if (path.size() >= sizeof address.sun_path) {
    return core::fail(path + ": longer than a socket's path may be (" + std::to_string(sizeof address.sun_path - 1) +
                      " octets); set admin.socket to a shorter one");
  }
  path.copy(address.sun_path, path.size());
  return address;
}

core::Result<int> connect_to(const std::string& path) {
  const auto address = socket_address(path);
  if (!address) return std::unexpected(address.error());
  const int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
  if (fd < 0) return core::fail_errno("socket", errno);
  if (connect(fd, reinterpret_cast<const sockaddr*>(&*address), sizeof *address) != 0) {
    const int code = errno;
    close(fd);
    return core::fail_errno("connect to " + path, code);
  }
  return fd;
}

bool send_all(int fd, std::string_view bytes) {
  while (!bytes.empty()) {
    const ssize_t n = send(fd, bytes.data(), bytes.size(), MSG_NOSIGNAL);
    if (n < 0 && errno == EINTR) continue;
    if (n <= 0) return false;
    bytes.remove_prefix(static_cast<std::size_t>(n));
  }
  return true;
}

void limit_waiting(int fd, int seconds) {
  const timeval limit{seconds, 0};
  setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof limit);
  setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &limit, sizeof limit);
}

}  // namespace

core::Result<std::unique_ptr<Control>> Control::start(Server& server, const std::string& path) {
  const auto address = socket_address(path);
  if (!address) return std::unexpected(address.error());
  if (const auto other = connect_to(path)) {
    close(*other);
    return core::fail(path + ": another server answers on this control socket");
  }
  const int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
  if (fd < 0) return core::fail_errno("socket", errno);
  unlink(path.c_str());
  // The mode is set before anybody can connect: bind makes the file with what umask leaves.
  const mode_t before = umask(0177);
  const int bound = bind(fd, reinterpret_cast<const sockaddr*>(&*address), sizeof *address);
  const int code = errno;
  umask(before);
  if (bound != 0 || listen(fd, 16) != 0) {
    close(fd);
    return core::fail_errno("bind the control socket " + path + " (admin.socket; its folder must be there)", code);
  }
  int pipe_ends[2];
  if (pipe2(pipe_ends, O_CLOEXEC) != 0) {
    const int pipe_code = errno;
    close(fd);
    return core::fail_errno("pipe", pipe_code);
  }
  return std::unique_ptr<Control>(new Control(server, path, fd, pipe_ends[0], pipe_ends[1]));
}

Control::Control(Server& server, std::string path, int listener, int stop_pipe_read, int stop_pipe_write)
    : server_(server),
      path_(std::move(path)),
      listener_(listener),
      stop_read_(stop_pipe_read),
      stop_write_(stop_pipe_write),
      thread_([this] { run(); }) {}

Control::~Control() {
  close(stop_write_);  // the thread's poll sees the other end hang up
  thread_.join();
  close(stop_read_);
  close(listener_);
  unlink(path_.c_str());
}

void Control::run() {
  pollfd watched[2] = {{listener_, POLLIN, 0}, {stop_read_, POLLIN, 0}};
  for (;;) {
    if (poll(watched, 2, -1) < 0 && errno != EINTR) return;
    if (watched[1].revents != 0) return;
    if ((watched[0].revents & POLLIN) == 0) continue;
    const int connection = accept4(listener_, nullptr, nullptr, SOCK_CLOEXEC);
    if (connection < 0) continue;
    limit_waiting(connection, kRequestSeconds);
    serve(connection);
    close(connection);
  }
}

void Control::serve(int connection) {
  std::string request;
  char piece[512];
  while (request.find('\n') == std::string::npos && request.size() < kRequestBytes) {
    const ssize_t n = recv(connection, piece, sizeof piece, 0);
    if (n < 0 && errno == EINTR) continue;
    if (n <= 0) return;
    request.append(piece, static_cast<std::size_t>(n));
  }
  const std::size_t end = request.find('\n');
  if (end == std::string::npos) {
    send_all(connection, "error: the request is too long\n");
    return;
  }
  send_all(connection, answer_request(server_, std::string_view(request).substr(0, end)));
}

core::Result<std::string> ask_server(const std::string& path, std::string_view request) {
  const auto fd = connect_to(path);
  if (!fd) {
    return core::fail(fd.error().text + " (is the server running? --socket names another control socket)",
                      fd.error().code);
  }
  limit_waiting(*fd, 60);
  std::string answer;
  bool ok = send_all(*fd, request) && send_all(*fd, "\n");
  char piece[4096];
  while (ok) {
    const ssize_t n = recv(*fd, piece, sizeof piece, 0);
    if (n < 0 && errno == EINTR) continue;
    if (n == 0) break;
    if (n < 0) ok = false;
    if (n > 0) answer.append(piece, static_cast<std::size_t>(n));
  }
  close(*fd);
  if (!ok) return core::fail("the server did not answer on " + path);
  const std::size_t end = answer.find('\n');
  const std::string first = answer.substr(0, end);
  answer.erase(0, end == std::string::npos ? answer.size() : end + 1);
  if (first == "ok") return answer;
  constexpr std::string_view kError = "error: ";
  return core::fail(first.starts_with(kError) ? first.substr(kError.size()) : "no answer from the server");
}

}  // namespace postern::net
