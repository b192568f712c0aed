#include <filesystem>
#include <fstream>
#include <gtest/gtest.h>
#include <sys/stat.h>
#include <unistd.h>

#include "net/tls/certificate.h"
#include "tests/net/tls/tls_support.h"

namespace postern::net::tls::test {
namespace {

namespace fs = std::filesystem;

class SelfSignedTest : public testing::Test {
 protected:
  void SetUp() override {
    folder_ = fs::temp_directory_path() / ("postern-self-signed-" + std::to_string(getpid()));
    fs::remove_all(folder_);
    fs::create_directory(folder_);
    chain_ = folder_ / "tls" / "chain.pem";
    key_ = folder_ / "tls" / "key.pem";
  }
  void TearDown() override { fs::remove_all(folder_); }

  core::Result<void> make() { return make_self_signed(names_, chain_, key_, kNow); }
  core::Result<Certificate> load() const { return Certificate::load({.names = {}, .chain = chain_, .key = key_}); }
  static mode_t mode_of(const std::string& path) {
    struct stat status {};
    return ::stat(path.c_str(), &status) == 0 ? status.st_mode & 07777 : 0;
  }
  static std::string text_of(const std::string& path) {
    std::ifstream file(path, std::ios::binary);
    return {std::istreambuf_iterator<char>(file), {}};
  }

  fs::path folder_;
  std::string chain_, key_;
  std::vector<std::string> names_ = {"Mail.Example.net", "smtp.example.net"};
};

TEST_F(SelfSignedTest, IsGoodButForItsSigner) {
  const mode_t before = umask(0);
  const auto made = make();
  umask(before);
  ASSERT_TRUE(made.has_value()) << made.error().text;
  const auto loaded = load();
  ASSERT_TRUE(loaded.has_value()) << loaded.error().text;
  EXPECT_EQ(loaded->key_kind(), KeyKind::ecdsa_p256);
  EXPECT_EQ(loaded->names(), (std::vector<std::string>{"mail.example.net", "smtp.example.net"}));
  EXPECT_EQ(mode_of(key_), 0600u);
  EXPECT_EQ(mode_of(chain_), 0644u);
  EXPECT_EQ(mode_of(folder_ / "tls"), 0700u);
  for (const std::int64_t day : {std::int64_t{-1}, std::int64_t{0}, std::int64_t{824 - 15}}) {
    const auto findings = inspect(*loaded, kNow + day * kDay);
    ASSERT_EQ(findings.size(), 1u);
    EXPECT_NE(findings[0].text.find("self-signed"), std::string::npos) << findings[0].text;
  }
  EXPECT_EQ(inspect(*loaded, kNow + 825 * kDay).front().severity, Finding::Severity::error);
  EXPECT_EQ(std::distance(fs::directory_iterator(folder_ / "tls"), {}), 2) << "something was left behind";
}

TEST_F(SelfSignedTest, TheKeyIsPrivateWhateverTheUmask) {
  const mode_t before = umask(0277);
  const auto made = make();
  umask(before);
  ASSERT_TRUE(made.has_value()) << made.error().text;
  EXPECT_EQ(mode_of(key_), 0600u);
  EXPECT_EQ(mode_of(chain_), 0644u);
}

TEST_F(SelfSignedTest, ReplacesNothing) {
  ASSERT_TRUE(make().has_value());
  const std::string chain = text_of(chain_), key = text_of(key_);
  const auto again = make();
  ASSERT_FALSE(again.has_value());
  EXPECT_NE(again.error().text.find("is not replaced"), std::string::npos) << again.error().text;
  EXPECT_EQ(text_of(chain_), chain);
  EXPECT_EQ(text_of(key_), key);
}

TEST_F(SelfSignedTest, GoesOnWithTheKeyOfAStartThatWasCutShort) {
  ASSERT_TRUE(make().has_value());
  const std::string key = text_of(key_);
  fs::remove(chain_);
  const auto again = make();
  ASSERT_TRUE(again.has_value()) << again.error().text;
  EXPECT_EQ(text_of(key_), key);
  EXPECT_TRUE(load().has_value());
}

TEST_F(SelfSignedTest, AKeyThatIsNoneIsLeftAlone) {
  fs::create_directory(folder_ / "tls");
  std::ofstream(key_) << "my notes";
  const auto made = make();
  ASSERT_FALSE(made.has_value());
  EXPECT_NE(made.error().text.find("no private key"), std::string::npos) << made.error().text;
  EXPECT_EQ(text_of(key_), "my notes");
  EXPECT_FALSE(fs::exists(chain_));
}

TEST_F(SelfSignedTest, SaysWhereItCannotWrite) {
  key_ = folder_ / "none" / "below" / "key.pem";
  const auto made = make();
  ASSERT_FALSE(made.has_value());
  EXPECT_EQ(made.error().code, ENOENT);
  EXPECT_NE(made.error().text.find(folder_ / "none" / "below"), std::string::npos) << made.error().text;
}

TEST_F(SelfSignedTest, WantsHostNames) {
  for (const auto& names : std::vector<std::vector<std::string>>{{}, {""}, {"[192.0.2.1]"}, {"mail.example.net", "a..b"}}) {
    names_ = names;
    EXPECT_FALSE(make().has_value());
  }
  EXPECT_FALSE(fs::exists(folder_ / "tls"));
  names_ = {std::string(60, 'a') + "." + std::string(60, 'b') + ".net"};  // longer than a common name may be
  ASSERT_TRUE(make().has_value());
  const auto loaded = load();
  ASSERT_TRUE(loaded.has_value()) << loaded.error().text;
  EXPECT_EQ(loaded->names(), names_);
}

}  // namespace
}  // namespace postern::net::tls::test
