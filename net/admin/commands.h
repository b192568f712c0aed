// The commands of the `postern` program, one function each. They return the process's exit status:
// 0 done, 1 an error that was explained on standard error, 2 (from the parser) a wrong call.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <vector>

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

enum class UserAction {
  add,
  passwd,
  set,
  list,
  show,
  disable,
  enable,
  remove,
  release,
  import_list,
  export_list,
  audit,
};

struct UserArguments {
  std::string config = kDefaultConfig;
  std::string store;              // instead of users.store of the settings
  bool names_config = false;      // --config was given; without it --store needs no settings
  std::string name;
  bool from_stdin = false;        // the password
  bool cram_md5 = false;          // keep a CRAM-MD5 verifier although the settings do not say so
  std::optional<bool> may_relay;  // nullopt: as it is; new users may
  std::vector<std::string> senders;
  std::vector<std::string> no_senders;
  std::optional<std::uint32_t> messages_per_hour;
  std::optional<std::uint32_t> messages_per_day;
  std::optional<std::uint32_t> recipients_per_hour;
  std::optional<std::uint32_t> recipients_per_day;
  std::string file;               // import
  bool with_hashes = false;       // export
  std::size_t guesses = 1000;     // audit
  std::size_t threads = 0;        // 0: one a core
};

// Exit status of `postern user audit` when it found accounts with a guessable password.
inline constexpr int kAuditFound = 3;

// Runs the server until SIGTERM or SIGINT; SIGHUP reloads the settings and reopens the log.
int serve_command(const std::string& config);
int check_command(const std::string& config);
int explain_command(const ExplainArguments& arguments);
// Sends one request to a running server and prints the answer.
int request_command(const std::string& socket, const std::string& request);
// Writes every live message of a spool: to a folder (a file each), or a summary to standard output when it is empty.
int spool_dump_command(const std::string& spool, const std::string& folder);
// Works on the user store, whether a server runs or not: it notices.
int user_command(UserAction action, const UserArguments& arguments);
// Server, sink and client in one process: a message travels through, and is shown.
int demo_command();

}  // namespace postern::net
