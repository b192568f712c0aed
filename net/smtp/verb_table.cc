#include "net/smtp/verb_table.h"

#include <array>
#include <iterator>

#include "net/smtp/command.h"

namespace postern::net::smtp {
namespace {

constexpr std::uint16_t kBase = 512;
// What parameters may add: SIZE 26 (RFC 1870 section 3), BODY 17 and 2 more for BINARYMIME (RFC 6152 section
// 2, RFC 3030 section 3), SMTPUTF8 10 (RFC 6531 section 3.1), RET 9 and ENVID 107 (RFC 3461
// sections 4.3, 4.4).
constexpr std::uint16_t kMail = kBase + 26 + 19 + 10 + 9 + 107;
// NOTIFY 29 and ORCPT 507 (RFC 3461 sections 4.1, 4.2).
constexpr std::uint16_t kRcpt = kBase + 29 + 507;
constexpr std::uint16_t kVrfy = kBase + 10;  // SMTPUTF8 (RFC 6531 section 3.1)

constexpr VerbRules kRules[] = {
    // Which ones may come when: RFC 5321 section 4.1.4. HELO and EHLO see to their argument themselves, as
    // their replies
    // carry no enhanced code; BDAT sees to its state itself, as it must swallow its octets before it refuses.
    //                                             needs   no trans-  inside
    //                argument                     hello   action     chunks  line
    {"HELO", Verb::helo, ArgumentRule::optional, false, false, true, kBase},
    {"EHLO", Verb::ehlo, ArgumentRule::optional, false, false, true, kBase},
    {"MAIL", Verb::mail, ArgumentRule::required, true, true, false, kMail},
    {"RCPT", Verb::rcpt, ArgumentRule::required, true, false, false, kRcpt},
    {"DATA", Verb::data, ArgumentRule::none, true, false, false, kBase},
    {"BDAT", Verb::bdat, ArgumentRule::optional, false, false, true, kBase},
    {"RSET", Verb::rset, ArgumentRule::none, false, false, true, kBase},
    {"NOOP", Verb::noop, ArgumentRule::optional, false, false, true, kBase},
    {"VRFY", Verb::vrfy, ArgumentRule::required, false, false, true, kVrfy},
    {"EXPN", Verb::expn, ArgumentRule::optional, false, false, true, kVrfy},
    {"HELP", Verb::help, ArgumentRule::optional, false, false, true, kBase},
    {"QUIT", Verb::quit, ArgumentRule::none, false, false, true, kBase},
    {"XCLIENT", Verb::xclient, ArgumentRule::required, false, true, false, kCommandBytesMax},
    {"STARTTLS", Verb::starttls, ArgumentRule::none, false, true, false, kBase},
    {"AUTH", Verb::auth, ArgumentRule::required, true, true, false, kAuthLineBytesMax},
};
static_assert(std::size(kRules) == kVerbs);

// Up to eight octets as one word, upper case; 0 for what is no verb's length.
std::uint64_t pack(std::string_view word) {
  if (word.size() < 4 || word.size() > 8) return 0;
  std::uint64_t packed = 0;
  for (const char c : word) {
    const bool is_lower = c >= 'a' && c <= 'z';
    packed = packed << 8 | static_cast<std::uint8_t>(is_lower ? c - 'a' + 'A' : c);
  }
  return packed;
}

}  // namespace

const VerbRules* find_verb(std::string_view word) {
  static constexpr auto kPacked = [] {
    std::array<std::uint64_t, kVerbs> packed{};
    for (std::size_t i = 0; i < kVerbs; ++i) {
      for (const char c : kRules[i].name) packed[i] = packed[i] << 8 | static_cast<std::uint8_t>(c);
    }
    return packed;
  }();
  const std::uint64_t wanted = pack(word);
  if (wanted == 0) return nullptr;
  for (std::size_t i = 0; i < kVerbs; ++i) {
    if (kPacked[i] == wanted) return &kRules[i];
  }
  return nullptr;
}

bool is_http_method(std::string_view word) {
  // RFC 9110 section 9, RFC 5789, and the preface of HTTP/2 (RFC 9113 section 3.4).
  static constexpr std::string_view kMethods[] = {"GET",     "POST",    "PUT",   "HEAD",  "DELETE",
                                                  "CONNECT", "OPTIONS", "TRACE", "PATCH", "PRI"};
  for (const std::string_view method : kMethods) {
    if (equals_ignoring_case(word, method)) return true;  // browsers leave some as the page wrote them
  }
  return false;
}

}  // namespace postern::net::smtp
