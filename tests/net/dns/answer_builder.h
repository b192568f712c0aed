// DNS answers for tests, octet by octet (RFC 1035 section 4).
#pragma once

#include <cstdint>
#include <cstdlib>
#include <random>
#include <string>
#include <string_view>
#include <vector>

#include "net/dns/message.h"

namespace postern::net::dns::testing {

inline std::uint64_t test_seed() {
  const char* given = std::getenv("POSTERN_SEED");
  return given != nullptr ? std::strtoull(given, nullptr, 10) : std::random_device{}();
}

class AnswerBuilder {
 public:
  AnswerBuilder(std::string_view name, RecordType type, unsigned code = 0) {
    bytes = {0x12, 0x34, 0x81, static_cast<std::uint8_t>(0x80 | code), 0, 1, 0, 0, 0, 0, 0, 0};
    add_name(name);
    u16(static_cast<std::uint16_t>(type));
    u16(1);
  }

  AnswerBuilder& a(std::string_view owner, std::uint32_t ttl, std::uint32_t address) {
    begin(owner, 1, ttl);
    u32(address);
    return end();
  }
  AnswerBuilder& aaaa(std::string_view owner, std::uint32_t ttl, const core::IpAddress& address) {
    begin(owner, 28, ttl);
    bytes.insert(bytes.end(), address.bytes.begin(), address.bytes.end());
    return end();
  }
  AnswerBuilder& mx(std::string_view owner, std::uint32_t ttl, std::uint16_t preference, std::string_view host) {
    begin(owner, 15, ttl);
    u16(preference);
    add_name(host);
    return end();
  }
  AnswerBuilder& cname(std::string_view owner, std::uint32_t ttl, std::string_view target) {
    begin(owner, 5, ttl);
    add_name(target);
    return end();
  }
  AnswerBuilder& raw(std::string_view owner, std::uint16_t type, std::vector<std::uint8_t> data) {
    begin(owner, type, 60);
    bytes.insert(bytes.end(), data.begin(), data.end());
    return end();
  }
  AnswerBuilder& soa(std::string_view owner, std::uint32_t ttl, std::uint32_t minimum) {
    begin(owner, 6, ttl, 9);
    add_name("ns.example");
    add_name("hostmaster.example");
    for (int i = 0; i < 4; ++i) u32(1);
    u32(minimum);
    return end();
  }

  [[nodiscard]] Answer parse(RecordType type) const { return parse_answer(bytes, type); }

  std::vector<std::uint8_t> bytes;

 private:
  void u16(std::uint16_t value) {
    bytes.push_back(static_cast<std::uint8_t>(value >> 8));
    bytes.push_back(static_cast<std::uint8_t>(value));
  }
  void u32(std::uint32_t value) {
    u16(static_cast<std::uint16_t>(value >> 16));
    u16(static_cast<std::uint16_t>(value));
  }
  void add_name(std::string_view name) {
    while (!name.empty()) {
      const std::string_view label = name.substr(0, name.find('.'));
      bytes.push_back(static_cast<std::uint8_t>(label.size()));
      bytes.insert(bytes.end(), label.begin(), label.end());
      name.remove_prefix(std::min(label.size() + 1, name.size()));
    }
    bytes.push_back(0);
  }
  // `counter`: the place of the section's count in the header.
  void begin(std::string_view owner, std::uint16_t type, std::uint32_t ttl, std::size_t counter = 7) {
    ++bytes[counter];
    add_name(owner);
    u16(type);
    u16(1);
    u32(ttl);
    u16(0);
    data_ = bytes.size();
  }
  AnswerBuilder& end() {
    const std::size_t length = bytes.size() - data_;
    bytes[data_ - 2] = static_cast<std::uint8_t>(length >> 8);
    bytes[data_ - 1] = static_cast<std::uint8_t>(length);
    return *this;
  }
  std::size_t data_ = 0;
};

}  // namespace postern::net::dns::testing
