// What a submission service does to a header, case by case; each for every cut of the content.
#include "net/smtp/submission.h"

#include <gtest/gtest.h>
#include <string>

#include "net/smtp/envelope.h"

#include "tests/net/smtp/submission_harness.h"

namespace postern::net::smtp::test {
namespace {

const std::string kDate = "Date: Tue, 24 Nov 2026 03:48:27 +0000\r\n";
const std::string kId = "Message-ID: <1795492107.QUEUEID@mail.example.net>\r\n";
// A header that lacks nothing.
const std::string kWhole = "From: Anna <anna@example.net>\r\nDate: x\r\nMessage-ID: <y@z>\r\n";

// The same for each cut; the whole's outcome.
Submitted all_cuts(const Submission& what, std::string_view content) {
  const Submitted whole = submit(what, content);
  for (std::size_t cut = 1; cut < std::min<std::size_t>(content.size(), 200); ++cut) {
    EXPECT_EQ(submit(what, content, cut), whole) << "by " << cut;
  }
  core::BlockPool pool(1 << 20);
  SubmissionFilter filter(pool);  // used again and again
  for (std::size_t at = 1; at < std::min<std::size_t>(content.size(), 2000); ++at) {
    std::size_t next = at;
    EXPECT_EQ(submit(filter, what, content, [&] { return std::exchange(next, 0); }), whole) << "at " << at;
    EXPECT_EQ(pool.used_bytes(), 0U);
  }
  if (whole.code == 0) {
    EXPECT_EQ(whole.content.size(), content.size() + whole.added - whole.removed);
    EXPECT_EQ(whole.changes == 0, whole.content == content);
  }
  return whole;
}

std::string out(const Submission& what, std::string_view content) {
  const Submitted one = all_cuts(what, content);
  EXPECT_EQ(one.code, 0) << one;
  return one.content;
}

std::string refusal(const Submission& what, std::string_view content) {
  const Submitted one = all_cuts(what, content);
  return std::to_string(one.code) + " " + one.enhanced + " " + one.text;
}

TEST(Submission, AWholeHeaderIsLeftAlone) {
  for (const std::string& content :
       {kWhole + "\r\nbody\r\n", kWhole + "To: b@example.org\r\nX: \xc3\xbc\r\n\r\n", kWhole,
        std::string("date :x\r\nMESSAGE-id: y\r\nfrom\t: Anna <anna@example.net>\r\n\r\nBcc: in the body\r\n\r\nDate: "
                    "too\r\n")}) {
    const Submitted one = all_cuts({}, content);
    EXPECT_EQ(one.content, content);
    EXPECT_EQ(one.added + one.removed + one.changes + one.flags, 0U);
  }
}

TEST(Submission, AddsWhatIsMissing) {
  EXPECT_EQ(out({}, "From: a@b.example\r\nMessage-ID: <y@z>\r\nSubject: s\r\n\r\nbody\r\n"),
            "From: a@b.example\r\nMessage-ID: <y@z>\r\nSubject: s\r\n" + kDate + "\r\nbody\r\n");
  EXPECT_EQ(out({}, "From: a@b.example\r\nDate: x\r\n\r\n"), "From: a@b.example\r\nDate: x\r\n" + kId + "\r\n");
  EXPECT_EQ(out({}, "Subject: s\r\n\r\nbody\r\n"),
            "Subject: s\r\nFrom: anna@example.net\r\n" + kDate + kId + "\r\nbody\r\n");
  EXPECT_EQ(out({}, "\r\nbody\r\n"), "From: anna@example.net\r\n" + kDate + kId + "\r\nbody\r\n");
  EXPECT_EQ(out({}, ""), "From: anna@example.net\r\n" + kDate + kId);
  EXPECT_EQ(submit({}, "\r\n").changes, added_from | added_date | added_message_id);
}

TEST(Submission, AFromOfNobodyIsRefused) {
  Submission nobody;
  nobody.submitter = "";
  EXPECT_EQ(refusal(nobody, "Subject: s\r\n\r\nbody\r\n"), "554 5.6.0 There is no From field in the header");
  EXPECT_EQ(out(nobody, kWhole + "\r\n"), kWhole + "\r\n");
  EXPECT_EQ(refusal({}, kWhole + "FROM: b@c\r\n\r\n"), "554 5.6.0 More than one From field in the header");
  EXPECT_EQ(refusal({}, kWhole + ".From: b@c\r\n\r\n"), "554 5.6.0 More than one From field in the header");
}

TEST(Submission, AFromBeyondAsciiIsTold) {
  Submission anna;
  anna.submitter = "j\xc3\xb6rg@example.net";
  const Submitted one = all_cuts(anna, "Date: x\r\nMessage-ID: y\r\n\r\n");
  EXPECT_EQ(one.content, "Date: x\r\nMessage-ID: y\r\nFrom: j\xc3\xb6rg@example.net\r\n\r\n");
  EXPECT_EQ(one.flags, content_eight_bit_header);
}

TEST(Submission, WhereTheHeaderEnds) {
  // A line that is no field is body, and an empty line is put before it.
  const std::string added = "From: anna@example.net\r\n" + kDate + kId;
  EXPECT_EQ(out({}, "no field\r\nFrom: b@c\r\n"), added + "\r\nno field\r\nFrom: b@c\r\n");
  EXPECT_EQ(out({}, "Subject: s\r\nno field\r\n"), "Subject: s\r\n" + added + "\r\nno field\r\n");
  EXPECT_EQ(out({}, "From anna@example.net Tue Nov 24\r\nFrom: b@c\r\n"),
            added + "\r\nFrom anna@example.net Tue Nov 24\r\nFrom: b@c\r\n");
  EXPECT_EQ(submit({}, kWhole + "no field\r\n").changes, added_empty_line);
  EXPECT_EQ(out({}, kWhole + "no field\r\n"), kWhole + "\r\nno field\r\n");
  EXPECT_EQ(out({}, kWhole + ": x\r\n"), kWhole + "\r\n: x\r\n");
  EXPECT_EQ(out({}, kWhole + "\xc3\xbc: x\r\n"), kWhole + "\r\n\xc3\xbc: x\r\n");
  // A continuation of nothing.
  EXPECT_EQ(out({}, " From: b@c\r\nDate: x\r\n"), added + "\r\n From: b@c\r\nDate: x\r\n");
  EXPECT_EQ(out({}, ".\tFrom: b@c\r\n\r\n"), added + "\r\n.\tFrom: b@c\r\n\r\n");
  // By DATA a dot in front does not count.
  EXPECT_EQ(out({}, kWhole + "..x: y\r\n\r\n"), kWhole + "..x: y\r\n\r\n");
  EXPECT_EQ(out({}, kWhole + ".!x y\r\n"), kWhole + "\r\n.!x y\r\n");
  EXPECT_EQ(out({}, kWhole + "..\r\n"), kWhole + "\r\n..\r\n");
}

TEST(Submission, ContentThatEndsInItsHeader) {
  Submission chunks;
  chunks.dot_stuffed = false;
  const std::string added = "From: anna@example.net\r\n" + kDate + kId;
  EXPECT_EQ(out(chunks, "Subject: s"), "Subject: s\r\n" + added);
  EXPECT_EQ(out(chunks, "Subject: s\r\n"), "Subject: s\r\n" + added);
  EXPECT_EQ(out(chunks, "Subject"), added + "\r\nSubject");
  EXPECT_EQ(out(chunks, "X: y\r\nSubject "), "X: y\r\n" + added + "\r\nSubject ");
  EXPECT_EQ(out(chunks, "X: y\r\n\r"), "X: y\r\n" + added + "\r\n\r");
  EXPECT_EQ(out(chunks, "X: y\r\n ."),
            "X: y\r\n ."
            "\r\n" +
                added);
  EXPECT_EQ(out(chunks, kWhole + "To: bert"), kWhole + "To: bert@example.net");
  EXPECT_EQ(out(chunks, kWhole + ". c"), kWhole + "\r\n. c");
  EXPECT_EQ(out(chunks, kWhole + "Bcc: c"), kWhole);
}

TEST(Submission, TakesBlindCopiesOut) {
  const Submitted one = all_cuts({}, "Bcc: b@c\r\n" + kWhole +
                                         "bcc : d@e,\r\n f@g\r\n.\th@i\r\nTo: x@y\r\nResent-Bcc:\r\n"
                                         "Return-Path: <z@z>\r\nX-Bcc: stays\r\n.BCC: j\r\n\r\nBcc: body\r\n");
  EXPECT_EQ(one.content, kWhole + "To: x@y\r\nX-Bcc: stays\r\n\r\nBcc: body\r\n");
  EXPECT_EQ(one.changes, removed_fields);
  EXPECT_EQ(out({}, "Bcc: b\r\n" + kWhole + "\r\n"), kWhole + "\r\n");
  EXPECT_EQ(out({}, "Bcc: b\r\n"), "From: anna@example.net\r\n" + kDate + kId);
}

TEST(Submission, CompletesAddresses) {
  EXPECT_EQ(out({},
                "From: anna\r\nSender: <bert>\r\nReply-To: c (c)\r\nTo: d, e@f, G <g>\r\nCc: h: i, j;\r\n"
                "Resent-To: k\r\nX-To: l\r\nDate: x\r\nMessage-ID: y\r\n\r\nTo: m\r\n"),
            "From: anna@example.net\r\nSender: <bert@example.net>\r\nReply-To: c@example.net (c)\r\n"
            "To: d@example.net, e@f, G <g@example.net>\r\nCc: h: i@example.net, j@example.net;\r\n"
            "Resent-To: k@example.net\r\nX-To: l\r\nDate: x\r\nMessage-ID: y\r\n\r\nTo: m\r\n");
  EXPECT_EQ(out({}, kWhole + "To:\r\n bert,\r\n. \"c d\"\r\n.\t, e\r\n\r\n"),
            kWhole + "To:\r\n bert@example.net,\r\n. \"c d\"@example.net\r\n.\t, e@example.net\r\n\r\n");
  EXPECT_EQ(submit({}, kWhole + "To: b\r\n\r\n").changes, completed_addresses);
  // What does not read as addresses stays as it is.
  for (const std::string field : {"To: bert, c d\r\n", "To: bert, <c\r\n", "To: undisclosed recipients\r\n",
                                  "Cc: =?utf-8?q?Anna?=\r\n", "To:\r\n", "To: x:;\r\n"}) {
    EXPECT_EQ(out({}, kWhole + field + "\r\n"), kWhole + field + "\r\n");
  }
}

TEST(Submission, WithoutADomainIncompleteAddressesAreRefused) {
  Submission strict;
  strict.domain = "";
  const std::string refused = "554 5.6.0 An address in the header has no domain";
  EXPECT_EQ(refusal(strict, kWhole + "To: b@c, d\r\n\r\n"), refused);
  EXPECT_EQ(refusal(strict, "From: anna\r\n\r\n"), refused);
  EXPECT_EQ(refusal(strict, kWhole + "DKIM-Signature: h=to\r\nTo: d\r\n\r\n"), refused);
  EXPECT_EQ(out(strict, kWhole + "To: b@c, d e\r\n\r\nTo: f\r\n"), kWhole + "To: b@c, d e\r\n\r\nTo: f\r\n");
}

TEST(Submission, LinesStayWithinTheirBound) {
  const std::string tail = ", bert\r\n";
  const std::string head = "To: ";
  const std::size_t domain = std::string("@example.net").size();
  const std::string room(1000 - tail.size() - head.size() - domain - 2, 'x');  // "x...@y" leaves none over
  EXPECT_EQ(out({}, kWhole + head + room + "@y" + tail + "\r\n"),
            kWhole + head + room + "@y, bert@example.net\r\n\r\n");
  const std::string too_long = "554 5.6.0 An address in the header has no domain, and its line no room for one";
  EXPECT_EQ(refusal({}, kWhole + head + room + "x@y" + tail + "\r\n"), too_long);
  // Two in one line; each in a line of its own.
  EXPECT_EQ(refusal({}, kWhole + head + "cc, " + room + "@y" + tail + "\r\n"), too_long);
  EXPECT_EQ(out({}, kWhole + "To: cc,\r\n     " + room.substr(3) + "@y" + tail + "\r\n"),
            kWhole + "To: cc@example.net,\r\n     " + room.substr(3) + "@y, bert@example.net\r\n\r\n");
  // The doubled dot does not count.
  EXPECT_EQ(out({}, kWhole + "." + head + room + "@y" + tail + "\r\n"),
            kWhole + "." + head + room + "@y, bert@example.net\r\n\r\n");
  // A last line without CRLF may get one.
  Submission chunks;
  chunks.dot_stuffed = false;
  EXPECT_EQ(out(chunks, head + room + "@y, bert").find("bert@example.net\r\nFrom: "), head.size() + room.size() + 4);
  EXPECT_EQ(refusal(chunks, head + room + "x@y, bert"), too_long);
  // A line that was too long before is the service's own wish.
  EXPECT_EQ(out({}, kWhole + head + std::string(1000, 'x') + "@y" + tail + "\r\n"),
            kWhole + head + std::string(1000, 'x') + "@y, bert@example.net\r\n\r\n");
}

TEST(Submission, CompletionIsBounded) {
  Submission wide;
  wide.domain = std::string(63, 'd') + ".example";
  const std::size_t each = wide.domain.size() + 1;
  const auto list = [](std::size_t n) {
    std::string text = "To: a";
    for (std::size_t i = 1; i < n; ++i) text += i % 10 == 0 ? ",\r\n a" : ",a";
    return kWhole + text + "\r\n\r\n";
  };
  const std::size_t most = SubmissionFilter::kCompletedBytesMax / each;
  const Submitted one = submit(wide, list(most));
  EXPECT_EQ(one.code, 0) << one;
  EXPECT_EQ(one.added, most * each);
  EXPECT_EQ(submit(wide, list(most + 1)).text, "Too many addresses have no domain");
}

TEST(Submission, SignedFieldsAreNotTouched) {
  const std::string id_and_date = "Date: x\r\nMessage-ID: y\r\n";
  // Wherever the signature stands.
  for (const std::string signature :
       {"DKIM-Signature: v=1; h=from:to:bcc; b=\r\n", "ARC-Message-Signature: i=1; h=Bcc:From:\r\n To\r\n"}) {
    const std::string fields = "From: anna\r\nBcc: d\r\nTo: bert\r\n" + id_and_date;
    EXPECT_EQ(out({}, signature + fields + "\r\n"), signature + fields + "\r\n");
    EXPECT_EQ(out({}, fields + signature + "\r\n"), fields + signature + "\r\n");
  }
  // What is not named is fair game.
  EXPECT_EQ(out({}, kWhole + "Bcc: d\r\nTo: bert\r\nCc: c\r\nDKIM-Signature: h=from:to;\r\n\r\n"),
            kWhole + "To: bert\r\nCc: c@example.net\r\nDKIM-Signature: h=from:to;\r\n\r\n");
  // Signed as absent.
  EXPECT_EQ(out({}, "From: a@b\r\nDKIM-Signature: h=from:date\r\n\r\n"),
            "From: a@b\r\nDKIM-Signature: h=from:date\r\n" + kId + "\r\n");
  EXPECT_EQ(out({}, "From: a@b\r\nDKIM-Signature: h=from:message-id\r\nDKIM-Signature: h=date\r\n\r\n"),
            "From: a@b\r\nDKIM-Signature: h=from:message-id\r\nDKIM-Signature: h=date\r\n\r\n");
  EXPECT_EQ(refusal({}, "Date: x\r\nDKIM-Signature: h=from\r\n\r\n"), "554 5.6.0 There is no From field in the header");
  // A signature in the body is none; nor is one in another field.
  EXPECT_EQ(out({}, kWhole + "Bcc: d\r\nX-DKIM-Signature: h=bcc\r\n\r\nDKIM-Signature: h=bcc\r\n"),
            kWhole + "X-DKIM-Signature: h=bcc\r\n\r\nDKIM-Signature: h=bcc\r\n");
}

TEST(Submission, SenderNamesTheSubmitter) {
  const std::string rest = "Date: x\r\nMessage-ID: y\r\n";
  const std::string sender = "Sender: anna@example.net\r\n";
  Submission plain;
  // RFC 5322 section 3.6.2: several authors.
  const std::string two = "From: anna@example.net, b@example.org\r\n" + rest;
  EXPECT_EQ(out(plain, two + "\r\n"), two + sender + "\r\n");
  EXPECT_EQ(submit(plain, two + "\r\n").changes, added_sender);
  EXPECT_EQ(out(plain, two + "Sender: b@c\r\n\r\n"), two + "Sender: b@c\r\n\r\n");
  EXPECT_EQ(out(plain, two + "DKIM-Signature: h=sender\r\n\r\n"), two + "DKIM-Signature: h=sender\r\n\r\n");
  EXPECT_EQ(out(plain, two + "Resent-From: b@c\r\n\r\n"), two + "Resent-From: b@c\r\n\r\n");
  plain.submitter = "";
  EXPECT_EQ(out(plain, two + "\r\n"), two + "\r\n");

  // RFC 6409 section 8.1: an author who is not the user.
  Submission anna;
  const std::string other = "From: Boss <boss@example.net>\r\n" + rest;
  EXPECT_EQ(out(anna, other + "\r\n"), other + "\r\n");  // nobody is known
  anna.authenticated = true;
  anna.owned = {"anna@example.net", "info@example.net"};
  EXPECT_EQ(out(anna, other + "\r\n"), other + sender + "\r\n");
  for (const std::string own : {"From: info@example.net\r\n", "From: A <anna>\r\n", "From: info (x)\r\n"}) {
    EXPECT_EQ(out(anna, own + rest + "\r\n").find("Sender"), std::string::npos) << own;
  }
  EXPECT_EQ(out(anna, "From: who knows\r\n" + rest + "\r\n"), "From: who knows\r\n" + rest + sender + "\r\n");
  EXPECT_EQ(out(anna, "From: nobody:;\r\n" + rest + "\r\n"), "From: nobody:;\r\n" + rest + sender + "\r\n");
  // A Sender that says what From says helps nobody.
  anna.submitter = "boss@EXAMPLE.net";
  EXPECT_EQ(out(anna, other + "\r\n"), other + "\r\n");
  anna.owned = {"boss@EXAMPLE.net"};
  EXPECT_EQ(out(anna, rest + "\r\n"), rest + "From: boss@EXAMPLE.net\r\n\r\n");
}

TEST(Submission, AuthorsMustBelongToTheUser) {
  const std::string rest = "Date: x\r\nMessage-ID: y\r\n\r\n";
  Submission anna;
  anna.authenticated = anna.own_header_from = true;
  anna.owned = {"anna@example.net", "info@example.net"};
  const std::string not_yours = "550 5.7.1 An address in the From field does not belong to the user";
  const std::string unreadable = "554 5.6.0 The From field does not read as the address of an author";
  EXPECT_EQ(out(anna, "From: Boss <anna@example.net>\r\n" + rest), "From: Boss <anna@example.net>\r\n" + rest);
  EXPECT_EQ(out(anna, "From: info\r\n" + rest), "From: info@example.net\r\n" + rest);
  EXPECT_EQ(refusal(anna, "From: boss@example.net\r\n" + rest), not_yours);
  EXPECT_EQ(refusal(anna, ".From: boss@example.net\r\n" + rest), not_yours);
  EXPECT_EQ(refusal(anna, "from : anna@example.net,\r\n.\tboss@example.net\r\n" + rest), not_yours);
  EXPECT_EQ(refusal(anna, "From: us: anna@example.net, boss@example.net;\r\n" + rest), not_yours);
  EXPECT_EQ(refusal(anna, "From: anna\r\nDKIM-Signature: h=from\r\n" + rest), not_yours);  // it stays without domain
  for (const std::string from : {"From: boss@example.net <anna@example.net>\r\n", "From: anna@example.net (\r\n",
                                 "From:\r\n", "From: us:;\r\n", "From: <>\r\n", "From: Anna\r\n Berg\r\n"}) {
    EXPECT_EQ(refusal(anna, from + rest), unreadable) << from;
  }
  EXPECT_EQ(refusal(anna, "From: anna\r\nSender: boss@example.net\r\n" + rest),
            "550 5.7.1 The address in the Sender field does not belong to the user");
  EXPECT_EQ(refusal(anna, "From: anna\r\nSender: a b\r\n" + rest),
            "554 5.6.0 The Sender field does not read as an address");
  EXPECT_EQ(submit(anna, "Sender: info\r\nFrom: info, anna\r\n" + rest).asked,
            "info@example.net info@example.net anna@example.net");
  // What is added is asked about too.
  EXPECT_EQ(submit(anna, "Date: x\r\n\r\n").asked, "anna@example.net");
  anna.submitter = "bounces@example.org";
  EXPECT_EQ(refusal(anna, "Date: x\r\n\r\n"), not_yours);
  // Without a user there is nobody to ask.
  anna.authenticated = false;
  EXPECT_EQ(out(anna, "From: boss@example.net\r\n" + rest), "From: boss@example.net\r\n" + rest);
}

TEST(Submission, PolicyIsNotAskedWithoutEnd) {
  Submission anna;
  anna.authenticated = anna.own_header_from = true;
  anna.owned = {"anna@example.net"};
  std::string list = "From: anna";
  for (std::uint32_t i = 1; i < SubmissionFilter::kAuthorsMax; ++i) list += ",\r\n anna";
  EXPECT_EQ(submit(anna, list + "\r\n\r\n").code, 0);
  EXPECT_EQ(submit(anna, list + ",\r\n anna\r\n\r\n").text, "Too many addresses in From and Sender");
  // Where only the Sender depends on it, one is enough.
  anna.own_header_from = false;
  EXPECT_EQ(submit(anna, list + ",\r\n anna\r\n\r\n").asked, "anna@example.net");
}

TEST(Submission, BareLineEndsInTheHeader) {
  Submission binary;
  binary.dot_stuffed = false;
  const std::string refused = "550 5.6.11 A CR or LF stands alone in the header, only CRLF ends a line";
  EXPECT_EQ(refusal(binary, kWhole + "X: a\rFrom: boss@example.net\r\n\r\n"), refused);
  EXPECT_EQ(refusal(binary, kWhole + "X: a\nY: b\r\n\r\n"), refused);
  EXPECT_EQ(refusal(binary, kWhole + "X: a\r"), refused);
  EXPECT_EQ(out(binary, kWhole + "\r\nbody\rb\nc"), kWhole + "\r\nbody\rb\nc");
}

}  // namespace
}  // namespace postern::net::smtp::test
