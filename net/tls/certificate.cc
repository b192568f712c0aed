#include "net/tls/certificate.h"

#include <algorithm>
#include <openssl/ec.h>
#include <openssl/ec_key.h>
#include <openssl/err.h>
#include <openssl/nid.h>
#include <openssl/x509v3.h>

#include "net/tls/parts.h"
#include "net/tls/pem.h"
#include "policy/address.h"

namespace postern::net::tls {
namespace {

constexpr std::size_t kChainMax = 16;  // certificates in a file

core::Result<KeyKind> kind_of(const std::string& path, const EVP_PKEY* key) {
  if (EVP_PKEY_id(key) == EVP_PKEY_RSA) return KeyKind::rsa;
  if (EVP_PKEY_id(key) == EVP_PKEY_EC) {
    const int curve = EC_GROUP_get_curve_name(EC_KEY_get0_group(EVP_PKEY_get0_EC_KEY(key)));
    if (curve == NID_X9_62_prime256v1) return KeyKind::ecdsa_p256;
    if (curve == NID_secp384r1) return KeyKind::ecdsa_p384;
  }
  return core::fail(path + ": a kind of key that mail programs do not know; use ECDSA on P-256 (or P-384), or RSA");
}

// Canonical, with its "*." if it is a wildcard; empty: no host name.
std::string canonical_name(std::string_view name) {
  const bool is_wildcard = name.starts_with("*.");
  if (is_wildcard) name.remove_prefix(2);
  const policy::DomainName domain(name);
  if (domain.empty() || domain.text().find_first_of("*[: ") != std::string_view::npos) return {};
  return (is_wildcard ? "*." : "") + std::string(domain.text());
}

std::vector<std::string> names_in(X509* certificate) {
  std::vector<std::string> names;
  const auto add = [&](const ASN1_STRING* text) {
    const std::string_view name(reinterpret_cast<const char*>(ASN1_STRING_get0_data(text)),
                                static_cast<std::size_t>(ASN1_STRING_length(text)));
    std::string canonical = canonical_name(name);
    if (!canonical.empty() && std::ranges::find(names, canonical) == names.end()) names.push_back(std::move(canonical));
  };
  const bssl::UniquePtr<GENERAL_NAMES> alternatives(
      static_cast<GENERAL_NAMES*>(X509_get_ext_d2i(certificate, NID_subject_alt_name, nullptr, nullptr)));
  for (std::size_t i = 0; alternatives && i < sk_GENERAL_NAME_num(alternatives.get()); ++i) {
    const GENERAL_NAME* name = sk_GENERAL_NAME_value(alternatives.get(), i);
    if (name->type == GEN_DNS) add(name->d.dNSName);
  }
  if (names.empty()) {
    X509_NAME* subject = X509_get_subject_name(certificate);
    const int at = X509_NAME_get_index_by_NID(subject, NID_commonName, -1);
    if (at >= 0) add(X509_NAME_ENTRY_get_data(X509_NAME_get_entry(subject, at)));
  }
  ERR_clear_error();
  return names;
}

core::Result<std::vector<std::string>> names_of(const CertificateFiles& files, X509* leaf) {
  if (files.names.empty()) {
    std::vector<std::string> names = names_in(leaf);
    if (names.empty()) {
      return core::fail(files.chain + ": the certificate names no host; write `names` in its [[certificate]]");
    }
    return names;
  }
  std::vector<std::string> names;
  for (const std::string& name : files.names) {
    std::string canonical = canonical_name(name);
    if (canonical.empty()) {
      return core::fail("\"" + name + "\" in `names` of the certificate " + files.chain +
                        " is no host name; a wildcard is written \"*.example.net\"");
    }
    names.push_back(std::move(canonical));
  }
  return names;
}

// Everything but the stamps.
core::Result<std::unique_ptr<Certificate::Parts>> parse_parts(const CertificateFiles& files, std::string_view chain_pem,
                                                              std::string_view key_pem) {
  auto chain = parse_certificates(files.chain, chain_pem, kChainMax);
  if (!chain) return std::unexpected(chain.error());
  auto key = parse_key(files.key, key_pem);
  if (!key) return std::unexpected(key.error());
  const auto kind = kind_of(files.key, key->get());
  if (!kind) return std::unexpected(kind.error());
  const bssl::UniquePtr<X509> leaf(X509_parse_from_buffer(chain->front().get()));
  const bssl::UniquePtr<EVP_PKEY> public_key(X509_get_pubkey(leaf.get()));
  const bool is_pair = public_key && EVP_PKEY_cmp(public_key.get(), key->get()) == 1;
  ERR_clear_error();
  if (!is_pair) {
    return core::fail("the key " + files.key + " is not the key of the first certificate in " + files.chain +
                      ": the server's own certificate must stand first, and both files must be of the same request");
  }
  auto names = names_of(files, leaf.get());
  if (!names) return std::unexpected(names.error());
  auto parts = std::make_unique<Certificate::Parts>();
  parts->files = files;
  parts->names = std::move(*names);
  parts->chain = std::move(*chain);
  parts->key = std::move(*key);
  parts->key_kind = *kind;
  return parts;
}

}  // namespace

core::Result<Certificate> Certificate::load(const CertificateFiles& files) {
  const auto chain = read_file(files.chain, "certificate");
  if (!chain) return std::unexpected(chain.error());
  const auto key = read_file(files.key, "key");
  if (!key) return std::unexpected(key.error());
  auto parts = parse_parts(files, chain->text.view(), key->text.view());
  if (!parts) return std::unexpected(parts.error());
  (*parts)->key_is_exposed = key->is_exposed;
  (*parts)->from_files = true;
  (*parts)->chain_stamp = chain->stamp;
  (*parts)->key_stamp = key->stamp;
  return Certificate(std::move(*parts));
}

core::Result<Certificate> Certificate::parse(const CertificateFiles& files, std::string_view chain_pem,
                                             std::string_view key_pem) {
  auto parts = parse_parts(files, chain_pem, key_pem);
  if (!parts) return std::unexpected(parts.error());
  return Certificate(std::move(*parts));
}

const std::vector<std::string>& Certificate::names() const { return parts_->names; }
const CertificateFiles& Certificate::files() const { return parts_->files; }
KeyKind Certificate::key_kind() const { return parts_->key_kind; }

bool Certificate::files_changed() const {
  const auto differs = [](const std::string& path, const FileStamp& stamp) {
    FileStamp now;
    return !stamp_file(path, now) || now != stamp;
  };
  return parts_->from_files &&
         (differs(parts_->files.chain, parts_->chain_stamp) || differs(parts_->files.key, parts_->key_stamp));
}

}  // namespace postern::net::tls
