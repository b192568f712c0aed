#include "net/user_options.h"

#include <cstdint>

namespace postern::net {

UserOptions::UserOptions(CLI::App& app)
    : user_(app.add_subcommand("user",
                               "Users who may log in: their passwords, privileges, senders and limits. A running "
                               "server notices a change within seconds.")) {
  user_->require_subcommand(1);
  user_->fallthrough();
  config_ = user_->add_option("--config", arguments_.config, "Settings file, which names the store (users.store)");
  config_->capture_default_str();
  user_->add_option("--store", arguments_.store, "File of the users, instead of the one the settings name");

  CLI::App* command = add(UserAction::add, "add", "Add a user; the password is asked for, and refused when it is weak");
  add_name(command);
  add_password(command);
  add_rights(command);
  command = add(UserAction::passwd, "passwd", "Give a user another password");
  add_name(command);
  add_password(command);
  command = add(UserAction::set, "set", "Change a user's privilege, senders and limits");
  add_name(command);
  add_rights(command);
  command->add_option("--no-sender", arguments_.no_senders, "Take an address or domain off the user's senders")
      ->allow_extra_args(false);
  add(UserAction::list, "list", "All users, a line each");
  add_name(add(UserAction::show, "show", "One user, and what is kept of its password"));
  add_name(add(UserAction::disable, "disable", "Let a user log in no more, until 'enable'"));
  add_name(add(UserAction::enable, "enable", "Let a disabled user log in again"));
  add_name(add(UserAction::remove, "remove", "Remove a user"));
  add_name(add(UserAction::release, "release", "Release a user whom the server holds because of its limits"));

  command =
      add(UserAction::import_list, "import",
          "Add the users of a list, all or none: lines NAME:{SCHEME}HASH, as Dovecot's passwd-file and /etc/shadow "
          "have them. Passwords in the clear are hashed.");
  command->add_option("FILE", arguments_.file, "The list; -: standard input")->required();
  add_relay(command);
  command->add_flag("--cram-md5", arguments_.cram_md5, "Take CRAM-MD5 verifiers over, whatever users.cram_md5 says");
  command->add_option("--threads", arguments_.threads, "For hashing; 0: one a core")->capture_default_str();
  command = add(UserAction::export_list, "export", "Print all users in the form that import reads, hashes included");
  command->add_flag("--with-hashes", arguments_.with_hashes, "Yes, with everybody's password hashes");
  command =
      add(UserAction::audit, "audit",
          "Find accounts with a password that is easy to guess: prints their names, and ends with status 3 when there "
          "are any");
  command->add_option("NAME", arguments_.name, "Only this user");
  command->add_option("--guesses", arguments_.guesses, "How many to try for each account, the likeliest first")
      ->check(CLI::Range(1, 100000))
      ->capture_default_str();
  command->add_option("--threads", arguments_.threads, "0: one a core")
      ->check(CLI::Range(0, 1024))
      ->capture_default_str();
}

CLI::App* UserOptions::add(UserAction action, const char* name, const char* what) {
  commands_.emplace_back(action, user_->add_subcommand(name, what));
  return commands_.back().second;
}

void UserOptions::add_name(CLI::App* command) {
  command->add_option("NAME", arguments_.name, "The user's name, such as anna@example.net")->required();
}

void UserOptions::add_password(CLI::App* command) {
  command->add_flag("--stdin", arguments_.from_stdin, "Read the password from standard input instead of the terminal");
  command->add_flag("--cram-md5", arguments_.cram_md5,
                    "Keep a CRAM-MD5 verifier, whatever users.cram_md5 says: as good as the password to who steals it");
}

void UserOptions::add_relay(CLI::App* command) {
  CLI::Option* may = command->add_flag_callback(
      "--relay", [this] { arguments_.may_relay = true; }, "May relay mail beyond this server; new users may");
  command
      ->add_flag_callback(
          "--no-relay", [this] { arguments_.may_relay = false; }, "May not")
      ->excludes(may);
}

void UserOptions::add_rights(CLI::App* command) {
  add_relay(command);
  command
      ->add_option("--sender", arguments_.senders,
                   "An address or whole domain to send as, beside the own name: a@example.net, @example.net, or * for "
                   "everything. May be repeated")
      ->allow_extra_args(false);
  command->add_option("--messages-per-hour", arguments_.messages_per_hour, "0: as the server's settings say");
  command->add_option("--messages-per-day", arguments_.messages_per_day, "Likewise");
  command->add_option("--recipients-per-hour", arguments_.recipients_per_hour, "Likewise");
  command->add_option("--recipients-per-day", arguments_.recipients_per_day, "Likewise");
}

std::optional<int> UserOptions::run() {
  for (const auto& [action, command] : commands_) {
    if (!command->parsed()) continue;
    arguments_.names_config = config_->count() > 0;
    return user_command(action, arguments_);
  }
  return std::nullopt;
}

}  // namespace postern::net
