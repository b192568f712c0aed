// Queued messages as lines for people: what `postern queue list` and `show` print.
//
// Called in the turn of the worker that owns the message (through Server::on_worker). Text building, cold.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

#include "core/clock.h"
#include "net/delivery/message_queue.h"

namespace postern::net::admin {

// What a stranger said, fit for a terminal: everything but printable characters escaped, as in the log.
[[nodiscard]] std::string printable(std::string_view text);
// "45s", "12m", "3h05m", "4d02h"
[[nodiscard]] std::string duration(std::int64_t seconds);

// The heading of the list, with its newline.
[[nodiscard]] std::string queue_list_heading();
// One message: id, size, age, attempts, next attempt, sender, recipients still pending, last error.
void append_queue_line(const QueuedMessage& message, const core::Time& now, std::string& out);
// One message, a line a fact and a line a recipient.
void append_queue_details(const QueuedMessage& message, const core::Time& now, std::string& out);

}  // namespace postern::net::admin
