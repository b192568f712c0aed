// The typed questions to a TOML table; see the header.
#include "policy/settings_reader.h"

#include <algorithm>
#include <charconv>
#include <fmt/format.h>
#include <limits>

namespace postern::policy {
namespace {

// Every key of the file and the table it belongs in: for a key that is right but in the wrong place.
struct KnownKey {
  std::string_view name;
  std::string_view where;
};
constexpr KnownKey kKnownKeys[] = {
    {"hostname", "the top of the file"},
    {"local_domains", "the top of the file"},
    {"lan", "the top of the file"},
    {"spool", "the top of the file"},
    {"state", "the top of the file"},
    {"workers", "the top of the file"},
    {"proxy_from", "the top of the file"},
    {"xclient_from", "the top of the file"},
    {"postmaster", "the top of the file"},
    {"format", "[log]"},
    {"connections", "[limits] or [[route]]"},
    {"message_bytes", "[limits]"},
    {"recipients", "[limits]"},
    {"idle_seconds", "[limits] or [[mailbox]]"},
    {"session_seconds", "[limits]"},
    {"connections_per_machine", "[limits]"},
    {"queue_messages", "[limits]"},
    {"memory_bytes", "[limits]"},
    {"hops", "[limits]"},
    {"window_seconds", "[logins]"},
    {"ipv6_prefix", "[logins]"},
    {"machines", "[logins], [users] or [guard]"},
    {"retry_seconds", "[queue]"},
    {"lifetime_seconds", "[queue]"},
    {"drain_seconds", "[queue]"},
    {"socket", "[admin]"},
    {"listen", "[[service]] or [[mailbox]]"},
    {"proxy_protocol", "[[service]] or [[mailbox]]"},
    {"reject_forged_local", "[[service]]"},
    {"exempt_authenticated", "[[service]]"},
    {"access", "[[service]] or [[mailbox]]"},
    {"blacklist", "[[service]]"},
    {"whitelist", "[[service]]"},
    {"errors", "[[service]] or [[mailbox]]"},
    {"long_lines", "[[service]]"},
    {"i_know_this_is_an_open_relay", "[[service]]"},
    {"scope", "[service.auth]"},
    {"mechanisms", "[service.auth]"},
    {"require_auth", "[service.relay]"},
    {"after_login", "[service.relay]"},
    {"outside_lan", "[service.relay]"},
    {"non_local_senders", "[service.relay]"},
    {"always_from_enabled", "[service.relay]"},
    {"always_from", "[service.relay]"},
    {"always_to_enabled", "[service.relay]"},
    {"always_to", "[service.relay]"},
    {"login_counts_as_auth", "[service.relay]"},
    {"tls", "[[service]], [[mailbox]] or [[route]]"},
    {"tls_ca", "[[route]]"},
    {"submission", "[[service]]"},
    {"submission_domain", "[[service]]"},
    {"hide_client", "[[service]]"},
    {"plain_on_lan", "[service.auth] or [[mailbox]]"},
    {"own_sender", "[service.auth]"},
    {"own_header_from", "[service.auth]"},
    {"client_ca", "[service.auth]"},
    {"names", "[[certificate]]"},
    {"chain", "[[certificate]]"},
    {"key", "[[certificate]]"},
    {"store", "[users] or [[mailbox]]"},
    {"protocol", "[[mailbox]]"},
    {"store_proxy_protocol", "[[mailbox]]"},
    {"master_separator", "[[mailbox]]"},
    {"dovecot", "[users]"},
    {"cram_md5", "[users]"},
    {"hash_threads", "[users]"},
    {"hash_queue", "[users]"},
    {"cache_seconds", "[users]"},
    {"hold_on_quota", "[users]"},
    {"keys", "[tokens]"},
    {"issuer", "[tokens]"},
    {"audience", "[tokens]"},
    {"user_claim", "[tokens]"},
    {"failures", "[guard]"},
    {"within", "[guard]"},
    {"bar", "[guard]"},
    {"bar_max", "[guard]"},
    {"never", "[guard]"},
    {"messages_per_hour", "[quota.user] or [quota.machine]"},
    {"messages_per_day", "[quota.user] or [quota.machine]"},
    {"recipients_per_hour", "[quota.user] or [quota.machine]"},
    {"recipients_per_day", "[quota.user] or [quota.machine]"},
    {"domain", "[[route]]"},
    {"messages_per_connection", "[[route]]"},
};

std::string_view type_name(const toml::node& node) {
  switch (node.type()) {
    case toml::node_type::table:
      return "a table";
    case toml::node_type::array:
      return "a list";
    case toml::node_type::string:
      return "a text in quotes";
    case toml::node_type::integer:
      return "a number";
    case toml::node_type::floating_point:
      return "a number with a fraction";
    case toml::node_type::boolean:
      return "true or false";
    default:
      return "a date or time";
  }
}

// As it would be written in the file, for the values that `off` may have and for messages.
std::string written(const toml::node& node) {
  if (const auto* boolean = node.as_boolean()) return boolean->get() ? "true" : "false";
  if (const auto* integer = node.as_integer()) return std::to_string(integer->get());
  if (const auto* text = node.as_string()) return "\"" + text->get() + "\"";
  if (const auto* array = node.as_array()) return array->empty() ? "[]" : "[...]";
  if (const auto* table = node.as_table()) return table->empty() ? "{}" : "{...}";
  return "...";
}

}  // namespace

std::size_t edit_distance(std::string_view a, std::string_view b) {
  std::vector<std::size_t> before_last(b.size() + 1);
  std::vector<std::size_t> last(b.size() + 1);
  std::vector<std::size_t> row(b.size() + 1);
  for (std::size_t j = 0; j <= b.size(); ++j) last[j] = j;
  for (std::size_t i = 1; i <= a.size(); ++i) {
    row[0] = i;
    for (std::size_t j = 1; j <= b.size(); ++j) {
      const std::size_t replaced = last[j - 1] + (a[i - 1] == b[j - 1] ? 0 : 1);
      row[j] = std::min({last[j] + 1, row[j - 1] + 1, replaced});
      if (i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1])
        row[j] = std::min(row[j], before_last[j - 2] + 1);
    }
    before_last.swap(last);
    last.swap(row);
  }
  return last[b.size()];
}

