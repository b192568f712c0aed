// Keys out of files: JWKS documents (RFC 7517, RFC 7518 section 6, RFC 8037) and PEM blocks.
#include <algorithm>
#include <openssl/bio.h>
#include <openssl/bn.h>
#include <openssl/bytestring.h>
#include <openssl/ec.h>
#include <openssl/err.h>
#include <openssl/evp.h>
#include <openssl/mem.h>
#include <openssl/nid.h>
#include <openssl/pem.h>
#include <utility>

#include "net/sasl/base64.h"
#include "net/sasl/json.h"
#include "net/sasl/jwt_keys.h"

namespace postern::net::sasl {
namespace {

constexpr std::size_t kDocumentBytesMax = 256 * 1024;
constexpr std::size_t kNumberBytesMax = 1024;  // RSA of 8192 bits
constexpr std::size_t kSecretBytesMin = 32;    // RFC 7518 section 3.2

const std::uint8_t* in(std::string_view text) {
  return reinterpret_cast<const std::uint8_t*>(text.data());
}

// A member's value in base 64; nothing: it is not, or longer than any number here.
std::optional<std::string> decoded(std::string_view text) {
  std::string octets(std::min(base64_decoded_bytes_max(text.size()), kNumberBytesMax), '\0');
  const std::optional<std::size_t> size = base64url_decode(text, octets);
  if (!size || *size == 0) return std::nullopt;
  octets.resize(*size);
  return octets;
}

bssl::UniquePtr<BIGNUM> number_of(std::string_view octets) {
  return bssl::UniquePtr<BIGNUM>(BN_bin2bn(in(octets), octets.size(), nullptr));
}

// Members of one JWK that matter here; views into the document.
struct Members {
  std::string_view kty, use, alg, kid, crv, n, e, x, y, k;
  bool has_private = false;  // "d" of a key that has a public half
  bool has_key_ops = false;
  bool may_verify = false;  // "verify" in key_ops

  std::string_view* find(std::string_view name) {
    const std::pair<std::string_view, std::string_view*> all[] = {
        {"kty", &kty}, {"use", &use}, {"alg", &alg}, {"kid", &kid}, {"crv", &crv},
        {"n", &n},     {"e", &e},     {"x", &x},     {"y", &y},     {"k", &k}};
    for (const auto& [known, place] : all) {
      if (name == known) return place;
    }
    return nullptr;
  }
  // For signatures, by what it says of itself (RFC 7517 sections 4.2 and 4.3).
  [[nodiscard]] bool is_for_signatures() const { return (use.empty() || use == "sig") && (!has_key_ops || may_verify); }
};

}  // namespace

// What is wrong with a key that was meant to be used ends in `error`; keys of other kinds are passed over.
struct JwksVisitor final : JsonVisitor {
  using Key = JwtKeys::Key;

  std::vector<Key> keys;
  std::string error;
  bool has_keys = false;
  Members members;

  bool visit(JsonPath path, const JsonValue& value) override {
    if (path.empty()) return value.kind == JsonKind::object_begin || value.kind == JsonKind::object_end;
    if (is_at(path, {"keys"})) {
      if (value.kind == JsonKind::array_end) return true;
      return value.kind == JsonKind::array_begin && !std::exchange(has_keys, true);
    }
    if (is_at(path, {"keys", "[]"})) {
      if (value.kind == JsonKind::object_begin) members = {};
      if (value.kind == JsonKind::object_end) return take_key();
      return value.kind == JsonKind::object_begin;
    }
    if (path.size() < 3 || !path[1].is_array || path[0].key != "keys") return true;
    return take_member(path, value);
  }

 private:
  bool take_member(JsonPath path, const JsonValue& value) {
    if (is_at(path, {"keys", "[]", "key_ops", "[]"})) {
      members.may_verify = members.may_verify || value.string == "verify";
      return true;
    }
    if (path.size() != 3) return true;
    if (path[2].key == "key_ops") members.has_key_ops = true;
    if (path[2].key == "d") members.has_private = true;
    std::string_view* place = members.find(path[2].key);
    if (place == nullptr) return true;
    const bool is_first = place->data() == nullptr;
    *place = value.string;
    return is_first && value.kind == JsonKind::string;
  }

  bool take_key() {
    const std::optional<JwtAlgorithm> algorithm = parse_jwt_algorithm(members.alg);
    if (!members.is_for_signatures() || (!members.alg.empty() && !algorithm)) return true;
    if (members.has_private) return refuse("it is private; Postern is to have the public half");
    Key key;
    key.kid = members.kid;
    key.only_for = algorithm;
    if (members.kty == "RSA") return read_rsa(key) && keep(std::move(key));
    if (members.kty == "EC" && members.crv == "P-256") return read_p256(key) && keep(std::move(key));
    if (members.kty == "OKP" && members.crv == "Ed25519") return read_ed25519(key) && keep(std::move(key));
    if (members.kty == "oct") return read_secret(key) && keep(std::move(key));
    return true;
  }

  bool keep(Key key) {
    // "alg" for another kind of key: nothing could ever fit.
    if (key.only_for && !key.fits(*key.only_for)) return refuse("its 'alg' is for keys of another kind");
    keys.push_back(std::move(key));
    return true;
  }

  bool refuse(std::string_view why) {
    error = "key '" + std::string(members.kid) + "': " + std::string(why);
    return false;
  }

