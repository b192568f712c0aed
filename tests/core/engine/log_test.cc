#include "core/log.h"

#include <filesystem>
#include <fstream>
#include <gtest/gtest.h>
#include <sstream>

#include "core/log_fold.h"
#include "core/log_format.h"

namespace postern::core {
namespace {

using namespace std::string_view_literals;

constexpr Time kNow{0, 1'795'492'103'042'999'999};  // 2026-11-24T03:48:23.042999999Z

const LogRecord& line_in(LogRing& ring) {
  const LogRecord* record = ring.front();
  EXPECT_NE(record, nullptr);
  return *record;
}

std::string formatted(const LogRecord& record, bool json, std::uint64_t folded = 0) {
  std::string out;
  format_log_line(record, json, folded, out);
  return out;
}

TEST(LogFormat, LogfmtAndJson) {
  LogRing ring(2);
  LogLine(ring, kNow, Severity::info, "accepted")
      .add("id", "4f2a")
      .add("from", "a b@example.net")
      .add("client", IpAddress::parse("2001:db8::1").value())
      .add("bytes", std::uint64_t{18446744073709551615u})
      .add("note", "");
  EXPECT_EQ(formatted(line_in(ring), false),
            "time=2026-11-24T03:48:23.042Z level=info event=accepted id=4f2a from=\"a b@example.net\" "
            "client=2001:db8::1 bytes=18446744073709551615 note=\"\"\n");
  EXPECT_EQ(formatted(line_in(ring), true, 12),
            "{\"time\":\"2026-11-24T03:48:23.042Z\",\"level\":\"info\",\"event\":\"accepted\",\"id\":\"4f2a\","
            "\"from\":\"a b@example.net\",\"client\":\"2001:db8::1\",\"bytes\":18446744073709551615,\"note\":\"\","
            "\"folded\":12}\n");
  EXPECT_NE(formatted(line_in(ring), false, 12).find(" folded=12\n"), std::string::npos);
}

TEST(LogFormat, WhatStrangersSayCannotForgeLinesOrDriveATerminal) {
  const std::pair<std::string_view, std::string_view> cases[] = {
      {"plain", "plain"},
      {"a\r\nlevel=error", "a\\r\\nlevel=error"},
      {"tab\there", "tab\\there"},
      {"\x1b[2J", "\\u001b[2J"},
      {"nul\0in"sv.substr(0, 6), "nul\\u0000in"},
      {"\"quoted\\", "\\\"quoted\\\\"},
      {"\x7f", "\\u007f"},
      {"m\xc3\xbcller", "m\xc3\xbcller"},
      {"\xe2\x82\xac \xf0\x9f\x93\xa7", "\xe2\x82\xac \xf0\x9f\x93\xa7"},
      {"\xc2\x9b"
       "31m",
       "\\u009b31m"},  // CSI as one C1 character
      {"\xe2\x80\xae"
       "exe",
       "\\u202eexe"},  // right-to-left override
      {"\xef\xbb\xbf", "\\ufeff"},
  };
  for (const auto& [in, out] : cases) {
    for (const bool json : {false, true}) {
      std::string text;
      append_escaped(in, json, text);
      EXPECT_EQ(text, out);
    }
  }
}

TEST(LogFormat, OctetsThatAreNotUtf8AreShownAsOctets) {
  const std::pair<std::string_view, std::string_view> cases[] = {
      {"\xff", "\\xff"},
      {"a\xc3", "a\\xc3"},                           // cut
      {"\xc3(", "\\xc3("},                           // no continuation
      {"\xc0\xaf", "\\xc0\\xaf"},                    // overlong '/'
      {"\xe0\x80\xaf", "\\xe0\\x80\\xaf"},           // overlong
      {"\xed\xa0\x80", "\\xed\\xa0\\x80"},           // a surrogate
      {"\xf4\x90\x80\x80", "\\xf4\\x90\\x80\\x80"},  // above U+10FFFF
      {"\x80", "\\x80"},
  };
  for (const auto& [in, out] : cases) {
    std::string text;
    append_escaped(in, false, text);
    EXPECT_EQ(text, out);
    std::string json;
    append_escaped(in, true, json);
    std::string doubled;
    for (const char c : out) doubled += c == '\\' ? std::string("\\\\") : std::string(1, c);
    EXPECT_EQ(json, doubled);
  }
}

TEST(LogLine, ALongValueIsCutAtACharacterAndMarked) {
  LogRing ring(4);
  std::string long_value;
  while (long_value.size() < 1000) long_value += "\xc3\xbc";
  LogLine(ring, kNow, Severity::warning, "refused")
      .add("a", "1")
      .add("text", long_value)
      .add("after", std::uint64_t{7});
  const LogRecord& record = line_in(ring);
  EXPECT_TRUE(record.truncated);
  EXPECT_LE(record.used, LogRecord::kFieldBytes);
  const std::string text = formatted(record, false);
  EXPECT_NE(text.find(" a=1 text=\"\xc3\xbc"), std::string::npos) << text;
  EXPECT_EQ(text.find("\\x"), std::string::npos) << "cut inside a character: " << text;
  EXPECT_NE(text.find(" truncated=true\n"), std::string::npos) << text;
  EXPECT_EQ(text.find("after"), std::string::npos) << text;
  EXPECT_NE(formatted(record, true).find(",\"truncated\":true}\n"), std::string::npos);
}

TEST(LogRing, AFullRingDropsAndCounts) {
  LogRing ring(2);
  for (int i = 0; i < 5; ++i) LogLine(ring, kNow, Severity::info, "line").add("n", static_cast<std::uint64_t>(i));
  EXPECT_EQ(ring.dropped(), 3u);
  EXPECT_NE(formatted(line_in(ring), false).find(" n=0\n"), std::string::npos);
  ring.pop();
  EXPECT_NE(formatted(line_in(ring), false).find(" n=1\n"), std::string::npos);
  ring.pop();
  EXPECT_EQ(ring.front(), nullptr);
  LogLine(ring, kNow, Severity::info, "line").add("n", std::uint64_t{9});
  EXPECT_NE(formatted(line_in(ring), false).find(" n=9\n"), std::string::npos);
}

struct Folding {
  FloodFolder folder;
  LogRing ring{1};
  bool pass(const char* event, std::uint64_t key, std::int64_t now_ns) {
    LogLine(ring, kNow, Severity::info, event).flood_key(key);
    const bool passed = folder.pass(line_in(ring), now_ns);
    ring.pop();
    return passed;
  }
  std::vector<std::uint64_t> expire(std::int64_t now_ns) {
    std::vector<std::uint64_t> counts;
    folder.expire(now_ns, [&](const LogRecord&, std::uint64_t folded) { counts.push_back(folded); });
    return counts;
  }
};

TEST(FloodFolder, AFloodIsFiveLinesAndOneCount) {
  Folding folding;
  static const char* const kEvent = "refused";
  int passed = 0;
  for (int i = 0; i < 1000; ++i) passed += folding.pass(kEvent, 42, i);
  EXPECT_EQ(passed, 5);
  EXPECT_TRUE(folding.pass(kEvent, 43, 0)) << "another key";
  EXPECT_TRUE(folding.pass("other", 42, 0)) << "another event";
  for (int i = 0; i < 10; ++i) EXPECT_TRUE(folding.pass(kEvent, 0, i)) << "no key: never folded";
  EXPECT_TRUE(folding.expire(FloodFolder::kWindowNanoseconds - 1).empty());
  EXPECT_EQ(folding.expire(FloodFolder::kWindowNanoseconds), std::vector<std::uint64_t>{994});  // and the line itself
  EXPECT_TRUE(folding.expire(INT64_MAX).empty());
  EXPECT_TRUE(folding.pass(kEvent, 42, FloodFolder::kWindowNanoseconds + 1)) << "a new window";
}

TEST(FloodFolder, ManyKeysStayBounded) {
  Folding folding;
  for (std::uint64_t key = 1; key <= 3 * FloodFolder::kWindowsMax; ++key) EXPECT_TRUE(folding.pass("refused", key, 0));
  // The table is full: the last key is not tracked, the first is.
  for (int i = 0; i < 10; ++i) EXPECT_TRUE(folding.pass("refused", 3 * FloodFolder::kWindowsMax, 0));
  for (int i = 0; i < 4; ++i) EXPECT_TRUE(folding.pass("refused", 1, 0));
  EXPECT_FALSE(folding.pass("refused", 1, 0));
  EXPECT_EQ(folding.expire(INT64_MAX).size(), 1u);
}

std::vector<std::string> lines_of(const std::string& path) {
  std::ifstream file(path);
  std::vector<std::string> lines;
  for (std::string line; std::getline(file, line);) lines.push_back(line);
  return lines;
}

struct LogFile {
  std::string path = ::testing::TempDir() + "postern-log-" + std::to_string(getpid());
  LogFile() { std::filesystem::remove(path); }
  ~LogFile() { std::filesystem::remove(path); }
};

TEST(Log, WritesTheLinesOfAllRingsInTheOrderOfTheirTimes) {
  LogFile file;
  {
    auto log = Log::start({.json = false, .to = file.path}, 2).value();
    for (int i = 0; i < 100; ++i) {
      const Time time{0, kNow.unix_ns + i * kNanosecondsPerMillisecond};
      LogLine(log->ring(i % 2), time, Severity::info, "line").add("n", static_cast<std::uint64_t>(i));
    }
  }
  const auto lines = lines_of(file.path);
  ASSERT_EQ(lines.size(), 100u);
  // Within one ring order is certain; between rings the thread may have looked in between.
  int last[2] = {-1, -1};
  for (const std::string& line : lines) {
    const int n = std::stoi(line.substr(line.find(" n=") + 3));
    EXPECT_GT(n, last[n % 2]);
    last[n % 2] = n;
  }
}

TEST(Log, TellsWhatItDroppedAndFolded) {
  LogFile file;
  std::uint64_t dropped = 0;
  constexpr std::uint64_t kLines = 100'000;
  {
    auto log = Log::start({.json = true, .to = file.path}, 1).value();
    for (std::uint64_t i = 0; i < kLines; ++i) {
      LogLine(log->ring(0), kNow, Severity::warning, "refused").add("n", i).flood_key(7);
    }
    dropped = log->ring(0).dropped();
  }
  std::uint64_t plain = 0;
  std::uint64_t folded = 0;
  std::uint64_t reported = 0;
  const auto number_after = [](const std::string& line, const std::string& key) -> std::uint64_t {
    const std::size_t at = line.find(key);
    return at == std::string::npos ? 0 : std::stoull(line.substr(at + key.size()));
  };
  for (const std::string& line : lines_of(file.path)) {
    if (line.find("\"event\":\"refused\"") != std::string::npos) {
      ++plain;
      folded += number_after(line, "\"folded\":");
    } else {
      ASSERT_NE(line.find("\"event\":\"log-lines-dropped\""), std::string::npos) << line;
      reported += number_after(line, "\"lines\":");
    }
  }
  EXPECT_EQ(reported, dropped);
  EXPECT_EQ(plain + folded + reported, kLines);
  EXPECT_LT(plain, 20u);
}

TEST(Log, ReopensItsFileForRotation) {
  LogFile file;
  LogFile rotated;
  rotated.path += ".1";
  auto log = Log::start({.json = false, .to = file.path}, 1).value();
  LogLine(log->ring(0), kNow, Severity::info, "before");
  while (lines_of(file.path).empty()) std::this_thread::yield();
  std::filesystem::rename(file.path, rotated.path);
  log->reopen();
  while (!std::filesystem::exists(file.path)) std::this_thread::yield();
  LogLine(log->ring(0), kNow, Severity::info, "after");
  log.reset();
  ASSERT_EQ(lines_of(rotated.path).size(), 1u);
  EXPECT_NE(lines_of(rotated.path)[0].find("event=before"), std::string::npos);
  ASSERT_EQ(lines_of(file.path).size(), 1u);
  EXPECT_NE(lines_of(file.path)[0].find("event=after"), std::string::npos);
}

TEST(Log, SaysWhyAFileCannotBeOpened) {
  const auto log = Log::start({.json = false, .to = "/nonexistent/postern.log"}, 1);
  ASSERT_FALSE(log.has_value());
  EXPECT_EQ(log.error().code, ENOENT);
  EXPECT_EQ(log.error().text, "open the log file /nonexistent/postern.log: No such file or directory");
}

}  // namespace
}  // namespace postern::core
