// A submitted message, whatever is in it and however it is cut: the same octets come out, nothing unwanted stays in its
// header, and what came out once is left alone when it is submitted again.
// Input: an octet of switches, an octet that seeds the cuts, and the content.
#include <cstdint>
#include <random>
#include <string>
#include <string_view>

#include "core/assert.h"
#include "core/pool.h"
#include "net/smtp/address_fields.h"
#include "net/smtp/data_decoder.h"
#include "net/smtp/envelope.h"
#include "net/smtp/header_fields.h"
#include "net/smtp/submission.h"

namespace {

using namespace postern;
using namespace postern::net::smtp;

struct Result {
  std::string content;
  policy::Verdict verdict;
  std::uint64_t added = 0;
  std::uint64_t removed = 0;
  std::uint8_t changes = 0;
};

struct Switches {
  bool dot_stuffed, has_domain, has_submitter, authenticated, own_header_from;
};

Result run(SubmissionFilter& filter, const Switches& switches, std::string_view content, std::mt19937_64* random) {
  Result result;
  const ContentSink sink{
      &result, [](void* object, std::string_view octets) noexcept { static_cast<Result*>(object)->content += octets; }};
  SubmissionFacts facts;
  facts.domain = switches.has_domain ? "d.example" : "";
  facts.hostname = "mail.example.net";
  facts.queue_id = "QUEUEID";
  facts.unix_seconds = 1795492107;
  facts.submitter = switches.has_submitter ? "anna@d.example" : "";
  facts.own_header_from = switches.own_header_from;
  if (switches.authenticated) {
    facts.owns = [](void*, const policy::Mailbox& mailbox) noexcept {
      POSTERN_ASSERT(!mailbox.local_part.empty());
      return mailbox.local_part.front() == 'a';
    };
  }
  filter.begin(switches.dot_stuffed);
  while (!content.empty()) {
    const std::string piece(content.substr(0, random == nullptr ? content.size() : 1 + (*random)() % 9));
    content.remove_prefix(piece.size());
    filter.push(piece, facts, sink);
  }
  filter.end(facts, sink);
  POSTERN_ASSERT(!filter.in_header());
  result.verdict = filter.verdict();
  result.added = filter.added_bytes();
  result.removed = filter.removed_bytes();
  result.changes = filter.changes();
  return result;
}

// The header that the next hop will see.
std::string_view header_of(std::string_view content, bool dot_stuffed) {
  HeaderScanner scanner(dot_stuffed);
  const std::string_view seen = content.substr(0, scanner.feed(content));
  if (!scanner.ended()) return content;
  return content.substr(0, seen.rfind('\n') + 1);
}

void check_header(std::string_view header, const Switches& switches) {
  FieldSet covered;
  HeaderField field;
  for (HeaderFieldReader reader(header, switches.dot_stuffed); reader.next(field);) {
    if (field.name == FieldName::dkim_signature || field.name == FieldName::arc_signature) {
      covered.add(signed_fields(field.value, switches.dot_stuffed));
    }
  }
  std::uint32_t from = 0;
  FieldSet present;
  for (HeaderFieldReader reader(header, switches.dot_stuffed); reader.next(field);) {
    present.add(field.name);
    if (field.name == FieldName::from) ++from;
    POSTERN_ASSERT(field.name != FieldName::bcc || covered.has(FieldName::bcc));
    POSTERN_ASSERT(field.name != FieldName::return_path || covered.has(FieldName::return_path));
  }
  POSTERN_ASSERT(from == 1);
  POSTERN_ASSERT(present.has(FieldName::date) || covered.has(FieldName::date));
  POSTERN_ASSERT(present.has(FieldName::message_id) || covered.has(FieldName::message_id));
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  static core::BlockPool pool(1 << 20);
  if (size < 2) return 0;
  const std::uint8_t bits = data[0];
  const Switches switches{(bits & 1) != 0, (bits & 2) == 0, (bits & 4) == 0, (bits & 8) != 0, (bits & 16) != 0};
  std::mt19937_64 random(data[1]);
  const std::string_view content(reinterpret_cast<const char*>(data) + 2, size - 2);

  SubmissionFilter filter(pool);
  const Result whole = run(filter, switches, content, nullptr);
  const Result cut = run(filter, switches, content, &random);
  POSTERN_ASSERT(pool.used_bytes() == 0);
  POSTERN_ASSERT(whole.verdict.code == cut.verdict.code && whole.verdict.text == cut.verdict.text);
  if (!whole.verdict.accepted()) return 0;
  POSTERN_ASSERT(whole.content == cut.content && whole.changes == cut.changes);
  POSTERN_ASSERT(whole.added == cut.added && whole.removed == cut.removed);
  POSTERN_ASSERT(whole.content.size() == content.size() + whole.added - whole.removed);
  // Of a longer one, what a late signature says is not known in time.
  if (content.size() >= SubmissionFilter::kHeldBytes) return 0;
  check_header(header_of(whole.content, switches.dot_stuffed), switches);
  const Result again = run(filter, switches, whole.content, nullptr);
  POSTERN_ASSERT(again.verdict.accepted() && again.changes == 0 && again.content == whole.content);
  // The form by which it is sent on still holds.
  DataDecoder before;
  DataDecoder after;
  before.begin(false);
  after.begin(false);
  (void)before.decode(content);
  if (!before.ends_with_line_end()) (void)before.decode("\r\n");  // as is put behind a header that ends so
  (void)after.decode(whole.content);
  POSTERN_ASSERT((after.content_flags() & ~before.content_flags() & ~content_eight_bit) == 0);
  // A first line that continues nothing was header before, where octets above 127 ask for more of the next hop.
  constexpr std::uint16_t kEightBit = content_eight_bit | content_eight_bit_header;
  POSTERN_ASSERT((after.content_flags() & kEightBit) == 0 || (before.content_flags() & kEightBit) != 0);
  POSTERN_ASSERT((after.faults() & ~before.faults()) == 0);
  return 0;
}
