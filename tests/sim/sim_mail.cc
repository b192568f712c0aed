#include "tests/sim/sim_mail.h"

#include <gtest/gtest.h>

namespace postern::sim {
namespace {

using End = SentMessage::End;
using Notify = SentRecipient::Notify;
using Reply = SentRecipient::Reply;

// Where two contents differ, short enough to be read.
std::string difference(std::string_view want, std::string_view have) {
  std::size_t at = 0;
  while (at < want.size() && at < have.size() && want[at] == have[at]) ++at;
  return "sent " + std::to_string(want.size()) + " octets, arrived " + std::to_string(have.size()) +
         ", they differ from octet " + std::to_string(at) + ": \"" +
         testing::PrintToString(std::string(want.substr(at, 40))) + "\" and " +
         testing::PrintToString(std::string(have.substr(at, 40)));
}

std::string_view take_line(std::string_view& text) {
  const std::size_t end = text.find("\r\n");
  const std::string_view line = text.substr(0, end);
  text.remove_prefix(end == std::string_view::npos ? text.size() : end + 2);
  return line;
}

}  // namespace

std::string_view without_trace(std::string_view content) {
  if (!content.starts_with("Received: from ")) return "(no Received field)";
  take_line(content);
  while (!content.empty() && (content.front() == '\t' || content.front() == ' ')) take_line(content);
  return content;
}

std::size_t MailLedger::acknowledged() const {
  std::size_t count = 0;
  for (const SentMessage& message : messages_) count += message.end == End::acknowledged ? 1 : 0;
  return count;
}

void MailLedger::check(const RunFacts& facts) const {
  std::map<std::string, Place> known;
  for (const SentMessage& message : messages_) {
    for (const SentRecipient& recipient : message.recipients) known[recipient.address] = {&message, &recipient};
  }
  std::map<std::string, Fate> fates;
  for (const Arrival& arrival : arrivals_) check_arrival(arrival, facts, known, fates);
  for (const SentMessage& message : messages_) {
    if (message.end != End::acknowledged) continue;
    for (const SentRecipient& recipient : message.recipients) {
      if (recipient.reply == Reply::accepted) check_fate(message, recipient, fates[recipient.address], facts);
    }
  }
}

void MailLedger::check_arrival(const Arrival& arrival, const RunFacts& facts, const std::map<std::string, Place>& known,
                               std::map<std::string, Fate>& fates) const {
  const auto found = known.find(arrival.recipient);
  if (found == known.end()) {  // a notification: to a sender, from nobody
    ASSERT_EQ(arrival.sender, "") << "to " << arrival.recipient;
    std::string about;
    std::string_view rest = *arrival.content;
    while (!rest.empty()) {
      const std::string_view line = take_line(rest);
      constexpr std::string_view kRecipient = "Final-Recipient: rfc822; ";
      constexpr std::string_view kAction = "Action: ";
      if (line.starts_with(kRecipient)) about = line.substr(kRecipient.size());
      if (!line.starts_with(kAction) || about.empty()) continue;
      const auto place = known.find(about);
      ASSERT_NE(place, known.end()) << "a notification about " << about;
      EXPECT_EQ(place->second.first->sender, arrival.recipient) << "the notification went to somebody else";
      ++fates[about].notices[std::string(line.substr(kAction.size()))];
    }
    EXPECT_NE(about, "") << "a notification about nobody, to " << arrival.recipient;
    return;
  }
  const auto& [message, recipient] = found->second;
  const std::string what = "message " + std::to_string(message->number) + " to " + arrival.recipient;
  EXPECT_NE(message->end, End::open) << what << " arrived, and its end was never sent";
  EXPECT_NE(message->end, End::refused) << what << " arrived, and was refused";
  // The failed write may have reached the disk all the same, and a start finds it whole (TRAPS 7).
  if (!facts.machine_crashed || !facts.disk_failed) {
    EXPECT_NE(message->end, End::refused_for_now) << what << " arrived, and its client was told to come again";
  }
  EXPECT_NE(recipient->reply, Reply::refused) << what << " arrived, and the recipient was refused";
  EXPECT_EQ(arrival.sender, message->sender) << what;
  const std::string_view content = without_trace(*arrival.content);
  if (content != message->content) ADD_FAILURE() << what << ": " << difference(message->content, content);
  ++fates[arrival.recipient].copies;
}

void MailLedger::check_fate(const SentMessage& message, const SentRecipient& recipient, const Fate& fate,
                            const RunFacts& facts) const {
  const std::string what = "message " + std::to_string(message.number) + " to " + recipient.address;
  const auto noticed = [&fate](const char* action) {
    const auto found = fate.notices.find(action);
    return found == fate.notices.end() ? std::size_t{0} : found->second;
  };
  const bool may_fail = hop_refused_.contains(recipient.address) || hop_refused_senders_.contains(message.sender) ||
                        (message.is_binary && !facts.hop_takes_binary);
  const bool wants_notice = !message.sender.empty() && recipient.notify != Notify::never;
  const std::size_t failed = noticed("failed");
  if (fate.copies == 0 && failed == 0) {
    EXPECT_TRUE(may_fail && !wants_notice) << "LOST: " << what << " was acknowledged";
  }
  if (failed != 0) {
    EXPECT_TRUE(may_fail) << what << " was bounced without a cause";
    EXPECT_TRUE(wants_notice) << what << ": an unwanted notification";
  }
  const bool wants_success = wants_notice && recipient.notify == Notify::success && !facts.hop_reports;
  const std::size_t succeeded = noticed("delivered") + noticed("relayed");
  if (fate.copies != 0 && failed == 0 && wants_success) {
    EXPECT_GE(succeeded, 1u) << what << ": success was not told";
  }
  if (!wants_success) {
    EXPECT_EQ(succeeded, 0u) << what << ": success was told unasked";
  }
  if (facts.duplicates_allowed) return;
  EXPECT_LE(fate.copies, 1u) << what << " arrived more than once";
  EXPECT_TRUE(fate.copies == 0 || failed == 0) << what << " arrived, and was bounced";
  EXPECT_LE(failed, 1u) << what << " was bounced more than once";
  EXPECT_LE(succeeded, 1u) << what << ": success was told more than once";
}

}  // namespace postern::sim
