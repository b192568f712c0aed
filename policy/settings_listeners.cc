#include "policy/settings_listeners.h"

#include <fmt/format.h>
#include <utility>

#include "policy/address_list.h"
#include "policy/settings_reader.h"

namespace postern::policy {
namespace {

// Why the entry may not stand in a list of hosts; empty: it may.
std::string host_fault(const std::string& text) {
  const auto entry = AddressEntry::parse(text);
  if (!entry) return entry.error();
  if (entry->kind == AddressEntryKind::any) return "'*' is not used here; everybody is [\"any\"]";
  if (entry->kind == AddressEntryKind::prefix) return {};
  return fmt::format("'{}' is a name; who may connect is told by addresses and prefixes, such as \"192.0.2.0/24\"", text);
}

}  // namespace

void read_name(TableReader& reader, std::string_view what, std::string& name, std::set<std::string>& names) {
  if (!reader.text("name", name, "smtp")) {
    if (!reader.has("name")) reader.error("name", fmt::format("a {} needs a 'name', such as name = \"smtp\"", what));
    return;
  }
  const bool plain =
      name.find_first_not_of("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789._-") == std::string::npos;
  if (!plain || name.size() > 64) {
    reader.error("name", fmt::format("'{}' is no {} name: up to 64 letters, digits, '.', '_' and '-'", name, what));
  }
  if (!names.insert(name).second) {
    reader.error("name", fmt::format("there are two {} with the name '{}'",
                                     what == "service" ? "services" : "mailboxes or services", name));
  }
}

void read_listen(TableReader& reader, std::string_view what, std::string_view example,
                 std::vector<core::Endpoint>& listen) {
  std::vector<PlacedText> read;
  if (!reader.has("listen")) {
    (void)reader.texts("listen", read, "");
    reader.error("listen", fmt::format("a {} needs 'listen', such as listen = [{}]", what, example));
    return;
  }
  if (!reader.texts("listen", read, example)) return;
  if (read.empty()) reader.error("listen", "'listen' is empty: nobody could ever connect");
  for (const PlacedText& entry : read) {
    if (const auto endpoint = core::Endpoint::parse(entry.text)) {
      listen.push_back(*endpoint);
    } else {
      reader.error_at(entry.place, fmt::format("in 'listen': '{}' is not an address and port, such as {}", entry.text,
                                               fmt::format("\"0.0.0.0:{0}\" or \"[::]:{0}\"",
                                                           what == "service" ? 25 : 110)));
    }
  }
}

TlsMode read_tls(TableReader& reader) {
  std::size_t mode = 0;
  reader.choice("tls", {"none", "starttls", "implicit"}, mode);
  return static_cast<TlsMode>(mode);
}

void read_access(TableReader& reader, std::vector<std::string>& access) {
  std::vector<PlacedText> read;
  if (!reader.texts("access", read, R"("any"], or access = ["192.168.0.0/16")")) return;
  access.clear();
  for (PlacedText& entry : read) {
    if (entry.text == "any") {
      if (read.size() > 1) {
        reader.error_at(entry.place, "in 'access': \"any\" stands alone; beside it other entries say nothing");
      }
    } else if (const std::string fault = host_fault(entry.text); !fault.empty()) {
      reader.error_at(entry.place, fmt::format("in 'access': {}", fault));
    }
    access.push_back(std::move(entry.text));
  }
}

}  // namespace postern::policy
