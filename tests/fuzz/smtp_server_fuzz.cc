// Whatever a client sends, and however it is cut: the same replies, the same messages, no promise broken.
// Input: an octet that chooses the server, an octet that chooses what was said before, an octet that seeds the cuts, and
// the octets of the client.
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
  static const std::array<Server, 5> servers = {
      make_server({{"service.errors", "0"}}, "127.0.1.5"),
      make_server({{"service.errors", "2"}, {"service.long_lines", "true"}}, "127.0.2.9"),
      make_server({{"service.access", "[]"}}, "127.0.1.5"),
      make_server({{"service.proxy_protocol", "true"}, {"proxy_from", "[\"127.0.3.1\"]"}}, "127.0.3.1"),
      make_server({{"xclient_from", "[\"127.0.3.1\"]"}, {"service.errors", "0"}}, "127.0.3.1"),
  };
  return servers[choice % servers.size()];
}

std::string_view said_before(std::uint8_t choice) {
  static constexpr std::string_view kHello = "EHLO c\r\n";
  static constexpr std::string_view kMail = "EHLO c\r\nMAIL FROM:<a@b>\r\nRCPT TO:<u@example.net>\r\n";
  static constexpr std::string_view kData = "EHLO c\r\nMAIL FROM:<a@b>\r\nRCPT TO:<u@example.net>\r\nDATA\r\n";
  static constexpr std::string_view kBinary =
      "EHLO c\r\nMAIL FROM:<a@b> BODY=BINARYMIME\r\nRCPT TO:<u@example.net>\r\nBDAT 7\r\na\rb\nc\0d";
  static constexpr std::array<std::string_view, 5> kTexts = {"", kHello, kMail, kData, kBinary};
  return kTexts[choice % kTexts.size()];
}

void run(MemoryDriver& driver, std::string_view octets, Cut cut, std::uint64_t seed) {
  std::mt19937_64 random(seed);
  driver.greet();
  driver.feed(octets, cut, random);
}

void expect_alike(const MemoryDriver& a, const MemoryDriver& b) {
  POSTERN_ASSERT(a.said() == b.said());
  POSTERN_ASSERT(a.stored() == b.stored());
  POSTERN_ASSERT(a.rejected() == b.rejected());
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
  if (size < 3) return 0;
  const Server& chosen = server(data[0]);
  std::string octets(said_before(data[1]));
  octets.append(reinterpret_cast<const char*>(data) + 3, size - 3);

  static core::BlockPool pool(8 << 20);
  MemoryDriver whole(*chosen.snapshot, chosen.client, pool);
  run(whole, octets, Cut::whole, 0);
  POSTERN_ASSERT(whole.broken().empty());
  expect_replies(whole.said());
  for (const auto& message : whole.stored()) POSTERN_ASSERT(message.content.size() <= 300);

  MemoryDriver pieces(*chosen.snapshot, chosen.client, pool);
  run(pieces, octets, Cut::random, data[2]);
  POSTERN_ASSERT(pieces.broken().empty());
  expect_alike(whole, pieces);

  MemoryDriver singly(*chosen.snapshot, chosen.client, pool);
  run(singly, octets, Cut::by_octet, 0);
  POSTERN_ASSERT(singly.broken().empty());
  expect_alike(whole, singly);
  return 0;
}
