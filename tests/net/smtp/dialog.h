// Dialog files (tests/dialogs/*.dlg): what a client says and what the server must answer, readable by a postmaster.
//
//   # A comment. Empty lines count for nothing.
//   @set service.errors = 3       a setting of the server, as TOML would say it; before the first line of the talk.
//                                 KEY: hostname, lan, ...; limits.KEY; service.KEY; service.relay.KEY; service.auth.KEY
//   @client 127.0.2.9             where the client speaks from (default: 127.0.2.9, a stranger; the LAN is 127.0.1.0/24)
//   @memory                       only a driver that owns clock, logins and spool can play this one
//   @user anna@example.net secret relay
//                                 a user and the password; then words: relay, disabled, held, sender=@example.org (each
//                                 adds one), messages_per_hour=3 and the like
//   C: EHLO client.example.org    the client says this line and CRLF
//   C+ no line end                ... says this, and no CRLF
//   C*900 x                       ... says "x" 900 times, and no CRLF
//   S: 250 2.1.0 *                the next line of the server's replies; * stands for anything
//   @close                        the server closes the connection (after its replies);  @drop: without another word
//   M: text                       a line (and CRLF) of the content of the last message that was stored;  M+ M*: as C
//   @flags dot_stuffed binary     what is noted about that content; without words: nothing
//   @none                         no message was stored
//   @login 127.0.2.9              that machine has just logged in to POP3
//   @clock +301                   so many seconds pass
//   @admit no                     there is no space for the next message
//   @store failed                 the next message: failed | no_space
//   @handshake                    the client does its TLS handshake; what it said since the server awaits one is lost. Then
//                                 words: no_exporter (TLS without channel binding), certificate=NAME (verified)
//   @unavailable                  the next question about a login finds no answer
//   @logged failure anna PLAIN bad-credentials guess
//                                 what log and guess guard hear of the login that ended last; * as in S
//
// In C, M and S: \b{text} is the text in base 64. In C and M, and within \b{}: \r \n \t \\ \} and \xHH are the octets
// they name. @login, @clock, @admit, @store, @unavailable, @logged and the words of @handshake need @memory.
// Parsing only: who plays it is another file's business (memory_driver.h).
#pragma once

#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "policy/user.h"

namespace postern::net::smtp::test {

enum class DialogAct {
  send,    // text: octets
  expect,  // text: a pattern for one line, without CRLF
  close,
  drop,
  content,  // text: octets, appended to what the content must be
  flags,    // text: words
  no_content,
  login,  // text: an address
  clock,  // text: seconds
  admit,  // text: "no"
  store,  // text: "failed" or "no_space"
  handshake,    // text: words
  unavailable,
  logged,  // text: a pattern
};

struct DialogStep {
  DialogAct act;
  std::string text;
  int line = 0;  // in the file
};

struct DialogUser {
  policy::UserRecord record;
  std::string password;
};

struct Dialog {
  std::string name;
  std::string client = "127.0.2.9";
  bool needs_memory = false;
  std::map<std::string, std::string> settings;  // over the defaults: "service.errors" -> "3"
  std::vector<DialogUser> users;
  std::vector<DialogStep> steps;

  // The settings file this dialog asks for. A driver may put its own values in `settings` before.
  [[nodiscard]] std::string settings_text() const;
};

// nullopt: `why` says which line is wrong.
std::optional<Dialog> parse_dialog(std::string_view name, std::string_view text, std::string& why);
std::optional<Dialog> load_dialog(const std::string& path, std::string& why);

// "*" in the pattern matches any octets.
bool matches(std::string_view pattern, std::string_view text);

}  // namespace postern::net::smtp::test
