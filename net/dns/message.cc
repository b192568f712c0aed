#include "net/dns/message.h"

#include <algorithm>
#include <cstddef>
#include <optional>
#include <utility>

namespace postern::net::dns {
namespace {

constexpr std::size_t kHeaderBytes = 12;
constexpr std::size_t kNameBytesMax = 253;
constexpr std::size_t kLabelBytesMax = 63;
constexpr std::uint16_t kCname = 5;
constexpr std::uint16_t kSoa = 6;
constexpr std::uint16_t kInternet = 1;
constexpr unsigned kNoError = 0;
constexpr unsigned kNameError = 3;
constexpr unsigned kResponseBit = 0x80;   // of the third octet
constexpr unsigned kTruncatedBit = 0x02;  // of the third octet

// Reads a message from its beginning to its end; a read past the end makes it bad for good.
class Reader {
 public:
  explicit Reader(std::span<const std::uint8_t> message) : message_(message) {}

  [[nodiscard]] bool ok() const { return ok_; }
  [[nodiscard]] std::size_t at() const { return at_; }
  void go_to(std::size_t at) { at_ = at; }

  std::uint16_t u16() {
    if (!has(2)) return 0;
    const auto value = static_cast<std::uint16_t>(message_[at_] << 8 | message_[at_ + 1]);
    at_ += 2;
    return value;
  }
  std::uint32_t u32() {
    const std::uint32_t high = u16();
    return high << 16 | u16();
  }
  void skip(std::size_t octets) {
    if (has(octets)) at_ += octets;
  }
  // A name in lower case; each pointer must point before the one it is in, so that there is no circle. nullopt: no host
  // name (an octet that is none of a name's, too long); the reader is behind it nevertheless, or bad.
  std::optional<std::string> name();

 private:
  bool has(std::size_t octets) {
    ok_ = ok_ && octets <= message_.size() - at_;
    return ok_;
  }

