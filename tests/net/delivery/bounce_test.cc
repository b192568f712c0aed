// Notifications: who gets one, what it says, and that nobody else writes into it.
#include "net/delivery/bounce.h"

#include <gtest/gtest.h>
#include <map>
#include <string>
#include <vector>

#include "net/delivery/dsn_text.h"

namespace postern::net::delivery {
namespace {

using smtp::notify_delay;
using smtp::notify_failure;
using smtp::notify_never;
using smtp::notify_success;
using smtp::notify_unset;

// --- a small reader of MIME ---------------------------------------------------------------------------------------

struct Part {
  std::map<std::string, std::string> fields;  // unfolded
  std::string body;
};

Part read_part(std::string_view text) {
  Part part;
  std::string last;
  while (!text.empty()) {
    const std::size_t end = text.find("\r\n");
    const std::string line(text.substr(0, end));
    text.remove_prefix(end == std::string_view::npos ? text.size() : end + 2);
    if (line.empty()) break;
    if (line.front() == ' ') {
      part.fields[last] += line;
      continue;
    }
    const std::size_t colon = line.find(": ");
    EXPECT_NE(colon, std::string::npos) << line;
    last = line.substr(0, colon);
    EXPECT_EQ(part.fields.count(last), 0u) << "twice: " << last;
    part.fields[last] = line.substr(colon + 2);
  }
  part.body = text;
  return part;
}

struct Report {
  Part top;
  std::vector<Part> parts;
  std::vector<Part> groups;  // of the delivery status: the message's, then one a recipient
};

Report read_report(const BounceMessage& message) {
  Report report;
  report.top = read_part(message.content);
  const std::string& type = report.top.fields["Content-Type"];
  EXPECT_TRUE(type.starts_with("multipart/report; report-type=delivery-status;")) << type;
  const std::size_t at = type.find("boundary=\"") + 10;
  const std::string line = "\r\n--" + type.substr(at, type.size() - at - 1);
  std::string_view rest = report.top.body;
  std::size_t begin = rest.find(line);
  while (begin != std::string_view::npos) {
    rest.remove_prefix(begin + line.size());
    if (rest.starts_with("--\r\n")) {
      EXPECT_EQ(rest, "--\r\n");
      break;
    }
    rest.remove_prefix(2);
    begin = rest.find(line);
    EXPECT_NE(begin, std::string_view::npos);
    report.parts.push_back(read_part(rest.substr(0, begin)));
  }
  EXPECT_EQ(report.parts.size(), 3u);
  std::string_view groups = report.parts.at(1).body;
  while (!groups.empty()) {
    const std::size_t end = groups.find("\r\n\r\n");
    report.groups.push_back(read_part(groups.substr(0, end)));
    if (end == std::string_view::npos) break;
    groups.remove_prefix(end + 4);
  }
  for (const Part& part : report.parts) {
    const bool ascii = is_ascii(part.body);
    EXPECT_EQ(part.fields.at("Content-Transfer-Encoding"), ascii ? "7bit" : "8bit");
  }
  return report;
}

// Checks what must hold for every notification.
void check_form(const BounceMessage& message) {
  EXPECT_TRUE(message.sender.reverse_path.empty());
  EXPECT_EQ(message.recipient.notify, notify_never);
  EXPECT_TRUE(message.content.ends_with("\r\n"));
  bool needs_stuffing = false;
  for (std::size_t at = 0; at < message.content.size();) {
    const std::size_t end = message.content.find("\r\n", at);
    ASSERT_NE(end, std::string::npos);
    const std::string_view line(message.content.data() + at, end - at);
    EXPECT_LE(line.size(), 998u);
    EXPECT_EQ(line.find_first_of(std::string_view("\r\n\0", 3)), std::string_view::npos);
    needs_stuffing = needs_stuffing || line.starts_with('.');
    at = end + 2;
  }
  EXPECT_EQ((message.content_flags & smtp::content_needs_stuffing) != 0, needs_stuffing);
  EXPECT_EQ(message.content_flags & (smtp::content_dot_stuffed | smtp::content_binary), 0);
  const bool ascii = is_ascii(message.content);
  EXPECT_EQ(message.content_flags & (smtp::content_eight_bit | smtp::content_eight_bit_header) ? 1 : 0, ascii ? 0 : 1);
  EXPECT_EQ(message.sender.body == smtp::BodyType::eight_bit_mime, !ascii);
}

class Bounce : public ::testing::Test {
 protected:
  Bounce() {
    request.hostname = "mail.example.net";
    request.postmaster = "postmaster@example.net";
    request.queue_id = "Q7";
    request.original_queue_id = "Q3";
    request.now_unix_seconds = 1'795'492'107;
    request.arrival_unix_seconds = 1'795'400'000;
    request.sender.reverse_path = "ann@example.net";
    set_content("Subject: hello\r\nTo: bob@example.org\r\n\r\nbody\r\n");
    recipient.forward_path = "bob@example.org";
    recipient.status = "5.1.1";
    recipient.remote_mta = "mx.example.org";
    recipient.code = 550;
    recipient.text = "no such user here";
    recipients = {recipient};
  }
  void set_content(std::string text) {
    content = std::move(text);
    request.content = content;
    request.content_bytes = content.size();
  }
  BounceMessage make() {
    request.recipients = recipients;
    BounceMessage message = make_bounce(request);
    check_form(message);
    return message;
  }

