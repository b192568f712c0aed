// The files that operators start from: the packaged one and the example in the documentation.
#include <fstream>
#include <gtest/gtest.h>
#include <iterator>
#include <string>

#include "policy/settings.h"

namespace postern::policy {
namespace {

std::string read(const std::string& path) {
  std::ifstream file(std::string(POSTERN_SOURCE_DIR) + "/" + path);
  EXPECT_TRUE(file.good()) << path;
  return {std::istreambuf_iterator<char>(file), std::istreambuf_iterator<char>()};
}

// Not one error, warning or note, in form or in meaning.
void expect_clean(const std::string& name, const std::string& text) {
  const ParsedSettings parsed = parse_settings(text);
  for (const Diagnostic& diagnostic : parsed.diagnostics) ADD_FAILURE() << diagnostic.format(name);
  for (const Diagnostic& diagnostic : check_settings(parsed.settings, {})) ADD_FAILURE() << diagnostic.format(name);
  EXPECT_FALSE(parsed.settings.services.empty());
  EXPECT_FALSE(parsed.settings.routes.empty());
}

TEST(SettingsFiles, ThePackagedFileIsClean) {
  const std::string text = read("packaging/postern.toml");
  expect_clean("packaging/postern.toml", text);
  const ParsedSettings parsed = parse_settings(text);
  ASSERT_EQ(parsed.settings.services.size(), 1u);
  EXPECT_EQ(parsed.settings.services[0].listen.at(0).port, 25);
}

TEST(SettingsFiles, TheDocumentedExampleIsClean) {
  const std::string doc = read("docs/settings.md");
  const std::size_t begin = doc.find("```toml\n");
  ASSERT_NE(begin, std::string::npos);
  const std::size_t end = doc.find("```", begin + 8);
  ASSERT_NE(end, std::string::npos);
  expect_clean("docs/settings.md", doc.substr(begin + 8, end - begin - 8));
}

TEST(SettingsFiles, EveryKeyIsDocumented) {
  const std::string doc = read("docs/settings.md");
  for (const char* key : {"protocol", "store_proxy_protocol", "proxy_protocol", "master_separator", "state", "store", "dovecot", "cram_md5", "hash_threads", "hash_queue", "cache_seconds", "hold_on_quota", "keys", "issuer",
                          "audience", "user_claim", "failures", "within", "bar", "bar_max", "never", "messages_per_hour",
                          "recipients_per_day", "names", "chain", "key", "tls", "tls_ca", "submission", "submission_domain",
                          "hide_client", "mechanisms", "plain_on_lan", "own_sender", "own_header_from", "client_ca",
                          "hostname",
                          "local_domains",
                          "lan",
                          "spool",
                          "workers",
                          "proxy_from",
                          "xclient_from",
                          "postmaster",
                          "format",
                          "to",
                          "connections",
                          "message_bytes",
                          "recipients",
                          "idle_seconds",
                          "session_seconds",
                          "connections_per_machine",
                          "queue_messages",
                          "memory_bytes",
                          "hops",
                          "window_seconds",
                          "ipv6_prefix",
                          "machines",
                          "retry_seconds",
                          "lifetime_seconds",
                          "drain_seconds",
                          "socket",
                          "name",
                          "listen",
                          "proxy_protocol",
                          "reject_forged_local",
                          "exempt_authenticated",
                          "access",
                          "blacklist",
                          "whitelist",
                          "errors",
                          "long_lines",
                          "i_know_this_is_an_open_relay",
                          "require_auth",
                          "after_login",
                          "outside_lan",
                          "non_local_senders",
                          "always_from_enabled",
                          "always_from",
                          "always_to_enabled",
                          "always_to",
                          "login_counts_as_auth",
                          "scope",
                          "domain",
                          "messages_per_connection"}) {
    EXPECT_NE(doc.find("| `" + std::string(key) + "` |"), std::string::npos) << key;
  }
}

}  // namespace
}  // namespace postern::policy
