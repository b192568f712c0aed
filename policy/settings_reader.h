// Reading one TOML table of the settings: each key is asked for by name and type, and what nobody asked for
// is an error.
//
// Every mistake becomes a diagnostic with its place, and reading goes on, so that an operator sees all of
// them at once. The value that is read stays as it was when the key is missing or wrong. Thread: one; cold.
#pragma once

#include <cstdint>
#include <initializer_list>
#include <string>
#include <string_view>
#include <toml++/toml.h>
#include <type_traits>
#include <vector>

#include "core/ip_address.h"
#include "policy/settings.h"

namespace postern::policy {

// A text of the file and its place.
struct PlacedText {
  std::string text;
  toml::source_position place;
};

class TableReader {
 public:
  // `where`: how the table is called in messages, such as "[service.relay]". All three outlive the reader.
  TableReader(const toml::table& table, std::string_view where, std::vector<Diagnostic>& diagnostics);

  void boolean(std::string_view key, bool& value);
  template <class Number>
  requires std::is_unsigned_v<Number>
  void number(std::string_view key, std::uint64_t least, std::uint64_t most, Number& value) {
    std::uint64_t wide = value;
    if (whole_number(key, least, most, wide)) value = static_cast<Number>(wide);
  }
  // "90s", "10m", "24h", "5d", or a number of seconds.
  void duration(std::string_view key, std::uint32_t least, std::uint32_t most, std::uint32_t& seconds);
  void numbers(std::string_view key, std::uint64_t least, std::uint64_t most,
               std::vector<std::uint32_t>& values);
  bool text(std::string_view key, std::string& value,
            std::string_view example);  // true: it was there, and is text
  // The same where an empty text means something.
  bool text_or_empty(std::string_view key, std::string& value, std::string_view example);
  // One of the words; its index goes to `choice`.
  void choice(std::string_view key, std::initializer_list<std::string_view> words, std::size_t& choice);
  // False: missing or not a list of texts. Places are those of the elements.
  bool texts(std::string_view key, std::vector<PlacedText>& values, std::string_view example);
  void prefixes(std::string_view key, std::vector<core::IpPrefix>& values);

  // nullptr: missing or no table. The key is asked for either way.
  const toml::table* table(std::string_view key);
  std::vector<const toml::table*> tables(std::string_view key);

  // A key of the product's plan that this version does not have. `off` is how it is written when it is not
  // wanted
  // ("false", "[]", "\"none\"", "0"); that is accepted, everything else is an error that ends in `why`.
  void not_built(std::string_view key, std::string_view off, std::string_view why);

  // After the last question: the keys that nobody asked for.
  void finish();

  void error_at(const toml::source_position& place, std::string text);
  void error(std::string_view key, std::string text);  // at the key's value, or at the table
  void warning_at(const toml::source_position& place, std::string text);
  [[nodiscard]] bool has(std::string_view key) const;
  [[nodiscard]] toml::source_position place() const;  // of the table
  [[nodiscard]] toml::source_position place(std::string_view key) const;

 private:
  const toml::node* ask(std::string_view key);
  bool whole_number(std::string_view key, std::uint64_t least, std::uint64_t most, std::uint64_t& value);
  void wrong_type(std::string_view key, const toml::node& found, std::string_view expected);

  const toml::table& table_;
  std::string_view where_;
  std::vector<Diagnostic>& diagnostics_;
  std::vector<std::string_view> asked_;
};

// Insertions, deletions, replacements and swaps of neighbours that turn one text into the other.
[[nodiscard]] std::size_t edit_distance(std::string_view a, std::string_view b);

}  // namespace postern::policy
