#include "net/mailbox/output.h"

#include <algorithm>
#include <charconv>
#include <cstring>

#include "core/assert.h"

namespace postern::net::mailbox {

void Output::put(std::string_view octets) {
  POSTERN_ASSERT(octets.size() <= capacity_ - size_);
  size_ += octets.copy(memory_ + size_, octets.size());
}

void Output::put(std::initializer_list<std::string_view> pieces) {
  for (const std::string_view piece : pieces) put(piece);
}

void Output::put_number(std::uint64_t number) {
  char digits[20];
  const auto [end, error] = std::to_chars(digits, digits + sizeof digits, number);
  put({digits, static_cast<std::size_t>(end - digits)});
}

void Output::put_words(std::string_view words) {
  words = words.substr(0, kWordsMax);
  POSTERN_ASSERT(words.size() <= capacity_ - size_);
  std::transform(words.begin(), words.end(), memory_ + size_,
                 [](char octet) { return octet >= ' ' && octet <= '~' ? octet : '?'; });
  size_ += words.size();
}

void Output::remove_prefix(std::size_t octets) {
  POSTERN_ASSERT(octets <= size_);
  std::memmove(memory_, memory_ + octets, size_ - octets);
  explicit_bzero(memory_ + size_ - octets, octets);
  size_ -= octets;
}

void Output::clear() {
  if (size_ != 0) explicit_bzero(memory_, size_);
  size_ = 0;
}

}  // namespace postern::net::mailbox
