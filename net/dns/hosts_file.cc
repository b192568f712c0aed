#include "net/dns/hosts_file.h"

#include <algorithm>
#include <optional>

namespace postern::net::dns {
namespace {

constexpr std::string_view kBlanks = " \t\r";

// The next word of the line; empty: there is none.
std::string_view take_word(std::string_view& line) {
  line.remove_prefix(std::min(line.find_first_not_of(kBlanks), line.size()));
  const std::string_view word = line.substr(0, line.find_first_of(kBlanks));
  line.remove_prefix(word.size());
  return word;
}

}  // namespace

HostsFile::HostsFile(std::string_view text) {
  while (!text.empty()) {
    const std::size_t end = std::min(text.find('\n'), text.size());
    std::string_view line = text.substr(0, end);
    text.remove_prefix(std::min(end + 1, text.size()));
    line = line.substr(0, line.find('#'));
    const std::optional<core::IpAddress> address = core::IpAddress::parse(take_word(line));
    if (!address) continue;
    for (std::string_view word = take_word(line); !word.empty(); word = take_word(line)) {
      std::string name(word);
      for (char& c : name) {
        if (c >= 'A' && c <= 'Z') c = static_cast<char>(c + 32);
      }
      if (name.ends_with('.')) name.pop_back();
      auto& known = addresses_[name];
      if (std::find(known.begin(), known.end(), *address) == known.end()) known.push_back(*address);
    }
  }
}

const std::vector<core::IpAddress>& HostsFile::find(const std::string& name) const {
  static const std::vector<core::IpAddress> kNone;
  const auto found = addresses_.find(name);
  return found == addresses_.end() ? kNone : found->second;
}

}  // namespace postern::net::dns
