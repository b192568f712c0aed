// Whatever an IMAP client and a store say to the front, and however it is cut: the same comes out, nobody is in whom
// the store did not let in, and no password is in what a log may see. mailbox_fuzz.h says what the input is.
#include <array>

#include "net/mailbox/text.h"

#include "tests/fuzz/mailbox_fuzz.h"

namespace {

using namespace postern::net::mailbox;
using namespace postern::net::mailbox::test;

const Beginning& beginning(std::uint8_t choice) {
  using namespace std::string_literals;
  static const std::string kSecretText(kSecret);
  static const std::string kGreeting =
      "* OK [CAPABILITY IMAP4rev1 AUTH=PLAIN AUTH=LOGIN AUTH=CRAM-MD5 AUTH=SCRAM-SHA-256 AUTH=GSSAPI] ready\r\n";
  static const std::string kAble = "* OK [CAPABILITY IMAP4rev1 SASL-IR LITERAL+ AUTH=PLAIN AUTH=X] ready\r\n";
  static const std::array<Beginning, 8> kBeginnings = {{
      {},
      {{kGreeting}, {}},
      {{kGreeting}, "a LOGIN anna \"" + kSecretText + "\"\r\n"},
      {{kAble}, "a LOGIN {4}\r\nanna {13+}\r\n" + kSecretText + "\xc3\xa4\r\n"},
      {{kGreeting}, "a LOGIN \"\xc3\xa4\" {13}\r\n" + kSecretText + "\xc3\xa4\r\n"},
      {{kAble}, "a AUTHENTICATE PLAIN " + base64("\0anna\0"s + kSecretText) + "\r\n"},
      {{kGreeting, "+ VXNlcm5hbWU6\r\n"},
       "a AUTHENTICATE LOGIN\r\n" + base64("anna") + "\r\n" + base64(kSecretText) + "\r\n"},
      {{"* OK [CAPABILITY IMAP4rev1 ID] x\r\n", "P1 OK\r\n", "* CAPABILITY IMAP4rev1 AUTH=PLAIN\r\nP2 OK\r\n"}, {}},
  }};
  return kBeginnings[choice % kBeginnings.size()];
}

// "P7 OK ...", and P7 was a login.
void expect_verdict(const Outcome& outcome) {
  std::string_view line = last_line(outcome.verdict);
  const std::string tag(take_word(line));
  POSTERN_ASSERT(tag.size() >= 2 && tag[0] == 'P');
  POSTERN_ASSERT(equals_ignoring_case(take_word(line), "OK"));
  POSTERN_ASSERT(outcome.heard.find(tag + " LOGIN ") != std::string::npos ||
                 outcome.heard.find(tag + " AUTHENTICATE ") != std::string::npos);
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  if (size < 4) return 0;
  const std::string_view input(reinterpret_cast<const char*>(data), size);
  const Outcome outcome = play(scenario_of(Protocol::imap, input, beginning(data[2])), data[1]);
  POSTERN_ASSERT(outcome.heard.find('\0') == std::string::npos);
  POSTERN_ASSERT(outcome.heard.empty() || outcome.heard.starts_with("P1 "));
  expect_events(outcome.events);
  if (outcome.events.find("succeeded ") != std::string::npos) expect_verdict(outcome);
  if (input.find(kSecret) == std::string_view::npos) POSTERN_ASSERT(outcome.events.find(kSecret) == std::string::npos);
  return 0;
}
