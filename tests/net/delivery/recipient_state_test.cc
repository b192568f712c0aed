// The queue's state of a message: what is kept, how it is encoded, and that nothing else is ever decoded.
#include "net/delivery/recipient_state.h"

#include <gtest/gtest.h>
#include <random>
#include <string>

namespace postern::net::delivery {
namespace {

std::string encoded(const MessageState& state) {
  std::string out;
  state.encode(out);
  return out;
}

TEST(EnhancedCode, ParsesAndFormats) {
  EXPECT_EQ(EnhancedCode::parse("5.1.1"), (EnhancedCode{5, 1, 1}));
  EXPECT_EQ(EnhancedCode::parse("4.999.0").format(), "4.999.0");
  EXPECT_EQ(EnhancedCode{}.format(), "");
  for (const char* text : {"", "5", "5.1", "5.1.", "5.1.1 ", "5.1.1000", "3.1.1", "0.0.0", "-5.1.1", "5..1", "x"}) {
    EXPECT_EQ(EnhancedCode::parse(text), EnhancedCode{}) << text;
  }
}

TEST(MessageState, BeginsPending) {
  MessageState state(3);
  EXPECT_EQ(state.recipient_count(), 3u);
  EXPECT_EQ(state.pending(), 3u);
  EXPECT_EQ(state.untold(), 0u);
  EXPECT_FALSE(state.finished());
  for (std::uint32_t i = 0; i < 3; ++i) {
    EXPECT_EQ(state.status(i), RecipientStatus::pending);
    EXPECT_FALSE(state.delay_told(i));
    EXPECT_FALSE(state.outcome_told(i));
    EXPECT_EQ(state.error(i), nullptr);
  }
}

TEST(MessageState, FinishesWhenAllAreSettledAndTold) {
  MessageState state(2);
  state.set_status(0, RecipientStatus::delivered);
  state.set_status(1, RecipientStatus::failed);
  EXPECT_EQ(state.pending(), 0u);
  EXPECT_EQ(state.untold(), 2u);
  EXPECT_FALSE(state.finished());
  state.set_outcome_told(0);
  state.set_outcome_told(1);
  EXPECT_TRUE(state.finished());
  EXPECT_EQ(state.status(1), RecipientStatus::failed);
}

TEST(MessageState, SurvivesItsEncoding) {
  MessageState state(4);
  state.attempts = 7;
  state.next_unix_seconds = 1'800'000'000;
  state.last_unix_seconds = -5;
  state.set_status(1, RecipientStatus::delivered);
  state.set_outcome_told(1);
  state.set_status(2, RecipientStatus::failed);
  state.set_error(2, 550, "5.1.1", "no such user");
  state.set_error(0, 451, "4.4.1", "connection refused");
  state.set_error(3, 451, "4.4.1", "connection refused");
  state.set_delay_told(3);
  MessageState copy;
  ASSERT_TRUE(copy.decode(encoded(state), 4));
  EXPECT_EQ(encoded(copy), encoded(state));
  EXPECT_EQ(copy.attempts, 7u);
  EXPECT_EQ(copy.next_unix_seconds, 1'800'000'000);
  EXPECT_EQ(copy.last_unix_seconds, -5);
  EXPECT_EQ(copy.status(1), RecipientStatus::delivered);
  EXPECT_TRUE(copy.outcome_told(1));
  EXPECT_TRUE(copy.delay_told(3));
  EXPECT_FALSE(copy.delay_told(0));
  ASSERT_NE(copy.error(2), nullptr);
  EXPECT_EQ(*copy.error(2), (LastError{550, {5, 1, 1}, "no such user"}));
  EXPECT_EQ(copy.error(0), copy.error(3)) << "the same error is kept once";
  EXPECT_EQ(copy.error(1), nullptr);
  EXPECT_EQ(copy.pending(), 2u);
}

TEST(MessageState, KeepsErrorsOnceAndReusesTheirPlaces) {
  MessageState state(50);
  std::size_t largest = 0;
  for (int attempt = 0; attempt < 100; ++attempt) {
    for (std::uint32_t i = 0; i < 50; ++i) state.set_error(i, 450, "4.2.0", "attempt " + std::to_string(attempt));
    largest = std::max(largest, encoded(state).size());
  }
  EXPECT_LT(largest, 27 + 50 * 3 + 3 * 30u);
  for (std::uint32_t i = 0; i < 50; ++i) state.clear_error(i);
  EXPECT_EQ(state.error(3), nullptr);
}

TEST(MessageState, BoundsTexts) {
  MessageState state(1000);
  for (std::uint32_t i = 0; i < 1000; ++i) {
    state.set_error(i, 550, "5.1.1", std::to_string(i) + std::string(300, 'x'));
  }
  EXPECT_EQ(state.error(0)->text.size(), MessageState::kErrorTextMax);
  EXPECT_EQ(state.error(999)->text, "");
  EXPECT_EQ(state.error(999)->code, 550);
  EXPECT_LT(encoded(state).size(), 27 + MessageState::kErrorTextsMax + 1000 * 3 + 30 * 8u);
  MessageState copy;
  EXPECT_TRUE(copy.decode(encoded(state), 1000));
}

TEST(MessageState, DecodesNothingElse) {
  MessageState state(3);
  state.set_error(1, 450, "4.2.0", "busy");
  state.set_status(2, RecipientStatus::failed);
  const std::string good = encoded(state);
  MessageState copy;
  ASSERT_TRUE(copy.decode(good, 3));
  for (std::size_t size = 0; size < good.size(); ++size) EXPECT_FALSE(copy.decode(good.substr(0, size), 3)) << size;
  EXPECT_FALSE(copy.decode(good + '\0', 3));
  EXPECT_FALSE(copy.decode(good, 2));
  EXPECT_FALSE(copy.decode(good, 4));
  std::string other_version = good;
  other_version[0] = 2;
  EXPECT_FALSE(copy.decode(other_version, 3));
  std::string bad_status = good;
  bad_status.back() = 3;
  EXPECT_FALSE(copy.decode(bad_status, 3));
  std::string bad_error = good;
  bad_error[good.size() - 3] = 9;  // recipient 1's error number
  EXPECT_FALSE(copy.decode(bad_error, 3));
  EXPECT_EQ(encoded(copy), good) << "a failed decode changes nothing";
}

TEST(MessageState, DamageIsFoundOrHarmless) {
  MessageState state(5);
  state.set_error(1, 450, "4.2.0", "busy");
  state.set_error(4, 550, "5.1.1", "no");
  const std::string good = encoded(state);
  std::mt19937_64 random(11);
  for (int i = 0; i < 20000; ++i) {
    std::string bytes = good;
    for (std::size_t n = 1 + random() % 3; n > 0; --n) bytes[random() % bytes.size()] = static_cast<char>(random());
    MessageState copy;
    if (!copy.decode(bytes, 5)) continue;
    ASSERT_EQ(encoded(copy), bytes);
    for (std::uint32_t r = 0; r < 5; ++r) copy.set_error(r, 400, "", "again");
    ASSERT_EQ(copy.error(0), copy.error(4));
  }
}

}  // namespace
}  // namespace postern::net::delivery
