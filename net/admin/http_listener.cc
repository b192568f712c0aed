// libmicrohttpd, driven by a thread of ours: its own threads could not end a client that sends an octet now and then.
#include "net/admin/http_listener.h"

#include <algorithm>
#include <cerrno>
#include <charconv>
#include <microhttpd.h>
#include <netinet/in.h>
#include <openssl/mem.h>
#include <poll.h>
#include <pthread.h>
#include <string>
#include <string_view>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <unistd.h>
#include <utility>
#include <vector>

#include "net/admin/http_routes.h"
#include "net/clock_now.h"
#include "net/server.h"

namespace postern::net {
namespace {

constexpr int kBacklog = 128;
constexpr int kLookAroundMs = 1000;

// A request under way.
struct Request {
  Request() = default;
  ~Request() { OPENSSL_cleanse(body.data(), body.size()); }
  Request(const Request&) = delete;
  Request& operator=(const Request&) = delete;

  bool takes_body = false;
  std::vector<char> body;  // reserved whole, so that growing leaves no copies behind
};

core::Result<int> listen_at(core::Endpoint& endpoint) {
  sockaddr_storage address{};
  const socklen_t size = endpoint.to_sockaddr(address);
  const int fd = socket(address.ss_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
  if (fd < 0) return core::fail_errno("socket", errno);
  const int on = 1;
  setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
  if (address.ss_family == AF_INET6) setsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, &on, sizeof on);
  if (bind(fd, reinterpret_cast<const sockaddr*>(&address), size) != 0 || ::listen(fd, kBacklog) != 0) {
    const int code = errno;
    close(fd);
    return core::fail_errno("listen on " + endpoint.text() + " (admin.http)", code);
  }
  socklen_t length = sizeof address;
  getsockname(fd, reinterpret_cast<sockaddr*>(&address), &length);
  endpoint = core::Endpoint::from_sockaddr(reinterpret_cast<const sockaddr&>(address)).value_or(endpoint);
  return fd;
}

core::IpAddress peer_of(MHD_Connection* connection) {
  const auto* info = MHD_get_connection_info(connection, MHD_CONNECTION_INFO_CLIENT_ADDRESS);
  if (info == nullptr || info->client_addr == nullptr) return {};
  const auto endpoint = core::Endpoint::from_sockaddr(*info->client_addr);
  return endpoint ? endpoint->address : core::IpAddress{};
}

std::string_view value_of(MHD_Connection* connection, MHD_ValueKind kind, const char* name) {
  const char* value = MHD_lookup_connection_value(connection, kind, name);
  return value != nullptr ? std::string_view(value) : std::string_view();
}

MHD_Result send_answer(MHD_Connection* connection, const admin::HttpAnswer& answer) {
  MHD_Response* response = MHD_create_response_from_buffer(
      answer.body.size(), const_cast<char*>(answer.body.data()), MHD_RESPMEM_MUST_COPY);
  if (response == nullptr) return MHD_NO;
  MHD_add_response_header(response, MHD_HTTP_HEADER_CONTENT_TYPE, std::string(answer.content_type).c_str());
  if (!answer.allow.empty()) MHD_add_response_header(response, MHD_HTTP_HEADER_ALLOW, std::string(answer.allow).c_str());
  const MHD_Result queued = MHD_queue_response(connection, answer.status, response);
  MHD_destroy_response(response);
  return queued;
}

}  // namespace

struct HttpListener::Connection {
  int socket = -1;
  core::IpAddress peer;
  std::int64_t since_boot_ns = 0;  // made, or done with the last request
  bool is_feed = false;
  bool is_ended = false;
  std::list<Connection>::iterator self;
};

// libmicrohttpd calls these in run()'s thread.
struct HttpListener::Callbacks {
  static MHD_Result admit(void* listener, const sockaddr* address, socklen_t) {
    auto* self = static_cast<HttpListener*>(listener);
    const core::IpAddress peer = core::Endpoint::from_sockaddr(*address).value_or(core::Endpoint{}).address;
    if (admin::is_feed(self->server_, peer)) return MHD_YES;
    int others = 0;
    int its_own = 0;
    for (const Connection& each : self->connections_) {
      if (each.is_feed) continue;
      ++others;
      if (each.peer == peer) ++its_own;
    }
    if (others < kOthersMax && its_own < kOthersPerAddress) return MHD_YES;
    log(self->server_, "http_shed", peer, "too many connections");
    return MHD_NO;
  }

