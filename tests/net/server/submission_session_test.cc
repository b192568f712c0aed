// A submission service through whole sessions over the real ring: what is stored of a message, and what is refused by what
// its header says. (The filter alone: tests/net/smtp/submission_test.)
#include <filesystem>
#include <gtest/gtest.h>
#include <memory>
#include <string>
#include <vector>

#include "tests/net/server/test_server.h"
#include "tests/net/server/tls_settings.h"

namespace postern::net::test {
namespace {

using policy::TlsMode;

class SubmissionServer : public testing::Test {
 protected:
  void SetUp() override {
    settings_.services[0].submission = true;
    settings_.services[0].auth.scope_all = true;
  }
  TestClient& open() {
    TestServerOptions options = with_anna();
    options.users[0].record.senders = {"@shop.example"};
    server_ = std::make_unique<TestServer>(settings_, folder_.path(), options);
    client_ = std::make_unique<TestClient>("127.0.0.1", server_->port());
    open_tls(*client_, TlsMode::implicit);
    client_->command("EHLO laptop.home.example");
    EXPECT_EQ(client_->command(kAuthPlain).substr(0, 3), "235");
    return *client_;
  }
  // The reply to the message's end.
  std::string send(const std::string& content, const std::string& from = "anna@example.net") {
    EXPECT_EQ(client_->command("MAIL FROM:<" + from + ">"), "250 2.1.0 Ok");
    EXPECT_EQ(client_->command("RCPT TO:<user@elsewhere.example>"), "250 2.1.5 Ok");
    EXPECT_EQ(client_->command("DATA").substr(0, 3), "354");
    client_->send(content + ".\r\n");
    return client_->line();
  }
  std::string chunk(const std::string& content, bool is_last) {
    client_->send("BDAT " + std::to_string(content.size()) + (is_last ? " LAST\r\n" : "\r\n") + content);
    return client_->line();
  }
  // Stops the server, and gives what it stored, our Received field included.
  std::vector<std::string> stored() {
    client_.reset();
    await_no_connections(*server_);
    expect_nothing_held(*server_);
    server_->stop();
    std::vector<std::string> bodies;
    EXPECT_TRUE(core::dump_spool(folder_.path(), [&bodies](const core::DumpedItem& item) {
                  EXPECT_EQ(item.damage, "");
                  bodies.emplace_back(item.body);
                }).has_value());
    return bodies;
  }
  [[nodiscard]] std::size_t large_files() const {
    std::size_t found = 0;
    for (const auto& entry : std::filesystem::recursive_directory_iterator(folder_.path() + "/log-0000/large")) {
      found += entry.is_regular_file() ? 1U : 0U;
    }
    return found;
  }

