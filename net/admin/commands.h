// The commands of the `postern` program, one function each. They return the process's exit status:
// 0 done, 1 an error that was explained on standard error, 2 (from the parser) a wrong call.
#pragma once

#include <string>

namespace postern::net {

inline constexpr const char* kDefaultConfig = "/etc/postern/postern.toml";
inline constexpr const char* kDefaultSocket = "/run/postern/control";

struct ExplainArguments {
  std::string config = kDefaultConfig;
  std::string service;
  std::string client;
  std::string user;        // empty: not authenticated
  std::string from;        // empty: <>
  std::string to;
  bool no_privilege = false;
  bool has_login = false;
};

// Runs the server until SIGTERM or SIGINT; SIGHUP reloads the settings and reopens the log.
int serve_command(const std::string& config);
int check_command(const std::string& config);
int explain_command(const ExplainArguments& arguments);
// Sends one request to a running server and prints the answer.
int request_command(const std::string& socket, const std::string& request);
// Writes every live message of a spool: to a folder (a file each), or a summary to standard output when it is empty.
int spool_dump_command(const std::string& spool, const std::string& folder);
// Server, sink and client in one process: a message travels through, and is shown.
int demo_command();

}  // namespace postern::net
