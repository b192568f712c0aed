// RapidJSON's event reader, without its recursion, behind a visitor that knows where it is.
#include "net/sasl/json.h"

#include <algorithm>
#include <array>
#include <cstring>

#include "core/assert.h"
#include "net/sasl/prepare.h"
#define RAPIDJSON_ASSERT(x) POSTERN_ASSERT(x)
#include <rapidjson/reader.h>

namespace postern::net::sasl {
namespace {

// What RapidJSON calls.
class Handler {
 public:
  explicit Handler(JsonVisitor& visitor) : visitor_(visitor) {}

  bool Null() { return tell({.kind = JsonKind::null}); }
  bool Bool(bool value) { return tell({.kind = JsonKind::boolean, .boolean = value}); }
  bool Int(int value) { return number(value); }
  bool Uint(unsigned value) { return number(value); }
  bool Int64(std::int64_t value) { return number(static_cast<double>(value)); }
  bool Uint64(std::uint64_t value) { return number(static_cast<double>(value)); }
  bool Double(double value) { return number(value); }
  bool RawNumber(const char*, rapidjson::SizeType, bool) { return false; }  // only called when asked for
  bool String(const char* text, rapidjson::SizeType length, bool) {
    // An escaped half of a surrogate pair passes the reader's own check.
    const std::string_view value(text, length);
    return is_utf8(value) && tell({.kind = JsonKind::string, .string = value});
  }
  bool Key(const char* text, rapidjson::SizeType length, bool) {
    path_[depth_ - 1].key = {text, length};
    return is_utf8(path_[depth_ - 1].key);
  }
  bool StartObject() { return open(JsonKind::object_begin); }
  bool EndObject(rapidjson::SizeType) { return close(JsonKind::object_end); }
  bool StartArray() { return open(JsonKind::array_begin); }
  bool EndArray(rapidjson::SizeType) { return close(JsonKind::array_end); }

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
  POSTERN_ASSERT(!text.empty() && text.back() == '\0');
  // The reader takes a NUL for the end, wherever it stands.
  if (std::memchr(text.data(), '\0', text.size() - 1) != nullptr) return false;
  constexpr unsigned kFlags =
      rapidjson::kParseInsituFlag | rapidjson::kParseIterativeFlag | rapidjson::kParseValidateEncodingFlag;
  rapidjson::InsituStringStream stream(text.data());
  rapidjson::Reader reader;
  Handler handler(visitor);
  return !reader.Parse<kFlags>(stream, handler).IsError();
}

}  // namespace postern::net::sasl
