// PEM files: what this room reads from disk. Included by its own sources only. Blocks.
#pragma once

#include <cstdint>
#include <openssl/evp.h>
#include <openssl/pool.h>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "core/result.h"

namespace postern::net::tls {

// What tells one content of a file from the next.
struct FileStamp {
  std::uint64_t device = 0;
  std::uint64_t inode = 0;
  std::uint64_t octets = 0;
  std::int64_t changed_ns = 0;
  bool operator==(const FileStamp&) const = default;
};

// A file's text, wiped when it goes: it may hold a key.
class SecretText {
 public:
  explicit SecretText(std::size_t octets) : text_(octets, '\0') {}
  ~SecretText();
  SecretText(SecretText&&) noexcept = default;  // leaves the other empty
  SecretText& operator=(SecretText&&) = delete;
  [[nodiscard]] char* data() { return text_.data(); }
  [[nodiscard]] std::string_view view() const { return {text_.data(), text_.size()}; }

 private:
  std::vector<char> text_;
};

struct File {
  SecretText text;
  FileStamp stamp;
  bool is_exposed = false;  // everybody can read or write it
};

// `what`: "certificate", "key", for messages. At most 1 MiB.
[[nodiscard]] core::Result<File> read_file(const std::string& path, std::string_view what);
// False: it cannot be looked at.
[[nodiscard]] bool stamp_file(const std::string& path, FileStamp& stamp);

// All certificates of a PEM text, in DER, each one parsable; at least one, at most `count_max`. Other blocks are passed
// over. `path` is for messages.
[[nodiscard]] core::Result<std::vector<bssl::UniquePtr<CRYPTO_BUFFER>>> parse_certificates(const std::string& path,
                                                                                           std::string_view pem,
                                                                                           std::size_t count_max);
// The first private key of a PEM text.
[[nodiscard]] core::Result<bssl::UniquePtr<EVP_PKEY>> parse_key(const std::string& path, std::string_view pem);

// BoringSSL's reason in words, lower case.
[[nodiscard]] std::string library_reason(std::uint32_t error);
// The same of the oldest error on its queue, which is emptied.
[[nodiscard]] std::string take_library_error();

}  // namespace postern::net::tls
