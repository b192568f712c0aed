// Duty: keeps and encodes the outcome per recipient.
// Invariants: recipient.error - 1 < errors_.size() <= recipients_.size(); the texts of errors_ are at most
// kErrorTextsMax
//   octets together; uses_[i] recipients point to errors_[i].
// Thread: one.
#include "net/delivery/recipient_state.h"

#include <algorithm>
#include <charconv>
#include <optional>
#include <type_traits>
#include <utility>

#include "core/assert.h"

namespace postern::net::delivery {

namespace {

constexpr std::uint8_t kVersion = 1;
constexpr std::uint8_t kStatusMask = 3;
constexpr std::uint8_t kDelayTold = 4;
constexpr std::uint8_t kOutcomeTold = 8;
constexpr std::uint8_t kHasError = 16;

template <class Number>
void put(std::string& out, Number value) {
  auto bits = static_cast<std::make_unsigned_t<Number>>(value);
  for (std::size_t i = 0; i < sizeof(Number); ++i) {
    out.push_back(static_cast<char>(bits & 0xff));
    if constexpr (sizeof(Number) > 1) bits >>= 8;
  }
}

// Reads numbers off the front; once something was missing, everything after it is.
class Reader {
 public:
  explicit Reader(std::string_view bytes) : bytes_(bytes) {}

  template <class Number>
  Number take() {
    const std::string_view octets = take_bytes(sizeof(Number));
    if (!ok_) return 0;
    std::make_unsigned_t<Number> bits = 0;
    for (std::size_t i = sizeof(Number); i-- > 0;) {
      if constexpr (sizeof(Number) > 1) bits <<= 8;
      bits = static_cast<decltype(bits)>(bits | static_cast<unsigned char>(octets[i]));
    }
    return static_cast<Number>(bits);
  }
  std::string_view take_bytes(std::size_t count) {
    if (!ok_ || bytes_.size() < count) {
      ok_ = false;
      return {};
    }
    const std::string_view taken = bytes_.substr(0, count);
    bytes_.remove_prefix(count);
    return taken;
  }
  [[nodiscard]] bool ok() const { return ok_; }
  [[nodiscard]] bool at_end() const { return ok_ && bytes_.empty(); }

