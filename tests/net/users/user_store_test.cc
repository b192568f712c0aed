// The store as a login and an operator use it.
#include "net/users/user_store.h"

#include <gtest/gtest.h>
#include <map>
#include <set>
#include <string>
#include <vector>

#include "tests/net/users/store_folder.h"

namespace postern::net::users {
namespace {

using UserStoreTest = StoreTest;

TEST_F(UserStoreTest, WhatIsAddedIsFound) {
  UserStore store = open();
  StoredUser anna = user("Anna@Example.NET", "$y$j9T$salt$hash");
  anna.record.held = true;
  anna.record.senders = {"@Example.ORG", "info@example.net", "INFO@example.net"};
  anna.record.limits = {
      .messages_per_hour = 1, .messages_per_day = 2, .recipients_per_hour = 3, .recipients_per_day = 4};
  anna.verifiers = {.scram_sha_256 = Secret("a"), .scram_sha_1 = Secret("b"), .cram_md5 = Secret("c")};
  ASSERT_TRUE(store.add(anna));
  const auto found = store.find("ANNA@example.net.");
  ASSERT_TRUE(found && *found);
  const StoredUser& same = **found;
  EXPECT_EQ(same.record.name, "anna@example.net");
  EXPECT_TRUE(same.record.may_relay);
  EXPECT_FALSE(same.record.disabled);
  EXPECT_TRUE(same.record.held);
  EXPECT_EQ(same.record.senders, (std::vector<std::string>{"@example.org", "info@example.net"}));
  EXPECT_EQ(same.record.limits, anna.record.limits);
  EXPECT_NE(same.record.generation, 0u);
  EXPECT_EQ(same.password_hash.view(), "$y$j9T$salt$hash");
  EXPECT_EQ(same.verifiers.scram_sha_256.view(), "a");
  EXPECT_EQ(same.verifiers.scram_sha_1.view(), "b");
  EXPECT_EQ(same.verifiers.cram_md5.view(), "c");
  EXPECT_GT(same.created, 1'700'000'000);
  EXPECT_EQ(same.created, same.password_changed);
}

TEST_F(UserStoreTest, WhoIsNotThereIsNoError) {
  UserStore store = open();
  ASSERT_TRUE(store.add(user("anna")));
  for (const std::string_view name : {"", "ann", "annaa", "an\0na", "anna'", "anna' OR '1'='1", "%", "\xff", "a:b"}) {
    const auto found = store.find(name);
    ASSERT_TRUE(found) << found.error();
    EXPECT_FALSE(*found) << name;
  }
  const auto found = store.find(std::string(100000, 'a'));
  ASSERT_TRUE(found);
  EXPECT_FALSE(*found);
}

TEST_F(UserStoreTest, NamesAreTheirOwnWhateverIsInThem) {
  UserStore store = open();
  for (const std::string_view name :
       {"o'brien", "a\"b", "x;DROP TABLE users", "50%", "_", "\xd0\xb8\xd0\xb2\xd0\xb0\xd0\xbd"}) {
    ASSERT_TRUE(store.add(user(name, name)));
  }
  for (const std::string_view name :
       {"o'brien", "a\"b", "x;drop table users", "50%", "_", "\xd0\x98\xd0\x92\xd0\x90\xd0\x9d"}) {
    const auto found = store.find(name);
    ASSERT_TRUE(found && *found) << name;
  }
  EXPECT_EQ(store.count().value(), 6u);
}

TEST_F(UserStoreTest, ANameIsTakenOnce) {
  UserStore store = open();
  ASSERT_TRUE(store.add(user("anna")));
  const auto again = store.add(user("Anna", "{PLAIN}other"));
  ASSERT_FALSE(again);
  EXPECT_NE(again.error().find("anna"), std::string::npos);
  EXPECT_EQ((*store.find("anna").value()).password_hash.view(), "{PLAIN}x");
  EXPECT_FALSE(store.add(user("")));
  EXPECT_FALSE(store.add(user("a:b")));
  StoredUser bad = user("bert");
  bad.record.senders = {"no address"};
  EXPECT_FALSE(store.add(bad));
  bad.record.senders.assign(policy::kUserSendersMax + 1, "*");
  EXPECT_FALSE(store.add(bad));
  EXPECT_EQ(store.count().value(), 1u);
}

TEST_F(UserStoreTest, AllOrNone) {
  UserStore store = open();
  ASSERT_TRUE(store.add(user("carl")));
  std::size_t failed = 99;
  const auto version = store.data_version().value();
  const auto done = store.add_all(std::vector{user("anna"), user("bert"), user("CARL"), user("dora")}, &failed);
  ASSERT_FALSE(done);
  EXPECT_EQ(failed, 2u);
  EXPECT_NE(done.error().find("carl"), std::string::npos);
  EXPECT_EQ(store.count().value(), 1u);
  EXPECT_EQ(store.data_version().value(), version);
  ASSERT_TRUE(store.add_all(std::vector{user("anna"), user("bert")}));
  EXPECT_EQ(store.count().value(), 3u);
}

TEST_F(UserStoreTest, APasswordIsChangedWithItsVerifiers) {
  UserStore store = open();
  StoredUser anna = user("anna");
  anna.verifiers = {.scram_sha_256 = Secret("a"), .scram_sha_1 = Secret("b"), .cram_md5 = Secret("c")};
  ASSERT_TRUE(store.add(anna));
  EXPECT_TRUE(
      store.set_password("ANNA", Secret("new"), {.scram_sha_256 = Secret("n"), .scram_sha_1 = {}, .cram_md5 = {}})
          .value());
  const StoredUser found = store.find("anna").value().value();
  EXPECT_EQ(found.password_hash.view(), "new");
  EXPECT_EQ(found.verifiers.scram_sha_256.view(), "n");
  EXPECT_TRUE(found.verifiers.scram_sha_1.empty());  // of the old password
  EXPECT_TRUE(found.verifiers.cram_md5.empty());
  EXPECT_TRUE(found.record.may_relay);
  EXPECT_FALSE(store.set_password("nobody", Secret("new"), {}).value());
}

TEST_F(UserStoreTest, PrivilegesAndLimitsAreChangedAndThePasswordIsNot) {
  UserStore store = open();
  ASSERT_TRUE(store.add(user("anna")));
  policy::UserRecord record = store.find("anna").value().value().record;
  record.may_relay = false;
  record.senders = {"@Example.org"};
  record.limits.recipients_per_day = 4'000'000'000;
  EXPECT_TRUE(store.update(record).value());
  const StoredUser found = store.find("anna").value().value();
  EXPECT_FALSE(found.record.may_relay);
  EXPECT_EQ(found.record.senders, std::vector<std::string>{"@example.org"});
  EXPECT_EQ(found.record.limits.recipients_per_day, 4'000'000'000);
  EXPECT_EQ(found.password_hash.view(), "{PLAIN}x");
  record.name = "nobody";
  EXPECT_FALSE(store.update(record).value());
}

TEST_F(UserStoreTest, DisabledHeldRemoved) {
  UserStore store = open();
  ASSERT_TRUE(store.add(user("anna")));
  EXPECT_TRUE(store.set_disabled("Anna", true).value());
  EXPECT_TRUE(store.set_held("Anna", true).value());
  policy::UserRecord record = store.find("anna").value().value().record;
  EXPECT_TRUE(record.disabled && record.held && record.may_relay);
  EXPECT_TRUE(store.set_disabled("anna", false).value());
  EXPECT_TRUE(store.set_held("anna", false).value());
  record = store.find("anna").value().value().record;
  EXPECT_FALSE(record.disabled || record.held);
  EXPECT_TRUE(store.remove("ANNA").value());
  EXPECT_FALSE(store.find("anna").value());
  EXPECT_FALSE(store.remove("anna").value());
  EXPECT_FALSE(store.set_disabled("anna", true).value());
  EXPECT_FALSE(store.set_held("anna", true).value());
}

// A generation is never used twice: not for another user, and not for a successor of the same name.
TEST_F(UserStoreTest, GenerationsNeverRepeat) {
  UserStore store = open();
  std::set<std::uint64_t> seen;
  const auto note = [&](std::string_view name) {
    EXPECT_TRUE(seen.insert(store.find(name).value().value().record.generation).second) << name;
  };
  ASSERT_TRUE(store.add(user("anna")));
  note("anna");
  ASSERT_TRUE(store.add(user("bert")));
  note("bert");
  ASSERT_TRUE(store.set_disabled("anna", true).value());
  note("anna");
  ASSERT_TRUE(store.set_held("anna", true).value());
  note("anna");
  ASSERT_TRUE(store.set_password("anna", Secret("x"), {}).value());
  note("anna");
  ASSERT_TRUE(store.update(store.find("anna").value().value().record).value());
  note("anna");
  for (int i = 0; i < 3; ++i) {
    ASSERT_TRUE(store.remove("bert").value());
    ASSERT_TRUE(store.add(user("bert")));
    note("bert");
  }
}

TEST_F(UserStoreTest, DerivedKeysAreForTheGenerationThatProvedThePassword) {
  UserStore store = open();
  StoredUser anna = user("anna", "{SSHA}weak");
  anna.verifiers.scram_sha_1 = Secret("kept");
  ASSERT_TRUE(store.add(anna));
  const std::uint64_t generation = store.find("anna").value().value().record.generation;
  const std::uint64_t version = store.data_version().value();
  const Verifiers keys{.scram_sha_256 = Secret("derived"), .scram_sha_1 = {}, .cram_md5 = Secret("md5")};
  EXPECT_TRUE(store.set_derived_keys("ANNA", generation, keys, Secret("$y$better")).value());
  StoredUser found = store.find("anna").value().value();
  EXPECT_EQ(found.verifiers.scram_sha_256.view(), "derived");
  EXPECT_EQ(found.verifiers.scram_sha_1.view(), "kept");
  EXPECT_EQ(found.verifiers.cram_md5.view(), "md5");
  EXPECT_EQ(found.password_hash.view(), "$y$better");
  EXPECT_EQ(found.record.generation, generation);
  EXPECT_EQ(store.data_version().value(), version);

  // The password was changed while its predecessor was being checked: nothing of the old one may come back.
  ASSERT_TRUE(store.set_password("anna", Secret("new"), {}).value());
  EXPECT_FALSE(store.set_derived_keys("anna", generation, keys, Secret("$y$old")).value());
  found = store.find("anna").value().value();
  EXPECT_EQ(found.password_hash.view(), "new");
  EXPECT_TRUE(found.verifiers.scram_sha_256.empty());
  EXPECT_FALSE(store.set_derived_keys("nobody", generation, keys).value());
  EXPECT_FALSE(store.set_derived_keys("a:b", generation, keys).value());
}

TEST_F(UserStoreTest, EveryChangeOfAUserShows) {
  UserStore store = open();
  UserStore other = open(StoreMode::read_write);
  std::uint64_t last = store.data_version().value();
  const auto grew = [&](const char* what) {
    const std::uint64_t now = store.data_version().value();
    EXPECT_GT(now, last) << what;
    last = now;
    EXPECT_EQ(store.data_version().value(), now) << what;
  };
  for (UserStore* writer : {&store, &other}) {  // this connection's changes, and those of another
    ASSERT_TRUE(writer->add(user("anna")));
    grew("add");
    ASSERT_TRUE(writer->set_password("anna", Secret("y"), {}).value());
    grew("set_password");
    ASSERT_TRUE(writer->set_disabled("anna", true).value());
    grew("set_disabled");
    ASSERT_TRUE(writer->set_held("anna", true).value());
    grew("set_held");
    ASSERT_TRUE(writer->update(writer->find("anna").value().value().record).value());
    grew("update");
    ASSERT_TRUE(writer->remove("anna").value());
    grew("remove");
    ASSERT_FALSE(writer->remove("anna").value());
    EXPECT_EQ(store.data_version().value(), last);  // nothing happened
  }
}

TEST_F(UserStoreTest, ListedInOrderUntilToldToStop) {
  UserStore store = open();
  ASSERT_TRUE(store.add_all(std::vector{user("carl"), user("anna"), user("bert")}));
  std::string names;
  ASSERT_TRUE(store.for_each([&](const StoredUser& one) {
    names += one.record.name + " ";
    return true;
  }));
  EXPECT_EQ(names, "anna bert carl ");
  names.clear();
  ASSERT_TRUE(store.for_each([&](const StoredUser& one) {
    names += one.record.name + " ";
    return one.record.name != "bert";
  }));
  EXPECT_EQ(names, "anna bert ");
  ASSERT_TRUE(store.remove("anna").value());  // the statement was reset: writing is possible again
}

// Strangers get hashes in the proportions of the users, and one name always the same.
TEST_F(UserStoreTest, DecoysAreTypicalAndStable) {
  UserStore store = open();
  EXPECT_TRUE(store.decoy_hash("nobody").value().empty());
  ASSERT_TRUE(store.add(user("none", "")));
  EXPECT_TRUE(store.decoy_hash("nobody").value().empty());
  std::vector<StoredUser> users;
  for (int i = 0; i < 100; ++i) {
    users.push_back(user("user" + std::to_string(i), i % 4 == 0 ? "yescrypt" : "bcrypt"));
  }
  ASSERT_TRUE(store.add_all(users));
  ASSERT_TRUE(store.remove("user99").value());
  std::map<std::string, int> drawn;
  for (int i = 0; i < 2000; ++i) {
    const std::string name = "stranger" + std::to_string(i);
    const std::string hash(store.decoy_hash(name).value().view());
    EXPECT_EQ(store.decoy_hash(name).value().view(), hash);
    ++drawn[hash];
  }
  EXPECT_EQ(store.decoy_hash("Stranger").value().view(), store.decoy_hash("stranger").value().view());
  EXPECT_FALSE(store.decoy_hash("a:b").value().empty());
  EXPECT_EQ(drawn.size(), 2u);
  EXPECT_GT(drawn["yescrypt"], 200);
  EXPECT_LT(drawn["yescrypt"], 900);
}

TEST_F(UserStoreTest, TheServersSecretIsMadeOnce) {
  std::vector<std::uint8_t> secret;
  {
    UserStore store = open();
    secret.assign(store.server_secret().begin(), store.server_secret().end());
    EXPECT_NE(secret, std::vector<std::uint8_t>(32, 0));
  }
  UserStore again = open(StoreMode::read_only);
  EXPECT_EQ(secret, std::vector<std::uint8_t>(again.server_secret().begin(), again.server_secret().end()));
  path_ = folder_ + "/other.db";
  UserStore other = open();
  EXPECT_NE(secret, std::vector<std::uint8_t>(other.server_secret().begin(), other.server_secret().end()));
}

TEST_F(UserStoreTest, ManyUsers) {
  UserStore store = open();
  std::vector<StoredUser> users;
  for (int i = 0; i < 20000; ++i) users.push_back(user("user" + std::to_string(i) + "@example.net"));
  ASSERT_TRUE(store.add_all(users));
  EXPECT_EQ(store.count().value(), 20000u);
  EXPECT_TRUE(store.find("USER19999@example.net").value());
  EXPECT_TRUE(store.check());
}

}  // namespace
}  // namespace postern::net::users
