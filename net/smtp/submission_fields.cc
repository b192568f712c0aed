// What is done to the fields of a submitted message (RFC 6409 section 8), on a piece of header that holds whole fields.
#include <array>
#include <charconv>

#include "net/smtp/address_fields.h"
#include "net/smtp/command.h"
#include "net/smtp/data_decoder.h"
#include "net/smtp/submission.h"
#include "net/smtp/trace_header.h"

namespace postern::net::smtp {
namespace {

bool is_address_field(FieldName name) {
  switch (name) {
    case FieldName::from:
    case FieldName::sender:
    case FieldName::reply_to:
    case FieldName::to:
    case FieldName::cc:
    case FieldName::resent_from:
    case FieldName::resent_sender:
    case FieldName::resent_to:
    case FieldName::resent_cc:
      return true;
    default:
      return false;
  }
}

// Parsed before: its last "@" is the one.
policy::Mailbox split_address(std::string_view address) {
  const std::size_t at = address.rfind('@');
  if (at == std::string_view::npos) return {address, {}};
  return {address.substr(0, at), address.substr(at + 1)};
}

bool is_same(const policy::Mailbox& a, const policy::Mailbox& b) {
  return equals_ignoring_case(a.local_part, b.local_part) &&
         (equals_ignoring_case(a.domain, b.domain) || policy::DomainName(a.domain) == policy::DomainName(b.domain));
}

// Whether lines stay within their bound while domains are put into them, front to back.
class LineGrowth {
 public:
  LineGrowth(std::string_view field, bool dot_stuffed) : field_(field), dot_stuffed_(dot_stuffed) {}

  // False: the line is too long now, and was not before.
  [[nodiscard]] bool grow(std::size_t at, std::size_t octets) {
    if (at >= end_) {
      const std::size_t before = field_.rfind('\n', at);
      begin_ = before == std::string_view::npos ? 0 : before + 1;
      const std::size_t feed = field_.find('\n', at);
      end_ = feed == std::string_view::npos ? field_.size() + 2 : feed + 1;  // it may get the line end that it lacks
      growth_ = 0;
    }
    growth_ += octets;
    const std::size_t max = DataDecoder::kLineBytesMax + (dot_stuffed_ && field_[begin_] == '.' ? 1 : 0);
    return end_ - begin_ > max || end_ - begin_ + growth_ <= max;
  }

 private:
  std::string_view field_;
  bool dot_stuffed_;
  std::size_t begin_ = 0;
  std::size_t end_ = 0;
  std::size_t growth_ = 0;
};

}  // namespace

class SubmissionFilter::Edit {
 public:
  Edit(SubmissionFilter& filter, std::string_view header, const Turn& turn)
      : filter_(filter), header_(header), turn_(turn) {}

  [[nodiscard]] const Turn& turn() const { return turn_; }
  // In the order of the header. `at` points into it, as does `text`.
  void insert(const char* at, std::string_view text) {
    keep_up_to(at);
    filter_.add(text, turn_);
  }
  void remove(std::string_view text) {
    keep_up_to(text.data());
    done_ += text.size();
    filter_.removed_bytes_ += text.size();
    filter_.changes_ |= removed_fields;
  }
  void finish() { keep_up_to(header_.data() + header_.size()); }

 private:
  void keep_up_to(const char* at) {
    const auto end = static_cast<std::size_t>(at - header_.data());
    filter_.put(header_.substr(done_, end - done_), turn_);
    done_ = end;
  }

