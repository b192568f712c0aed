// Whatever a POP3 client and a store say to the front, and however it is cut: the same comes out, nobody is in whom the
// store did not let in, and no password is in what a log may see. mailbox_fuzz.h says what the input is.
#include <array>

#include "tests/fuzz/mailbox_fuzz.h"

namespace {

using namespace postern::net::mailbox::test;

const Beginning& beginning(std::uint8_t choice) {
  using namespace std::string_literals;
  static const std::string kSecretText(kSecret);
  static const std::string kGreeting = "+OK ready <1@x>\r\n";
  static const std::string kCapa =
      "+OK\r\nUSER\r\nXCLIENT\r\nSASL PLAIN LOGIN CRAM-MD5 SCRAM-SHA-256 GSSAPI X\r\n.\r\n";
  static const std::array<Beginning, 8> kBeginnings = {{
      {},
      {{kGreeting}, {}},
      {{kGreeting, kCapa}, {}},
      {{kGreeting, kCapa}, "USER anna\r\nPASS " + kSecretText + "\r\n"},
      {{kGreeting, kCapa, "+OK\r\n"}, "USER anna\r\nPASS " + kSecretText + "\r\n"},
      {{kGreeting, kCapa}, "AUTH PLAIN " + base64("\0anna\0"s + kSecretText) + "\r\n"},
      {{kGreeting, kCapa, "+ VXNlcm5hbWU6\r\n"},
       "AUTH LOGIN\r\n" + base64("anna") + "\r\n" + base64(kSecretText) + "\r\n"},
      {{"+OK [XCLIENT] x\r\n", "+OK\r\n", kCapa}, "AUTH SCRAM-SHA-256 " + base64("n,,n=anna,r=x") + "\r\n"},
  }};
  return kBeginnings[choice % kBeginnings.size()];
}

// Lines of printable octets, octets above 127 among them: names and passwords.
void expect_commands(std::string_view heard) {
  while (!heard.empty()) {
    const std::size_t end = heard.find("\r\n");
    POSTERN_ASSERT(end != std::string_view::npos);
    for (const char octet : heard.substr(0, end)) {
      POSTERN_ASSERT(static_cast<unsigned char>(octet) >= ' ' && octet != 0x7f);
    }
    heard.remove_prefix(end + 2);
  }
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  if (size < 4) return 0;
  const std::string_view input(reinterpret_cast<const char*>(data), size);
  const Outcome outcome = play(scenario_of(Protocol::pop3, input, beginning(data[2])), data[1]);
  expect_commands(outcome.heard);
  expect_events(outcome.events);
  if (outcome.events.find("succeeded ") != std::string::npos)
    POSTERN_ASSERT(last_line(outcome.verdict).starts_with("+OK"));
  if (input.find(kSecret) == std::string_view::npos) POSTERN_ASSERT(outcome.events.find(kSecret) == std::string::npos);
  return 0;
}
