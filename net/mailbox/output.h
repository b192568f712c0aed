// Octets that a session says to the client or to the store. The caller owns the memory: at least kReplyMax octets,
// which is more than any single reply or command takes.
//
// What goes to the store holds passwords: clear() wipes. Thread: one.
#pragma once

#include <cstddef>
#include <cstdint>
#include <initializer_list>
#include <string_view>

namespace postern::net::mailbox {

class Output {
 public:
  static constexpr std::size_t kReplyMax = 3072;
  static constexpr std::size_t kWordsMax = 256;  // of what the store said in its own words

  Output(char* memory, std::size_t capacity) : memory_(memory), capacity_(capacity) {}
  ~Output() { clear(); }
  Output(const Output&) = delete;
  Output& operator=(const Output&) = delete;

  [[nodiscard]] std::string_view view() const { return {memory_, size_}; }
  [[nodiscard]] bool empty() const { return size_ == 0; }
  [[nodiscard]] bool has_room() const { return capacity_ - size_ >= kReplyMax; }
  void put(std::string_view octets);  // requires room
  void put(std::initializer_list<std::string_view> pieces);
  void put_number(std::uint64_t number);
  // Words of the store: printable ASCII, '?' for the rest, cut at kWordsMax.
  void put_words(std::string_view words);
  void remove_prefix(std::size_t octets);  // of a send that was short
  void clear();

 private:
  char* memory_;
  std::size_t capacity_;
  std::size_t size_ = 0;
};

}  // namespace postern::net::mailbox
