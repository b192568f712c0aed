// The control socket: how `postern queue` and other tools of this machine talk to a running server.
//
// A Unix stream socket with mode 0600. One request a connection: a line of words, ended by LF. The answer: a first line
// "ok" or "error: why", then lines of text, then the end of the stream.
//
//   status                          counters
//   queue list [LIMIT]              the oldest messages, a line each
//   queue show ID
//   queue retry ID|all
//   queue remove ID
//   guard list, guard clear ...     who is barred for guessing passwords
//   login add|list|remove ...       POP-before-SMTP: login_requests.h
//
// A thread of its own; it asks workers through the mesh and never touches what is theirs.
// Bounds: one request at a time, kRequestBytes long, kRequestSeconds to come in.
#pragma once

#include <memory>
#include <string>
#include <string_view>
#include <thread>

#include "core/result.h"

namespace postern::net {

class Server;

class Control {
 public:
  static constexpr std::size_t kRequestBytes = 4096;
  static constexpr int kRequestSeconds = 5;

  // Removes a socket that a dead server left behind. Error: the path cannot be bound, or another server answers on it.
  static core::Result<std::unique_ptr<Control>> start(Server& server, const std::string& path);
  ~Control();
  Control(const Control&) = delete;
  Control& operator=(const Control&) = delete;

 private:
  Control(Server& server, std::string path, int listener, int stop_pipe_read, int stop_pipe_write);
  void run();
  void serve(int connection);

  Server& server_;
  std::string path_;
  int listener_;
  int stop_read_;
  int stop_write_;
  std::thread thread_;
};

// The answer to one request, with its first line; separate from the socket for tests.
[[nodiscard]] std::string answer_request(Server& server, std::string_view request);

// The client's side: sends the request, returns the answer's text without its first line, or the error it names.
[[nodiscard]] core::Result<std::string> ask_server(const std::string& path, std::string_view request);

}  // namespace postern::net
