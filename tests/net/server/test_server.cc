#include "tests/net/server/test_server.h"

#include <arpa/inet.h>
#include <cerrno>
#include <cstdlib>
#include <gtest/gtest.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <unistd.h>

namespace postern::net::test {

ScratchFolder::ScratchFolder() {
  std::string pattern = (std::filesystem::temp_directory_path() / "postern-test-XXXXXX").string();
  path_ = mkdtemp(pattern.data());
}

ScratchFolder::~ScratchFolder() {
  std::error_code ignored;
  std::filesystem::remove_all(path_, ignored);
}

TestServer::TestServer(policy::Settings settings, const std::string& spool, void (*thread_hook)())
    : snapshot_(readers_, std::make_unique<Snapshot>(settings)),
      logins_({.machines = 1024}),
      machines_(settings.limits.connections),
      shared_(snapshot_, logins_, machines_, 1) {
  thread_ = std::thread([this, spool, thread_hook] { run(spool, thread_hook); });
  ready_.wait(false);
  EXPECT_EQ(failure_, "");
}

TestServer::~TestServer() { stop(); }

void TestServer::stop() {
  if (!thread_.joinable()) return;
  stopping_.store(true);
  mesh_.post(0, {});
  thread_.join();
}

void TestServer::run(const std::string& spool, void (*thread_hook)()) {
  if (thread_hook != nullptr) thread_hook();
  const auto ready = [this] {
    ready_.store(true);
    ready_.notify_all();
  };
  core::RingOptions ring;
  ring.buffer_count = 128;
  auto worker = core::Worker::create(0, ring, mesh_, readers_);
  if (!worker) {
    failure_ = worker.error().text;
    return ready();
  }
  WorkerServerOptions options;
  options.spool_directory = spool;
  options.receive_buffers = ring.buffer_count;
  options.spool.segment_bytes = 4u << 20;
  options.spool.segments_kept = 4;
  options.spool.disk_reserve_bytes = 0;
  std::vector<std::string> notes;
  auto program = WorkerServer::create(**worker, shared_, log_, options, notes);
  const auto listener = core::Ring::listen({core::IpAddress::from_v4(0x7f000001), 0});
  if (!program || !listener) {
    failure_ = program ? listener.error().text : program.error().text;
    return ready();
  }
  port_ = core::Ring::local_name(*listener)->port;
  (*program)->listen(*listener, 0);
  (*program)->start_queue();
  program_ = program->get();
  ready();
  while (!(*program)->is_drained()) {
    if (stopping_.load()) (*program)->begin_drain((*worker)->now().boot_ns + 20 * core::kNanosecondsPerSecond);
    (*worker)->turn(true);
    while (log_.front() != nullptr) log_.pop();  // nobody reads the log here
  }
  EXPECT_TRUE((*program)->is_quiet());
}

TestClient::TestClient(const std::string& source, std::uint16_t port) : socket_(socket(AF_INET, SOCK_STREAM, 0)) {
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

void TestClient::send(std::string_view octets) {
  while (!octets.empty()) {
    const ssize_t n = ::send(socket_, octets.data(), octets.size(), MSG_NOSIGNAL);
    if (n <= 0) return;  // the server closed: what it says about that is read by line()
    octets.remove_prefix(static_cast<std::size_t>(n));
  }
}

std::string TestClient::line() {
  for (;;) {
    const std::size_t end = received_.find("\r\n");
    if (end != std::string::npos) {
      std::string line = received_.substr(0, end);
      received_.erase(0, end + 2);
      return line;
    }
    char piece[4096];
    const ssize_t n = recv(socket_, piece, sizeof piece, 0);
    if (n < 0 && errno == EINTR) continue;
    if (n < 0 && (errno == EAGAIN || errno == EWOULDBLOCK)) return "(timeout)";
    if (n <= 0) return "(closed)";
    received_.append(piece, static_cast<std::size_t>(n));
  }
}

std::string TestClient::command(std::string_view text) {
  send(std::string(text) + "\r\n");
  std::string answer = line();
  while (answer.size() > 3 && answer[3] == '-') answer = line();
  return answer;
}

}  // namespace postern::net::test
