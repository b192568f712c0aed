#include "net/smtp/proxy_protocol.h"

#include <algorithm>
#include <charconv>
#include <optional>

namespace postern::net::smtp {
namespace {

constexpr std::string_view kTextPrefix = "PROXY ";
constexpr std::string_view kBinaryPrefix{"\r\n\r\n\0\r\nQUIT\n", 12};
constexpr std::size_t kTextBytesMax = 107;  // with CRLF
constexpr std::size_t kBinaryHead = 16;

bool agrees(std::string_view input, std::string_view prefix) {
  const std::size_t octets = std::min(input.size(), prefix.size());
  return input.substr(0, octets) == prefix.substr(0, octets);
}

ProxyHeader need(std::size_t bytes) {
  ProxyHeader header;
  header.status = ProxyHeaderStatus::need_more;
  header.bytes = bytes;
  return header;
}

ProxyHeader complete(std::size_t bytes) {
  ProxyHeader header;
  header.status = ProxyHeaderStatus::complete;
  header.bytes = bytes;
  return header;
}

// The next word, up to one blank or the end. nullopt: there is none, or it is empty.
std::optional<std::string_view> next_word(std::string_view& text) {
  const std::size_t blank = text.find(' ');
  const std::string_view word = text.substr(0, blank);
  if (word.empty()) return std::nullopt;
  text = blank == std::string_view::npos ? std::string_view{} : text.substr(blank + 1);
  return word;
}

std::optional<std::uint16_t> parse_port(std::string_view word) {
  std::uint16_t port = 0;
  const char* end = word.data() + word.size();
  const auto [rest, error] = std::from_chars(word.data(), end, port);
  if (error != std::errc{} || rest != end || (word.size() > 1 && word.front() == '0')) return std::nullopt;
  return port;
}

// "TCP4 192.0.2.1 192.0.2.2 40000 25", what stands behind "PROXY ".
ProxyHeader parse_text_fields(std::string_view fields, std::size_t bytes) {
  ProxyHeader header = complete(bytes);
  const auto family = next_word(fields);
  if (family == "UNKNOWN") return header;  // the rest of the line says nothing
  if (family != "TCP4" && family != "TCP6") return {};
  const auto source = next_word(fields);
  const auto target = next_word(fields);
  const auto source_port = next_word(fields);
  const auto target_port = next_word(fields);
  if (!source || !target || !source_port || !target_port || !fields.empty()) return {};
  const auto is_of_family = [&](std::string_view text) {
    const bool has_colon = text.find(':') != std::string_view::npos;
    return has_colon == (family == "TCP6") && core::IpAddress::parse(text).has_value();
  };
  const auto port = parse_port(*source_port);
  if (!is_of_family(*source) || !is_of_family(*target) || !port || !parse_port(*target_port)) return {};
  header.has_client = true;
  header.client = {*core::IpAddress::parse(*source), *port};
  return header;
}

ProxyHeader parse_text(std::string_view input) {
  const std::size_t end = input.substr(0, kTextBytesMax).find("\r\n");
  if (end == std::string_view::npos) {
    // Only the CR of its end may be an odd octet in it.
    for (std::size_t i = 0; i < std::min(input.size(), kTextBytesMax); ++i) {
      const bool is_last = i + 1 == input.size();
      if ((input[i] < ' ' || input[i] > '~') && !(input[i] == '\r' && is_last)) return {};
    }
    return input.size() < kTextBytesMax ? need(input.size() + 1) : ProxyHeader{};
  }
  const std::string_view line = input.substr(0, end);
  for (const char c : line) {
    if (c < ' ' || c > '~') return {};
  }
  if (!line.starts_with(kTextPrefix)) return {};
  return parse_text_fields(line.substr(kTextPrefix.size()), end + 2);
}

std::uint16_t big_endian(std::string_view text, std::size_t at) {
  return static_cast<std::uint16_t>(static_cast<unsigned char>(text[at]) << 8 |
                                    static_cast<unsigned char>(text[at + 1]));
}

ProxyHeader parse_binary(std::string_view input) {
  // Faults are told as soon as their octet is there, so that a cut header fails no later and no sooner than a
  // whole one.
  const auto octet = [&](std::size_t i) { return static_cast<unsigned char>(input[i]); };
  const bool has_command = input.size() > 12;
  if (has_command && octet(12) != 0x20 && octet(12) != 0x21) return {};  // version 2, LOCAL or PROXY
  if (input.size() < kBinaryHead) return need(kBinaryHead);
  const bool is_local = octet(12) == 0x20;
  const std::size_t length = big_endian(input, 14);
  const std::size_t bytes = kBinaryHead + length;
  if (bytes > kProxyHeaderBytesMax) return {};
  const unsigned family = octet(13);
  const bool is_v4 = family == 0x11;
  const bool is_v6 = family == 0x21;
  const bool is_without_address = family == 0x00 || family == 0x31;  // unspecified, UNIX stream
  if (!is_local) {
    if (!is_v4 && !is_v6 && !is_without_address) return {};
    if ((is_v4 && length < 12) || (is_v6 && length < 36)) return {};
  }
  if (input.size() < bytes) return need(bytes);
  ProxyHeader header = complete(bytes);
  if (is_local || is_without_address) return header;
  header.has_client = true;
  if (is_v4) {
    const auto address = static_cast<std::uint32_t>(big_endian(input, 16)) << 16 | big_endian(input, 18);
    header.client = {core::IpAddress::from_v4(address), big_endian(input, 24)};
  } else {
    for (std::size_t i = 0; i < 16; ++i) header.client.address.bytes[i] = octet(16 + i);
    header.client.port = big_endian(input, 48);
  }
  return header;
}

// Puts fields behind each other in memory that holds them all.
class Writer {
 public:
  explicit Writer(std::span<char> out) : out_(out) {}
  void put(std::string_view octets) { size_ += octets.copy(out_.data() + size_, octets.size()); }
  void put_octet(std::uint8_t value) { out_[size_++] = static_cast<char>(value); }
  void put_number(std::uint16_t value) {
    put_octet(static_cast<std::uint8_t>(value >> 8));
    put_octet(static_cast<std::uint8_t>(value));
  }
  void put_address(const core::IpAddress& address, bool is_v4) {
    for (std::size_t i = is_v4 ? 12 : 0; i < 16; ++i) put_octet(address.bytes[i]);
  }
  void put_field(std::uint8_t type, std::string_view value) {
    put_octet(type);
    put_number(static_cast<std::uint16_t>(value.size()));
    put(value);
  }
  [[nodiscard]] std::size_t size() const { return size_; }
  [[nodiscard]] std::string_view view() const { return {out_.data(), size_}; }
  // Writes how many octets stand behind a length's place.
  void set_length(std::size_t at) {
    const std::size_t length = size_ - at - 2;
    out_[at] = static_cast<char>(length >> 8);
    out_[at + 1] = static_cast<char>(length);
  }

