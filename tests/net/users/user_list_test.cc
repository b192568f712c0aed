// Lists of users: those of other programs, and our own there and back.
#include "net/users/user_list.h"

#include <gtest/gtest.h>
#include <string>
#include <vector>

namespace postern::net::users {
namespace {

constexpr std::string_view kBcrypt = "$2b$06$HHj1OysA/GX/s6Xok0yOZ.RDcLHtlQMPRKdi9z9BzX0DAFcYfYtni";
constexpr std::string_view kScram =
    "4096,z9/NogJzC0+6jOj3m2+9Sw==,vUFSEtKnEo9PhxbhaF3e6EavlHxY/f2YMbz+sOUH0Is=,"
    "4Fj/4/m9iXhH3kiwsQSaFR+5y8b5oTNWjSJzV+bZ9QI=";

ListedUser parse(std::string_view line) {
  const auto parsed = parse_user_line(line);
  if (!parsed) ADD_FAILURE() << line << ": " << parsed.error();
  return parsed.value().value();
}

std::string refusal(std::string_view line) {
  const auto parsed = parse_user_line(line);
  return parsed ? "taken" : parsed.error();
}

TEST(UserList, PasswordFilesOfOtherPrograms) {
  for (const std::string& rest :
       {std::string(), std::string(":"), std::string(":1000:1000::/home/anna::userdb_mail=maildir:~/Mail nopassword=y"),
        std::string(":19000:0:99999:7:::"), std::string("\r")}) {
    const ListedUser listed = parse("Anna@Example.net:{BLF-CRYPT}" + std::string(kBcrypt) + rest);
    EXPECT_EQ(listed.user.record.name, "anna@example.net");
    EXPECT_EQ(listed.user.password_hash.view(), "{BLF-CRYPT}" + std::string(kBcrypt));
    EXPECT_FALSE(listed.says_relay);
    EXPECT_TRUE(listed.user.record.senders.empty());
  }
  EXPECT_EQ(parse("anna:" + std::string(kBcrypt)).user.password_hash.view(), kBcrypt);
}

TEST(UserList, EmptyLinesAndCommentsAreNobody) {
  for (const std::string_view line : {"", "\r", "#", "# anna:x"}) {
    const auto parsed = parse_user_line(line);
    ASSERT_TRUE(parsed) << parsed.error();
    EXPECT_FALSE(*parsed);
  }
}

TEST(UserList, WhatIsWrongIsSaidWithoutTheHash) {
  EXPECT_EQ(refusal("anna"), "no ':' between a name and a password hash");
  EXPECT_EQ(refusal("anna:"), "anna: no password hash");
  EXPECT_EQ(refusal("anna::x"), "anna: no password hash");
  EXPECT_EQ(refusal(":" + std::string(kBcrypt)), "a user name is empty");
  EXPECT_EQ(refusal("anna:{NOSUCH}secret"), "anna: the password hash has a scheme in braces that is not known here");
  EXPECT_EQ(refusal("anna:!"), "anna: the password hash has a character in it that no crypt hash has");
  EXPECT_EQ(refusal("anna:secret"), "anna: the password hash is no hash that is known here");
  EXPECT_EQ(refusal("anna:$2b$06$short"), "anna: the password hash is a damaged bcrypt hash");
  EXPECT_NE(refusal("anna:$6$rounds=99999999$salt$" + std::string(86, 'a')).find("costs more"), std::string::npos);
  for (const std::string_view extra :
       {"postern_relay=maybe", "postern_relay", "postern_limits=1,2,3", "postern_limits=1,2,3,4,5",
        "postern_limits=1,2,3,x", "postern_limits=-1,2,3,4", "postern_limits=1,2,3,4294967296", "postern_sender=nobody",
        "postern_sender=%zz@x", "postern_scram_sha_256=1,2,3,4", "postern_scram_sha_1=x", "postern_cram_md5=00",
        "postern_unknown=1", "postern_"}) {
    EXPECT_NE(refusal("anna:" + std::string(kBcrypt) + "::::::" + std::string(extra)).find("postern_..."),
              std::string::npos)
        << extra;
  }
}

TEST(UserList, OursComeBackWhole) {
  StoredUser user;
  user.record.name = "anna@example.net";
  user.record.may_relay = true;
  user.record.disabled = true;
  user.record.held = true;
  user.record.senders = {"@example.org", "john doe@example.net", "a%b@example.net", "@[ipv6:2001:db8:0:0:0:0:0:1]",
                         "*"};
  user.record.limits = {
      .messages_per_hour = 1, .messages_per_day = 0, .recipients_per_hour = 4294967295, .recipients_per_day = 7};
  user.password_hash = Secret(kBcrypt);
  user.verifiers.scram_sha_256 = Secret(kScram);
  user.verifiers.scram_sha_1 =
      Secret("4096,9lty7qLWTqiftAS8ge4d8A==,0G/jU5NuMnqPmFdGKsGs/miRnis=,OHCRiG/zX8ZzapIOX3EV6rVHseQ=");
  user.verifiers.cram_md5 = Secret("7afbc90aa523d057e35f76847479fab2a7d50d25a14affb0359214417603312a");
  const ListedUser back = parse(user_line(user).view());
  EXPECT_EQ(back.user.record, user.record);
  EXPECT_TRUE(back.says_relay);
  EXPECT_EQ(back.user.password_hash.view(), kBcrypt);
  EXPECT_EQ(back.user.verifiers.scram_sha_256.view(), kScram);
  EXPECT_EQ(back.user.verifiers.scram_sha_1.view(), user.verifiers.scram_sha_1.view());
  EXPECT_EQ(back.user.verifiers.cram_md5.view(), user.verifiers.cram_md5.view());

  StoredUser plainest;
  plainest.record.name = "bert";
  plainest.password_hash = Secret(kBcrypt);
  const ListedUser again = parse(user_line(plainest).view());
  EXPECT_EQ(again.user.record, plainest.record);
  EXPECT_TRUE(again.says_relay);
  EXPECT_FALSE(again.user.record.may_relay);
  EXPECT_TRUE(again.user.verifiers.scram_sha_256.empty());
}

// Two places where a ':' would tear the line apart.
TEST(UserList, AColonInAPasswordInTheClearStaysInIt) {
  StoredUser user;
  user.record.name = "anna";
  user.password_hash = Secret("{PLAIN}a:b c");
  EXPECT_EQ(parse(user_line(user).view()).user.password_hash.view(), "{PLAIN.b64}YTpiIGM=");
}

}  // namespace
}  // namespace postern::net::users