  static void note_connection(void* listener, MHD_Connection* connection, void** context,
                              MHD_ConnectionNotificationCode what) {
    auto& connections = static_cast<HttpListener*>(listener)->connections_;
    if (what == MHD_CONNECTION_NOTIFY_STARTED) {
      const auto* info = MHD_get_connection_info(connection, MHD_CONNECTION_INFO_CONNECTION_FD);
      Connection& made = connections.emplace_front();
      made.self = connections.begin();
      made.socket = info != nullptr ? info->connect_fd : -1;
      made.peer = peer_of(connection);
      made.is_feed = admin::is_feed(static_cast<HttpListener*>(listener)->server_, made.peer);
      made.since_boot_ns = clock_now().boot_ns;
      *context = &made;
    } else if (*context != nullptr) {
      connections.erase(static_cast<Connection*>(*context)->self);
      *context = nullptr;
    }
  }

  static void note_completed(void*, MHD_Connection* connection, void** context, MHD_RequestTerminationCode) {
    delete static_cast<Request*>(*context);
    *context = nullptr;
    const auto* info = MHD_get_connection_info(connection, MHD_CONNECTION_INFO_SOCKET_CONTEXT);
    if (info != nullptr && info->socket_context != nullptr) {
      static_cast<Connection*>(info->socket_context)->since_boot_ns = clock_now().boot_ns;
    }
  }

  static admin::HttpQuestion question_of(MHD_Connection* connection, const char* method, const char* path) {
    return {method, path, value_of(connection, MHD_GET_ARGUMENT_KIND, "command"), peer_of(connection)};
  }

  // The headers are there.
  static MHD_Result begin(Server& server, MHD_Connection* connection, const admin::HttpQuestion& question,
                          void** context) {
    auto* request = new Request;
    *context = request;
    if (question.method != "POST") return MHD_YES;
    admin::HttpAnswer refusal;
    if (!admin::wants_http_body(server, question, refusal)) return send_answer(connection, refusal);
    const std::string_view told = value_of(connection, MHD_HEADER_KIND, MHD_HTTP_HEADER_CONTENT_LENGTH);
    std::size_t length = 0;
    std::from_chars(told.data(), told.data() + told.size(), length);
    if (length > kBodyBytesMax) return refuse_body(server, connection, question.peer);
    request->takes_body = true;
    request->body.reserve(kBodyBytesMax);
    return MHD_YES;
  }

  static MHD_Result refuse_body(Server& server, MHD_Connection* connection, const core::IpAddress& peer) {
    log(server, "feed_malformed", peer, "a body over 65536 octets");
    admin::HttpAnswer answer;
    answer.status = 413;
    answer.body = "a body may have 65536 octets\n";
    return send_answer(connection, answer);
  }

  static MHD_Result handle(void* self, MHD_Connection* connection, const char* path, const char* method, const char*,
                           const char* data, std::size_t* size, void** context) {
    Server& server = static_cast<HttpListener*>(self)->server_;
    const admin::HttpQuestion question = question_of(connection, method, path);
    if (*context == nullptr) return begin(server, connection, question, context);
    auto& request = *static_cast<Request*>(*context);
    if (*size == 0) return send_answer(connection, admin::answer_http(server, question, request.body));
    const std::size_t octets = std::exchange(*size, 0);
    if (!request.takes_body) return MHD_YES;
    if (request.body.size() + octets > kBodyBytesMax) {
      // In pieces of no length told: there is no way to answer in the middle of it.
      log(server, "feed_malformed", question.peer, "a body over 65536 octets");
      return MHD_NO;
    }
    request.body.insert(request.body.end(), data, data + octets);
    return MHD_YES;
  }

