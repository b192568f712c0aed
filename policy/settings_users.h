// The parts of the settings file about who proves who they are: [[certificate]], [users], [tokens], [guard], [quota] and
// [service.auth]. Internal to parse_settings. Thread: one; cold.
#pragma once

#include <cstddef>
#include <string>
#include <string_view>
#include <toml++/toml.h>
#include <vector>

#include "policy/settings.h"

namespace postern::policy {

class TableReader;

// All but [service.auth], from the top of the file.
void read_user_tables(TableReader& top, Settings& settings, std::vector<Diagnostic>& diagnostics);
void read_auth(const toml::table& table, AuthSettings& auth, std::vector<Diagnostic>& diagnostics);

// What only the whole tells: TLS without a certificate, mechanisms without what they need.
void check_user_tables(const Settings& settings, std::vector<Diagnostic>& diagnostics);

// A whole path that begins with '/', at most `most` octets.
void read_path(TableReader& reader, std::string_view key, std::size_t most, std::string& path);

}  // namespace postern::policy
