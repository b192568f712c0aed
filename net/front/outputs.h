// What is being said to a client and to its store before the login, in one block of the session pool.
#pragma once

#include <sys/socket.h>

#include "net/front/front.h"
#include "net/mailbox/output.h"

namespace postern::net {

struct Front::Outputs {
  char client_memory[3840];
  char store_memory[3840];
  mailbox::Output to_client{client_memory, sizeof client_memory};
  mailbox::Output to_store{store_memory, sizeof store_memory};
  sockaddr_storage store_address{};  // until the connection is made
};

}  // namespace postern::net
