// A server certificate: its chain and its key, read from PEM files, and what is wrong with it.
//
// Duty: load what the settings name, or say what is wrong, where, and what mends it; judge what was loaded against a
//   time (inspect); make a self-signed certificate for the first start.
// Keys: ECDSA on P-256 or P-384, and RSA. Others (Ed25519, P-521, DSA) are refused: no mail client and no public
//   authority can be relied on to know them.
// Secrets: the key's text is wiped once it is parsed, the key when its last Certificate goes. Neither is ever in a text
//   of ours.
// Lifetime: a Certificate is immutable; copies share chain and key. Thread: any; load() and make_self_signed() block.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "core/result.h"

namespace postern::net::tls {

// As [[certificate]] of the settings says it.
struct CertificateFiles {
  std::vector<std::string> names;  // host names, "*.example.net" for a wildcard; empty: those in the certificate
  std::string chain;               // path; the server's certificate first, then each one's issuer, without the root
  std::string key;                 // path; PKCS #8 or the traditional forms, not encrypted
};

struct Finding {
  enum class Severity : std::uint8_t {
    warning,  // works with some clients, or will soon stop to
    error,    // clients that check certificates refuse it now
  };
  Severity severity = Severity::warning;
  std::string text;  // one line: the file, what is wrong, what mends it
};

enum class KeyKind : std::uint8_t { ecdsa_p256, ecdsa_p384, rsa };

class Certificate {
 public:
  // Errors: a file that cannot be read, has no certificate or key in it, is too large; a key that is encrypted, of a
  // kind we do not take, or of another certificate; names that are none. `Error::code` is errno where a call failed.
  [[nodiscard]] static core::Result<Certificate> load(const CertificateFiles& files);
  // The same from the files' text. `files` names them in messages.
  [[nodiscard]] static core::Result<Certificate> parse(const CertificateFiles& files, std::string_view chain_pem,
                                                       std::string_view key_pem);

  // What it is served for: canonical (policy::DomainName), a wildcard with its "*.". Never empty.
  [[nodiscard]] const std::vector<std::string>& names() const;
  [[nodiscard]] const CertificateFiles& files() const;
  [[nodiscard]] KeyKind key_kind() const;

  // One of the files is not what was loaded (its inode, size or time of change): time to load again. A file that cannot
  // be looked at counts as changed. Always false after parse(). Blocks (two stats).
  [[nodiscard]] bool files_changed() const;

  // BoringSSL's objects, for this room (parts.h).
  struct Parts;
  [[nodiscard]] const Parts& parts() const { return *parts_; }

 private:
  explicit Certificate(std::shared_ptr<const Parts> parts) : parts_(std::move(parts)) {}
  std::shared_ptr<const Parts> parts_;
};

// What clients, or an attacker, will hold against it at `unix_now` (seconds): not yet valid, expired, expires within 14
// days; a name that it does not cover; not for servers (extended key usage); RSA below 2048 bits; signed with SHA-1 or
// MD5; self-signed; a chain out of order, or with its intermediates missing; a key that everybody can read.
// Errors first. Whether an authority is trusted is the clients' business and not judged.
[[nodiscard]] std::vector<Finding> inspect(const Certificate& certificate, std::int64_t unix_now);

// For a first start: an ECDSA P-256 key and a self-signed certificate for `names` (the first is its subject), valid
// from a day before `unix_now` for 825 days, the longest that all clients take. The key's file gets mode 0600, the chain's
// 0644. Both are written beside their place, synced, and renamed into it; the folder is made (0700) if it is missing.
// A key that is there already is used; a chain that is there is never replaced (an error).
[[nodiscard]] core::Result<void> make_self_signed(const std::vector<std::string>& names, const std::string& chain_path,
                                                  const std::string& key_path, std::int64_t unix_now);

}  // namespace postern::net::tls