 private:
  std::span<char> out_;
  std::size_t size_ = 0;
};

constexpr std::uint8_t kTypeSsl = 0x20;  // PP2_TYPE_SSL and what stands within it
constexpr std::uint8_t kTypeSslVersion = 0x21;
constexpr std::uint8_t kTypeSslCipher = 0x23;
constexpr std::uint8_t kClientSsl = 0x01;

}  // namespace

std::string_view write_proxy_header(const core::Endpoint& client, const core::Endpoint& server, const ProxyTls& tls,
                                    std::span<char, kProxyHeaderWrittenMax> out) {
  const bool is_v4 = client.address.is_v4() && server.address.is_v4();
  Writer writer(out);
  writer.put(kBinaryPrefix);
  writer.put_octet(0x21);
  writer.put_octet(is_v4 ? 0x11 : 0x21);
  const std::size_t length_at = writer.size();
  writer.put_number(0);
  writer.put_address(client.address, is_v4);
  writer.put_address(server.address, is_v4);
  writer.put_number(client.port);
  writer.put_number(server.port);
  if (!tls.protocol.empty()) {
    writer.put_octet(kTypeSsl);
    const std::size_t ssl_at = writer.size();
    writer.put_number(0);
    writer.put_octet(kClientSsl);
    writer.put(std::string_view("\0\0\0\1", 4));  // not zero: no client certificate was verified
    writer.put_field(kTypeSslVersion, tls.protocol.substr(0, 16));
    writer.put_field(kTypeSslCipher, tls.cipher.substr(0, kProxyCipherMax));
    writer.set_length(ssl_at);
  }
  writer.set_length(length_at);
  return writer.view();
}

ProxyHeader parse_proxy_header(std::string_view input) {
  if (input.empty()) return need(1);
  if (agrees(input, kTextPrefix)) return parse_text(input);
  if (!agrees(input, kBinaryPrefix)) return {};
  return input.size() < kBinaryPrefix.size() ? need(kBinaryHead) : parse_binary(input);
}

}  // namespace postern::net::smtp
