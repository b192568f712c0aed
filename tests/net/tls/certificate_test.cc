#include "net/tls/certificate.h"

#include <filesystem>
#include <fstream>
#include <gtest/gtest.h>
#include <openssl/err.h>
#include <openssl/nid.h>
#include <sys/stat.h>
#include <unistd.h>

#include "tests/net/tls/tls_support.h"

namespace postern::net::tls::test {
namespace {

namespace fs = std::filesystem;

class CertificateTest : public testing::Test {
 protected:
  void SetUp() override {
    folder_ = fs::temp_directory_path() / ("postern-certificate-" + std::to_string(getpid()));
    fs::remove_all(folder_);
    fs::create_directory(folder_);
    files_ = {.names = {}, .chain = folder_ / "chain.pem", .key = folder_ / "key.pem"};
  }
  void TearDown() override {
    fs::remove_all(folder_);
    EXPECT_EQ(ERR_peek_error(), 0u) << "an error was left on BoringSSL's queue";
  }

  static void write(const fs::path& path, const std::string& text, mode_t mode = 0600) {
    fs::remove(path);
    std::ofstream(path, std::ios::binary) << text;
    ASSERT_EQ(chmod(path.c_str(), mode), 0);
  }
  void write_pair(const Subject& subject) {
    const Identity leaf = issue(subject, &intermediate());
    write(files_.chain, leaf.pem() + intermediate().pem());
    write(files_.key, leaf.key_pem());
  }
  // The message of a load that must fail.
  std::string refusal() {
    const auto loaded = Certificate::load(files_);
    EXPECT_FALSE(loaded.has_value());
    return loaded ? "" : loaded.error().text;
  }

