#include "net/smtp/trace_header.h"

#include <algorithm>
#include <arpa/inet.h>
#include <cstring>

#include "core/assert.h"

namespace postern::net::smtp {
namespace {

constexpr std::size_t kNameBytesMax = 255;
constexpr std::size_t kQueueIdBytesMax = 64;
constexpr std::size_t kRecipientBytesMax = 320;
constexpr std::size_t kTlsWordBytesMax = 64;

// What may stand in a host name or an address literal; the rest could open a comment or a quoted string.
bool is_name_octet(char c) {
  return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '.' || c == '-' ||
         c == '_' || c == ':' || c == '[' || c == ']';
}

class Writer {
 public:
  explicit Writer(std::span<char> out) : out_(out) {}

  Writer& raw(std::string_view text) {
    std::memcpy(out_.data() + size_, text.data(), text.size());
    size_ += text.size();
    return *this;
  }
  Writer& name(std::string_view text) {
    for (const char c : text.substr(0, kNameBytesMax)) put(is_name_octet(c) ? c : '?');
    return *this;
  }
  // A path: parsed before, so it cannot hold angle brackets but in quotes; control octets are kept out all
  // the same.
  Writer& path(std::string_view text, bool utf8) {
    for (const char c : text.substr(0, kRecipientBytesMax)) {
      const bool is_high = (static_cast<unsigned char>(c) & 0x80) != 0;
      put((c >= ' ' && c <= '~') || (is_high && utf8) ? c : '?');
    }
    return *this;
  }
  Writer& two_digits(std::int64_t value) {
    put(static_cast<char>('0' + value / 10 % 10));
    put(static_cast<char>('0' + value % 10));
    return *this;
  }
  Writer& address(const core::IpAddress& address) {  // RFC 5321 section 4.1.3
    char text[INET6_ADDRSTRLEN];
    if (address.is_v4()) {
      ::inet_ntop(AF_INET, address.bytes.data() + 12, text, sizeof text);
      return raw("[").raw(text).raw("]");
    }
    ::inet_ntop(AF_INET6, address.bytes.data(), text, sizeof text);
    return raw("[IPv6:").raw(text).raw("]");
  }
  void put(char c) { out_[size_++] = c; }
  [[nodiscard]] std::size_t size() const { return size_; }

 private:
  std::span<char> out_;
  std::size_t size_ = 0;
};

void write_protocol(Writer& out, const TraceFields& fields) {
  // RFC 3848; RFC 6531 section 4.3.
  out.raw(fields.smtputf8 ? "UTF8SMTP" : fields.extended ? "ESMTP" : "SMTP");
  if (!fields.extended) return;
  if (fields.encrypted) out.raw("S");
  if (fields.authenticated) out.raw("A");
}

void write_from(Writer& out, const TraceFields& fields) {
  out.raw("from ").name(fields.helo.empty() ? "unknown" : fields.helo).raw(" (");
  if (fields.client_unknown) {
    out.raw("unknown");
  } else {
    out.name(fields.client_name.empty() ? "unknown" : fields.client_name).raw(" ").address(fields.client);
  }
  out.raw(")\r\n\t");
}

void write_tls(Writer& out, const TraceFields& fields) {
  if (!fields.encrypted || fields.tls_version.empty()) return;
  out.raw("\r\n\t(version=").name(fields.tls_version.substr(0, kTlsWordBytesMax));
  if (!fields.tls_cipher.empty()) out.raw(" cipher=").name(fields.tls_cipher.substr(0, kTlsWordBytesMax));
  out.raw(")");
}

struct Day {
  std::int64_t year;
  int month;  // 1..12
  int day;    // 1..31
};

// The Gregorian date of a day counted from 1970-01-01. Years are counted from March, so that the leap day
// comes last.
Day date_of(std::int64_t days) {
  const std::int64_t since_era_zero = days + 719468;  // from 0000-03-01
  const std::int64_t era = (since_era_zero >= 0 ? since_era_zero : since_era_zero - 146096) / 146097;
  const std::int64_t day_of_era = since_era_zero - era * 146097;
  const std::int64_t year_of_era =
      (day_of_era - day_of_era / 1460 + day_of_era / 36524 - day_of_era / 146096) / 365;
  const std::int64_t day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
  const std::int64_t march_month = (5 * day_of_year + 2) / 153;
  const auto day = static_cast<int>(day_of_year - (153 * march_month + 2) / 5 + 1);
  const auto month = static_cast<int>(march_month < 10 ? march_month + 3 : march_month - 9);
  return {year_of_era + era * 400 + (month <= 2 ? 1 : 0), month, day};
}

void write_date_time(Writer& out, std::int64_t unix_seconds) {
  static constexpr std::string_view kDays[] = {"Thu", "Fri", "Sat", "Sun", "Mon", "Tue", "Wed"};
  static constexpr std::string_view kMonths[] = {"Jan", "Feb", "Mar", "Apr", "May", "Jun",
                                                 "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"};
  constexpr std::int64_t kDay = 86400;
  constexpr std::int64_t kLatest = 253402300799;  // 9999-12-31 23:59:59: four digits hold the year
  unix_seconds = std::clamp<std::int64_t>(unix_seconds, 0, kLatest);
  const std::int64_t days = unix_seconds / kDay;
  const std::int64_t seconds = unix_seconds % kDay;
  const Day date = date_of(days);
  out.raw(kDays[days % 7]).raw(", ").two_digits(date.day).raw(" ");
  out.raw(kMonths[date.month - 1]).raw(" ").two_digits(date.year / 100).two_digits(date.year % 100).raw(" ");
  out.two_digits(seconds / 3600).raw(":").two_digits(seconds / 60 % 60).raw(":").two_digits(seconds % 60);
  out.raw(" +0000");
}

}  // namespace

std::size_t format_received(std::span<char> out, const TraceFields& fields) {
  POSTERN_ASSERT(out.size() >= kTraceHeaderMax);
  Writer writer(out);
  writer.raw("Received: ");
  if (!fields.hide_client) write_from(writer, fields);
  writer.raw("by ").name(fields.hostname).raw(" (Postern) with ");
  write_protocol(writer, fields);
  writer.raw(" id ").name(fields.queue_id.substr(0, kQueueIdBytesMax));
  write_tls(writer, fields);
  if (!fields.recipient.empty()) writer.raw("\r\n\tfor <").path(fields.recipient, fields.smtputf8).raw(">");
  writer.raw(";\r\n\t");
  write_date_time(writer, fields.unix_seconds);
  writer.raw("\r\n");
  return writer.size();
}

std::size_t format_date_time(std::span<char> out, std::int64_t unix_seconds) {
  POSTERN_ASSERT(out.size() >= kDateTimeBytes);
  Writer writer(out);
  write_date_time(writer, unix_seconds);
  return writer.size();
}

}  // namespace postern::net::smtp
