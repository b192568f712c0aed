// The parts of the settings file that repeat: [[service]], [[mailbox]] and [[route]]. Internal to parse_settings. Thread:
// one; cold.
#pragma once

#include <toml++/toml.h>
#include <vector>

#include "policy/settings.h"

namespace postern::policy {

void read_services(const std::vector<const toml::table*>& tables, Settings& settings,
                   std::vector<Diagnostic>& diagnostics);
// After the services: names and listeners are told apart over both.
void read_mailboxes(const std::vector<const toml::table*>& tables, Settings& settings,
                    std::vector<Diagnostic>& diagnostics);
void read_routes(const std::vector<const toml::table*>& tables, Settings& settings,
                 std::vector<Diagnostic>& diagnostics);

}  // namespace postern::policy
