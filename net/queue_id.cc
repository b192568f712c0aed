#include "net/queue_id.h"

namespace postern::net {
namespace {

constexpr std::string_view kDigits = "0123456789ABCDEFGHJKMNPQRSTVWXYZ";

}  // namespace

QueueId::QueueId(std::uint64_t id) {
  for (std::size_t i = text_.size(); i-- > 0;) {
    text_[i] = kDigits[id & 31];
    id >>= 5;
  }
}

std::optional<std::uint64_t> QueueId::parse(std::string_view text) {
  if (text.size() != 13) return std::nullopt;
  std::uint64_t id = 0;
  for (char c : text) {
    if (c >= 'a' && c <= 'z') c = static_cast<char>(c - 'a' + 'A');
    const std::size_t digit = kDigits.find(c);
    if (digit == std::string_view::npos || (id >> 59) != 0) return std::nullopt;
    id = id << 5 | digit;
  }
  return id;
}

}  // namespace postern::net
