// The ring's socket operations over real loopback connections.
#include <fcntl.h>
#include <netinet/tcp.h>
#include <numeric>
#include <poll.h>

#include "tests/core/engine/ring_support.h"

namespace postern::core::testing {
namespace {

std::string pattern(std::size_t bytes) {
  std::string out(bytes, '\0');
  for (std::size_t i = 0; i < bytes; ++i) out[i] = static_cast<char>('a' + (i * 7 + i / 251) % 26);
  return out;
}

// Receives into `got`, giving each buffer back at once.
struct Receiver {
  Receiver(Ring& r, int s) : ring(r), socket(s) { ring.receive(socket, operation.completion); }
  Ring& ring;
  int socket;
  std::string got;
  Operation operation{[this](const Outcome& outcome) {
    if (!outcome.has_buffer) return;
    got += ring.buffer(outcome.buffer, outcome.result);
    ring.release_buffer(outcome.buffer);
    if (!outcome.has_more) ring.receive(socket, operation.completion);
  }};
};

TEST(RingSocket, AcceptGivesADescriptorForEveryConnection) {
  const auto ring = make_ring();
  const int listener = Ring::listen(*Endpoint::parse("127.0.0.1:0")).value();
  const Endpoint local = *Ring::local_name(listener);
  Operation accept;
  ring->accept(listener, accept.completion);
  std::vector<int> clients;
  sockaddr_storage target;
  const std::uint32_t target_bytes = local.to_sockaddr(target);
  std::vector<std::unique_ptr<Operation>> connects;
  for (int i = 0; i < 5; ++i) {
    clients.push_back(Ring::make_socket(local, nullptr).value());
    connects.push_back(std::make_unique<Operation>());
    ring->connect(clients.back(), target, target_bytes, connects.back()->completion);
  }
  ASSERT_TRUE(run_until(*ring, [&] { return accept.outcomes.size() == 5; }));
  for (const Outcome& outcome : accept.outcomes) {
    EXPECT_GE(outcome.result, 0);
    EXPECT_TRUE(outcome.has_more);
    EXPECT_TRUE(Ring::peer_name(outcome.result).has_value());
    Ring::close_now(outcome.result);
  }
  EXPECT_TRUE(accept.completion.in_flight);
  ring->cancel(accept.completion);
  ASSERT_TRUE(run_until(*ring, [&] { return accept.is_done(); }));
  EXPECT_EQ(accept.result(), -ECANCELED);
  for (const int client : clients) Ring::close_now(client);
  Ring::close_now(listener);
}

TEST(RingSocket, ReceivesIntoItsBuffersUntilThePeerCloses) {
  const auto ring = make_ring();
  Connected pair(*ring);
  Receiver receiver(*ring, pair.server);
  Operation send;
  Operation shutdown;
  ring->send(pair.client, "EHLO client\r\n", send.completion);
  ASSERT_TRUE(run_until(*ring, [&] { return receiver.got.size() == 13; }));
  EXPECT_EQ(send.result(), 13);
  EXPECT_EQ(receiver.got, "EHLO client\r\n");
  EXPECT_EQ(ring->buffers_free(), 8u);
  ring->shutdown(pair.client, shutdown.completion);
  ASSERT_TRUE(run_until(*ring, [&] { return receiver.operation.is_done() && shutdown.is_done(); }));
  EXPECT_EQ(receiver.operation.result(), 0);
  EXPECT_FALSE(receiver.operation.outcomes.back().has_buffer);
  EXPECT_EQ(shutdown.result(), 0);
  EXPECT_EQ(ring->buffers_free(), 8u);
}

TEST(RingSocket, RunningOutOfBuffersEndsTheReceiveAndIsRecoveredFrom) {
  const auto ring = make_ring({.submission_entries = 16, .buffer_count = 4, .buffer_bytes = 1024});
  Connected pair(*ring);
  const std::string message = pattern(64 * 1024);
  Operation send;
  std::string got;
  std::vector<Outcome> kept;
  Operation receive([&](const Outcome& outcome) {
    if (outcome.has_buffer) kept.push_back(outcome);
  });
  ring->send(pair.client, message, send.completion);
  int shortages = 0;
  while (got.size() < message.size()) {
    if (!receive.completion.in_flight) ring->receive(pair.server, receive.completion);
    std::size_t kept_bytes = 0;
    ASSERT_TRUE(run_until(*ring, [&] {
      kept_bytes = 0;
      for (const Outcome& outcome : kept) kept_bytes += static_cast<std::size_t>(outcome.result);
      return !receive.completion.in_flight || got.size() + kept_bytes == message.size();
    }));
    if (!receive.completion.in_flight) {
      ASSERT_EQ(receive.result(), -ENOBUFS);
      ASSERT_FALSE(receive.outcomes.back().has_buffer);
      EXPECT_EQ(kept.size(), 4u);
      EXPECT_EQ(ring->buffers_free(), 0u);
      ++shortages;
    }
    for (const Outcome& outcome : kept) {
      got += ring->buffer(outcome.buffer, outcome.result);
      ring->release_buffer(outcome.buffer);
    }
    kept.clear();
    EXPECT_EQ(ring->buffers_free(), 4u);
  }
  EXPECT_TRUE(got == message);
  EXPECT_GE(shortages, 15);  // 64 KiB through 4 KiB of buffers
  ring->cancel(receive.completion);
  EXPECT_TRUE(run_until(*ring, [&] { return receive.is_done(); }));
  EXPECT_TRUE(run_until(*ring, [&] { return send.is_done(); }));
  EXPECT_EQ(send.result(), static_cast<int>(message.size()));
}

// One buffer a start, however much there is; the end, which came together with octets, is told as well.
TEST(RingSocket, ReceivesOnce) {
  const auto ring = make_ring({.submission_entries = 16, .buffer_count = 4, .buffer_bytes = 1024});
  Connected pair(*ring);
  const std::string message = pattern(2'500);
  Operation send;
  Operation shutdown;
  ring->send(pair.client, message, send.completion);
  ASSERT_TRUE(run_until(*ring, [&] { return send.is_done(); }));
  ring->shutdown(pair.client, shutdown.completion);
  ASSERT_TRUE(run_until(*ring, [&] { return shutdown.is_done(); }));
  std::string got;
  for (const int expected : {1024, 1024, 452}) {
    Operation receive;
    ring->receive_once(pair.server, receive.completion);
    ASSERT_TRUE(run_until(*ring, [&] { return receive.is_done(); }));
    ASSERT_EQ(receive.outcomes.size(), 1u);
    ASSERT_EQ(receive.result(), expected);
    ASSERT_TRUE(receive.outcomes[0].has_buffer);
    EXPECT_FALSE(receive.outcomes[0].has_more);
    EXPECT_EQ(ring->buffers_free(), 3u);
    got += ring->buffer(receive.outcomes[0].buffer, expected);
    ring->release_buffer(receive.outcomes[0].buffer);
  }
  EXPECT_TRUE(got == message);
  Operation end;
  ring->receive_once(pair.server, end.completion);
  ASSERT_TRUE(run_until(*ring, [&] { return end.is_done(); }));
  EXPECT_EQ(end.result(), 0);
  EXPECT_FALSE(end.outcomes[0].has_buffer);
  EXPECT_EQ(ring->buffers_free(), 4u);
}

TEST(RingSocket, AReceiveOnceThatWaitsHoldsNoBufferAndCanBeCancelled) {
  const auto ring = make_ring();
  Connected pair(*ring);
  Operation receive;
  ring->receive_once(pair.server, receive.completion);
  ring->submit_and_reap(0);
  EXPECT_EQ(ring->buffers_free(), 8u);
  ring->cancel(receive.completion);
  ASSERT_TRUE(run_until(*ring, [&] { return receive.is_done(); }));
  EXPECT_EQ(receive.result(), -ECANCELED);
  EXPECT_EQ(ring->buffers_free(), 8u);
}

// A send that waits for its reader and is taken back tells how much of it left.
TEST(RingSocket, ACancelledSendTellsWhatItSent) {
  const auto ring = make_ring();
  Connected pair(*ring);
  const std::string message = pattern(64'000'000);
  Operation send;
  ring->send(pair.client, message, send.completion);
  for (int turn = 0; turn < 10; ++turn) ring->submit_and_reap(0);
  ASSERT_FALSE(send.is_done()) << "more than the sockets hold";
  ring->cancel(send.completion);
  ASSERT_TRUE(run_until(*ring, [&] { return send.is_done(); }));
  ASSERT_GT(send.result(), 0);
  ASSERT_LT(send.result(), static_cast<int>(message.size()));
  const auto sent = static_cast<std::size_t>(send.result());
  // Another send goes on from there.
  Operation rest;
  ring->send(pair.client, std::string_view(message).substr(sent), rest.completion);
  std::string got;
  Operation receive([&](const Outcome& outcome) {
    ASSERT_TRUE(outcome.has_buffer);
    got += ring->buffer(outcome.buffer, outcome.result);
    ring->release_buffer(outcome.buffer);
    if (got.size() < message.size()) ring->receive_once(pair.server, receive.completion);
  });
  ring->receive_once(pair.server, receive.completion);
  ASSERT_TRUE(run_until(*ring, [&] { return rest.is_done() && got.size() == message.size(); }));
  EXPECT_TRUE(got == message);
}

TEST(RingSocket, SendsAVectorOfSixtyFourPartsWhole) {
  const auto ring = make_ring({.submission_entries = 16, .buffer_count = 16, .buffer_bytes = 16384});
  Connected pair(*ring);
  const int small = 64 * 1024;  // so that one system call cannot take it all
  ASSERT_EQ(setsockopt(pair.client, SOL_SOCKET, SO_SNDBUF, &small, sizeof small), 0);
  std::vector<std::string> parts;
  std::vector<iovec> vector;
  std::string whole;
  for (std::size_t i = 0; i < 64; ++i) {
    parts.push_back(pattern(30'000 + i * 1'001));
    whole += parts.back();
  }
  for (std::string& part : parts) vector.push_back({part.data(), part.size()});
  msghdr header{};
  header.msg_iov = vector.data();
  header.msg_iovlen = vector.size();
  Operation send;
  Receiver receiver(*ring, pair.server);
  ring->send(pair.client, header, send.completion);
  ASSERT_TRUE(run_until(*ring, [&] {
    if (receiver.operation.is_done()) ring->receive(pair.server, receiver.operation.completion);
    return receiver.got.size() == whole.size() && send.is_done();
  }));
  EXPECT_EQ(send.result(), static_cast<int>(whole.size()));
  EXPECT_TRUE(receiver.got == whole);
}

TEST(RingSocket, ASendToAPeerThatResetFailsWithoutASignal) {
  const auto ring = make_ring();
  Connected pair(*ring);
  const linger reset{.l_onoff = 1, .l_linger = 0};
  ASSERT_EQ(setsockopt(pair.server, SOL_SOCKET, SO_LINGER, &reset, sizeof reset), 0);
  Ring::close_now(std::exchange(pair.server, -1));
  int last = 0;
  for (int i = 0; i < 100 && last >= 0; ++i) {
    Operation send;
    ring->send(pair.client, "x", send.completion);
    ASSERT_TRUE(run_until(*ring, [&] { return send.is_done(); }));
    last = send.result();
  }
  EXPECT_TRUE(last == -EPIPE || last == -ECONNRESET) << last;
}

TEST(RingSocket, ACancelledReceiveLetsTheCloseReachThePeer) {
  const auto ring = make_ring();
  Connected pair(*ring);
  Receiver server(*ring, pair.server);
  Receiver client(*ring, pair.client);
  ring->submit_and_reap(0);
  ring->cancel(server.operation.completion);
  ASSERT_TRUE(run_until(*ring, [&] { return server.operation.is_done(); }));
  EXPECT_EQ(server.operation.result(), -ECANCELED);
  Operation close;
  ring->close(std::exchange(pair.server, -1), close.completion);
  ASSERT_TRUE(run_until(*ring, [&] { return close.is_done() && client.operation.is_done(); }));
  EXPECT_EQ(close.result(), 0);
  EXPECT_EQ(client.operation.result(), 0);
}

TEST(RingSocket, CancellingWhatIsNotInFlightDoesNothing) {
  const auto ring = make_ring();
  Operation idle;
  ring->cancel(idle.completion);
  ring->submit_and_reap(0);
  EXPECT_TRUE(idle.outcomes.empty());
}

TEST(RingSocket, AConnectionThatNobodyListensForIsRefused) {
  const auto ring = make_ring();
  // Bound and not listening: nobody else can take the port meanwhile.
  const int bound = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
  sockaddr_storage address;
  std::uint32_t address_bytes = Endpoint::parse("127.0.0.1:0")->to_sockaddr(address);
  ASSERT_EQ(bind(bound, reinterpret_cast<const sockaddr*>(&address), address_bytes), 0);
  const Endpoint nobody = *Ring::local_name(bound);
  address_bytes = nobody.to_sockaddr(address);
  const int client = Ring::make_socket(nobody, nullptr).value();
  Operation connect;
  ring->connect(client, address, address_bytes, connect.completion);
  ASSERT_TRUE(run_until(*ring, [&] { return connect.is_done(); }));
  EXPECT_EQ(connect.result(), -ECONNREFUSED);
  Ring::close_now(client);
  Ring::close_now(bound);
}

TEST(RingSocket, AListenerIsSetUpAsTheHeaderSays) {
  const auto ring = make_ring();
  const int listener = Ring::listen(*Endpoint::parse("[::1]:0")).value();
  const Endpoint local = *Ring::local_name(listener);
  EXPECT_EQ(local.address.text(), "::1");
  EXPECT_NE(local.port, 0);
  const auto option = [](int socket, int level, int name) {
    int value = 0;
    socklen_t bytes = sizeof value;
    EXPECT_EQ(getsockopt(socket, level, name, &value, &bytes), 0);
    return value;
  };
  EXPECT_EQ(option(listener, IPPROTO_IPV6, IPV6_V6ONLY), 1);
  EXPECT_EQ(option(listener, SOL_SOCKET, SO_REUSEPORT), 1);
  EXPECT_EQ(option(listener, SOL_SOCKET, SO_REUSEADDR), 1);
  EXPECT_EQ(fcntl(listener, F_GETFD), FD_CLOEXEC);
  const auto second = Ring::listen(local);  // another worker's, on the same port
  ASSERT_TRUE(second.has_value());
  const Endpoint source = *Endpoint::parse("127.0.0.1:0");
  const int outgoing = Ring::make_socket(*Endpoint::parse("127.0.0.2:25"), &source).value();
  EXPECT_EQ(option(outgoing, IPPROTO_TCP, TCP_NODELAY), 1);
  EXPECT_EQ(Ring::local_name(outgoing)->address.text(), "127.0.0.1");
  EXPECT_FALSE(Ring::peer_name(outgoing).has_value());
  for (const int descriptor : {listener, *second, outgoing}) Ring::close_now(descriptor);

  const auto foreign = Ring::listen(*Endpoint::parse("192.0.2.1:0"));  // TEST-NET-1: no machine's address
  ASSERT_FALSE(foreign.has_value());
  EXPECT_EQ(foreign.error().code, EADDRNOTAVAIL);
  EXPECT_NE(foreign.error().text.find("192.0.2.1:0"), std::string::npos) << foreign.error().text;
}

TEST(RingSocket, TalksOverIpv6) {
  const auto ring = make_ring();
  Connected pair(*ring, "[::1]:0");
  EXPECT_EQ(Ring::peer_name(pair.server)->address.text(), "::1");
  Receiver receiver(*ring, pair.server);
  Operation send;
  ring->send(pair.client, "v6", send.completion);
  ASSERT_TRUE(run_until(*ring, [&] { return receiver.got == "v6"; }));
}

}  // namespace
}  // namespace postern::core::testing
