// SCRAM: the four of it, channel binding, and what a client or somebody in between may try.
#include <gtest/gtest.h>
#include <set>
#include <string>

#include "net/sasl/server.h"

#include "tests/net/sasl/sasl_support.h"

namespace postern::net::sasl::test {
namespace {

using namespace std::string_literals;

std::string_view exporter_of(const Surroundings& surroundings) {
  return {reinterpret_cast<const char*>(surroundings.tls_exporter.data()), surroundings.tls_exporter.size()};
}

ScramClient client_for(Mechanism mechanism) {
  ScramClient client;
  const bool is_sha_1 = mechanism == Mechanism::scram_sha_1 || mechanism == Mechanism::scram_sha_1_plus;
  client.hash = is_sha_1 ? ScramHash::sha_1 : ScramHash::sha_256;
  if (is_plus(mechanism)) {
    client.gs2 = "p=tls-exporter,,";
    client.binding = exporter_of(connection());
  }
  return client;
}

// One exchange: the client's messages may be changed on their way.
struct Exchange {
  Mechanism mechanism = Mechanism::scram_sha_256;
  Surroundings here = connection();
  Surroundings later = connection();  // what respond() is given
  Store store;
  ScramClient client;
  bool has_initial = true;
  std::function<void(std::string&)> change_first = [](std::string&) {};
  std::function<void(std::string&)> change_final = [](std::string&) {};
  std::string server_first;
  std::string server_final;

  explicit Exchange(Mechanism which = Mechanism::scram_sha_256) : mechanism(which), client(client_for(which)) {}

