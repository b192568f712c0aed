#include "tests/net/server/front_support.h"

#include <algorithm>
#include <arpa/inet.h>
#include <cerrno>
#include <chrono>
#include <netinet/in.h>
#include <poll.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <time.h>
#include <unistd.h>
#include <utility>

#include "net/front/front.h"
#include "tests/net/server/tls_settings.h"

namespace postern::net::test {

StorePeer::StorePeer(int socket) : socket_(socket) {
  const timeval limit{10, 0};
  setsockopt(socket_, SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof limit);
  setsockopt(socket_, SOL_SOCKET, SO_SNDTIMEO, &limit, sizeof limit);
}

StorePeer::~StorePeer() {
  if (socket_ >= 0) close(socket_);
}

bool StorePeer::receive() {
  char octets[65536];
  for (;;) {
    const ssize_t n = recv(socket_, octets, sizeof octets, 0);
    if (n < 0 && errno == EINTR) continue;
    timed_out_ = n < 0 && (errno == EAGAIN || errno == EWOULDBLOCK);
    if (n <= 0) return false;
    received_.append(octets, static_cast<std::size_t>(n));
    return true;
  }
}

std::string StorePeer::line() {
  for (;;) {
    const std::size_t end = received_.find("\r\n");
    if (end != std::string::npos) {
      std::string line = received_.substr(0, end);
      received_.erase(0, end + 2);
      return line;
    }
    if (!receive()) return timed_out_ ? "(timeout)" : "(closed)";
  }
}

std::string StorePeer::octets(std::size_t count) {
  while (received_.size() < count && receive()) {
  }
  std::string taken = received_.substr(0, count);
  received_.erase(0, taken.size());
  return taken;
}

bool StorePeer::ended() { return received_.empty() && !receive() && !timed_out_; }

void StorePeer::send(std::string_view octets) {
  while (!octets.empty()) {
    const ssize_t n = ::send(socket_, octets.data(), octets.size(), MSG_NOSIGNAL);
    if (n < 0 && errno == EINTR) continue;
    if (n <= 0) return;
    octets.remove_prefix(static_cast<std::size_t>(n));
  }
}

std::size_t StorePeer::send_until_blocked(std::string_view octets) {
  const timeval brief{0, 500'000};
  setsockopt(socket_, SOL_SOCKET, SO_SNDTIMEO, &brief, sizeof brief);
  std::size_t sent = 0;
  while (sent < octets.size()) {
    const ssize_t n = ::send(socket_, octets.data() + sent, std::min<std::size_t>(octets.size() - sent, 65536), MSG_NOSIGNAL);
    if (n <= 0) break;
    sent += static_cast<std::size_t>(n);
  }
  wait_patiently();
  return sent;
}

void StorePeer::wait_patiently() {
  const timeval limit{100, 0};
  setsockopt(socket_, SOL_SOCKET, SO_SNDTIMEO, &limit, sizeof limit);
}

void StorePeer::shut() { ::shutdown(socket_, SHUT_WR); }

void StorePeer::reset() {
  const linger now{1, 0};
  setsockopt(socket_, SOL_SOCKET, SO_LINGER, &now, sizeof now);
  close(std::exchange(socket_, -1));
}

void StorePeer::greet_pop3() {
  send("+OK Store ready.\r\n");
  EXPECT_EQ(line(), "CAPA");
  send("+OK\r\nCAPA\r\nTOP\r\nUIDL\r\nPIPELINING\r\nUSER\r\nSASL PLAIN\r\n.\r\n");
}

void StorePeer::greet_imap() {
  send("* OK [CAPABILITY IMAP4rev1 SASL-IR LITERAL+ IDLE AUTH=PLAIN] Store ready.\r\n");
}

void StorePeer::take_login_pop3() {
  greet_pop3();
  EXPECT_EQ(line(), "USER anna@example.net");
  send("+OK\r\n");
  EXPECT_EQ(line(), "PASS secret");
  send("+OK Logged in.\r\n");
}

void StorePeer::take_login_imap() {
  greet_imap();
  const std::string login = line();
  const std::string tag = login.substr(0, login.find(' '));
  EXPECT_EQ(login, tag + " LOGIN \"anna@example.net\" \"secret\"");
  send(tag + " OK [CAPABILITY IMAP4rev1 IDLE] Logged in.\r\n");
}

FakeStore::FakeStore(Script script) : script_(std::move(script)), listener_(::socket(AF_INET, SOCK_STREAM, 0)) {
  sockaddr_in address{};
  address.sin_family = AF_INET;
  inet_pton(AF_INET, "127.0.0.1", &address.sin_addr);
  EXPECT_EQ(bind(listener_, reinterpret_cast<sockaddr*>(&address), sizeof address), 0);
  socklen_t size = sizeof address;
  getsockname(listener_, reinterpret_cast<sockaddr*>(&address), &size);
  port_ = ntohs(address.sin_port);
  EXPECT_EQ(listen(listener_, 4096), 0);
  thread_ = std::thread([this] { run(); });
}

FakeStore::~FakeStore() {
  ::shutdown(listener_, SHUT_RDWR);
  thread_.join();
  close(listener_);
  for (std::thread& peer : peers_) peer.join();
}

void FakeStore::run() {
  for (;;) {
    const int socket = accept(listener_, nullptr, nullptr);
    if (socket < 0 && errno == EINTR) continue;
    if (socket < 0) return;
    connections_.fetch_add(1);
    peers_.emplace_back([this, socket] {
      StorePeer peer(socket);
      script_(peer);
    });
  }
}

FrontServer::FrontServer() : settings_(tls_settings(policy::TlsMode::none)) {
  settings_.services[0].auth.mechanisms.clear();
  settings_.lan = {*core::IpPrefix::parse("127.0.0.0/8")};
  policy::MailboxSettings mailbox;
  mailbox.name = "pop3";
  mailbox.protocol = policy::MailboxProtocol::pop3;
  mailbox.plain_on_lan = true;
  mailbox.store = {core::IpAddress::from_v4(0x7f000001), 1};
  settings_.mailboxes = {mailbox};
}

void FrontServer::start(TestServerOptions options) {
  options.keep_log = true;
  if (store_ != nullptr) {
    for (policy::MailboxSettings& each : settings_.mailboxes) each.store.port = store_->port();
  }
  server_ = std::make_unique<TestServer>(settings_, folder_.path(), options);
}

void FrontServer::TearDown() {
  if (server_ != nullptr) expect_all_gone();
  server_.reset();
  store_.reset();
}

std::unique_ptr<TestClient> FrontServer::log_in(const std::string& source, std::size_t mailbox) {
  const policy::MailboxSettings& rules = settings_.mailboxes[mailbox];
  const bool is_pop3 = rules.protocol == policy::MailboxProtocol::pop3;
  auto client = std::make_unique<TestClient>(source, server_->mailbox_port(mailbox));
  if (rules.tls == policy::TlsMode::implicit) {
    EXPECT_TRUE(client->handshake());
  }
  EXPECT_TRUE(client->line().starts_with(is_pop3 ? "+OK" : "* OK"));
  if (rules.tls == policy::TlsMode::starttls) {
    EXPECT_TRUE(client->command(is_pop3 ? "STLS" : "s STARTTLS").starts_with(is_pop3 ? "+OK" : "s OK"));
    EXPECT_TRUE(client->handshake());
  }
  if (is_pop3) {
    EXPECT_TRUE(client->command("USER anna@example.net").starts_with("+OK"));
    EXPECT_EQ(client->command("PASS secret"), "+OK Logged in.");
  } else {
    client->send("a LOGIN anna@example.net secret\r\n");
    std::string answer = client->line();
    if (answer.starts_with("* ")) answer = client->line();
    EXPECT_TRUE(answer.starts_with("a OK")) << answer;
  }
  return client;
}

void FrontServer::await(const std::function<bool(WorkerServer&)>& condition, std::string_view what) {
  const auto until = std::chrono::steady_clock::now() + std::chrono::seconds(20);
  for (bool is_so = false; !is_so;) {
    ASSERT_LT(std::chrono::steady_clock::now(), until) << "waited in vain for " << what;
    server_->await_turn();
    server_->on_worker([&](WorkerServer& worker) { is_so = condition(worker); });
  }
}

std::int64_t FrontServer::client_time() {
  timespec now{};
  clock_gettime(CLOCK_BOOTTIME, &now);
  return now.tv_sec;
}

bool FrontServer::is_granted(std::string_view address) {
  bool granted = false;
  server_->on_worker([&](WorkerServer& worker) {
    granted = worker.shared().logins.is_granted(*core::IpAddress::parse(address), worker.now().boot_seconds());
  });
  return granted;
}

void FrontServer::expect_all_gone() {
  const auto until = std::chrono::steady_clock::now() + std::chrono::seconds(20);
  while (server_->counters().mailbox_connections_open.get() != 0) {
    ASSERT_LT(std::chrono::steady_clock::now(), until) << "connections are left open";
    server_->await_turn();
  }
  await_no_connections(*server_);
  expect_nothing_held(*server_);
  server_->on_worker([](WorkerServer& worker) {
    EXPECT_EQ(worker.ring().buffers_free(), 128U) << "receive buffers were not given back";
    EXPECT_EQ(worker.fronts().pool().used_bytes(), 0U);
    EXPECT_EQ(worker.shared().connections_open.load(), 0U);
  });
}

}  // namespace postern::net::test
