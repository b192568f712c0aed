// The POP3/IMAP front over the real ring, between a client and a store that are threads of the test: logins, what they
// grant and when, octets both ways, and everything that can go wrong with a store or a client.
#include <gtest/gtest.h>
#include <memory>
#include <string>

#include "tests/net/server/front_support.h"
#include "tests/net/server/test_server.h"
#include "tests/net/server/tls_settings.h"

namespace postern::net::test {
namespace {

using policy::MailboxProtocol;
using policy::TlsMode;

TEST_F(FrontServer, APop3LoginIsRecordedAndTheRestPassedOn) {
  store_script([](StorePeer& store) {
    store.greet_pop3();
    EXPECT_EQ(store.line(), "USER anna@example.net");
    store.send("+OK\r\n");
    EXPECT_EQ(store.line(), "PASS secret");
    store.send("+OK Logged in.\r\n");
    EXPECT_EQ(store.line(), "STAT");
    store.send("+OK 2 320\r\n");
    EXPECT_EQ(store.line(), "QUIT");
    store.send("+OK Bye\r\n");
  });
  start();
  TestClient client("127.0.0.1", server_->mailbox_port());
  EXPECT_EQ(client.line().substr(0, 3), "+OK");
  EXPECT_EQ(client.command("USER anna@example.net").substr(0, 3), "+OK");
  EXPECT_FALSE(is_granted("127.0.0.1"));
  EXPECT_EQ(client.command("PASS secret"), "+OK Logged in.");
  EXPECT_TRUE(is_granted("127.0.0.1"));
  EXPECT_FALSE(is_granted("127.0.0.2"));
  EXPECT_EQ(client.command("STAT"), "+OK 2 320");
  EXPECT_EQ(client.command("QUIT"), "+OK Bye");
  EXPECT_EQ(client.line(), "(closed)");
}

}  // namespace
}  // namespace postern::net::test
