// Which passwords are guessed, and in whose account.
#include "net/users/audit.h"

#include <algorithm>
#include <gtest/gtest.h>
#include <set>
#include <string>
#include <vector>

#include "net/users/guesses.h"
#include "net/users/password_hash.h"
#include "net/users/verifiers.h"

namespace postern::net::users {
namespace {

const std::vector<std::string> kWords = {"example.net", "mail.example.net"};

std::size_t place_of(std::string_view password, std::string_view user, std::size_t count = 1000) {
  const auto all = likely_passwords(user, kWords, 2026, count);
  return static_cast<std::size_t>(std::find(all.begin(), all.end(), password) - all.begin());
}

TEST(Guesses, WhatPeopleMakeOfTheirNamesAndTheSeason) {
  for (const std::string_view password :
       {"123456",      "password",   "anna",        "Anna123",    "meier1", "annameier", "AnnaMeier1",
        "anna.meier",  "Summer2026", "Summer2026!", "winter2025", "qwerty", "Qwertyu1",  "1qaz2wsx",
        "example2026", "Example1!",  "anna2019",    "Meier98",    "m3i3r",  "4nn4",      "@nn@123",
        "reiem",       "annaanna",   "ANNA",        "aaaaaa",     "123123"}) {
    EXPECT_LT(place_of(password, "anna.meier@example.net"), 1500u) << password;
  }
  EXPECT_LT(place_of("Anna1", "anna.meier@example.net"), 100u);  // one's own comes early
  for (const std::string_view password : {"vier Ziegen kauen Klee", "x7Gq2mPz", "anna.meier@example.org"}) {
    const auto all = likely_passwords("anna.meier@example.net", kWords, 2026, 100000);
    EXPECT_EQ(std::find(all.begin(), all.end(), password), all.end()) << password;
  }
}

TEST(Guesses, AreBoundedAndNoneTwice) {
  for (const std::string_view user : {"anna.meier@example.net", "", "x", "@", "..", "\xc3\xa4\xc3\xb6\xc3\xbc"}) {
    for (const std::size_t count : {0u, 1u, 50u, 1000u, 100000u}) {
      const auto all = likely_passwords(user, kWords, 2026, count);
      EXPECT_LE(all.size(), count);
      if (count <= 1000) {
        EXPECT_EQ(all.size(), count) << user;
      }
      EXPECT_EQ(std::set<std::string>(all.begin(), all.end()).size(), all.size()) << user;
    }
  }
  EXPECT_GT(likely_passwords("anna", kWords, 2026, 100000).size(), 3000u);
  // A shorter list is the beginning of a longer one: pieces of work fit together.
  const auto longer = likely_passwords("anna", kWords, 2026, 1000);
  const auto shorter = likely_passwords("anna", kWords, 2026, 100);
  EXPECT_TRUE(std::equal(shorter.begin(), shorter.end(), longer.begin()));
}

TEST(Guesses, NamesFallIntoWords) {
  EXPECT_EQ(words_of("anna.meier@example.net"),
            (std::vector<std::string>{"anna.meier@example.net", "anna", "meier", "example", "net"}));
  EXPECT_EQ(words_of("anna"), std::vector<std::string>{"anna"});
  EXPECT_TRUE(words_of("ab").empty());
  EXPECT_TRUE(words_of("").empty());
}

StoredUser with(std::string_view name, std::string_view hash) {
  StoredUser user;
  user.record.name = name;
  user.password_hash = Secret(hash);
  return user;
}

std::set<std::string> audit(const std::vector<StoredUser>& users, std::size_t guesses = 1000, std::size_t threads = 3) {
  const AuditPlan plan = plan_audit(users, guesses);
  std::set<std::string> found;
  const std::size_t count =
      run_audit(plan, {.words = kWords, .year = 2026, .guesses = guesses, .threads = threads},
                [&found](std::string_view name) { EXPECT_TRUE(found.insert(std::string(name)).second) << name; });
  EXPECT_EQ(count, found.size());
  return found;
}

TEST(Audit, FindsTheGuessableAndOnlyThem) {
  StoredUser scram;
  scram.record.name = "scram";
  scram.verifiers = derive_verifiers("letmein", {});
  StoredUser cram;
  cram.record.name = "cram";
  cram.verifiers = derive_verifiers("cram123", {.scram_sha_256 = false, .scram_sha_1 = false, .cram_md5 = true});
  const std::vector<StoredUser> users = {
      with("weak", "{PLAIN}weak1"),
      with("strong", "{PLAIN}vier Ziegen kauen Klee"),
      with("digest", "{SHA256.hex}8d969eef6ecad3c29a3a629280e686cf0c3f5d5a86aff3ca12020c923adc6c92"),  // 123456
      with("none", ""),
      with("damaged", "$2b$"),
      scram,
      cram,
  };
  EXPECT_EQ(audit(users), (std::set<std::string>{"weak", "digest", "scram", "cram"}));
  const AuditPlan plan = plan_audit(users, 1000);
  EXPECT_EQ(plan.untried, (std::vector<std::string>{"none", "damaged"}));
  EXPECT_EQ(plan.accounts.size(), 5u);
  EXPECT_EQ(plan.costliest, "SCRAM-SHA-256 iterations=100000");
  EXPECT_GE(plan.most, plan.costliest_time * 1000);
}

// The weakest link is what an attacker would take too.
TEST(Audit, TriesTheCheapestThingThereIs) {
  StoredUser user = with("anna", make("anna1")->view());
  user.verifiers = derive_verifiers("anna1", {.scram_sha_256 = true, .scram_sha_1 = true, .cram_md5 = true});
  const std::vector<StoredUser> users = {user};
  const AuditPlan plan = plan_audit(users, 1000);
  ASSERT_EQ(plan.accounts.size(), 1u);
  EXPECT_TRUE(plan.accounts[0].hash.view().starts_with("{CRAM-MD5}"));
  EXPECT_EQ(audit(users), std::set<std::string>{"anna"});
}

TEST(Audit, NoMoreGuessesThanAsked) {
  const std::string last = likely_passwords("anna", kWords, 2026, 50).back();
  const std::vector<StoredUser> users = {with("anna", "{PLAIN}" + last)};
  EXPECT_TRUE(audit(users, 49).empty());
  EXPECT_EQ(audit(users, 50), std::set<std::string>{"anna"});
}

TEST(Audit, ManyAccountsOnManyThreads) {
  std::vector<StoredUser> users;
  std::set<std::string> weak;
  for (int i = 0; i < 300; ++i) {
    const std::string name = "user" + std::to_string(i);
    users.push_back(with(name, i % 3 == 0 ? "{PLAIN}" + name + "123" : "{PLAIN}vier Ziegen kauen Klee"));
    if (i % 3 == 0) weak.insert(name);
  }
  EXPECT_EQ(audit(users, 300, 8), weak);
  EXPECT_TRUE(audit({}).empty());
}

}  // namespace
}  // namespace postern::net::users
