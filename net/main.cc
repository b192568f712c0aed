// The `postern` program: reads the command line and runs one command.

#include <cstdint>
#include <string>

#include <CLI/CLI.hpp>
#include <fmt/format.h>

#include "core/resource_limits.h"
#include "net/admin/commands.h"
#include "net/user_options.h"
#include "net/version.h"

int main(int count, char** words) {
  using namespace postern::net;
  postern::core::forbid_core_dumps();  // every command may come to hold a password or a key
  CLI::App app{"Postern: a mail relay. It takes mail in, decides who may relay, puts each message on disk before it says\n"
               "250, and carries it to the next hop."};
  app.require_subcommand(1);
  app.footer("'postern COMMAND --help' explains a command. Settings: postern check FILE.");

  std::string config = kDefaultConfig;
  CLI::App* serve = app.add_subcommand("serve", "Run the server in the foreground. SIGTERM drains and ends it, SIGHUP "
                                                "reloads the settings and reopens the log.");
  serve->add_option("--config", config, "Settings file")->capture_default_str();

  CLI::App* check = app.add_subcommand("check", "Print what a settings file means: the policy of each service, ignored "
                                                "options, errors, warnings, and the memory its bounds add up to.");
  check->add_option("FILE", config, "Settings file")->capture_default_str();

  ExplainArguments explained;
  CLI::App* explain = app.add_subcommand("explain", "Print the whole relay decision for one client, sender and "
                                                    "recipient: each step, and the one that decides.");
  explain->add_option("--config", explained.config, "Settings file")->capture_default_str();
  explain->add_option("--service", explained.service, "Name of the service, as in [[service]]")->required();
  explain->add_option("--client", explained.client, "IP address of the client")->required();
  explain->add_option("--user", explained.user, "Authenticated as this user (holding the relay privilege)");
  explain->add_flag("--no-privilege", explained.no_privilege, "... who does not hold the relay privilege");
  explain->add_flag("--login", explained.has_login, "The machine logged in to POP3 or IMAP just now");
  explain->add_option("--from", explained.from, "MAIL FROM address; <> or nothing: the null reverse-path");
  explain->add_option("--to", explained.to, "RCPT TO address")->required();

  std::string socket = kDefaultSocket;
  std::string queue_id;
  std::size_t limit = 100;
  CLI::App* queue = app.add_subcommand("queue", "Look at the queue of the running server, and act on it.");
  queue->require_subcommand(1);
  queue->add_option("--socket", socket, "Control socket of the server (admin.socket)")->capture_default_str();
  queue->fallthrough();
  CLI::App* list = queue->add_subcommand("list", "The oldest messages, a line each");
  list->add_option("--limit", limit, "How many")->capture_default_str();
  CLI::App* show = queue->add_subcommand("show", "One message and its recipients");
  show->add_option("ID", queue_id, "Queue id")->required();
  CLI::App* retry = queue->add_subcommand("retry", "Try a message, or all, now");
  retry->add_option("ID", queue_id, "Queue id, or 'all'")->required();
  CLI::App* remove = queue->add_subcommand("remove", "Remove a message; its sender is not told");
  remove->add_option("ID", queue_id, "Queue id")->required();

  CLI::App* status = app.add_subcommand("status", "Print the counters of the running server.");
  status->add_option("--socket", socket, "Control socket of the server (admin.socket)")->capture_default_str();

  std::string machine;
  std::string user;
  CLI::App* guard = app.add_subcommand("guard", "Who is barred for guessing passwords.");
  guard->require_subcommand(1);
  guard->add_option("--socket", socket, "Control socket of the server (admin.socket)")->capture_default_str();
  guard->fallthrough();
  CLI::App* guard_list = guard->add_subcommand("list", "Every bar, a line each");
  CLI::App* guard_clear = guard->add_subcommand("clear", "Lift the bars of a machine, a network or a user name");
  guard_clear->add_option("MACHINE", machine, "Address or prefix, such as 192.0.2.7 or 2001:db8::/48");
  guard_clear->add_option("--name", user, "User name");

  std::string login_machine;
  std::string login_user;
  std::uint32_t login_seconds = 0;
  std::size_t login_limit = 100;
  bool login_json = false;
  CLI::App* login = app.add_subcommand("login", "POP-before-SMTP: which machines logged in to POP3 or IMAP, and may relay "
                                                "where after_login is on.");
  login->require_subcommand(1);
  login->add_option("--socket", socket, "Control socket of the server (admin.socket)")->capture_default_str();
  login->fallthrough();
  CLI::App* login_add = login->add_subcommand("add", "Record a login, as the mail store saw it");
  login_add->add_option("ADDRESS", login_machine, "IP address of the client")->required();
  login_add->add_option("--user", login_user, "Who logged in, for the log");
  login_add->add_option("--seconds", login_seconds, "How long it counts, up to seven days; otherwise "
                                                    "logins.window_seconds")->check(CLI::Range(1, 7 * 86400));
  CLI::App* login_list = login->add_subcommand("list", "Live logins, a line each");
  login_list->add_option("--limit", login_limit, "How many")->capture_default_str();
  login_list->add_flag("--json", login_json, "As JSON");
  CLI::App* login_remove = login->add_subcommand("remove", "End a login before its time");
  login_remove->add_option("ADDRESS", login_machine, "IP address of the client")->required();

  UserOptions users(app);

  std::string spool;
  std::string folder;
  CLI::App* spool_command = app.add_subcommand("spool", "Work on a spool offline.");
  spool_command->require_subcommand(1);
  CLI::App* dump = spool_command->add_subcommand(
      "dump", "Read a spool that no server runs on, and change nothing: list its messages, or write each to a file.");
  dump->add_option("DIR", spool, "The spool's folder")->required();
  dump->add_option("--to", folder, "Write each message to this folder, envelope in ID.envelope, content in ID.eml");

  CLI::App* demo = app.add_subcommand("demo", "Start a server with a next hop of its own, send a message through it, and "
                                              "show what was delivered. Nothing is left behind.");
  CLI::App* version = app.add_subcommand("version", "Print the version.");

  CLI11_PARSE(app, count, words);

  if (*serve) return serve_command(config);
  if (*check) return check_command(config);
  if (*explain) return explain_command(explained);
  if (*list) return request_command(socket, fmt::format("queue list {}", limit));
  if (*show) return request_command(socket, "queue show " + queue_id);
  if (*retry) return request_command(socket, "queue retry " + queue_id);
  if (*remove) return request_command(socket, "queue remove " + queue_id);
  if (*guard_list) return request_command(socket, "guard list");
  if (*guard_clear) {
    if (machine.empty() == user.empty()) {
      fmt::print(stderr, "postern: guard clear: name one machine, or one user with --name\n");
      return 2;
    }
    return request_command(socket, user.empty() ? "guard clear machine " + machine : "guard clear name " + user);
  }
  if (*login_add) {
    if (login_user.find('\n') != std::string::npos) {
      fmt::print(stderr, "postern: login add: a user name has no line break in it\n");
      return 2;
    }
    const std::string seconds = login_seconds != 0 ? std::to_string(login_seconds) : "-";
    return request_command(socket, fmt::format("login add {} {} {}", login_machine, seconds, login_user));
  }
  if (*login_list) return request_command(socket, fmt::format("login list {}{}", login_limit, login_json ? " json" : ""));
  if (*login_remove) return request_command(socket, "login remove " + login_machine);
  if (*status) return request_command(socket, "status");
  if (const auto status_of_users = users.run()) return *status_of_users;
  if (*dump) return spool_dump_command(spool, folder);
  if (*demo) return demo_command();
  if (*version) fmt::print("postern {}\n", kVersion);
  return 0;
}
