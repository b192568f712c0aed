// Login questions answered from the user store.
#include <optional>
#include <string>
#include <utility>

#include "net/users/credential_source.h"
#include "net/users/credentials.h"
#include "net/users/dovecot_source.h"
#include "net/users/password_hash.h"
#include "net/users/user_store.h"
#include "net/users/verifiers.h"

namespace postern::net::users {
namespace {

using sasl::CredentialKind;
using sasl::PasswordVerdict;
using sasl::ScramHash;
using Standing = sasl::Credential::Standing;

class StoreSource final : public CredentialSource {
 public:
  StoreSource(std::string path, const VerifierKinds& kinds, UserStore store)
      : path_(std::move(path)), kinds_(kinds), store_(std::move(store)) {}

  void answer(CredentialRequest& request) noexcept override {
    request.answer = CredentialRequest::Answer::unavailable;
    if (!is_open()) return;
    auto found = store_->find(request.user());
    if (!found) {
      // Another file may have come in its place, which is as good.
      close();
      if (!is_open()) return;
      found = store_->find(request.user());
    }
    if (!found) return close();
    if (request.kind == CredentialRequest::Kind::password) {
      check_password(request, *found);
    } else {
      give_credential(request, *found);
    }
  }

  core::Result<std::uint64_t> version() override {
    if (!is_open()) return core::fail(problem_);
    auto version = store_->data_version();
    if (version) return *version;
    problem_ = version.error();
    close();
    return core::fail(problem_);
  }

  core::Result<bool> hold(std::string_view user) override {
    if (!is_open()) return core::fail(problem_);
    auto held = store_->set_held(user, true);
    if (held) return *held;
    return core::fail(held.error());
  }

  core::Result<std::vector<std::string>> held() override {
    if (!is_open()) return core::fail(problem_);
    auto names = store_->held();
    if (names) return std::move(*names);
    return core::fail(names.error());
  }

 private:
  bool is_open() {
    if (store_) return true;
    auto opened = UserStore::open(path_, StoreMode::read_write);
    if (!opened) {
      problem_ = opened.error();
      return false;
    }
    store_.emplace(std::move(*opened));
    return true;
  }
  void close() { store_.reset(); }

  void check_password(CredentialRequest& request, std::optional<StoredUser>& user) {
    request.answer = CredentialRequest::Answer::given;
    request.verdict = PasswordVerdict::wrong;
    if (!user || user->password_hash.empty()) {
      burn_decoy(request);
      if (user) request.verdict = PasswordVerdict::no_verifier;
      return;
    }
    switch (verify(user->password_hash.view(), request.password())) {
      case Match::yes:
        break;
      case Match::no:
        return;
      case Match::unsupported:
        // It took no time, and so would tell that there is such a user.
        burn_decoy(request);
        request.verdict = PasswordVerdict::no_verifier;
        return;
    }
    if (user->record.disabled) {
      request.verdict = PasswordVerdict::disabled;
      return;
    }
    request.verdict = PasswordVerdict::right;
    derive_missing(*user, request.password());
    request.account = std::make_shared<const policy::UserRecord>(std::move(user->record));
  }

  void burn_decoy(const CredentialRequest& request) {
    const auto decoy = store_->decoy_hash(request.user());
    burn(decoy ? decoy->view() : std::string_view{}, request.password());
  }

  // The first time a password is proven here is when SCRAM's keys can be had from it.
  void derive_missing(const StoredUser& user, std::string_view password) {
    VerifierKinds missing = kinds_;
    missing.scram_sha_256 &= user.verifiers.scram_sha_256.empty();
    missing.scram_sha_1 &= user.verifiers.scram_sha_1.empty();
    missing.cram_md5 &= user.verifiers.cram_md5.empty();
    if (!missing.scram_sha_256 && !missing.scram_sha_1 && !missing.cram_md5) return;
    const Verifiers keys = derive_verifiers(password, missing);
    // A store that cannot be written just now is no reason to refuse a login: the next one tries again.
    static_cast<void>(store_->set_derived_keys(user.record.name, user.record.generation, keys));
  }

  void give_credential(CredentialRequest& request, std::optional<StoredUser>& user) {
    request.answer = CredentialRequest::Answer::given;
    sasl::Credential& out = request.credential;
    const auto secret = std::as_bytes(store_->server_secret());
    // What everybody gets who has no keys of his own: the same for the same name in any spelling, always.
    const auto canonical = policy::canonical_user_name(request.user());
    const std::string_view name = canonical ? std::string_view(*canonical) : request.user();
    const auto hash = request.credential_kind == CredentialKind::scram_sha_1 ? ScramHash::sha_1 : ScramHash::sha_256;
    out.scram = sasl::decoy_scram_keys(hash, secret, name, kScramIterations);
    out.cram = sasl::decoy_cram_verifier(secret, name);
    if (!user) {
      out.standing = Standing::unknown_user;
      return;
    }
    out.standing = take_verifier(request.credential_kind, user->verifiers, out) ? Standing::usable : Standing::no_verifier;
    if (user->record.disabled) out.standing = Standing::disabled;
    request.account = std::make_shared<const policy::UserRecord>(std::move(user->record));
  }

  static bool take_verifier(CredentialKind kind, const Verifiers& has, sasl::Credential& out) {
    switch (kind) {
      case CredentialKind::user_exists:
        return true;
      case CredentialKind::scram_sha_1:
      case CredentialKind::scram_sha_256: {
        const bool is_sha_1 = kind == CredentialKind::scram_sha_1;
        const auto keys = sasl::parse_scram_keys(is_sha_1 ? ScramHash::sha_1 : ScramHash::sha_256,
                                                 (is_sha_1 ? has.scram_sha_1 : has.scram_sha_256).view());
        if (keys) out.scram = *keys;
        return keys.has_value();
      }
      case CredentialKind::cram_md5: {
        const auto verifier = sasl::parse_cram_verifier(has.cram_md5.view());
        if (verifier) out.cram = *verifier;
        return verifier.has_value();
      }
    }
    return false;
  }

  std::string path_;
  VerifierKinds kinds_;
  std::optional<UserStore> store_;
  std::string problem_;
};

}  // namespace

core::Result<std::unique_ptr<CredentialSource>> CredentialSource::open(const CredentialOptions& options) {
  if (!options.dovecot.empty()) return open_dovecot_source(options.dovecot);
  auto store = UserStore::open(options.store, StoreMode::create);
  if (!store) return core::fail(store.error());
  return std::make_unique<StoreSource>(options.store, options.kinds, std::move(*store));
}

}  // namespace postern::net::users
