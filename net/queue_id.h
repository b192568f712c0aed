// The name a message has in replies, logs and commands: its spool item id in Crockford's base32, 13 characters.
#pragma once

#include <array>
#include <cstdint>
#include <optional>
#include <string_view>

namespace postern::net {

class QueueId {
 public:
  explicit QueueId(std::uint64_t id);
  [[nodiscard]] std::string_view text() const { return {text_.data(), text_.size()}; }
  // Either case. nullopt: not a queue id.
  static std::optional<std::uint64_t> parse(std::string_view text);

 private:
  std::array<char, 13> text_;
};

}  // namespace postern::net
