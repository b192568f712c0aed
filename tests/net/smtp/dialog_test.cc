// Every dialog of tests/dialogs, played in memory: line by line, all at once, octet by octet, and cut at random. The same
// replies are required each time.
#include <algorithm>
#include <filesystem>
#include <gtest/gtest.h>

#include "tests/net/smtp/memory_driver.h"

namespace postern::net::smtp::test {
namespace {

std::vector<std::string> dialog_names() {
  std::vector<std::string> names;
  for (const auto& entry : std::filesystem::directory_iterator(POSTERN_DIALOGS)) {
    if (entry.path().extension() == ".dlg") names.push_back(entry.path().stem().string());
  }
  std::sort(names.begin(), names.end());
  return names;
}

class DialogTest : public testing::TestWithParam<std::string> {
 protected:
  void SetUp() override {
    std::string why;
    dialog_ = load_dialog(std::string(POSTERN_DIALOGS) + "/" + GetParam() + ".dlg", why);
    ASSERT_TRUE(dialog_.has_value()) << why;
    ASSERT_FALSE(dialog_->steps.empty());
  }
  std::optional<Dialog> dialog_;
};

TEST_P(DialogTest, Whole) {
  EXPECT_EQ(play(*dialog_, Cut::whole, 0), "");
}
TEST_P(DialogTest, OctetByOctet) {
  EXPECT_EQ(play(*dialog_, Cut::by_octet, 0), "");
}
TEST_P(DialogTest, CutAtRandom) {
  for (std::uint64_t seed = 1; seed <= 20; ++seed) {
    EXPECT_EQ(play(*dialog_, Cut::random, seed), "") << "seed " << seed;
  }
}

INSTANTIATE_TEST_SUITE_P(All, DialogTest, testing::ValuesIn(dialog_names()), [](const auto& test) {
  std::string name = test.param;
  std::replace_if(
      name.begin(), name.end(), [](char c) { return std::isalnum(static_cast<unsigned char>(c)) == 0; }, '_');
  return name;
});

TEST(DialogFormat, SaysWhichLineIsWrong) {
  std::string why;
  EXPECT_FALSE(parse_dialog("x.dlg", "# fine\nS: 220 *\nX: what\n", why).has_value());
  EXPECT_EQ(why, "x.dlg:3: not a line of a dialog: X: what");
  EXPECT_FALSE(parse_dialog("x.dlg", "C: \\q\n", why).has_value());
  EXPECT_FALSE(parse_dialog("x.dlg", "S: 220\n@set limits.hops = 3\n", why).has_value());
  EXPECT_FALSE(parse_dialog("x.dlg", "@clock +3\n", why).has_value());
  EXPECT_EQ(why, "x.dlg:1: needs @memory");
}

TEST(DialogFormat, ReadsOctetsAndSettings) {
  std::string why;
  const auto dialog = parse_dialog("x.dlg", "@set service.errors = 3\nC: a\\x00\\\\\nC+ b \nC*3 ab\n", why);
  ASSERT_TRUE(dialog.has_value()) << why;
  ASSERT_EQ(dialog->steps.size(), 3U);
  EXPECT_EQ(dialog->steps[0].text, std::string("a\0\\\r\n", 5));
  EXPECT_EQ(dialog->steps[1].text, "b ");
  EXPECT_EQ(dialog->steps[2].text, "ababab");
  EXPECT_EQ(make_snapshot(dialog->settings_text())->settings().services.at(0).errors, 3U);
}

TEST(DialogFormat, Patterns) {
  EXPECT_TRUE(matches("250 *", "250 Ok"));
  EXPECT_TRUE(matches("250*k", "250 Ok"));
  EXPECT_TRUE(matches("*", ""));
  EXPECT_FALSE(matches("250 *", "250-Ok"));
  EXPECT_FALSE(matches("250*x", "250 Ok"));
  EXPECT_FALSE(matches("250", "250 Ok"));
}

// A driver that awaited nothing would pass every dialog.
TEST(DialogPlayer, NoticesEveryDeviation) {
  std::string why;
  const auto fails = [&](std::string_view text) {
    const auto dialog = parse_dialog("x.dlg", text, why);
    return dialog.has_value() && !play(*dialog, Cut::whole, 0).empty() && !play(*dialog, Cut::by_octet, 0).empty();
  };
  EXPECT_FALSE(fails("S: 220 *\nC: QUIT\nS: 221 *\n@close\n"));
  EXPECT_TRUE(fails("S: 221 *\nC: QUIT\nS: 221 *\n@close\n"));
  EXPECT_TRUE(fails("S: 220 *\nC: QUIT\n@close\n"));
  EXPECT_TRUE(fails("S: 220 *\nC: QUIT\nS: 221 *\nS: 221 *\n@close\n"));
  EXPECT_TRUE(fails("S: 220 *\nC: QUIT\nS: 221 *\n"));
  EXPECT_TRUE(fails("S: 220 *\nC: QUIT\nS: 221 *\n@drop\n"));
  EXPECT_TRUE(fails("S: 220 *\nC: NOOP\nS: 250 *\n@close\n"));
  EXPECT_TRUE(fails("S: 220 *\nM: x\n"));
}

}  // namespace
}  // namespace postern::net::smtp::test