  fs::path folder_;
  CertificateFiles files_;
};

std::string texts(const std::vector<Finding>& findings) {
  std::string all;
  for (const Finding& finding : findings) {
    all += (finding.severity == Finding::Severity::error ? "error: " : "warning: ") + finding.text + "\n";
  }
  return all;
}

// The one finding there must be.
void expect_finding(const std::vector<Finding>& findings, Finding::Severity severity, std::string_view part) {
  ASSERT_EQ(findings.size(), 1u) << texts(findings);
  EXPECT_EQ(findings[0].severity, severity) << texts(findings);
  EXPECT_NE(findings[0].text.find(part), std::string::npos) << texts(findings);
}

constexpr auto kError = Finding::Severity::error;
constexpr auto kWarning = Finding::Severity::warning;

std::vector<Finding> inspect_chain(const std::string& chain_pem, const Identity& leaf, std::vector<std::string> names = {}) {
  const auto loaded =
      Certificate::parse({.names = std::move(names), .chain = "chain.pem", .key = "key.pem"}, chain_pem, leaf.key_pem());
  if (!loaded) {
    ADD_FAILURE() << loaded.error().text;
    return {};
  }
  return inspect(*loaded, kNow);
}

std::vector<Finding> inspect_subject(const Subject& subject, std::vector<std::string> names = {}) {
  const Identity leaf = issue(subject, &intermediate());
  return inspect_chain(leaf.pem() + intermediate().pem(), leaf, std::move(names));
}

TEST_F(CertificateTest, LoadsEachKindOfKey) {
  const std::pair<Key, KeyKind> kinds[] = {
      {Key::p256, KeyKind::ecdsa_p256}, {Key::p384, KeyKind::ecdsa_p384}, {Key::rsa2048, KeyKind::rsa}};
  for (const auto& [key, kind] : kinds) {
    write_pair({.key = key});
    const auto loaded = Certificate::load(files_);
    ASSERT_TRUE(loaded.has_value()) << loaded.error().text;
    EXPECT_EQ(loaded->key_kind(), kind);
    EXPECT_EQ(texts(inspect(*loaded, kNow)), "");
  }
}

TEST_F(CertificateTest, TakesBothFromOneFile) {
  const Identity leaf = issue({}, &intermediate());
  write(files_.chain, leaf.key_pem() + leaf.pem() + intermediate().pem());
  files_.key = files_.chain;
  EXPECT_TRUE(Certificate::load(files_).has_value());
}

TEST_F(CertificateTest, NamesAreTheSettingsOrItsOwn) {
  write_pair({.dns = {"Mail.Example.NET", "*.example.net", "mail.example.net."}});
  auto loaded = Certificate::load(files_);
  ASSERT_TRUE(loaded.has_value()) << loaded.error().text;
  EXPECT_EQ(loaded->names(), (std::vector<std::string>{"mail.example.net", "*.example.net"}));
  files_.names = {"SMTP.Example.net.", "*.Example.net", "b\xc3\xbc" "cher.example"};
  loaded = Certificate::load(files_);
  ASSERT_TRUE(loaded.has_value()) << loaded.error().text;
  EXPECT_EQ(loaded->names(), (std::vector<std::string>{"smtp.example.net", "*.example.net", "xn--bcher-kva.example"}));
}

TEST_F(CertificateTest, WithoutAlternativeNamesTheCommonNameServesAndIsFoundFault) {
  const auto findings = inspect_subject({.common_name = "old.example.net", .dns = {}});
  expect_finding(findings, kError, "not for old.example.net");
}

TEST_F(CertificateTest, RefusesNamesThatAreNone) {
  write_pair({});
  for (const char* name : {"", "a..b", "*", "*.*.net", "mail example", "[192.0.2.1]", "smtp:mail"}) {
    files_.names = {name};
    EXPECT_NE(refusal().find("is no host name"), std::string::npos) << name;
  }
  files_.names = {};
  write_pair({.common_name = "", .dns = {}, .email = {"a@example.net"}});
  EXPECT_NE(refusal().find("names no host"), std::string::npos);
}

TEST_F(CertificateTest, SaysWhichFileIsMissing) {
  EXPECT_NE(refusal().find("open the certificate " + files_.chain + ": No such file"), std::string::npos);
  write_pair({});
  fs::remove(files_.key);
  const auto loaded = Certificate::load(files_);
  ASSERT_FALSE(loaded.has_value());
  EXPECT_EQ(loaded.error().code, ENOENT);
  EXPECT_NE(loaded.error().text.find("open the key " + files_.key), std::string::npos);
}

TEST_F(CertificateTest, RefusesWhatIsNoFile) {
  write_pair({});
  files_.chain = folder_;
  EXPECT_NE(refusal().find("is not a file"), std::string::npos);
  files_.chain = folder_ / "pipe";
  ASSERT_EQ(mkfifo(files_.chain.c_str(), 0600), 0);
  EXPECT_NE(refusal().find("is not a file"), std::string::npos);  // and does not wait for a writer
}

TEST_F(CertificateTest, RefusesWhatIsNoPem) {
  write_pair({});
  const Identity leaf = issue({}, &intermediate());
  write(files_.chain, leaf.der());
  EXPECT_NE(refusal().find("no certificate in PEM form"), std::string::npos);
  write(files_.chain, "");
  EXPECT_NE(refusal().find("no certificate in PEM form"), std::string::npos);
  std::string damaged = leaf.pem() + intermediate().pem();
  damaged[leaf.pem().size() + 100] = '!';
  write(files_.chain, damaged);
  EXPECT_NE(refusal().find("damaged PEM text where certificate 2"), std::string::npos);
  write(files_.chain, "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n");
  EXPECT_NE(refusal().find("certificate 1 cannot be parsed"), std::string::npos);
  write(files_.chain, std::string((1 << 20) + 1, 'A'));
  EXPECT_NE(refusal().find("larger than 1 MiB"), std::string::npos);
  std::string many;
  for (int i = 0; i < 17; ++i) many += leaf.pem();
  write(files_.chain, many);
  EXPECT_NE(refusal().find("more than 16"), std::string::npos);
}

TEST_F(CertificateTest, RefusesKeysItCannotUse) {
  const Identity leaf = issue({}, &intermediate());
  write(files_.chain, leaf.pem());
  write(files_.key, leaf.encrypted_key_pem());
  EXPECT_NE(refusal().find("the key is encrypted"), std::string::npos);
  write(files_.key, "-----BEGIN RSA PRIVATE KEY-----\nProc-Type: 4,ENCRYPTED\nDEK-Info: AES-128-CBC,00\n\nAAAA\n"
                    "-----END RSA PRIVATE KEY-----\n");
  EXPECT_NE(refusal().find("the key is encrypted"), std::string::npos);
  write(files_.key, leaf.pem());
  EXPECT_NE(refusal().find("no private key"), std::string::npos);
  write(files_.key, "-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n");
  EXPECT_NE(refusal().find("private key cannot be parsed"), std::string::npos);
  write(files_.key, issue({}, nullptr).key_pem());
  EXPECT_NE(refusal().find("is not the key of the first certificate"), std::string::npos);
  for (const Key kind : {Key::ed25519, Key::p521}) {
    write_pair({.key = kind});
    EXPECT_NE(refusal().find("mail programs do not know"), std::string::npos);
  }
}

TEST_F(CertificateTest, RefusesAChainThatDoesNotBeginWithItsOwn) {
  const Identity leaf = issue({}, &intermediate());
  write(files_.chain, intermediate().pem() + leaf.pem());
  write(files_.key, leaf.key_pem());
  EXPECT_NE(refusal().find("must stand first"), std::string::npos);
}

TEST_F(CertificateTest, NoticesThatItsFilesChanged) {
  write_pair({});
  auto loaded = Certificate::load(files_);
  ASSERT_TRUE(loaded.has_value()) << loaded.error().text;
  EXPECT_FALSE(loaded->files_changed());
  const std::string key = issue({}, nullptr).key_pem();
  write(folder_ / "new", key);
  fs::rename(folder_ / "new", files_.key);
  EXPECT_TRUE(loaded->files_changed());
  write_pair({});
  loaded = Certificate::load(files_);
  ASSERT_TRUE(loaded.has_value()) << loaded.error().text;
  fs::remove(files_.chain);
  EXPECT_TRUE(loaded->files_changed());
}

TEST_F(CertificateTest, AKeyThatEverybodyCanReadIsAWarning) {
  write_pair({});
  for (const mode_t mode : {0604, 0602, 0666}) {
    ASSERT_EQ(chmod(files_.key.c_str(), mode), 0);
    const auto loaded = Certificate::load(files_);
    ASSERT_TRUE(loaded.has_value()) << loaded.error().text;
    expect_finding(inspect(*loaded, kNow), kWarning, files_.key);
  }
  ASSERT_EQ(chmod(files_.key.c_str(), 0640), 0);
  const auto loaded = Certificate::load(files_);
  ASSERT_TRUE(loaded.has_value()) << loaded.error().text;
  EXPECT_EQ(texts(inspect(*loaded, kNow)), "");
}

TEST(CertificateInspection, JudgesTimesToTheSecond) {
  EXPECT_EQ(texts(inspect_subject({.begin = kNow, .end = kNow + 14 * kDay + 1})), "");
  expect_finding(inspect_subject({.end = kNow + 14 * kDay - 1}), kWarning, "expires on 2027-01-29, within 14 days");
  expect_finding(inspect_subject({.end = kNow + 1}), kWarning, "within 14 days");
  expect_finding(inspect_subject({.end = kNow - 1}), kError, "the certificate expired on 2027-01-15");
  expect_finding(inspect_subject({.begin = kNow + 1}), kError, "not valid before 2027-01-15");
}

TEST(CertificateInspection, JudgesTimesOfTheWholeChain) {
  const Identity authority =
      issue({.common_name = "Old Intermediate", .dns = {}, .end = kNow - kDay, .is_authority = true}, &root());
  const Identity leaf = issue({}, &authority);
  expect_finding(inspect_chain(leaf.pem() + authority.pem(), leaf), kError, "certificate 2 of the chain expired");
}

TEST(CertificateInspection, NamesMustBeCovered) {
  EXPECT_EQ(texts(inspect_subject({.dns = {"a.example.net", "*.b.example.net"}}, {"a.example.net", "x.b.example.net"})), "");
  EXPECT_EQ(texts(inspect_subject({.dns = {"*.B.example.net"}}, {"*.b.example.net"})), "");
  expect_finding(inspect_subject({.dns = {"a.example.net"}}, {"a.example.net", "b.example.net"}), kError,
                 "not for b.example.net");
  expect_finding(inspect_subject({.dns = {"*.example.net"}}, {"x.b.example.net"}), kError, "not for x.b.example.net");
  expect_finding(inspect_subject({.dns = {"*.example.net"}}, {"example.net"}), kError, "not for example.net");
  expect_finding(inspect_subject({.dns = {"a.b.example.net"}}, {"*.b.example.net"}), kError, "not for *.b.example.net");
  // The common name counts for nothing, as with clients.
  expect_finding(inspect_subject({.common_name = "b.example.net", .dns = {"a.example.net"}}, {"b.example.net"}), kError,
                 "not for b.example.net");
}

TEST(CertificateInspection, WeakOnesAreErrors) {
  expect_finding(inspect_subject({.key = Key::rsa1024}), kError, "RSA key of 1024 bits");
  EXPECT_EQ(texts(inspect_subject({.key = Key::rsa2048})), "");
  expect_finding(inspect_subject({.sha1 = true}), kError, "the certificate is signed with SHA-1");
  const Identity authority = issue(
      {.common_name = "Weak Intermediate", .dns = {}, .end = kNow + 900 * kDay, .is_authority = true, .sha1 = true}, &root());
  const Identity leaf = issue({}, &authority);
  expect_finding(inspect_chain(leaf.pem() + authority.pem(), leaf), kError, "certificate 2 of the chain is signed with SHA-1");
}

TEST(CertificateInspection, OnlyForServers) {
  EXPECT_EQ(texts(inspect_subject({.purpose = NID_undef})), "");
  expect_finding(inspect_subject({.purpose = NID_client_auth}), kError, "lacks serverAuth");
}

TEST(CertificateInspection, ChainsInOrderAndWhole) {
  const Identity leaf = issue({}, &intermediate());
  EXPECT_EQ(texts(inspect_chain(leaf.pem() + intermediate().pem() + root().pem(), leaf)), "");
  expect_finding(inspect_chain(leaf.pem(), leaf), kWarning, "no certificate of an authority follows");
  expect_finding(inspect_chain(leaf.pem() + root().pem() + intermediate().pem(), leaf), kError,
                 "certificate 2 did not sign");
  // The right name, another key.
  const Identity impostor =
      issue({.common_name = "Test Intermediate", .dns = {}, .end = kNow + 900 * kDay, .is_authority = true}, &root());
  expect_finding(inspect_chain(leaf.pem() + impostor.pem(), leaf), kError, "certificate 2 did not sign");
  const Identity lonely = issue({}, nullptr);
  expect_finding(inspect_chain(lonely.pem(), lonely), kWarning, "self-signed");
}

TEST(CertificateInspection, ErrorsComeFirst) {
  const Identity leaf = issue({.key = Key::rsa1024, .end = kNow - kDay}, nullptr);
  const auto findings = inspect_chain(leaf.pem(), leaf, {"other.example.net"});
  ASSERT_EQ(findings.size(), 4u) << texts(findings);
  for (std::size_t i = 0; i < 3; ++i) EXPECT_EQ(findings[i].severity, kError) << texts(findings);
  EXPECT_EQ(findings[3].severity, kWarning) << texts(findings);
  for (const Finding& finding : findings) EXPECT_TRUE(finding.text.starts_with("chain.pem: ")) << finding.text;
}

}  // namespace
}  // namespace postern::net::tls::test
