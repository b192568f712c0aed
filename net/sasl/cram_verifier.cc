// CRAM-MD5 from stopped MD5s.
#include <algorithm>
#include <openssl/md5.h>
#include <openssl/mem.h>

#include "core/ascii.h"
#include "net/sasl/digest.h"
#include "net/sasl/prepare.h"
#include "net/sasl/scram_keys.h"

namespace postern::net::sasl {
namespace {

// MD5's state wipes itself: it is as good as the password.
struct Md5 {
  MD5_CTX state;
  Md5() { MD5_Init(&state); }
  ~Md5() { OPENSSL_cleanse(&state, sizeof state); }
  Md5(const Md5&) = delete;
  Md5& operator=(const Md5&) = delete;

  void add(std::string_view text) { MD5_Update(&state, text.data(), text.size()); }
  std::array<std::uint8_t, 16> finish() {
    std::array<std::uint8_t, 16> result{};
    MD5_Final(result.data(), &state);
    return result;
  }
};

// The chaining value after one block of the key mixed with `pad` (RFC 2104).
std::array<char, 16> chain_of(std::span<const std::uint8_t, MD5_CBLOCK> key, std::uint8_t pad) {
  std::array<std::uint8_t, MD5_CBLOCK> block{};
  std::ranges::transform(key, block.begin(),
                         [pad](std::uint8_t octet) { return static_cast<std::uint8_t>(octet ^ pad); });
  Md5 md5;
  MD5_Transform(&md5.state, block.data());
  OPENSSL_cleanse(block.data(), block.size());
  std::array<char, 16> chain{};
  for (std::size_t i = 0; i < chain.size(); ++i)
    chain[i] = static_cast<char>(md5.state.h[i / 4] >> (8 * (i % 4)) & 0xff);
  return chain;
}

// Goes on from such a value: one block of 512 bits is behind it.
void resume(Md5& md5, const std::array<char, 16>& chain) {
  for (std::size_t word = 0; word < 4; ++word) {
    std::uint32_t value = 0;
    for (std::size_t i = 4; i-- > 0;) value = value << 8 | static_cast<unsigned char>(chain[4 * word + i]);
    md5.state.h[word] = value;
  }
  md5.state.Nl = 8 * MD5_CBLOCK;
}

constexpr std::string_view kHex = "0123456789abcdef";

int hex_digit(char c) {
  const std::size_t digit = kHex.find(core::ascii_lower(c));
  return digit == std::string_view::npos ? -1 : static_cast<int>(digit);
}

bool read_hex(std::string_view text, std::array<char, 16>& out) {
  for (std::size_t i = 0; i < out.size(); ++i) {
    const int high = hex_digit(text[2 * i]);
    const int low = hex_digit(text[2 * i + 1]);
    if (high < 0 || low < 0) return false;
    out[i] = static_cast<char>(high << 4 | low);
  }
  return true;
}

}  // namespace

CramVerifier::~CramVerifier() {
  OPENSSL_cleanse(inner.data(), inner.size());
  OPENSSL_cleanse(outer.data(), outer.size());
}

std::optional<CramVerifier> derive_cram_verifier(std::string_view password) noexcept {
  std::array<char, kPasswordBytesMax> prepared;
  const std::optional<std::size_t> bytes = prepare(password, prepared);
  if (!bytes) return std::nullopt;
  std::array<std::uint8_t, MD5_CBLOCK> key{};
  if (*bytes > key.size()) {
    Md5 md5;
    md5.add({prepared.data(), *bytes});
    std::ranges::copy(md5.finish(), key.begin());
  } else {
    std::copy_n(prepared.begin(), *bytes, key.begin());
  }
  CramVerifier verifier;
  verifier.inner = chain_of(key, 0x36);
  verifier.outer = chain_of(key, 0x5c);
  OPENSSL_cleanse(prepared.data(), prepared.size());
  OPENSSL_cleanse(key.data(), key.size());
  return verifier;
}

CramVerifier decoy_cram_verifier(std::span<const std::byte, 32> secret, std::string_view user) noexcept {
  const std::string_view key(reinterpret_cast<const char*>(secret.data()), secret.size());
  const Digest by_mechanism = hmac(ScramHash::sha_256, key, "cram-md5");
  const Digest made_up = hmac(ScramHash::sha_256, by_mechanism.view(), user);
  CramVerifier verifier;
  std::copy_n(made_up.octets.begin(), 16, verifier.inner.begin());
  std::copy_n(made_up.octets.begin() + 16, 16, verifier.outer.begin());
  return verifier;
}

std::string cram_verifier_text(const CramVerifier& verifier) {
  std::string text;
  text.reserve(64);
  for (const auto* half : {&verifier.outer, &verifier.inner}) {
    for (const char c : *half) {
      text += kHex[static_cast<unsigned char>(c) >> 4];
      text += kHex[static_cast<unsigned char>(c) & 15];
    }
  }
  return text;
}

std::optional<CramVerifier> parse_cram_verifier(std::string_view text) noexcept {
  CramVerifier verifier;
  if (text.size() != 64) return std::nullopt;
  if (!read_hex(text.substr(0, 32), verifier.outer) || !read_hex(text.substr(32), verifier.inner)) return std::nullopt;
  return verifier;
}

std::array<char, 32> cram_response(const CramVerifier& verifier, std::string_view challenge) noexcept {
  Md5 inner;
  resume(inner, verifier.inner);
  inner.add(challenge);
  const std::array<std::uint8_t, 16> half = inner.finish();
  Md5 outer;
  resume(outer, verifier.outer);
  MD5_Update(&outer.state, half.data(), half.size());
  const std::array<std::uint8_t, 16> whole = outer.finish();
  std::array<char, 32> text{};
  for (std::size_t i = 0; i < whole.size(); ++i) {
    text[2 * i] = kHex[whole[i] >> 4];
    text[2 * i + 1] = kHex[whole[i] & 15];
  }
  return text;
}

}  // namespace postern::net::sasl
