// Rows 11, 12 and 13 of the relay table with a login over the protocol, under every setting of the other options, from
// the LAN and from outside: what AUTH opens, and what it does not.
#include <gtest/gtest.h>
#include <string>
#include <tuple>

#include "tests/net/smtp/memory_driver.h"

namespace postern::net::smtp::test {
namespace {

enum class Who { nobody, without_privilege, with_privilege };

const char* flag(bool on) { return on ? "true" : "false"; }

// require_auth, after_login, outside_lan, non_local_senders, in the LAN, a recent POP3 login, who logged in.
using Row = std::tuple<bool, bool, bool, bool, bool, bool, Who>;

class AuthRelay : public testing::TestWithParam<Row> {
 protected:
  void SetUp() override {
    const auto& [require_auth, after_login, outside_lan, non_local_senders, in_lan, recent, who] = GetParam();
    Dialog dialog;
    dialog.settings["service.relay.require_auth"] = flag(require_auth);
    dialog.settings["service.relay.after_login"] = flag(after_login);
    dialog.settings["service.relay.outside_lan"] = flag(outside_lan);
    dialog.settings["service.relay.non_local_senders"] = flag(non_local_senders);
    dialog.settings["service.i_know_this_is_an_open_relay"] = "true";
    dialog.settings["service.tls"] = "\"starttls\"";
    dialog.settings["service.auth.mechanisms"] = "[\"PLAIN\"]";
    dialog.settings["service.auth.own_sender"] = "false";
    snapshot_ = make_snapshot(dialog.settings_text());
    client_ = *core::IpAddress::parse(in_lan ? "127.0.1.5" : "127.0.2.9");
    policy::UserRecord anna;
    anna.name = "anna@example.net";
    anna.may_relay = who == Who::with_privilege;
    users_.add(anna, "secret");
  }

  // The code of the reply to RCPT for somebody else's domain, of a sender that is not ours.
  std::string relay() {
    const auto& [require_auth, after_login, outside_lan, non_local_senders, in_lan, recent, who] = GetParam();
    MemoryDriver driver(*snapshot_, client_);
    driver.set_users(users_);
    if (recent) driver.logins().grant(client_, driver.now().boot_seconds());
    driver.greet();
    driver.feed("STARTTLS\r\n");
    driver.handshake(tls_);
    driver.feed("EHLO client.example\r\n");
    // ^anna@example.net^secret
    if (who != Who::nobody) driver.feed("AUTH PLAIN AGFubmFAZXhhbXBsZS5uZXQAc2VjcmV0\r\n");
    EXPECT_EQ(driver.session().client().authenticated, who != Who::nobody) << driver.said();
    driver.feed("MAIL FROM:<user@client.example>\r\nRCPT TO:<user@example.net>\r\n");
    EXPECT_TRUE(driver.said().ends_with("250 2.1.0 Ok\r\n250 2.1.5 Ok\r\n")) << "mail for us is no relay question";
    const std::size_t before = driver.said().size();
    driver.feed("RCPT TO:<user@elsewhere.example>\r\n");
    EXPECT_EQ(driver.broken(), "");
    return driver.said().substr(before, 9);
  }

  std::unique_ptr<policy::PolicySnapshot> snapshot_;
  core::IpAddress client_;
  UserTable users_;
  TlsFacts tls_{"TLSv1.3", "TLS_AES_128_GCM_SHA256", {}, {}};
};

TEST_P(AuthRelay, GoesByTheTable) {
  const auto& [require_auth, after_login, outside_lan, non_local_senders, in_lan, recent, who] = GetParam();
  // Row 11. Rows 12 and 13: neither the LAN nor a POP3 login stands for AUTH. Otherwise a login without the privilege
  // neither helps nor harms: rows 2 to 10.
  const bool passes = after_login ? in_lan || recent : (in_lan || outside_lan) && non_local_senders;
  const std::string awaited = who == Who::with_privilege ? "250 2.1.5"
                              : !require_auth            ? (passes ? "250 2.1.5" : "550 5.7.1")
                              : who == Who::nobody       ? "530 5.7.0"
                                                         : "550 5.7.1";
  EXPECT_EQ(relay(), awaited);
}

INSTANTIATE_TEST_SUITE_P(All, AuthRelay,
                         testing::Combine(testing::Bool(), testing::Bool(), testing::Bool(), testing::Bool(),
                                          testing::Bool(), testing::Bool(),
                                          testing::Values(Who::nobody, Who::without_privilege, Who::with_privilege)));

}  // namespace
}  // namespace postern::net::smtp::test