TableReader::TableReader(const toml::table& table, std::string_view where,
                         std::vector<Diagnostic>& diagnostics)
    : table_(table), where_(where), diagnostics_(diagnostics) {}

const toml::node* TableReader::ask(std::string_view key) {
  asked_.push_back(key);
  return table_.get(key);
}

bool TableReader::has(std::string_view key) const {
  return table_.contains(key);
}

toml::source_position TableReader::place() const {
  return table_.source().begin;
}

toml::source_position TableReader::place(std::string_view key) const {
  const toml::node* node = table_.get(key);
  return node != nullptr ? node->source().begin : place();
}

void TableReader::error_at(const toml::source_position& place, std::string text) {
  diagnostics_.push_back({DiagnosticKind::error, place.line, place.column, std::move(text)});
}

void TableReader::error(std::string_view key, std::string text) {
  error_at(place(key), std::move(text));
}

void TableReader::warning_at(const toml::source_position& place, std::string text) {
  diagnostics_.push_back({DiagnosticKind::warning, place.line, place.column, std::move(text)});
}

void TableReader::wrong_type(std::string_view key, const toml::node& found, std::string_view expected) {
  error_at(found.source().begin, fmt::format("'{}' must be {}; found {}", key, expected, type_name(found)));
}

void TableReader::boolean(std::string_view key, bool& value) {
  const toml::node* node = ask(key);
  if (node == nullptr) return;
  if (const auto* boolean = node->as_boolean()) {
    value = boolean->get();
  } else {
    wrong_type(key, *node, "true or false, without quotes");
  }
}

bool TableReader::whole_number(std::string_view key, std::uint64_t least, std::uint64_t most,
                               std::uint64_t& value) {
  const toml::node* node = ask(key);
  if (node == nullptr) return false;
  const std::string_view unit = key.ends_with("_seconds") ? " of seconds"
                                : key.ends_with("_bytes") ? " of octets"
                                                          : "";
  const std::string expected = fmt::format("a whole number{} from {} to {}, such as {} = {}", unit, least,
                                           most, key, std::clamp(value, least, most));
  const auto* integer = node->as_integer();
  if (integer == nullptr) {
    wrong_type(key, *node, expected);
    return false;
  }
  const std::int64_t given = integer->get();
  if (given < 0 || static_cast<std::uint64_t>(given) < least || static_cast<std::uint64_t>(given) > most) {
    error(key, fmt::format("'{}' must be {}; found {}", key, expected, given));
    return false;
  }
  value = static_cast<std::uint64_t>(given);
  return true;
}

