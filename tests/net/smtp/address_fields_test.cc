// The addresses of a header field: RFC 5322 section 3.4 and appendix A, and what is not read.
#include "net/smtp/address_fields.h"

#include <gtest/gtest.h>
#include <random>
#include <string>
#include <vector>

#include "tests/sim/sim_seeds.h"

namespace postern::net::smtp {
namespace {

// "local|domain" of each mailbox, or "malformed".
std::vector<std::string> read(std::string_view value, bool dot_stuffed = false) {
  std::vector<std::string> mailboxes;
  AddressListReader reader(value, dot_stuffed);
  FieldMailbox box;
  for (;;) {
    switch (reader.next(box)) {
      case AddressListReader::Result::end:
        return mailboxes;
      case AddressListReader::Result::malformed:
        return {"malformed"};
      case AddressListReader::Result::mailbox:
        EXPECT_TRUE(value.substr(0, box.domain_goes).ends_with(box.mailbox.local_part));
        mailboxes.push_back(std::string(box.mailbox.local_part) + "|" + std::string(box.mailbox.domain));
    }
  }
}

using List = std::vector<std::string>;
const List kMalformed = {"malformed"};

TEST(AddressList, ExamplesOfTheStandard) {
  // RFC 5322 appendix A.1.1 to A.1.3, A.5, A.6.1
  EXPECT_EQ(read(" John Doe <jdoe@machine.example>\r\n"), List{"jdoe|machine.example"});
  EXPECT_EQ(read(" \"Joe Q. Public\" <john.q.public@example.com>\r\n"), List{"john.q.public|example.com"});
  EXPECT_EQ(read(" Mary Smith <mary@x.test>, jdoe@example.org, Who? <one@y.test>\r\n"),
            (List{"mary|x.test", "jdoe|example.org", "one|y.test"}));
  EXPECT_EQ(read(" <boss@nil.test>, \"Giant; \\\"Big\\\" Box\" <sysservices@example.net>\r\n"),
            (List{"boss|nil.test", "sysservices|example.net"}));
  EXPECT_EQ(read(" A Group:Ed Jones <c@a.test>,joe@where.test,John <jdoe@one.test>;\r\n"),
            (List{"c|a.test", "joe|where.test", "jdoe|one.test"}));
  EXPECT_EQ(read(" Undisclosed recipients:;\r\n"), List{});
  EXPECT_EQ(read(" Pete(A nice \\) chap) <pete(his account)@silly.test(his host)>\r\n"), List{"pete|silly.test"});
  EXPECT_EQ(read("A Group(Some people)\r\n     :Chris Jones <c@(Chris's host.)public.example>,\r\n"
                 "         joe@example.org,\r\n  John <jdoe@one.test> (my dear friend); (the end of the group)\r\n"),
            (List{"c|public.example", "joe|example.org", "jdoe|one.test"}));
  EXPECT_EQ(read("(Empty list)(start)Hidden recipients  :(nobody(that I know))  ;\r\n"), List{});
  EXPECT_EQ(read(" Joe Q. Public <john.q.public@example.com>\r\n"), List{"john.q.public|example.com"});
  EXPECT_EQ(read(" Mary Smith <mary@x.test>, , jdoe@test.example\r\n"), (List{"mary|x.test", "jdoe|test.example"}));
}

TEST(AddressList, WithoutDomain) {
  EXPECT_EQ(read(" anna\r\n"), List{"anna|"});
  EXPECT_EQ(read("anna"), List{"anna|"});
  EXPECT_EQ(read(" <anna>\r\n"), List{"anna|"});
  EXPECT_EQ(read(" Anna B. <anna> (x)\r\n"), List{"anna|"});
  EXPECT_EQ(read(" anna (Anna), bert@b.example, \"c d\"\r\n"), (List{"anna|", "bert|b.example", "\"c d\"|"}));
  EXPECT_EQ(read(" team: anna, bert;, c.d"), (List{"anna|", "bert|", "c.d|"}));
  // A name that stands alone is nobody's address.
  EXPECT_EQ(read(" =?utf-8?q?Anna?=\r\n"), kMalformed);
  EXPECT_EQ(read(" <=?utf-8?q?Anna?=>\r\n"), kMalformed);
  EXPECT_EQ(read(" Anna Berg\r\n"), kMalformed);
}

TEST(AddressList, WhereTheDomainGoes) {
  for (const std::string_view value : {" anna (Anna)\r\n", " Anna <anna (x)>, b@c\r\n", "(x) anna\r\n\t, b@c"}) {
    AddressListReader reader(value, false);
    FieldMailbox box;
    ASSERT_EQ(reader.next(box), AddressListReader::Result::mailbox) << value;
    std::string completed(value);
    completed.insert(box.domain_goes, "@d.example");
    AddressListReader again(completed, false);
    ASSERT_EQ(again.next(box), AddressListReader::Result::mailbox) << completed;
    EXPECT_EQ(box.mailbox.local_part, "anna") << completed;
    EXPECT_EQ(box.mailbox.domain, "d.example") << completed;
  }
}

TEST(AddressList, FoldsAndDots) {
  EXPECT_EQ(read("\r\n anna@b.example,\r\n\t bert\r\n @b.example\r\n"), (List{"anna|b.example", "bert|b.example"}));
  EXPECT_EQ(read(" \"a\r\n b\" <c@d>\r\n"), List{"c|d"});
  EXPECT_EQ(read(" (a\r\n b) c@d\r\n"), List{"c|d"});
  // By DATA, a dot in front of a continuation is not there.
  EXPECT_EQ(read(" a@b,\r\n. c@d, (e\r\n.\tf) g@h, \"i\r\n. j\" <k@l>\r\n", true), (List{"a|b", "c|d", "g|h", "k|l"}));
  EXPECT_EQ(read(" a@b,\r\n. c@d\r\n", false), kMalformed);
  EXPECT_EQ(read(" a@b,\r\n.. c@d\r\n", true), kMalformed);
  // A fold that is none, or not whole.
  EXPECT_EQ(read(" a@b,\r\nc@d\r\n"), kMalformed);
  EXPECT_EQ(read(" a@b,\n c@d\r\n"), kMalformed);
  EXPECT_EQ(read(" a@b,\r c@d\r\n"), kMalformed);
  EXPECT_EQ(read(" a@b\r"), kMalformed);
}

TEST(AddressList, BeyondAscii) {
  EXPECT_EQ(read(" =?utf-8?q?J=C3=B6rg?= <j@d.example>\r\n"), List{"j|d.example"});
  EXPECT_EQ(read(" J\xc3\xb6rg <j\xc3\xb6rg@d\xc3\xbc.example>\r\n"), List{"j\xc3\xb6rg|d\xc3\xbc.example"});
  EXPECT_EQ(read(" \"J\xc3\xb6rg\"@d.example\r\n"), List{"\"J\xc3\xb6rg\"|d.example"});
  // Names of old charsets are not ours to read; addresses are.
  EXPECT_EQ(read(" J\xf6rg <j@d.example>\r\n"), List{"j|d.example"});
  EXPECT_EQ(read(" (J\xf6rg) \"J\xf6\" <j@d.example>\r\n"), List{"j|d.example"});
  EXPECT_EQ(read(" <j\xf6rg@d.example>\r\n"), kMalformed);
  EXPECT_EQ(read(" j\xf6rg\r\n"), kMalformed);
  EXPECT_EQ(read(" j@d\xf6.example\r\n"), kMalformed);
  EXPECT_EQ(read(" j\xc2\x85@d.example\r\n"), kMalformed);  // a C1 control
}

TEST(AddressList, Literals) {
  EXPECT_EQ(read(" a@[192.0.2.1], b@[IPv6:2001:db8::1]\r\n"), (List{"a|[192.0.2.1]", "b|[IPv6:2001:db8::1]"}));
  EXPECT_EQ(read(" a@[192.0.2.1\r\n"), kMalformed);
  EXPECT_EQ(read(" a@[19\\2]\r\n"), kMalformed);
  EXPECT_EQ(read(" a@[1 2]\r\n"), kMalformed);
  EXPECT_EQ(read(" a@[[1]\r\n"), kMalformed);
}

TEST(AddressList, NotRead) {
  for (const std::string_view value : {
           " a@b c@d",    // no comma
           " a@b <c@d>",  // a name with an at sign: which one is it?
           " a@b (x) <c@d>",
           " \"a\"@b <c@d>",
           " <a@b> <c@d>",
           " <a@b> c",
           " Anna <a@b",
           " Anna <>",
           " <>",
           " <@x,@y:a@b>",  // a route
           " a b@c",
           " a.@b",
           " .a@b",
           " a..b@c",
           " a . b@c",
           " a@b..c",
           " a@.b",
           " a@b.",
           " a@",
           " @b",
           " <a@>",
           " a@b@c",
           " \"a\"b@c",
           " a\"b\"@c",
           " \"a\r\n b\"@c",  // a fold in a local part
           " \"a\tb\"@c",
           " \"a",
           " (a",
           " a@b (c",
           " (a\\",
           " \"a\\",
           " a@b)",
           " [a@b]",
           " Anna [x] <a@b>",
           " a: b@c",  // a group without end
           " a: b: c@d;;",
           " a: b@c; d@e",
           " a: b@c;;",
           " a@b;",
           ";",
           " :a@b;",
           " a\\b@c",
           " <a@b\r\n",
       }) {
    EXPECT_EQ(read(value), kMalformed) << value;
  }
  for (const std::string_view value :
       {std::string_view(" a\0b@c", 6), std::string_view(" \"a\0b\" <c@d>", 13), std::string_view(" (\x01) c@d"),
        std::string_view(" c\x7f@d"), std::string_view(" \"\\\x01\" <c@d>"), std::string_view(" (\\\x7f) c@d")}) {
    EXPECT_EQ(read(value), kMalformed) << testing::PrintToString(value);
  }
  EXPECT_EQ(read(" a@" + std::string(255, 'd')), List{"a|" + std::string(255, 'd')});
  EXPECT_EQ(read(" a@" + std::string(256, 'd')), kMalformed);
}

TEST(AddressList, DepthAndLengthCostNothing) {
  const std::size_t many = 200'000;
  EXPECT_EQ(read(std::string(many, '(') + std::string(many, ')') + "a@b"), List{"a|b"});
  EXPECT_EQ(read(std::string(many, '(') + "a@b"), kMalformed);
  EXPECT_EQ(read(std::string(many, ',') + "a@b"), List{"a|b"});
  EXPECT_EQ(read(std::string(many, 'a') + "@b")[0].size(), many + 2);
}

// A list is made from the grammar; what was put in must come out.
class ListMaker {
 public:
  ListMaker(std::uint64_t seed, bool dot_stuffed) : random_(seed), dot_stuffed_(dot_stuffed) {}

