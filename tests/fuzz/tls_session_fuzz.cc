// A TLS server whose client sends anything: it ends in a clear failure or goes on, consumes what it must, and hands out
// nothing that was not sent.
// Input: an octet of choices, an octet that seeds cuts and room, and the client's octets; what they are is chosen:
//   0 what it sends first; 1 what it sends after a good handshake; 2 changes to what a good client sends (place, place,
//   octet to XOR with, and again); 3 plaintext that a good client sends, which must arrive.
#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <fstream>
#include <memory>
#include <openssl/nid.h>
#include <random>
#include <string>
#include <unistd.h>

#include "core/assert.h"
#include "tests/net/tls/tls_support.h"

namespace {

using namespace postern::net::tls;
using namespace postern::net::tls::test;

struct Server {
  TicketKeys keys;
  Identity authority = issue({.common_name = "Users", .dns = {}, .is_authority = true}, nullptr);
  Identity user = issue({.common_name = "alice", .dns = {}, .purpose = NID_client_auth}, &authority);
  std::unique_ptr<ServerContexts> contexts;
  bssl::UniquePtr<SSL_SESSION> session;  // a ticket of service 0

  Server() {
    char path[] = "/tmp/postern-fuzz-XXXXXX";
    const int file = mkstemp(path);
    POSTERN_ASSERT(file >= 0);
    close(file);
    std::ofstream(path) << authority.pem();
    auto made = ServerContexts::make({server_certificate({}), server_certificate({.key = Key::rsa2048})},
                                     {{.name = "plain", .client_ca = ""}, {.name = "asking", .client_ca = path}}, keys);
    std::remove(path);
    POSTERN_ASSERT(made.has_value());
    contexts = std::make_unique<ServerContexts>(std::move(*made));
    Pair pair(*contexts, 0, {});
    POSTERN_ASSERT(pair.run());
    pair.say("x");
    POSTERN_ASSERT(pair.run());
    session = pair.client.session();
  }
};

struct Run {
  Pair& pair;
  std::mt19937_64 random;
  std::string received;

  // What Pair::give_server does, with every promise of Session checked. False: over.
  bool give(std::string_view cipher) {
    const std::size_t plain_bytes = random() % 4 == 0 ? 1 + random() % 100 : 20'000;
    const std::size_t out_bytes = random() % 4 == 0 ? OutputBuffer::kRoomMin + random() % 100 : 20'000;
    std::string plain(plain_bytes, '\0'), memory(out_bytes, '\0');
    while (!cipher.empty()) {
      std::string_view piece = cipher.substr(0, 1 + random() % (random() % 2 == 0 ? 8 : 20'000));
      cipher.remove_prefix(piece.size());
      for (;;) {
        OutputBuffer out(memory.data(), memory.size());
        const Progress progress = pair.server.receive(piece, plain, out);
        POSTERN_ASSERT(progress.consumed <= piece.size() && progress.plain <= plain.size());
        piece.remove_prefix(progress.consumed);
        received.append(plain, 0, progress.plain);
        pair.client.give(out.view());
        if (progress.status == Status::need_input) {
          POSTERN_ASSERT(piece.empty() && !pair.server.has_pending_plain());
          break;
        }
        if (progress.status == Status::closed || progress.status == Status::failed) {
          POSTERN_ASSERT(piece.empty());
          POSTERN_ASSERT((progress.status == Status::failed) == !pair.server.failure().empty());
          POSTERN_ASSERT(std::ranges::all_of(pair.server.failure(), [](char c) { return c >= ' ' && c <= '~'; }));
          return false;
        }
        // It stopped for want of room: then it used some.
        POSTERN_ASSERT(progress.status == Status::need_plain ? progress.plain != 0 || plain.empty() : !out.empty());
      }
    }
    return true;
  }

  // A handshake of both, with `change` applied to each flight of the client's. False: it failed.
  template <class Change>
  bool handshake(Change change) {
    for (int flight = 0; flight < 8; ++flight) {
      pair.client.step();
      std::string cipher = pair.client.take();
      if (cipher.empty()) return pair.server.handshake_done();
      change(cipher);
      if (!give(cipher)) return false;
    }
    return pair.server.handshake_done();
  }
};

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  static Server server;
  if (size < 2) return 0;
  const std::uint8_t choices = data[0];
  const std::string_view input(reinterpret_cast<const char*>(data) + 2, size - 2);
  ClientOptions options;
  options.version_max = (choices & 4) != 0 ? TLS1_2_VERSION : TLS1_3_VERSION;
  const std::size_t service = (choices & 8) != 0 ? 1 : 0;
  if ((choices & 16) != 0) options.identity = &server.user;
  if ((choices & 32) != 0) options.session = server.session.get();
  if ((choices & 64) != 0) options.signatures = {SSL_SIGN_RSA_PSS_RSAE_SHA256};
  Pair pair(*server.contexts, service, options);
  Run run{pair, std::mt19937_64(data[1]), {}};
  const auto nothing = [](std::string&) {};
  switch (choices & 3) {
    case 0:
      run.give(input);
      break;
    case 1:
      POSTERN_ASSERT(run.handshake(nothing));
      run.give(input);
      POSTERN_ASSERT(run.received.empty());  // it has no key
      break;
    case 2: {
      std::string_view changes = input;
      run.handshake([&](std::string& cipher) {
        for (; changes.size() >= 3; changes.remove_prefix(3)) {
          const std::size_t place = static_cast<std::uint8_t>(changes[0]) * 256u + static_cast<std::uint8_t>(changes[1]);
          if (place >= cipher.size()) break;  // the rest is for the next flight
          cipher[place] = static_cast<char>(cipher[place] ^ changes[2]);
        }
      });
      POSTERN_ASSERT(run.received.empty());
      break;
    }
    case 3:
      POSTERN_ASSERT(run.handshake(nothing));
      if (!input.empty()) pair.client.write(input);
      POSTERN_ASSERT(run.give(pair.client.take()));
      POSTERN_ASSERT(run.received == input);
      break;
  }
  return 0;
}
