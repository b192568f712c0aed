// What a [[service]] and a [[mailbox]] have in common: a name, addresses to listen on, TLS, who may connect. Internal to
// parse_settings. Thread: one; cold.
//
// `what` is "service" or "mailbox", for the messages.
#pragma once

#include <set>
#include <string>
#include <string_view>
#include <vector>

#include "policy/settings.h"

namespace postern::policy {

class TableReader;

// `names`: those of all services and mailboxes so far. They share log and metrics, so that no two may be the same.
void read_name(TableReader& reader, std::string_view what, std::string& name, std::set<std::string>& names);
// `example`: addresses and ports as a TOML list without its brackets.
void read_listen(TableReader& reader, std::string_view what, std::string_view example,
                 std::vector<core::Endpoint>& listen);
[[nodiscard]] TlsMode read_tls(TableReader& reader);
void read_access(TableReader& reader, std::vector<std::string>& access);

}  // namespace postern::policy