  std::span<const std::uint8_t> message_;
  std::size_t at_ = 0;
  bool ok_ = true;
};

bool is_name_octet(std::uint8_t c) {
  return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '-' || c == '_';
}

std::optional<std::string> Reader::name() {
  std::string text;
  bool is_good = true;
  std::size_t behind = 0;  // where reading goes on, once a pointer was followed
  std::size_t least = at_;
  for (;;) {
    if (!has(1)) return std::nullopt;
    const std::size_t length = message_[at_];
    if (length == 0) {
      ++at_;
      break;
    }
    if (length >= 0xc0) {
      const std::size_t target = u16() & 0x3fffu;
      if (behind == 0) behind = at_;
      if (!ok_ || target >= least) {
        ok_ = false;
        return std::nullopt;
      }
      at_ = least = target;
      continue;
    }
    if (length > kLabelBytesMax || !has(length + 1)) {
      ok_ = false;
      return std::nullopt;
    }
    if (text.size() + length + 1 > kNameBytesMax + (text.empty() ? 1 : 0)) is_good = false;
    if (is_good) {
      if (!text.empty()) text += '.';
      for (std::size_t i = 1; i <= length; ++i) {
        const std::uint8_t c = message_[at_ + i];
        is_good = is_good && is_name_octet(c);
        text += static_cast<char>(c >= 'A' && c <= 'Z' ? c + 32 : c);
      }
    }
    at_ += length + 1;
  }
  if (behind != 0) at_ = behind;
  if (!is_good) return std::nullopt;
  return text;
}

struct Record {
  std::string owner;
  std::uint16_t type = 0;
  std::uint32_t ttl = 0;
  std::size_t data = 0;
  std::size_t bytes = 0;
};

// nullopt: a record that is none of ours (another class, an owner that is no host name), or a bad message.
std::optional<Record> read_record(Reader& reader) {
  Record record;
  auto owner = reader.name();
  record.type = reader.u16();
  const std::uint16_t record_class = reader.u16();
  record.ttl = reader.u32();
  if (record.ttl > 0x7fffffffu) record.ttl = 0;  // RFC 2181 section 8
  record.bytes = reader.u16();
  record.data = reader.at();
  reader.skip(record.bytes);
  if (!reader.ok() || !owner || record_class != kInternet) return std::nullopt;
  record.owner = *std::move(owner);
  return record;
}

std::uint32_t negative_ttl(Reader& reader, const Record& soa) {
  reader.go_to(soa.data);
  reader.name();
  reader.name();
  for (int i = 0; i < 4; ++i) reader.u32();  // serial, refresh, retry, expire
  const std::uint32_t minimum = reader.u32();
  return reader.ok() ? std::min(soa.ttl, minimum) : 0;
}

// What one record says. False: it is not well-formed.
bool take(Reader reader, std::span<const std::uint8_t> message, const Record& record, Answer& answer) {
  if (record.type == static_cast<std::uint16_t>(RecordType::mx)) {
    reader.go_to(record.data);
    Exchange exchange;
    exchange.preference = reader.u16();
    auto host = reader.name();
    if (!reader.ok() || !host || reader.at() != record.data + record.bytes) return false;
    exchange.host = *std::move(host);
    answer.exchanges.push_back(std::move(exchange));
    return true;
  }
  const std::uint8_t* data = message.data() + record.data;
  core::IpAddress address;
  if (record.type == static_cast<std::uint16_t>(RecordType::a)) {
    if (record.bytes != 4) return false;
    address = core::IpAddress::from_v4(std::uint32_t{data[0]} << 24 | std::uint32_t{data[1]} << 16 |
                                       std::uint32_t{data[2]} << 8 | data[3]);
  } else {
    if (record.bytes != 16) return false;
    std::copy_n(data, 16, address.bytes.begin());
    if (address.is_v4()) return false;  // ::ffff:0:0/96 does not belong into an AAAA
  }
  answer.addresses.push_back(address);
  return true;
}

// The name at the end of the aliases that begin at `name`. nullopt: they go in a circle.
std::optional<std::string> follow_aliases(Reader reader, const std::vector<Record>& records, std::string name,
                                          std::uint32_t& ttl) {
  for (std::size_t i = 0; i < kAliasesMax; ++i) {
    const auto alias = std::find_if(records.begin(), records.end(), [&name](const Record& record) {
      return record.type == kCname && record.owner == name;
    });
    if (alias == records.end()) return name;
    ttl = std::min(ttl, alias->ttl);
    reader.go_to(alias->data);
    auto target = reader.name();
    if (!target) return std::nullopt;
    name = *std::move(target);
  }
  return std::nullopt;
}

}  // namespace

bool is_askable(std::string_view name) {
  if (name.empty() || name.size() > kNameBytesMax) return false;
  std::size_t label = 0;
  for (const char c : name) {
    if (c == '.') {
      if (label == 0) return false;
      label = 0;
    } else if (!is_name_octet(static_cast<std::uint8_t>(c)) || ++label > kLabelBytesMax) {
      return false;
    }
  }
  return label != 0;
}

Answer parse_answer(std::span<const std::uint8_t> message, RecordType type) {
  Answer answer;
  if (message.size() < kHeaderBytes) return answer;
  const unsigned code = message[3] & 0x0fu;
  if ((message[2] & kResponseBit) == 0 || (message[2] & kTruncatedBit) != 0) return answer;
  if (code != kNoError && code != kNameError) return answer;
  Reader reader(message);
  reader.skip(4);
  const std::uint16_t questions = reader.u16();
  const std::uint16_t answers = reader.u16();
  const std::uint16_t authorities = reader.u16();
  reader.skip(2);
  if (questions != 1) return answer;
  const auto asked = reader.name();
  const std::uint16_t asked_type = reader.u16();
  reader.skip(2);
  if (!reader.ok() || !asked || asked_type != static_cast<std::uint16_t>(type)) return answer;

  std::vector<Record> records;
  for (std::size_t i = 0; i < answers && reader.ok(); ++i) {
    auto record = read_record(reader);
    if (record && records.size() < kRecordsMax && (record->type == kCname || record->type == asked_type)) {
      records.push_back(*std::move(record));
    }
  }
  std::uint32_t ttl = UINT32_MAX;
  const auto owner = follow_aliases(reader, records, *asked, ttl);
  if (!reader.ok() || !owner) return answer;
  if (code == kNoError) {
    for (const Record& record : records) {
      if (record.type != asked_type || record.owner != *owner || !take(reader, message, record, answer)) continue;
      ttl = std::min(ttl, record.ttl);
    }
    if (!answer.addresses.empty() || !answer.exchanges.empty()) {
      answer.status = AnswerStatus::found;
      answer.ttl_seconds = ttl;
      return answer;
    }
    // Records that are all nonsense are not "no records".
    const bool had_some = std::any_of(records.begin(), records.end(), [&](const Record& record) {
      return record.type == asked_type && record.owner == *owner;
    });
    if (had_some) return answer;
  }
  std::uint32_t negative = 0;
  for (std::size_t i = 0; i < authorities && reader.ok(); ++i) {
    const auto record = read_record(reader);
    if (!record || record->type != kSoa) continue;
    negative = std::min(ttl, negative_ttl(reader, *record));
    break;
  }
  if (!reader.ok()) return answer;
  answer.status = code == kNameError ? AnswerStatus::no_such_name : AnswerStatus::no_data;
  answer.ttl_seconds = negative;
  return answer;
}

}  // namespace postern::net::dns
