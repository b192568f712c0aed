// The POP3/IMAP front over the real ring, between clients and a store that is a script: logins, what they grant and when,
// what the store is told, and what is refused. front_passing_test.cc has what comes after the login.
#include <array>
#include <atomic>
#include <future>
#include <gtest/gtest.h>
#include <memory>
#include <netinet/tcp.h>
#include <string>
#include <sys/socket.h>

#include "tests/net/server/front_support.h"
#include "tests/net/server/test_server.h"
#include "tests/net/server/tls_settings.h"

namespace postern::net::test {
namespace {

using policy::MailboxProtocol;
using policy::TlsMode;

// --- the login table -----------------------------------------------------------------------------------------------

TEST_F(FrontServer, APop3LoginIsRecordedAndTheRestPassedOn) {
  store_script([](StorePeer& store) {
    store.take_login_pop3();
    EXPECT_EQ(store.line(), "STAT");
    store.send("+OK 2 320\r\n");
    EXPECT_EQ(store.line(), "QUIT");
    store.send("+OK Bye\r\n");
  });
  start();
  TestClient client("127.0.0.1", server_->mailbox_port());
  EXPECT_EQ(client.line(), "+OK Postern POP3 server ready");
  EXPECT_TRUE(client.command("USER anna@example.net").starts_with("+OK"));
  EXPECT_FALSE(is_granted("127.0.0.1"));
  EXPECT_EQ(client.command("PASS secret"), "+OK Logged in.");
  EXPECT_TRUE(is_granted("127.0.0.1"));
  EXPECT_FALSE(is_granted("127.0.0.2"));
  EXPECT_EQ(client.command("STAT"), "+OK 2 320");
  EXPECT_EQ(client.command("QUIT"), "+OK Bye");
  EXPECT_EQ(client.line(), "(closed)");
  ASSERT_EQ(server_->logged("login_recorded").size(), 1U);
  const auto logins = server_->logged("login");
  ASSERT_EQ(logins.size(), 1U);
  EXPECT_TRUE(logins[0].contains("service=pop3 client=127.0.0.1 user=anna@example.net")) << logins[0];
}

TEST_F(FrontServer, AnImapLoginIsRecorded) {
  mailbox().protocol = MailboxProtocol::imap;
  store_script([](StorePeer& store) {
    store.take_login_imap();
    EXPECT_EQ(store.line(), "b LOGOUT");
    store.send("* BYE\r\nb OK\r\n");
  });
  start();
  auto client = log_in("127.0.0.3");
  EXPECT_TRUE(server_->logins().is_granted(*core::IpAddress::parse("127.0.0.3"), client_time()));
  client->send("b LOGOUT\r\n");
  EXPECT_EQ(client->line(), "* BYE");
  EXPECT_EQ(client->line(), "b OK");
  EXPECT_EQ(client->line(), "(closed)");
}

// Whoever has read "+OK" finds himself in the table, from any thread, at once: 2,000 machines, each never seen before.
TEST_F(FrontServer, TheGrantIsThereBeforeTheSuccessIsTold) {
  store_script([](StorePeer& store) {
    store.take_login_pop3();
    store.ended();
  });
  settings_.lan = {*core::IpPrefix::parse("127.0.0.0/8")};
  start();
  for (int i = 0; i < 2000; ++i) {
    const std::string source = "127.1." + std::to_string(i / 200) + "." + std::to_string(1 + i % 200);
    const auto address = *core::IpAddress::parse(source);
    const auto client = log_in(source);
    ASSERT_TRUE(server_->logins().is_granted(address, client_time())) << source;
  }
  EXPECT_EQ(server_->counters().mailbox_logins_accepted.get(), 2000U);
}

TEST_F(FrontServer, NothingButASuccessGrants) {
  store_script([](StorePeer& store) {
    store.greet_pop3();
    EXPECT_EQ(store.line(), "USER anna@example.net");
    store.send("+OK\r\n");
    EXPECT_EQ(store.line(), "PASS guessed");
    store.send("-ERR [AUTH] Authentication failed.\r\n");
    store.line();
  });
  start({.guard = true});
  TestClient client("127.0.0.1", server_->mailbox_port());
  client.line();
  client.command("USER anna@example.net");
  EXPECT_TRUE(client.command("PASS guessed").starts_with("-ERR [AUTH]"));
  EXPECT_FALSE(is_granted("127.0.0.1"));
  const auto failed = server_->logged("login_failed");
  ASSERT_EQ(failed.size(), 1U);
  EXPECT_TRUE(failed[0].contains("reason=wrong-credentials")) << failed[0];
  EXPECT_EQ(server_->guard().counters().failures, 1U);
  EXPECT_EQ(server_->counters().mailbox_logins_refused.get(), 1U);
}

TEST_F(FrontServer, AMasterUserGrantsNothing) {
  mailbox().master_separator = '*';
  store_script([](StorePeer& store) {
    store.greet_pop3();
    EXPECT_EQ(store.line(), "USER anna@example.net*boss");
    store.send("+OK\r\n");
    EXPECT_EQ(store.line(), "PASS secret");
    store.send("+OK\r\n");
    EXPECT_EQ(store.line(), "NOOP");
    store.send("+OK\r\n");
  });
  start();
  TestClient client("127.0.0.1", server_->mailbox_port());
  client.line();
  client.command("USER anna@example.net*boss");
  EXPECT_TRUE(client.command("PASS secret").starts_with("+OK"));
  EXPECT_TRUE(client.command("NOOP").starts_with("+OK"));
  EXPECT_FALSE(is_granted("127.0.0.1"));
  EXPECT_EQ(server_->logged("login").size(), 1U);
}

// A client that hangs up before it is told is not let in.
TEST_F(FrontServer, AClientThatIsGoneBeforeTheAnswerGetsNothing) {
  std::promise<void> gone;
  const auto store_end = local_script([&](StorePeer& store) {
    store.greet_pop3();
    store.line();
    store.send("+OK\r\n");
    EXPECT_EQ(store.line(), "PASS secret");
    gone.get_future().wait();
    EXPECT_TRUE(store.ended());
  });
  start();
  TestClient client("127.0.0.1", server_->mailbox_port());
  client.line();
  client.send("USER anna@example.net\r\nPASS secret\r\n");
  EXPECT_TRUE(client.line().starts_with("+OK"));
  await([](WorkerServer& worker) { return worker.counters().mailbox_connections_open.get() == 1; }, "the client");
  client.reset();
  await([](WorkerServer& worker) { return worker.counters().mailbox_connections_open.get() == 0; }, "the client's end");
  gone.set_value();
  EXPECT_FALSE(is_granted("127.0.0.1"));
}

// One that only stopped talking waits for its answer.
TEST_F(FrontServer, AScriptThatClosesItsSideIsServed) {
  store_script([](StorePeer& store) {
    store.take_login_pop3();
    EXPECT_EQ(store.line(), "QUIT");
    EXPECT_TRUE(store.ended());
    store.send("+OK Bye\r\n");
  });
  start();
  TestClient client("127.0.0.1", server_->mailbox_port());
  client.send("USER anna@example.net\r\nPASS secret\r\nQUIT\r\n");
  client.shut();
  EXPECT_TRUE(client.line().starts_with("+OK Postern"));
  EXPECT_TRUE(client.line().starts_with("+OK"));
  EXPECT_EQ(client.line(), "+OK Logged in.");
  EXPECT_EQ(client.line(), "+OK Bye");
  EXPECT_EQ(client.line(), "(closed)");
  EXPECT_TRUE(is_granted("127.0.0.1"));
}

// --- who may connect, and guess ------------------------------------------------------------------------------------

TEST_F(FrontServer, ABarredMachineIsRefusedBeforeAnything) {
  settings_.mailboxes.resize(4, mailbox());
  settings_.mailboxes[1].protocol = MailboxProtocol::imap;
  settings_.mailboxes[2].tls = TlsMode::implicit;
  settings_.guard.failures = 2;
  store_script([](StorePeer& store) {
    store.greet_pop3();
    for (std::string line = store.line(); !line.starts_with("("); line = store.line()) {
      store.send(line.starts_with("USER") ? "+OK\r\n" : "-ERR [AUTH] No.\r\n");
    }
  });
  start({.guard = true});
  TestClient held("127.0.0.1", server_->mailbox_port());
  held.line();
  {
    TestClient guesser("127.0.0.1", server_->mailbox_port());
    guesser.line();
    for (int i = 0; i < 2; ++i) {
      guesser.command("USER user" + std::to_string(i));
      EXPECT_TRUE(guesser.command("PASS guess").starts_with("-ERR"));
    }
  }
  const auto barred = server_->logged("barred");
  ASSERT_EQ(barred.size(), 1U);
  EXPECT_TRUE(barred[0].contains("kind=machine network=127.0.0.1/32")) << barred[0];
  const std::size_t asked = store_->connections();
  TestClient pop3("127.0.0.1", server_->mailbox_port());
  EXPECT_EQ(pop3.line(), "-ERR [SYS/TEMP] Too many failed logins from your network, try again later");
  EXPECT_EQ(pop3.line(), "(closed)");
  TestClient imap("127.0.0.1", server_->mailbox_port(1));
  EXPECT_EQ(imap.line(), "* BYE [UNAVAILABLE] Too many failed logins from your network, try again later");
  EXPECT_EQ(imap.line(), "(closed)");
  TestClient tls("127.0.0.1", server_->mailbox_port(2));
  EXPECT_EQ(tls.receive_raw(), "") << "in plain text, where a handshake is awaited";
  TestClient smtp("127.0.0.1", server_->port());
  EXPECT_TRUE(smtp.line().starts_with("421 4.7.0"));
  EXPECT_EQ(store_->connections(), asked) << "the store hears nothing of them";
  // One that was here before the bar: no password is looked at any more.
  held.command("USER anna@example.net");
  EXPECT_TRUE(held.command("PASS secret").starts_with("-ERR"));
  EXPECT_EQ(held.line(), "(closed)");
  EXPECT_TRUE(server_->logged("login_failed").back().contains("reason=barred"));
  // Others are served.
  TestClient other("127.0.0.2", server_->mailbox_port());
  EXPECT_TRUE(other.line().starts_with("+OK"));
}

TEST_F(FrontServer, AccessAndTheMachinesOwnBound) {
  mailbox().access = {"127.0.0.1", "127.0.0.3"};
  settings_.limits.connections_per_machine = 1;
  store_script([](StorePeer& store) {
    store.greet_pop3();
    store.line();
  });
  start();
  TestClient stranger("127.0.0.2", server_->mailbox_port());
  EXPECT_EQ(stranger.line(), "-ERR [SYS/PERM] This service is not open to your address");
  EXPECT_EQ(stranger.line(), "(closed)");
  EXPECT_EQ(server_->logged("reject").size(), 1U);
  TestClient first("127.0.0.1", server_->mailbox_port());
  EXPECT_TRUE(first.line().starts_with("+OK"));
  TestClient second("127.0.0.1", server_->mailbox_port());
  EXPECT_EQ(second.line(), "-ERR [SYS/TEMP] Too many connections, try again later");
  EXPECT_EQ(second.line(), "(closed)");
  EXPECT_EQ(server_->logged("shed").size(), 1U);
  TestClient other("127.0.0.3", server_->mailbox_port());
  EXPECT_TRUE(other.line().starts_with("+OK"));
}

TEST_F(FrontServer, ThePlacesAreOfSmtpAndMailboxesTogether) {
  settings_.limits.connections = 2;
  store_script([](StorePeer& store) {
    store.greet_pop3();
    store.line();
  });
  start();
  TestClient smtp("127.0.0.1", server_->port());
  smtp.line();
  {
    TestClient first("127.0.0.1", server_->mailbox_port());
    first.line();
    TestClient second("127.0.0.1", server_->mailbox_port());
    EXPECT_EQ(second.line(), "-ERR [SYS/TEMP] Too many connections, try again later");
    EXPECT_EQ(server_->counters().connections_shed.get(), 1U);
    first.command("QUIT");
  }
  await([](WorkerServer& worker) { return worker.shared().connections_open.load() == 1; }, "the place to be free");
  TestClient third("127.0.0.1", server_->mailbox_port());
  EXPECT_TRUE(third.line().starts_with("+OK"));
}

// --- what the store is told ----------------------------------------------------------------------------------------

TEST_F(FrontServer, TheStoreIsToldTheClientByAProxyHeader) {
  settings_.mailboxes.resize(2, mailbox());
  settings_.mailboxes[1].tls = TlsMode::implicit;
  for (policy::MailboxSettings& each : settings_.mailboxes) each.store_proxy_protocol = true;
  std::promise<std::string> headers[2];
  std::atomic<int> connections{0};
  const auto store_end = local_script([&](StorePeer& store) {
    const int number = connections.fetch_add(1);
    std::string header = store.octets(16);
    const std::size_t length = static_cast<unsigned char>(header[14]) << 8 | static_cast<unsigned char>(header[15]);
    header += store.octets(length);
    headers[number].set_value(header);
    store.take_login_pop3();
    store.ended();
  });
  start();
  const std::string signature("\r\n\r\n\0\r\nQUIT\n\x21\x11", 14);
  {
    const auto client = log_in("127.0.0.5", 0);
    const std::string header = headers[0].get_future().get();
    ASSERT_EQ(header.size(), 28U);
    EXPECT_EQ(header.substr(0, 14), signature);
    EXPECT_EQ(header.substr(16, 8), std::string("\x7f\0\0\x05\x7f\0\0\x01", 8));
    const std::uint16_t port = server_->mailbox_port(0);
    EXPECT_EQ(header.substr(26, 2), std::string({static_cast<char>(port >> 8), static_cast<char>(port)}));
  }
  const auto client = log_in("127.0.0.5", 1);
  const std::string header = headers[1].get_future().get();
  ASSERT_GT(header.size(), 28U);
  // PP2_TYPE_SSL: encrypted (client 1), no certificate verified.
  EXPECT_EQ(header[28], 0x20);
  EXPECT_EQ(header.substr(31, 5), std::string("\1\0\0\0\1", 5));
  EXPECT_TRUE(header.contains("TLSv1.3"));
}

TEST_F(FrontServer, ABalancerNamesTheClient) {
  settings_.proxy_from = {*core::IpPrefix::parse("127.0.0.9")};
  settings_.lan.push_back(*core::IpPrefix::parse("203.0.113.0/24"));
  mailbox().proxy_protocol = true;
  store_script([](StorePeer& store) {
    store.take_login_pop3();
    store.ended();
  });
  start();
  for (const bool in_pieces : {false, true}) {
    const std::string machine = in_pieces ? "203.0.113.7" : "203.0.113.8";
    TestClient client("127.0.0.9", server_->mailbox_port());
    const std::string header = "PROXY TCP4 " + machine + " 192.0.2.1 40000 110\r\nUSER anna@example.net\r\n";
    if (in_pieces) {
      for (const char octet : header) {
        client.send_raw({&octet, 1});
        server_->await_turn();
      }
    } else {
      client.send_raw(header);
    }
    EXPECT_TRUE(client.line().starts_with("+OK Postern"));
    EXPECT_TRUE(client.line().starts_with("+OK"));
    EXPECT_TRUE(client.command("PASS secret").starts_with("+OK"));
    EXPECT_TRUE(is_granted(machine));
  }
  EXPECT_FALSE(is_granted("127.0.0.9"));
  // Who is no balancer is not asked, and nonsense is not answered.
  TestClient stranger("127.0.0.1", server_->mailbox_port());
  EXPECT_EQ(stranger.line(), "(closed)");
  TestClient nonsense("127.0.0.9", server_->mailbox_port());
  nonsense.send_raw("USER anna@example.net\r\n");
  EXPECT_EQ(nonsense.line(), "(closed)");
  EXPECT_EQ(server_->counters().connections_dropped.get(), 2U);
}

// A balancer's own connection is nobody's: it may log in (a health check does), and grants nothing.
TEST_F(FrontServer, ABalancersOwnConnectionGrantsNothing) {
  settings_.proxy_from = {*core::IpPrefix::parse("127.0.0.9")};
  mailbox().proxy_protocol = true;
  mailbox().tls = TlsMode::starttls;
  store_script([](StorePeer& store) {
    store.take_login_pop3();
    store.ended();
  });
  start();
  TestClient client("127.0.0.9", server_->mailbox_port());
  client.send_raw("PROXY UNKNOWN\r\n");
  EXPECT_TRUE(client.line().starts_with("+OK Postern"));
  EXPECT_TRUE(client.command("STLS").starts_with("+OK"));
  ASSERT_TRUE(client.handshake());
  EXPECT_TRUE(client.command("USER anna@example.net").starts_with("+OK"));
  EXPECT_TRUE(client.command("PASS secret").starts_with("+OK"));
  EXPECT_FALSE(is_granted("127.0.0.9"));
  EXPECT_TRUE(server_->logged("login_recorded").empty());
}

// --- TLS -----------------------------------------------------------------------------------------------------------

TEST_F(FrontServer, LogsInByTls) {
  settings_.mailboxes.resize(4, mailbox());
  for (std::size_t i = 0; i < 4; ++i) {
    settings_.mailboxes[i].plain_on_lan = false;
    settings_.mailboxes[i].tls = i % 2 == 0 ? TlsMode::starttls : TlsMode::implicit;
    settings_.mailboxes[i].protocol = i < 2 ? MailboxProtocol::pop3 : MailboxProtocol::imap;
  }
  std::atomic<int> connections{0};
  const auto store_end = local_script([&](StorePeer& store) {
    connections.fetch_add(1) < 2 ? store.take_login_pop3() : store.take_login_imap();
    EXPECT_EQ(store.line(), "x NOOP");
    store.send("x OK\r\n");
    EXPECT_TRUE(store.ended());
  });
  start();
  for (std::size_t i = 0; i < 4; ++i) {
    const std::string source = "127.0.0." + std::to_string(10 + i);
    const auto client = log_in(source, i);
    EXPECT_TRUE(is_granted(source));
    EXPECT_EQ(client->command("x NOOP"), "x OK");
  }
}

TEST_F(FrontServer, ALoginInPlainTextIsNotForStrangers) {
  settings_.lan.clear();
  store_script([](StorePeer& store) {
    store.greet_pop3();
    EXPECT_EQ(store.line(), "(closed)") << "no login may come";
  });
  start();
  TestClient client("127.0.0.1", server_->mailbox_port());
  client.line();
  EXPECT_TRUE(client.command("USER anna@example.net").starts_with("-ERR"));
  EXPECT_TRUE(client.command("PASS secret").starts_with("-ERR"));
  EXPECT_TRUE(client.command("QUIT").starts_with("+OK"));
}

TEST_F(FrontServer, WhatIsPipelinedBehindStlsIsThrownAway) {
  mailbox().tls = TlsMode::starttls;
  store_script([](StorePeer& store) {
    store.greet_pop3();
    EXPECT_EQ(store.line(), "(closed)") << "no login may come";
  });
  start();
  TestClient client("127.0.0.1", server_->mailbox_port());
  client.line();
  client.send("STLS\r\nUSER anna@example.net\r\nPASS secret\r\n");
  EXPECT_TRUE(client.line().starts_with("+OK"));
  ASSERT_TRUE(client.handshake());
  EXPECT_TRUE(client.command("QUIT").starts_with("+OK"));
  EXPECT_EQ(client.line(), "(closed)");
  EXPECT_FALSE(is_granted("127.0.0.1"));
}

TEST_F(FrontServer, NoTlsWhereItComesFirst) {
  mailbox().tls = TlsMode::implicit;
  start();
  TestClient client("127.0.0.1", server_->mailbox_port());
  client.send_raw("USER anna@example.net\r\n");
  std::string received;
  for (std::string more = client.receive_raw(); !more.empty(); more = client.receive_raw()) received += more;
  EXPECT_FALSE(received.contains("OK"));
  const auto failed = server_->logged("tls_failed");
  ASSERT_EQ(failed.size(), 1U);
  EXPECT_TRUE(failed[0].contains("not TLS")) << failed[0];
}

TEST_F(FrontServer, ALeftHandshakeIsForgotten) {
  mailbox().tls = TlsMode::implicit;
  start();
  {
    TestClient client("127.0.0.1", server_->mailbox_port());
    client.send_raw(std::string("\x16\x03\x01\x02\x00\x01", 6));
    server_->await_turn();
  }
  expect_all_gone();
}

// --- stores that are not there, or not what they should be ---------------------------------------------------------

TEST_F(FrontServer, AStoreThatIsDown) {
  settings_.mailboxes.resize(2, mailbox());
  settings_.mailboxes[1].protocol = MailboxProtocol::imap;
  start();  // port 1: nobody is there
  TestClient pop3("127.0.0.1", server_->mailbox_port());
  EXPECT_EQ(pop3.line(), "-ERR [SYS/TEMP] Mail store is not available now, try again later");
  EXPECT_EQ(pop3.line(), "(closed)");
  TestClient imap("127.0.0.1", server_->mailbox_port(1));
  EXPECT_EQ(imap.line(), "* BYE [UNAVAILABLE] Mail store is not available now, try again later");
  EXPECT_EQ(imap.line(), "(closed)");
  const auto failed = server_->logged("mailbox_store_failed");
  ASSERT_EQ(failed.size(), 2U);
  EXPECT_TRUE(failed[0].contains("store=127.0.0.1:1 client=127.0.0.1 reason=\"Connection refused\"")) << failed[0];
  EXPECT_EQ(server_->counters().mailbox_store_failures.get(), 2U);
}

TEST_F(FrontServer, AStoreThatGoesAwayDuringALogin) {
  for (const bool with_reset : {false, true}) {
    store_script([with_reset](StorePeer& store) {
      store.greet_pop3();
      store.line();
      store.send("+OK\r\n");
      EXPECT_EQ(store.line(), "PASS secret");
      if (with_reset) store.reset();
    });
    start();
    TestClient client("127.0.0.1", server_->mailbox_port());
    client.line();
    client.command("USER anna@example.net");
    EXPECT_EQ(client.command("PASS secret"), "-ERR [SYS/TEMP] Mail store is not available now, try again later");
    std::string rest = client.line();
    if (rest.starts_with("-ERR")) rest = client.line();
    EXPECT_EQ(rest, "(closed)");
    EXPECT_FALSE(is_granted("127.0.0.1"));
    EXPECT_TRUE(server_->logged("login_failed").at(0).contains("reason=unavailable"));
    EXPECT_EQ(server_->counters().mailbox_logins_unavailable.get(), 1U);
    server_.reset();
  }
}

TEST_F(FrontServer, AStoreThatAnswersInPieces) {
  store_script([](StorePeer& store) {
    const auto dribble = [&](std::string_view octets) {
      for (const char octet : octets) store.send({&octet, 1});
    };
    const int on = 1;
    setsockopt(store.socket(), IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
    dribble("+OK Store ready.\r\n");
    EXPECT_EQ(store.line(), "CAPA");
    dribble("+OK\r\nUSER\r\nTOP\r\n.\r\n");
    EXPECT_EQ(store.line(), "USER anna@example.net");
    dribble("+OK\r\n");
    EXPECT_EQ(store.line(), "PASS secret");
    dribble("+OK Logged in.\r\n");
    EXPECT_EQ(store.line(), "NOOP");
    dribble("+OK\r\n");
  });
  start();
  const auto client = log_in();
  EXPECT_EQ(client->command("NOOP"), "+OK");
  EXPECT_TRUE(is_granted("127.0.0.1"));
}

// A success that nobody asked for is believed by nobody.
TEST_F(FrontServer, AStoreThatSaysOkTooSoon) {
  store_script([](StorePeer& store) {
    store.greet_pop3();
    EXPECT_EQ(store.line(), "USER anna@example.net");
    store.send("+OK\r\n+OK Logged in.\r\n");
    const std::string more = store.line();
    EXPECT_TRUE(more == "(closed)" || more == "PASS secret") << more;
  });
  start();
  TestClient client("127.0.0.1", server_->mailbox_port());
  client.line();
  client.command("USER anna@example.net");
  EXPECT_TRUE(client.command("PASS secret").starts_with("-ERR [SYS/TEMP]"));
  EXPECT_FALSE(is_granted("127.0.0.1"));
  const auto closed = server_->logged("mailbox_closed");
  ASSERT_EQ(closed.size(), 1U);
  EXPECT_TRUE(closed[0].contains("reason=store-unasked")) << closed[0];
}

// --- secrets -------------------------------------------------------------------------------------------------------

// Of a login that was passed on nothing is left in the ring's buffers, or in the pool.
TEST_F(FrontServer, PasswordsAreWiped) {
  store_script([](StorePeer& store) {
    store.greet_pop3();
    store.line();
    store.send("+OK\r\n");
    EXPECT_EQ(store.line(), "PASS tulip-kettle-47");
    store.send("+OK Logged in.\r\n");
    store.ended();
  });
  start();
  {
    TestClient client("127.0.0.1", server_->mailbox_port());
    client.line();
    client.send("USER anna@example.net\r\nPASS tulip-kettle-47\r\n");
    client.line();
    EXPECT_EQ(client.line(), "+OK Logged in.");
  }
  expect_all_gone();
#if !defined(__SANITIZE_ADDRESS__)  // there what was given back must not be read
  server_->on_worker([](WorkerServer& worker) {
    for (std::uint16_t id = 0; id < 128; ++id) {
      const std::string_view octets = worker.ring().buffer(id, 16384);
      EXPECT_EQ(octets.find("tulip-kettle"), std::string_view::npos) << "in receive buffer " << id;
    }
  });
#endif
  for (const std::string& line : server_->logged("")) EXPECT_FALSE(line.contains("tulip")) << line;
}

}  // namespace
}  // namespace postern::net::test
