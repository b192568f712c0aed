// Reading the settings file, with everything that is wrong with it as text for the operator.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "policy/settings.h"

namespace postern::net {

struct LoadedSettings {
  std::optional<policy::Settings> settings;       // nullopt: an error; `diagnostics` say which
  std::vector<policy::Diagnostic> diagnostics;    // of the file and of its meaning
  std::string read_error;                         // the file could not be read at all
};

// Reads, parses and checks (open relays, ignored options). Blocks.
[[nodiscard]] LoadedSettings load_settings(const std::string& path);

}  // namespace postern::net