  BounceRequest request;
  BounceRecipient recipient;
  std::vector<BounceRecipient> recipients;
  std::string content;
};

TEST(NoticeDue, FollowsNotify) {
  using enum DeliveryEvent;
  const auto due = [](std::uint8_t notify, DeliveryEvent event) { return notice_due("a@b", notify, event); };
  EXPECT_EQ(due(notify_unset, failed), DsnAction::failed);
  EXPECT_EQ(due(notify_unset, delayed), DsnAction::delayed);
  EXPECT_EQ(due(notify_unset, delivered), std::nullopt);
  EXPECT_EQ(due(notify_unset, relayed), std::nullopt);
  EXPECT_EQ(due(notify_success, delivered), DsnAction::delivered);
  EXPECT_EQ(due(notify_success, relayed), DsnAction::relayed);
  EXPECT_EQ(due(notify_success, expanded), DsnAction::expanded);
  EXPECT_EQ(due(notify_success, relayed_with_dsn), std::nullopt) << "the next hop reports";
  EXPECT_EQ(due(notify_success, failed), std::nullopt);
  EXPECT_EQ(due(notify_success, delayed), std::nullopt);
  EXPECT_EQ(due(notify_failure, failed), DsnAction::failed);
  EXPECT_EQ(due(notify_failure, delayed), std::nullopt);
  EXPECT_EQ(due(notify_delay, delayed), DsnAction::delayed);
  EXPECT_EQ(due(notify_delay, failed), std::nullopt);
  for (const DeliveryEvent event : {failed, delayed, delivered, relayed, relayed_with_dsn, expanded}) {
    EXPECT_EQ(due(notify_never, event), std::nullopt);
    EXPECT_EQ(notice_due("", notify_unset, event), std::nullopt) << "never for a null reverse-path";
    EXPECT_EQ(notice_due("", notify_success | notify_failure, event), std::nullopt);
  }
}

TEST_F(Bounce, SaysWhatFailed) {
  request.sender.envelope_id = "id+2B1";
  recipients[0].original = "rfc822;bob+2Bx@example.org";
  recipients[0].last_attempt_unix_seconds = 1'795'492'000;
  const BounceMessage message = make();
  const Report report = read_report(message);
  EXPECT_EQ(message.recipient.forward_path, "ann@example.net");
  auto top = report.top.fields;
  EXPECT_EQ(top["From"], "Mail Delivery System <MAILER-DAEMON@mail.example.net>");
  EXPECT_EQ(top["To"], "<ann@example.net>");
  EXPECT_EQ(top["Auto-Submitted"], "auto-replied");
  EXPECT_EQ(top["MIME-Version"], "1.0");
  EXPECT_EQ(top["Date"], "Tue, 24 Nov 2026 03:48:27 +0000");
  EXPECT_EQ(top["Message-ID"], "<Q7.dsn@mail.example.net>");
  EXPECT_EQ(top["Content-Transfer-Encoding"], "7bit");

  EXPECT_EQ(report.parts[0].fields.at("Content-Type"), "text/plain; charset=us-ascii");
  EXPECT_NE(report.parts[0].body.find("mx.example.org said: 550 5.1.1 no such user here"), std::string::npos);
  EXPECT_EQ(report.parts[1].fields.at("Content-Type"), "message/delivery-status");
  ASSERT_EQ(report.groups.size(), 2u);
  auto about = report.groups[0].fields;
  EXPECT_EQ(about["Reporting-MTA"], "dns; mail.example.net");
  EXPECT_EQ(about["Original-Envelope-Id"], "id+1");
  EXPECT_EQ(about["Arrival-Date"], "Mon, 23 Nov 2026 02:13:20 +0000");
  EXPECT_EQ(about["X-Postern-Queue-Id"], "Q3");
  auto bob = report.groups[1].fields;
  EXPECT_EQ(bob["Original-Recipient"], "rfc822; bob+x@example.org");
  EXPECT_EQ(bob["Final-Recipient"], "rfc822; bob@example.org");
  EXPECT_EQ(bob["Action"], "failed");
  EXPECT_EQ(bob["Status"], "5.1.1");
  EXPECT_EQ(bob["Remote-MTA"], "dns; mx.example.org");
  EXPECT_EQ(bob["Diagnostic-Code"], "smtp; 550 5.1.1 no such user here");
  EXPECT_EQ(bob["Last-Attempt-Date"], "Tue, 24 Nov 2026 03:46:40 +0000");
  EXPECT_EQ(report.parts[2].fields.at("Content-Type"), "text/rfc822-headers");
  EXPECT_EQ(report.parts[2].body, "Subject: hello\r\nTo: bob@example.org\r\n");
}

TEST_F(Bounce, DecidedHereHasNoDiagnostic) {
  recipients[0].by_peer = false;
  recipients[0].remote_mta = "";
  recipients[0].status = "4.4.7";
  recipients[0].text = "it could not be delivered within 5 days";
  const Report report = read_report(make());
  EXPECT_EQ(report.groups[1].fields.at("Status"), "4.4.7") << "a temporary condition that lasted";
  EXPECT_EQ(report.groups[1].fields.count("Diagnostic-Code"), 0u);
  EXPECT_EQ(report.groups[1].fields.count("Remote-MTA"), 0u);
  EXPECT_NE(report.parts[0].body.find("    it could not be delivered within 5 days\r\n"), std::string::npos);
}

TEST_F(Bounce, ActionsAndTheirStatus) {
  request.retry_until_unix_seconds = 1'795'900'000;
  recipients.clear();
  const std::pair<DsnAction, std::string_view> cases[] = {{DsnAction::relayed, "2.0.0"},
                                                          {DsnAction::delayed, "4.2.2"},
                                                          {DsnAction::delayed, "5.2.2"},
                                                          {DsnAction::failed, ""},
                                                          {DsnAction::delivered, "5.0.0"}};
  for (const auto& [action, status] : cases) {
    recipient.action = action;
    recipient.status = status;
    recipients.push_back(recipient);
  }
  const Report report = read_report(make());
  ASSERT_EQ(report.groups.size(), 6u);
  const std::pair<const char*, const char*> expected[] = {
      {"relayed", "2.0.0"}, {"delayed", "4.2.2"}, {"delayed", "4.0.0"}, {"failed", "5.0.0"}, {"delivered", "2.0.0"}};
  for (std::size_t i = 0; i < 5; ++i) {
    EXPECT_EQ(report.groups[i + 1].fields.at("Action"), expected[i].first);
    EXPECT_EQ(report.groups[i + 1].fields.at("Status"), expected[i].second);
    EXPECT_EQ(report.groups[i + 1].fields.count("Will-Retry-Until"), cases[i].first == DsnAction::delayed ? 1u : 0u);
  }
  EXPECT_EQ(report.top.fields.at("Subject"), "Your message could not be delivered");
  recipients = {recipients[1]};
  EXPECT_EQ(read_report(make()).top.fields.at("Subject"), "Your message is delayed");
}

TEST_F(Bounce, ReturnsTheWholeOnlyWhenAskedAndAFailure) {
  request.sender.ret = smtp::DsnReturn::full;
  set_content("Subject: x\r\n\r\n..two dots\r\n..\r\nend\r\n");
  request.content_flags = smtp::content_dot_stuffed;
  Report report = read_report(make());
  EXPECT_EQ(report.parts[2].fields.at("Content-Type"), "message/rfc822");
  EXPECT_EQ(report.parts[2].body, "Subject: x\r\n\r\n.two dots\r\n.\r\nend\r\n");

  request.content_flags = smtp::content_needs_stuffing;  // as it came by BDAT: two dots are two dots
  EXPECT_EQ(read_report(make()).parts[2].body, content);

  request.content_flags = smtp::content_binary;
  set_content("Subject: x" + std::string(1, '\0') + "y\nz\r\n\r\nbare\n");
  report = read_report(make());
  EXPECT_EQ(report.parts[2].fields.at("Content-Type"), "text/rfc822-headers");
  EXPECT_EQ(report.parts[2].body, "Subject: x y z\r\n");

  request.content_flags = 0;
  set_content("Subject: x\r\n\r\nbody\r\n");
  recipients[0].action = DsnAction::delayed;
  EXPECT_EQ(read_report(make()).parts[2].body, "Subject: x\r\n") << "RET is about failures";
  recipients[0].action = DsnAction::failed;
  request.content_bytes += 1;  // cut
  EXPECT_EQ(read_report(make()).parts[2].body, "Subject: x\r\n");
}

TEST_F(Bounce, BoundsWhatItReturns) {
  request.sender.ret = smtp::DsnReturn::full;
  set_content("Subject: x\r\n\r\n" + std::string(kBounceContentMax, 'x') + "\r\n");
  EXPECT_EQ(read_report(make()).parts[2].body, "Subject: x\r\n");
  request.sender.ret = smtp::DsnReturn::headers;
  std::string header;
  while (header.size() < 2 * kBounceHeaderMax) header += "X-Line: " + std::string(90, 'x') + "\r\n";
  set_content(header);
  const BounceMessage message = make();
  EXPECT_LT(message.content.size(), kBounceHeaderMax + 4096);
  EXPECT_GT(message.content.size(), kBounceHeaderMax - 100);
  set_content("Subject: cut in the middle of a li");
  EXPECT_EQ(read_report(make()).parts[2].body, "");
  set_content("");
  EXPECT_EQ(read_report(make()).parts[2].body, "");
  set_content("\r\nno header\r\n");
  EXPECT_EQ(read_report(make()).parts[2].body, "");
}

TEST_F(Bounce, ManyLongWindedServersStillFit) {
  request.sender.ret = smtp::DsnReturn::full;
  set_content("Subject: x\r\n\r\n" + std::string(kBounceContentMax - 1000, 'x') + "\r\n");
  const std::string junk(1024, '\1');
  recipient.text = junk;
  recipients.assign(kBounceRecipientsMax, recipient);
  EXPECT_LT(make().content.size(), kBounceContentMax);
  recipients.assign(1000, recipient);
  const BounceMessage message = make();
  EXPECT_LT(message.content.size(), kBounceContentMax);
  const Report report = read_report(message);
  ASSERT_EQ(report.groups.size(), 1001u) << "each is still told about";
  EXPECT_EQ(report.groups[1000].fields.at("Final-Recipient"), "rfc822; bob@example.org");
  EXPECT_EQ(report.groups[1000].fields.at("Diagnostic-Code"), "smtp; 550 5.1.1");
}

TEST_F(Bounce, TheLongestAddressesStillFit) {
  // Each octet that grows most when it is escaped, in paths of 256 octets and ORCPTs that fill an envelope of 64 KiB.
  const std::string path = "\xc3\xb6" + std::string(242, '+') + "@example.org";
  std::string original = "rfc822;";
  while (original.size() < 350) original += "+7F";
  const std::string junk(1024, '\1');
  recipient.forward_path = path;
  recipient.original = original;
  recipient.text = junk;
  recipient.last_attempt_unix_seconds = 1;
  std::string header;
  while (header.size() < 2 * kBounceHeaderMax) header += "X-Line: " + std::string(90, 'x') + "\r\n";
  set_content(header);
  recipients.assign(kBounceRecipientsMax, recipient);
  EXPECT_LT(make().content.size(), kBounceContentMax + kBounceHeaderMax);
}

TEST_F(Bounce, NobodyWritesIntoIt) {
  const std::string evil =
      "x\r\n\r\n--=_Q7_1--\r\nSubject: spam\r\n\x1b[2J" + std::string(1, '\0') + "\x80\xff\xe2\x80\xae end";
  recipients[0].text = evil;
  recipients[0].remote_mta = evil;
  recipients[0].status = evil;
  recipients[0].original = "rfc822;a+0D+0ASubject:+20spam";
  recipients[0].forward_path = evil;
  request.sender.envelope_id = "a+0D+0AAction:+20delivered";
  request.sender.reverse_path = evil;
  const Report report = read_report(make());
  EXPECT_EQ(report.groups.size(), 2u);
  EXPECT_EQ(report.groups[1].fields.at("Status"), "5.0.0");
  EXPECT_EQ(report.groups[1].fields.at("Original-Recipient"), "rfc822; a\\x0D\\x0ASubject: spam");
  EXPECT_EQ(report.groups[0].fields.at("Original-Envelope-Id"), "a\\x0D\\x0AAction: delivered");
  EXPECT_TRUE(is_ascii(report.parts[1].body));
  EXPECT_EQ(report.parts[0].body.find("\nSubject: spam"), std::string::npos);
  EXPECT_NE(report.parts[0].body.find("\\x1B[2J\\x00\\x80\\xFF\\xE2\\x80\\xAE"), std::string::npos);
}

TEST_F(Bounce, ChoosesABoundaryThatTheContentDoesNotHold) {
  request.sender.ret = smtp::DsnReturn::full;
  set_content("Subject: x\r\n\r\n--=_Q7_1\r\n--=_Q7_2--\r\n");
  const Report report = read_report(make());
  EXPECT_NE(report.top.fields.at("Content-Type").find("boundary=\"=_Q7_3\""), std::string::npos);
  EXPECT_EQ(report.parts[2].body, content);
}

TEST_F(Bounce, InternationalAddressesNeedNoEightBits) {
  recipients[0].forward_path =
      "b\xc3\xb6"
      "b+\\@example.org";
  recipients[0].original = "utf-8;b\\x{F6}b@example.org";
  const Report report = read_report(make());
  EXPECT_EQ(report.groups[1].fields.at("Final-Recipient"), "utf-8; b\\x{F6}b\\x{2B}\\x{5C}@example.org");
  EXPECT_EQ(report.groups[1].fields.at("Original-Recipient"), "utf-8; b\\x{F6}b@example.org");
  EXPECT_TRUE(is_ascii(report.parts[1].body));
  EXPECT_EQ(report.parts[0].fields.at("Content-Type"), "text/plain; charset=utf-8");
  EXPECT_EQ(report.top.fields.at("Content-Transfer-Encoding"), "8bit");
}

TEST_F(Bounce, InternationalSenderAndHeader) {
  request.sender.reverse_path = "\xc3\xa5nn@example.net";
  request.sender.smtputf8 = true;
  request.content_flags = smtp::content_eight_bit_header;
  set_content("Subject: \xc3\xa5\r\n\r\nbody\r\n");
  BounceMessage message = make();
  EXPECT_TRUE(message.sender.smtputf8);
  EXPECT_NE(message.content_flags & smtp::content_eight_bit_header, 0);
  EXPECT_EQ(read_report(message).parts[2].fields.at("Content-Type"), "message/global-headers; charset=utf-8");
  request.sender.ret = smtp::DsnReturn::full;
  EXPECT_EQ(read_report(make()).parts[2].fields.at("Content-Type"), "message/global");
  request.sender.reverse_path = "ann@example.net";
  message = make();
  EXPECT_FALSE(message.sender.smtputf8) << "only what is inside is international";
  EXPECT_EQ(message.content_flags & smtp::content_eight_bit_header, 0);
}

TEST(DsnText, Escapes) {
  EXPECT_EQ(escape_ascii("a\xc3\xb6\n~"), "a\\xC3\\xB6\\x0A~");
  EXPECT_EQ(escape_readable("a\xc3\xb6\n~"), "a\xc3\xb6\\x0A~");
  EXPECT_EQ(escape_readable("\xc2\x85"), "\\xC2\\x85") << "a C1 control";
  EXPECT_EQ(escape_readable("\xc0\xaf\xed\xa0\x80\xf5\xe2\x82"), "\\xC0\\xAF\\xED\\xA0\\x80\\xF5\\xE2\\x82");
  EXPECT_EQ(escape_readable("\xf0\x9f\x98\x80\xef\xbf\xbf"), "\xf0\x9f\x98\x80\xef\xbf\xbf");
  EXPECT_EQ(decode_xtext("a+2Bb+3D+zz+4"), "a+b=+zz+4");
  EXPECT_EQ(typed_original("no type"), "");
  EXPECT_EQ(typed_original(";x"), "");
  EXPECT_EQ(typed_original("x;"), "");
  EXPECT_EQ(typed_original("a b;x"), "");
  EXPECT_EQ(typed_original("x400;a"), "x400; a");
  EXPECT_EQ(typed_address("\xf0\x9f\x98\x80\xff@x"), "utf-8; \\x{1F600}\\x{FFFD}@x");
}

TEST(DsnText, FoldsAtBlanksAndLongWords) {
  std::string out;
  append_field(out, "Name", std::string(60, 'a') + ' ' + std::string(60, 'b') + ' ' + std::string(2000, 'c'));
  EXPECT_EQ(out, "Name: " + std::string(60, 'a') + "\r\n " + std::string(60, 'b') + "\r\n " + std::string(900, 'c') +
                     "\r\n " + std::string(900, 'c') + "\r\n " + std::string(200, 'c') + "\r\n");
  out.clear();
  append_field(out, "Empty", "");
  EXPECT_EQ(out, "Empty: \r\n");
  out.clear();
  append_wrapped(out, "  ", "");
  EXPECT_EQ(out, "  \r\n");
}

}  // namespace
}  // namespace postern::net::delivery
