// What dialogs cannot show: the envelope that is handed over, the trace header, memory, bounds of replies, farewells.
#include "net/smtp/server_session.h"

#include <gtest/gtest.h>
#include <string>

#include "tests/net/smtp/memory_driver.h"

namespace postern::net::smtp::test {
namespace {

const core::IpAddress kLan = *core::IpAddress::parse("127.0.1.5");
const core::IpAddress kStranger = *core::IpAddress::parse("127.0.2.9");

std::unique_ptr<policy::PolicySnapshot> snapshot_with(std::map<std::string, std::string> settings) {
  Dialog dialog;
  dialog.settings = std::move(settings);
  return make_snapshot(dialog.settings_text());
}

TEST(ServerSession, HandsTheEnvelopeOver) {
  const auto snapshot = snapshot_with({});
  MemoryDriver driver(*snapshot, kLan);
  driver.greet();
  driver.feed(
      "EHLO client.example\r\nMAIL FROM:<@x:sender@client.example> SIZE=77 BODY=8BITMIME RET=HDRS ENVID=e1\r\n"
      "RCPT TO:<a@example.net> NOTIFY=SUCCESS,DELAY ORCPT=rfc822;b@c\r\nRCPT TO:<d@e.example>\r\nDATA\r\nx\r\n.\r\n");
  ASSERT_EQ(driver.stored().size(), 1U) << driver.said();
  EXPECT_EQ(driver.broken(), "");
  EXPECT_EQ(driver.admitted(), std::vector<std::uint64_t>{77});
  const auto reader = EnvelopeReader::open(driver.stored()[0].head);
  ASSERT_TRUE(reader.has_value());
  EXPECT_EQ(reader->session().client, kLan);
  EXPECT_EQ(reader->session().helo, "client.example");
  EXPECT_EQ(reader->session().service, "smtp");
  EXPECT_TRUE(reader->session().extended);
  EXPECT_EQ(reader->sender().reverse_path, "sender@client.example");
  EXPECT_EQ(reader->sender().body, BodyType::eight_bit_mime);
  EXPECT_EQ(reader->sender().ret, DsnReturn::headers);
  EXPECT_EQ(reader->sender().envelope_id, "e1");
  EXPECT_EQ(reader->recipient_count(), 2U);
  EnvelopeReader::Position at = reader->first();
  const auto first = reader->next(at);
  const auto second = reader->next(at);
  ASSERT_TRUE(first && second);
  EXPECT_EQ(first->forward_path, "a@example.net");
  EXPECT_EQ(first->notify, notify_success | notify_delay);
  EXPECT_EQ(first->original, "rfc822;b@c");
  EXPECT_EQ(second->forward_path, "d@e.example");
  EXPECT_EQ(second->notify, notify_unset);
  EXPECT_EQ(second->original, "");
  EXPECT_FALSE(reader->next(at).has_value());
}

TEST(ServerSession, TraceNamesASingleRecipientOnly) {
  const auto snapshot = snapshot_with({});
  MemoryDriver driver(*snapshot, kLan);
  driver.greet();
  driver.feed("EHLO cli(ent\r\nMAIL FROM:<>\r\nRCPT TO:<a@example.net>\r\nDATA\r\n.\r\n");
  driver.feed("HELO c\r\nMAIL FROM:<>\r\nRCPT TO:<a@example.net>\r\nRCPT TO:<b@example.net>\r\nDATA\r\n.\r\n");
  ASSERT_EQ(driver.stored().size(), 2U) << driver.said();
  EXPECT_EQ(driver.stored()[0].trace,
            "Received: from cli?ent (unknown [127.0.1.5])\r\n\tby mail.example.net (Postern) with ESMTP id QUEUEID\r\n"
            "\tfor <a@example.net>;\r\n\tTue, 24 Nov 2026 03:48:27 +0000\r\n");
  EXPECT_EQ(driver.stored()[1].trace,
            "Received: from c (unknown [127.0.1.5])\r\n\tby mail.example.net (Postern) with SMTP id QUEUEID;\r\n"
            "\tTue, 24 Nov 2026 03:48:27 +0000\r\n");
}

TEST(ServerSession, RejectionsNameRuleAndAddress) {
  const auto snapshot = snapshot_with({});
  MemoryDriver driver(*snapshot, kStranger);
  driver.greet();
  driver.feed("HELO x\r\nMAIL FROM:<boss@example.net>\r\nMAIL FROM:<a@b.example>\r\nRCPT TO:<c@d.example>\r\n");
  driver.feed("RCPT TO:<a@example.net>\r\nDATA\r\na\nb\r\n.\r\nGET / HTTP/1.1\r\n");
  ASSERT_EQ(driver.rejected().size(), 4U);
  EXPECT_NE(driver.rejected()[0].find("[forged_local] boss@example.net"), std::string::npos) << driver.rejected()[0];
  EXPECT_NE(driver.rejected()[1].find("[outside_lan_refused] c@d.example"), std::string::npos) << driver.rejected()[1];
  EXPECT_EQ(driver.rejected()[2],
            "550 5.6.11 A CR or LF stands alone in the content, only CRLF ends a line [none] a@b.example");
  EXPECT_EQ(driver.rejected()[3], "554 5.7.0 HTTP request [none] GET / HTTP/1.1");
  EXPECT_TRUE(driver.is_dropped());
  EXPECT_EQ(driver.aborted(), 1U);
}

TEST(ServerSession, OwnsNothingWhileIdle) {
  const auto snapshot = snapshot_with({});
  MemoryDriver driver(*snapshot, kLan);
  driver.greet();
  EXPECT_EQ(driver.pool().used_bytes(), 0U);
  driver.feed("EHLO client.example\r\n");
  EXPECT_LE(driver.pool().used_bytes(), 128U);  // the client's name
  driver.feed("MAIL FROM:<>\r\nRCPT TO:<a@example.net>\r\nDATA\r\nx\r\n.\r\nNO");
  EXPECT_LE(driver.pool().used_bytes(), 256U);  // and two octets of a line
  driver.feed("OP\r\nNOOP\r\n");
  EXPECT_LE(driver.pool().used_bytes(), 128U);
  EXPECT_LE(sizeof(ServerSession), 512U);
}

TEST(ServerSession, ShedsWhenThePoolIsEmpty) {
  const auto snapshot = snapshot_with({});
  for (const std::string_view octets : {"NOOP\r\nEHLO client.example\r\n", "NOO"}) {
    MemoryDriver driver(*snapshot, kLan, core::BlockPool::kLargest);
    char* all = driver.pool().take(core::BlockPool::kLargest);
    ASSERT_NE(all, nullptr);
    driver.greet();
    driver.feed(octets);
    EXPECT_NE(driver.said().find("\r\n421 4.3.2 "), std::string::npos) << driver.said();
    EXPECT_TRUE(driver.is_closed());
    driver.pool().give_back(all, core::BlockPool::kLargest);
  }
}

// Memory for the envelope runs out in the middle: 452, and what was accepted stays accepted.
TEST(ServerSession, EnvelopeOutOfMemoryIs452) {
  const auto snapshot = snapshot_with({});
  MemoryDriver driver(*snapshot, kLan, 512 * 1024);
  driver.greet();
  driver.feed("EHLO client.example\r\nMAIL FROM:<>\r\nRCPT TO:<first@example.net>\r\n");
  std::vector<char*> blocks;
  while (char* block = driver.pool().take(4096)) blocks.push_back(block);
  std::vector<char*> small;
  while (char* block = driver.pool().take(128)) small.push_back(block);
  std::string refused;
  for (int i = 0; i < 200 && refused.empty(); ++i) {
    const std::size_t before = driver.said().size();
    driver.feed("RCPT TO:<another.recipient@example.net>\r\n");
    if (driver.said().compare(before, 4, "250 ") != 0) refused = driver.said().substr(before);
  }
  EXPECT_EQ(refused.substr(0, 9), "452 4.3.1");
  for (char* block : blocks) driver.pool().give_back(block, 4096);
  for (char* block : small) driver.pool().give_back(block, 128);
  driver.feed("DATA\r\nx\r\n.\r\n");
  ASSERT_EQ(driver.stored().size(), 1U) << driver.said();
  EXPECT_EQ(driver.broken(), "");
}

TEST(ServerSession, SaysGoodbyeOnce) {
  const auto snapshot = snapshot_with({});
  core::BlockPool pool(1 << 20);
  ServerSession session(0, kLan, 40000, pool);
  const policy::LoginTable logins({});
  const World world{snapshot.get(), &logins, {}};
  char memory[2048];
  ReplyBuffer replies(memory, sizeof memory);
  session.greet(world, replies);
  replies.clear();
  session.say_goodbye("4.4.2 idle too long", replies);
  session.say_goodbye("4.4.2 idle too long", replies);
  EXPECT_EQ(replies.view(), "421 4.4.2 idle too long\r\n");
  const Step step = session.advance("NOOP\r\n", world, replies);
  EXPECT_EQ(step.event, Event::close);
  EXPECT_EQ(step.consumed, 0U);
  EXPECT_EQ(session.advance("", world, replies).event, Event::close);
}

TEST(ServerSession, GoodbyeWhileAQuestionIsOpen) {
  const auto snapshot = snapshot_with({});
  core::BlockPool pool(1 << 20);
  const policy::LoginTable logins({});
  const World world{snapshot.get(), &logins, {}};
  ServerSession session(0, kLan, 40000, pool);
  char memory[2048];
  ReplyBuffer replies(memory, sizeof memory);
  session.greet(world, replies);
  ASSERT_EQ(session.advance("HELO x\r\nMAIL FROM:<>\r\n", world, replies).event, Event::admit);
  session.say_goodbye("4.3.2 shutting down", replies);
  replies.clear();
  session.answer_admit(true, replies);
  EXPECT_EQ(replies.view(), "");
  EXPECT_EQ(session.advance("", world, replies).event, Event::close);
  EXPECT_FALSE(session.in_transaction());
}

TEST(ServerSession, FlushesWhenRepliesAreFull) {
  const auto snapshot = snapshot_with({{"service.errors", "0"}});
  MemoryDriver driver(*snapshot, kLan);
  driver.greet();
  std::string batch;
  for (int i = 0; i < 500; ++i) batch += "NOOP\r\nFOO\r\n";
  driver.feed(batch);
  EXPECT_EQ(driver.broken(), "");
  std::size_t lines = 0;
  for (const char c : driver.said()) lines += c == '\n' ? 1 : 0;
  EXPECT_EQ(lines, 1001U);
}

TEST(Reply, IsBoundedAndPrintable) {
  char memory[ReplyBuffer::kReplyMax];
  ReplyBuffer out(memory, sizeof memory);
  reply::line(out, 550, "5.7.1", std::string(3000, 'x'));
  EXPECT_EQ(out.view().size(), ReplyBuffer::kReplyMax);
  EXPECT_TRUE(out.view().ends_with("x\r\n"));
  out.clear();
  reply::line(out, 550, "5.7.1", "a\r\n250 Ok\x1b[0m\xff", "m\nore");
  EXPECT_EQ(out.view(), "550 5.7.1 a??250 Ok?[0m? m?ore\r\n");
  out.clear();
  reply::ehlo(out, std::string(400, 'h'), {UINT64_MAX, UINT32_MAX, true, true, std::string(256, 'M')});
  EXPECT_TRUE(out.view().ends_with("250 HELP\r\n"));
}

TEST(Envelope, WritesAndReadsBack) {
  core::BlockPool pool(1 << 20);
  EnvelopeWriter writer(pool);
  SessionFields session;
  session.client = kStranger;
  session.helo = "h";
  session.service = "s";
  session.user = "u";
  ASSERT_TRUE(writer.begin(session, {"from@x", BodyType::binary_mime, true, DsnReturn::full, "id"}));
  EXPECT_EQ(writer.reverse_path(), "from@x");
  for (int i = 0; i < 700; ++i) {
    const std::string path = "recipient" + std::to_string(i) + "@example.net";
    ASSERT_TRUE(writer.add({path, static_cast<std::uint8_t>(i % 16), i % 3 == 0 ? "rfc822;x" : ""}));
    EXPECT_EQ(writer.reverse_path(), "from@x");
  }
  const auto reader = EnvelopeReader::open(writer.head());
  ASSERT_TRUE(reader.has_value());
  EXPECT_EQ(reader->session().user, "u");
  EXPECT_FALSE(reader->session().extended);
  EXPECT_TRUE(reader->sender().smtputf8);
  EXPECT_EQ(reader->recipient_count(), 700U);
  int seen = 0;
  for (auto at = reader->first(); const auto recipient = reader->next(at); ++seen) {
    EXPECT_EQ(recipient->forward_path, "recipient" + std::to_string(seen) + "@example.net");
    EXPECT_EQ(recipient->notify, seen % 16);
    EXPECT_EQ(recipient->original, seen % 3 == 0 ? "rfc822;x" : "");
  }
  EXPECT_EQ(seen, 700);
}

TEST(Envelope, RefusesWhatPassesOneBlock) {
  core::BlockPool pool(1 << 20);
  EnvelopeWriter writer(pool);
  ASSERT_TRUE(writer.begin({}, {}));
  const std::string path(1000, 'x');
  std::uint32_t added = 0;
  while (writer.add({path, notify_unset, {}})) ++added;
  EXPECT_GT(added, 60U);
  EXPECT_EQ(writer.recipients(), added);
  EXPECT_EQ(EnvelopeReader::open(writer.head())->recipient_count(), added);
}

TEST(Envelope, EveryCutIsNoticedOrWhole) {
  core::BlockPool pool(1 << 20);
  EnvelopeWriter writer(pool);
  ASSERT_TRUE(writer.begin({}, {"a@b", BodyType::seven_bit, false, DsnReturn::unset, "id"}));
  ASSERT_TRUE(writer.add({"c@d", notify_never, "rfc822;x"}));
  const std::string head(writer.head());
  EXPECT_FALSE(EnvelopeReader::open("").has_value());
  for (std::size_t size = 1; size < head.size(); ++size) {
    const auto reader = EnvelopeReader::open(std::string_view(head).substr(0, size));
    EXPECT_LE(reader ? reader->recipient_count() : 0U, 1U);
  }
  std::string other = head;
  other[0] = 2;
  EXPECT_FALSE(EnvelopeReader::open(other).has_value());
}

TEST(TraceHeader, Keywords) {
  const auto with = [](bool extended, bool utf8, bool encrypted, bool authenticated) {
    TraceFields fields;
    fields.extended = extended;
    fields.smtputf8 = utf8;
    fields.encrypted = encrypted;
    fields.authenticated = authenticated;
    char out[kTraceHeaderMax];
    const std::string text(out, format_received(out, fields));
    const std::size_t at = text.find(" with ") + 6;
    return text.substr(at, text.find(' ', at) - at);
  };
  EXPECT_EQ(with(false, false, false, false), "SMTP");
  EXPECT_EQ(with(true, false, false, false), "ESMTP");
  EXPECT_EQ(with(true, false, true, false), "ESMTPS");
  EXPECT_EQ(with(true, false, false, true), "ESMTPA");
  EXPECT_EQ(with(true, false, true, true), "ESMTPSA");
  EXPECT_EQ(with(true, true, true, true), "UTF8SMTPSA");
  EXPECT_EQ(with(true, true, false, false), "UTF8SMTP");
}

TEST(TraceHeader, NothingThatWasSaidBreaksIt) {
  TraceFields fields;
  fields.helo = "a\r\nX: y (\"\\<>";
  fields.client_name = "b)\n";
  fields.client = *core::IpAddress::parse("2001:db8::1");
  fields.hostname = "mail.example.net";
  fields.queue_id = "Q";
  const std::string path = "\"\r\n\x01\x80\"@x";
  fields.recipient = path;
  char out[kTraceHeaderMax];
  const std::string text(out, format_received(out, fields));
  EXPECT_EQ(
      text,
      "Received: from a??X:?y?????? (b?? [IPv6:2001:db8::1])\r\n\tby mail.example.net (Postern) with SMTP id Q\r\n"
      "\tfor <\"????\"@x>;\r\n\tThu, 01 Jan 1970 00:00:00 +0000\r\n");
  fields = {};
  const std::string longest(5000, 'x');
  fields.helo = fields.client_name = fields.hostname = fields.queue_id = fields.recipient = longest;
  const std::size_t size = format_received(out, fields);
  EXPECT_LE(size, kTraceHeaderMax);
  std::string_view lines(out, size);
  while (!lines.empty()) {
    const std::size_t end = lines.find("\r\n");
    ASSERT_NE(end, std::string_view::npos);
    EXPECT_LE(end, 998U);
    lines.remove_prefix(end + 2);
  }
}

TEST(TraceHeader, Dates) {
  const auto date = [](std::int64_t seconds) {
    char out[kDateTimeBytes];
    return std::string(out, format_date_time(out, seconds));
  };
  EXPECT_EQ(date(0), "Thu, 01 Jan 1970 00:00:00 +0000");
  EXPECT_EQ(date(951782399), "Mon, 28 Feb 2000 23:59:59 +0000");
  EXPECT_EQ(date(951782400), "Tue, 29 Feb 2000 00:00:00 +0000");
  EXPECT_EQ(date(1709251200), "Fri, 01 Mar 2024 00:00:00 +0000");
  EXPECT_EQ(date(1735689599), "Tue, 31 Dec 2024 23:59:59 +0000");
  EXPECT_EQ(date(4107542400), "Mon, 01 Mar 2100 00:00:00 +0000");
  EXPECT_EQ(date(-5), date(0));
}

}  // namespace
}  // namespace postern::net::smtp::test
