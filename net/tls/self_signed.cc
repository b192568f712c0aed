// The certificate of a first start.
#include <array>
#include <cerrno>
#include <cstdio>
#include <cstring>
#include <fcntl.h>
#include <openssl/bn.h>
#include <openssl/bio.h>
#include <openssl/digest.h>
#include <openssl/ec_key.h>
#include <openssl/err.h>
#include <openssl/mem.h>
#include <openssl/nid.h>
#include <openssl/pem.h>
#include <openssl/rand.h>
#include <openssl/x509v3.h>
#include <sys/stat.h>
#include <unistd.h>

#include "net/tls/certificate.h"
#include "net/tls/parts.h"
#include "net/tls/pem.h"
#include "policy/address.h"

namespace postern::net::tls {
namespace {

constexpr std::int64_t kDay = 86400;
constexpr std::int64_t kValidDays = 825;

bssl::UniquePtr<EVP_PKEY> make_key() {
  const bssl::UniquePtr<EC_KEY> pair(EC_KEY_new_by_curve_name(NID_X9_62_prime256v1));
  bssl::UniquePtr<EVP_PKEY> key(EVP_PKEY_new());
  if (!pair || !key || EC_KEY_generate_key(pair.get()) != 1 || EVP_PKEY_set1_EC_KEY(key.get(), pair.get()) != 1) {
    return nullptr;
  }
  return key;
}

bool set_serial(X509* certificate) {
  std::array<std::uint8_t, 16> octets;
  RAND_bytes(octets.data(), octets.size());
  octets[0] = (octets[0] & 0x7f) | 0x40;  // positive, and never short
  const bssl::UniquePtr<BIGNUM> number(BN_bin2bn(octets.data(), octets.size(), nullptr));
  return number && BN_to_ASN1_INTEGER(number.get(), X509_get_serialNumber(certificate)) != nullptr;
}

bool set_names(X509* certificate, const std::vector<std::string>& names) {
  X509_NAME* subject = X509_get_subject_name(certificate);
  // A common name is at most 64 characters (RFC 5280 appendix A); clients go by the DNS names anyway.
  const std::string& first = names.front();
  const auto* common = reinterpret_cast<const std::uint8_t*>(first.data());
  if (first.size() <= 64 && X509_NAME_add_entry_by_NID(subject, NID_commonName, MBSTRING_UTF8, common,
                                                       static_cast<int>(first.size()), -1, 0) != 1) {
    return false;
  }
  const bssl::UniquePtr<GENERAL_NAMES> alternatives(sk_GENERAL_NAME_new_null());
  if (!alternatives) return false;
  for (const std::string& name : names) {
    bssl::UniquePtr<ASN1_IA5STRING> text(ASN1_IA5STRING_new());
    bssl::UniquePtr<GENERAL_NAME> alternative(GENERAL_NAME_new());
    if (!text || !alternative || ASN1_STRING_set(text.get(), name.data(), static_cast<int>(name.size())) != 1) return false;
    GENERAL_NAME_set0_value(alternative.get(), GEN_DNS, text.release());
    if (!bssl::PushToStack(alternatives.get(), std::move(alternative))) return false;
  }
  // Critical where there is no subject (RFC 5280 section 4.2.1.6).
  const int critical = X509_NAME_entry_count(subject) == 0 ? 1 : 0;
  return X509_set_issuer_name(certificate, subject) == 1 &&
         X509_add1_ext_i2d(certificate, NID_subject_alt_name, alternatives.get(), critical, 0) == 1;
}

bool set_usage(X509* certificate) {
  const bssl::UniquePtr<BASIC_CONSTRAINTS> constraints(BASIC_CONSTRAINTS_new());  // not an authority
  const bssl::UniquePtr<ASN1_BIT_STRING> usage(ASN1_BIT_STRING_new());
  const bssl::UniquePtr<STACK_OF(ASN1_OBJECT)> purposes(sk_ASN1_OBJECT_new_null());
  return constraints && usage && purposes && ASN1_BIT_STRING_set_bit(usage.get(), 0, 1) == 1 &&  // digitalSignature
         sk_ASN1_OBJECT_push(purposes.get(), OBJ_nid2obj(NID_server_auth)) != 0 &&               // a static object
         X509_add1_ext_i2d(certificate, NID_basic_constraints, constraints.get(), 1, 0) == 1 &&
         X509_add1_ext_i2d(certificate, NID_key_usage, usage.get(), 1, 0) == 1 &&
         X509_add1_ext_i2d(certificate, NID_ext_key_usage, purposes.get(), 0, 0) == 1;
}

bssl::UniquePtr<X509> make_certificate(const std::vector<std::string>& names, EVP_PKEY* key, std::int64_t unix_now) {
  bssl::UniquePtr<X509> made(X509_new());
  X509* certificate = made.get();
  if (certificate == nullptr || X509_set_version(certificate, X509_VERSION_3) != 1 || !set_serial(certificate) ||
      ASN1_TIME_set(X509_getm_notBefore(certificate), unix_now - kDay) == nullptr ||
      ASN1_TIME_set(X509_getm_notAfter(certificate), unix_now + (kValidDays - 1) * kDay) == nullptr ||
      !set_names(certificate, names) || !set_usage(certificate) || X509_set_pubkey(certificate, key) != 1 ||
      X509_sign(certificate, key, EVP_sha256()) == 0) {
    return nullptr;
  }
  return made;
}

std::string_view text_of(const BIO* bio) {
  const std::uint8_t* text = nullptr;
  std::size_t size = 0;
  return BIO_mem_contents(bio, &text, &size) == 1 ? std::string_view(reinterpret_cast<const char*>(text), size)
                                                  : std::string_view();
}

std::string folder_of(const std::string& path) {
  const std::size_t slash = path.rfind('/');
  if (slash == std::string::npos) return ".";
  return slash == 0 ? "/" : path.substr(0, slash);
}

core::Result<void> write_all(int descriptor, std::string_view text, const std::string& path) {
  while (!text.empty()) {
    const ssize_t written = ::write(descriptor, text.data(), text.size());
    if (written < 0 && errno == EINTR) continue;
    if (written < 0) return core::fail_errno("write " + path, errno);
    text.remove_prefix(static_cast<std::size_t>(written));
  }
  if (::fsync(descriptor) != 0) return core::fail_errno("sync " + path, errno);
  return {};
}

core::Result<void> sync_folder(const std::string& folder) {
  const int descriptor = ::open(folder.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  if (descriptor < 0) return core::fail_errno("open " + folder, errno);
  const int synced = ::fsync(descriptor);
  const int code = errno;
  ::close(descriptor);
  if (synced != 0) return core::fail_errno("sync " + folder, code);
  return {};
}

// A new file, whole and on disk, or none. One that is there already is an error and stays as it is.
core::Result<void> write_new_file(const std::string& path, std::string_view text, mode_t mode) {
  const std::string folder = folder_of(path);
  if (::mkdir(folder.c_str(), 0700) != 0 && errno != EEXIST) return core::fail_errno("make " + folder, errno);
  std::uint64_t random = 0;
  RAND_bytes(reinterpret_cast<std::uint8_t*>(&random), sizeof random);
  const std::string beside = path + "." + std::to_string(random) + ".new";
  const int descriptor = ::open(beside.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, mode);
  if (descriptor < 0) return core::fail_errno("make " + beside, errno);
  ::fchmod(descriptor, mode);  // whatever the umask
  auto done = write_all(descriptor, text, beside);
  ::close(descriptor);
  if (done && ::renameat2(AT_FDCWD, beside.c_str(), AT_FDCWD, path.c_str(), RENAME_NOREPLACE) != 0) {
    done = core::fail_errno("make " + path, errno);
  }
  if (!done) {
    ::unlink(beside.c_str());
    return done;
  }
  return sync_folder(folder);
}

// The key at `path`; a new one is written there if there is none.
core::Result<bssl::UniquePtr<EVP_PKEY>> take_or_make_key(const std::string& path) {
  if (::access(path.c_str(), F_OK) == 0) {  // a start before this one got no further
    const auto file = read_file(path, "key");
    if (!file) return std::unexpected(file.error());
    return parse_key(path, file->text.view());
  }
  bssl::UniquePtr<EVP_PKEY> key = make_key();
  const bssl::UniquePtr<BIO> text(BIO_new(BIO_s_mem()));  // BoringSSL wipes what it frees
  if (!key || !text || PEM_write_bio_PKCS8PrivateKey(text.get(), key.get(), nullptr, nullptr, 0, nullptr, nullptr) != 1) {
    return core::fail("make a key: " + take_library_error());
  }
  const auto written = write_new_file(path, text_of(text.get()), 0600);
  if (!written) return std::unexpected(written.error());
  return key;
}

}  // namespace

core::Result<void> make_self_signed(const std::vector<std::string>& names, const std::string& chain_path,
                                    const std::string& key_path, std::int64_t unix_now) {
  std::vector<std::string> hosts;
  for (const std::string& name : names) {
    const policy::DomainName host(name);
    if (host.empty() || host.text().starts_with('[')) return core::fail("\"" + name + "\" is no host name");
    hosts.emplace_back(host.text());
  }
  if (hosts.empty()) return core::fail("a certificate needs a host name");
  if (::access(chain_path.c_str(), F_OK) == 0) return core::fail(chain_path + " exists; it is not replaced", EEXIST);
  const auto key = take_or_make_key(key_path);
  if (!key) return std::unexpected(key.error());
  const bssl::UniquePtr<X509> certificate = make_certificate(hosts, key->get(), unix_now);
  const bssl::UniquePtr<BIO> text(BIO_new(BIO_s_mem()));
  if (!certificate || !text || PEM_write_bio_X509(text.get(), certificate.get()) != 1) {
    return core::fail("make a certificate for " + hosts.front() + ": " + take_library_error());
  }
  return write_new_file(chain_path, text_of(text.get()), 0644);
}

}  // namespace postern::net::tls