void TableReader::duration(std::string_view key, std::uint32_t least, std::uint32_t most, std::uint32_t& seconds) {
  const toml::node* node = ask(key);
  if (node == nullptr) return;
  std::uint64_t count = 0;
  std::uint64_t unit = 0;
  if (const auto* integer = node->as_integer(); integer != nullptr && integer->get() >= 0) {
    count = static_cast<std::uint64_t>(integer->get());
    unit = 1;
  } else if (const auto* text = node->as_string(); text != nullptr && text->get().size() > 1) {
    const std::string& given = text->get();
    const char* last = given.data() + given.size() - 1;
    const auto [end, failed] = std::from_chars(given.data(), last, count);
    if (failed == std::errc{} && end == last) {
      unit = *last == 's' ? 1 : *last == 'm' ? 60 : *last == 'h' ? 3600 : *last == 'd' ? 86400 : 0;
    }
  }
  if (unit == 0 || count > most / unit || count * unit < least) {
    error(key, fmt::format("'{}' must be a time from {} to {} seconds, such as {} = \"90s\", \"10m\", \"24h\" or \"5d\"; found {}",
                           key, least, most, key, written(*node)));
    return;
  }
  seconds = static_cast<std::uint32_t>(count * unit);
}

void TableReader::numbers(std::string_view key, std::uint64_t least, std::uint64_t most,
                          std::vector<std::uint32_t>& values) {
  const toml::node* node = ask(key);
  if (node == nullptr) return;
  const std::string expected =
      fmt::format("a list of whole numbers from {} to {}, such as [300, 600, 3600]", least, most);
  const auto* array = node->as_array();
  if (array == nullptr || array->empty()) {
    if (array == nullptr) {
      wrong_type(key, *node, expected);
    } else {
      error(key, fmt::format("'{}' must be {}; found an empty list", key, expected));
    }
    return;
  }
  std::vector<std::uint32_t> read;
  for (const toml::node& element : *array) {
    const auto* integer = element.as_integer();
    const std::int64_t given = integer != nullptr ? integer->get() : -1;
    if (given < 0 || static_cast<std::uint64_t>(given) < least || static_cast<std::uint64_t>(given) > most) {
      error_at(element.source().begin,
               fmt::format("'{}' must be {}; found {}", key, expected, written(element)));
      return;
    }
    read.push_back(static_cast<std::uint32_t>(given));
  }
  values = std::move(read);
}

bool TableReader::text_or_empty(std::string_view key, std::string& value, std::string_view example) {
  const toml::node* node = ask(key);
  if (node == nullptr) return false;
  const auto* text = node->as_string();
  if (text == nullptr) {
    wrong_type(key, *node, fmt::format("a text in quotes, such as {} = \"{}\"", key, example));
    return false;
  }
  value = text->get();
  return true;
}

bool TableReader::text(std::string_view key, std::string& value, std::string_view example) {
  std::string given;
  if (!text_or_empty(key, given, example)) return false;
  if (given.empty()) {
    error(key, fmt::format("'{}' is empty; expected for example {} = \"{}\"", key, key, example));
    return false;
  }
  value = std::move(given);
  return true;
}

void TableReader::choice(std::string_view key, std::initializer_list<std::string_view> words,
                         std::size_t& choice) {
  std::string word;
  if (!text(key, word, *words.begin())) return;
  const auto* found = std::find(words.begin(), words.end(), word);
  if (found != words.end()) {
    choice = static_cast<std::size_t>(found - words.begin());
    return;
  }
  error(key, fmt::format("'{}' must be one of \"{}\"; found \"{}\"", key, fmt::join(words, "\", \""), word));
}

