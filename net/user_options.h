// The command line of `postern user`.
#pragma once

#include <CLI/CLI.hpp>
#include <memory>
#include <optional>
#include <utility>
#include <vector>

#include "net/admin/commands.h"

namespace postern::net {

class UserOptions {
 public:
  explicit UserOptions(CLI::App& app);  // adds the command to `app`, which does not outlive this
  UserOptions(const UserOptions&) = delete;
  UserOptions& operator=(const UserOptions&) = delete;

  // After parsing: runs the command that was chosen. nullopt: none of these.
  [[nodiscard]] std::optional<int> run();

 private:
  CLI::App* add(UserAction action, const char* name, const char* what);
  void add_name(CLI::App* command);
  void add_password(CLI::App* command);
  void add_relay(CLI::App* command);
  void add_rights(CLI::App* command);

  UserArguments arguments_;
  CLI::App* user_;
  CLI::Option* config_ = nullptr;
  std::vector<std::pair<UserAction, CLI::App*>> commands_;
};

}  // namespace postern::net
