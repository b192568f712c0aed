// What pop3_fuzz and imap_fuzz share: a scenario made of octets, and what must hold for each.
//
// Input: an octet of options, one that seeds the cuts, one that chooses what both sides say first, one that chooses the
// driver's answers; then octets of the client. 0xff and an octet change the side: to the client behind a TLS handshake,
// to the client as before, or (half of the octets) to a new piece of the store's, which it says when it hears its next
// command.
#pragma once

#include <cstdint>
#include <cstdio>
#include <string>
#include <string_view>

#include "core/assert.h"

#include "tests/net/mailbox/front.h"

namespace postern::net::mailbox::test {

inline constexpr std::string_view kSecret = "S3cRet/Word";  // the password of every login that is said first

// What both sides say before the input's octets come.
struct Beginning {
  std::vector<std::string> store;
  std::string client;
};

inline SessionOptions options_of(std::uint8_t choice) {
  SessionOptions options;
  options.encrypted = (choice & 1) != 0;
  options.tls_offered = (choice & 2) != 0;
  options.plaintext_allowed = (choice & 4) != 0;
  options.tell_address = (choice & 8) != 0;
  options.master_separator = (choice & 16) != 0 ? '*' : '\0';
  options.errors_max = (choice & 32) != 0 ? 2 : 0;
  options.client = *core::Endpoint::parse("192.0.2.7:4711");
  options.local = *core::Endpoint::parse("[2001:db8::1]:143");
  return options;
}

inline Scenario scenario_of(Protocol protocol, std::string_view input, const Beginning& beginning) {
  constexpr char kMark = '\xff';  // and one octet behind it
  Scenario made;
  made.protocol = protocol;
  made.options = options_of(static_cast<std::uint8_t>(input[0]));
  made.store_leaves = (input[0] & 64) != 0;
  if ((input[0] & 128) != 0) made.goodbye = "Idle too long";
  for (int i = 0; i < 4; ++i) made.answers.push_back(static_cast<LoginAnswer>((input[3] >> (2 * i)) & 3));
  made.store = beginning.store;
  made.client = {beginning.client};
  input.remove_prefix(4);
  std::string* side = &made.client.back();
  while (!input.empty()) {
    if (input[0] == kMark && input.size() > 1) {
      const auto kind = static_cast<std::uint8_t>(input[1]) % 4;
      if (kind == 0) made.client.emplace_back();
      if (kind >= 2) made.store.emplace_back();
      side = kind >= 2 ? &made.store.back() : &made.client.back();
      input.remove_prefix(2);
      continue;
    }
    side->push_back(input[0]);
    input.remove_prefix(1);
  }
  return made;
}

// Whole lines of printable octets.
inline void expect_lines(std::string_view said) {
  while (!said.empty()) {
    const std::size_t end = said.find("\r\n");
    POSTERN_ASSERT(end != std::string_view::npos);
    for (const char octet : said.substr(0, end)) POSTERN_ASSERT(octet >= ' ' && octet <= '~');
    said.remove_prefix(end + 2);
  }
}

inline std::string_view last_line(std::string_view text) {
  POSTERN_ASSERT(text.ends_with("\r\n"));
  text.remove_suffix(2);
  const std::size_t begin = text.rfind("\r\n");
  return begin == std::string_view::npos ? text : text.substr(begin + 2);
}

// Every end of a login is that of the login that was wanted last; nothing comes behind the end.
inline void expect_events(std::string_view events) {
  std::string_view wanted;
  while (!events.empty()) {
    const std::size_t end = events.find('\n');
    const std::string_view event = events.substr(0, end);
    events.remove_prefix(end + 1);
    if (event.starts_with("wanted ")) wanted = event.substr(7);
    if (event.starts_with("succeeded ")) POSTERN_ASSERT(event.substr(10) == wanted);
    if (event.starts_with("failed ")) POSTERN_ASSERT(event.substr(7).starts_with(wanted));
    if (event == "passthrough" || event.starts_with("close ")) POSTERN_ASSERT(events.empty());
  }
}

inline Outcome play(const Scenario& scenario, std::uint8_t seed) {
  const Outcome whole = run_all_cuts(scenario, 1, seed);
  if (!whole.broken.empty()) {
    std::fprintf(stderr, "%s\nsaid <%s>\nheard <%s>\n%s", whole.broken.c_str(), whole.said.c_str(), whole.heard.c_str(),
                 whole.events.c_str());
  }
  POSTERN_ASSERT(whole.broken.empty());
  expect_lines(whole.said);
  if (whole.events.find("succeeded ") == std::string::npos) POSTERN_ASSERT(whole.rest_store.empty());
  return whole;
}

}  // namespace postern::net::mailbox::test
