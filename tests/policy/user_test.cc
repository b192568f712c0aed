// User names have one form, and a user sends as what belongs to it.
#include "policy/user.h"

#include <cstdlib>
#include <gtest/gtest.h>
#include <random>
#include <string>

#include "tests/policy/support.h"

namespace postern::policy {
namespace {

using testing::mailbox;

std::string name(std::string_view text) {
  return canonical_user_name(text).value_or("refused");
}
std::string sender(std::string_view text) {
  return canonical_sender(text).value_or("refused");
}

UserRecord user(std::string_view own_name, std::initializer_list<std::string_view> senders = {}) {
  UserRecord record;
  record.name = canonical_user_name(own_name).value();
  for (const auto text : senders) record.senders.push_back(canonical_sender(text).value());
  return record;
}

TEST(UserName, HasOneForm) {
  EXPECT_EQ(name("anna"), "anna");
  EXPECT_EQ(name("Anna"), "anna");
  EXPECT_EQ(name("ANNA.Meier@Example.NET"), "anna.meier@example.net");
  EXPECT_EQ(name("anna@example.net."), "anna@example.net");
  EXPECT_EQ(name("J\xc3\x96RG"), "j\xc3\xb6rg");
  EXPECT_EQ(name("Jo\xcc\x88rg"), "j\xc3\xb6rg");  // o and a combining diaeresis
  EXPECT_EQ(name("\xd0\x98\xd0\x92\xd0\x90\xd0\x9d"), "\xd0\xb8\xd0\xb2\xd0\xb0\xd0\xbd");  // Cyrillic
  EXPECT_EQ(name("anna@b\xc3\xbc"
                 "cher.example"),
            "anna@xn--bcher-kva.example");
  EXPECT_EQ(name("anna@xn--bcher-kva.example"), "anna@xn--bcher-kva.example");
  EXPECT_EQ(name("Anna Meier"), "anna meier");
  EXPECT_EQ(name("anna@no domain"), "anna@no domain");  // a name with an @ in it, and no address
  EXPECT_EQ(name("a\"b\\c,d=e"), "a\"b\\c,d=e");
}

TEST(UserName, IsRefusedWithAReason) {
  const auto why = [](std::string_view text) {
    const auto result = canonical_user_name(text);
    return result ? "taken" : result.error();
  };
  EXPECT_NE(why("").find("empty"), std::string::npos);
  EXPECT_NE(why("an\nna").find("control"), std::string::npos);
  EXPECT_NE(why(std::string_view("an\0na", 5)).find("control"), std::string::npos);
  EXPECT_NE(why("anna\x7f").find("control"), std::string::npos);
  EXPECT_NE(why("an\xc2\x85na").find("control"), std::string::npos);  // C1
  EXPECT_NE(why("an\xffna").find("UTF-8"), std::string::npos);
  EXPECT_NE(why("an\xc0\xae").find("UTF-8"), std::string::npos);            // an overlong full stop
  EXPECT_NE(why("an\xe2\x80\x8bna").find("invisible"), std::string::npos);  // zero width space
  EXPECT_NE(why("an\xe2\x80\xaena").find("invisible"), std::string::npos);  // right-to-left override
  EXPECT_NE(why(" anna").find("blank"), std::string::npos);
  EXPECT_NE(why("anna ").find("blank"), std::string::npos);
  EXPECT_NE(why("an:na").find("':'"), std::string::npos);
  EXPECT_NE(why("#anna").find("'#'"), std::string::npos);
  EXPECT_NE(why(std::string(256, 'a')).find("255"), std::string::npos);
  EXPECT_NE(why(std::string(100000, 'a')).find("255"), std::string::npos);
  EXPECT_EQ(name(std::string(255, 'A')), std::string(255, 'a'));
}

TEST(UserName, TheOneFormIsItsOwnForm) {
  const char* given = std::getenv("POSTERN_SEED");
  const auto seed = given ? std::strtoull(given, nullptr, 10) : std::random_device{}();
  SCOPED_TRACE("POSTERN_SEED=" + std::to_string(seed));
  std::mt19937_64 random(seed);
  const std::string_view parts[] = {"a",        "Z", "@",        ".",        "-",        "\xc3\x84",
                                    "\xcc\x88", "u", "\xcc\x81", "\xce\xa3", "\xd0\x96", "\xe1\xba\x9e",
                                    "7",        "x", "\xc3\xa9", "I",        "\xcc\xa3", "\xc4\xb0"};
  int taken = 0;
  for (int i = 0; i < 20000; ++i) {
    std::string text;
    for (auto n = random() % 12 + 1; n > 0; --n) text += parts[random() % std::size(parts)];
    const auto once = canonical_user_name(text);
    if (!once) continue;
    ++taken;
    ASSERT_EQ(canonical_user_name(*once).value_or("refused"), *once) << text;
  }
  EXPECT_GT(taken, 1000);
}

TEST(Sender, HasOneForm) {
  EXPECT_EQ(sender("*"), "*");
  EXPECT_EQ(sender("@Example.NET."), "@example.net");
  EXPECT_EQ(sender("Info@Example.NET"), "info@example.net");
  EXPECT_EQ(sender("\"John Doe\"@example.net"), "john doe@example.net");
  EXPECT_EQ(sender("@b\xc3\xbc"
                   "cher.example"),
            "@xn--bcher-kva.example");
  for (const char* bad : {"", "anna", "example.net", "anna@", "@", "anna@-x", "a\nb@example.net", "\"\"@example.net"}) {
    EXPECT_EQ(sender(bad), "refused") << bad;
  }
  // What would disturb a terminal is not repeated.
  EXPECT_EQ(canonical_sender("a\x1b[2J").error().find('\x1b'), std::string::npos);
}

TEST(MaySendAs, TheNullReversePathIsAnybodys) {
  EXPECT_TRUE(may_send_as(user("anna"), Mailbox{}));
}

TEST(MaySendAs, TheOwnNameWhenItIsAnAddress) {
  const UserRecord anna = user("Anna@Example.net");
  EXPECT_TRUE(may_send_as(anna, mailbox("anna@example.net")));
  EXPECT_TRUE(may_send_as(anna, mailbox("ANNA@EXAMPLE.NET.")));
  EXPECT_TRUE(may_send_as(anna, mailbox("\"anna\"@example.net")));
  EXPECT_TRUE(may_send_as(anna, mailbox("\"a\\nna\"@example.net")));
  EXPECT_FALSE(may_send_as(anna, mailbox("ann@example.net")));
  EXPECT_FALSE(may_send_as(anna, mailbox("annax@example.net")));
  EXPECT_FALSE(may_send_as(anna, mailbox("anna@sub.example.net")));
  EXPECT_FALSE(may_send_as(anna, mailbox("anna@example.org")));
  EXPECT_FALSE(may_send_as(anna, mailbox("anna")));
  EXPECT_FALSE(may_send_as(anna, mailbox("x\"anna\"@example.net")));
}

TEST(MaySendAs, AnUnqualifiedNameOwnsNoAddress) {
  EXPECT_FALSE(may_send_as(user("anna"), mailbox("anna@example.net")));
  EXPECT_FALSE(may_send_as(user("anna"), mailbox("anna")));
  EXPECT_FALSE(may_send_as(user("postmaster"), mailbox("postmaster")));
}

// A name with nothing before its @ is a name, not a whole domain.
TEST(MaySendAs, ANameIsNeverAWholeDomain) {
  EXPECT_FALSE(may_send_as(user("@example.net"), mailbox("anna@example.net")));
  EXPECT_FALSE(may_send_as(user("@example.net"), mailbox("\"\"@example.net")));
  EXPECT_FALSE(may_send_as(user("*"), mailbox("anna@example.net")));
  EXPECT_FALSE(may_send_as(user("anna@"), mailbox("anna@")));
}

TEST(MaySendAs, ListedAddressesAndDomains) {
  const UserRecord anna = user("anna", {"info@example.net", "@Example.org",
                                        "@b\xc3\xbc"
                                        "cher.example"});
  EXPECT_TRUE(may_send_as(anna, mailbox("info@example.net")));
  EXPECT_TRUE(may_send_as(anna, mailbox("INFO@example.net")));
  EXPECT_FALSE(may_send_as(anna, mailbox("other@example.net")));
  EXPECT_TRUE(may_send_as(anna, mailbox("whoever@example.org")));
  EXPECT_TRUE(may_send_as(anna, mailbox("\"who ever\"@EXAMPLE.org")));
  EXPECT_FALSE(may_send_as(anna, mailbox("whoever@sub.example.org")));
  EXPECT_FALSE(may_send_as(anna, mailbox("whoever@xexample.org")));
  EXPECT_TRUE(may_send_as(anna, mailbox("x@xn--bcher-kva.example")));
  EXPECT_TRUE(may_send_as(anna, mailbox("x@B\xc3\x9c"
                                        "CHER.example")));
  EXPECT_FALSE(may_send_as(anna, mailbox("whoever")));
  // Too long to be anybody's own, and still at the domain.
  const std::string long_part(400, 'x');
  EXPECT_TRUE(may_send_as(anna, Mailbox{long_part, "example.org"}));
  EXPECT_FALSE(may_send_as(anna, Mailbox{long_part, "example.net"}));
}

TEST(MaySendAs, EverythingWhereListed) {
  const UserRecord gateway = user("gateway", {"*"});
  EXPECT_TRUE(may_send_as(gateway, mailbox("whoever@anywhere.example")));
  EXPECT_TRUE(may_send_as(gateway, mailbox("postmaster")));
  EXPECT_TRUE(may_send_as(gateway, mailbox("x@-bad-")));
}

}  // namespace
}  // namespace postern::policy
