#include "net/tls/server_contexts.h"

#include <filesystem>
#include <fstream>
#include <gtest/gtest.h>
#include <openssl/err.h>
#include <openssl/nid.h>
#include <optional>
#include <unistd.h>

#include "net/tls/parts.h"
#include "tests/net/tls/tls_support.h"

namespace postern::net::tls::test {
namespace {

ServerContexts contexts_of(std::vector<Certificate> certificates, TicketKeys& keys,
                           const std::vector<ServiceRules>& services = {{.name = "submission", .client_ca = ""}}) {
  auto made = ServerContexts::make(std::move(certificates), services, keys);
  if (!made) ADD_FAILURE() << made.error().text;
  return std::move(made.value());
}

// The server's certificate that such a client is given; empty if the handshake failed.
std::string shown_to(const ServerContexts& contexts, const ClientOptions& options) {
  Pair pair(contexts, 0, options);
  return pair.run() && pair.server.handshake_done() ? pair.client.server_der() : "";
}

std::string der_of(const Certificate& certificate) {
  const CRYPTO_BUFFER* leaf = certificate.parts().chain.front().get();
  return {reinterpret_cast<const char*>(CRYPTO_BUFFER_data(leaf)), CRYPTO_BUFFER_len(leaf)};
}

ClientOptions asking_for(std::string name) {
  ClientOptions options;
  options.server_name = std::move(name);
  return options;
}

TEST(ServerContexts, WantsACertificate) {
  TicketKeys keys;
  const auto made = ServerContexts::make({}, {{.name = "smtp", .client_ca = ""}}, keys);
  ASSERT_FALSE(made.has_value());
  EXPECT_NE(made.error().text.find("needs a certificate"), std::string::npos);
}

TEST(ServerContexts, TheServerNameChooses) {
  TicketKeys keys;
  const Certificate first = server_certificate({.dns = {"first.example"}});
  const Certificate second = server_certificate({.dns = {"second.example", "also.example"}});
  const Certificate wild = server_certificate({.dns = {"*.wild.example"}});
  const Certificate exact = server_certificate({.dns = {"exact.wild.example"}});
  const ServerContexts contexts = contexts_of({first, second, wild, exact}, keys);
  const std::pair<const char*, const Certificate*> asked[] = {
      {"first.example", &first},        {"second.example", &second},     {"also.example", &second},
      {"SECOND.Example", &second},      {"a.wild.example", &wild},       {"A.WILD.example", &wild},
      {"exact.wild.example", &exact},   {"wild.example", &first},        {"a.b.wild.example", &first},
      {"unknown.example", &first},      {"", &first},                    {"localhost", &first},
  };
  for (const auto& [name, certificate] : asked) {
    for (const std::uint16_t version : {TLS1_2_VERSION, TLS1_3_VERSION}) {
      ClientOptions options = asking_for(name);
      options.version_max = version;
      EXPECT_EQ(shown_to(contexts, options), der_of(*certificate)) << name;
    }
    EXPECT_EQ(der_of(contexts.certificate_for(name)), der_of(*certificate)) << name;
  }
}

TEST(ServerContexts, NamesOfTheSettingsCountNotThoseOfTheCertificate) {
  TicketKeys keys;
  const Certificate first = server_certificate({.dns = {"first.example"}});
  const Certificate other = server_certificate({.dns = {"a.example", "b.example"}}, {"b.example"});
  const ServerContexts contexts = contexts_of({first, other}, keys);
  EXPECT_EQ(shown_to(contexts, asking_for("a.example")), der_of(first));
  EXPECT_EQ(shown_to(contexts, asking_for("b.example")), der_of(other));
}

// What a client can do, and the kind of certificate it is given by a server that has both.
struct Choice {
  const char* what;
  ClientOptions options;
  Key expected;
};

TEST(ServerContexts, EcdsaForThoseWhoCanRsaForTheRest) {
  TicketKeys keys;
  const Certificate rsa = server_certificate({.key = Key::rsa2048});
  const Certificate p256 = server_certificate({.key = Key::p256});
  const std::vector<std::uint16_t> rsa_only = {SSL_SIGN_RSA_PSS_RSAE_SHA256, SSL_SIGN_RSA_PKCS1_SHA256};
  const std::vector<std::uint16_t> p384_and_rsa = {SSL_SIGN_ECDSA_SECP384R1_SHA384, SSL_SIGN_RSA_PSS_RSAE_SHA256};
  ClientOptions options;
  std::vector<Choice> choices;
  for (const std::uint16_t version : {TLS1_2_VERSION, TLS1_3_VERSION}) {
    options = {};
    options.version_max = version;
    choices.push_back({"anything", options, Key::p256});
    options.signatures = rsa_only;
    choices.push_back({"RSA signatures only", options, Key::rsa2048});
  }
  options = {};
  options.signatures = p384_and_rsa;
  choices.push_back({"no P-256 signatures, TLS 1.3", options, Key::rsa2048});
  options = {.version_max = TLS1_2_VERSION, .ciphers = "ECDHE-RSA-AES128-GCM-SHA256"};
  choices.push_back({"RSA ciphers only", options, Key::rsa2048});
  options = {.version_max = TLS1_2_VERSION, .ciphers = "ECDHE-ECDSA-AES128-GCM-SHA256"};
  choices.push_back({"ECDSA ciphers only", options, Key::p256});
  options = {.version_max = TLS1_2_VERSION, .groups = {NID_X25519, NID_secp384r1}};
  choices.push_back({"without the certificate's group, TLS 1.2", options, Key::rsa2048});
  options = {.version_max = TLS1_3_VERSION, .groups = {NID_X25519, NID_secp384r1}};
  choices.push_back({"without the certificate's group, TLS 1.3", options, Key::p256});

  for (const bool rsa_first : {false, true}) {
    const ServerContexts contexts =
        rsa_first ? contexts_of({rsa, p256}, keys) : contexts_of({p256, rsa}, keys);
    for (const Choice& choice : choices) {
      EXPECT_EQ(shown_to(contexts, choice.options), der_of(choice.expected == Key::p256 ? p256 : rsa))
          << choice.what << (rsa_first ? ", RSA first" : "");
    }
  }
}

TEST(ServerContexts, OneOfAKindServesThoseItFits) {
  TicketKeys keys;
  for (const Key key : {Key::p256, Key::p384, Key::rsa2048}) {
    const Certificate only = server_certificate({.key = key});
    const ServerContexts contexts = contexts_of({only}, keys);
    for (const std::uint16_t version : {TLS1_2_VERSION, TLS1_3_VERSION}) {
      ClientOptions options;
      options.version_max = version;
      EXPECT_EQ(shown_to(contexts, options), der_of(only));
    }
    ClientOptions other;
    other.signatures = {key == Key::rsa2048 ? std::uint16_t{SSL_SIGN_ECDSA_SECP256R1_SHA256}
                                            : std::uint16_t{SSL_SIGN_RSA_PSS_RSAE_SHA256}};
    EXPECT_EQ(shown_to(contexts, other), "");
  }
}

// Offered: every cipher of the list, and none beside it.
TEST(ServerContexts, TakesForwardSecretAeadCiphersOnly) {
  TicketKeys keys;
  const ServerContexts contexts =
      contexts_of({server_certificate({}), server_certificate({.key = Key::rsa2048})}, keys);
  const auto chosen = [&](const char* ciphers) -> std::string {
    ClientOptions options;
    options.version_max = TLS1_2_VERSION;
    options.ciphers = ciphers;
    Pair pair(contexts, 0, options);
    if (!pair.run()) {
      EXPECT_EQ(pair.server.failure(), "no shared cipher") << ciphers;
      return "none";
    }
    return std::string(pair.server.cipher());
  };
  EXPECT_EQ(chosen("ECDHE-ECDSA-AES128-GCM-SHA256"), "TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256");
  EXPECT_EQ(chosen("ECDHE-RSA-AES128-GCM-SHA256"), "TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256");
  EXPECT_EQ(chosen("ECDHE-ECDSA-AES256-GCM-SHA384"), "TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384");
  EXPECT_EQ(chosen("ECDHE-RSA-AES256-GCM-SHA384"), "TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384");
  EXPECT_EQ(chosen("ECDHE-ECDSA-CHACHA20-POLY1305"), "TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256");
  EXPECT_EQ(chosen("ECDHE-RSA-CHACHA20-POLY1305"), "TLS_ECDHE_RSA_WITH_CHACHA20_POLY1305_SHA256");
  // Our order, not the client's.
  EXPECT_EQ(chosen("ECDHE-ECDSA-CHACHA20-POLY1305:ECDHE-ECDSA-AES256-GCM-SHA384:ECDHE-ECDSA-AES128-GCM-SHA256"),
            "TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256");
  for (const char* other : {"AES128-GCM-SHA256", "AES256-GCM-SHA384", "AES128-SHA", "AES256-SHA", "DES-CBC3-SHA",
                            "ECDHE-RSA-AES128-SHA", "ECDHE-RSA-AES256-SHA", "ECDHE-ECDSA-AES128-SHA",
                            "ECDHE-ECDSA-AES256-SHA"}) {
    EXPECT_EQ(chosen(other), "none");
  }
}

TEST(ServerContexts, TakesThreeGroupsInItsOrder) {
  TicketKeys keys;
  const ServerContexts contexts = contexts_of({server_certificate({.key = Key::rsa2048})}, keys);
  const auto chosen = [&](std::vector<int> groups, std::uint16_t version) {
    ClientOptions options;
    options.groups = std::move(groups);
    options.version_max = version;
    Pair pair(contexts, 0, options);
    return pair.run() ? SSL_get_curve_id(pair.client.ssl()) : 0;
  };
  for (const std::uint16_t version : {TLS1_2_VERSION, TLS1_3_VERSION}) {
    EXPECT_EQ(chosen({NID_X25519}, version), SSL_CURVE_X25519);
    EXPECT_EQ(chosen({NID_X9_62_prime256v1}, version), SSL_CURVE_SECP256R1);
    EXPECT_EQ(chosen({NID_secp384r1}, version), SSL_CURVE_SECP384R1);
    EXPECT_EQ(chosen({NID_secp521r1}, version), 0);
    EXPECT_EQ(chosen({NID_secp384r1, NID_X9_62_prime256v1, NID_X25519}, version), SSL_CURVE_X25519);
  }
}

TEST(ServerContexts, SignsNothingWithSha1) {
  TicketKeys keys;
  const ServerContexts contexts = contexts_of({server_certificate({.key = Key::rsa2048})}, keys);
  ClientOptions options;
  options.version_max = TLS1_2_VERSION;
  options.signatures = {SSL_SIGN_RSA_PKCS1_SHA1};
  Pair pair(contexts, 0, options);
  EXPECT_FALSE(pair.run());
  EXPECT_EQ(pair.server.failure(), "no common signature algorithms");
}

TEST(ServerContexts, TakesMailProtocolsAndNoneButMailProtocols) {
  TicketKeys keys;
  const ServerContexts contexts = contexts_of({server_certificate({})}, keys);
  // What is chosen; nullopt: refused.
  const auto chosen = [&](std::vector<std::string> protocols) -> std::optional<std::string> {
    ClientOptions options;
    options.protocols = std::move(protocols);
    Pair pair(contexts, 0, options);
    if (!pair.run()) {
      EXPECT_EQ(pair.server.failure(), "no application protocol");
      EXPECT_EQ(ERR_GET_REASON(pair.client.error()), SSL_R_TLSV1_ALERT_NO_APPLICATION_PROTOCOL);
      return std::nullopt;
    }
    const std::uint8_t* name = nullptr;
    unsigned size = 0;
    SSL_get0_alpn_selected(pair.client.ssl(), &name, &size);
    return std::string(reinterpret_cast<const char*>(name), size);
  };
  EXPECT_EQ(chosen({}), "");
  EXPECT_EQ(chosen({"smtp"}), "smtp");
  EXPECT_EQ(chosen({"h2", "esmtp"}), "esmtp");
  EXPECT_EQ(chosen({"h2", "http/1.1"}), std::nullopt);
  EXPECT_EQ(chosen({"SMTP"}), std::nullopt);
  EXPECT_EQ(chosen({"pop3", "imap"}), std::nullopt);
}

// A client that was led from one service to another finds out (ALPACA): each has names of its own.
TEST(ServerContexts, ProtocolsOfMailboxes) {
  TicketKeys keys;
  const std::vector<ServiceRules> services = {{.name = "pop3", .client_ca = "", .speaks = Speaks::pop3},
                                              {.name = "imap", .client_ca = "", .speaks = Speaks::imap}};
  const ServerContexts contexts = contexts_of({server_certificate({})}, keys, services);
  const auto works = [&](std::size_t service, const char* protocol) {
    ClientOptions options;
    options.protocols = {protocol};
    return Pair(contexts, service, options).run();
  };
  EXPECT_TRUE(works(0, "pop3"));
  EXPECT_TRUE(works(1, "imap"));
  EXPECT_FALSE(works(0, "imap"));
  EXPECT_FALSE(works(1, "pop3"));
  EXPECT_FALSE(works(0, "smtp"));
  EXPECT_FALSE(works(1, "http/1.1"));
}

// Tickets.

// A client that was here: its ticket, and what the server said about the second visit.
struct Visit {
  bool works = false;
  bool resumed = false;
};

class Tickets : public testing::TestWithParam<std::uint16_t> {
 protected:
  ClientOptions options(SSL_SESSION* session = nullptr) {
    ClientOptions made;
    made.version_max = GetParam();
    made.session = session;
    return made;
  }
  bssl::UniquePtr<SSL_SESSION> first_visit(const ServerContexts& contexts, std::size_t service, const core::Time& now) {
    Pair pair(contexts, service, options(), now);
    EXPECT_TRUE(pair.run()) << pair.server.failure();
    pair.say("220 mail.example.net\r\n");
    EXPECT_TRUE(pair.run());
    EXPECT_FALSE(pair.server.resumed());
    bssl::UniquePtr<SSL_SESSION> session = pair.client.session();
    EXPECT_NE(session, nullptr);
    return session;
  }
  Visit visit(const ServerContexts& contexts, std::size_t service, SSL_SESSION* session, const core::Time& now) {
    Pair pair(contexts, service, options(session), now);
    Visit made{.works = pair.run()};
    made.resumed = pair.server.resumed();
    EXPECT_EQ(made.resumed, SSL_session_reused(pair.client.ssl()) == 1);
    return made;
  }
  TicketKeys keys_;
};

INSTANTIATE_TEST_SUITE_P(Versions, Tickets, testing::Values(TLS1_2_VERSION, TLS1_3_VERSION),
                         [](const auto& version) { return version.param == TLS1_2_VERSION ? "Tls12" : "Tls13"; });

TEST_P(Tickets, ResumeHereAndAfterAReload) {
  const ServerContexts contexts = contexts_of({server_certificate({})}, keys_);
  const auto session = first_visit(contexts, 0, at(kNow));
  EXPECT_TRUE(visit(contexts, 0, session.get(), at(kNow + 10, 1010)).resumed);
  // A renewed certificate, another order of the services: the ticket is good for the service of its name.
  const ServerContexts reloaded = contexts_of({server_certificate({})}, keys_,
                                              {{.name = "mx", .client_ca = ""}, {.name = "submission", .client_ca = ""}});
  EXPECT_TRUE(visit(reloaded, 1, session.get(), at(kNow + 20, 1020)).resumed);
}

TEST_P(Tickets, AreOfOneService) {
  const ServerContexts contexts = contexts_of(
      {server_certificate({})}, keys_, {{.name = "submission", .client_ca = ""}, {.name = "mx", .client_ca = ""}});
  const auto session = first_visit(contexts, 0, at(kNow));
  const Visit elsewhere = visit(contexts, 1, session.get(), at(kNow));
  EXPECT_TRUE(elsewhere.works);
  EXPECT_FALSE(elsewhere.resumed);
}

// Behind the second certificate, where another chain is set on the connection.
TEST_P(Tickets, AreOfOneServiceWhateverTheCertificate) {
  const ServerContexts contexts = contexts_of(
      {server_certificate({.dns = {"other.example"}}), server_certificate({})}, keys_,
      {{.name = "submission", .client_ca = ""}, {.name = "mx", .client_ca = ""}});
  const auto session = first_visit(contexts, 0, at(kNow));
  EXPECT_TRUE(visit(contexts, 0, session.get(), at(kNow)).resumed);
  EXPECT_FALSE(visit(contexts, 1, session.get(), at(kNow)).resumed);
}

TEST_P(Tickets, OutliveARotationAndNotTheirLifetime) {
  const ServerContexts contexts = contexts_of({server_certificate({})}, keys_);
  const auto session = first_visit(contexts, 0, at(kNow, 0));
  for (const std::int64_t later : {TicketKeys::kRotationSeconds, TicketKeys::kLifetimeSeconds - 1}) {
    EXPECT_TRUE(visit(contexts, 0, session.get(), at(kNow + later, later)).resumed) << later;
  }
  const std::int64_t late = TicketKeys::kLifetimeSeconds + 1;
  const Visit after = visit(contexts, 0, session.get(), at(kNow + late, late));
  EXPECT_TRUE(after.works);
  EXPECT_FALSE(after.resumed);
}

TEST_P(Tickets, OfAKeyThatIsGoneAreIgnored) {
  const ServerContexts contexts = contexts_of({server_certificate({})}, keys_);
  const auto session = first_visit(contexts, 0, at(kNow, 0));
  // The wall clock stood still: the key's age alone decides.
  const Visit after = visit(contexts, 0, session.get(), at(kNow, 3 * TicketKeys::kRotationSeconds));
  EXPECT_TRUE(after.works);
  EXPECT_FALSE(after.resumed);
  TicketKeys others;
  const ServerContexts restarted = contexts_of({server_certificate({})}, others);
  EXPECT_FALSE(visit(restarted, 0, session.get(), at(kNow)).resumed);
}

// The snapshot goes while sessions are in their handshake, open, and closing.
TEST(ServerContexts, MayGoUnderItsSessions) {
  TicketKeys keys;
  std::optional<ServerContexts> contexts = contexts_of({server_certificate({.dns = {"other.example"}}),
                                                        server_certificate({})}, keys);
  Pair begun(*contexts, 0, {}), open(*contexts, 0, {}), not_begun(*contexts, 0, {});
  begun.client.step();
  const std::string hello = begun.client.take();
  begun.give_server(std::string_view(hello).substr(0, hello.size() / 2));
  ASSERT_TRUE(open.run());
  contexts.reset();
  begun.give_server(std::string_view(hello).substr(hello.size() / 2));
  EXPECT_TRUE(begun.run()) << begun.server.failure();
  EXPECT_TRUE(not_begun.run()) << not_begun.server.failure();
  open.client.write("EHLO c\r\n");
  open.say("250 ok\r\n");
  EXPECT_TRUE(open.run());
  EXPECT_EQ(open.received, "EHLO c\r\n");
  EXPECT_EQ(open.client.read(), "250 ok\r\n");
}

TEST(ServerContexts, AClientCaMustBeAFileOfCertificates) {
  TicketKeys keys;
  namespace fs = std::filesystem;
  const fs::path path = fs::temp_directory_path() / ("postern-client-ca-" + std::to_string(getpid()));
  const auto error = [&] {
    const auto made = ServerContexts::make({server_certificate({})}, {{.name = "submission", .client_ca = path}}, keys);
    return made ? "" : made.error().text;
  };
  EXPECT_NE(error().find("open the client_ca of service \"submission\" " + path.string()), std::string::npos) << error();
  std::ofstream(path) << "nothing";
  EXPECT_NE(error().find("no certificate in PEM form"), std::string::npos) << error();
  std::ofstream(path) << root().pem() << root().pem();  // twice is no harm
  EXPECT_EQ(error(), "");
  fs::remove(path);
}

}  // namespace
}  // namespace postern::net::tls::test
