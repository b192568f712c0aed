#include "net/tls/ticket_keys.h"

#include <algorithm>
#include <array>
#include <cstring>
#include <openssl/aead.h>
#include <openssl/err.h>
#include <openssl/mem.h>
#include <openssl/rand.h>
#include <vector>

#include "core/assert.h"

namespace postern::net::tls {
namespace {

constexpr std::size_t kNameBytes = 16;
constexpr std::size_t kNonceBytes = 12;
constexpr std::size_t kTagBytes = 16;
static_assert(kNameBytes + kNonceBytes + kTagBytes == TicketKeys::kOverheadBytes);

}  // namespace

struct TicketKeys::Key {
  std::array<std::uint8_t, kNameBytes> name;
  std::int64_t made_seconds;
  EVP_AEAD_CTX sealer;

  explicit Key(std::int64_t boot_seconds) : made_seconds(boot_seconds) {
    std::array<std::uint8_t, 32> secret;
    RAND_bytes(name.data(), name.size());
    RAND_bytes(secret.data(), secret.size());
    const int ready = EVP_AEAD_CTX_init(&sealer, EVP_aead_aes_256_gcm_siv(), secret.data(), secret.size(), kTagBytes,
                                        nullptr);
    OPENSSL_cleanse(secret.data(), secret.size());
    POSTERN_ASSERT(ready == 1);  // fixed sizes; memory for the key schedule is the only thing that can be missing
  }
  ~Key() {
    EVP_AEAD_CTX_cleanup(&sealer);
    OPENSSL_cleanse(&sealer, sizeof sealer);
  }
  Key(const Key&) = delete;
  Key& operator=(const Key&) = delete;
};

struct TicketKeys::KeySet {
  std::vector<std::shared_ptr<const Key>> keys;  // newest first
};

TicketKeys::TicketKeys() = default;
TicketKeys::~TicketKeys() = default;

std::shared_ptr<const TicketKeys::KeySet> TicketKeys::current(std::int64_t boot_seconds) {
  const std::lock_guard lock(mutex_);
  if (keys_ && boot_seconds - keys_->keys.front()->made_seconds < kRotationSeconds) return keys_;
  auto next = std::make_shared<KeySet>();
  next->keys.push_back(std::make_shared<const Key>(boot_seconds));
  if (keys_) {
    constexpr auto kUsefulSeconds = static_cast<std::int64_t>(1 + kFormerKeys) * kRotationSeconds;
    for (const auto& former : keys_->keys) {
      const bool is_useful = boot_seconds - former->made_seconds < kUsefulSeconds;
      if (is_useful && next->keys.size() <= kFormerKeys) next->keys.push_back(former);
    }
  }
  keys_ = std::move(next);
  return keys_;
}

std::optional<std::size_t> TicketKeys::seal(std::int64_t boot_seconds, std::span<const std::uint8_t> plain,
                                            std::span<std::uint8_t> out) {
  if (out.size() < plain.size() + kOverheadBytes) return std::nullopt;
  const auto keys = current(boot_seconds);
  const Key& key = *keys->keys.front();
  constexpr std::size_t kPrefixBytes = kNameBytes + kNonceBytes;
  // Plain octets may lie where the ticket will: make room for its prefix first, and seal in place.
  std::memmove(out.data() + kPrefixBytes, plain.data(), plain.size());
  std::memcpy(out.data(), key.name.data(), kNameBytes);
  RAND_bytes(out.data() + kNameBytes, kNonceBytes);
  std::size_t sealed = 0;
  if (EVP_AEAD_CTX_seal(&key.sealer, out.data() + kPrefixBytes, &sealed, out.size() - kPrefixBytes,
                        out.data() + kNameBytes, kNonceBytes, out.data() + kPrefixBytes, plain.size(), nullptr, 0) != 1) {
    ERR_clear_error();
    return std::nullopt;
  }
  return kPrefixBytes + sealed;
}

std::optional<std::size_t> TicketKeys::open(std::int64_t boot_seconds, std::span<const std::uint8_t> ticket,
                                            std::span<std::uint8_t> out) {
  if (ticket.size() < kOverheadBytes) return std::nullopt;
  const auto keys = current(boot_seconds);
  const auto key = std::ranges::find_if(keys->keys, [&](const auto& k) {
    return std::memcmp(k->name.data(), ticket.data(), kNameBytes) == 0;
  });
  if (key == keys->keys.end()) return std::nullopt;
  const auto sealed = ticket.subspan(kNameBytes + kNonceBytes);
  std::size_t opened = 0;
  if (EVP_AEAD_CTX_open(&(*key)->sealer, out.data(), &opened, out.size(), ticket.data() + kNameBytes, kNonceBytes,
                        sealed.data(), sealed.size(), nullptr, 0) != 1) {
    ERR_clear_error();
    return std::nullopt;
  }
  return opened;
}

}  // namespace postern::net::tls