 private:
  std::string_view bytes_;
  bool ok_ = true;
};

}  // namespace

EnhancedCode EnhancedCode::parse(std::string_view text) {
  EnhancedCode code;
  const char* at = text.data();
  const char* const end = at + text.size();
  const auto number = [&](auto& value) {
    const auto [after, error] = std::from_chars(at, end, value);
    at = after;
    return error == std::errc{} && value <= 999;
  };
  const auto dot = [&] { return at != end && *at++ == '.'; };
  const bool whole =
      number(code.klass) && dot() && number(code.subject) && dot() && number(code.detail) && at == end;
  return whole && (code.klass == 2 || code.klass == 4 || code.klass == 5) ? code : EnhancedCode{};
}

std::string EnhancedCode::format() const {
  if (*this == EnhancedCode{}) return {};
  return std::to_string(klass) + '.' + std::to_string(subject) + '.' + std::to_string(detail);
}

MessageState::MessageState(std::uint32_t recipient_count) : recipients_(recipient_count) {
  POSTERN_ASSERT(recipient_count <= kRecipientsMax);
}

RecipientStatus MessageState::status(std::uint32_t recipient) const {
  POSTERN_ASSERT(recipient < recipients_.size());
  return static_cast<RecipientStatus>(recipients_[recipient].flags & kStatusMask);
}

void MessageState::set_status(std::uint32_t recipient, RecipientStatus status) {
  POSTERN_ASSERT(recipient < recipients_.size());
  std::uint8_t& flags = recipients_[recipient].flags;
  flags = static_cast<std::uint8_t>((flags & ~kStatusMask) | std::to_underlying(status));
}

bool MessageState::delay_told(std::uint32_t recipient) const {
  POSTERN_ASSERT(recipient < recipients_.size());
  return (recipients_[recipient].flags & kDelayTold) != 0;
}

void MessageState::set_delay_told(std::uint32_t recipient) {
  POSTERN_ASSERT(recipient < recipients_.size());
  recipients_[recipient].flags |= kDelayTold;
}

bool MessageState::outcome_told(std::uint32_t recipient) const {
  POSTERN_ASSERT(recipient < recipients_.size());
  return (recipients_[recipient].flags & kOutcomeTold) != 0;
}

void MessageState::set_outcome_told(std::uint32_t recipient) {
  POSTERN_ASSERT(recipient < recipients_.size());
  recipients_[recipient].flags |= kOutcomeTold;
}

const LastError* MessageState::error(std::uint32_t recipient) const {
  POSTERN_ASSERT(recipient < recipients_.size());
  const std::uint16_t error = recipients_[recipient].error;
  return error == 0 ? nullptr : &errors_[error - 1];
}

void MessageState::clear_error(std::uint32_t recipient) {
  POSTERN_ASSERT(recipient < recipients_.size());
  const std::uint16_t error = std::exchange(recipients_[recipient].error, std::uint16_t{0});
  if (error != 0 && --uses_[error - 1] == 0) errors_[error - 1] = {};
}

// Often all recipients of a hop share one error ("connection refused"), so errors are kept once. A place
// nobody points to any more is used again: the list never holds more than one a recipient.
void MessageState::set_error(std::uint32_t recipient, std::uint16_t code, std::string_view enhanced,
                             std::string_view text) {
  clear_error(recipient);
  LastError error{code, EnhancedCode::parse(enhanced), std::string(text.substr(0, kErrorTextMax))};
  std::size_t texts_bytes = error.text.size();
  for (const LastError& other : errors_) texts_bytes += other.text.size();
  const bool keeps_text = texts_bytes <= kErrorTextsMax;

  std::size_t place = errors_.size();
  for (std::size_t i = 0; i < errors_.size(); ++i) {
    if (uses_[i] != 0 && errors_[i] == error) {
      place = i;
      break;
    }
  }
  if (place == errors_.size()) {
    if (!keeps_text) error.text.clear();
    for (std::size_t i = 0; i < errors_.size() && place == errors_.size(); ++i) {
      if (uses_[i] == 0 || errors_[i] == error) place = i;
    }
    if (place == errors_.size()) {
      errors_.emplace_back();
      uses_.push_back(0);
    }
    errors_[place] = std::move(error);
  }
  ++uses_[place];
  recipients_[recipient].error = static_cast<std::uint16_t>(place + 1);
}

std::uint32_t MessageState::pending() const {
  return static_cast<std::uint32_t>(
      std::count_if(recipients_.begin(), recipients_.end(), [](const Recipient& recipient) {
        return (recipient.flags & kStatusMask) == std::to_underlying(RecipientStatus::pending);
      }));
}

std::uint32_t MessageState::untold() const {
  return static_cast<std::uint32_t>(
      std::count_if(recipients_.begin(), recipients_.end(), [](const Recipient& recipient) {
        return (recipient.flags & kStatusMask) != std::to_underlying(RecipientStatus::pending) &&
               (recipient.flags & kOutcomeTold) == 0;
      }));
}

void MessageState::encode(std::string& out) const {
  put(out, kVersion);
  put(out, attempts);
  put(out, next_unix_seconds);
  put(out, last_unix_seconds);
  put(out, recipient_count());
  put(out, static_cast<std::uint16_t>(errors_.size()));
  for (const LastError& error : errors_) {
    put(out, error.code);
    put(out, error.enhanced.klass);
    put(out, error.enhanced.subject);
    put(out, error.enhanced.detail);
    put(out, static_cast<std::uint8_t>(error.text.size()));
    out += error.text;
  }
  for (const Recipient& recipient : recipients_) {
    put(out, static_cast<std::uint8_t>(recipient.flags | (recipient.error != 0 ? kHasError : 0)));
    if (recipient.error != 0) put(out, static_cast<std::uint16_t>(recipient.error - 1));
  }
}

bool MessageState::decode(std::string_view bytes, std::uint32_t recipient_count) {
  Reader reader(bytes);
  if (reader.take<std::uint8_t>() != kVersion || recipient_count > kRecipientsMax) return false;
  MessageState state(recipient_count);
  state.attempts = reader.take<std::uint32_t>();
  state.next_unix_seconds = reader.take<std::int64_t>();
  state.last_unix_seconds = reader.take<std::int64_t>();
  if (reader.take<std::uint32_t>() != recipient_count) return false;
  const auto errors = reader.take<std::uint16_t>();
  if (errors > recipient_count) return false;
  std::size_t texts_bytes = 0;
  for (std::uint16_t i = 0; i < errors && reader.ok(); ++i) {
    LastError error;
    error.code = reader.take<std::uint16_t>();
    error.enhanced.klass = reader.take<std::uint8_t>();
    error.enhanced.subject = reader.take<std::uint16_t>();
    error.enhanced.detail = reader.take<std::uint16_t>();
    const auto length = reader.take<std::uint8_t>();
    if (length > kErrorTextMax) return false;
    error.text = reader.take_bytes(length);
    texts_bytes += length;
    state.errors_.push_back(std::move(error));
    state.uses_.push_back(0);
  }
  if (texts_bytes > kErrorTextsMax) return false;
  for (Recipient& recipient : state.recipients_) {
    const auto octet = reader.take<std::uint8_t>();
    if (!reader.ok() || octet >= 2 * kHasError || (octet & kStatusMask) == kStatusMask) return false;
    recipient.flags = static_cast<std::uint8_t>(octet & ~kHasError);
    if ((octet & kHasError) == 0) continue;
    const auto error = reader.take<std::uint16_t>();
    if (error >= errors) return false;
    recipient.error = static_cast<std::uint16_t>(error + 1);
    ++state.uses_[error];
  }
  if (!reader.at_end()) return false;
  *this = std::move(state);
  return true;
}

}  // namespace postern::net::delivery
