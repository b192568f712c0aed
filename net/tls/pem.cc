#include "net/tls/pem.h"

#include <cerrno>
#include <cstring>
#include <fcntl.h>
#include <openssl/bio.h>
#include <openssl/err.h>
#include <openssl/mem.h>
#include <openssl/pem.h>
#include <openssl/x509.h>
#include <sys/stat.h>
#include <unistd.h>

#include "core/ascii.h"
#include "core/clock.h"

namespace postern::net::tls {
namespace {

constexpr std::size_t kFileBytesMax = 1 << 20;

FileStamp stamp_of(const struct stat& status) {
  return {status.st_dev, status.st_ino, static_cast<std::uint64_t>(status.st_size),
          status.st_ctim.tv_sec * core::kNanosecondsPerSecond + status.st_ctim.tv_nsec};
}

core::Result<File> read_open_file(int descriptor, const std::string& path) {
  struct stat status {};
  if (fstat(descriptor, &status) != 0) return core::fail_errno("read " + path, errno);
  if (!S_ISREG(status.st_mode)) return core::fail(path + " is not a file: name the PEM file itself");
  if (static_cast<std::uint64_t>(status.st_size) > kFileBytesMax) {
    return core::fail(path + " is larger than 1 MiB: this is no certificate or key in PEM form");
  }
  File file{SecretText(static_cast<std::size_t>(status.st_size)), stamp_of(status), (status.st_mode & 06) != 0};
  for (std::size_t at = 0; at < file.text.view().size();) {
    const ssize_t got = ::read(descriptor, file.text.data() + at, file.text.view().size() - at);
    if (got < 0 && errno == EINTR) continue;
    if (got < 0) return core::fail_errno("read " + path, errno);
    if (got == 0) return core::fail(path + " was cut short while it was read: load it again once it is written");
    at += static_cast<std::size_t>(got);
  }
  return file;
}

bssl::UniquePtr<BIO> reader(std::string_view text) {
  return bssl::UniquePtr<BIO>(BIO_new_mem_buf(text.data(), static_cast<int>(text.size())));
}

// One block of a PEM file.
struct PemBlock {
  bssl::UniquePtr<char> name;
  bssl::UniquePtr<char> header;
  bssl::UniquePtr<std::uint8_t> octets;
  long size = 0;
};

enum class PemNext : std::uint8_t { block, end, damaged };

PemNext next_block(BIO* bio, PemBlock& block) {
  char* name = nullptr;
  char* header = nullptr;
  std::uint8_t* octets = nullptr;
  if (PEM_read_bio(bio, &name, &header, &octets, &block.size) != 1) {
    const std::uint32_t error = ERR_peek_last_error();
    const bool is_end = ERR_GET_LIB(error) == ERR_LIB_PEM && ERR_GET_REASON(error) == PEM_R_NO_START_LINE;
    ERR_clear_error();
    return is_end ? PemNext::end : PemNext::damaged;
  }
  block.name.reset(name);
  block.header.reset(header);
  block.octets.reset(octets);
  return PemNext::block;
}

bool is_certificate(std::string_view name) {
  return name == PEM_STRING_X509 || name == PEM_STRING_X509_OLD;
}

int no_passphrase(char*, int, int, void*) { return 0; }

}  // namespace

SecretText::~SecretText() { OPENSSL_cleanse(text_.data(), text_.size()); }

core::Result<File> read_file(const std::string& path, std::string_view what) {
  const int descriptor = ::open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NOCTTY | O_NONBLOCK);
  if (descriptor < 0) {
    const int code = errno;
    std::string text = "open the " + std::string(what) + " " + path + ": " + std::strerror(code);
    if (code == EACCES) text += "; the user that runs postern must be able to read it and to enter its folders";
    if (code == ENOENT) text += "; correct its path in the settings";
    return core::fail(std::move(text), code);
  }
  core::Result<File> file = read_open_file(descriptor, path);
  ::close(descriptor);
  return file;
}

bool stamp_file(const std::string& path, FileStamp& stamp) {
  struct stat status {};
  if (::stat(path.c_str(), &status) != 0) return false;
  stamp = stamp_of(status);
  return true;
}

core::Result<std::vector<bssl::UniquePtr<CRYPTO_BUFFER>>> parse_certificates(const std::string& path,
                                                                             std::string_view pem,
                                                                             std::size_t count_max) {
  std::vector<bssl::UniquePtr<CRYPTO_BUFFER>> chain;
  const bssl::UniquePtr<BIO> bio = reader(pem);
  const auto number = [&] { return std::to_string(chain.size() + 1); };
  for (PemBlock block;;) {
    const PemNext next = next_block(bio.get(), block);
    if (next == PemNext::end) break;
    if (next == PemNext::damaged) {
      return core::fail(path + ": damaged PEM text where certificate " + number() + " should be; copy the file again");
    }
    if (!is_certificate(block.name.get())) continue;  // a key or parameters in the same file
    if (chain.size() == count_max) {
      return core::fail(path + ": more than " + std::to_string(count_max) + " certificates; name a file with fewer");
    }
    bssl::UniquePtr<CRYPTO_BUFFER> der(
        CRYPTO_BUFFER_new(block.octets.get(), static_cast<std::size_t>(block.size), nullptr));
    const bssl::UniquePtr<X509> parsed(der ? X509_parse_from_buffer(der.get()) : nullptr);
    if (!parsed) {
      const std::string why = take_library_error();
      return core::fail(path + ": certificate " + number() + " cannot be parsed (" + why + ")");
    }
    chain.push_back(std::move(der));
  }
  if (chain.empty()) {
    return core::fail(path + ": no certificate in PEM form (-----BEGIN CERTIFICATE-----); a DER file is converted by "
                      "`openssl x509 -inform der -in FILE -out NEW`");
  }
  return chain;
}

core::Result<bssl::UniquePtr<EVP_PKEY>> parse_key(const std::string& path, std::string_view pem) {
  if (pem.find("BEGIN ENCRYPTED PRIVATE KEY") != std::string_view::npos ||
      pem.find("Proc-Type: 4,ENCRYPTED") != std::string_view::npos) {
    return core::fail(path + ": the key is encrypted, and nobody is there to type the passphrase; decrypt it by "
                      "`openssl pkey -in FILE -out NEW` and protect the file (mode 0600)");
  }
  const bssl::UniquePtr<BIO> bio = reader(pem);
  bssl::UniquePtr<EVP_PKEY> key(PEM_read_bio_PrivateKey(bio.get(), nullptr, no_passphrase, nullptr));
  if (!key) {
    const bool has_key = pem.find("PRIVATE KEY-----") != std::string_view::npos;
    const std::string why = take_library_error();
    if (has_key) return core::fail(path + ": the private key cannot be parsed (" + why + ")");
    return core::fail(path + ": no private key in PEM form (-----BEGIN PRIVATE KEY-----)");
  }
  ERR_clear_error();
  return key;
}

std::string library_reason(std::uint32_t error) {
  const char* reason = ERR_reason_error_string(error);
  std::string text = reason == nullptr ? "unknown error" : reason;
  for (char& c : text) c = c == '_' ? ' ' : core::ascii_lower(c);
  return text;
}

std::string take_library_error() {
  const std::uint32_t error = ERR_peek_error();
  ERR_clear_error();
  return library_reason(error);
}

}  // namespace postern::net::tls