bool TableReader::texts(std::string_view key, std::vector<PlacedText>& values, std::string_view example) {
  const toml::node* node = ask(key);
  if (node == nullptr) return false;
  const std::string expected = fmt::format("a list of texts, such as {} = [{}]", key, example);
  const auto* array = node->as_array();
  if (array == nullptr) {
    wrong_type(key, *node, expected);
    return false;
  }
  bool all_texts = true;
  std::vector<PlacedText> read;
  for (const toml::node& element : *array) {
    if (const auto* text = element.as_string()) {
      read.push_back({text->get(), element.source().begin});
    } else {
      error_at(element.source().begin,
               fmt::format("'{}' must be {}; found {} in it", key, expected, type_name(element)));
      all_texts = false;
    }
  }
  if (all_texts) values = std::move(read);
  return all_texts;
}

void TableReader::prefixes(std::string_view key, std::vector<core::IpPrefix>& values) {
  std::vector<PlacedText> read;
  if (!texts(key, read, "\"192.168.0.0/16\", \"2001:db8::/32\"")) return;
  values.clear();
  for (const PlacedText& entry : read) {
    std::string why;
    if (const auto prefix = core::IpPrefix::parse(entry.text, &why)) {
      values.push_back(*prefix);
    } else {
      error_at(entry.place, fmt::format("in '{}': {}", key, why));
    }
  }
}

const toml::table* TableReader::table(std::string_view key) {
  const toml::node* node = ask(key);
  if (node == nullptr) return nullptr;
  if (const auto* table = node->as_table()) return table;
  const bool repeated = node->as_array() != nullptr && node->as_array()->is_array_of_tables();
  error(key, repeated ? fmt::format("'{}' is written once, as [{}]: single brackets", key, key)
                      : fmt::format("'{}' must be a table, written as [{}]; found {}", key, key,
                                    type_name(*node)));
  return nullptr;
}

std::vector<const toml::table*> TableReader::tables(std::string_view key) {
  std::vector<const toml::table*> found;
  const toml::node* node = ask(key);
  if (node == nullptr) return found;
  const auto* array = node->as_array();
  if (array == nullptr || (!array->empty() && !array->is_array_of_tables())) {
    error(key, fmt::format("there may be several: write [[{}]] in double brackets in front of each", key));
    return found;
  }
  for (const toml::node& element : *array) found.push_back(element.as_table());
  return found;
}

void TableReader::not_built(std::string_view key, std::string_view off, std::string_view why) {
  const toml::node* node = ask(key);
  if (node == nullptr || written(*node) == off) return;
  const bool repeated = node->as_array() != nullptr && node->as_array()->is_array_of_tables();
  const std::string shown = repeated                      ? fmt::format("[[{}]]", key)
                            : node->as_table() != nullptr ? fmt::format("[{}]", key)
                                                          : fmt::format("'{} = {}'", key, written(*node));
  const bool has_off = !repeated && node->as_table() == nullptr;
  error(key, fmt::format("{} is not available in this version: {}; leave it out{}", shown, why,
                         has_off ? fmt::format(" or write {} = {}", key, off) : ""));
}

void TableReader::finish() {
  for (const auto& [key, node] : table_) {
    const std::string_view name = key.str();
    if (std::find(asked_.begin(), asked_.end(), name) != asked_.end()) continue;
    std::string hint;
    const auto* elsewhere = std::find_if(std::begin(kKnownKeys), std::end(kKnownKeys),
                                         [name](const KnownKey& known) { return known.name == name; });
    std::size_t nearest = std::min<std::size_t>(3, name.size() / 2);
    for (const std::string_view candidate : asked_) {
      if (const std::size_t distance = edit_distance(name, candidate); distance <= nearest && distance > 0) {
        if (distance == nearest && !hint.empty()) continue;
        nearest = distance;
        hint = fmt::format("; did you mean '{}'?", candidate);
      }
    }
    if (hint.empty() && elsewhere != std::end(kKnownKeys))
      hint = fmt::format("; it belongs in {}", elsewhere->where);
    if (hint.empty()) hint = fmt::format("; known here: {}", fmt::join(asked_, ", "));
    error_at(key.source().begin, fmt::format("unknown setting '{}' in {}{}", name, where_, hint));
  }
}

}  // namespace postern::policy
