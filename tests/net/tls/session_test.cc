// POSTERN_SEED=n runs the random cuts of one seed.
#include "net/tls/session.h"

#include <cstdlib>
#include <gtest/gtest.h>
#include <malloc.h>
#include <openssl/aead.h>
#include <openssl/err.h>
#include <random>

#include "tests/net/tls/tls_support.h"

namespace postern::net::tls::test {
namespace {

std::string random_text(std::size_t octets, std::uint64_t seed) {
  std::mt19937_64 random(seed);
  std::string text(octets, '\0');
  for (char& c : text) c = static_cast<char>(random());
  return text;
}

class SessionTest : public testing::TestWithParam<std::uint16_t> {
 protected:
  void SetUp() override {
    for (const Key key : {Key::p256, Key::rsa2048}) {
      auto made = ServerContexts::make({server_certificate({.key = key})}, {{.name = "submission", .client_ca = ""}}, keys_);
      ASSERT_TRUE(made.has_value()) << made.error().text;
      contexts_.push_back(std::move(*made));
    }
  }
  void TearDown() override { EXPECT_EQ(ERR_peek_error(), 0u) << "an error was left on BoringSSL's queue"; }

  ClientOptions options() const {
    ClientOptions made;
    made.version_min = made.version_max = GetParam();
    return made;
  }
  Pair make() { return Pair(contexts_.front(), 0, options()); }

