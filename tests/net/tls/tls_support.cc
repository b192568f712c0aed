#include "tests/net/tls/tls_support.h"

#include <array>
#include <map>
#include <openssl/bio.h>
#include <openssl/bn.h>
#include <openssl/digest.h>
#include <openssl/ec_key.h>
#include <openssl/err.h>
#include <openssl/nid.h>
#include <openssl/pem.h>
#include <openssl/rsa.h>
#include <openssl/x509v3.h>
#include <random>

#include "core/assert.h"

namespace postern::net::tls::test {
namespace {

bssl::UniquePtr<EVP_PKEY> make_ec_key(int curve) {
  bssl::UniquePtr<EC_KEY> pair(EC_KEY_new_by_curve_name(curve));
  POSTERN_ASSERT(EC_KEY_generate_key(pair.get()) == 1);
  bssl::UniquePtr<EVP_PKEY> key(EVP_PKEY_new());
  EVP_PKEY_set1_EC_KEY(key.get(), pair.get());
  return key;
}

bssl::UniquePtr<EVP_PKEY> make_rsa_key(int bits) {
  static std::map<int, bssl::UniquePtr<EVP_PKEY>> made;
  auto& key = made[bits];
  if (!key) {
    bssl::UniquePtr<RSA> rsa(RSA_new());
    bssl::UniquePtr<BIGNUM> exponent(BN_new());
    BN_set_word(exponent.get(), RSA_F4);
    POSTERN_ASSERT(RSA_generate_key_ex(rsa.get(), bits, exponent.get(), nullptr) == 1);
    key.reset(EVP_PKEY_new());
    EVP_PKEY_set1_RSA(key.get(), rsa.get());
  }
  return bssl::UpRef(key);
}

bssl::UniquePtr<EVP_PKEY> make_key(Key kind) {
  switch (kind) {
    case Key::p256: return make_ec_key(NID_X9_62_prime256v1);
    case Key::p384: return make_ec_key(NID_secp384r1);
    case Key::p521: return make_ec_key(NID_secp521r1);
    case Key::rsa1024: return make_rsa_key(1024);
    case Key::rsa2048: return make_rsa_key(2048);
    case Key::ed25519: break;
  }
  static constexpr std::array<std::uint8_t, 32> kSeed = {7};
  return bssl::UniquePtr<EVP_PKEY>(EVP_PKEY_new_raw_private_key(EVP_PKEY_ED25519, nullptr, kSeed.data(), kSeed.size()));
}

void add_names(X509* certificate, const Subject& subject) {
  const auto* name = reinterpret_cast<const std::uint8_t*>(subject.common_name.data());
  if (!subject.common_name.empty()) {
    X509_NAME_add_entry_by_NID(X509_get_subject_name(certificate), NID_commonName, MBSTRING_UTF8, name,
                               static_cast<int>(subject.common_name.size()), -1, 0);
  }
  if (subject.dns.empty() && subject.email.empty()) return;
  bssl::UniquePtr<GENERAL_NAMES> names(sk_GENERAL_NAME_new_null());
  const auto add = [&](int type, const std::string& text) {
    bssl::UniquePtr<ASN1_IA5STRING> value(ASN1_IA5STRING_new());
    ASN1_STRING_set(value.get(), text.data(), static_cast<int>(text.size()));
    bssl::UniquePtr<GENERAL_NAME> general(GENERAL_NAME_new());
    GENERAL_NAME_set0_value(general.get(), type, value.release());
    bssl::PushToStack(names.get(), std::move(general));
  };
  for (const std::string& text : subject.dns) add(GEN_DNS, text);
  for (const std::string& text : subject.email) add(GEN_EMAIL, text);
  X509_add1_ext_i2d(certificate, NID_subject_alt_name, names.get(), 0, 0);
}

void add_usage(X509* certificate, const Subject& subject) {
  bssl::UniquePtr<BASIC_CONSTRAINTS> constraints(BASIC_CONSTRAINTS_new());
  constraints->ca = subject.is_authority ? 0xff : 0;
  X509_add1_ext_i2d(certificate, NID_basic_constraints, constraints.get(), 1, 0);
  if (subject.is_authority || subject.purpose == NID_undef) return;
  bssl::UniquePtr<STACK_OF(ASN1_OBJECT)> purposes(sk_ASN1_OBJECT_new_null());
  sk_ASN1_OBJECT_push(purposes.get(), OBJ_nid2obj(subject.purpose));
  X509_add1_ext_i2d(certificate, NID_ext_key_usage, purposes.get(), 0, 0);
}

std::string contents(const BIO* bio) {
  const std::uint8_t* octets = nullptr;
  std::size_t size = 0;
  POSTERN_ASSERT(BIO_mem_contents(bio, &octets, &size) == 1);
  return {reinterpret_cast<const char*>(octets), size};
}

void tell_time(const SSL*, timeval* out) { *out = {kNow, 0}; }

}  // namespace

core::Time at(std::int64_t unix_seconds, std::int64_t boot_seconds) {
  return {boot_seconds * core::kNanosecondsPerSecond, unix_seconds * core::kNanosecondsPerSecond};
}

std::string Identity::key_pem() const {
  bssl::UniquePtr<BIO> bio(BIO_new(BIO_s_mem()));
  PEM_write_bio_PKCS8PrivateKey(bio.get(), key.get(), nullptr, nullptr, 0, nullptr, nullptr);
  return contents(bio.get());
}

std::string Identity::encrypted_key_pem() const {
  bssl::UniquePtr<BIO> bio(BIO_new(BIO_s_mem()));
  char passphrase[] = "secret";
  PEM_write_bio_PKCS8PrivateKey(bio.get(), key.get(), EVP_aes_128_cbc(), passphrase, 6, nullptr, nullptr);
  return contents(bio.get());
}

std::string Identity::pem() const {
  bssl::UniquePtr<BIO> bio(BIO_new(BIO_s_mem()));
  PEM_write_bio_X509(bio.get(), certificate.get());
  return contents(bio.get());
}

std::string Identity::der() const {
  std::uint8_t* octets = nullptr;
  const int size = i2d_X509(certificate.get(), &octets);
  POSTERN_ASSERT(size > 0);
  const bssl::UniquePtr<std::uint8_t> owner(octets);
  return {reinterpret_cast<const char*>(octets), static_cast<std::size_t>(size)};
}

Identity issue(const Subject& subject, const Identity* issuer) {
  Identity made;
  made.key = make_key(subject.key);
  made.certificate.reset(X509_new());
  X509* certificate = made.certificate.get();
  X509_set_version(certificate, X509_VERSION_3);
  static std::uint64_t serial = 1000;
  ASN1_INTEGER_set_uint64(X509_get_serialNumber(certificate), ++serial);
  ASN1_TIME_set(X509_getm_notBefore(certificate), subject.begin);
  ASN1_TIME_set(X509_getm_notAfter(certificate), subject.end);
  add_names(certificate, subject);
  add_usage(certificate, subject);
  X509_set_pubkey(certificate, made.key.get());
  X509* signer = issuer == nullptr ? certificate : issuer->certificate.get();
  X509_set_issuer_name(certificate, X509_get_subject_name(signer));
  const bool hashless = subject.key == Key::ed25519 && issuer == nullptr;
  const EVP_MD* digest = hashless ? nullptr : subject.sha1 ? EVP_sha1() : EVP_sha256();
  POSTERN_ASSERT(X509_sign(certificate, issuer == nullptr ? made.key.get() : issuer->key.get(), digest) != 0);
  return made;
}

const Identity& root() {
  static const Identity made =
      issue({.common_name = "Test Root", .dns = {}, .end = kNow + 3650 * kDay, .is_authority = true}, nullptr);
  return made;
}

const Identity& intermediate() {
  static const Identity made =
      issue({.common_name = "Test Intermediate", .dns = {}, .end = kNow + 1000 * kDay, .is_authority = true}, &root());
  return made;
}

Certificate server_certificate(const Subject& subject, std::vector<std::string> names) {
  const Identity leaf = issue(subject, &intermediate());
  auto made = Certificate::parse({.names = std::move(names), .chain = "chain.pem", .key = "key.pem"},
                                 leaf.pem() + intermediate().pem(), leaf.key_pem());
  POSTERN_ASSERT(made.has_value());
  return std::move(*made);
}

Client::Client(const ClientOptions& options) : context_(SSL_CTX_new(TLS_with_buffers_method())) {
  SSL_CTX* context = context_.get();
  POSTERN_ASSERT(SSL_CTX_set_min_proto_version(context, options.version_min) == 1);
  POSTERN_ASSERT(SSL_CTX_set_max_proto_version(context, options.version_max) == 1);
  SSL_CTX_set_custom_verify(context, SSL_VERIFY_PEER, [](SSL*, std::uint8_t*) { return ssl_verify_ok; });
  SSL_CTX_set_current_time_cb(context, tell_time);
  SSL_CTX_set_session_cache_mode(context, SSL_SESS_CACHE_CLIENT | SSL_SESS_CACHE_NO_INTERNAL);
  SSL_CTX_sess_set_new_cb(context, [](SSL* ssl, SSL_SESSION* session) {
    static_cast<Client*>(SSL_get_app_data(ssl))->session_.reset(session);
    return 1;
  });
  if (!options.signatures.empty()) {
    SSL_CTX_set_verify_algorithm_prefs(context, options.signatures.data(), options.signatures.size());
  }
  if (!options.groups.empty()) SSL_CTX_set1_curves(context, options.groups.data(), options.groups.size());
  if (options.ciphers != nullptr) POSTERN_ASSERT(SSL_CTX_set_strict_cipher_list(context, options.ciphers) == 1);
  ssl_.reset(SSL_new(context));
  SSL* ssl = ssl_.get();
  SSL_set_app_data(ssl, this);
  SSL_set_connect_state(ssl);
  SSL_set_bio(ssl, BIO_new(BIO_s_mem()), BIO_new(BIO_s_mem()));
  if (!options.server_name.empty()) SSL_set_tlsext_host_name(ssl, options.server_name.c_str());
  std::string protocols;
  for (const std::string& name : options.protocols) protocols += static_cast<char>(name.size()) + name;
  SSL_set_alpn_protos(ssl, reinterpret_cast<const std::uint8_t*>(protocols.data()), protocols.size());
  if (options.identity != nullptr) {
    std::vector<bssl::UniquePtr<CRYPTO_BUFFER>> chain;
    std::vector<CRYPTO_BUFFER*> pointers;
    std::vector<const Identity*> all = {options.identity};
    all.insert(all.end(), options.identity_chain.begin(), options.identity_chain.end());
    for (const Identity* one : all) {
      const std::string der = one->der();
      chain.emplace_back(CRYPTO_BUFFER_new(reinterpret_cast<const std::uint8_t*>(der.data()), der.size(), nullptr));
      pointers.push_back(chain.back().get());
    }
    POSTERN_ASSERT(SSL_set_chain_and_key(ssl, pointers.data(), pointers.size(), options.identity->key.get(), nullptr) == 1);
  }
  if (options.session != nullptr) SSL_set_session(ssl, options.session);
}

bool Client::step() {
  while (!failed_ && !closed_) {
    std::array<char, 4096> plain;
    const int octets = SSL_read(ssl_.get(), plain.data(), plain.size());
    if (octets > 0) {
      read_.append(plain.data(), static_cast<std::size_t>(octets));
      continue;
    }
    const int error = SSL_get_error(ssl_.get(), octets);
    if (error == SSL_ERROR_WANT_READ) break;
    closed_ = error == SSL_ERROR_ZERO_RETURN;
    failed_ = !closed_;
    error_ = ERR_peek_error();
    ERR_clear_error();
  }
  return !failed_;
}

void Client::give(std::string_view cipher) {
  if (!cipher.empty()) BIO_write(SSL_get_rbio(ssl_.get()), cipher.data(), static_cast<int>(cipher.size()));
}

std::string Client::take() {
  std::string taken = contents(SSL_get_wbio(ssl_.get()));
  BIO_reset(SSL_get_wbio(ssl_.get()));
  return taken;
}

void Client::write(std::string_view plain) {
  POSTERN_ASSERT(SSL_write(ssl_.get(), plain.data(), static_cast<int>(plain.size())) == static_cast<int>(plain.size()));
}

bool Client::shut() { return SSL_shutdown(ssl_.get()) >= 0; }

std::string Client::server_der() const {
  const STACK_OF(CRYPTO_BUFFER)* chain = SSL_get0_peer_certificates(ssl_.get());
  if (chain == nullptr || sk_CRYPTO_BUFFER_num(chain) == 0) return {};
  const CRYPTO_BUFFER* leaf = sk_CRYPTO_BUFFER_value(chain, 0);
  return {reinterpret_cast<const char*>(CRYPTO_BUFFER_data(leaf)), CRYPTO_BUFFER_len(leaf)};
}

bssl::UniquePtr<SSL_SESSION> Client::session() { return bssl::UpRef(session_); }

Cut whole() {
  return [] { return SIZE_MAX; };
}

Cut octets(std::size_t count) {
  return [count] { return count; };
}

Cut random_cuts(std::uint64_t seed, std::size_t most) {
  return [random = std::mt19937_64(seed), most]() mutable { return 1 + static_cast<std::size_t>(random() % most); };
}

bool Pair::run() {
  for (;;) {
    const bool client_well = client.step();
    const std::string cipher = client.take();
    if (cipher.empty()) return client_well && status != Status::failed;
    give_server(cipher);
  }
}

Status Pair::give_server(std::string_view cipher) {
  const std::unique_ptr<char[]> plain_memory(new char[plain_bytes]);
  const std::unique_ptr<char[]> out_memory(new char[out_bytes]);
  while (!cipher.empty()) {
    std::string_view piece = cipher.substr(0, cut());
    cipher.remove_prefix(piece.size());
    for (;;) {
      OutputBuffer out(out_memory.get(), out_bytes);
      const Progress progress = server.receive(piece, {plain_memory.get(), plain_bytes}, out);
      piece.remove_prefix(progress.consumed);
      received.append(plain_memory.get(), progress.plain);
      client.give(out.view());
      status = progress.status;
      if (status != Status::need_plain && status != Status::need_output) break;
    }
    POSTERN_ASSERT(piece.empty());
  }
  return status;
}

void Pair::say(std::string_view plain) {
  const std::unique_ptr<char[]> out_memory(new char[out_bytes]);
  while (!plain.empty()) {
    OutputBuffer out(out_memory.get(), out_bytes);
    plain.remove_prefix(server.send(plain, out));
    POSTERN_ASSERT(!out.empty());
    client.give(out.view());
  }
}

}  // namespace postern::net::tls::test