  static void log(Server& server, const char* event, const core::IpAddress& peer, std::string_view why) {
    server.with_log([&](core::LogRing& ring) {
      core::LogLine(ring, clock_now(), core::Severity::warning, event)
          .add("client", peer)
          .add("reason", why)
          .flood_key(peer.low() ^ peer.high() ^ 0x413);
    });
  }
};

HttpListener::HttpListener(Server& server) : server_(server) {}

core::Result<std::unique_ptr<HttpListener>> HttpListener::start(Server& server, core::Endpoint endpoint) {
  auto socket = listen_at(endpoint);
  if (!socket) return std::unexpected(socket.error());
  std::unique_ptr<HttpListener> listener(new HttpListener(server));
  listener->stop_event_ = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
  if (listener->stop_event_ < 0) {
    const int code = errno;
    close(*socket);
    return core::fail_errno("eventfd", code);
  }
  HttpListener* self = listener.get();
  listener->daemon_ = MHD_start_daemon(
      MHD_USE_EPOLL, 0, &Callbacks::admit, self, &Callbacks::handle, self,            //
      MHD_OPTION_LISTEN_SOCKET, *socket,                                              //
      MHD_OPTION_CONNECTION_LIMIT, kConnectionsMax,                                   //
      MHD_OPTION_CONNECTION_MEMORY_LIMIT, kHeaderBytesMax,                            //
      MHD_OPTION_CONNECTION_TIMEOUT, static_cast<unsigned>(kRequestSeconds),          //
      MHD_OPTION_SIGPIPE_HANDLED_BY_APP, 1,                                           //
      MHD_OPTION_NOTIFY_CONNECTION, &Callbacks::note_connection, self,                //
      MHD_OPTION_NOTIFY_COMPLETED, &Callbacks::note_completed, self, MHD_OPTION_END);
  if (listener->daemon_ == nullptr) {
    close(*socket);
    return core::fail("the HTTP listener of admin.http cannot start (libmicrohttpd)");
  }
  server.with_log([&](core::LogRing& ring) {
    core::LogLine(ring, clock_now(), core::Severity::info, "listening")
        .add("service", "admin.http")
        .add("address", endpoint.text());
  });
  listener->thread_ = std::thread([self] { self->run(); });
  return listener;
}

HttpListener::~HttpListener() {
  if (thread_.joinable()) {
    eventfd_write(stop_event_, 1);
    thread_.join();
  }
  if (daemon_ != nullptr) MHD_stop_daemon(daemon_);  // closes the listening socket, and forgets the connections
  if (stop_event_ >= 0) close(stop_event_);
}

void HttpListener::run() {
  pthread_setname_np(pthread_self(), "http");
  const auto* info = MHD_get_daemon_info(daemon_, MHD_DAEMON_INFO_EPOLL_FD);
  pollfd watched[2] = {{info->epoll_fd, POLLIN, 0}, {stop_event_, POLLIN, 0}};
  while (watched[1].revents == 0) {
    MHD_UNSIGNED_LONG_LONG wait_ms = 0;
    const bool has_wait = MHD_get_timeout(daemon_, &wait_ms) == MHD_YES;
    const int ms = has_wait ? static_cast<int>(std::min<MHD_UNSIGNED_LONG_LONG>(wait_ms, kLookAroundMs)) : kLookAroundMs;
    if (poll(watched, 2, ms) < 0) watched[0].revents = watched[1].revents = 0;
    MHD_run(daemon_);
    end_slow_ones();
  }
}

// Their sockets are theirs until libmicrohttpd hears of the end and says so (note_connection).
void HttpListener::end_slow_ones() {
  const std::int64_t now = clock_now().boot_ns;
  for (Connection& each : connections_) {
    if (each.is_ended || now - each.since_boot_ns < kRequestSeconds * core::kNanosecondsPerSecond) continue;
    each.is_ended = true;
    shutdown(each.socket, SHUT_RDWR);
  }
}

}  // namespace postern::net