  TicketKeys keys_;
  std::vector<ServerContexts> contexts_;  // with an ECDSA and with an RSA certificate
};

INSTANTIATE_TEST_SUITE_P(Versions, SessionTest, testing::Values(TLS1_2_VERSION, TLS1_3_VERSION),
                         [](const auto& version) { return version.param == TLS1_2_VERSION ? "Tls12" : "Tls13"; });

// One connection from the handshake to its end: what both sides got must not depend on the cut or on the room.
void converse(Pair& pair, Cut cut, std::size_t plain_bytes, std::size_t out_bytes) {
  pair.cut = std::move(cut);
  pair.plain_bytes = plain_bytes;
  pair.out_bytes = out_bytes;
  ASSERT_TRUE(pair.run()) << pair.server.failure();
  ASSERT_TRUE(pair.server.handshake_done());
  ASSERT_TRUE(pair.client.is_done());
  const std::string answer = random_text(40'000, 1), question = random_text(70'000, 2);
  pair.say(answer);
  pair.client.write(question);
  ASSERT_TRUE(pair.run()) << pair.server.failure();
  EXPECT_EQ(pair.client.read(), answer);
  EXPECT_EQ(pair.received, question);
  EXPECT_FALSE(pair.server.has_pending_plain());
  pair.client.shut();
  ASSERT_TRUE(pair.run()) << pair.server.failure();
  EXPECT_EQ(pair.status, Status::closed);
}

TEST_P(SessionTest, WorksWhole) {
  for (const ServerContexts& contexts : contexts_) {
    Pair pair(contexts, 0, options());
    converse(pair, whole(), 65536, 65536);
    EXPECT_EQ(pair.server.protocol(), GetParam() == TLS1_2_VERSION ? "TLSv1.2" : "TLSv1.3");
    EXPECT_EQ(pair.server.cipher(), SSL_CIPHER_standard_name(SSL_get_current_cipher(pair.client.ssl())));
    EXPECT_EQ(pair.server.server_name(), "mail.example.net");
    EXPECT_FALSE(pair.server.resumed());
    EXPECT_EQ(pair.server.failure(), "");
  }
}

TEST_P(SessionTest, WorksOctetByOctet) {
  for (const ServerContexts& contexts : contexts_) {
    Pair pair(contexts, 0, options());
    converse(pair, octets(1), 65536, 65536);
  }
}

TEST_P(SessionTest, WorksWithTheLeastRoom) {
  for (const ServerContexts& contexts : contexts_) {
    Pair pair(contexts, 0, options());
    converse(pair, whole(), 1, OutputBuffer::kRoomMin);
  }
}

TEST_P(SessionTest, WorksWithRandomCutsAndRoom) {
  const char* only = std::getenv("POSTERN_SEED");
  const std::uint64_t first = only == nullptr ? 1 : std::strtoull(only, nullptr, 10);
  const std::uint64_t last = only == nullptr ? 40 : first;
  for (std::uint64_t seed = first; seed <= last; ++seed) {
    SCOPED_TRACE("POSTERN_SEED=" + std::to_string(seed));
    std::mt19937_64 random(seed);
    Pair pair(contexts_[random() % contexts_.size()], 0, options());
    const std::size_t most = std::size_t{1} << (random() % 16);
    converse(pair, random_cuts(seed, most), 1 + random() % 20'000, OutputBuffer::kRoomMin + random() % 20'000);
    if (HasFailure()) return;
  }
}

// The last flight and the first command in one piece, as a client with TCP_CORK or Fast Open sends them.
TEST_P(SessionTest, TakesTheFirstCommandBehindTheHandshake) {
  Pair pair = make();
  pair.client.step();
  pair.give_server(pair.client.take());
  pair.client.step();
  if (GetParam() == TLS1_2_VERSION) {
    pair.give_server(pair.client.take());  // here the server speaks last
    pair.client.step();
  }
  pair.client.write("EHLO client\r\n");
  EXPECT_EQ(pair.give_server(pair.client.take()), Status::need_input);
  EXPECT_EQ(pair.received, "EHLO client\r\n");
}

TEST_P(SessionTest, HandsOutWhatWaitsWithoutInput) {
  Pair pair = make();
  ASSERT_TRUE(pair.run());
  pair.client.write("0123456789");
  const std::string cipher = pair.client.take();
  char plain[4];
  char memory[256];
  OutputBuffer out(memory, sizeof memory);
  Progress progress = pair.server.receive(cipher, plain, out);
  EXPECT_EQ(progress.consumed, cipher.size());
  EXPECT_EQ(progress.status, Status::need_plain);
  EXPECT_TRUE(pair.server.has_pending_plain());
  EXPECT_EQ(std::string_view(plain, progress.plain), "0123");
  progress = pair.server.receive({}, plain, out);
  EXPECT_EQ(progress.status, Status::need_plain);
  EXPECT_EQ(std::string_view(plain, progress.plain), "4567");
  progress = pair.server.receive({}, plain, out);
  EXPECT_EQ(progress.status, Status::need_input);
  EXPECT_EQ(std::string_view(plain, progress.plain), "89");
  EXPECT_FALSE(pair.server.has_pending_plain());
  EXPECT_TRUE(out.empty());
}

TEST_P(SessionTest, HalfARecordIsConsumed) {
  Pair pair = make();
  ASSERT_TRUE(pair.run());
  pair.client.write("MAIL FROM:<a@example.net>\r\n");
  const std::string cipher = pair.client.take();
  for (const std::size_t part : {std::size_t{1}, std::size_t{4}, std::size_t{5}, std::size_t{6}, cipher.size() - 1}) {
    Pair other = make();
    ASSERT_TRUE(other.run());
    other.client.write("MAIL FROM:<a@example.net>\r\n");
    const std::string its = other.client.take();
    ASSERT_EQ(its.size(), cipher.size());
    char plain[256];
    char memory[256];
    OutputBuffer out(memory, sizeof memory);
    Progress progress = other.server.receive(its.substr(0, part), plain, out);
    EXPECT_EQ(progress.consumed, part);
    EXPECT_EQ(progress.plain, 0u);
    EXPECT_EQ(progress.status, Status::need_input);
    progress = other.server.receive(its.substr(part), plain, out);
    EXPECT_EQ(std::string_view(plain, progress.plain), "MAIL FROM:<a@example.net>\r\n");
  }
}

TEST_P(SessionTest, WithoutRoomForAnAlertNothingBegins) {
  Pair pair = make();
  pair.client.step();
  const std::string hello = pair.client.take();
  char plain[16];
  char memory[OutputBuffer::kRoomMin];
  OutputBuffer out(memory, sizeof memory);
  out.append("x");
  const Progress progress = pair.server.receive(hello, plain, out);
  EXPECT_EQ(progress.consumed, 0u);
  EXPECT_EQ(progress.status, Status::need_output);
  EXPECT_EQ(out.view(), "x");
}

TEST_P(SessionTest, SendTakesWhatFitsAndNoMore) {
  Pair pair = make();
  EXPECT_EQ([&] {
    char memory[1024];
    OutputBuffer out(memory, sizeof memory);
    return pair.server.send("too early", out);
  }(), 0u);
  ASSERT_TRUE(pair.run());
  pair.say("ticket first");
  ASSERT_TRUE(pair.run());
  pair.client.read().clear();
  const std::string text = random_text(50'000, 3);
  std::string_view left = text;
  for (std::size_t room = 0; !left.empty(); room = (room + 1) % 3000) {
    std::string memory(room, '\0');
    OutputBuffer out(memory.data(), memory.size());
    const std::size_t taken = pair.server.send(left, out);
    EXPECT_EQ(taken == 0, out.empty()) << room;
    EXPECT_TRUE(room < Session::record_bytes_max(1) || taken > 0) << room;
    EXPECT_LE(taken, room);
    left.remove_prefix(taken);
    pair.client.give(out.view());
  }
  EXPECT_TRUE(pair.client.step());
  EXPECT_EQ(pair.client.read(), text);
}

TEST_P(SessionTest, RecordBytesMaxIsEnoughForEachRecord) {
  Pair pair = make();
  ASSERT_TRUE(pair.run());
  pair.say("x");
  for (const std::size_t octets : {1, 100, 1024, 16384}) {
    std::string memory(Session::record_bytes_max(octets), '\0');
    OutputBuffer out(memory.data(), memory.size());
    EXPECT_EQ(pair.server.send(std::string(octets, 'a'), out), octets);
  }
}

TEST_P(SessionTest, ChannelBindingIsTheSameOnBothSidesAndNowhereElse) {
  const auto binding_of = [&](Pair& pair) {
    EXPECT_TRUE(pair.run());
    std::array<std::uint8_t, 32> ours{}, theirs{};
    EXPECT_TRUE(pair.server.channel_binding(ours));
    EXPECT_EQ(SSL_export_keying_material(pair.client.ssl(), theirs.data(), theirs.size(), "EXPORTER-Channel-Binding", 24,
                                         nullptr, 0, 0), 1);
    EXPECT_EQ(ours, theirs);
    return ours;
  };
  Pair one = make();
  std::array<std::uint8_t, 32> early{};
  EXPECT_FALSE(one.server.channel_binding(early));
  const auto first = binding_of(one);
  Pair two = make();
  EXPECT_NE(binding_of(two), first);
  // A resumed session is another connection.
  one.say("220\r\n");
  ASSERT_TRUE(one.run());
  const auto session = one.client.session();
  ClientOptions again = options();
  again.session = session.get();
  Pair resumed(contexts_.front(), 0, again);
  EXPECT_NE(binding_of(resumed), first);
  EXPECT_TRUE(resumed.server.resumed());
}

// Ends.

TEST_P(SessionTest, SaysCloseNotifyOnce) {
  Pair pair = make();
  ASSERT_TRUE(pair.run());
  char memory[4096];
  OutputBuffer out(memory, sizeof memory);
  EXPECT_TRUE(pair.server.close(out));
  const std::size_t size = out.view().size();
  EXPECT_GT(size, 0u);
  EXPECT_TRUE(pair.server.close(out));
  EXPECT_EQ(out.view().size(), size);
  EXPECT_EQ(pair.server.send("more", out), 0u);
  EXPECT_EQ(out.view().size(), size);
  pair.client.give(out.view());
  EXPECT_TRUE(pair.client.step());
  EXPECT_TRUE(pair.client.is_closed());
}

TEST_P(SessionTest, CloseWaitsForRoom) {
  Pair pair = make();
  ASSERT_TRUE(pair.run());
  pair.say("x");
  char memory[OutputBuffer::kRoomMin];
  OutputBuffer out(memory, sizeof memory);
  out.append("x");
  EXPECT_FALSE(pair.server.close(out));
  EXPECT_EQ(out.view(), "x");
  out.clear();
  EXPECT_TRUE(pair.server.close(out));
  EXPECT_FALSE(out.empty());
}

TEST_P(SessionTest, StillSpeaksToOneThatClosedItsSide) {
  Pair pair = make();
  ASSERT_TRUE(pair.run());
  pair.client.write("QUIT\r\n");
  pair.client.shut();
  EXPECT_EQ(pair.give_server(pair.client.take() + "what follows is thrown away"), Status::closed);
  EXPECT_EQ(pair.received, "QUIT\r\n");
  char memory[4096];
  OutputBuffer out(memory, sizeof memory);
  EXPECT_EQ(pair.server.send("221 bye\r\n", out), 9u);
  EXPECT_TRUE(pair.server.close(out));
  EXPECT_GT(out.view().size(), 9u);
}

TEST_P(SessionTest, TellsTheClientsAlert) {
  Pair pair = make();
  SSL_set_custom_verify(pair.client.ssl(), SSL_VERIFY_PEER, [](SSL*, std::uint8_t* alert) {
    *alert = SSL_AD_UNKNOWN_CA;
    return ssl_verify_invalid;
  });
  EXPECT_FALSE(pair.run());
  EXPECT_EQ(pair.status, Status::failed);
  EXPECT_EQ(pair.server.failure(), "alert from the client: unknown CA");
}

// As OpenSSL's clients do it, which have no keys for it yet: in front of it stands TLS 1.3's change_cipher_spec.
TEST_P(SessionTest, TellsTheClientsAlertInPlainText) {
  for (const std::string_view before : {std::string_view(), std::string_view("\x14\x03\x03\x00\x01\x01", 6)}) {
    if (GetParam() == TLS1_2_VERSION && !before.empty()) continue;
    Pair pair = make();
    ASSERT_EQ(pair.give_server(pair.client.take()), Status::need_input);
    EXPECT_EQ(pair.give_server(std::string(before) + std::string("\x15\x03\x03\x00\x02\x02\x30", 7)), Status::failed);
    EXPECT_EQ(pair.server.failure(), "alert from the client: unknown CA");
  }
}

// Bad input.

struct Bad {
  std::string octets;
  const char* failure;
};

TEST_P(SessionTest, FailsClearlyOnWhatIsNoTls) {
  const Bad inputs[] = {
      {"GET / HTTP/1.1\r\nHost: mail.example.net\r\n\r\n", "plaintext HTTP request"},
      {"CONNECT a:25 HTTP/1.1\r\n\r\n", "plaintext HTTP CONNECT"},
      {"EHLO client.example\r\n", "not TLS"},
      {std::string(64, '\0'), "not TLS"},
      {std::string("\x16\x03\x01\xff\xff", 5) + std::string(100, 'x'), "encrypted length too long"},
      {std::string("\x15\x03\x01\x00\x02\x02\x28", 7), "alert from the client: handshake failure"},
      {std::string("\x15\x03\x01\x00\x02\x01\x00", 7), "closed by the client in the handshake"},
      {std::string("\x17\x03\x03\x00\x01x", 6), "unexpected record"},
      {std::string("\x16\x03\x01\x00\x04\x01\xff\xff\xff", 9), "excessive message size"},
      {std::string("\x16\x03\x01\x00\x05\x01\x00\x00\x01\x00", 10), "decode error"},
  };
  for (const Bad& bad : inputs) {
    for (const std::size_t piece : {std::size_t{1}, std::size_t{1000}}) {
      Session session(contexts_.front(), 0, at(kNow));
      std::string_view left = bad.octets;
      char plain[64];
      char memory[1024];
      OutputBuffer out(memory, sizeof memory);
      Progress progress;
      while (!left.empty() && progress.status != Status::failed) {
        progress = session.receive(left.substr(0, piece), plain, out);
        EXPECT_EQ(progress.consumed, std::min(piece, left.size()));
        left.remove_prefix(progress.consumed);
      }
      EXPECT_EQ(progress.status, Status::failed) << bad.failure;
      EXPECT_EQ(session.failure(), bad.failure);
      EXPECT_FALSE(session.handshake_done());
      // It stays that way, and says nothing more.
      out.clear();
      progress = session.receive("more", plain, out);
      EXPECT_EQ(progress.status, Status::failed);
      EXPECT_EQ(progress.consumed, 4u);
      EXPECT_EQ(session.send("hello", out), 0u);
      EXPECT_TRUE(session.close(out));
      EXPECT_TRUE(out.empty());
      EXPECT_EQ(session.protocol(), "");
      EXPECT_EQ(session.server_name(), "");
    }
  }
}

TEST(Session, RefusesOldVersions) {
  TicketKeys keys;
  const auto contexts = ServerContexts::make({server_certificate({.key = Key::rsa2048})},
                                             {{.name = "submission", .client_ca = ""}}, keys);
  ASSERT_TRUE(contexts.has_value());
  for (const std::uint16_t version : {TLS1_VERSION, TLS1_1_VERSION}) {
    ClientOptions options;
    options.version_min = TLS1_VERSION;
    options.version_max = version;
    Pair pair(*contexts, 0, options);
    EXPECT_FALSE(pair.run());
    EXPECT_EQ(pair.status, Status::failed);
    EXPECT_EQ(pair.server.failure(), "unsupported protocol");
    EXPECT_EQ(ERR_GET_REASON(pair.client.error()), SSL_R_TLSV1_ALERT_PROTOCOL_VERSION);
  }
}

TEST_P(SessionTest, ARecordThatWasChangedEndsTheSession) {
  Pair pair = make();
  ASSERT_TRUE(pair.run());
  pair.client.write("RCPT TO:<b@example.net>\r\n");
  std::string cipher = pair.client.take();
  cipher.back() ^= 1;
  EXPECT_EQ(pair.give_server(cipher), Status::failed);
  EXPECT_EQ(pair.received, "");
  EXPECT_EQ(pair.server.failure(), "decryption failed or bad record mac");
  EXPECT_FALSE(pair.client.step());
  EXPECT_EQ(ERR_GET_REASON(pair.client.error()), SSL_R_SSLV3_ALERT_BAD_RECORD_MAC);
}

// A record of the client's in TLS 1.2 with AES-128-GCM, made by hand: BoringSSL's client does not renegotiate.
std::string seal_tls12(SSL* client, std::uint8_t type, std::string_view plain) {
  std::vector<std::uint8_t> keys(SSL_get_key_block_len(client));
  EXPECT_EQ(SSL_generate_key_block(client, keys.data(), keys.size()), 1);
  EXPECT_EQ(keys.size(), 2 * 16 + 2 * 4u);
  const std::uint64_t number = SSL_get_write_sequence(client);
  std::array<std::uint8_t, 13> header;  // sequence number, type, version, length of the plaintext
  for (std::size_t i = 0; i < 8; ++i) header[i] = static_cast<std::uint8_t>(number >> (56 - 8 * i));
  header[8] = type, header[9] = 3, header[10] = 3;
  header[11] = static_cast<std::uint8_t>(plain.size() >> 8), header[12] = static_cast<std::uint8_t>(plain.size());
  std::array<std::uint8_t, 12> nonce;
  std::copy_n(keys.begin() + 32, 4, nonce.begin());
  std::copy_n(header.begin(), 8, nonce.begin() + 4);
  bssl::ScopedEVP_AEAD_CTX sealer;
  EXPECT_EQ(EVP_AEAD_CTX_init(sealer.get(), EVP_aead_aes_128_gcm(), keys.data(), 16, 16, nullptr), 1);
  std::vector<std::uint8_t> sealed(plain.size() + 16);
  std::size_t size = 0;
  EXPECT_EQ(EVP_AEAD_CTX_seal(sealer.get(), sealed.data(), &size, sealed.size(), nonce.data(), nonce.size(),
                              reinterpret_cast<const std::uint8_t*>(plain.data()), plain.size(), header.data(),
                              header.size()), 1);
  std::string record = {static_cast<char>(type), 3, 3, static_cast<char>((size + 8) >> 8), static_cast<char>(size + 8)};
  record.append(reinterpret_cast<const char*>(nonce.data()) + 4, 8);
  return record.append(reinterpret_cast<const char*>(sealed.data()), size);
}

TEST(Session, RefusesRenegotiation) {
  TicketKeys keys;
  const auto contexts = ServerContexts::make({server_certificate({})}, {{.name = "submission", .client_ca = ""}}, keys);
  ASSERT_TRUE(contexts.has_value());
  ClientOptions options;
  options.version_max = TLS1_2_VERSION;
  options.ciphers = "ECDHE-ECDSA-AES128-GCM-SHA256";
  Pair other(*contexts, 0, options);
  other.client.step();
  const std::string record = other.client.take();
  const std::string hello = record.substr(5);  // the handshake message in it
  Pair pair(*contexts, 0, options);
  ASSERT_TRUE(pair.run());
  // The same way of sealing is taken for what it is when it carries data.
  EXPECT_EQ(pair.give_server(seal_tls12(pair.client.ssl(), 23, "NOOP\r\n")), Status::need_input);
  EXPECT_EQ(pair.received, "NOOP\r\n");
  Pair again(*contexts, 0, options);
  ASSERT_TRUE(again.run());
  EXPECT_EQ(again.give_server(seal_tls12(again.client.ssl(), 22, hello)), Status::failed);
  EXPECT_EQ(again.server.failure(), "renegotiation attempted");
  EXPECT_FALSE(again.client.step());
  EXPECT_EQ(ERR_GET_REASON(again.client.error()), SSL_R_TLSV1_ALERT_NO_RENEGOTIATION);
}

// Key updates, TLS 1.3.

class KeyUpdates : public testing::Test {
 protected:
  void SetUp() override {
    auto made = ServerContexts::make({server_certificate({})}, {{.name = "submission", .client_ca = ""}}, keys_);
    ASSERT_TRUE(made.has_value());
    contexts_ = std::make_unique<ServerContexts>(std::move(*made));
  }
  TicketKeys keys_;
  std::unique_ptr<ServerContexts> contexts_;
};

TEST_F(KeyUpdates, AreAnsweredBeforeTheNextOctet) {
  Pair pair(*contexts_, 0, {});
  ASSERT_TRUE(pair.run());
  for (int i = 0; i < 100; ++i) {
    ASSERT_EQ(SSL_key_update(pair.client.ssl(), SSL_KEY_UPDATE_REQUESTED), 1);
    pair.client.write("question\r\n");
    ASSERT_TRUE(pair.run()) << i << ' ' << pair.server.failure();
    pair.out_bytes = OutputBuffer::kRoomMin + static_cast<std::size_t>(i);
    pair.say("answer to a question that was not very long, but longer than the room\r\n");
    ASSERT_TRUE(pair.run()) << i << ' ' << pair.server.failure();
  }
  EXPECT_EQ(pair.received.size(), 100 * 10u);
  EXPECT_EQ(pair.client.read().size(), 100 * 71u);
}

TEST_F(KeyUpdates, WithoutDataAreAFloodAfterAWhile) {
  Pair pair(*contexts_, 0, {});
  ASSERT_TRUE(pair.run());
  int updates = 0;
  while (pair.status != Status::failed && updates < 1000) {
    ASSERT_EQ(SSL_key_update(pair.client.ssl(), SSL_KEY_UPDATE_NOT_REQUESTED), 1);
    SSL_write(pair.client.ssl(), "", 0);
    pair.give_server(pair.client.take());
    ++updates;
  }
  EXPECT_EQ(pair.server.failure(), "too many key updates");
  EXPECT_LT(updates, 100);
}

#if !defined(POSTERN_SANITIZED)
// Octets of the heap in use.
std::size_t heap() { return mallinfo2().uordblks; }

TEST_P(SessionTest, KeepsNoBuffersWhenIdle) {
  Pair pair = make();
  ASSERT_TRUE(pair.run());
  pair.say("220 mail.example.net\r\n");
  ASSERT_TRUE(pair.run());
  const std::string answer = random_text(40'000, 1), question = random_text(40'000, 2);
  pair.client.write(question);
  const std::string cipher = pair.client.take();
  std::string plain(65536, '\0'), memory(65536, '\0');
  OutputBuffer out(memory.data(), memory.size());

  const std::size_t idle = heap();
  EXPECT_EQ(pair.server.receive(cipher, plain, out).plain, question.size());
  EXPECT_EQ(heap(), idle);
  EXPECT_EQ(pair.server.send(answer, out), answer.size());
  EXPECT_EQ(heap(), idle);
}

TEST_P(SessionTest, KeepsOneRecordWhenItWaitsForItsRest) {
  Pair pair = make();
  ASSERT_TRUE(pair.run());
  pair.client.write(random_text(16384, 1));
  const std::string cipher = pair.client.take();
  std::string plain(65536, '\0'), memory(65536, '\0');
  OutputBuffer out(memory.data(), memory.size());
  const std::size_t idle = heap();
  pair.server.receive(std::string_view(cipher).substr(0, 6), plain, out);
  EXPECT_GT(heap(), idle + 16384);
  EXPECT_LT(heap(), idle + 17 * 1024);
  pair.server.receive(std::string_view(cipher).substr(6), plain, out);
  EXPECT_EQ(heap(), idle);
}
#endif

}  // namespace
}  // namespace postern::net::tls::test
