// The names in one table; the properties beside them.
#include "net/sasl/mechanism.h"

#include <algorithm>
#include <cstddef>

namespace postern::net::sasl {
namespace {

struct Properties {
  std::string_view name;
  bool is_plaintext;
  bool is_plus;
  bool is_scram;
};

// In the order of the enumerators.
constexpr std::array<Properties, kMechanisms.size()> kProperties = {{
    {"PLAIN", true, false, false},
    {"LOGIN", true, false, false},
    {"CRAM-MD5", false, false, false},
    {"SCRAM-SHA-1", false, false, true},
    {"SCRAM-SHA-1-PLUS", false, true, true},
    {"SCRAM-SHA-256", false, false, true},
    {"SCRAM-SHA-256-PLUS", false, true, true},
    {"OAUTHBEARER", true, false, false},
    {"XOAUTH2", true, false, false},
    {"EXTERNAL", false, false, false},
}};

const Properties& properties_of(Mechanism mechanism) {
  return kProperties[static_cast<std::size_t>(mechanism)];
}

constexpr char upper(char c) {
  return c >= 'a' && c <= 'z' ? static_cast<char>(c - 'a' + 'A') : c;
}

}  // namespace

std::string_view name_of(Mechanism mechanism) noexcept {
  return properties_of(mechanism).name;
}

std::optional<Mechanism> parse_mechanism(std::string_view name) noexcept {
  for (const Mechanism mechanism : kMechanisms) {
    const auto same = [](char a, char b) { return upper(a) == b; };
    if (std::ranges::equal(name, name_of(mechanism), same)) return mechanism;
  }
  return std::nullopt;
}

bool is_plaintext(Mechanism mechanism) noexcept {
  return properties_of(mechanism).is_plaintext;
}
bool is_plus(Mechanism mechanism) noexcept {
  return properties_of(mechanism).is_plus;
}
bool is_scram(Mechanism mechanism) noexcept {
  return properties_of(mechanism).is_scram;
}
bool server_speaks_first(Mechanism mechanism) noexcept {
  return mechanism == Mechanism::cram_md5;
}

}  // namespace postern::net::sasl
