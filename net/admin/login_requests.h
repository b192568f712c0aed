// The control socket's requests about POP-before-SMTP. What a mail store's own scripts use: one line in, one line out.
//
//   login add ADDRESS [SECONDS|- [USER]]   this machine logged in; "-": the settings' window. USER, which may hold
//                                          blanks, is for the log
//   login list [LIMIT] [json]              live logins, those that last longest first
//   login remove ADDRESS
#pragma once

#include <string>
#include <string_view>
#include <vector>

namespace postern::net {

class Server;

// `words` are those of `request`. The answer with its first line, as answer_request() gives it.
[[nodiscard]] std::string login_request(Server& server, const std::vector<std::string_view>& words,
                                        std::string_view request);

}  // namespace postern::net
