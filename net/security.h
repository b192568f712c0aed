// What the settings name by files and a snapshot needs read: certificates, client authorities, token keys.
//
// Blocks; not in a worker.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "core/result.h"
#include "net/snapshot.h"
#include "policy/settings.h"

namespace postern::net {

// Certificates of [[certificate]]; when a service has TLS and there is none, the self-signed one in the state folder,
// which is made if it is missing. `notes`: a line each for the log; what inspect() finds, and that a certificate was made.
[[nodiscard]] core::Result<SecurityParts> load_security(const policy::Settings& settings, tls::TicketKeys& tickets,
                                                        std::int64_t unix_now, std::vector<std::string>& notes);

// For `postern check`: everything wrong with the files that the settings name. Makes nothing.
[[nodiscard]] std::vector<policy::Diagnostic> check_security(const policy::Settings& settings, std::int64_t unix_now);

}  // namespace postern::net