  bool read_rsa(Key& key) {
    const std::optional<std::string> n = decoded(members.n);
    const std::optional<std::string> e = decoded(members.e);
    if (!n || !e) return refuse("'n' or 'e' is missing or not base 64 for URLs");
    bssl::UniquePtr<BIGNUM> modulus = number_of(*n);
    bssl::UniquePtr<BIGNUM> exponent = number_of(*e);
    key.rsa.reset(RSA_new());
    if (RSA_set0_key(key.rsa.get(), modulus.get(), exponent.get(), nullptr) != 1) return refuse("no RSA key");
    (void)modulus.release();
    (void)exponent.release();
    return Key::is_sound(*key.rsa) || refuse("RSA keys have 2048 to 8192 bits, and an odd exponent");
  }

  bool read_p256(Key& key) {
    const std::optional<std::string> x = decoded(members.x);
    const std::optional<std::string> y = decoded(members.y);
    if (!x || !y || x->size() != 32 || y->size() != 32)
      return refuse("'x' and 'y' have 32 octets each, in base 64 for URLs");
    key.ec.reset(EC_KEY_new_by_curve_name(NID_X9_62_prime256v1));
    const bool is_point =
        EC_KEY_set_public_key_affine_coordinates(key.ec.get(), number_of(*x).get(), number_of(*y).get()) == 1;
    return is_point || refuse("not a point of P-256");
  }

  bool read_ed25519(Key& key) {
    const std::optional<std::string> x = decoded(members.x);
    if (!x || x->size() != 32) return refuse("'x' has 32 octets, in base 64 for URLs");
    std::ranges::copy(*x, key.ed25519.emplace().begin());
    return true;
  }

  bool read_secret(Key& key) {
    if (key.only_for != JwtAlgorithm::hs256)
      return refuse("a shared secret is used only when it says \"alg\": \"HS256\"");
    std::optional<std::string> secret = decoded(members.k);
    if (secret) key.secret.assign(secret->begin(), secret->end());
    if (secret) OPENSSL_cleanse(secret->data(), secret->size());
    return key.secret.size() >= kSecretBytesMin || refuse("'k' has at least 32 octets, in base 64 for URLs");
  }
};

core::Result<std::vector<JwtKeys::Key>> JwtKeys::Key::read_jwks(std::string_view text) {
  if (text.size() > kDocumentBytesMax) return core::fail("token keys: the file is too large");
  std::vector<char> document(text.begin(), text.end());  // may hold secrets
  JwksVisitor visitor;
  const bool is_read = read_json(document, visitor);
  OPENSSL_cleanse(document.data(), document.size());
  ERR_clear_error();
  if (!visitor.error.empty()) return core::fail("token keys: " + visitor.error);
  if (!is_read || !visitor.has_keys) {
    return core::fail("token keys: no JWKS document, which is JSON with an array 'keys' in it");
  }
  return std::move(visitor.keys);
}

core::Result<std::vector<JwtKeys::Key>> JwtKeys::Key::read_pem(std::string_view text) {
  if (text.size() > kDocumentBytesMax) return core::fail("token keys: the file is too large");
  std::vector<Key> keys;
  bssl::UniquePtr<BIO> bio(BIO_new_mem_buf(text.data(), static_cast<int>(text.size())));
  for (;;) {
    char* name = nullptr;
    char* header = nullptr;
    std::uint8_t* octets = nullptr;
    long size = 0;
    if (PEM_read_bio(bio.get(), &name, &header, &octets, &size) != 1) break;
    const bssl::UniquePtr<char> name_owner(name);
    const bssl::UniquePtr<char> header_owner(header);
    const bssl::UniquePtr<std::uint8_t> octets_owner(octets);
    if (std::string_view(name) != "PUBLIC KEY") {
      OPENSSL_cleanse(octets, static_cast<std::size_t>(size));
      return core::fail(std::string("token keys: a PEM block \"") + name + "\"; only \"PUBLIC KEY\" has a place here");
    }
    CBS contents;
    CBS_init(&contents, octets, static_cast<std::size_t>(size));
    const bssl::UniquePtr<EVP_PKEY> parsed(EVP_parse_public_key(&contents));
    if (parsed == nullptr || CBS_len(&contents) != 0) return core::fail("token keys: a damaged public key");
    Key key;
    if (!key.take(*parsed)) {
      return core::fail("token keys: only RSA of 2048 to 8192 bits, P-256 and Ed25519 are taken");
    }
    keys.push_back(std::move(key));
  }
  // The loop ends where no further block begins; anything else is a block that broke off.
  const std::uint32_t last = ERR_peek_last_error();
  const bool is_end = ERR_GET_LIB(last) == ERR_LIB_PEM && ERR_GET_REASON(last) == PEM_R_NO_START_LINE;
  ERR_clear_error();
  if (!is_end) return core::fail("token keys: a damaged PEM block");
  return keys;
}

bool JwtKeys::Key::take(EVP_PKEY& parsed) {
  switch (EVP_PKEY_id(&parsed)) {
    case EVP_PKEY_RSA:
      rsa.reset(EVP_PKEY_get1_RSA(&parsed));
      return rsa != nullptr && is_sound(*rsa);
    case EVP_PKEY_EC:
      ec.reset(EVP_PKEY_get1_EC_KEY(&parsed));
      return ec != nullptr && EC_GROUP_get_curve_name(EC_KEY_get0_group(ec.get())) == NID_X9_62_prime256v1;
    case EVP_PKEY_ED25519: {
      std::size_t size = ed25519.emplace().size();
      return EVP_PKEY_get_raw_public_key(&parsed, ed25519->data(), &size) == 1 && size == ed25519->size();
    }
    default:
      return false;
  }
}

}  // namespace postern::net::sasl
