// What the world outside knows about the mail of one simulation: what clients sent and were told, what next hops took
// over; and what must hold between the two.
//
// Every recipient's address occurs in one message only, and so does every sender's, so that an arrival is known by its
// addresses however short its content is. It outlives every crash of the machine.
#pragma once

#include <cstddef>
#include <cstdint>
#include <deque>
#include <map>
#include <memory>
#include <set>
#include <string>
#include <string_view>
#include <vector>

namespace postern::sim {

struct SentRecipient {
  enum class Reply : std::uint8_t { none, accepted, refused };
  enum class Notify : std::uint8_t { unset, never, success };  // success: and failure
  std::string address;
  Reply reply = Reply::none;
  Notify notify = Notify::unset;
};

struct SentMessage {
  // How far it came. open: its end was never sent.
  enum class End : std::uint8_t { open, sent, acknowledged, refused_for_now, refused };
  std::size_t number = 0;
  std::string sender;  // empty: the null reverse-path
  std::string content;
  std::vector<SentRecipient> recipients;
  bool is_illegal = false;  // a bare LF: refused
  bool is_binary = false;   // BDAT without a line end at its end: needs BINARYMIME
  End end = End::open;
};

struct Arrival {
  std::string sender;
  std::string recipient;
  std::shared_ptr<const std::string> content;
};

// How the run went: what may be expected of it.
struct RunFacts {
  bool machine_crashed = false;
  bool disk_failed = false;
  bool duplicates_allowed = false;  // a crash, or a connection that ended between the hop's 250 and our reading it
  bool hop_reports = false;         // it announces DSN, so that reports of success are its duty
  bool hop_takes_binary = false;
};

class MailLedger {
 public:
  SentMessage& add_message() {
    messages_.emplace_back();
    messages_.back().number = messages_.size();
    return messages_.back();
  }
  [[nodiscard]] const std::deque<SentMessage>& messages() const { return messages_; }

  // --- the hop's side ---------------------------------------------------------------------------------------------
  void add_arrival(Arrival arrival) { arrivals_.push_back(std::move(arrival)); }
  // It said 5xx to the recipient, at whatever stage; to the message as a whole, before its recipients were known.
  void add_hop_refusal(const std::string& recipient) { hop_refused_.insert(recipient); }
  void add_hop_refusal_of_sender(const std::string& sender) { hop_refused_senders_.insert(sender); }
  [[nodiscard]] const std::vector<Arrival>& arrivals() const { return arrivals_; }

  // Fails the test for everything that does not hold.
  void check(const RunFacts& facts) const;
  [[nodiscard]] std::size_t acknowledged() const;

 private:
  // What arrived about one recipient.
  struct Fate {
    std::size_t copies = 0;
    std::map<std::string, std::size_t> notices;  // by action
  };
  using Place = std::pair<const SentMessage*, const SentRecipient*>;

  void check_arrival(const Arrival& arrival, const RunFacts& facts, const std::map<std::string, Place>& known,
                     std::map<std::string, Fate>& fates) const;
  void check_fate(const SentMessage& message, const SentRecipient& recipient, const Fate& fate,
                  const RunFacts& facts) const;

  std::deque<SentMessage> messages_;
  std::vector<Arrival> arrivals_;
  std::set<std::string> hop_refused_;
  std::set<std::string> hop_refused_senders_;
};

// The content without the Received field that a relay put in front of it; "(no Received field)" if there is none.
[[nodiscard]] std::string_view without_trace(std::string_view content);

}  // namespace postern::sim
