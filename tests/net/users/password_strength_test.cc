// Which passwords are refused, and what the operator is told.
#include "net/users/password_strength.h"

#include <chrono>
#include <gtest/gtest.h>
#include <string>
#include <vector>

namespace postern::net::users {
namespace {

const std::vector<std::string> kWords = {"example.net", "mail.example.net"};

Strength judge(std::string_view password) {
  return judge_password(password, "anna.meier@example.net", kWords);
}

TEST(PasswordStrength, WeakOnesAreRefusedWithTheirReason) {
  struct Case {
    std::string_view password;
    std::string_view reason;
  };
  for (const Case& c : {
           Case{"", "too short"},
           Case{"x7Gq2mP", "too short"},
           Case{"\xc3\xa4\xc3\xb6\xc3\xbc\xc3\x9f", "too short"},  // four characters in eight octets
           Case{"password", "dictionary word"},
           Case{"footballlover", "dictionary word"},
           Case{"P@ssw0rd", "swapped"},
           Case{"annameier", "account's name"},
           Case{"AnnaMeier1984", "account's name"},
           Case{"example.net", "account's name, domain or host"},
           Case{"MailExample", "account's name, domain or host"},
           Case{"qwertyuiop12", "dictionary word"},
           Case{"abcdefghijkl", "sequence"},
           Case{"aaaaaaaaaaaa", "repeated"},
           Case{"xyxyxyxyxyxy", "repeated"},
           Case{"19840312", "a date"},
           Case{"zaq12wsxcde3", "row of keys"},
           Case{"Summer2024!", "dictionary word"},
       }) {
    const Strength strength = judge(c.password);
    EXPECT_FALSE(strength.acceptable) << c.password << " has " << strength.bits << " bits";
    EXPECT_NE(strength.reason.find(c.reason), std::string::npos) << c.password << ": " << strength.reason;
  }
}

TEST(PasswordStrength, ThoseThatNobodyGuessesAreTaken) {
  for (const char* password : {"x7Gq2mPz", "correcthorsebatterystaple", "tr0ub4dor&3",
                               "B\xc3\xbc"
                               "cher \xc3\xbc"
                               "ber alles",
                               "vier Ziegen kauen Klee"}) {
    const Strength strength = judge(password);
    EXPECT_TRUE(strength.acceptable) << password << ": " << strength.bits << " bits, " << strength.reason;
    EXPECT_TRUE(strength.reason.empty()) << strength.reason;
    EXPECT_GE(strength.bits, kPasswordBitsMin);
  }
}

// The same password may do for one account and not for another.
TEST(PasswordStrength, TheAccountsOwnWordsCountAgainstIt) {
  const std::string_view password = "rumpelstilzchen";
  EXPECT_TRUE(judge_password(password, "anna", {}).acceptable);
  EXPECT_FALSE(judge_password(password, "Rumpelstilzchen", {}).acceptable);
  const std::vector<std::string> words = {"rumpelstilzchen.example"};
  EXPECT_FALSE(judge_password(password, "anna", words).acceptable);
}

TEST(PasswordStrength, WhatCannotBeTypedEverywhereIsRefused) {
  EXPECT_NE(judge("x7Gq2mPz\n").reason.find("control"), std::string::npos);
  EXPECT_NE(judge(std::string_view("x7Gq2\0mPz", 9)).reason.find("control"), std::string::npos);
  EXPECT_NE(judge("x7Gq2mPz\xff").reason.find("UTF-8"), std::string::npos);
}

TEST(PasswordStrength, TheReasonNeverRepeatsThePassword) {
  for (const std::string password : {"annameier", "footballlover", "abcdefghijkl", "19840312"}) {
    EXPECT_EQ(judge(password).reason.find(password), std::string::npos);
  }
}

// zxcvbn looks at 100 octets; the time for the longest password is bounded, whatever it consists of.
TEST(PasswordStrength, LongOnesTakeNoLonger) {
  std::string mixed;
  for (int i = 0; mixed.size() < 511; ++i) mixed += "pAssw0rd" + std::to_string(i);
  const std::string texts[] = {std::string(511, 'a'), mixed.substr(0, 511)};
  for (const std::string& text : texts) {
    const auto begin = std::chrono::steady_clock::now();
    (void)judge(text);
    EXPECT_LT(std::chrono::steady_clock::now() - begin, std::chrono::seconds(2));
  }
  EXPECT_NE(judge(std::string(512, 'a')).reason.find("too long"), std::string::npos);
  EXPECT_FALSE(judge(std::string(511, 'a')).acceptable);
  std::vector<std::string> many(1000, std::string(1000, 'b'));
  EXPECT_TRUE(judge_password("x7Gq2mPz", "anna", many).acceptable);
}

}  // namespace
}  // namespace postern::net::users
