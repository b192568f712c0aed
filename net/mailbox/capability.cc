#include "net/mailbox/capability.h"

#include <algorithm>
#include <cstring>

#include "net/mailbox/identity.h"
#include "net/mailbox/text.h"

namespace postern::net::mailbox {

namespace {

constexpr std::string_view kAuth = "AUTH=";

bool is_any_of(std::string_view word, std::initializer_list<std::string_view> names) {
  return std::any_of(names.begin(), names.end(),
                     [word](std::string_view name) { return equals_ignoring_case(word, name); });
}

// A mechanism's name in capitals, which is how it is compared everywhere.
struct Capitals {
  explicit Capitals(std::string_view name) : size(std::min(name.size(), text.size())) {
    std::transform(name.begin(), name.begin() + size, text.begin(), [](char octet) {
      return octet >= 'a' && octet <= 'z' ? static_cast<char>(octet - 'a' + 'A') : octet;
    });
  }
  [[nodiscard]] std::string_view view() const { return {text.data(), size}; }

  std::array<char, kMechanismBytesMax + 1> text;  // one more, so that a name that is too long stays too long
  std::size_t size;
};

template <std::size_t Bytes>
void append(std::array<char, Bytes>& list, std::uint16_t& bytes, std::string_view word) {
  if (word.size() + 1 > list.size() - bytes) return;
  word.copy(list.data() + bytes, word.size());
  list[bytes + word.size()] = '\n';
  bytes = static_cast<std::uint16_t>(bytes + word.size() + 1);
}

std::string_view next_of(std::string_view& list) {
  const std::size_t end = list.find('\n');
  const std::string_view word = list.substr(0, end);
  list.remove_prefix(end + 1);
  return word;
}

// An atom (RFC 9051 section 9), or what of POP3 is one: nothing in it ends a list, a code or a line.
bool is_atom(std::string_view word) {
  return std::all_of(word.begin(), word.end(), [](char octet) {
    return octet > ' ' && octet <= '~' && std::string_view("(){}%*\"\\[]").find(octet) == std::string_view::npos;
  });
}

bool is_printable(std::string_view line) {
  return std::all_of(line.begin(), line.end(), [](char octet) { return octet >= ' ' && octet <= '~'; });
}

bool stays_after_login(std::string_view word) {
  if (!is_atom(word)) return false;
  if (starts_ignoring_case(word, kAuth)) return is_spoken_through(Capitals(word.substr(kAuth.size())).view());
  return !is_any_of(word, {"STARTTLS", "LOGINDISABLED", "UNAUTHENTICATE"});
}

}  // namespace

void StoreCapabilities::take_mechanism(std::string_view mechanism) {
  const Capitals name(mechanism);
  if (is_spoken_through(name.view()) && !has_mechanism(name.view()))
    append(mechanisms_, mechanisms_bytes_, name.view());
}

void StoreCapabilities::take_imap(std::string_view words) {
  is_known = true;
  while (!words.empty()) {
    const std::string_view word = take_word(words);
    if (word.empty()) continue;
    if (starts_ignoring_case(word, kAuth)) {
      take_mechanism(word.substr(kAuth.size()));
    } else if (equals_ignoring_case(word, "LOGINDISABLED")) {
      login_disabled = true;
    } else if (equals_ignoring_case(word, "SASL-IR")) {
      sasl_ir = true;
    } else if (!is_any_of(word, {"STARTTLS", "LOGIN-REFERRALS", "UNAUTHENTICATE"})) {
      id = id || equals_ignoring_case(word, "ID");
      literal_plus = literal_plus || is_any_of(word, {"LITERAL+", "LITERAL-"});
      if (is_atom(word)) append(words_, words_bytes_, word);
    }
  }
}

void StoreCapabilities::take_pop3(std::string_view line) {
  is_known = true;
  std::string_view arguments = line;
  const std::string_view word = take_word(arguments);
  if (equals_ignoring_case(word, "SASL")) {
    while (!arguments.empty()) take_mechanism(take_word(arguments));
  } else if (equals_ignoring_case(word, "USER")) {
    user = true;
  } else if (equals_ignoring_case(word, "XCLIENT")) {
    xclient = true;
  } else if (!is_any_of(word, {"STLS", "IMPLEMENTATION", "XOIP", "UTF8", "LANG", "RESP-CODES", "AUTH-RESP-CODE", ""})) {
    // UTF8 and LANG are commands of the time before the login (RFC 6856), which the front does not pass on.
    if (is_printable(line)) append(words_, words_bytes_, line);
  }
}

void StoreCapabilities::write_imap(Output& out, const Offer& offer) const {
  std::string_view words(words_.data(), words_bytes_);
  while (!words.empty()) out.put({next_of(words), " "});
  out.put("SASL-IR");
  if (offer.starttls) out.put(" STARTTLS");
  if (!offer.plaintext || login_disabled) out.put(" LOGINDISABLED");
  write_mechanisms(out, offer, " AUTH=", {});
}

void StoreCapabilities::write_pop3(Output& out, const Offer& offer) const {
  std::string_view words(words_.data(), words_bytes_);
  while (!words.empty()) out.put({next_of(words), "\r\n"});
  out.put("RESP-CODES\r\nAUTH-RESP-CODE\r\n");
  if (offer.starttls) out.put("STLS\r\n");
  if (offer.plaintext && user) out.put("USER\r\n");
  std::string_view names(mechanisms_.data(), mechanisms_bytes_);
  bool is_any = false;
  while (!names.empty()) {
    const std::string_view name = next_of(names);
    if (!offer.plaintext && traits_of(name).is_plaintext) continue;
    out.put({is_any ? " " : "SASL ", name});
    is_any = true;
  }
  if (is_any) out.put("\r\n");
}

std::size_t StoreCapabilities::write_mechanisms(Output& out, const Offer& offer, std::string_view before,
                                                std::string_view after) const {
  std::string_view names(mechanisms_.data(), mechanisms_bytes_);
  std::size_t count = 0;
  while (!names.empty()) {
    const std::string_view name = next_of(names);
    if (!offer.plaintext && traits_of(name).is_plaintext) continue;
    out.put({before, name, after});
    ++count;
  }
  return count;
}

bool StoreCapabilities::has_mechanism(std::string_view mechanism) const {
  std::string_view names(mechanisms_.data(), mechanisms_bytes_);
  while (!names.empty()) {
    if (next_of(names) == mechanism) return true;
  }
  return false;
}

std::size_t rewrite_after_login(char* words, std::size_t size) {
  std::string_view rest(words, size);
  std::size_t kept = 0;
  while (!rest.empty()) {
    const std::string_view word = take_word(rest);
    if (word.empty() || !stays_after_login(word)) continue;
    if (kept != 0) words[kept++] = ' ';
    std::memmove(words + kept, word.data(), word.size());
    kept += word.size();
  }
  return kept;
}

}  // namespace postern::net::mailbox
