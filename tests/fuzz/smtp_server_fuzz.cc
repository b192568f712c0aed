// Whatever a client sends, and however it is cut: the same replies, messages and logins, no promise broken.
// Input: an octet that chooses the server, an octet that chooses what was said before, an octet that seeds the cuts, an
// octet that chooses what its TLS and its first login come to, and the octets of the client; kHandshake among them is where
// its handshake is done, if one is awaited.
#include <array>
#include <cstdint>
#include <memory>
#include <random>
#include <string>
#include <string_view>

#include "core/assert.h"
#include "policy/settings.h"

#include "tests/net/smtp/memory_driver.h"

namespace {

using namespace postern;
using namespace postern::net::smtp::test;
using postern::net::smtp::TlsFacts;

constexpr std::string_view kHandshake = "\x16\x03\x03";
constexpr std::string_view kAnna = "anna@example.net";  // whose password is "secret"

struct Server {
  std::unique_ptr<policy::PolicySnapshot> snapshot;
  core::IpAddress client;
};

Server make_server(std::map<std::string, std::string> settings, const char* client) {
  Dialog dialog;
  dialog.settings = std::move(settings);
  policy::ParsedSettings parsed = policy::parse_settings(dialog.settings_text());
  POSTERN_ASSERT(parsed.ok());
  parsed.settings.limits.message_bytes = 300;  // so that a small input passes every bound
  parsed.settings.limits.recipients = 3;
  parsed.settings.limits.hops = 2;
  return {std::make_unique<policy::PolicySnapshot>(std::move(parsed.settings)), *core::IpAddress::parse(client)};
}

const Server& server(std::uint8_t choice) {
  static const char* const kMechanisms =
      "[\"EXTERNAL\", \"SCRAM-SHA-256-PLUS\", \"SCRAM-SHA-256\", \"SCRAM-SHA-1\", \"CRAM-MD5\", \"PLAIN\", \"LOGIN\"]";
  static const std::array<Server, 9> servers = {
      make_server({{"service.errors", "0"}}, "127.0.1.5"),
      make_server({{"service.errors", "2"}, {"service.long_lines", "true"}}, "127.0.2.9"),
      make_server({{"service.access", "[]"}}, "127.0.1.5"),
      make_server({{"service.proxy_protocol", "true"}, {"proxy_from", "[\"127.0.3.1\"]"}}, "127.0.3.1"),
      make_server({{"xclient_from", "[\"127.0.3.1\"]"}, {"service.errors", "0"}}, "127.0.3.1"),
      make_server({{"service.tls", "\"starttls\""},
                   {"service.errors", "0"},
                   {"service.auth.mechanisms", kMechanisms},
                   {"users.cram_md5", "true"},
                   {"service.auth.client_ca", "\"/nowhere\""},
                   {"service.auth.plain_on_lan", "true"},
                   {"xclient_from", "[\"127.0.1.5\"]"}},
                  "127.0.1.5"),
      make_server({{"service.tls", "\"starttls\""},
                   {"service.errors", "3"},
                   {"service.auth.mechanisms", kMechanisms},
                   {"users.cram_md5", "true"},
                   {"service.auth.client_ca", "\"/nowhere\""},
                   {"service.auth.scope", "\"all\""},
                   {"quota.user.messages_per_hour", "2"}},
                  "127.0.2.9"),
      make_server({{"service.tls", "\"implicit\""},
                   {"service.errors", "0"},
                   {"service.auth.mechanisms", kMechanisms},
                   {"users.cram_md5", "true"},
                   {"service.auth.client_ca", "\"/nowhere\""},
                   {"service.relay.require_auth", "true"}},
                  "127.0.2.9"),
      make_server({{"service.tls", "\"implicit\""},
                   {"service.proxy_protocol", "true"},
                   {"service.auth.mechanisms", kMechanisms},
                   {"users.cram_md5", "true"},
                   {"service.auth.client_ca", "\"/nowhere\""},
                   {"proxy_from", "[\"127.0.3.1\"]"}},
                  "127.0.3.1"),
  };
  return servers[choice % servers.size()];
}

std::string_view said_before(std::uint8_t choice) {
  static constexpr std::string_view kHello = "EHLO c\r\n";
  static constexpr std::string_view kMail = "EHLO c\r\nMAIL FROM:<a@b>\r\nRCPT TO:<u@example.net>\r\n";
  static constexpr std::string_view kData = "EHLO c\r\nMAIL FROM:<a@b>\r\nRCPT TO:<u@example.net>\r\nDATA\r\n";
  static constexpr std::string_view kBinary =
      "EHLO c\r\nMAIL FROM:<a@b> BODY=BINARYMIME\r\nRCPT TO:<u@example.net>\r\nBDAT 7\r\na\rb\nc\0d";
  static constexpr std::string_view kLogin = "EHLO c\r\nAUTH PLAIN AGFubmFAZXhhbXBsZS5uZXQAc2VjcmV0\r\n";
  static constexpr std::string_view kHalfLogin = "EHLO c\r\nAUTH LOGIN\r\n";
  static constexpr std::string_view kScram = "EHLO c\r\nAUTH SCRAM-SHA-256 biwsbj1hbm5hQGV4YW1wbGUubmV0LHI9Y2xpZW50\r\n";
  static constexpr std::string_view kTls = "STARTTLS\r\n\x16\x03\x03" "EHLO c\r\n";
  static constexpr std::string_view kTlsLogin =
      "STARTTLS\r\n\x16\x03\x03" "EHLO c\r\nAUTH PLAIN AGFubmFAZXhhbXBsZS5uZXQAc2VjcmV0\r\n";
  // With the nonce and the challenge of MemoryDriver's random numbers.
  static constexpr std::string_view kScramProof =
      "EHLO c\r\nAUTH SCRAM-SHA-256 biwsbj1hbm5hQGV4YW1wbGUubmV0LHI9Y2xpZW50\r\n"
      "Yz1iaXdzLHI9Y2xpZW50QVFJREJBVUdCd2dKQ2dzTURRNFBFQkVTRXhRVkZoY1kscD0vTDgyWE1jZVY1U3pQREhJM1hmNzRGYWlV"
      "bEhDNVpHZGJua2dOYTd4NVVRPQ==\r\n";
  static constexpr std::string_view kCram =
      "EHLO c\r\nAUTH CRAM-MD5\r\nYW5uYUBleGFtcGxlLm5ldCBiN2M2M2ZhNTk5NzI5M2NmOTNjY2MzNWRjZTQwODc0Nw==\r\n";
  static constexpr std::array<std::string_view, 12> kTexts = {
      "", kHello, kMail, kData, kBinary, kLogin, kHalfLogin, kScram, kScramProof, kCram, kTls, kTlsLogin};
  return kTexts[choice % kTexts.size()];
}

UserTable& users() {
  static UserTable table = [] {
    UserTable made;
    policy::UserRecord record;
    record.name = kAnna;
    record.may_relay = true;
    made.add(record, "secret");
    record.name = "gone@example.net";
    record.disabled = true;
    made.add(record, "secret");
    record.name = "held@example.net";
    record.disabled = false;
    record.held = true;
    made.add(record, "secret");
    return made;
  }();
  return table;
}

TlsFacts facts(std::uint8_t choice) {
  static constexpr std::array<std::byte, 32> kExporter{};
  TlsFacts made{"TLSv1.3", "TLS_AES_128_GCM_SHA256", {}, {}};
  if ((choice & 1) != 0) made.exporter = kExporter;
  if ((choice & 2) != 0) made.certificate_name = (choice & 4) != 0 ? kAnna : "nobody@example.net";
  return made;
}

void run(MemoryDriver& driver, std::string_view octets, Cut cut, std::uint64_t seed, const TlsFacts& tls) {
  std::mt19937_64 random(seed);
  driver.set_users(users());
  driver.late_answers = cut != Cut::whole;
  driver.greet();
  for (;;) {
    const std::size_t at = octets.find(kHandshake);
    driver.feed(octets.substr(0, at), cut, random);
    if (at == std::string_view::npos) return;
    octets.remove_prefix(at + kHandshake.size());
    if (driver.awaits_handshake()) driver.handshake(tls);
  }
}

// Nobody is logged in who was not told of, and nobody who may not.
void expect_login(MemoryDriver& driver) {
  const net::smtp::ServerSession& session = driver.session();
  POSTERN_ASSERT(session.client().authenticated == (session.account() != nullptr));
  if (session.account() == nullptr) return;
  const std::string& name = session.account()->name;
  POSTERN_ASSERT(session.client().user == name && (name == kAnna || name == "held@example.net"));
  POSTERN_ASSERT(driver.logins_ended().back().starts_with("success "));
}

void expect_alike(const MemoryDriver& a, const MemoryDriver& b) {
  POSTERN_ASSERT(a.said() == b.said());
  POSTERN_ASSERT(a.stored() == b.stored());
  POSTERN_ASSERT(a.rejected() == b.rejected());
  POSTERN_ASSERT(a.logins_ended() == b.logins_ended());
  POSTERN_ASSERT(a.awaits_handshake() == b.awaits_handshake());
  POSTERN_ASSERT(a.admitted() == b.admitted());
  POSTERN_ASSERT(a.aborted() == b.aborted());
  POSTERN_ASSERT(a.is_closed() == b.is_closed() && a.is_dropped() == b.is_dropped());
}

// Every line of the replies is a code, a blank or hyphen, and printable octets.
void expect_replies(std::string_view said) {
  while (!said.empty()) {
    const std::size_t end = said.find("\r\n");
    POSTERN_ASSERT(end != std::string_view::npos && end >= 4 && end <= 1022);
    POSTERN_ASSERT(said[0] >= '2' && said[0] <= '5' && (said[3] == ' ' || said[3] == '-'));
    for (const char c : said.substr(0, end)) POSTERN_ASSERT(c >= ' ' && c <= '~');
    said.remove_prefix(end + 2);
  }
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  if (size < 4) return 0;
  const Server& chosen = server(data[0]);
  std::string octets(said_before(data[1]));
  octets.append(reinterpret_cast<const char*>(data) + 4, size - 4);
  const TlsFacts tls = facts(data[3]);
  const bool first_login = (data[3] & 8) == 0;

  static core::BlockPool pool(8 << 20);
  MemoryDriver whole(*chosen.snapshot, chosen.client, pool);
  whole.next_login = first_login;
  run(whole, octets, Cut::whole, 0, tls);
  POSTERN_ASSERT(whole.broken().empty());
  expect_login(whole);
  expect_replies(whole.said());
  for (const auto& message : whole.stored()) POSTERN_ASSERT(message.content.size() <= 300);

  MemoryDriver pieces(*chosen.snapshot, chosen.client, pool);
  pieces.next_login = first_login;
  run(pieces, octets, Cut::random, data[2], tls);
  POSTERN_ASSERT(pieces.broken().empty());
  expect_alike(whole, pieces);

  MemoryDriver singly(*chosen.snapshot, chosen.client, pool);
  singly.next_login = first_login;
  run(singly, octets, Cut::by_octet, 0, tls);
  POSTERN_ASSERT(singly.broken().empty());
  expect_alike(whole, singly);
  return 0;
}
