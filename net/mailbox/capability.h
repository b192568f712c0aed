// What the store can do, and what of it the front says before the login (IMAP: RFC 9051 section 6.1.1; POP3: RFC 2449).
//
// Before the login the front is the one who is spoken with, so it announces what it does itself (STARTTLS, SASL-IR,
// response codes), leaves out what it does not pass on (-PLUS, EXTERNAL, ANONYMOUS, referrals, the store's name and
// version), and offers no plaintext login where none is allowed. Everything else is the store's and stays: clients look
// at it before they log in. What does not fit the bounds, or is no word, is left out; a client asks again after the
// login.
//
// Pure, no allocation. Thread: one.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <string_view>

#include "net/mailbox/output.h"

namespace postern::net::mailbox {

// What holds at the moment of saying.
struct Offer {
  bool starttls = false;   // ours
  bool plaintext = false;  // plaintext logins are allowed
};

class StoreCapabilities {
 public:
  void clear() { *this = {}; }
  // The words behind "CAPABILITY", blanks between them.
  void take_imap(std::string_view words);
  // One line of the answer to CAPA.
  void take_pop3(std::string_view line);
  // The store knows no CAPA: USER it must have (RFC 1939), and nothing else is known.
  void assume_pop3() { user = true; }

  // Writes "IMAP4rev1 ... AUTH=PLAIN", without "CAPABILITY".
  void write_imap(Output& out, const Offer& offer) const;
  // Writes the lines, without status and without the dot.
  void write_pop3(Output& out, const Offer& offer) const;
  // Writes the mechanisms that are offered, `before` and `after` round each. Returns how many.
  std::size_t write_mechanisms(Output& out, const Offer& offer, std::string_view before, std::string_view after) const;
  // `mechanism` in capitals.
  [[nodiscard]] bool has_mechanism(std::string_view mechanism) const;

  // What the front itself needs to know.
  bool is_known = false;        // the store told
  bool user = false;            // POP3: USER and PASS
  bool xclient = false;         // POP3: it takes the client's address
  bool id = false;              // IMAP: likewise, by ID
  bool sasl_ir = false;         // IMAP: an initial response may go with AUTHENTICATE
  bool literal_plus = false;    // IMAP: no waiting before a literal (LITERAL+, or LITERAL- up to 4096 octets)
  bool login_disabled = false;  // IMAP

 private:
  void take_mechanism(std::string_view mechanism);

  std::array<char, 512> words_;  // each followed by LF
  std::array<char, 160> mechanisms_;
  std::uint16_t words_bytes_ = 0;
  std::uint16_t mechanisms_bytes_ = 0;
};

// After the login the list is the store's own: only what ended with it goes (STARTTLS, LOGINDISABLED, mechanisms that
// are not spoken through), and UNAUTHENTICATE, behind which logins would be out of sight. Moves the words that stay to
// the beginning of `words`, blanks between them; returns their octets.
std::size_t rewrite_after_login(char* words, std::size_t size);

}  // namespace postern::net::mailbox
