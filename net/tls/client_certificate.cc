// What the certificate of a client is worth, and whom it names.
#include <algorithm>
#include <openssl/err.h>
#include <openssl/nid.h>
#include <openssl/x509v3.h>

#include "net/tls/parts.h"
#include "net/tls/pem.h"

namespace postern::net::tls {
namespace {

constexpr std::size_t kNameBytesMax = 255;
constexpr int kDepthMax = 8;  // authorities between the client's certificate and a trusted one

// The octets as a name for people and logs; empty: there are such among them that a name has no use for.
std::string printable(std::string_view octets) {
  const bool is_plain = std::ranges::all_of(octets, [](char c) { return c >= ' ' && c <= '~'; });
  return is_plain && octets.size() <= kNameBytesMax ? std::string(octets) : std::string();
}

std::string_view octets_of(const ASN1_STRING* text) {
  return {reinterpret_cast<const char*>(ASN1_STRING_get0_data(text)),
          static_cast<std::size_t>(ASN1_STRING_length(text))};
}

std::string common_name(X509* certificate) {
  X509_NAME* subject = X509_get_subject_name(certificate);
  const int at = X509_NAME_get_index_by_NID(subject, NID_commonName, -1);
  if (at < 0) return {};
  std::uint8_t* utf8 = nullptr;
  const int size = ASN1_STRING_to_UTF8(&utf8, X509_NAME_ENTRY_get_data(X509_NAME_get_entry(subject, at)));
  if (size < 0) return {};
  const bssl::UniquePtr<std::uint8_t> octets(utf8);
  return printable({reinterpret_cast<const char*>(utf8), static_cast<std::size_t>(size)});
}

std::string name_of(X509* certificate) {
  const bssl::UniquePtr<GENERAL_NAMES> alternatives(
      static_cast<GENERAL_NAMES*>(X509_get_ext_d2i(certificate, NID_subject_alt_name, nullptr, nullptr)));
  for (std::size_t i = 0; alternatives && i < sk_GENERAL_NAME_num(alternatives.get()); ++i) {
    const GENERAL_NAME* alternative = sk_GENERAL_NAME_value(alternatives.get(), i);
    if (alternative->type == GEN_EMAIL) return printable(octets_of(alternative->d.rfc822Name));
  }
  return common_name(certificate);
}

// Empty, or why the chain is not believed.
std::string refusal(X509* leaf, STACK_OF(X509) * others, X509_STORE* authorities, std::int64_t unix_now) {
  const bssl::UniquePtr<X509_STORE_CTX> context(X509_STORE_CTX_new());
  if (!context || X509_STORE_CTX_init(context.get(), authorities, leaf, others) != 1 ||
      X509_STORE_CTX_set_default(context.get(), "ssl_client") != 1) {
    return "no memory";
  }
  X509_VERIFY_PARAM* rules = X509_STORE_CTX_get0_param(context.get());
  X509_VERIFY_PARAM_set_time(rules, static_cast<time_t>(unix_now));
  X509_VERIFY_PARAM_set_depth(rules, kDepthMax);
  // What the operator lists is trusted, also an authority below a root.
  X509_VERIFY_PARAM_set_flags(rules, X509_V_FLAG_PARTIAL_CHAIN);
  if (X509_verify_cert(context.get()) == 1) return {};
  return X509_verify_cert_error_string(X509_STORE_CTX_get_error(context.get()));
}

}  // namespace

std::string parse_chain(const STACK_OF(CRYPTO_BUFFER) * chain, bssl::UniquePtr<X509>& leaf,
                        bssl::UniquePtr<STACK_OF(X509)>& others) {
  others.reset(sk_X509_new_null());
  for (std::size_t i = 0; i < sk_CRYPTO_BUFFER_num(chain); ++i) {
    bssl::UniquePtr<X509> parsed(X509_parse_from_buffer(sk_CRYPTO_BUFFER_value(chain, i)));
    if (!parsed) {
      ERR_clear_error();
      return "certificate that cannot be parsed";
    }
    if (i == 0) {
      leaf = std::move(parsed);
    } else if (!others || !bssl::PushToStack(others.get(), std::move(parsed))) {
      return "no memory";
    }
  }
  return leaf ? "" : "no certificate";
}

ClientCertificate judge_client_certificate(const STACK_OF(CRYPTO_BUFFER) * chain, X509_STORE* authorities,
                                           std::int64_t unix_now) {
  bssl::UniquePtr<STACK_OF(X509)> others;
  bssl::UniquePtr<X509> leaf;
  ClientCertificate result;
  result.failure = parse_chain(chain, leaf, others);
  if (result.failure.empty()) result.failure = refusal(leaf.get(), others.get(), authorities, unix_now);
  if (result.failure.empty()) {
    result.name = name_of(leaf.get());
    if (result.name.empty()) result.failure = "certificate names neither a mail address nor a common name";
  }
  ERR_clear_error();
  return result;
}

}  // namespace postern::net::tls