  // How it ends.
  std::string run() {
    Server server;
    std::string first = client.first();
    change_first(first);
    Step step = server.start(mechanism, here, has_initial, has_initial ? first : "");
    if (!has_initial && step.kind == Step::Kind::challenge) {
      EXPECT_EQ(step.text, "");
      step = server.respond(first, later);
    }
    step = settle(server, step, store);
    if (step.kind != Step::Kind::challenge) return words(step);
    server_first = step.text;
    std::string last = client.final(server_first);
    change_final(last);
    step = settle(server, server.respond(last, later), store);
    if (step.kind != Step::Kind::challenge) return words(step);
    server_final = step.text;
    return words(server.respond("", later));
  }
};

constexpr Mechanism kAll[] = {Mechanism::scram_sha_1, Mechanism::scram_sha_1_plus, Mechanism::scram_sha_256,
                              Mechanism::scram_sha_256_plus};

TEST(Scram, RightAndWrong) {
  for (const Mechanism mechanism : kAll) {
    for (const bool has_initial : {true, false}) {
      Exchange right(mechanism);
      right.has_initial = has_initial;
      EXPECT_EQ(right.run(), "success user@example.com") << name_of(mechanism);
      EXPECT_EQ(right.server_final, right.client.server_signature);
      EXPECT_EQ(right.server_first,
                "r=rOprNGfwEbeRWgbNEkqOAQIDBAUGBwgJCgsMDQ4PEBESExQVFhcY,s=" + encode("sixteen octets!!") + ",i=4096");
    }
    Exchange wrong(mechanism);
    wrong.client.password = "pencils";
    EXPECT_EQ(wrong.run(), "failure bad-credentials guess");
    Exchange nobody(mechanism);
    nobody.client.name = "nobody";
    EXPECT_EQ(nobody.run(), "failure bad-credentials guess");
  }
}

TEST(Scram, AsksForTheKeysOfItsHash) {
  for (const Mechanism mechanism : kAll) {
    Server server;
    const Step step = server.start(mechanism, connection(), true, client_for(mechanism).first());
    ASSERT_EQ(step.kind, Step::Kind::need_credential);
    EXPECT_EQ(step.user, "user@example.com");
    const bool is_sha_1 = name_of(mechanism).starts_with("SCRAM-SHA-1");
    EXPECT_EQ(step.credential, is_sha_1 ? CredentialKind::scram_sha_1 : CredentialKind::scram_sha_256);
  }
}

// Random octets come with start(), wherever the client's first message comes.
TEST(Scram, NonceIsFresh) {
  std::set<std::string> nonces;
  for (unsigned i = 0; i < 10; ++i) {
    Exchange exchange;
    exchange.has_initial = i % 2 == 0;
    exchange.here.random = octets_from(i);
    exchange.later.random = {};
    EXPECT_EQ(exchange.run(), "success user@example.com");
    nonces.insert(exchange.server_first.substr(0, exchange.server_first.find(',')));
  }
  EXPECT_EQ(nonces.size(), 10U);
}

TEST(Scram, NamesWithCommaEqualsAndUnicode) {
  const std::pair<std::string, std::string> names[] = {
      {"a=2Cb=3Dc", "a,b=c"}, {"=3D", "="}, {"=2C=2C", ",,"}, {"J\u00F6rg", "J\u00F6rg"}, {"Jo\u0308rg", "J\u00F6rg"}};
  for (const auto& [sent, name] : names) {
    Exchange exchange;
    exchange.client.name = sent;
    exchange.store.user = name;
    EXPECT_EQ(exchange.run(), "success " + name);
  }
}

TEST(Scram, LongestNameNonceAndHeader) {
  Exchange escapes;
  escapes.store.user = std::string(255, ',');
  escapes.client.name.clear();
  for (int i = 0; i < 255; ++i) escapes.client.name += "=2C";
  escapes.client.nonce = std::string(256, 'n');
  EXPECT_EQ(escapes.run(), "success " + escapes.store.user);

  Exchange bound(Mechanism::scram_sha_256_plus);
  bound.store.user = std::string(255, 'u');
  bound.client.name = bound.store.user;
  bound.client.nonce = std::string(256, 'n');
  bound.client.gs2 = "p=tls-exporter,a=" + bound.store.user + ",";
  EXPECT_EQ(bound.run(), "success " + bound.store.user);

  Exchange over;
  over.client.name = std::string(256, 'u');
  EXPECT_EQ(over.run(), "failure malformed");
  over.client.name = "u";
  over.client.nonce = std::string(257, 'n');
  EXPECT_EQ(over.run(), "failure malformed");
  over.client.nonce = "n";
  over.client.first_extensions = ",x=" + std::string(1300, 'x');
  EXPECT_EQ(over.run(), "failure malformed");
  over.client.first_extensions = "";
  over.client.final_extensions = ",x=" + std::string(4000, 'x');
  EXPECT_EQ(over.run(), "failure malformed");
}

TEST(Scram, ExtensionsThatNeedNotBeKnown) {
  Exchange exchange;
  exchange.client.first_extensions = ",x=first,Y=a=b";
  exchange.client.final_extensions = ",z=last";
  EXPECT_EQ(exchange.run(), "success user@example.com");
}

TEST(Scram, MandatoryExtensionsFail) {
  Exchange exchange;
  exchange.client.first_extensions = ",m=x";
  EXPECT_EQ(exchange.run(), "failure malformed");
  exchange.client.first_extensions = "";
  exchange.change_first = [](std::string& first) { first.replace(0, 3, "n,,m=x,"); };
  EXPECT_EQ(exchange.run(), "failure malformed");
  exchange.change_first = [](std::string&) {};
  exchange.client.final_extensions = ",m=x";
  EXPECT_EQ(exchange.run(), "failure malformed");
}

TEST(Scram, MalformedFirst) {
  for (const std::string& first : {""s,
                                   ","s,
                                   ",,"s,
                                   "n"s,
                                   "n,"s,
                                   "n,,"s,
                                   "n,,n=u"s,
                                   "n,,n=u,"s,
                                   "n,,n=u,r"s,
                                   "n,,n=u,r="s,
                                   "n,,r=x,n=u"s,
                                   "n,,n=,r=x"s,
                                   "n,n=u,r=x"s,
                                   "N,,n=u,r=x"s,
                                   "n,,N=u,r=x"s,
                                   "x,,n=u,r=x"s,
                                   "nn,,n=u,r=x"s,
                                   ",,n=u,r=x"s,
                                   "n,u,n=u,r=x"s,
                                   "n,a=,n=u,r=x"s,
                                   "n,b=u,n=u,r=x"s,
                                   "n,,n=u=,r=x"s,
                                   "n,,n=u=2,r=x"s,
                                   "n,,n=u=2c,r=x"s,
                                   "n,,n=u=3d,r=x"s,
                                   "n,,n=u=3F,r=x"s,
                                   "n,a=u=,n=u,r=x"s,
                                   "n,,n=u\0,r=x"s,
                                   "n,,n=\xff,r=x"s,
                                   "n,,n=u,r=x y"s,
                                   "n,,n=u,r=\x7f"s,
                                   "n,,n=u,r=\xc3\xb6"s,
                                   "n,,n=u,r=x,"s,
                                   "n,,n=u,r=x,,"s,
                                   "n,,n=u,r=x,y"s,
                                   "n,,n=u,r=x,y="s,
                                   "n,,n=u,r=x,1=y"s,
                                   "n,,n=u,r=x,r=y"s,
                                   "n,,n=u,r=x,n=y"s,
                                   "n,,n=u,r=x,x=\0"s,
                                   " n,,n=u,r=x"s,
                                   "p=,,n=u,r=x"s,
                                   "p,,n=u,r=x"s,
                                   "p=tls-exporter,,n=u,r=x"s}) {
    Exchange exchange;
    exchange.change_first = [&](std::string& text) { text = first; };
    EXPECT_EQ(exchange.run(), "failure malformed") << testing::PrintToString(first);
  }
}

TEST(Scram, MalformedFinal) {
  Exchange good;
  ASSERT_EQ(good.run(), "success user@example.com");
  const std::function<void(std::string&)> changes[] = {
      [](std::string& text) { text.clear(); },
      [](std::string& text) { text = "p="; },
      [](std::string& text) { text = ",p="; },
      [](std::string& text) { text.erase(0, 2); },
      [](std::string& text) { text[0] = 'C'; },
      [](std::string& text) { text.erase(text.find(",r=")); },
      [](std::string& text) { text.erase(text.find(",p=")); },
      [](std::string& text) { text.erase(text.find(",p=") + 3); },
      [](std::string& text) { text.pop_back(); },
      [](std::string& text) { text += "="; },
      [](std::string& text) { text += ","; },
      [](std::string& text) { text += ",x=y"; },
      [](std::string& text) { text += "AAAA"; },
      [](std::string& text) { text.insert(text.find(",p="), ",p=eA=="); },
      [](std::string& text) { text.insert(text.find(",p="), ",c=biws"); },
      [](std::string& text) { text.insert(text.find(",p="), ","); },
      [](std::string& text) { text.erase(text.find(",r=") + 3, 1); },  // another nonce
      [](std::string& text) { text.insert(text.find(",p="), "x"); },   // a longer one
      [](std::string& text) { text.erase(text.find(",p=") - 1, 1); },  // a shorter one
      [](std::string& text) { text.replace(text.find(",r=") + 3, 1, "R"); },
      [](std::string& text) { text.replace(text.find(",r="), 3, ",R="); },
  };
  for (std::size_t i = 0; i < std::size(changes); ++i) {
    Exchange exchange;
    exchange.change_final = changes[i];
    EXPECT_EQ(exchange.run(), "failure malformed") << "change " << i;
  }
}

TEST(Scram, EveryBitOfTheProofCounts) {
  for (const Mechanism mechanism : {Mechanism::scram_sha_1, Mechanism::scram_sha_256}) {
    const std::size_t size = mechanism == Mechanism::scram_sha_1 ? 20 : 32;
    for (std::size_t bit = 0; bit < 8 * size; bit += 3) {
      Exchange exchange(mechanism);
      exchange.change_final = [bit](std::string& text) {
        const std::size_t at = text.find(",p=") + 3;
        std::string proof = *decode(text.substr(at));
        proof[bit / 8] = static_cast<char>(proof[bit / 8] ^ 1 << bit % 8);
        text.replace(at, std::string::npos, encode(proof));
      };
      EXPECT_EQ(exchange.run(), "failure bad-credentials guess") << bit;
    }
  }
}

TEST(Scram, TheWholeMessageIsProven) {
  Exchange exchange;  // an extension that was put in on the way
  exchange.change_final = [](std::string& text) { text.insert(text.find(",p="), ",x=y"); };
  EXPECT_EQ(exchange.run(), "failure bad-credentials guess");
  Exchange first;
  first.change_first = [](std::string& text) { text += ",x=y"; };
  EXPECT_EQ(first.run(), "failure bad-credentials guess");
}

TEST(Scram, BindingToAnotherConnectionFails) {
  for (const Mechanism mechanism : {Mechanism::scram_sha_1_plus, Mechanism::scram_sha_256_plus}) {
    Exchange other(mechanism);
    const std::array<std::byte, 32> value = octets_from(101);
    other.client.binding.assign(reinterpret_cast<const char*>(value.data()), value.size());
    EXPECT_EQ(other.run(), "failure channel-binding-mismatch");
    Exchange none(mechanism);
    none.client.binding.clear();
    EXPECT_EQ(none.run(), "failure channel-binding-mismatch");
    Exchange cut(mechanism);
    cut.client.binding.pop_back();
    EXPECT_EQ(cut.run(), "failure channel-binding-mismatch");
    Exchange more(mechanism);
    more.client.binding += 'x';
    EXPECT_EQ(more.run(), "failure channel-binding-mismatch");
  }
  Exchange unbound;  // data where none belongs
  unbound.client.binding = exporter_of(connection());
  EXPECT_EQ(unbound.run(), "failure channel-binding-mismatch");
}

TEST(Scram, HeaderMustComeBackAsItWas) {
  Exchange exchange;
  exchange.here.plus_offered = exchange.later.plus_offered = false;
  exchange.change_first = [](std::string& text) { text[0] = 'y'; };  // said "n"; arrived as "y"
  EXPECT_EQ(exchange.run(), "failure channel-binding-mismatch");
  Exchange rubbish;
  rubbish.change_final = [](std::string& text) { text.replace(0, 6, "c=****"); };
  EXPECT_EQ(rubbish.run(), "failure channel-binding-mismatch");
  Exchange second_spelling;
  second_spelling.client.gs2 = "n,,";
  second_spelling.change_final = [](std::string& text) { text.replace(0, 6, "c=biws===="); };
  EXPECT_EQ(second_spelling.run(), "failure channel-binding-mismatch");
}

TEST(Scram, OffersTakenAwayAreNoticed) {
  Exchange exchange;
  exchange.client.gs2 = "y,,";
  EXPECT_EQ(exchange.run(), "failure channel-binding-mismatch");
  exchange.here.plus_offered = false;
  EXPECT_EQ(exchange.run(), "success user@example.com");
}

TEST(Scram, OnlyTheExporterBinds) {
  for (const std::string_view name : {"tls-unique", "tls-server-end-point", "TLS-EXPORTER", "tls-exporter2"}) {
    Exchange exchange(Mechanism::scram_sha_256_plus);
    exchange.client.gs2 = "p=" + std::string(name) + ",,";
    EXPECT_EQ(exchange.run(), "failure channel-binding-mismatch") << name;
  }
  for (const std::string_view gs2 : {"n,,", "y,,", "p=,,", "p=a b,,", "p=\xff,,"}) {
    Exchange exchange(Mechanism::scram_sha_256_plus);
    exchange.client.gs2 = gs2;
    EXPECT_EQ(exchange.run(), "failure malformed") << gs2;
  }
}

TEST(Scram, PlusNeedsTheExporter) {
  Exchange none(Mechanism::scram_sha_256_plus);
  none.here.tls_exporter = {};
  EXPECT_EQ(none.run(), "failure not-available");
  Exchange small(Mechanism::scram_sha_1_plus);
  small.here.tls_exporter = small.here.tls_exporter.first(31);
  EXPECT_EQ(small.run(), "failure not-available");
}

TEST(Scram, AuthorizationIdentity) {
  Exchange same;
  same.client.gs2 = "n,a=user@example.com,";
  EXPECT_EQ(same.run(), "success user@example.com");
  Exchange escaped;
  escaped.client.gs2 = "n,a=a=2Cb,";
  escaped.client.name = "a=2Cb";
  escaped.store.user = "a,b";
  EXPECT_EQ(escaped.run(), "success a,b");
  for (const std::string_view authzid : {"root", "user@example.co", "user@example.comx", "u"}) {
    Exchange other;
    other.client.gs2 = "n,a=" + std::string(authzid) + ",";
    EXPECT_EQ(other.run(), "failure unsupported-authzid") << authzid;
  }
}

TEST(Scram, WhatTheStoreSays) {
  using Standing = Credential::Standing;
  Exchange disabled;
  disabled.store.standing = Standing::disabled;
  EXPECT_EQ(disabled.run(), "failure account-disabled");
  EXPECT_EQ(disabled.server_final, "");
  disabled.client.password = "wrong";
  EXPECT_EQ(disabled.run(), "failure bad-credentials guess");
  Exchange without;
  without.store.standing = Standing::no_verifier;
  EXPECT_EQ(without.run(), "failure no-verifier");
  EXPECT_NE(without.server_first, "");  // told at the end, not before
}

TEST(Scram, ADecoyIsNobodyEvenIfItsKeysFit) {
  Server server;
  ScramClient client;
  (void)server.start(Mechanism::scram_sha_256, connection(), true, client.first());
  Credential credential = credential_of(CredentialKind::scram_sha_256, client.name, client.password);
  credential.scram.is_decoy = true;
  const Step step = server.answer_credential(credential);
  ASSERT_EQ(step.kind, Step::Kind::challenge);
  EXPECT_EQ(words(server.respond(client.final(step.text), connection())), "failure bad-credentials guess");
}

TEST(Scram, KeysThatMayNotBeAnnounced) {
  const auto ends = [](auto change) {
    Server server;
    (void)server.start(Mechanism::scram_sha_256, connection(), true, ScramClient().first());
    Credential credential = credential_of(CredentialKind::scram_sha_256, "user@example.com", "pencil");
    change(credential.scram);
    return words(server.answer_credential(credential));
  };
  EXPECT_EQ(ends([](ScramKeys&) {}).substr(0, 9), "challenge");
  EXPECT_EQ(ends([](ScramKeys& keys) { keys.iterations = 4095; }), "failure no-verifier");
  EXPECT_EQ(ends([](ScramKeys& keys) { keys.iterations = kScramIterationsMax + 1; }), "failure no-verifier");
  EXPECT_EQ(ends([](ScramKeys& keys) { keys.salt_bytes = 3; }), "failure no-verifier");
  EXPECT_EQ(ends([](ScramKeys& keys) { keys.salt_bytes = 33; }), "failure no-verifier");
  EXPECT_EQ(ends([](ScramKeys& keys) { keys.hash = ScramHash::sha_1; }), "failure no-verifier");
}

TEST(Scram, NobodyLooksLikeSomebody) {
  const auto trace = [](const std::string& name, Credential::Standing standing) {
    Exchange exchange;
    exchange.client.name = name;
    exchange.client.password = "guess";
    exchange.store.standing = standing;
    const std::string end = exchange.run();
    EXPECT_EQ(end.substr(0, 7), "failure");
    const std::string_view first = exchange.server_first;
    return std::to_string(first.size()) + std::string(first.substr(first.rfind(",i=")));
  };
  const std::string known = trace("user@example.com", Credential::Standing::usable);
  EXPECT_EQ(trace("xser@example.com", Credential::Standing::usable), known);
  EXPECT_EQ(trace("user@example.com", Credential::Standing::no_verifier), known);
  EXPECT_EQ(trace("user@example.com", Credential::Standing::disabled), known);
  // Nor does asking twice.
  Exchange first;
  Exchange second;
  first.client.name = second.client.name = "nobody";
  first.run();
  second.run();
  EXPECT_EQ(first.server_first, second.server_first);
}

TEST(Scram, TheLastResponseIsEmpty) {
  const auto ends = [](auto act) {
    Server server;
    ScramClient client;
    (void)server.start(Mechanism::scram_sha_256, connection(), true, client.first());
    Step step = server.answer_credential(credential_of(CredentialKind::scram_sha_256, client.name, client.password));
    step = server.respond(client.final(step.text), connection());
    EXPECT_EQ(step.text, client.server_signature);
    return words(act(server));
  };
  EXPECT_EQ(ends([](Server& server) { return server.respond("", connection()); }), "success user@example.com");
  EXPECT_EQ(ends([](Server& server) { return server.respond("x", connection()); }), "failure malformed");
  // The client did not believe our signature.
  EXPECT_EQ(ends([](Server& server) { return server.cancel(); }), "failure cancelled");
}

}  // namespace
}  // namespace postern::net::sasl::test
