#include "net/admin/queue_report.h"

#include <fmt/format.h>

#include "core/log_format.h"
#include "net/queue_id.h"
#include "net/smtp/envelope.h"

namespace postern::net::admin {
namespace {

std::string path(std::string_view address) { return "<" + printable(address) + ">"; }

std::string next_attempt(const QueuedMessage& message, const core::Time& now) {
  if (message.in_attempt) return "now";
  if (message.is_held) return "held";
  if (message.state == nullptr) return "waiting";
  return "in " + duration(message.state->next_unix_seconds - now.unix_seconds());
}

std::string_view status_word(const QueuedMessage& message, std::uint32_t ordinal) {
  if (message.state == nullptr) return "pending";
  switch (message.state->status(ordinal)) {
    case delivery::RecipientStatus::pending:
      return "pending";
    case delivery::RecipientStatus::delivered:
      return "delivered";
    case delivery::RecipientStatus::failed:
      return "failed";
  }
  return "";
}

std::string error_text(const delivery::LastError& error) {
  std::string out = fmt::format("{} ", error.code);
  const std::string enhanced = error.enhanced.format();
  if (!enhanced.empty()) out += enhanced + " ";
  return out + printable(error.text);
}

}  // namespace

std::string duration(std::int64_t seconds) {
  if (seconds < 60) return fmt::format("{}s", std::max<std::int64_t>(seconds, 0));
  if (seconds < 3600) return fmt::format("{}m", seconds / 60);
  if (seconds < 86400) return fmt::format("{}h{:02}m", seconds / 3600, seconds % 3600 / 60);
  return fmt::format("{}d{:02}h", seconds / 86400, seconds % 86400 / 3600);
}

std::string printable(std::string_view text) {
  std::string out;
  core::append_escaped(text, false, out);
  return out;
}

std::string queue_list_heading() {
  return fmt::format("{:<13}  {:>9}  {:>6}  {:>5}  {:<9}  {}\n", "ID", "OCTETS", "AGE", "TRIES", "NEXT",
                     "SENDER -> PENDING RECIPIENTS (LAST ERROR)");
}

void append_queue_line(const QueuedMessage& message, const core::Time& now, std::string& out) {
  const auto reader = smtp::EnvelopeReader::open(message.head_view());
  const std::int64_t age = now.unix_seconds() - message.accepted_unix_ns / core::kNanosecondsPerSecond;
  out += fmt::format("{:<13}  {:>9}  {:>6}  {:>5}  {:<9}  {} ->", QueueId(message.id).text(), message.body_bytes,
                     duration(age), message.state == nullptr ? 0 : message.state->attempts,
                     next_attempt(message, now), path(reader->sender().reverse_path));
  std::uint32_t ordinal = 0;
  std::uint32_t shown = 0;
  const delivery::LastError* last = nullptr;
  for (auto at = reader->first(); const auto recipient = reader->next(at); ++ordinal) {
    const bool pending =
        message.state == nullptr || message.state->status(ordinal) == delivery::RecipientStatus::pending;
    if (!pending) continue;
    if (message.state != nullptr && message.state->error(ordinal) != nullptr) last = message.state->error(ordinal);
    if (++shown <= 3) out += " " + path(recipient->forward_path);
  }
  if (shown > 3) out += fmt::format(" and {} more", shown - 3);
  if (last != nullptr) out += " (" + error_text(*last) + ")";
  out += '\n';
}

void append_queue_details(const QueuedMessage& message, const core::Time& now, std::string& out) {
  const auto reader = smtp::EnvelopeReader::open(message.head_view());
  const smtp::SessionFields& session = reader->session();
  std::string accepted;
  core::append_utc(message.accepted_unix_ns, accepted);
  out += fmt::format("id          {}\n", QueueId(message.id).text());
  out += fmt::format("accepted    {}\n", accepted);
  out += fmt::format("from        {}\n", path(reader->sender().reverse_path));
  out += fmt::format("client      {} (helo {})\n", session.client.text(), printable(session.helo));
  out += fmt::format("service     {}\n", printable(session.service));
  if (!session.user.empty()) out += fmt::format("user        {}\n", printable(session.user));
  out += fmt::format("octets      {}{}\n", message.body_bytes, message.is_large ? " (a file of its own)" : "");
  out += fmt::format("tries       {}\n", message.state == nullptr ? 0 : message.state->attempts);
  out += fmt::format("next        {}\n", next_attempt(message, now));
  std::uint32_t ordinal = 0;
  for (auto at = reader->first(); const auto recipient = reader->next(at); ++ordinal) {
    out += fmt::format("to          {} {}", path(recipient->forward_path), status_word(message, ordinal));
    if (message.state != nullptr && message.state->error(ordinal) != nullptr) {
      out += " (" + error_text(*message.state->error(ordinal)) + ")";
    }
    out += '\n';
  }
}

}  // namespace postern::net::admin
