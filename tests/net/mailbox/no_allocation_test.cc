// A session allocates nothing, whatever is said to it.
//
// operator new is replaced in this program. What of the C library or of BoringSSL would call malloc is not reached: the
// session calls neither.
#include <array>
#include <cstdint>
#include <cstdlib>
#include <gtest/gtest.h>
#include <new>
#include <string_view>

#include "net/mailbox/imap_session.h"
#include "net/mailbox/pop3_session.h"

// The compiler takes the pair below for a mismatch where it inlines one and not the other.
#pragma GCC diagnostic ignored "-Wmismatched-new-delete"

namespace {

std::uint64_t g_allocations = 0;

}  // namespace

void* operator new(std::size_t bytes) {
  ++g_allocations;
  void* const memory = std::malloc(bytes);
  if (memory == nullptr) throw std::bad_alloc();
  return memory;
}
void operator delete(void* memory) noexcept {
  std::free(memory);
}
void operator delete(void* memory, std::size_t) noexcept {
  std::free(memory);
}

namespace postern::net::mailbox {
namespace {

struct Said {
  std::string_view client;
  std::string_view store;
};

// From the beginning to `close` or `passthrough`; returns which.
template <class Session, std::size_t Count>
Event play(const std::array<Said, Count>& said) {
  static std::array<char, Output::kReplyMax> client_memory;
  static std::array<char, Output::kReplyMax> store_memory;
  Output to_client(client_memory.data(), client_memory.size());
  Output to_store(store_memory.data(), store_memory.size());
  SessionOptions options;
  options.encrypted = options.tell_address = true;
  Session session(options);
  Event event = session.advance({}, {}, to_client, to_store).event;
  EXPECT_EQ(event, Event::connect_store);
  session.store_connected();
  for (Said piece : said) {
    do {
      const Step step = session.advance(piece.client, piece.store, to_client, to_store);
      piece.client.remove_prefix(step.client_consumed);
      piece.store.remove_prefix(step.store_consumed);
      to_client.clear();
      to_store.clear();
      event = step.event;
      if (event == Event::login_wanted) session.answer_login(LoginAnswer::allow);
      if (event == Event::login_succeeded) session.login_recorded();
      if (event == Event::passthrough || event == Event::close) return event;
    } while (event != Event::need_input);
  }
  return event;
}

TEST(NoAllocation, Pop3) {
  static constexpr std::array<Said, 9> kSaid = {{
      {{}, "+OK [XCLIENT] ready <1@x>\r\n"},
      {{}, "+OK\r\n"},
      {{}, "+OK\r\nUSER\r\nSASL PLAIN LOGIN\r\n.\r\n"},
      {"CAPA\r\nUSER anna\r\nPASS secret\r\n", {}},
      {{}, "+OK\r\n"},
      {{}, "-ERR [AUTH] no\r\n"},
      {"AUTH LOGIN\r\n", {}},
      {{}, "+ VXNlcm5hbWU6\r\n"},
      {"YW5uYQ==\r\n", {}},
  }};
  const std::uint64_t before = g_allocations;
  const Event event = play<Pop3Session>(kSaid);
  EXPECT_EQ(g_allocations, before);
  EXPECT_EQ(event, Event::need_input);
}

TEST(NoAllocation, Imap) {
  static constexpr std::array<Said, 6> kSaid = {{
      {{}, "* OK ready\r\n"},
      {{}, "* CAPABILITY IMAP4rev1 ID AUTH=PLAIN\r\nP1 OK\r\n"},
      {{}, "P2 OK\r\n"},
      {{}, "* CAPABILITY IMAP4rev1 ID AUTH=PLAIN\r\nP3 OK\r\n"},
      {"a ID NIL\r\nb LOGIN {4}\r\nanna {6}\r\nsecret\r\n", {}},
      {{}, "P4 OK [CAPABILITY IMAP4rev1 STARTTLS] in\r\n"},
  }};
  const std::uint64_t before = g_allocations;
  const Event event = play<ImapSession>(kSaid);
  EXPECT_EQ(g_allocations, before);
  EXPECT_EQ(event, Event::passthrough);
}

TEST(NoAllocation, IsCounted) {
  const std::uint64_t before = g_allocations;
  int* volatile number = new int(1);
  delete number;
  EXPECT_EQ(g_allocations, before + 1);
}

}  // namespace
}  // namespace postern::net::mailbox
