// JSON (RFC 8259) read strictly and in place, told value by value, each with its place. For this folder and net/admin.
//
// Strict: UTF-8, no comments, no trailing commas, nothing behind the document, no more than kJsonDepthMax containers in
// one another. Numbers are doubles, which hold any date. The reader allocates a little for the token it is at, and does
// not wipe it.
#pragma once

#include <cstddef>
#include <cstdint>
#include <initializer_list>
#include <span>
#include <string_view>

namespace postern::net::sasl {

inline constexpr std::size_t kJsonDepthMax = 16;

enum class JsonKind : std::uint8_t { null, boolean, number, string, object_begin, object_end, array_begin, array_end };

struct JsonValue {
  JsonKind kind = JsonKind::null;
  bool boolean = false;
  double number = 0;
  std::string_view string{};  // points into the text that was given
};

// One container on the way from the document to a value: the member's name in it, or the fact that it is an array.
struct JsonStep {
  std::string_view key;
  bool is_array = false;
};
using JsonPath = std::span<const JsonStep>;

// Whether the path consists of these names; "[]" stands for an element of an array.
[[nodiscard]] bool is_at(JsonPath path, std::initializer_list<std::string_view> names) noexcept;

class JsonVisitor {
 public:
  virtual ~JsonVisitor() = default;
  // Containers are told at their begin and end, with the path of the container itself. False: stop, the document is
  // refused.
  virtual bool visit(JsonPath path, const JsonValue& value) = 0;
};

// `text` is overwritten: the strings told are kept in it. False: no JSON, or refused by the visitor.
[[nodiscard]] bool read_json(std::span<char> text, JsonVisitor& visitor) noexcept;

}  // namespace postern::net::sasl
