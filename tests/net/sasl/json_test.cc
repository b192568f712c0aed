// The JSON reader: strict, bounded, and sure of where it is.
#include "net/sasl/json.h"

#include <algorithm>
#include <gtest/gtest.h>
#include <string>
#include <vector>

namespace postern::net::sasl::test {
namespace {

using namespace std::string_literals;

// Writes down what it is told.
struct Recorder final : JsonVisitor {
  std::string told;
  std::string stop_at;

  bool visit(JsonPath path, const JsonValue& value) override {
    std::string line;
    for (const JsonStep& step : path) line += step.is_array ? "[]/" : std::string(step.key) + "/";
    switch (value.kind) {
      case JsonKind::null:
        line += "=null";
        break;
      case JsonKind::boolean:
        line += value.boolean ? "=true" : "=false";
        break;
      case JsonKind::number:
        line += "=" + std::to_string(static_cast<long long>(value.number));
        break;
      case JsonKind::string:
        line += "='" + std::string(value.string) + "'";
        break;
      case JsonKind::object_begin:
        line += "{";
        break;
      case JsonKind::object_end:
        line += "}";
        break;
      case JsonKind::array_begin:
        line += "[";
        break;
      case JsonKind::array_end:
        line += "]";
        break;
    }
    told += line + " ";
    return stop_at.empty() || line != stop_at;
  }
};

std::optional<std::string> read(std::string text, const std::string& stop_at = "") {
  Recorder recorder;
  recorder.stop_at = stop_at;
  if (!read_json(text, recorder)) return std::nullopt;
  return recorder.told;
}

TEST(Json, TellsEveryValueWithItsPlace) {
  EXPECT_EQ(read(R"({"a":1,"b":[true,null,{"c":"x"},"y"],"d":{"e":{}},"f":[]} )"),
            "{ a/=1 b/[ b/[]/=true b/[]/=null b/[]/{ b/[]/c/='x' b/[]/} b/[]/='y' b/] d/{ d/e/{ d/e/} d/} f/[ f/] } ");
  EXPECT_EQ(read("[]"), "[ ] ");
  EXPECT_EQ(read("\"x\""), "='x' ");
  EXPECT_EQ(read(R"({"":{"":""}})"), "{ /{ //='' /} } ");
}

TEST(Json, EscapesAreUndone) {
  EXPECT_EQ(read(R"("\u00e9\n\"\\\/\ud83d\ude00")"), "='\u00E9\n\"\\/\U0001F600' ");
  EXPECT_EQ(read(R"({"\u0069ss":"a\u0000b"})"), "{ iss/='a\0b' } "s);
}

TEST(Json, Numbers) {
  EXPECT_EQ(read("[0,-1,4294967296,-4294967297,1.5e3,1e2]"),
            "[ []/=0 []/=-1 []/=4294967296 []/=-4294967297 []/=1500 []/=100 ] ");
  for (const std::string_view text : {"01", "+1", ".5", "1.", "1e", "NaN", "Infinity", "-", "1e999", "0x1"}) {
    EXPECT_EQ(read(std::string(text)), std::nullopt) << text;
  }
}

TEST(Json, RefusesWhatIsNoJson) {
  for (const std::string& text : {""s,
                                  " "s,
                                  "{"s,
                                  "}"s,
                                  "{]"s,
                                  "{\"a\"}"s,
                                  "{\"a\":}"s,
                                  "{\"a\":1,}"s,
                                  "[1,]"s,
                                  "[,1]"s,
                                  "{} {}"s,
                                  "{}x"s,
                                  "{}\0"s,
                                  "{\0}"s,
                                  "{}\0{}"s,
                                  "'a'"s,
                                  "{a:1}"s,
                                  "\"a"s,
                                  "\"\n\""s,
                                  "\"\x01\""s,
                                  "\"\\x\""s,
                                  "\"\\u12\""s,
                                  "\"\\ud800\""s,
                                  "\"\\udc00\""s,
                                  "{\"\\udc00\":1}"s,
                                  "\"\\udc00\\ud800\""s,
                                  "\"\xff\""s,
                                  "\"\xc0\xaf\""s,
                                  "\"\xed\xa0\x80\""s,
                                  "tru"s,
                                  "// c\n{}"s,
                                  "/* c */{}"s,
                                  "{/**/}"s}) {
    EXPECT_EQ(read(text), std::nullopt) << testing::PrintToString(text);
  }
}

// Strings are kept in the text while it is still being read.
TEST(Json, LongStringsStayWhole) {
  struct Keeper final : JsonVisitor {
    std::vector<std::string_view> kept;
    bool visit(JsonPath path, const JsonValue& value) override {
      if (value.kind == JsonKind::string) kept.insert(kept.end(), {path.back().key, value.string});
      return true;
    }
  };
  std::string text = "{";
  std::vector<std::string> wanted;
  for (int i = 0; i < 200; ++i) {
    wanted.push_back("key" + std::to_string(i));
    wanted.push_back(std::string(static_cast<std::size_t>(i), static_cast<char>('a' + i % 26)) + "\u00E9");
    text += (i == 0 ? "\"" : ",\"") + wanted[wanted.size() - 2] + "\":\"" + wanted.back() + "\"";
  }
  text += "}";
  Keeper keeper;
  ASSERT_TRUE(read_json(text, keeper));
  EXPECT_TRUE(std::ranges::equal(keeper.kept, wanted));
}

TEST(Json, DepthIsBounded) {
  const auto nested = [](std::size_t depth) { return std::string(depth, '[') + std::string(depth, ']'); };
  EXPECT_NE(read(nested(kJsonDepthMax)), std::nullopt);
  EXPECT_EQ(read(nested(kJsonDepthMax + 1)), std::nullopt);
  EXPECT_EQ(read(std::string(1'000'000, '[')), std::nullopt);
}

TEST(Json, TheVisitorCanStop) {
  EXPECT_EQ(read(R"({"a":1,"b":2})", "b/=2"), std::nullopt);
  EXPECT_NE(read(R"({"a":1,"b":2})", "b/=3"), std::nullopt);
  EXPECT_EQ(read(R"({"a":[1]})", "a/]"), std::nullopt);
}

TEST(Json, PathsAreComparedWithArraysInThem) {
  const JsonStep member{.key = "[]"};
  const JsonStep element{.key = {}, .is_array = true};
  const JsonStep keys{.key = "keys"};
  EXPECT_TRUE(is_at(std::array{keys, element}, {"keys", "[]"}));
  EXPECT_FALSE(is_at(std::array{keys, member}, {"keys", "[]"}));
  EXPECT_FALSE(is_at(std::array{element, keys}, {"keys", "[]"}));
  EXPECT_FALSE(is_at(std::array{keys}, {"keys", "[]"}));
  EXPECT_TRUE(is_at({}, {}));
}

}  // namespace
}  // namespace postern::net::sasl::test