  policy::Settings settings_ = tls_settings(TlsMode::implicit);
  ScratchFolder folder_;
  std::unique_ptr<TestServer> server_;
  std::unique_ptr<TestClient> client_;
};

std::size_t count(const std::string& text, std::string_view part) {
  std::size_t found = 0;
  for (std::size_t at = text.find(part); at != std::string::npos; at = text.find(part, at + 1)) ++found;
  return found;
}

TEST_F(SubmissionServer, CompletesAMessage) {
  settings_.services[0].submission_domain = "example.net";
  open();
  EXPECT_EQ(send("To: bob, carla@elsewhere.example\r\nBcc: hidden@elsewhere.example\r\nSubject: x\r\n\r\n..dotted\r\n").substr(0, 3),
            "250");
  const std::vector<std::string> bodies = stored();
  ASSERT_EQ(bodies.size(), 1U);
  const std::string& body = bodies[0];
  EXPECT_TRUE(body.starts_with("Received: from laptop.home.example (unknown [127.0.0.1])")) << body;
  EXPECT_TRUE(body.contains("ESMTPSA")) << body;
  EXPECT_EQ(count(body, "\r\nDate: "), 1U) << body;
  EXPECT_EQ(count(body, "\r\nMessage-ID: <"), 1U) << body;
  EXPECT_EQ(count(body, "\r\nFrom: "), 1U) << body;
  EXPECT_TRUE(body.contains("\r\nFrom: anna@example.net\r\n") || body.contains("\r\nFrom: <anna@example.net>\r\n")) << body;
  EXPECT_TRUE(body.contains("bob@example.net, carla@elsewhere.example")) << body;
  EXPECT_FALSE(body.contains("hidden")) << body;
  EXPECT_TRUE(body.ends_with("\r\n\r\n..dotted\r\n")) << body;
}

TEST_F(SubmissionServer, HidesTheClient) {
  settings_.services[0].hide_client = true;
  open();
  EXPECT_EQ(send("From: anna@example.net\r\n\r\nx\r\n").substr(0, 3), "250");
  const std::vector<std::string> bodies = stored();
  ASSERT_EQ(bodies.size(), 1U);
  EXPECT_TRUE(bodies[0].starts_with("Received: by mail.example.net")) << bodies[0];
  EXPECT_FALSE(bodies[0].contains("laptop")) << bodies[0];
  EXPECT_FALSE(bodies[0].contains("127.0.0.1")) << bodies[0];
}

TEST_F(SubmissionServer, AnotherServiceTouchesNothing) {
  settings_.services[0].submission = false;
  open();
  const std::string content = "Bcc: hidden@elsewhere.example\r\nTo: bob\r\n\r\nx\r\n";
  EXPECT_EQ(send(content).substr(0, 3), "250");
  const std::vector<std::string> bodies = stored();
  ASSERT_EQ(bodies.size(), 1U);
  EXPECT_TRUE(bodies[0].ends_with("\r\n" + content)) << bodies[0];
}

TEST_F(SubmissionServer, WhoseHeaderIsNotTheUsers) {
  settings_.services[0].auth.own_header_from = true;
  open();
  EXPECT_EQ(send("From: boss@example.net\r\nSubject: x\r\n\r\nx\r\n").substr(0, 9), "550 5.7.1");
  EXPECT_EQ(send("From: anna@example.net, boss@example.net\r\nSender: anna@example.net\r\n\r\nx\r\n").substr(0, 9), "550 5.7.1");
  EXPECT_EQ(send("From: anna@example.net\r\nSender: boss@example.net\r\n\r\nx\r\n").substr(0, 9), "550 5.7.1");
  EXPECT_EQ(send("From: not an address\r\n\r\nx\r\n").substr(0, 9), "554 5.6.0");
  // The session goes on; an address that is listed for the user is his.
  EXPECT_EQ(send("From: Anna <anna@example.net>\r\n\r\n1\r\n").substr(0, 3), "250");
  EXPECT_EQ(send("From: orders@shop.example\r\n\r\n2\r\n", "orders@shop.example").substr(0, 3), "250");
  // By chunks: refused at the last one, however the header is cut.
  EXPECT_EQ(client_->command("MAIL FROM:<anna@example.net>"), "250 2.1.0 Ok");
  EXPECT_EQ(client_->command("RCPT TO:<user@elsewhere.example>"), "250 2.1.5 Ok");
  EXPECT_EQ(chunk("From: bo", false).substr(0, 3), "250");
  EXPECT_EQ(chunk("ss@example.net\r\n\r\nx", false).substr(0, 3), "250");
  EXPECT_EQ(chunk("\r\n", true).substr(0, 9), "550 5.7.1");
  EXPECT_EQ(client_->command("RCPT TO:<user@elsewhere.example>"), "503 5.5.1 MAIL first");
  EXPECT_EQ(send("From: anna@example.net\r\n\r\n3\r\n").substr(0, 3), "250");
  EXPECT_EQ(server_->counters().messages_accepted.get(), 3U);
  EXPECT_EQ(server_->counters().refusals.get(), 5U);
  const std::vector<std::string> bodies = stored();
  ASSERT_EQ(bodies.size(), 3U);
  for (std::size_t i = 0; i < 3; ++i) EXPECT_TRUE(bodies[i].ends_with("\r\n\r\n" + std::to_string(i + 1) + "\r\n")) << bodies[i];
}

// Off, another From is told apart by the Sender that is added.
TEST_F(SubmissionServer, SaysWhoSubmitted) {
  open();
  EXPECT_EQ(send("From: boss@example.net\r\n\r\nx\r\n").substr(0, 3), "250");
  const std::vector<std::string> bodies = stored();
  ASSERT_EQ(bodies.size(), 1U);
  EXPECT_EQ(count(bodies[0], "\r\nSender: "), 1U) << bodies[0];
  EXPECT_TRUE(bodies[0].contains("anna@example.net")) << bodies[0];
}

// Larger than what stays in memory: the header is put in order all the same, and of what is refused no file is left.
TEST_F(SubmissionServer, LargeMessages) {
  settings_.services[0].auth.own_header_from = true;
  open();
  std::string large;
  while (large.size() < (2U << 20)) large += std::string(70, 'x') + "\r\n";
  EXPECT_EQ(send("From: boss@example.net\r\n\r\n" + large).substr(0, 9), "550 5.7.1");
  EXPECT_EQ(client_->command("NOOP"), "250 2.0.0 Ok");
  EXPECT_EQ(large_files(), 0U);
  EXPECT_EQ(send("From: anna@example.net\r\nBcc: hidden@elsewhere.example\r\n\r\n" + large).substr(0, 3), "250");
  EXPECT_EQ(large_files(), 1U);
  const std::vector<std::string> bodies = stored();
  ASSERT_EQ(bodies.size(), 1U);
  EXPECT_TRUE(bodies[0].ends_with("\r\n\r\n" + large));
  EXPECT_FALSE(bodies[0].contains("hidden"));
  EXPECT_EQ(count(bodies[0].substr(0, 2000), "\r\nMessage-ID: <"), 1U);
}

// A client that goes in the middle of a header, and of a body.
TEST_F(SubmissionServer, ClientsThatCloseInAMessage) {
  for (const char* part : {"From: anna@exam", "From: anna@example.net\r\nBcc: x@y", "From: anna@example.net\r\n\r\nhalf a li"}) {
    open();
    EXPECT_EQ(client_->command("MAIL FROM:<anna@example.net>"), "250 2.1.0 Ok");
    EXPECT_EQ(client_->command("RCPT TO:<user@elsewhere.example>"), "250 2.1.5 Ok");
    EXPECT_EQ(client_->command("DATA").substr(0, 3), "354");
    client_->send(part);
    server_->await_turn();
    EXPECT_TRUE(stored().empty()) << part;
  }
}

}  // namespace
}  // namespace postern::net::test
