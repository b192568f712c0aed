#include "net/tls/ticket_keys.h"

#include <gtest/gtest.h>
#include <string>
#include <thread>
#include <vector>

namespace postern::net::tls {
namespace {

constexpr std::int64_t kHours = 3600;
using Octets = std::vector<std::uint8_t>;

const Octets kPlain = {'s', 'e', 's', 's', 'i', 'o', 'n'};

Octets seal(TicketKeys& keys, std::int64_t now) {
  Octets ticket(kPlain.size() + TicketKeys::kOverheadBytes);
  const auto sealed = keys.seal(now, kPlain, ticket);
  EXPECT_EQ(sealed, ticket.size());
  return ticket;
}

bool opens(TicketKeys& keys, std::int64_t now, const Octets& ticket) {
  Octets out(ticket.size());
  const auto opened = keys.open(now, ticket, out);
  if (!opened) return false;
  out.resize(*opened);
  EXPECT_EQ(out, kPlain);
  return true;
}

TEST(TicketKeys, OpensWhatItSealed) {
  TicketKeys keys;
  const Octets ticket = seal(keys, 100);
  EXPECT_TRUE(opens(keys, 100, ticket));
  EXPECT_EQ(std::search(ticket.begin(), ticket.end(), kPlain.begin(), kPlain.end()), ticket.end());
  EXPECT_NE(seal(keys, 100), ticket);  // a nonce of its own
}

TEST(TicketKeys, SealsInPlace) {
  TicketKeys keys;
  Octets octets = kPlain;
  octets.resize(kPlain.size() + TicketKeys::kOverheadBytes);
  ASSERT_EQ(keys.seal(100, {octets.data(), kPlain.size()}, octets), octets.size());
  EXPECT_TRUE(opens(keys, 100, octets));
}

TEST(TicketKeys, AShortBufferIsNoRoom) {
  TicketKeys keys;
  Octets ticket(kPlain.size() + TicketKeys::kOverheadBytes - 1);
  EXPECT_EQ(keys.seal(100, kPlain, ticket), std::nullopt);
}

TEST(TicketKeys, RefusesEveryChangedOctetAndEveryLength) {
  TicketKeys keys;
  const Octets ticket = seal(keys, 100);
  for (std::size_t i = 0; i < ticket.size(); ++i) {
    Octets changed = ticket;
    changed[i] ^= 1;
    EXPECT_FALSE(opens(keys, 100, changed)) << i;
    EXPECT_FALSE(opens(keys, 100, Octets(ticket.begin(), ticket.begin() + static_cast<std::ptrdiff_t>(i)))) << i;
  }
}

TEST(TicketKeys, RefusesWhatAnotherServerSealed) {
  TicketKeys keys, others;
  EXPECT_FALSE(opens(keys, 100, seal(others, 100)));
}

TEST(TicketKeys, TheTwoFormerKeysStillOpen) {
  TicketKeys keys;
  const Octets first = seal(keys, 0);
  const Octets second = seal(keys, 8 * kHours);
  const Octets third = seal(keys, 16 * kHours);
  EXPECT_TRUE(opens(keys, 24 * kHours - 1, first));
  EXPECT_TRUE(opens(keys, 24 * kHours - 1, second));
  EXPECT_FALSE(opens(keys, 24 * kHours, first));
  EXPECT_TRUE(opens(keys, 24 * kHours, second));
  EXPECT_TRUE(opens(keys, 24 * kHours, third));
  EXPECT_FALSE(opens(keys, 32 * kHours, second));
}

TEST(TicketKeys, ATicketLivesItsLifetimeWheneverItWasSealed) {
  for (const std::int64_t sealed : {std::int64_t{0}, 8 * kHours - 1, 8 * kHours, 11 * kHours}) {
    TicketKeys keys;
    seal(keys, 0);
    const Octets ticket = seal(keys, sealed);
    for (std::int64_t now = sealed; now < sealed + TicketKeys::kLifetimeSeconds; now += kHours) {
      EXPECT_TRUE(opens(keys, now, ticket)) << sealed << ' ' << now;
    }
  }
}

TEST(TicketKeys, KeysAreForgottenAlsoWhenNobodyCameForLong) {
  TicketKeys keys;
  const Octets ticket = seal(keys, 0);
  EXPECT_FALSE(opens(keys, 100 * kHours, ticket));
}

TEST(TicketKeys, ServesManyThreads) {
  TicketKeys keys;
  std::vector<std::thread> threads;
  std::vector<int> failures(4);
  for (std::size_t t = 0; t < failures.size(); ++t) {
    threads.emplace_back([&, t] {
      for (std::int64_t i = 0; i < 500; ++i) {
        const std::int64_t now = i * kHours;  // rotations by whoever comes first
        Octets ticket(kPlain.size() + TicketKeys::kOverheadBytes);
        Octets out(ticket.size());
        if (!keys.seal(now, kPlain, ticket)) ++failures[t];
        // Another thread may be far ahead and have dropped the key: that is the only reason not to open.
        const auto opened = keys.open(now, ticket, out);
        if (opened && (*opened != kPlain.size() || !std::equal(kPlain.begin(), kPlain.end(), out.begin()))) ++failures[t];
      }
    });
  }
  for (auto& thread : threads) thread.join();
  EXPECT_EQ(failures, std::vector<int>(4));
}

}  // namespace
}  // namespace postern::net::tls
