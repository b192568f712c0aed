// How far a queued message is: the state that the spool keeps beside it (core::Spool::update) and that the
// queue lists.
//
// A message that was never tried needs no state: default-made for n recipients, it says so. Each later
// attempt replaces the state whole, so it is small: one octet a recipient, two more while it has a last
// error, and each distinct error once.
//
//   state := version u8 (1), attempts u32, next i64, last i64, recipients u32, errors u16,
//            per error: code u16, class u8, subject u16, detail u16, length u8, text octets
//            per recipient: octet := status (bits 0-1) | delay_told (4) | outcome_told (8) | has_error (16),
//                           then, if has_error, the error's number u16
//   all little-endian.
//
// Pure. Thread: one. Allocates (it is not on the way to the 250).
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

namespace postern::net::delivery {

enum class RecipientStatus : std::uint8_t {
  pending = 0,    // to be tried (again)
  delivered = 1,  // the next hop took responsibility
  failed = 2,     // never: a 5xx, or the lifetime is over
};

// RFC 3463; 0.0.0: none was given.
struct EnhancedCode {
  std::uint8_t klass = 0;
  std::uint16_t subject = 0;
  std::uint16_t detail = 0;

  static EnhancedCode parse(std::string_view text);  // "5.1.1"; anything else: 0.0.0
  [[nodiscard]] std::string format() const;          // "" for 0.0.0
  bool operator==(const EnhancedCode&) const = default;
};

// What was last said about one or several recipients.
struct LastError {
  std::uint16_t code = 0;
  EnhancedCode enhanced;
  std::string text;  // at most kErrorTextMax octets; the peer's words, not escaped

  bool operator==(const LastError&) const = default;
};

class MessageState {
 public:
  static constexpr std::size_t kErrorTextMax = 200;
  static constexpr std::size_t kErrorTextsMax =
      4096;  // all texts of a message together; past it only codes are kept
  static constexpr std::uint32_t kRecipientsMax = 65535;

  std::uint32_t attempts = 0;
  std::int64_t next_unix_seconds = 0;  // when it is due again
  std::int64_t last_unix_seconds = 0;  // when it was last tried; 0: never

  MessageState() = default;
  explicit MessageState(std::uint32_t recipient_count);  // all pending; requires <= kRecipientsMax

  [[nodiscard]] std::uint32_t recipient_count() const {
    return static_cast<std::uint32_t>(recipients_.size());
  }
  [[nodiscard]] RecipientStatus status(std::uint32_t recipient) const;
  void set_status(std::uint32_t recipient, RecipientStatus status);
  // A "delayed" notice was queued for this recipient; it is sent once.
  [[nodiscard]] bool delay_told(std::uint32_t recipient) const;
  void set_delay_told(std::uint32_t recipient);
  // The notice about the final outcome was queued, or none is due. Not told and not pending after a restart:
  // tell now.
  [[nodiscard]] bool outcome_told(std::uint32_t recipient) const;
  void set_outcome_told(std::uint32_t recipient);

  // nullptr: none. Valid until the next set_error, clear_error or decode.
  [[nodiscard]] const LastError* error(std::uint32_t recipient) const;
  void set_error(std::uint32_t recipient, std::uint16_t code, std::string_view enhanced,
                 std::string_view text);
  void clear_error(std::uint32_t recipient);

  [[nodiscard]] std::uint32_t pending() const;  // recipients still to be tried
  [[nodiscard]] std::uint32_t untold() const;   // recipients with an outcome and no outcome_told
  // Nothing is left to do: the item may be finished.
  [[nodiscard]] bool finished() const { return pending() == 0 && untold() == 0; }

  // Appends to `out`.
  void encode(std::string& out) const;
  // Replaces everything. False, leaving this unchanged: not a state of a version known here, cut short,
  // trailing octets, a number out of range, or not of `recipient_count` recipients.
  [[nodiscard]] bool decode(std::string_view bytes, std::uint32_t recipient_count);

 private:
  struct Recipient {
    std::uint8_t flags = 0;
    std::uint16_t error = 0;  // number + 1 in errors_; 0: none
  };
  std::vector<Recipient> recipients_;
  std::vector<LastError> errors_;  // distinct, but for empty ones that nobody has any more
  std::vector<std::uint32_t> uses_;
};

}  // namespace postern::net::delivery
