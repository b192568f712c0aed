// Header fields as they came, and what a signature names.
#include "net/smtp/header_fields.h"

#include <gtest/gtest.h>
#include <string>
#include <vector>

namespace postern::net::smtp {
namespace {

using Texts = std::vector<std::string>;

Texts texts(std::string_view header, bool dot_stuffed) {
  Texts out;
  HeaderFieldReader reader(header, dot_stuffed);
  std::size_t octets = 0;
  for (HeaderField field; reader.next(field);) {
    out.emplace_back(field.text);
    octets += field.text.size();
    EXPECT_EQ(reader.consumed(), octets);
  }
  EXPECT_EQ(octets, header.size());
  return out;
}

TEST(HeaderFields, Names) {
  EXPECT_EQ(field_name_of("From"), FieldName::from);
  EXPECT_EQ(field_name_of("mEsSaGe-iD"), FieldName::message_id);
  EXPECT_EQ(field_name_of("ARC-Message-Signature"), FieldName::arc_signature);
  EXPECT_EQ(field_name_of("Resent-Date"), FieldName::resent_other);
  EXPECT_EQ(field_name_of("RESENT-BCC"), FieldName::resent_bcc);
  for (const std::string_view name : {"", "Fro", "Fromm", "X-From", "Resent", "ARC-Seal", "Subject"}) {
    EXPECT_EQ(field_name_of(name), FieldName::other) << name;
  }
}

TEST(HeaderFields, FoldedLinesBelongToTheirField) {
  EXPECT_EQ(texts("A: b\r\n c\r\n\td\r\nE:\r\nF: g", false), (Texts{"A: b\r\n c\r\n\td\r\n", "E:\r\n", "F: g"}));
  EXPECT_EQ(texts("A: b\r\n. c\r\nD: e\r\n", true), (Texts{"A: b\r\n. c\r\n", "D: e\r\n"}));
  EXPECT_EQ(texts("A: b\r\n. c\r\nD: e\r\n", false), (Texts{"A: b\r\n", ". c\r\n", "D: e\r\n"}));
  EXPECT_EQ(texts("A: b\r\n.. c\r\n", true), (Texts{"A: b\r\n", ".. c\r\n"}));
  EXPECT_EQ(texts("", true), Texts{});
}

HeaderField first(std::string_view header, bool dot_stuffed) {
  HeaderFieldReader reader(header, dot_stuffed);
  HeaderField field;
  EXPECT_TRUE(reader.next(field));
  return field;
}

TEST(HeaderFields, NameAndValue) {
  EXPECT_EQ(first("From: a\r\n b\r\n", false).name, FieldName::from);
  EXPECT_EQ(first("From: a\r\n b\r\n", false).value, " a\r\n b\r\n");
  EXPECT_EQ(first("from \t:a:b\r\n", false).name, FieldName::from);
  EXPECT_EQ(first("from \t:a:b\r\n", false).value, "a:b\r\n");
  EXPECT_EQ(first(".From: a\r\n", true).name, FieldName::from);
  EXPECT_EQ(first(".From: a\r\n", false).name, FieldName::other);
  EXPECT_EQ(first("..From: a\r\n", true).name, FieldName::other);
  EXPECT_EQ(first(" From: a\r\n", false).name, FieldName::other);
  EXPECT_EQ(first("From", false).name, FieldName::other);
  EXPECT_EQ(first("From", false).value, "");
  EXPECT_EQ(first("From:", false).name, FieldName::from);
}

std::string named(std::string_view value, bool dot_stuffed = false) {
  const FieldSet fields = signed_fields(value, dot_stuffed);
  std::string out;
  if (fields.has(FieldName::from)) out += "from ";
  if (fields.has(FieldName::to)) out += "to ";
  if (fields.has(FieldName::bcc)) out += "bcc ";
  if (fields.has(FieldName::date)) out += "date ";
  if (fields.has(FieldName::message_id)) out += "message_id ";
  if (fields.has(FieldName::sender)) out += "sender ";
  return out;
}

TEST(HeaderFields, SignedFields) {
  // RFC 6376 section 3.5
  EXPECT_EQ(named(" v=1; a=rsa-sha256; d=example.net; s=brisbane;\r\n"
                  "   c=simple; q=dns/txt; i=@eng.example.net;\r\n"
                  "   t=1117574938; x=1118006938;\r\n"
                  "   h=from:to:subject:date;\r\n"
                  "   z=From:foo@eng.example.net|To:joe@example.com|\r\n"
                  "    Bcc:x|Sender:y;\r\n"
                  "   bh=MTIzNDU2Nzg5MDEyMzQ1Njc4OTAxMjM0NTY3ODkwMTI=;\r\n"
                  "   b=dzdVyOfAKCdLXdJOc9G2q8LoXSlEniSbav+yuU4zGeeruD00lszZVoG4ZHRNiYzR\r\n"),
            "from to date ");
  EXPECT_EQ(named("h=from"), "from ");
  EXPECT_EQ(named("h = From : TO \r\n :\r\n\tMessage-\r\n ID ; b=x"), "from to message_id ");
  EXPECT_EQ(named("v=1;h=bcc:date"), "bcc date ");
  EXPECT_EQ(named(" h=from:\r\n. to:\r\n.\tbcc;b=", true), "from to bcc ");
  // No h=, or another tag.
  EXPECT_EQ(named(""), "");
  EXPECT_EQ(named("v=1; b=from:to"), "");
  EXPECT_EQ(named("bh=from; hh=to; xh=bcc"), "");
  EXPECT_EQ(named("from:to"), "");
  EXPECT_EQ(named("b=h=from; c=1"), "");
  EXPECT_EQ(named("h=; from"), "");
  EXPECT_EQ(named("h=from=:to"), "to ");
  // Too long for a name: none, and not a part of it.
  EXPECT_EQ(named("h=" + std::string(30, 'x') + "from:fromfromfromfromfromfrom:to"), "to ");
  EXPECT_EQ(named("h=from;h=to"), "from to ");
}

}  // namespace
}  // namespace postern::net::smtp
