// What a worker counts. One list serves the struct, `postern status` and the metrics page.
#pragma once

#include <cstdint>
#include <string_view>

#include "core/metrics.h"

namespace postern::net {

// name, what it counts
#define POSTERN_COUNTERS(X)                                                            \
  X(connections_accepted, "connections accepted")                                      \
  X(connections_open, "SMTP connections open now")                                     \
  X(connections_shed, "connections refused (SMTP: 421) because a bound was reached")   \
  X(connections_dropped, "connections closed without a word (HTTP, TLS on a plain port)") \
  X(tls_handshakes, "TLS handshakes that ended well")                                  \
  X(tls_resumed, "... of them by a session ticket")                                    \
  X(tls_failed, "TLS handshakes and sessions that failed")                             \
  X(logins_accepted, "AUTH exchanges that ended in 235")                               \
  X(logins_refused, "AUTH exchanges that ended otherwise, but 454")                    \
  X(logins_unavailable, "AUTH exchanges answered 454: no time or no user store")       \
  X(connections_barred, "connections of machines barred for guessing passwords")       \
  X(mailbox_connections_open, "connections of POP3 and IMAP clients open now")         \
  X(mailbox_logins_accepted, "POP3 and IMAP logins that the mail store took")          \
  X(mailbox_logins_refused, "... that it refused, or the guess guard did")             \
  X(mailbox_logins_unavailable, "... that it could not tell of")                       \
  X(mailbox_store_failures, "connections to a mail store that failed, or ended before the login") \
  X(mailbox_bytes_to_clients, "octets passed on from mail stores after the login")     \
  X(mailbox_bytes_to_stores, "octets passed on to mail stores after the login")        \
  X(mailbox_slow_readers, "times a slow reader's octets were copied, as receive buffers became scarce") \
  X(refusals, "connections, senders and recipients refused by policy")                 \
  X(timeouts, "sessions ended because the client was idle or too slow")                \
  X(messages_accepted, "messages acknowledged with 250: on disk")                      \
  X(bytes_accepted, "octets of acknowledged messages")                                 \
  X(messages_no_space, "messages answered 452: no memory or disk space")               \
  X(messages_failed, "messages answered 451: the disk failed")                         \
  X(receive_buffers_exhausted, "times the receive buffers ran out")                    \
  X(queue_messages, "messages in the queue now")                                       \
  X(messages_held, "times a message was left in the queue: its sender's account is held") \
  X(recipients_delivered, "recipients a next hop took over")                           \
  X(recipients_deferred, "delivery attempts of a recipient put off")                   \
  X(recipients_failed, "recipients that failed for good")                              \
  X(bounces_made, "delivery status notifications made")                                \
  X(outbound_connections_made, "connections made to next hops")                        \
  X(outbound_connections_failed, "connections to next hops that failed")               \
  X(outbound_tls_handshakes, "TLS handshakes with next hops that ended well")          \
  X(outbound_tls_resumed, "... of them by a session of before")                        \
  X(outbound_tls_failed, "connections to next hops that ended between STARTTLS and EHLO under TLS") \
  X(dns_questions, "questions to name servers about next hops")                        \
  X(dns_failures, "... that had no answer: the mail is tried again later")             \
  X(log_lines_dropped, "log lines dropped because the log could not keep up")

struct Counters {
#define POSTERN_DECLARE(name, text) core::Counter name;
  POSTERN_COUNTERS(POSTERN_DECLARE)
#undef POSTERN_DECLARE

  // visit(name, text, value) for each.
  template <class Visit>
  void each(Visit&& visit) const {
#define POSTERN_VISIT(name, text) visit(std::string_view(#name), std::string_view(text), name.get());
    POSTERN_COUNTERS(POSTERN_VISIT)
#undef POSTERN_VISIT
  }
};

}  // namespace postern::net
