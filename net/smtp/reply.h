// Every octet that the receiving session says: the buffer it goes to, and the functions that build one reply.
//
// Invariants: a reply is at most ReplyBuffer::kReplyMax octets long and ends in CRLF; what a peer said never
// reaches it
//   except through echo(), which leaves only printable ASCII; greeting and EHLO/HELO replies carry no
//   enhanced code, all others do (RFC 2034 section 4).
// Pure. Thread: one.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string_view>

namespace postern::net::smtp {

// Reply octets of one received chunk, sent together. The caller owns the memory.
class ReplyBuffer {
 public:
  static constexpr std::size_t kReplyMax = 1024;  // no single reply is longer

  ReplyBuffer(char* memory, std::size_t capacity) : memory_(memory), capacity_(capacity) {}
  [[nodiscard]] std::string_view view() const { return {memory_, size_}; }
  [[nodiscard]] bool has_room() const { return capacity_ - size_ >= kReplyMax; }
  void append(std::string_view bytes);  // requires room
  void clear() { size_ = 0; }
  void remove_prefix(std::size_t octets);

 private:
  char* memory_;
  std::size_t capacity_;
  std::size_t size_ = 0;
};

namespace reply {

// "250 2.1.0 Ok". An empty `enhanced` is left out. `more`: for texts of two parts. Texts are cut at the
// reply's bound.
void line(ReplyBuffer& out, std::uint16_t code, std::string_view enhanced, std::string_view text,
          std::string_view more = {});
// "421 4.4.2 text", the enhanced code being part of the text.
void closing(ReplyBuffer& out, std::string_view enhanced_and_text);
void greeting(ReplyBuffer& out, std::string_view hostname);  // RFC 5321 section 4.3.1
void helo(ReplyBuffer& out, std::string_view hostname);

struct Extensions {
  std::uint64_t size_max = 0;
  std::uint32_t recipients_max = 0;
  bool xclient = false;
  bool starttls = false;
  std::string_view mechanisms;  // of AUTH, blanks between them; empty: not offered
};
void ehlo(ReplyBuffer& out, std::string_view hostname, const Extensions& extensions);
// "334 " and the octets in base 64 (RFC 4954 section 4). At most sasl::kChallengeBytesMax octets.
void challenge(ReplyBuffer& out, std::string_view octets);
void help(ReplyBuffer& out);
void queued(ReplyBuffer& out, std::string_view queue_id);
void chunk_received(ReplyBuffer& out, std::uint64_t octets);  // RFC 3030 section 2

}  // namespace reply

// Copies printable ASCII of `text` to `out` and writes '?' for the rest; returns the octets written, at most
// `room`.
std::size_t echo(char* out, std::size_t room, std::string_view text);

}  // namespace postern::net::smtp
