// Login questions answered by Dovecot's auth service, over the UNIX socket and the protocol that Postfix and Exim speak
// to it (Dovecot's "Authentication Protocol", version 1.2): users then live where the mail store's do.
//
// PLAIN and LOGIN only: Dovecot keeps its verifiers to itself. Whoever Dovecot lets in may relay and has no limits of
// his own; senders are those of his name. Bounds: a question, with all that is read and written for it, ends after
// `patience`; lines of at most 8 KiB. A socket that hangs, closes or talks nonsense is "no answer now" (454), and connected anew at the next question.
// After one that hangs nothing is asked for as long again, so that the logins that wait do not each wait it out.
// Dovecot is told the client's address, for its log and its allow_nets, and to leave its own penalty for failures out:
// guessing is the guess guard's business.
#pragma once

#include <chrono>
#include <memory>
#include <string>

#include "core/result.h"
#include "net/users/credential_source.h"

namespace postern::net::users {

inline constexpr std::chrono::milliseconds kDovecotPatience = std::chrono::seconds(10);

// Connects when it is first asked: Dovecot may start later than we do. Error: the path cannot be a socket's.
core::Result<std::unique_ptr<CredentialSource>> open_dovecot_source(
    const std::string& path, std::chrono::milliseconds patience = kDovecotPatience);

}  // namespace postern::net::users
