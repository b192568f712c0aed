// nlohmann's event reader, which does not recurse, behind a visitor that knows where it is.
#include "net/sasl/json.h"

#include <algorithm>
#include <array>
#include <nlohmann/json.hpp>
#include <string>

#include "core/assert.h"

namespace postern::net::sasl {
namespace {

using Json = nlohmann::json;

// What the reader calls. Its strings are gone after the call, so they are kept at the beginning of the text: each has
// been read from more octets than it has, with its quotes, so what is written there has been read.
class Handler final : public nlohmann::json_sax<Json> {
 public:
  Handler(std::span<char> text, JsonVisitor& visitor) : text_(text), visitor_(visitor) {}

  bool null() override { return tell({.kind = JsonKind::null}); }
  bool boolean(bool value) override { return tell({.kind = JsonKind::boolean, .boolean = value}); }
  bool number_integer(number_integer_t value) override { return number(static_cast<double>(value)); }
  bool number_unsigned(number_unsigned_t value) override { return number(static_cast<double>(value)); }
  bool number_float(number_float_t value, const string_t&) override { return number(value); }
  bool string(string_t& value) override { return tell({.kind = JsonKind::string, .string = keep(value)}); }
  bool binary(binary_t&) override { return false; }  // of other formats
  bool key(string_t& value) override {
    path_[depth_ - 1].key = keep(value);
    return true;
  }
  bool start_object(std::size_t) override { return open(JsonKind::object_begin); }
  bool end_object() override { return close(JsonKind::object_end); }
  bool start_array(std::size_t) override { return open(JsonKind::array_begin); }
  bool end_array() override { return close(JsonKind::array_end); }
  bool parse_error(std::size_t, const std::string&, const nlohmann::detail::exception&) override { return false; }

 private:
  bool tell(const JsonValue& value) { return visitor_.visit(JsonPath(path_).first(depth_), value); }
  bool number(double value) { return tell({.kind = JsonKind::number, .number = value}); }
  bool open(JsonKind kind) {
    if (!tell({.kind = kind}) || depth_ == path_.size()) return false;
    path_[depth_++] = {.key = {}, .is_array = kind == JsonKind::array_begin};
    return true;
  }
  bool close(JsonKind kind) {
    --depth_;
    return tell({.kind = kind});
  }
  std::string_view keep(const std::string& value) {
    POSTERN_ASSERT(value.size() <= text_.size());
    value.copy(text_.data(), value.size());
    const std::string_view kept(text_.data(), value.size());
    text_ = text_.subspan(value.size());
    return kept;
  }

  std::span<char> text_;  // behind the strings that are kept
  JsonVisitor& visitor_;
  std::array<JsonStep, kJsonDepthMax> path_{};
  std::size_t depth_ = 0;
};

}  // namespace

bool is_at(JsonPath path, std::initializer_list<std::string_view> names) noexcept {
  return std::ranges::equal(path, names, [](const JsonStep& step, std::string_view name) {
    // A member of that very name is no element.
    return step.is_array ? name == "[]" : name != "[]" && step.key == name;
  });
}

bool read_json(std::span<char> text, JsonVisitor& visitor) noexcept {
  // The reader takes a NUL for the end, wherever it stands, and passes a byte order mark over.
  if (std::ranges::find(text, '\0') != text.end() || std::string_view(text.data(), text.size()).starts_with('\xef')) {
    return false;
  }
  Handler handler(text, visitor);
  return Json::sax_parse(text.data(), text.data() + text.size(), &handler);
}

}  // namespace postern::net::sasl