  std::string value;
  List mailboxes;

  void make() {
    const auto elements = pick(6);
    for (std::size_t i = 0; i < elements; ++i) {
      if (i != 0) value += one_of({",", ",", ", ,"});
      if (pick(5) == 0) {
        group();
      } else {
        mailbox();
      }
    }
    if (elements == 0) blanks();
    if (pick(2) == 0) value += "\r\n";
  }

 private:
  std::size_t pick(std::size_t below) { return random_() % below; }
  std::string one_of(std::vector<std::string> texts) { return texts[pick(texts.size())]; }

  void blanks() {
    for (auto n = pick(3); n > 0; --n) {
      std::string text = one_of({" ", "\t", "\r\n ", "\r\n\t", "(c)", "(c (d) \\) e)", "(\r\n f)", "(\"<@,:;>)"});
      if (dot_stuffed_ && pick(2) == 0) {
        if (const auto feed = text.find('\n'); feed != std::string::npos) text.insert(feed + 1, ".");
      }
      value += text;
    }
  }
  std::string word() {
    return one_of({"anna", "b", "x.y.z", "=?utf-8?q?a?=", "j\xc3\xb6rg", "!#$%&'*+-/=?^_`{|}~", "\"q\"",
                   "\"a \\\" @ <>\"", "\"\""});
  }
  void mailbox() {
    blanks();
    const bool angle = pick(2) == 0;
    if (angle) {
      for (auto n = pick(4); n > 0; --n) {
        value += word();
        if (pick(4) == 0) value += " .";
        value += ' ';
        blanks();
      }
      value += '<';
      blanks();
    }
    std::string local = word();
    const bool whole = pick(3) != 0 || local.starts_with("=?");
    value += local;
    blanks();
    std::string domain;
    if (whole) {
      domain = one_of({"example.net", "[192.0.2.1]", "d", "\xc3\xbc.example"});
      value += '@';
      blanks();
      value += domain;
      blanks();
    }
    if (angle) {
      value += '>';
      blanks();
    }
    mailboxes.push_back(local + "|" + domain);
  }
  void group() {
    blanks();
    value += one_of({"Team", "\"the team\"", "a b"});
    blanks();
    value += ':';
    const auto members = pick(4);
    for (std::size_t i = 0; i < members; ++i) {
      if (i != 0) value += ',';
      mailbox();
    }
    blanks();
    value += ';';
    blanks();
  }

  std::mt19937_64 random_;
  bool dot_stuffed_;
};

TEST(AddressList, WhatIsPutInComesOut) {
  sim::for_each_seed(20'000, [](std::uint64_t seed) {
    const bool dot_stuffed = seed % 2 == 0;
    ListMaker maker(seed, dot_stuffed);
    maker.make();
    EXPECT_EQ(read(maker.value, dot_stuffed), maker.mailboxes) << maker.value;
  });
}

}  // namespace
}  // namespace postern::net::smtp
