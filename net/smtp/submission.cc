// The octets of a submitted message: where its header ends, and what is held until then. What is done to it:
// submission_fields.cc.
#include "net/smtp/submission.h"

#include <algorithm>
#include <cstring>

#include "core/assert.h"
#include "net/smtp/envelope.h"

namespace postern::net::smtp {
namespace {

constexpr std::size_t kFirstBlock = 2048;
constexpr std::string_view kNoMemory = "No memory now, try again later";
constexpr std::string_view kBareOctet = "A CR or LF stands alone in the header, only CRLF ends a line";

struct HeaderEnd {
  std::size_t at = 0;  // the header's size
  bool by_empty_line = false;
};

// `seen`: octets after which the scanner knew.
HeaderEnd header_end(std::string_view octets, std::size_t seen) {
  octets = octets.substr(0, seen);
  if (octets.ends_with("\r\n") && (seen == 2 || octets[seen - 3] == '\n')) return {seen - 2, true};
  const std::size_t feed = octets.rfind('\n');
  return {feed == std::string_view::npos ? 0 : feed + 1, false};
}

bool begins_with_blank(std::string_view octets, bool dot_stuffed) {
  if (dot_stuffed && octets.starts_with('.')) octets.remove_prefix(1);
  return octets.starts_with(' ') || octets.starts_with('\t');
}

bool has_high_octet(std::string_view text) {
  return std::any_of(text.begin(), text.end(), [](char c) { return (static_cast<unsigned char>(c) & 0x80) != 0; });
}

}  // namespace

void SubmissionFilter::begin(bool dot_stuffed) {
  release();
  scanner_ = HeaderScanner(dot_stuffed);
  phase_ = Phase::header;
  dot_stuffed_ = dot_stuffed;
  is_first_line_ = ends_line_ = true;
  previous_ = '\n';
  drops_long_field_ = at_line_start_ = dot_is_open_ = false;
  has_strange_author_ = author_is_submitter_ = false;
  changes_ = 0;
  added_flags_ = 0;
  present_ = signed_ = {};
  from_mailboxes_ = asked_authors_ = 0;
  completed_bytes_ = added_bytes_ = removed_bytes_ = 0;
  verdict_ = {};
}

void SubmissionFilter::push(std::string_view content, const SubmissionFacts& facts, const ContentSink& sink) {
  const Turn turn{facts, sink};
  while (!content.empty() && verdict_.accepted()) {
    if (phase_ == Phase::body) return put(content, turn);
    content.remove_prefix(phase_ == Phase::header ? push_header(content, turn) : push_long_field(content, turn));
  }
  finish_call();
}

void SubmissionFilter::end(const SubmissionFacts& facts, const ContentSink& sink) {
  const Turn turn{facts, sink};
  if (phase_ == Phase::long_field && dot_is_open_) pass_long_field(".", turn);
  if (phase_ != Phase::body) {
    const std::string_view held(block_, size_);
    if (scanner_.ends_in_fragment() && !held.empty()) {
      const HeaderEnd end = header_end(held, held.size());
      end_header(held.substr(0, end.at), false, turn);
      put(held.substr(end.at), turn);
    } else {
      settle(held, turn);
      if (previous_ == '\r') refuse(550, "5.6.11", kBareOctet);
      add_missing(turn);
    }
    phase_ = Phase::body;
  }
  finish_call();
}

// Returns the octets taken.
std::size_t SubmissionFilter::push_header(std::string_view content, const Turn& turn) {
  if (size_ == kHeldBytes) {
    spill(turn);
    return 0;
  }
  const std::string_view part = content.substr(0, kHeldBytes - size_);
  const std::size_t seen = size_ + scanner_.feed(part);
  // A header that comes whole in one piece is used where it lies.
  const bool in_place = size_ == 0 && (scanner_.ended() || (is_first_line_ && begins_with_blank(part, dot_stuffed_)));
  if (!in_place && !hold(part)) {
    refuse(452, "4.3.2", kNoMemory);
    return part.size();
  }
  const std::string_view header = in_place ? part : std::string_view(block_, size_);
  HeaderEnd end;
  if (!is_first_line_ || !begins_with_blank(header, dot_stuffed_)) {  // else: it would continue nothing
    if (!scanner_.ended()) return part.size();
    end = header_end(header, seen);
  }
  end_header(header.substr(0, end.at), end.by_empty_line, turn);
  if (in_place) return end.at;
  put(header.substr(end.at), turn);
  release();
  return part.size();
}

bool SubmissionFilter::hold(std::string_view octets) {
  const std::size_t wanted = size_ + octets.size();
  POSTERN_ASSERT(wanted <= kHeldBytes);
  if (wanted > capacity_) {
    const std::size_t capacity = core::BlockPool::class_bytes(std::max(wanted, kFirstBlock));
    char* block = pool_.take(capacity);
    if (block == nullptr) return false;
    if (block_ != nullptr) {
      std::memcpy(block, block_, size_);
      pool_.give_back(block_, capacity_);
    }
    block_ = block;
    capacity_ = static_cast<std::uint32_t>(capacity);
  }
  std::memcpy(block_ + size_, octets.data(), octets.size());
  size_ = static_cast<std::uint32_t>(wanted);
  return true;
}

void SubmissionFilter::release() {
  if (block_ != nullptr) pool_.give_back(block_, capacity_);
  block_ = nullptr;
  size_ = capacity_ = 0;
}

void SubmissionFilter::finish_call() {
  if (verdict_.accepted() && phase_ != Phase::body) return;
  phase_ = Phase::body;
  release();
}

// As much is held as may be: all fields go on but the last, which may be longer.
void SubmissionFilter::spill(const Turn& turn) {
  const std::string_view held(block_, size_);
  const bool has_open_dot = dot_stuffed_ && held.ends_with("\n.");
  HeaderFieldReader reader(held.substr(0, held.size() - (has_open_dot ? 1 : 0)), dot_stuffed_);
  HeaderField field;
  std::size_t last = 0;
  for (std::size_t start = 0; reader.next(field); start = reader.consumed()) last = start;
  if (last != 0) {
    settle(held.substr(0, last), turn);
    size_ -= static_cast<std::uint32_t>(last);
    std::memmove(block_, block_ + last, size_);
    return;
  }
  if (field.value.data() == nullptr) {  // still no colon: it will not be called a field any more
    end_header({}, false, turn);
    put(held, turn);
    return;
  }
  dot_is_open_ = has_open_dot;
  begin_long_field(field, turn);
  size_ = 0;
}

void SubmissionFilter::begin_long_field(const HeaderField& field, const Turn& turn) {
  phase_ = Phase::long_field;
  is_first_line_ = false;
  at_line_start_ = field.text.ends_with('\n');
  note_signature(field);
  note_field(field);
  if (field.name == FieldName::from || field.name == FieldName::sender) note_unreadable(field.name, turn);
  drops_long_field_ = is_to_be_removed(field.name);
  if (drops_long_field_) changes_ |= removed_fields;
  pass_long_field(field.text, turn);
}

void SubmissionFilter::pass_long_field(std::string_view octets, const Turn& turn) {
  note_line_ends(octets);
  if (drops_long_field_) {
    removed_bytes_ += octets.size();
  } else {
    put(octets, turn);
  }
}

// Returns the octets taken: up to the field's end, when that is among them.
std::size_t SubmissionFilter::push_long_field(std::string_view content, const Turn& turn) {
  if (!at_line_start_) {
    const std::size_t feed = content.find('\n');
    at_line_start_ = feed != std::string_view::npos;
    const std::size_t taken = at_line_start_ ? feed + 1 : content.size();
    pass_long_field(content.substr(0, taken), turn);
    return taken;
  }
  if (dot_stuffed_ && !dot_is_open_ && content.front() == '.') {
    dot_is_open_ = true;
    return 1;
  }
  const bool has_dot = dot_is_open_;
  dot_is_open_ = at_line_start_ = false;
  if (begins_with_blank(content, false)) {
    if (has_dot) pass_long_field(".", turn);
    return 0;
  }
  phase_ = Phase::header;
  scanner_ = HeaderScanner(dot_stuffed_);
  if (!has_dot) return 0;
  scanner_.feed(".");
  if (!hold(".")) refuse(452, "4.3.2", kNoMemory);
  return 0;
}

// Only BINARYMIME may bring others (RFC 3030 section 3), and not into the header: who takes one for a line's end would
// read other fields than are looked at here.
void SubmissionFilter::note_line_ends(std::string_view octets) {
  if (octets.empty()) return;
  bool is_bare = (octets.front() == '\n') != (previous_ == '\r');
  for (std::size_t i = 1; i < octets.size(); ++i) is_bare |= (octets[i] == '\n') != (octets[i - 1] == '\r');
  previous_ = octets.back();
  if (is_bare) refuse(550, "5.6.11", kBareOctet);
}

// `header`: what of it was not settled before.
void SubmissionFilter::end_header(std::string_view header, bool by_empty_line, const Turn& turn) {
  settle(header, turn);
  add_missing(turn);
  phase_ = Phase::body;
  if (by_empty_line) return;
  add("\r\n", turn);
  changes_ |= added_empty_line;
}

void SubmissionFilter::put(std::string_view octets, const Turn& turn) {
  if (octets.empty() || !verdict_.accepted()) return;
  ends_line_ = octets.back() == '\n';
  turn.sink.put(turn.sink.object, octets);
}

void SubmissionFilter::add(std::string_view text, const Turn& turn) {
  added_bytes_ += text.size();
  if (has_high_octet(text)) added_flags_ |= content_eight_bit_header;
  put(text, turn);
}

// The first one stays.
void SubmissionFilter::refuse(std::uint16_t code, std::string_view enhanced, std::string_view text) {
  if (verdict_.accepted()) verdict_ = {policy::Rule::none, code, enhanced, text};
}

}  // namespace postern::net::smtp
