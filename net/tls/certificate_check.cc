// What is wrong with a certificate that was loaded, as a list for people.
#include <algorithm>
#include <array>
#include <ctime>
#include <openssl/asn1.h>
#include <openssl/err.h>
#include <openssl/nid.h>
#include <openssl/x509v3.h>
#include <string>

#include "net/tls/certificate.h"
#include "net/tls/parts.h"

namespace postern::net::tls {
namespace {

constexpr std::int64_t kSecondsPerDay = 86400;
constexpr std::int64_t kWarnDays = 14;
constexpr unsigned kRsaBitsMin = 2048;

using Severity = Finding::Severity;

// One inspection: the parsed chain, and what was found.
struct Inspection {
  const Certificate::Parts& parts;
  std::time_t now;
  std::vector<bssl::UniquePtr<X509>> chain;
  std::vector<Finding> findings;

  void say(Severity severity, const std::string& text) { findings.push_back({severity, parts.files.chain + ": " + text}); }
  // "the certificate", or which of those behind it.
  [[nodiscard]] static std::string which(std::size_t i) {
    return i == 0 ? "the certificate" : "certificate " + std::to_string(i + 1) + " of the chain";
  }
};

// "2026-11-05"
std::string date(const ASN1_TIME* time) {
  const bssl::UniquePtr<ASN1_GENERALIZEDTIME> full(ASN1_TIME_to_generalizedtime(time, nullptr));
  if (!full || ASN1_STRING_length(full.get()) < 8) return "an unknown day";
  const std::string digits(reinterpret_cast<const char*>(ASN1_STRING_get0_data(full.get())), 8);
  return digits.substr(0, 4) + "-" + digits.substr(4, 2) + "-" + digits.substr(6, 2);
}

bool is_before(const ASN1_TIME* time, std::time_t moment) {
  const std::time_t last = moment - 1;  // the comparison takes equal times for earlier
  return X509_cmp_time(time, const_cast<std::time_t*>(&last)) < 0;
}

bool is_self_issued(X509* certificate) {
  return X509_NAME_cmp(X509_get_subject_name(certificate), X509_get_issuer_name(certificate)) == 0;
}

void inspect_times(Inspection& inspection) {
  for (std::size_t i = 0; i < inspection.chain.size(); ++i) {
    const ASN1_TIME* begin = X509_get0_notBefore(inspection.chain[i].get());
    const ASN1_TIME* end = X509_get0_notAfter(inspection.chain[i].get());
    const std::string which = Inspection::which(i);
    if (is_before(end, inspection.now)) {
      inspection.say(Severity::error, which + " expired on " + date(end) + "; get a new one");
    } else if (is_before(end, inspection.now + kWarnDays * kSecondsPerDay)) {
      inspection.say(Severity::warning, which + " expires on " + date(end) + ", within 14 days; get a new one");
    }
    if (!is_before(begin, inspection.now + 1)) {
      inspection.say(Severity::error, which + " is not valid before " + date(begin) + "; is this machine's clock right?");
    }
  }
}

bool covers(X509* certificate, const std::string& name) {
  if (!name.starts_with("*.")) {
    return X509_check_host(certificate, name.data(), name.size(), X509_CHECK_FLAG_NEVER_CHECK_SUBJECT, nullptr) == 1;
  }
  const bssl::UniquePtr<GENERAL_NAMES> alternatives(
      static_cast<GENERAL_NAMES*>(X509_get_ext_d2i(certificate, NID_subject_alt_name, nullptr, nullptr)));
  for (std::size_t i = 0; alternatives && i < sk_GENERAL_NAME_num(alternatives.get()); ++i) {
    const GENERAL_NAME* alternative = sk_GENERAL_NAME_value(alternatives.get(), i);
    if (alternative->type != GEN_DNS) continue;
    const auto* text = reinterpret_cast<const char*>(ASN1_STRING_get0_data(alternative->d.dNSName));
    const auto size = static_cast<std::size_t>(ASN1_STRING_length(alternative->d.dNSName));
    if (size == name.size() && strncasecmp(text, name.data(), size) == 0) return true;
  }
  return false;
}

void inspect_names(Inspection& inspection) {
  for (const std::string& name : inspection.parts.names) {
    if (covers(inspection.chain.front().get(), name)) continue;
    inspection.say(Severity::error, "the certificate is not for " + name +
                                        ": the name is not among its DNS names (subjectAltName), and clients go by those");
  }
}

bool is_weak_signature(int nid) {
  static constexpr std::array kWeak = {NID_md5WithRSAEncryption, NID_md4WithRSAEncryption, NID_md2WithRSAEncryption,
                                       NID_sha1WithRSAEncryption, NID_sha1WithRSA, NID_ecdsa_with_SHA1,
                                       NID_dsaWithSHA1, NID_md5WithRSA};
  return std::ranges::find(kWeak, nid) != kWeak.end();
}

void inspect_strength(Inspection& inspection) {
  for (std::size_t i = 0; i < inspection.chain.size(); ++i) {
    X509* certificate = inspection.chain[i].get();
    const bssl::UniquePtr<EVP_PKEY> key(X509_get_pubkey(certificate));
    if (key && EVP_PKEY_id(key.get()) == EVP_PKEY_RSA) {
      const auto bits = static_cast<unsigned>(EVP_PKEY_bits(key.get()));
      if (bits < kRsaBitsMin) {
        inspection.say(Severity::error, Inspection::which(i) + " has an RSA key of " + std::to_string(bits) +
                                            " bits, which can be broken; use ECDSA on P-256, or RSA with 2048");
      }
    }
    // What a certificate says about itself proves nothing, however it is signed.
    if (!is_self_issued(certificate) && is_weak_signature(X509_get_signature_nid(certificate))) {
      inspection.say(Severity::error, Inspection::which(i) + " is signed with SHA-1 or MD5, which clients refuse; get a "
                                                            "new one from its authority");
    }
  }
}

void inspect_purpose(Inspection& inspection) {
  const std::uint32_t usage = X509_get_extended_key_usage(inspection.chain.front().get());
  if ((usage & (XKU_SSL_SERVER | XKU_ANYEKU)) == 0) {
    inspection.say(Severity::error,
                   "the certificate is not for servers: its extended key usage lacks serverAuth; request it again");
  }
}

void inspect_chain(Inspection& inspection) {
  X509* leaf = inspection.chain.front().get();
  if (is_self_issued(leaf)) {
    inspection.say(Severity::warning, "the certificate is self-signed: clients cannot tell this server from another; get "
                                      "one from an authority");
    return;
  }
  if (inspection.chain.size() == 1) {
    inspection.say(Severity::warning, "no certificate of an authority follows the server's own: unless a root signed it "
                                      "directly, clients miss the intermediate; append what the authority gave (fullchain)");
  }
  for (std::size_t i = 1; i < inspection.chain.size(); ++i) {
    X509* issuer = inspection.chain[i].get();
    X509* issued = inspection.chain[i - 1].get();
    const bssl::UniquePtr<EVP_PKEY> key(X509_get_pubkey(issuer));
    if (X509_NAME_cmp(X509_get_issuer_name(issued), X509_get_subject_name(issuer)) == 0 && key &&
        X509_verify(issued, key.get()) == 1) {
      continue;
    }
    inspection.say(Severity::error, "certificate " + std::to_string(i + 1) +
                                        " did not sign the one before it: put the server's own first, then each one's issuer");
    return;
  }
}

}  // namespace

std::vector<Finding> inspect(const Certificate& certificate, std::int64_t unix_now) {
  Inspection inspection{certificate.parts(), static_cast<std::time_t>(unix_now), {}, {}};
  for (const auto& der : inspection.parts.chain) inspection.chain.emplace_back(X509_parse_from_buffer(der.get()));
  inspect_times(inspection);
  inspect_names(inspection);
  inspect_purpose(inspection);
  inspect_strength(inspection);
  inspect_chain(inspection);
  if (inspection.parts.key_is_exposed) {
    const std::string& key = inspection.parts.files.key;
    inspection.findings.push_back({Severity::warning, key + ": every user of this machine can read or write the key; `chmod "
                                                            "o= " + key + "`, and get a new one if others were on it"});
  }
  ERR_clear_error();
  std::ranges::stable_partition(inspection.findings, [](const Finding& f) { return f.severity == Severity::error; });
  return std::move(inspection.findings);
}

}  // namespace postern::net::tls
