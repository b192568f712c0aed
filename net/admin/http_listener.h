// The HTTP/1.1 listener of admin.http: metrics and health for monitors, Dovecot's auth-policy requests. What is answered:
// http_routes.h. No TLS, no passwords: a loopback address, or a network of its own.
//
// Thread: one of its own, which does everything; never a worker. While it waits for a worker (metrics, readiness: a second
// at most) nobody else is answered.
// Bounds: kConnectionsMax connections; of addresses that are not in logins.feeds kOthersMax, and kOthersPerAddress each, so
// that a flood keeps no feed out; kHeaderBytesMax of headers, kBodyBytesMax of body. A request that is not over
// kRequestSeconds after its connection was made, or after the one before it, ends with its connection.
#pragma once

#include <cstddef>
#include <cstdint>
#include <list>
#include <memory>
#include <thread>

#include "core/ip_address.h"
#include "core/result.h"

struct MHD_Daemon;

namespace postern::net {

class Server;

class HttpListener {
 public:
  static constexpr unsigned kConnectionsMax = 256;  // Dovecot's auth process keeps up to 100
  static constexpr int kOthersMax = 128;
  static constexpr int kOthersPerAddress = 32;
  static constexpr std::size_t kHeaderBytesMax = 16 * 1024;
  static constexpr std::size_t kBodyBytesMax = 64 * 1024;
  static constexpr std::int64_t kRequestSeconds = 30;

  // Port 0 takes a free one; the log says which ("listening"). Error: the address cannot be bound. `server` must outlive
  // the listener, and may drain and stop before it.
  static core::Result<std::unique_ptr<HttpListener>> start(Server& server, core::Endpoint endpoint);
  ~HttpListener();
  HttpListener(const HttpListener&) = delete;
  HttpListener& operator=(const HttpListener&) = delete;

 private:
  struct Connection;
  struct Callbacks;

  explicit HttpListener(Server& server);
  void run();
  void end_slow_ones();

  Server& server_;
  MHD_Daemon* daemon_ = nullptr;
  int stop_event_ = -1;
  std::list<Connection> connections_;
  std::thread thread_;
};

}  // namespace postern::net
