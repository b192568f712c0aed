// Every dialog of tests/dialogs that a client alone can play, over real sockets and the real ring, against the whole
// server of one worker. What was stored is read back from the spool, as `postern spool dump` reads it.
#include <algorithm>
#include <cctype>
#include <filesystem>
#include <gtest/gtest.h>
#include <memory>
#include <optional>
#include <utility>

#include "core/spool_dump.h"
#include "net/smtp/envelope.h"
#include "tests/net/server/test_server.h"
#include "tests/net/smtp/dialog.h"

namespace postern::net::test {
namespace {

using smtp::test::Dialog;
using smtp::test::DialogAct;

std::vector<std::string> dialog_names() {
  std::vector<std::string> names;
  for (const auto& entry : std::filesystem::directory_iterator(POSTERN_DIALOGS)) {
    std::string why;
    const auto dialog = smtp::test::load_dialog(entry.path().string(), why);
    if (dialog && !dialog->needs_memory) names.push_back(entry.path().stem().string());
  }
  std::sort(names.begin(), names.end());
  return names;
}

policy::Settings settings_of(const Dialog& dialog) {
  policy::ParsedSettings parsed = policy::parse_settings(dialog.settings_text());
  EXPECT_TRUE(parsed.ok());
  // A next hop that is not there: what was accepted stays in the spool, to be looked at.
  policy::RouteSettings route;
  route.domain = "*";
  route.to = {{policy::NextHopProtocol::smtp, "127.0.0.1", 1, core::IpAddress::from_v4(0x7f000001)}};
  parsed.settings.routes = {route};
  parsed.settings.queue.drain_seconds = 10;
  return parsed.settings;
}

struct Stored {
  std::string content;
  std::uint16_t flags = 0;
};

std::optional<Stored> last_stored(const std::string& spool) {
  std::optional<Stored> last;
  const auto dumped = core::dump_spool(spool, [&last](const core::DumpedItem& item) {
    EXPECT_EQ(item.damage, "");
    // The trace header is ours: it ends at the first line that is no continuation.
    std::size_t end = item.body.find("\r\n");
    while (end + 2 < item.body.size() && (item.body[end + 2] == '\t' || item.body[end + 2] == ' ')) {
      end = item.body.find("\r\n", end + 2);
    }
    EXPECT_EQ(item.body.substr(0, 15), "Received: from ");
    last = Stored{std::string(item.body.substr(end + 2)), item.info.content_flags};
  });
  EXPECT_TRUE(dumped.has_value());
  return last;
}

std::uint16_t flags_of(const std::string& words) {
  std::uint16_t flags = 0;
  const std::pair<const char*, std::uint16_t> names[] = {{"dot_stuffed", smtp::content_dot_stuffed},
                                                         {"needs_stuffing", smtp::content_needs_stuffing},
                                                         {"binary", smtp::content_binary},
                                                         {"eight_bit", smtp::content_eight_bit},
                                                         {"eight_bit_header", smtp::content_eight_bit_header}};
  std::size_t at = 0;
  while (at < words.size()) {
    const std::size_t end = std::min(words.find(' ', at), words.size());
    for (const auto& [name, flag] : names) {
      if (words.compare(at, end - at, name) == 0) flags |= flag;
    }
    at = end + 1;
  }
  return flags;
}

class RingDialogTest : public testing::TestWithParam<std::string> {};

TEST_P(RingDialogTest, GoesAsWritten) {
  std::string why;
  const auto dialog = smtp::test::load_dialog(std::string(POSTERN_DIALOGS) + "/" + GetParam() + ".dlg", why);
  ASSERT_TRUE(dialog.has_value()) << why;
  const ScratchFolder spool;
  TestServerOptions options;
  for (const auto& user : dialog->users) options.users.push_back({user.record, user.password});
  TestServer server(settings_of(*dialog), spool.path(), options);
  auto client = std::make_unique<TestClient>(dialog->client, server.port());
  std::string unsent;  // what stands between two directives goes out at once
  std::string content;
  bool wants_content = false;
  bool wants_none = false;
  std::optional<std::uint16_t> flags;
  for (const auto& step : dialog->steps) {
    if (step.act != DialogAct::send && !unsent.empty()) client->send(std::exchange(unsent, {}));
    switch (step.act) {
      case DialogAct::send:
        unsent += step.text;
        break;
      case DialogAct::handshake:
        ASSERT_TRUE(client->handshake()) << "line " << step.line;
        break;
      case DialogAct::expect: {
        const std::string line = client->line();
        ASSERT_TRUE(smtp::test::matches(step.text, line)) << "line " << step.line << " wants " << step.text << ", got "
                                                          << line;
        break;
      }
      case DialogAct::close:
      case DialogAct::drop:
        ASSERT_EQ(client->line(), "(closed)") << "line " << step.line;
        break;
      // Of several stored messages the last one's content is looked at in the end, so earlier wishes are let go.
      case DialogAct::content:
        if (wants_none || flags) content.clear();
        wants_none = false;
        wants_content = true;
        content += step.text;
        break;
      case DialogAct::flags:
        flags = flags_of(step.text);
        break;
      case DialogAct::no_content:
        wants_none = true;
        break;
      default:
        FAIL() << "line " << step.line << " needs a driver in memory";
    }
    if (step.act == DialogAct::send) {
      // A new transaction: what it stores, if anything, is the last one.
      wants_content = false;
      wants_none = false;
      flags.reset();
      content.clear();
    }
  }
  if (!unsent.empty()) client->send(unsent);
  client.reset();
  server.stop();
  const auto stored = last_stored(spool.path());
  if (wants_content) {
    ASSERT_TRUE(stored.has_value());
    EXPECT_EQ(stored->content, content);
  }
  if (flags) {
    ASSERT_TRUE(stored.has_value());
    EXPECT_EQ(stored->flags, *flags);
  }
}

INSTANTIATE_TEST_SUITE_P(All, RingDialogTest, testing::ValuesIn(dialog_names()), [](const auto& test) {
  std::string name = test.param;
  std::replace_if(
      name.begin(), name.end(), [](char c) { return std::isalnum(static_cast<unsigned char>(c)) == 0; }, '_');
  return name;
});

}  // namespace
}  // namespace postern::net::test