  SubmissionFilter& filter_;
  std::string_view header_;
  const Turn& turn_;
  std::size_t done_ = 0;
};

// Requires whole fields, in the order in which they came.
void SubmissionFilter::settle(std::string_view header, const Turn& turn) {
  if (header.empty()) return;
  is_first_line_ = false;
  note_line_ends(header);
  HeaderField field;
  // A signature may stand behind what it signs.
  for (HeaderFieldReader reader(header, dot_stuffed_); reader.next(field);) note_signature(field);
  Edit edit(*this, header, turn);
  for (HeaderFieldReader reader(header, dot_stuffed_); verdict_.accepted() && reader.next(field);) {
    note_field(field);
    if (is_to_be_removed(field.name)) {
      edit.remove(field.text);
    } else if (is_address_field(field.name)) {
      settle_addresses(field, edit);
    }
  }
  edit.finish();
}

void SubmissionFilter::note_signature(const HeaderField& field) {
  if (field.name != FieldName::dkim_signature && field.name != FieldName::arc_signature) return;
  signed_.add(signed_fields(field.value, dot_stuffed_));
}

void SubmissionFilter::note_field(const HeaderField& field) {
  // RFC 5322 section 3.6. Of two, no two readers agree which is shown.
  if (field.name == FieldName::from && present_.has(FieldName::from)) {
    refuse(554, "5.6.0", "More than one From field in the header");
  }
  present_.add(field.name);
}

bool SubmissionFilter::is_to_be_removed(FieldName name) const {
  const bool is_unwanted = name == FieldName::bcc || name == FieldName::resent_bcc || name == FieldName::return_path;
  return is_unwanted && !signed_.has(name);
}

void SubmissionFilter::settle_addresses(const HeaderField& field, Edit& edit) {
  const SubmissionFacts& facts = edit.turn().facts;
  const bool is_author = field.name == FieldName::from || field.name == FieldName::sender;
  const bool completes = !facts.domain.empty() && !signed_.has(field.name);
  const auto value_at = static_cast<std::size_t>(field.value.data() - field.text.data());
  LineGrowth lines(field.text, dot_stuffed_);
  AddressListReader check(field.value, dot_stuffed_);
  FieldMailbox box;
  std::uint32_t mailboxes = 0;
  std::uint32_t incomplete = 0;
  bool fits = true;
  for (;;) {
    const AddressListReader::Result result = check.next(box);
    if (result == AddressListReader::Result::end) break;
    if (result == AddressListReader::Result::malformed) {
      if (is_author) note_unreadable(field.name, edit.turn());
      return;
    }
    ++mailboxes;
    if (!box.mailbox.domain.empty()) continue;
    ++incomplete;
    fits = fits && (!completes || lines.grow(value_at + box.domain_goes, facts.domain.size() + 1));
  }
  if (incomplete != 0 && facts.domain.empty()) return refuse(554, "5.6.0", "An address in the header has no domain");
  if (!fits) return refuse(554, "5.6.0", "An address in the header has no domain, and its line no room for one");
  if (completes) completed_bytes_ += incomplete * (facts.domain.size() + 1);
  if (completed_bytes_ > kCompletedBytesMax) return refuse(554, "5.6.0", "Too many addresses have no domain");
  if (mailboxes == 0 && field.name == FieldName::from) return note_unreadable(field.name, edit.turn());
  if (!is_author && (incomplete == 0 || !completes)) return;
  AddressListReader reader(field.value, dot_stuffed_);
  while (verdict_.accepted() && reader.next(box) == AddressListReader::Result::mailbox) {
    if (completes && box.mailbox.domain.empty()) {
      const char* at = field.value.data() + box.domain_goes;
      edit.insert(at, "@");
      edit.insert(at, facts.domain);
      changes_ |= completed_addresses;
      box.mailbox.domain = facts.domain;
    }
    if (is_author) note_author(field.name, box.mailbox, edit.turn());
  }
}

// From or Sender: a group without members, or what is no list of addresses.
void SubmissionFilter::note_unreadable(FieldName name, const Turn& turn) {
  if (turn.facts.owns == nullptr) return;
  if (name == FieldName::from) has_strange_author_ = true;
  if (!turn.facts.own_header_from) return;
  refuse(554, "5.6.0",
         name == FieldName::from ? "The From field does not read as the address of an author"
                                 : "The Sender field does not read as an address");
}

void SubmissionFilter::note_author(FieldName name, const policy::Mailbox& mailbox, const Turn& turn) {
  const SubmissionFacts& facts = turn.facts;
  const bool is_from = name == FieldName::from;
  if (is_from) {
    ++from_mailboxes_;
    author_is_submitter_ = is_same(mailbox, split_address(facts.submitter));
  }
  // Of several authors none needs to be strange for a Sender to be named.
  if (facts.owns == nullptr || (!facts.own_header_from && (!is_from || from_mailboxes_ > 1))) return;
  if (++asked_authors_ > kAuthorsMax) return refuse(554, "5.6.0", "Too many addresses in From and Sender");
  if (facts.owns(facts.owner, mailbox)) return;
  if (is_from) has_strange_author_ = true;
  if (!facts.own_header_from) return;
  refuse(550, "5.7.1",
         is_from ? "An address in the From field does not belong to the user"
                 : "The address in the Sender field does not belong to the user");
}

// At the end of the header. A field that a signature names is signed as absent.
void SubmissionFilter::add_missing(const Turn& turn) {
  if (!verdict_.accepted()) return;
  if (!present_.has(FieldName::from)) add_from(turn);
  const auto lacks = [this](FieldName name) { return !present_.has(name) && !signed_.has(name); };
  std::array<char, kDateTimeBytes> date;
  if (lacks(FieldName::date)) {
    add_field("Date: ", {date.data(), format_date_time(date, turn.facts.unix_seconds)}, turn);
    changes_ |= added_date;
  }
  // RFC 5322 section 3.6.2: several authors need a Sender. RFC 6409 section 8.1: so does a submitter who is none of them.
  const bool needs_sender = from_mailboxes_ > 1 || (has_strange_author_ && !author_is_submitter_);
  // Who sends anew what others wrote is in Resent-From.
  const bool is_resent = present_.has(FieldName::resent_from);
  if (needs_sender && !is_resent && lacks(FieldName::sender) && !turn.facts.submitter.empty()) {
    add_field("Sender: ", turn.facts.submitter, turn);
    changes_ |= added_sender;
  }
  if (lacks(FieldName::message_id)) add_message_id(turn);
}

void SubmissionFilter::add_from(const Turn& turn) {
  const SubmissionFacts& facts = turn.facts;
  if (signed_.has(FieldName::from) || facts.submitter.empty()) {
    return refuse(554, "5.6.0", "There is no From field in the header");
  }
  note_author(FieldName::from, split_address(facts.submitter), turn);
  add_field("From: ", facts.submitter, turn);
  changes_ |= added_from;
}

// RFC 5322 section 3.6.4. The time, as queue ids begin anew with a new spool.
void SubmissionFilter::add_message_id(const Turn& turn) {
  std::array<char, 24> seconds;
  const auto end = std::to_chars(seconds.data(), seconds.data() + seconds.size(), turn.facts.unix_seconds).ptr;
  if (!ends_line_) add("\r\n", turn);
  add("Message-ID: <", turn);
  add({seconds.data(), static_cast<std::size_t>(end - seconds.data())}, turn);
  add(".", turn);
  add(turn.facts.queue_id, turn);
  add("@", turn);
  add(turn.facts.hostname, turn);
  add(">\r\n", turn);
  changes_ |= added_message_id;
}

void SubmissionFilter::add_field(std::string_view name_and_colon, std::string_view value, const Turn& turn) {
  if (!ends_line_) add("\r\n", turn);  // BDAT: a content may end within its header, without CRLF
  add(name_and_colon, turn);
  add(value, turn);
  add("\r\n", turn);
}

}  // namespace postern::net::smtp
